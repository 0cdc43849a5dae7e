//! What polling costs: counted as AWS counts it, held within a budget, foretold by the plan.

use super::*;
use crate::aws::cloudwatch::bill::MONTH_HOURS;
use crate::aws::cloudwatch::engine::{forecast, usd_per_month};
use crate::component::Commons;
use crate::simulator::Fleet;

/// 2026-01-31T21:00:00Z: three hours before a month ends.
const LAST_HOURS: u64 = 1_769_893_200;

impl Bench {
    fn assert_the_bill_is_counted_to_the_unit(&self) {
        let bill = self.simulator.bill();
        let counted = |source| self.count("cloudwatch_billed_metrics_total", Some(source));
        assert_eq!(counted("gmd"), bill.of("GetMetricData").units);
        assert_eq!(counted("gms"), bill.of("GetMetricStatistics").requests);
    }
}

#[tokio::test]
async fn adaptive_polling_loses_nothing_and_counts_its_bill_to_the_unit() {
    let mut scenario = Scenario::busy();
    scenario.lag = lag();
    let mut bench = Bench::start(scenario, "settle: strict\npolling: {mode: adaptive}").await;
    // Silent series are asked once an hour, and settle with the second answer.
    bench.run_to(145).await;
    bench.compare(-10, 15).assert_exact();
    bench.assert_the_bill_is_counted_to_the_unit();
    let bill = bench.simulator.bill();
    assert!(bill.of("GetMetricStatistics").requests > 500, "what is free is used");
    assert!(bench.count("cloudwatch_points_total", Some("emitted")) > 1_000);
    let (usd, baseline) = (bill.usd(), bench.simulator.baseline().usd);
    assert!(usd < 0.8 * baseline, "${usd} of ${baseline}");
}

#[tokio::test]
async fn everything_without_percentiles_can_go_over_get_metric_statistics() {
    let mut scenario = Scenario::demo();
    scenario.lag = lag();
    let mut bench = Bench::start(scenario, "settle: strict\npolling: {mode: uniform, source: gms}").await;
    let malformed = Fault::of("GetMetricStatistics", 12, 14, FaultKind::Malformed).every(7);
    let throttle = Fault::of("GetMetricStatistics", 20, 25, FaultKind::Throttle).every(5);
    bench.simulator.set_faults(vec![malformed, throttle]);
    bench.run_to(45).await;
    bench.compare(-10, 28).assert_exact();
    bench.assert_the_bill_is_counted_to_the_unit();
    let bill = bench.simulator.bill();
    let (free, paid) = (bill.of("GetMetricStatistics").requests, bill.of("GetMetricData").units);
    assert!(free > 5 * paid, "{free} free, {paid} paid: latency has percentiles");
}

#[tokio::test]
async fn a_budget_demotes_what_is_least_missed_and_a_hard_one_ends_the_polling_for_the_month() {
    let mut scenario = Scenario::quiet().starting_at(LAST_HOURS);
    scenario.lag = Lag::NONE;
    let extra = "polling: {mode: tiered, source: gmd}\nbudget: {usd_per_month: 0.002, hard: true}";
    let mut bench = Bench::start(scenario, extra).await;
    bench.run_to(90).await;
    bench.assert_the_bill_is_counted_to_the_unit();
    assert_eq!(bench.gauge("cloudwatch_cost_budget_usd"), 0.002);
    let spent = bench.gauge("cloudwatch_cost_usd");
    assert!((0.002..0.004).contains(&spent), "{spent}");
    assert_eq!(bench.gauge("cloudwatch_budget_exhausted"), 1.0);
    let billed = bench.simulator.bill().of("GetMetricData");
    bench.run_to(110).await;
    assert_eq!(
        bench.simulator.bill().of("GetMetricData"),
        billed,
        "nothing billed any more"
    );
    let up = bench.sink.of("aws.cloudwatch.poll.up");
    assert_eq!(
        up.last().map(|(_, values)| values[0].0),
        Some(0.0),
        "blind, and says so"
    );
    // The new month begins with nothing spent.
    bench.run_to(185).await;
    assert_eq!(bench.gauge("cloudwatch_budget_exhausted"), 0.0);
    assert!(bench.simulator.bill().of("GetMetricData").units > billed.units);
}

#[tokio::test]
async fn what_was_spent_is_known_after_a_restart() {
    let mut scenario = Scenario::quiet();
    scenario.lag = Lag::NONE;
    let mut bench = Bench::start(scenario, "polling: {source: gmd}").await;
    bench.run_to(10).await;
    let spent = bench.gauge("cloudwatch_cost_usd");
    assert!(spent > 0.0);
    // Another process: nothing in common but the state.
    let context = BuildContext {
        commons: Commons::default(),
        state: Arc::clone(&bench.context.state),
        ..context_with(bench.simulator.clock())
    };
    let config = config_with(&bench.served.url(), "polling: {source: gmd}");
    let outlet = Outlet::to(Arc::clone(&bench.sink) as Arc<dyn Stage>);
    bench.shard = open(&bench.simulator, &config, &context, outlet).await.unwrap();
    bench.context = context;
    bench.round().await;
    let again = bench.gauge("cloudwatch_cost_usd");
    assert!(again >= spent, "{again} after {spent}");
}

#[tokio::test]
async fn the_plan_costs_nothing_and_says_what_the_bill_will_be() {
    let fleet = Fleet {
        tables: 4,
        hot: 0.5,
        days: 0,
        ..Fleet::default()
    };
    let mut bench = Bench::start(fleet.scenario(), "polling: {source: gmd}").await;
    bench.simulator.clock().step(Duration::from_secs(1_200));
    let config = config_with(&bench.served.url(), "polling: {source: gmd}");
    let tables = Tables { config };
    let context = context_with(bench.simulator.clock());
    let mut taken = Default::default();
    let looking = forecast(&tables, &context, &mut taken);
    let plan = driven(bench.simulator.clock(), looking).await.unwrap();
    assert_eq!(bench.simulator.bill().usd(), 0.0, "only free calls");
    assert_eq!((plan.len(), plan[0].resources, plan[0].busy), (1, 4, 2));
    assert_eq!(plan[0].notes, Vec::<String>::new());
    let likely = usd_per_month(&[plan[0].likely[0]], 0);
    assert!(likely > usd_per_month(&[plan[0].least[0]], 0));
    assert!(likely < usd_per_month(&[plan[0].most[0]], 0));
    bench.run_to(30).await;
    let before = bench.simulator.bill().of("GetMetricData").units;
    bench.run_to(30 + 2 * 60).await;
    let billed = bench.simulator.bill().of("GetMetricData").units - before;
    let usd = billed as f64 * 1e-5 / 2.0 * MONTH_HOURS;
    assert!(
        (usd - likely).abs() < 0.15 * likely,
        "${usd} a month, the plan says ${likely}"
    );
}
