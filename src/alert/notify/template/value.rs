//! What templates work on.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Number(f64),
    /// A text of the data: escaped when it is written.
    Text(Arc<str>),
    /// A text that `safeHtml` or `safeUrl` has vouched for.
    Safe(Arc<str>),
    List(Arc<Vec<Value>>),
    /// Labels and annotations: what is not there is an empty text.
    Pairs(Arc<BTreeMap<String, Value>>),
    /// The data itself: what is not there is an error.
    Record(Arc<BTreeMap<&'static str, Value>>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// Labels or annotations.
    pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::text(value)));
        Value::Pairs(Arc::new(pairs.collect()))
    }

    /// A record.
    pub fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Value::Record(Arc::new(fields.into_iter().collect()))
    }

    /// A list.
    pub fn list(values: impl IntoIterator<Item = Value>) -> Self {
        Value::List(Arc::new(values.into_iter().collect()))
    }

    /// What `if` takes for true.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Number(number) => *number != 0.0,
            Value::Text(text) | Value::Safe(text) => !text.is_empty(),
            Value::List(values) => !values.is_empty(),
            Value::Pairs(pairs) => !pairs.is_empty(),
            Value::Record(_) => true,
        }
    }

    /// As it is written, without escaping.
    pub fn shown(&self) -> String {
        match self {
            Value::Nil => "<no value>".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) | Value::Safe(text) => text.to_string(),
            Value::List(values) => {
                let shown: Vec<String> = values.iter().map(Value::shown).collect();
                format!("[{}]", shown.join(" "))
            }
            Value::Pairs(pairs) => {
                let shown: Vec<String> = pairs
                    .iter()
                    .map(|(name, value)| format!("{name}:{}", value.shown()))
                    .collect();
                format!("map[{}]", shown.join(" "))
            }
            Value::Record(fields) => {
                let shown: Vec<String> = fields.values().map(Value::shown).collect();
                format!("{{{}}}", shown.join(" "))
            }
        }
    }

    /// A field, or one of the methods that Alertmanager's data have.
    pub fn field(&self, name: &str) -> Result<Value, String> {
        match self {
            Value::Record(fields) => fields.get(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = fields.keys().copied().collect();
                format!(
                    "there is no field {name:?}{}",
                    crate::config::suggest_among(name, &known)
                )
            }),
            Value::Pairs(pairs) => Ok(match name {
                "SortedPairs" => sorted(pairs),
                "Names" => Value::list(pairs.keys().map(|name| Value::text(name.as_str()))),
                "Values" => Value::list(pairs.values().cloned()),
                _ => pairs.get(name).cloned().unwrap_or_else(|| Value::text("")),
            }),
            Value::List(values) => {
                let wanted = match name {
                    "Firing" => "firing",
                    "Resolved" => "resolved",
                    "Names" | "Values" => return columns(values, name),
                    _ => return Err(format!("a list has no field {name:?}")),
                };
                let is_wanted = |value: &&Value| value.field("Status").is_ok_and(|status| status.shown() == wanted);
                Ok(Value::list(values.iter().filter(is_wanted).cloned()))
            }
            Value::Nil => Err(format!("field {name:?} of nothing")),
            _ => Err(format!("a text has no field {name:?}")),
        }
    }
}

fn sorted(pairs: &BTreeMap<String, Value>) -> Value {
    // `alertname` comes first, as in Alertmanager.
    let mut names: Vec<&String> = pairs.keys().collect();
    names.sort_by_key(|name| (name.as_str() != "alertname", name.as_str()));
    Value::list(names.into_iter().map(|name| {
        let value = pairs.get(name).cloned().unwrap_or(Value::Nil);
        Value::record([("Name", Value::text(name.as_str())), ("Value", value)])
    }))
}

/// `.SortedPairs.Names` and `.SortedPairs.Values`.
fn columns(values: &[Value], name: &str) -> Result<Value, String> {
    let field = if name == "Names" { "Name" } else { "Value" };
    let column: Result<Vec<Value>, String> = values.iter().map(|pair| pair.field(field)).collect();
    Ok(Value::list(column?))
}

/// What every text is rendered with when it is read: all fields are there.
pub fn example() -> Value {
    let pairs = || {
        Value::pairs([
            ("alertname", "Example"),
            ("severity", "critical"),
            ("summary", "an example"),
        ])
    };
    let alert = Value::record([
        ("Status", Value::text("firing")),
        ("Labels", pairs()),
        ("Annotations", pairs()),
        ("StartsAt", Value::text("2026-01-01T00:00:00Z")),
        ("EndsAt", Value::text("0001-01-01T00:00:00Z")),
        ("GeneratorURL", Value::text("")),
        ("Fingerprint", Value::text("0000000000000000")),
        ("Value", Value::Number(1.0)),
        ("Pattern", Value::text("burst")),
        ("Cause", Value::text("hot_partition")),
        ("ResolutionSteps", Value::list([Value::text("one step")])),
        ("Contact", Value::text("nobody")),
        ("Escalation", Value::list([Value::text("15m0s: oncall")])),
        ("RunbookURL", Value::text("")),
        ("TraceURLs", Value::list([Value::text("https://trace.example/1")])),
        ("ConsoleURL", Value::text("")),
        ("SilenceURL", Value::text("")),
        ("AcknowledgedBy", Value::text("")),
        ("Transitions", Value::Number(0.0)),
    ]);
    Value::record([
        ("Receiver", Value::text("example")),
        ("Status", Value::text("firing")),
        ("Kind", Value::text("alert")),
        ("Step", Value::Number(0.0)),
        ("TruncatedAlerts", Value::Number(0.0)),
        ("Alerts", Value::list([alert])),
        ("GroupLabels", pairs()),
        ("CommonLabels", pairs()),
        ("CommonAnnotations", pairs()),
        ("ExternalURL", Value::text("http://localhost:4320")),
    ])
}
