//! What is done to the agent, and what must hold afterwards.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::agent::{Agent, Setup, binary, disk_bytes, sum_of};
use crate::load::{Ledger, Load, Template, send_at};
use crate::proxy::{Chaos, Proxy};
use crate::report::Row;
use crate::sink::{Mode, Oracle, Sink, Verdict};

/// Nothing has come for so long: it is over.
const QUIET: Duration = Duration::from_secs(2);
/// An empty queue keeps less than two segments.
const TWO_SEGMENTS: f64 = 128.0 * 1024.0 * 1024.0;

/// One run: the agent's setup, the load, the oracle.
struct Bench {
    folder: TempDir,
    setup: Setup,
    template: Arc<Template>,
    ledger: Arc<Ledger>,
    oracle: Arc<Oracle>,
}

impl Bench {
    /// Requests of so many spans of so many bytes each. The files are below the build's folder: `/tmp` may be memory.
    fn new(spans: u64, span_bytes: usize) -> Result<Self> {
        let base = binary().parent().context("a folder")?.to_owned();
        let folder = tempfile::Builder::new().prefix("durability-").tempdir_in(base)?;
        Ok(Self {
            setup: Setup::durable(folder.path())?,
            folder,
            template: Arc::new(Template::new(spans, span_bytes)),
            ledger: Arc::default(),
            oracle: Arc::default(),
        })
    }

    async fn sink(&self) -> Result<Sink> {
        Sink::start(self.setup.upstream, &self.oracle).await
    }

    fn load(&self, clients: usize) -> Load {
        Load::start(self.setup.grpc, &self.template, &self.ledger, clients)
    }

    /// Spans that were acknowledged so far.
    fn acknowledged(&self) -> u64 {
        self.ledger.acknowledged_count() * self.template.spans
    }

