//! What a series costs each time it is polled, and what it takes in memory: `cargo bench --bench cloudwatch`.
//!
//! CPU: a reference table's series through planning, the real SDK (over a connector that answers from memory: no socket,
//! no server), merging, judging and conversion to OTLP. Planning, judging and conversion together may take 25
//! microseconds a series and poll; what the SDK takes to write, sign and read is shown beside it.
//! Memory: 10,000 tables of 65 series with the minutes that may still change.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A benchmark fails loudly and speaks on the terminal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use minicbor::Encoder;
use minicbor::data::Tag;
use prost::Message;
use radiosonde::aws::Calls;
use radiosonde::aws::catalogue::Kind;
use radiosonde::aws::cloudwatch::bill::{Mode, Rhythm, Schedule};
use radiosonde::aws::cloudwatch::fetch::{Line, Outcome, fetch};
use radiosonde::aws::cloudwatch::history::Answer;
use radiosonde::aws::cloudwatch::plan::plan;
use radiosonde::aws::cloudwatch::{Builder, Class, Judging, Names, Resource, Shape, Stat, Tracks, Want};
use radiosonde::aws::rate::Limits;
use radiosonde::component::{ComponentKind, Instruments, SystemClock};

/// Microseconds of planning, judging and conversion.
const LIMIT_US: f64 = 25.0;
/// MiB for 650,000 series.
const LIMIT_MIB: f64 = 300.0;

const START: i64 = 1_800_000_000;
/// Minutes that a poll asks for again.
const TAIL: i64 = 21;

/// Time this thread was on a processor. The scheduler's own count: getrusage is as coarse as a tick.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Answers every request with what was put there for its number of ids.
#[derive(Clone, Debug, Default)]
struct Canned(Arc<Mutex<Vec<u8>>>);

impl HttpConnector for Canned {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let body = self.0.lock().unwrap().clone();
        let mut response = HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body));
        response.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
        response.headers_mut().insert("content-type", "application/cbor");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// One kind of series.
struct Case {
    name: &'static str,
    /// Of the 65 series of a reference table.
    of_table: usize,
    kind: Kind,
    statistics: &'static [&'static str],
    has_points: bool,
}

const CASES: [Case; 3] = [
    Case {
        name: "counts with a value a minute",
        of_table: 12,
        kind: Kind::SumDelta,
        statistics: &["Sum"],
        has_points: true,
    },
    Case {
        name: "silent ones",
        of_table: 47,
        kind: Kind::SumDelta,
        statistics: &["Sum"],
        has_points: false,
    },
    Case {
        name: "latencies, five statistics",
        of_table: 6,
        kind: Kind::Histogram,
        statistics: &["Sum", "SampleCount", "p50", "p90", "p99"],
        has_points: true,
    },
];

fn shape(case: &Case, names: &mut Names, number: usize) -> Arc<Shape> {
    Arc::new(Shape {
        namespace: names.name("AWS/DynamoDB"),
        metric: names.name(&format!("{} {number}", case.name)),
        kind: case.kind,
        unit: names.name("Count"),
        statistics: case.statistics.iter().map(|name| Stat::parse(name)).collect(),
        period: 60,
        class: Class::Core,
        fill: false,
        heartbeat: false,
    })
}

/// The series of so many tables.
fn wants(case: &Case, tables: usize, names: &mut Names) -> Vec<Want> {
    let shapes: Vec<Arc<Shape>> = (0..case.of_table).map(|number| shape(case, names, number)).collect();
    let mut wants = Vec::new();
    for table in 0..tables {
        let table = format!("table-{table:05}");
        let resource = names.name(&format!("arn:aws:dynamodb:eu-central-1:111122223333:table/{table}"));
        for (number, shape) in shapes.iter().enumerate() {
            let operation = format!("Operation{}", number % 6);
            wants.push(Want {
                shape: Arc::clone(shape),
                dimensions: names.dimensions(&[("Operation", operation.as_str()), ("TableName", table.as_str())]),
                resource: Arc::clone(&resource),
                exists_from: 0,
            });
        }
    }
    wants
}

