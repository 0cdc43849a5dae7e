//! The terminal view of `dev`: what comes in, as it comes in, for people.
//!
//! The root of a trace shows at once, its tree when nothing has come for 300 ms or after 2 s, what comes later as an
//! addendum. Knows nothing of the terminal itself: it is told batches and the time, and gives lines; `screen` writes
//! them. Bounded: so many traces are remembered, so many spans of each are drawn, so many lines a second are written.

mod draw;
mod screen;
#[cfg(test)]
mod tests;
pub mod text;
mod tree;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

pub use draw::{Paper, short_id};
pub use screen::Screen;

use self::draw::Head;
use super::seen::{self, LogSeen, SpanSeen, TraceId};
use crate::component::UnixNanos;
use crate::pdata::{Batch, Signal};

const MS: u64 = 1_000_000;
/// A trace is drawn when nothing of it has come for so long ...
const QUIET: u64 = 300 * MS;
/// ... or so long after its first span.
const LONGEST_WAIT: u64 = 2_000 * MS;
/// Traces that are remembered.
const MOST_TRACES: usize = 1_000;
/// Spans of one trace that are kept until it is drawn.
const MOST_SPANS: usize = 2_000;
/// Log records of one trace that are kept until it is drawn.
const MOST_LOGS: usize = 50;
/// Log records without a trace that are shown in one second.
const LOGS_A_SECOND: u32 = 20;
/// Durations of one operation that its 95th percentile is taken of.
const DURATIONS: usize = 64;
/// Operations whose durations are remembered.
const OPERATIONS: usize = 512;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The tree of each trace.
    Tree,
    /// A line for each trace.
    Line,
    Nothing,
}

/// The traces of a batch that a filter lets through.
pub type Wanted = Box<dyn Fn(&Batch) -> HashSet<TraceId> + Send>;

/// What is shown, and how.
pub struct Options {
    pub mode: Mode,
    pub shows_health: bool,
    /// The lines may be drawn anew: standard error is a terminal.
    pub redraws: bool,
    pub paper: Paper,
    /// Only traces with a span of this run.
    pub run: Option<String>,
}

/// Lines to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// They stand in place of the last line that was written.
    pub replaces_last: bool,
    pub lines: Vec<String>,
}

/// A trace under way.
struct Trace {
    spans: Vec<SpanSeen>,
    logs: Vec<LogSeen>,
    total: u64,
    errors: u64,
    first_at: u64,
    last_at: u64,
    /// What its head said, where it has been shown.
    head: Option<String>,
    is_drawn: bool,
    is_health: bool,
    /// Spans since it was drawn.
    late: u64,
}

/// The view.
pub struct View {
    options: Options,
    wanted: Option<Wanted>,
    traces: HashMap<TraceId, Trace>,
    /// In the order of their first spans.
    order: VecDeque<TraceId>,
    /// Those that still have something to be shown.
    open: Vec<TraceId>,
    /// Whose head is the last line that was written.
    last_head: Option<TraceId>,
    durations: BTreeMap<(String, String), VecDeque<u64>>,
    is_paused: bool,
    hidden_health: u64,
    told_health: u64,
    hidden_logs: u64,
    log_second: u64,
    logs_in_second: u32,
}

