//! What is refused, and in which words.

use super::*;

fn problems(yaml: &str) -> Vec<String> {
    let section = Section::from_yaml(yaml);
    let _ = Settings::read(&section);
    section.problems()
}

/// A configuration with an archive, and these lines.
fn with(lines: &str) -> String {
    format!("regions: [eu-central-1]\narchives: [{{ledger: {{exporters: [otlp/backup]}}}}]\n{lines}\n")
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let section = Section::from_yaml(&with(""));
    let settings = Settings::read(&section).unwrap();
    assert_eq!(section.problems(), [""; 0]);
    let days = |days: u64| Duration::from_secs(days * DAY_S);
    assert_eq!(settings.policy.xray_retention, days(30));
    assert_eq!(settings.policy.required, days(90));
    assert_eq!(settings.second_listing_at(), days(23));
    assert_eq!(settings.keep_files(), days(97));
    assert_eq!(
        (settings.every, settings.jitter),
        (Duration::from_secs(21_600), Duration::from_secs(600))
    );
    assert_eq!(
        (settings.budget.scanned, settings.budget.retrieved),
        (20_000_000, 2_000_000)
    );
    assert!(settings.exit_code && !settings.stamp && settings.max_age.is_none());
    assert_eq!(settings.ledgers[0].path, "retention-ledger");
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    for (lines, place, words) in [
        ("warn_before: 2d", "3:14", "must be longer than `critical_before`"),
        ("min_age: 8d", "3:10", "must be shorter than `warn_before`"),
        ("xray_retention: 5d", "3:17", "must be longer than `warn_before`"),
        ("guard: 3d", "3:8", "must be shorter than `critical_before`"),
        (
            "on_due: [metric, archive]",
            "3:",
            "the action `archive` needs an `archive_pipeline`",
        ),
        (
            "on_at_risk: [shout]",
            "3:",
            "\"shout\" is no action; use metric, log or archive",
        ),
        (
            "max_age: {limit: 14d, action: route}",
            "3:31",
            "`route` needs the name of a `pipeline`",
        ),
        (
            "max_age: {limit: 14d, action: hide}",
            "3:31",
            "\"hide\" is unknown; use drop or route",
        ),
        ("scope: {sample: 2}", "3:17", "must be above 0 and at most 1"),
        (
            "scope: {regions: [eu-west-1]}",
            "3:",
            "use either `regions` or `scope::regions`",
        ),
        ("schedule: {every: 10s}", "3:19", "must be at least 1m"),
        (
            "required_retention: 90",
            "3:21",
            "a number without a unit: write 30d or 6h",
        ),
        ("warn_before: soon", "3:14", ""),
        ("rate: {initial: 0}", "3:", "must be 0 < initial <= max <= 1000"),
    ] {
        let found = problems(&with(lines));
        let told = found
            .iter()
            .any(|line| line.contains(place) && line.contains(words) && !line.contains("warning"));
        assert!(told, "{lines}: {found:?}");
    }
}

#[test]
fn archives_are_checked_one_by_one() {
    for (archives, words) in [
        ("[{ledger: {exporters: []}}]", "name the exporters"),
        ("[{ledger: {exporters: [a, a]}}]", "is named twice"),
        ("[{ledger: {exporters: [awsxray]}}]", "sends to X-Ray"),
        ("[{ledger: {exporters: [a], path: ../up}}]", "below the state directory"),
        (
            "[{ledger: {exporters: [a]}}, {ledger: {exporters: [b]}}]",
            "another ledger has the same path",
        ),
        ("[{s3: {bucket: b}}, {s3: {bucket: b}}]", "is named twice"),
        ("[{dynamodb: {table: t, layout: other}}]", "no other is known"),
        (
            "[{ledger: {exporters: [a], verified_by: x}}, {s3: {bucket: b}}]",
            "names no archive beside it; there are: s3://b",
        ),
        ("[{tape: {}}]", "\"tape\" is no archive"),
        ("[{ledger: {exporters: [a]}, s3: {}}]", "with one key"),
        ("[{ledger: {exporters: [a], color: 1}}]", "unknown key"),
    ] {
        let found = problems(&format!("regions: [eu-central-1]\narchives: {archives}\n"));
        assert!(found.iter().any(|line| line.contains(words)), "{archives}: {found:?}");
    }
}

#[test]
fn longer_than_x_ray_needs_an_archive() {
    let found = problems("regions: [eu-central-1]\n");
    assert!(
        found
            .iter()
            .any(|line| line.contains("X-Ray keeps traces 30d: to keep them 90d needs an entry")),
        "{found:?}"
    );
    assert_eq!(problems("regions: [eu-central-1]\nrequired_retention: 30d\n"), [""; 0]);
}

#[test]
fn what_is_only_doubtful_is_a_warning() {
    for (lines, words) in [
        (
            "required_retention: 0",
            "0: how long archives keep their copies is not looked at",
        ),
        ("scope: {sample: 0.5}", "states are estimates"),
        ("archive_pipeline: traces/archive", "is not used"),
    ] {
        let found = problems(&with(lines));
        assert!(
            found
                .iter()
                .any(|line| line.contains("warning") && line.contains(words)),
            "{lines}: {found:?}"
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn groups_become_a_filter_and_are_escaped() {
    let filter = |scope: &str| {
        let section = Section::from_yaml(&with(&format!("scope: {scope}")));
        Settings::read(&section).unwrap().filter
    };
    assert_eq!(filter("{}"), "");
    assert_eq!(filter("{groups: [Default]}"), "");
    assert_eq!(
        filter("{groups: [a, 'b\"c']}"),
        r#"group.name = "a" OR group.name = "b\"c""#
    );
    assert_eq!(
        filter("{groups: [a], filter_expression: 'service(\"checkout\")'}"),
        r#"(service("checkout")) AND (group.name = "a")"#
    );
}

#[test]
fn durations_count_days_and_are_written_as_they_are_read() {
    for (text, seconds) in [
        ("30d", 30 * DAY_S),
        ("1d12h0m0s", 36 * HOUR_S),
        ("6h0m0s", 6 * HOUR_S),
        ("0s", 0),
    ] {
        let read = Days::parse(text).unwrap();
        assert_eq!(read, Days::of(seconds));
        assert_eq!(read.to_string(), text);
    }
    for text in ["", "d", "xd", "1.5d", "10", "30dd"] {
        assert!(Days::parse(text).is_err(), "{text}");
    }
}
