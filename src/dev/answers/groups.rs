//! Spans put together: services, failures, slow operations, figures by any key.

use std::collections::HashMap;

use serde::Serialize;

use super::common::cut;
use super::compare::share;
use super::find::StoreExtras;
use super::traces::{kind_name, status_name};
use super::{Ask, Failure, Head, Hex8, Hex16, Ns, find_rows};
use crate::dev::query::{Extras, Key};
use crate::dev::store::{Segment, Store};
use crate::pdata::Signal;

/// Groups that are kept while counting; more are left out and said so.
const MOST_GROUPS: usize = 20_000;
/// Operations named with a service.
const MOST_OPERATIONS: usize = 20;

/// Durations and failures of a group.
#[derive(Clone, Debug, Default)]
struct Sum {
    durations: Vec<u64>,
    errors: u64,
}

impl Sum {
    fn add(&mut self, segment: &Segment, row: usize) {
        self.durations.push(segment.durations[row]);
        self.errors += u64::from(segment.statuses[row] == 2);
    }

    fn done(mut self) -> Figures {
        self.durations.sort_unstable();
        let at = |part| Ns(share(&self.durations, part));
        Figures {
            spans: self.durations.len() as u64,
            errors: self.errors,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// What is said of a group of spans.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    pub spans: u64,
    pub errors: u64,
    pub p50: Ns,
    pub p95: Ns,
    pub p99: Ns,
    pub max: Ns,
}

/// `GET /api/v1/services`.
#[derive(Debug, Serialize)]
pub struct Services {
    #[serde(flatten)]
    pub head: Head,
    pub services: Vec<ServiceRow>,
}

/// A service.
#[derive(Debug, Serialize)]
pub struct ServiceRow {
    pub name: String,
    #[serde(flatten)]
    pub figures: Figures,
    /// Names of its server and consumer spans and roots, the most frequent first.
    pub operations: Vec<String>,
    pub sdk: String,
    pub language: String,
}

#[derive(Default)]
struct Service {
    sum: Sum,
    operations: HashMap<String, u64>,
    sdk: String,
    language: String,
}

/// The services of which a span fits.
pub fn services(store: &Store, ask: &Ask) -> Services {
    let snapshot = store.snapshot();
    let (found, late) = find_rows(store, &snapshot, ask, Signal::Traces);
    let mut all: HashMap<String, Service> = HashMap::new();
    for found in &found {
        let segment = &found.segment;
        // Of names the numbers are counted, and the texts looked up once a segment.
        let mut operations: HashMap<(u16, u32), u64> = HashMap::new();
        for row in found.rows.rows() {
            let name = segment.service(row);
            if !all.contains_key(name) {
                all.insert(name.to_owned(), Service::default());
            }
            let Some(service) = all.get_mut(name) else { continue };
            service.sum.add(segment, row);
            if matches!(segment.kinds[row], 2 | 5) || segment.parents[row] == 0 {
                *operations
                    .entry((segment.resource[row], segment.names[row]))
                    .or_default() += 1;
            }
            if service.language.is_empty() {
                let text = |key| segment.attribute(row, key).unwrap_or_default();
                text("telemetry.sdk.language").clone_into(&mut service.language);
                service.sdk = format!("{} {}", text("telemetry.sdk.name"), text("telemetry.sdk.version"))
                    .trim()
                    .to_owned();
            }
        }
        for ((resource, name), count) in operations {
            let service = segment.texts.get(segment.resources[usize::from(resource)].service);
            if let Some(service) = all.get_mut(service)
                && service.operations.len() < MOST_GROUPS
            {
                *service
                    .operations
                    .entry(segment.texts.get(name).to_owned())
                    .or_default() += count;
            }
        }
    }
    let mut services: Vec<ServiceRow> = all
        .into_iter()
        .map(|(name, service)| {
            let mut operations: Vec<(String, u64)> = service.operations.into_iter().collect();
            operations.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            ServiceRow {
                name,
                figures: service.sum.done(),
                operations: operations
                    .into_iter()
                    .take(MOST_OPERATIONS)
                    .map(|(name, _)| name)
                    .collect(),
                sdk: service.sdk,
                language: service.language,
            }
        })
        .collect();
    services.sort_by(|a, b| (b.figures.spans, &a.name).cmp(&(a.figures.spans, &b.name)));
    let head = head(store, ask, Signal::Traces, services.len(), late);
    services.truncate(ask.limit);
    Services { head, services }
}

pub(super) fn head(store: &Store, ask: &Ask, signal: Signal, total: usize, late: bool) -> Head {
    let mut head = Head::new(store, ask, signal, total as u64, total.min(ask.limit));
    head.truncated |= late;
    head
}

/// `GET /api/v1/errors`.
#[derive(Debug, Serialize)]
pub struct Errors {
    #[serde(flatten)]
    pub head: Head,
    pub errors: Vec<ErrorRow>,
}

/// Failures of one service that are alike.
#[derive(Debug, Serialize)]
pub struct ErrorRow {
    pub service: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub message: String,
    pub count: u64,
    pub first: Ns,
    pub last: Ns,
    /// The newest of them.
    pub trace_id: Hex16,
    pub span_id: Hex8,
}

/// Failed spans that fit, by service, type and message; log records of errors that belong to no trace too.
pub fn errors(store: &Store, ask: &Ask) -> Errors {
    let snapshot = store.snapshot();
    let mut all: HashMap<(String, String, String), ErrorRow> = HashMap::new();
    let mut is_short = false;
    for signal in [Signal::Traces, Signal::Logs] {
        let (found, late) = find_rows(store, &snapshot, ask, signal);
        is_short |= late;
        for found in &found {
            let segment = &found.segment;
            for row in found.rows.rows() {
                let is_error = match signal {
                    Signal::Traces => segment.statuses[row] == 2,
                    _ => segment.kinds[row] >= 17 && segment.trace(row) == [0; 16],
                };
                if !is_error {
                    continue;
                }
                let (kind, message) = what_failed(segment, row);
                let key = (segment.service(row).to_owned(), kind, message);
                if all.len() >= MOST_GROUPS && !all.contains_key(&key) {
                    is_short = true;
                    continue;
                }
                note_error(all.entry(key), segment, row);
            }
        }
    }
    let mut errors: Vec<ErrorRow> = all.into_values().collect();
    errors.sort_by(|a, b| (b.count, b.last, &a.message).cmp(&(a.count, a.last, &b.message)));
    let head = head(store, ask, Signal::Traces, errors.len(), is_short);
    errors.truncate(ask.limit);
    Errors { head, errors }
}

type ErrorEntry<'a> = std::collections::hash_map::Entry<'a, (String, String, String), ErrorRow>;

fn note_error(entry: ErrorEntry<'_>, segment: &Segment, row: usize) {
    let time = Ns(segment.starts[row]);
    let (service, kind, message) = entry.key().clone();
    let error = entry.or_insert_with(|| ErrorRow {
        service,
        kind,
        message,
        count: 0,
        first: time,
        last: Ns(0),
        trace_id: Hex16::default(),
        span_id: Hex8::default(),
    });
    error.count += 1;
    error.first = error.first.min(time);
    if time >= error.last {
        error.last = time;
        error.trace_id = Hex16(segment.trace(row));
        error.span_id = Hex8(segment.span(row));
    }
}

/// Type and message: of the exception, else what the span says of itself.
pub fn what_failed(segment: &Segment, row: usize) -> (String, String) {
    const LONGEST: usize = 500;
    let text = |name: &str| {
        let key = segment.texts.find(name)?;
        let pairs = segment.attributes(row).iter().map(|at| segment.pairs.get(*at));
        let found = pairs
            .filter(|pair| pair.key == key)
            .map(|pair| segment.texts.get(pair.value))
            .next();
        found.filter(|text| !text.is_empty())
    };
    let status = ["http.response.status_code", "http.status_code", "rpc.grpc.status_code"];
    let kind = text("exception.type")
        .or_else(|| text("error.type"))
        .map(str::to_owned)
        .or_else(|| status.into_iter().find_map(text).map(str::to_owned))
        .unwrap_or_default();
    let own = Some(segment.texts.get(segment.messages[row])).filter(|text| !text.is_empty());
    let message = text("exception.message").or(own).unwrap_or_else(|| segment.name(row));
    (kind, cut(message, LONGEST))
}

/// `GET /api/v1/slow`.
#[derive(Debug, Serialize)]
pub struct Slow {
    #[serde(flatten)]
    pub head: Head,
    pub operations: Vec<Operation>,
}

/// Spans of one service and name.
#[derive(Debug, Serialize)]
pub struct Operation {
    pub service: String,
    pub name: String,
    pub kind: &'static str,
    #[serde(flatten)]
    pub figures: Figures,
    /// The slowest of them.
    pub trace_id: Hex16,
    pub span_id: Hex8,
}

/// Operations by their p95, slowest first.
pub fn slow(store: &Store, ask: &Ask) -> Slow {
    let snapshot = store.snapshot();
    let (found, mut is_short) = find_rows(store, &snapshot, ask, Signal::Traces);
    // The slowest: duration, trace, span, kind.
    type Slowest = (u64, [u8; 16], u64, u8);
    let mut all: HashMap<(String, String), (Sum, Slowest)> = HashMap::new();
    for found in &found {
        let segment = &found.segment;
        let mut by_name: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
        for row in found.rows.rows() {
            by_name
                .entry((segment.resource_of(row).service, segment.names[row]))
                .or_default()
                .push(row);
        }
        for ((service, name), rows) in by_name {
            let key = (
                segment.texts.get(service).to_owned(),
                segment.texts.get(name).to_owned(),
            );
            if all.len() >= MOST_GROUPS && !all.contains_key(&key) {
                is_short = true;
                continue;
            }
            let (sum, slowest) = all.entry(key).or_default();
            for row in rows {
                sum.add(segment, row);
                let this = (
                    segment.durations[row],
                    segment.trace(row),
                    segment.span(row),
                    segment.kinds[row],
                );
                *slowest = this.max(*slowest);
            }
        }
    }
    let mut operations: Vec<Operation> = all
        .into_iter()
        .map(|((service, name), (sum, (_, trace, span, kind)))| Operation {
            service,
            name,
            kind: kind_name(kind),
            figures: sum.done(),
            trace_id: Hex16(trace),
            span_id: Hex8(span),
        })
        .collect();
    operations.sort_by(|a, b| (b.figures.p95, &a.service, &a.name).cmp(&(a.figures.p95, &b.service, &b.name)));
    let head = head(store, ask, Signal::Traces, operations.len(), is_short);
    operations.truncate(ask.limit);
    Slow { head, operations }
}

/// `GET /api/v1/stats`.
#[derive(Debug, Serialize)]
pub struct Stats {
    #[serde(flatten)]
    pub head: Head,
    pub by: Option<String>,
    pub of: String,
    pub groups: Vec<Group>,
}

/// Figures of the rows with one value of the key.
#[derive(Debug, Serialize)]
pub struct Group {
    pub key: String,
    pub count: u64,
    pub errors: u64,
    /// Of the numbers asked for; durations in nanoseconds.
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// Figures of spans (or log records, with `signal=logs`) by a key: of their duration, self time or an attribute.
///
/// # Errors
/// Where the key cannot be put in numbers.
pub fn stats(store: &Store, ask: &Ask, signal: Signal, by: Option<&str>, of: &str) -> Result<Stats, Failure> {
    let of = if of.is_empty() { "duration" } else { of };
    let measured = Key::named(of);
    if !matches!(measured, Key::Duration | Key::SelfTime | Key::Attribute(..)) {
        return Err(Failure::Bad(format!(
            "`of` is duration, self or an attribute with numbers, not {of:?}"
        )));
    }
    let by_key = by.map(Key::named);
    let snapshot = store.snapshot();
    let extras = StoreExtras::new(store);
    let (found, mut is_short) = find_rows(store, &snapshot, ask, signal);
    let mut all: HashMap<String, (u64, u64, Vec<f64>)> = HashMap::new();
    for found in &found {
        let segment = &found.segment;
        for row in found.rows.rows() {
            let key = by_key
                .as_ref()
                .map(|key| value_of(segment, row, key))
                .unwrap_or_default();
            if all.len() >= MOST_GROUPS && !all.contains_key(&key) {
                is_short = true;
                continue;
            }
            let sum = all.entry(key).or_default();
            sum.0 += 1;
            sum.1 += u64::from(signal == Signal::Traces && segment.statuses[row] == 2);
            let number = match &measured {
                Key::Duration if signal == Signal::Traces => Some(segment.durations[row] as f64),
                Key::SelfTime => extras.self_time(segment, row).map(|own| own as f64),
                Key::Attribute(name, _) => segment.attribute(row, name).and_then(|text| text.parse().ok()),
                _ => None,
            };
            sum.2.extend(number.filter(|number: &f64| number.is_finite()));
        }
    }
    let mut groups: Vec<Group> = all.into_iter().map(|(key, sum)| group(key, sum)).collect();
    groups.sort_by(|a, b| (b.count, &a.key).cmp(&(a.count, &b.key)));
    let head = head(store, ask, signal, groups.len(), is_short);
    groups.truncate(ask.limit);
    Ok(Stats {
        head,
        by: by.map(str::to_owned),
        of: of.to_owned(),
        groups,
    })
}

fn group(key: String, (count, errors, mut numbers): (u64, u64, Vec<f64>)) -> Group {
    numbers.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let at = (part * numbers.len() as f64).ceil() as usize;
        numbers.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Group {
        key,
        count,
        errors,
        sum: numbers.iter().sum(),
        min: at(0.0),
        max: at(1.0),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
    }
}

/// The value of a key in a row, as text.
pub fn value_of(segment: &Segment, row: usize, key: &Key) -> String {
    let texts = &segment.texts;
    match key {
        Key::Signal => segment.signal.name().to_owned(),
        Key::Service => segment.service(row).to_owned(),
        Key::Name => segment.name(row).to_owned(),
        Key::Kind => kind_name(segment.kinds[row]).to_owned(),
        Key::Status => status_name(segment.statuses[row]).to_owned(),
        Key::Trace => hex::encode(segment.trace(row)),
        Key::Span => hex::encode(segment.span(row).to_be_bytes()),
        Key::Parent => hex::encode(segment.parents[row].to_be_bytes()),
        Key::Scope => texts.get(segment.scope_of(row).name).to_owned(),
        Key::Run => texts.get(segment.resource_of(row).run).to_owned(),
        Key::Body => texts.get(segment.messages[row]).to_owned(),
        Key::Severity => super::rows::level_name(segment.kinds[row]).to_owned(),
        Key::Time => segment.starts[row].to_string(),
        Key::Duration => segment.durations[row].to_string(),
        Key::SelfTime | Key::Alert => String::new(),
        Key::Attribute(name, placed) => {
            let placed = placed.as_ref().and_then(|(place, name)| {
                let key = texts.find(name)?;
                let lists = [
                    segment.attributes(row),
                    &segment.resource_of(row).pairs,
                    &segment.scope_of(row).pairs,
                ];
                let pairs = lists.into_iter().flatten().map(|at| segment.pairs.get(*at));
                pairs
                    .filter(|pair| pair.key == key && pair.place == *place)
                    .map(|pair| texts.get(pair.value))
                    .next()
            });
            placed
                .or_else(|| segment.attribute(row, name))
                .unwrap_or_default()
                .to_owned()
        }
    }
}
