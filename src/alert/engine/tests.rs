use super::*;
use crate::alert::rules::read;

const MINUTE: i64 = 60_000;

const RULES: &str = r#"groups:
- name: g
  rules:
  - {alert: Plain, expr: 'x > 5', labels: {severity: info}, keep_firing_for: 2m}
  - {alert: Held, expr: 'sum by (t) (sum_over_time(x[3m])) > 8', for: 2m, labels: {severity: info}}
  - alert: Points
    expr: x > 5
    labels: {severity: info}
    x-radiosonde: {datapoints: {m: 2, n: 3, period: 1m}, missing: ignore}
  - alert: Hysteresis
    expr: x > 7
    labels: {severity: info}
    x-radiosonde: {recover: {expr: 'x < 3', datapoints: {m: 2, n: 2, period: 1m}}, missing: zero}
"#;

fn groups(text: &str) -> Vec<Group> {
    let reading = read("rules.yaml", text, &|_: &str| None);
    assert_eq!(reading.lines(), Vec::<String>::new());
    reading.file.groups
}

struct Bench {
    engine: Engine,
    source: u32,
    groups: Vec<Group>,
    read: Vec<(String, i64, f64)>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let groups = groups(text);
        let mut engine = Engine::new(EngineSettings::default(), &groups);
        engine.begin_at(0);
        let source = engine.source("r|a|eu|orders", SourceKind::Polled);
        Self {
            engine,
            source,
            groups,
            read: Vec::new(),
        }
    }

    fn id(&mut self, table: &str) -> Option<SeriesId> {
        let origin = Origin {
            period: 60_000,
            source: self.source,
            ..Origin::default()
        };
        self.engine.intern(&[("__name__", "x"), ("t", table)], origin).ok()
    }

    fn point(&mut self, table: &str, minute: i64, value: f64, now: i64) {
        self.read.push((table.to_owned(), minute, value));
        let id = self.id(table).unwrap();
        self.engine.push(id, minute * MINUTE, Point::Float(value), now * MINUTE);
    }

    fn round(&mut self, covered: i64, now: i64) {
        self.engine.cover(self.source, covered * MINUTE, now * MINUTE);
        self.engine.round(now * MINUTE);
        self.engine.mark_told();
    }

    fn restart(&mut self, now: i64) {
        let saved = self.engine.save();
        self.engine = Engine::new(EngineSettings::default(), &self.groups);
        self.source = self.engine.source("r|a|eu|orders", SourceKind::Polled);
        for (identity, bytes) in saved {
            assert_eq!(self.engine.restore(identity, &bytes), Restored::Done);
        }
        for (table, minute, value) in self.read.clone() {
            let id = self.id(&table).unwrap();
            self.engine.load(id, minute * MINUTE, Point::Float(value), now * MINUTE);
        }
        self.engine.recheck();
    }

    /// Names of what is told: `+` firing, `-` ended, with minutes.
    fn told(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .engine
            .told()
            .iter()
            .map(|told| {
                let name = told
                    .labels
                    .iter()
                    .find(|(name, _)| name == "alertname")
                    .unwrap()
                    .1
                    .clone();
                let minute = |nanos: u64| nanos / 60_000_000_000;
                match told.ends_at {
                    None => format!("{name} {}-", minute(told.starts_at)),
                    Some(ended) => format!("{name} {}-{}", minute(told.starts_at), minute(ended)),
                }
            })
            .collect();
        lines.sort();
        lines
    }

    /// Everything that was decided.
    fn history(&self) -> String {
        let of = |watched: &Watched| {
            format!(
                "{} {:?} {:?} {:?}",
                watched.rule().name,
                watched.history,
                watched.base,
                watched.current
            )
        };
        self.engine.rules().map(of).collect::<Vec<_>>().join("\n")
    }
}

fn only(alert: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n{alert}")
}

#[test]
fn states_follow_for_and_keep_firing_for() {
    let mut bench = Bench::new(&only(
        "  - {alert: A, expr: 'x > 5', for: 2m, keep_firing_for: 2m, labels: {severity: info}}\n",
    ));
    let phases: Vec<Phase> = [9.0, 9.0, 9.0, 1.0, 9.0, 1.0, 1.0, 1.0]
        .into_iter()
        .enumerate()
        .map(|(minute, value)| {
            bench.point("orders", minute as i64, value, minute as i64);
            bench.round(minute as i64, minute as i64);
            bench
                .engine
                .states()
                .first()
                .map_or(Phase::Inactive, |state| state.instance.phase)
        })
        .collect();
    use Phase::{Firing, Inactive, Pending, Recovering};
    assert_eq!(
        phases,
        [
            Pending, Pending, Firing, Recovering, Firing, Recovering, Recovering, Inactive
        ]
    );
    assert_eq!(bench.told(), ["A 2-7"], "one alert, in spite of the calm minute");
}

