use super::lint::{Weight, lint};
use super::*;
use crate::alert::EscalationStep;

const MINUTE: i64 = 60_000;

fn no_environment(_: &str) -> Option<String> {
    None
}

fn file(text: &str) -> Reading {
    read("rules.yaml", text, &|name: &str| {
        (name == "CONTACT").then(|| "db-team@corp.test".to_owned())
    })
}

const GOOD: &str = r#"groups:
- name: dynamodb
  interval: 1m
  rules:
  - alert: Throttled
    expr: |
      sum by (account_id, region, TableName) (
        sum_over_time(aws_dynamodb_throttled_requests_sum{OperationType="",Verb=""}[5m])
      ) > 0
    keep_firing_for: 5m
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.TableName }}: {{ $value }} throttled"}
---
x-radiosonde:
  version: 1
  defaults: {contact: "${CONTACT}", escalation: [{after: 15m, to: oncall}]}
  alerts:
    Throttled:
      resolution_steps: ["read the pattern"]
      missing: {nodata: 15m}
      datapoints: {m: 3, n: 5, period: 1m}
      recover: {expr: "x < 1", datapoints: {m: 2, n: 2, period: 1m}}
      anomaly: {k: 3, direction: up}
      classify: dynamodb_throttle
"#;

#[test]
fn a_file_and_its_second_document_are_read() {
    let reading = file(GOOD);
    assert_eq!(reading.lines(), Vec::<String>::new());
    let group = &reading.file.groups[0];
    let rule = &group.rules[0];
    assert_eq!(
        (group.interval, rule.keep_firing_for, rule.severity()),
        (Some(MINUTE), 5 * MINUTE, "critical")
    );
    assert_eq!(rule.guidance.contact, "db-team@corp.test");
    let step = EscalationStep {
        after: 900_000_000_000,
        to: "oncall".to_owned(),
    };
    assert_eq!(rule.guidance.escalation, [step]);
    assert_eq!(rule.extra.missing, Some(Missing::NoData(15 * MINUTE)));
    assert_eq!(rule.extra.datapoints.unwrap().m, 3);
    assert_eq!(rule.extra.recover.as_ref().unwrap().expr.text, "x < 1");
    assert_eq!(rule.extra.classify, Some(Classify::DynamoDbThrottle));
    assert_eq!(rule.place, "rules.yaml:5:12");
    assert_eq!(lint(&reading.file), []);
}

#[test]
fn words_do_not_change_who_a_rule_is_and_its_condition_does() {
    let identity = |text: &str| file(text).file.groups[0].rules[0].identity();
    let same = GOOD
        .replace("throttled\"", "refused\"")
        .replace("read the pattern", "act");
    assert_eq!(identity(GOOD), identity(&same));
    assert_ne!(identity(GOOD), identity(&GOOD.replace("> 0", "> 1")));
    assert_ne!(identity(GOOD), identity(&GOOD.replace("m: 3", "m: 4")));
}

#[test]
fn every_problem_has_its_line_and_column_in_the_file() {
    for (from, to, place, part) in [
        ("sum_over_time", "sum_over_tim", "8:9", "did you mean \"sum_over_time\""),
        ("severity: critical", "severity: crit", "11:24", "no severity"),
        (
            "keep_firing_for: 5m",
            "keep_firing_for: 5 minutes",
            "10:22",
            "no duration",
        ),
        ("{{ $value }}", "{{ $valu }}", "12:54", "not known"),
        ("interval: 1m", "intervall: 1m", "3:3", "interval"),
        ("classify: dynamodb", "clasify: dynamodb", "24:7", "classify"),
        ("missing: {nodata: 15m}", "missing: zer", "20:16", "no policy"),
        ("{m: 3, n: 5", "{m: 6, n: 5", "21:7", "at most n"),
        ("\"x < 1\"", "\"x < acos(1)\"", "22:28", "acos"),
        ("    Throttled:", "    Throttld:", "18:5", "no rule of this file"),
        ("version: 1", "version: 2", "15:12", "version 1"),
        (
            "alert: Throttled",
            "record: Throttled",
            "5:13",
            "recording rules are not built",
        ),
    ] {
        let lines = file(&GOOD.replacen(from, to, 1)).lines();
        let wanted = format!("rules.yaml:{place}:");
        let found = lines
            .iter()
            .any(|line| line.starts_with(&wanted) && line.contains(part));
        assert!(found, "{to}: {lines:#?}");
    }
}

