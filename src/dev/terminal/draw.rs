//! Lines of the terminal view: the head of a trace, its rows, what came late, what was found.

use jiff::tz::TimeZone;

use super::text::{Ink, Style, cut, duration_text, fit, harmless, hue_of, width};
use super::tree::{Row, rows};
use crate::dev::seen::{LogSeen, SpanSeen, TraceId};

/// Columns of a bar.
const BAR: usize = 20;
/// Rows of one trace; the rest is counted.
const MOST_ROWS: usize = 40;
/// Log lines below one trace.
const MOST_LOGS: usize = 5;
/// Alike calls below one parent from which on it is worth a hint.
pub const MANY_ALIKE: usize = 5;

/// Where lines go to.
#[derive(Clone, Debug)]
pub struct Paper {
    pub style: Style,
    /// Columns.
    pub width: usize,
    pub zone: TimeZone,
}

/// What the head of a trace says.
pub struct Head<'a> {
    pub trace: TraceId,
    /// The root, or the earliest span while there is none.
    pub top: &'a SpanSeen,
    pub spans: u64,
    pub errors: u64,
    /// Slower than 95 % of its kind so far.
    pub is_slow: bool,
    /// In the order of their first spans.
    pub services: Vec<&'a str>,
}

/// The first digits of a trace id.
pub fn short_id(trace: &TraceId) -> String {
    hex::encode(&trace[..4])
}

impl Paper {
    /// `14:20:31.008` of nanoseconds since the epoch.
    pub fn time(&self, nanos: u64) -> String {
        match jiff::Timestamp::from_nanosecond(nanos.into()) {
            Ok(stamp) => stamp.to_zoned(self.zone.clone()).strftime("%H:%M:%S.%3f").to_string(),
            Err(_) => "--:--:--.---".to_owned(),
        }
    }

    /// `14:20:31.008  GET /quote  502  212ms  web > pricing > fx   10 spans 1 err  a41c77e0`
    pub fn head(&self, head: &Head<'_>) -> String {
        let style = self.style;
        let top = head.top;
        let time = self.time(top.start);
        let status = status_text(top, style);
        let duration = duration_text(top.duration());
        let mut counts = format!("{} span{}", head.spans, if head.spans == 1 { "" } else { "s" });
        if head.errors > 0 {
            counts.push_str(&format!(" {} err", head.errors));
        }
        let id = short_id(&head.trace);
        let fixed = width(&time) + width(&status) + width(&duration) + width(&counts) + width(&id) + 12;
        let free = self.width.saturating_sub(fixed);
        let services = harmless(&head.services.join(" > "));
        let name = harmless(&top.name);
        // The name comes first; services have what it leaves, but a third of it.
        let for_services = width(&services).min(free.saturating_sub(width(&name)).max(free / 3));
        let name = cut(&name, free.saturating_sub(for_services), style);
        let services = cut(&services, for_services, style);
        let failed = head.errors > 0 || top.is_error;
        let slow = if head.is_slow { Ink::Slow } else { Ink::Dim };
        let pieces = [
            style.paint(&time, Ink::Dim),
            style.paint(&name, if failed { Ink::Red } else { Ink::Plain }),
            style.paint(&status, if top.is_error { Ink::Red } else { Ink::Plain }),
            style.paint(&duration, slow),
            services,
            style.paint(&counts, if failed { Ink::Red } else { Ink::Dim }),
            style.paint(&id, Ink::Dim),
        ];
        let pieces: Vec<String> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        pieces.join("  ")
    }

