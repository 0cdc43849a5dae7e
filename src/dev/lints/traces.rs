//! Rules that need a whole trace: `n-plus-one`, `orphan-span`, `clock-skew`, `duplicate-span` and cycles, and between
//! traces `broken-propagation`.
//!
//! A trace is looked at when nothing of it has come for a second, and for orphans after ten.

use std::collections::{HashMap, HashSet, VecDeque};

use super::book::{Evidence, Report, Severity};
use crate::dev::seen::{SpanId, SpanSeen, TraceId};

const SECOND: u64 = 1_000_000_000;
/// A trace is looked at after this silence ...
const QUIET: u64 = SECOND;
/// ... and a parent is missing after this one.
const ORPHANED: u64 = 10 * SECOND;
/// Alike calls below one parent.
const MANY_ALIKE: usize = 5;
/// Two clocks of one machine may differ so much.
const SKEW: u64 = 2_000_000;
/// Traces and spans that are remembered.
const MOST_TRACES: usize = 5_000;
const MOST_SPANS: usize = 20_000;
/// Pairs of traces that fit each other before it is said.
const PAIRS: usize = 3;
/// Calls without an answer in their own trace, and answers without a caller, that are compared.
const MOST_CALLS: usize = 512;

#[derive(Default)]
struct Watched {
    spans: Vec<SpanSeen>,
    ids: HashSet<SpanId>,
    last_at: u64,
    duplicates: usize,
    is_checked: bool,
}

/// One end of a call whose other end is not in its trace.
#[derive(Clone)]
struct End {
    trace: TraceId,
    span: SpanId,
    service: String,
    path: String,
    start: u64,
    end: u64,
}

/// What these rules remember.
#[derive(Default)]
pub struct TraceRules {
    traces: HashMap<TraceId, Watched>,
    order: VecDeque<TraceId>,
    spans: usize,
    calls: VecDeque<End>,
    answers: VecDeque<End>,
    pairs: HashMap<(String, String), usize>,
}

impl TraceRules {
    /// Remembers a span.
    pub fn take(&mut self, span: &SpanSeen, at: u64, found: &mut Vec<Report>) {
        while self.traces.len() >= MOST_TRACES || self.spans >= MOST_SPANS {
            let Some(oldest) = self.order.pop_front() else { break };
            self.settle(&oldest, found);
            self.forget(&oldest);
        }
        let trace = self.traces.entry(span.trace).or_insert_with(|| {
            self.order.push_back(span.trace);
            Watched::default()
        });
        trace.last_at = at;
        trace.is_checked = false;
        if !trace.ids.insert(span.span) {
            trace.duplicates += 1;
            if trace.duplicates == 1 {
                found.push(duplicate(span));
            }
            return;
        }
        trace.spans.push(span.clone());
        self.spans += 1;
    }

    /// Looks at what has come to rest.
    pub fn tick(&mut self, now: u64, found: &mut Vec<Report>) {
        let mut over = Vec::new();
        let mut quiet = Vec::new();
        for (id, trace) in &self.traces {
            let silence = now.saturating_sub(trace.last_at);
            if silence >= QUIET && !trace.is_checked {
                quiet.push(*id);
            }
            if silence >= ORPHANED {
                over.push(*id);
            }
        }
        for id in &quiet {
            self.settle(id, found);
        }
        for id in &over {
            if let Some(trace) = self.traces.get(id) {
                orphans(trace, found);
            }
            self.forget(id);
        }
        if !over.is_empty() {
            let traces = &self.traces;
            self.order.retain(|id| traces.contains_key(id));
        }
    }

