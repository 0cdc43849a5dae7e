//! Crashes, restarts, outages and clocks that are wrong: what came out is what was true, whatever happened in between.
//!
//! The state is in memory and outlives the receiver: a crash is a receiver that is dropped in the middle of something.
//! `RADIOSONDE_TRUTH_MINUTES=1440` makes `a_day_with_everything_going_wrong` a whole day.

use std::collections::BTreeSet;

use super::*;
use crate::component::{Clock, Commons};

impl Bench {
    /// What a new process does: same configuration, same state, nothing else.
    async fn restart(&mut self) {
        self.context.commons = Commons::default();
        let outlet = Outlet::to(Arc::clone(&self.sink) as Arc<dyn Stage>);
        let shard = open(&self.simulator, &self.config, &self.context, outlet).await;
        self.shard = shard.unwrap();
    }

    /// One round that ends in a crash: when the pipeline has taken a batch, before the cursors are kept. Gives what
    /// was taken.
    async fn crash_after_taking(&mut self) -> BTreeSet<Key> {
        self.sink.taken.lock().unwrap().clear();
        *self.sink.hanging.lock().unwrap() = true;
        let quit = CancellationToken::new();
        {
            let sink = Arc::clone(&self.sink);
            let taken = async move {
                while sink.taken.lock().unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            let round = driven(self.simulator.clock(), self.shard.round(&quit));
            tokio::select! {
                biased;
                _ = round => panic!("the pipeline does not answer"),
                () = taken => {}
            }
        }
        *self.sink.hanging.lock().unwrap() = false;
        self.restart().await;
        std::mem::take(&mut *self.sink.taken.lock().unwrap())
    }

    /// One round that ends in a crash while AWS is being asked.
    async fn crash_while_asking(&mut self) {
        let calls = self.simulator.bill().of("GetMetricData").requests;
        let quit = CancellationToken::new();
        {
            let simulator = Arc::clone(&self.simulator);
            let asked = async move {
                while simulator.bill().of("GetMetricData").requests == calls {
                    tokio::task::yield_now().await;
                }
            };
            let round = driven(self.simulator.clock(), self.shard.round(&quit));
            tokio::select! {
                biased;
                () = asked => {}
                _ = round => {}
            }
        }
        self.restart().await;
    }

    /// Time passes and nobody reads.
    fn sleep_to(&self, minute: i64) {
        let at = UnixNanos::from_seconds((self.start + 60 * minute) as u64);
        self.simulator.clock().advance_to(at);
    }
}

impl Comparison {
    /// A crash repeats what was taken and not kept, with the same values.
    fn forgive(mut self, repeated: &BTreeSet<Key>) -> Self {
        self.doubled.retain(|key| !repeated.contains(key));
        self
    }
}

fn late() -> Scenario {
    let mut scenario = Scenario::quiet();
    scenario.lag = lag();
    scenario
}

#[tokio::test]
async fn a_crash_repeats_at_most_one_cycle_and_loses_nothing() {
    let mut bench = Bench::start(late(), "settle: strict").await;
    bench.run_to(25).await;
    let mut repeated = bench.crash_after_taking().await;
    assert!(repeated.len() < 300, "{}", repeated.len());
    bench.run_to(33).await;
    bench.crash_while_asking().await;
    bench.run_to(40).await;
    bench.restart().await;
    bench.run_to(41).await;
    repeated.extend(bench.crash_after_taking().await);
    bench.run_to(75).await;
    let comparison = bench.compare(-10, 60);
    assert!(comparison.doubled.len() <= repeated.len());
    comparison.forgive(&repeated).assert_exact();
    assert_eq!(bench.count("cloudwatch_points_total", Some("revised")), 0);
}

#[tokio::test]
async fn a_gap_of_hours_is_asked_back_in_the_normal_window() {
    let mut bench = Bench::start(late(), "settle: strict").await;
    bench.run_to(20).await;
    let before = bench.simulator.bill().of("GetMetricData").units;
    bench.sleep_to(185);
    bench.round().await;
    let cost = bench.simulator.bill().of("GetMetricData").units - before;
    let series = bench.gauge("cloudwatch_series") as u64;
    assert_eq!(cost, series);
    bench.run_to(205).await;
    bench.compare(-10, 190).assert_exact();
    assert_eq!(bench.count("cloudwatch_backfill_skipped_minutes_total", None), 0);
}

#[tokio::test]
async fn a_day_without_the_agent_is_asked_back_at_one_unit_a_series() {
    for order in ["live_first", "in_order"] {
        let extra =
            format!("settle: strict\nbackfill: {{order: {order}}}\nmetrics: {{include: [Consumed*, \"*Throttle*\"]}}");
        let mut bench = Bench::start(late(), &extra).await;
        bench.run_to(20).await;
        let series = bench.gauge("cloudwatch_series") as u64;
        bench.sleep_to(20 + 1_380);
        bench.restart().await;
        let before = bench.simulator.bill().of("GetMetricData").units;
        bench.round().await;
        let cost = bench.simulator.bill().of("GetMetricData").units - before;
        // One for the gap, and one for the window of now.
        let rounds = if order == "in_order" { 1 } else { 2 };
        assert_eq!(cost, rounds * series, "{order}");
        assert_eq!(bench.gauge("cloudwatch_backfill_remaining_minutes"), 0.0);
        bench.run_to(1_425).await;
        bench
            .compare_of(-10, 1_410, |metric| {
                metric.starts_with("Consumed") || metric.contains("Throttle")
            })
            .assert_exact();
        assert_eq!(bench.count("cloudwatch_backfill_skipped_minutes_total", None), 0);
    }
}

#[tokio::test]
async fn what_is_older_than_the_longest_backfill_is_counted_and_given_up() {
    let extra = "settle: strict\nbackfill: {max: 4h}\nmetrics: {include: [ConsumedReadCapacityUnits]}";
    let mut bench = Bench::start(late(), extra).await;
    bench.run_to(20).await;
    bench.sleep_to(620);
    bench.restart().await;
    bench.run_to(650).await;
    let skipped = bench.count("cloudwatch_backfill_skipped_minutes_total", None);
    let series = bench.gauge("cloudwatch_series") as u64;
    // Ten hours less the four, and the ten minutes that were not settled.
    assert!((360 * series..=375 * series).contains(&skipped), "{skipped} {series}");
    let comparison = bench.compare_of(381, 630, |metric| metric == "ConsumedReadCapacityUnits");
    assert_eq!(
        (&comparison.missing, &comparison.wrong, &comparison.doubled),
        (&vec![], &vec![], &vec![])
    );
}

#[tokio::test]
async fn with_reemit_everything_is_true_in_the_end_however_late() {
    // Up to 12 minutes, two later than what is taken for final.
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag {
        median_s: 200.0,
        p99_s: 700.0,
        ..Lag::default()
    };
    let mut bench = Bench::start(scenario, "revisions: reemit\nzero_fill: all").await;
    bench.run_to(45).await;
    bench.restart().await;
    bench.run_to(80).await;
    let comparison = bench.compare_last(-10, 55);
    comparison.assert_exact();
    assert!(bench.count("cloudwatch_points_total", Some("revised")) > 10);
}

#[tokio::test]
async fn two_receivers_of_one_account_each_get_every_point_and_share_its_rate() {
    let mut one = Bench::start(late(), "settle: strict").await;
    let url = one.served.url();
    let config = config_with(&url, "settle: strict\nzero_fill: none\noutput: typed");
    let mut context = one.context.clone();
    context.id = crate::component::ComponentId::new("dynamodb/other");
    let sink = Arc::new(Sink::default());
    let outlet = Outlet::to(Arc::clone(&sink) as Arc<dyn Stage>);
    let mut other = open(&one.simulator, &config, &context, outlet).await.unwrap();
    for minute in 1..30 {
        let quit = CancellationToken::new();
        driven(one.simulator.clock(), other.round(&quit)).await.unwrap();
        one.run_to(minute).await;
    }
    one.compare(-10, 15).assert_exact();
    one.sink = sink;
    let comparison = one.compare(-10, 15);
    assert_eq!((comparison.filled, comparison.doubled), (0, vec![]));
    assert_eq!((comparison.missing, comparison.wrong), (vec![], vec![]));
    let rates: Arc<crate::aws::rate::Rates> = one.context.commons.get();
    // Five for polling and discovery, one for points, one for tags, five for what derived signals ask.
    assert_eq!(rates.len(), 12, "one bucket an API, not one a receiver");
}

/// A machine whose clock is wrong.
struct Wrong {
    right: VirtualClock,
    ahead: i64,
}

impl Clock for Wrong {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(self.right.now().seconds().saturating_add_signed(self.ahead))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.right.sleep(duration)
    }
}

