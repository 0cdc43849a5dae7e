//! Contexts and paths: which fields an expression of a context may name, and what each is called.
//!
//! A path may begin with the name of its context (`span.attributes["a"]`) or of one that stands above it
//! (`resource.attributes["a"]`), or leave its own context's name out (`attributes["a"]`).

use super::error::did_you_mean;
use super::fields::{
    DataPointField, EventField, Field, LogField, MetricField, OriginField, ResourceField, ScopeField, SpanField,
};

/// What one evaluation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    Resource,
    Scope,
    Span,
    SpanEvent,
    Metric,
    DataPoint,
    Log,
}

impl Context {
    /// Every context, from the top down.
    pub const ALL: [Context; 7] = [
        Context::Resource,
        Context::Scope,
        Context::Span,
        Context::SpanEvent,
        Context::Metric,
        Context::DataPoint,
        Context::Log,
    ];

    /// As written in front of a path and behind `context:`.
    pub fn name(self) -> &'static str {
        match self {
            Context::Resource => "resource",
            Context::Scope => "scope",
            Context::Span => "span",
            Context::SpanEvent => "spanevent",
            Context::Metric => "metric",
            Context::DataPoint => "datapoint",
            Context::Log => "log",
        }
    }

    /// The context of this name; `instrumentation_scope` is another name of `scope`.
    pub fn named(name: &str) -> Option<Self> {
        if name == "instrumentation_scope" {
            return Some(Context::Scope);
        }
        Context::ALL.into_iter().find(|context| context.name() == name)
    }

    /// Whether an item of this context lies inside one of `upper` (or is one).
    pub fn is_within(self, upper: Context) -> bool {
        match upper {
            Context::Resource => true,
            Context::Scope => self != Context::Resource,
            Context::Span => matches!(self, Context::Span | Context::SpanEvent),
            Context::Metric => matches!(self, Context::Metric | Context::DataPoint),
            Context::SpanEvent | Context::DataPoint | Context::Log => self == upper,
        }
    }
}

/// A field, and whether `[...]` may follow it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub field: Field,
    pub indexable: bool,
}

/// Finds the field of `names` (the segments of a path) for expressions of `context`.
///
/// # Errors
/// The number of the segment that is wrong, and a message.
pub(super) fn find_field(context: Context, names: &[&str]) -> Result<Found, (usize, String)> {
    if let ["context" | "otelcol", rest @ ..] = names {
        return find_in("context", ORIGIN, rest, 1);
    }
    // The short form first: `name` of a metric is no context, but `metric.name` of a data point is one.
    let own = table(context);
    let mut own_paths = own
        .paths
        .iter()
        .map(|(path, _, _)| *path)
        .chain(own.later.iter().copied());
    let first_is_own = own_paths.any(|path| first_segment(path) == names[0]);
    if first_is_own {
        return find_in(context.name(), own, names, 0);
    }
    match Context::named(names[0]) {
        Some(upper) if context.is_within(upper) => find_in(names[0], table(upper), &names[1..], 1),
        Some(other) => Err((
            0,
            format!(
                "`{}` is not reachable from the {} context",
                other.name(),
                context.name()
            ),
        )),
        None => {
            let contexts = Context::ALL.into_iter().filter(|upper| context.is_within(*upper));
            let words = own.paths.iter().map(|(path, _, _)| first_segment(path));
            let hint = did_you_mean(names[0], words.chain(contexts.map(Context::name)));
            Err((0, format!("unknown path `{}`{hint}", names[0])))
        }
    }
}

fn find_in(name: &str, table: Table, names: &[&str], offset: usize) -> Result<Found, (usize, String)> {
    let wanted = names.join(".");
    if let Some((_, field, indexable)) = table.paths.iter().find(|(path, _, _)| *path == wanted) {
        return Ok(Found {
            field: *field,
            indexable: *indexable,
        });
    }
    if let Some(later) = table
        .later
        .iter()
        .find(|path| **path == wanted || first_segment(path) == wanted)
    {
        return Err((offset, format!("path `{later}` of the {name} context is not built yet")));
    }
    if wanted.is_empty() {
        return Err((
            0,
            format!(
                "`{name}` alone has no value; name one of its fields, e.g. `{name}.{}`",
                table.paths[0].0
            ),
        ));
    }
    let hint = did_you_mean(&wanted, table.paths.iter().map(|(path, _, _)| *path));
    Err((offset, format!("unknown path `{wanted}` in the {name} context{hint}")))
}

