//! What is found, what is asked for, and what is not any more.

use super::discovery::{Clients, Discovery};
use super::*;

/// Everything that is ever wanted over some minutes, without polling it.
async fn wanted_over(bench: &Bench, minutes: i64) -> BTreeSet<(String, String, Vec<String>)> {
    let desk = bench.desk().await;
    let clients = Clients::new(&desk);
    let mut discovery = Discovery::new(Arc::clone(&bench.config), &desk);
    let mut wanted = BTreeSet::new();
    for minute in 0..minutes {
        let now = bench.start + 60 * minute;
        bench.simulator.clock().advance_to(UnixNanos::from_seconds(now as u64));
        let failures = driven(bench.simulator.clock(), discovery.refresh(&clients, now)).await;
        assert_eq!(failures, [], "minute {minute}");
        for want in discovery.wants_if_changed().unwrap_or_default() {
            let names = want.dimensions.iter().map(|(name, _)| name.to_string()).collect();
            wanted.insert((want.shape.namespace.to_string(), want.shape.metric.to_string(), names));
        }
    }
    wanted
}

#[tokio::test]
async fn every_metric_of_the_catalogue_is_asked_for_in_every_dimension_set_of_a_world_that_has_it() {
    let bench = Bench::start(scenario("everything"), "").await;
    let wanted = wanted_over(&bench, 70).await;
    let mut missing = Vec::new();
    for namespace in Kind::ALL
        .iter()
        .flat_map(|kind| kind.namespaces())
        .collect::<BTreeSet<_>>()
    {
        let mut metrics = crate::aws::catalogue::catalogue().of(namespace).peekable();
        assert!(metrics.peek().is_some(), "{namespace}");
        for metric in metrics {
            for set in &metric.dimensions {
                let mut names = set.clone();
                names.sort();
                let name = metric.metric.replace("{feature_name}", "age");
                let key = ((*namespace).to_owned(), name, names);
                if !wanted.contains(&key) {
                    missing.push(key);
                }
            }
        }
    }
    assert_eq!(missing, [], "of {} wanted", wanted.len());
}

#[tokio::test]
async fn endpoints_come_and_go_within_five_minutes_and_dead_ones_cost_nothing() {
    let mut bench = Bench::start(scenario("quiet_fleet"), "kinds: [endpoints]").await;
    bench.run_to(50).await;
    let invocations = "amazonaws.com/AWS/SageMaker/Invocations";
    let young = bench.sink.with(invocations, &[("EndpointName", "young")]);
    let first = bench.minute(young.iter().map(|(at, _)| *at).min().unwrap());
    assert_eq!(first, 24, "from its first minute in service on");
    let leaving = bench.sink.with(invocations, &[("EndpointName", "leaving")]);
    let last = bench.minute(leaving.iter().map(|(at, _)| *at).max().unwrap());
    assert_eq!(last, 29, "to its last minute");
    bench.run_to(75).await;
    let asked = |bench: &Bench| bench.simulator.bill().of("GetMetricData").units;
    let before = asked(&bench);
    bench.run_to(76).await;
    // search-rank and young: 6 + 4, images: two of GPUs more, seldom (serverless): 6 + 1; of each one that is listed
    // (ConcurrentRequestsPerModel), of the serverless one another (ModelSetupTime).
    assert_eq!(
        asked(&bench) - before,
        10 + 10 + 12 + 7 + 4 + 1,
        "the one that left is not asked for"
    );
}

#[tokio::test]
async fn names_and_tags_choose_resources_and_tags_become_attributes() {
    let extra = "kinds: [endpoints]\ntags: {team: [\"sea*\"]}\ntag_attributes: [stage, team]";
    let mut bench = Bench::start(scenario("everything"), extra).await;
    bench.run_to(20).await;
    let names = |bench: &Bench| {
        let points = bench.sink.of("amazonaws.com/AWS/SageMaker/Invocations");
        let attributes = points.into_iter().flat_map(|((_, _, attributes, _), _)| attributes);
        let names: BTreeSet<String> = attributes
            .filter(|(name, _)| name == "EndpointName")
            .map(|(_, name)| name)
            .collect();
        names
    };
    assert_eq!(Vec::from_iter(names(&bench)), ["gpu"]);
    let arn = "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/gpu";
    let resource = bench.sink.resources.lock().unwrap()[arn].clone();
    assert_eq!(resource["tag.team"], "search");
    assert_eq!(resource["tag.stage"], "prod");
    let mut bench = Bench::start(
        scenario("everything"),
        "kinds: [endpoints]\ninclude: [\"*-*\"]\nexclude: [many*]",
    )
    .await;
    bench.run_to(20).await;
    assert_eq!(Vec::from_iter(names(&bench)), ["on-call"]);
}

