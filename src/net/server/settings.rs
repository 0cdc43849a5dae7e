//! The settings of a listener; `groups` reads them from a configuration.

use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::net::tls::ServerTls;

/// Everything a listener is made of. The defaults are those of the reliability contract, section 4.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen.
    pub endpoint: Endpoint,
    /// `None`: plain text.
    pub tls: Option<Arc<ServerTls>>,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte to the end of a request's header; HTTP/1. `None`: no limit.
    pub header_timeout: Option<Duration>,
    /// A connection without a request; `None`: no limit.
    pub idle_timeout_http1: Option<Duration>,
    /// A connection without a request; `None`: no limit.
    pub idle_timeout_http2: Option<Duration>,
    /// A write that makes no progress; `None`: no limit.
    pub write_timeout: Option<Duration>,
    /// After it a connection is closed in an orderly way, spread by +-10 %.
    pub max_connection_age: Option<Duration>,
    /// What requests under way then get; `None`: as long as they need.
    pub max_connection_age_grace: Option<Duration>,
    /// HTTP/2 ping after this time without traffic; `None`: no pings.
    pub keepalive_interval: Option<Duration>,
    /// No answer to a ping within it closes the connection.
    pub keepalive_timeout: Duration,
    /// Whether an HTTP/1 connection serves more than one request.
    pub keep_alives: bool,
    /// Size of a request's header, bytes.
    pub max_header_bytes: usize,
    /// Number of header lines.
    pub max_headers: usize,
    /// Of all clients; `None`: 80 % of the process' file descriptors.
    pub max_connections: Option<usize>,
    /// Of one client address.
    pub max_connections_per_client: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Streams that a peer has opened and reset before they were looked at; more end the connection.
    pub max_reset_streams: usize,
    /// Streams that were reset because of a peer's mistakes; more end the connection.
    pub max_broken_streams: usize,
    /// HTTP/2 window of a stream, bytes.
    pub stream_window: u32,
    /// HTTP/2 window of a connection, bytes.
    pub connection_window: u32,
    /// Largest HTTP/2 frame taken, bytes.
    pub max_frame_size: u32,
}

impl ServerSettings {
    /// A plain-text listener with every limit at its default.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Some(Duration::from_secs(10)),
            idle_timeout_http1: Some(Duration::from_secs(60)),
            idle_timeout_http2: Some(Duration::from_secs(300)),
            write_timeout: Some(Duration::from_secs(30)),
            max_connection_age: Some(Duration::from_secs(1800)),
            max_connection_age_grace: Some(Duration::from_secs(30)),
            keepalive_interval: Some(Duration::from_secs(120)),
            keepalive_timeout: Duration::from_secs(20),
            keep_alives: true,
            max_header_bytes: 64 * 1024,
            max_headers: 128,
            max_connections: None,
            max_connections_per_client: 1000,
            max_concurrent_streams: 100,
            max_reset_streams: 20,
            max_broken_streams: 256,
            stream_window: 1024 * 1024,
            connection_window: 4 * 1024 * 1024,
            max_frame_size: 1024 * 1024,
        }
    }
}
