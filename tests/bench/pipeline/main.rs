//! The pipeline benchmark: what the agent costs beside two proxies that do as little as can be done.
//!
//! `cargo bench --bench pipeline -- [CASE...] [--short] [--peer COMMAND]`. The loader and the sink run in this process;
//! agent, proxies and peer are children pinned to a core of their own. See README.md.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It is a command-line tool.
#![allow(clippy::expect_used)]

mod agent;
mod cases;
mod data;
mod h2io;
mod limits;
mod loader;
mod overload;
mod process;
mod proxy;
mod report;
mod scan;
mod sink;

use std::time::Duration;

use anyhow::{Context, Result};

use agent::Shape;
use cases::{Bench, Contender, Figures, Traffic, median};
use data::Signal;
use loader::Transport;
use report::{Report, Row};

/// The product's allocator, for the proxies too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is done.
#[derive(Clone, Copy)]
struct Effort {
    items: u64,
    /// For what costs ten times as much.
    compressed_items: u64,
    rounds: usize,
    /// Of the passing proxy, which no limit of CPU stands on.
    passing_rounds: usize,
    latency_runs: usize,
    latency_requests: usize,
    idle: Duration,
    overload: Duration,
    /// Ratios of CPU may be more than their limit by this factor: short runs on a busy machine are not exact.
    ratio_tolerance: f64,
    /// The same for CPU seconds, which the neighbours' use of caches and clock rate moves.
    seconds_tolerance: f64,
    /// The same for memory: how far buffers fill depends on who gets the cores.
    memory_tolerance: f64,
    /// The same for what is measured by the clock.
    clock_tolerance: f64,
}

const FULL: Effort = Effort {
    items: 1_000_000,
    compressed_items: 300_000,
    rounds: 3,
    passing_rounds: 3,
    latency_runs: 5,
    latency_requests: 2000,
    idle: Duration::from_secs(10),
    overload: Duration::from_secs(20),
    ratio_tolerance: 1.0,
    seconds_tolerance: 1.0,
    memory_tolerance: 1.0,
    clock_tolerance: 1.0,
};

const SHORT: Effort = Effort {
    items: 100_000,
    compressed_items: 30_000,
    rounds: 3,
    passing_rounds: 1,
    latency_runs: 3,
    latency_requests: 500,
    idle: Duration::from_secs(5),
    overload: Duration::from_secs(8),
    ratio_tolerance: 1.3,
    seconds_tolerance: 1.5,
    memory_tolerance: 1.25,
    clock_tolerance: 3.0,
};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("pin") => process::exec_pinned(&args[1..]),
        Some("proxy") => runtime()?.block_on(proxy::run(proxy::Settings::from_args(&args[1..])?)),
        _ => {
            process::pin_beside_the_measured()?;
            let wanted = Wanted::parse(&args)?;
            runtime()?.block_on(measure(wanted))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

struct Wanted {
    cases: Vec<String>,
    effort: Effort,
    peer: Option<String>,
}

impl Wanted {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wanted = Self {
            cases: Vec::new(),
            effort: FULL,
            peer: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--short" => wanted.effort = SHORT,
                "--peer" => wanted.peer = Some(args.next().context("--peer needs a command")?.clone()),
                option if option.starts_with('-') => anyhow::bail!("unknown option {option}"),
                case => wanted.cases.push(case.to_owned()),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|wanted| case.starts_with(wanted.as_str()))
    }
}

/// A case of CPU seconds against the proxies.
struct Case {
    name: &'static str,
    traffic: Traffic,
    shape: Shape,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    /// Over the joining proxy.
    Ratio(f64),
    /// Over the joining proxy, and CPU seconds a million.
    RatioAndSeconds(f64, f64),
}