    /// Looks at everything now, at rest or not.
    pub fn check_all(&mut self, found: &mut Vec<Report>) {
        let open: Vec<TraceId> = self
            .traces
            .iter()
            .filter(|(_, trace)| !trace.is_checked)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.settle(&id, found);
        }
    }

    fn forget(&mut self, id: &TraceId) {
        if let Some(trace) = self.traces.remove(id) {
            self.spans = self.spans.saturating_sub(trace.spans.len());
        }
    }

    fn settle(&mut self, id: &TraceId, found: &mut Vec<Report>) {
        let Some(trace) = self.traces.get_mut(id) else { return };
        if trace.is_checked {
            return;
        }
        trace.is_checked = true;
        n_plus_one(trace, found);
        skew(trace, found);
        cycles(trace, found);
        let (calls, answers) = open_ends(trace);
        for call in calls {
            self.match_call(call, found);
        }
        for answer in answers {
            self.match_answer(answer, found);
        }
    }

    fn match_call(&mut self, call: End, found: &mut Vec<Report>) {
        if let Some(at) = self.answers.iter().position(|answer| fits(&call, answer)) {
            if let Some(answer) = self.answers.remove(at) {
                self.pair(&call, &answer, found);
            }
            return;
        }
        push_bounded(&mut self.calls, call);
    }

    fn match_answer(&mut self, answer: End, found: &mut Vec<Report>) {
        if let Some(at) = self.calls.iter().position(|call| fits(call, &answer)) {
            if let Some(call) = self.calls.remove(at) {
                self.pair(&call, &answer, found);
            }
            return;
        }
        push_bounded(&mut self.answers, answer);
    }

    fn pair(&mut self, call: &End, answer: &End, found: &mut Vec<Report>) {
        let key = (call.service.clone(), answer.service.clone());
        if self.pairs.len() >= MOST_CALLS && !self.pairs.contains_key(&key) {
            return;
        }
        let pairs = self.pairs.entry(key).or_default();
        *pairs += 1;
        if *pairs < PAIRS {
            return;
        }
        found.push(Report {
            rule: "broken-propagation",
            severity: Severity::Warning,
            subject: format!("{}\0{}", call.service, answer.service),
            title: format!("Calls of {} to {} are in separate traces", call.service, answer.service),
            text: format!(
                "{} times a call of {} and an answer of {} to {:?} lay within each other in time, in two traces.",
                pairs, call.service, answer.service, call.path
            ),
            fix: format!(
                "Send the header traceparent from {} (instrument its HTTP client, or inject the context) and let {} extract \
                 it; look for proxies that drop it and for OTEL_PROPAGATORS that differ.",
                call.service, answer.service
            ),
            evidence: Evidence::span(&answer.trace, &answer.span, format!("called by trace {}", hex::encode(call.trace))),
            service: answer.service.clone(),
            run: None,
            times: 1,
        });
    }
}

fn push_bounded(list: &mut VecDeque<End>, end: End) {
    if list.len() == MOST_CALLS {
        list.pop_front();
    }
    list.push_back(end);
}

/// The answer lies within the call, of the same path, of another service and trace.
fn fits(call: &End, answer: &End) -> bool {
    call.trace != answer.trace
        && call.service != answer.service
        && call.path == answer.path
        && answer.start.saturating_add(SKEW) >= call.start
        && answer.end <= call.end.saturating_add(SKEW)
}

/// Calls that nobody in this trace answered, and the root where it is an answer.
fn open_ends(trace: &Watched) -> (Vec<End>, Vec<End>) {
    let parents: HashSet<SpanId> = trace.spans.iter().filter_map(|span| span.parent).collect();
    let end = |span: &SpanSeen| {
        let path = span.http_path.clone()?;
        Some(End {
            trace: span.trace,
            span: span.span,
            service: span.service.name.to_string(),
            path: path.split('?').next().unwrap_or_default().to_owned(),
            start: span.start,
            end: span.end,
        })
    };
    let calls = trace
        .spans
        .iter()
        .filter(|span| span.kind == 3 && !parents.contains(&span.span));
    let answers = trace
        .spans
        .iter()
        .filter(|span| span.kind == 2 && span.parent.is_none() && !span.is_health_check());
    (calls.filter_map(end).collect(), answers.filter_map(end).collect())
}

fn about(span: &SpanSeen, rule: &'static str, subject: String) -> Report {
    Report {
        rule,
        severity: Severity::Warning,
        subject,
        title: String::new(),
        text: String::new(),
        fix: String::new(),
        evidence: Evidence::span(&span.trace, &span.span, span.name.clone()),
        service: span.service.name.to_string(),
        run: span.service.run.as_deref().map(str::to_owned),
        times: 1,
    }
}