#[test]
fn hysteresis_and_m_of_n() {
    let mut bench = Bench::new(RULES);
    for (minute, value) in [8.0, 6.0, 1.0, 6.0, 2.0, 2.0, 2.0].into_iter().enumerate() {
        bench.point("orders", minute as i64, value, minute as i64);
        bench.round(minute as i64, minute as i64);
    }
    let told = bench.told();
    assert!(told.contains(&"Hysteresis 0-5".to_owned()), "{told:?}");
    assert!(told.contains(&"Points 1-4".to_owned()), "{told:?}");
}

#[test]
fn missing_data_means_what_the_rule_says() {
    let cases = [
        ("zero", "A 1-3"),
        ("{hold: 10m}", "A 1-"),
        ("ok", "A 1-3"),
        ("breach", "A 1-"),
        ("{nodata: 3m}", "A 1-5"),
        ("ignore", "A 1-3"),
    ];
    for (missing, wanted) in cases {
        let mut bench = Bench::new(&only(&format!(
            "  - {{alert: A, expr: 'x > 5', labels: {{severity: info}}, x-radiosonde: {{missing: {missing}}}}}\n"
        )));
        for minute in 0..8 {
            if minute == 1 || minute == 2 {
                bench.point("orders", minute, 9.0, minute);
            }
            bench.round(minute, minute);
        }
        assert_eq!(bench.told(), [wanted], "{missing}");
    }
    // M of N over the points that exist: five breaching points in seven minutes.
    let mut bench = Bench::new(&only(
        "  - {alert: A, expr: 'x > 5', labels: {severity: info}, x-radiosonde: {missing: ignore, datapoints: {m: 5, n: 5, \
         period: 1m}}}\n",
    ));
    for minute in 0..8 {
        if minute != 2 && minute != 4 {
            bench.point("orders", minute, 9.0, minute);
        }
        bench.round(minute, minute);
    }
    assert_eq!(bench.told(), ["A 6-"]);
    // And not if they are too few to say anything.
    for minute in 8..30 {
        bench.round(minute, minute);
    }
    assert_eq!(bench.told(), ["A 6-16"]);
}

#[test]
fn what_is_not_covered_is_not_decided() {
    let mut bench = Bench::new(&only("  - {alert: A, expr: 'x > 5', labels: {severity: info}}\n"));
    bench.point("orders", 0, 9.0, 0);
    bench.round(0, 0);
    for now in 1..60 {
        bench.engine.round(now * MINUTE);
    }
    assert_eq!(bench.told(), ["A 0-"], "an hour of failed polls resolves nothing");
    assert!(bench.engine.rules().all(Watched::is_stale));
    bench.point("orders", 1, 9.0, 60);
    bench.point("orders", 2, 1.0, 60);
    bench.round(60, 60);
    assert_eq!(
        bench.told(),
        Vec::<String>::new(),
        "it ended long ago, and nobody is told of it now"
    );
    assert!(!bench.engine.rules().any(Watched::is_stale));
}

#[test]
fn a_correction_that_takes_a_reason_away_ends_in_the_open() {
    let mut bench = Bench::new(&only("  - {alert: A, expr: 'x > 5', labels: {severity: info}}\n"));
    bench.point("orders", 0, 9.0, 0);
    bench.round(0, 0);
    bench.point("orders", 0, 1.0, 1);
    bench.point("orders", 1, 1.0, 1);
    bench.round(1, 1);
    assert_eq!(bench.told(), ["A 0-0"]);
}

#[test]
fn late_points_count_until_they_are_too_late() {
    let mut bench = Bench::new(&only("  - {alert: A, expr: 'x > 5', labels: {severity: info}}\n"));
    for minute in 0..30 {
        bench.point("orders", minute, 1.0, minute);
        bench.round(minute, minute);
    }
    bench.point("orders", 10, 9.0, 30);
    bench.round(30, 30);
    assert_eq!((bench.told().len(), bench.engine.counts().too_late), (0, 1));
    bench.point("orders", 25, 9.0, 31);
    bench.round(31, 31);
    assert_eq!(bench.told(), ["A 25-26"]);
    assert_eq!(bench.engine.counts().late, 1);
    assert!(
        bench.engine.told()[0]
            .annotations
            .iter()
            .any(|(name, _)| name == "late")
    );
}

#[test]
fn of_a_pair_the_louder_one_is_told() {
    let mut bench = Bench::new(&only(
        "  - {alert: A, expr: 'x > 5', labels: {severity: warning}, x-radiosonde: {pair: p}}\n  - {alert: A, expr: 'x > 9', \
         labels: {severity: critical}, x-radiosonde: {pair: p, escalation: [{after: 1m, to: b}]}}\n",
    ));
    bench.point("orders", 0, 20.0, 0);
    bench.round(0, 0);
    let levels = |bench: &Bench| -> Vec<String> {
        let told = bench.engine.told();
        let open = told.iter().filter(|told| told.ends_at.is_none());
        open.map(|told| {
            told.labels
                .iter()
                .find(|(name, _)| name == "severity")
                .unwrap()
                .1
                .clone()
        })
        .collect()
    };
    assert_eq!(levels(&bench), ["critical"]);
    bench.point("orders", 1, 6.0, 1);
    bench.round(1, 1);
    assert_eq!(levels(&bench), ["warning"]);
}

