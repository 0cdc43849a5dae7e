//! What `top` shows of an agent's status: one line a component and signal, then what is lost.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::dev::terminal::text::{Ink, Style, cut, fit, harmless, width};

/// The widest a component's id is shown.
const LONGEST_ID: usize = 40;
/// Columns of a queue's bar.
const BAR: usize = 10;
/// A queue that is so full is marked.
const FULL: f64 = 0.8;

/// A line and how it is painted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    text: String,
    ink: Ink,
}

impl Line {
    /// In at most so many columns.
    pub fn fitted(&self, columns: usize, style: Style) -> String {
        style.paint(&cut(&self.text, columns, style), self.ink)
    }
}

/// The head, which stays, and the rows, which scroll.
pub struct Frame {
    pub head: Vec<Line>,
    pub rows: Vec<Line>,
    style: Style,
}

impl Frame {
    /// Whole lines, for a pipe.
    pub fn all(&self) -> Vec<String> {
        let lines = self.head.iter().chain(&self.rows);
        lines.map(|line| self.style.paint(&line.text, line.ink)).collect()
    }
}

/// Items a second by [`key_of`] a loss.
#[derive(Default)]
pub struct Growth(pub HashMap<String, f64>);

/// What a loss is called.
pub fn key_of(loss: &Json) -> String {
    let text = |name: &str| loss[name].as_str().unwrap_or_default();
    format!("{}\0{}\0{}", text("component"), text("signal"), text("reason"))
}

/// A 64-bit number is a string in our JSON.
pub fn whole(value: &Json) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .or(value.as_u64())
        .unwrap_or(0)
}

