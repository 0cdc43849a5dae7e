//! `radiosonde doctor`: why does nothing arrive? Looks at ports, environment, protocols, origins and clocks.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Failed, Format};
use crate::cli::client::{AgentArgs, Api};
use crate::cli::output;
use crate::component::{Clock, SystemClock};
use crate::dev::terminal::text::harmless;
use crate::net::server::holder_of_port;

/// For one connection.
const PATIENCE: Duration = Duration::from_millis(500);
/// Clocks may differ so much. Nanoseconds.
const SKEW: u64 = 2_000_000_000;

/// `doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 nothing found, 1 something was found.")]
pub struct DoctorArgs {
    #[command(flatten)]
    pub agent: AgentArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// One thing that was looked at.
struct Check {
    name: &'static str,
    /// What was found, and what to do; empty where all is well.
    problem: String,
    text: String,
}

impl Check {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            problem: String::new(),
            text: text.into(),
        }
    }

    fn bad(name: &'static str, text: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            name,
            problem: problem.into(),
            text: text.into(),
        }
    }
}

/// Looks, and prints what it sees.
pub async fn doctor(args: &DoctorArgs) -> Result<u8, Failed> {
    let api = Api::new(&args.agent);
    let variables = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let status = api.get("/api/v1/status", &[]).await;
    let mut checks = Vec::new();
    match &status {
        Ok(status) => {
            let version = status["version"].as_str().unwrap_or("?");
            checks.push(Check::good(
                "agent",
                format!("radiosonde {version} answers at {}", api.base()),
            ));
            checks.push(clock(status));
            checks.extend(intake(status));
        }
        Err(error) => checks.push(Check::bad("agent", error.to_string(), "start one: radiosonde dev")),
    }
    let is_ours = status.is_ok();
    for (port, what) in [(4317, "OTLP/gRPC"), (4318, "OTLP/HTTP"), (4320, "page and API")] {
        checks.push(port_check(port, what, is_ours));
    }
    checks.extend(environment(&variables));
    checks.extend(endpoint(&variables).await);
    let found = checks.iter().filter(|check| !check.problem.is_empty()).count();
    output::text(&shown(&checks, args.format));
    Ok(u8::from(found > 0))
}

fn shown(checks: &[Check], format: Format) -> String {
    let as_json = |check: &Check| json!({"name": check.name, "text": check.text, "ok": check.problem.is_empty(), "fix": check.problem});
    match format {
        Format::Json => {
            let list: Vec<Json> = checks.iter().map(as_json).collect();
            format!("{}\n", json!({"v": 1, "checks": list}))
        }
        Format::Jsonl => checks.iter().map(|check| format!("{}\n", as_json(check))).collect(),
        Format::Text | Format::Md => {
            let mark = if format == Format::Md { "- " } else { "" };
            let line = |check: &Check| {
                if check.problem.is_empty() {
                    format!("{mark}ok       {}: {}\n", check.name, harmless(&check.text))
                } else {
                    let (text, problem) = (harmless(&check.text), harmless(&check.problem));
                    format!("{mark}FINDING  {}: {text}\n         {problem}\n", check.name)
                }
            };
            checks.iter().map(line).collect()
        }
    }
}

/// Whether the agent's clock is this one's.
fn clock(status: &Json) -> Check {
    let started = crate::cli::dev::number(&status["started"]);
    let uptime = status["uptime_seconds"].as_f64();
    match (started, uptime) {
        (Some(started), Some(uptime)) => {
            let theirs = started.saturating_add((uptime * 1e9) as u64);
            let apart = theirs.abs_diff(SystemClock.now().0);
            if apart > SKEW {
                let by = crate::dev::terminal::text::duration_text(apart);
                let fix = "set both clocks by NTP: spans will seem to come from another time (a demo lives in a simulated one)";
                Check::bad("clock", format!("the agent's time is {by} from this machine's"), fix)
            } else {
                Check::good("clock", "the agent's and this machine's agree")
            }
        }
        _ => Check::good("clock", "the agent does not say its time"),
    }
}

/// Whether something has come, and what of it was turned away.
fn intake(status: &Json) -> Vec<Check> {
    let count = |signal: &str, what: &str| crate::cli::dev::number(&status["intake"][signal][what]).unwrap_or(0);
    let signals = ["spans", "metric_points", "log_records"];
    let received: u64 = signals.iter().map(|signal| count(signal, "received")).sum();
    let rejected: u64 = signals
        .iter()
        .map(|signal| count(signal, "rejected") + count(signal, "dropped"))
        .sum();
    let mut checks = Vec::new();
    if received == 0 {
        let fix = "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318, or radiosonde dev -- CMD; radiosonde send tries it";
        checks.push(Check::bad("intake", "nothing has come in so far", fix));
    } else {
        checks.push(Check::good("intake", format!("{received} items have come in")));
    }
    if rejected > 0 {
        let fix = "radiosonde query alerts says which and why";
        checks.push(Check::bad(
            "intake",
            format!("{rejected} items were rejected or dropped"),
            fix,
        ));
    }
    checks
}

