//! Inhibition, silences, mute windows, flapping, floods.

use super::super::super::dispatch_testing::told;
use super::sim::Sim;

const AT_ONCE: &str = "route: {receiver: ops, group_by: ['...'], group_wait: 0s, group_interval: 1m}";

#[test]
fn a_target_is_told_only_when_no_source_with_equal_labels_fires() {
    let rules = "inhibit_rules: [{source_matchers: [severity=critical], target_matchers: ['severity=~\"warning|info\"'], equal: [table]}]";
    let mut sim = Sim::new(&format!("{AT_ONCE}\n{rules}"), &["ops"]);
    let source = told("C", &[("severity", "critical"), ("table", "x")], 0, None);
    let target = told("W", &[("severity", "warning"), ("table", "x")], 0, None);
    let other = told("V", &[("severity", "warning"), ("table", "y")], 0, None);
    sim.tell(0, &[&source, &target, &other]);
    let source_over = told("C", &[("severity", "critical"), ("table", "x")], 0, Some(90));
    sim.tell(100, &[&source_over, &target, &other]);
    sim.run_until(200);
    assert_eq!(
        sim.told(),
        [
            "0 ops/webhook/0 alert C+",
            "0 ops/webhook/0 alert V+",
            "120 ops/webhook/0 alert C-",
            "120 ops/webhook/0 alert W+",
        ]
    );
    assert_eq!(
        sim.counted("radiosonde_notifications_suppressed_total", "inhibition"),
        2
    );
}

#[test]
fn what_is_source_and_target_does_not_inhibit_its_like() {
    let rules = "inhibit_rules: [{source_matchers: [team=a], target_matchers: [team=a], equal: []}]";
    let mut sim = Sim::new(&format!("{AT_ONCE}\n{rules}"), &["ops"]);
    sim.tell(
        0,
        &[
            &told("A", &[("team", "a")], 0, None),
            &told("B", &[("team", "a")], 0, None),
        ],
    );
    assert_eq!(sim.told(), ["0 ops/webhook/0 alert A+", "0 ops/webhook/0 alert B+"]);
}

#[test]
fn a_silence_holds_until_its_end_survives_a_restart_and_lets_the_end_pass() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    sim.tell(0, &[&told("B", &[], 0, None)]);
    let id = sim.silence("alertname=~\"A|B\"", 10, 310);
    let (a, b) = (told("A", &[], 20, None), told("B", &[], 0, None));
    sim.tell(20, &[&a, &b]);
    sim.restart();
    sim.tell(100, &[&a, &told("B", &[], 0, Some(90))]);
    sim.run_until(400);
    assert_eq!(
        sim.told(),
        [
            "0 ops/webhook/0 alert B+",
            "120 ops/webhook/0 alert B-",
            "320 ops/webhook/0 alert A+",
        ]
    );
    assert!(sim.dispatcher.unsilence(&id).is_err(), "it is over");
}

#[test]
fn silences_are_checked_and_end_when_they_are_told_to() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    let id = sim.silence("alertname=A", 0, 1000);
    let a = told("A", &[], 0, None);
    sim.tell(0, &[&a]);
    sim.run_until(130);
    assert_eq!(sim.told(), Vec::<String>::new());
    sim.dispatcher.unsilence(&id).unwrap();
    sim.commit();
    sim.run_until(200);
    assert_eq!(sim.told(), ["180 ops/webhook/0 alert A+"]);
    let configured =
        "silences: [{matchers: ['alertname=A'], ends_at: '2030-01-01T00:00:00Z', created_by: me, comment: c}]";
    let mut sim = Sim::new(&format!("{AT_ONCE}\n{configured}"), &["ops"]);
    sim.tell(0, &[&a]);
    sim.run_until(130);
    assert_eq!(sim.told(), Vec::<String>::new());
    let shown = sim.dispatcher.silences(0);
    assert!(shown[0].is_configured);
    assert!(sim.dispatcher.unsilence(&shown[0].silence.id).is_err());
}