    /// The rows below the head.
    pub fn body(&self, spans: &[SpanSeen], logs: &[LogSeen], not_kept: u64) -> Vec<String> {
        let rows = rows(spans);
        let from = rows.iter().map(|row| row.start).min().unwrap_or(0);
        let to = rows.iter().map(|row| row.end).max().unwrap_or(0);
        let shown = &rows[..rows.len().min(MOST_ROWS)];
        let branches = branches(shown, self.style);
        let service_width =
            |(row, branch): (&Row<'_>, &String)| width(branch) + width(&harmless(&row.span.service.name));
        let first = shown
            .iter()
            .zip(&branches)
            .map(service_width)
            .max()
            .unwrap_or(0)
            .min(24);
        let mut lines = Vec::new();
        for (row, branch) in shown.iter().zip(&branches) {
            lines.push(self.row(row, branch, first, (from, to)));
        }
        let hidden: usize = rows[shown.len()..].iter().map(|row| row.count).sum();
        let hidden = not_kept + hidden as u64;
        if hidden > 0 {
            lines.push(self.style.paint(&format!("  ({hidden} more spans)"), Ink::Dim));
        }
        for log in logs.iter().take(MOST_LOGS) {
            lines.push(format!("  {}", self.log(log, self.width.saturating_sub(2))));
        }
        if logs.len() > MOST_LOGS {
            let more = format!("  ({} more log records)", logs.len() - MOST_LOGS);
            lines.push(self.style.paint(&more, Ink::Dim));
        }
        lines
    }

    fn row(&self, row: &Row<'_>, branch: &str, first: usize, (from, to): (u64, u64)) -> String {
        let style = self.style;
        let span = row.span;
        let service = harmless(&span.service.name);
        let service = fit(&service, first.saturating_sub(width(branch)), style);
        let (remark, ink) = remark(row, style);
        let duration = format!("{:>7}", duration_text(row.sum));
        let with_bar = self.width >= 60;
        let fixed = 2 + first + 1 + 1 + width(&duration) + if with_bar { BAR + 3 } else { 0 } + 1;
        let free = self.width.saturating_sub(fixed);
        let mut name = harmless(&span.name);
        if row.count > 1 {
            let count = format!(" {}{}", style.times(), row.count);
            name = format!("{}{count}", cut(&name, 40_usize.saturating_sub(count.len()), style));
        }
        let for_name = free.saturating_sub(width(&remark)).clamp(free.min(20), free.min(40));
        let name = fit(&name, for_name, style);
        let remark = cut(&remark, free.saturating_sub(for_name), style);
        let mut line = format!(
            "  {branch}{} {name} {}",
            style.paint(&service, Ink::Hue(hue_of(&span.service.name))),
            style.paint(&duration, Ink::Dim)
        );
        if with_bar {
            line.push(' ');
            line.push_str(&bar((row.start, row.end), (from, to), style));
        }
        if !remark.is_empty() {
            line.push(' ');
            line.push_str(&style.paint(&remark, ink));
        }
        line.trim_end().to_owned()
    }

    /// `log ERROR web "quote failed"`
    pub fn log(&self, log: &LogSeen, columns: usize) -> String {
        let level = log.level();
        let ink = match log.severity {
            17.. => Ink::Red,
            13..=16 => Ink::Yellow,
            _ => Ink::Plain,
        };
        let service = harmless(&log.service.name);
        let head = if log.severity > 0 {
            format!("log {level}")
        } else {
            "log".to_owned()
        };
        let free = columns.saturating_sub(width(&head) + width(&service) + 4);
        let body = cut(&harmless(&log.body), free, self.style);
        let service = self.style.paint(&service, Ink::Hue(hue_of(&log.service.name)));
        format!("{} {service} \"{body}\"", self.style.paint(&head, ink))
    }
}

/// `502`, `ok`, `error`, or nothing.
fn status_text(span: &SpanSeen, style: Style) -> String {
    match (span.http_status, span.is_error) {
        (Some(code), _) => code.to_string(),
        (None, true) => format!("{} error", style.error_mark()),
        (None, false) => String::new(),
    }
}

/// What stands behind the bar.
fn remark(row: &Row<'_>, style: Style) -> (String, Ink) {
    let span = row.span;
    if let Some(exception) = &span.exception {
        let mut text = format!("{} {}", style.error_mark(), exception.kind);
        if !exception.message.is_empty() {
            text.push_str(&format!(": {}", exception.message));
        }
        if let Some(place) = &exception.place {
            text.push_str(&format!("  {place}"));
        }
        return (harmless(&text), Ink::Red);
    }
    if span.is_error {
        let text = match (&span.status_message, span.http_status) {
            (message, _) if !message.is_empty() => message.clone(),
            (_, Some(code)) => code.to_string(),
            _ => "error".to_owned(),
        };
        return (harmless(&format!("{} {text}", style.error_mark())), Ink::Red);
    }
    if row.count >= MANY_ALIKE && span.kind == 3 {
        let what = if span.statement.is_some() { "statement" } else { "call" };
        let text = format!("{} N+1: one {what} {} times", style.warning_mark(), row.count);
        return (text, Ink::Yellow);
    }
    if row.is_orphan {
        return (format!("{} its parent is missing", style.warning_mark()), Ink::Yellow);
    }
    if let Some(tokens) = span.tokens {
        return (format!("{}>{} tok", tokens.input, tokens.output), Ink::Dim);
    }
    (
        span.http_status.map(|code| code.to_string()).unwrap_or_default(),
        Ink::Plain,
    )
}

/// Where in the time of the trace a row stands.
fn bar((start, end): (u64, u64), (from, to): (u64, u64), style: Style) -> String {
    let whole = to.saturating_sub(from).max(1) as f64;
    let column = |at: u64| (at.saturating_sub(from) as f64 / whole * BAR as f64) as usize;
    let first = column(start).min(BAR - 1);
    let last = column(end).clamp(first + 1, BAR);
    let (edge, fill) = if style.is_ascii { ("|", "=") } else { ("▏", "█") };
    let edge_after = if style.is_ascii { "|" } else { "▕" };
    format!(
        "{edge}{}{}{}{edge_after}",
        " ".repeat(first),
        fill.repeat(last - first),
        " ".repeat(BAR - last)
    )
}

/// What stands before the service of each row.
fn branches(rows: &[Row<'_>], style: Style) -> Vec<String> {
    // For each depth above a row whether more follow there.
    let mut open: Vec<bool> = Vec::new();
    let mut branches = Vec::new();
    for row in rows {
        open.truncate(row.depth);
        let mut branch = String::new();
        if row.depth > 0 {
            for more in open.iter().skip(1) {
                branch.push_str(match (style.is_ascii, more) {
                    (true, _) | (false, false) => "  ",
                    (false, true) => "│ ",
                });
            }
            branch.push_str(match (style.is_ascii, row.is_last) {
                (true, _) => "+ ",
                (false, true) => "└ ",
                (false, false) => "├ ",
            });
        }
        // Eight levels are drawn as such; deeper ones stand below each other.
        let branch: String = branch
            .chars()
            .rev()
            .take(16)
            .collect::<Vec<char>>()
            .into_iter()
            .rev()
            .collect();
        branches.push(branch);
        open.push(!row.is_last);
    }
    branches
}
