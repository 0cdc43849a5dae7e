//! Sums, gauges and histograms by what a metric is; names as Metric Streams write them, dimensions flat.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, NumberDataPoint, Sum,
};

use super::{Builder, Group, OWN, nanos, text, value_of};
use crate::aws::catalogue::Kind;
use crate::aws::cloudwatch::tracks::{Running, Settled};
use crate::aws::cloudwatch::want::Stat;

/// What stands beside the metric named by the shape alone: `.max`, then the percentiles.
const MAIN: (u8, &str) = (0, "");
const MAX: (u8, &str) = (1, "max");
const PERCENTILES: u8 = 2;

/// From when to when a number counts, and what it comes to.
struct Span {
    start: i64,
    time: i64,
    sum: f64,
    count: f64,
}

fn attributes(point: &Settled) -> Vec<KeyValue> {
    let dimensions = point.want.dimensions.iter();
    dimensions.map(|(name, value)| text(name, value)).collect()
}

fn level(point: &Settled, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: nanos(point.at),
        time_unix_nano: nanos(point.end()),
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// What a sum says: the period's own, or what it has grown to.
fn span(point: &Settled, sum: f64, count: f64, running: Option<Running>) -> Span {
    match running {
        None => Span {
            start: point.at,
            time: point.end(),
            sum,
            count,
        },
        Some(before) => Span {
            start: before.start.min(point.at),
            // A late value is shown in the total, at the time that was reached: time does not run back.
            time: point.end().max(before.until),
            sum: before.sum + sum,
            count: before.count + count,
        },
    }
}

pub(super) fn add(builder: &mut Builder, point: &Settled) {
    let temporality = if builder.cumulative {
        AggregationTemporality::Cumulative
    } else {
        AggregationTemporality::Delta
    } as i32;
    let running = point.running.filter(|_| builder.cumulative);
    let shape = &point.want.shape;
    let group = builder.group(&point.want.resource, OWN);
    let (average, count) = (value_of(point, &Stat::Average), value_of(point, &Stat::SampleCount));
    let sum = value_of(point, &Stat::Sum).or_else(|| Some(average? * count?));
    match (shape.kind, sum, count) {
        (Kind::SumDelta, Some(sum), _) => {
            let position = group.of_shape(shape, MAIN, || {
                Data::Sum(Sum {
                    data_points: Vec::new(),
                    aggregation_temporality: temporality,
                    is_monotonic: true,
                })
            });
            let span = span(point, sum, 0.0, running);
            if let Some(Data::Sum(data)) = group.data(position) {
                data.data_points.push(NumberDataPoint {
                    start_time_unix_nano: nanos(span.start),
                    time_unix_nano: nanos(span.time),
                    ..level(point, span.sum)
                });
            }
        }
        (Kind::Histogram, Some(sum), Some(count)) => {
            let position = group.of_shape(shape, MAIN, || {
                Data::Histogram(Histogram {
                    data_points: Vec::new(),
                    aggregation_temporality: temporality,
                })
            });
            let span = span(point, sum, count, running);
            if let Some(Data::Histogram(data)) = group.data(position) {
                data.data_points.push(histogram(point, &span, running.is_some()));
            }
        }
        _ => levels(group, point, average, sum),
    }
    for (number, (stat, value)) in shape.statistics.iter().zip(&point.values).enumerate() {
        if let Stat::Percentile(percentile) = stat {
            let beside = (PERCENTILES + number.min(200) as u8, percentile.as_str());
            let position = group.of_shape(shape, beside, || Data::Gauge(Gauge::default()));
            group.gauge_point(position, level(point, *value));
        }
    }
}

fn histogram(point: &Settled, span: &Span, cumulative: bool) -> HistogramDataPoint {
    let count = span.count.max(0.0).round() as u64;
    // Those of one period are not those of all since the start.
    let of_period = |stat| value_of(point, &stat).filter(|_| !cumulative);
    HistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: nanos(span.start),
        time_unix_nano: nanos(span.time),
        count,
        sum: Some(span.sum),
        // No bounds: one bucket holds all.
        bucket_counts: vec![count],
        explicit_bounds: Vec::new(),
        min: of_period(Stat::Minimum),
        max: of_period(Stat::Maximum),
        ..HistogramDataPoint::default()
    }
}

fn levels(group: &mut Group, point: &Settled, average: Option<f64>, sum: Option<f64>) {
    let shape = &point.want.shape;
    let maximum = value_of(point, &Stat::Maximum);
    if let Some(value) = average.or(maximum).or(sum) {
        let position = group.of_shape(shape, MAIN, || Data::Gauge(Gauge::default()));
        group.gauge_point(position, level(point, value));
    }
    let watched = &*shape.unit == "Percent" || shape.kind == Kind::Histogram;
    if let Some(maximum) = maximum.filter(|_| average.is_some() && watched) {
        let position = group.of_shape(shape, MAX, || Data::Gauge(Gauge::default()));
        group.gauge_point(position, level(point, maximum));
    }
}
