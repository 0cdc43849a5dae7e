use super::*;
use crate::component::{ComponentKind, ComponentState};
use crate::config::Section;
use crate::retention::auditor::report::ShardReport;

const HOUR_S: u64 = 3_600;

fn report(hour: u64, unknown: u64, failed: Option<&str>) -> Report {
    let mut shard = ShardReport {
        place: "eu-central-1".to_owned(),
        failed: failed.map(str::to_owned),
        ..ShardReport::default()
    };
    shard.counts.add_many(State::Unknown, unknown);
    shard.counts.add_many(State::Archived, 10);
    Report {
        shards: vec![shard],
        at: 1_000_000 + hour * HOUR_S,
        ..Report::default()
    }
}

#[tokio::test]
async fn what_stays_unknown_raises_the_alarm_after_unknown_for_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let section =
        Section::from_yaml("regions: [eu-central-1]\nunknown_for: 12h\narchives: [{ledger: {exporters: [otlp]}}]");
    let settings = Arc::new(Settings::read(&section).unwrap());
    let mut context = BuildContext::standalone(ComponentKind::Processor, "span_retention");
    context.state_dir = Some(folder.path().to_owned());
    let runtime = Runtime::of(&settings, &context).unwrap();
    let health = Health::new(context.clone());
    let mut since = None;
    // Hour of the run, traces unknown, why the check could not be made; whether it is an alarm.
    for (hour, unknown, failed, is_alarm) in [
        (0, 5, None, false),
        (6, 5, None, false),
        (11, 900, None, false),
        (12, 1, None, true),
        (18, 1, None, true),
        // Known once: it begins anew.
        (24, 0, None, false),
        (30, 0, Some("no permission"), false),
        (36, 3, None, false),
        (42, 0, Some("no permission"), true),
        (48, 0, None, false),
    ] {
        runtime.say_how_long(&health, &mut since, &report(hour, unknown, failed));
        let states = context.status.components();
        let state = states
            .iter()
            .find(|(_, id, _)| *id == context.id)
            .map(|(_, _, state)| state);
        let says_so = matches!(state, Some(ComponentState::Degraded(why)) if why.contains("unknown for"));
        assert_eq!(says_so, is_alarm, "hour {hour}: {state:?}");
    }
}

#[test]
fn a_run_that_takes_too_long_lets_the_next_ones_pass() {
    let hours = |hours: u64| Duration::from_secs(hours * HOUR_S);
    assert_eq!(next_run(hours(0), hours(6)), (0, hours(6)));
    assert_eq!(next_run(hours(5), hours(6)), (0, hours(1)));
    // One that ends as the next is due is followed by the one after it.
    assert_eq!(next_run(hours(6), hours(6)), (1, hours(6)));
    assert_eq!(next_run(hours(20), hours(6)), (3, hours(4)));
}
