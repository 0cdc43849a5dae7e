//! `cargo bench --bench alerts [-- --short]`: what alert rules cost.
//!
//! - a round of 2,000 rules over 200,000 series with new points: 1.5 s of CPU;
//! - a series without samples: 160 bytes;
//! - a point that no rule selects, on its way through the processor: 0.3 microseconds.
//!
//! `--short`: a tenth of the rules and series, and of the limit of a round. A missed limit fails the run where the build
//! is optimised. CPU is that of the process or thread, so that other work on the machine counts little.

// All of it is a measurement: it prints.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod points;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::resource::{UsageWho, getrusage};
use radiosonde::alert::engine::{Engine, EngineSettings, SourceKind};
use radiosonde::alert::promql::Expression;
use radiosonde::alert::rules::{Group, read};
use radiosonde::alert::store::{Fill, Origin, Point, SeriesId, Store, StoreLimits};
use radiosonde::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Factory, Outlet, Plan, Refused, Stage,
};
use radiosonde::components::processors::alerts::AlertsFactory;
use radiosonde::config::Section;
use radiosonde::pdata::{Batch, Origin as BatchOrigin, Signal};

const MINUTE: i64 = 60_000;
const START: i64 = 29_000_000 * MINUTE;
/// Rules that ask for one metric, each for one operation of it.
const OPERATIONS: usize = 10;
const TABLES: usize = 100;
const ROUNDS: usize = 5;

struct Form {
    rules: usize,
    round_s: f64,
    batches: usize,
}

const FULL: Form = Form {
    rules: 2_000,
    round_s: 1.5,
    batches: 2_000,
};
const SHORT: Form = Form {
    rules: 200,
    round_s: 0.15,
    batches: 400,
};