fn all_cases() -> Vec<Case> {
    let plain = |signal, transport| Traffic {
        signal,
        transport,
        small: false,
        gzip: None,
    };
    let case = |name, traffic, shape, limit| Case {
        name,
        traffic,
        shape,
        limit,
    };
    let uncompressed = Limit::Ratio(limits::UNCOMPRESSED_RATIO);
    let (grpc, http) = (Transport::Grpc, Transport::Http);
    let small = |transport| Traffic {
        small: true,
        ..plain(Signal::Traces, transport)
    };
    let gzip = |level| Traffic {
        gzip: Some(level),
        ..plain(Signal::Traces, grpc)
    };
    vec![
        case("grpc-traces", plain(Signal::Traces, grpc), Shape::Batch, uncompressed),
        case("grpc-metrics", plain(Signal::Metrics, grpc), Shape::Batch, uncompressed),
        case("grpc-logs", plain(Signal::Logs, grpc), Shape::Batch, uncompressed),
        case("grpc-small", small(grpc), Shape::Batch, uncompressed),
        case("http-traces", plain(Signal::Traces, http), Shape::Batch, uncompressed),
        case("http-metrics", plain(Signal::Metrics, http), Shape::Batch, uncompressed),
        case("http-logs", plain(Signal::Logs, http), Shape::Batch, uncompressed),
        case("http-small", small(http), Shape::Batch, uncompressed),
        case(
            "grpc-gzip-1",
            gzip(1),
            Shape::Batch,
            Limit::RatioAndSeconds(limits::GZIP_RATIO, limits::GZIP_SECONDS),
        ),
        case("grpc-gzip-6", gzip(6), Shape::Batch, Limit::Ratio(limits::GZIP_RATIO)),
        case(
            "filter-upsert",
            plain(Signal::Traces, grpc),
            Shape::FilterUpsert,
            Limit::Ratio(limits::FILTER_UPSERT_RATIO),
        ),
    ]
}

async fn measure(wanted: Wanted) -> Result<()> {
    let bench = Bench {
        agent: env!("CARGO_BIN_EXE_radiosonde").into(),
        scratch: tempfile::tempdir()?,
    };
    let mut report = Report::default();
    for case in all_cases() {
        if wanted.wants(case.name) {
            let row = throughput_case(&bench, &case, &wanted).await;
            report.add(row.with_context(|| format!("case {}", case.name))?);
        }
    }
    if wanted.wants("fan-out") {
        report.add(fan_out(&bench, wanted.effort).await.context("case fan-out")?);
    }
    if wanted.wants("overload") {
        report.add(overload(&bench, wanted.effort).await.context("case overload")?);
    }
    if wanted.wants("idle") {
        report.add(idle(&bench, wanted.effort).await.context("case idle")?);
    }
    if wanted.wants("ack-latency") {
        report.add(ack_latency(&bench, wanted.effort).await.context("case ack-latency")?);
    }
    report.finish()
}

async fn throughput_case(bench: &Bench, case: &Case, wanted: &Wanted) -> Result<Row> {
    let effort = wanted.effort;
    let items = if case.traffic.gzip.is_some() {
        effort.compressed_items
    } else {
        effort.items
    };
    let mut contenders = vec![Contender::Joining, Contender::Agent(case.shape), Contender::Passing];
    contenders.extend(wanted.peer.clone().map(Contender::Peer));
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); contenders.len()];
    // Interleaved, so that whatever else the machine does meets all of them.
    for round in 0..effort.rounds {
        for (contender, runs) in contenders.iter().zip(&mut runs) {
            if *contender == Contender::Passing && round >= effort.passing_rounds {
                continue;
            }
            let run = bench.throughput(contender, &case.traffic, items).await;
            runs.push(run.with_context(|| format!("{contender:?}"))?);
        }
    }
    let cpu = |index: usize| median(&runs[index].iter().map(|run| run.cpu_per_million).collect::<Vec<_>>());
    let rss = |index: usize| runs[index].iter().map(|run| run.peak_rss_mb).fold(0.0, f64::max);
    // Of the runs beside each other, not of the medians: a disturbance that lasts meets both.
    let of_rounds = runs[1].iter().zip(&runs[0]);
    let ratios = of_rounds.map(|(agent, joining)| agent.cpu_per_million / joining.cpu_per_million);
    let ratio = median(&ratios.collect::<Vec<_>>());
    let mut row = Row::new(case.name);
    row.figure("joining", cpu(0))
        .figure("agent", cpu(1))
        .figure("passing", cpu(2));
    if wanted.peer.is_some() {
        row.figure("peer", cpu(3)).figure("peer_rss_mb", rss(3));
    }
    row.figure("joining_rss_mb", rss(0));
    row.figure("bytes_per_item", case.traffic.set().bytes_per_item() as f64);
    row.figure("batches", runs[1][0].batches as f64);
    match case.limit {
        Limit::Ratio(most) => {
            row.limited(
                "ratio",
                ratio,
                most * effort.ratio_tolerance,
                "CPU over the joining proxy's",
            );
        }
        Limit::RatioAndSeconds(most, seconds) => {
            row.limited(
                "ratio",
                ratio,
                most * effort.ratio_tolerance,
                "CPU over the joining proxy's",
            );
            row.limited(
                "seconds",
                cpu(1),
                seconds * effort.seconds_tolerance,
                "CPU seconds for a million items",
            );
        }
    }
    row.limited(
        "agent_rss_mb",
        rss(1),
        limits::PEAK_RSS_MB * effort.memory_tolerance,
        "peak memory in MB",
    );
    Ok(row)
}

