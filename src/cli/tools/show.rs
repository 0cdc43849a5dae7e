//! Answers of the API as text, JSON, lines of JSON or Markdown; bounded, so that they fit a conversation.

use serde_json::{Value as Json, json};

use super::Format;
use crate::cli::dev::number;
use crate::dev::terminal::text::{Ink, Style, cut, duration_text, harmless, width};

/// Bytes of an answer where nobody asked for more.
pub const FITTING: usize = 16 << 10;

/// A column of a table.
pub struct Column {
    pub name: &'static str,
    pub is_number: bool,
    /// More than this is cut in a table for people.
    pub most: usize,
    pub value: fn(&Json) -> String,
}

/// The columns of a kind of list.
pub fn columns_of(kind: &str) -> Vec<Column> {
    let text = |name: &'static str, most: usize, value: fn(&Json) -> String| Column {
        name,
        is_number: false,
        most,
        value,
    };
    let number = |name: &'static str, value: fn(&Json) -> String| Column {
        name,
        is_number: true,
        most: 24,
        value,
    };
    match kind {
        "traces" => vec![
            text("time", 24, |row| time_text(&row["start"])),
            text("trace", 8, |row| short(&row["trace_id"])),
            text("root", 40, |row| word(&row["root"]["name"], "(no root)")),
            text("service", 24, |row| word(&row["root"]["service"], "")),
            text("status", 8, |row| status_text(&row["root"])),
            number("duration", |row| nanos(&row["duration"])),
            number("spans", |row| plain(&row["spans"])),
            number("errors", |row| plain(&row["errors"])),
        ],
        "spans" => vec![
            text("trace", 8, |row| short(&row["trace_id"])),
            text("span", 16, |row| plain(&row["span_id"])),
            text("service", 24, |row| plain(&row["service"])),
            text("name", 48, |row| plain(&row["name"])),
            text("kind", 8, |row| plain(&row["kind"])),
            text("status", 6, |row| plain(&row["status"])),
            number("duration", |row| nanos(&row["duration"])),
        ],
        "logs" => vec![
            text("time", 24, |row| time_text(&row["time"])),
            text("level", 5, |row| plain(&row["severity"]["level"])),
            text("service", 24, |row| plain(&row["service"])),
            text("trace", 8, |row| short(&row["trace_id"])),
            text("body", 120, |row| plain(&row["body"])),
        ],
        "metrics" => vec![
            text("name", 60, |row| plain(&row["name"])),
            text("type", 12, |row| plain(&row["type"])),
            text("unit", 12, |row| plain(&row["unit"])),
            number("series", |row| plain(&row["series"])),
            number("points", |row| plain(&row["points"])),
            text("services", 40, |row| joined(&row["services"])),
        ],
        "errors" => vec![
            number("count", |row| plain(&row["count"])),
            text("service", 24, |row| plain(&row["service"])),
            text("type", 32, |row| plain(&row["type"])),
            text("message", 60, |row| plain(&row["message"])),
            text("last", 24, |row| time_text(&row["last"])),
            text("trace", 8, |row| short(&row["trace_id"])),
        ],
        "services" => vec![
            text("service", 32, |row| plain(&row["name"])),
            number("spans", |row| plain(&row["spans"])),
            number("errors", |row| plain(&row["errors"])),
            number("p50", |row| nanos(&row["p50"])),
            number("p95", |row| nanos(&row["p95"])),
            number("p99", |row| nanos(&row["p99"])),
            text("sdk", 24, |row| plain(&row["sdk"])),
            text("language", 12, |row| plain(&row["language"])),
        ],
        "slow" => vec![
            text("service", 24, |row| plain(&row["service"])),
            text("operation", 48, |row| plain(&row["name"])),
            number("count", |row| plain(&row["count"])),
            number("p50", |row| nanos(&row["p50"])),
            number("p95", |row| nanos(&row["p95"])),
            number("p99", |row| nanos(&row["p99"])),
        ],
        "alerts" => vec![
            text("severity", 8, |row| plain(&row["severity"])),
            text("rule", 24, |row| plain(&row["rule"])),
            text("state", 8, |row| plain(&row["state"])),
            number("count", |row| plain(&row["count"])),
            text("title", 80, |row| plain(&row["title"])),
        ],
        _ => Vec::new(),
    }
}

fn short(value: &Json) -> String {
    value.as_str().unwrap_or_default().chars().take(8).collect()
}

fn word(value: &Json, otherwise: &str) -> String {
    value.as_str().unwrap_or(otherwise).to_owned()
}