fn tracks(now: i64) -> Tracks {
    let judging = Judging {
        max_late: 600,
        strict: false,
        reemit: false,
        start: now - 600,
        whole_until: now,
    };
    let rhythm = Rhythm {
        mode: Mode::Uniform,
        interval: 60,
    };
    Tracks::new(judging, false).scheduled(Schedule::new(rhythm, Vec::new()))
}

/// The answer to a request of `series` series with `statistics` each.
fn answer(case: &Case, series: usize, from: i64, to: i64) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    let minutes: Vec<i64> = if case.has_points {
        (from..to - 120).step_by(60).collect()
    } else {
        Vec::new()
    };
    out.map(2).unwrap().str("MetricDataResults").unwrap();
    out.array((series * case.statistics.len()) as u64).unwrap();
    for place in 0..series {
        for statistic in 0..case.statistics.len() {
            out.map(5)
                .unwrap()
                .str("Id")
                .unwrap()
                .str(&format!("s{place}_{statistic}"))
                .unwrap();
            out.str("Label").unwrap().str("orders GetItem Metric").unwrap();
            out.str("Timestamps").unwrap().array(minutes.len() as u64).unwrap();
            for at in &minutes {
                out.tag(Tag::new(1)).unwrap().i64(*at).unwrap();
            }
            out.str("Values").unwrap().array(minutes.len() as u64).unwrap();
            for at in &minutes {
                out.f64((*at % 997) as f64 + 0.5).unwrap();
            }
            out.str("StatusCode").unwrap().str("Complete").unwrap();
        }
    }
    out.str("Messages").unwrap().array(0).unwrap();
    out.into_writer()
}

#[derive(Default)]
struct Spent {
    plan: Duration,
    sdk: Duration,
    judge: Duration,
    convert: Duration,
    polls: u64,
    points: u64,
}

impl Spent {
    fn us(&self, what: Duration) -> f64 {
        what.as_secs_f64() * 1e6 / self.polls as f64
    }

    fn own(&self) -> f64 {
        self.us(self.plan + self.judge + self.convert)
    }
}

