//! The real AWS SDK against the simulator, call by call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn serve(simulator: &Arc<Simulator>) -> Served {
    simulator.serve(SocketAddr::from(LOCAL)).await.unwrap()
}

#[cfg(feature = "aws")]
mod sdk {
    use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
    use aws_sdk_cloudwatch::primitives::DateTime;
    use aws_sdk_cloudwatch::types::{
        Dimension, DimensionFilter, Metric, MetricDataQuery, MetricStat, RecentlyActive, ScanBy, StatusCode,
    };

    use super::*;

    struct Aws {
        simulator: Arc<Simulator>,
        served: Served,
        config: aws_config::SdkConfig,
    }

    impl Aws {
        async fn start(scenario: Scenario) -> Self {
            let simulator = Simulator::frozen(scenario);
            let served = serve(&simulator).await;
            let config = aws_config::SdkConfig::builder()
                .behavior_version(aws_config::BehaviorVersion::latest())
                .region(aws_config::Region::new("eu-central-1"))
                .endpoint_url(served.url())
                .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                    aws_credential_types::Credentials::new("AKIASIM0111122223333", "simulated", None, None, "test"),
                ))
                .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
                .build();
            Self {
                simulator,
                served,
                config,
            }
        }

        fn cloudwatch(&self) -> aws_sdk_cloudwatch::Client {
            aws_sdk_cloudwatch::Client::new(&self.config)
        }

        fn start_s(&self) -> i64 {
            self.simulator.world().scenario.start as i64
        }
    }

    fn metric(name: &str, dimensions: &[(&str, &str)]) -> Metric {
        let mut metric = Metric::builder().namespace("AWS/DynamoDB").metric_name(name);
        for (name, value) in dimensions {
            metric = metric.dimensions(Dimension::builder().name(*name).value(*value).build());
        }
        metric.build()
    }

    fn query(id: &str, metric: Metric, stat: &str) -> MetricDataQuery {
        let stat = MetricStat::builder().metric(metric).period(60).stat(stat).build();
        MetricDataQuery::builder().id(id).metric_stat(stat).build()
    }

    #[tokio::test]
    async fn get_metric_data_answers_the_true_values_of_the_window() {
        let aws = Aws::start(Scenario::demo()).await;
        aws.simulator.clock().step(Duration::from_secs(3600));
        let start = aws.start_s();
        let table = [("TableName", "orders")];
        let answer = aws
            .cloudwatch()
            .get_metric_data()
            .metric_data_queries(query("consumed", metric("ConsumedWriteCapacityUnits", &table), "Sum"))
            .metric_data_queries(query("throttles", metric("WriteThrottleEvents", &table), "Sum"))
            .metric_data_queries(query(
                "p99",
                metric(
                    "SuccessfulRequestLatency",
                    &[("TableName", "orders"), ("Operation", "PutItem")],
                ),
                "p99",
            ))
            .metric_data_queries(query("nothing", metric("ItemCount", &table), "Sum"))
            .start_time(DateTime::from_secs(start))
            .end_time(DateTime::from_secs(start + 600))
            .scan_by(ScanBy::TimestampAscending)
            .send()
            .await
            .unwrap();
        let results = answer.metric_data_results();
        assert_eq!(results.len(), 4);
        assert!(answer.next_token().is_none());
        let world = aws.simulator.world();
        for (result, name, dimensions, statistic) in [
            (
                &results[0],
                "ConsumedWriteCapacityUnits",
                vec![("TableName", "orders")],
                "Sum",
            ),
            (&results[1], "WriteThrottleEvents", vec![("TableName", "orders")], "Sum"),
            (
                &results[2],
                "SuccessfulRequestLatency",
                vec![("Operation", "PutItem"), ("TableName", "orders")],
                "p99",
            ),
        ] {
            let dimensions: Vec<(String, String)> = dimensions
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let series = world
                .find(("111122223333", "eu-central-1"), "AWS/DynamoDB", name, &dimensions)
                .unwrap();
            let mut expected = Vec::new();
            for minute in 0..10 {
                let at = start + 60 * minute;
                let value = world
                    .final_samples(series, at)
                    .get(Statistic::parse(statistic).unwrap());
                expected.extend(value.map(|value| (at, value)));
            }
            let times = result.timestamps().iter().map(DateTime::secs);
            let got: Vec<(i64, f64)> = times.zip(result.values().iter().copied()).collect();
            assert_eq!(got, expected, "{name}");
            assert!(!got.is_empty());
            assert_eq!(result.status_code(), Some(&StatusCode::Complete));
        }
        assert!(results[3].values().is_empty());
        assert_eq!(
            aws.simulator.bill().of("GetMetricData"),
            Counts { requests: 1, units: 4 }
        );
        aws.served.stop().await;
    }

    #[tokio::test]
    async fn small_pages_give_the_same_points_and_later_pages_show_the_moment_of_the_first() {
        let aws = Aws::start(Scenario::demo()).await;
        aws.simulator.clock().step(Duration::from_secs(1800));
        let start = aws.start_s();
        let client = aws.cloudwatch();
        let request = || {
            client
                .get_metric_data()
                .metric_data_queries(query(
                    "a",
                    metric("ConsumedReadCapacityUnits", &[("TableName", "orders")]),
                    "Sum",
                ))
                .metric_data_queries(query("b", metric("ItemCount", &[("TableName", "orders")]), "Sum"))
                .metric_data_queries(query(
                    "c",
                    metric("ConsumedReadCapacityUnits", &[("TableName", "reports")]),
                    "Sum",
                ))
                .start_time(DateTime::from_secs(start))
                .end_time(DateTime::from_secs(start + 1800))
        };
        let whole = request().send().await.unwrap();
        aws.simulator
            .set_faults(vec![Fault::of("GetMetricData", 0, 1000, FaultKind::Page { points: 7 })]);
        let mut merged: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
        let mut token = None;
        let mut pages = 0;
        loop {
            let page = request().set_next_token(token).send().await.unwrap();
            for result in page.metric_data_results() {
                merged
                    .entry(result.id().unwrap().to_owned())
                    .or_default()
                    .extend(result.values());
            }
            aws.simulator.clock().step(Duration::from_secs(30));
            token = page.next_token().map(str::to_owned);
            pages += 1;
            if token.is_none() {
                break;
            }
        }
        assert!(pages > 5, "{pages}");
        for result in whole.metric_data_results() {
            assert_eq!(merged[result.id().unwrap()], result.values(), "{:?}", result.id());
        }
    }

    #[tokio::test]
    async fn bad_requests_are_refused_with_the_services_error() {
        let aws = Aws::start(Scenario::demo()).await;
        let client = aws.cloudwatch();
        let good = || query("a", metric("UserErrors", &[]), "Sum");
        let with = |queries: Vec<MetricDataQuery>, start: i64, end: i64| {
            client
                .get_metric_data()
                .set_metric_data_queries(Some(queries))
                .start_time(DateTime::from_secs(start))
                .end_time(DateTime::from_secs(end))
                .send()
        };
        let many = (0..501)
            .map(|n| query(&format!("q{n}"), metric("UserErrors", &[]), "Sum"))
            .collect();
        let cases = [
            (with(vec![good()], 100, 100).await, "StartTime"),
            (with(vec![good(), good()], 100, 200).await, "not unique"),
            (
                with(vec![query("A", metric("UserErrors", &[]), "Sum")], 100, 200).await,
                "pattern",
            ),
            (
                with(vec![query("a", metric("UserErrors", &[]), "Median")], 100, 200).await,
                "not supported",
            ),
            (with(many, 100, 200).await, "greater than 500"),
        ];
        for (answer, part) in cases {
            let error = answer.unwrap_err().into_service_error();
            assert_eq!(error.code(), Some("ValidationError"));
            assert!(error.message().unwrap().contains(part), "{:?}", error.message());
        }
        let token = client
            .get_metric_data()
            .metric_data_queries(good())
            .start_time(DateTime::from_secs(100))
            .end_time(DateTime::from_secs(200))
            .next_token("made-up")
            .send()
            .await
            .unwrap_err()
            .into_service_error();
        assert!(token.is_invalid_next_token(), "{token:?}");
    }

    #[tokio::test]
    async fn planned_faults_strike_in_their_window_and_cost_nothing() {
        let aws = Aws::start(Scenario::demo()).await;
        let client = aws.cloudwatch();
        aws.simulator.set_faults(vec![
            Fault::of("ListMetrics", 0, 5, FaultKind::Throttle).every(2),
            Fault::of(
                "ListMetrics",
                5,
                6,
                FaultKind::Error {
                    status: 503,
                    code: "ServiceUnavailable".to_owned(),
                },
            ),
        ]);
        assert!(client.list_metrics().send().await.is_ok());
        let throttled = client.list_metrics().send().await.unwrap_err().into_service_error();
        assert_eq!(throttled.code(), Some("ThrottlingException"));
        aws.simulator.clock().step(Duration::from_secs(300));
        let down = client.list_metrics().send().await.unwrap_err();
        assert_eq!(down.raw_response().unwrap().status().as_u16(), 503);
        assert_eq!(aws.simulator.bill().of("ListMetrics").requests, 1);
    }

    #[tokio::test]
    async fn list_metrics_pages_filters_and_hides_what_never_happened() {
        let mut scenario = Scenario::demo();
        let template = scenario.tables[0].clone();
        for n in 0..40 {
            let mut table = template.clone();
            table.name = format!("t{n:02}");
            scenario.tables.push(table);
        }
        let aws = Aws::start(scenario).await;
        let client = aws.cloudwatch();
        let mut pages = client.list_metrics().namespace("AWS/DynamoDB").into_paginator().send();
        let mut counts = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            counts.push(page.metrics().len());
            names.extend(
                page.metrics()
                    .iter()
                    .filter_map(|metric| metric.metric_name().map(str::to_owned)),
            );
        }
        assert_eq!(counts[0], 500);
        assert!(counts.len() > 1 && counts[1] > 0);
        assert!(names.contains("ConsumedReadCapacityUnits"));
        assert!(
            !names.contains("WriteThrottleEvents"),
            "nothing was throttled before the start"
        );

        aws.simulator.clock().step(Duration::from_secs(3600));
        let throttled = client
            .list_metrics()
            .namespace("AWS/DynamoDB")
            .metric_name("WriteThrottleEvents")
            .recently_active(RecentlyActive::Pt3H)
            .dimensions(DimensionFilter::builder().name("TableName").value("orders").build())
            .send()
            .await
            .unwrap();
        assert_eq!(throttled.metrics().len(), 1);
        aws.simulator.clock().step(Duration::from_secs(5 * 3600));
        let quiet = client
            .list_metrics()
            .metric_name("WriteThrottleEvents")
            .recently_active(RecentlyActive::Pt3H)
            .send()
            .await
            .unwrap();
        assert!(quiet.metrics().is_empty());
    }

    #[tokio::test]
    async fn tables_are_listed_in_pages_and_described() {
        let aws = Aws::start(Scenario::demo()).await;
        let client = aws_sdk_dynamodb::Client::new(&aws.config);
        let mut pages = client.list_tables().limit(3).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            names.extend(page.unwrap().table_names().to_vec());
        }
        assert_eq!(names, ["orders", "reports", "sessions", "settings"]);
        let table = client.describe_table().table_name("orders").send().await.unwrap();
        let table = table.table().unwrap();
        assert_eq!(
            table.table_arn(),
            Some("arn:aws:dynamodb:eu-central-1:111122223333:table/orders")
        );
        assert_eq!(
            table.provisioned_throughput().unwrap().write_capacity_units(),
            Some(100)
        );
        assert_eq!(table.global_secondary_indexes()[0].index_name(), Some("by-customer"));
        assert_eq!(table.local_secondary_indexes()[0].index_name(), Some("by-date"));
        assert_eq!(table.item_count(), Some(1_850_000));
        let sessions = client.describe_table().table_name("sessions").send().await.unwrap();
        let mode = sessions.table().unwrap().billing_mode_summary().unwrap().billing_mode();
        assert_eq!(mode, Some(&aws_sdk_dynamodb::types::BillingMode::PayPerRequest));
        let gone = client.describe_table().table_name("gone").send().await.unwrap_err();
        assert!(gone.into_service_error().is_resource_not_found_exception());
        let limits = client.describe_limits().send().await.unwrap();
        assert_eq!(limits.account_max_write_capacity_units(), Some(80_000));
    }

    #[tokio::test]
    async fn a_role_is_assumed_only_with_its_external_id() {
        let mut scenario = Scenario::quiet();
        scenario.roles.push(Role {
            arn: "arn:aws:iam::444455556666:role/monitoring".to_owned(),
            external_id: Some("e-1".to_owned()),
        });
        let aws = Aws::start(scenario).await;
        let client = aws_sdk_sts::Client::new(&aws.config);
        let me = client.get_caller_identity().send().await.unwrap();
        assert_eq!(me.account(), Some("111122223333"));
        let assume = |external_id: &str| {
            client
                .assume_role()
                .role_arn("arn:aws:iam::444455556666:role/monitoring")
                .role_session_name("radiosonde")
                .external_id(external_id)
                .send()
        };
        assert!(assume("other").await.is_err());
        let granted = assume("e-1").await.unwrap();
        assert_eq!(granted.credentials().unwrap().access_key_id(), "ASIASIM0444455556666");
    }

    #[tokio::test]
    async fn a_truncated_answer_is_an_error_and_no_data() {
        let aws = Aws::start(Scenario::demo()).await;
        aws.simulator
            .set_faults(vec![Fault::of("ListMetrics", 0, 5, FaultKind::Truncate)]);
        assert!(aws.cloudwatch().list_metrics().send().await.is_err());
    }

    #[tokio::test]
    async fn get_metric_statistics_gives_what_get_metric_data_gives_and_keeps_its_own_rules() {
        use aws_sdk_cloudwatch::types::{StandardUnit, Statistic as Stat};
        let aws = Aws::start(Scenario::demo()).await;
        aws.simulator.clock().step(Duration::from_secs(3600));
        let start = aws.start_s();
        let ask = |period: i32, hours: i64| {
            let table = Dimension::builder().name("TableName").value("orders").build();
            aws.cloudwatch()
                .get_metric_statistics()
                .namespace("AWS/DynamoDB")
                .metric_name("ConsumedWriteCapacityUnits")
                .dimensions(table)
                .period(period)
                .start_time(DateTime::from_secs(start))
                .end_time(DateTime::from_secs(start + 3600 * hours))
        };
        let sums = ask(60, 1)
            .statistics(Stat::Sum)
            .statistics(Stat::Maximum)
            .send()
            .await
            .unwrap();
        let world = aws.simulator.world();
        let table = [("TableName".to_owned(), "orders".to_owned())];
        let place = ("111122223333", "eu-central-1");
        let series = world
            .find(place, "AWS/DynamoDB", "ConsumedWriteCapacityUnits", &table)
            .unwrap();
        assert!(sums.datapoints().len() > 50);
        for point in sums.datapoints() {
            let at = point.timestamp().unwrap().secs();
            let shown = world.visible_samples(series, at, aws.simulator.now_s());
            assert_eq!(point.sum(), shown.get(Statistic::Sum));
            assert_eq!(point.maximum(), shown.get(Statistic::Maximum));
            assert_eq!((point.average(), point.unit()), (None, Some(&StandardUnit::Count)));
        }
        let p99 = ask(300, 1).extended_statistics("p99").send().await.unwrap();
        assert!(p99.datapoints()[0].extended_statistics().unwrap().contains_key("p99"));
        let both = ask(60, 1).statistics(Stat::Sum).extended_statistics("p99").send().await;
        let much = ask(60, 25).statistics(Stat::Sum).send().await;
        for (refused, code) in [
            (both, "InvalidParameterCombination"),
            (ask(60, 1).send().await, "InvalidParameterCombination"),
            (ask(61, 1).statistics(Stat::Sum).send().await, "InvalidParameterValue"),
            (much, "InvalidParameterCombination"),
        ] {
            assert_eq!(refused.unwrap_err().into_service_error().code(), Some(code));
        }
        let billed = aws.simulator.bill().to_json();
        assert_eq!(billed["lines"][0]["free_requests"], 2);
        assert_eq!(billed["usd"], 0.0);
    }

    #[tokio::test]
    async fn more_calls_than_a_second_allows_are_throttled_for_that_second_and_place_only() {
        let aws = Aws::start(Scenario::quiet()).await;
        let client = aws.cloudwatch();
        let mut refused = 0;
        for _ in 0..40 {
            refused += u32::from(client.list_metrics().send().await.is_err());
        }
        assert_eq!(refused, 15, "25 a second");
        assert_eq!(aws.simulator.bill().of("ListMetrics").requests, 25);
        aws.simulator.clock().step(Duration::from_secs(1));
        assert!(client.list_metrics().send().await.is_ok());
        let mut cap = Fault::of("ListMetrics", 0, 5, FaultKind::Cap { per_second: 3 });
        cap.account = Some("111122223333".to_owned());
        aws.simulator.set_faults(vec![cap]);
        aws.simulator.clock().step(Duration::from_secs(1));
        let mut passed = 0;
        for _ in 0..10 {
            passed += u32::from(client.list_metrics().send().await.is_ok());
        }
        assert_eq!(passed, 3);
    }

    #[tokio::test]
    async fn malformed_and_broken_answers_are_errors_and_the_clock_of_the_service_may_be_wrong() {
        let aws = Aws::start(Scenario::quiet()).await;
        let client = aws.cloudwatch();
        for kind in [FaultKind::Malformed, FaultKind::Reset] {
            aws.simulator
                .set_faults(vec![Fault::of("ListMetrics", 0, 5, kind.clone())]);
            assert!(client.list_metrics().send().await.is_err(), "{kind:?}");
        }
        aws.simulator.set_skew(600.0);
        let refused = client.get_metric_data().send().await.unwrap_err();
        let date = refused
            .raw_response()
            .unwrap()
            .headers()
            .get("date")
            .unwrap()
            .to_owned();
        let then = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(&date)
            .unwrap();
        assert_eq!(then.as_second(), aws.start_s() + 600);
    }
}

#[tokio::test]
async fn a_request_without_signature_is_refused() {
    let simulator = Simulator::frozen(Scenario::quiet());
    let served = serve(&simulator).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    let request = http::Request::post(served.url())
        .header("x-amz-target", "DynamoDB_20120810.ListTables")
        .body(http_body_util::Full::default())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 403);
    let request = http::Request::get(format!("{}/_sim/clock", served.url()))
        .body(http_body_util::Full::default())
        .unwrap();
    assert_eq!(client.request(request).await.unwrap().status(), 200);
}
