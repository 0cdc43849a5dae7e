use std::sync::Arc;

use super::*;
use crate::aws::catalogue::Kind;
use crate::aws::cloudwatch::want::{Class, SeriesId, Shape, Stat};

const RULES: Rules = Rules {
    max_late: 600,
    lag: 600,
    strict: false,
    reemit: false,
};

fn want(fill: bool) -> Want {
    let series = SeriesId::new("n", "m", &[]);
    Want {
        shape: Arc::new(Shape {
            namespace: series.namespace,
            metric: series.metric,
            kind: Kind::SumDelta,
            unit: "Count".into(),
            statistics: vec![Stat::Sum],
            period: 60,
            class: Class::Sentinel,
            fill,
            heartbeat: false,
        }),
        dimensions: series.dimensions,
        resource: "r".into(),
        exists_from: 0,
    }
}

/// One series, asked by hand.
struct Asked {
    history: History,
    want: Want,
    rules: Rules,
    heartbeat: Option<i64>,
}

impl Asked {
    fn new(start: i64, fill: bool, rules: Rules) -> Self {
        Self {
            history: History::starting(start, 60),
            want: want(fill),
            rules,
            heartbeat: None,
        }
    }

    /// One poll at `now` that shows these minutes.
    fn poll(&mut self, now: i64, shown: &[(i64, f64)]) -> Changes {
        let mut answer = Answer::of_width(1);
        for (at, value) in shown {
            answer.push(*at, [*value]);
        }
        let heard = Heard {
            answer: &answer,
            from: self.history.ask_from(now, self.rules.max_late),
            to: now + 60,
            now,
        };
        let changes = self.history.take(&self.want, &heard, self.rules);
        self.history
            .decide(&self.want, self.want.shape.fill, self.heartbeat, self.rules);
        changes
    }

    /// What is ready is handed on.
    fn deliver(&mut self) -> Vec<(i64, f64, Why)> {
        let ready = self.history.ready();
        for point in &ready {
            self.history.done(point.at);
        }
        self.history.advance(60, self.rules);
        ready
            .iter()
            .map(|point| (point.at, point.values[0], point.why))
            .collect()
    }
}

#[test]
fn two_equal_polls_a_minute_apart_after_the_end_settle_a_value() {
    let mut asked = Asked::new(600, false, RULES);
    asked.poll(630, &[(600, 1.0)]);
    asked.poll(690, &[(600, 1.0)]);
    assert_eq!(asked.deliver(), [], "the first poll came before the end of the minute");
    asked.poll(720, &[(600, 1.0)]);
    assert_eq!(asked.deliver(), [], "30 s apart");
    asked.poll(750, &[(600, 1.0)]);
    assert_eq!(asked.deliver(), [(600, 1.0, Why::First)]);
    assert_eq!(asked.history.cursor(), 660);
}

#[test]
fn a_filling_minute_holds_back_the_later_ones_and_an_absent_one_does_not() {
    let mut asked = Asked::new(600, false, RULES);
    asked.poll(720, &[(660, 5.0)]);
    asked.poll(780, &[(660, 5.0), (720, 7.0)]);
    assert_eq!(asked.deliver(), [(660, 5.0, Why::First)]);
    assert_eq!(asked.history.cursor(), 600, "the absent minute is not decided");
    asked.poll(840, &[(600, 1.0), (660, 5.0), (720, 7.0)]);
    assert_eq!(asked.deliver(), [], "now the first one fills");
    asked.poll(900, &[(600, 1.0), (660, 5.0), (720, 7.0)]);
    assert_eq!(asked.deliver(), [(600, 1.0, Why::First), (720, 7.0, Why::First)]);
    assert_eq!(asked.history.cursor(), 780);
}

#[test]
fn strict_waits_for_the_age_and_a_learned_lag_does_not_need_a_second_poll() {
    let mut asked = Asked::new(600, false, Rules { strict: true, ..RULES });
    for now in [720, 780, 1_200] {
        asked.poll(now, &[(600, 1.0)]);
        assert_eq!(asked.deliver(), []);
    }
    asked.poll(1_260, &[(600, 1.0)]);
    assert_eq!(asked.deliver(), [(600, 1.0, Why::First)]);
    let mut asked = Asked::new(600, false, Rules { lag: 120, ..RULES });
    asked.poll(780, &[(600, 1.0), (660, 2.0)]);
    assert_eq!(asked.deliver(), [(600, 1.0, Why::First)]);
}

#[test]
fn a_change_after_it_went_out_is_counted_and_goes_out_again_only_where_asked_for() {
    for reemit in [false, true] {
        let mut asked = Asked::new(600, false, Rules { reemit, ..RULES });
        asked.poll(660, &[(600, 1.0)]);
        asked.poll(720, &[(600, 1.0)]);
        assert_eq!(asked.deliver().len(), 1);
        assert_eq!(asked.poll(780, &[(600, 3.0)]).revised, 1);
        assert_eq!(asked.poll(840, &[(600, 3.0)]).revised, 0);
        let expected: &[_] = if reemit { &[(600, 3.0, Why::Again)] } else { &[] };
        assert_eq!(asked.deliver(), expected);
        assert_eq!(asked.deliver(), []);
    }
}

