//! One run: the simulated AWS in a thread of its own, the real receiver in another, over loopback HTTP, on virtual time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use radiosonde::component::SampleValue;
use radiosonde::component::{
    BuildContext, ComponentKind, Deadline, Factory, Outlet, Outlets, Plan, Registry, Running, UnixNanos,
};
use radiosonde::components::receivers::dynamodb::DynamoDbFactory;
use radiosonde::config::Section;
use radiosonde::pdata::Signal;
use radiosonde::simulator::{Fleet, Simulator, VirtualClock};
use serde::Serialize;
use tokio::time::Instant;

use super::truth::Truth;

/// Asked hourly, settled by a second question: what is younger may still be on its way.
const YOUNG_S: i64 = 2 * 3600 + 1800;

/// What to run.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub tables: usize,
    pub hot: f64,
    /// `adaptive`, `tiered`, `uniform`.
    pub mode: &'static str,
    /// Virtual hours before the bill is counted from.
    pub warm_up_h: i64,
    pub hours: i64,
    /// More of the receiver's configuration.
    pub extra: String,
}

impl Case {
    /// Of the reference fleet, a week.
    pub fn of(name: &'static str, mode: &'static str, tables: usize) -> Self {
        Self {
            name,
            tables,
            hot: 0.4,
            mode,
            warm_up_h: 0,
            hours: 7 * 24,
            extra: String::new(),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    pub case: &'static str,
    pub mode: &'static str,
    pub tables: usize,
    pub hot: f64,
    pub hours: i64,
    /// USD of the simulator's bill, and of asking every series every minute.
    pub usd: f64,
    pub baseline_usd: f64,
    pub ratio: f64,
    pub usd_per_month: f64,
    pub units: u64,
    pub free_requests: u64,
    /// The receiver's own count of billed metrics minus the simulator's.
    pub count_off: i64,
    pub points: u64,
    pub filled: u64,
    pub expected: u64,
    pub lost: u64,
    pub doubled: u64,
    pub unknown: u64,
    pub changed_later: u64,
    pub counted_revised: u64,
    pub throttles: usize,
    pub throttle_age_median_s: i64,
    pub throttle_age_p90_s: i64,
    pub wall_s: f64,
    pub client_cpu_us_per_series_poll: f64,
    pub server_cpu_us_per_series_poll: f64,
    pub get_metric_data_calls: u64,
    pub peak_rss_mib: u64,
}

/// CPU seconds of the calling thread.
pub fn thread_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}

pub fn status_mib(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| {
        rest.trim_start_matches(':')
            .trim()
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    });
    kib.unwrap_or(0) / 1024
}

/// The simulated AWS and the thread that serves it.
struct Aws {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<f64>>,
}

impl Aws {
    fn start(simulator: Arc<Simulator>) -> Result<Self> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, address) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("aws".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return 0.0 };
            runtime.block_on(async {
                let serving = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
                let Ok(serving) = serving else { return };
                let _ = told.send(serving.address);
                let _ = stopped.await;
                serving.stop().await;
            });
            thread_cpu()
        })?;
        let address = address.recv().context("the simulator does not listen")?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    fn stop(&mut self) -> f64 {
        self.stop.take();
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0.0)
    }
}

/// Lets the receiver run until `end`: whenever it waits, time passes.
async fn pass(simulator: &Simulator, end: u64) {
    let clock = simulator.clock();
    loop {
        let wake = clock.next_wake().await;
        if wake.seconds() >= end {
            clock.advance_to(UnixNanos::from_seconds(end));
            return;
        }
        clock.advance_to(wake);
        tokio::task::yield_now().await;
    }
}

pub fn counter(context: &BuildContext, name: &str, label: Option<&str>) -> u64 {
    let samples = context.instruments.registry().gather();
    let wanted = samples.iter().filter(|sample| sample.name == name);
    wanted
        .filter(|sample| label.is_none_or(|label| sample.labels.iter().any(|(_, value)| value == label)))
        .map(|sample| match sample.value {
            SampleValue::Counter(n) => n,
            _ => 0,
        })
        .sum()
}

/// The sum of a gauge over its labels.
pub fn gauges(context: &BuildContext, name: &str) -> f64 {
    let samples = context.instruments.registry().gather();
    let wanted = samples.iter().filter(|sample| sample.name == name);
    wanted
        .map(|sample| match sample.value {
            SampleValue::Gauge(value) => value,
            _ => 0.0,
        })
        .sum()
}