    async fn until_acknowledged(&self, spans: u64, most: Duration) -> Result<()> {
        let begin = Instant::now();
        while self.acknowledged() < spans {
            ensure!(
                begin.elapsed() < most,
                "{} of {spans} spans were acknowledged in {most:?}",
                self.acknowledged()
            );
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Waits for the end, and puts what holds in every case into the row.
    async fn judge(&self, row: &mut Row) -> Verdict {
        self.oracle.until_quiet(QUIET).await;
        let verdict = self.oracle.judge(&self.ledger, self.template.spans);
        row.figure("acknowledged", verdict.acknowledged as f64)
            .limited("lost", verdict.lost as f64, 0.0, "acknowledged and never delivered")
            .limited("changed", verdict.changed as f64, 0.0, "delivered and never sent so")
            .figure("duplicates", verdict.duplicates as f64)
            .figure("refused", (self.ledger.refused() * self.template.spans) as f64);
        for (status, count) in self.ledger.finals() {
            row.miss(&format!("{count} requests were refused for good: {status}"));
        }
        if verdict.acknowledged == 0 {
            row.miss("nothing was acknowledged");
        }
        verdict
    }

    async fn gone_from_disk(&self, row: &mut Row) {
        sleep(Duration::from_millis(1500)).await;
        let left = disk_bytes(&self.setup.storage()) as f64;
        row.limited(
            "disk_left_bytes",
            left,
            TWO_SEGMENTS,
            "the disk that an empty queue takes",
        );
    }
}

/// Killed at random moments under load: nothing acknowledged is missing.
pub async fn sigkill(short: bool) -> Result<Row> {
    let (kills, each) = if short { (5, 5_000) } else { (100, 10_000) };
    let bench = Bench::new(50, 340)?;
    let mut row = Row::new("sigkill");
    let _sink = bench.sink().await?;
    let mut dice = u64::from(std::process::id());
    for _ in 0..kills {
        let agent = Agent::start(&bench.setup).await?;
        let load = bench.load(16);
        bench
            .until_acknowledged(bench.acknowledged() + each, Duration::from_secs(60))
            .await?;
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_millis((dice >> 33) % 300)).await;
        drop(agent);
        load.stop().await;
    }
    let mut agent = Agent::start(&bench.setup).await?;
    agent.until_empty(Duration::from_secs(120)).await?;
    row.figure("kills", f64::from(kills));
    bench.judge(&mut row).await;
    agent.terminate().await?;
    bench.gone_from_disk(&mut row).await;
    Ok(row)
}

struct Cost {
    p50: f64,
    p99: f64,
    syncs_a_second: f64,
    cpu: f64,
}

/// 20,000 spans/s in requests of 50.
async fn acknowledge(queue: &str, length: Duration) -> Result<(Cost, Bench)> {
    let mut bench = Bench::new(50, 340)?;
    bench.setup.queue = Some(queue.to_owned());
    let _sink = bench.sink().await?;
    let mut agent = Agent::start(&bench.setup).await?;
    let interval = Duration::from_micros(2500);
    // What is cold at first is not measured.
    let warm = Arc::new(Ledger::from(1_000_000));
    send_at(
        bench.setup.grpc,
        &bench.template,
        &warm,
        interval,
        Duration::from_secs(2),
    )
    .await?;
    let (cpu, syncs) = (
        agent.cpu_seconds()?,
        sum_of(&agent.page().await?, "radiosonde_queue_fsyncs"),
    );
    let begin = Instant::now();
    send_at(bench.setup.grpc, &bench.template, &bench.ledger, interval, length).await?;
    let took = begin.elapsed().as_secs_f64();
    let (p50, p99) = bench.ledger.latencies();
    let cost = Cost {
        p50,
        p99,
        syncs_a_second: (sum_of(&agent.page().await?, "radiosonde_queue_fsyncs") - syncs) / took,
        cpu: agent.cpu_seconds()? - cpu,
    };
    agent.until_empty(Duration::from_secs(60)).await?;
    agent.terminate().await?;
    Ok((cost, bench))
}

/// What a durable acknowledgement takes, and what it costs more than one from memory.
pub async fn acknowledgement(short: bool) -> Result<Row> {
    let length = Duration::from_secs(if short { 5 } else { 60 });
    // A machine that does something else too is late by that.
    let slack = if short { 5.0 } else { 1.0 };
    let mut row = Row::new("acknowledgement");
    let (memory, _) = acknowledge("durability: memory", length).await?;
    let (durable, bench) = acknowledge("storage: file_storage, durability: fsync", length).await?;
    let verdict = bench.oracle.judge(&bench.ledger, bench.template.spans);
    row.figure("acknowledged", verdict.acknowledged as f64)
        .limited("lost", verdict.lost as f64, 0.0, "acknowledged and never delivered")
        .figure("p50_ms", durable.p50)
        .limited(
            "p99_ms",
            durable.p99,
            10.0 * slack,
            "the p99 of a durable acknowledgement",
        )
        .figure("memory_p99_ms", memory.p99)
        // One in 5 ms, and what begins a segment.
        .limited("syncs_a_second", durable.syncs_a_second, 202.0, "syncs a second")
        .figure("cpu_seconds", durable.cpu)
        .limited(
            "cpu_to_memory",
            durable.cpu / memory.cpu,
            1.5 * slack.min(1.5),
            "CPU of the durable queue to the other's",
        );
    if bench.ledger.refused() > 0 {
        row.miss("requests were refused");
    }
    Ok(row)
}

/// The back end is away for as long as 8 hours at 2,000 spans a second bring, or a part of it, as fast as they are taken.
pub async fn outage(short: bool) -> Result<Row> {
    let spans: u64 = if short { 200_000 } else { 8 * 3600 * 2000 };
    let mut bench = Bench::new(100, 150)?;
    bench.setup.queue = Some("storage: file_storage, max_bytes: 12GiB".to_owned());
    let mut row = Row::new("outage");
    let mut agent = Agent::start(&bench.setup).await?;
    let load = bench.load(32);
    let begin = Instant::now();
    bench.until_acknowledged(spans, Duration::from_secs(3600)).await?;
    load.stop().await;
    row.figure("hours_at_2000", bench.acknowledged() as f64 / 2000.0 / 3600.0)
        .figure(
            "taken_a_second",
            bench.acknowledged() as f64 / begin.elapsed().as_secs_f64(),
        )
        .figure(
            "backlog_mib",
            disk_bytes(&bench.setup.storage()) as f64 / f64::from(1 << 20),
        );
    let _sink = bench.sink().await?;
    let drained = agent.until_empty(Duration::from_secs(3600)).await?;
    row.figure("drained_after_s", drained.as_secs_f64());
    bench.judge(&mut row).await;
    bench.gone_from_disk(&mut row).await;
    row.figure("peak_mib", agent.memory_mib("VmHWM")?);
    agent.terminate().await?;

    // Over its cap it refuses, and what it refused is the sender's.
    let mut bench = Bench::new(100, 150)?;
    bench.setup.queue = Some("storage: file_storage, max_bytes: 4MiB".to_owned());
    let mut agent = Agent::start(&bench.setup).await?;
    let load = bench.load(16);
    let begin = Instant::now();
    while bench.ledger.refused() < 50 && begin.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(5)).await;
    }
    load.stop().await;
    let _sink = bench.sink().await?;
    agent.until_empty(Duration::from_secs(60)).await?;
    bench.oracle.until_quiet(QUIET).await;
    let verdict = bench.oracle.judge(&bench.ledger, bench.template.spans);
    row.figure("refused_over_the_cap", (bench.ledger.refused() * 100) as f64)
        .limited(
            "lost_over_the_cap",
            verdict.lost as f64,
            0.0,
            "acknowledged beside a full queue and never delivered",
        );
    if bench.ledger.refused() < 50 {
        row.miss("a full queue refuses");
    }
    agent.terminate().await?;
    Ok(row)
}

