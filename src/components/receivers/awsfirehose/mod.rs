//! `awsfirehose` receiver: CloudWatch Metric Streams, pushed by Amazon Data Firehose to an HTTP endpoint.
//!
//! Firehose sends a JSON envelope of base64 records ([`envelope`]); a record holds OTLP 1.0.0 messages or JSON lines
//! ([`convert`]). The pipeline's answer is Firehose's answer ([`http`]); what it brings again after a lost answer is
//! known by its request id and not taken twice ([`recent`]).
//!
//! Sockets, TLS and limits are `net::server`'s; what a CloudWatch point becomes is `aws::cloudwatch`'s.

pub mod convert;
pub mod envelope;
mod http;
mod recent;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::http::Listener;
use self::settings::Settings;
use crate::component::{
    BoxFuture, BuildContext, ComponentId, ComponentKind, Deadline, Factory, Outlets, Plan, ReceiverPlan, Running,
    Stability, StartError,
};
use crate::config::Section;
use crate::net::server::{HttpServer, serve_http};
use crate::pdata::Signal;

/// The registry's entry.
pub struct FirehoseFactory;

impl Factory for FirehoseFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "awsfirehose"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "CloudWatch Metric Streams, pushed by Amazon Data Firehose."
    }

    fn example(&self) -> &'static str {
        "endpoint: localhost:4433\nencoding: otlp_v1\naccess_key: a-long-random-text\nconvert: typed\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Receiver(Box::new(Settings::check(section)?)))
    }
}

impl ReceiverPlan for Settings {
    fn authenticators(&self) -> Vec<(&'static str, &ComponentId)> {
        let named = self.http.auth.as_ref();
        named.map(|id| ("auth::authenticator", id)).into_iter().collect()
    }

    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            let receiver: Arc<dyn Running> = Arc::new(start(self, &context, next).await?);
            Ok(receiver)
        })
    }
}

/// The listener of one receiver.
struct Receiver {
    server: HttpServer,
}

async fn start(settings: &Settings, context: &BuildContext, next: Outlets) -> Result<Receiver, StartError> {
    let server_settings = &settings.http.server;
    if server_settings.tls.is_none() && !server_settings.endpoint.is_local() {
        tracing::warn!(
            receiver = %context.id,
            endpoint = %server_settings.endpoint,
            "listening for other machines without TLS: Firehose itself speaks only HTTPS on port 443, and the access key is \
             readable on the way"
        );
    }
    let listener = Arc::new(Listener::new(settings, context, next.metrics));
    let serve = move |request, peer| {
        let listener = Arc::clone(&listener);
        async move { listener.serve(request, peer).await }
    };
    let server = serve_http(server_settings, serve)
        .await
        .map_err(|error| StartError::new(context, error.to_string()))?;
    server.observe(server_settings, &context.instruments, "http");
    for address in server.addresses() {
        tracing::info!(receiver = %context.id, %address, "listening for Firehose");
    }
    Ok(Receiver { server })
}

impl Running for Receiver {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        self.server.stop(deadline)
    }
}
