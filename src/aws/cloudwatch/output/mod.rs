//! Settled points as OTLP metrics: one ResourceMetrics a resource, one Metric a name. Three forms: typed, as Metric
//! Streams write them, or a gauge for each statistic.

mod streams;
mod typed;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;

use super::tracks::Settled;
use super::want::{Name, OutputForm, Shape, Stat};
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

/// The metrics of one resource and scope, in the order they first came.
#[derive(Default)]
struct Group {
    metrics: Vec<Metric>,
    by_name: HashMap<String, usize>,
    /// Where the metrics of a shape stand: the main one, then what is beside it by suffix. Saves building names.
    by_shape: HashMap<(usize, u8), usize>,
    /// Holds the shapes, so that no other takes the place of one in memory.
    shapes: Vec<Arc<Shape>>,
}

/// Collects points and gives one Export request.
pub struct Builder {
    form: OutputForm,
    cumulative: bool,
    /// `radiosonde/<receiver>`, and the one of derived signals.
    scopes: [String; 2],
    resources: Vec<(Name, [Group; 2])>,
    by_resource: HashMap<Name, usize>,
}

/// Scopes by position.
const OWN: usize = 0;
const DERIVED: usize = 1;

impl Builder {
    /// For a receiver of this type: typed, with delta sums.
    pub fn new(receiver: &str) -> Self {
        Self::of_form(receiver, OutputForm::Typed, false)
    }

    /// In another form, or with sums that grow.
    pub fn of_form(receiver: &str, form: OutputForm, cumulative: bool) -> Self {
        Self {
            form,
            cumulative,
            scopes: [format!("radiosonde/{receiver}"), "radiosonde/derived".to_owned()],
            resources: Vec::new(),
            by_resource: HashMap::new(),
        }
    }

    fn group(&mut self, resource: &str, scope: usize) -> &mut Group {
        // Points come by resource: most often it is the last one.
        let last = self.resources.len().wrapping_sub(1);
        let position = match self.resources.last() {
            Some((name, _)) if &**name == resource => last,
            _ => match self.by_resource.get(resource) {
                Some(position) => *position,
                None => {
                    let name: Name = resource.into();
                    self.resources.push((Arc::clone(&name), Default::default()));
                    self.by_resource.insert(name, last.wrapping_add(1));
                    last.wrapping_add(1)
                }
            },
        };
        &mut self.resources[position].1[scope]
    }

    /// Adds a point of CloudWatch.
    pub fn add(&mut self, point: &Settled) {
        match self.form {
            OutputForm::Typed => typed::add(self, point),
            OutputForm::MetricStreams => streams::add_summary(self, point),
            OutputForm::GaugePerStat => streams::add_gauges(self, point),
        }
    }

    /// Adds a summary under the receiver's scope.
    pub fn add_summary(&mut self, resource: &str, name: &str, unit: &str, point: SummaryDataPoint) {
        let group = self.group(resource, OWN);
        let position = group.named(name, unit, || Data::Summary(Summary::default()));
        if let Some(Data::Summary(summary)) = group.data(position) {
            summary.data_points.push(point);
        }
    }

    /// Adds a gauge of ours under the receiver's scope.
    pub fn add_own(&mut self, resource: &str, point: &OwnPoint<'_>) {
        self.add_scoped(resource, OWN, point);
    }

    /// Adds a gauge that was computed from CloudWatch's points.
    pub fn add_derived(&mut self, resource: &str, point: &OwnPoint<'_>) {
        self.add_scoped(resource, DERIVED, point);
    }

    fn add_scoped(&mut self, resource: &str, scope: usize, point: &OwnPoint<'_>) {
        let number = NumberDataPoint {
            attributes: point.attributes.iter().map(|(name, value)| text(name, value)).collect(),
            start_time_unix_nano: nanos(point.start),
            time_unix_nano: nanos(point.time),
            value: Some(Number::AsDouble(point.value)),
            ..NumberDataPoint::default()
        };
        let group = self.group(resource, scope);
        let position = group.named(point.name, point.unit, || Data::Gauge(Gauge::default()));
        group.gauge_point(position, number);
    }

    /// Nothing was added.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The request; `resource` says what a resource id stands for.
    pub fn finish(self, resource: impl Fn(&str) -> Resource) -> ExportMetricsServiceRequest {
        let mut resource_metrics = Vec::with_capacity(self.resources.len());
        for (id, groups) in self.resources {
            let attributes = resource(&id).attributes;
            let mut scope_metrics = Vec::new();
            for (mut group, name) in groups.into_iter().zip(&self.scopes) {
                if group.metrics.is_empty() {
                    continue;
                }
                group.metrics.sort_by(|a, b| a.name.cmp(&b.name));
                scope_metrics.push(ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: name.clone(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics: group.metrics,
                    ..ScopeMetrics::default()
                });
            }
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

impl Group {
    /// The metric of this name; made where it is not there.
    fn named(&mut self, name: &str, unit: &str, empty: impl Fn() -> Data) -> usize {
        if let Some(position) = self.by_name.get(name) {
            return *position;
        }
        let position = self.metrics.len();
        self.by_name.insert(name.to_owned(), position);
        self.metrics.push(Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            data: Some(empty()),
            ..Metric::default()
        });
        position
    }

    /// The metric of a shape; `beside` 0 is the one named by it alone, others have a suffix.
    fn of_shape(&mut self, shape: &Arc<Shape>, beside: (u8, &str), empty: impl Fn() -> Data) -> usize {
        let (number, suffix) = beside;
        let key = (Arc::as_ptr(shape) as usize, number);
        if let Some(position) = self.by_shape.get(&key) {
            return *position;
        }
        let dot = if suffix.is_empty() { "" } else { "." };
        let name = format!("amazonaws.com/{}/{}{dot}{suffix}", shape.namespace, shape.metric);
        let position = self.named(&name, &ucum(&shape.unit), empty);
        self.by_shape.insert(key, position);
        self.shapes.push(Arc::clone(shape));
        position
    }

    fn data(&mut self, position: usize) -> Option<&mut Data> {
        self.metrics.get_mut(position)?.data.as_mut()
    }

    fn gauge_point(&mut self, position: usize, point: NumberDataPoint) {
        if let Some(Data::Gauge(gauge)) = self.data(position) {
            gauge.data_points.push(point);
        }
    }
}

/// The value of a statistic of a point.
fn value_of(point: &Settled, wanted: &Stat) -> Option<f64> {
    let statistics = &point.want.shape.statistics;
    let position = statistics.iter().position(|stat| stat == wanted)?;
    point.values.get(position).copied()
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
