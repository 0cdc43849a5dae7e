//! The task of the terminal view: takes what comes in, ticks, and does what the keys say.

use std::io::Write;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::component::{Clock, SystemClock, Watch};
use crate::dev::terminal::{Screen, View, Wanted};

/// Between two looks for traces that have come to rest.
const TICK: Duration = Duration::from_millis(50);

/// What the rest of the command wants of the view.
pub enum Wish {
    /// Lines of somebody else.
    Say(Vec<String>),
    /// The same, after everything that is still under way has been drawn.
    Conclude(Vec<String>),
    /// A line that stands in place of the last one (a prompt).
    Prompt(String),
    Filter(Option<Wanted>),
    Pause,
    Clear,
}

/// The task's other end.
#[derive(Clone)]
pub struct Viewer(mpsc::Sender<Wish>);

impl Viewer {
    /// A viewer and what it wishes.
    pub fn pair() -> (Self, mpsc::Receiver<Wish>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    /// A wish that finds no room is of the kind that a person repeats.
    pub fn wish(&self, wish: Wish) {
        let _busy = self.0.try_send(wish);
    }

    pub fn say(&self, line: impl Into<String>) {
        self.wish(Wish::Say(vec![line.into()]));
    }
}

/// Shows until all viewers are gone; then what is still under way is drawn.
pub async fn show(mut view: View, mut watch: Watch, mut wishes: mpsc::Receiver<Wish>, out: Box<dyn Write + Send>) {
    let screen = Screen::to(out);
    let mut resized = signal(SignalKind::window_change()).ok();
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What has come is taken before the end is.
            biased;
            fresh = watch.next() => {
                let Some(mut fresh) = fresh else { break };
                screen.show(view.take(&mut fresh.batch, fresh.at));
            }
            // A window that has been made wider or narrower.
            Some(()) = async { resized.as_mut()?.recv().await } => view.set_width(columns()),
            wish = wishes.recv() => {
                let Some(wish) = wish else { break };
                fulfil(&mut view, &screen, wish);
            }
            _ = every.tick(), if view.is_waiting() => screen.show(view.tick(SystemClock.now())),
        }
        let missed = watch.take_missed();
        if missed > 0 {
            view.interrupted();
            screen.say(vec![format!(
                "({missed} items not shown: more comes in than can be written)"
            )]);
        }
    }
    screen.show(view.finish());
    // Writing to a terminal may block.
    let _panicked = tokio::task::spawn_blocking(move || screen.finish()).await;
}

/// Of the terminal; 100 where there is none to ask.
pub fn columns() -> usize {
    let by_environment = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
    width.or(by_environment).unwrap_or(100).clamp(40, 400)
}

fn fulfil(view: &mut View, screen: &Screen, wish: Wish) {
    match wish {
        Wish::Say(lines) => {
            view.interrupted();
            screen.say(lines);
        }
        Wish::Conclude(lines) => {
            screen.show(view.finish());
            view.interrupted();
            screen.say(lines);
        }
        Wish::Prompt(line) => {
            view.interrupted();
            screen.show(vec![crate::dev::terminal::Block {
                replaces_last: true,
                lines: vec![line],
            }]);
        }
        Wish::Filter(wanted) => view.set_filter(wanted),
        Wish::Pause => {
            let text = if view.toggle_pause() {
                "(paused: p goes on)"
            } else {
                "(going on)"
            };
            view.interrupted();
            screen.say(vec![text.to_owned()]);
        }
        Wish::Clear => {
            view.clear();
            screen.say(vec!["\x1b[2J\x1b[H".to_owned()]);
        }
    }
}