#[tokio::test]
async fn points_below_a_minute_are_read_where_they_are_wanted() {
    let mut bench = Bench::start(
        scenario("everything"),
        "kinds: [endpoints]\nhigh_resolution: true\ninclude: [gpu]",
    )
    .await;
    bench.run_to(15).await;
    let cpu = "amazonaws.com//aws/sagemaker/Endpoints/CPUUtilization";
    let gpu = [("EndpointName", "gpu"), ("VariantName", "AllTraffic")];
    let points = bench.sink.with(cpu, &gpu);
    let starts: BTreeSet<i64> = points.iter().map(|(at, _)| at.rem_euclid(60)).collect();
    assert_eq!(Vec::from_iter(starts), [0, 10, 20, 30, 40, 50]);
    let observed = bench.sink.with("aws.sagemaker.instances", &[("State", "observed")]);
    assert!(
        !observed.is_empty() && observed.iter().all(|(_, count)| *count == 2.0),
        "{observed:?}"
    );
    let mut bench = Bench::start(scenario("everything"), "kinds: [endpoints]\ninclude: [gpu]").await;
    bench.run_to(15).await;
    let points = bench.sink.with(cpu, &gpu);
    assert!(!points.is_empty() && points.iter().all(|(at, _)| at % 60 == 0));
    let observed = bench.sink.with("aws.sagemaker.instances", &[("State", "observed")]);
    assert!(
        !observed.is_empty() && observed.iter().all(|(_, count)| *count == 2.0),
        "{observed:?}"
    );
}

#[tokio::test]
async fn a_listing_that_fails_on_its_second_page_keeps_what_was_known() {
    let mut world = scenario("everything");
    let one = world.sagemaker.feature_groups[0].clone();
    for number in 0..150 {
        let mut more = one.clone();
        more.name = format!("more-{number:03}");
        world.sagemaker.feature_groups.push(more);
    }
    let bench = Bench::start(world, "kinds: [feature_groups]").await;
    let desk = bench.desk().await;
    let clients = Clients::new(&desk);
    let mut discovery = Discovery::new(Arc::clone(&bench.config), &desk);
    let refresh =
        async |discovery: &mut Discovery, now| driven(bench.simulator.clock(), discovery.refresh(&clients, now)).await;
    assert_eq!(refresh(&mut discovery, bench.start).await, []);
    let known = discovery.fleet.feature_groups.len();
    assert!(known > 150, "{known}");
    let broken = FaultKind::Error {
        status: 500,
        code: "InternalFailure".to_owned(),
    };
    let fault = Fault::of("ListFeatureGroups", 0, 10_000, broken).every(2);
    bench.simulator.set_faults(vec![fault]);
    let failures = refresh(&mut discovery, bench.start + 360).await;
    assert_eq!(failures.len(), 1);
    assert_eq!(discovery.fleet.feature_groups.len(), known);
}

#[tokio::test]
async fn the_plan_says_what_a_fleet_costs_without_asking_for_metrics() {
    let simulator = Simulator::frozen(Scenario::named("gpu_saturation").unwrap());
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    simulator.clock().step(std::time::Duration::from_secs(1_200));
    let text = format!(
        "regions: [eu-central-1]\nendpoint: {}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n",
        served.url()
    );
    let blueprint = super::super::blueprint(&Section::from_yaml(&text)).unwrap();
    let context = BuildContext {
        clock: Arc::new(simulator.clock().clone()),
        ..BuildContext::standalone(ComponentKind::Receiver, "sagemaker")
    };
    let mut taken = Default::default();
    let looking = engine::forecast(blueprint.as_ref(), &context, &mut taken);
    let passing = async {
        loop {
            let wake = simulator.clock().next_wake().await;
            simulator.clock().advance_to(wake);
            tokio::task::yield_now().await;
        }
    };
    let plan = tokio::select! {
        biased;
        plan = looking => plan.unwrap(),
        () = passing => unreachable!("time passes for ever"),
    };
    assert!(plan[0].resources >= 1 && plan[0].busy >= 1, "{plan:?}");
    assert_eq!(plan[0].notes, Vec::<String>::new());
    let (least, most) = (plan[0].least[0].0, plan[0].most[0].0);
    assert!(
        plan[0].classes.values().map(|class| class.series).sum::<usize>() > 5,
        "{plan:?}"
    );
    assert!(least <= most, "{plan:?}");
    assert_eq!(simulator.bill().usd(), 0.0, "only free calls");
}
