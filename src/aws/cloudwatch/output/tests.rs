use super::*;
use crate::aws::catalogue::Kind;
use crate::aws::cloudwatch::history::Why;
use crate::aws::cloudwatch::tracks::Running;
use crate::aws::cloudwatch::want::{Class, SeriesId, Want};

fn point(kind: Kind, unit: &str, values: &[(&str, f64)]) -> Settled {
    let series = SeriesId::new("AWS/X", "M", &[("b", "2"), ("a", "1")]);
    Settled {
        want: Want {
            shape: Arc::new(Shape {
                namespace: series.namespace,
                metric: series.metric,
                kind,
                unit: unit.into(),
                statistics: values.iter().map(|(name, _)| Stat::parse(name)).collect(),
                period: 60,
                class: Class::Core,
                fill: false,
                heartbeat: false,
            }),
            dimensions: series.dimensions,
            resource: "r".into(),
            exists_from: 0,
        },
        at: 600,
        values: values.iter().map(|(_, value)| *value).collect(),
        why: Why::First,
        running: None,
    }
}

fn metrics(builder: Builder) -> Vec<Metric> {
    let request = builder.finish(|_| Resource::default());
    let scopes = request
        .resource_metrics
        .into_iter()
        .flat_map(|group| group.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn summary_of(attributes: &[KeyValue]) -> String {
    format!("{attributes:?}")
}

#[test]
fn a_stream_s_summary_has_count_sum_and_quantiles_in_order() {
    let values = [
        ("SampleCount", 4.0),
        ("Sum", 20.0),
        ("Minimum", 2.0),
        ("Maximum", 9.0),
        ("p99.9", 8.9),
        ("p99", 8.0),
    ];
    let mut builder = Builder::of_form("x", OutputForm::MetricStreams, false);
    builder.add(&point(Kind::Histogram, "Milliseconds", &values));
    let metrics = metrics(builder);
    assert_eq!(
        (metrics[0].name.as_str(), metrics[0].unit.as_str()),
        ("amazonaws.com/AWS/X/M", "ms")
    );
    let Some(Data::Summary(summary)) = &metrics[0].data else {
        panic!("{metrics:?}");
    };
    let point = &summary.data_points[0];
    let quantiles: Vec<(f64, f64)> = point.quantile_values.iter().map(|at| (at.quantile, at.value)).collect();
    assert_eq!(quantiles, [(0.0, 2.0), (0.99, 8.0), (0.999, 8.9), (1.0, 9.0)]);
    assert_eq!((point.count, point.sum), (4, 20.0));
    assert_eq!(
        (point.start_time_unix_nano, point.time_unix_nano),
        (600_000_000_000, 660_000_000_000)
    );
    let names: Vec<&str> = point.attributes.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(names, ["Namespace", "MetricName", "Dimensions"]);
    assert!(summary_of(&point.attributes).contains("KvlistValue"));
}

#[test]
fn a_gauge_per_statistic_names_it() {
    let mut builder = Builder::of_form("x", OutputForm::GaugePerStat, false);
    builder.add(&point(Kind::SumDelta, "Count", &[("Sum", 3.0), ("p99", 2.0)]));
    let metrics = metrics(builder);
    assert_eq!(metrics.len(), 1);
    let Some(Data::Gauge(gauge)) = &metrics[0].data else {
        panic!("{metrics:?}");
    };
    let stats: Vec<String> = gauge
        .data_points
        .iter()
        .map(|point| format!("{:?}", point.attributes.last().unwrap()))
        .collect();
    assert!(
        stats[0].contains("\"Sum\"") && stats[1].contains("\"p99\""),
        "{stats:?}"
    );
}

#[test]
fn sums_that_grow_begin_where_they_began_and_never_run_back_in_time() {
    let mut late = point(Kind::SumDelta, "Count", &[("Sum", 3.0)]);
    late.running = Some(Running {
        start: 0,
        sum: 10.0,
        count: 0.0,
        until: 720,
    });
    let mut builder = Builder::of_form("x", OutputForm::Typed, true);
    builder.add(&late);
    let metrics = metrics(builder);
    let Some(Data::Sum(sum)) = &metrics[0].data else {
        panic!("{metrics:?}");
    };
    assert_eq!(sum.aggregation_temporality, 2);
    let point = &sum.data_points[0];
    assert_eq!(point.value, Some(Number::AsDouble(13.0)));
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (0, 720_000_000_000));
}

#[test]
fn a_percentage_shows_its_maximum_beside_it() {
    let mut builder = Builder::new("x");
    builder.add(&point(Kind::Gauge, "Percent", &[("Average", 3.0), ("Maximum", 9.0)]));
    builder.add(&point(Kind::Gauge, "Count", &[("Average", 3.0), ("Maximum", 9.0)]));
    let metrics = metrics(builder);
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["amazonaws.com/AWS/X/M", "amazonaws.com/AWS/X/M.max"]);
}
