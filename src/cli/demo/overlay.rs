//! What only this run of the demo knows, merged over the embedded configuration.

use std::fmt::Write as _;

/// Where this run listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub grpc: u16,
    pub http: u16,
    pub admin: u16,
}

/// The configuration of this run: addresses, and the exporters of the command line behind every pipeline.
///
/// # Errors
/// An exporter that is not `otlp=...` or `otlphttp=...`.
pub fn overlay(aws: &str, ports: Ports, exporters: &[String]) -> Result<String, String> {
    let Ports { grpc, http, .. } = ports;
    let mut names = Vec::new();
    let mut sections = String::new();
    for (number, exporter) in exporters.iter().enumerate() {
        let (kind, endpoint) = exporter
            .split_once('=')
            .filter(|(kind, endpoint)| matches!(*kind, "otlp" | "otlphttp") && !endpoint.is_empty())
            .ok_or_else(|| format!("--exporter {exporter:?}: write otlp=HOST:PORT or otlphttp=http://HOST:PORT"))?;
        let name = format!("{kind}/demo{number}");
        // JSON strings are YAML strings: nothing in the endpoint can break out of its place.
        let endpoint = serde_json::Value::from(endpoint);
        let _ = writeln!(sections, "  {name}: {{endpoint: {endpoint}, tls: {{insecure: true}}}}");
        names.push(name);
    }
    let list = |own: &str| {
        let mut all = vec![own.to_owned()];
        all.extend(names.iter().cloned());
        all.join(", ")
    };
    let mut text = format!(
        "receivers:\n  dynamodb: {{endpoint: \"{aws}\"}}\n  sagemaker: {{endpoint: \"{aws}\"}}\n  xray: {{endpoint: \"{aws}\"}}\n  otlp:\n    protocols:\n      \
         grpc: {{endpoint: \"127.0.0.1:{grpc}\"}}\n      http: {{endpoint: \"127.0.0.1:{http}\"}}\n"
    );
    // A list is replaced as a whole.
    let _ = writeln!(
        text,
        "processors:\n  span_retention:\n    endpoint: \"{aws}\"\n    archives: [{{dynamodb: {{table: mlflow-traces, region: \
         eu-central-1, endpoint: \"{aws}\", credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: \
         simulated}}}}}}]"
    );
    if !names.is_empty() {
        let _ = write!(text, "exporters:\n{sections}service:\n  pipelines:\n");
        for pipeline in ["metrics/dynamodb", "metrics/sagemaker"] {
            let _ = writeln!(text, "    {pipeline}: {{exporters: [{}]}}", list("terminal, devstore"));
        }
        // All of the application's traces, not only those that are shown.
        let _ = writeln!(
            text,
            "    traces/application: {{receivers: [xray], exporters: [{}]}}",
            names.join(", ")
        );
        for pipeline in ["traces", "metrics", "logs"] {
            let _ = writeln!(text, "    {pipeline}: {{exporters: [{}]}}", list("debug, devstore"));
        }
    }
    Ok(text)
}
