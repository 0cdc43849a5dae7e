//! Settled points as typed OTLP metrics: one ResourceMetrics a resource, one Metric a name.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;

use super::Settled;
use super::want::Stat;
use crate::aws::catalogue::Kind;
use crate::aws::unit::ucum;

/// What a group of series belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    pub attributes: Vec<(String, String)>,
}

/// A number of our own making, e.g. a derived signal.
pub struct OwnPoint<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub attributes: &'a [(&'a str, &'a str)],
    /// Start of the period; zero: a moment.
    pub start: i64,
    pub time: i64,
    pub value: f64,
}

/// Collects points and gives one Export request.
pub struct Builder {
    /// `radiosonde/<receiver>`.
    scope: String,
    resources: BTreeMap<String, BTreeMap<String, BTreeMap<String, Metric>>>,
}

const DERIVED: &str = "radiosonde/derived";

impl Builder {
    /// For a receiver of this type.
    pub fn new(receiver: &str) -> Self {
        Self {
            scope: format!("radiosonde/{receiver}"),
            resources: BTreeMap::new(),
        }
    }

    fn metric(&mut self, resource: &str, scope: &str, name: &str, unit: &str, empty: Data) -> &mut Metric {
        self.resources
            .entry(resource.to_owned())
            .or_default()
            .entry(scope.to_owned())
            .or_default()
            .entry(name.to_owned())
            .or_insert_with(|| Metric {
                name: name.to_owned(),
                unit: unit.to_owned(),
                data: Some(empty),
                ..Metric::default()
            })
    }

    fn gauge(&mut self, resource: &str, scope: &str, name: &str, unit: &str, point: NumberDataPoint) {
        let metric = self.metric(resource, scope, name, unit, Data::Gauge(Gauge::default()));
        if let Some(Data::Gauge(gauge)) = &mut metric.data {
            gauge.data_points.push(point);
        }
    }

    /// Adds a point of CloudWatch.
    pub fn add(&mut self, point: &Settled) {
        let series = &point.want.series;
        let name = format!("amazonaws.com/{}/{}", series.namespace, series.metric);
        let unit = ucum(&point.want.unit);
        let scope = self.scope.clone();
        let resource = &point.want.resource;
        let value = |wanted: &Stat| {
            let position = point.want.statistics.iter().position(|stat| stat == wanted)?;
            point.values.get(position).copied()
        };
        let number = |value: f64| NumberDataPoint {
            attributes: series
                .dimensions
                .iter()
                .map(|(name, value)| text(name, value))
                .collect(),
            start_time_unix_nano: nanos(point.at),
            time_unix_nano: nanos(point.at + point.want.period),
            value: Some(Number::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        let (average, count) = (value(&Stat::Average), value(&Stat::SampleCount));
        let sum = value(&Stat::Sum).or_else(|| Some(average? * count?));
        let (minimum, maximum) = (value(&Stat::Minimum), value(&Stat::Maximum));
        match (point.want.kind, sum, count) {
            (Kind::SumDelta, Some(sum), _) => {
                let empty = Data::Sum(Sum {
                    data_points: Vec::new(),
                    aggregation_temporality: AggregationTemporality::Delta as i32,
                    is_monotonic: true,
                });
                let metric = self.metric(resource, &scope, &name, &unit, empty);
                if let Some(Data::Sum(data)) = &mut metric.data {
                    data.data_points.push(number(sum));
                }
            }
            (Kind::Histogram, Some(sum), Some(count)) => {
                let empty = Data::Histogram(Histogram {
                    data_points: Vec::new(),
                    aggregation_temporality: AggregationTemporality::Delta as i32,
                });
                let count = count.max(0.0).round() as u64;
                let metric = self.metric(resource, &scope, &name, &unit, empty);
                if let Some(Data::Histogram(data)) = &mut metric.data {
                    data.data_points.push(HistogramDataPoint {
                        attributes: series
                            .dimensions
                            .iter()
                            .map(|(name, value)| text(name, value))
                            .collect(),
                        start_time_unix_nano: nanos(point.at),
                        time_unix_nano: nanos(point.at + point.want.period),
                        count,
                        sum: Some(sum),
                        // No bounds: one bucket holds all.
                        bucket_counts: vec![count],
                        explicit_bounds: Vec::new(),
                        min: minimum,
                        max: maximum,
                        ..HistogramDataPoint::default()
                    });
                }
            }
            (kind, sum, _) => {
                let level = average.or(maximum).or(sum);
                if let Some(level) = level {
                    self.gauge(resource, &scope, &name, &unit, number(level));
                }
                let percent = point.want.unit == "Percent" || kind == Kind::Histogram;
                if let Some(maximum) = maximum.filter(|_| average.is_some() && percent) {
                    self.gauge(resource, &scope, &format!("{name}.max"), &unit, number(maximum));
                }
            }
        }
        for (stat, value) in point.want.statistics.iter().zip(&point.values) {
            if let Stat::Percentile(percentile) = stat {
                self.gauge(resource, &scope, &format!("{name}.{percentile}"), &unit, number(*value));
            }
        }
    }

    /// Adds a summary under the receiver's scope.
    pub fn add_summary(&mut self, resource: &str, name: &str, unit: &str, point: SummaryDataPoint) {
        let scope = self.scope.clone();
        let metric = self.metric(resource, &scope, name, unit, Data::Summary(Summary::default()));
        if let Some(Data::Summary(summary)) = &mut metric.data {
            summary.data_points.push(point);
        }
    }

    /// Adds a gauge of ours under the receiver's scope.
    pub fn add_own(&mut self, resource: &str, point: &OwnPoint<'_>) {
        let scope = self.scope.clone();
        self.add_scoped(resource, &scope, point);
    }

    /// Adds a gauge that was computed from CloudWatch's points.
    pub fn add_derived(&mut self, resource: &str, point: &OwnPoint<'_>) {
        self.add_scoped(resource, DERIVED, point);
    }

    fn add_scoped(&mut self, resource: &str, scope: &str, point: &OwnPoint<'_>) {
        let number = NumberDataPoint {
            attributes: point.attributes.iter().map(|(name, value)| text(name, value)).collect(),
            start_time_unix_nano: nanos(point.start),
            time_unix_nano: nanos(point.time),
            value: Some(Number::AsDouble(point.value)),
            ..NumberDataPoint::default()
        };
        self.gauge(resource, scope, point.name, point.unit, number);
    }

    /// Nothing was added.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The request; `resource` says what a resource id stands for.
    pub fn finish(self, resource: impl Fn(&str) -> Resource) -> ExportMetricsServiceRequest {
        let mut resource_metrics = Vec::new();
        for (id, scopes) in self.resources {
            let attributes = resource(&id).attributes;
            let scope_metrics = scopes
                .into_iter()
                .map(|(name, metrics)| ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name,
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics: metrics.into_values().collect(),
                    ..ScopeMetrics::default()
                })
                .collect();
            resource_metrics.push(ResourceMetrics {
                resource: Some(OtlpResource {
                    attributes: attributes.iter().map(|(name, value)| text(name, value)).collect(),
                    ..OtlpResource::default()
                }),
                scope_metrics,
                ..ResourceMetrics::default()
            });
        }
        ExportMetricsServiceRequest { resource_metrics }
    }
}

fn nanos(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000)
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