#[tokio::test]
async fn a_wrong_clock_of_the_machine_moves_no_point() {
    for ahead in [3_600, -900] {
        let simulator = Simulator::frozen(late());
        let wrong = Wrong {
            right: simulator.clock().clone(),
            ahead,
        };
        let mut context = context_with(simulator.clock());
        context.clock = Arc::new(wrong);
        let mut bench = Bench::of(simulator, context, "settle: strict").await;
        bench.run_to(32).await;
        bench.compare(-5, 18).assert_exact();
    }
}

#[tokio::test]
async fn sums_that_grow_grow_over_a_restart_to_the_sum_of_all_that_was_true() {
    let extra = "settle: strict\ntemporality: cumulative\nmetrics: {include: [ConsumedReadCapacityUnits]}";
    let mut bench = Bench::start(late(), extra).await;
    bench.run_to(25).await;
    bench.restart().await;
    bench.run_to(50).await;
    let world = bench.simulator.world();
    let points = bench.sink.of("amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits");
    let series = world
        .series()
        .iter()
        .find(|series| series.metric == "ConsumedReadCapacityUnits" && series.dimensions.len() == 1);
    let series = series.unwrap();
    // The sink keeps points by their start, which is one for all of them.
    let own = points
        .iter()
        .find(|((_, _, dimensions, _), _)| *dimensions == series.dimensions);
    let ((.., start), values) = own.unwrap();
    let mut sum = 0.0;
    for (position, (got, _)) in values.iter().enumerate() {
        sum += world
            .final_samples(series, start + 60 * position as i64)
            .get(Statistic::Sum)
            .unwrap();
        assert!((got - sum).abs() < 1e-6 * sum, "{position}: {got} {sum}");
    }
    assert!(values.len() > 40, "{}", values.len());
}