/// Stopped while the back end is down.
pub async fn sigterm(name: &str, queue: Option<&str>) -> Result<Row> {
    let mut row = Row::new(name);
    let mut bench = Bench::new(50, 340)?;
    bench.setup.queue = queue.map(str::to_owned);
    let agent = Agent::start(&bench.setup).await?;
    let load = bench.load(8);
    bench.until_acknowledged(3_000, Duration::from_secs(60)).await?;
    // In the middle of everything.
    let took = agent.terminate().await?;
    load.stop().await;
    let _sink = bench.sink().await?;
    let mut agent = Agent::start(&bench.setup).await?;
    // What is in a spill directory is looked for by the exporter itself.
    let begin = Instant::now();
    while bench.oracle.total() < bench.acknowledged() && begin.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(20)).await;
    }
    agent.until_empty(Duration::from_secs(60)).await?;
    row.limited("ended_after_s", took.as_secs_f64(), 25.0, "the drain");
    bench.judge(&mut row).await;
    agent.terminate().await?;
    Ok(row)
}

/// A disk of 24 MiB gets full: alive, refuses, delivers, takes again, without a restart.
pub async fn disk_full(_short: bool) -> Result<Row> {
    let mut row = Row::new("disk_full");
    let bench = Bench::new(50, 340)?;
    std::fs::create_dir_all(bench.setup.storage())?;
    let Some(command) = on_a_small_disk(&bench.setup.storage()) else {
        row.figure("skipped", 1.0);
        eprintln!("disk_full: skipped, no small file system can be mounted here (unshare)");
        return Ok(row);
    };
    let mut agent = Agent::start_by(&bench.setup, command).await?;
    let load = bench.load(8);
    let begin = Instant::now();
    while bench.ledger.refused() < 100 {
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "a full disk refuses; {}",
            agent.said()
        );
        ensure!(agent.is_running(), "it ended; {}", agent.said());
        sleep(Duration::from_millis(5)).await;
    }
    let full_at = bench.acknowledged();
    let _sink = bench.sink().await?;
    // With room again it takes again.
    bench
        .until_acknowledged(full_at + 50_000, Duration::from_secs(60))
        .await?;
    load.stop().await;
    agent.until_empty(Duration::from_secs(60)).await?;
    row.figure("acknowledged_until_full", full_at as f64);
    bench.judge(&mut row).await;
    agent.terminate().await?;
    Ok(row)
}

/// The agent in a mount namespace of its own, with a file system of 24 MiB at `folder`.
fn on_a_small_disk(folder: &Path) -> Option<Command> {
    let script = format!(
        "mount -t tmpfs -o size=24m none '{}' && exec \"$0\" \"$@\"",
        folder.display()
    );
    for how in ["-m", "-Urm"] {
        let mut command = Command::new("unshare");
        command.args([how, "--", "sh", "-c", &script]);
        let works = Command::new("unshare")
            .args([how, "--", "sh", "-c", &script, "true"])
            .output();
        if works.is_ok_and(|output| output.status.success()) {
            command.arg(binary());
            return Some(command);
        }
    }
    None
}

