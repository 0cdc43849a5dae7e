//! Exact lists of messages on a virtual clock.

mod crashes;
mod fatigue;
mod people;
mod sim;

use super::super::dispatch_testing::told;
use sim::Sim;

#[test]
fn alerts_of_a_group_are_told_together_and_only_when_something_is_new() {
    let mut sim = Sim::new("route: {receiver: ops, group_by: [region]}", &["ops"]);
    let (a, b) = (
        told("A", &[("region", "eu")], 0, None),
        told("B", &[("region", "eu")], 10, None),
    );
    let c = told("C", &[("region", "eu")], 90, None);
    let other = told("D", &[("region", "us")], 0, None);
    sim.tell(0, &[&a, &other]);
    sim.tell(10, &[&a, &b, &other]);
    // The engine says the same again and again.
    for minute in 1..=5 {
        sim.tell(minute * 60, &[&a, &b, &other]);
    }
    sim.tell(301, &[&a, &b, &c, &other]);
    let b_over = told("B", &[("region", "eu")], 10, Some(390));
    sim.tell(400, &[&a, &b_over, &c, &other]);
    sim.run_until(700);
    assert_eq!(
        sim.told(),
        [
            "30 ops/webhook/0 alert A+ B+",
            "30 ops/webhook/0 alert D+",
            "330 ops/webhook/0 alert A+ C+ B+",
            "630 ops/webhook/0 alert A+ C+ B-",
        ]
        .map(|line| line.replace("A+ C+ B+", "A+ B+ C+"))
    );
}

#[test]
fn what_still_fires_is_repeated_and_what_ended_is_told_once() {
    let mut sim = Sim::new("route: {receiver: ops, repeat_interval: 1h}", &["ops"]);
    let a = told("A", &[], 0, None);
    sim.tell(0, &[&a]);
    sim.run_until(2 * 3600 + 100);
    let over = told("A", &[], 0, Some(7300));
    sim.tell(7400, &[&over]);
    sim.tell(7500, &[&over]);
    sim.run_until(10 * 3600);
    assert_eq!(
        sim.told(),
        [
            "30 ops/webhook/0 alert A+",
            "3630 ops/webhook/0 alert A+ repeat1",
            "7230 ops/webhook/0 alert A+ repeat2",
            "7530 ops/webhook/0 alert A-",
        ]
    );
    assert_eq!(sim.incidents(), 0, "what is over is forgotten");
}

#[test]
fn who_was_not_told_that_it_fires_is_not_told_that_it_ended() {
    let mut sim = Sim::new("route: {receiver: ops}", &["ops"]);
    sim.tell(0, &[&told("A", &[], 0, None)]);
    sim.tell(20, &[&told("A", &[], 0, Some(15))]);
    sim.run_until(3600);
    assert_eq!(sim.told(), Vec::<String>::new());
}

#[test]
fn an_alert_takes_all_its_routes_and_begins_anew_with_a_new_start() {
    let mut sim = Sim::new(
        "route: {receiver: ops, group_wait: 0s, group_interval: 1m, routes: [{matchers: [severity=critical], receiver: \
         second, continue: true}, {matchers: [severity=critical], receiver: ops}]}",
        &["ops", "second"],
    );
    let critical = [("severity", "critical")];
    sim.tell(0, &[&told("A", &critical, 0, None)]);
    sim.tell(70, &[&told("A", &critical, 0, Some(65))]);
    sim.tell(
        130,
        &[&told("A", &critical, 0, Some(65)), &told("A", &critical, 125, None)],
    );
    sim.run_until(200);
    assert_eq!(
        sim.told(),
        [
            "0 ops/webhook/0 alert A+",
            "0 second/webhook/0 alert A+",
            "120 ops/webhook/0 alert A-",
            "120 second/webhook/0 alert A-",
            "130 ops/webhook/0 alert A+",
            "130 second/webhook/0 alert A+",
        ]
    );
}

#[test]
fn what_is_not_told_any_more_has_ended_and_what_came_and_went_unseen_is_one_digest() {
    let mut sim = Sim::new("route: {receiver: ops, group_wait: 0s, group_interval: 1m}", &["ops"]);
    sim.tell(0, &[&told("A", &[], 0, None)]);
    sim.tell(61, &[]);
    sim.run_until(200);
    // After a gap: both were over before we looked again.
    let (b, c) = (told("B", &[], 300, Some(500)), told("C", &[], 400, Some(600)));
    sim.tell(1000, &[&b, &c]);
    sim.tell(1060, &[&b, &c]);
    sim.run_until(2000);
    assert_eq!(
        sim.told(),
        [
            "0 ops/webhook/0 alert A+",
            "120 ops/webhook/0 alert A-",
            "1000 ops/webhook/0 digest B- C-",
        ]
    );
}

#[test]
fn an_outlet_that_does_not_want_ends_gets_none() {
    let mut sim = Sim::from(
        "route: {receiver: ops, group_wait: 0s, group_interval: 1m}\n\
         receivers: [{name: ops, webhook_configs: [{url: 'http://h/', send_resolved: false}]}]",
    );
    sim.tell(0, &[&told("A", &[], 0, None)]);
    sim.tell(70, &[&told("A", &[], 0, Some(65))]);
    sim.run_until(3600);
    assert_eq!(sim.told(), ["0 ops/webhook/0 alert A+"]);
}

#[test]
fn peers_of_an_alertmanager_know_at_once_and_until_the_end_has_arrived() {
    let mut sim = Sim::from(
        "route: {receiver: am}\nreceivers: [{name: am, alertmanager_configs: [{urls: ['http://a/', 'http://b/']}]}]",
    );
    sim.tell(0, &[&told("A", &[], 0, None), &told("B", &[], 0, None)]);
    let names = |sim: &Sim, out: &str| {
        let facts = sim.dispatcher.synced(out);
        let names = facts
            .iter()
            .map(|facts| format!("{}{}", facts.name(), if facts.fires() { "+" } else { "-" }));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&sim, "am/alertmanager/0"), "A+ B+");
    sim.tell(60, &[&told("A", &[], 0, Some(50)), &told("B", &[], 0, None)]);
    assert_eq!(names(&sim, "am/alertmanager/0"), "A- B+");
    let sent = sim.dispatcher.synced("am/alertmanager/0");
    sim.dispatcher.synced_to("am/alertmanager/0", &sent);
    assert_eq!(names(&sim, "am/alertmanager/0"), "B+");
    assert_eq!(
        names(&sim, "am/alertmanager/1"),
        "A- B+",
        "the other peer has not heard it yet"
    );
    sim.restart();
    assert_eq!(names(&sim, "am/alertmanager/1"), "A- B+");
}
