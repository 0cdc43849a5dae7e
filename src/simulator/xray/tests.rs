//! The AWS SDK against the simulated X-Ray.
#![cfg(feature = "aws")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_xray::error::ProvideErrorMetadata;
use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::types::{RetrievalStatus, SamplingStatisticsDocument, TimeRangeType, TraceFormatType, TraceSummary};

use super::super::{Fault, FaultKind, Scenario, Served, Simulator};

fn scenario() -> Scenario {
    let mut scenario = Scenario::demo();
    scenario.xray.traces_per_minute = 20.0;
    scenario.xray.late = vec![super::Late {
        share: 0.1,
        after_s: 900.0,
    }];
    scenario
}

struct Aws {
    simulator: Arc<Simulator>,
    client: aws_sdk_xray::Client,
    _served: Served,
}

impl Aws {
    async fn start(scenario: Scenario, secret: &str) -> Self {
        let simulator = Simulator::frozen(scenario);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let keys = aws_credential_types::Credentials::new("AKIASIM0111122223333", secret, None, None, "test");
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::new("eu-central-1"))
            .endpoint_url(served.url())
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(keys))
            .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
            .build();
        Self {
            simulator,
            client: aws_sdk_xray::Client::new(&config),
            _served: served,
        }
    }

    fn start_s(&self) -> i64 {
        self.simulator.world().scenario.start as i64
    }

    fn step(&self, seconds: u64) {
        self.simulator.clock().step(Duration::from_secs(seconds));
    }

    async fn summaries(&self, kind: TimeRangeType, from: i64, to: i64) -> Vec<TraceSummary> {
        let mut all = Vec::new();
        let mut token = None;
        let mut scanned = 0;
        loop {
            let page = self
                .client
                .get_trace_summaries()
                .start_time(DateTime::from_secs(from))
                .end_time(DateTime::from_secs(to))
                .time_range_type(kind.clone())
                .set_next_token(token)
                .send()
                .await
                .unwrap();
            scanned += page.traces_processed_count().unwrap();
            all.extend(page.trace_summaries().to_vec());
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(scanned, all.len() as i64);
        all
    }
}

#[tokio::test]
async fn disjoint_event_windows_hold_every_change_once_and_pages_are_newest_first() {
    let aws = Aws::start(scenario(), "simulated").await;
    let start = aws.start_s();
    aws.step(3600);
    let whole = aws.summaries(TimeRangeType::Event, start, start + 3000).await;
    assert!(whole.len() > 900, "{}", whole.len());
    let times: Vec<f64> = whole
        .iter()
        .map(|trace| trace.matched_event_time().unwrap().as_secs_f64())
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
    let mut parts = 0;
    let mut ids = BTreeSet::new();
    for window in 0..50 {
        let from = start + 60 * window;
        for trace in aws.summaries(TimeRangeType::Event, from, from + 60).await {
            parts += 1;
            ids.insert(trace.id().unwrap().to_owned());
        }
    }
    let all: BTreeSet<String> = whole.iter().map(|trace| trace.id().unwrap().to_owned()).collect();
    assert_eq!(ids, all);
    // Some change in two windows: late segments and in-progress ones.
    assert!(parts > whole.len());
    let by_start = aws.summaries(TimeRangeType::TraceId, start, start + 600).await;
    let truth = aws.simulator.true_spans(start as f64, start as f64 + 600.0);
    assert_eq!(by_start.len(), truth.len());
    let billed = aws.simulator.bill().of("GetTraceSummaries").units;
    assert_eq!(billed as usize, whole.len() + parts + by_start.len());
}

#[tokio::test]
async fn five_compiled_traces_at_a_time_and_the_rest_is_unprocessed() {
    let aws = Aws::start(scenario(), "simulated").await;
    let start = aws.start_s();
    aws.step(3600);
    let truth = aws.simulator.true_spans(start as f64, start as f64 + 60.0);
    let ids: Vec<String> = truth.keys().take(5).cloned().collect();
    let answer = aws
        .client
        .batch_get_traces()
        .set_trace_ids(Some(ids.clone()))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.traces().len(), 5);
    for trace in answer.traces() {
        let mut spans = BTreeSet::new();
        let mut inferred = 0;
        for segment in trace.segments() {
            let document: serde_json::Value = serde_json::from_str(segment.document().unwrap()).unwrap();
            if document["inferred"] == true {
                inferred += 1;
                continue;
            }
            super::walk(&document, &mut |node| {
                assert!(spans.insert(node["id"].as_str().unwrap().to_owned()));
            });
        }
        let wanted: BTreeSet<String> = truth[trace.id().unwrap()].iter().map(|span| span.id.clone()).collect();
        assert_eq!(spans, wanted);
        assert!(inferred >= 1);
    }
    let six = vec![ids[0].clone(); 6];
    let error = aws
        .client
        .batch_get_traces()
        .set_trace_ids(Some(six))
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("InvalidRequestException"));
    let fault = FaultKind::Unprocessed {
        code: "Throttled".to_owned(),
    };
    aws.simulator
        .set_faults(vec![Fault::of("BatchGetTraces", 0, 100, fault)]);
    let answer = aws
        .client
        .batch_get_traces()
        .set_trace_ids(Some(ids))
        .send()
        .await
        .unwrap();
    assert_eq!((answer.traces().len(), answer.unprocessed_trace_ids().len()), (2, 3));
    let unknown = "1-00000000-000000000000000000000000";
    aws.simulator.set_faults(Vec::new());
    let answer = aws.client.batch_get_traces().trace_ids(unknown).send().await.unwrap();
    assert_eq!(answer.unprocessed_trace_ids(), [unknown]);
}

