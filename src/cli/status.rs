//! `radiosonde status`: what a running agent does, read from its admin API.

use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::Endpoint;

use super::output;
use crate::admin::to_json;
use crate::admin::v1::admin_service_client::AdminServiceClient;
use crate::admin::v1::{Component, GetStatusRequest, GetStatusResponse};

/// Exit code when no agent answers.
pub const EXIT_UNREACHABLE: u8 = 3;
/// Exit code of an agent that does not take data or has a component in trouble.
const EXIT_UNHEALTHY: u8 = 1;

/// For connecting and for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Asks the agent at `endpoint` (`host:port`, with or without `http://`) and prints its answer.
pub fn status(endpoint: &str, format: Format) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    let answer = match runtime.block_on(ask(endpoint)) {
        Ok(answer) => answer,
        Err(message) => return complain(&message, EXIT_UNREACHABLE),
    };
    let text = match format {
        Format::Text => as_text(&answer),
        Format::Json => format!("{:#}\n", to_json(&answer)),
    };
    output::text(&text);
    if is_healthy(&answer) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_UNHEALTHY)
    }
}

async fn ask(endpoint: &str) -> Result<GetStatusResponse, String> {
    let url = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    };
    let unreachable = |reason: &dyn std::fmt::Display| format!("no agent answers at {url}: {reason}");
    let channel = Endpoint::from_shared(url.clone()).map_err(|error| unreachable(&error))?;
    let channel = channel.connect_timeout(PATIENCE).timeout(PATIENCE).connect().await;
    let channel = channel.map_err(|error| unreachable(&root_cause(&error)))?;
    let answer = AdminServiceClient::new(channel).get_status(GetStatusRequest {}).await;
    Ok(answer.map_err(|status| unreachable(&status.message()))?.into_inner())
}

/// `connection refused` says more than `transport error`.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn complain(message: &str, code: u8) -> ExitCode {
    // Nobody is left to be told.
    output::stderr(&format!("{message}\n"));
    ExitCode::from(code)
}

fn is_healthy(status: &GetStatusResponse) -> bool {
    status.ready && status.components.iter().all(|component| component.message.is_empty())
}

/// For people: pipelines, then every component with what passes through it, then what was lost.
fn as_text(status: &GetStatusResponse) -> String {
    let ready = if status.ready { "ready" } else { "not ready" };
    let uptime = Duration::from_secs(status.uptime_seconds as u64);
    let mut lines = vec![format!(
        "radiosonde {}  {ready}  up {}",
        status.version,
        plain_duration(uptime)
    )];
    if let Some(memory) = &status.memory {
        let limit = match memory.limit_bytes {
            0 => "no limit".to_owned(),
            bytes => mebibytes(bytes),
        };
        let (admitted, resident) = (mebibytes(memory.admitted_bytes), mebibytes(memory.resident_bytes));
        lines.push(format!(
            "memory  {admitted} of telemetry ({limit}), {resident} resident"
        ));
    }
    lines.push(String::new());
    for pipeline in &status.pipelines {
        let through = [&pipeline.receivers, &pipeline.processors, &pipeline.exporters];
        let through: Vec<String> = through
            .iter()
            .filter(|ids| !ids.is_empty())
            .map(|ids| ids.join(", "))
            .collect();
        lines.push(format!("pipeline {}: {}", pipeline.name, through.join(" > ")));
    }
    lines.push(String::new());
    for component in &status.components {
        lines.extend(component_lines(component));
    }
    if !status.dropped.is_empty() {
        lines.push(String::new());
    }
    for loss in &status.dropped {
        lines.push(format!(
            "DROPPED {} {} by {}: {}",
            loss.items, loss.signal, loss.component, loss.reason
        ));
    }
    lines.push(String::new());
    // Ids and messages come from a configuration and from far ends: a terminal must not obey them.
    lines
        .iter()
        .map(|line| without_control(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn component_lines(component: &Component) -> Vec<String> {
    let state = crate::admin::state_name(component.state());
    let mut head = format!("{} {}: {state}", component.kind, component.id);
    if !component.message.is_empty() {
        head.push_str(&format!(" ({})", component.message));
    }
    let mut lines = vec![head];
    for flow in component.flows.iter().filter(|flow| flow.items > 0) {
        let rate = flow.items_per_second;
        lines.push(format!(
            "    {:<8} {:<15} {:>12}  {rate:.1}/s",
            flow.signal, flow.what, flow.items
        ));
    }
    for queue in &component.queues {
        lines.push(format!(
            "    {:<8} {:<15} {:>12}  of {}",
            queue.signal, "queued", queue.size, queue.capacity
        ));
    }
    lines
}

fn without_control(line: &str) -> String {
    line.chars().filter(|character| !character.is_control()).collect()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// `3d 4h`, `5m 6s`: the two largest units.
pub fn plain_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        ("d", seconds / 86_400),
        ("h", seconds / 3600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let first = units.iter().position(|(_, count)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = units[first..]
        .iter()
        .take(2)
        .map(|(unit, count)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::v1::component::State;
    use crate::admin::v1::{Dropped, Flow, Pipeline};

    fn example() -> GetStatusResponse {
        GetStatusResponse {
            version: "0.1.0".to_owned(),
            uptime_seconds: 3_700.0,
            ready: true,
            pipelines: vec![Pipeline {
                name: "traces".to_owned(),
                receivers: vec!["otlp".to_owned()],
                exporters: vec!["otlp/backup".to_owned()],
                ..Pipeline::default()
            }],
            components: vec![Component {
                kind: "exporter".to_owned(),
                id: "otlp/backup".to_owned(),
                state: State::Degraded.into(),
                message: "no route\u{1b}[2J".to_owned(),
                flows: vec![Flow {
                    signal: "traces".to_owned(),
                    what: "sent".to_owned(),
                    items: 42,
                    items_per_second: 1.5,
                }],
                ..Component::default()
            }],
            dropped: vec![Dropped {
                component: "otlp/backup".to_owned(),
                signal: "traces".to_owned(),
                reason: "retry_limit".to_owned(),
                items: 7,
            }],
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn the_text_names_pipelines_trouble_rates_and_losses() {
        let text = as_text(&example());
        for expected in [
            "radiosonde 0.1.0  ready  up 1h 1m",
            "pipeline traces: otlp > otlp/backup",
            "exporter otlp/backup: degraded (no route[2J)",
            "1.5/s",
            "DROPPED 7 traces by otlp/backup: retry_limit",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_component_in_trouble_is_unhealthy() {
        let mut status = example();
        assert!(!is_healthy(&status));
        status.components.clear();
        assert!(is_healthy(&status));
    }

    #[test]
    fn nobody_there_is_said_with_the_reason() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap().to_string();
        drop(held);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let message = runtime.block_on(ask(&address)).unwrap_err();
        assert!(message.contains("refused") && message.contains(&address), "{message}");
    }
}
