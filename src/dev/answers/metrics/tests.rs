//! Values of metrics against what can be computed by hand.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};

use super::*;
use crate::dev::answers::{Failure, Ns};
use crate::pdata::{Batch, Decoded, Origin};

const SECOND: u64 = 1_000_000_000;
const BASE: u64 = 1_700_000_000 * SECOND;

fn take(store: &Store, data: Data) {
    let metric = Metric {
        name: "m".to_owned(),
        unit: "ms".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    store.take(Batch::from_decoded(Decoded::Metrics(request), Origin::internal()));
}

fn point(second: u64, value: f64, route: &str) -> NumberDataPoint {
    let value_of = |text: &str| {
        Some(AnyValue {
            value: Some(Any::StringValue(text.to_owned())),
        })
    };
    NumberDataPoint {
        attributes: vec![KeyValue {
            key: "route".to_owned(),
            value: value_of(route),
            ..KeyValue::default()
        }],
        start_time_unix_nano: BASE,
        time_unix_nano: BASE + second * SECOND,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn counter(points: Vec<NumberDataPoint>, temporality: i32) -> Data {
    Data::Sum(Sum {
        data_points: points,
        aggregation_temporality: temporality,
        is_monotonic: true,
    })
}

fn ask(store: &Store, made: As, by: &[&str], points: usize) -> Result<MetricSeries, Failure> {
    let metric = MetricAsk {
        name: "m".to_owned(),
        made,
        by: by.iter().map(|key| (*key).to_owned()).collect(),
        points,
    };
    query(store, &Ask::all("", 100, BASE)?, &metric)
}

fn values(series: &MetricSeries) -> Vec<Option<f64>> {
    series.series[0].points.iter().map(|(_, value)| *value).collect()
}

#[test]
fn the_rate_of_a_counter_knows_resets_and_exports_that_come_twice() {
    let store = Store::default();
    take(&store, counter(vec![point(10, 100.0, "a"), point(20, 150.0, "a")], 2));
    // Again, as at a shutdown: the last wins.
    take(&store, counter(vec![point(20, 160.0, "a")], 2));
    take(&store, counter(vec![point(30, 20.0, "a")], 2));
    let rate = ask(&store, As::Rate, &[], 600).unwrap();
    assert_eq!(values(&rate), [Some(6.0), Some(2.0)]);
    assert_eq!(rate.series[0].resets, [Ns(BASE + 30 * SECOND)]);
    let books = store.books(Signal::Metrics);
    assert_eq!((books.received, books.stored, books.dropped), (4, 3, 1));
    assert_eq!((store.rows(Signal::Metrics), store.series().count()), (3, 1));
    let list = metrics(&store, &Ask::all("", 10, BASE).unwrap());
    assert_eq!(
        (list.metrics[0].points, list.metrics[0].series, list.metrics[0].last),
        (3, 1, Some(20.0))
    );
}

#[test]
fn deltas_are_taken_as_they_are_and_series_are_summed_by_a_label() {
    let store = Store::default();
    for (route, value) in [("a", 5.0), ("b", 7.0)] {
        take(
            &store,
            counter(vec![point(10, value, route), point(20, value * 2.0, route)], 1),
        );
    }
    let both = ask(&store, As::Delta, &["service"], 2).unwrap();
    assert_eq!(values(&both), [Some(12.0), Some(24.0)]);
    let apart = ask(&store, As::Delta, &[], 2).unwrap();
    assert_eq!((apart.series.len(), apart.series[1].labels["route"].as_str()), (2, "b"));
    assert_eq!(values(&apart), [Some(5.0), Some(10.0)]);
}

#[test]
fn of_many_points_the_extremes_and_the_gaps_stay() {
    let store = Store::default();
    let mut points: Vec<NumberDataPoint> = (0..5_000).map(|at| point(at, (at % 10) as f64, "a")).collect();
    points[1_234].value = Some(Number::AsDouble(-77.0));
    points[4_321].value = Some(Number::AsDouble(99.0));
    points[2_000].value = Some(Number::AsDouble(f64::NAN));
    points[3_000].flags = 1;
    take(&store, Data::Gauge(Gauge { data_points: points }));
    let drawn = ask(&store, As::Value, &[], 100).unwrap();
    let drawn = values(&drawn);
    assert!(drawn.len() <= 500, "{}", drawn.len());
    assert!(drawn.contains(&Some(-77.0)) && drawn.contains(&Some(99.0)) && drawn.contains(&None));
}

fn histogram(second: u64, counts: &[u64]) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: BASE,
        time_unix_nano: BASE + second * SECOND,
        count: counts.iter().sum(),
        sum: Some(1.0),
        bucket_counts: counts.to_vec(),
        explicit_bounds: vec![10.0, 20.0],
        exemplars: vec![Exemplar {
            time_unix_nano: BASE + second * SECOND,
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            ..Exemplar::default()
        }],
        ..HistogramDataPoint::default()
    }
}

#[test]
fn quantiles_are_of_what_came_in_the_stretch_not_of_all_before() {
    let store = Store::default();
    let points = vec![
        histogram(10, &[100, 0, 0]),
        histogram(20, &[100, 40, 0]),
        histogram(30, &[100, 40, 8]),
    ];
    take(
        &store,
        Data::Histogram(Histogram {
            data_points: points,
            aggregation_temporality: 2,
        }),
    );
    let median = ask(&store, As::Quantile(0.5), &[], 600).unwrap();
    assert_eq!(values(&median), [Some(15.0), Some(20.0)]);
    let heat = ask(&store, As::Heatmap, &[], 600).unwrap().heatmap.unwrap();
    let sums: Vec<f64> = heat.columns.iter().map(|column| column.counts.iter().sum()).collect();
    assert_eq!(sums.iter().sum::<f64>(), 48.0);
    assert_eq!(heat.bounds, [20.0, 40.0]);
    let exemplars = ask(&store, As::Rate, &[], 600).unwrap().exemplars;
    assert_eq!(exemplars.len(), 3);
}

#[test]
fn exponential_histograms_of_different_scales_are_merged_at_the_coarser() {
    let exponential = |second: u64, scale: i32, offset: i32, counts: &[u64]| ExponentialHistogramDataPoint {
        start_time_unix_nano: BASE + (second - 1) * SECOND,
        time_unix_nano: BASE + second * SECOND,
        count: counts.iter().sum(),
        scale,
        positive: Some(Buckets {
            offset,
            bucket_counts: counts.to_vec(),
        }),
        ..ExponentialHistogramDataPoint::default()
    };
    let store = Store::default();
    // At scale 0 the bucket (4, 8]; at scale 1 two buckets that are the same together.
    let points = vec![exponential(10, 0, 2, &[10]), exponential(11, 1, 4, &[5, 5])];
    take(
        &store,
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: points,
            aggregation_temporality: 1,
        }),
    );
    let heat = ask(&store, As::Heatmap, &[], 1).unwrap().heatmap.unwrap();
    assert_eq!(heat.bounds, [8.0]);
    assert_eq!(heat.columns[0].counts, [20.0]);
    let median = ask(&store, As::Quantile(0.5), &[], 1).unwrap();
    assert_eq!(values(&median), [Some(6.0)]);
}

#[test]
fn a_gauge_has_no_distribution_and_an_unknown_name_no_points() {
    let store = Store::default();
    take(
        &store,
        Data::Gauge(Gauge {
            data_points: vec![point(1, 1.0, "a")],
        }),
    );
    assert!(matches!(ask(&store, As::Heatmap, &[], 10), Err(Failure::Bad(_))));
    let metric = MetricAsk {
        name: "other".to_owned(),
        made: As::Value,
        by: Vec::new(),
        points: 10,
    };
    assert!(matches!(
        query(&store, &Ask::all("", 1, BASE).unwrap(), &metric),
        Err(Failure::Missing(_))
    ));
}
