//! Reading the field that a path was bound to, from the views of one item. No text of a path is looked at here.

use std::borrow::Cow;

use super::value::{List, Map, Value};
use super::{EvalError, Item, Target};
use crate::wire::{self, MetricKind, Number, Point, WireError};

/// Every field a path can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Origin(OriginField),
    Resource(ResourceField),
    Scope(ScopeField),
    Span(SpanField),
    Event(EventField),
    Metric(MetricField),
    DataPoint(DataPointField),
    Log(LogField),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginField {
    Address,
    Metadata,
    Auth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceField {
    Attributes,
    DroppedAttributesCount,
    SchemaUrl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeField {
    Attributes,
    Name,
    Version,
    DroppedAttributesCount,
    SchemaUrl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanField {
    Attributes,
    Name,
    Kind,
    KindString,
    KindDeprecatedString,
    StatusCode,
    StatusMessage,
    TraceId,
    TraceIdString,
    SpanId,
    SpanIdString,
    ParentSpanId,
    ParentSpanIdString,
    TraceState,
    Flags,
    StartNanos,
    EndNanos,
    StartTime,
    EndTime,
    DroppedAttributesCount,
    DroppedEventsCount,
    DroppedLinksCount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventField {
    Attributes,
    Name,
    Nanos,
    Time,
    DroppedAttributesCount,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricField {
    Name,
    Description,
    Unit,
    Type,
    AggregationTemporality,
    IsMonotonic,
    Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPointField {
    Attributes,
    ValueDouble,
    ValueInt,
    Nanos,
    Time,
    StartNanos,
    StartTime,
    Flags,
    Count,
    Sum,
    Min,
    Max,
    Scale,
    ZeroCount,
    BucketCounts,
    ExplicitBounds,
    PositiveOffset,
    PositiveCounts,
    NegativeOffset,
    NegativeCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogField {
    Attributes,
    Body,
    BodyString,
    SeverityNumber,
    SeverityText,
    Nanos,
    Time,
    ObservedNanos,
    ObservedTime,
    TraceId,
    TraceIdString,
    SpanId,
    SpanIdString,
    Flags,
    EventName,
    DroppedAttributesCount,
}

impl Field {
    /// The attributes behind an attribute field: what `attributes["k"]` looks into without a detour.
    #[inline]
    pub(super) fn attributes<'a>(self, target: &Target<'a>) -> Result<Option<wire::Attributes<'a>>, WireError> {
        Ok(match self {
            Field::Span(SpanField::Attributes) => target.span().map(|span| span.attributes()),
            Field::Resource(ResourceField::Attributes) => Some(target.resource.resource()?.attributes()),
            Field::Log(LogField::Attributes) => target.log().map(|log| log.attributes()),
            Field::DataPoint(DataPointField::Attributes) => target.point().map(|point| point.attributes()),
            Field::Event(EventField::Attributes) => target.event().map(|(event, _)| event.attributes()),
            Field::Scope(ScopeField::Attributes) => match target.scope {
                Some(scope) => Some(scope.scope()?.attributes()),
                None => None,
            },
            Field::Metric(MetricField::Metadata) => target.metric().map(|metric| metric.metadata()),
            _ => None,
        })
    }

    /// Whether [`Field::attributes`] knows it.
    pub(super) fn has_attributes(self) -> bool {
        matches!(
            self,
            Field::Span(SpanField::Attributes)
                | Field::Resource(ResourceField::Attributes)
                | Field::Log(LogField::Attributes)
                | Field::DataPoint(DataPointField::Attributes)
                | Field::Event(EventField::Attributes)
                | Field::Scope(ScopeField::Attributes)
                | Field::Metric(MetricField::Metadata)
        )
    }

    /// The value; nil where the item has no such field.
    pub(super) fn read<'a>(self, target: &Target<'a>) -> Result<Value<'a>, EvalError> {
        let value = match self {
            Field::Origin(field) => Some(origin(field, target)),
            Field::Resource(field) => Some(resource(field, target.resource)?),
            Field::Scope(field) => target.scope.map(|group| scope(field, group)).transpose()?,
            Field::Span(field) => target.span().map(|view| span(field, view)).transpose()?,
            Field::Event(field) => (target.event())
                .map(|(view, index)| event(field, view, index))
                .transpose()?,
            Field::Metric(field) => target.metric().map(|view| metric(field, view)).transpose()?,
            Field::DataPoint(field) => target.point().map(|view| point(field, view)).transpose()?,
            Field::Log(field) => target.log().map(|view| log(field, view)).transpose()?,
        };
        Ok(value.unwrap_or_default())
    }
}

impl<'a> Target<'a> {
    fn span(&self) -> Option<wire::Span<'a>> {
        match self.item {
            Item::Span(span) | Item::SpanEvent { span, .. } => Some(span),
            _ => None,
        }
    }

    fn event(&self) -> Option<(wire::SpanEvent<'a>, usize)> {
        match self.item {
            Item::SpanEvent { event, index, .. } => Some((event, index)),
            _ => None,
        }
    }

    pub(super) fn metric(&self) -> Option<wire::Metric<'a>> {
        match self.item {
            Item::Metric(metric) | Item::DataPoint { metric, .. } => Some(metric),
            _ => None,
        }
    }

    fn point(&self) -> Option<Point<'a>> {
        match self.item {
            Item::DataPoint { point, .. } => Some(point),
            _ => None,
        }
    }

    fn log(&self) -> Option<wire::LogRecord<'a>> {
        match self.item {
            Item::Log(log) => Some(log),
            _ => None,
        }
    }

    /// The parent of the span at hand; `None` outside spans.
    pub(super) fn parent_span_id(&self) -> Result<Option<&'a [u8]>, WireError> {
        self.span().map(|span| span.parent_span_id()).transpose()
    }
}

