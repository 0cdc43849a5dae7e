//! What arrived, and what of it can be seen at a moment: sent documents, and the generated ones, which are not kept.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::super::scenario::Scenario;
use super::load::{Load, Place};

/// A document and when it arrived (unix seconds).
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: f64,
    pub document: Json,
}

impl Arrival {
    pub fn new(at: f64, document: Json) -> Self {
        Self { at, document }
    }

    /// When it shows: some of the indexing delay later, the same for every reader.
    fn visible_at(&self, delay: f64) -> f64 {
        if delay <= 0.0 {
            return self.at;
        }
        let id = text(&self.document, "id");
        let share = xxh3_64(id.as_bytes()) as f64 / u64::MAX as f64;
        self.at + delay * share
    }
}

/// A trace as it shows at a moment.
#[derive(Clone, Debug)]
pub struct Trace {
    pub id: String,
    /// In the order of arrival.
    pub arrivals: Vec<Arrival>,
}

impl Trace {
    /// Times of the latest arrival and of the earliest start.
    pub fn updated(&self) -> f64 {
        self.arrivals.iter().map(|arrival| arrival.at).fold(0.0, f64::max)
    }

    pub fn start(&self) -> f64 {
        let starts = self
            .arrivals
            .iter()
            .map(|arrival| number(&arrival.document, "start_time"));
        starts.fold(f64::INFINITY, f64::min)
    }
}

/// A text of an object, or nothing.
pub fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// A number of an object, or 0.
pub fn number(json: &Json, key: &str) -> f64 {
    json.get(key).and_then(Json::as_f64).unwrap_or_default()
}

/// Whether an object says `key: true`.
pub fn flag(json: &Json, key: &str) -> bool {
    json.get(key).and_then(Json::as_bool).unwrap_or_default()
}

/// `TimeRangeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeType {
    TraceId,
    Event,
    Service,
}

/// A time range, unix seconds: from inclusive, to exclusive.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub kind: RangeType,
    pub from: f64,
    pub to: f64,
}

/// Sent documents by trace.
#[derive(Debug, Default)]
pub struct Store {
    sent: BTreeMap<String, Vec<Arrival>>,
}

/// A moment of the store.
pub struct View<'a> {
    pub store: &'a Store,
    pub scenario: &'a Scenario,
    /// Unix seconds.
    pub now: f64,
}

impl Store {
    /// Takes a document of a trace.
    pub fn put(&mut self, trace: &str, arrival: Arrival) {
        self.sent.entry(trace.to_owned()).or_default().push(arrival);
    }

    /// Traces of which something was sent.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.sent.keys()
    }

    /// Documents that were sent.
    pub fn documents(&self) -> usize {
        self.sent.values().map(Vec::len).sum()
    }
}

impl View<'_> {
    fn load(&self) -> Load<'_> {
        Load::new(self.scenario)
    }

    /// Every arrival of a trace, seen or not.
    pub fn all(&self, id: &str) -> Vec<Arrival> {
        let load = self.load();
        let mut arrivals = load.place_of(id).map_or_else(Vec::new, |place| load.arrivals(place));
        if let Some(sent) = self.store.sent.get(id) {
            arrivals.extend(sent.iter().cloned());
            arrivals.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        arrivals
    }

    /// The trace as it shows now; `None`: not yet, not any more, or never.
    pub fn trace(&self, id: &str) -> Option<Trace> {
        self.visible(id, self.all(id))
    }

    fn visible(&self, id: &str, mut arrivals: Vec<Arrival>) -> Option<Trace> {
        let settings = &self.scenario.xray;
        arrivals.retain(|arrival| arrival.visible_at(settings.indexing_delay_s) <= self.now);
        if arrivals.is_empty() {
            return None;
        }
        let trace = Trace {
            id: id.to_owned(),
            arrivals,
        };
        (trace.start() >= self.now - settings.retention_s).then_some(trace)
    }

    /// The time by which a trace matches a range, newest arrival first; `None`: it does not.
    pub fn matched(trace: &Trace, range: Range) -> Option<f64> {
        let within = |at: &f64| range.from <= *at && *at < range.to;
        match range.kind {
            RangeType::TraceId => Some(trace.start()).filter(within),
            RangeType::Event => {
                let times = trace.arrivals.iter().map(|arrival| arrival.at);
                times.filter(within).reduce(f64::max)
            }
            RangeType::Service => {
                let ends = trace
                    .arrivals
                    .iter()
                    .map(|arrival| number(&arrival.document, "end_time"));
                ends.filter(within).reduce(f64::max)
            }
        }
    }

    /// Traces that match a range now, newest first, with the time by which they match.
    pub fn traces(&self, region: &str, range: Range) -> Vec<(f64, Trace)> {
        let mut found = Vec::new();
        let mut add = |trace: Option<Trace>| {
            if let Some(trace) = trace
                && let Some(at) = Self::matched(&trace, range)
            {
                found.push((at, trace));
            }
        };
        let load = self.load();
        if region == self.scenario.xray.region {
            for minute in load.minutes_with_arrivals(range.from, range.to) {
                for number in 0..load.count(minute) {
                    let place = Place { minute, number };
                    // Far from the range: not even built.
                    if load.late_by(place).is_none() && load.start(place) < range.from - super::load::LONGEST_S {
                        continue;
                    }
                    let id = load.id(place);
                    if self.store.sent.contains_key(&id) {
                        continue;
                    }
                    add(self.visible(&id, load.arrivals(place)));
                }
            }
        }
        for id in self.store.sent.keys() {
            add(self.trace(id));
        }
        found.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| other.id.cmp(&one.id)));
        found
    }
}
