//! Messages made from a run of bytes: shorter runs make smaller messages, so a failure shrinks.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::pdata::{Decoded, Signal};

pub(super) fn request(signal: Signal, entropy: &[u8]) -> Decoded {
    let mut make = Make(entropy);
    match signal {
        Signal::Traces => Decoded::Traces(ExportTraceServiceRequest {
            resource_spans: make.list(3, |make| ResourceSpans {
                resource: make.resource(),
                scope_spans: make.list(3, |make| ScopeSpans {
                    scope: make.scope(),
                    spans: make.list(5, Make::span),
                    schema_url: make.text(),
                }),
                schema_url: make.text(),
            }),
        }),
        Signal::Metrics => Decoded::Metrics(ExportMetricsServiceRequest {
            resource_metrics: make.list(3, |make| ResourceMetrics {
                resource: make.resource(),
                scope_metrics: make.list(3, |make| ScopeMetrics {
                    scope: make.scope(),
                    metrics: make.list(4, Make::metric),
                    schema_url: make.text(),
                }),
                schema_url: make.text(),
            }),
        }),
        Signal::Logs => Decoded::Logs(ExportLogsServiceRequest {
            resource_logs: make.list(3, |make| ResourceLogs {
                resource: make.resource(),
                scope_logs: make.list(3, |make| ScopeLogs {
                    scope: make.scope(),
                    log_records: make.list(5, Make::log_record),
                    schema_url: make.text(),
                }),
                schema_url: make.text(),
            }),
        }),
    }
}

struct Make<'a>(&'a [u8]);

