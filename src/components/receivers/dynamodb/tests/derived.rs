//! Derived signals, each by the scenario that it is there for.

use super::*;
use crate::aws::cloudwatch::bill::Ledgers;

/// Points of a derived signal: attributes without the table, minute of the end, value.
fn points(bench: &Bench, name: &str) -> Vec<(String, i64, f64)> {
    let mut found: Vec<(String, i64, f64)> = bench
        .sink
        .of(&format!("aws.dynamodb.{name}"))
        .into_iter()
        .map(|((_, _, attributes, at), values)| {
            let told = attributes.iter().filter(|(key, _)| key != "TableName");
            let told: Vec<String> = told.map(|(key, value)| format!("{key}={value}")).collect();
            (told.join(" "), (at - bench.start) / 60, values[values.len() - 1].0)
        })
        .collect();
    found.sort_by_key(|(_, at, _)| *at);
    found
}

async fn played(scenario: &str, extra: &str, minutes: i64) -> Bench {
    let mut scenario = Scenario::named(scenario).unwrap();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, extra).await;
    bench.run_to(minutes).await;
    bench
}

/// Different sets of attributes that were above 0, in the order they came, with their greatest value.
fn episodes(bench: &Bench) -> Vec<(String, f64)> {
    let mut seen: Vec<(String, f64)> = Vec::new();
    for (attributes, _, minutes) in points(bench, "throttle.minutes") {
        if minutes == 0.0 {
            continue;
        }
        match seen.iter_mut().find(|(have, _)| *have == attributes) {
            Some((_, most)) => *most = most.max(minutes),
            None => seen.push((attributes, minutes)),
        }
    }
    seen
}

fn write(cause: &str, pattern: &str) -> String {
    format!("Cause={cause} Direction=Write Inferred=false Pattern={pattern}")
}

#[tokio::test]
async fn a_burst_of_throttles_is_told_with_its_cause() {
    let bench = played("throttle_burst", "", 40).await;
    assert_eq!(episodes(&bench), [(write("provisioned_capacity", "burst"), 2.0)]);
    let all = points(&bench, "throttle.minutes");
    assert_eq!(all[all.len() - 1].2, 0.0, "the window has moved on: {all:?}");
    // The first throttled minute is the fifth; windows are told by their start.
    assert_eq!(all[0].1, 5 - 14);
}

#[tokio::test]
async fn a_quarter_of_an_hour_of_throttles_is_sustained() {
    let bench = played("sustained_throttle", "", 40).await;
    let seen = episodes(&bench);
    let of = |pattern: &str| write("provisioned_capacity", pattern);
    let names: Vec<&String> = seen.iter().map(|(name, _)| name).collect();
    assert_eq!(names[..3], [&of("burst"), &of("intermittent"), &of("sustained")]);
    assert_eq!(seen[2].1, 15.0);
    let throttled: f64 = points(&bench, "requests.throttled").iter().map(|point| point.2).sum();
    let world = bench.simulator.world();
    let series = world
        .series()
        .iter()
        .filter(|series| series.metric == "ThrottledRequests");
    let true_sum: f64 = series
        .flat_map(|series| (0..30).map(|minute| (series.clone(), minute)))
        .filter_map(|(series, minute)| {
            let samples = world.final_samples(&series, bench.start + 60 * minute);
            samples.get(Statistic::parse("Sum").unwrap())
        })
        .sum();
    assert!(true_sum > 0.0);
    assert_eq!(throttled, true_sum);
    let ratios = points(&bench, "error_ratio");
    let put = ratios
        .iter()
        .filter(|(attributes, ..)| attributes == "Operation=PutItem Type=throttle");
    let worst = put.map(|point| point.2).fold(0.0, f64::max);
    assert!((0.2..0.5).contains(&worst), "{worst}");
    assert!(!points(&bench, "latency.mean").is_empty() && !points(&bench, "latency.p99_max").is_empty());
    assert!(points(&bench, "system_errors").iter().all(|point| point.2 == 0.0));
}