fn text(text: wire::Text<'_>) -> Value<'_> {
    Value::Text(text.lossy())
}

fn map(attributes: wire::Attributes<'_>) -> Value<'_> {
    Value::Map(Map::Wire(attributes))
}

/// OTLP's unsigned numbers as the language's ints; what lies above their range wraps, as in the Collector.
fn int(value: impl Into<u64>) -> Value<'static> {
    Value::Int(value.into() as i64)
}

fn time(nanos: u64) -> Value<'static> {
    Value::Time(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// An id as bytes. One that is not there is all zeros, which is what conditions compare with.
fn id(bytes: &[u8], len: usize) -> Value<'_> {
    const ZEROS: [u8; 16] = [0; 16];
    Value::Bytes(Cow::Borrowed(if bytes.is_empty() { &ZEROS[..len] } else { bytes }))
}

/// An id in hexadecimal; nothing for one that is not there, or all zeros.
fn id_text(bytes: &[u8]) -> Value<'static> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Value::Text(Cow::Borrowed(""));
    }
    Value::Text(Cow::Owned(hex::encode(bytes)))
}

fn numbers<T>(
    numbers: impl Iterator<Item = Result<T, WireError>>,
    value: fn(T) -> Value<'static>,
) -> Result<Value<'static>, WireError> {
    let elements = numbers.map(|number| number.map(value)).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::List(List::Owned(elements)))
}

fn origin<'a>(field: OriginField, target: &Target<'a>) -> Value<'a> {
    let origin = target.origin;
    match field {
        OriginField::Address => match origin.client {
            Some(address) => Value::Text(address.to_string().into()),
            None => Value::text(""),
        },
        OriginField::Metadata => {
            let entry = |(name, values): &'a (Box<str>, Vec<Box<str>>)| {
                let values = values.iter().map(|value| Value::text(value)).collect();
                (Cow::Borrowed(&**name), Value::List(List::Owned(values)))
            };
            Value::Map(Map::Owned(origin.metadata.iter().map(entry).collect()))
        }
        OriginField::Auth => {
            let attributes = origin.auth.as_ref().map_or(&[][..], |auth| &auth.attributes);
            let entry = |(name, value): &'a (Box<str>, Box<str>)| (Cow::Borrowed(&**name), Value::text(value));
            Value::Map(Map::Owned(attributes.iter().map(entry).collect()))
        }
    }
}

