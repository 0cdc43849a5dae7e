//! The loader: spans of which each has an id of its own, and a ledger of what was acknowledged. No id is ever sent twice,
//! so that no loss can hide behind a client that tries again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::SendRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{h2io, locked};

pub const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A call that takes longer has failed.
const LONGEST_CALL: Duration = Duration::from_secs(20);
const MARK: [u8; 16] = *b"here-is-the-trac";

/// What stands in the trace id of a span besides its own id: a span that came with another was changed on its way.
pub fn check_of(id: u64) -> u64 {
    (id ^ 0x5bd1_e995_9d1b_58d1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first id of a request. An id of zero is no id in OTLP.
pub fn first_id(number: u64, spans: u64) -> u64 {
    number * spans + 1
}

/// Requests of one size, written by putting ids into a copy.
pub struct Template {
    pub spans: u64,
    bytes: Vec<u8>,
    /// Where the trace id of each span is; its span id stands behind it.
    places: Vec<usize>,
}

impl Template {
    /// So many spans of about so many bytes.
    pub fn new(spans: u64, span_bytes: usize) -> Self {
        let filler = "f".repeat(span_bytes.saturating_sub(60).max(1));
        let attribute = KeyValue {
            key: "filler".to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(filler)),
            }),
            ..KeyValue::default()
        };
        let span = Span {
            trace_id: MARK.to_vec(),
            span_id: vec![1; 8],
            name: "GET /cart".to_owned(),
            attributes: vec![attribute],
            ..Span::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: vec![span; spans as usize],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let bytes = h2io::framed(false, &request.encode_to_vec()).to_vec();
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(MARK.len()).position(|window| window == MARK) {
            places.push(at + found);
            at += found + MARK.len();
        }
        Self { spans, bytes, places }
    }

    /// The `number`-th request.
    pub fn request(&self, number: u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for (index, place) in self.places.iter().enumerate() {
            let id = first_id(number, self.spans) + index as u64;
            bytes[*place..place + 8].copy_from_slice(&check_of(id).to_be_bytes());
            // Trace id (16), then the key and length of the span id.
            bytes[place + 18..place + 26].copy_from_slice(&id.to_be_bytes());
        }
        bytes.into()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What the clients were told.
#[derive(Default)]
pub struct Ledger {
    next: AtomicU64,
    /// Numbers of requests.
    acknowledged: Mutex<Vec<u64>>,
    refused: AtomicU64,
    /// Refused in a way after which a client gives up, by status.
    finals: Mutex<BTreeMap<String, u64>>,
    taken: Mutex<Vec<u32>>,
}

impl Ledger {
    /// The first request is the `number`-th.
    pub fn from(number: u64) -> Self {
        Self {
            next: AtomicU64::new(number),
            ..Self::default()
        }
    }

    pub fn acknowledged(&self) -> Vec<u64> {
        locked(&self.acknowledged).clone()
    }

    pub fn acknowledged_count(&self) -> u64 {
        locked(&self.acknowledged).len() as u64
    }

    /// Numbers below it were given out.
    pub fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn finals(&self) -> BTreeMap<String, u64> {
        locked(&self.finals).clone()
    }

    /// How long acknowledgements took, in milliseconds: the middle and the 99th of a hundred.
    pub fn latencies(&self) -> (f64, f64) {
        let mut taken = locked(&self.taken).clone();
        taken.sort_unstable();
        let at = |share: f64| {
            let index = ((taken.len() as f64 * share) as usize).min(taken.len().saturating_sub(1));
            taken.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
        };
        (at(0.5), at(0.99))
    }

    async fn call(&self, template: &Template, connection: SendRequest<Bytes>) -> Result<bool> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let body = template.request(number);
        let begin = Instant::now();
        let call = h2io::call_for_answer(connection, h2io::request(PATH, false)?, vec![body]);
        let answer = tokio::time::timeout(LONGEST_CALL, call).await.context("no answer");
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            // Nobody knows whether it was taken.
            Ok(Err(error)) | Err(error) => return Err(error),
        };
        match answer.status.as_str() {
            "0" => {
                let micros = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
                locked(&self.taken).push(micros);
                locked(&self.acknowledged).push(number);
                return Ok(true);
            }
            // UNAVAILABLE, RESOURCE_EXHAUSTED.
            "14" | "8" => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            other => {
                let text = format!("{other} {}", answer.message);
                *locked(&self.finals).entry(text).or_default() += 1;
            }
        }
        Ok(false)
    }
}

/// Clients that send until they are stopped, each with one request on its way.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(target: SocketAddr, template: &Arc<Template>, ledger: &Arc<Ledger>, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (template, ledger, stop) = (Arc::clone(template), Arc::clone(ledger), Arc::clone(&stop));
            set.spawn(async move {
                let mut drivers = JoinSet::new();
                let mut connection = None;
                while !stop.load(Ordering::Relaxed) {
                    let Some(open) = connection.clone() else {
                        connection = h2io::connect(target, &mut drivers).await.ok();
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    match ledger.call(&template, open).await {
                        Ok(true) => {}
                        // A client that was refused waits; with other data than it was refused with.
                        Ok(false) => tokio::time::sleep(Duration::from_millis(20)).await,
                        Err(_) => connection = None,
                    }
                }
            });
        }
        Self { stop, clients: set }
    }

    /// Returns when every call has ended.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
    }
}

/// Sends one request every `interval`, whether those before were answered or not.
pub async fn send_at(
    target: SocketAddr,
    template: &Arc<Template>,
    ledger: &Arc<Ledger>,
    interval: Duration,
    length: Duration,
) -> Result<()> {
    const CONNECTIONS: usize = 8;
    let mut drivers = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(h2io::connect(target, &mut drivers).await?);
    }
    let mut ticker = tokio::time::interval(interval);
    let mut calls = JoinSet::new();
    let end = Instant::now() + length;
    let mut turn = 0;
    while Instant::now() < end {
        ticker.tick().await;
        let connection = connections[turn % CONNECTIONS].clone();
        turn += 1;
        let (template, ledger) = (Arc::clone(template), Arc::clone(ledger));
        calls.spawn(async move { ledger.call(&template, connection).await.map(drop) });
        while let Some(call) = calls.try_join_next() {
            call??;
        }
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    Ok(())
}
