//! The agent's own figures about AWS: where its receivers read, when they last got an answer, the calls and their price.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::component::{ComponentKind, ComponentState, Registry, SampleValue, StatusBoard};

/// Receivers that read AWS.
const RECEIVERS: [&str; 5] = ["dynamodb", "sagemaker", "awscloudwatch", "xray", "awsfirehose"];

/// One number of the registry.
pub struct Figure {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Figure {
    /// Empty where it has none.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(have, _)| *have == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Counters and gauges, read once.
pub struct Figures(Vec<Figure>);

impl Figures {
    pub fn of_registry(registry: &Registry) -> Self {
        let numbers = registry.gather().into_iter().filter_map(|sample| {
            let value = match sample.value {
                SampleValue::Counter(count) => count as f64,
                SampleValue::Gauge(value) => value,
                _ => return None,
            };
            Some(Figure {
                name: sample.name,
                labels: sample.labels,
                value,
            })
        });
        Self(numbers.collect())
    }

    pub fn of(&self, name: &str) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(move |figure| figure.name == name)
    }

    /// `None` where there is no such figure: unknown is not zero.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.of(name)
            .map(|figure| figure.value)
            .reduce(|sum, value| sum + value)
    }

    #[cfg(feature = "aws")]
    pub fn most(&self, name: &str) -> Option<f64> {
        self.of(name).map(|figure| figure.value).reduce(f64::max)
    }

    #[cfg(feature = "aws")]
    pub fn least(&self, name: &str) -> Option<f64> {
        self.of(name).map(|figure| figure.value).reduce(f64::min)
    }
}

/// A row for each receiver and each account and region it reads.
pub fn sources(board: &StatusBoard, figures: &Figures) -> Vec<Value> {
    let mut sources = Vec::new();
    for (kind, id, state) in board.components() {
        if kind != ComponentKind::Receiver || !RECEIVERS.contains(&id.type_name()) {
            continue;
        }
        let (state, error) = match state {
            ComponentState::Degraded(message) if message.to_ascii_lowercase().contains("throttl") => {
                ("throttled", Some(message))
            }
            ComponentState::Degraded(message) => ("blind", Some(message)),
            _ => ("ok", None),
        };
        let own = |name: &'static str| {
            figures
                .of(name)
                .filter(|figure| figure.label("receiver") == id.as_str())
        };
        let mut places: BTreeSet<(&str, &str)> = own("aws_api_requests_total")
            .map(|figure| (figure.label("account"), figure.label("region")))
            .collect();
        // Before it knows its account it has asked who it is.
        let known: BTreeSet<&str> = places
            .iter()
            .filter(|(account, _)| !account.is_empty())
            .map(|(_, region)| *region)
            .collect();
        places.retain(|(account, region)| !account.is_empty() || !known.contains(region));
        // One that has not called yet is a source too.
        if places.is_empty() {
            places.insert(("", ""));
        }
        for (account, region) in places {
            let is_here = |figure: &&Figure| figure.label("account") == account && figure.label("region") == region;
            let last = own("aws_api_last_success_timestamp_seconds").filter(is_here);
            let last = last
                .map(|figure| figure.value)
                .reduce(f64::max)
                .filter(|seconds| *seconds > 0.0);
            let blind = own("cloudwatch_blind").filter(is_here);
            let blind = blind.fold(0.0, |sum, figure| sum + figure.value);
            sources.push(json!({
                "receiver": id.as_str(),
                "account": (!account.is_empty()).then_some(account),
                "region": (!region.is_empty()).then_some(region),
                "last_success": last.map(|seconds| ((seconds * 1e3) as u64).saturating_mul(1_000_000).to_string()),
                "state": state,
                "blind_resources": blind,
                "error": error,
            }));
        }
    }
    sources
}

/// Calls by API, with what became of them.
pub fn calls(figures: &Figures) -> Vec<Value> {
    let mut apis: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for figure in figures.of("aws_api_requests_total") {
        let outcomes = apis.entry(figure.label("api")).or_default();
        *outcomes.entry(figure.label("outcome")).or_default() += figure.value;
    }
    let rows = apis.into_iter().map(|(api, outcomes)| {
        let calls: f64 = outcomes.values().sum();
        json!({"api": api, "calls": calls, "units": units_of(api, figures), "outcomes": outcomes})
    });
    rows.filter(|row| row["calls"].as_f64().is_some_and(|calls| calls > 0.0))
        .collect()
}

/// What AWS bills of an API, where that is not its calls.
fn units_of(api: &str, figures: &Figures) -> Option<f64> {
    let billed = |source: &str| {
        let of_source = figures
            .of("cloudwatch_billed_metrics_total")
            .filter(|figure| figure.label("source") == source);
        of_source.map(|figure| figure.value).reduce(|sum, value| sum + value)
    };
    match api {
        "GetMetricData" => billed("gmd"),
        "GetInsightRuleReport" => billed("insights"),
        "GetTraceSummaries" => figures.sum("xray_receiver_traces_scanned"),
        "BatchGetTraces" => figures.sum("xray_receiver_traces_fetched"),
        _ => None,
    }
}

/// USD: this month so far, and what the whole month will come to where that is forecast. `None`: nobody has counted.
pub fn bill(figures: &Figures) -> Value {
    let retention = |per: &str| {
        let of_span = figures
            .of("aws_xray_retention_cost_estimated_usd")
            .filter(|figure| figure.label("per") == per);
        of_span.map(|figure| figure.value).reduce(|sum, value| sum + value)
    };
    let all = |parts: [Option<f64>; 3]| parts.into_iter().flatten().reduce(|sum, part| sum + part);
    let parts = [
        (
            "CloudWatch",
            figures.sum("cloudwatch_cost_usd"),
            figures.sum("cloudwatch_cost_forecast_usd"),
        ),
        ("X-Ray", figures.sum("xray_receiver_estimated_cost_usd"), None),
        ("Retention check", retention("run"), retention("month")),
    ];
    let rows = parts
        .iter()
        .filter(|(_, sofar, month)| sofar.is_some() || month.is_some())
        .map(|(of, sofar, month)| json!({"of": of, "usd": sofar, "month_usd": month}));
    json!({
        "estimated_usd": all([parts[0].1, parts[1].1, parts[2].1]),
        "month_usd": all([parts[0].2, parts[1].2, parts[2].2]),
        "budget_usd": figures.sum("cloudwatch_cost_budget_usd").filter(|budget| *budget > 0.0),
        "parts": rows.collect::<Vec<Value>>(),
    })
}