impl Make<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn list<T>(&mut self, most: u8, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = if self.0.is_empty() { 0 } else { self.below(most + 1) };
        (0..len).map(|_| element(self)).collect()
    }

    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::from(self.byte()),
            2 => u64::MAX,
            3 => 1_700_000_000_000_000_000,
            4 => i64::MAX as u64,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn count(&mut self) -> u32 {
        self.number() as u32
    }

    fn double(&mut self) -> f64 {
        match self.below(6) {
            0 => 0.0,
            1 => f64::INFINITY,
            2 => -0.0,
            3 => 1e300,
            4 => f64::from(self.byte()) / 7.0,
            _ => -f64::from(self.byte()),
        }
    }

    fn maybe_double(&mut self) -> Option<f64> {
        self.flag().then(|| self.double())
    }

    fn text(&mut self) -> String {
        match self.below(8) {
            0..3 => String::new(),
            3 => "GET /".to_owned(),
            4 => "é\u{1f980}\0\"\\\n".to_owned(),
            5 => "x".repeat(usize::from(self.byte())),
            _ => format!("t{}", self.byte()),
        }
    }

    fn key(&mut self) -> String {
        match self.below(8) {
            0 => String::new(),
            1 => "k".repeat(usize::from(self.byte())),
            _ => format!("k{}", self.below(4)),
        }
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        let mut id = vec![self.byte(); len];
        id[0] |= 1;
        id
    }

    fn maybe_id(&mut self, len: usize) -> Vec<u8> {
        if self.flag() { self.id(len) } else { Vec::new() }
    }

    fn value(&mut self, depth: u8) -> AnyValue {
        let value = match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => None,
            1 => Some(Any::StringValue(self.text())),
            2 => Some(Any::BoolValue(self.flag())),
            3 => Some(Any::IntValue(self.number() as i64)),
            4 => Some(Any::DoubleValue(self.double())),
            5 => Some(Any::BytesValue(self.id(3))),
            6 => Some(Any::StringValue("v".to_owned())),
            7 => Some(Any::ArrayValue(ArrayValue {
                values: self.list(3, |make| make.value(depth - 1)),
            })),
            _ => Some(Any::KvlistValue(KeyValueList {
                values: self.list(3, |make| make.attribute(depth - 1)),
            })),
        };
        AnyValue { value }
    }

    fn attribute(&mut self, depth: u8) -> KeyValue {
        KeyValue {
            key: self.key(),
            value: (self.below(6) > 0).then(|| self.value(depth)),
            key_strindex: 0,
        }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |make| make.attribute(3))
    }

    fn resource(&mut self) -> Option<Resource> {
        (self.below(4) > 0).then(|| Resource {
            attributes: self.attributes(),
            dropped_attributes_count: self.count(),
            entity_refs: self.list(1, |make| EntityRef {
                schema_url: make.text(),
                r#type: make.text(),
                id_keys: make.list(2, Make::text),
                description_keys: make.list(2, Make::text),
            }),
        })
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        (self.below(4) > 0).then(|| InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(),
            dropped_attributes_count: self.count(),
        })
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            parent_span_id: self.maybe_id(8),
            flags: self.count(),
            name: self.text(),
            kind: self.below(7).into(),
            start_time_unix_nano: self.number(),
            end_time_unix_nano: self.number(),
            attributes: self.attributes(),
            dropped_attributes_count: self.count(),
            events: self.list(2, |make| Event {
                time_unix_nano: make.number(),
                name: make.text(),
                attributes: make.attributes(),
                dropped_attributes_count: make.count(),
            }),
            dropped_events_count: self.count(),
            links: self.list(2, |make| Link {
                trace_id: make.id(16),
                span_id: make.id(8),
                trace_state: make.text(),
                attributes: make.attributes(),
                dropped_attributes_count: make.count(),
                flags: make.count(),
            }),
            dropped_links_count: self.count(),
            status: self.flag().then(|| Status {
                message: self.text(),
                code: self.below(4).into(),
            }),
        }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.number(),
            observed_time_unix_nano: self.number(),
            severity_number: self.below(25).into(),
            severity_text: self.text(),
            body: (self.below(4) > 0).then(|| self.value(3)),
            attributes: self.attributes(),
            dropped_attributes_count: self.count(),
            flags: self.count(),
            trace_id: self.maybe_id(16),
            span_id: self.maybe_id(8),
            event_name: self.text(),
        }
    }

    fn metric(&mut self) -> Metric {
        let temporality = i32::from(self.below(3));
        let data = match self.below(6) {
            0 => None,
            1 => Some(Data::Gauge(Gauge {
                data_points: self.list(4, Make::number_point),
            })),
            2 => Some(Data::Sum(Sum {
                data_points: self.list(4, Make::number_point),
                aggregation_temporality: temporality,
                is_monotonic: self.flag(),
            })),
            3 => Some(Data::Histogram(Histogram {
                data_points: self.list(3, Make::histogram_point),
                aggregation_temporality: temporality,
            })),
            4 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Make::exponential_point),
                aggregation_temporality: temporality,
            })),
            _ => Some(Data::Summary(Summary {
                data_points: self.list(3, Make::summary_point),
            })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    fn number_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.number(),
            time_unix_nano: self.number(),
            exemplars: self.list(2, Make::exemplar),
            flags: self.below(2).into(),
            value: match self.below(3) {
                0 => None,
                1 => Some(number_data_point::Value::AsDouble(self.double())),
                _ => Some(number_data_point::Value::AsInt(self.number() as i64)),
            },
        }
    }

    fn histogram_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.number(),
            time_unix_nano: self.number(),
            count: self.number(),
            sum: self.maybe_double(),
            bucket_counts: self.list(4, Make::number),
            explicit_bounds: self.list(4, Make::double),
            exemplars: self.list(2, Make::exemplar),
            flags: self.below(2).into(),
            min: self.maybe_double(),
            max: self.maybe_double(),
        }
    }

    fn exponential_point(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.number(),
            time_unix_nano: self.number(),
            count: self.number(),
            sum: self.maybe_double(),
            scale: self.number() as i32,
            zero_count: self.number(),
            positive: self.flag().then(|| self.buckets()),
            negative: self.flag().then(|| self.buckets()),
            flags: self.below(2).into(),
            exemplars: self.list(2, Make::exemplar),
            min: self.maybe_double(),
            max: self.maybe_double(),
            zero_threshold: self.double(),
        }
    }

    fn buckets(&mut self) -> Buckets {
        Buckets {
            offset: self.number() as i32,
            bucket_counts: self.list(5, Make::number),
        }
    }

    fn summary_point(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.number(),
            time_unix_nano: self.number(),
            count: self.number(),
            sum: self.double(),
            quantile_values: self.list(3, |make| ValueAtQuantile {
                quantile: make.double(),
                value: make.double(),
            }),
            flags: self.below(2).into(),
        }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.attributes(),
            time_unix_nano: self.number(),
            span_id: self.maybe_id(8),
            trace_id: self.maybe_id(16),
            value: match self.below(3) {
                0 => None,
                1 => Some(exemplar::Value::AsDouble(self.double())),
                _ => Some(exemplar::Value::AsInt(self.number() as i64)),
            },
        }
    }
}
