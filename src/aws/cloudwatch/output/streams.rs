//! The two forms that keep CloudWatch's own view: a Summary a point, as Metric Streams write them (CloudWatch's
//! OpenTelemetry 1.0.0 format), or a gauge point a statistic. Both have the attributes Namespace, MetricName and
//! Dimensions.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, NumberDataPoint, Summary, SummaryDataPoint};

use super::{Builder, OWN, nanos, text, value_of};
use crate::aws::cloudwatch::tracks::Settled;
use crate::aws::cloudwatch::want::Stat;

const MAIN: (u8, &str) = (0, "");

fn attributes(point: &Settled) -> Vec<KeyValue> {
    let dimensions = point.want.dimensions.iter();
    let list = KeyValueList {
        values: dimensions.map(|(name, value)| text(name, value)).collect(),
    };
    vec![
        text("Namespace", &point.want.shape.namespace),
        text("MetricName", &point.want.shape.metric),
        KeyValue {
            key: "Dimensions".to_owned(),
            value: Some(AnyValue {
                value: Some(Any::KvlistValue(list)),
            }),
            ..KeyValue::default()
        },
    ]
}

pub(super) fn add_summary(builder: &mut Builder, point: &Settled) {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let mut quantiles = Vec::new();
    quantiles.extend(value_of(point, &Stat::Minimum).map(|value| quantile(0.0, value)));
    for (stat, value) in point.want.shape.statistics.iter().zip(&point.values) {
        if let Some(share) = share(stat) {
            quantiles.push(quantile(share, *value));
        }
    }
    quantiles.extend(value_of(point, &Stat::Maximum).map(|value| quantile(1.0, value)));
    quantiles.sort_by(|a, b| a.quantile.total_cmp(&b.quantile));
    let summary = SummaryDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: nanos(point.at),
        time_unix_nano: nanos(point.end()),
        count: value_of(point, &Stat::SampleCount).unwrap_or(0.0).max(0.0).round() as u64,
        sum: value_of(point, &Stat::Sum).unwrap_or(0.0),
        quantile_values: quantiles,
        ..SummaryDataPoint::default()
    };
    let group = builder.group(&point.want.resource, OWN);
    let position = group.of_shape(&point.want.shape, MAIN, || Data::Summary(Summary::default()));
    if let Some(Data::Summary(data)) = group.data(position) {
        data.data_points.push(summary);
    }
}

/// `p99.9` as 0.999.
fn share(stat: &Stat) -> Option<f64> {
    let Stat::Percentile(name) = stat else { return None };
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    // Written as decimals: 99.9 / 100 would be 0.9990000000000001.
    format!("{:.6}", percent / 100.0).parse().ok()
}

pub(super) fn add_gauges(builder: &mut Builder, point: &Settled) {
    for (stat, value) in point.want.shape.statistics.iter().zip(&point.values) {
        let mut attributes = attributes(point);
        attributes.push(text("stat", stat.name()));
        let number = NumberDataPoint {
            attributes,
            start_time_unix_nano: nanos(point.at),
            time_unix_nano: nanos(point.end()),
            value: Some(Number::AsDouble(*value)),
            ..NumberDataPoint::default()
        };
        let group = builder.group(&point.want.resource, OWN);
        let position = group.of_shape(&point.want.shape, MAIN, || Data::Gauge(Gauge::default()));
        group.gauge_point(position, number);
    }
}
