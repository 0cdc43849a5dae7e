//! More than one region, and accounts that are read by their roles: what one place cannot tell is not told by another.

use super::*;

const ROLE: &str = "arn:aws:iam::444455556666:role/reader";
const EVERY_DAY: &str = "schedule: {every: 24h}";

fn state_at(bench: &Bench, labels: &[(&str, &str)], state: State) -> Option<f64> {
    let mut labels = labels.to_vec();
    labels.push(("state", state.name()));
    bench.metric("aws_xray_retention_traces", &labels)
}

#[tokio::test]
async fn regions_are_counted_apart_and_one_that_cannot_be_read_hides_no_other() {
    let bench = Bench::at("regions: [eu-central-1, us-east-1]", scenario(0.05, 1_440), EVERY_DAY).await;
    let begin = bench.now();
    let all = bench.deliver_all(begin, begin + DAY_S);
    bench.step_days(2.5);
    let mut denied = Fault::of("GetTraceSummaries", 0, 100_000, FaultKind::Denied);
    denied.region = Some("us-east-1".to_owned());
    bench.simulator.set_faults(vec![denied]);
    let report = bench.run().await;
    let places: Vec<&str> = report.shards.iter().map(|shard| shard.place.as_str()).collect();
    assert_eq!(places, ["eu-central-1", "us-east-1"]);
    assert_eq!(report.shards[0].counts.of(State::Archived), all);
    assert_eq!(report.shards[0].counts.of(State::Unknown), 0);
    assert_eq!(report.shards[1].counts.of(State::Archived), 0);
    assert!(report.shards[1].counts.of(State::Unknown) > 0);
    assert_eq!(report.exit_code(true), 3, "a region that cannot be read is not green");
    let at = |region| [("region", region)];
    assert_eq!(state_at(&bench, &at("eu-central-1"), State::Archived), Some(all as f64));
    assert_eq!(state_at(&bench, &at("us-east-1"), State::Archived), Some(0.0));
    assert!(state_at(&bench, &at("us-east-1"), State::Unknown) > Some(0.0));
    let success = |region| bench.metric("aws_xray_retention_check_last_success_seconds", &at(region));
    assert!(success("eu-central-1").is_some() && success("us-east-1").is_none());
    // The other region can be read: nothing is there.
    bench.simulator.set_faults(Vec::new());
    bench.step_days(0.5);
    let report = bench.run().await;
    assert_eq!(
        report.counts().of(State::Archived),
        all,
        "{:?}",
        report.shards[1].troubles
    );
    assert_eq!(report.counts().total(), all);
    assert_eq!(report.exit_code(true), 0);
}

#[tokio::test]
async fn another_account_is_read_by_its_role_and_is_unknown_while_the_role_is_refused() {
    let mut scenario = scenario(0.05, 1_440);
    let places = format!("regions: [eu-central-1]\naccounts: [{{role_arn: '{ROLE}', external_id: audit}}]");
    let bench = Bench::at(&places, scenario.clone(), EVERY_DAY).await;
    bench.step_days(2.5);
    let report = bench.run().await;
    assert!(
        report.shards[0].failed.is_some() || report.counts().of(State::Unknown) > 0,
        "{report:?}"
    );
    assert_eq!(report.counts().of(State::Pending) + report.counts().of(State::Lost), 0);
    assert_eq!(report.exit_code(true), 3);

    scenario.roles = vec![crate::simulator::Role {
        arn: ROLE.to_owned(),
        external_id: Some("audit".to_owned()),
    }];
    let bench = Bench::at(&places, scenario, EVERY_DAY).await;
    let begin = bench.now();
    let traces = bench.traces(begin, begin + DAY_S);
    for (id, (start, spans)) in traces.iter().skip(traces.len() / 2) {
        bench.deliver(*id, *start, &spans.iter().collect::<Vec<_>>(), false);
    }
    bench.ledger.flush().unwrap();
    bench.step_days(2.5);
    let report = bench.run().await;
    assert_eq!(report.shards[0].place, format!("{ROLE} in eu-central-1"));
    let said = bench.said();
    for (number, id) in traces.keys().enumerate() {
        let wanted = if number < traces.len() / 2 {
            State::Pending
        } else {
            State::Archived
        };
        assert_eq!(said.get(id), Some(&wanted), "{:?}", report.shards[0].troubles);
    }
    assert_eq!(report.counts().total(), traces.len() as u64);
    let of_the_account = [("account_id", "444455556666"), ("region", "eu-central-1")];
    let archived = traces.len().div_ceil(2) as f64;
    assert_eq!(state_at(&bench, &of_the_account, State::Archived), Some(archived));
    let callers: std::collections::BTreeSet<String> = bench
        .simulator
        .calls()
        .into_iter()
        .filter(|call| call.api == "GetTraceSummaries")
        .map(|call| call.account)
        .collect();
    assert_eq!(callers.into_iter().collect::<Vec<_>>(), ["444455556666"]);
}

#[tokio::test]
async fn a_trace_that_two_accounts_list_is_proven_by_one_copy() {
    let mut scenario = scenario(0.03, 1_440);
    let other = ROLE.replace("444455556666", "777788889999");
    let role = |arn: &str| crate::simulator::Role {
        arn: arn.to_owned(),
        external_id: None,
    };
    scenario.roles = vec![role(ROLE), role(&other)];
    let places = format!("regions: [eu-central-1]\naccounts: [{{role_arn: '{ROLE}'}}, {{role_arn: '{other}'}}]");
    let bench = Bench::at(&places, scenario, EVERY_DAY).await;
    let begin = bench.now();
    let all = bench.deliver_all(begin, begin + DAY_S);
    bench.step_days(2.5);
    let report = bench.run().await;
    assert_eq!(report.shards.len(), 2);
    for shard in &report.shards {
        assert_eq!(shard.counts.of(State::Archived), all, "{:?}", shard.troubles);
    }
    assert_eq!(report.exit_code(true), 0);
}