fn n_plus_one(trace: &Watched, found: &mut Vec<Report>) {
    let mut alike: HashMap<(SpanId, &str, &str, &str), Vec<&SpanSeen>> = HashMap::new();
    for span in trace.spans.iter().filter(|span| span.kind == 3) {
        let Some(parent) = span.parent else { continue };
        let statement = span.statement.as_deref().unwrap_or_default();
        let key = (parent, &*span.service.name, span.name.as_str(), statement);
        alike.entry(key).or_default().push(span);
    }
    for ((parent, service, name, statement), spans) in alike {
        let Some(first) = spans.first().filter(|_| spans.len() >= MANY_ALIKE) else {
            continue;
        };
        let above = trace.spans.iter().find(|span| span.span == parent);
        let above = above.map_or("its parent", |span| span.name.as_str());
        let sum = spans.iter().map(|span| span.duration()).fold(0, u64::saturating_add);
        let sum = crate::dev::terminal::text::duration_text(sum);
        let is_statement = !statement.is_empty();
        let what = if is_statement { "one statement" } else { "one call" };
        found.push(Report {
            title: format!("N+1: {service} makes {what} {} times in {above}: {name}", spans.len()),
            text: format!(
                "{} alike spans {name:?} below {above:?} took {sum} together.",
                spans.len()
            ),
            fix: if is_statement {
                "Fetch all of them at once: a join, WHERE id IN (...), or the eager loading of your ORM.".to_owned()
            } else {
                "Ask for all of them in one call, or in parallel, or remember the answer.".to_owned()
            },
            ..about(first, "n-plus-one", format!("{service}\0{above}\0{name}\0{statement}"))
        });
    }
}

fn skew(trace: &Watched, found: &mut Vec<Report>) {
    let by_id: HashMap<SpanId, &SpanSeen> = trace.spans.iter().map(|span| (span.span, span)).collect();
    for span in &trace.spans {
        let Some(parent) = span.parent.and_then(|parent| by_id.get(&parent)) else {
            continue;
        };
        let is_call = span.kind == 2 && parent.kind == 3 && parent.service.name != span.service.name;
        if !is_call || span.duration() > parent.duration() {
            continue;
        }
        let early = parent.start.saturating_sub(span.start);
        let late = span.end.saturating_sub(parent.end);
        if early.max(late) <= SKEW {
            continue;
        }
        let by = crate::dev::terminal::text::duration_text(early.max(late));
        let (who, way) = if early > late {
            ("before", "slow")
        } else {
            ("after", "fast")
        };
        found.push(Report {
            title: format!("The clocks of {} and {} differ", parent.service.name, span.service.name),
            text: format!(
                "{} answers {by} {who} its caller's span: its clock is {way} by so much.",
                span.name
            ),
            fix:
                "Let NTP or chrony set the clocks of both machines; containers of one machine share its clock, virtual \
                  machines drift after a suspend."
                    .to_owned(),
            ..about(
                span,
                "clock-skew",
                format!("{}\0{}", parent.service.name, span.service.name),
            )
        });
    }
}

fn cycles(trace: &Watched, found: &mut Vec<Report>) {
    let parents: HashMap<SpanId, SpanId> = trace
        .spans
        .iter()
        .filter_map(|span| Some((span.span, span.parent?)))
        .collect();
    let mut good: HashSet<SpanId> = HashSet::new();
    for span in &trace.spans {
        let mut path = HashSet::new();
        let mut at = span.span;
        while !good.contains(&at) {
            if !path.insert(at) {
                found.push(Report {
                    title: format!("Spans of {} are each other's parents", span.service.name),
                    text: format!(
                        "The parents of {:?} lead back to itself; the cycle is cut where it is shown.",
                        span.name
                    ),
                    fix: "Span ids are made anew for every span: look for one that is reused, or set by hand."
                        .to_owned(),
                    ..about(span, "duplicate-span", format!("cycle\0{}", span.service.name))
                });
                return;
            }
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => break,
            }
        }
        good.extend(path);
    }
}

fn duplicate(span: &SpanSeen) -> Report {
    Report {
        title: format!("{} sends spans twice", span.service.name),
        text: format!("{:?} came more than once with the same ids; one is kept.", span.name),
        fix: "Look for two exporters or two span processors to the same endpoint, and for a collector between that sends \
              on both ways."
            .to_owned(),
        severity: Severity::Info,
        ..about(span, "duplicate-span", span.service.name.to_string())
    }
}

fn orphans(trace: &Watched, found: &mut Vec<Report>) {
    let missing = |span: &&SpanSeen| span.parent.is_some_and(|parent| !trace.ids.contains(&parent));
    let mut told: HashSet<&str> = HashSet::new();
    for span in trace.spans.iter().filter(missing) {
        if !told.insert(&span.service.name) {
            continue;
        }
        found.push(Report {
            title: format!("Parents of spans of {} are missing", span.service.name),
            text: format!("The parent of {:?} has not come within 10 s.", span.name),
            fix: "Its service sends elsewhere, samples differently (OTEL_TRACES_SAMPLER), or ended before it sent: flush on \
                  exit; a proxy may make spans that it does not export."
                .to_owned(),
            ..about(span, "orphan-span", span.service.name.to_string())
        });
    }
}
