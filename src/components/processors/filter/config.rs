//! The configuration of the filter: from its section to the rules of each signal.

use serde::{Deserialize, Serialize};

use super::legacy::{self, MetricSide};
use super::rules::{ErrorMode, Levels, Rule};
use crate::components::processors::select::{Properties, Selector};
use crate::config::Section;
use crate::ottl::{Condition, Context, SyntaxError};
use crate::pdata::Signal;

/// What is done with one signal.
#[derive(Debug)]
pub enum Rules {
    /// OTTL conditions: what is true for one drops.
    Conditions(Levels),
    /// Match properties: what is not selected drops. Spans and log records.
    Selected(Box<Selector>),
    /// The same for metrics, where resource and name are judged apart.
    Metrics {
        include: Option<MetricSide>,
        exclude: Option<MetricSide>,
    },
}

/// Rules of the three signals, in the order of [`Signal::ALL`].
#[derive(Debug)]
pub struct Checked {
    pub rules: [Rules; 3],
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    error_mode: ErrorMode,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct TraceLists {
    resource: Vec<String>,
    scope: Vec<String>,
    span: Vec<String>,
    spanevent: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct MetricLists {
    resource: Vec<String>,
    scope: Vec<String>,
    metric: Vec<String>,
    datapoint: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct LogLists {
    resource: Vec<String>,
    scope: Vec<String>,
    log_record: Vec<String>,
}

/// An element of `trace_conditions` and its like.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Group {
    context: Option<String>,
    conditions: Vec<String>,
    error_mode: Option<ErrorMode>,
}

/// Lists of conditions by their key and context.
type Lists = Vec<(&'static str, Context, Vec<String>)>;

/// Reads and checks the section; problems are reported to it.
pub fn check(section: &Section) -> Option<Checked> {
    for key in ["profiles", "profile_conditions"] {
        if section.take(key).is_some() {
            section.error_at(key, "profiles are not built yet");
        }
    }
    let traces = traces(section);
    let metrics = metrics(section);
    let logs = logs(section);
    let rules = [traces, metrics, logs];
    // The keys of the signals were taken above, so that this reader sees only its own.
    let config: Config = section.read()?;
    let reader = Reader {
        section,
        error_mode: config.error_mode,
    };
    let [traces, metrics, logs] = rules;
    Some(Checked {
        rules: [
            reader.signal(Signal::Traces, "trace_conditions", traces),
            reader.signal(Signal::Metrics, "metric_conditions", metrics),
            reader.signal(Signal::Logs, "log_conditions", logs),
        ],
    })
}

/// What a signal's own section says: lists of conditions, and match properties of the older form.
#[derive(Default)]
struct Own {
    /// The section that the lists stand in.
    section: Option<Section>,
    lists: Lists,
    /// The key of the older form, if it is used, and what it says.
    legacy: Option<(&'static str, Rules)>,
}

impl Own {
    fn has_conditions(&self) -> bool {
        self.lists.iter().any(|(_, _, conditions)| !conditions.is_empty())
    }
}

fn traces(section: &Section) -> Own {
    let mut own = Own::default();
    if let Some(traces) = section.take("traces") {
        let lists: TraceLists = traces.read().unwrap_or_default();
        own.lists = vec![
            ("resource", Context::Resource, lists.resource),
            ("scope", Context::Scope, lists.scope),
            ("span", Context::Span, lists.span),
            ("spanevent", Context::SpanEvent, lists.spanevent),
        ];
        own.section = Some(traces);
    }
    if let Some(spans) = section.take("spans") {
        let side = |key: &str| spans.take(key).and_then(|side| check_span_side(&side));
        let (include, exclude) = (side("include"), side("exclude"));
        own.legacy = Some(("spans", Rules::Selected(Box::new(Selector::new(include, exclude)))));
    }
    own
}

fn check_span_side(section: &Section) -> Option<Properties> {
    let properties = Properties::check(section)?;
    if let Some(key) = properties.misplaced(Signal::Traces) {
        section.error_at(key, "spans have no such property");
    }
    Some(properties)
}

fn metrics(section: &Section) -> Own {
    let mut own = Own::default();
    let Some(metrics) = section.take("metrics") else {
        return own;
    };
    if metrics.has("include") || metrics.has("exclude") {
        let side = |key: &str| metrics.take(key).and_then(|side| legacy::check_metrics(&side));
        let (include, exclude) = (side("include"), side("exclude"));
        own.legacy = Some(("metrics", Rules::Metrics { include, exclude }));
    }
    let lists: MetricLists = metrics.read().unwrap_or_default();
    own.lists = vec![
        ("resource", Context::Resource, lists.resource),
        ("scope", Context::Scope, lists.scope),
        ("metric", Context::Metric, lists.metric),
        ("datapoint", Context::DataPoint, lists.datapoint),
    ];
    own.section = Some(metrics);
    own
}

fn logs(section: &Section) -> Own {
    let mut own = Own::default();
    let Some(logs) = section.take("logs") else { return own };
    if logs.has("include") || logs.has("exclude") {
        let side = |key: &str| logs.take(key).and_then(|side| legacy::check_logs(&side));
        let (include, exclude) = (side("include"), side("exclude"));
        own.legacy = Some(("logs", Rules::Selected(Box::new(Selector::new(include, exclude)))));
    }
    let lists: LogLists = logs.read().unwrap_or_default();
    own.lists = vec![
        ("resource", Context::Resource, lists.resource),
        ("scope", Context::Scope, lists.scope),
        ("log_record", Context::Log, lists.log_record),
    ];
    own.section = Some(logs);
    own
}

struct Reader<'s> {
    section: &'s Section,
    error_mode: ErrorMode,
}

impl Reader<'_> {
    /// The rules of one signal, from its own section and from its list of conditions.
    fn signal(&self, signal: Signal, groups_key: &str, own: Own) -> Rules {
        let has_conditions = own.has_conditions();
        let mut levels = Levels::default();
        if let Some(section) = &own.section {
            for (key, context, conditions) in &own.lists {
                for (index, text) in conditions.iter().enumerate() {
                    let found = Condition::new(text, *context);
                    self.add(
                        section,
                        &format!("{key}::{index}"),
                        signal,
                        &mut levels,
                        (found, self.error_mode),
                    );
                }
            }
        }
        let groups = self.section.take(groups_key);
        if let Some(groups) = &groups {
            if has_conditions {
                let message = format!("use either `{groups_key}` or the lists of `{signal}`, not both");
                groups.error(message);
            }
            for group in groups.elements() {
                self.group(&group, signal, &mut levels);
            }
        }
        match own.legacy {
            Some((key, _)) if has_conditions || groups.is_some() => {
                let message = "include and exclude cannot stand beside OTTL conditions for the same signal";
                self.section.error_at(key, message);
                Rules::Conditions(levels)
            }
            Some((_, rules)) => rules,
            None => Rules::Conditions(levels),
        }
    }

    /// A condition whose paths name their context, or a map of conditions for one context.
    fn group(&self, element: &Section, signal: Signal, levels: &mut Levels) {
        if element.keys().is_empty() {
            let Some(text) = element.read::<String>() else { return };
            self.add(
                element,
                "",
                signal,
                levels,
                (Condition::inferred(&text), self.error_mode),
            );
            return;
        }
        let Some(group) = element.read::<Group>() else { return };
        let error_mode = group.error_mode.unwrap_or(self.error_mode);
        let context = match group.context.as_deref() {
            None | Some("") => None,
            Some(name) => match Context::named(name) {
                Some(context) => Some(context),
                None => {
                    let names = Context::ALL.map(Context::name).join(", ");
                    element.error_at("context", format!("unknown context `{name}`; there are {names}"));
                    return;
                }
            },
        };
        for (index, text) in group.conditions.iter().enumerate() {
            let found = match context {
                Some(context) => Condition::new(text, context),
                None => Condition::inferred(text),
            };
            self.add(
                element,
                &format!("conditions::{index}"),
                signal,
                levels,
                (found, error_mode),
            );
        }
    }

    fn add(
        &self,
        section: &Section,
        key: &str,
        signal: Signal,
        levels: &mut Levels,
        (found, error_mode): (Result<Condition, SyntaxError>, ErrorMode),
    ) {
        match found {
            Ok(condition) => {
                let rule = Rule { condition, error_mode };
                if let Err(context) = levels.add(signal, rule) {
                    let context = context.name();
                    section.error_in_text(key, 0, format!("the {context} context is none of {signal}"));
                }
            }
            Err(error) => section.error_in_text(key, error.offset, error.message),
        }
    }
}