#[tokio::test]
async fn a_hot_partition_is_told_with_or_without_its_causes() {
    let bench = played("hot_partition", "", 30).await;
    let seen = episodes(&bench);
    assert!(
        seen.iter()
            .any(|(name, _)| *name == write("hot_partition", "sustained")),
        "{seen:?}"
    );
    assert!(seen.iter().all(|(name, _)| name.contains("Inferred=false")), "{seen:?}");
    // Without the causes the use of the table tells.
    let bench = played(
        "hot_partition",
        "metrics: {exclude: ['*KeyRange*', '*Provisioned*ThrottleEvents']}",
        30,
    )
    .await;
    let seen = episodes(&bench);
    assert!(!seen.is_empty());
    for (name, _) in seen {
        assert!(
            name.contains("Cause=hot_partition") && name.contains("Inferred=true"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn back_pressure_of_an_index_is_told() {
    let bench = played("gsi_backpressure", "", 40).await;
    let seen = episodes(&bench);
    assert!(!seen.is_empty());
    for (name, _) in seen {
        let of_index = name.contains("GlobalSecondaryIndexName=by-status") && name.contains("Direction=Write");
        assert!(of_index && name.contains("gsi_backpressure=true"), "{name}");
        assert!(name.contains("Cause=provisioned_capacity"), "{name}");
    }
}

#[tokio::test]
async fn hot_keys_are_told_by_a_hash_or_plainly_where_that_is_wanted() {
    let bench = played("hot_partition", "hot_keys: {enabled: true, period: 1m, top: 1}", 16).await;
    let keys = points(&bench, "hot_key.requests");
    let consumed: Vec<_> = keys.iter().filter(|point| point.0.contains("Rule=PKC")).collect();
    let throttled: Vec<_> = keys.iter().filter(|point| point.0.contains("Rule=PKT")).collect();
    assert!(!consumed.is_empty() && !throttled.is_empty(), "{keys:?}");
    assert!(
        keys.iter()
            .all(|point| point.0.contains("KeyHash=") && point.0.contains("Rank=1"))
    );
    assert!(!format!("{keys:?}").contains("candidate"), "keys are user data");
    let hashes: std::collections::BTreeSet<&str> = keys.iter().filter_map(|point| point.0.split(' ').next()).collect();
    assert_eq!(hashes.len(), 1, "one key is the hottest all the time: {hashes:?}");
    let billed = bench.count("cloudwatch_billed_metrics_total", Some("insights"));
    assert_eq!(billed, bench.simulator.bill().of("GetInsightRuleReport").units);
    let ledger = bench.context.commons.get::<Ledgers>().of(bench.context.id.as_str());
    let units = bench.simulator.bill().of("GetMetricData").units;
    let now = bench.simulator.clock().now().seconds() as i64;
    assert_eq!(ledger.spend(now).units, units + billed, "the budget sees reports too");
    let text = format!(
        "regions: [eu-central-1]\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, \
         secret_access_key: simulated}}\nhot_keys: {{enabled: true, plaintext: true}}\n",
        bench.served.url()
    );
    let section = Section::from_yaml(&text);
    assert!(config::check(&section).is_some());
    assert!(
        section.problems().iter().any(|problem| problem.contains("plaintext")),
        "{:?}",
        section.problems()
    );
}

#[tokio::test]
async fn a_growing_table_is_compared_with_a_week_ago() {
    let extra = "metrics: {include: [ReadThrottleEvents]}\nbackfill: {max: 10m}\nitem_collections:\n\
                 - {table: runs, key: 'experiment#1', model: {runs: 1000, tags: 10, params: 20, metrics: 15, steps: 100}, \
                 query: {'run#': 2000, 'step#': 150}}\n";
    let mut bench = played("growing_table", extra, 1).await;
    for _ in 0..31 {
        assert!(
            points(&bench, "item_count.growth_7d").is_empty(),
            "no week is known yet"
        );
        let now = bench.simulator.clock().now().seconds();
        // Describe runs every quarter of an hour: the last round before the week is over knows the count.
        bench
            .simulator
            .clock()
            .advance_to(UnixNanos::from_seconds(now + 5 * 3600 + 1800));
        bench.round().await;
        if now + 5 * 3600 + 1800 - bench.start as u64 >= 7 * 86_400 {
            break;
        }
    }
    let growth = points(&bench, "item_count.growth_7d");
    let last = |growth: &[(String, i64, f64)]| growth.iter().map(|point| point.2).collect::<Vec<f64>>();
    // 168 hours of 10,000 items on 1,680,000: the counts are some hours old, and a table without growth is there too.
    let growth = last(&growth);
    assert_eq!(growth.len(), 2, "{growth:?}");
    assert!(growth.contains(&0.0), "{growth:?}");
    assert!(
        growth.iter().any(|percent| (90.0..110.0).contains(percent)),
        "{growth:?}"
    );
    let counts = points(&bench, "item_count");
    assert!(counts.iter().any(|point| point.2 >= 3_000_000.0), "{counts:?}");
    assert!(!points(&bench, "table_size").is_empty());
    let sizes = points(&bench, "item_collection.size");
    let of = |source: &str| {
        sizes
            .iter()
            .find(|point| point.0.contains(&format!("Source={source}")))
            .unwrap()
            .2
    };
    assert_eq!(of("model"), 240.5e6);
    assert_eq!(of("query"), 4_000.0 * 2_000.0 + 20_000.0 * 150.0);
}

#[tokio::test]
async fn samples_outlive_the_process() {
    let mut scenario = Scenario::named("growing_table").unwrap();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "metrics: {include: [ReadThrottleEvents]}").await;
    bench.run_to(2).await;
    let mut kept = Vec::new();
    bench
        .context
        .state
        .scan("dynamodb.items", b"", &mut |key, _| {
            kept.push(String::from_utf8_lossy(key).into_owned());
            true
        })
        .unwrap();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept[0].ends_with("\0runs\0") && kept[0].starts_with("dynamodb\0"),
        "{kept:?}"
    );
}

#[tokio::test]
async fn the_accounts_limits_and_what_is_provisioned_are_told() {
    let bench = played("gsi_backpressure", "", 3).await;
    let limits = points(&bench, "account.limit");
    let of = |told: &str| limits.iter().find(|point| point.0 == told).map(|point| point.2);
    assert_eq!(of("Direction=Read Scope=account"), Some(80_000.0));
    assert_eq!(of("Direction=Write Scope=table"), Some(40_000.0));
    let provisioned = points(&bench, "account.provisioned");
    let of = |told: &str| provisioned.iter().find(|point| point.0 == told).map(|point| point.2);
    assert_eq!((of("Direction=Read"), of("Direction=Write")), (Some(70.0), Some(260.0)));
}

#[tokio::test]
async fn what_the_pipeline_refused_comes_once_it_takes_again() {
    let mut scenario = Scenario::named("throttle_burst").unwrap();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    bench.run_to(8).await;
    *bench.sink.refusing.lock().unwrap() = Some(Refused::retryable("full"));
    bench.run_to(14).await;
    *bench.sink.refusing.lock().unwrap() = None;
    bench.run_to(40).await;
    assert_eq!(episodes(&bench), [(write("provisioned_capacity", "burst"), 2.0)]);
    let minutes: Vec<i64> = points(&bench, "requests.throttled")
        .iter()
        .map(|point| point.1)
        .collect();
    let whole: Vec<i64> = (minutes[0]..=minutes[minutes.len() - 1]).collect();
    assert_eq!(minutes, whole, "each minute once");
}
