//! Ten thousand tables: the simulated AWS in a process of its own, so that memory and CPU of the receiver can be read
//! apart. The two keep time together: whenever the receiver waits, both clocks are moved on.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use radiosonde::component::{Clock, Deadline, UnixNanos};
use radiosonde::simulator::{Fleet, Simulator, VirtualClock, World};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::run::{Case, start, status_mib, thread_cpu};
use super::truth::Truth;

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Seen {
    pub tables: usize,
    pub series: u64,
    /// Virtual minutes that were measured.
    pub minutes: i64,
    pub series_polls: u64,
    pub points: u64,
    pub requests_per_second: f64,
    pub throttled: u64,
    pub cpu_us_per_series_poll: f64,
    pub peak_rss_mib: u64,
    pub wall_s: f64,
}

fn fleet(tables: usize) -> Fleet {
    Fleet {
        tables,
        days: 1,
        ..Fleet::default()
    }
}

/// `serve TABLES`: the simulated AWS until stdin ends. Says where it listens.
pub fn serve(tables: usize) -> Result<()> {
    let simulator = Simulator::frozen(fleet(tables).scenario());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        super::say(&served.address.to_string());
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
        served.stop().await;
        anyhow::Ok(())
    })
}

/// The simulated AWS in another process.
struct Aws {
    child: Child,
    address: SocketAddr,
    control: tokio::io::BufStream<TcpStream>,
    asked: Instant,
}

/// The simulator closes connections that nobody used for a while; a round may take longer.
const FRESH: Duration = Duration::from_secs(3);

impl Aws {
    async fn start(tables: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &tables.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address: SocketAddr = line
            .trim()
            .parse()
            .context("the simulator did not say where it listens")?;
        let control = tokio::io::BufStream::new(TcpStream::connect(address).await?);
        Ok(Self {
            child,
            address,
            control,
            asked: Instant::now(),
        })
    }

    /// One request to `/_sim/`.
    async fn ask(&mut self, command: &str, body: &str) -> Result<Json> {
        let head = format!(
            "POST /_sim/{command} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if self.asked.elapsed() > FRESH {
            self.control = tokio::io::BufStream::new(TcpStream::connect(self.address).await?);
        }
        self.control.write_all(head.as_bytes()).await?;
        self.control.flush().await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line).await? == 0 {
                bail!("the simulator is gone");
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.control.read_exact(&mut body).await?;
        self.asked = Instant::now();
        Ok(serde_json::from_slice(&body)?)
    }

    /// Lets the receiver run until `end`.
    async fn pass(&mut self, clock: &VirtualClock, end: u64) -> Result<()> {
        loop {
            let wake = clock.next_wake().await.min(UnixNanos::from_seconds(end));
            let ahead = wake.0.saturating_sub(clock.now().0);
            if ahead > 0 {
                let step = Duration::from_nanos(ahead).as_secs_f64();
                self.ask("clock", &format!("{{\"step_s\": {step}}}")).await?;
                clock.advance_to(wake);
            }
            if wake.seconds() >= end {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Metrics asked for and requests sent so far.
    async fn polls(&mut self) -> Result<(u64, u64)> {
        let bill = self.ask("bill", "").await?;
        let lines = bill["lines"].as_array().context("no lines")?;
        let (mut polls, mut requests) = (0, 0);
        for line in lines {
            let number = |key: &str| line[key].as_u64().unwrap_or(0);
            match line["api"].as_str() {
                Some("GetMetricData") => {
                    polls += number("units");
                    requests += number("requests");
                }
                Some("GetMetricStatistics") => polls += number("requests"),
                _ => {}
            }
        }
        Ok((polls, requests))
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the receiver: `warm_up` virtual minutes until everything is known, then `minutes` that are measured.
pub fn run(tables: usize, warm_up: i64, minutes: i64) -> Result<Seen> {
    let wall = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut aws = Aws::start(tables).await?;
        let case = Case::of("scale", "adaptive", tables);
        // Of the world only the start is needed here: the tables are the other process'.
        let world = Arc::new(World::new(fleet(0).scenario()));
        let began = world.scenario.start;
        let clock = VirtualClock::frozen(UnixNanos::from_seconds(began));
        let truth = Arc::new(Truth::new(world, clock.clone(), 1, true));
        let state = tempfile::tempdir()?;
        let (context, running) = start(&case, aws.address, &clock, &truth, Some(state.path())).await?;
        aws.pass(&clock, began + 60 * warm_up as u64).await?;
        let before = (thread_cpu(), aws.polls().await?);
        aws.pass(&clock, began + 60 * (warm_up + minutes) as u64).await?;
        let after = (thread_cpu(), aws.polls().await?);
        let polls = after.1.0 - before.1.0;
        running.stop(Deadline::after(Duration::from_secs(30))).await;
        let series = super::run::gauges(&context, "cloudwatch_series");
        if polls == 0 {
            return Err(anyhow!("nothing was polled"));
        }
        Ok(Seen {
            tables,
            series: series as u64,
            minutes,
            series_polls: polls,
            points: truth.counts().points,
            requests_per_second: (after.1.1 - before.1.1) as f64 / (60 * minutes) as f64,
            throttled: super::run::counter(&context, "aws_api_requests_total", Some("throttled")),
            cpu_us_per_series_poll: (after.0 - before.0) * 1e6 / polls as f64,
            peak_rss_mib: status_mib("VmHWM"),
            wall_s: wall.elapsed().as_secs_f64(),
        })
    })
}
