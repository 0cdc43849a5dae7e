//! `radiosonde send`: one test record, to see whether anything arrives.

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::Failed;
use crate::cli::client::{AgentArgs, Api};
use crate::cli::output;
use crate::component::{Clock, SystemClock};

/// `send`.
#[derive(Args, Clone, Debug)]
pub struct SendArgs {
    #[arg(value_enum, default_value_t)]
    pub signal: Signal,
    /// Where OTLP/HTTP is taken.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        default_value = "http://localhost:4318"
    )]
    pub to: String,
    /// service.name of it.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "radiosonde-send")]
    pub service: String,
    /// Name of the span or metric, body of the log record.
    #[arg(long, default_value = "test")]
    pub name: String,
    /// Of the resource, as an SDK takes them: key=value,key=value with percent escapes.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "LIST", default_value = "")]
    pub resource: String,
    /// key=value; may be given several times.
    #[arg(short, long = "attribute", value_name = "KEY=VALUE")]
    pub attributes: Vec<String>,
    /// The span has failed, the log record is an error.
    #[arg(long)]
    pub error: bool,
}

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    #[default]
    Span,
    Log,
    Metric,
}

/// Sends it and says what became of it.
pub async fn send(args: &SendArgs) -> Result<u8, Failed> {
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let attributes = attributes_of(&args.attributes)?;
    let resource = resource_of(args);
    let (path, body) = request(args, &trace, attributes, &resource);
    let api = Api::new(&AgentArgs {
        url: args.to.clone(),
        token: None,
    });
    let answer = api
        .post_bytes(path, Bytes::from(body.to_string()), "application/json")
        .await?;
    // An answer without a body is a success too; one that names a rejection is none.
    let answer: Json = serde_json::from_slice(&answer).unwrap_or(Json::Null);
    if let Some(message) = answer["partialSuccess"]["errorMessage"].as_str() {
        return Err(Failed::new(1, format!("it was not taken: {message}")));
    }
    match args.signal {
        Signal::Span => output::text(&format!("{trace}\n")),
        Signal::Log | Signal::Metric => output::text("sent\n"),
    }
    Ok(0)
}

fn attributes_of(given: &[String]) -> Result<Json, Failed> {
    let mut list = Vec::new();
    for pair in given {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failed::new(2, format!("--attribute {pair:?}: write KEY=VALUE")));
        };
        list.push(json!({"key": key, "value": {"stringValue": value}}));
    }
    Ok(Json::from(list))
}

/// The name of the service before what the list says; as an SDK does, what is no pair in it is passed over.
fn resource_of(args: &SendArgs) -> Json {
    let text = |text: &str| {
        percent_encoding::percent_decode_str(text.trim())
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut list = vec![json!({"key": "service.name", "value": {"stringValue": args.service}})];
    let pairs = args.resource.split(',').filter_map(|pair| pair.split_once('='));
    for (key, value) in pairs.map(|(key, value)| (text(key), text(value))) {
        if !key.is_empty() && key != "service.name" {
            list.push(json!({"key": key, "value": {"stringValue": value}}));
        }
    }
    json!({"attributes": list})
}

fn request(args: &SendArgs, trace: &str, attributes: Json, resource: &Json) -> (&'static str, Json) {
    let now = SystemClock.now().0;
    let scope = json!({"name": "radiosonde send", "version": env!("CARGO_PKG_VERSION")});
    match args.signal {
        Signal::Span => {
            let span = json!({
                "traceId": trace, "spanId": &trace[..16], "name": args.name, "kind": 1,
                "startTimeUnixNano": now.saturating_sub(1_000_000).to_string(), "endTimeUnixNano": now.to_string(),
                "attributes": attributes, "status": if args.error { json!({"code": 2}) } else { json!({}) },
            });
            let scopes = json!([{"scope": scope, "spans": [span]}]);
            (
                "/v1/traces",
                json!({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}),
            )
        }
        Signal::Log => {
            let (number, level) = if args.error { (17, "ERROR") } else { (9, "INFO") };
            let record = json!({
                "timeUnixNano": now.to_string(), "severityNumber": number, "severityText": level,
                "body": {"stringValue": args.name}, "attributes": attributes,
            });
            let scopes = json!([{"scope": scope, "logRecords": [record]}]);
            (
                "/v1/logs",
                json!({"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}),
            )
        }
        Signal::Metric => {
            let point = json!({"timeUnixNano": now.to_string(), "asDouble": 1.0, "attributes": attributes});
            let metric = json!({"name": args.name, "unit": "1", "gauge": {"dataPoints": [point]}});
            let scopes = json!([{"scope": scope, "metrics": [metric]}]);
            (
                "/v1/metrics",
                json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": scopes}]}),
            )
        }
    }
}
