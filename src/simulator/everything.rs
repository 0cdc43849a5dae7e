//! Series beyond those that a table's load gives: what tables with `everything` publish, and SageMaker's.

use std::collections::HashSet;

use super::sagemaker;
use super::scenario::{Scenario, Table};
use super::world::{Measure, NAMESPACE, Series, SeriesName, table_account};

/// Sorted by name.
type Dimensions = Vec<(String, String)>;

/// What tables with `everything` publish beyond their load.
pub fn table_series(scenario: &Scenario, into: &mut Vec<Series>) {
    let have: HashSet<String> = into.iter().map(|series| series.key().to_owned()).collect();
    let entries = sagemaker::entries();
    for (position, table) in scenario.tables.iter().enumerate().filter(|(_, table)| table.everything) {
        let place = (table_account(scenario, table), table.region.as_str());
        for entry in &entries {
            for set in &entry.dimensions {
                let Some((namespace, metric, dimensions)) = named(entry, set, table) else {
                    continue;
                };
                let table = (!set.is_empty() && namespace == NAMESPACE).then_some(position);
                let id = SeriesName {
                    place,
                    namespace,
                    metric: &metric,
                    dimensions,
                };
                let series = Series::new(id, Measure::Any, entry.period_s, table);
                if !have.contains(series.key()) {
                    into.push(series);
                }
            }
        }
    }
}

/// Namespace, name and dimensions of a metric of a table or its account. Usage metrics are all called `ResourceCount`.
fn named<'a>(entry: &'a sagemaker::Entry, set: &[String], table: &Table) -> Option<(&'a str, String, Dimensions)> {
    let usage = entry.namespace == "AWS/Usage";
    if !usage && entry.namespace != NAMESPACE {
        return None;
    }
    let mut dimensions = Vec::new();
    for name in set {
        let has = |other: &str| set.iter().any(|name| name == other);
        let value = match name.as_str() {
            "TableName" => table.name.clone(),
            "GlobalSecondaryIndexName" => table.indexes.first()?.name.clone(),
            "Operation" if has("StreamLabel") => "GetRecords".to_owned(),
            "Operation" if has("OperationType") || has("Verb") => "ExecuteStatement".to_owned(),
            "Operation" => "Query".to_owned(),
            "OperationType" => "Read".to_owned(),
            "Verb" => "Select".to_owned(),
            "StreamLabel" => "2026-01-01T00:00:00.000".to_owned(),
            "DelegatedOperation" => "PutRecord".to_owned(),
            "ReceivingRegion" => "us-east-1".to_owned(),
            "SourceRegion" => table.region.clone(),
            "Source" => "Customer".to_owned(),
            "Service" => "DynamoDB".to_owned(),
            "Type" => "Resource".to_owned(),
            "Resource" => entry.metric.clone(),
            "Class" => "None".to_owned(),
            _ => return None,
        };
        dimensions.push((name.clone(), value));
    }
    dimensions.sort();
    let metric = if usage {
        "ResourceCount".to_owned()
    } else {
        entry.metric.clone()
    };
    Some((entry.namespace.as_str(), metric, dimensions))
}

pub fn fleet_series(scenario: &Scenario, into: &mut Vec<Series>) -> Vec<sagemaker::Measure> {
    let account = scenario.sagemaker.account.as_deref().unwrap_or(&scenario.account);
    let region = scenario.sagemaker.region.as_str();
    let mut fleet = Vec::new();
    for found in sagemaker::all(&scenario.sagemaker) {
        let id = SeriesName {
            place: (account, region),
            namespace: &found.namespace,
            metric: &found.metric,
            dimensions: found.dimensions,
        };
        let measure = Measure::SageMaker(fleet.len());
        into.push(Series::new(id, measure, found.measure.period, None));
        fleet.push(found.measure);
    }
    fleet
}
