//! `verbosity: normal`: a line for each resource, scope and item.

use std::fmt::Write;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, SummaryDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::text::{Hex, Safe, pairs, plain};

// Writing to a `String` cannot fail: the results are let go.

pub fn traces(request: &ExportTraceServiceRequest) -> String {
    let mut out = String::new();
    for (index, group) in request.resource_spans.iter().enumerate() {
        resource_line(
            &mut out,
            "ResourceTraces",
            index,
            group.resource.as_ref(),
            &group.schema_url,
        );
        for (index, scope) in group.scope_spans.iter().enumerate() {
            scope_line(&mut out, "ScopeTraces", index, scope.scope.as_ref(), &scope.schema_url);
            for span in &scope.spans {
                let (name, ids) = (Safe(&span.name), (Hex(&span.trace_id), Hex(&span.span_id)));
                let _ = writeln!(out, "{name} {} {}{}", ids.0, ids.1, pairs(&span.attributes));
            }
        }
    }
    out
}

pub fn logs(request: &ExportLogsServiceRequest) -> String {
    let mut out = String::new();
    for (index, group) in request.resource_logs.iter().enumerate() {
        resource_line(
            &mut out,
            "ResourceLog",
            index,
            group.resource.as_ref(),
            &group.schema_url,
        );
        for (index, scope) in group.scope_logs.iter().enumerate() {
            scope_line(&mut out, "ScopeLog", index, scope.scope.as_ref(), &scope.schema_url);
            for record in &scope.log_records {
                let _ = writeln!(out, "{}{}", plain(record.body.as_ref()), pairs(&record.attributes));
            }
        }
    }
    out
}

pub fn metrics(request: &ExportMetricsServiceRequest) -> String {
    let mut out = String::new();
    for (index, group) in request.resource_metrics.iter().enumerate() {
        resource_line(
            &mut out,
            "ResourceMetrics",
            index,
            group.resource.as_ref(),
            &group.schema_url,
        );
        for (index, scope) in group.scope_metrics.iter().enumerate() {
            scope_line(&mut out, "ScopeMetrics", index, scope.scope.as_ref(), &scope.schema_url);
            for metric in &scope.metrics {
                points(&mut out, metric);
            }
        }
    }
    out
}

fn resource_line(out: &mut String, title: &str, index: usize, resource: Option<&Resource>, schema_url: &str) {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let _ = writeln!(out, "{title} #{index}{}{}", schema(schema_url), pairs(attributes));
}

fn scope_line(out: &mut String, title: &str, index: usize, scope: Option<&InstrumentationScope>, schema_url: &str) {
    let _ = write!(out, "{title} #{index}");
    if let Some(scope) = scope {
        if !scope.name.is_empty() {
            let _ = write!(out, " {}", Safe(&scope.name));
        }
        if !scope.version.is_empty() {
            let _ = write!(out, "@{}", Safe(&scope.version));
        }
    }
    let attributes = scope.map_or(&[][..], |scope| &scope.attributes);
    let _ = writeln!(out, "{}{}", schema(schema_url), pairs(attributes));
}

fn schema(url: &str) -> String {
    if url.is_empty() {
        String::new()
    } else {
        format!(" [{}]", Safe(url))
    }
}

fn points(out: &mut String, metric: &Metric) {
    let mut line = |attributes: &[KeyValue], value: String| {
        let _ = writeln!(out, "{}{}{value}", Safe(&metric.name), braces(attributes));
    };
    let number = |value: &Option<number_data_point::Value>| match value {
        None => String::new(),
        Some(number_data_point::Value::AsInt(int)) => format!(" {int}"),
        Some(number_data_point::Value::AsDouble(double)) => format!(" {double}"),
    };
    match &metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => {
            gauge
                .data_points
                .iter()
                .for_each(|point| line(&point.attributes, number(&point.value)));
        }
        Some(Data::Sum(sum)) => {
            sum.data_points
                .iter()
                .for_each(|point| line(&point.attributes, number(&point.value)));
        }
        Some(Data::Histogram(histogram)) => {
            histogram
                .data_points
                .iter()
                .for_each(|point| line(&point.attributes, buckets(point)));
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            histogram
                .data_points
                .iter()
                .for_each(|point| line(&point.attributes, exponential(point)));
        }
        Some(Data::Summary(summary)) => {
            summary
                .data_points
                .iter()
                .for_each(|point| line(&point.attributes, quantiles(point)));
        }
    }
}

/// `{k=v,k=v}`.
fn braces(attributes: &[KeyValue]) -> String {
    let pair = |attribute: &KeyValue| format!("{}={}", Safe(&attribute.key), plain(attribute.value.as_ref()));
    let pairs: Vec<String> = attributes.iter().map(pair).collect();
    format!("{{{}}}", pairs.join(","))
}

fn statistics(count: u64, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> String {
    let mut text = format!(" count={count}");
    for (name, value) in [("sum", sum), ("min", min), ("max", max)] {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    }
    text
}

fn buckets(point: &HistogramDataPoint) -> String {
    let mut text = statistics(point.count, point.sum, point.min, point.max);
    for (index, count) in point.bucket_counts.iter().enumerate() {
        let _ = match point.explicit_bounds.get(index) {
            Some(bound) => write!(text, " le{bound}={count}"),
            None => write!(text, " {count}"),
        };
    }
    text
}

fn exponential(point: &ExponentialHistogramDataPoint) -> String {
    statistics(point.count, point.sum, point.min, point.max)
}

fn quantiles(point: &SummaryDataPoint) -> String {
    let mut text = statistics(point.count, Some(point.sum), None, None);
    for quantile in &point.quantile_values {
        let _ = write!(text, " q{}={}", quantile.quantile, quantile.value);
    }
    text
}
