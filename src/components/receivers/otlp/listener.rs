//! One port: tells gRPC from HTTP by the content type, and gives each request to its protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::header::CONTENT_TYPE;
use ::http::{Request, Response};
use hyper::body::Incoming;

use super::door::Door;
use super::settings::{HttpProtocol, Paths, Settings};
use super::{grpc, http};
use crate::component::{BuildContext, ComponentId, Incident, IncidentKind, Outlets};
use crate::net::server::body::{AnswerBody, BodyLimits};
use crate::net::server::{Endpoint, Gate, GrpcGroup, HttpGroup, Peer, ServerSettings};

/// The largest HTTP/2 window of a connection (reliability contract, section 4).
const LARGEST_WINDOW: u64 = 16 << 20;

/// HTTP/2's initial window, below which none is useful.
const SMALLEST_WINDOW: u64 = 64 << 10;

/// Which of the two configured ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Grpc,
    Http,
}

impl Port {
    /// The `transport` label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Port::Grpc => "grpc",
            Port::Http => "http",
        }
    }
}

/// What gRPC requests are held to, on whichever port they come.
pub(super) struct GrpcRules {
    pub(super) limits: BodyLimits,
    pub(super) include_metadata: bool,
}

/// The same for HTTP requests.
pub(super) struct HttpRules {
    pub(super) limits: BodyLimits,
    pub(super) group: HttpGroup,
    pub(super) paths: Paths,
}

/// One port of the receiver.
pub(super) struct Listener {
    port: Port,
    pub(super) door: Arc<Door>,
    pub(super) grpc: Arc<GrpcRules>,
    pub(super) http: Arc<HttpRules>,
    /// Of this port, for either protocol.
    gate: Gate,
    told_of_other_protocol: AtomicBool,
}

/// The two ports of a receiver; only the configured ones are listened on.
pub(super) struct Pair(Arc<Listener>, Arc<Listener>);

impl Pair {
    pub(super) fn of(&self, port: Port) -> Arc<Listener> {
        match port {
            Port::Grpc => Arc::clone(&self.0),
            Port::Http => Arc::clone(&self.1),
        }
    }
}

impl Listener {
    /// Both ports share everything: a protocol is held to its own settings also on the other's port, and to the
    /// defaults where it is not configured.
    pub(super) fn pair(settings: &Settings, context: &BuildContext, next: Outlets) -> Pair {
        let unused = || Endpoint::parse(":0").expect("a valid endpoint that is never bound");
        let grpc = settings
            .grpc
            .clone()
            .unwrap_or_else(|| GrpcGroup::with_endpoint(unused()));
        let http = settings.http.clone().unwrap_or_else(|| HttpProtocol {
            http: HttpGroup::with_endpoint(unused()),
            paths: Paths::default(),
        });
        let limits = |cap: usize| BodyLimits {
            cap,
            deadline: http.http.body_deadline,
            memory: context.memory.clone(),
            admission_wait: context.admission_wait,
        };
        let door = Arc::new(Door::new(settings, context, next));
        let grpc_auth = grpc.auth.clone();
        let http_auth = http.http.auth.clone();
        let grpc = Arc::new(GrpcRules {
            limits: limits(grpc.cap),
            include_metadata: grpc.include_metadata,
        });
        let http = Arc::new(HttpRules {
            limits: limits(http.http.cap),
            group: http.http,
            paths: http.paths,
        });
        let listener = |port: Port, auth: Option<&ComponentId>| {
            Arc::new(Listener {
                port,
                gate: Gate::new(auth, context, port.name()),
                door: Arc::clone(&door),
                grpc: Arc::clone(&grpc),
                http: Arc::clone(&http),
                told_of_other_protocol: AtomicBool::new(false),
            })
        };
        Pair(
            listener(Port::Grpc, grpc_auth.as_ref()),
            listener(Port::Http, http_auth.as_ref()),
        )
    }

    pub(super) fn port(&self) -> Port {
        self.port
    }

    /// Whether clients have to prove who they are.
    pub(super) fn is_guarded(&self) -> bool {
        self.gate.is_guarded()
    }

    /// HTTP/2 windows: a whole message per stream, bounded per connection by what the process may hold. The default
    /// windows of 64 KiB stall a client 50 ms away at 1.3 MB/s. What lies in a window is not admitted yet: a hundred
    /// connections that all fill theirs must not take what the process may hold.
    pub(super) fn size_windows(&self, settings: &mut ServerSettings) {
        let connection = (self.grpc.limits.memory.limit() / 128).clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        let message = self.grpc.limits.cap.max(self.http.limits.cap) as u64 + 5;
        let window = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX >> 1);
        settings.connection_window = window(connection);
        settings.stream_window = window(message.clamp(SMALLEST_WINDOW, connection));
    }

    /// Answers one request.
    pub(super) async fn serve(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<AnswerBody> {
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| is_grpc(value.as_bytes()));
        if is_grpc != (self.port == Port::Grpc) {
            self.tell_of_other_protocol(&peer);
        }
        if is_grpc {
            grpc::serve(&self.door, &self.grpc, &self.gate, request, &peer).await
        } else {
            http::serve(&self.door, &self.http, &self.gate, request, &peer).await
        }
    }

    fn tell_of_other_protocol(&self, peer: &Peer) {
        // Looked at before it is written: the flag is on every request's path.
        if self.told_of_other_protocol.load(Ordering::Relaxed)
            || self.told_of_other_protocol.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let other = if self.port == Port::Grpc { "HTTP" } else { "gRPC" };
        self.door.incidents.tell(|| Incident {
            kind: IncidentKind::OtherProtocol,
            subject: format!("{other} on the {} port", self.port.name()),
            text: format!(
                "{other} came to the port of {} from {}",
                self.port.name(),
                peer.address.ip()
            ),
            items: 1,
        });
        tracing::info!(client = %peer.address, port = self.port.name(), "{other} on the other protocol's port: served");
    }
}

/// `application/grpc`, or with a suffix (`application/grpc+proto`); not gRPC-Web, which is another protocol.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type
        .strip_prefix(GRPC)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+") || rest.starts_with(b";"))
}
