//! The agent's configuration for each case.

use std::net::SocketAddr;

use crate::loader::Transport;

/// What stands between receiver and exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// OTLP in, batch, OTLP out.
    Batch,
    /// OTLP in, OTLP out.
    Unbatched,
    /// OTLP in, filter, upsert, batch, OTLP out.
    FilterUpsert,
    /// OTLP in, memory limiter of 200 MiB, batch, OTLP out.
    Limited,
    /// OTLP in, batch, this many `nop` exporters.
    Nop(usize),
}

/// One run of the agent.
#[derive(Clone, Debug)]
pub struct Setup {
    pub shape: Shape,
    pub transport: Transport,
    /// `None`: not compressed.
    pub gzip: Option<u32>,
    pub grpc_in: SocketAddr,
    pub http_in: SocketAddr,
    pub upstream: SocketAddr,
    /// Of the agent's own metrics: a port of its own, so that runs do not meet.
    pub metrics: SocketAddr,
    pub admin: SocketAddr,
}

impl Setup {
    pub fn yaml(&self) -> String {
        let compression = match self.gzip {
            None => "compression: none".to_owned(),
            Some(level) => format!("compression: gzip\n    compression_params: {{level: {level}}}"),
        };
        let exporter = match self.transport {
            Transport::Grpc => format!(
                "  otlp:\n    endpoint: {}\n    tls: {{insecure: true}}\n",
                self.upstream
            ),
            Transport::Http => format!("  otlphttp:\n    endpoint: http://{}\n", self.upstream),
        };
        let name = match self.transport {
            Transport::Grpc => "otlp",
            Transport::Http => "otlphttp",
        };
        let processors = match self.shape {
            Shape::Batch | Shape::Nop(_) => "batch",
            Shape::Limited => "memory_limiter, batch",
            Shape::Unbatched => "",
            Shape::FilterUpsert => "filter, attributes, batch",
        };
        let (exporters, names) = match self.shape {
            Shape::Nop(count) => {
                let names: Vec<String> = (0..count).map(|index| format!("nop/{index}")).collect();
                (
                    names.iter().map(|name| format!("  {name}:\n")).collect(),
                    names.join(", "),
                )
            }
            _ => (format!("{exporter}    {compression}\n"), name.to_owned()),
        };
        let mut pipelines = String::new();
        for signal in ["traces", "metrics", "logs"] {
            pipelines.push_str(&format!(
                "    {signal}: {{receivers: [otlp], processors: [{processors}], exporters: [{names}]}}\n"
            ));
        }
        format!(
            "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: '{}'}}\n      http: {{endpoint: '{}'}}\n\
             processors:\n  batch: {{timeout: 200ms, send_batch_size: 8192}}\n{}\
             exporters:\n{exporters}\
             service:\n  admin: {{endpoint: '{}'}}\n  telemetry:\n    metrics:\n      readers:\n        - pull: \
             {{exporter: {{prometheus: {{host: {}, port: {}}}}}}}\n  pipelines:\n{pipelines}",
            self.grpc_in,
            self.http_in,
            self.more_processors(),
            self.admin,
            self.metrics.ip(),
            self.metrics.port(),
        )
    }

    fn more_processors(&self) -> &'static str {
        match self.shape {
            Shape::FilterUpsert => concat!(
                "  filter:\n    error_mode: ignore\n    traces:\n      span:\n",
                "        - attributes[\"http.request.method\"] == \"DELETE\"\n",
                "  attributes:\n    actions:\n      - {key: deployment.environment.name, value: bench, action: upsert}\n",
            ),
            Shape::Limited => "  memory_limiter: {check_interval: 1s, limit_mib: 200}\n",
            Shape::Batch | Shape::Unbatched | Shape::Nop(_) => "",
        }
    }
}
