use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use serde_json::{Value as J, json};

use super::*;

fn span(kind: SpanKind, attributes: &[(&str, &str)]) -> Span {
    let value = |text: &str| match text.parse::<i64>() {
        Ok(int) => Value::IntValue(int),
        Err(_) => Value::StringValue(text.to_owned()),
    };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "op".to_owned(),
        kind: kind as i32,
        start_time_unix_nano: 1_500_000_000_123_456_789,
        end_time_unix_nano: 1_500_000_001_000_000_000,
        attributes: attributes
            .iter()
            .map(|(key, text)| key_value(key, value(text)))
            .collect(),
        ..Span::default()
    }
}

fn child(kind: SpanKind, attributes: &[(&str, &str)]) -> Span {
    Span {
        parent_span_id: vec![3; 8],
        ..span(kind, attributes)
    }
}

fn all(resource: &[(&str, &str)], span: Span, options: &Options) -> Vec<J> {
    let resource = resource.iter().map(|(key, value)| text(key, value)).collect();
    let composed = documents(&request(resource, vec![span]), options);
    composed
        .documents
        .iter()
        .map(|composed| serde_json::from_str(&composed.document).unwrap())
        .collect()
}

fn one(resource: &[(&str, &str)], span: Span) -> J {
    all(resource, span, &Options::default()).remove(0)
}

#[test]
fn ids_times_and_types_are_x_rays() {
    let segment = one(&[("service.name", "shop")], span(SpanKind::Server, &[]));
    assert_eq!(segment["trace_id"], "1-01010101-010101010101010101010101");
    assert_eq!(
        (&segment["id"], &segment["name"]),
        (&json!("0202020202020202"), &json!("shop"))
    );
    assert!(segment.get("type").is_none());
    let text = documents(&request(vec![], vec![span(SpanKind::Server, &[])]), &Options::default());
    assert!(
        text.documents[0]
            .document
            .contains("\"start_time\":1500000000.123456789,")
    );
    let internal = one(&[], child(SpanKind::Internal, &[]));
    assert_eq!(
        (&internal["type"], &internal["parent_id"]),
        (&json!("subsegment"), &json!("0303030303030303"))
    );
    let remote = Span {
        flags: 0x300,
        ..child(SpanKind::Internal, &[])
    };
    assert!(one(&[], remote).get("type").is_none());
}

#[test]
fn the_name_is_that_of_who_does_the_work() {
    let resource = [("service.name", "shop")];
    for (span, name) in [
        (span(SpanKind::Server, &[]), "shop"),
        (span(SpanKind::Server, &[("aws.local.service", "local")]), "local"),
        (
            child(
                SpanKind::Client,
                &[("aws.remote.service", "AWS::DynamoDB"), ("rpc.system", "aws-api")],
            ),
            "DynamoDB",
        ),
        (
            child(SpanKind::Client, &[("peer.service", "billing"), ("rpc.service", "x")]),
            "billing",
        ),
        (
            child(SpanKind::Client, &[("db.name", "orders"), ("server.address", "db")]),
            "orders@db",
        ),
        (child(SpanKind::Client, &[("rpc.service", "Greeter")]), "Greeter"),
        (
            child(SpanKind::Client, &[("server.address", "api.example.com")]),
            "api.example.com",
        ),
        (
            child(SpanKind::Producer, &[("messaging.destination.name", "queue")]),
            "queue",
        ),
        (child(SpanKind::Internal, &[]), "op"),
    ] {
        assert_eq!(one(&resource, span)["name"], name);
    }
}

#[test]
fn urls_are_made_of_both_generations() {
    for (span, url) in [
        (
            span(
                SpanKind::Server,
                &[
                    ("http.method", "GET"),
                    ("http.scheme", "https"),
                    ("http.host", "h:8443"),
                    ("http.target", "/a?b"),
                ],
            ),
            json!("https://h:8443/a?b"),
        ),
        (
            span(
                SpanKind::Server,
                &[
                    ("http.request.method", "GET"),
                    ("url.scheme", "http"),
                    ("server.address", "h"),
                    ("server.port", "80"),
                    ("url.path", "/a"),
                    ("url.query", "b"),
                ],
            ),
            json!("http://h/a?b"),
        ),
        (
            child(SpanKind::Client, &[("url.full", "http://x/y")]),
            json!("http://x/y"),
        ),
        (span(SpanKind::Server, &[("http.method", "GET")]), J::Null),
        (
            child(SpanKind::Client, &[("rpc.system", "grpc"), ("server.address", "h")]),
            J::Null,
        ),
    ] {
        assert_eq!(one(&[], span)["http"]["request"]["url"], url);
    }
}

