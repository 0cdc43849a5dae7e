//! The first line of `dev`, and what it says at its end.

use serde_json::Value as Json;

use super::plan::Listening;
use crate::cli::client::{Api, ApiError};
use crate::dev::terminal::text::{Ink, Style, duration_text, harmless};

/// `radiosonde 0.1 dev  otlp :4317 :4318 (any protocol)  ui http://localhost:4320  store 3/512 MB`
pub fn first_line(listening: &Listening, page: &str, store: Option<(u64, u64)>) -> String {
    let version = env!("CARGO_PKG_VERSION").trim_end_matches(".0");
    let (grpc, http) = (Listening::short(&listening.grpc), Listening::short(&listening.http));
    let store = store.map(|(used, cap)| format!("  store {}/{} MB", mebibytes(used), mebibytes(cap)));
    format!(
        "radiosonde {version} dev  otlp {grpc} {http} (any protocol)  ui {page}{}",
        store.unwrap_or_default()
    )
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// What the keys do.
pub fn keys_line(style: Style) -> String {
    style.paint("keys  q quit  / filter  p pause  c clear  o open the page", Ink::Dim)
}

/// What a run came to: its traces, errors, the slowest, what was found, a link.
///
/// # Errors
/// Where the agent does not answer.
pub async fn summary(api: &Api, run: &str, page: &str, style: Style) -> Result<Vec<String>, ApiError> {
    let slowest = api
        .get(
            "/api/v1/traces",
            &[("run", run), ("sort", "duration"), ("limit", "1"), ("health", "1")],
        )
        .await?;
    let failed = api
        .get(
            "/api/v1/traces",
            &[
                ("run", run),
                ("sort", "errors"),
                ("limit", "1"),
                ("q", "status=error"),
                ("health", "1"),
            ],
        )
        .await?;
    let alerts = api.get("/api/v1/alerts", &[("run", run)]).await?;
    let count = |answer: &Json| answer["total"].as_u64().unwrap_or(0);
    let mut line = format!("{} trace{}", count(&slowest), plural(count(&slowest)));
    let errors = count(&failed);
    let with_errors = format!("{errors} with errors");
    line.push_str(", ");
    line.push_str(&style.paint(&with_errors, if errors > 0 { Ink::Red } else { Ink::Plain }));
    if let Some(trace) = slowest["traces"].get(0) {
        let name = harmless(trace["root"]["name"].as_str().unwrap_or("(no root)"));
        let duration = number(&trace["duration"]).unwrap_or(0);
        let id = trace["trace_id"].as_str().unwrap_or_default();
        let short = id.get(..8).unwrap_or(id);
        line.push_str(&format!(", slowest {name} {} {short}", duration_text(duration)));
    }
    let mut lines = vec![format!("run {run}: {line}")];
    let found = alerts["alerts"].as_array().map_or(&[][..], Vec::as_slice);
    for finding in found.iter().filter(|finding| finding["state"] == "firing").take(5) {
        let rule = harmless(finding["rule"].as_str().unwrap_or_default());
        let title = harmless(finding["title"].as_str().unwrap_or_default());
        let ink = if finding["severity"] == "critical" {
            Ink::Red
        } else {
            Ink::Yellow
        };
        let mark = style.paint(&format!("{} {rule}", style.warning_mark()), ink);
        lines.push(format!("  {mark}  {title}"));
    }
    lines.push(format!("  {page}/?run={run}"));
    Ok(lines)
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A number that may stand as text, as 64-bit ones do.
pub fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_and_how_much() {
        let listening = Listening {
            grpc: "localhost:4317".to_owned(),
            http: "0.0.0.0:4318".to_owned(),
            ui: "localhost:4320".to_owned(),
        };
        assert_eq!(
            first_line(&listening, "http://localhost:4320", Some((1, 512 << 20))),
            "radiosonde 0.1 dev  otlp :4317 0.0.0.0:4318 (any protocol)  ui http://localhost:4320  store 1/512 MB"
        );
    }
}
