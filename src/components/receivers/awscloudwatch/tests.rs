//! The receiver against the simulated AWS, on its virtual clock: nothing here sleeps.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;

use super::*;
use crate::component::{ComponentState, Deadline, Outlet, Refused, SampleValue, Stage};
use crate::pdata::{Batch, Decoded};
use crate::simulator::{Fault, FaultKind, Lag, Scenario, Simulator, Statistic};

#[derive(Default)]
struct Sink(Mutex<Vec<Metric>>);

impl Stage for Sink {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let Decoded::Metrics(request) = batch.decode().unwrap() else {
            panic!("metrics only");
        };
        let metrics = request
            .resource_metrics
            .iter()
            .flat_map(|resource| &resource.scope_metrics);
        self.0
            .lock()
            .unwrap()
            .extend(metrics.flat_map(|scope| scope.metrics.clone()));
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Ran {
    simulator: Arc<Simulator>,
    context: BuildContext,
    metrics: Vec<Metric>,
}

/// Runs a receiver for so many minutes of the simulated time.
async fn run(text: &str, minutes: u64, faults: Vec<Fault>) -> Ran {
    let mut scenario = Scenario::named("gpu_saturation").unwrap();
    scenario.lag = Lag::NONE;
    let simulator = Simulator::frozen(scenario);
    simulator.set_faults(faults);
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let text = format!(
        "region: eu-central-1\nendpoint: {}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n{text}\n",
        served.url()
    );
    let section = Section::from_yaml(&text);
    let Some(Plan::Receiver(plan)) = AwsCloudWatchFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert_eq!(section.problems(), Vec::<String>::new());
    let context = BuildContext {
        clock: Arc::new(simulator.clock().clone()),
        ..BuildContext::standalone(ComponentKind::Receiver, "awscloudwatch")
    };
    let sink = Arc::new(Sink::default());
    let mut outlets = Outlets::default();
    outlets.set(Signal::Metrics, Outlet::to(Arc::clone(&sink) as Arc<dyn Stage>));
    let running = plan.start(context.clone(), outlets).await.unwrap();
    let end = simulator.now_s() + 60.0 * minutes as f64;
    let passing = async {
        while simulator.now_s() < end {
            let wake = simulator.clock().next_wake().await;
            simulator.clock().advance_to(wake);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), passing).await.unwrap();
    running.stop(Deadline::after(Duration::from_secs(10))).await;
    let metrics = sink.0.lock().unwrap().clone();
    Ran {
        simulator,
        context,
        metrics,
    }
}

impl Ran {
    fn truth(&self, metric: &str, statistic: &str, at: i64) -> f64 {
        let world = self.simulator.world();
        let series = world
            .series()
            .iter()
            .find(|series| series.metric == metric && series.dimensions.len() == 2);
        let mut samples = crate::simulator::Samples::default();
        for minute in 0..5 {
            samples.merge(world.final_samples(series.unwrap(), at + 60 * minute));
        }
        samples.get(Statistic::parse(statistic).unwrap()).unwrap()
    }
}

const NAMES: &str = "dimensions: {EndpointName: recommender, VariantName: AllTraffic}";

#[tokio::test]
async fn a_query_without_statistics_gives_summaries_and_one_with_gives_gauges() {
    let text = format!("metrics: {{queries: [{{namespace: AWS/SageMaker, metric_name: ModelLatency, {NAMES}}}]}}");
    let ran = run(&text, 40, Vec::new()).await;
    let mut starts = BTreeSet::new();
    for metric in ran
        .metrics
        .iter()
        .filter(|metric| metric.name == "amazonaws.com/AWS/SageMaker/ModelLatency")
    {
        assert_eq!(metric.unit, "us");
        let Some(Data::Summary(summary)) = &metric.data else {
            panic!("{metric:?}")
        };
        for point in &summary.data_points {
            let at = (point.start_time_unix_nano / 1_000_000_000) as i64;
            assert_eq!(point.time_unix_nano - point.start_time_unix_nano, 300_000_000_000);
            assert!(starts.insert(at), "none comes twice");
            assert_eq!(point.count as f64, ran.truth("ModelLatency", "SampleCount", at));
            assert!((point.sum - ran.truth("ModelLatency", "Sum", at)).abs() < 1.0);
        }
    }
    assert!(starts.len() >= 6, "{starts:?}");
    let query = format!("{{namespace: AWS/SageMaker, metric_name: ModelLatency, {NAMES}, stats: [Average, p99]}}");
    let ran = run(&format!("metrics: {{queries: [{query}]}}"), 40, Vec::new()).await;
    let metrics = ran
        .metrics
        .iter()
        .filter(|metric| metric.name == "amazonaws.com/AWS/SageMaker/ModelLatency");
    let mut stats = BTreeSet::new();
    for metric in metrics {
        let Some(Data::Gauge(gauge)) = &metric.data else {
            panic!("{metric:?}")
        };
        for point in &gauge.data_points {
            let stat = point.attributes.iter().find(|entry| entry.key == "stat").unwrap();
            let stat = format!("{:?}", stat.value);
            let name = if stat.contains("p99") { "p99" } else { "Average" };
            let at = (point.start_time_unix_nano / 1_000_000_000) as i64;
            let Some(Number::AsDouble(value)) = point.value else {
                panic!()
            };
            assert!((value - ran.truth("ModelLatency", name, at)).abs() < 1e-6);
            stats.insert(name);
        }
    }
    assert_eq!(Vec::from_iter(stats), ["Average", "p99"]);
}

#[tokio::test]
async fn discovery_finds_metrics_up_to_its_limit_and_says_when_there_are_more() {
    let text = "metrics: {discovery: {filters: {namespace: AWS/SageMaker}}}";
    let ran = run(text, 40, Vec::new()).await;
    let names: BTreeSet<&str> = ran.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert!(names.contains("amazonaws.com/AWS/SageMaker/Invocations"), "{names:?}");
    assert!(
        names.iter().all(|name| !name.contains("/aws/sagemaker/Endpoints")),
        "{names:?}"
    );
    let text = "metrics: {discovery: {filters: {namespace: AWS/SageMaker, metric_name: Invocations}}}";
    let ran = run(text, 40, Vec::new()).await;
    let found = |name: &str| {
        ran.metrics
            .iter()
            .any(|metric| metric.name == format!("amazonaws.com/AWS/SageMaker/{name}"))
    };
    assert!(found("Invocations") && !found("ModelLatency"));
    let ran = run("metrics: {discovery: {limit: 2}}", 40, Vec::new()).await;
    let own = ran
        .metrics
        .iter()
        .filter(|metric| metric.name.starts_with("amazonaws.com/"));
    let names: BTreeSet<&str> = own.map(|metric| metric.name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let samples = ran.context.instruments.registry().gather();
    let limited = samples
        .iter()
        .find(|sample| sample.name == "cloudwatch_discovery_limited_total")
        .unwrap();
    assert!(matches!(limited.value, SampleValue::Counter(times) if times > 0));
}

#[tokio::test]
async fn a_batch_that_fails_costs_only_itself_and_the_missing_permission_is_named() {
    let denied = Fault::of("ListMetrics", -100, 1_000, FaultKind::Denied);
    let ran = run("metrics: {discovery: {}}", 10, vec![denied]).await;
    let ComponentState::Degraded(why) = ran.context.status.components()[0].2.clone() else {
        panic!("not degraded");
    };
    assert!(why.contains("not allowed to call cloudwatch:ListMetrics"), "{why}");
}

#[tokio::test]
async fn the_plan_says_what_queries_cost_without_asking_them() {
    let simulator = Simulator::frozen(Scenario::named("gpu_saturation").unwrap());
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let query = format!("{{namespace: AWS/SageMaker, metric_name: ModelLatency, {NAMES}, stats: [Average, p99]}}");
    let text = format!(
        "region: eu-central-1\nendpoint: {}\n\
         credentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}\n\
         metrics: {{queries: [{query}]}}\n",
        served.url()
    );
    let blueprint = blueprint(&Section::from_yaml(&text)).unwrap();
    let context = BuildContext::standalone(ComponentKind::Receiver, "awscloudwatch");
    let plan = engine::forecast(blueprint.as_ref(), &context, &mut Default::default())
        .await
        .unwrap();
    // One series every five minutes.
    let usd = engine::usd_per_month(&[plan[0].likely[0]], 0);
    assert!((usd - 0.0864).abs() < 1e-6, "{usd}");
    assert_eq!(simulator.bill().usd(), 0.0);
}