#[test]
fn an_alert_that_makes_another_unnecessary_is_told_alone() {
    let mut bench = Bench::new(&only(
        "  - {alert: A, expr: 'x > 5', labels: {severity: critical}, x-radiosonde: {inhibits: [B]}}\n  - {alert: B, expr: \
         'x > 3', labels: {severity: warning}}\n",
    ));
    bench.point("orders", 0, 9.0, 0);
    bench.point("users", 0, 4.0, 0);
    bench.round(0, 0);
    let told = bench.engine.told();
    let of = |name: &str| {
        told.iter()
            .flat_map(|told| &told.labels)
            .filter(|(_, value)| value == name)
            .count()
    };
    assert_eq!((of("A"), of("B"), of("users")), (1, 1, 1), "{told:?}");
}

#[test]
fn a_push_source_is_waited_for_and_released() {
    let mut engine = Engine::new(
        EngineSettings::default(),
        &groups(&only("  - {alert: A, expr: 'sum(x) > 5', labels: {severity: info}}\n")),
    );
    let push = |engine: &mut Engine, key: &str, seconds: i64, value: f64| {
        let source = engine.source(key, SourceKind::Pushed { cloudwatch: false });
        let origin = Origin {
            source,
            ..Origin::default()
        };
        let id = engine.intern(&[("__name__", "x"), ("i", key)], origin).unwrap();
        engine.push(id, seconds * 1_000, Point::Float(value), seconds * 1_000);
    };
    push(&mut engine, "a", 600, 9.0);
    engine.round(600_000);
    let watermark = |engine: &Engine| engine.rules().next().unwrap().watermark();
    assert_eq!(
        watermark(&engine),
        Some(570_000),
        "half a minute until the lag is known"
    );
    push(&mut engine, "b", 540, 9.0);
    push(&mut engine, "a", 660, 9.0);
    engine.round(660_000);
    // The slowest says how far it is, and what was known stays known.
    assert_eq!(engine.told().len(), 1);
    push(&mut engine, "a", 1_000, 9.0);
    engine.round(1_000_000);
    assert_eq!(
        watermark(&engine),
        Some(970_000),
        "b is silent for more than five minutes"
    );
}

#[test]
fn changed_rules_leave_orphans_and_unreadable_state_is_told() {
    let mut bench = Bench::new(&only("  - {alert: A, expr: 'x > 5', labels: {severity: info}}\n"));
    bench.point("orders", 0, 9.0, 0);
    bench.round(0, 0);
    let (identity, bytes) = bench.engine.save().remove(0);
    assert_eq!(bench.engine.restore(identity + 1, &bytes), Restored::NoSuchRule);
    assert_eq!(bench.engine.restore(identity, b"{"), Restored::Unreadable);
    let mut other = Bench::new(&only("  - {alert: A, expr: 'x > 6', labels: {severity: info}}\n")).engine;
    assert_eq!(other.restore(identity, &bytes), Restored::NoSuchRule);
    other.adopt_orphans(identity, &bytes, MINUTE);
    let told = other.told();
    assert_eq!((told.len(), told[0].ends_at), (1, Some(60_000_000_000)));
    assert_eq!(told[0].annotations, [("reason".to_owned(), "rule_changed".to_owned())]);
    assert!(other.forgotten().is_empty());
    other.mark_told();
    assert_eq!(other.forgotten(), [identity]);
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// In any order within the lateness, twice, and with a restart at any tick: the same history.
/// `RADIOSONDE_RUNS=10000` for the long form.
#[test]
fn arrival_duplicates_and_restarts_change_nothing_that_is_decided() {
    let runs = std::env::var("RADIOSONDE_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(300);
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for run in 0..runs {
        let mut points = Vec::new();
        for table in ["a", "b"] {
            for minute in 0..16 {
                if dice.roll(6) > 0 {
                    points.push((table, minute, dice.roll(11) as f64, 0_i64));
                }
            }
        }
        let mut orderly = Bench::new(RULES);
        for minute in 0..=26 {
            for (table, at, value, _) in points.iter().filter(|point| point.1 == minute) {
                orderly.point(table, *at, *value, minute);
            }
            orderly.round(minute, minute);
        }
        let mut coming: Vec<(&str, i64, f64, i64)> = Vec::new();
        for (table, at, value, _) in &points {
            let delay = dice.roll(9) as i64;
            coming.push((table, *at, *value, at + delay));
            if dice.roll(3) == 0 {
                coming.push((table, *at, *value, at + dice.roll(9) as i64));
            }
        }
        let restarts = dice.roll(4);
        let mut shuffled = Bench::new(RULES);
        for minute in 0..=26 {
            for (table, at, value, _) in coming.iter().filter(|point| point.3 == minute) {
                shuffled.point(table, *at, *value, minute);
            }
            if restarts == 0 || (restarts == 1 && dice.roll(5) == 0) {
                shuffled.restart(minute);
            }
            shuffled.round(minute, minute);
        }
        let (got, wanted) = (shuffled.history(), orderly.history());
        for (got, wanted) in got.lines().zip(wanted.lines()) {
            assert_eq!(got, wanted, "run {run}");
        }
    }
}
