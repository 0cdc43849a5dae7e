//! One series by GetMetricStatistics: free up to a number of requests a month, one metric a request.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Datapoint, Dimension, Statistic};

use super::fetch::{Line, Outcome};
use super::history::Answer;
use super::want::{Stat, Want};
use crate::aws::Failure;

/// Points in one answer.
pub const MAX_POINTS: i64 = 1_440;

/// What became of one question.
#[derive(Debug)]
pub struct Single {
    pub outcome: Outcome,
    /// AWS answered, and counts the request.
    pub counted: bool,
    pub failure: Option<Failure>,
}

/// Asks for the minutes from `from` to `to` of a series without percentiles.
pub async fn fetch_single(line: Line<'_>, want: &Want, window: (i64, i64)) -> Single {
    let mut call = line
        .client
        .get_metric_statistics()
        .namespace(&*want.shape.namespace)
        .metric_name(&*want.shape.metric)
        .period(i32::try_from(want.shape.period).unwrap_or(i32::MAX))
        .start_time(DateTime::from_secs(window.0))
        .end_time(DateTime::from_secs(window.1));
    for (name, value) in want.dimensions.iter() {
        call = call.dimensions(Dimension::builder().name(&**name).value(&**value).build());
    }
    for stat in &want.shape.statistics {
        call = call.statistics(Statistic::from(stat.name()));
    }
    match line.calls.send(|| call.send()).await {
        Ok(answer) => Single {
            outcome: Outcome::Complete(read(want, answer.datapoints())),
            counted: true,
            failure: None,
        },
        Err(failure) => Single {
            outcome: Outcome::Nothing,
            // It was answered, and counts, though we could not read it.
            counted: matches!(failure, Failure::Server { status, .. } if status < 300),
            failure: Some(failure),
        },
    }
}

/// The points in order of time: AWS keeps none.
fn read(want: &Want, points: &[Datapoint]) -> Answer {
    let mut sorted: Vec<(i64, &Datapoint)> = Vec::with_capacity(points.len());
    for point in points {
        if let Some(at) = point.timestamp() {
            sorted.push((at.secs(), point));
        }
    }
    sorted.sort_by_key(|(at, _)| *at);
    let mut answer = Answer::of_width(want.shape.statistics.len());
    for (at, point) in sorted {
        let values: Vec<f64> = want
            .shape
            .statistics
            .iter()
            .filter_map(|stat| value(point, stat))
            .filter(|value| value.is_finite())
            .collect();
        // A minute that only some statistics show is still on its way; `push` leaves it out.
        answer.push(at, values);
    }
    answer
}

fn value(point: &Datapoint, stat: &Stat) -> Option<f64> {
    match stat {
        Stat::Sum => point.sum(),
        Stat::SampleCount => point.sample_count(),
        Stat::Average => point.average(),
        Stat::Minimum => point.minimum(),
        Stat::Maximum => point.maximum(),
        Stat::Percentile(_) => None,
    }
}
