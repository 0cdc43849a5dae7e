//! Against the simulated X-Ray, which checks signatures, sizes, names and ids as the service does.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::*;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator};

/// When the spans of [`batch`] start, unix seconds.
const START: f64 = 1_500_000_000.0;

struct XRay {
    simulator: Arc<Simulator>,
    served: Served,
}

impl XRay {
    async fn new() -> Self {
        let simulator = Simulator::frozen(Scenario::quiet());
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { simulator, served }
    }

    fn exporter(&self) -> Exporter {
        let mut context = BuildContext::standalone(ComponentKind::Exporter, "awsxray");
        context.clock = Arc::new(self.simulator.clock().clone());
        let more = "credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}";
        exporter_to(&self.served.url(), more, context)
    }

    /// Documents that it has taken, and the spans in them.
    fn taken(&self) -> (u64, usize) {
        let told = self.simulator.command_xray("").unwrap();
        let spans = self.simulator.true_spans(START - 1.0, START + 1.0);
        (
            told["documents"].as_u64().unwrap(),
            spans.values().map(|spans| spans.len()).sum(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_is_taken_once_through_throttles_errors_and_unprocessed_documents() {
    let xray = XRay::new().await;
    let code = "ThrottledException".to_owned();
    let broken = FaultKind::Error {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
    };
    let fault = |kind| Fault::of("PutTraceSegments", 0, 30, kind);
    xray.simulator.set_faults(vec![
        fault(FaultKind::Throttle).every(5),
        fault(FaultKind::Unprocessed { code }).every(3),
        fault(broken).every(4),
        fault(FaultKind::Reset).every(7),
    ]);
    let exporter = xray.exporter();
    let mut refusals = 0;
    while let Err(refused) = exporter.send(batch(1..=400)).await {
        assert!(!refused.permanent, "{refused}");
        refusals += 1;
        assert!(refusals < 100, "{refused}");
    }
    assert!(refusals > 2, "{refusals}");
    assert_eq!(xray.taken(), (400, 400), "documents and spans");
    assert_eq!(exporter.count("xray_export_documents_total", "sent"), 400);
    assert!(exporter.count("xray_export_unprocessed_total", "ThrottledException") > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_sizes_are_such_that_x_ray_takes_them() {
    let xray = XRay::new().await;
    let exporter = xray.exporter();
    let attribute = |key: &str, text: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }),
        ..KeyValue::default()
    };
    let mut large = batch(1..=60);
    let Ok(Decoded::Traces(request)) = large.decode() else {
        panic!("no traces")
    };
    for (index, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
        span.name = format!("GET /{{id}}?<{index}> {}", "x".repeat(300));
        span.attributes.push(attribute("large", "y".repeat(index * 3_000)));
        span.attributes.push(attribute("db.statement", "select ".repeat(2_000)));
    }
    exporter.send(large).await.unwrap();
    assert_eq!(xray.taken(), (60, 60));
    assert!(exporter.count("xray_export_truncated_total", "metadata") > 20);
    assert_eq!(exporter.count("xray_export_documents_total", "too_large"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_x_ray_never_takes_is_counted_and_the_rest_is_taken() {
    let xray = XRay::new().await;
    let code = "InvalidName".to_owned();
    let fault = Fault::of("PutTraceSegments", 0, 30, FaultKind::Unprocessed { code });
    xray.simulator.set_faults(vec![fault]);
    let exporter = xray.exporter();
    exporter.send(batch(1..=100)).await.unwrap();
    // Every second document of a call.
    assert_eq!(xray.taken(), (50, 50));
    assert_eq!(exporter.count("xray_export_documents_total", "rejected"), 50);
    assert_eq!(exporter.count("xray_export_unprocessed_total", "InvalidName"), 50);
    assert_eq!(exporter.count("radiosonde_exporter_rejected_items", ""), 50);
}
