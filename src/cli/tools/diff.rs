//! `radiosonde diff`: two runs or two traces beside each other.

use clap::Args;
use serde_json::Value as Json;

use super::query::link;
use super::{Failed, Format, show};
use crate::cli::client::{Api, StoreArgs};
use crate::cli::colour::Colour;
use crate::cli::dev::number;
use crate::cli::output;
use crate::dev::terminal::text::{Ink, Style, duration_text, harmless};

/// `diff`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 ok, 1 with --fail-on-change where something was added, removed, slower or faster, or no such id, \
    3 no agent answers."
)]
pub struct DiffArgs {
    /// A run (r-...) or a trace, or the beginning of its id.
    pub a: String,
    /// The other.
    pub b: String,
    /// Exit 1 unless both are the same.
    #[arg(long)]
    pub fail_on_change: bool,
    #[command(flatten)]
    pub store: StoreArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// Prints the difference.
pub async fn diff(args: &DiffArgs) -> Result<u8, Failed> {
    let api = Api::reading(&args.store).await?;
    let mut answer = api.get("/api/v1/compare", &[("a", &args.a), ("b", &args.b)]).await?;
    let differs = rows_of(&answer).iter().any(|row| row["change"] != "same");
    answer["link"] = Json::from(link(api.base(), "compare", &[("a", &args.a), ("b", &args.b)]));
    let style = Style {
        is_ascii: false,
        is_coloured: args.color.of_stdout() && args.format == Format::Text,
    };
    let text = match args.format {
        Format::Json => format!("{answer}\n"),
        Format::Jsonl => rows_of(&answer).iter().map(|row| format!("{row}\n")).collect(),
        Format::Text | Format::Md => as_text(&answer, args.format, style),
    };
    output::text(&text);
    Ok(u8::from(differs && args.fail_on_change))
}

fn rows_of(answer: &Json) -> &[Json] {
    answer["rows"].as_array().map_or(&[][..], Vec::as_slice)
}

fn as_text(answer: &Json, format: Format, style: Style) -> String {
    /// Rows of an answer.
    const MOST: usize = 200;
    let rows = rows_of(answer);
    let name = |side: &str| harmless(&show::plain(&answer[side]));
    let mut text = format!("{} {} and {}\n", show::plain(&answer["kind"]), name("a"), name("b"));
    let of = |side: &Json| match number(&side["duration"]) {
        Some(nanos) => format!(
            "{}{}{}",
            show::plain(&side["count"]),
            style.times(),
            duration_text(nanos)
        ),
        None => "-".to_owned(),
    };
    for row in rows.iter().filter(|row| row["change"] != "same").take(MOST) {
        let change = show::plain(&row["change"]);
        let (sign, ink) = match change.as_str() {
            "added" => ("+", Ink::Yellow),
            "removed" => ("-", Ink::Yellow),
            "slower" => ("^", Ink::Slow),
            "faster" => ("v", Ink::Plain),
            _ => (" ", Ink::Plain),
        };
        let what = format!("{} {}", show::plain(&row["service"]), show::plain(&row["name"]));
        let line = format!(
            "{sign} {change:<8} {}  {} > {}",
            harmless(&what),
            of(&row["a"]),
            of(&row["b"])
        );
        let mark = if format == Format::Md { "- " } else { "" };
        text.push_str(&format!("{mark}{}\n", style.paint(&line, ink)));
    }
    let same = rows.iter().filter(|row| row["change"] == "same").count();
    text.push_str(&format!("{same} the same\n"));
    for attribute in answer["attributes"].as_array().into_iter().flatten().take(40) {
        let side = |side: &str| harmless(&show::plain(&attribute[side]));
        text.push_str(&format!(
            "{}: {} > {}\n",
            harmless(&show::plain(&attribute["key"])),
            side("a"),
            side("b")
        ));
    }
    if let Some(link) = answer["link"].as_str() {
        text.push_str(&format!("{link}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_listed_and_the_rest_is_counted() {
        let side = |ms: u64| json!({"count": 1, "duration": (ms * 1_000_000).to_string(), "errors": 0});
        let answer = json!({"kind": "runs", "a": "r-1", "b": "r-2", "link": "l", "rows": [
            {"service": "web", "name": "GET /", "change": "slower", "a": side(48), "b": side(210)},
            {"service": "web", "name": "SELECT", "change": "same", "a": side(1), "b": side(1)},
            {"service": "fx", "name": "new", "change": "added", "a": null, "b": side(3)},
        ]});
        let style = Style {
            is_ascii: true,
            is_coloured: false,
        };
        let text = as_text(&answer, Format::Text, style);
        assert!(text.contains("^ slower   web GET /  1x48ms > 1x210ms"), "{text}");
        assert!(text.contains("+ added    fx new  - > 1x3ms"), "{text}");
        assert!(text.contains("1 the same") && !text.contains("SELECT"), "{text}");
    }
}