#[test]
fn a_mute_route_waits_for_the_end_of_its_window() {
    let config = "route: {receiver: ops, group_wait: 0s, group_interval: 5m, routes: [{matchers: [severity=warning], \
                  mute_time_intervals: [night]}]}\n\
                  time_intervals: [{name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}], \
                  location: Europe/Berlin}]}]";
    let mut sim = Sim::new(config, &["ops"]);
    // 1970-01-01T00:00Z is 01:00 in Berlin; the window ends at 05:00Z.
    sim.tell(
        0,
        &[
            &told("W", &[("severity", "warning")], 0, None),
            &told("C", &[("severity", "critical")], 0, None),
        ],
    );
    sim.run_until(6 * 3600);
    let expected = [
        "0 ops/webhook/0 alert C+",
        "14400 ops/webhook/0 alert C+ repeat1",
        "18000 ops/webhook/0 alert W+",
    ];
    assert_eq!(sim.told(), expected);
}

#[test]
fn an_alert_that_flaps_gets_an_hourly_digest_until_it_has_been_calm_for_an_hour() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    // Four times on and off, two minutes each: the seventh change within the hour is one too many.
    for round in 0..4 {
        let begins = round * 240;
        sim.tell(begins, &[&told("F", &[], begins, None)]);
        sim.tell(begins + 120, &[&told("F", &[], begins, Some(begins + 120))]);
    }
    // The last change is at 840 s. Digests an hour after the hold began, then calm.
    sim.run_until(4 * 3600);
    let told = sim.told();
    assert_eq!(
        told,
        [
            "0 ops/webhook/0 alert F+",
            "180 ops/webhook/0 alert F-",
            "240 ops/webhook/0 alert F+",
            "420 ops/webhook/0 alert F-",
            "480 ops/webhook/0 alert F+",
            "660 ops/webhook/0 alert F-",
            "4320 ops/webhook/0 flapping F-",
        ]
    );
    assert!(sim.counted("radiosonde_notifications_suppressed_total", "flapping") > 0);
    assert_eq!(sim.incidents(), 0);
}

#[test]
fn more_than_twenty_messages_in_ten_minutes_become_a_digest() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    let alerts: Vec<_> = (0..25).map(|n| told(&format!("A{n:02}"), &[], 0, None)).collect();
    sim.tell(0, &alerts.iter().collect::<Vec<_>>());
    sim.run_until(700);
    let said = sim.told();
    assert_eq!(said.len(), 21, "{said:?}");
    assert_eq!(said[20], "600 ops/webhook/0 digest A20+ A21+ A22+ A23+ A24+");
    assert_eq!(
        sim.counted("radiosonde_notifications_suppressed_total", "rate_limit"),
        5
    );
}

#[test]
fn a_critical_alert_over_the_limit_is_told_within_a_minute() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    let mut alerts: Vec<_> = (0..22).map(|n| told(&format!("A{n:02}"), &[], 0, None)).collect();
    alerts.push(told("C", &[("severity", "critical")], 0, None));
    sim.tell(0, &alerts.iter().collect::<Vec<_>>());
    sim.run_until(700);
    assert_eq!(sim.told()[20..], ["45 ops/webhook/0 digest A20+ A21+ C+"]);
}

#[test]
fn information_pages_nobody_and_a_digest_of_a_pager_ends_with_its_last_alert() {
    let pager = "receivers: [{name: ops, pagerduty_configs: [{routing_key: k}]}]";
    let mut sim = Sim::from(&format!("{AT_ONCE}\n{pager}"));
    let mut alerts: Vec<_> = (0..22)
        .map(|n| told(&format!("A{n:02}"), &[("severity", "critical")], 0, None))
        .collect();
    alerts.push(told("I", &[("severity", "info")], 0, None));
    sim.tell(0, &alerts.iter().collect::<Vec<_>>());
    sim.run_until(700);
    assert_eq!(sim.told()[20..], ["45 ops/pagerduty/0 digest A20+ A21+"]);
    assert!(sim.counted("radiosonde_notifications_suppressed_total", "info") > 0);
    let all = alerts.clone();
    let with_end = |ended: &[usize]| -> Vec<_> {
        let mut alerts = all.clone();
        for at in ended {
            alerts[*at].ends_at = Some(800_000_000_000);
        }
        alerts
    };
    let first = with_end(&[20]);
    sim.tell(810, &first.iter().collect::<Vec<_>>());
    sim.run_until(1000);
    assert_eq!(sim.told().len(), 21, "the digest goes on");
    let both = with_end(&[20, 21]);
    sim.tell(1010, &both.iter().collect::<Vec<_>>());
    sim.run_until(1100);
    assert_eq!(sim.told()[21..], ["1020 ops/pagerduty/0 digest A21-"]);
}
