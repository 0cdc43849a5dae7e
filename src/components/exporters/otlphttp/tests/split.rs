//! Against the simulated X-Ray's OTLP endpoint, which checks signatures and limits.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::*;
use crate::component::{Clock, ExtensionPlan};
use crate::components::extensions::sigv4auth::SigV4AuthFactory;
use crate::pdata::Decoded;
use crate::simulator::{Fault, FaultKind, Scenario, Served, Simulator};

const HOUR: u64 = 3_600 * 1_000_000_000;

struct Bench {
    simulator: Arc<Simulator>,
    _served: Served,
    built: BuiltExporter,
    context: BuildContext,
}

impl Bench {
    async fn new(more: &str) -> Self {
        let mut scenario = Scenario::quiet();
        scenario.xray.pending_s = 0.0;
        let simulator = Simulator::frozen(scenario);
        simulator.command_xray(r#"{"destination": "CloudWatchLogs"}"#).unwrap();
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let mut context = BuildContext::standalone(ComponentKind::Exporter, "otlphttp/xray");
        context.clock = Arc::new(simulator.clock().clone());
        let yaml = "region: eu-central-1\nservice: xray\n\
                    credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}";
        let Some(Plan::Extension(extension)) = SigV4AuthFactory.check(&Section::from_yaml(yaml)) else {
            panic!("no extension");
        };
        let own = BuildContext {
            id: ComponentId::new("sigv4auth"),
            ..context.clone()
        };
        ExtensionPlan::start(extension.as_ref(), own).await.unwrap();
        let yaml = format!(
            "traces_endpoint: {}/v1/traces\nauth: {{authenticator: sigv4auth}}\nsplit: aws\n{more}",
            served.url()
        );
        let section = Section::from_yaml(&yaml);
        let Some(Plan::Exporter(plan)) = OtlpHttpFactory.check(&section) else {
            panic!("{:?}", section.problems());
        };
        assert!(section.problems().is_empty(), "{:?}", section.problems());
        Self {
            built: plan.build(context.clone()).unwrap(),
            context,
            simulator,
            _served: served,
        }
    }

    fn now(&self) -> u64 {
        self.simulator.clock().now().0
    }

    /// Spans that were taken, and different ones.
    fn taken(&self) -> (u64, u64) {
        let told = self.simulator.command_xray("").unwrap();
        (
            told["otlp_spans"].as_u64().unwrap(),
            told["otlp_different"].as_u64().unwrap(),
        )
    }

    fn dropped(&self, reason: &str) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let found = samples.iter().find(|sample| {
            let mut labels = sample.labels.iter();
            sample.name == "radiosonde_exporter_split_dropped_items" && labels.any(|(_, value)| value == reason)
        });
        match found.map(|sample| &sample.value) {
            Some(SampleValue::Counter(count)) => *count,
            _ => 0,
        }
    }
}

/// A span by its number, start, and the length of a text in it.
fn span(number: u64, start: u64, length: usize) -> Span {
    Span {
        trace_id: (u128::from(number) + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "work".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000,
        attributes: vec![KeyValue {
            key: "text".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue("x".repeat(length))),
            }),
            ..KeyValue::default()
        }],
        ..Span::default()
    }
}

fn batch(spans: Vec<Span>) -> Batch {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_decoded(Decoded::Traces(request), Origin::internal())
}

#[tokio::test]
async fn a_large_batch_of_many_days_arrives_in_pieces_that_the_endpoint_takes() {
    let bench = Bench::new("").await;
    let now = bench.now();
    let mut spans: Vec<Span> = (0..12_000).map(|n| span(n, now - (n % 100) * HOUR, 300)).collect();
    spans.extend((12_000..12_030).map(|n| span(n, now, 180_000)));
    spans.push(span(20_000, now, 300_000)); // shortened
    spans.push(span(20_001, now - 15 * 24 * HOUR, 1));
    spans.push(span(20_002, now + 3 * HOUR, 1));
    bench.built.far_end.consume(batch(spans)).await.unwrap();
    assert_eq!(bench.taken(), (12_031, 12_031));
    assert_eq!((bench.dropped("too_old"), bench.dropped("from_the_future")), (1, 1));
    assert!(bench.simulator.bill().of("OtlpTraces").requests >= 6);
}

#[tokio::test]
async fn json_without_compression_arrives_too() {
    let bench = Bench::new("encoding: json\ncompression: none").await;
    let now = bench.now();
    let spans = (0..100).map(|n| span(n, now, 10)).collect();
    bench.built.far_end.consume(batch(spans)).await.unwrap();
    assert_eq!(bench.taken(), (100, 100));
}

#[tokio::test]
async fn what_is_too_large_for_the_far_end_is_halved() {
    let bench = Bench::new("").await;
    let now = bench.now();
    let too_large = FaultKind::Error {
        status: 413,
        code: "TooLarge".to_owned(),
    };
    bench
        .simulator
        .set_faults(vec![Fault::of("OtlpTraces", 0, 1000, too_large).every(2)]);
    let spans = (0..64).map(|n| span(n, now, 10)).collect();
    bench.built.far_end.consume(batch(spans)).await.unwrap();
    let (taken, different) = bench.taken();
    assert_eq!(taken + bench.dropped("too_large"), 64);
    assert_eq!(taken, different);
}

#[tokio::test]
async fn a_piece_that_was_taken_is_not_sent_again_with_the_others() {
    let bench = Bench::new("").await;
    let now = bench.now();
    let broken = FaultKind::Error {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
    };
    bench
        .simulator
        .set_faults(vec![Fault::of("OtlpTraces", 0, 1000, broken).every(2)]);
    let all = batch((0..50_000).map(|n| span(n, now, 10)).collect());
    let mut tries = 0;
    while let Err(refused) = bench.built.far_end.consume(all.clone()).await {
        assert!(!refused.permanent);
        tries += 1;
        assert!(tries < 20);
    }
    assert!(tries > 0);
    assert_eq!(bench.taken(), (50_000, 50_000));
}

#[tokio::test]
async fn without_transaction_search_the_refusal_is_told() {
    let bench = Bench::new("").await;
    bench.simulator.command_xray(r#"{"destination": "XRay"}"#).unwrap();
    let now = bench.now();
    // In one piece, and in several: nothing was taken, so nothing is counted as sent.
    for count in [1, 25_000] {
        let spans = batch((0..count).map(|n| span(n, now, 1)).collect());
        let refused = bench.built.far_end.consume(spans).await.unwrap_err();
        assert!(refused.permanent, "{refused}");
        assert_eq!((bench.taken(), bench.dropped("refused")), ((0, 0), 0));
    }
}

#[test]
fn the_hosts_of_aws_are_cut_for_without_being_told() {
    for (yaml, cut) in [
        ("traces_endpoint: https://xray.us-east-1.amazonaws.com/v1/traces", true),
        ("logs_endpoint: https://logs.eu-west-1.amazonaws.com/v1/logs", true),
        (
            "traces_endpoint: https://xray.us-east-1.amazonaws.com/v1/traces\nsplit: none",
            false,
        ),
        ("endpoint: https://collector.example:4318", false),
    ] {
        let config = Config::read(&Section::from_yaml(yaml)).unwrap();
        assert_eq!(config.split_for_aws, cut, "{yaml}");
        assert_eq!(config.http2, !cut, "{yaml}");
    }
}