#[test]
fn a_first_value_of_a_minute_decided_empty_is_late_and_goes_out() {
    let mut asked = Asked::new(600, false, RULES);
    asked.poll(1_320, &[]);
    assert_eq!(asked.history.cursor(), 720, "two minutes are ten minutes old");
    assert_eq!(asked.poll(1_380, &[(600, 4.0)]).late, 1);
    assert_eq!(
        asked.deliver(),
        [(600, 4.0, Why::Late)],
        "older than max_late: settled at once"
    );
    assert_eq!(asked.poll(1_440, &[(600, 4.0)]), Changes::default());
}

#[test]
fn silence_becomes_zero_by_age_or_when_a_heartbeat_proves_it() {
    let mut asked = Asked::new(600, true, Rules { lag: 120, ..RULES });
    asked.poll(840, &[]);
    assert_eq!(asked.deliver(), [], "nothing proves that AWS is not late");
    asked.heartbeat = Some(660);
    asked.poll(900, &[]);
    assert_eq!(asked.deliver(), [(600, 0.0, Why::Filled), (660, 0.0, Why::Filled)]);
    assert_eq!(
        asked.poll(960, &[(600, 2.0)]).revised,
        1,
        "a late value after a 0 is a revision"
    );
    let mut asked = Asked::new(600, true, RULES);
    asked.want.exists_from = 660;
    asked.poll(1_320, &[]);
    assert_eq!(asked.deliver(), [(660, 0.0, Why::Filled)], "nothing before it existed");
}

#[test]
fn a_restart_repeats_nothing_and_sees_changes_that_happened_across_it() {
    let mut asked = Asked::new(600, true, Rules { reemit: true, ..RULES });
    let shown = [(600, 1.0), (660, 2.0)];
    asked.poll(720, &shown);
    asked.poll(780, &shown);
    assert_eq!(asked.deliver().len(), 2);
    let saved = asked.history.save();
    assert_eq!(saved.tail.len(), 2);
    asked.history = History::restored(&saved, 0, 60);
    assert_eq!(asked.history.cursor(), 720);
    assert_eq!(asked.poll(900, &shown), Changes::default());
    assert_eq!(asked.deliver(), []);
    let changed = [(600, 1.0), (660, 9.0)];
    assert_eq!(asked.poll(960, &changed).revised, 1);
    asked.poll(1_020, &changed);
    assert_eq!(asked.deliver(), [(660, 9.0, Why::Again)]);
}

#[test]
fn a_long_gap_is_set_aside_and_what_was_handed_on_of_it_stays_known() {
    let mut asked = Asked::new(600, false, RULES);
    asked.poll(780, &[(660, 2.0)]);
    asked.poll(840, &[(660, 2.0), (720, 3.0)]);
    assert_eq!(asked.deliver(), [(660, 2.0, Why::First)]);
    assert_eq!(asked.history.set_aside(20_000, 60), 324);
    assert_eq!(asked.history.gaps(), [(600, 20_040)]);
    assert!(asked.history.is_done(660) && !asked.history.is_done(720));
    asked.poll(20_160, &[(20_040, 1.0)]);
    asked.history.tidy(20_160, 600, None);
    assert!(asked.history.is_done(660), "as long as the gap is open");
    assert_eq!(asked.history.give_up_before(20_000), 19_400);
    assert_eq!(asked.history.give_up_before(20_040), 40);
    assert_eq!(asked.history.gaps(), []);
}

#[test]
fn what_no_poll_asks_for_again_is_forgotten_and_teaches_how_late_values_are() {
    let mut asked = Asked::new(600, false, RULES);
    let mut lag = Lag::default();
    let mut shown = Vec::new();
    for minute in 0..1_100i64 {
        let now = 660 + 60 * minute;
        // Each value shows 60 s after its minute.
        if minute > 0 {
            shown.push((now - 120, minute as f64));
        }
        asked.poll(now, &shown);
        asked.deliver();
        asked.history.tidy(now, 600, Some(&mut lag));
        assert!(asked.history.minutes.len() <= 22, "{}", asked.history.minutes.len());
    }
    let now = 660 + 60 * 1_100;
    assert_eq!(lag.learned(now), Some(75), "60 s, and a step of the scale");
}

#[test]
fn what_came_later_than_the_limit_between_two_slow_polls_is_not_missed_and_goes_out_once() {
    let mut asked = Asked::new(3_600, false, RULES);
    let mut shown = Vec::new();
    let mut out = Vec::new();
    for quarter in 1..20i64 {
        let now = 3_600 + 900 * quarter;
        // The minute is decided empty at the age of 660 s; its value came a moment later.
        shown.retain(|(at, _)| *at >= now - 4_000);
        if quarter == 5 {
            asked.poll(now, &shown);
            asked.history.tidy(now, 600, None);
            shown.push((now - 720, 9.0));
            continue;
        }
        asked.poll(now, &shown);
        out.extend(asked.deliver());
        asked.history.tidy(now, 600, None);
    }
    assert_eq!(out, [(3_600 + 4_500 - 720, 9.0, Why::Late)]);
}