fn first_segment(path: &'static str) -> &'static str {
    path.split('.').next().unwrap_or(path)
}

#[derive(Clone, Copy)]
struct Table {
    /// Path, field, whether it can be indexed.
    paths: &'static [(&'static str, Field, bool)],
    /// Paths of the language that are refused by name.
    later: &'static [&'static str],
}

fn table(context: Context) -> Table {
    match context {
        Context::Resource => RESOURCE,
        Context::Scope => SCOPE,
        Context::Span => SPAN,
        Context::SpanEvent => EVENT,
        Context::Metric => METRIC,
        Context::DataPoint => DATA_POINT,
        Context::Log => LOG,
    }
}

const ORIGIN: Table = Table {
    paths: &[
        ("client.addr", Field::Origin(OriginField::Address), false),
        ("client.metadata", Field::Origin(OriginField::Metadata), true),
        ("client.auth.attributes", Field::Origin(OriginField::Auth), true),
    ],
    later: &["grpc.metadata"],
};

const RESOURCE: Table = Table {
    paths: &[
        ("attributes", Field::Resource(ResourceField::Attributes), true),
        (
            "dropped_attributes_count",
            Field::Resource(ResourceField::DroppedAttributesCount),
            false,
        ),
        ("schema_url", Field::Resource(ResourceField::SchemaUrl), false),
    ],
    later: &["cache"],
};

const SCOPE: Table = Table {
    paths: &[
        ("attributes", Field::Scope(ScopeField::Attributes), true),
        ("name", Field::Scope(ScopeField::Name), false),
        ("version", Field::Scope(ScopeField::Version), false),
        (
            "dropped_attributes_count",
            Field::Scope(ScopeField::DroppedAttributesCount),
            false,
        ),
        ("schema_url", Field::Scope(ScopeField::SchemaUrl), false),
    ],
    later: &["cache"],
};

const SPAN: Table = Table {
    paths: &[
        ("attributes", Field::Span(SpanField::Attributes), true),
        ("name", Field::Span(SpanField::Name), false),
        ("kind", Field::Span(SpanField::Kind), false),
        ("kind.string", Field::Span(SpanField::KindString), false),
        (
            "kind.deprecated_string",
            Field::Span(SpanField::KindDeprecatedString),
            false,
        ),
        ("status.code", Field::Span(SpanField::StatusCode), false),
        ("status.message", Field::Span(SpanField::StatusMessage), false),
        ("trace_id", Field::Span(SpanField::TraceId), false),
        ("trace_id.string", Field::Span(SpanField::TraceIdString), false),
        ("span_id", Field::Span(SpanField::SpanId), false),
        ("span_id.string", Field::Span(SpanField::SpanIdString), false),
        ("parent_span_id", Field::Span(SpanField::ParentSpanId), false),
        (
            "parent_span_id.string",
            Field::Span(SpanField::ParentSpanIdString),
            false,
        ),
        ("trace_state", Field::Span(SpanField::TraceState), true),
        ("flags", Field::Span(SpanField::Flags), false),
        ("start_time_unix_nano", Field::Span(SpanField::StartNanos), false),
        ("end_time_unix_nano", Field::Span(SpanField::EndNanos), false),
        ("start_time", Field::Span(SpanField::StartTime), false),
        ("end_time", Field::Span(SpanField::EndTime), false),
        (
            "dropped_attributes_count",
            Field::Span(SpanField::DroppedAttributesCount),
            false,
        ),
        (
            "dropped_events_count",
            Field::Span(SpanField::DroppedEventsCount),
            false,
        ),
        ("dropped_links_count", Field::Span(SpanField::DroppedLinksCount), false),
    ],
    later: &["cache", "events", "links", "status"],
};

