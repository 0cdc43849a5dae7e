//! The price table of the design, row by row, and what moves a series from one row to another.

use std::sync::Arc;

use super::super::history::Answer;
use super::super::want::{Class, Names, Shape, Stat, Taste, Want, statistics};
use super::*;
use crate::aws::catalogue::catalogue;

const NOW: i64 = 1_800_000_000;
const DAYS_AGO: i64 = NOW - 10 * 86_400;

fn want(metric: &str, dimensions: &[(&str, &str)], resource: &str) -> Want {
    let known = catalogue().find("AWS/DynamoDB", metric).unwrap();
    let taste = Taste {
        percentiles: ["p50", "p90", "p99"].map(str::to_owned).to_vec(),
        ..Taste::default()
    };
    let shape = Shape {
        namespace: "AWS/DynamoDB".into(),
        metric: metric.into(),
        kind: known.otel_kind,
        unit: known.unit.as_str().into(),
        statistics: statistics(known, &taste),
        period: i64::from(known.period_s),
        class: class_of(known),
        fill: false,
        heartbeat: false,
    };
    Want {
        shape: Arc::new(shape),
        dimensions: Names::default().dimensions(dimensions),
        resource: resource.into(),
        exists_from: 0,
    }
}

fn answer(want: &Want, points: impl IntoIterator<Item = (i64, f64)>) -> Answer {
    let width = want.shape.statistics.len();
    let mut answer = Answer::of_width(width);
    for (at, value) in points {
        answer.push(at, vec![value; width]);
    }
    answer
}

/// The 65 series of the reference table: provisioned, two indexes, six operations.
fn reference_table(name: &str) -> Vec<Want> {
    let mut wants = Vec::new();
    for index in [None, Some("a"), Some("b")] {
        let mut dimensions = vec![("TableName", name)];
        dimensions.extend(index.map(|index| ("GlobalSecondaryIndexName", index)));
        for direction in ["Read", "Write"] {
            for metric in ["Consumed?CapacityUnits", "Provisioned?CapacityUnits"] {
                wants.push(want(&metric.replace('?', direction), &dimensions, name));
            }
            for cause in [
                "",
                "ProvisionedThroughput",
                "KeyRangeThroughput",
                "MaxOnDemandThroughput",
                "AccountLimit",
            ] {
                wants.push(want(&format!("{direction}{cause}ThrottleEvents"), &dimensions, name));
            }
        }
    }
    for operation in ["PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Scan"] {
        let dimensions = [("TableName", name), ("Operation", operation)];
        for metric in ["SuccessfulRequestLatency", "ThrottledRequests", "SystemErrors"] {
            wants.push(want(metric, &dimensions, name));
        }
        if ["Query", "Scan"].contains(&operation) {
            wants.push(want("ReturnedItemCount", &dimensions, name));
        }
    }
    for metric in [
        "ConditionalCheckFailedRequests",
        "TransactionConflict",
        "TimeToLiveDeletedItemCount",
    ] {
        wants.push(want(metric, &[("TableName", name)], name));
    }
    wants
}

fn account() -> Vec<Want> {
    let of_account = catalogue()
        .of("AWS/DynamoDB")
        .filter(|metric| metric.has_dimensions(&[]));
    of_account.map(|metric| want(&metric.metric, &[], "")).collect()
}

/// One value a period over the last hours.
fn points(want: &Want, value: impl Fn(i64) -> f64) -> Answer {
    let period = want.shape.period;
    let first = (NOW - 4 * 3600) / period;
    answer(want, (first..NOW / period).map(|n| (n * period, value(n))))
}

fn is(want: &Want, metric: &str) -> bool {
    &*want.shape.metric == metric
}

struct Fleet {
    schedule: Schedule,
    members: Vec<(Want, Pace)>,
}

impl Fleet {
    fn new(mode: Mode) -> Self {
        let schedule = Schedule::new(Rhythm { mode, interval: 60 }, Vec::new());
        Self {
            schedule,
            members: Vec::new(),
        }
    }

