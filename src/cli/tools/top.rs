//! `radiosonde top`: what every component of a running agent does now, from its admin API; of `run` and of `dev`.
//!
//! The screen is drawn by hand: three dozen lines of text, once a second, need no library of widgets.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use super::table::{Frame, Growth, frame};
use super::{Failed, Format};
use crate::cli::client::{AgentArgs, Api, ApiError};
use crate::cli::colour::Colour;
use crate::cli::dev::keys::Keys;
use crate::cli::output;
use crate::dev::terminal::text::{Ink, Style, cut};

/// The other screen of the terminal, without a cursor, and back again.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Lines of a page of keys.
const PAGE: usize = 10;

/// `top`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Keys: q quit, p pause, j k down and up, space b a page, g G the first and the last line\n\n\
    Examples:\n  radiosonde top\n  radiosonde top --once | grep DROPPED\n  radiosonde top --once --format json | jq .components"
)]
pub struct TopArgs {
    /// One look, as plain lines; so it is too where standard output is no terminal.
    #[arg(long)]
    pub once: bool,
    /// Between two looks: 1s, 500ms.
    #[arg(long, value_parser = crate::cli::duration, default_value = "1s", value_name = "TIME")]
    pub interval: Duration,
    /// Components that nothing passes through, too.
    #[arg(long)]
    pub idle: bool,
    #[command(flatten)]
    pub agent: AgentArgs,
    /// json is the answer of the agent; jsonl one such answer a line, at each interval.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
    /// ASCII only.
    #[arg(long)]
    pub ascii: bool,
}

/// Shows until `q`, or once.
pub async fn top(args: &TopArgs) -> Result<u8, Failed> {
    if args.format == Format::Md {
        return Err(Failed::new(2, "top has no Markdown: text, json or jsonl"));
    }
    if args.interval < Duration::from_millis(100) {
        return Err(Failed::new(2, "--interval is at least 100ms"));
    }
    let api = Api::new(&args.agent);
    let style = Style {
        is_ascii: args.ascii,
        is_coloured: args.color.of_stdout() && args.format == Format::Text,
    };
    let is_terminal = std::io::stdout().is_terminal();
    match args.format {
        Format::Jsonl if !args.once => every_line(args, &api).await,
        Format::Text if !args.once && is_terminal => on_screen(args, &api, style).await,
        _ => {
            let status = look(&api).await?;
            if args.format == Format::Text {
                let lines = frame(&status, &Growth::default(), args.idle, style);
                output::text(&lines.all().iter().map(|line| format!("{line}\n")).collect::<String>());
            } else {
                output::text(&format!("{status}\n"));
            }
            Ok(0)
        }
    }
}

async fn look(api: &Api) -> Result<Json, ApiError> {
    api.get("/api/v1/status", &[]).await
}

async fn every_line(args: &TopArgs, api: &Api) -> Result<u8, Failed> {
    let mut every = tokio::time::interval(args.interval);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        output::text(&format!("{}\n", look(api).await?));
    }
}

/// What the keys have made of the view.
#[derive(Default)]
struct View {
    first: usize,
    is_paused: bool,
}

impl View {
    /// Whether to go on.
    fn press(&mut self, key: char) -> bool {
        match key {
            'q' => return false,
            'p' => self.is_paused = !self.is_paused,
            'j' => self.first = self.first.saturating_add(1),
            'k' => self.first = self.first.saturating_sub(1),
            ' ' => self.first = self.first.saturating_add(PAGE),
            'b' => self.first = self.first.saturating_sub(PAGE),
            'g' => self.first = 0,
            'G' => self.first = usize::MAX,
            _ => {}
        }
        true
    }

