//! `otlp` receiver: OTLP over gRPC and HTTP, protobuf and JSON, either protocol on either port.
//!
//! A request is read within its limits (`net::server`), decompressed under a cap (`net::codec`), checked and counted at
//! the door (`pdata`), and offered to the pipeline; the answer of the pipeline is the answer of the client
//! (`net::status`). Bodies stay the bytes they came as. gRPC is served by hyper's HTTP/2 with our own unary framing
//! (`net::server::grpc`), because an uncompressed request then costs no copy and no decoding.
//!
//! What lives here: settings, routing, content negotiation, answers. What does not: sockets, TLS, limits, OTLP's form.

mod answer;
mod door;
mod grpc;
mod http;
mod listener;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::listener::{Listener, Port};
use self::settings::Settings;
use crate::component::{
    BoxFuture, BuildContext, ComponentId, ComponentKind, Deadline, Factory, Outlets, Plan, ReceiverPlan, Running,
    Stability, StartError,
};
use crate::config::Section;
use crate::net::server::{HttpServer, ServerSettings, serve_http};
use crate::pdata::Signal;

/// The registry's entry.
pub struct OtlpFactory;

impl Factory for OtlpFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "otlp"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Stable
    }

    fn summary(&self) -> &'static str {
        "takes OTLP over gRPC and HTTP, protobuf and JSON"
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Receiver(Box::new(Settings::check(section)?)))
    }
}

const EXAMPLE: &str = "\
protocols:
  grpc:
    endpoint: localhost:4317
    max_recv_msg_size_mib: 16
  http:
    endpoint: localhost:4318
    cors:
      allowed_origins: ['http://localhost:*', 'https://*.example.com']
      max_age: 600
";

impl ReceiverPlan for Settings {
    fn authenticators(&self) -> Vec<(&'static str, &ComponentId)> {
        let grpc = self.grpc.as_ref().and_then(|grpc| grpc.auth.as_ref());
        let http = self.http.as_ref().and_then(|http| http.http.auth.as_ref());
        let grpc = grpc.map(|id| ("protocols::grpc::auth::authenticator", id));
        let http = http.map(|id| ("protocols::http::auth::authenticator", id));
        grpc.into_iter().chain(http).collect()
    }

    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move { Ok(Arc::new(start(self, &context, next).await?) as Arc<dyn Running>) })
    }
}

/// The listeners of one receiver.
pub(crate) struct Receiver {
    grpc: Option<HttpServer>,
    http: Option<HttpServer>,
}

async fn start(settings: &Settings, context: &BuildContext, next: Outlets) -> Result<Receiver, StartError> {
    let listeners = Listener::pair(settings, context, next);
    let grpc = match &settings.grpc {
        Some(group) => Some(listen(&group.server, context, listeners.of(Port::Grpc)).await?),
        None => None,
    };
    let http = match &settings.http {
        Some(group) => Some(listen(&group.http.server, context, listeners.of(Port::Http)).await?),
        None => None,
    };
    Ok(Receiver { grpc, http })
}

async fn listen(
    settings: &ServerSettings,
    context: &BuildContext,
    listener: Arc<Listener>,
) -> Result<HttpServer, StartError> {
    let mut settings = settings.clone();
    listener.size_windows(&mut settings);
    // What Kubernetes sets in every pod.
    if settings.endpoint.is_local() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        tracing::warn!(
            receiver = %context.id, endpoint = %settings.endpoint,
            "listening on localhost in a pod: other pods cannot connect; use ${{env:MY_POD_IP}} or 0.0.0.0 as host",
        );
    }
    if settings.tls.is_none() && !settings.endpoint.is_local() && !listener.is_guarded() {
        tracing::warn!(
            receiver = %context.id,
            endpoint = %settings.endpoint,
            "listening for other machines without TLS or authentication"
        );
    }
    let port = listener.port();
    let serve = move |request, peer| {
        let listener = Arc::clone(&listener);
        async move { listener.serve(request, peer).await }
    };
    let server = serve_http(&settings, serve)
        .await
        .map_err(|error| StartError::new(context, error.to_string()))?;
    server.observe(&settings, &context.instruments, port.name());
    for address in server.addresses() {
        tracing::info!(receiver = %context.id, %address, transport = port.name(), "listening for OTLP");
    }
    Ok(server)
}

impl Running for Receiver {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let stop = async |server: &Option<HttpServer>| {
                if let Some(server) = server {
                    server.stop(deadline).await;
                }
            };
            // Both at once: each takes as long as its slowest client.
            tokio::join!(stop(&self.grpc), stop(&self.http));
        })
    }
}