#[tokio::test]
async fn what_is_put_is_checked_and_read_back() {
    let aws = Aws::start(Scenario::quiet(), "simulated").await;
    let start = aws.start_s();
    let good = |id: &str| {
        format!(
            r#"{{"trace_id":"1-5759e988-bd862e3fe1be46a994272793","id":"{id}","name":"a","start_time":{start}.25,"end_time":{start}.5}}"#
        )
    };
    let answer = aws
        .client
        .put_trace_segments()
        .trace_segment_documents(good("53995c3f42cd8ad8"))
        .trace_segment_documents(good("short"))
        .trace_segment_documents("no json")
        .trace_segment_documents(good("53995c3f42cd8ad9").replace("\"a\"", "\"a;b\""))
        .send()
        .await
        .unwrap();
    let codes: Vec<&str> = answer
        .unprocessed_trace_segments()
        .iter()
        .filter_map(|entry| entry.error_code())
        .collect();
    assert_eq!(codes, ["InvalidId", "ParseError", "InvalidName"]);
    let many = vec![good("53995c3f42cd8ad8"); 51];
    let error = aws
        .client
        .put_trace_segments()
        .set_trace_segment_documents(Some(many))
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("InvalidRequestException"));
    assert!(
        aws.summaries(TimeRangeType::Event, start - 60, start + 60)
            .await
            .is_empty(),
        "not indexed yet"
    );
    aws.step(30);
    let found = aws.summaries(TimeRangeType::Event, start - 60, start + 60).await;
    assert_eq!(found[0].id(), Some("1-5759e988-bd862e3fe1be46a994272793"));
    assert_eq!((found[0].duration(), found[0].is_partial()), (Some(0.25), Some(false)));
    aws.step(31 * 86_400);
    let late = aws.summaries(TimeRangeType::Event, start - 60, start + 60).await;
    assert!(late.is_empty(), "expired");
}

#[tokio::test]
async fn bad_windows_tokens_and_signatures_are_refused() {
    let aws = Aws::start(scenario(), "simulated").await;
    let start = aws.start_s();
    aws.step(600);
    let page = || {
        let request = aws.client.get_trace_summaries().start_time(DateTime::from_secs(start));
        request.end_time(DateTime::from_secs(start + 500))
    };
    let code = |error: aws_sdk_xray::error::SdkError<_, _>| {
        let error: aws_sdk_xray::operation::get_trace_summaries::GetTraceSummariesError = error.into_service_error();
        error.code().unwrap_or_default().to_owned()
    };
    for (from, to) in [(start, start), (start, start - 5), (start, start + 7 * 3600)] {
        let request = aws.client.get_trace_summaries().start_time(DateTime::from_secs(from));
        let error = request.end_time(DateTime::from_secs(to)).send().await.unwrap_err();
        assert_eq!(code(error), "InvalidRequestException");
    }
    let token = page().send().await.unwrap().next_token().unwrap().to_owned();
    assert!(page().next_token(&token).send().await.is_ok());
    assert_eq!(
        code(page().next_token(&token).sampling(true).send().await.unwrap_err()),
        "InvalidRequestException"
    );
    aws.step(301);
    assert_eq!(
        code(page().next_token(&token).send().await.unwrap_err()),
        "InvalidRequestException"
    );
    assert!(
        page()
            .filter_expression("service(\"recommender\") AND !fault AND responsetime < 5")
            .send()
            .await
            .is_ok()
    );
    let throttled = page()
        .filter_expression("throttle OR annotation[tenant] = \"acme\"")
        .send()
        .await
        .unwrap();
    assert!(throttled.trace_summaries().len() < throttled.traces_processed_count().unwrap() as usize);
    assert_eq!(
        code(page().filter_expression("nonsense").send().await.unwrap_err()),
        "InvalidRequestException"
    );
    aws.simulator
        .set_faults(vec![Fault::of("GetTraceSummaries", 0, 1000, FaultKind::Throttle)]);
    assert_eq!(code(page().send().await.unwrap_err()), "ThrottledException");
    aws.simulator
        .set_faults(vec![Fault::of("GetTraceSummaries", 0, 1000, FaultKind::Reset)]);
    assert!(page().send().await.is_err());
    let stranger = Aws::start(scenario(), "another secret").await;
    let error = stranger
        .client
        .get_groups()
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert_eq!(error.code(), Some("InvalidSignatureException"));
}

