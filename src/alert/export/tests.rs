use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;
use crate::alert::packs::PACKS;
use crate::alert::rules::read;

fn pack(name: &str) -> RuleFile {
    let found = PACKS.iter().find(|pack| pack.name == name).unwrap();
    file(found.text)
}

fn file(text: &str) -> RuleFile {
    let reading = read("r.yaml", text, &|name: &str| {
        (name == "ALERT_CONTACT").then(|| "data-platform".to_owned())
    });
    assert!(!reading.has_errors(), "{:?}", reading.lines());
    reading.file
}

/// One rule with a block.
fn rule(expr: &str, rest: &str, block: &str) -> RuleFile {
    file(&format!(
        "groups:\n- name: g\n  interval: 1m\n  rules:\n  - alert: A\n    expr: '{expr}'\n{rest}    labels: {{severity: \
         critical}}\n    annotations: {{summary: s, description: d}}\n---\nx-radiosonde:\n  version: 1\n  alerts:\n    \
         A: {{resolution_steps: [one], contact: c, escalation: [{{after: 15m, to: boss}}]{block}}}\n"
    ))
}

fn resources(files: &[RuleFile], options: &Options) -> (Json, Vec<String>) {
    let exported = export(Target::CloudFormation, files, options);
    let template: Json = serde_json::from_str(&exported.text).unwrap();
    (template["Resources"].clone(), exported.left_out)
}

#[test]
fn datapoints_become_for_and_the_interval_that_they_need() {
    let files = [rule("x > 1", "", ", datapoints: {m: 3, n: 3, period: 5m}")];
    let text = export(Target::Prometheus, &files, &Options::default()).text;
    assert!(text.contains("- name: \"g-5m\"\n  interval: 5m\n"), "{text}");
    assert!(text.contains("    for: 10m\n"), "{text}");
    assert!(text.contains("      resolution_steps: \"1. one\"\n"), "{text}");
    assert!(text.contains("      escalation: \"after 15m to boss\"\n"), "{text}");
    let files = [rule("x > 1", "", ", datapoints: {m: 2, n: 5, period: 1m}")];
    let text = export(Target::Prometheus, &files, &Options::default()).text;
    assert!(
        text.contains("count_over_time((\n      x > 1\n      )[5m:1m]) >= 2"),
        "{text}"
    );
}

#[test]
fn what_prometheus_cannot_say_is_listed() {
    let exported = export(Target::Prometheus, &[pack("dynamodb")], &Options::default());
    for said in [
        "DynamoDBConsumedSpike (info): left out",
        "DynamoDBThrottledSustained (critical): is switched off",
        "DynamoDBLatencyAverageHigh (warning): both levels",
        "DynamoDBThrottledRequests (critical): that it silences",
        "DynamoDBItemCountGrowth (warning): does not wait",
    ] {
        assert!(exported.left_out.iter().any(|line| line.starts_with(said)), "{said}");
        assert!(exported.text.contains(&format!("# - {said}")), "{said}");
    }
    assert!(!exported.text.contains("alert: \"DynamoDBConsumedSpike\""));
}

#[test]
fn pairs_and_inhibitions_become_rules_of_alertmanager() {
    let text = export(Target::Alertmanager, &[pack("dynamodb")], &Options::default()).text;
    assert!(
        text.contains("alertname=\\\"DynamoDBLatencyAverageHigh\\\"\", \"severity=\\\"critical\\\""),
        "{text}"
    );
    assert!(
        text.contains("alertname=~\\\"DynamoDBTableThrottleEvents\\\""),
        "{text}"
    );
    assert!(
        text.contains("  - receiver: \"oncall\"\n    group_wait: 15m\n    continue: true\n"),
        "{text}"
    );
    assert!(text.contains("- name: \"data-platform\"\n"), "{text}");
}

#[test]
fn one_metric_one_statistic_one_comparison_is_a_classic_alarm() {
    let files = [rule(
        "max by (TableName, Operation) (last_over_time(aws_dynamodb_successful_request_latency_p99{OperationType=\"\", \
         Verb=\"\", StreamLabel=\"\"}[1m])) > 100",
        "",
        ", datapoints: {m: 10, n: 10, period: 1m}, missing: ignore",
    )];
    let options = Options {
        operations: vec!["Query".to_owned(), "Scan".to_owned()],
        ..Options::default()
    };
    let (resources, _) = resources(&files, &options);
    assert_eq!(resources.as_object().unwrap().len(), 2);
    let alarm = &resources["ACritical1"];
    assert_eq!(alarm["Condition"], "HasTableName");
    let properties = &alarm["Properties"];
    for (key, value) in [
        ("Namespace", Json::from("AWS/DynamoDB")),
        ("MetricName", Json::from("SuccessfulRequestLatency")),
        ("ExtendedStatistic", Json::from("p99")),
        ("Period", Json::from(60)),
        ("Threshold", Json::from(100.0)),
        ("EvaluationPeriods", Json::from(10)),
        ("DatapointsToAlarm", Json::from(10)),
        ("ComparisonOperator", Json::from("GreaterThanThreshold")),
        ("TreatMissingData", Json::from("missing")),
    ] {
        assert_eq!(properties[key], value, "{key}");
    }
    let dimensions = properties["Dimensions"].to_string();
    assert!(
        dimensions.contains("\"Query\"") && dimensions.contains("{\"Ref\":\"TableName\"}"),
        "{dimensions}"
    );
    assert_eq!(
        properties["AlarmDescription"],
        "d\n1. one\nContact: c. After 15m to boss"
    );
}

