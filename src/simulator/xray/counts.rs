//! X-Ray's own metric in CloudWatch: `ApproximateTraceCount` of the group `Default`. Traces that were sent are counted by the
//! minute of their first segment, generated ones by their number: nothing is built for it, however many there are.

use super::super::answer::ApiError;
use super::super::scenario::Scenario;
use super::super::value::Value;
use super::State;
use super::load::Load;
use super::store::{Trace, View};

/// Whether a GetMetricData is about X-Ray's metrics: all of its queries are.
pub fn is_about_xray(request: &Value) -> bool {
    let queries = request.list("MetricDataQueries");
    let namespace = |query: &Value| {
        let metric = query.get("MetricStat")?.get("Metric")?;
        Some(metric.str("Namespace")? == "AWS/X-Ray")
    };
    !queries.is_empty() && queries.iter().all(|query| namespace(query) == Some(true))
}

impl State {
    /// The answer and the metrics it is billed for.
    pub fn metric_data(
        &self,
        scenario: &Scenario,
        region: &str,
        request: &Value,
        now: f64,
    ) -> Result<(Value, u64), ApiError> {
        let invalid = |message: &str| ApiError::sender("ValidationError", message);
        let (Some(start), Some(end)) = (request.time("StartTime"), request.time("EndTime")) else {
            return Err(invalid("StartTime and EndTime are required"));
        };
        if start >= end {
            return Err(invalid(
                "The parameter StartTime must be less than the parameter EndTime.",
            ));
        }
        let mut results = Vec::new();
        for query in request.list("MetricDataQueries") {
            let stat = query.get("MetricStat");
            let period = stat.and_then(|stat| stat.int("Period")).unwrap_or_default();
            if period < 60 || period % 60 != 0 {
                return Err(invalid("Period must be a multiple of 60"));
            }
            let name = stat.and_then(|stat| stat.get("Metric")?.str("MetricName"));
            let points = if name == Some("ApproximateTraceCount") {
                self.traces_by(scenario, region, period, (start, end.min(now)))
            } else {
                Vec::new()
            };
            let points = points.iter().rev();
            results.push(Value::map([
                ("Id", Value::text(query.str("Id").unwrap_or_default())),
                ("Label", Value::text("ApproximateTraceCount")),
                (
                    "Timestamps",
                    Value::List(points.clone().map(|(at, _)| Value::Time(*at as f64)).collect()),
                ),
                (
                    "Values",
                    Value::List(points.map(|(_, count)| Value::Float(*count as f64)).collect()),
                ),
                ("StatusCode", Value::text("Complete")),
            ]));
        }
        let units = results.len() as u64;
        let answer = Value::map([
            ("MetricDataResults", Value::List(results)),
            ("Messages", Value::List(Vec::new())),
        ]);
        Ok((answer, units))
    }

    /// Traces by the beginning of each period, oldest first.
    fn traces_by(&self, scenario: &Scenario, region: &str, period: i64, range: (f64, f64)) -> Vec<(i64, u64)> {
        let load = Load::new(scenario);
        let begin = scenario.start as i64;
        let mut counts = std::collections::BTreeMap::new();
        let mut add = |at: i64, count: u64| {
            if count > 0 && range.0 <= at as f64 && (at as f64) < range.1 {
                *counts.entry(at - at.rem_euclid(period)).or_insert(0) += count;
            }
        };
        if region == scenario.xray.region {
            let minute = |at: f64| (at as i64 - begin).div_euclid(60);
            for minute in minute(range.0)..=minute(range.1) {
                add(begin + 60 * minute, u64::from(load.count(minute)));
            }
        }
        let view = View {
            store: &self.store,
            scenario,
            now: f64::MAX,
        };
        for id in self.store.ids().filter(|id| load.place_of(id).is_none()) {
            let trace = Trace {
                id: id.clone(),
                arrivals: view.all(id),
            };
            let start = trace.start();
            if start.is_finite() {
                add(start as i64 / 60 * 60, 1);
            }
        }
        counts.into_iter().collect()
    }
}
