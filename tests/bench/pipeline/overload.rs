//! The far end is down while more comes in than fits: memory stays inside its limit, every refusal can be repeated, and
//! the books close when the far end is back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::agent::Shape;
use crate::cases::{Bench, Contender, Traffic};
use crate::data::{Set, Signal};
use crate::h2io::{self, Answer};
use crate::loader::{CONNECTIONS, Transport};
use crate::process::free_address;
use crate::sink::Sink;

/// Spans offered a second.
pub const RATE: usize = 50_000;
const EVERY: Duration = Duration::from_millis(10);
const REQUEST: usize = 100;
/// A call that takes longer is an error: nobody knew whether its data was taken.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// UNAVAILABLE and RESOURCE_EXHAUSTED; the latter may be repeated when the answer says after what time (OTLP, "Failures").
const UNAVAILABLE: &str = "14";
const RESOURCE_EXHAUSTED: &str = "8";

/// What the run showed.
#[derive(Debug, Default)]
pub struct Overload {
    pub peak_mib: f64,
    pub offered: u64,
    pub acknowledged: u64,
    pub delivered: u64,
    pub dropped: u64,
    /// Items of refusals by status.
    pub refused: BTreeMap<String, u64>,
}

impl Overload {
    pub fn refused_items(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Items that were refused with a status after which a client gives up.
    pub fn refused_for_good(&self) -> u64 {
        let retryable = |status: &str| status == UNAVAILABLE || status == RESOURCE_EXHAUSTED;
        let for_good = self.refused.iter().filter(|(status, _)| !retryable(status));
        for_good.map(|(_, items)| items).sum()
    }
}

impl Bench {
    /// Offers [`RATE`] for `length` with nobody at the far end, then lets the far end come back.
    pub async fn overload(&self, length: Duration) -> Result<Overload> {
        let traffic = Traffic {
            signal: Signal::Traces,
            transport: Transport::Grpc,
            small: false,
            gzip: None,
        };
        let set = Set::new(Signal::Traces, &[REQUEST]);
        let upstream = free_address()?;
        let started = self
            .start_towards(&Contender::Agent(Shape::Limited), &traffic, &set, upstream)
            .await?;
        let mut seen = offer(started.listen, &set, length).await?;
        let sink = Sink::start_at(upstream).await?;
        let metrics = started.metrics.context("the agent has metrics")?;
        seen.delivered = settled(&sink, metrics, seen.acknowledged).await?;
        seen.dropped = dropped_items(&scrape(metrics).await?);
        seen.peak_mib = started.process.peak_rss_mb()? * 1e6 / f64::from(1 << 20);
        Ok(seen)
    }
}

async fn offer(target: SocketAddr, set: &Set, length: Duration) -> Result<Overload> {
    let mut drivers = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(h2io::connect(target, &mut drivers).await?);
    }
    let bodies: Vec<_> = set
        .requests
        .iter()
        .map(|request| h2io::framed(false, &request.body))
        .collect();
    let bodies = Arc::new(bodies);
    let mut calls = JoinSet::new();
    let mut ticker = tokio::time::interval(EVERY);
    let ticks = length.as_millis() / EVERY.as_millis();
    let each = RATE / REQUEST * EVERY.as_millis() as usize / 1000;
    let mut seen = Overload::default();
    let mut number = 0;
    for _ in 0..ticks {
        ticker.tick().await;
        for _ in 0..each {
            let connection = connections[number % CONNECTIONS].clone();
            let body = bodies[number % bodies.len()].clone();
            number += 1;
            seen.offered += REQUEST as u64;
            calls.spawn(async move {
                let request = h2io::request(Signal::Traces.grpc_path(), false)?;
                let call = h2io::call_for_answer(connection, request, vec![body]);
                tokio::time::timeout(LONGEST_CALL, call).await.context("no answer")?
            });
        }
        while let Some(answer) = calls.try_join_next() {
            seen.note(answer??);
        }
    }
    while let Some(answer) = calls.join_next().await {
        seen.note(answer??);
    }
    Ok(seen)
}

impl Overload {
    fn note(&mut self, answer: Answer) {
        if answer.is_ok() {
            self.acknowledged += REQUEST as u64;
        } else {
            *self.refused.entry(answer.status).or_default() += REQUEST as u64;
        }
    }
}

/// Waits until all that was acknowledged has arrived or is counted as dropped; what has arrived by then, or when nothing
/// has come for 30 s (a retry may wait that long).
async fn settled(sink: &Sink, metrics: SocketAddr, acknowledged: u64) -> Result<u64> {
    let mut seen = 0;
    let mut quiet = 0;
    while quiet < 300 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = sink.items();
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
        if quiet >= 10 && seen + dropped_items(&scrape(metrics).await?) >= acknowledged {
            break;
        }
    }
    Ok(seen)
}

/// The agent's own metrics.
async fn scrape(metrics: SocketAddr) -> Result<String> {
    let tcp = TcpStream::connect(metrics).await?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = http::Request::get("/metrics").header("host", "bench");
    let response = send.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
    ensure!(response.status().is_success(), "/metrics: {}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn dropped_items(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with("otelcol_dropped_items"));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