#[tokio::test]
async fn a_day_with_everything_going_wrong() {
    let whole = std::env::var("RADIOSONDE_TRUTH_MINUTES").ok();
    let minutes: i64 = whole.and_then(|text| text.parse().ok()).unwrap_or(120).max(120);
    let mut bench = Bench::start(late(), "settle: strict\nzero_fill: all").await;
    let gmd = |from, to, kind| Fault::of("GetMetricData", from, to, kind);
    let (third, half) = (minutes / 3, minutes / 2);
    bench.simulator.set_faults(vec![
        gmd(5, third, FaultKind::Throttle).every(7),
        gmd(10, 14, FaultKind::Page { points: 97 }),
        gmd(third, third + 5, FaultKind::Reset).every(2),
        gmd(third + 5, third + 8, FaultKind::Malformed).every(3),
        gmd(half + 5, half + 9, FaultKind::TokenTtl { seconds: 0.0 }),
        gmd(half + 5, half + 9, FaultKind::Page { points: 500 }),
        gmd(half + 12, minutes, FaultKind::Cap { per_second: 1 }),
    ]);
    bench.run_to(third + 10).await;
    let mut repeated = bench.crash_after_taking().await;
    bench.run_to(half).await;
    // Three hours without AWS in a whole day.
    let outage = (minutes / 8).min(180);
    bench.sleep_to(half + outage);
    bench.run_to(minutes - 20).await;
    repeated.extend(bench.crash_after_taking().await);
    bench.run_to(minutes).await;
    bench.compare(-10, minutes - 15).forgive(&repeated).assert_exact();
    assert_eq!(bench.count("cloudwatch_points_total", Some("late")), 0);
}