fn joined(value: &Json) -> String {
    let words = value.as_array().into_iter().flatten().filter_map(Json::as_str);
    words.collect::<Vec<&str>>().join(" ")
}

/// Anything as one line.
pub fn plain(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn nanos(value: &Json) -> String {
    number(value).map(duration_text).unwrap_or_default()
}

fn status_text(root: &Json) -> String {
    match (&root["http_status"], &root["status"]) {
        (Json::Number(code), _) => code.to_string(),
        (_, Json::String(status)) if status != "unset" => status.clone(),
        _ => String::new(),
    }
}

/// `2026-11-20T14:20:31.008Z`.
pub fn time_text(value: &Json) -> String {
    let stamp = number(value).and_then(|nanos| jiff::Timestamp::from_nanosecond(nanos.into()).ok());
    stamp.map(|stamp| format!("{stamp:.3}")).unwrap_or_default()
}

/// A list in the wanted form. `list` is the name of the items in the answer.
pub fn list(answer: &Json, list: &str, kind: &str, format: Format, style: Style) -> String {
    let items = answer[list].as_array().map_or(&[][..], Vec::as_slice);
    let columns = columns_of(kind);
    match format {
        Format::Json => format!("{answer}\n"),
        Format::Jsonl => items.iter().map(|item| format!("{item}\n")).collect(),
        // What has no columns of its own is shown as it is.
        Format::Text | Format::Md if columns.is_empty() => format!("{answer:#}\n"),
        Format::Text => format!("{}{}", table(items, &columns, style), remarks(answer, items.len())),
        Format::Md => format!("{}{}", markdown(items, &columns), remarks(answer, items.len())),
    }
}

fn cells(items: &[Json], columns: &[Column]) -> Vec<Vec<String>> {
    let row = |item: &Json| columns.iter().map(|column| harmless(&(column.value)(item))).collect();
    items.iter().map(row).collect()
}

fn table(items: &[Json], columns: &[Column], style: Style) -> String {
    if items.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = cells(items, columns)
        .into_iter()
        .map(|row| {
            row.iter()
                .zip(columns)
                .map(|(cell, column)| cut(cell, column.most, style))
                .collect()
        })
        .collect();
    let mut widths: Vec<usize> = columns.iter().map(|column| column.name.len()).collect();
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(width(cell));
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for ((cell, column), columns_wide) in cells.into_iter().zip(columns).zip(&widths) {
            let blanks = " ".repeat(columns_wide.saturating_sub(width(cell)));
            if !text.is_empty() {
                text.push_str("  ");
            }
            text.push_str(&if column.is_number {
                format!("{blanks}{cell}")
            } else {
                format!("{cell}{blanks}")
            });
        }
        text.trim_end().to_owned()
    };
    let head = line(columns.iter().map(|column| column.name).collect());
    let mut text = format!("{}\n", style.paint(&head, Ink::Dim));
    for (row, item) in rows.iter().zip(items) {
        let is_bad = item["errors"].as_u64().is_some_and(|errors| errors > 0) || item["status"] == "error";
        let row = line(row.iter().map(String::as_str).collect());
        text.push_str(&style.paint(&row, if is_bad { Ink::Red } else { Ink::Plain }));
        text.push('\n');
    }
    text
}