fn cpu(of: UsageWho) -> f64 {
    let usage = getrusage(of).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

#[derive(Default)]
struct Report {
    missed: Vec<String>,
}

impl Report {
    fn line(&mut self, what: &str, value: f64, unit: &str, limit: f64) {
        println!("{what:<58} {value:>9.3} {unit:<6} limit {limit}");
        if value > limit {
            self.missed.push(format!("{what}: {value:.3} {unit}, limit {limit}"));
        }
    }
}

/// As the rules of the pack: one in a hundred tables is over the threshold.
fn groups(rules: usize) -> Vec<Group> {
    let mut text = String::from("groups:\n- name: bench\n  interval: 1m\n  rules:\n");
    for rule in 0..rules {
        let (metric, operation) = (rule / OPERATIONS, rule % OPERATIONS);
        writeln!(
            text,
            "  - alert: Rule{rule}\n    expr: sum by (account_id, region, TableName) (sum_over_time(\
             aws_dynamodb_metric{metric}_sum{{Operation=\"op{operation}\", OperationType=\"\", Verb=\"\"}}[5m])) > 490\n    \
             labels: {{severity: warning}}"
        )
        .unwrap();
    }
    let reading = read("bench", &text, &|_: &str| None);
    assert!(!reading.has_errors(), "{:?}", reading.lines());
    reading.file.groups
}

/// Shows the labels of every series.
fn each_series(rules: usize, mut visit: impl FnMut(&[(&str, &str)])) {
    let tables: Vec<String> = (0..TABLES).map(|table| format!("tracking-store-{table:03}")).collect();
    for rule in 0..rules {
        let (metric, operation) = (rule / OPERATIONS, format!("op{}", rule % OPERATIONS));
        let name = format!("aws_dynamodb_metric{metric}_sum");
        for table in &tables {
            visit(&[
                ("__name__", &name),
                ("account_id", "123456789012"),
                ("region", "eu-central-1"),
                ("TableName", table),
                ("Operation", &operation),
            ]);
        }
    }
}

fn a_round(form: &Form, report: &mut Report) {
    let groups = groups(form.rules);
    let series = form.rules * TABLES;
    let settings = EngineSettings {
        limits: StoreLimits {
            series,
            ..StoreLimits::default()
        },
        ..EngineSettings::default()
    };
    let mut engine = Engine::new(settings, &groups);
    let source = engine.source("cloudwatch|123456789012|eu-central-1|1", SourceKind::Polled);
    let origin = Origin {
        period: 60_000,
        source,
        fill: Fill::Zero,
    };
    let mut ids: Vec<SeriesId> = Vec::with_capacity(series);
    each_series(form.rules, |labels| ids.push(engine.intern(labels, origin).unwrap()));
    let mut rounds = Vec::new();
    for minute in 0..(6 + ROUNDS as i64) {
        let now = START + minute * MINUTE;
        for (position, id) in ids.iter().enumerate() {
            let value = if position % TABLES == 7 {
                100.0
            } else {
                (position % 90) as f64
            };
            engine.push(*id, now, Point::Float(value), now);
        }
        engine.cover(source, now, now);
        let before = cpu(UsageWho::RUSAGE_THREAD);
        assert!(engine.round(now));
        let round = cpu(UsageWho::RUSAGE_THREAD) - before;
        if minute >= 6 {
            rounds.push(round);
        }
    }
    let (counts, firing) = (engine.counts(), engine.told().len());
    assert_eq!((counts.refused_series, counts.refused_points, counts.errors), (0, 0, 0));
    assert_eq!(firing, form.rules, "one table of each rule");
    rounds.sort_by(f64::total_cmp);
    let what = format!("a round: {} rules, {series} series, {firing} alerts fire", form.rules);
    report.line(&what, rounds[ROUNDS / 2], "s", form.round_s);
    let before = cpu(UsageWho::RUSAGE_THREAD);
    let bytes: usize = engine.save().iter().map(|(_, bytes)| bytes.len()).sum();
    let (saving, mib) = (cpu(UsageWho::RUSAGE_THREAD) - before, bytes as f64 / 1_048_576.0);
    println!(
        "  to put all state into bytes: {saving:.3} s, {mib:.1} MiB; worst round {:.3} s",
        rounds[ROUNDS - 1]
    );
}

fn a_series(form: &Form, report: &mut Report) {
    let series = form.rules * TABLES;
    let mut store = Store::new(StoreLimits {
        series,
        ..StoreLimits::default()
    });
    for rule in 0..form.rules {
        let text = format!(
            "aws_dynamodb_metric{}_sum{{Operation=\"op{}\"}}",
            rule / OPERATIONS,
            rule % OPERATIONS
        );
        Expression::parse(&text).unwrap().selectors(&mut |selector| {
            store.select(selector.name.as_deref(), &selector.matchers);
        });
    }
    let before = resident();
    each_series(form.rules, |labels| {
        store.intern(labels, Origin::default()).unwrap();
    });
    let (by_count, by_memory) = (
        store.series_bytes() as f64 / series as f64,
        (resident() - before) / series as f64,
    );
    report.line("a series without samples, as it is counted", by_count, "bytes", 160.0);
    report.line(
        "a series without samples, by the process' memory",
        by_memory,
        "bytes",
        160.0,
    );
}

struct Nowhere;

impl Stage for Nowhere {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn processor() -> Arc<dyn Stage> {
    let section = Section::from_yaml("packs: {dynamodb: {contact: me}, sagemaker: {contact: me}, xray: {contact: me}}");
    let Some(Plan::Processor(plan)) = AlertsFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    let context = BuildContext::standalone(ComponentKind::Processor, "alerts");
    match plan.build(context, Signal::Metrics, Outlet::to(Arc::new(Nowhere))) {
        Ok(BuiltProcessor::Active { stage, .. }) => stage,
        _ => panic!("alerts has a task of its own"),
    }
}

async fn a_point(form: &Form, report: &mut Report) {
    let stage = processor();
    for (what, request, count) in points::requests() {
        let send = async || {
            let batch = Batch::from_wire(Signal::Metrics, request.clone(), count as u32, BatchOrigin::internal());
            stage.consume(batch).await.unwrap();
        };
        for _ in 0..form.batches / 10 {
            send().await;
        }
        // The door counts and checks the points; that is not the processor's.
        let before = cpu(UsageWho::RUSAGE_THREAD);
        for _ in 0..form.batches {
            send().await;
        }
        let all = cpu(UsageWho::RUSAGE_THREAD) - before;
        let before = cpu(UsageWho::RUSAGE_THREAD);
        for _ in 0..form.batches {
            let batch = Batch::from_wire(Signal::Metrics, request.clone(), count as u32, BatchOrigin::internal());
            Nowhere.consume(batch).await.unwrap();
        }
        let door = cpu(UsageWho::RUSAGE_THREAD) - before;
        let each = (all - door) * 1e6 / (form.batches * count) as f64;
        report.line(&format!("a point that no rule selects: {what}"), each, "us", 0.3);
    }
}

fn main() -> ExitCode {
    let form = if std::env::args().any(|argument| argument == "--short") {
        SHORT
    } else {
        FULL
    };
    let mut report = Report::default();
    a_series(&form, &mut report);
    a_round(&form, &mut report);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(a_point(&form, &mut report));
    for missed in &report.missed {
        println!("MISSED {missed}");
    }
    if report.missed.is_empty() || cfg!(debug_assertions) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
