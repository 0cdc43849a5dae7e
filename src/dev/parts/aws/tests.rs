use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::*;
use crate::component::{ComponentId, ComponentKind, ComponentState, Instruments};
use crate::pdata::{Batch, Origin, Signal};

const T: u64 = 1_800_000_000_000_000_000;
const MINUTE: u64 = 60_000_000_000;

fn pairs(attributes: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue((*value).to_owned())),
        }),
        ..KeyValue::default()
    };
    attributes.iter().map(pair).collect()
}

fn resource() -> Option<Resource> {
    Some(Resource {
        attributes: pairs(&[("cloud.account.id", "111122223333"), ("cloud.region", "eu-central-1")]),
        ..Resource::default()
    })
}

/// A point: name, minutes after T, value, attributes.
type Told<'a> = (&'a str, u64, f64, &'a [(&'a str, &'a str)]);

fn tell(store: &Store, points: &[Told<'_>]) {
    let metrics = points.iter().map(|(name, minute, value, attributes)| Metric {
        name: (*name).to_owned(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                attributes: pairs(attributes),
                time_unix_nano: T + minute * MINUTE,
                value: Some(number_data_point::Value::AsDouble(*value)),
                ..NumberDataPoint::default()
            }],
        })),
        ..Metric::default()
    });
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    put(store, Signal::Metrics, &request, points.len());
}

fn put(store: &Store, signal: Signal, request: &impl Message, items: usize) {
    let bytes = request.encode_to_vec();
    let items = u32::try_from(items).unwrap();
    store.take(Batch::from_wire(
        signal,
        bytes.into(),
        items,
        Arc::new(Origin::default()),
    ));
}

fn none(_: &Subject) -> Vec<Value> {
    Vec::new()
}

#[test]
fn a_table_has_its_size_growth_throttles_pattern_and_hot_keys() {
    let store = Store::default();
    let (orders, index) = (("TableName", "orders"), ("GlobalSecondaryIndexName", "by-date"));
    tell(
        &store,
        &[
            (
                "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits",
                9,
                600.0,
                &[orders],
            ),
            ("amazonaws.com/AWS/DynamoDB/ReadThrottleEvents", 8, 3.0, &[orders]),
            ("amazonaws.com/AWS/DynamoDB/ReadThrottleEvents", 9, 4.0, &[orders]),
            (
                "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p99",
                9,
                12.5,
                &[orders, ("Operation", "GetItem")],
            ),
            (
                "aws.dynamodb.capacity.utilization",
                9,
                80.0,
                &[orders, ("Direction", "Read"), ("Basis", "provisioned")],
            ),
            ("aws.dynamodb.table_size", 0, 1_000.0, &[orders]),
            ("aws.dynamodb.table_size", 9, 1_500.0, &[orders]),
            ("aws.dynamodb.item_count", 9, 42.0, &[orders]),
            ("aws.dynamodb.item_count.growth_7d", 9, 12.0, &[orders]),
            (
                "aws.dynamodb.throttle.minutes",
                9,
                7.0,
                &[orders, ("Pattern", "sustained"), ("Cause", "hot_partition")],
            ),
            (
                "aws.dynamodb.throttle.minutes",
                9,
                0.0,
                &[orders, ("Pattern", "burst"), ("Cause", "unknown")],
            ),
            (
                "aws.dynamodb.hot_key.requests",
                9,
                5.0,
                &[orders, ("Rule", "PKT"), ("Rank", "2"), ("KeyHash", "bbbb")],
            ),
            (
                "aws.dynamodb.hot_key.requests",
                9,
                50.0,
                &[orders, ("Rule", "PKT"), ("Rank", "1"), ("KeyHash", "aaaa")],
            ),
            (
                "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits",
                9,
                60.0,
                &[orders, index],
            ),
        ],
    );
    let rows = tables::rows(&Newest::of(&store), none);
    assert_eq!(rows.len(), 2);
    let table = &rows[0];
    assert_eq!((&table["table"], &table["index"]), (&json!("orders"), &Value::Null));
    assert_eq!(table["region"], "eu-central-1");
    assert_eq!(table["consumed_read"], 10.0);
    assert_eq!(table["utilisation"], 0.8);
    assert_eq!(table["throttles"], 7.0);
    assert_eq!(
        (&table["pattern"], &table["cause"]),
        (&json!("sustained"), &json!("hot_partition"))
    );
    assert_eq!((&table["size"], &table["growth"]), (&json!(1_500.0), &json!(500.0)));
    assert_eq!(table["growth_over"], (9 * MINUTE).to_string());
    assert_eq!(
        (&table["items"], &table["growth_7d_percent"]),
        (&json!(42.0), &json!(12.0))
    );
    assert_eq!(table["latency"]["GetItem"]["p99"], 12.5);
    assert_eq!(table["hot_keys"][0]["key"], "aaaa");
    assert_eq!(table["hot_keys"][1]["key"], "bbbb");
    assert_eq!((&rows[1]["index"], &rows[1]["size"]), (&json!("by-date"), &Value::Null));
}