    /// Enrols series and lets each hear what `says` gives.
    fn add(&mut self, wants: Vec<Want>, says: impl Fn(&Want) -> Option<f64>) {
        for want in wants {
            let mut pace = self.schedule.enrol(&want);
            let heard = match says(&want) {
                Some(value) => points(&want, |_| value),
                None => Answer::default(),
            };
            self.schedule.heard(&mut pace, &want, &heard, DAYS_AGO, NOW);
            self.members.push((want, pace));
        }
    }

    fn hear(&mut self, metric: &str, point: (i64, f64), now: i64) {
        for (want, pace) in self.members.iter_mut().filter(|(want, _)| is(want, metric)) {
            let answer = answer(want, [point]);
            self.schedule.heard(pace, want, &answer, now - 1200, now);
        }
    }

    fn interval(&self, metric: &str, now: i64) -> Option<i64> {
        let (_, pace) = self.members.iter().find(|(want, _)| is(want, metric)).unwrap();
        self.schedule.interval(pace, now).1
    }

    fn usd_per_month(&self, level: Level) -> f64 {
        let survey = self.schedule.survey(self.members.iter().map(|(_, pace)| pace), NOW);
        survey.rates[level as usize].0 * MONTH_HOURS * USD_PER_UNIT
    }
}

/// Requests go on: 39 of 41 detail series silent, provisioned capacity unchanged.
fn busy(want: &Want) -> Option<f64> {
    match &*want.shape.metric {
        "ReturnedItemCount" => Some(3.0),
        metric if metric.starts_with("Consumed") || metric == "SuccessfulRequestLatency" => Some(5.0),
        metric if metric.starts_with("Provisioned") => Some(100.0),
        _ => None,
    }
}

/// Consumed capacity says 0, nothing else says anything.
fn resting(want: &Want) -> Option<f64> {
    match &*want.shape.metric {
        metric if metric.starts_with("Consumed") => Some(0.0),
        metric if metric.starts_with("Provisioned") => Some(100.0),
        _ => None,
    }
}

fn of_account(want: &Want) -> Option<f64> {
    (!is(want, "UserErrors")).then_some(80_000.0)
}

fn assert_near(is: f64, should: f64) {
    assert!((is - should).abs() <= should * 0.005, "{is} instead of {should}");
}

#[test]
fn the_reference_table_has_the_classes_of_the_price_table() {
    let wants = reference_table("t");
    let count = |class: Class| wants.iter().filter(|want| want.shape.class == class).count();
    assert_eq!(wants.len(), 65);
    assert_eq!(Class::ALL.map(count), [6, 12, 41, 6]);
}

#[test]
fn each_row_of_the_price_table_comes_out() {
    let mut fleet = Fleet::new(Mode::Tiered);
    fleet.add(reference_table("t"), busy);
    assert_near(fleet.usd_per_month(Level::None), 11.84);
    let mut fleet = Fleet::new(Mode::Adaptive);
    fleet.add(reference_table("t"), busy);
    assert_near(fleet.usd_per_month(Level::None), 8.88);
    let mut fleet = Fleet::new(Mode::Adaptive);
    fleet.add(reference_table("t"), resting);
    assert_near(fleet.usd_per_month(Level::None), 1.68);
    let mut fleet = Fleet::new(Mode::Uniform);
    fleet.add(reference_table("t"), busy);
    // Native series are never asked more often than they have values.
    assert_near(fleet.usd_per_month(Level::None), 59.0 * 0.432 + 6.0 * 0.0864);
}

#[test]
fn a_fleet_with_forty_percent_hot_tables_costs_a_sixth_of_the_baseline() {
    let mut fleet = Fleet::new(Mode::Adaptive);
    for table in 0..100 {
        let says = if table < 40 { busy } else { resting };
        fleet.add(reference_table(&format!("t{table}")), says);
    }
    fleet.add(account(), of_account);
    assert_near(fleet.usd_per_month(Level::None), 456.0);
}

