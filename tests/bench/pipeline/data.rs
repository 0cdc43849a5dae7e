//! The requests of the benchmark: encoded once, sent over and over. The same bytes for whoever is measured.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;

/// Distinct requests of a set: enough that no cache holds them all.
const DISTINCT: usize = 64;
const BEGIN: u64 = 1_790_000_000_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }

    pub fn grpc_path(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    pub fn of_path(path: &str) -> Self {
        if path.contains("etrics") {
            Signal::Metrics
        } else if path.contains("ogs") {
            Signal::Logs
        } else {
            Signal::Traces
        }
    }
}

/// One encoded request.
#[derive(Clone)]
pub struct Request {
    /// As it is sent (without a gRPC prefix).
    pub body: Bytes,
    pub items: usize,
    /// Spans that the filter of the filter case keeps.
    pub kept: usize,
}

/// The requests of a case.
#[derive(Clone)]
pub struct Set {
    pub signal: Signal,
    pub requests: Vec<Request>,
    pub gzip: bool,
}

impl Set {
    /// Requests of `sizes` items each in turn.
    pub fn new(signal: Signal, sizes: &[usize]) -> Self {
        let mut random = Random(7);
        let mut requests = Vec::new();
        for index in 0..DISTINCT {
            let items = sizes[index % sizes.len()];
            requests.push(match signal {
                Signal::Traces => traces(items, &mut random),
                Signal::Metrics => metrics(items, &mut random),
                Signal::Logs => logs(items, &mut random),
            });
        }
        Self {
            signal,
            requests,
            gzip: false,
        }
    }

    /// The same, compressed at `level`.
    pub fn gzipped(mut self, level: u32) -> Self {
        for request in &mut self.requests {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&request.body).expect("a Vec takes everything");
            request.body = encoder.finish().expect("a Vec takes everything").into();
        }
        self.gzip = true;
        self
    }

    pub fn bytes_per_item(&self) -> usize {
        let bytes: usize = self.requests.iter().map(|request| request.body.len()).sum();
        let items: usize = self.requests.iter().map(|request| request.items).sum();
        bytes / items
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn id(&mut self, bytes: usize) -> Vec<u8> {
        let mut id = Vec::new();
        while id.len() < bytes {
            id.extend_from_slice(&self.next().to_le_bytes());
        }
        id.truncate(bytes);
        id
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}

fn number(key: &str, value: u64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(value as i64)),
        }),
        ..KeyValue::default()
    }
}

fn resource(random: &mut Random) -> Option<Resource> {
    let service = random.pick(&["checkout", "cart", "payment", "shipping", "frontend"]);
    Some(Resource {
        attributes: vec![
            text("service.name", service),
            text("service.namespace", "shop"),
            text("service.version", "2026.11.20"),
            text("service.instance.id", format!("{:016x}", random.next())),
            text(
                "host.name",
                format!("ip-10-0-{}-{}.ec2.internal", random.below(255), random.below(255)),
            ),
            text(
                "k8s.pod.name",
                format!("{service}-7d4b9c6f5-{:05x}", random.below(0xfffff)),
            ),
            text("cloud.region", "eu-central-1"),
            text("telemetry.sdk.language", "java"),
        ],
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "io.opentelemetry.spring-webmvc-6.0".to_owned(),
        version: "2.20.1".to_owned(),
        ..InstrumentationScope::default()
    })
}