async fn poll(case: &Case, tables: usize, minutes: i64) -> Spent {
    let canned = Canned::default();
    let connector = canned.clone();
    let client = aws_sdk_cloudwatch::Client::from_conf(
        aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("AKIA0000000000000000", "secret", None, None, "bench"))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(connector.clone())))
            .build(),
    );
    let instruments = Instruments::standalone(ComponentKind::Receiver, "bench");
    let limits = Limits { start: 1e9, max: 1e9 };
    let calls = Calls::new(
        "GetMetricData",
        "cloudwatch:GetMetricData",
        limits,
        Arc::new(SystemClock),
        &instruments,
        ("", ""),
    );
    let mut names = Names::default();
    let mut tracks = tracks(START);
    tracks.set_wants(wants(case, tables, &mut names), START);
    let mut spent = Spent::default();
    for minute in 0..minutes {
        let now = START + 60 * minute;
        // The first polls fill the tail; what an agent does all day begins then.
        let counts = minute >= 4;
        let mut times = vec![cpu()];
        let (asks, _) = tracks.due(now, false);
        let requests = plan(asks, now);
        times.push(cpu());
        let (mut sdk, mut judge) = (Duration::ZERO, Duration::ZERO);
        for request in &requests {
            *canned.0.lock().unwrap() = answer(case, request.series.len(), request.from, request.to);
            let began = cpu();
            let asked: Vec<Want> = request
                .series
                .iter()
                .map(|at| tracks.get(*at).unwrap().want.clone())
                .collect();
            let line = Line {
                client: &client,
                calls: &calls,
            };
            let fetched = fetch(line, request, &asked, &[]).await;
            let fetched_at = cpu();
            assert!(fetched.failure.is_none(), "{:?}", fetched.failure);
            for (position, outcome) in request.series.iter().zip(&fetched.outcomes) {
                let Outcome::Complete(answer) = outcome else {
                    panic!("{outcome:?}")
                };
                tracks.take(*position, answer, (request.from, request.to), now);
            }
            sdk += fetched_at - began;
            judge += cpu() - fetched_at;
            spent.polls += if counts { request.series.len() as u64 } else { 0 };
        }
        let began = cpu();
        let mut points = 0;
        tracks.sort_ready();
        loop {
            let settled = tracks.settled(2_000);
            if settled.is_empty() {
                break;
            }
            points += settled.len() as u64;
            let mut builder = Builder::new("bench");
            for point in &settled {
                builder.add(point);
            }
            let request = builder.finish(|id| Resource {
                attributes: vec![("cloud.resource_id".to_owned(), id.to_owned())],
            });
            assert!(request.encoded_len() > 0);
            drop(request);
            tracks.acknowledge(&settled);
        }
        if counts {
            spent.plan += times[1] - times[0];
            spent.sdk += sdk;
            spent.judge += judge;
            spent.convert += cpu() - began;
            spent.points += points;
        }
    }
    spent
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// A fleet after half an hour of polling, as it stands in memory.
fn memory(tables: usize) -> (usize, f64) {
    let before = resident_mib();
    let mut names = Names::default();
    let mut tracks = tracks(START);
    let mut all = Vec::new();
    let mut has_points = HashMap::new();
    for case in &CASES {
        let own = wants(case, tables, &mut names);
        for want in &own {
            has_points.insert(Arc::as_ptr(&want.shape), (case.has_points, case.statistics.len()));
        }
        all.extend(own);
    }
    let series = all.len();
    tracks.set_wants(all, START);
    for minute in 0..=TAIL + 3 {
        let now = START + 60 * minute;
        for position in 0..series {
            let (shows, width) = has_points[&Arc::as_ptr(&tracks.get(position).unwrap().want.shape)];
            let mut answer = Answer::of_width(width);
            let mut at = now - 60 * TAIL;
            while shows && at < now - 60 {
                answer.push(at, (0..width).map(|place| (at % 997) as f64 + place as f64));
                at += 60;
            }
            tracks.take(position, &answer, (now - 60 * TAIL, now), now);
        }
        tracks.sort_ready();
        loop {
            let settled = tracks.settled(2_000);
            if settled.is_empty() {
                break;
            }
            tracks.acknowledge(&settled);
        }
    }
    let after = resident_mib();
    assert!(tracks.iter().count() == series);
    (series, after - before)
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut own = 0.0;
    let mut total = 0.0;
    for case in &CASES {
        let tables = 6_500 / case.of_table / if short { 10 } else { 1 };
        let spent = runtime.block_on(poll(case, tables.max(10), if short { 10 } else { 30 }));
        let share = case.of_table as f64 / 65.0;
        let sdk = spent.us(spent.sdk);
        own += share * spent.own();
        total += share * (spent.own() + sdk);
        println!(
            "{{\"case\":\"{}\",\"polls\":{},\"points\":{},\"plan_us\":{:.2},\"judge_us\":{:.2},\"convert_us\":{:.2},\"sdk_us\":{sdk:.2}}}",
            case.name,
            spent.polls,
            spent.points,
            spent.us(spent.plan),
            spent.us(spent.judge),
            spent.us(spent.convert),
        );
    }
    println!("{{\"case\":\"reference table\",\"own_us\":{own:.2},\"with_sdk_us\":{total:.2},\"limit_us\":{LIMIT_US}}}");
    let (series, mib) = memory(if short { 500 } else { 10_000 });
    let limit = LIMIT_MIB * series as f64 / 650_000.0;
    println!("{{\"case\":\"memory\",\"series\":{series},\"mib\":{mib:.1},\"limit_mib\":{limit:.1}}}");
    // A build without optimisation says nothing about speed.
    if !cfg!(debug_assertions) {
        assert!(
            own <= LIMIT_US,
            "planning, judging and conversion take {own:.1} us a series and poll"
        );
        assert!(short || mib <= limit, "{series} series take {mib:.0} MiB");
    }
}
