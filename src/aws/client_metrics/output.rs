//! Sums as OTLP: delta sums and histograms with the spans that they stand for.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as Measured;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::series::{BOUNDS, Example, Key, Sums};

const SCOPE: &str = "radiosonde/awsclientmetrics";

/// Collects the points of one flush.
pub(super) struct Output<'a> {
    since: u64,
    now: u64,
    dimensions: &'a [String],
    /// By service name and metric name.
    services: BTreeMap<String, BTreeMap<String, Metric>>,
}

impl<'a> Output<'a> {
    pub(super) fn new(since: u64, now: u64, dimensions: &'a [String]) -> Self {
        Self {
            since,
            now,
            dimensions,
            services: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, key: &Key, sums: &Sums) {
        let attributes = self.attributes(key);
        let times = (self.since, self.now);
        let prefix = if key.is_dynamodb {
            "dynamodb.client"
        } else {
            "aws.client"
        };
        let mut add = |name: &str, unit: &str, value: f64, error: Option<&str>, example: Option<&Example>| {
            if value > 0.0 {
                let mut attributes = attributes.clone();
                attributes.extend(error.map(|error| text("error.type", error)));
                let sum = self.sum(&key.service_name, name, unit);
                sum.push(point(times, attributes, unit, value, example));
            }
        };
        let failed = sums.failed.as_deref();
        let of = |what: &str| format!("{prefix}.{what}");
        add(&of("requests"), "{request}", sums.requests as f64, None, None);
        for (error, count) in &sums.errors {
            add(&of("errors"), "{error}", *count as f64, Some(error), failed);
        }
        add(&of("retries"), "{retry}", sums.retries as f64, None, None);
        if key.is_dynamodb {
            add(&of("throttles"), "{throttle}", sums.throttles as f64, None, failed);
            let slowest = sums.examples.iter().rev().flatten().next();
            add(
                &of("slow_ops"),
                "{operation}",
                sums.slow as f64,
                None,
                slowest.map(Box::as_ref),
            );
            add(&of("read_units"), "{RCU}", sums.read_units, None, None);
            add(&of("write_units"), "{WCU}", sums.write_units, None, None);
            let full = sums.collection_limit as f64;
            add("dynamodb.item_collection_limit.errors", "{error}", full, None, failed);
        }
        if sums.requests > 0 {
            self.duration(key, &of("duration"), sums, attributes.clone());
        }
        if let Some(bytes) = sums.collection_bytes {
            self.collection(key, bytes);
        }
    }

    fn attributes(&self, key: &Key) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                attributes.push(text(name, value));
            }
        };
        if key.is_dynamodb {
            add("TableName", &key.table);
            add("GlobalSecondaryIndexName", key.index.as_deref().unwrap_or_default());
            add("Operation", &key.operation);
        } else {
            add("rpc.service", &key.service);
            add("rpc.method", &key.operation);
        }
        add("service.name", &key.service_name);
        add("cloud.region", &key.region);
        for (name, value) in self.dimensions.iter().zip(&key.dimensions) {
            add(name, value.as_deref().unwrap_or_default());
        }
        attributes
    }

    fn metric(&mut self, service: &str, name: &str, unit: &str, empty: Data) -> &mut Metric {
        let metrics = self.services.entry(service.to_owned()).or_default();
        metrics.entry(name.to_owned()).or_insert_with(|| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            data: Some(empty),
            ..Metric::default()
        })
    }

    /// The points of a delta sum.
    fn sum(&mut self, service: &str, name: &str, unit: &str) -> &mut Vec<NumberDataPoint> {
        let empty = Sum {
            data_points: Vec::new(),
            aggregation_temporality: AggregationTemporality::Delta as i32,
            is_monotonic: true,
        };
        match &mut self.metric(service, name, unit, Data::Sum(empty)).data {
            Some(Data::Sum(sum)) => &mut sum.data_points,
            _ => unreachable!("a metric name has one kind"),
        }
    }

    fn duration(&mut self, key: &Key, name: &str, sums: &Sums, attributes: Vec<KeyValue>) {
        let examples = sums.examples.iter().flatten();
        let point = HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.since,
            time_unix_nano: self.now,
            count: sums.requests,
            sum: Some(sums.seconds),
            bucket_counts: sums.buckets.to_vec(),
            explicit_bounds: BOUNDS.to_vec(),
            exemplars: examples.map(|example| exemplar(example, example.seconds)).collect(),
            min: Some(sums.minimum),
            max: Some(sums.maximum),
            ..HistogramDataPoint::default()
        };
        let empty = Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality: AggregationTemporality::Delta as i32,
        });
        if let Some(Data::Histogram(histogram)) = &mut self.metric(&key.service_name, name, "s", empty).data {
            histogram.data_points.push(point);
        }
    }

    fn collection(&mut self, key: &Key, bytes: f64) {
        let mut attributes = self.attributes(key);
        attributes.push(text("Source", "span"));
        let point = NumberDataPoint {
            attributes,
            time_unix_nano: self.now,
            value: Some(Number::AsDouble(bytes)),
            ..NumberDataPoint::default()
        };
        let name = "aws.dynamodb.item_collection.size";
        let empty = Data::Gauge(Gauge::default());
        if let Some(Data::Gauge(gauge)) = &mut self.metric(&key.service_name, name, "By", empty).data {
            gauge.data_points.push(point);
        }
    }

    /// The request; `None` without a point.
    pub(super) fn finish(self) -> Option<ExportMetricsServiceRequest> {
        let mut resource_metrics = Vec::new();
        for (service, metrics) in self.services {
            let mut attributes = Vec::new();
            if !service.is_empty() {
                attributes.push(text("service.name", &service));
            }
            resource_metrics.push(ResourceMetrics {
                resource: Some(Resource {
                    attributes,
                    ..Resource::default()
                }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: SCOPE.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics: metrics.into_values().collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            });
        }
        (!resource_metrics.is_empty()).then_some(ExportMetricsServiceRequest { resource_metrics })
    }
}

fn point(
    (since, now): (u64, u64),
    attributes: Vec<KeyValue>,
    unit: &str,
    value: f64,
    example: Option<&Example>,
) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: since,
        time_unix_nano: now,
        // Units of capacity come in halves, everything else is counted.
        value: Some(if unit.ends_with("CU}") {
            Number::AsDouble(value)
        } else {
            Number::AsInt(value as i64)
        }),
        exemplars: example.map(|example| exemplar(example, 1.0)).into_iter().collect(),
        ..NumberDataPoint::default()
    }
}

fn exemplar(example: &Example, value: f64) -> Exemplar {
    Exemplar {
        time_unix_nano: example.at,
        span_id: example.span_id.clone(),
        trace_id: example.trace_id.clone(),
        value: Some(Measured::AsDouble(value)),
        ..Exemplar::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}
