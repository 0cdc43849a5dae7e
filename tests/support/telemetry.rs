//! Telemetry of which each item has an id, and clients that send it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// A signal, as clients and back ends see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Traces,
    Metrics,
    Logs,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Traces, Kind::Metrics, Kind::Logs];

    /// As in the labels of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Traces => "traces",
            Kind::Metrics => "metrics",
            Kind::Logs => "logs",
        }
    }

    /// As in the names of metrics.
    pub fn items(self) -> &'static str {
        match self {
            Kind::Traces => "spans",
            Kind::Metrics => "metric_points",
            Kind::Logs => "log_records",
        }
    }

    pub fn http_path(self) -> &'static str {
        match self {
            Kind::Traces => "/v1/traces",
            Kind::Metrics => "/v1/metrics",
            Kind::Logs => "/v1/logs",
        }
    }

    fn grpc_path(self) -> &'static str {
        match self {
            Kind::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Kind::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Kind::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// Of either protocol.
    pub fn of_path(path: &str) -> Self {
        let is = |kind: &Kind| path == kind.http_path() || path == kind.grpc_path();
        *Kind::ALL.iter().find(|kind| is(kind)).unwrap()
    }

    /// A request with one item for each id; those that `drop` names carry the attribute `drop`.
    pub fn request(self, ids: impl Iterator<Item = u64>, drop: impl Fn(u64) -> bool) -> Vec<u8> {
        let attributes = |id: u64| {
            let value = AnyValue {
                value: Some(any_value::Value::BoolValue(true)),
            };
            let attribute = KeyValue {
                key: "drop".to_owned(),
                value: Some(value),
                ..KeyValue::default()
            };
            if drop(id) { vec![attribute] } else { Vec::new() }
        };
        match self {
            Kind::Traces => traces(ids.map(|id| span(id, attributes(id))).collect()).encode_to_vec(),
            Kind::Metrics => metrics(ids.map(|id| point(id, attributes(id))).collect()).encode_to_vec(),
            Kind::Logs => logs(ids.map(|id| record(id, attributes(id))).collect()).encode_to_vec(),
        }
    }

    /// The ids of a request.
    pub fn ids(self, message: &[u8]) -> Vec<u64> {
        match self {
            Kind::Traces => {
                let request = ExportTraceServiceRequest::decode(message).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|group| group.scope_spans);
                let spans = scopes.flat_map(|scope| scope.spans);
                spans
                    .map(|span| u64::from_be_bytes(span.span_id.try_into().unwrap()))
                    .collect()
            }
            Kind::Metrics => {
                let request = ExportMetricsServiceRequest::decode(message).unwrap();
                let scopes = request
                    .resource_metrics
                    .into_iter()
                    .flat_map(|group| group.scope_metrics);
                let metrics = scopes.flat_map(|scope| scope.metrics);
                metrics.flat_map(|metric| points_of(metric.data)).collect()
            }
            Kind::Logs => {
                let request = ExportLogsServiceRequest::decode(message).unwrap();
                let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
                let records = scopes.flat_map(|scope| scope.log_records);
                records.map(|record| record.time_unix_nano).collect()
            }
        }
    }
}

fn points_of(data: Option<metric::Data>) -> Vec<u64> {
    let Some(metric::Data::Gauge(gauge)) = data else {
        panic!("only gauges were sent")
    };
    let id = |point: NumberDataPoint| match point.value {
        Some(number_data_point::Value::AsInt(id)) => id as u64,
        _ => panic!("only integers were sent"),
    };
    gauge.data_points.into_iter().map(id).collect()
}

fn span(id: u64, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: "GET /".to_owned(),
        attributes,
        ..Span::default()
    }
}

fn point(id: u64, attributes: Vec<KeyValue>) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        time_unix_nano: 1,
        value: Some(number_data_point::Value::AsInt(id as i64)),
        ..NumberDataPoint::default()
    }
}

fn record(id: u64, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        time_unix_nano: id,
        attributes,
        ..LogRecord::default()
    }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
}

fn metrics(data_points: Vec<NumberDataPoint>) -> ExportMetricsServiceRequest {
    let metric = Metric {
        name: "load".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    };
    let scope = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    let resource = ResourceMetrics {
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource],
    }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = ScopeLogs {
        log_records,
        ..ScopeLogs::default()
    };
    let resource = ResourceLogs {
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource],
    }
}

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Ok,
    /// The specification's retryable statuses, and connections that broke or were not made.
    TryAgain,
    Final(i32),
}

