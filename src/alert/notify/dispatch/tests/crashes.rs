//! The process ends anywhere: nothing is lost, and an idempotent receiver gets nothing twice.

use std::collections::BTreeMap;

use super::super::super::dispatch_testing::{S, told_escalating};
use super::sim::Sim;
use crate::alert::Told;

const CONFIG: &str = "route: {receiver: ops, group_by: [region], group_wait: 20s, group_interval: 1m, routes: [{matchers: \
                      [severity=critical], receiver: pager, continue: true}, {matchers: ['severity=~\".*\"']}]}\n\
                      receivers: [{name: ops, webhook_configs: [{url: 'http://o/'}]}, {name: pager, pagerduty_configs: \
                      [{routing_key: k}]}, {name: oncall, webhook_configs: [{url: 'http://c/'}]}]";

/// A small generator: the same seed, the same life.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Where the process may end in a step.
#[derive(Clone, Copy, PartialEq)]
enum Kill {
    BeforeCommit,
    AfterCommit,
    AfterSending,
}

/// Eight alerts that begin and end at random within two hours, each with an escalation.
fn lives(random: &mut Random) -> Vec<Told> {
    let mut all = Vec::new();
    for n in 0..8 {
        let starts = random.next(5_000);
        let ends = starts + 120 + random.next(4_000);
        let severity = if n % 2 == 0 { "critical" } else { "warning" };
        let region = if n % 3 == 0 { "eu" } else { "us" };
        let labels = [("severity", severity), ("region", region)];
        all.push(told_escalating(
            &format!("A{n}"),
            &labels,
            starts,
            Some(ends),
            &[(900, "oncall")],
        ));
    }
    all
}

/// What the engine says at a time.
fn view(lives: &[Told], now: u64) -> Vec<Told> {
    let mut seen = Vec::new();
    for life in lives {
        let ends = life.ends_at.unwrap();
        if life.starts_at > now * S || ends + 900 * S < now * S {
            continue;
        }
        let ends_at = life.ends_at.filter(|ends| *ends <= now * S);
        seen.push(Told {
            ends_at,
            ..life.clone()
        });
    }
    seen
}

/// Runs two hours and a half in steps of 15 s with kills; returns how many there were.
fn live(sim: &mut Sim, lives: &[Told], random: &mut Random, one_in: u64) -> usize {
    let mut kills = 0;
    for step in 0..600u64 {
        sim.now = step * 15;
        let kill = match random.next(one_in) {
            0 => Some([Kill::BeforeCommit, Kill::AfterCommit, Kill::AfterSending][random.next(3) as usize]),
            _ => None,
        };
        kills += usize::from(kill.is_some());
        sim.dispatcher.tell(sim.now * S, &view(lives, sim.now));
        sim.dispatcher.tick(sim.now * S);
        if kill == Some(Kill::BeforeCommit) {
            sim.restart();
            continue;
        }
        sim.commit();
        if kill == Some(Kill::AfterCommit) {
            sim.restart();
            continue;
        }
        let mut budget = random.next(6);
        for out in ["ops/webhook/0", "pager/pagerduty/0", "oncall/webhook/0"] {
            while let Some(entry) = sim.dispatcher.take(out, sim.now * S) {
                if kill == Some(Kill::AfterSending) && budget == 0 {
                    // It has arrived, and nobody here knows.
                    sim.take(&entry);
                    sim.restart();
                    return kills + live_on(sim, lives, random, one_in, step + 1);
                }
                budget = budget.saturating_sub(1);
                sim.attempt(&entry);
                sim.commit();
            }
        }
    }
    kills
}

fn live_on(sim: &mut Sim, lives: &[Told], random: &mut Random, one_in: u64, from: u64) -> usize {
    let mut kills = 0;
    for step in from..600 {
        sim.now = step * 15;
        let killed = random.next(one_in) == 0;
        sim.dispatcher.tell(sim.now * S, &view(lives, sim.now));
        sim.dispatcher.tick(sim.now * S);
        sim.commit();
        'outs: for out in ["ops/webhook/0", "pager/pagerduty/0", "oncall/webhook/0"] {
            while let Some(entry) = sim.dispatcher.take(out, sim.now * S) {
                if killed && random.next(2) == 0 {
                    sim.take(&entry);
                    sim.restart();
                    kills += 1;
                    break 'outs;
                }
                sim.attempt(&entry);
                sim.commit();
            }
        }
    }
    kills
}

/// By outlet and alert: the states it was told, in order, without what is said again.
fn heard(sim: &Sim) -> BTreeMap<(String, String), Vec<bool>> {
    let mut heard: BTreeMap<(String, String), Vec<bool>> = BTreeMap::new();
    for line in sim.told() {
        let mut words = line.split(' ').skip(1);
        let out = words.next().unwrap().to_owned();
        for word in words.skip(1) {
            let Some(name) = word.strip_suffix(['+', '-']) else {
                continue;
            };
            let states = heard.entry((out.clone(), name.to_owned())).or_default();
            let fires = word.ends_with('+');
            if states.last() != Some(&fires) {
                states.push(fires);
            }
        }
    }
    heard
}