fn port_check(port: u16, what: &str, is_ours: bool) -> Check {
    let address = format!("localhost:{port}");
    let addresses = address
        .to_socket_addrs()
        .map(Iterator::collect::<Vec<_>>)
        .unwrap_or_default();
    let open = addresses
        .iter()
        .any(|address| TcpStream::connect_timeout(address, PATIENCE).is_ok());
    match (open, is_ours) {
        (true, true) => Check::good(
            "port",
            format!("{port} ({what}) is open, held by {}", holder_of_port(port)),
        ),
        (true, false) => Check::bad(
            "port",
            format!("{port} ({what}) is held by {}", holder_of_port(port)),
            "stop it, or radiosonde dev --port-offset 100 (or --port auto)",
        ),
        (false, _) => Check::good("port", format!("{port} ({what}) is not open on this machine")),
    }
}

/// What of the environment would lead an SDK elsewhere.
fn environment(variable: &dyn Fn(&str) -> Option<String>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut bad = |text: String, fix: &str| checks.push(Check::bad("environment", text, fix));
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        bad("OTEL_SDK_DISABLED is true".to_owned(), "unset it: SDKs send nothing");
    }
    for signal in ["TRACES", "METRICS", "LOGS"] {
        let name = format!("OTEL_{signal}_EXPORTER");
        if let Some(value) = variable(&name).filter(|value| !value.split(',').any(|one| one.trim() == "otlp")) {
            bad(format!("{name} is {value:?}"), "set it to otlp, or unset it");
        }
    }
    let protocol = variable("OTEL_EXPORTER_OTLP_PROTOCOL");
    if let Some(protocol) = &protocol
        && !matches!(protocol.as_str(), "grpc" | "http/protobuf" | "http/json")
    {
        bad(
            format!("OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}"),
            "it is grpc, http/protobuf or http/json",
        );
    }
    if let Some(endpoint) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
        if !endpoint.contains("://") {
            bad(
                format!("OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}, without a scheme"),
                "write http://localhost:4318: several SDKs take it for nothing otherwise",
            );
        }
        if endpoint.trim_end_matches('/').ends_with("/v1/traces") {
            bad(
                format!("OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}"),
                "leave /v1/traces out: SDKs append it to this variable (but not to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)",
            );
        }
        let port = endpoint.rsplit(':').next().unwrap_or_default().trim_end_matches('/');
        let mismatch = match (protocol.as_deref(), port) {
            (Some("grpc"), "4318") => Some("4318 is the port of HTTP"),
            (Some("http/protobuf" | "http/json"), "4317") => Some("4317 is the port of gRPC"),
            _ => None,
        };
        if let Some(mismatch) = mismatch {
            bad(
                format!("protocol and port differ: {mismatch}"),
                "radiosonde takes both on both; other collectors do not",
            );
        }
    }
    if checks.is_empty() {
        checks.push(Check::good("environment", "nothing in OTEL_* leads elsewhere"));
    }
    checks
}

/// Whether what the environment names takes OTLP, and from pages too.
async fn endpoint(variable: &dyn Fn(&str) -> Option<String>) -> Vec<Check> {
    let url = variable("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|| "http://localhost:4318".to_owned());
    if url.starts_with("https://") {
        let fix = "with radiosonde dev use http:// (it has no certificate)";
        return vec![Check::bad(
            "endpoint",
            format!("{} asks for TLS", without_user(&url)),
            fix,
        )];
    }
    let api = Api::new(&AgentArgs {
        url: url.clone(),
        token: None,
    });
    let body = bytes::Bytes::from_static(b"{}");
    let shown = without_user(&url);
    match api.post_bytes("/v1/traces", body, "application/json").await {
        Ok(_) => vec![Check::good("endpoint", format!("{shown} takes OTLP over HTTP"))],
        Err(error) => vec![Check::bad(
            "endpoint",
            format!("{shown} takes no OTLP over HTTP: {error}"),
            "is it the right port, and does something listen there?",
        )],
    }
}

/// Without the credentials that a URL may have in it.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(set: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let checks = environment(&variable);
        checks
            .into_iter()
            .filter(|check| !check.problem.is_empty())
            .map(|check| check.text)
            .collect()
    }

    #[test]
    fn what_leads_an_sdk_elsewhere_is_found() {
        assert_eq!(findings(&[]), Vec::<String>::new());
        assert_eq!(
            findings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]),
            Vec::<String>::new()
        );
        for set in [
            [("OTEL_SDK_DISABLED", "true")],
            [("OTEL_TRACES_EXPORTER", "console")],
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")],
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/v1/traces")],
            [("OTEL_EXPORTER_OTLP_PROTOCOL", "http")],
        ] {
            assert_eq!(findings(&set).len(), 1, "{set:?}");
        }
        let mismatch = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x:4318"),
        ];
        assert_eq!(findings(&mismatch).len(), 1);
    }

    #[test]
    fn credentials_of_a_url_are_not_shown() {
        assert_eq!(without_user("http://me:hidden@host:1/a"), "http://host:1/a");
    }
}