/// One request by OTLP/HTTP on a connection of its own.
pub fn send_http(port: u16, kind: Kind, body: &[u8]) -> Told {
    match super::http(port, "POST", kind.http_path(), "application/x-protobuf", body) {
        Ok((200, _)) => Told::Ok,
        Ok((429 | 502..=504, _)) => Told::TryAgain,
        // No status line: the connection ended before the answer.
        Ok((0, _)) | Err(_) => Told::TryAgain,
        Ok((status, _)) => Told::Final(i32::from(status)),
    }
}

/// A client of OTLP/gRPC that keeps its connection.
pub struct GrpcClient {
    runtime: tokio::runtime::Runtime,
    channel: tonic::transport::Channel,
}

impl GrpcClient {
    pub fn new(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = runtime.block_on(async { endpoint.timeout(Duration::from_secs(10)).connect_lazy() });
        Self { runtime, channel }
    }

    pub fn send(&self, kind: Kind, body: &[u8]) -> Told {
        match kind {
            Kind::Traces => self.export::<ExportTraceServiceRequest>(kind, body),
            Kind::Metrics => self.export::<ExportMetricsServiceRequest>(kind, body),
            Kind::Logs => self.export::<ExportLogsServiceRequest>(kind, body),
        }
    }

    fn export<T: Message + Default + 'static>(&self, kind: Kind, body: &[u8]) -> Told {
        let request = T::decode(body).unwrap();
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            if let Err(error) = client.ready().await {
                return Err(tonic::Status::unavailable(error.to_string()));
            }
            let path = http::uri::PathAndQuery::from_static(kind.grpc_path());
            // All three answers are alike.
            let codec = tonic_prost::ProstCodec::<T, ExportTraceServiceResponse>::default();
            client.unary(tonic::Request::new(request), path, codec).await
        });
        use tonic::Code;
        match answer {
            Ok(_) => Told::Ok,
            Err(status) => match status.code() {
                Code::Unavailable
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::DataLoss => Told::TryAgain,
                Code::ResourceExhausted if !status.details().is_empty() => Told::TryAgain,
                // What the client makes of a connection that broke in the middle.
                Code::Unknown if status.message().contains("transport error") => Told::TryAgain,
                code => Told::Final(code as i32),
            },
        }
    }
}

/// What clients did: every id is sent once and never again, so that no loss can hide.
#[derive(Default)]
pub struct Ledger {
    next: AtomicU64,
    pub acknowledged: Mutex<Vec<u64>>,
    pub refused: AtomicU64,
    pub finals: Mutex<Vec<i32>>,
}

impl Ledger {
    /// No id above it was given out.
    pub fn last_id(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

/// Clients that send until they are stopped.
pub struct Load {
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Items of one request.
pub const ITEMS: u64 = 10;

impl Load {
    /// One client for each of these, over gRPC at `ports.0` and over HTTP at `ports.1`; every tenth item is marked to be
    /// dropped where `marks`.
    pub fn start(ports: (u16, u16), kinds: &[Kind], marks: bool, pause: Duration) -> Self {
        Self::start_at(0, ports, kinds, marks, pause)
    }

    /// The same with ids above `last`.
    pub fn start_at(last: u64, ports: (u16, u16), kinds: &[Kind], marks: bool, pause: Duration) -> Self {
        let ledger = Arc::new(Ledger::default());
        ledger.next.store(last, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for kind in kinds.iter().copied() {
            for by_grpc in [true, false] {
                let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
                threads.push(std::thread::spawn(move || {
                    let grpc = GrpcClient::new(ports.0);
                    while !stop.load(Ordering::Relaxed) {
                        let first = ledger.next.fetch_add(ITEMS, Ordering::Relaxed) + 1;
                        let ids = first..first + ITEMS;
                        let body = kind.request(ids.clone(), |id| marks && id % 10 == 0);
                        let told = match by_grpc {
                            true => grpc.send(kind, &body),
                            false => send_http(ports.1, kind, &body),
                        };
                        match told {
                            Told::Ok => ledger.acknowledged.lock().unwrap().extend(ids),
                            Told::TryAgain => {
                                ledger.refused.fetch_add(ITEMS, Ordering::Relaxed);
                            }
                            Told::Final(code) => ledger.finals.lock().unwrap().push(code),
                        }
                        std::thread::sleep(pause);
                    }
                }));
            }
        }
        Self { ledger, stop, threads }
    }

    /// Waits until so many items have been acknowledged.
    pub fn wait_for(&self, count: usize) {
        for _ in 0..super::PATIENCE.as_millis() / 5 {
            if self.ledger.acknowledged.lock().unwrap().len() >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing is acknowledged");
    }

    /// Ends all clients and gives what they did.
    pub fn stop(self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.ledger
    }
}