async fn fan_out(bench: &Bench, effort: Effort) -> Result<Row> {
    let traffic = Traffic {
        signal: Signal::Traces,
        transport: Transport::Grpc,
        small: false,
        gzip: None,
    };
    let (mut one, mut three) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        for (count, runs) in [(1, &mut one), (3, &mut three)] {
            let agent = Contender::Agent(Shape::Nop(count));
            runs.push(bench.throughput(&agent, &traffic, effort.items).await?.cpu_per_million);
        }
    }
    let mut row = Row::new("fan-out");
    let (one, three) = (median(&one), median(&three));
    row.figure("one_nop", one).figure("three_nop", three);
    row.limited(
        "ratio",
        three / one,
        limits::FAN_OUT_RATIO * effort.ratio_tolerance,
        "CPU of three exporters over one",
    );
    Ok(row)
}

async fn overload(bench: &Bench, effort: Effort) -> Result<Row> {
    let seen = bench.overload(effort.overload).await?;
    let mut row = Row::new("overload");
    row.figure("offered", seen.offered as f64)
        .figure("acknowledged", seen.acknowledged as f64)
        .figure("refused", seen.refused_items() as f64)
        .figure("delivered", seen.delivered as f64)
        .figure("dropped", seen.dropped as f64);
    row.limited(
        "peak_mib",
        seen.peak_mib,
        limits::OVERLOAD_RSS_MIB,
        "peak memory in MiB with the far end down",
    );
    row.limited(
        "refused_for_good",
        seen.refused_for_good() as f64,
        0.0,
        "items refused with a status after which a client gives up",
    );
    row.limited(
        "not_accounted",
        (seen.acknowledged as f64 - seen.delivered as f64 - seen.dropped as f64).abs(),
        0.0,
        "items acknowledged and neither delivered nor counted as dropped (or delivered twice)",
    );
    if seen.refused_items() == 0 {
        row.miss("nothing was refused, so this was no overload");
    }
    Ok(row)
}

async fn idle(bench: &Bench, effort: Effort) -> Result<Row> {
    let idle = bench.idle(effort.idle).await?;
    let mut row = Row::new("idle");
    row.limited(
        "rss_mb",
        idle.rss_mb,
        limits::IDLE_RSS_MB * effort.memory_tolerance,
        "idle memory in MB",
    );
    row.limited(
        "cpu_percent",
        idle.cpu_percent,
        limits::IDLE_CPU_PERCENT,
        "idle CPU in percent of a core",
    );
    row.limited(
        "start_ms",
        idle.start_ms,
        limits::START_MS * effort.clock_tolerance,
        "ms from start to listening",
    );
    row.limited(
        "binary_mb",
        idle.binary_mb,
        limits::BINARY_MB,
        "size of the binary in MB",
    );
    Ok(row)
}

async fn ack_latency(bench: &Bench, effort: Effort) -> Result<Row> {
    let (mut passing, mut agent, mut above) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.latency_runs {
        let limit = bench.ack_p99(&Contender::Passing, effort.latency_requests).await?;
        let ours = bench
            .ack_p99(&Contender::Agent(Shape::Unbatched), effort.latency_requests)
            .await?;
        passing.push(limit);
        agent.push(ours);
        above.push(ours - limit);
    }
    // What else runs on the machine only ever adds: where it may, the best run counts.
    let above_ms = if effort.clock_tolerance > 1.0 {
        above.iter().copied().fold(f64::INFINITY, f64::min)
    } else {
        median(&above)
    };
    let mut row = Row::new("ack-latency");
    row.figure("passing_p99_ms", median(&passing))
        .figure("agent_p99_ms", median(&agent));
    row.limited(
        "above_ms",
        above_ms,
        limits::ACK_P99_MS * effort.clock_tolerance,
        "p99 of the acknowledgement above the passing proxy's",
    );
    Ok(row)
}