fn traces(items: usize, random: &mut Random) -> Request {
    let mut kept = 0;
    let mut spans = Vec::new();
    for index in 0..items {
        let method = if random.below(50) == 0 {
            "DELETE"
        } else {
            random.pick(&["GET", "POST", "PUT"])
        };
        kept += usize::from(method != "DELETE");
        spans.push(span(index as u64, method, random));
    }
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(random),
            scope_spans: vec![ScopeSpans {
                scope: scope(),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Request {
        body: request.encode_to_vec().into(),
        items,
        kept,
    }
}

fn span(index: u64, method: &str, random: &mut Random) -> Span {
    let route = random.pick(&[
        "/api/cart/{id}",
        "/api/products/{sku}",
        "/api/orders",
        "/api/orders/{id}/items",
    ]);
    let begin = BEGIN + index * 1_000_003 + random.below(1_000_000);
    Span {
        trace_id: random.id(16),
        span_id: random.id(8),
        parent_span_id: random.id(8),
        name: format!("{method} {route}"),
        kind: span::SpanKind::Server as i32,
        start_time_unix_nano: begin,
        end_time_unix_nano: begin + random.below(50_000_000),
        attributes: vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.path", format!("/api/products/{:08x}", random.next() as u32)),
            text("url.scheme", "https"),
            number("http.response.status_code", 200 + random.below(5)),
            text("server.address", "shop.example.com"),
            number("server.port", 443),
            text("client.address", format!("203.0.113.{}", random.below(255))),
            text(
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0",
            ),
            text("network.protocol.version", "1.1"),
            text("thread.name", format!("http-nio-8080-exec-{}", random.below(200))),
            number("thread.id", random.below(400)),
            text("enduser.id", format!("{:016x}", random.next())),
            text("db.query.summary", "SELECT orders JOIN items"),
            text(
                "db.query.text",
                "SELECT o.id, o.total FROM orders o JOIN items i ON i.oid = o.id",
            ),
        ],
        events: vec![span::Event {
            time_unix_nano: begin + 1000,
            name: "cache.miss".to_owned(),
            attributes: vec![text("cache.key", format!("cart:{:012x}", random.next()))],
            ..span::Event::default()
        }],
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn metrics(items: usize, random: &mut Random) -> Request {
    let mut metrics = Vec::new();
    let mut left = items;
    while left > 0 {
        let points = left.min(5);
        left -= points;
        let data_points = (0..points).map(|_| point(random)).collect();
        let name = random.pick(&["http.server.requests", "jvm.memory.used", "db.client.connections.usage"]);
        let sum = random.below(2) == 0;
        metrics.push(Metric {
            name: name.to_owned(),
            description: "A figure of the shop's services.".to_owned(),
            unit: "By".to_owned(),
            data: Some(if sum {
                Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: AggregationTemporality::Cumulative as i32,
                    is_monotonic: true,
                })
            } else {
                Data::Gauge(Gauge { data_points })
            }),
            ..Metric::default()
        });
    }
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(random),
            scope_metrics: vec![ScopeMetrics {
                scope: scope(),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    Request {
        body: request.encode_to_vec().into(),
        items,
        kept: items,
    }
}

fn point(random: &mut Random) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![
            text("http.request.method", random.pick(&["GET", "POST"])),
            text("http.route", random.pick(&["/api/cart/{id}", "/api/orders"])),
            number("http.response.status_code", 200 + random.below(5)),
            text("pool.name", format!("pool-{}", random.below(16))),
            text("server.address", "shop.example.com"),
        ],
        start_time_unix_nano: BEGIN,
        time_unix_nano: BEGIN + random.below(60_000_000_000),
        value: Some(number_data_point::Value::AsDouble(random.below(1_000_000) as f64 / 8.0)),
        ..NumberDataPoint::default()
    }
}

fn logs(items: usize, random: &mut Random) -> Request {
    let record = |random: &mut Random| LogRecord {
        time_unix_nano: BEGIN + random.below(60_000_000_000),
        observed_time_unix_nano: BEGIN + random.below(60_000_000_000),
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!(
                "order {:08x} accepted for customer {:012x}, {} items, payment in {} ms",
                random.next() as u32,
                random.next(),
                random.below(20),
                random.below(900),
            ))),
        }),
        attributes: vec![
            text("log.logger", "com.example.shop.OrderService"),
            text("thread.name", format!("http-nio-8080-exec-{}", random.below(200))),
            text("code.function.name", "acceptOrder"),
        ],
        trace_id: random.id(16),
        span_id: random.id(8),
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(random),
            scope_logs: vec![ScopeLogs {
                scope: scope(),
                log_records: (0..items).map(|_| record(random)).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    Request {
        body: request.encode_to_vec().into(),
        items,
        kept: items,
    }
}
