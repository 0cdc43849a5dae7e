//! Metrics under construction: sums, gauges and histograms of one region.

use std::collections::BTreeMap;

use aws_sdk_xray::types::HistogramEntry;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Upper bounds of the duration histograms, seconds.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// A time of one point, unix seconds.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Metrics that are being built.
#[derive(Default)]
pub(super) struct Metrics(BTreeMap<&'static str, Metric>);

impl Metrics {
    pub(super) fn sum(&mut self, name: &'static str, unit: &str, attributes: &[(&str, &str)], value: u64, over: Span) {
        let metric = self.metric(name, unit, || {
            Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality: AggregationTemporality::Delta as i32,
                is_monotonic: true,
            })
        });
        if let Some(Data::Sum(sum)) = &mut metric.data {
            let value = Number::AsInt(i64::try_from(value).unwrap_or(i64::MAX));
            sum.data_points.push(point(attributes, value, over));
        }
    }

    pub(super) fn gauge(&mut self, name: &'static str, unit: &str, attributes: &[(&str, &str)], value: f64, at: u64) {
        let metric = self.metric(name, unit, || Data::Gauge(Gauge::default()));
        if let Some(Data::Gauge(gauge)) = &mut metric.data {
            let over = Span { from: 0, to: at };
            gauge.data_points.push(point(attributes, Number::AsDouble(value), over));
        }
    }

    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        attributes: &[(&str, &str)],
        entries: &[HistogramEntry],
        over: Span,
    ) {
        let metric = self.metric(name, "s", || {
            Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality: AggregationTemporality::Delta as i32,
            })
        });
        let mut bucket_counts = vec![0u64; BOUNDS.len() + 1];
        let (mut count, mut sum) = (0, 0.0);
        for entry in entries {
            let of = u64::try_from(entry.count()).unwrap_or_default();
            let bucket = BOUNDS.partition_point(|bound| *bound < entry.value());
            bucket_counts[bucket] += of;
            count += of;
            sum += entry.value() * of as f64;
        }
        if let Some(Data::Histogram(histogram)) = &mut metric.data
            && count > 0
        {
            histogram.data_points.push(HistogramDataPoint {
                attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
                start_time_unix_nano: over.from * 1_000_000_000,
                time_unix_nano: over.to * 1_000_000_000,
                count,
                sum: Some(sum),
                bucket_counts,
                explicit_bounds: BOUNDS.to_vec(),
                ..HistogramDataPoint::default()
            });
        }
    }

    fn metric(&mut self, name: &'static str, unit: &str, data: impl FnOnce() -> Data) -> &mut Metric {
        self.0.entry(name).or_insert_with(|| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            data: Some(data()),
            ..Metric::default()
        })
    }

    pub(super) fn request(self, region: &str) -> Option<ExportMetricsServiceRequest> {
        let metrics: Vec<Metric> = self.0.into_values().collect();
        if metrics.is_empty() {
            return None;
        }
        let attributes = [("cloud.provider", "aws"), ("cloud.region", region)];
        let resource = Resource {
            attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "xray".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        Some(ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        })
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn point(attributes: &[(&str, &str)], value: Number, over: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        start_time_unix_nano: over.from * 1_000_000_000,
        time_unix_nano: over.to * 1_000_000_000,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}