fn resource(field: ResourceField, group: wire::ResourceGroup<'_>) -> Result<Value<'_>, WireError> {
    Ok(match field {
        ResourceField::Attributes => map(group.resource()?.attributes()),
        ResourceField::DroppedAttributesCount => int(group.resource()?.dropped_attributes_count()?),
        ResourceField::SchemaUrl => text(group.schema_url()?),
    })
}

fn scope(field: ScopeField, group: wire::ScopeGroup<'_>) -> Result<Value<'_>, WireError> {
    Ok(match field {
        ScopeField::Attributes => map(group.scope()?.attributes()),
        ScopeField::Name => text(group.scope()?.name()?),
        ScopeField::Version => text(group.scope()?.version()?),
        ScopeField::DroppedAttributesCount => int(group.scope()?.dropped_attributes_count()?),
        ScopeField::SchemaUrl => text(group.schema_url()?),
    })
}

fn span(field: SpanField, span: wire::Span<'_>) -> Result<Value<'_>, WireError> {
    Ok(match field {
        SpanField::Attributes => map(span.attributes()),
        SpanField::Name => text(span.name()?),
        SpanField::Kind => Value::Int(span.kind()?.into()),
        SpanField::KindString => Value::text(kind_name(span.kind()?)),
        SpanField::KindDeprecatedString => Value::text(kind_symbol(span.kind()?)),
        SpanField::StatusCode => Value::Int(span.status()?.code()?.into()),
        SpanField::StatusMessage => text(span.status()?.message()?),
        SpanField::TraceId => id(span.trace_id()?, 16),
        SpanField::TraceIdString => id_text(span.trace_id()?),
        SpanField::SpanId => id(span.span_id()?, 8),
        SpanField::SpanIdString => id_text(span.span_id()?),
        SpanField::ParentSpanId => id(span.parent_span_id()?, 8),
        SpanField::ParentSpanIdString => id_text(span.parent_span_id()?),
        SpanField::TraceState => text(span.trace_state()?),
        SpanField::Flags => int(span.flags()?),
        SpanField::StartNanos => int(span.start_time_unix_nano()?),
        SpanField::EndNanos => int(span.end_time_unix_nano()?),
        SpanField::StartTime => time(span.start_time_unix_nano()?),
        SpanField::EndTime => time(span.end_time_unix_nano()?),
        SpanField::DroppedAttributesCount => int(span.dropped_attributes_count()?),
        SpanField::DroppedEventsCount => int(span.dropped_events_count()?),
        SpanField::DroppedLinksCount => int(span.dropped_links_count()?),
    })
}

/// `kind.string`: the words of the Collector.
fn kind_name(kind: i32) -> &'static str {
    ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"]
        .get(usize::try_from(kind).unwrap_or(usize::MAX))
        .copied()
        .unwrap_or("")
}

/// The enum symbol of a span kind; nothing for a kind that OTLP does not know.
pub fn kind_symbol(kind: i32) -> &'static str {
    match kind {
        0 => "SPAN_KIND_UNSPECIFIED",
        1 => "SPAN_KIND_INTERNAL",
        2 => "SPAN_KIND_SERVER",
        3 => "SPAN_KIND_CLIENT",
        4 => "SPAN_KIND_PRODUCER",
        5 => "SPAN_KIND_CONSUMER",
        _ => "",
    }
}

/// The value of one member of a W3C trace state.
pub(super) fn trace_state_member<'a>(state: &Value<'a>, key: &str) -> Value<'a> {
    let Value::Text(Cow::Borrowed(state)) = state else {
        return Value::Nil;
    };
    for member in state.split(',') {
        if let Some((name, value)) = member.trim().split_once('=')
            && name == key
        {
            return Value::text(value);
        }
    }
    Value::Nil
}