#[test]
fn statuses_become_error_fault_and_throttle() {
    let with = |status: i32, http: &str| {
        let mut span = span(SpanKind::Server, &[("http.response.status_code", http)]);
        span.status = Some(Status {
            code: status,
            ..Status::default()
        });
        let document = one(&[], span);
        ["error", "fault", "throttle"].map(|flag| document[flag] == true)
    };
    assert_eq!(with(0, "404"), [true, false, false]);
    assert_eq!(with(0, "429"), [true, false, true]);
    assert_eq!(with(2, "500"), [false, true, false]);
    assert_eq!(with(2, "200"), [false, true, false]);
    assert_eq!(with(1, "404"), [false, false, false]);
    assert_eq!(with(0, "200"), [false, false, false]);
}

#[test]
fn a_failed_span_without_exceptions_tells_its_status_as_one() {
    let mut span = child(SpanKind::Client, &[("error.type", "timeout")]);
    span.status = Some(Status {
        code: 2,
        message: "too late".to_owned(),
    });
    let exception = &one(&[], span)["cause"]["exceptions"][0];
    assert_eq!(
        (&exception["message"], &exception["type"], &exception["remote"]),
        (&json!("too late"), &json!("timeout"), &json!(true))
    );
    let mut span = child(SpanKind::Internal, &[]);
    span.events.push(Event {
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", "E"),
            text("exception.stacktrace", "E\n\tat a.B.c(D.java:7)"),
        ],
        ..Event::default()
    });
    let exception = &one(&[], span)["cause"]["exceptions"][0];
    assert_eq!(
        exception["stack"],
        json!([{"path": "D.java", "line": 7, "label": "a.B.c"}])
    );
    assert_eq!(exception["id"].as_str().unwrap().len(), 16);
}

#[test]
fn only_databases_that_speak_sql_have_its_block() {
    let sql = |system: &str| {
        one(
            &[],
            child(
                SpanKind::Client,
                &[
                    ("db.system", system),
                    ("db.statement", "SELECT 1"),
                    ("db.name", "d"),
                    ("net.peer.name", "h"),
                    ("net.peer.port", "1"),
                ],
            ),
        )["sql"]
            .clone()
    };
    assert_eq!(
        sql("postgresql"),
        json!({"url": "postgresql://h:1/d", "sanitized_query": "SELECT 1", "database_type": "postgresql"})
    );
    assert_eq!(sql("redis"), J::Null);
    assert_eq!(sql("microsoft.sql_server")["database_type"], "microsoft.sql_server");
}