#[test]
fn the_block_may_stand_inside() {
    let (rules, block) = GOOD.split_once("---\n").unwrap();
    let reading = file(&format!("{rules}{block}"));
    // Without a second document `${...}` is not expanded: a rule's texts hold `$` of their own.
    assert_eq!(reading.lines(), Vec::<String>::new());
    assert_eq!(reading.file.groups[0].rules[0].extra.datapoints.unwrap().n, 5);
    let inline = format!(
        "{rules}    x-radiosonde: {{resolution_steps: [a], contact: me, escalation: [{{after: 1m, to: b}}]}}\n"
    );
    let reading = file(&inline);
    assert_eq!(reading.lines(), Vec::<String>::new());
    assert_eq!(lint(&reading.file), []);
}

fn findings(expr: &str) -> Vec<(Weight, String)> {
    let text = format!(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '{expr}'\n    labels: {{severity: info}}\n    annotations: \
         {{summary: s}}\n    x-radiosonde: {{resolution_steps: [a], contact: me}}\n"
    );
    let reading = read("r.yaml", &text, &no_environment);
    assert_eq!(reading.lines(), Vec::<String>::new());
    lint(&reading.file)
        .into_iter()
        .map(|one| (one.weight, one.message))
        .collect()
}

#[cfg(feature = "aws")]
#[test]
fn the_lint_knows_dynamodb() {
    for (expr, weight, part) in [
        ("aws_dynamodb_item_count_average > 1", Weight::Error, "DescribeTable"),
        (
            "aws_dynamodb_get_latency_average > 1",
            Weight::Error,
            "SuccessfulRequestLatency",
        ),
        (
            "aws_dynamodb_throttled_request_sum > 1",
            Weight::Error,
            "did you mean \"dynamodb_throttled_requests\"",
        ),
        (
            "aws_dynamodb_user_errors_sum{TableName=\"orders\"} > 1",
            Weight::Error,
            "no dimension",
        ),
        (
            "aws_dynamodb_throttled_requests_sum{TableName=\"orders\",Operation=\"\"} > 1",
            Weight::Error,
            "without Operation it is empty",
        ),
        (
            "rate(aws_dynamodb_throttled_requests_sum{Verb=\"\",OperationType=\"\"}[5m]) > 1",
            Weight::Warning,
            "sum_over_time",
        ),
        (
            "max_over_time(aws_dynamodb_account_max_reads_maximum[1m]) > 1",
            Weight::Warning,
            "every 300 s",
        ),
        (
            "sum by (TableName) (aws_dynamodb_throttled_requests_sum) > 1",
            Weight::Warning,
            "OperationType=\"\"",
        ),
        (
            "avg by (TableName) (aws_dynamodb_successful_request_latency_p99{OperationType=\"\",Verb=\"\",StreamLabel=\"\"}) > 1",
            Weight::Warning,
            "percentiles do not add up",
        ),
    ] {
        let found = findings(expr);
        assert!(
            found
                .iter()
                .any(|(have, message)| *have == weight && message.contains(part)),
            "{expr}: {found:?}"
        );
    }
    for fine in [
        "sum by (TableName) (sum_over_time(aws_dynamodb_throttled_requests_sum{OperationType=\"\",Verb=\"\"}[5m])) > 0",
        "aws_dynamodb_user_errors_sum > 5",
        "aws_dynamodb_item_count > 5",
        "aws_sagemaker_invocation_5xx_errors_average{EndpointName=~\".+\"} > 0.01",
    ] {
        assert_eq!(findings(fine), [], "{fine}");
    }
}

#[test]
fn an_alert_nobody_could_act_on_is_found() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum_over_time(x[5m]) > 0\n    for: 5m\n    labels: {severity: critical}\n";
    let found = lint(&read("r.yaml", text, &no_environment).file);
    let messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
    for part in [
        "summary",
        "resolution_steps",
        "contact",
        "escalation",
        "fires on one event",
    ] {
        assert!(
            messages.iter().any(|message| message.contains(part)),
            "{part}: {messages:?}"
        );
    }
    assert!(found.iter().all(|one| one.place == "r.yaml:4:12"));
}