fn event(field: EventField, event: wire::SpanEvent<'_>, index: usize) -> Result<Value<'_>, WireError> {
    Ok(match field {
        EventField::Attributes => map(event.attributes()),
        EventField::Name => text(event.name()?),
        EventField::Nanos => int(event.time_unix_nano()?),
        EventField::Time => time(event.time_unix_nano()?),
        EventField::DroppedAttributesCount => int(event.dropped_attributes_count()?),
        EventField::Index => int(index as u64),
    })
}

fn metric(field: MetricField, metric: wire::Metric<'_>) -> Result<Value<'_>, WireError> {
    Ok(match field {
        MetricField::Name => text(metric.name()?),
        MetricField::Description => text(metric.description()?),
        MetricField::Unit => text(metric.unit()?),
        MetricField::Type => Value::Int(match metric.data()?.map(|data| data.kind()) {
            None => 0,
            Some(MetricKind::Gauge) => 1,
            Some(MetricKind::Sum) => 2,
            Some(MetricKind::Histogram) => 3,
            Some(MetricKind::ExponentialHistogram) => 4,
            Some(MetricKind::Summary) => 5,
        }),
        // Nil where the kind has none.
        MetricField::AggregationTemporality => match metric.data()? {
            Some(data) if !matches!(data.kind(), MetricKind::Gauge | MetricKind::Summary) => {
                Value::Int(data.aggregation_temporality()?.into())
            }
            _ => Value::Nil,
        },
        MetricField::IsMonotonic => match metric.data()? {
            Some(data) if data.kind() == MetricKind::Sum => Value::Bool(data.is_monotonic()?),
            _ => Value::Nil,
        },
        MetricField::Metadata => map(metric.metadata()),
    })
}

fn point(field: DataPointField, point: Point<'_>) -> Result<Value<'_>, WireError> {
    Ok(match field {
        DataPointField::Attributes => map(point.attributes()),
        DataPointField::Nanos => int(point.time_unix_nano()?),
        DataPointField::Time => time(point.time_unix_nano()?),
        DataPointField::StartNanos => int(point.start_time_unix_nano()?),
        DataPointField::StartTime => time(point.start_time_unix_nano()?),
        DataPointField::Flags => int(point.flags()?),
        _ => return kind_of_point(field, point),
    })
}

/// Fields that only some kinds of point have; nil on the others.
fn kind_of_point(field: DataPointField, point: Point<'_>) -> Result<Value<'_>, WireError> {
    use DataPointField as F;
    let double = |value: Option<f64>| value.map_or(Value::Nil, Value::Double);
    Ok(match (field, point) {
        // A number point has both faces: the one that is not written is zero.
        (F::ValueDouble, Point::Number(point)) => match point.value()? {
            Some(Number::Double(value)) => Value::Double(value),
            _ => Value::Double(0.0),
        },
        (F::ValueInt, Point::Number(point)) => match point.value()? {
            Some(Number::Int(value)) => Value::Int(value),
            _ => Value::Int(0),
        },
        (F::Count, Point::Histogram(point)) => int(point.count()?),
        (F::Count, Point::ExponentialHistogram(point)) => int(point.count()?),
        (F::Count, Point::Summary(point)) => int(point.count()?),
        (F::Sum, Point::Histogram(point)) => Value::Double(point.sum()?.unwrap_or_default()),
        (F::Sum, Point::ExponentialHistogram(point)) => Value::Double(point.sum()?.unwrap_or_default()),
        (F::Sum, Point::Summary(point)) => Value::Double(point.sum()?),
        (F::Min, Point::Histogram(point)) => double(point.min()?),
        (F::Min, Point::ExponentialHistogram(point)) => double(point.min()?),
        (F::Max, Point::Histogram(point)) => double(point.max()?),
        (F::Max, Point::ExponentialHistogram(point)) => double(point.max()?),
        (F::BucketCounts, Point::Histogram(point)) => numbers(point.bucket_counts(), int)?,
        (F::ExplicitBounds, Point::Histogram(point)) => numbers(point.explicit_bounds(), Value::Double)?,
        (F::Scale, Point::ExponentialHistogram(point)) => Value::Int(point.scale()?.into()),
        (F::ZeroCount, Point::ExponentialHistogram(point)) => int(point.zero_count()?),
        (F::PositiveOffset | F::PositiveCounts, Point::ExponentialHistogram(point)) => {
            buckets(field == F::PositiveOffset, point.positive()?)?
        }
        (F::NegativeOffset | F::NegativeCounts, Point::ExponentialHistogram(point)) => {
            buckets(field == F::NegativeOffset, point.negative()?)?
        }
        _ => Value::Nil,
    })
}

fn buckets(offset: bool, buckets: Option<wire::Buckets<'_>>) -> Result<Value<'static>, WireError> {
    match (offset, buckets) {
        (true, None) => Ok(Value::Int(0)),
        (true, Some(buckets)) => Ok(Value::Int(buckets.offset()?.into())),
        (false, None) => Ok(Value::List(List::Owned(Vec::new()))),
        (false, Some(buckets)) => numbers(buckets.bucket_counts(), int),
    }
}

fn log(field: LogField, log: wire::LogRecord<'_>) -> Result<Value<'_>, EvalError> {
    Ok(match field {
        LogField::Attributes => map(log.attributes()),
        LogField::Body => Value::from(log.body()?),
        LogField::BodyString => Value::Text(Value::from(log.body()?).to_text()?.unwrap_or_default()),
        LogField::SeverityNumber => Value::Int(log.severity_number()?.into()),
        LogField::SeverityText => text(log.severity_text()?),
        LogField::Nanos => int(log.time_unix_nano()?),
        LogField::Time => time(log.time_unix_nano()?),
        LogField::ObservedNanos => int(log.observed_time_unix_nano()?),
        LogField::ObservedTime => time(log.observed_time_unix_nano()?),
        LogField::TraceId => id(log.trace_id()?, 16),
        LogField::TraceIdString => id_text(log.trace_id()?),
        LogField::SpanId => id(log.span_id()?, 8),
        LogField::SpanIdString => id_text(log.span_id()?),
        LogField::Flags => int(log.flags()?),
        LogField::EventName => text(log.event_name()?),
        LogField::DroppedAttributesCount => int(log.dropped_attributes_count()?),
    })
}
