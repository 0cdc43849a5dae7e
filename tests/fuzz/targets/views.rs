//! The views: no panic whatever they read, and the same spans, points and records as prost.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use radiosonde::wire::{self, Attributes, Point, Value, WireError};

/// How deep the walk follows values; the views themselves do not recurse.
const DEPTH: usize = 40;

pub fn run(data: &[u8]) {
    // Each signal's views over the same bytes: at most one of them is what was meant.
    let _ = read_groups(data);
    compare_spans(data);
}

fn compare_spans(data: &[u8]) {
    let Ok(request) = ExportTraceServiceRequest::decode(data) else {
        return;
    };
    let spans = request
        .resource_spans
        .iter()
        .flat_map(|group| &group.scope_spans)
        .flat_map(|scope| &scope.spans);
    let expected: Vec<_> = spans
        .map(|span| {
            let status = span.status.clone().unwrap_or_default();
            (span.name.clone(), span.attributes.len(), span.events.len(), status.code)
        })
        .collect();
    match read_spans(data) {
        Ok(found) => assert_eq!(found, expected),
        // Prost skips unknown groups, the views refuse them.
        Err(error) => assert!(matches!(error, WireError::Group { .. }), "{error}"),
    }
}

fn read_spans(data: &[u8]) -> Result<Vec<(String, usize, usize, i32)>, WireError> {
    let mut found = Vec::new();
    for group in wire::resources(data) {
        for scope in group?.scopes() {
            for span in scope?.spans() {
                let span = span?;
                let attributes = span.attributes().collect::<Result<Vec<_>, _>>()?.len();
                let events = span.events().collect::<Result<Vec<_>, _>>()?.len();
                let name = span.name()?.lossy().into_owned();
                found.push((name, attributes, events, span.status()?.code()?));
            }
        }
    }
    Ok(found)
}

fn read_groups(data: &[u8]) -> Result<(), WireError> {
    for group in wire::resources(data) {
        let group = group?;
        read_attributes(group.resource()?.attributes(), 0)?;
        for scope in group.scopes() {
            let scope = scope?;
            read_attributes(scope.scope()?.attributes(), 0)?;
            for record in scope.log_records() {
                let record = record?;
                let _ = record.body().map(|body| read_value(body, 0));
                let _ = read_attributes(record.attributes(), 0);
                let _ = record.trace_id();
            }
            for metric in scope.metrics() {
                let _ = read_metric(metric?);
            }
            for span in scope.spans() {
                let span = span?;
                let _ = span.attribute("key");
                span.links().map_while(Result::ok).for_each(|link| {
                    let _ = read_attributes(link.attributes(), 0);
                });
            }
        }
    }
    Ok(())
}

fn read_metric(metric: wire::Metric<'_>) -> Result<(), WireError> {
    let Some(data) = metric.data()? else {
        return Ok(());
    };
    let mut count = 0;
    for point in data.points() {
        let point = point?;
        count += 1;
        let _ = read_attributes(point.attributes(), 0);
        let _ = (point.flags(), point.time_unix_nano());
        match point {
            Point::Number(point) => {
                let _ = point.value();
                let _ = point.exemplars().map_while(Result::ok).count();
            }
            Point::Histogram(point) => {
                let _ = point.bucket_counts().count() + point.explicit_bounds().count();
            }
            Point::ExponentialHistogram(point) => {
                let _ = point
                    .positive()
                    .map(|found| found.map(|found| found.bucket_counts().count()));
            }
            Point::Summary(point) => {
                let _ = point.quantile_values().map_while(Result::ok).count();
            }
        }
    }
    assert_eq!(wire::count_in_metric(metric.raw())?, count);
    Ok(())
}

fn read_attributes(attributes: Attributes<'_>, depth: usize) -> Result<(), WireError> {
    for attribute in attributes {
        let attribute = attribute?;
        attribute.key()?;
        read_value(attribute.value()?, depth)?;
    }
    Ok(())
}

fn read_value(value: Value<'_>, depth: usize) -> Result<(), WireError> {
    if depth == DEPTH {
        return Ok(());
    }
    // Written out and read again it is the same kind of value.
    let encoded = value.encode()?;
    let again = Value::read(&encoded)?;
    assert_eq!(std::mem::discriminant(&value), std::mem::discriminant(&again));
    match value {
        Value::Array(values) => {
            for element in values {
                read_value(element?, depth + 1)?;
            }
            Ok(())
        }
        Value::Map(attributes) => read_attributes(attributes, depth + 1),
        _ => Ok(()),
    }
}
