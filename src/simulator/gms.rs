//! CloudWatch's GetMetricStatistics: one metric, basic statistics or percentiles, free up to a number of requests.

use super::answer::{ApiError, Caller};
use super::cloudwatch::{buckets, dimensions};
use super::statistics::Statistic;
use super::value::Value;
use super::world::World;

/// Points in one answer.
const MAX_POINTS: i64 = 1_440;
const BASIC: [&str; 5] = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"];

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("InvalidParameterValue", message)
}

fn combination(message: impl Into<String>) -> ApiError {
    ApiError::sender("InvalidParameterCombination", message)
}

/// GetMetricStatistics at `now` (unix seconds).
pub fn get_metric_statistics(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let missing = |name: &str| {
        let text = format!("The parameter {name} is required.");
        ApiError::sender("MissingParameter", text)
    };
    let namespace = request.str("Namespace").ok_or_else(|| missing("Namespace"))?;
    let metric = request.str("MetricName").ok_or_else(|| missing("MetricName"))?;
    let start = request.time("StartTime").ok_or_else(|| missing("StartTime"))? as i64;
    let end = request.time("EndTime").ok_or_else(|| missing("EndTime"))? as i64;
    let period = request.int("Period").ok_or_else(|| missing("Period"))?;
    let statistics = wanted_statistics(request)?;
    if start >= end {
        return Err(combination(
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    if period <= 0 || (period % 60 != 0 && ![1, 5, 10, 20, 30].contains(&period)) {
        return Err(invalid(format!(
            "Period {period} is not valid: it must be 1, 5, 10, 20, 30 or a multiple of 60"
        )));
    }
    let asked = (end - start).div_euclid(period) + i64::from((end - start) % period != 0);
    if asked > MAX_POINTS {
        return Err(combination(format!(
            "You have requested up to {asked} datapoints, which exceeds the limit of 1,440. You may reduce the \
             datapoints requested by increasing Period, or decreasing the time range."
        )));
    }
    let dimensions = dimensions(request.list("Dimensions"));
    let series = world.find((&caller.account, &caller.region), namespace, metric, &dimensions);
    let found = series.map_or_else(Vec::new, |series| buckets(world, series, period, (start, end), now));
    let unit = unit_of(namespace, metric);
    let mut points = Vec::new();
    for (at, samples) in &found {
        let mut point = Value::map([("Timestamp", Value::Time(*at as f64)), ("Unit", Value::text(unit))]);
        let mut extended = Vec::new();
        for (name, statistic) in &statistics {
            let Some(value) = samples.get(*statistic) else { continue };
            if BASIC.contains(&name.as_str()) {
                point.push(name, Value::Float(value));
            } else {
                extended.push((name.clone(), Value::Float(value)));
            }
        }
        if !extended.is_empty() {
            point.push("ExtendedStatistics", Value::Map(extended));
        }
        points.push(point);
    }
    // The service promises no order, and keeps none.
    points.reverse();
    Ok(Value::map([
        ("Label", Value::text(metric)),
        ("Datapoints", Value::List(points)),
    ]))
}

fn wanted_statistics(request: &Value) -> Result<Vec<(String, Statistic)>, ApiError> {
    let names = |key: &str| -> Vec<String> {
        let list = request.list(key).iter();
        list.filter_map(|entry| match entry {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
    };
    let (basic, extended) = (names("Statistics"), names("ExtendedStatistics"));
    if basic.is_empty() == extended.is_empty() {
        let text = "Must specify either Statistics or ExtendedStatistics, but not both";
        return Err(combination(text));
    }
    if let Some(name) = basic.iter().find(|name| !BASIC.contains(&name.as_str())) {
        return Err(invalid(format!(
            "The value {name} for parameter Statistics is not supported."
        )));
    }
    if basic.len() > 5 || extended.len() > 10 {
        return Err(invalid("at most 5 Statistics or 10 ExtendedStatistics"));
    }
    let mut wanted = Vec::new();
    for name in basic.into_iter().chain(extended) {
        let known = Statistic::parse(&name);
        let statistic = known.ok_or_else(|| invalid(format!("The value {name} is not a statistic.")))?;
        wanted.push((name, statistic));
    }
    Ok(wanted)
}

#[cfg(feature = "aws")]
fn unit_of(namespace: &str, metric: &str) -> &'static str {
    let known = crate::aws::catalogue::catalogue().find(namespace, metric);
    known.map_or("None", |metric| metric.unit.as_str())
}

#[cfg(not(feature = "aws"))]
fn unit_of(_namespace: &str, _metric: &str) -> &'static str {
    "None"
}
