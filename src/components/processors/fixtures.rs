//! For the tests of processors: small telemetry, and a processor built from YAML.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Factory, Outlet, Plan, Processor, Refused, SampleValue,
    Stage, StartError,
};
use crate::config::Section;
use crate::pdata::{Batch, Decoded, Origin, Signal};

pub fn text(value: &str) -> Any {
    Any::StringValue(value.to_owned())
}

pub fn int(value: i64) -> Any {
    Any::IntValue(value)
}

pub fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub fn attributes<const N: usize>(pairs: [(&str, Any); N]) -> Vec<KeyValue> {
    pairs.into_iter().map(|(key, value)| attribute(key, value)).collect()
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource {
        attributes: attributes([("service.name", text(service)), ("host.cpus", int(4))]),
        ..Resource::default()
    })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.2".to_owned(),
        ..InstrumentationScope::default()
    })
}

pub fn span<const N: usize>(name: &str, pairs: [(&str, Any); N]) -> Span {
    Span {
        name: name.to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        kind: 2,
        attributes: attributes(pairs),
        ..Span::default()
    }
}

/// One resource group for each service.
pub fn traces<const N: usize>(services: [(&str, Vec<Span>); N]) -> Decoded {
    let group = |(service, spans)| ResourceSpans {
        resource: resource(service),
        scope_spans: vec![ScopeSpans {
            scope: scope(),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    Decoded::Traces(ExportTraceServiceRequest {
        resource_spans: services.into_iter().map(group).collect(),
    })
}

/// A gauge with one point for each list of attributes.
pub fn gauge(name: &str, points: Vec<Vec<KeyValue>>) -> Metric {
    let point = |attributes| NumberDataPoint {
        attributes,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    Metric {
        name: name.to_owned(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: points.into_iter().map(point).collect(),
        })),
        ..Metric::default()
    }
}

pub fn metrics<const N: usize>(services: [(&str, Vec<Metric>); N]) -> Decoded {
    let group = |(service, metrics)| ResourceMetrics {
        resource: resource(service),
        scope_metrics: vec![ScopeMetrics {
            scope: scope(),
            metrics,
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    };
    Decoded::Metrics(ExportMetricsServiceRequest {
        resource_metrics: services.into_iter().map(group).collect(),
    })
}

pub fn log<const N: usize>(body: &str, severity: i32, severity_text: &str, pairs: [(&str, Any); N]) -> LogRecord {
    LogRecord {
        body: Some(AnyValue {
            value: Some(text(body)),
        }),
        severity_number: severity,
        severity_text: severity_text.to_owned(),
        attributes: attributes(pairs),
        ..LogRecord::default()
    }
}

pub fn logs<const N: usize>(services: [(&str, Vec<LogRecord>); N]) -> Decoded {
    let group = |(service, log_records)| ResourceLogs {
        resource: resource(service),
        scope_logs: vec![ScopeLogs {
            scope: scope(),
            log_records,
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    Decoded::Logs(ExportLogsServiceRequest {
        resource_logs: services.into_iter().map(group).collect(),
    })
}

/// The wire form, as it comes from a receiver.
pub fn batch(decoded: &Decoded) -> Batch {
    batch_from(decoded, Arc::new(Origin::default()))
}

pub fn batch_from(decoded: &Decoded, origin: Arc<Origin>) -> Batch {
    let items = u32::try_from(decoded.count_items()).unwrap();
    Batch::from_wire(decoded.signal(), decoded.encode(), items, origin)
}

pub struct Built {
    pub processor: Arc<dyn Processor>,
    context: BuildContext,
}

struct Nowhere;

impl Stage for Nowhere {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The problems that a section has.
pub fn problems(factory: &dyn Factory, yaml: &str) -> Vec<String> {
    let section = Section::from_yaml(yaml);
    factory.check(&section);
    section.problems()
}

pub fn try_build(factory: &dyn Factory, yaml: &str, signal: Signal) -> Result<Built, StartError> {
    let section = Section::from_yaml(yaml);
    let plan = factory.check(&section);
    assert_eq!(section.problems(), Vec::<String>::new(), "{yaml}");
    let Some(Plan::Processor(plan)) = plan else {
        panic!("no plan for {yaml}")
    };
    let context = BuildContext::standalone(ComponentKind::Processor, &format!("{}/test", factory.type_name()));
    match plan.build(context.clone(), signal, Outlet::to(Arc::new(Nowhere)))? {
        BuiltProcessor::Pure(processor) => Ok(Built { processor, context }),
        BuiltProcessor::Active { .. } => panic!("the processor is pure"),
    }
}

pub fn build(factory: &dyn Factory, yaml: &str, signal: Signal) -> Built {
    try_build(factory, yaml, signal).unwrap()
}

impl Built {
    /// What is left of the telemetry; the item count of the batch must be right.
    pub fn run(&self, decoded: &Decoded) -> Option<Decoded> {
        self.run_batch(batch(decoded))
    }

    pub fn run_batch(&self, batch: Batch) -> Option<Decoded> {
        let mut left = self.processor.process(batch).unwrap()?;
        let items = left.items();
        let decoded = left.decode().unwrap().clone();
        assert_eq!(decoded.count_items(), items);
        Some(decoded)
    }

    /// The value of a counter of this processor, summed over its series.
    pub fn counter(&self, name: &str) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let values = samples
            .iter()
            .filter(|sample| sample.name == name)
            .map(|sample| match sample.value {
                SampleValue::Counter(value) => value,
                _ => panic!("{name} is no counter"),
            });
        values.sum()
    }
}

/// The names of spans or metrics, or the bodies of log records, that are left.
pub fn names(decoded: Option<Decoded>) -> Vec<String> {
    let Some(decoded) = decoded else { return Vec::new() };
    match decoded {
        Decoded::Traces(request) => {
            let scopes = request.resource_spans.into_iter().flat_map(|group| group.scope_spans);
            scopes.flat_map(|scope| scope.spans).map(|span| span.name).collect()
        }
        Decoded::Metrics(request) => {
            let scopes = request
                .resource_metrics
                .into_iter()
                .flat_map(|group| group.scope_metrics);
            scopes
                .flat_map(|scope| scope.metrics)
                .map(|metric| metric.name)
                .collect()
        }
        Decoded::Logs(request) => {
            let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
            let records = scopes.flat_map(|scope| scope.log_records);
            let body = |record: LogRecord| match record.body.and_then(|body| body.value) {
                Some(Any::StringValue(text)) => text,
                other => format!("{other:?}"),
            };
            records.map(body).collect()
        }
    }
}