/// A back end that needs 6 s for an answer while the exporter's timeout is 5 s, and one that needs 1 s.
pub async fn slow(short: bool) -> Result<Row> {
    let mut row = Row::new("slow_back_end");
    let length = Duration::from_secs(if short { 15 } else { 60 });
    let bench = Bench::new(50, 340)?;
    let _sink = bench.sink().await?;
    bench.oracle.mode(Mode::Slow(Duration::from_secs(6)));
    let mut agent = Agent::start(&bench.setup).await?;
    // 1,000 spans/s.
    send_at(
        bench.setup.grpc,
        &bench.template,
        &bench.ledger,
        Duration::from_millis(50),
        length,
    )
    .await?;
    let empty = agent.until_empty(Duration::from_secs(240)).await?;
    row.limited(
        "empty_after_s",
        empty.as_secs_f64(),
        120.0,
        "the time until an answer of 6 s has emptied the queue",
    );
    let verdict = bench.judge(&mut row).await;
    let share = verdict.duplicates as f64 / verdict.acknowledged as f64;
    row.limited("duplicate_share", share, 0.05, "the share of duplicates");
    agent.terminate().await?;

    let bench = Bench::new(50, 340)?;
    let _sink = bench.sink().await?;
    bench.oracle.mode(Mode::Slow(Duration::from_secs(1)));
    let mut agent = Agent::start(&bench.setup).await?;
    let begin = Instant::now();
    // 7,500 spans/s; ten requests of 50 at a time are 500.
    send_at(
        bench.setup.grpc,
        &bench.template,
        &bench.ledger,
        Duration::from_micros(6667),
        length,
    )
    .await?;
    agent.until_empty(Duration::from_secs(120)).await?;
    let rate = bench.acknowledged() as f64 / begin.elapsed().as_secs_f64();
    row.figure("delivered_a_second_at_1s", rate);
    if rate < 5_000.0 {
        row.miss(&format!(
            "a back end of 1 s is sent {rate:.0} spans a second, 5,000 is ten times ten of 50 at a time"
        ));
    }
    let verdict = bench.oracle.judge(&bench.ledger, bench.template.spans);
    row.limited(
        "lost_at_1s",
        verdict.lost as f64,
        0.0,
        "acknowledged and never delivered",
    );
    agent.terminate().await?;
    Ok(row)
}

/// A start with a backlog: soon ready, memory as if there were none.
pub async fn recovery(short: bool) -> Result<Row> {
    let backlog: u64 = if short { 1 << 30 } else { 10 << 30 };
    let mut row = Row::new("recovery");
    let mut bench = Bench::new(1000, 3900)?;
    bench.setup.queue = Some("storage: file_storage, max_bytes: 16GiB".to_owned());
    bench.setup.memory = Some("400MiB");
    let requests = backlog / bench.template.len() as u64 + 1;
    let agent = Agent::start(&bench.setup).await?;
    let load = bench.load(8);
    bench
        .until_acknowledged(requests * bench.template.spans, Duration::from_secs(1800))
        .await?;
    drop(agent);
    load.stop().await;
    row.figure(
        "backlog_mib",
        disk_bytes(&bench.setup.storage()) as f64 / f64::from(1 << 20),
    );
    let mut agent = Agent::start(&bench.setup).await?;
    row.limited(
        "ready_after_s",
        agent.ready_after.as_secs_f64(),
        2.0,
        "the time until it is ready",
    );
    row.figure("rss_at_start_mib", agent.memory_mib("VmRSS")?);
    let _sink = bench.sink().await?;
    agent.until_empty(Duration::from_secs(1800)).await?;
    row.limited(
        "peak_mib",
        agent.memory_mib("VmHWM")?,
        440.0,
        "peak memory with a limit of 400 MiB",
    );
    bench.judge(&mut row).await;
    bench.gone_from_disk(&mut row).await;
    agent.terminate().await?;
    Ok(row)
}

