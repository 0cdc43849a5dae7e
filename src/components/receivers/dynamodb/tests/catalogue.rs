//! Every metric of the catalogue is asked for in a world that has it; tags choose tables.

use std::collections::BTreeSet;

use super::*;
use crate::aws::catalogue::catalogue;

#[tokio::test]
async fn every_metric_of_the_catalogue_comes_out_of_a_world_that_has_it() {
    let mut scenario = Scenario::everything();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "zero_fill: all").await;
    // Filled where silent: nothing is throttled for every cause at once.
    // Listed after a quarter of an hour, the slow ones are settled after two periods.
    bench.run_to(75).await;
    let points = bench.sink.points.lock().unwrap();
    let out: BTreeSet<(String, Vec<String>)> = points
        .keys()
        .map(|(_, name, attributes, _)| (name.clone(), attributes.iter().map(|(name, _)| name.clone()).collect()))
        .collect();
    let mut missing = Vec::new();
    for metric in catalogue().of("AWS/DynamoDB").chain(catalogue().of("AWS/Usage")) {
        // Two that AWS always publishes as 0.
        if metric.metric.starts_with("OnlineIndex") && metric.metric != "OnlineIndexPercentageProgress" {
            continue;
        }
        for set in &metric.dimensions {
            let mut names = set.clone();
            names.sort();
            let name = match metric.namespace.as_str() {
                "AWS/Usage" => "ResourceCount",
                _ => metric.metric.as_str(),
            };
            let name = format!("amazonaws.com/{}/{name}", metric.namespace);
            if !out.contains(&(name.clone(), names.clone())) {
                missing.push((name, names));
            }
        }
    }
    assert_eq!(missing, []);
}

#[tokio::test]
async fn tags_choose_tables_and_become_attributes() {
    let mut scenario = Scenario::everything();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(
        scenario,
        "tags: {team: [\"ord*\", other]}\ntag_attributes: [stage, absent]",
    )
    .await;
    bench.run_to(15).await;
    let resources = bench.sink.resources.lock().unwrap().clone();
    let tables: Vec<&String> = resources.keys().filter(|arn| arn.contains(":table/")).collect();
    let world = "arn:aws:dynamodb:eu-central-1:111122223333:table/world";
    assert_eq!(tables, [world]);
    assert_eq!(resources[world]["tag.stage"], "prod");
    assert!(!resources[world].contains_key("tag.absent"));
}
