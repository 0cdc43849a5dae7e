//! `/_sim/`: the clock, the faults, the bill, the calls and the truth, for tests in other languages and for curious
//! users of the demo.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::server::plain;
use super::statistics::Statistic;
use super::{Fault, Scenario, Simulator};
use crate::component::Clock;

/// Minutes that one answer of `truth` may span.
const MAX_TRUTH_MINUTES: i64 = 24 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockCommand {
    step_s: Option<f64>,
    rate: Option<f64>,
    /// By how much the `Date` of answers is wrong.
    skew_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TablesCommand {
    /// Makes a table with the keys of MLflow's store.
    create_mlflow: Option<MlflowTable>,
    /// How late items go whose time has passed.
    ttl_delay_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MlflowTable {
    region: String,
    name: String,
}

/// Answers one control request. An empty body reads, a JSON body changes.
pub(super) async fn answer(simulator: &Simulator, command: &str, query: &str, body: &[u8]) -> Response {
    let answered = match command {
        "clock" => clock(simulator, body),
        "faults" => read::<Vec<Fault>>(body).map(|faults| {
            let planned = faults.len();
            simulator.set_faults(faults);
            json!({"planned": planned})
        }),
        "scenario" => scenario(simulator, body),
        "bill" => {
            let mut bill = simulator.bill().to_json();
            bill["baseline"] = json!(simulator.baseline());
            Ok(bill)
        }
        "calls" => Ok(json!(simulator.calls())),
        "sns" => Ok(json!(simulator.publications())),
        "tables" => tables(simulator, body),
        "truth" => truth(simulator, query),
        "xray" => simulator
            .xray
            .control(&simulator.world().scenario, simulator.now_s(), body),
        "xray/truth" => xray_truth(simulator, query),
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                "clock, faults, scenario, bill, calls, sns, tables, truth, xray, xray/truth",
            );
        }
    };
    let (status, json) = match answered {
        Ok(json) => (StatusCode::OK, json),
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error})),
    };
    let mut response = plain(status, &json.to_string());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn clock(simulator: &Simulator, body: &[u8]) -> Result<Json, String> {
    if !body.is_empty() {
        let command: ClockCommand = read(body)?;
        if let Some(rate) = command.rate {
            simulator.clock().set_rate(rate);
        }
        if let Some(skew) = command.skew_s {
            simulator.set_skew(skew);
        }
        if let Some(step) = command.step_s {
            let step = Duration::try_from_secs_f64(step).map_err(|error| error.to_string())?;
            simulator.clock().step(step);
        }
    }
    Ok(json!({"now": simulator.clock().now().0 as f64 / 1e9, "rate": simulator.clock().rate()}))
}

fn scenario(simulator: &Simulator, body: &[u8]) -> Result<Json, String> {
    if !body.is_empty() {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let scenario = match Scenario::named(text.trim()) {
            Some(shipped) => shipped,
            None => Scenario::from_yaml(text)?,
        };
        simulator.reset(scenario);
    }
    let world = simulator.world();
    Ok(json!({"name": world.scenario.name, "start": world.scenario.start, "series": world.series().len()}))
}

/// How many items each table has.
fn tables(simulator: &Simulator, body: &[u8]) -> Result<Json, String> {
    let account = simulator.world().scenario.account.clone();
    let now = simulator.now_s();
    let mut tables = simulator.tables();
    if !body.is_empty() {
        let command: TablesCommand = read(body)?;
        if let Some(delay) = command.ttl_delay_s {
            tables.ttl_delay_s = delay;
        }
        if let Some(table) = command.create_mlflow {
            tables.create_mlflow(&account, &table.region, &table.name);
        }
    }
    Ok(json!(tables.counts(now)))
}

/// `?from=<unix seconds>&to=<unix seconds>`: every span of the traces that start there, whenever they arrive.
fn xray_truth(simulator: &Simulator, query: &str) -> Result<Json, String> {
    let (from, to) = (bound(query, "from")?, bound(query, "to")?);
    if to.saturating_sub(from) > 60 * MAX_TRUTH_MINUTES {
        return Err(format!("at most {MAX_TRUTH_MINUTES} minutes"));
    }
    let mut traces = serde_json::Map::new();
    for (id, spans) in simulator.true_spans(from as f64, to as f64) {
        let spans = spans.iter();
        let spans = spans.map(|span| json!({"id": span.id, "name": span.name, "open": span.open}));
        traces.insert(id, spans.collect());
    }
    Ok(json!({"traces": traces}))
}

fn bound(query: &str, name: &str) -> Result<i64, String> {
    let text = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .ok_or_else(|| format!("{name} is missing"))?;
    text.parse().map_err(|_| format!("{name} is not a number of seconds"))
}

/// `?from=<unix seconds>&to=<unix seconds>`: the final five statistics of every point.
fn truth(simulator: &Simulator, query: &str) -> Result<Json, String> {
    let (from, to) = (bound(query, "from")?, bound(query, "to")?);
    if to.saturating_sub(from) > 60 * MAX_TRUTH_MINUTES {
        return Err(format!("at most {MAX_TRUTH_MINUTES} minutes"));
    }
    let world = simulator.world();
    let mut points = Vec::new();
    for series in world.series() {
        let mut at = from - from.rem_euclid(series.period);
        while at < to {
            let samples = world.final_samples(series, at);
            if !samples.is_empty() && at >= from {
                points.push(json!({
                    "account": series.account, "region": series.region, "namespace": series.namespace,
                    "metric": series.metric, "dimensions": series.dimensions, "at": at, "period": series.period,
                    "sum": samples.get(Statistic::Sum), "count": samples.get(Statistic::SampleCount),
                    "min": samples.get(Statistic::Minimum), "max": samples.get(Statistic::Maximum),
                    "p99": samples.get(Statistic::Percentile(99.0)),
                }));
            }
            at += series.period;
        }
    }
    Ok(json!({"points": points}))
}
