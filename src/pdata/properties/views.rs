//! Views == prost, wherever prost accepts: the views are read into prost's structs and compared.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;

use super::{decode, mutated, well_formed};
use crate::pdata::{Decoded, Signal};
use crate::wire::{self, Attributes, Number, Text, Value, WireError};

type Read<T> = Result<T, WireError>;

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn views_read_what_prost_reads((signal, bytes, decoded) in well_formed()) {
        prop_assert_eq!(format!("{:?}", read(signal, &bytes)), format!("{:?}", Ok::<_, WireError>(decoded)));
    }

    #[test]
    fn views_read_what_prost_reads_of_mutated_bytes_too((signal, bytes) in mutated()) {
        let read = read(signal, &bytes);
        if let Some(mut decoded) = decode(signal, &bytes) {
            forget_what_views_skip(&mut decoded);
            match read {
                // Debug text: NaN is not equal to itself.
                Ok(read) => prop_assert_eq!(format!("{read:?}"), format!("{decoded:?}")),
                // Prost skips unknown groups, views refuse them.
                Err(error) => prop_assert!(matches!(error, WireError::Group { .. }), "{}", error),
            }
        }
    }
}

/// Fields that have no accessor because nobody sends them outside profiles.
fn forget_what_views_skip(decoded: &mut Decoded) {
    fn attributes(list: &mut [KeyValue]) {
        for attribute in list {
            attribute.key_strindex = 0;
            if let Some(found) = &mut attribute.value {
                value(found);
            }
        }
    }
    fn value(found: &mut AnyValue) {
        match &mut found.value {
            Some(Any::ArrayValue(array)) => array.values.iter_mut().for_each(value),
            Some(Any::KvlistValue(list)) => attributes(&mut list.values),
            _ => {}
        }
    }
    fn resource(found: &mut Option<Resource>) {
        if let Some(found) = found {
            attributes(&mut found.attributes);
        }
    }
    fn scope(found: &mut Option<InstrumentationScope>) {
        if let Some(found) = found {
            attributes(&mut found.attributes);
        }
    }
    fn exemplars(list: &mut [metrics::Exemplar]) {
        for exemplar in list {
            attributes(&mut exemplar.filtered_attributes);
        }
    }
    match decoded {
        Decoded::Traces(request) => {
            for group in &mut request.resource_spans {
                resource(&mut group.resource);
                for scopes in &mut group.scope_spans {
                    scope(&mut scopes.scope);
                    for span in &mut scopes.spans {
                        attributes(&mut span.attributes);
                        span.events
                            .iter_mut()
                            .for_each(|event| attributes(&mut event.attributes));
                        span.links.iter_mut().for_each(|link| attributes(&mut link.attributes));
                    }
                }
            }
        }
        Decoded::Logs(request) => {
            for group in &mut request.resource_logs {
                resource(&mut group.resource);
                for scopes in &mut group.scope_logs {
                    scope(&mut scopes.scope);
                    for record in &mut scopes.log_records {
                        attributes(&mut record.attributes);
                        record.body.iter_mut().for_each(value);
                    }
                }
            }
        }
        Decoded::Metrics(request) => {
            use metrics::metric::Data;
            for group in &mut request.resource_metrics {
                resource(&mut group.resource);
                for scopes in &mut group.scope_metrics {
                    scope(&mut scopes.scope);
                    for metric in &mut scopes.metrics {
                        attributes(&mut metric.metadata);
                        match &mut metric.data {
                            None => {}
                            Some(Data::Gauge(metrics::Gauge { data_points })) => {
                                for point in data_points {
                                    attributes(&mut point.attributes);
                                    exemplars(&mut point.exemplars);
                                }
                            }
                            Some(Data::Sum(data)) => {
                                for point in &mut data.data_points {
                                    attributes(&mut point.attributes);
                                    exemplars(&mut point.exemplars);
                                }
                            }
                            Some(Data::Histogram(data)) => {
                                for point in &mut data.data_points {
                                    attributes(&mut point.attributes);
                                    exemplars(&mut point.exemplars);
                                }
                            }
                            Some(Data::ExponentialHistogram(data)) => {
                                for point in &mut data.data_points {
                                    attributes(&mut point.attributes);
                                    exemplars(&mut point.exemplars);
                                }
                            }
                            Some(Data::Summary(data)) => {
                                for point in &mut data.data_points {
                                    attributes(&mut point.attributes);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn text(text: Text<'_>) -> String {
    text.lossy().into_owned()
}

fn value(value: Value<'_>) -> Read<AnyValue> {
    let value = match value {
        Value::Empty => None,
        Value::String(found) => Some(Any::StringValue(text(found))),
        Value::Bool(found) => Some(Any::BoolValue(found)),
        Value::Int(found) => Some(Any::IntValue(found)),
        Value::Double(found) => Some(Any::DoubleValue(found)),
        Value::Bytes(found) => Some(Any::BytesValue(found.to_vec())),
        Value::StringIndex(found) => Some(Any::StringValueStrindex(found)),
        Value::Array(values) => {
            let values = values
                .map(|element| element.and_then(self::value))
                .collect::<Read<_>>()?;
            Some(Any::ArrayValue(ArrayValue { values }))
        }
        Value::Map(found) => Some(Any::KvlistValue(KeyValueList {
            values: attributes(found)?,
        })),
    };
    Ok(AnyValue { value })
}

fn attributes(list: Attributes<'_>) -> Read<Vec<KeyValue>> {
    list.map(|attribute| {
        let attribute = attribute?;
        let has_value = wire::Pieces::find(attribute.raw(), 2)?.is_some();
        Ok(KeyValue {
            key: text(attribute.key()?),
            value: if has_value {
                Some(value(attribute.value()?)?)
            } else {
                None
            },
            key_strindex: 0,
        })
    })
    .collect()
}

fn resource(group: &wire::ResourceGroup<'_>) -> Read<Option<Resource>> {
    if wire::Pieces::find(group.raw(), 1)?.is_none() {
        return Ok(None);
    }
    let resource = group.resource()?;
    Ok(Some(Resource {
        attributes: attributes(resource.attributes())?,
        dropped_attributes_count: resource.dropped_attributes_count()?,
        // No view of its own: nobody reads it yet.
        entity_refs: entity_refs(resource.pieces())?,
    }))
}

fn entity_refs(mut pieces: wire::Pieces<'_>) -> Read<Vec<opentelemetry_proto::tonic::common::v1::EntityRef>> {
    use prost::Message;
    let mut found = Vec::new();
    while let Some(field) = pieces.next_field()? {
        if field.number == 3 {
            found.push(Message::decode(field.len()?).unwrap_or_default());
        }
    }
    Ok(found)
}

fn scope(group: &wire::ScopeGroup<'_>) -> Read<Option<InstrumentationScope>> {
    if wire::Pieces::find(group.raw(), 1)?.is_none() {
        return Ok(None);
    }
    let scope = group.scope()?;
    Ok(Some(InstrumentationScope {
        name: text(scope.name()?),
        version: text(scope.version()?),
        attributes: attributes(scope.attributes())?,
        dropped_attributes_count: scope.dropped_attributes_count()?,
    }))
}

fn read(signal: Signal, bytes: &[u8]) -> Read<Decoded> {
    Ok(match signal {
        Signal::Traces => Decoded::Traces(ExportTraceServiceRequest {
            resource_spans: wire::resources(bytes)
                .map(|group| {
                    let group = group?;
                    Ok(trace::ResourceSpans {
                        resource: resource(&group)?,
                        scope_spans: group
                            .scopes()
                            .map(|scopes| {
                                let scopes = scopes?;
                                Ok(trace::ScopeSpans {
                                    scope: scope(&scopes)?,
                                    spans: scopes.spans().map(|item| span(item?)).collect::<Read<_>>()?,
                                    schema_url: text(scopes.schema_url()?),
                                })
                            })
                            .collect::<Read<_>>()?,
                        schema_url: text(group.schema_url()?),
                    })
                })
                .collect::<Read<_>>()?,
        }),
        Signal::Metrics => Decoded::Metrics(ExportMetricsServiceRequest {
            resource_metrics: wire::resources(bytes)
                .map(|group| {
                    let group = group?;
                    Ok(metrics::ResourceMetrics {
                        resource: resource(&group)?,
                        scope_metrics: group
                            .scopes()
                            .map(|scopes| {
                                let scopes = scopes?;
                                Ok(metrics::ScopeMetrics {
                                    scope: scope(&scopes)?,
                                    metrics: scopes.metrics().map(|item| metric(item?)).collect::<Read<_>>()?,
                                    schema_url: text(scopes.schema_url()?),
                                })
                            })
                            .collect::<Read<_>>()?,
                        schema_url: text(group.schema_url()?),
                    })
                })
                .collect::<Read<_>>()?,
        }),
        Signal::Logs => Decoded::Logs(ExportLogsServiceRequest {
            resource_logs: wire::resources(bytes)
                .map(|group| {
                    let group = group?;
                    Ok(ResourceLogs {
                        resource: resource(&group)?,
                        scope_logs: group
                            .scopes()
                            .map(|scopes| {
                                let scopes = scopes?;
                                Ok(ScopeLogs {
                                    scope: scope(&scopes)?,
                                    log_records: scopes
                                        .log_records()
                                        .map(|item| log_record(item?))
                                        .collect::<Read<_>>()?,
                                    schema_url: text(scopes.schema_url()?),
                                })
                            })
                            .collect::<Read<_>>()?,
                        schema_url: text(group.schema_url()?),
                    })
                })
                .collect::<Read<_>>()?,
        }),
    })
}

fn span(span: wire::Span<'_>) -> Read<trace::Span> {
    let has_status = wire::Pieces::find(span.raw(), 15)?.is_some();
    let status = span.status()?;
    Ok(trace::Span {
        trace_id: span.trace_id()?.to_vec(),
        span_id: span.span_id()?.to_vec(),
        trace_state: text(span.trace_state()?),
        parent_span_id: span.parent_span_id()?.to_vec(),
        flags: span.flags()?,
        name: text(span.name()?),
        kind: span.kind()?,
        start_time_unix_nano: span.start_time_unix_nano()?,
        end_time_unix_nano: span.end_time_unix_nano()?,
        attributes: attributes(span.attributes())?,
        dropped_attributes_count: span.dropped_attributes_count()?,
        events: span
            .events()
            .map(|event| {
                let event = event?;
                Ok(trace::span::Event {
                    time_unix_nano: event.time_unix_nano()?,
                    name: text(event.name()?),
                    attributes: attributes(event.attributes())?,
                    dropped_attributes_count: event.dropped_attributes_count()?,
                })
            })
            .collect::<Read<_>>()?,
        dropped_events_count: span.dropped_events_count()?,
        links: span
            .links()
            .map(|link| {
                let link = link?;
                Ok(trace::span::Link {
                    trace_id: link.trace_id()?.to_vec(),
                    span_id: link.span_id()?.to_vec(),
                    trace_state: text(link.trace_state()?),
                    attributes: attributes(link.attributes())?,
                    dropped_attributes_count: link.dropped_attributes_count()?,
                    flags: link.flags()?,
                })
            })
            .collect::<Read<_>>()?,
        dropped_links_count: span.dropped_links_count()?,
        status: if has_status {
            Some(trace::Status {
                message: text(status.message()?),
                code: status.code()?,
            })
        } else {
            None
        },
    })
}

fn log_record(record: wire::LogRecord<'_>) -> Read<LogRecord> {
    Ok(LogRecord {
        time_unix_nano: record.time_unix_nano()?,
        observed_time_unix_nano: record.observed_time_unix_nano()?,
        severity_number: record.severity_number()?,
        severity_text: text(record.severity_text()?),
        body: if record.has_body()? {
            Some(value(record.body()?)?)
        } else {
            None
        },
        attributes: attributes(record.attributes())?,
        dropped_attributes_count: record.dropped_attributes_count()?,
        flags: record.flags()?,
        trace_id: record.trace_id()?.to_vec(),
        span_id: record.span_id()?.to_vec(),
        event_name: text(record.event_name()?),
    })
}

fn metric(metric: wire::Metric<'_>) -> Read<metrics::Metric> {
    let data = match metric.data()? {
        None => None,
        Some(data) => Some(metric_data(data)?),
    };
    Ok(metrics::Metric {
        name: text(metric.name()?),
        description: text(metric.description()?),
        unit: text(metric.unit()?),
        metadata: attributes(metric.metadata())?,
        data,
    })
}

fn metric_data(data: wire::MetricData<'_>) -> Read<metrics::metric::Data> {
    use metrics::metric::Data;
    let (mut numbers, mut histograms, mut exponentials, mut summaries) = (vec![], vec![], vec![], vec![]);
    for point in data.points() {
        match point? {
            wire::Point::Number(point) => numbers.push(number_point(point)?),
            wire::Point::Histogram(point) => histograms.push(histogram_point(point)?),
            wire::Point::ExponentialHistogram(point) => exponentials.push(exponential_point(point)?),
            wire::Point::Summary(point) => summaries.push(summary_point(point)?),
        }
    }
    let aggregation_temporality = data.aggregation_temporality()?;
    Ok(match data.kind() {
        wire::MetricKind::Gauge => Data::Gauge(metrics::Gauge { data_points: numbers }),
        wire::MetricKind::Sum => Data::Sum(metrics::Sum {
            data_points: numbers,
            aggregation_temporality,
            is_monotonic: data.is_monotonic()?,
        }),
        wire::MetricKind::Histogram => Data::Histogram(metrics::Histogram {
            data_points: histograms,
            aggregation_temporality,
        }),
        wire::MetricKind::ExponentialHistogram => Data::ExponentialHistogram(metrics::ExponentialHistogram {
            data_points: exponentials,
            aggregation_temporality,
        }),
        wire::MetricKind::Summary => Data::Summary(metrics::Summary { data_points: summaries }),
    })
}

fn exemplar(exemplar: wire::Exemplar<'_>) -> Read<metrics::Exemplar> {
    Ok(metrics::Exemplar {
        filtered_attributes: attributes(exemplar.filtered_attributes())?,
        time_unix_nano: exemplar.time_unix_nano()?,
        span_id: exemplar.span_id()?.to_vec(),
        trace_id: exemplar.trace_id()?.to_vec(),
        value: exemplar.value()?.map(|value| match value {
            Number::Double(value) => metrics::exemplar::Value::AsDouble(value),
            Number::Int(value) => metrics::exemplar::Value::AsInt(value),
        }),
    })
}

fn number_point(point: wire::NumberPoint<'_>) -> Read<metrics::NumberDataPoint> {
    Ok(metrics::NumberDataPoint {
        attributes: attributes(point.attributes())?,
        start_time_unix_nano: point.start_time_unix_nano()?,
        time_unix_nano: point.time_unix_nano()?,
        exemplars: point.exemplars().map(|found| exemplar(found?)).collect::<Read<_>>()?,
        flags: point.flags()?,
        value: point.value()?.map(|value| match value {
            Number::Double(value) => metrics::number_data_point::Value::AsDouble(value),
            Number::Int(value) => metrics::number_data_point::Value::AsInt(value),
        }),
    })
}

fn histogram_point(point: wire::HistogramPoint<'_>) -> Read<metrics::HistogramDataPoint> {
    Ok(metrics::HistogramDataPoint {
        attributes: attributes(point.attributes())?,
        start_time_unix_nano: point.start_time_unix_nano()?,
        time_unix_nano: point.time_unix_nano()?,
        count: point.count()?,
        sum: point.sum()?,
        bucket_counts: point.bucket_counts().collect::<Read<_>>()?,
        explicit_bounds: point.explicit_bounds().collect::<Read<_>>()?,
        exemplars: point.exemplars().map(|found| exemplar(found?)).collect::<Read<_>>()?,
        flags: point.flags()?,
        min: point.min()?,
        max: point.max()?,
    })
}

fn exponential_point(point: wire::ExponentialHistogramPoint<'_>) -> Read<metrics::ExponentialHistogramDataPoint> {
    fn buckets(buckets: wire::Buckets<'_>) -> Read<metrics::exponential_histogram_data_point::Buckets> {
        Ok(metrics::exponential_histogram_data_point::Buckets {
            offset: buckets.offset()?,
            bucket_counts: buckets.bucket_counts().collect::<Read<_>>()?,
        })
    }
    Ok(metrics::ExponentialHistogramDataPoint {
        attributes: attributes(point.attributes())?,
        start_time_unix_nano: point.start_time_unix_nano()?,
        time_unix_nano: point.time_unix_nano()?,
        count: point.count()?,
        sum: point.sum()?,
        scale: point.scale()?,
        zero_count: point.zero_count()?,
        positive: point.positive()?.map(buckets).transpose()?,
        negative: point.negative()?.map(buckets).transpose()?,
        flags: point.flags()?,
        exemplars: point.exemplars().map(|found| exemplar(found?)).collect::<Read<_>>()?,
        min: point.min()?,
        max: point.max()?,
        zero_threshold: point.zero_threshold()?,
    })
}

fn summary_point(point: wire::SummaryPoint<'_>) -> Read<metrics::SummaryDataPoint> {
    Ok(metrics::SummaryDataPoint {
        attributes: attributes(point.attributes())?,
        start_time_unix_nano: point.start_time_unix_nano()?,
        time_unix_nano: point.time_unix_nano()?,
        count: point.count()?,
        sum: point.sum()?,
        quantile_values: point
            .quantile_values()
            .map(|found| {
                let found = found?;
                Ok(metrics::summary_data_point::ValueAtQuantile {
                    quantile: found.quantile()?,
                    value: found.value()?,
                })
            })
            .collect::<Read<_>>()?,
        flags: point.flags()?,
    })
}
