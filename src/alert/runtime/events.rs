//! What is no metric: spans and logs counted by conditions, and the built-in counters of AWS calls.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::engine::{Engine, SourceKind};
use crate::alert::intake::{Intake, names, text_of};
use crate::alert::store::{Origin as SeriesOrigin, Point, SeriesId};
use crate::component::Clock;
use crate::config::Section;
use crate::ottl::{Condition, Context, Item, Target};
use crate::pdata::{Origin, Signal};
use crate::wire::{self, Resource, ScopeGroup, WireError};

/// `events: {name: {context, conditions, labels}}`.
#[derive(Clone)]
pub struct EventRule {
    /// Of the counter, with `_total`.
    name: String,
    signal: Signal,
    /// One of them is enough.
    conditions: Arc<[Condition]>,
    /// Attributes of the item, else of its resource.
    labels: Vec<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    context: String,
    conditions: Vec<String>,
    labels: Vec<String>,
}

const MOST_LABELS: usize = 10;

impl EventRule {
    pub(super) fn read_all(section: &Section) -> Vec<Self> {
        if !section.require_map() {
            return Vec::new();
        }
        let rules = section
            .keys()
            .into_iter()
            .filter_map(|name| Self::read(&name, &section.take(&name)?));
        rules.collect()
    }

    fn read(name: &str, section: &Section) -> Option<Self> {
        let config: Config = section.read()?;
        let (signal, context) = match config.context.as_str() {
            "span" => (Signal::Traces, Context::Span),
            "log" => (Signal::Logs, Context::Log),
            _ => {
                section.error_at("context", "is span or log");
                return None;
            }
        };
        if config.conditions.is_empty() {
            section.error_at("conditions", "needs at least one condition in OTTL");
        }
        if config.labels.len() > MOST_LABELS {
            section.error_at("labels", format!("at most {MOST_LABELS}: each multiplies the series"));
        }
        let mut conditions = Vec::new();
        for (position, text) in config.conditions.iter().enumerate() {
            match Condition::new(text, context) {
                Ok(condition) => conditions.push(condition),
                Err(error) => {
                    section.error_in_text(&format!("conditions::{position}"), error.offset, error.message);
                }
            }
        }
        if name.is_empty() || name != names::label(name) {
            section.error_on_key("the name becomes that of a metric: letters, digits and _");
        }
        let name = if name.ends_with("_total") {
            name.to_owned()
        } else {
            format!("{name}_total")
        };
        Some(Self {
            name,
            signal,
            conditions: conditions.into(),
            labels: config.labels,
        })
    }
}

/// Counts.
pub(super) struct Events {
    rules: Vec<EventRule>,
    totals: HashMap<SeriesId, f64>,
    source: Option<u32>,
    #[cfg(feature = "aws")]
    calls: Option<Calls>,
}

/// AWS calls added up; handed to the intake as metrics each minute.
#[cfg(feature = "aws")]
struct Calls {
    aggregate: crate::aws::client_metrics::Aggregate,
    flushed_at: i64,
}

#[cfg(feature = "aws")]
const FLUSH_EVERY: i64 = 60_000;

impl Events {
    pub fn new(rules: &[EventRule], engine: &mut Engine) -> Self {
        let wanted = |rule: &&EventRule| engine.store().wants(&rule.name);
        let rules: Vec<EventRule> = rules.iter().filter(wanted).cloned().collect();
        Self {
            rules,
            totals: HashMap::new(),
            source: None,
            #[cfg(feature = "aws")]
            calls: engine
                .store()
                .wanted_names()
                .any(|name| {
                    name.starts_with("dynamodb_client_") || name == "dynamodb_item_collection_limit_errors_total"
                })
                .then(|| Calls {
                    aggregate: crate::aws::client_metrics::Aggregate::new(
                        crate::aws::client_metrics::AggregateSettings {
                            slow: 0.1,
                            series_limit: 10_000,
                            dimensions: Vec::new(),
                        },
                        0,
                    ),
                    flushed_at: 0,
                }),
        }
    }

