use super::*;
use crate::alert::rules;

const RULES: &str = r#"groups:
- name: g
  rules:
  - alert: Throttled
    expr: sum by (TableName) (sum_over_time(aws_dynamodb_throttled_requests_sum{OperationType="",Verb=""}[5m])) > 0
    keep_firing_for: 5m
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.TableName }}: {{ $value }}"}
  - alert: Slow
    expr: x > 100
    for: 2m
    labels: {severity: warning}
"#;

fn failures(tests: &str) -> Vec<String> {
    let rules = rules::read("rules.yaml", RULES, &|_: &str| None);
    assert_eq!(rules.lines(), Vec::<String>::new());
    let file = read_tests("tests.yaml", tests).unwrap();
    run(&file, &rules.file.groups)
        .into_iter()
        .map(|failure| format!("{}: {}", failure.place, failure.message))
        .collect()
}

const THROTTLES: &str = "aws_dynamodb_throttled_requests_sum{TableName=\"orders\",Operation=\"Query\"}";

#[test]
fn a_file_of_promtool_runs() {
    let tests = format!(
        r#"
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
- name: throttled
  interval: 1m
  input_series:
  - {{series: '{THROTTLES}', values: '0x9 3 0x30'}}
  - {{series: 'x{{a="1"}}', values: '0x4 101x3 0x20'}}
  alert_rule_test:
  - {{eval_time: 9m, alertname: Throttled}}
  - eval_time: 10m
    alertname: Throttled
    exp_alerts: [{{exp_labels: {{TableName: orders, severity: critical}}, exp_annotations: {{summary: "orders: 3"}}}}]
  - eval_time: 19m
    alertname: Throttled
    exp_alerts: [{{exp_labels: {{TableName: orders, severity: critical}}, exp_annotations: {{summary: "orders: 3"}}}}]
  - {{eval_time: 20m, alertname: Throttled, exp_alerts: []}}
  - {{eval_time: 6m, alertname: Slow, exp_alerts: []}}
  - {{eval_time: 7m, alertname: Slow, exp_alerts: [{{exp_labels: {{a: "1", severity: warning}}}}]}}
  promql_expr_test:
  - {{expr: 'sum(x)', eval_time: 5m, exp_samples: [{{value: 101}}]}}
"#
    );
    assert_eq!(failures(&tests), Vec::<String>::new());
    let wrong = tests
        .replace("eval_time: 9m", "eval_time: 11m")
        .replace("value: 101", "value: 102");
    let found = failures(&wrong);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].contains("Throttled at 11m: expected: none"), "{found:?}");
    assert!(found[1].starts_with("tests.yaml:11:"), "{found:?}");
}

/// One throttled minute that arrives four minutes late: exactly one critical, one resolve.
#[test]
fn late_points_raise_what_was_missed_once() {
    for restarts in ["", "13m, 14m, 15m, 16m"] {
        let tests = format!(
            r#"
tests:
- interval: 1m
  input_series: [{{series: '{THROTTLES}', values: '0x9 3 0x30'}}]
  x-radiosonde:
    period: 1m
    restarts: [{restarts}]
    late: [{{series: '{THROTTLES}', points: [10m], by: 4m}}]
    notifications:
    - {{at: 14m, alert: Throttled, state: firing, labels: {{TableName: orders}}}}
    - {{at: 20m, alert: Throttled, state: resolved}}
  alert_rule_test: [{{eval_time: 35m, alertname: Throttled}}]
"#
        );
        assert_eq!(failures(&tests), Vec::<String>::new(), "restarts: [{restarts}]");
    }
}

#[test]
fn an_hour_of_failing_polls_resolves_nothing_and_pages_nobody_again() {
    let tests = format!(
        r#"
tests:
- interval: 1m
  input_series: [{{series: '{THROTTLES}', values: '0x9 3x100 0x40'}}]
  x-radiosonde:
    period: 1m
    restarts: [40m]
    poll_failures: [{{from: 20m, to: 1h20m}}]
    notifications:
    - {{at: 10m, alert: Throttled, state: firing}}
    - {{at: 2h, alert: Throttled, state: resolved}}
  alert_rule_test: [{{eval_time: 2h20m, alertname: Throttled}}]
"#
    );
    assert_eq!(failures(&tests), Vec::<String>::new());
}

#[test]
fn problems_have_places() {
    let lines = |text: &str| read_tests("t.yaml", text).unwrap_err().lines().join("\n");
    let text = "tests:\n- input_series: [{series: 'x', values: '1 two'}]\n";
    assert!(lines(text).contains("t.yaml:2:43"), "{}", lines(text));
    let text = "tests:\n- x-radiosonde: {poll_failures: [{from: 5m, to: 1m}]}\n";
    assert!(lines(text).contains("after `from`"), "{}", lines(text));
    let text = "tests:\n- promql_expr_test: [{expr: 'sum(x', eval_time: 1m}]\n";
    assert!(lines(text).contains("not closed"), "{}", lines(text));
}
