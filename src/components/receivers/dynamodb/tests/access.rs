//! Credentials, permissions, accounts and regions.

use super::*;

#[tokio::test]
async fn an_outage_shows_as_blind_and_not_as_zeros() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    bench.run_to(20).await;
    let denied = Fault::of("GetMetricData", 20, 70, FaultKind::Denied);
    bench.simulator.set_faults(vec![denied]);
    bench.run_to(65).await;
    let last = |name: &str| bench.sink.of(name).last().unwrap().1[0].0;
    assert_eq!(last("aws.cloudwatch.poll.up"), 0.0);
    assert_eq!(last("aws.cloudwatch.blind"), 1.0);
    let states = bench.context.status.components();
    let ComponentState::Degraded(why) = &states[0].2 else {
        panic!("{states:?}");
    };
    assert!(why.contains("cloudwatch:GetMetricData"), "{why}");
    let throttles = bench.sink.of("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents");
    assert!(
        throttles.iter().all(|((_, _, _, at), _)| *at < bench.start + 20 * 60),
        "no zero while blind"
    );
    bench.simulator.set_faults(Vec::new());
    bench.run_to(110).await;
    bench.compare(-10, 95).assert_exact();
    assert_eq!(bench.context.status.components()[0].2, ComponentState::Ok);
    let blind = bench.sink.of("aws.cloudwatch.blind");
    assert_eq!(blind.last().unwrap().1[0].0, 0.0);
}

#[tokio::test]
async fn roles_of_other_accounts_are_assumed_with_their_external_id() {
    let mut scenario = Scenario::quiet();
    scenario.roles.push(crate::simulator::Role {
        arn: "arn:aws:iam::444455556666:role/monitoring".to_owned(),
        external_id: Some("e-1".to_owned()),
    });
    scenario.tables[0].account = Some("444455556666".to_owned());
    let extra = "accounts: [{role_arn: \"arn:aws:iam::444455556666:role/monitoring\", external_id: e-1}]";
    let mut bench = Bench::start(scenario, extra).await;
    bench.run_to(20).await;
    let resources = bench.sink.resources.lock().unwrap();
    assert!(resources.contains_key("arn:aws:dynamodb:eu-central-1:444455556666:table/users"));
    assert!(
        resources
            .values()
            .all(|attributes| attributes["cloud.account.id"] == "444455556666")
    );
}

#[tokio::test]
async fn an_unknown_account_degrades_the_receiver_until_sts_answers() {
    let simulator = Simulator::frozen(Scenario::quiet());
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let start = simulator.world().minute_of(simulator.clock().now().seconds() as i64);
    simulator.set_faults(vec![Fault::of(
        "GetCallerIdentity",
        start,
        start + 3,
        FaultKind::Denied,
    )]);
    let config = config_with(&served.url(), "");
    let context = context_with(simulator.clock());
    let opened = open(&simulator, &config, &context, Outlet::to(Arc::new(Sink::default()))).await;
    assert!(opened.is_some());
    assert_eq!(context.status.components()[0].2, ComponentState::Ok);
    let refused = simulator.calls().iter().filter(|call| call.status == 403).count();
    assert!(refused >= 5, "{refused}");
}

/// A world whose only table lives in another account, and the extra configuration to read it.
fn other_account() -> (Scenario, &'static str) {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    scenario.roles.push(crate::simulator::Role {
        arn: "arn:aws:iam::444455556666:role/monitoring".to_owned(),
        external_id: None,
    });
    for table in &mut scenario.tables {
        table.account = Some("444455556666".to_owned());
    }
    let extra = "accounts: [{role_arn: \"arn:aws:iam::444455556666:role/monitoring\"}]";
    (scenario, extra)
}

#[tokio::test]
async fn expired_credentials_are_read_anew_at_once_and_then_not_all_the_time() {
    let (scenario, extra) = other_account();
    let mut bench = Bench::start(scenario, extra).await;
    let assumed = |bench: &Bench| {
        let calls = bench.simulator.calls();
        calls.iter().filter(|call| call.api == "AssumeRole").count()
    };
    bench.run_to(10).await;
    let before = assumed(&bench);
    // The second call of the round finds them expired; asked again with new ones it passes.
    let once = Fault::of("GetMetricData", 10, 11, FaultKind::Expired).every(2);
    bench.simulator.set_faults(vec![once]);
    bench.run_to(11).await;
    assert_eq!(assumed(&bench), before + 1);
    assert_eq!(bench.state(), ComponentState::Ok);
    let lasting = Fault::of("GetMetricData", 20, 24, FaultKind::Expired);
    bench.simulator.set_faults(vec![lasting]);
    bench.run_to(24).await;
    assert_eq!(assumed(&bench), before + 2, "one forced refresh for all of it");
    let ComponentState::Degraded(why) = bench.state() else {
        panic!("not degraded");
    };
    assert!(why.contains("credentials have expired"), "{why}");
    bench.run_to(50).await;
    assert_eq!(bench.state(), ComponentState::Ok);
    bench.compare(-10, 35).assert_exact();
}