fn markdown(items: &[Json], columns: &[Column]) -> String {
    if items.is_empty() {
        return String::new();
    }
    // A bar or a line break in a value must not break the table.
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let rules: Vec<&str> = columns
        .iter()
        .map(|column| if column.is_number { "---:" } else { "---" })
        .collect();
    let mut text = format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | "));
    for row in cells(items, columns) {
        let row: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text.push('\n');
    text
}

/// What is to be known of a list besides its rows.
fn remarks(answer: &Json, shown: usize) -> String {
    let mut lines = Vec::new();
    if let Some(why) = answer["empty"].as_str() {
        lines.push(format!("nothing: {why}"));
    }
    let total = number(&answer["total"]).unwrap_or(shown as u64);
    if answer["truncated"] == true || total > shown as u64 {
        let next = match answer["cursor"].as_str() {
            Some(cursor) => format!("; --cursor {cursor} goes on"),
            None => "; --limit shows more".to_owned(),
        };
        lines.push(format!("{shown} of {total}{next}"));
    }
    for tomb in answer["pruned"].as_array().into_iter().flatten().take(3) {
        let (at, reason) = (time_text(&tomb["at"]), plain(&tomb["reason"]));
        lines.push(format!(
            "pruned at {at} ({reason}): {} spans, {} log records",
            plain(&tomb["spans"]),
            plain(&tomb["log_records"])
        ));
    }
    if let Some(link) = answer["link"].as_str() {
        lines.push(link.to_owned());
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// How many of the items fit into [`FITTING`] bytes, at least one.
pub fn how_many_fit(answer: &Json, list: &str) -> usize {
    let items = answer[list].as_array().map_or(&[][..], Vec::as_slice);
    let mut used = 512;
    for (number, item) in items.iter().enumerate() {
        used += item.to_string().len() + 1;
        if used > FITTING {
            return number.max(1);
        }
    }
    items.len()
}

/// A trace as an indented tree, or as an indented Markdown list.
pub fn trace(answer: &Json, format: Format, style: Style) -> String {
    if format == Format::Json {
        return format!("{answer}\n");
    }
    let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
    if format == Format::Jsonl {
        return rows.iter().map(|row| format!("{row}\n")).collect();
    }
    let summary = &answer["trace"];
    let mut text = format!(
        "{}trace {}  {}  {}  {} spans, {} errors\n",
        if format == Format::Md { "## " } else { "" },
        plain(&summary["trace_id"]),
        time_text(&summary["start"]),
        nanos(&summary["duration"]),
        plain(&summary["spans"]),
        plain(&summary["errors"]),
    );
    for row in rows {
        let depth = row["depth"].as_u64().unwrap_or(0).min(40) as usize;
        let is_bad = row["status"] == "error";
        let alike = row["alike"]["count"].as_u64().filter(|count| *count > 1);
        let alike = alike
            .map(|count| format!(" {}{count}", style.times()))
            .unwrap_or_default();
        let message = row["status_message"].as_str().filter(|message| !message.is_empty());
        let failure = match (is_bad, message) {
            (true, Some(message)) => format!("  {} {}", style.error_mark(), harmless(message)),
            (true, None) => format!("  {} error", style.error_mark()),
            _ => String::new(),
        };
        let line = format!(
            "{}  {}{alike}  {}  {}{failure}",
            harmless(&plain(&row["service"])),
            harmless(&plain(&row["name"])),
            nanos(&row["duration"]),
            plain(&row["span_id"]),
        );
        let indent = "  ".repeat(depth);
        let mark = if format == Format::Md { "- " } else { "" };
        text.push_str(&format!(
            "{indent}{mark}{}\n",
            style.paint(&line, if is_bad { Ink::Red } else { Ink::Plain })
        ));
    }
    for finding in answer["lints"].as_array().into_iter().flatten() {
        let title = harmless(&plain(&finding["title"]));
        text.push_str(&format!(
            "{} {}  {title}\n",
            style.warning_mark(),
            plain(&finding["rule"])
        ));
    }
    let total = number(&answer["rows_total"]).unwrap_or(rows.len() as u64);
    let head = json!({"total": total, "truncated": total > rows.len() as u64, "link": answer["link"]});
    text.push_str(&remarks(&head, rows.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        is_ascii: true,
        is_coloured: false,
    };

    fn answer() -> Json {
        json!({"v": 1, "total": 3, "truncated": true, "cursor": "c7", "traces": [
            {"trace_id": "a41c77e0".repeat(4), "start": "1800000000000000000", "duration": "212000000", "spans": 10,
             "errors": 1, "root": {"name": "GET | <b>\u{1b}[2J", "service": "web", "status": "error", "http_status": 502}},
        ]})
    }

    #[test]
    fn a_table_says_what_it_leaves_out_and_is_harmless() {
        let text = list(&answer(), "traces", "traces", Format::Text, STYLE);
        assert!(
            text.contains("a41c77e0") && text.contains("212ms") && text.contains("502"),
            "{text}"
        );
        assert!(text.contains("1 of 3; --cursor c7 goes on"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let text = list(&answer(), "traces", "traces", Format::Md, STYLE);
        assert!(text.contains("GET \\| &lt;b>"), "{text}");
        let nothing = json!({"traces": [], "total": 0, "empty": "outside the window"});
        assert_eq!(
            list(&nothing, "traces", "traces", Format::Text, STYLE),
            "nothing: outside the window\n"
        );
    }

    #[test]
    fn every_line_of_jsonl_is_a_record_and_answers_are_bounded() {
        let text = list(&answer(), "traces", "traces", Format::Jsonl, STYLE);
        assert_eq!(text.lines().count(), 1);
        let many = json!({"logs": vec![json!({"body": "x".repeat(1_000)}); 100]});
        assert_eq!(how_many_fit(&many, "logs"), 15);
        assert_eq!(how_many_fit(&json!({"logs": ["x".repeat(FITTING)]}), "logs"), 1);
    }
}
