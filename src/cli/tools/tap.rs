//! `radiosonde tap COMPONENT`: the records that pass a component of a running agent, `run` or `dev`.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use serde_json::Value as Json;

use super::tail::line;
use super::{Failed, Format};
use crate::cli::client::{AgentArgs, Api};
use crate::cli::colour::Colour;
use crate::cli::output;
use crate::dev::answers::{self, Ask};
use crate::dev::query::Query;
use crate::dev::store::Store;
use crate::dev::terminal::text::Style;
use crate::pdata::{Batch, DoorLimits, Origin, Signal};

/// Bytes of one line of the stream: a request of 64 MiB, as JSON.
const LONGEST_LINE: usize = 512 << 20;
/// Records of one batch that are shown as text.
const MOST_RECORDS: usize = 10_000;

/// `tap`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "A receiver, processor or connector shows what it gives on, an exporter what it is given.\n\nExamples:\n  \
    radiosonde tap otlp\n  radiosonde tap filter --signal logs --filter 'severity>=warn'\n  \
    radiosonde tap otlp/backup --kind exporter --limit 1 --format json > request.json"
)]
pub struct TapArgs {
    /// Its id in the configuration: otlp, batch, otlp/backup.
    #[arg(value_name = "COMPONENT")]
    pub component: String,
    /// Where two components have this id.
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    #[arg(long, value_enum)]
    pub signal: Option<Passing>,
    /// Only records that fit, in the query language.
    #[arg(long, value_name = "QUERY", default_value = "")]
    pub filter: String,
    /// Ends after so many records (with --format json: requests).
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub agent: AgentArgs,
    /// json is a whole OTLP/JSON request a line, jsonl a record a line.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// What kind of component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Receiver,
    Processor,
    Exporter,
    Connector,
}

/// What passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Passing {
    Traces,
    Metrics,
    Logs,
}

/// The name that the API knows it by.
fn name_of(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Shows until the agent ends, the limit is reached or somebody ends it.
pub async fn tap(args: &TapArgs) -> Result<u8, Failed> {
    if args.format == Format::Md {
        return Err(Failed::new(2, "tap has no Markdown: text, json or jsonl"));
    }
    if args.format == Format::Json && !args.filter.is_empty() {
        return Err(Failed::new(
            2,
            "--format json shows whole requests: --filter goes with text and jsonl",
        ));
    }
    if let Err(error) = Query::parse(&args.filter, 0) {
        return Err(Failed::new(
            2,
            format!("--filter: {} (at character {})", error.error, error.position + 1),
        ));
    }
    let api = Api::new(&args.agent);
    let kind = args.kind.map(name_of).unwrap_or_default();
    let signal = args.signal.map(name_of).unwrap_or_default();
    let asked = [
        ("component", args.component.as_str()),
        ("kind", &kind),
        ("signal", &signal),
    ];
    let mut stream = api.stream("/api/v1/tap", &asked).await?;
    let style = Style {
        is_ascii: false,
        is_coloured: args.color.of_stdout() && args.format == Format::Text,
    };
    let mut lines = Lines::default();
    let mut left = args.limit.unwrap_or(usize::MAX);
    while let Some(frame) = stream.frame().await {
        let frame = frame.map_err(|error| Failed::new(3, format!("the stream ended: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        lines.push(&bytes)?;
        while let Some(text) = lines.next_line() {
            left = left.saturating_sub(show(args, &text, left, style));
            if left == 0 {
                return Ok(0);
            }
        }
    }
    Err(Failed::new(
        3,
        "the agent has ended the stream, or the component is gone",
    ))
}

/// One batch. How many records (or requests) were written, at most `left`.
fn show(args: &TapArgs, text: &[u8], left: usize, style: Style) -> usize {
    let Ok(told) = serde_json::from_slice::<Told<'_>>(text) else {
        return 0;
    };
    if let Some(watching) = told.watching {
        let places: Vec<String> = watching
            .iter()
            .map(|place| format!("{} {}", plain(&place["kind"]), plain(&place["id"])))
            .collect();
        output::stderr(&format!("(looking at {}; Ctrl-C ends)\n", places.join(", ")));
        return 0;
    }
    if told.missed > 0 {
        output::stderr(&format!("({} items missed: more passes than is read)\n", told.missed));
    }
    let (Some(request), Some(signal)) = (told.request, signal_of(&told.signal)) else {
        if let Some(error) = told.error {
            output::stderr(&format!("(a batch of {} items is not shown: {error})\n", told.items));
        }
        return 0;
    };
    if args.format == Format::Json {
        output::text(&format!("{}\n", request.get()));
        return 1;
    }
    let records = match records_of(signal, request.get(), &args.filter) {
        Ok(records) => records,
        Err(problem) => {
            output::stderr(&format!("(a batch of {} items is not shown: {problem})\n", told.items));
            return 0;
        }
    };
    let shown = records.len().min(left);
    let kind = list_of(signal);
    let text: String = records[..shown]
        .iter()
        .map(|record| line(kind, record, args.format, style))
        .collect();
    output::text(&text);
    shown
}

fn plain(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

/// A line of the stream.
#[derive(serde::Deserialize)]
struct Told<'a> {
    #[serde(default)]
    watching: Option<Vec<Json>>,
    #[serde(default)]
    signal: String,
    #[serde(default)]
    items: u64,
    #[serde(default)]
    missed: u64,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, borrow)]
    request: Option<&'a serde_json::value::RawValue>,
}

fn signal_of(name: &str) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| signal.name() == name)
}