#[test]
fn operations_are_added_up_sparse_metrics_filled() {
    let expr = "sum by (account_id, region, TableName) (sum_over_time(aws_dynamodb_throttled_requests_sum{OperationType=\"\", \
                Verb=\"\"}[5m])) > 0";
    let options = Options {
        operations: vec!["Query".to_owned(), "Scan".to_owned()],
        ..Options::default()
    };
    let (found, _) = resources(&[rule(expr, "", "")], &options);
    let metrics = found["ACritical1"]["Properties"]["Metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 3);
    assert_eq!(metrics[2]["Expression"], "(FILL(m1, 0) + FILL(m2, 0))");
    assert_eq!(metrics[0]["MetricStat"]["Period"], 300);
    let many = Options {
        operations: (0..14).map(|number| format!("Op{number}")).collect(),
        ..Options::default()
    };
    let (found, left_out) = resources(&[rule(expr, "", "")], &many);
    let text = found.to_string();
    assert!(
        text.contains("ReadThrottleEvents") && text.contains("WriteThrottleEvents"),
        "{text}"
    );
    assert!(
        left_out.iter().any(|line| line.contains("throttle events stand for")),
        "{left_out:?}"
    );
}

#[test]
fn capacity_is_a_share_of_what_is_provisioned_of_table_and_index() {
    let (found, left_out) = resources(&[pack("dynamodb")], &Options::default());
    let table = &found["DynamoDBReadCapacityHighWarning1"];
    assert_eq!(table["Condition"], "HasTableName");
    let properties = &table["Properties"];
    let metrics = properties["Metrics"].as_array().unwrap();
    assert_eq!(
        metrics[0]["MetricStat"]["Metric"]["MetricName"],
        "ConsumedReadCapacityUnits"
    );
    assert_eq!(metrics[0]["MetricStat"]["Stat"], "Sum");
    assert_eq!(
        metrics[1]["MetricStat"]["Metric"]["MetricName"],
        "ProvisionedReadCapacityUnits"
    );
    assert_eq!(metrics[2]["Expression"], "((m1 / 300) / m2)");
    assert_eq!(properties["Threshold"], 0.8);
    assert_eq!(properties["EvaluationPeriods"], 3);
    let index = &found["DynamoDBReadCapacityHighWarning2"];
    assert_eq!(index["Condition"], "HasGlobalSecondaryIndexNameAndTableName");
    assert!(
        left_out
            .iter()
            .any(|line| line.starts_with("DynamoDBReadCapacityHigh: only the first")),
        "{left_out:?}"
    );
}

#[test]
fn what_math_cannot_say_is_a_promql_alarm_and_is_listed() {
    let files = [rule(
        "increase(x_total[5m]) > 0",
        "    for: 10m\n    keep_firing_for: 5m\n",
        "",
    )];
    let (found, left_out) = resources(&files, &Options::default());
    let criteria = &found["ACritical"]["Properties"]["EvaluationCriteria"]["PromQLCriteria"];
    assert_eq!(criteria["Query"], "increase(x_total[5m]) > 0");
    assert_eq!(criteria["PendingPeriod"], 600);
    assert_eq!(criteria["RecoveryPeriod"], 300);
    assert!(left_out[0].starts_with("A: are PromQL alarms"), "{left_out:?}");
}

#[test]
fn every_alert_of_the_packs_is_an_alarm_or_is_listed() {
    let files: Vec<RuleFile> = PACKS.iter().map(|pack| file(pack.text)).collect();
    let (found, left_out) = resources(&files, &Options::default());
    let alarms: BTreeSet<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    for file in &files {
        for rule in file.groups.iter().flat_map(|group| &group.rules) {
            let is_there = alarms.iter().any(|alarm| alarm.starts_with(&rule.name));
            let is_listed = left_out.iter().any(|line| line.starts_with(&rule.name));
            assert!(is_there || is_listed, "{}", rule.name);
        }
    }
    for (name, alarm) in found.as_object().unwrap() {
        let description = alarm["Properties"]["AlarmDescription"].as_str().unwrap();
        assert!(description.chars().count() <= 1_024, "{name}");
        assert!(description.contains("Contact: data-platform"), "{name}");
        assert!(!alarm.to_string().contains("SEARCH("), "{name}");
    }
}

#[test]
fn terraform_names_variables_and_attributes_as_its_provider_does() {
    let exported = export(Target::Terraform, &[pack("dynamodb")], &Options::default());
    let document: Json = serde_json::from_str(&exported.text).unwrap();
    assert_eq!(document["variable"]["table_name"]["default"], "");
    let alarm = &document["resource"]["awscc_cloudwatch_alarm"]["dynamo_db_hot_partition_warning1"];
    assert_eq!(alarm["count"], "${var.table_name != \"\" ? 1 : 0}");
    assert_eq!(alarm["alarm_actions"], "${var.warning_actions}");
    assert_eq!(alarm["ok_actions"], "${var.warning_actions}");
    assert_eq!(alarm["alarm_name"], "DynamoDBHotPartition-warning-${var.table_name}");
    let statistic = &alarm["metrics"][0]["metric_stat"];
    assert_eq!(statistic["metric"]["dimensions"][0]["value"], "${var.table_name}");
}