#[test]
fn aws_tells_the_call_the_machine_and_the_sdk() {
    let resource = [
        ("cloud.provider", "aws"),
        ("cloud.account.id", "1"),
        ("cloud.platform", "aws_ecs"),
        ("container.name", "web"),
        ("aws.ecs.task.arn", "arn"),
        ("aws.ecs.launchtype", "fargate"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.language", "python"),
        ("aws.log.group.arns", "arn:aws:logs:r:1:log-group:/shop:*"),
        ("service.version", "7"),
    ];
    let segment = one(&resource, span(SpanKind::Server, &[]));
    assert_eq!(segment["origin"], "AWS::ECS::Fargate");
    assert_eq!(
        segment["aws"]["ecs"],
        json!({"container": "web", "task_arn": "arn", "launch_type": "fargate"})
    );
    assert_eq!(segment["aws"]["xray"]["sdk"], "opentelemetry for python");
    assert_eq!(segment["aws"]["cloudwatch_logs"][0]["log_group"], "/shop");
    assert_eq!(segment["service"]["version"], "7");
    let call = one(
        &[],
        child(
            SpanKind::Client,
            &[
                ("rpc.system", "aws-api"),
                ("rpc.method", "GetItem"),
                ("aws.requestId", "r"),
                ("aws.dynamodb.table_names", "t"),
            ],
        ),
    );
    assert_eq!(call["namespace"], "aws");
    assert_eq!(
        call["aws"],
        json!({"operation": "GetItem", "request_id": "r", "table_name": "t"})
    );
    assert_eq!(
        one(
            &[("cloud.provider", "gcp"), ("cloud.account.id", "1")],
            span(SpanKind::Server, &[])
        )
        .get("aws"),
        None
    );
}

#[test]
fn chosen_attributes_are_annotations_and_at_most_fifty() {
    let options = Options {
        indexed: ["tenant", "otel.resource.region", "bad key!"].map(str::to_owned).into(),
        ..Options::default()
    };
    let document = all(
        &[("region", "eu")],
        span(
            SpanKind::Server,
            &[("tenant", "blue"), ("bad key!", "x"), ("other", "y")],
        ),
        &options,
    )
    .remove(0);
    assert_eq!(
        document["annotations"],
        json!({"bad_key_": "x", "otel.resource.region": "eu", "tenant": "blue"})
    );
    assert_eq!(document["metadata"]["default"]["other"], "y");
    let names: Vec<String> = (0..80).map(|n| format!("k{n:02}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let composed = documents(
        &request(vec![], vec![span(SpanKind::Server, &many)]),
        &Options {
            index_all: true,
            ..Options::default()
        },
    );
    assert_eq!(composed.shortened, [Part::Annotations]);
    let document: J = serde_json::from_str(&composed.documents[0].document).unwrap();
    assert_eq!(document["annotations"].as_object().unwrap().len(), 50);
    assert_eq!(document["metadata"]["default"]["k79"], "v");
}

#[test]
fn a_local_root_that_calls_is_two_documents_with_the_same_ids_each_time() {
    let span = || Span {
        parent_span_id: vec![3; 8],
        ..span(
            SpanKind::Client,
            &[
                ("aws.span.kind", "LOCAL_ROOT"),
                ("aws.local.service", "worker"),
                ("aws.remote.service", "bank"),
                ("url.full", "http://bank/"),
            ],
        )
    };
    let two = all(&[], span(), &Options::default());
    assert_eq!(two, all(&[], span(), &Options::default()));
    let (service, call) = (&two[0], &two[1]);
    assert_eq!(
        (&service["name"], &service["parent_id"]),
        (&json!("worker"), &json!("0303030303030303"))
    );
    assert!(service.get("type").is_none() && service.get("http").is_none());
    assert_eq!(
        (&call["name"], &call["id"], &call["parent_id"]),
        (&json!("bank"), &json!("0202020202020202"), &service["id"])
    );
    assert_eq!(
        (&call["type"], &call["namespace"]),
        (&json!("subsegment"), &json!("remote"))
    );
}

#[test]
fn bad_ids_are_dropped_and_counted() {
    for (trace_id, span_id) in [
        (vec![], vec![1; 8]),
        (vec![0; 16], vec![1; 8]),
        (vec![1; 16], vec![0; 8]),
        (vec![1; 16], vec![]),
    ] {
        let span = Span {
            trace_id,
            span_id,
            ..span(SpanKind::Server, &[])
        };
        let composed = documents(&request(vec![], vec![span]), &Options::default());
        assert_eq!((composed.documents.len(), composed.dropped), (0, vec![Dropped::BadId]));
    }
}

#[test]
fn large_documents_are_shortened_where_it_hurts_least() {
    let large = "x".repeat(70_000);
    let frames = "\n\tat a.B.c(D.java:7)".repeat(5_000);
    let mut events = span(SpanKind::Server, &[("keep", "me")]);
    events.events.push(Event {
        name: large.clone(),
        ..Event::default()
    });
    let metadata = span(SpanKind::Server, &[("keep", "me"), ("large", &large)]);
    let query = child(SpanKind::Client, &[("db.system", "mysql"), ("db.statement", &large)]);
    let mut stack = span(SpanKind::Server, &[]);
    let long = format!("E{frames}");
    for _ in 0..3 {
        stack.events.push(Event {
            name: "exception".to_owned(),
            attributes: vec![text("exception.type", "E"), text("exception.stacktrace", &long)],
            ..Event::default()
        });
    }
    for (span, wanted) in [
        (events, &[Part::Events][..]),
        (metadata, &[Part::Metadata]),
        (stack, &[Part::Events, Part::Metadata, Part::Stack]),
        (query, &[Part::Metadata, Part::Sql]),
    ] {
        let composed = documents(&request(vec![], vec![span]), &Options::default());
        let document = &composed.documents[0].document;
        assert!(document.len() <= LARGEST_DOCUMENT, "{}", document.len());
        assert_eq!(composed.shortened, wanted);
        let document: J = serde_json::from_str(document).unwrap();
        assert!(document["metadata"]["default"]["otel.truncated"].is_array());
    }
    let name = span(SpanKind::Server, &[("enduser.id", &large)]);
    let composed = documents(&request(vec![], vec![name]), &Options::default());
    assert_eq!(
        (composed.documents.len(), composed.dropped),
        (0, vec![Dropped::TooLarge])
    );
}
