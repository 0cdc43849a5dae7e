//! Socket tests of the receiver, by what they look at. This file holds what they share.

mod auth;
mod both;
mod door;
mod grpc;
mod http;
mod json;
mod limits;
mod section;
mod stop;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpStream;

use super::*;
use crate::component::{Outlet, Refused, SampleValue, Stage};
use crate::pdata::Batch;

/// A pipeline that remembers what it took and answers as it is told.
#[derive(Default)]
pub(super) struct Sink {
    batches: Mutex<Vec<Batch>>,
    refusal: Mutex<Option<Refused>>,
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let refusal = self.refusal.lock().unwrap().clone();
        if refusal.is_none() {
            self.batches.lock().unwrap().push(batch);
        }
        Box::pin(async move { refusal.map_or(Ok(()), Err) })
    }
}

impl Sink {
    fn refuse(&self, refusal: Refused) {
        *self.refusal.lock().unwrap() = Some(refusal);
    }

    /// Takes what came in.
    fn batches(&self) -> Vec<Batch> {
        std::mem::take(&mut *self.batches.lock().unwrap())
    }

    /// Signal and items of each batch that came in.
    fn seen(&self) -> Vec<(Signal, usize)> {
        self.batches()
            .iter()
            .map(|batch| (batch.signal(), batch.items()))
            .collect()
    }
}

/// A receiver under way.
pub(super) struct Harness {
    receiver: Receiver,
    sink: Arc<Sink>,
    context: BuildContext,
}

/// Both protocols on free ports of 127.0.0.1, with more settings for each.
fn both(grpc: &str, http: &str) -> String {
    format!("protocols: {{grpc: {{endpoint: '127.0.0.1:0', {grpc}}}, http: {{endpoint: '127.0.0.1:0', {http}}}}}")
}

async fn start_with(yaml: &str, context: BuildContext) -> Harness {
    let section = Section::from_yaml(yaml);
    let settings = Settings::check(&section);
    assert!(!section.has_errors(), "{:?}", section.problems());
    let sink = Arc::new(Sink::default());
    let mut next = Outlets::default();
    for signal in Signal::ALL {
        next.set(signal, Outlet::to(sink.clone()));
    }
    let receiver = start(&settings.unwrap(), &context, next).await.unwrap();
    Harness {
        receiver,
        sink,
        context,
    }
}

async fn start_yaml(yaml: &str) -> Harness {
    start_with(yaml, BuildContext::standalone(ComponentKind::Receiver, "otlp")).await
}

async fn start_default() -> Harness {
    start_yaml(&both("", "")).await
}

impl Harness {
    fn grpc(&self) -> SocketAddr {
        self.receiver.grpc.as_ref().unwrap().addresses()[0]
    }

    fn http(&self) -> SocketAddr {
        self.receiver.http.as_ref().unwrap().addresses()[0]
    }

    /// The value of `otelcol_receiver_<name>` for a transport.
    fn count(&self, name: &str, transport: &str) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let found = samples.iter().find(|sample| {
            sample.name == format!("otelcol_receiver_{name}")
                && sample.labels.contains(&("transport", transport.to_owned()))
        });
        match found.unwrap().value {
            SampleValue::Counter(count) => count,
            _ => unreachable!("a counter"),
        }
    }
}

/// An answer with headers and trailers together.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The gRPC code; -1 where there is none.
    fn code(&self) -> i32 {
        self.header("grpc-status").parse().unwrap_or(-1)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request to `http://address` + `path`.
async fn send(
    address: SocketAddr,
    http2: bool,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    send_as("POST", address, http2, path, headers, body).await
}

async fn send_as(
    method: &str,
    address: SocketAddr,
    http2: bool,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client
        .request(request.body(Full::new(body.into())).unwrap())
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    let mut headers = head.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    Answer {
        status: head.status.as_u16(),
        headers,
        body: body.to_bytes(),
    }
}

const TRACES_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS_METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const LOGS_METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A raw unary call: `framed` is the whole body.
async fn call(address: SocketAddr, method: &str, headers: &[(&str, &str)], framed: impl Into<Bytes>) -> Answer {
    let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
    all.extend_from_slice(headers);
    send(address, true, method, &all, framed).await
}

/// With its prefix.
fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat().into()
}

fn spans(count: usize) -> Vec<u8> {
    let span = |n: usize| Span {
        trace_id: vec![7; 16],
        span_id: (n as u64 + 1).to_be_bytes().to_vec(),
        name: format!("span {n}"),
        ..Default::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: (0..count).map(span).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    request.encode_to_vec()
}

fn points(count: usize) -> Vec<u8> {
    let gauge = Gauge {
        data_points: vec![NumberDataPoint::default(); count],
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    name: "m".to_owned(),
                    data: Some(metric::Data::Gauge(gauge)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    request.encode_to_vec()
}

fn records(count: usize) -> Vec<u8> {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord::default(); count],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    request.encode_to_vec()
}

/// A connection for tests that write bytes of their own.
async fn raw(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// An HTTP/2 connection that is kept, for several calls at once.
async fn http2_connection(
    address: SocketAddr,
) -> (
    hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    tokio::task::JoinSet<()>,
) {
    let io = TokioIo::new(raw(address).await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(async move {
        let _ = connection.await;
    });
    (sender, driver)
}