/// Starts the receiver.
pub async fn start(
    case: &Case,
    address: SocketAddr,
    clock: &VirtualClock,
    truth: &Arc<Truth>,
    state: Option<&Path>,
) -> Result<(BuildContext, Arc<dyn Running>)> {
    let text = format!(
        "regions: [eu-central-1]\nendpoint: http://{address}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n\
         polling: {{mode: {}}}\n{}\n",
        case.mode, case.extra
    );
    let section = Section::from_yaml(&text);
    let Some(Plan::Receiver(plan)) = DynamoDbFactory.check(&section) else {
        bail!("{}", section.problems().join("\n"));
    };
    let context = BuildContext {
        clock: Arc::new(clock.clone()),
        state: radiosonde::queue::state::open(state, &Registry::default()),
        ..BuildContext::standalone(ComponentKind::Receiver, "dynamodb")
    };
    let mut outlets = Outlets::default();
    outlets.set(Signal::Metrics, Outlet::to(Arc::clone(truth) as _));
    let running = plan
        .start(context.clone(), outlets)
        .await
        .map_err(|error| anyhow!("{error}"))?;
    Ok((context, running))
}

/// Runs a case.
pub fn run(case: &Case) -> Result<Seen> {
    let fleet = Fleet {
        tables: case.tables,
        hot: case.hot,
        days: (case.warm_up_h + case.hours + 23) / 24,
        ..Fleet::default()
    };
    let simulator = Simulator::frozen(fleet.scenario());
    let began = simulator.world().scenario.start as i64;
    let total = 3600 * (case.warm_up_h + case.hours);
    let truth = Truth::new(simulator.world(), simulator.clock().clone(), total / 60, false);
    let truth = Arc::new(truth);
    let mut aws = Aws::start(Arc::clone(&simulator))?;
    let wall = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = thread_cpu();
    let (warm, context) = runtime.block_on(async {
        let (context, running) = start(case, aws.address, simulator.clock(), &truth, None).await?;
        pass(&simulator, (began + 3600 * case.warm_up_h) as u64).await;
        let warm = (simulator.bill(), simulator.baseline().usd);
        pass(&simulator, (began + total) as u64).await;
        running.stop(Deadline::after(Duration::from_secs(10))).await;
        anyhow::Ok((warm, context))
    })?;
    let client_cpu = thread_cpu() - before;
    let server_cpu = aws.stop();
    let bill = simulator.bill();
    let polls = bill.of("GetMetricData").units + bill.of("GetMetricStatistics").requests;
    let (usd, baseline_usd) = (bill.usd() - warm.0.usd(), simulator.baseline().usd - warm.1);
    let counts = truth.counts();
    let end = began + total;
    let (expected, lost) = truth.lost(began, end - YOUNG_S);
    for (metric, n) in &lost {
        super::say(&format!("lost: {n} of {metric}"));
    }
    let (median, p90, throttles) = truth.throttle_ages();
    let counted = counter(&context, "cloudwatch_billed_metrics_total", None);
    Ok(Seen {
        case: case.name,
        mode: case.mode,
        tables: case.tables,
        hot: case.hot,
        hours: case.hours,
        usd,
        baseline_usd,
        ratio: usd / baseline_usd,
        usd_per_month: usd / case.hours as f64 * 720.0,
        units: bill.of("GetMetricData").units - warm.0.of("GetMetricData").units,
        free_requests: bill.of("GetMetricStatistics").requests - warm.0.of("GetMetricStatistics").requests,
        count_off: counted as i64 - polls as i64,
        points: counts.points,
        filled: counts.filled,
        expected,
        lost: lost.iter().map(|(_, n)| n).sum(),
        doubled: counts.doubled,
        unknown: counts.unknown,
        changed_later: counts.changed_later,
        counted_revised: counter(&context, "cloudwatch_points_total", Some("revised")),
        throttles,
        throttle_age_median_s: median,
        throttle_age_p90_s: p90,
        wall_s: wall.elapsed().as_secs_f64(),
        client_cpu_us_per_series_poll: client_cpu * 1e6 / polls.max(1) as f64,
        server_cpu_us_per_series_poll: server_cpu * 1e6 / polls.max(1) as f64,
        get_metric_data_calls: bill.of("GetMetricData").requests,
        peak_rss_mib: status_mib("VmHWM"),
    })
}
