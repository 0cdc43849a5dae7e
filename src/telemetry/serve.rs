//! `localhost:8888/metrics`: what Prometheus reads.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::process;
use super::prometheus::{Level, Naming, render};
use crate::component::Registry;
use crate::net::server::{BindError, Endpoint, HttpServer, ServerSettings, serve_http};

/// What is shown, and how.
#[derive(Clone)]
pub struct MetricsSource {
    pub registry: Registry,
    pub started: Instant,
    /// `target_info`.
    pub resource: Vec<(String, String)>,
    pub level: Level,
    /// Every set of names that is to be served; more than one with `--compat-metrics`.
    pub naming: Vec<Naming>,
}

impl MetricsSource {
    /// All metrics as text, now.
    pub fn text(&self) -> String {
        let mut samples = self.registry.gather();
        samples.retain(|sample| self.level.shows(sample.name));
        let process = process::gather(self.started);
        render(&samples, &process, &self.resource, &self.naming)
    }
}

/// Binds and serves.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(endpoint: Endpoint, source: MetricsSource) -> Result<HttpServer, BindError> {
    let source = Arc::new(source);
    let handler = move |request: Request<Incoming>, _peer| {
        let source = Arc::clone(&source);
        async move { answer(&source, request.method(), request.uri().path()) }
    };
    serve_http(&ServerSettings::new(endpoint), handler).await
}

fn answer(source: &MetricsSource, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let (code, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics" | "/metrics/") => (StatusCode::OK, source.text()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    let content_type = if code == StatusCode::OK {
        "text/plain; version=0.0.4; charset=utf-8"
    } else {
        "text/plain"
    };
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ComponentKind, Instruments};

    fn source(level: Level) -> MetricsSource {
        let instruments = Instruments::standalone(ComponentKind::Processor, "batch");
        instruments
            .counter("otelcol_processor_batch_timeout_trigger_send", "", &[])
            .add(1);
        instruments.counter("otelcol_processor_incoming_items", "", &[]).add(1);
        MetricsSource {
            registry: instruments.registry().clone(),
            started: Instant::now(),
            resource: vec![("service.name".to_owned(), "radiosonde".to_owned())],
            level,
            naming: vec![Naming::default()],
        }
    }

    #[tokio::test]
    async fn metrics_are_at_slash_metrics_only() {
        let source = source(Level::Normal);
        assert_eq!(answer(&source, &Method::GET, "/metrics").status(), 200);
        assert_eq!(answer(&source, &Method::GET, "/").status(), 404);
        assert_eq!(answer(&source, &Method::POST, "/metrics").status(), 405);
    }

    #[tokio::test]
    async fn the_basic_level_leaves_out_the_figures_of_batches() {
        let basic = source(Level::Basic).text();
        assert!(!basic.contains("timeout_trigger_send"), "{basic}");
        assert!(basic.contains("otelcol_processor_incoming_items"));
        assert!(source(Level::Normal).text().contains("timeout_trigger_send"));
    }
}