#[tokio::test]
async fn a_missing_permission_is_named_and_costs_only_what_needs_it() {
    let mut scenario = Scenario::demo();
    scenario.lag = Lag::NONE;
    let simulator_faults = |to| {
        ["ListTables", "DescribeTable"]
            .map(|api| Fault::of(api, -10, to, FaultKind::Denied))
            .to_vec()
    };
    let mut bench = Bench::start(scenario, "").await;
    bench.simulator.set_faults(simulator_faults(40));
    bench.run_to(40).await;
    let ComponentState::Degraded(why) = bench.state() else {
        panic!("not degraded");
    };
    for action in ["dynamodb:ListTables", "dynamodb:DescribeTable"] {
        assert_eq!(why.matches(action).count(), 1, "{why}");
    }
    assert!(why.contains("(and 3 more)"), "four tables: {why}");
    let orders = "arn:aws:dynamodb:eu-central-1:111122223333:table/orders";
    let throttled = bench.sink.of("amazonaws.com/AWS/DynamoDB/WriteThrottleEvents");
    assert!(
        throttled
            .iter()
            .any(|((resource, ..), values)| resource == orders && values[0].0 > 0.0)
    );
    // The provisioned units come from CloudWatch then.
    let used = bench.sink.of("aws.dynamodb.capacity.utilization");
    assert!(used.iter().any(|(_, values)| values[0].0 == 100.0));
    bench.run_to(55).await;
    assert_eq!(bench.state(), ComponentState::Ok, "tried again after ten minutes");
}

#[tokio::test]
async fn metrics_that_may_not_be_read_stay_named_and_the_others_go_on() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "").await;
    let forbidden = FaultKind::SeriesStatus {
        status: "Forbidden".to_owned(),
        metric: Some("UserErrors".to_owned()),
    };
    bench
        .simulator
        .set_faults(vec![Fault::of("GetMetricData", 0, 10, forbidden)]);
    bench.run_to(30).await;
    let ComponentState::Degraded(why) = bench.state() else {
        panic!("not degraded");
    };
    assert!(
        why.contains("1 metrics may not be read by cloudwatch:GetMetricData"),
        "{why}"
    );
    let consumed = bench.sink.of("amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits");
    assert!(!consumed.is_empty());
    bench.run_to(75).await;
    assert_eq!(bench.state(), ComponentState::Ok, "asked again after an hour");
}

#[tokio::test]
async fn regions_fail_alone() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut elsewhere = scenario.tables[0].clone();
    elsewhere.region = "us-east-1".to_owned();
    elsewhere.name = "elsewhere".to_owned();
    scenario.tables.push(elsewhere);
    let mut blocked = scenario.tables[0].clone();
    blocked.region = "us-west-2".to_owned();
    blocked.name = "blocked".to_owned();
    scenario.tables.push(blocked);
    let simulator = Simulator::frozen(scenario);
    let mut denied = Fault::of("GetMetricData", -10, 10_000, FaultKind::Denied);
    denied.region = Some("us-west-2".to_owned());
    simulator.set_faults(vec![denied]);
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let text = format!(
        "regions: [eu-central-1, us-east-1, us-west-2]\nendpoint: {}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n\
         polling: {{source: gmd}}\n",
        served.url()
    );
    let config = Arc::new(config::check(&Section::from_yaml(&text)).unwrap());
    let sink = Arc::new(Sink::default());
    let (context, running) = start_receiver(&simulator, config, &sink).await;
    pass_until(&simulator, || {
        let points = sink.of("amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits");
        let of = |region: &str| points.iter().any(|((resource, ..), _)| resource.contains(region));
        assert!(!of("us-west-2"));
        let told = context.status.components().first().map(|component| component.2.clone());
        let degraded = matches!(&told, Some(ComponentState::Degraded(why)) if why.contains("us-west-2: polling"));
        of("eu-central-1") && of("us-east-1") && degraded
    })
    .await;
    let resources = sink.resources.lock().unwrap().clone();
    let elsewhere = &resources["arn:aws:dynamodb:us-east-1:111122223333:table/elsewhere"];
    assert_eq!(elsewhere["cloud.region"], "us-east-1");
    running.stop(Deadline::after(Duration::from_secs(10))).await;
}