#[test]
fn an_unanswered_series_counts_as_hot_until_it_is_known() {
    let mut fleet = Fleet::new(Mode::Adaptive);
    let wants = reference_table("new");
    for mut want in wants {
        want.exists_from = NOW - 120;
        let mut pace = fleet.schedule.enrol(&want);
        fleet
            .schedule
            .heard(&mut pace, &want, &Answer::default(), DAYS_AGO, NOW);
        fleet.members.push((want, pace));
    }
    assert_eq!(fleet.interval("ConsumedReadCapacityUnits", NOW), Some(60));
    assert_eq!(fleet.interval("ReadThrottleEvents", NOW), Some(60));
    assert_eq!(fleet.interval("ReadThrottleEvents", NOW + 2 * 3600), Some(300));
    assert_eq!(fleet.interval("SuccessfulRequestLatency", NOW + 4 * 3600), Some(3600));
}

#[test]
fn a_throttle_has_its_causes_asked_every_minute_until_thirty_minutes_were_quiet() {
    let mut fleet = Fleet::new(Mode::Adaptive);
    fleet.add(reference_table("t"), busy);
    assert_eq!(fleet.interval("WriteKeyRangeThroughputThrottleEvents", NOW), Some(3600));
    fleet.hear("WriteThrottleEvents", (NOW - 180, 7.0), NOW);
    for metric in [
        "WriteKeyRangeThroughputThrottleEvents",
        "ReadAccountLimitThrottleEvents",
        "ThrottledRequests",
    ] {
        assert_eq!(fleet.interval(metric, NOW), Some(60), "{metric}");
        assert_eq!(fleet.interval(metric, NOW - 120 + 30 * 60 - 1), Some(60), "{metric}");
        assert_eq!(fleet.interval(metric, NOW - 120 + 30 * 60), Some(3600), "{metric}");
    }
    assert_eq!(
        fleet.interval("SystemErrors", NOW),
        Some(300),
        "it explains no throttle"
    );
    let survey = fleet.schedule.survey(fleet.members.iter().map(|(_, pace)| pace), NOW);
    assert_eq!(survey.escalated, 1);
    assert_eq!(survey.series[&(Class::Detail, Tier::Escalated)], 30);
}

#[test]
fn a_promotion_is_immediate_also_for_what_was_just_asked() {
    let mut fleet = Fleet::new(Mode::Adaptive);
    fleet.add(reference_table("t"), resting);
    let later = NOW + 60;
    let due = |fleet: &Fleet, metric: &str| {
        let (_, pace) = fleet.members.iter().find(|(want, _)| is(want, metric)).unwrap();
        fleet.schedule.is_due(pace, later)
    };
    assert!(!due(&fleet, "ReadThrottleEvents"));
    fleet.hear("ConsumedReadCapacityUnits", (NOW - 60, 12.0), NOW);
    assert!(due(&fleet, "ReadThrottleEvents"), "sentinels are hot with their table");
    assert!(
        due(&fleet, "SuccessfulRequestLatency"),
        "what slept may wake with its table"
    );
    assert_eq!(fleet.interval("SuccessfulRequestLatency", NOW + 900), Some(3600));
    assert_eq!(fleet.interval("SystemErrors", later), Some(300));
}

#[test]
fn pinned_series_keep_the_tiered_interval_and_uniform_knows_no_activity() {
    let silent = want("TransactionConflict", &[("TableName", "t")], "t");
    for (mode, pinned, expected) in [
        (Mode::Adaptive, false, 3600),
        (Mode::Adaptive, true, 300),
        (Mode::Tiered, false, 300),
        (Mode::Uniform, false, 60),
    ] {
        let pins = if pinned { vec!["Trans*".to_owned()] } else { Vec::new() };
        let mut schedule = Schedule::new(Rhythm { mode, interval: 60 }, pins);
        let mut pace = schedule.enrol(&silent);
        schedule.heard(&mut pace, &silent, &Answer::default(), DAYS_AGO, NOW);
        assert_eq!(schedule.interval(&pace, NOW).1, Some(expected), "{mode:?} {pinned}");
    }
    let mut schedule = Schedule::new(
        Rhythm {
            mode: Mode::Adaptive,
            interval: 600,
        },
        Vec::new(),
    );
    let pace = schedule.enrol(&want("ReadThrottleEvents", &[("TableName", "t")], "t"));
    assert_eq!(
        schedule.interval(&pace, NOW).1,
        Some(600),
        "the interval is the floor of every mode"
    );
}

