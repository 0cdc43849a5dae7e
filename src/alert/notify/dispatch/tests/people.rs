//! Escalation, acknowledgement, and receivers that refuse.

use super::super::super::dispatch_testing::{told, told_escalating};
use super::sim::Sim;

const AT_ONCE: &str = "route: {receiver: ops, group_by: ['...'], group_wait: 0s, group_interval: 1m}";
const STEPS: &[(u64, &str)] = &[(900, "oncall"), (1800, "manager")];
const CRITICAL: &[(&str, &str)] = &[("severity", "critical")];

#[test]
fn each_step_is_taken_once_also_across_restarts_and_its_receiver_hears_of_the_end() {
    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    let alert = told_escalating("A", CRITICAL, 0, None, STEPS);
    sim.tell(0, &[&alert]);
    for minute in 1..40 {
        sim.tell(minute * 60, &[&alert]);
        sim.restart();
    }
    let over = told_escalating("A", CRITICAL, 0, Some(2390), STEPS);
    sim.tell(2400, &[&over]);
    sim.run_until(4000);
    assert_eq!(
        sim.told(),
        [
            "0 ops/webhook/0 alert A+",
            "900 oncall/webhook/0 escalation A+ step1",
            "1800 manager/webhook/0 escalation A+ step2",
            "2400 oncall/webhook/0 alert A-",
            "2400 manager/webhook/0 alert A-",
            "2460 ops/webhook/0 alert A-",
        ]
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn acknowledgement_a_silence_or_the_end_cancel_what_is_left_of_it() {
    let alert = told_escalating("A", CRITICAL, 0, None, STEPS);
    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    sim.tell(0, &[&alert]);
    sim.run_until(1000);
    sim.acknowledge(alert.fingerprint());
    sim.restart();
    sim.run_until(3000);
    assert_eq!(
        sim.told(),
        ["0 ops/webhook/0 alert A+", "900 oncall/webhook/0 escalation A+ step1"]
    );

    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    sim.tell(0, &[&alert]);
    sim.silence("alertname=A", 60, 1000);
    sim.run_until(3000);
    assert_eq!(
        sim.told(),
        ["0 ops/webhook/0 alert A+", "1800 manager/webhook/0 escalation A+ step2"]
    );

    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    sim.tell(0, &[&alert]);
    sim.tell(600, &[&told_escalating("A", CRITICAL, 0, Some(590), STEPS)]);
    sim.run_until(3000);
    assert_eq!(sim.told(), ["0 ops/webhook/0 alert A+", "660 ops/webhook/0 alert A-"]);
}

#[test]
fn information_does_not_escalate_and_a_step_that_did_not_leave_is_taken_back() {
    let info = told_escalating("I", &[("severity", "info")], 0, None, STEPS);
    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    sim.tell(0, &[&info]);
    sim.run_until(3000);
    assert_eq!(sim.told(), ["0 ops/webhook/0 alert I+"]);

    // The outlet is paused by a failure when the step is queued, so that the step has certainly not left.
    let mut sim = Sim::new(AT_ONCE, &["ops", "oncall", "manager"]);
    let alert = told_escalating("A", CRITICAL, 0, None, STEPS);
    let other = told_escalating("B", CRITICAL, 0, None, &[(860, "oncall")]);
    sim.down.insert("oncall/webhook/0".to_owned());
    sim.tell(0, &[&alert, &other]);
    sim.run_until(901);
    sim.acknowledge(alert.fingerprint());
    sim.down.clear();
    sim.run_until(1700);
    assert_eq!(
        sim.told_to("oncall/webhook/0"),
        ["923 oncall/webhook/0 escalation B+ step1"]
    );
}

#[test]
fn acknowledging_what_does_not_fire_is_an_error() {
    let mut sim = Sim::new(AT_ONCE, &["ops"]);
    let alert = told("A", &[], 0, Some(10));
    assert!(sim.dispatcher.acknowledge(alert.fingerprint(), "ann", "", 0).is_err());
    sim.tell(20, &[&alert]);
    assert!(sim.dispatcher.acknowledge(alert.fingerprint(), "ann", "", 0).is_err());
}

#[test]
fn a_pager_shows_who_has_acknowledged() {
    let mut sim = Sim::from(&format!(
        "{AT_ONCE}\nreceivers: [{{name: ops, pagerduty_configs: [{{routing_key: k}}]}}]"
    ));
    let alert = told("A", CRITICAL, 0, None);
    sim.tell(0, &[&alert]);
    sim.acknowledge(alert.fingerprint());
    assert_eq!(
        sim.told(),
        ["0 ops/pagerduty/0 alert A+", "0 ops/pagerduty/0 alert A+(ack)"]
    );
}

#[test]
fn what_a_receiver_refuses_for_good_goes_to_the_next() {
    let config = "route: {receiver: ops, group_wait: 0s, group_interval: 1m, group_by: ['...'], routes: [{matchers: \
                  [severity=critical], receiver: pager}]}\n\
                  receivers: [{name: ops, webhook_configs: [{url: 'http://o/'}]}, {name: pager, fallback: third, \
                  pagerduty_configs: [{routing_key: k}]}, {name: third, webhook_configs: [{url: 'http://t/'}]}]";
    let mut sim = Sim::from(config);
    sim.refusing.insert("pager/pagerduty/0".to_owned());
    sim.tell(0, &[&told("A", CRITICAL, 0, None)]);
    sim.tell(100, &[&told("A", CRITICAL, 0, Some(90))]);
    sim.run_until(300);
    assert_eq!(
        sim.told(),
        [
            "0 third/webhook/0 alert A+",
            "100 third/webhook/0 alert A-",
            "120 third/webhook/0 alert A-"
        ][..2]
    );
    assert!(sim.counted("radiosonde_notifications_dropped_total", "refused") >= 1);

    // Everybody refuses: it ends.
    let mut sim = Sim::from(config);
    for out in ["pager/pagerduty/0", "third/webhook/0", "ops/webhook/0"] {
        sim.refusing.insert(out.to_owned());
    }
    sim.tell(0, &[&told("A", CRITICAL, 0, None)]);
    sim.run_until(1);
    assert_eq!(sim.attempts, 3);
    assert_eq!(sim.dispatcher.waiting(), 0);
}