#[tokio::test]
async fn the_destination_switches_after_a_while_and_retrieval_goes_through_its_states() {
    let aws = Aws::start(scenario(), "simulated").await;
    let start = aws.start_s();
    aws.step(600);
    aws.simulator
        .command_xray(r#"{"destination": "CloudWatchLogs", "indexed_percent": 10}"#)
        .unwrap();
    let destination = aws.client.get_trace_segment_destination().send().await.unwrap();
    assert_eq!(destination.status().unwrap().as_str(), "PENDING");
    aws.step(600);
    let destination = aws.client.get_trace_segment_destination().send().await.unwrap();
    assert_eq!(destination.destination().unwrap().as_str(), "CloudWatchLogs");
    assert_eq!(destination.status().unwrap().as_str(), "ACTIVE");
    let truth = aws.simulator.true_spans(start as f64, start as f64 + 600.0);
    let listed = aws.summaries(TimeRangeType::TraceId, start, start + 600).await.len();
    assert!(listed > 0 && listed < truth.len() / 4, "{listed} of {}", truth.len());
    let ids: Vec<String> = truth.keys().take(12).cloned().collect();
    let started = aws
        .client
        .start_trace_retrieval()
        .set_trace_ids(Some(ids.clone()))
        .start_time(DateTime::from_secs(start))
        .end_time(DateTime::from_secs(start + 600))
        .send()
        .await
        .unwrap();
    let token = started.retrieval_token().unwrap();
    let list = || {
        aws.client
            .list_retrieved_traces()
            .retrieval_token(token)
            .trace_format(TraceFormatType::Xray)
    };
    assert_eq!(
        list().send().await.unwrap().retrieval_status(),
        Some(&RetrievalStatus::Scheduled)
    );
    aws.step(3);
    assert_eq!(
        list().send().await.unwrap().retrieval_status(),
        Some(&RetrievalStatus::Running)
    );
    aws.step(10);
    let mut got = BTreeSet::new();
    let mut next = None;
    loop {
        let page = list().set_next_token(next).send().await.unwrap();
        assert_eq!(page.retrieval_status(), Some(&RetrievalStatus::Complete));
        assert!(page.traces().len() <= 5);
        got.extend(page.traces().iter().map(|trace| trace.id().unwrap().to_owned()));
        next = page.next_token().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    assert_eq!(got, ids.into_iter().collect());
    aws.client
        .cancel_trace_retrieval()
        .retrieval_token(token)
        .send()
        .await
        .unwrap();
    assert_eq!(
        list().send().await.unwrap().retrieval_status(),
        Some(&RetrievalStatus::Cancelled)
    );
}

#[tokio::test]
async fn sampling_and_the_service_graph_tell_what_was_counted() {
    let aws = Aws::start(scenario(), "simulated").await;
    let start = aws.start_s();
    aws.step(900);
    let rules = aws.client.get_sampling_rules().send().await.unwrap();
    assert_eq!(rules.sampling_rule_records().len(), 1);
    let document = SamplingStatisticsDocument::builder()
        .rule_name("Default")
        .client_id("0123456789abcdef01234567")
        .timestamp(DateTime::from_secs(start))
        .request_count(100)
        .sampled_count(7)
        .build()
        .unwrap();
    let targets = aws
        .client
        .get_sampling_targets()
        .sampling_statistics_documents(document)
        .send()
        .await
        .unwrap();
    assert_eq!(targets.sampling_target_documents()[0].fixed_rate(), 0.05);
    let counted = aws.client.get_sampling_statistic_summaries().send().await.unwrap();
    assert_eq!(counted.sampling_statistic_summaries()[0].request_count(), 100);
    let graph = aws
        .client
        .get_service_graph()
        .start_time(DateTime::from_secs(start))
        .end_time(DateTime::from_secs(start + 600))
        .send()
        .await
        .unwrap();
    let root = graph
        .services()
        .iter()
        .find(|service| service.name() == Some("recommender"))
        .unwrap();
    let truth = aws.simulator.true_spans(start as f64, start as f64 + 600.0);
    let total = root.summary_statistics().unwrap().total_count().unwrap();
    assert_eq!(total as usize, truth.len());
    assert!(root.edges().len() >= 2);
    let faults = root.summary_statistics().unwrap().fault_statistics().unwrap();
    // The first table refuses writes from minute 2 on.
    assert!(faults.total_count().unwrap() > 10, "{faults:?}");
}