#[test]
fn a_thousand_kills_lose_nothing_and_double_nothing() {
    let mut kills = 0;
    let mut seed = 0;
    while kills < 1_000 {
        seed += 1;
        let mut random = Random(seed);
        let lives = lives(&mut random);
        let mut sim = Sim::from(CONFIG);
        kills += live(&mut sim, &lives, &mut random, 12);
        let heard = heard(&sim);
        for life in &lives {
            let name = &life.labels.iter().find(|(name, _)| name == "alertname").unwrap().1;
            let severity = &life.labels.iter().find(|(name, _)| name == "severity").unwrap().1;
            let of = |out: &str| heard.get(&(out.to_owned(), name.clone())).cloned();
            // Everybody hears that it fires and then that it ended: once each, in this order.
            assert_eq!(
                of("ops/webhook/0"),
                Some(vec![true, false]),
                "seed {seed}: {name}: {:?}",
                sim.told()
            );
            if severity == "critical" {
                assert_eq!(
                    of("pager/pagerduty/0"),
                    Some(vec![true, false]),
                    "seed {seed}: {name}: {:?}",
                    sim.told()
                );
            }
            let length = (life.ends_at.unwrap() - life.starts_at) / S;
            let escalated = of("oncall/webhook/0");
            if length > 900 + 120 {
                assert_eq!(
                    escalated,
                    Some(vec![true, false]),
                    "seed {seed}: {name}: {:?}",
                    sim.told()
                );
            } else if length < 900 {
                assert_eq!(escalated, None, "seed {seed}: {name}");
            }
        }
        // Each change of an alert reaches a pager under one key only.
        let mut pages: BTreeMap<(u64, u64, bool), usize> = BTreeMap::new();
        for entry in sim.taken.values().filter(|entry| entry.out == "pager/pagerduty/0") {
            for line in &entry.message.lines {
                let change = (line.facts.fingerprint, line.facts.starts_at, line.facts.fires());
                *pages.entry(change).or_default() += 1;
            }
        }
        assert!(pages.values().all(|times| *times == 1), "seed {seed}: {pages:?}");
        assert_eq!(sim.dispatcher.waiting(), 0, "seed {seed}");
    }
}

#[test]
fn after_an_hour_of_silence_with_a_restart_inside_a_receiver_gets_the_latest_state_of_everything() {
    let mut sim = Sim::from(CONFIG);
    let outs = ["ops/webhook/0", "pager/pagerduty/0"];
    sim.down.extend(outs.map(str::to_owned));
    let labels: &[(&str, &str)] = &[("severity", "critical"), ("region", "eu")];
    let steps: &[(u64, &str)] = &[];
    let (a, b) = (
        told_escalating("A", labels, 0, None, steps),
        told_escalating("B", labels, 0, None, steps),
    );
    sim.tell(0, &[&a, &b]);
    let b_over = told_escalating("B", labels, 0, Some(600), steps);
    sim.tell(610, &[&a, &b_over]);
    sim.run_until(1800);
    sim.restart();
    let c = told_escalating("C", labels, 1900, None, steps);
    sim.tell(1900, &[&a, &c]);
    sim.run_until(3600);
    assert_eq!(sim.told(), Vec::<String>::new());
    assert!(sim.attempts < 600, "{} attempts in an hour", sim.attempts);
    sim.down.clear();
    sim.run_until(3700);
    let mut pages = sim.told_to("pager/pagerduty/0");
    pages
        .iter_mut()
        .for_each(|line| *line = line.split(' ').skip(3).collect::<Vec<_>>().join(" "));
    pages.sort();
    assert_eq!(pages, ["A+", "B-", "C+"], "of each alert one message: its latest state");
    let groups = sim.told_to("ops/webhook/0");
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert!(groups[0].ends_with("alert A+ C+ B-"), "{groups:?}");
}

#[test]
fn a_message_is_given_up_a_day_after_its_alerts_have_ended_and_counted() {
    let mut sim = Sim::new("route: {receiver: ops, group_wait: 0s, group_interval: 1m}", &["ops"]);
    sim.down.insert("ops/webhook/0".to_owned());
    let steps: &[(u64, &str)] = &[];
    sim.tell(0, &[&told_escalating("A", &[], 0, None, steps)]);
    sim.tell(100, &[&told_escalating("A", &[], 0, Some(90), steps)]);
    sim.run_until(100 + 86_000);
    assert_eq!(sim.dispatcher.waiting(), 1);
    sim.tell(100 + 86_500, &[]);
    assert_eq!(sim.dispatcher.waiting(), 0);
    assert_eq!(sim.counted("radiosonde_notifications_dropped_total", "too_old"), 1);
}