#[test]
fn a_series_comes_once_in_each_interval_and_tables_do_not_come_all_at_once() {
    let mut schedule = Schedule::new(
        Rhythm {
            mode: Mode::Adaptive,
            interval: 60,
        },
        Vec::new(),
    );
    let mut paces = Vec::new();
    for table in 0..60 {
        let want = want("TransactionConflict", &[("TableName", "t")], &format!("table {table}"));
        let mut pace = schedule.enrol(&want);
        schedule.heard(&mut pace, &want, &Answer::default(), DAYS_AGO, NOW);
        paces.push((want, pace, 0));
    }
    let mut most = 0;
    for minute in 1..=600 {
        let now = NOW + 60 * minute;
        let mut together = 0;
        for (want, pace, asked) in &mut paces {
            if schedule.is_due(pace, now) {
                schedule.heard(pace, want, &Answer::default(), now - 1200, now);
                *asked += 1;
                together += 1;
            }
        }
        most = most.max(together);
    }
    assert!(
        paces.iter().all(|(_, _, asked)| *asked == 10),
        "ten hours, ten questions"
    );
    assert!(most <= 8, "{most} of 60 in one minute");
}

#[test]
fn a_resource_that_is_gone_leaves_its_place() {
    let mut schedule = Schedule::new(
        Rhythm {
            mode: Mode::Adaptive,
            interval: 60,
        },
        Vec::new(),
    );
    for round in 0..1_000 {
        let want = want("ReadThrottleEvents", &[("TableName", "t")], &format!("table {round}"));
        let pace = schedule.enrol(&want);
        schedule.leave(&pace);
    }
    let survey = schedule.survey(std::iter::empty(), NOW);
    assert_eq!(survey.escalated, 0);
    assert_eq!(schedule.places(), 1);
}

fn used(units: u64, paid: u64) -> Used {
    Used {
        units,
        requests: 1_000,
        paid,
    }
}

fn rates(per_hour: [f64; 7]) -> [(f64, f64); 7] {
    per_hour.map(|units| (units, 0.0))
}

#[test]
fn the_budget_demotes_as_far_as_it_must_and_undoes_it_below_ninety_percent() {
    let month = Month::of(NOW);
    let hours = month.hours_left(month.start);
    let budget = Budget {
        usd_per_month: 10.0,
        ..Budget::default()
    };
    let ledger = Ledger::new(budget, None);
    let per_hour = |usd: f64| usd / USD_PER_UNIT / hours;
    let usds = [20.0, 18.0, 15.0, 12.0, 9.8, 5.0, 2.0];
    ledger.plan("a", rates(usds.map(per_hour)), 0.0);
    let decision = ledger.decide(month.start);
    assert_eq!((decision.level, decision.changed_level), (Level::CoreIdleSlow, true));
    assert!((decision.forecast - 9.8).abs() < 0.01);
    // Less is wanted: 9.5 would fit, but not below 90 %.
    ledger.plan("a", rates([15.0, 14.0, 13.0, 9.5, 9.4, 5.0, 2.0].map(per_hour)), 0.0);
    assert_eq!(ledger.decide(month.start).level, Level::CoreIdleSlow);
    ledger.plan("a", rates([8.9; 7].map(per_hour)), 0.0);
    let decision = ledger.decide(month.start);
    assert_eq!((decision.level, decision.changed_level), (Level::None, true));
    // A second region counts as well, until it leaves.
    ledger.plan("b", rates([8.9; 7].map(per_hour)), 0.0);
    assert_eq!(ledger.decide(month.start).level, Level::SentinelSlow);
    ledger.leave("b");
    assert_eq!(ledger.decide(month.start).level, Level::None);
}

