use super::*;

fn section(text: &str) -> Section {
    Section::from_yaml(text)
}

/// Lines that two texts do not have in common, by number.
fn changed(before: &str, after: &str) -> Vec<(usize, String)> {
    assert_eq!(before.lines().count(), after.lines().count());
    let pairs = before.lines().zip(after.lines()).enumerate();
    pairs
        .filter(|(_, (before, after))| before != after)
        .map(|(number, (_, after))| (number + 1, after.trim().to_owned()))
        .collect()
}

#[test]
fn every_threshold_is_found_in_every_rule_that_it_names() {
    for pack in PACKS {
        for parameter in pack.parameters {
            for rule in parameter.rules {
                let edited = edit::threshold(pack.text, rule, parameter.default, "4711");
                let lines = changed(pack.text, &edited);
                assert!(
                    !lines.is_empty(),
                    "{}: {} is not in {rule:?}",
                    pack.name,
                    parameter.default
                );
                assert!(lines.iter().all(|(_, line)| line.contains(" 4711")), "{lines:?}");
            }
        }
    }
}

#[test]
fn a_threshold_changes_its_rule_and_nothing_else() {
    let config = section("packs: {dynamodb: {contact: me, thresholds: {latency_average_critical_ms: 250}}}");
    let texts = read(config.take("packs").as_ref());
    assert_eq!(config.problems(), Vec::<String>::new());
    let pack = find("dynamodb").unwrap();
    let lines = changed(pack.text, &texts[0].text);
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(lines, [") > 250", "contact: \"me\""]);
}

#[test]
fn a_share_of_requests_and_a_duration_are_written_as_the_rule_needs_them() {
    let config =
        section("packs: {xray: {contact: me, thresholds: {expiry_warning: 10d12h, fault_rate_critical: 0.1}}}");
    let texts = read(config.take("packs").as_ref());
    assert!(
        texts[0]
            .text
            .contains("aws_xray_retention_min_time_to_expiry_seconds{}) < 907200\n")
    );
    assert!(texts[0].text.contains("        > 0.1\n"));
    assert_eq!(config.problems(), Vec::<String>::new());
}

#[test]
fn only_metrics_that_have_the_label_are_filtered() {
    let config = section("packs: {dynamodb: {contact: me, filters: {TableName: \"prod-.{2,}\", account_id: \"1+\"}}}");
    let text = &read(config.take("packs").as_ref())[0].text;
    assert_eq!(config.problems(), Vec::<String>::new());
    let table = "TableName=~\"prod-.{2,}\"";
    let account = "account_id=~\"1+\"";
    for line in [
        format!("aws_dynamodb_throttled_requests_sum{{{account}, {table}, OperationType=\"\", Verb=\"\"}}[5m])"),
        format!("sum by (account_id, region) (sum_over_time(aws_dynamodb_user_errors_sum{{{account}}}[15m]))"),
        format!("increase(dynamodb_client_slow_ops_total{{{table}}}[5m])"),
        format!("(aws_dynamodb_item_collection_size_bytes{{{table}}}) > 9e9"),
    ] {
        assert!(text.contains(&line), "{line}");
    }
    // Texts of alerts have braces too.
    assert!(text.contains("summary: \"{{ $labels.TableName }}: {{ $value }} requests throttled within 5 minutes\""));
}

#[test]
fn every_selector_of_the_packs_has_braces_so_that_it_can_be_filtered() {
    let word = regex::Regex::new(r"\b(aws|dynamodb|radiosonde|otelcol|cloudwatch)_\w+").unwrap();
    for pack in PACKS {
        let rules = pack.text.split("\n---\n").next().unwrap();
        for line in rules.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if line.contains("summary:") || line.contains("__name__") {
                continue;
            }
            for found in word.find_iter(line) {
                assert!(line[found.end()..].starts_with('{'), "{}: {line}", pack.name);
            }
        }
    }
}

#[test]
fn sustained_throttling_takes_the_place_of_any() {
    let config = section("packs: {dynamodb: {contact: me, throttle_mode: sustained}}");
    let text = &read(config.take("packs").as_ref())[0].text;
    assert!(text.contains("    DynamoDBThrottledRequests:\n      enabled: false\n"));
    assert!(!text.contains("    DynamoDBThrottledSustained:\n      enabled: false\n"));
    assert!(
        find("dynamodb")
            .unwrap()
            .text
            .contains("    DynamoDBThrottledSustained:\n      enabled: false\n")
    );
}

#[test]
fn contact_and_escalation_are_written_in() {
    let config = section(
        "packs: {sagemaker: {contact: \"a \\\"b\\\": c\", escalation: [{after: 5m, to: pager}, {after: 1h, to: boss}]}}",
    );
    let text = &read(config.take("packs").as_ref())[0].text;
    assert!(text.contains("    contact: \"a \\\"b\\\": c\"\n"));
    assert!(text.contains("    escalation: [{after: 5m, to: \"pager\"}, {after: 1h, to: \"boss\"}]\n"));
    assert!(!text.contains(PLACEHOLDER_CONTACT));
}

#[test]
fn the_agents_own_alerts_are_always_on() {
    let names = |texts: Vec<PackText>| texts.into_iter().map(|text| text.name).collect::<Vec<_>>();
    assert_eq!(names(read(None)), ["pack self"]);
    let config = section("packs: {xray: {contact: me}}");
    assert_eq!(names(read(config.take("packs").as_ref())), ["pack xray", "pack self"]);
    let config = section("packs: {self: {contact: me, thresholds: {late_points: 7}}}");
    let texts = read(config.take("packs").as_ref());
    assert_eq!(texts.len(), 1);
    assert!(texts[0].text.contains("[1h])) > 7\n"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("packs: {dynamo: {}}", "dynamodb"),
        ("packs: {dynamodb: {contact: a, tresholds: {}}}", "thresholds"),
        (
            "packs: {dynamodb: {contact: a, thresholds: {latency_p9_ms: 1}}}",
            "latency_p99_ms",
        ),
        (
            "packs: {dynamodb: {contact: a, thresholds: {latency_p99_ms: fast}}}",
            "expected a number",
        ),
        (
            "packs: {dynamodb: {contact: a, thresholds: {capacity_high: 80}}}",
            "expected a share",
        ),
        (
            "packs: {xray: {contact: a, thresholds: {expiry_warning: soon}}}",
            "expected a duration",
        ),
        (
            "packs: {dynamodb: {contact: a, filters: {TableName: \"(\"}}}",
            "not a regular expression",
        ),
        ("packs: {dynamodb: {contact: a, filters: {Table: x}}}", "TableName"),
        ("packs: {dynamodb: {contact: a, throttle_mode: some}}", "throttle_mode"),
        ("packs: {xray: {contact: a, throttle_mode: any}}", "throttle_mode"),
        (
            "packs: {xray: {contact: a, escalation: [{after: soon, to: b}]}}",
            "expected a duration",
        ),
        ("packs: {xray: {}}", "no `contact`"),
    ];
    for (text, told) in cases {
        let config = section(text);
        read(config.take("packs").as_ref());
        let problems = config.problems();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(told), "{text}: {problems:?}");
        assert!(problems[0].contains("yaml:1:"), "{problems:?}");
    }
}