/// The name of the list in the answers.
fn list_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "spans",
        Signal::Metrics => "metrics",
        Signal::Logs => "logs",
    }
}

/// The records of a request that fit, oldest first, in the form of the API's lists; metrics are told by name.
fn records_of(signal: Signal, request: &str, filter: &str) -> Result<Vec<Json>, String> {
    let admitted = Batch::from_json(
        signal,
        request.as_bytes(),
        &DoorLimits::default(),
        Arc::new(Origin::default()),
    );
    let admitted = admitted.map_err(|error| error.to_string())?;
    // A store for this one batch: its answers are those of `query`.
    let store = Store::default();
    store.take(admitted.batch);
    let ask = Ask::all(filter, MOST_RECORDS, store.now()).map_err(|failure| failure.to_string())?;
    let answer = match signal {
        Signal::Traces => serde_json::to_value(answers::spans(&store, &ask)),
        Signal::Metrics => serde_json::to_value(answers::metrics(&store, &ask)),
        Signal::Logs => serde_json::to_value(answers::logs(&store, &ask)),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let Json::Array(mut records) = answer[list_of(signal)].take() else {
        return Ok(Vec::new());
    };
    records.reverse();
    Ok(records)
}

/// Whole lines out of the bytes of a stream.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Up to here there is no line break.
    looked_at: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > LONGEST_LINE {
            return Err(Failed::new(3, "a line of the stream is longer than 512 MiB"));
        }
        Ok(())
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.looked_at..]) else {
            self.looked_at = self.buffer.len();
            return None;
        };
        let end = self.looked_at + end;
        self.looked_at = 0;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_pieces() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\":").unwrap();
        assert_eq!(lines.next_line(), None);
        lines.push(b"1}\n\n{").unwrap();
        assert_eq!(lines.next_line().as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next_line().as_deref(), Some(&b""[..]));
        assert_eq!(lines.next_line(), None);
    }

    #[test]
    fn records_of_a_request_are_those_that_fit() {
        let span = |id: &str, name: &str| {
            format!(
                "{{\"traceId\":\"{:0>32}\",\"spanId\":\"{id:0>16}\",\"name\":\"{name}\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":\"5\"}}",
                1
            )
        };
        let request = format!(
            "{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{},{}]}}]}}]}}",
            span("1", "cart"),
            span("2", "quote")
        );
        let all = records_of(Signal::Traces, &request, "").unwrap();
        assert_eq!(all.len(), 2);
        let some = records_of(Signal::Traces, &request, "name=quote").unwrap();
        assert_eq!(some.len(), 1);
        let style = Style {
            is_ascii: true,
            is_coloured: false,
        };
        let text = line("spans", &some[0], Format::Text, style);
        assert!(
            text.contains("quote") && text.contains("4ns") && text.ends_with('\n'),
            "{text}"
        );
        assert!(records_of(Signal::Traces, "{", "").is_err());
    }
}