    /// Reads a part of a batch of spans or logs.
    ///
    /// # Errors
    /// Where it is malformed.
    #[allow(clippy::too_many_arguments)] // One call.
    pub fn take(
        &mut self,
        signal: Signal,
        part: &[u8],
        origin: &Origin,
        clock: &dyn Clock,
        now: i64,
        _intake: &mut Intake,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        let any_rule = self.rules.iter().any(|rule| rule.signal == signal);
        #[cfg(feature = "aws")]
        let any_call = self.calls.is_some() && signal == Signal::Traces;
        #[cfg(not(feature = "aws"))]
        let any_call = false;
        if !any_rule && !any_call {
            return Ok(());
        }
        for group in wire::resources(part) {
            let group = group?;
            let resource = group.resource()?;
            for scope in group.scopes() {
                let scope: ScopeGroup<'_> = scope?;
                let target = |item| Target {
                    resource: group,
                    scope: Some(scope),
                    item,
                    origin,
                    clock,
                };
                if signal == Signal::Traces {
                    for span in scope.spans() {
                        let span = span?;
                        #[cfg(feature = "aws")]
                        self.call(&span, &resource)?;
                        let attribute = |name: &str| span.attribute(name);
                        self.judge(signal, &target(Item::Span(span)), attribute, &resource, now, engine)?;
                    }
                } else {
                    for record in scope.log_records() {
                        let record = record?;
                        let attribute = |name: &str| record.attribute(name);
                        self.judge(signal, &target(Item::Log(record)), attribute, &resource, now, engine)?;
                    }
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "aws")]
    fn call(&mut self, span: &wire::Span<'_>, resource: &Resource<'_>) -> Result<(), WireError> {
        use crate::aws::client_metrics::{Caller, ClientCall};
        let Some(calls) = &mut self.calls else { return Ok(()) };
        let Some(call) = ClientCall::read(span)? else {
            return Ok(());
        };
        let service_name = resource
            .attribute("service.name")?
            .and_then(|value| text_of(&value))
            .unwrap_or_default();
        let caller = Caller {
            service_name,
            dimensions: Vec::new(),
        };
        let end = span.end_time_unix_nano()?;
        calls.aggregate.add(&call, &caller, end);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // Two calls, from the walk over the items.
    fn judge<'a>(
        &mut self,
        signal: Signal,
        target: &Target<'_>,
        attribute: impl Fn(&str) -> Result<Option<wire::Value<'a>>, WireError>,
        resource: &Resource<'_>,
        now: i64,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        for rule in self.rules.iter().filter(|rule| rule.signal == signal) {
            // A condition that fails on an item does not hold for it.
            let holds = rule
                .conditions
                .iter()
                .any(|condition| condition.holds(target).unwrap_or(false));
            if !holds {
                continue;
            }
            let mut labels: Vec<(String, String)> = vec![("__name__".to_owned(), rule.name.clone())];
            for (name, from) in [
                ("account_id", "cloud.account.id"),
                ("region", "cloud.region"),
                ("service_name", "service.name"),
            ] {
                if let Some(text) = resource.attribute(from)?.and_then(|value| text_of(&value)) {
                    labels.push((name.to_owned(), text));
                }
            }
            for name in &rule.labels {
                let value = match attribute(name)? {
                    Some(value) => text_of(&value),
                    None => resource.attribute(name)?.and_then(|value| text_of(&value)),
                };
                if let Some(text) = value {
                    labels.push((names::label(name), text));
                }
            }
            let source = *self
                .source
                .get_or_insert_with(|| engine.source("events|", SourceKind::Polled));
            let texts: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let origin = SeriesOrigin {
                source,
                ..SeriesOrigin::default()
            };
            let Ok(id) = engine.intern(&texts, origin) else {
                continue;
            };
            let is_new = !self.totals.contains_key(&id);
            if is_new {
                // A counter that begins at one has not grown, for PromQL: it was zero before.
                engine.push(id, now - 1_000, Point::Float(0.0), now);
            }
            let total = self.totals.entry(id).or_insert(0.0);
            *total += 1.0;
            engine.push(id, now, Point::Float(*total), now);
        }
        Ok(())
    }

    /// Before a round: counters are known up to now.
    pub fn flush(&mut self, now: i64, intake: &mut Intake, engine: &mut Engine) {
        if let Some(source) = self.source {
            // A counter that stands still is still there.
            for (id, total) in &self.totals {
                if now % 15_000 < 1_000 {
                    engine.push(*id, now, Point::Float(*total), now);
                }
            }
            engine.cover(source, now, now);
        }
        #[cfg(feature = "aws")]
        if let Some(calls) = &mut self.calls
            && now - calls.flushed_at >= FLUSH_EVERY
        {
            calls.flushed_at = now;
            if let Some(request) = calls.aggregate.flush(u64::try_from(now).unwrap_or(0) * 1_000_000) {
                let bytes = prost::Message::encode_to_vec(&request);
                // Written by ourselves a moment ago: it reads.
                let _ = intake.metrics(&bytes, now, engine);
            }
        }
        #[cfg(not(feature = "aws"))]
        let _ = intake;
    }
}