    /// The lines that fit into the window: the head always, then a part of the rest, then what is wrong or what the keys do.
    fn screen(&mut self, frame: &Frame, foot: &str, (width, height): (usize, usize), style: Style) -> String {
        let room = height.saturating_sub(frame.head.len() + 1).max(1);
        self.first = self.first.min(frame.rows.len().saturating_sub(room));
        let rows = frame.rows.iter().skip(self.first).take(room);
        let mut text = String::from("\x1b[H");
        for line in frame.head.iter().chain(rows) {
            text.push_str(&line.fitted(width, style));
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        // At the bottom: the last line of the window is never followed by a line break, which would scroll.
        text.push_str(&format!(
            "\x1b[{height};1H{}\x1b[K",
            style.paint(&cut(foot, width, style), Ink::Dim)
        ));
        text
    }

    fn foot(&self, frame: &Frame, trouble: Option<&str>) -> String {
        if let Some(trouble) = trouble {
            return trouble.to_owned();
        }
        let paused = if self.is_paused { "PAUSED  " } else { "" };
        format!("{paused}q quit  p pause  j k scroll  {} lines", frame.rows.len())
    }
}

/// The terminal as it was, whatever ends the view.
struct OtherScreen;

impl OtherScreen {
    fn enter() -> Self {
        write(ENTER);
        Self
    }
}

impl Drop for OtherScreen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone needs nothing.
    let _gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

async fn on_screen(args: &TopArgs, api: &Api, style: Style) -> Result<u8, Failed> {
    // An agent that is not there is told of on the usual screen.
    let mut status = look(api).await?;
    let mut keys = Keys::listen();
    let _screen = OtherScreen::enter();
    let mut stopped = signal(SignalKind::terminate()).map_err(|error| Failed::new(1, error.to_string()))?;
    let mut resized = signal(SignalKind::window_change()).map_err(|error| Failed::new(1, error.to_string()))?;
    let mut every = tokio::time::interval(args.interval);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    let mut losses = Losses::default();
    losses.see(&status, Instant::now());
    let (mut view, mut trouble) = (View::default(), None);
    loop {
        let shown = frame(&status, &losses.growth, args.idle, style);
        let foot = view.foot(&shown, trouble.as_deref());
        write(&view.screen(&shown, &foot, window(), style));
        let key = async {
            match &mut keys {
                Some(keys) => keys.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            key = key => match key {
                Some(key) if view.press(key) => {}
                Some(_) => return Ok(0),
                None => keys = None,
            },
            _ = stopped.recv() => return Ok(0),
            // A Ctrl-C ends what looks on, and is no failure of it.
            _ = tokio::signal::ctrl_c() => return Ok(0),
            _ = resized.recv() => write("\x1b[2J"),
            _ = every.tick(), if !view.is_paused => match look(api).await {
                Ok(new) => {
                    losses.see(&new, Instant::now());
                    (status, trouble) = (new, None);
                }
                // What was seen last stays, and that it is old is said.
                Err(error) => trouble = Some(error.to_string()),
            },
        }
    }
}

fn window() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or((100, 30), |(width, height)| {
        (usize::from(width.0).max(20), usize::from(height.0).max(4))
    })
}

/// How fast what is lost grows: the agent tells totals.
#[derive(Default)]
struct Losses {
    before: HashMap<String, u64>,
    at: Option<Instant>,
    growth: Growth,
}

impl Losses {
    fn see(&mut self, status: &Json, now: Instant) {
        let seconds = self.at.map(|at| now.duration_since(at).as_secs_f64());
        let mut seen = HashMap::new();
        let mut growth = Growth::default();
        for loss in status["dropped"].as_array().into_iter().flatten() {
            let key = super::table::key_of(loss);
            let items = super::table::whole(&loss["items"]);
            if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
                let grown = items.saturating_sub(self.before.get(&key).copied().unwrap_or(0));
                growth.0.insert(key.clone(), grown as f64 / seconds);
            }
            seen.insert(key, items);
        }
        (self.before, self.at, self.growth) = (seen, Some(now), growth);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(dropped: u64) -> Json {
        json!({
            "version": "0.1.0", "ready": true, "uptimeSeconds": 61.0,
            "components": [{"kind": "receiver", "id": "otlp", "state": "ok", "message": "", "queues": [],
                "flows": [{"signal": "traces", "what": "accepted", "items": "42", "itemsPerSecond": 8.0}]}],
            "dropped": [{"component": "otlp/backup", "signal": "traces", "reason": "retry_limit", "items": dropped.to_string()}],
        })
    }

    const PLAIN: Style = Style {
        is_ascii: true,
        is_coloured: false,
    };

    #[tokio::test(start_paused = true)]
    async fn losses_grow_by_what_came_between_two_looks() {
        let mut losses = Losses::default();
        losses.see(&status(10), Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        losses.see(&status(30), Instant::now());
        assert_eq!(losses.growth.0.values().copied().collect::<Vec<f64>>(), [10.0]);
        let text = frame(&status(30), &losses.growth, false, PLAIN).all().join("\n");
        assert!(text.contains("DROPPED") && text.contains("10.0/s"), "{text}");
    }

    #[test]
    fn a_screen_never_has_more_lines_or_columns_than_the_window() {
        let shown = frame(&status(7), &Growth::default(), true, PLAIN);
        let mut view = View::default();
        assert!(view.press('G') && view.press('k') && view.press(' ') && view.press('p'));
        for (width, height) in [(20, 4), (40, 8), (120, 50)] {
            let foot = view.foot(&shown, None);
            let text = view.screen(&shown, &foot, (width, height), PLAIN);
            assert!(
                text.matches("\r\n").count() < height.max(shown.head.len() + 2),
                "{text:?}"
            );
            for line in text.split("\r\n") {
                let plain = line.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
                let plain = plain.replace(&format!("\x1b[{height};1H"), "");
                assert!(plain.chars().count() <= width, "{width}: {plain:?}");
            }
        }
        assert!(view.foot(&shown, None).starts_with("PAUSED"));
        assert!(!view.press('q'));
    }
}
