//! Two receivers in one agent that want the same series: asked once, paid once, and each has every point once.

use super::*;

impl Bench {
    /// Another receiver in the same agent, on the same endpoint.
    async fn beside(&self, id: &str, extra: &str) -> Bench {
        let simulator = Arc::clone(&self.simulator);
        let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let context = BuildContext {
            commons: self.context.commons.clone(),
            ..BuildContext {
                clock: Arc::new(simulator.clock().clone()),
                ..BuildContext::standalone(ComponentKind::Receiver, id)
            }
        };
        let config = config_with(&self.served.url(), extra);
        let sink = Arc::new(Sink::default());
        let outlet = Outlet::to(Arc::clone(&sink) as Arc<dyn Stage>);
        let shard = open(&simulator, &config, &context, outlet).await.unwrap();
        let start = self.start;
        Bench {
            simulator,
            served,
            config,
            context,
            sink,
            shard,
            start,
        }
    }
}

fn world() -> Scenario {
    let mut scenario = Scenario::demo();
    scenario.lag = lag();
    scenario
}

const STRICT: &str = "settle: strict\npolling: {mode: uniform, source: gmd}";

/// Rounds of both, one after the other, up to this minute.
async fn run_both(one: &mut Bench, other: &mut Bench, minute: i64) {
    loop {
        let now = one.simulator.clock().now().seconds() as i64;
        if now >= one.start + 60 * minute {
            return;
        }
        one.round().await;
        other.round().await;
        let next = now - now.rem_euclid(60) + 60;
        one.simulator.clock().advance_to(UnixNanos::from_seconds(next as u64));
    }
}

#[tokio::test]
async fn two_receivers_share_one_question_and_each_has_every_point_once() {
    let mut alone = Bench::start(world(), STRICT).await;
    alone.run_to(40).await;
    let units = alone.simulator.bill().of("GetMetricData").units;

    let mut one = Bench::start(world(), STRICT).await;
    // Other statistics of the latency, and a longer memory.
    let extra = format!("{STRICT}\npercentiles: [p90]\nmin_max: true\nmax_late: 12m");
    let mut other = one.beside("dynamodb/other", &extra).await;
    run_both(&mut one, &mut other, 40).await;
    let bill = one.simulator.bill().of("GetMetricData").units;
    let world = one.simulator.world();
    let latencies = world.series().iter();
    let latencies = latencies.filter(|series| series.metric == "SuccessfulRequestLatency");
    let latencies = latencies.count() as u64;
    // Sum, SampleCount, three percentiles, Minimum and Maximum are a second unit; the first rounds are each one's own.
    assert!(bill <= units + 44 * latencies + 300, "{bill} for two, {units} for one");
    let counted = |bench: &Bench| bench.count("cloudwatch_billed_metrics_total", Some("gmd"));
    assert_eq!(counted(&one) + counted(&other), bill, "each counts what it asked");
    one.compare(-10, 25).assert_exact();
    let theirs = |metric: &str| metric != "SuccessfulRequestLatency";
    other.compare_of(-12, 22, theirs).assert_exact();
    let ranges = other.sink.ranges.lock().unwrap();
    let range = ranges["amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency"];
    assert!(range.0.is_some() && range.1 >= range.0, "{range:?}");
    assert!(
        other
            .sink
            .of("amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p50")
            .is_empty()
    );
    assert!(
        !other
            .sink
            .of("amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p90")
            .is_empty()
    );
}

#[tokio::test]
async fn a_receiver_goes_on_when_the_one_that_asked_for_it_is_gone_or_refused() {
    let mut one = Bench::start(world(), STRICT).await;
    let mut other = one.beside("dynamodb/other", STRICT).await;
    run_both(&mut one, &mut other, 15).await;
    // A pipeline that refuses stops the questions of its receiver, not those of the other.
    *one.sink.refusing.lock().unwrap() = Some(Refused::retryable("full"));
    run_both(&mut one, &mut other, 25).await;
    *one.sink.refusing.lock().unwrap() = None;
    run_both(&mut one, &mut other, 45).await;
    one.compare(-10, 30).assert_exact();
    drop(one.shard);
    other.run_to(60).await;
    other.compare(-10, 45).assert_exact();
}

#[tokio::test]
async fn what_another_receiver_asked_for_goes_out_without_waiting_for_the_next_round() {
    let simulator = Simulator::frozen(world());
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let sinks = [Arc::new(Sink::default()), Arc::new(Sink::default())];
    let first = context_with(simulator.clock());
    let mut running = Vec::new();
    for (sink, id) in sinks.iter().zip(["dynamodb", "dynamodb/other"]) {
        let context = BuildContext {
            commons: first.commons.clone(),
            clock: Arc::new(simulator.clock().clone()),
            ..BuildContext::standalone(ComponentKind::Receiver, id)
        };
        let plan = DynamoDbPlan {
            config: config_with(&served.url(), ""),
        };
        let mut outlets = Outlets::default();
        outlets.set(Signal::Metrics, Outlet::to(Arc::clone(sink) as Arc<dyn Stage>));
        running.push(plan.start(context, outlets).await.unwrap());
    }
    let start = simulator.world().scenario.start;
    pass_until(&simulator, || simulator.clock().now().seconds() >= start + 1_800).await;
    let bill = simulator.bill().of("GetMetricData").units;
    let baseline = (simulator.baseline().usd / 1e-5) as u64;
    assert!(bill <= baseline + baseline / 5, "{bill} of {baseline}");
    let metric = "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits";
    let (one, other) = (sinks[0].of(metric), sinks[1].of(metric));
    assert!(one.len() > 100, "{}", one.len());
    assert!(
        one.len().abs_diff(other.len()) < 10,
        "{} and {}",
        one.len(),
        other.len()
    );
    for receiver in running {
        receiver.stop(Deadline::after(Duration::from_secs(10))).await;
    }
}
