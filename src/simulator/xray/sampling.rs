//! Sampling rules, targets and statistics.

use serde_json::{Value as Json, json};

use super::super::answer::ApiError;
use super::super::scenario::Scenario;
use super::State;
use super::answer::invalid;
use super::settings::Rule;
use super::store::{number, text};

const MOST_DOCUMENTS: usize = 25;
/// Seconds between two reports of a client.
const INTERVAL_S: i64 = 10;

/// What clients reported for a rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    at: f64,
    requests: u64,
    sampled: u64,
    borrowed: u64,
}

impl State {
    fn rules(&self, scenario: &Scenario) -> Vec<Rule> {
        let mut rules = self
            .rules
            .clone()
            .unwrap_or_else(|| scenario.xray.sampling_rules.clone());
        if !rules.iter().any(|rule| rule.name == "Default") {
            rules.push(Rule {
                name: "Default".to_owned(),
                priority: 10_000,
                fixed_rate: 0.05,
                reservoir: 1,
                service: "*".to_owned(),
            });
        }
        rules
    }

    /// GetSamplingRules.
    pub fn sampling_rules(&self, scenario: &Scenario) -> Json {
        let record = |rule: &Rule| {
            json!({
                "CreatedAt": scenario.start, "ModifiedAt": self.rules_changed.max(scenario.start as f64),
                "SamplingRule": {
                    "RuleName": rule.name, "RuleARN": format!("arn:aws:xray:{}:{}:sampling-rule/{}",
                        scenario.xray.region, scenario.account, rule.name),
                    "Priority": rule.priority, "FixedRate": rule.fixed_rate, "ReservoirSize": rule.reservoir,
                    "ServiceName": rule.service, "ServiceType": "*", "Host": "*", "HTTPMethod": "*", "URLPath": "*",
                    "ResourceARN": "*", "Version": 1, "Attributes": {},
                },
            })
        };
        json!({"SamplingRuleRecords": self.rules(scenario).iter().map(record).collect::<Vec<_>>()})
    }

    /// GetSamplingTargets: counts what is reported and gives each client its share.
    pub fn sampling_targets(&mut self, scenario: &Scenario, request: &Json, now: f64) -> Result<Json, ApiError> {
        let documents = request["SamplingStatisticsDocuments"].as_array();
        let documents = documents.ok_or_else(|| invalid("SamplingStatisticsDocuments must not be null"))?;
        if documents.len() > MOST_DOCUMENTS {
            return Err(invalid(format!("at most {MOST_DOCUMENTS} documents")));
        }
        let rules = self.rules(scenario);
        let (mut targets, mut unprocessed) = (Vec::new(), Vec::new());
        for document in documents {
            let (name, client) = (text(document, "RuleName"), text(document, "ClientID"));
            let known = rules.iter().find(|rule| rule.name == name);
            let is_client = client.len() == 24 && client.bytes().all(|byte| byte.is_ascii_hexdigit());
            let Some(rule) = known.filter(|_| is_client) else {
                unprocessed.push(
                    json!({"RuleName": name, "ErrorCode": "InvalidDocument", "Message": "unknown rule or client"}),
                );
                continue;
            };
            let counted = self.counted.entry(name.to_owned()).or_default();
            counted.at = now;
            counted.requests += number(document, "RequestCount") as u64;
            counted.sampled += number(document, "SampledCount") as u64;
            counted.borrowed += number(document, "BorrowCount") as u64;
            targets.push(json!({
                "RuleName": name, "FixedRate": rule.fixed_rate, "ReservoirQuota": rule.reservoir,
                "ReservoirQuotaTTL": now + 60.0, "Interval": INTERVAL_S,
            }));
        }
        Ok(json!({
            "SamplingTargetDocuments": targets, "UnprocessedStatistics": unprocessed,
            "LastRuleModification": self.rules_changed.max(scenario.start as f64),
        }))
    }

    /// GetSamplingStatisticSummaries.
    pub fn sampling_statistics(&self) -> Json {
        let summary = |(name, counted): (&String, &Counted)| {
            json!({"RuleName": name, "Timestamp": counted.at, "RequestCount": counted.requests,
                   "SampledCount": counted.sampled, "BorrowCount": counted.borrowed})
        };
        json!({"SamplingStatisticSummaries": self.counted.iter().map(summary).collect::<Vec<_>>()})
    }
}