const EVENT: Table = Table {
    paths: &[
        ("attributes", Field::Event(EventField::Attributes), true),
        ("name", Field::Event(EventField::Name), false),
        ("time_unix_nano", Field::Event(EventField::Nanos), false),
        ("time", Field::Event(EventField::Time), false),
        (
            "dropped_attributes_count",
            Field::Event(EventField::DroppedAttributesCount),
            false,
        ),
        ("event_index", Field::Event(EventField::Index), false),
    ],
    later: &["cache"],
};

const METRIC: Table = Table {
    paths: &[
        ("name", Field::Metric(MetricField::Name), false),
        ("description", Field::Metric(MetricField::Description), false),
        ("unit", Field::Metric(MetricField::Unit), false),
        ("type", Field::Metric(MetricField::Type), false),
        (
            "aggregation_temporality",
            Field::Metric(MetricField::AggregationTemporality),
            false,
        ),
        ("is_monotonic", Field::Metric(MetricField::IsMonotonic), false),
        ("metadata", Field::Metric(MetricField::Metadata), true),
    ],
    later: &["cache", "data_points"],
};

const DATA_POINT: Table = Table {
    paths: &[
        ("attributes", Field::DataPoint(DataPointField::Attributes), true),
        ("value_double", Field::DataPoint(DataPointField::ValueDouble), false),
        ("value_int", Field::DataPoint(DataPointField::ValueInt), false),
        ("time_unix_nano", Field::DataPoint(DataPointField::Nanos), false),
        ("time", Field::DataPoint(DataPointField::Time), false),
        (
            "start_time_unix_nano",
            Field::DataPoint(DataPointField::StartNanos),
            false,
        ),
        ("start_time", Field::DataPoint(DataPointField::StartTime), false),
        ("flags", Field::DataPoint(DataPointField::Flags), false),
        ("count", Field::DataPoint(DataPointField::Count), false),
        ("sum", Field::DataPoint(DataPointField::Sum), false),
        ("min", Field::DataPoint(DataPointField::Min), false),
        ("max", Field::DataPoint(DataPointField::Max), false),
        ("scale", Field::DataPoint(DataPointField::Scale), false),
        ("zero_count", Field::DataPoint(DataPointField::ZeroCount), false),
        ("bucket_counts", Field::DataPoint(DataPointField::BucketCounts), true),
        (
            "explicit_bounds",
            Field::DataPoint(DataPointField::ExplicitBounds),
            true,
        ),
        (
            "positive.offset",
            Field::DataPoint(DataPointField::PositiveOffset),
            false,
        ),
        (
            "positive.bucket_counts",
            Field::DataPoint(DataPointField::PositiveCounts),
            true,
        ),
        (
            "negative.offset",
            Field::DataPoint(DataPointField::NegativeOffset),
            false,
        ),
        (
            "negative.bucket_counts",
            Field::DataPoint(DataPointField::NegativeCounts),
            true,
        ),
    ],
    later: &["cache", "exemplars", "quantile_values", "positive", "negative"],
};

const LOG: Table = Table {
    paths: &[
        ("attributes", Field::Log(LogField::Attributes), true),
        ("body", Field::Log(LogField::Body), true),
        ("body.string", Field::Log(LogField::BodyString), false),
        ("severity_number", Field::Log(LogField::SeverityNumber), false),
        ("severity_text", Field::Log(LogField::SeverityText), false),
        ("time_unix_nano", Field::Log(LogField::Nanos), false),
        ("time", Field::Log(LogField::Time), false),
        ("observed_time_unix_nano", Field::Log(LogField::ObservedNanos), false),
        ("observed_time", Field::Log(LogField::ObservedTime), false),
        ("trace_id", Field::Log(LogField::TraceId), false),
        ("trace_id.string", Field::Log(LogField::TraceIdString), false),
        ("span_id", Field::Log(LogField::SpanId), false),
        ("span_id.string", Field::Log(LogField::SpanIdString), false),
        ("flags", Field::Log(LogField::Flags), false),
        ("event_name", Field::Log(LogField::EventName), false),
        (
            "dropped_attributes_count",
            Field::Log(LogField::DroppedAttributesCount),
            false,
        ),
    ],
    later: &["cache"],
};
