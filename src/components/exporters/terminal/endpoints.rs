//! What is known of each SageMaker endpoint, and its lines.

use std::collections::BTreeMap;

use super::board::{Dated, duration, grouped, put, text};
use crate::component::console::{ALARM, BOLD, PLAIN};
use crate::wire::{Point, WireError};

/// Endpoints that are shown; more are left out.
const MAX_ENDPOINTS: usize = 100;
/// From here on the GPUs have no headroom, percent.
const BUSY: f64 = 90.0;

#[derive(Clone, Debug, Default)]
struct Endpoint {
    /// Percent of all GPUs.
    gpu: Option<Dated>,
    /// Microseconds.
    mean: Option<Dated>,
    p99: Option<Dated>,
    /// Per second.
    requests: Option<Dated>,
    /// The largest share of errors of any type.
    errors: BTreeMap<String, Dated>,
    instances: Option<Dated>,
}

/// All endpoints, by name and variant.
#[derive(Debug, Default)]
pub struct Endpoints {
    endpoints: BTreeMap<String, Endpoint>,
    newest: u64,
    pub changed: bool,
    lines_since_header: usize,
}

impl Endpoints {
    /// Takes a point, if it is one of an endpoint's variant.
    pub fn point(&mut self, metric: &str, point: &Point<'_>) -> Result<(), WireError> {
        let Point::Number(number) = point else { return Ok(()) };
        let Some(value) = number.value()? else { return Ok(()) };
        let Some(name) = text(point.attribute("EndpointName")?) else {
            return Ok(());
        };
        let by_part = [
            "InstanceId",
            "ContainerName",
            "AvailabilityZone",
            "InferenceComponentName",
        ];
        for part in by_part {
            if point.attribute(part)?.is_some() {
                return Ok(());
            }
        }
        if !self.endpoints.contains_key(&name) && self.endpoints.len() >= MAX_ENDPOINTS {
            return Ok(());
        }
        let (time, value) = (point.time_unix_nano()?, value.as_f64());
        let seconds = time.saturating_sub(point.start_time_unix_nano()?).max(1) as f64 / 1e9;
        let kind = text(point.attribute("Type")?)
            .or(text(point.attribute("State")?))
            .unwrap_or_default();
        let known = |metric: &str| {
            matches!(
                metric,
                "aws.sagemaker.gpu.utilization"
                    | "aws.sagemaker.latency.total_mean"
                    | "aws.sagemaker.latency.total_p99_upper"
                    | "aws.sagemaker.error_ratio"
                    | "amazonaws.com/AWS/SageMaker/Invocations"
            ) || (metric == "aws.sagemaker.instances" && kind == "current")
        };
        if !known(metric) {
            return Ok(());
        }
        let endpoint = self.endpoints.entry(name).or_default();
        match metric {
            "aws.sagemaker.gpu.utilization" => put(&mut endpoint.gpu, time, value),
            "aws.sagemaker.latency.total_mean" => put(&mut endpoint.mean, time, value),
            "aws.sagemaker.latency.total_p99_upper" => put(&mut endpoint.p99, time, value),
            "aws.sagemaker.instances" => put(&mut endpoint.instances, time, value),
            "aws.sagemaker.error_ratio" => {
                endpoint.errors.entry(kind).or_default().put(time, value);
                true
            }
            _ => put(&mut endpoint.requests, time, value / seconds),
        };
        // The number of instances is of this moment and says nothing of how far the others are known.
        if metric != "aws.sagemaker.instances" {
            self.newest = self.newest.max(time);
            self.changed = true;
        }
        Ok(())
    }

    /// A line for each endpoint, with a heading now and then; nothing without endpoints.
    pub fn lines(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::take(&mut self.changed) {
            return text;
        }
        if self.lines_since_header == 0 || self.lines_since_header > 20 {
            self.lines_since_header = 0;
            text.push_str(&format!(
                "\n{BOLD}{:<6} {:<18} {:<17} {:<17} {:>9}   {}{PLAIN}\n",
                "time", "endpoint", "GPUs used", "requests", "errors", "latency: mean, p99 at most"
            ));
        }
        let minutes = self.newest / 60_000_000_000;
        let mut time = format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        for (name, endpoint) in &self.endpoints {
            let value = |dated: Option<Dated>| dated.map(|dated| dated.value);
            let busy = value(endpoint.gpu).is_some_and(|percent| percent >= BUSY);
            let gpu = match (value(endpoint.gpu), value(endpoint.instances)) {
                (Some(percent), Some(instances)) => format!("{percent:.0} % of {instances:.0} inst."),
                (Some(percent), None) => format!("{percent:.0} %"),
                (None, _) => "-".to_owned(),
            };
            let requests = value(endpoint.requests).map_or("-".to_owned(), |rate| format!("{}/s", grouped(rate)));
            let share = endpoint.errors.values().map(|dated| dated.value).fold(0.0, f64::max);
            let errors = if share > 0.0 {
                format!("{:.1} %", share * 100.0)
            } else {
                "-".to_owned()
            };
            let time_of = |dated: Option<Dated>| value(dated).map(|micros| duration(micros / 1_000.0));
            let latency: Vec<String> = [time_of(endpoint.mean), time_of(endpoint.p99)]
                .into_iter()
                .flatten()
                .collect();
            let latency = latency.join(", ");
            let line = format!("{time:<6} {name:<18} {gpu:<17} {requests:<17} {errors:>9}   {latency:<20}");
            if busy {
                text.push_str(&format!("{ALARM}{line} <- GPUs saturated{PLAIN}"));
            } else {
                text.push_str(line.trim_end());
            }
            text.push('\n');
            time.clear();
            self.lines_since_header += 1;
        }
        text
    }
}