impl View {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            wanted: None,
            traces: HashMap::new(),
            order: VecDeque::new(),
            open: Vec::new(),
            last_head: None,
            durations: BTreeMap::new(),
            is_paused: false,
            hidden_health: 0,
            told_health: 0,
            hidden_logs: 0,
            log_second: 0,
            logs_in_second: 0,
        }
    }

    /// From now on only what fits is shown.
    pub fn set_filter(&mut self, wanted: Option<Wanted>) {
        self.wanted = wanted;
    }

    /// The terminal has another size.
    pub fn set_width(&mut self, columns: usize) {
        self.options.paper.width = columns.max(20);
    }

    /// Whether something waits for [`View::tick`].
    pub fn is_waiting(&self) -> bool {
        !self.open.is_empty() || self.hidden_logs > 0
    }

    pub fn paper(&self) -> &Paper {
        &self.options.paper
    }

    /// Shows nothing until it is called again.
    pub fn toggle_pause(&mut self) -> bool {
        self.is_paused = !self.is_paused;
        self.is_paused
    }

    /// Something else has been written: no line can be drawn anew.
    pub fn interrupted(&mut self) {
        self.last_head = None;
    }

    /// Forgets every trace.
    pub fn clear(&mut self) {
        self.traces.clear();
        self.order.clear();
        self.open.clear();
        self.last_head = None;
    }

    /// Health checks that were not shown.
    pub fn hidden_health(&self) -> u64 {
        self.hidden_health
    }

    /// Takes what came.
    pub fn take(&mut self, batch: &mut Batch, at: UnixNanos) -> Vec<Block> {
        if self.options.mode == Mode::Nothing || self.is_paused {
            return Vec::new();
        }
        let mut blocks = Vec::new();
        // What cannot be read was refused at the door or is of nobody's concern here.
        match batch.signal() {
            Signal::Traces => {
                let mut came = Vec::new();
                let wanted = self.wanted.as_ref().map(|wanted| wanted(batch));
                for part in batch.parts() {
                    let _unreadable = seen::spans_in(part, |span, _| came.push(span));
                }
                for span in came {
                    // Of a trace that has been let in everything is shown.
                    let is_wanted = wanted.as_ref().is_none_or(|ids| ids.contains(&span.trace));
                    if is_wanted || self.traces.contains_key(&span.trace) {
                        self.take_span(span, at.0, &mut blocks);
                    }
                }
            }
            Signal::Logs => {
                let mut came = Vec::new();
                for part in batch.parts() {
                    let _unreadable = seen::logs_in(part, |log, _| came.push(log));
                }
                for log in came {
                    self.take_log(log, at.0, &mut blocks);
                }
            }
            Signal::Metrics => {}
        }
        // The heads of what came in this batch, now that all of it is known.
        let fresh: Vec<TraceId> = self.open.clone();
        for id in fresh {
            self.show_head(&id, &mut blocks);
        }
        blocks
    }

    fn take_span(&mut self, span: SpanSeen, at: u64, blocks: &mut Vec<Block>) {
        if let Some(run) = &self.options.run
            && span.service.run.as_deref() != Some(run)
        {
            return;
        }
        let id = span.trace;
        if !self.traces.contains_key(&id) {
            self.begin(id, at, blocks);
        }
        let Some(trace) = self.traces.get_mut(&id) else { return };
        trace.total += 1;
        trace.errors += u64::from(span.is_error);
        trace.last_at = at;
        if trace.is_drawn {
            trace.late += 1;
            if trace.late == 1 && !trace.is_health {
                trace.first_at = at;
                self.open.push(id);
            }
            return;
        }
        if !self.options.shows_health && span.parent.is_none() && span.is_health_check() {
            trace.is_health = true;
            self.hidden_health += 1;
        }
        if trace.spans.len() < MOST_SPANS {
            trace.spans.push(span);
        }
    }

    fn begin(&mut self, id: TraceId, at: u64, blocks: &mut Vec<Block>) {
        while self.order.len() >= MOST_TRACES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.settle(&oldest, blocks);
            self.traces.remove(&oldest);
            self.open.retain(|open| *open != oldest);
        }
        self.order.push_back(id);
        self.open.push(id);
        let trace = Trace {
            spans: Vec::new(),
            logs: Vec::new(),
            total: 0,
            errors: 0,
            first_at: at,
            last_at: at,
            head: None,
            is_drawn: false,
            is_health: false,
            late: 0,
        };
        self.traces.insert(id, trace);
    }

    fn take_log(&mut self, log: LogSeen, at: u64, blocks: &mut Vec<Block>) {
        if let Some(run) = &self.options.run
            && log.service.run.as_deref() != Some(run)
        {
            return;
        }
        let under_way = log.trace.and_then(|id| self.traces.get_mut(&id));
        if let Some(trace) = under_way.filter(|trace| !trace.is_drawn) {
            // In the tree of a trace only what is worth it; all of it is in the page.
            if log.severity >= 13 && trace.logs.len() < MOST_LOGS {
                trace.logs.push(log);
            }
            return;
        }
        if self.wanted.is_some() || (log.trace.is_some() && log.severity < 13) {
            return;
        }
        let second = at / 1_000_000_000;
        if self.log_second != second {
            self.log_second = second;
            self.logs_in_second = 0;
        }
        self.logs_in_second += 1;
        if self.logs_in_second > LOGS_A_SECOND {
            self.hidden_logs += 1;
            return;
        }
        let paper = &self.options.paper;
        let time = paper.time(if log.time == 0 { at } else { log.time });
        let line = paper.log(&log, paper.width.saturating_sub(time.len() + 2));
        let time = paper.style.paint(&time, text::Ink::Dim);
        self.last_head = None;
        blocks.push(Block {
            replaces_last: false,
            lines: vec![format!("{time}  {line}")],
        });
    }

    /// The head of a trace whose root is there.
    fn show_head(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let Some(trace) = self.traces.get(id) else { return };
        let has_root = trace.spans.iter().any(|span| span.parent.is_none());
        if !has_root || trace.head.is_some() || trace.is_health || trace.is_drawn {
            return;
        }
        self.write_head(id, blocks);
    }

    /// Writes the head, or writes it anew where it still is the last line.
    fn write_head(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let Some(line) = self.head_line(id) else { return };
        let Some(trace) = self.traces.get_mut(id) else { return };
        let replaces_last = trace.head.is_some() && self.options.redraws && self.last_head == Some(*id);
        if trace.head.as_ref() == Some(&line) && self.last_head == Some(*id) {
            return;
        }
        trace.head = Some(line.clone());
        self.last_head = Some(*id);
        blocks.push(Block {
            replaces_last,
            lines: vec![line],
        });
    }

    fn head_line(&self, id: &TraceId) -> Option<String> {
        let trace = self.traces.get(id)?;
        let top = trace.spans.iter().find(|span| span.parent.is_none());
        let top = top.or_else(|| trace.spans.iter().min_by_key(|span| span.start))?;
        let mut by_start: Vec<&SpanSeen> = trace.spans.iter().collect();
        by_start.sort_by_key(|span| span.start);
        let mut services: Vec<&str> = Vec::new();
        for span in by_start {
            if !services.contains(&&*span.service.name) {
                services.push(&span.service.name);
            }
        }
        Some(self.options.paper.head(&Head {
            trace: *id,
            top,
            spans: trace.total,
            errors: trace.errors,
            is_slow: self.is_slow(top),
            services,
        }))
    }

    fn is_slow(&self, span: &SpanSeen) -> bool {
        const ENOUGH: usize = 20;
        let key = (span.service.name.to_string(), span.name.clone());
        let Some(durations) = self.durations.get(&key).filter(|durations| durations.len() >= ENOUGH) else {
            return false;
        };
        let mut sorted: Vec<u64> = durations.iter().copied().collect();
        sorted.sort_unstable();
        let p95 = sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)];
        span.duration() > p95
    }

    fn remember_duration(&mut self, span: &SpanSeen) {
        let key = (span.service.name.to_string(), span.name.clone());
        if self.durations.len() >= OPERATIONS && !self.durations.contains_key(&key) {
            return;
        }
        let durations = self.durations.entry(key).or_default();
        if durations.len() == DURATIONS {
            durations.pop_front();
        }
        durations.push_back(span.duration());
    }

    /// Draws what has come to rest.
    pub fn tick(&mut self, now: UnixNanos) -> Vec<Block> {
        let mut blocks = Vec::new();
        let open = std::mem::take(&mut self.open);
        for id in open {
            let Some(trace) = self.traces.get(&id) else { continue };
            let is_quiet = now.0.saturating_sub(trace.last_at) >= QUIET;
            let has_waited = now.0.saturating_sub(trace.first_at) >= LONGEST_WAIT;
            if is_quiet || has_waited {
                self.settle(&id, &mut blocks);
            } else {
                self.open.push(id);
            }
        }
        if self.open.is_empty() {
            self.tell_hidden(&mut blocks);
        }
        blocks
    }

    /// Draws everything that is still under way.
    pub fn finish(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for id in std::mem::take(&mut self.open) {
            self.settle(&id, &mut blocks);
        }
        self.tell_hidden(&mut blocks);
        blocks
    }

    fn settle(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let Some(trace) = self.traces.get(id) else { return };
        if trace.is_drawn {
            self.tell_late(id, blocks);
            return;
        }
        if !trace.is_health && !trace.spans.is_empty() {
            if self.options.mode == Mode::Tree {
                self.draw_tree(id, blocks);
            } else {
                self.settle_line(id, blocks);
            }
        }
        let Some(trace) = self.traces.get_mut(id) else { return };
        trace.is_drawn = true;
        trace.logs = Vec::new();
        let spans = std::mem::take(&mut trace.spans);
        if let Some(root) = spans.iter().find(|span| span.parent.is_none()) {
            self.remember_duration(root);
        }
    }

    /// Only the head: anew where it can be, else once.
    fn settle_line(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let is_shown = self.traces.get(id).is_some_and(|trace| trace.head.is_some());
        let can_redraw = self.options.redraws && self.last_head == Some(*id);
        if !is_shown || can_redraw {
            self.write_head(id, blocks);
        }
    }

    fn draw_tree(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let Some(trace) = self.traces.get(id) else { return };
        let body = if trace.total == 1 && trace.logs.is_empty() && trace.errors == 0 {
            // The head has said it all.
            Vec::new()
        } else {
            let not_kept = trace.total.saturating_sub(trace.spans.len() as u64);
            self.options.paper.body(&trace.spans, &trace.logs, not_kept)
        };
        if body.is_empty() {
            self.settle_line(id, blocks);
        } else {
            self.write_head(id, blocks);
            self.last_head = None;
            blocks.push(Block {
                replaces_last: false,
                lines: body,
            });
        }
    }

    fn tell_late(&mut self, id: &TraceId, blocks: &mut Vec<Block>) {
        let Some(trace) = self.traces.get_mut(id) else { return };
        let late = std::mem::take(&mut trace.late);
        if late == 0 || trace.is_health || self.options.mode != Mode::Tree {
            return;
        }
        let paper = &self.options.paper;
        let (time, id) = (paper.time(trace.last_at), short_id(id));
        let plural = if late == 1 { "" } else { "s" };
        let line = format!("{time}  +{late} span{plural} {id} (late)");
        self.last_head = None;
        blocks.push(Block {
            replaces_last: false,
            lines: vec![paper.style.paint(&line, text::Ink::Dim)],
        });
    }

    fn tell_hidden(&mut self, blocks: &mut Vec<Block>) {
        let style = self.options.paper.style;
        // Told again when it has doubled: probes come every few seconds for hours.
        if self.hidden_health >= (self.told_health * 2).max(1) {
            self.told_health = self.hidden_health;
            let plural = if self.hidden_health == 1 { "" } else { "s" };
            let line = format!("({} health check{plural} hidden)", self.hidden_health);
            self.last_head = None;
            blocks.push(Block {
                replaces_last: false,
                lines: vec![style.paint(&line, text::Ink::Dim)],
            });
        }
        if self.hidden_logs > 0 {
            let line = format!("({} log records not shown)", std::mem::take(&mut self.hidden_logs));
            self.last_head = None;
            blocks.push(Block {
                replaces_last: false,
                lines: vec![style.paint(&line, text::Ink::Dim)],
            });
        }
    }
}