/// The screen of a status.
pub fn frame(status: &Json, growth: &Growth, shows_idle: bool, style: Style) -> Frame {
    let mut head = vec![first_line(status)];
    head.extend(store_line(status));
    let mut rows: Vec<Row> = Vec::new();
    let components = status["components"].as_array().map_or(&[][..], Vec::as_slice);
    for component in components {
        rows.extend(rows_of(component, shows_idle, style));
    }
    let losses = status["dropped"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = table(&rows);
    if lines.len() == 1 {
        lines.push(Line {
            text: "nothing has passed through yet".to_owned(),
            ink: Ink::Dim,
        });
    }
    let titles = lines.remove(0);
    head.push(Line {
        text: String::new(),
        ink: Ink::Plain,
    });
    head.push(titles);
    for loss in losses {
        lines.push(loss_line(loss, growth));
    }
    Frame {
        head,
        rows: lines,
        style,
    }
}

fn first_line(status: &Json) -> Line {
    let is_ready = status["ready"] == true;
    let ready = if is_ready { "ready" } else { "NOT READY" };
    let uptime = crate::cli::status::plain_duration(Duration::from_secs(
        status["uptimeSeconds"].as_f64().unwrap_or(0.0) as u64,
    ));
    let version = harmless(status["version"].as_str().unwrap_or_default());
    let mut text = format!("radiosonde {version}  {ready}  up {uptime}");
    let memory = &status["memory"];
    let (resident, admitted, limit) = (
        whole(&memory["residentBytes"]),
        whole(&memory["admittedBytes"]),
        whole(&memory["limitBytes"]),
    );
    if resident > 0 {
        text.push_str(&format!(
            "  memory {} resident, {}",
            mebibytes(resident),
            mebibytes(admitted)
        ));
        if limit > 0 {
            text.push_str(&format!(" of {}", mebibytes(limit)));
        }
        text.push_str(" of telemetry");
    }
    Line {
        text,
        ink: if is_ready { Ink::Plain } else { Ink::Red },
    }
}

/// `dev` has a store.
fn store_line(status: &Json) -> Option<Line> {
    let store = status["store"].as_object()?;
    let number = |name: &str| store.get(name).map_or(0, whole);
    let text = format!(
        "store {} of {}  {} traces  {} spans  {} points  {} log records",
        mebibytes(number("used")),
        mebibytes(number("cap")),
        grouped(number("traces")),
        grouped(number("spans")),
        grouped(number("metric_points")),
        grouped(number("log_records"))
    );
    Some(Line { text, ink: Ink::Plain })
}

/// A line of the table before the widths are known.
struct Row {
    cells: [String; 9],
    ink: Ink,
}

const TITLES: [&str; 9] = [
    "KIND",
    "COMPONENT",
    "SIGNAL",
    "IN/s",
    "OUT/s",
    "FAILED/s",
    "TOTAL",
    "QUEUE",
    "STATE",
];
const IS_NUMBER: [bool; 9] = [false, false, false, true, true, true, true, false, false];

/// What passes by one signal.
#[derive(Default)]
struct Flow {
    taken: f64,
    given: Option<f64>,
    failed: f64,
    /// Since the start.
    total: u64,
    lost: u64,
}

impl Flow {
    fn add(&mut self, what: &str, items: u64, rate: f64) {
        match what {
            "accepted" | "incoming" => {
                self.taken += rate;
                self.total += items;
            }
            "outgoing" => *self.given.get_or_insert(0.0) += rate,
            "sent" => {
                self.taken += rate;
                *self.given.get_or_insert(0.0) += rate;
                self.total += items;
            }
            "refused" | "failed" | "send_failed" | "enqueue_failed" => {
                self.failed += rate;
                self.lost += items;
            }
            _ => {}
        }
    }
}

fn rows_of(component: &Json, shows_idle: bool, style: Style) -> Vec<Row> {
    let text = |name: &str| harmless(component[name].as_str().unwrap_or_default());
    let mut signals: Vec<(String, Flow)> = Vec::new();
    let list = |name: &str| component[name].as_array().map_or(&[][..], Vec::as_slice);
    for flow in list("flows") {
        let signal = harmless(flow["signal"].as_str().unwrap_or_default());
        let at = signals.iter().position(|(have, _)| *have == signal).unwrap_or_else(|| {
            signals.push((signal, Flow::default()));
            signals.len() - 1
        });
        let rate = flow["itemsPerSecond"].as_f64().unwrap_or(0.0);
        signals[at]
            .1
            .add(flow["what"].as_str().unwrap_or_default(), whole(&flow["items"]), rate);
    }
    // What waits and has never left has a queue and no flow.
    let mut waits: Vec<String> = Vec::new();
    for queue in list("queues").iter().filter(|queue| number_of(&queue["size"]) > 0.0) {
        let signal = harmless(queue["signal"].as_str().unwrap_or_default());
        if !signals.iter().any(|(have, _)| *have == signal) {
            signals.push((signal.clone(), Flow::default()));
        }
        waits.push(signal);
    }
    let (state, message) = (text("state"), text("message"));
    let is_ok = message.is_empty() && state == "ok";
    signals.retain(|(signal, flow)| shows_idle || flow.total > 0 || flow.lost > 0 || waits.contains(signal));
    if signals.is_empty() && (shows_idle || !is_ok) {
        signals.push((String::new(), Flow::default()));
    }
    let mut rows = Vec::new();
    for (signal, flow) in signals {
        let queue = list("queues")
            .iter()
            .find(|queue| queue["signal"].as_str() == Some(signal.as_str()));
        let fill = queue.map(|queue| (number_of(&queue["size"]), number_of(&queue["capacity"])));
        let is_full = fill.is_some_and(|(size, capacity)| capacity > 0.0 && size / capacity >= FULL);
        let told = if message.is_empty() {
            state.clone()
        } else {
            format!("{state}: {message}")
        };
        rows.push(Row {
            ink: match (is_ok, flow.failed > 0.0, is_full) {
                (false, ..) => Ink::Red,
                (true, true, _) | (true, _, true) => Ink::Yellow,
                _ => Ink::Plain,
            },
            cells: [
                text("kind"),
                cut(&text("id"), LONGEST_ID, style),
                signal,
                rate(flow.taken),
                flow.given.map_or_else(|| "-".to_owned(), rate),
                if flow.lost > 0 {
                    rate(flow.failed)
                } else {
                    "-".to_owned()
                },
                grouped(flow.total),
                fill.map(|fill| bar(fill, style)).unwrap_or_default(),
                told,
            ],
        });
    }
    rows
}

fn number_of(value: &Json) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// `###.......  512 of 1,000`
fn bar((size, capacity): (f64, f64), style: Style) -> String {
    let (full, empty) = if style.is_ascii { ('#', '.') } else { ('█', '░') };
    let share = if capacity > 0.0 {
        (size / capacity).clamp(0.0, 1.0)
    } else {
        0.0
    };
    // One block as soon as something waits.
    let blocks = ((share * BAR as f64).ceil() as usize).min(BAR);
    let bar: String = (0..BAR).map(|at| if at < blocks { full } else { empty }).collect();
    format!("{bar} {} of {}", grouped(size as u64), grouped(capacity as u64))
}

fn table(rows: &[Row]) -> Vec<Line> {
    let mut widths = TITLES.map(str::len);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(&row.cells) {
            *widest = (*widest).max(width(cell));
        }
    }
    let style = Style {
        is_ascii: true,
        is_coloured: false,
    };
    let line = |cells: &[&str]| {
        let mut text = String::new();
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                text.push_str("  ");
            }
            if IS_NUMBER[at] {
                text.extend(std::iter::repeat_n(' ', widths[at].saturating_sub(width(cell))));
                text.push_str(cell);
            } else {
                text.push_str(&fit(cell, widths[at], style));
            }
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![Line {
        text: line(&TITLES),
        ink: Ink::Dim,
    }];
    for row in rows {
        let cells: Vec<&str> = row.cells.iter().map(String::as_str).collect();
        lines.push(Line {
            text: line(&cells),
            ink: row.ink,
        });
    }
    lines
}

