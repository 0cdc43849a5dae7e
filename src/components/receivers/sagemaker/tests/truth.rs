//! What comes out is what finally was true: every point once.

use super::*;
use crate::aws::catalogue::{Kind as MetricKind, catalogue};

/// Name, attributes, start.
type Point = (String, Vec<(String, String)>, i64);

#[tokio::test]
async fn every_point_of_a_fleet_with_late_data_comes_out_once_and_right() {
    let mut world = Scenario::named("everything").unwrap();
    world.lag = Lag {
        max_s: 800.0,
        ..Lag::default()
    };
    let mut bench = Bench::start(world, "settle: strict").await;
    bench.run_to(65).await;
    let world = bench.simulator.world();
    let mut points: BTreeMap<Point, Vec<f64>> = BTreeMap::new();
    for ((_, name, attributes, start), values) in bench.sink.points.lock().unwrap().iter() {
        points
            .entry((name.clone(), attributes.clone(), *start))
            .or_default()
            .extend(values);
    }
    let (mut right, mut wrong) = (0, Vec::new());
    for series in world
        .series()
        .iter()
        .filter(|series| series.namespace.to_lowercase().contains("sagemaker"))
    {
        let names: Vec<&str> = series.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        let metric = catalogue().lookup(&series.namespace, &series.metric, &names).unwrap();
        // The endpoint that publishes every ten seconds is read by the minute; its sums are compared in another test.
        // Hourly points settle with the second hour.
        if series.period != i64::from(metric.period_s) || series.period > 300 {
            continue;
        }
        let name = format!("amazonaws.com/{}/{}", series.namespace, series.metric);
        for at in (bench.start..bench.start + 60 * 45).step_by(series.period as usize) {
            let samples = world.final_samples(series, at - at.rem_euclid(series.period));
            let get = |statistic: &str| samples.get(Statistic::parse(statistic).unwrap());
            let expected = match metric.otel_kind {
                MetricKind::SumDelta | MetricKind::Histogram => get("Sum"),
                MetricKind::Gauge if metric.lists("Average") => get("Average"),
                MetricKind::Gauge if metric.lists("Maximum") => get("Maximum"),
                MetricKind::Gauge => get("Sum"),
            };
            let at = at - at.rem_euclid(series.period);
            let key = (name.clone(), series.dimensions.clone(), at);
            let got = points.get(&key).cloned().unwrap_or_default();
            match (expected, got.as_slice()) {
                (None, []) => {}
                (Some(value), [got]) if (value - got).abs() < 1e-6 * value.abs().max(1.0) => right += 1,
                _ => wrong.push((
                    series.metric.clone(),
                    series.dimensions.clone(),
                    bench.minute(at),
                    expected,
                    got,
                )),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, e.g. {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    assert!(right > 3_000, "{right}");
}