#[test]
fn a_hard_budget_ends_billed_calls_until_the_next_month_also_after_a_restart() {
    let budget = Budget {
        usd_per_month: 1.0,
        hard: true,
        warn_at: 0.5,
    };
    let month = Month::of(NOW);
    let ledger = Ledger::new(budget, None);
    ledger.charge(month.start, used(40_000, 0));
    assert!(!ledger.decide(month.start).warn);
    ledger.charge(month.start, used(20_000, 1_000));
    let decision = ledger.decide(month.start);
    assert!(decision.warn && !decision.exhausted);
    assert!((decision.spent - 0.61).abs() < 1e-9, "{}", decision.spent);
    assert!(!ledger.decide(month.start).warn, "said once a month");
    ledger.charge(month.start, used(50_000, 0));
    assert!(ledger.decide(month.start + 60).exhausted);
    let again = Ledger::new(budget, Some(&ledger.to_bytes()));
    assert!(again.decide(month.start + 120).exhausted);
    let decision = again.decide(month.end);
    assert!(!decision.exhausted && decision.changed_exhausted);
    assert_eq!(decision.spent, 0.0);
    assert_eq!(Ledger::new(budget, Some(b"rubbish")).decide(month.start).spent, 0.0);
}

#[test]
fn without_a_limit_nothing_is_demoted() {
    let ledger = Ledger::default();
    ledger.plan("a", rates([1e9; 7]), 0.0);
    ledger.charge(NOW, used(1_000_000_000, 0));
    let decision = ledger.decide(NOW);
    assert_eq!((decision.level, decision.exhausted), (Level::None, false));
}

#[test]
fn each_level_of_the_budget_costs_less_than_the_one_before() {
    let mut fleet = Fleet::new(Mode::Adaptive);
    for (table, says) in [("hot", busy as fn(&Want) -> Option<f64>), ("idle", resting)] {
        fleet.add(reference_table(table), says);
    }
    let usd = Level::ALL.map(|level| fleet.usd_per_month(level));
    for pair in usd.windows(2) {
        assert!(pair[1] < pair[0], "{usd:?}");
    }
    fleet.schedule.set_level(Level::SilentDetailOff);
    assert_eq!(fleet.interval("TransactionConflict", NOW), None);
    assert_eq!(fleet.interval("SystemErrors", NOW), Some(300), "errors stay");
    fleet.hear("WriteThrottleEvents", (NOW - 120, 1.0), NOW);
    assert_eq!(fleet.interval("ReadAccountLimitThrottleEvents", NOW), Some(60));
    fleet.schedule.set_level(Level::SentinelSlow);
    assert_eq!(fleet.interval("ReadThrottleEvents", NOW), Some(300));
    assert_eq!(fleet.interval("ConsumedReadCapacityUnits", NOW), Some(300));
}

#[test]
fn a_month_is_the_calendar_s_in_utc() {
    // 2024-02-29T23:59:59Z
    let month = Month::of(1_709_251_199);
    assert_eq!((month.start, month.end), (1_706_745_600, 1_709_251_200));
    assert_eq!(Month::of(1_709_251_200).start, 1_709_251_200);
    assert_eq!(month.hours_left(month.end + 5), 0.0);
    assert_eq!(Month::of(i64::MAX).start, 0);
}

#[test]
fn free_requests_are_spread_over_the_rest_of_the_month() {
    assert!(fits_statistics(&[Stat::Sum, Stat::SampleCount]));
    assert!(!fits_statistics(&[Stat::Sum, Stat::Percentile("p99".to_owned())]));
    // About 110 in five minutes over a whole month.
    let per_hour = free_per_hour(1_000_000, 0, 720.0);
    assert!((per_hour / 12.0 - 110.0).abs() < 1.0, "{per_hour}");
    assert_eq!(free_per_hour(1_000_000, 950_000, 10.0), 0.0);
    assert_eq!(free_per_hour(1_000_000, 949_900, 0.01), 100.0);
}

#[test]
fn the_cost_of_a_series_is_the_table_s() {
    for (interval, usd_per_month) in [(60.0, 0.432), (300.0, 0.0864), (900.0, 0.0288), (3600.0, 0.0072)] {
        let polls = MONTH_HOURS * 3600.0 / interval;
        assert!((usd(polls, 0.0, 0.0) - usd_per_month).abs() < 1e-9);
    }
    assert_eq!(usd(0.0, 1_000_000.0, FREE_REQUESTS as f64), 0.0);
    assert!((usd(1_000.0, 1_001_000.0, FREE_REQUESTS as f64) - 0.02).abs() < 1e-12);
}