#[test]
fn alerts_stand_at_what_they_are_about() {
    let incident = |labels: Value, state: &str| json!({"fingerprint": "ab", "state": state, "labels": labels});
    let firing = Firing(vec![
        incident(json!({"alertname": "A", "TableName": "orders"}), "firing"),
        incident(json!({"alertname": "B", "TableName": "orders"}), "resolved"),
        incident(
            json!({"alertname": "C", "TableName": "orders", "GlobalSecondaryIndexName": "by-date"}),
            "firing",
        ),
        incident(json!({"alertname": "D", "TableName": "carts"}), "firing"),
    ]);
    let names = |part: &str, is_of_parts: bool| {
        let subject = Subject {
            name: "orders".to_owned(),
            part: part.to_owned(),
            ..Subject::default()
        };
        let found = firing.about(["TableName", "GlobalSecondaryIndexName"], is_of_parts, &subject);
        assert!(found.iter().all(|one| one["id"] == "rule-ab"));
        found
            .iter()
            .map(|one| one["title"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<String>>()
    };
    assert_eq!(names("", false), ["A"]);
    assert_eq!(names("by-date", false), ["C"]);
    assert_eq!(names("by-date", true), ["A", "C"]);
}

#[test]
fn endpoints_have_status_and_instances_jobs_their_reason_and_pipelines_the_step() {
    let store = Store::default();
    let (endpoint, variant) = (("EndpointName", "churn"), ("VariantName", "blue"));
    let job = [("JobType", "training"), ("JobName", "fit-7")];
    let failed = [job[0], job[1], ("Status", "Failed")];
    let running = [job[0], job[1], ("Status", "InProgress")];
    tell(
        &store,
        &[
            ("amazonaws.com/AWS/SageMaker/Invocations", 5, 90.0, &[endpoint, variant]),
            (
                "amazonaws.com//aws/sagemaker/Endpoints/CPUUtilization",
                5,
                140.0,
                &[endpoint, variant],
            ),
            (
                "aws.sagemaker.instances",
                5,
                2.0,
                &[endpoint, variant, ("State", "observed")],
            ),
            (
                "aws.sagemaker.instances",
                5,
                3.0,
                &[endpoint, variant, ("State", "desired")],
            ),
            (
                "aws.sagemaker.endpoint.status",
                1,
                1.0,
                &[endpoint, ("Status", "Updating")],
            ),
            (
                "aws.sagemaker.endpoint.status",
                5,
                1.0,
                &[endpoint, ("Status", "InService")],
            ),
            ("aws.sagemaker.job.status", 3, 1.0, &running),
            ("aws.sagemaker.job.status", 5, 1.0, &failed),
            ("aws.sagemaker.job.duration", 5, 240.0, &job),
            (
                "aws.sagemaker.pipeline.success_ratio",
                5,
                0.5,
                &[("PipelineName", "nightly")],
            ),
        ],
    );
    let record = |attributes: &[(&str, &str)]| LogRecord {
        attributes: pairs(attributes),
        time_unix_nano: T,
        ..LogRecord::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(),
            scope_logs: vec![ScopeLogs {
                log_records: vec![
                    record(&[("JobName", "fit-7"), ("FailureReason", "out of memory")]),
                    record(&[
                        ("PipelineName", "nightly"),
                        ("StepName", "train"),
                        ("FailureReason", "no data"),
                    ]),
                ],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    put(&store, Signal::Logs, &request, 2);
    let (newest, reasons) = (Newest::of(&store), sagemaker::Reasons::of(&store));
    let endpoints = sagemaker::endpoints(&newest, none);
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
    let shown = &endpoints[0];
    assert_eq!(
        (&shown["endpoint"], &shown["variant"]),
        (&json!("churn"), &json!("blue"))
    );
    assert_eq!(
        (&shown["status"], &shown["instances"]),
        (&json!("InService"), &json!(2.0))
    );
    assert_eq!((&shown["cpu"], &shown["invocations"]), (&json!(140.0), &json!(90.0)));
    let jobs = sagemaker::jobs(&newest, &reasons);
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0]["status"], &jobs[0]["reason"]),
        (&json!("Failed"), &json!("out of memory"))
    );
    assert_eq!(
        (&jobs[0]["kind"], &jobs[0]["duration"]),
        (&json!("training"), &json!("240000000000"))
    );
    let pipelines = sagemaker::pipelines(&newest, &reasons);
    assert_eq!(
        (&pipelines[0]["status"], &pipelines[0]["steps"][0]["name"]),
        (&json!("Failed"), &json!("train"))
    );
}

#[test]
fn sources_say_when_they_last_had_an_answer_and_the_bill_counts_only_what_is_known() {
    let registry = Registry::default();
    assert_eq!(
        books::bill(&Figures::of_registry(&registry))["estimated_usd"],
        Value::Null
    );
    let board = StatusBoard::default();
    let id = ComponentId::new("dynamodb/shop");
    board.report(ComponentKind::Receiver, &id, ComponentState::Ok);
    board.report(ComponentKind::Receiver, &ComponentId::new("otlp"), ComponentState::Ok);
    let instruments = Instruments::new(registry.clone(), ComponentKind::Receiver, "dynamodb/shop");
    for (region, outcome, calls) in [("eu-central-1", "ok", 7), ("us-east-1", "throttled", 2)] {
        let labels = [
            ("api", "GetMetricData"),
            ("account", ""),
            ("region", region),
            ("outcome", outcome),
        ];
        instruments.counter("aws_api_requests_total", "", &labels).add(calls);
    }
    let place = [("api", "GetMetricData"), ("account", ""), ("region", "eu-central-1")];
    instruments
        .gauge("aws_api_last_success_timestamp_seconds", "", &place)
        .set(1_800_000_000.5);
    instruments.gauge("cloudwatch_cost_usd", "", &[]).set(0.25);
    instruments.gauge("cloudwatch_cost_forecast_usd", "", &[]).set(9.0);
    instruments
        .counter("cloudwatch_billed_metrics_total", "", &[("source", "gmd")])
        .add(500);
    let figures = Figures::of_registry(&registry);
    let sources = books::sources(&board, &figures);
    let shown: Vec<(&Value, &Value)> = sources
        .iter()
        .map(|one| (&one["region"], &one["last_success"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("eu-central-1"), &json!("1800000000500000000")),
            (&json!("us-east-1"), &Value::Null)
        ]
    );
    let calls = books::calls(&figures);
    assert_eq!((&calls[0]["calls"], &calls[0]["units"]), (&json!(9.0), &json!(500.0)));
    let bill = books::bill(&figures);
    assert_eq!(
        (&bill["estimated_usd"], &bill["month_usd"]),
        (&json!(0.25), &json!(9.0))
    );
}

#[cfg(feature = "aws")]
#[test]
fn retention_states_come_from_the_agents_own_figures_and_the_traces_from_its_check() {
    use std::time::Duration;

    use crate::retention::archive::TraceId;
    use crate::retention::state::State as Of;
    use crate::retention::watchlist::{Endangered, Watchlist};

    let registry = Registry::default();
    let instruments = Instruments::new(registry.clone(), ComponentKind::Processor, "span_retention");
    for (state, count) in [("due", 1.0), ("at_risk", 2.0)] {
        instruments
            .gauge("aws_xray_retention_traces", "", &[("state", state), ("region", "a")])
            .set(count);
    }
    instruments
        .gauge("aws_xray_retention_min_time_to_expiry_seconds", "", &[])
        .set(129_600.0);
    let watchlist = Watchlist::default();
    watchlist.note(Endangered {
        id: TraceId([0x65; 16]),
        state: Of::AtRisk,
        left: Some(Duration::from_secs(129_600)),
        start: 1_700_000_000,
        place: "eu-central-1".to_owned(),
        why: None,
    });
    let (store, figures) = (Store::default(), Figures::of_registry(&registry));
    let part = xray::part(&Newest::of(&store), &figures, &watchlist, &store);
    let retention = &part["retention"];
    assert_eq!(retention["states"], json!({"at_risk": 2.0, "due": 1.0}));
    assert_eq!(retention["min_time_to_expiry"], "129600000000000");
    let trace = &retention["at_risk"][0];
    assert_eq!(trace["xray_id"], "1-65656565-656565656565656565656565");
    assert_eq!((&trace["state"], &trace["known"]), (&json!("at_risk"), &json!(false)));
    assert!(trace["steps"].as_array().is_some_and(|steps| steps.len() > 2));
    assert_eq!(part["traces"], Value::Null, "unknown is not zero");
}
