//! Every span once: late ones, open ones, after kills at any moment.

use super::*;

#[tokio::test]
async fn every_span_of_two_hours_comes_once_late_ones_too() {
    let bench = Bench::new(scenario(), "").await;
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(truth.len() > 900, "{}", truth.len());
    assert!(got == truth, "{}", difference(&got, &truth));
    assert!(bench.metric("xray_receiver_late_segments") > 20.0);
    assert!(bench.metric("xray_receiver_inferred_dropped") > 100.0);
    assert_eq!(bench.metric("xray_receiver_reemitted"), 0.0);
    let open = bench
        .sink
        .spans
        .lock()
        .unwrap()
        .values()
        .filter(|(_, span)| is_open(span))
        .count();
    assert_eq!(open, 0, "what was in progress was complete in time");
    let bill = bench.simulator.bill();
    assert_eq!(
        bill.of("GetTraceSummaries").units as f64,
        bench.metric("xray_receiver_traces_scanned")
    );
    assert_eq!(
        bill.of("BatchGetTraces").units as f64,
        bench.metric("xray_receiver_traces_fetched")
    );
    // Each trace is scanned and retrieved once for every window in which something of it arrived.
    assert_eq!(bill.of("GetTraceSummaries").units, bill.of("BatchGetTraces").units);
}

fn is_open(span: &Span) -> bool {
    span.attributes
        .iter()
        .any(|attribute| attribute.key == "aws.xray.inprogress")
}

#[tokio::test]
async fn a_segment_that_never_ends_is_given_after_the_timeout_and_once() {
    let bench = Bench::new(Scenario::quiet(), "").await;
    let mut shard = bench.open().await;
    let start = bench.simulator.world().scenario.start;
    let document = format!(
        r#"{{"trace_id":"1-5759e988-bd862e3fe1be46a994272793","id":"53995c3f42cd8ad8","name":"stuck","start_time":{start}.5,"in_progress":true,
        "subsegments":[{{"id":"53995c3f42cd8ad9","name":"done","start_time":{start}.5,"end_time":{start}.75}}]}}"#
    );
    put(&bench, &document).await;
    bench.rounds(&mut shard, 3, 60).await;
    let complete = bench.sink.counts();
    assert_eq!(
        complete.keys().map(|key| key.1.as_str()).collect::<Vec<_>>(),
        ["53995c3f42cd8ad9"]
    );
    assert_eq!(bench.metric("xray_receiver_partial_held"), 1.0);
    drop(shard);
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 6, 60).await;
    let got = bench.sink.counts();
    assert_eq!(got.values().copied().collect::<Vec<_>>(), [1, 1]);
    let spans = bench.sink.spans.lock().unwrap();
    assert!(spans.values().any(|(_, span)| span.name == "stuck" && is_open(span)));
    assert_eq!(bench.metric("xray_receiver_partial_held"), 0.0);
}

/// Sends a document as an application would, signed.
async fn put(bench: &Bench, document: &str) {
    let keys = aws_credential_types::Credentials::new("AKIASIM0111122223333", "simulated", None, None, "test");
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-central-1"))
        .endpoint_url(bench.served.url())
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(keys))
        .build();
    let client = aws_sdk_xray::Client::new(&config);
    let answer = client
        .put_trace_segments()
        .trace_segment_documents(document)
        .send()
        .await
        .unwrap();
    assert!(answer.unprocessed_trace_segments().is_empty());
}

/// Ends a future after so many polls, as a kill would: wherever it is.
async fn killed_after<T>(polls: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn kills_at_any_step_lose_nothing_and_send_again_at_most_a_window() {
    let bench = Bench::new(scenario(), "").await;
    let (mut kills, mut seed) = (0u32, 7u32);
    for _ in 0..45 {
        bench.clock.step(Duration::from_secs(60));
        // Killed once or twice in every round, at another poll each time, then it gets through.
        for _ in 0..2 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut shard = bench.open().await;
            if killed_after(1 + (seed >> 16) % 9, bench.round(&mut shard))
                .await
                .is_none()
            {
                kills += 1;
            }
            drop(shard);
        }
        let mut shard = bench.open().await;
        bench.round(&mut shard).await.unwrap();
    }
    assert!(kills > 20, "{kills}");
    let (got, truth) = (bench.sink.counts(), bench.truth());
    let once: BTreeMap<Key, u32> = got.keys().map(|key| (key.clone(), 1)).collect();
    assert!(once == truth, "{}", difference(&once, &truth));
    assert_eq!(bench.metric("xray_receiver_reemitted"), 0.0);
    let most = got.values().max().copied().unwrap_or_default();
    assert!(
        most <= 3,
        "a span was sent {most} times although each window was killed twice at most"
    );
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_window_does_not_send_again_what_was_taken() {
    let bench = Bench::new(scenario(), "").await;
    let mut shard = bench.open().await;
    bench.clock.step(Duration::from_secs(1200));
    // Refused half way: what was taken before is remembered although the cursor stays.
    bench.plan(vec![Fault::of("BatchGetTraces", 0, 1_000, FaultKind::Denied).every(4)]);
    let mut failures = 0;
    for _ in 0..60 {
        failures += i32::from(bench.round(&mut shard).await.is_err());
    }
    bench.plan(Vec::new());
    assert!(failures > 0);
    bench.rounds(&mut shard, 30, 60).await;
    let (got, truth) = (bench.sink.counts(), bench.truth());
    assert!(got == truth, "{}", difference(&got, &truth));
}

#[tokio::test]
async fn the_sweep_finds_what_the_windows_have_missed_and_fetches_nothing_else() {
    let mut scenario = scenario();
    // Shows only after its window has been read.
    scenario.xray.indexing_delay_s = 240.0;
    let bench = Bench::new(scenario, "sweep: {every: 1h, window: 2h}").await;
    let mut shard = bench.open().await;
    bench.rounds(&mut shard, 45, 60).await;
    let truth = bench.truth();
    assert!(bench.sink.counts().len() < truth.len());
    bench.rounds(&mut shard, 1, 3600).await;
    let got = bench.sink.counts();
    assert!(got == truth, "{}", difference(&got, &truth));
    let swept = bench.metric("xray_receiver_swept");
    let fetched = bench.simulator.bill().of("BatchGetTraces").units;
    bench.rounds(&mut shard, 1, 3600).await;
    assert_eq!(bench.metric("xray_receiver_swept"), swept);
    assert_eq!(bench.simulator.bill().of("BatchGetTraces").units, fetched);
    assert!(size_of(bench.folder.path()) > 0);
}
