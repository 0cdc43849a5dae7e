//! Making a connection: name, TCP (with TCP_NODELAY), proxy, TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::proxy::{ProxyRules, connect_through};
use crate::net::tls::TlsError;
use crate::net::tls::client::TlsSource;

/// For TCP, proxy and TLS together. gRPC's default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A peer that vanished is noticed by TCP itself; Go's dialler uses the same.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("cannot resolve {host}: no address")]
    NoAddress { host: String },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("proxy: {0}")]
    Proxy(io::Error),
    #[error("TLS with {host}: {source}")]
    Handshake { host: String, source: io::Error },
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("{0:?} is no name that a certificate can carry")]
    ServerName(String),
    #[error("no connection after {} s", .0.as_secs())]
    Timeout(Duration),
}

/// Everything that is the same for all connections of one client.
#[derive(Clone)]
pub struct Dialer {
    /// `None`: plain text.
    pub tls: Option<Arc<TlsSource>>,
    /// Proxies.
    pub proxies: Arc<ProxyRules>,
}

/// A name and a port, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// `host:port`, IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The addresses of the name, in the resolver's order.
    ///
    /// # Errors
    /// When the name cannot be resolved or has no address.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<SocketAddr> = found
            .map_err(|source| DialError::Resolve {
                host: self.host.clone(),
                source,
            })?
            .collect();
        if addresses.is_empty() {
            return Err(DialError::NoAddress {
                host: self.host.clone(),
            });
        }
        Ok(addresses)
    }
}

impl Dialer {
    /// Whether `target` is reached through a proxy, which then also resolves its name.
    pub fn uses_proxy(&self, target: &Target) -> bool {
        self.proxies
            .proxy_for(self.tls.is_some(), &target.host, target.port)
            .is_some()
    }

    /// A connection to `target` at the first of `addresses` that answers; through a proxy `addresses` are not used.
    ///
    /// # Errors
    /// See [`DialError`]; of several addresses the last one's error.
    pub async fn connect(&self, target: &Target, addresses: &[SocketAddr]) -> Result<Stream, DialError> {
        let connecting = async {
            let tcp = self.tunnel_or_direct(target, addresses).await?;
            match &self.tls {
                None => Ok(Stream::Plain(tcp)),
                Some(tls) => handshake(tls, target, tcp).await,
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or(Err(DialError::Timeout(CONNECT_TIMEOUT)))
    }

    async fn tunnel_or_direct(&self, target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
        let proxy = self.proxies.proxy_for(self.tls.is_some(), &target.host, target.port);
        let Some(proxy) = proxy else {
            return connect_tcp(addresses, &target.host).await;
        };
        let at = Target {
            host: proxy.host.clone(),
            port: proxy.port,
        };
        let mut tcp = connect_tcp(&at.resolve().await?, &at.host).await?;
        connect_through(&mut tcp, proxy, &target.authority())
            .await
            .map_err(DialError::Proxy)?;
        Ok(tcp)
    }
}

/// TCP to the first address that answers, with TCP_NODELAY and TCP keep-alive.
///
/// # Errors
/// The last address's error.
pub async fn connect_tcp(addresses: &[SocketAddr], host: &str) -> Result<TcpStream, DialError> {
    let mut problem = DialError::NoAddress { host: host.to_owned() };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                set_options(&tcp).map_err(|source| DialError::Connect {
                    address: *address,
                    source,
                })?;
                return Ok(tcp);
            }
            Err(source) => {
                problem = DialError::Connect {
                    address: *address,
                    source,
                };
            }
        }
    }
    Err(problem)
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    // Without it a request's last segment waits for the peer's delayed acknowledgement: 40 ms a call.
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

async fn handshake(tls: &TlsSource, target: &Target, tcp: TcpStream) -> Result<Stream, DialError> {
    let name = tls.settings().server_name_override().unwrap_or(&target.host).to_owned();
    let server_name = ServerName::try_from(name.clone()).map_err(|_| DialError::ServerName(name))?;
    let connector = TlsConnector::from(tls.config()?);
    let stream = connector
        .connect(server_name, tcp)
        .await
        .map_err(|source| DialError::Handshake {
            host: target.host.clone(),
            source,
        })?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// A connection, in plain text or TLS.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The protocol that was agreed on by ALPN is `h2`.
    pub fn negotiated_h2(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
