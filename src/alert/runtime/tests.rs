#[cfg(all(feature = "aws", feature = "simulator"))]
pub(crate) mod watch;

use std::sync::Mutex as StdMutex;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::component::{Outlet, Refused, Stage, StateError};
use crate::config::Section;
use crate::pdata::{Decoded, Origin};

const RULES: &str = r#"groups:
- name: g
  rules:
  - {alert: High, expr: 'x > 5', labels: {severity: warning}, annotations: {summary: 'x is {{ $value }}'}}
  - {alert: Slow, expr: 'increase(slow_total[5m]) > 0', labels: {severity: info}}
"#;

#[derive(Default)]
struct Ear(StdMutex<Vec<Vec<Told>>>);

impl Listener for Ear {
    fn tell(&self, _now: u64, alerts: Vec<Told>) -> BoxFuture<'_, Result<(), StateError>> {
        self.0.lock().unwrap().push(alerts);
        Box::pin(async { Ok(()) })
    }
}

#[derive(Default)]
struct Sink(StdMutex<Vec<Batch>>);

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.0.lock().unwrap().push(batch);
        Box::pin(async { Ok(()) })
    }
}

fn settings(folder: &tempfile::TempDir, extra: &str) -> Settings {
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, RULES).unwrap();
    let section = Section::from_yaml(&format!("rule_files: ['{}']\n{extra}", path.display()));
    let settings = Settings::read(&section).unwrap();
    assert!(!section.has_errors(), "{:?}", section.problems());
    settings
}

fn points(now: i64, value: f64) -> Batch {
    let point = |ago: i64| NumberDataPoint {
        time_unix_nano: (now - ago * 10_000) as u64 * 1_000_000,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: "x".to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: (0..24).rev().map(point).collect(),
        })),
        ..Metric::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    Batch::from_decoded(Decoded::Metrics(request), Origin::internal())
}

/// Without the one that always fires.
fn watched(told: &[Told]) -> Vec<Told> {
    let is_watchdog = |told: &&Told| told.labels.iter().any(|(_, value)| value == "RadiosondeWatchdog");
    told.iter().filter(|told| !is_watchdog(told)).cloned().collect()
}

fn names(told: &[Told]) -> Vec<&str> {
    told.iter()
        .map(|told| {
            told.labels
                .iter()
                .find(|(name, _)| name == "alertname")
                .unwrap()
                .1
                .as_str()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_fires_is_kept_told_and_not_told_as_new_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder, "");
    let context = BuildContext::standalone(ComponentKind::Connector, "alerts");
    let first = Runtime::of(&settings, &context);
    assert!(
        Arc::ptr_eq(&first, &Runtime::of(&settings, &context)),
        "one id is one engine"
    );
    let (ear, logs) = (Arc::new(Ear::default()), Arc::new(Sink::default()));
    first.listen(Arc::clone(&ear) as Arc<dyn Listener>);
    let outlets = Outlets {
        logs: Some(Outlet::to(Arc::clone(&logs) as Arc<dyn Stage>)),
        ..Outlets::default()
    };
    first.lead_to(outlets);
    let mut memory = Memory::default();
    first.take(points(first.now(), 9.0));
    first.round(&mut memory, false).await;
    let told = watched(ear.0.lock().unwrap().last().unwrap());
    assert_eq!(names(&told), ["High"]);
    assert_eq!(told[0].annotations, [("summary".to_owned(), "x is 9".to_owned())]);
    assert_eq!(logs.0.lock().unwrap().len(), 1, "one record for one transition");
    first.round(&mut memory, true).await;
    assert_eq!(logs.0.lock().unwrap().len(), 1);
    first.quit.cancel();

    let second = Runtime::of(&settings, &context);
    assert!(!Arc::ptr_eq(&first, &second));
    let (again, logs) = (Arc::new(Ear::default()), Arc::new(Sink::default()));
    second.listen(Arc::clone(&again) as Arc<dyn Listener>);
    second.lead_to(Outlets {
        logs: Some(Outlet::to(Arc::clone(&logs) as Arc<dyn Stage>)),
        ..Outlets::default()
    });
    let mut memory = Memory::default();
    second.round(&mut memory, false).await;
    let after = watched(again.0.lock().unwrap().last().unwrap());
    assert_eq!(names(&after), ["High"]);
    assert_eq!(after[0].starts_at, told[0].starts_at);
    assert!(logs.0.lock().unwrap().is_empty(), "it is not new");
}

#[tokio::test(start_paused = true)]
async fn spans_are_counted_by_conditions() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(
        &folder,
        "events: {slow: {context: span, conditions: ['name == \"checkout\"']}}\n",
    );
    let context = BuildContext::standalone(ComponentKind::Processor, "alerts");
    let runtime = Runtime::of(&settings, &context);
    let span = |name: &str| Span {
        name: name.to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span("checkout"), span("other"), span("checkout")],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    runtime.take(Batch::from_decoded(Decoded::Traces(request), Origin::internal()));
    let core = runtime.core();
    assert_eq!(
        (core.engine.store().len(), core.engine.counts().points),
        (1, 3),
        "zero, one, two"
    );
}

#[test]
fn own_metrics_become_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    let text =
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'radiosonde_alerts_rules > 0', labels: {severity: info}}\n";
    std::fs::write(&path, text).unwrap();
    let section = Section::from_yaml(&format!("rule_files: ['{}']\n", path.display()));
    let settings = Settings::read(&section).unwrap();
    let context = BuildContext::standalone(ComponentKind::Processor, "alerts");
    let mut engine = Engine::new(settings.engine, &settings.groups);
    let own = Own::new(&engine, &context);
    own.note(&engine, 0);
    own.sample(&mut engine, 60_000);
    engine.round(60_000);
    assert_eq!(names(&watched(&engine.told())), ["A"]);
}