/// Everything that can be done to the connections between the agent and its far end.
pub async fn chaos(short: bool) -> Result<Row> {
    let each = Duration::from_secs(if short { 2 } else { 20 });
    let mut row = Row::new("chaos");
    let mut bench = Bench::new(50, 340)?;
    bench.setup.timeout = "1s";
    let behind = Setup::durable(bench.folder.path())?.upstream;
    let _sink = Sink::start(behind, &bench.oracle).await?;
    let proxy = Proxy::start(bench.setup.upstream, behind).await?;
    let mut agent = Agent::start(&bench.setup).await?;
    let load = bench.load(4);
    for chaos in Chaos::ALL {
        proxy.set(chaos);
        sleep(each).await;
        proxy.set(Chaos::None);
        sleep(each / 4).await;
    }
    for mode in [Mode::LoseAnswer, Mode::GoAway, Mode::Refuse] {
        bench.oracle.mode(mode);
        sleep(each).await;
        bench.oracle.mode(Mode::Take);
    }
    load.stop().await;
    let empty = agent.until_empty(Duration::from_secs(180)).await?;
    row.figure("kinds", (Chaos::ALL.len() + 3) as f64)
        .figure("empty_after_s", empty.as_secs_f64());
    bench.judge(&mut row).await;
    agent.terminate().await?;
    Ok(row)
}

/// Hours under half load with a fault every so often: memory, files and disk stay where they were.
pub async fn soak(minutes: u64) -> Result<Row> {
    let mut row = Row::new("soak");
    let bench = Bench::new(50, 340)?;
    let mut sink = Some(bench.sink().await?);
    let mut agent = Agent::start(&bench.setup).await?;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    // A fault every five minutes, and in a short run every twelfth of it.
    let every = Duration::from_secs((minutes * 60 / 12).clamp(5, 300));
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let (mut faults, mut kills) = (0u32, 0u32);
    let begin = Instant::now();
    while Instant::now() < end {
        let round = every.min(end.saturating_duration_since(Instant::now()));
        // 10,000 spans/s. A fault in the middle of it; calls that break in it are nobody's loss.
        let sending = send_at(
            bench.setup.grpc,
            &bench.template,
            &bench.ledger,
            Duration::from_millis(5),
            round,
        );
        let fault = async {
            sleep(round / 3).await;
            match faults % 5 {
                0 => sink = None,
                1 => bench.oracle.mode(Mode::Slow(Duration::from_secs(6))),
                2 => bench.oracle.mode(Mode::LoseAnswer),
                3 => bench.oracle.mode(Mode::Refuse),
                _ => agent.signal(nix::sys::signal::Signal::SIGKILL)?,
            }
            sleep(round / 3).await;
            bench.oracle.mode(Mode::Take);
            if sink.is_none() {
                sink = Some(bench.sink().await?);
            }
            anyhow::Ok(())
        };
        let (sent, done) = tokio::join!(sending, fault);
        done?;
        if faults % 5 == 4 {
            kills += 1;
            agent = Agent::start(&bench.setup).await?;
            samples.clear();
        } else {
            sent?;
            samples.push((begin.elapsed().as_secs_f64() / 3600.0, agent.memory_mib("VmRSS")?));
        }
        faults += 1;
        eprintln!(
            "soak: {:.1} min, {} acknowledged, {:.1} MiB, {} files",
            begin.elapsed().as_secs_f64() / 60.0,
            bench.acknowledged(),
            agent.memory_mib("VmRSS")?,
            agent.open_files()?
        );
    }
    agent.until_empty(Duration::from_secs(300)).await?;
    row.figure("minutes", minutes as f64)
        .figure("faults", f64::from(faults))
        .figure("kills", f64::from(kills))
        .figure("rss_mib", agent.memory_mib("VmRSS")?)
        .figure("open_files", agent.open_files()? as f64);
    // The first hour is for getting warm; a shorter run says nothing about a slope.
    let warm: Vec<(f64, f64)> = samples.iter().copied().filter(|(hours, _)| *hours > 1.0).collect();
    if warm.len() > 5 {
        row.limited("rss_slope_mib_an_hour", slope(&warm), 1.0, "the growth of memory");
    }
    bench.judge(&mut row).await;
    bench.gone_from_disk(&mut row).await;
    agent.terminate().await?;
    Ok(row)
}

/// Of the straight line that lies nearest.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance.max(f64::MIN_POSITIVE)
}