fn loss_line(loss: &Json, growth: &Growth) -> Line {
    let text = |name: &str| harmless(loss[name].as_str().unwrap_or_default());
    let grown = growth.0.get(&key_of(loss)).copied().unwrap_or(0.0);
    let now = if grown > 0.0 {
        format!("  {}/s", rate(grown))
    } else {
        String::new()
    };
    Line {
        text: format!(
            "DROPPED {} {} by {}: {}{now}",
            grouped(whole(&loss["items"])),
            text("signal"),
            text("component"),
            text("reason")
        ),
        ink: if grown > 0.0 { Ink::Red } else { Ink::Yellow },
    }
}

/// Items a second.
fn rate(value: f64) -> String {
    if value >= 1_000.0 {
        grouped(value.round() as u64)
    } else {
        format!("{value:.1}")
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes.div_ceil(1 << 20)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style {
        is_ascii: true,
        is_coloured: false,
    };

    fn example() -> Json {
        let flow = |what: &str, items: &str, rate: f64| json!({"signal": "traces", "what": what, "items": items, "itemsPerSecond": rate});
        json!({
            "version": "0.1.0", "ready": true, "uptimeSeconds": 3700.0,
            "memory": {"residentBytes": "52428800", "admittedBytes": "1048576", "limitBytes": "0"},
            "store": {"used": 3_000_000, "cap": 536_870_912u64, "traces": 3, "spans": 1234, "metric_points": 0, "log_records": 7},
            "components": [
                {"kind": "receiver", "id": "otlp", "state": "ok", "message": "", "queues": [],
                 "flows": [flow("accepted", "1234567", 1500.4), flow("refused", "3", 0.6)]},
                {"kind": "exporter", "id": "otlp/backup\u{1b}[2J", "state": "degraded", "message": "no route",
                 "flows": [flow("sent", "40", 1.0)], "queues": [{"signal": "traces", "size": 900.0, "capacity": 1000.0}]},
                {"kind": "exporter", "id": "otlp/gone", "state": "ok", "message": "", "flows": [],
                 "queues": [{"signal": "logs", "size": 4.0, "capacity": 10.0}]},
                {"kind": "extension", "id": "health_check", "state": "ok", "message": "", "flows": [], "queues": []},
            ],
            "dropped": [{"component": "otlp/backup", "signal": "traces", "reason": "queue_full", "items": "12345"}],
        })
    }

    #[test]
    fn rates_queues_and_losses_stand_in_one_table() {
        let text = frame(&example(), &Growth::default(), false, PLAIN).all().join("\n");
        for expected in [
            "radiosonde 0.1.0  ready  up 1h 1m  memory 50 MiB resident, 1 MiB of telemetry",
            "store 3 MiB of 512 MiB  3 traces  1,234 spans  0 points  7 log records",
            "1,500",
            "1,234,567",
            "#########. 900 of 1,000",
            "degraded: no route",
            "####...... 4 of 10",
            "DROPPED 12,345 traces by otlp/backup: queue_full",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "a terminal must not obey an id");
        assert!(!text.contains("health_check"), "idle ones are left out");
        let all = frame(&example(), &Growth::default(), true, PLAIN).all().join("\n");
        assert!(all.contains("health_check"));
    }

    #[test]
    fn an_empty_answer_is_a_frame_too() {
        let text = frame(&Json::Null, &Growth::default(), false, PLAIN).all().join("\n");
        assert!(
            text.contains("NOT READY") && text.contains("nothing has passed"),
            "{text}"
        );
    }

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped)
        );
    }
}
