//! `radiosonde tail`: what comes in, record by record.

use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use serde_json::Value as Json;

use super::{Failed, Format, show};
use crate::cli::client::{Api, StoreArgs};
use crate::cli::colour::Colour;
use crate::cli::output;
use crate::dev::terminal::text::{Style, harmless};

/// Bytes of one event of the stream.
const LONGEST_EVENT: usize = 16 << 20;

/// `tail`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  radiosonde tail\n  radiosonde tail logs --filter 'severity>=warn' --follow\n  \
    radiosonde tail traces --follow --format jsonl | jq .trace_id"
)]
pub struct TailArgs {
    #[arg(value_enum, default_value_t)]
    pub signal: Signal,
    /// Only what fits, in the query language.
    #[arg(long, value_name = "QUERY", default_value = "")]
    pub filter: String,
    /// Goes on as more comes in.
    #[arg(short, long)]
    pub follow: bool,
    /// Of what is there already.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: usize,
    #[command(flatten)]
    pub store: StoreArgs,
    /// json and jsonl are the same here: a record a line.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// What to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Signal {
    Traces,
    #[default]
    Logs,
}

impl Signal {
    fn topic(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
        }
    }
}

/// Prints the last, and with `--follow` what comes.
pub async fn tail(args: &TailArgs) -> Result<u8, Failed> {
    let api = Api::reading(&args.store).await?;
    let style = Style {
        is_ascii: false,
        is_coloured: args.color.of_stdout() && args.format == Format::Text,
    };
    if args.follow && !api.is_live() {
        return Err(Failed::new(
            2,
            "--follow needs an agent that runs: nothing comes into a stopped --data-dir",
        ));
    }
    let topic = args.signal.topic();
    // The stream first: what comes between the two is not missed.
    let stream = if args.follow {
        let asked = [("topics", topic), ("q", args.filter.as_str())];
        Some(api.stream("/api/v1/stream", &asked).await?)
    } else {
        None
    };
    if args.lines > 0 {
        let limit = args.lines.to_string();
        let path = format!("/api/v1/{topic}");
        let answer = api.get(&path, &[("q", &args.filter), ("limit", &limit)]).await?;
        let mut items = answer[topic].as_array().cloned().unwrap_or_default();
        // The newest is first in the answer and last in a tail.
        items.reverse();
        output::text(
            &items
                .iter()
                .map(|item| line(topic, item, args.format, style))
                .collect::<String>(),
        );
        if items.is_empty() && !args.follow {
            let why = answer["empty"].as_str().unwrap_or("nothing fits");
            output::stderr(&format!("nothing: {why}\n"));
        }
    }
    let Some(mut stream) = stream else { return Ok(0) };
    let mut events = Events::default();
    while let Some(frame) = stream.frame().await {
        let frame = frame.map_err(|error| Failed::new(3, format!("the stream ended: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        events.push(&bytes)?;
        while let Some((name, data)) = events.next_event() {
            show_event(args, &name, &data, style);
        }
    }
    Err(Failed::new(3, "the agent has ended the stream"))
}

fn show_event(args: &TailArgs, name: &str, data: &str, style: Style) {
    let Ok(data) = serde_json::from_str::<Json>(data) else {
        return;
    };
    if name == "gap" {
        output::stderr(&format!(
            "({} missed: more comes in than is read)\n",
            show::plain(&data["missed"])
        ));
        return;
    }
    let topic = args.signal.topic();
    let items = data[topic].as_array().map_or(&[][..], Vec::as_slice);
    let lines = items.iter().map(|item| line(topic, item, args.format, style));
    output::text(&lines.collect::<String>());
}

/// A record of a list of this kind as one line.
pub fn line(kind: &str, item: &Json, format: Format, style: Style) -> String {
    if format != Format::Text {
        return format!("{item}\n");
    }
    let columns = show::columns_of(kind);
    let cells = columns.iter().map(|column| harmless(&(column.value)(item)));
    let cells: Vec<String> = cells.filter(|cell| !cell.is_empty()).collect();
    let is_bad = item["errors"].as_u64().is_some_and(|errors| errors > 0)
        || item["status"] == "error"
        || matches!(item["severity"]["level"].as_str(), Some("error" | "fatal"));
    let ink = if is_bad {
        crate::dev::terminal::text::Ink::Red
    } else {
        crate::dev::terminal::text::Ink::Plain
    };
    format!("{}\n", style.paint(&cells.join("  "), ink))
}

/// Server-sent events out of the bytes of a stream (WHATWG HTML, section 9.2).
#[derive(Default)]
pub struct Events {
    buffer: Vec<u8>,
}

impl Events {
    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > LONGEST_EVENT {
            return Err(Failed::new(3, "an event of the stream is longer than 16 MiB"));
        }
        Ok(())
    }

    /// The next event that is there: its name and data. Comments (heartbeats) are none.
    pub fn next_event(&mut self) -> Option<(String, String)> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let (mut name, mut data) = (String::from("message"), String::new());
            for line in text.lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => name = value.to_owned(),
                    "data" => data.push_str(value),
                    _ => {}
                }
            }
            if !data.is_empty() {
                return Some((name, data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_pieces_and_heartbeats_are_none() {
        let mut events = Events::default();
        events.push(b": heartbeat\n\nid: 7\nevent: lo").unwrap();
        assert_eq!(events.next_event(), None);
        events.push(b"gs\ndata: {\"logs\":[]}\n\n").unwrap();
        assert_eq!(
            events.next_event(),
            Some(("logs".to_owned(), "{\"logs\":[]}".to_owned()))
        );
        assert_eq!(events.next_event(), None);
        assert!(events.push(&vec![0; LONGEST_EVENT + 1]).is_err());
    }
}
