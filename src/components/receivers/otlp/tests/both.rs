//! Either protocol on either port, all signals, counters, metadata.

use super::*;

#[tokio::test]
async fn every_signal_comes_in_by_both_protocols_on_both_ports() {
    let harness = start_default().await;
    for address in [harness.grpc(), harness.http()] {
        for (signal, method, body) in [
            (Signal::Traces, TRACES_METHOD, spans(3)),
            (Signal::Metrics, METRICS_METHOD, points(4)),
            (Signal::Logs, LOGS_METHOD, records(5)),
        ] {
            let items = 3 + signal as usize;
            let answer = call(address, method, &[], framed(0, &body)).await;
            assert_eq!(
                (answer.code(), &answer.body[..]),
                (0, &[0; 5][..]),
                "{signal} {answer:?}"
            );
            for http2 in [false, true] {
                let path = format!("/v1/{signal}");
                let answer = send(address, http2, &path, &[PROTOBUF], body.clone()).await;
                assert_eq!((answer.status, answer.body.len()), (200, 0), "{signal} {answer:?}");
                assert_eq!(answer.header("content-type"), "application/x-protobuf");
            }
            let batches = harness.sink.batches();
            assert_eq!(batches.len(), 3);
            for batch in batches {
                assert_eq!((batch.signal(), batch.items()), (signal, items));
                assert!(batch.origin().client.unwrap().ip().is_loopback());
                assert!(batch.origin().metadata.is_empty());
                assert_eq!(batch.into_bytes(), body);
            }
        }
    }
    assert_eq!(harness.count("accepted_spans", "grpc"), 6);
    assert_eq!(harness.count("accepted_spans", "http"), 12);
    assert_eq!(harness.count("accepted_metric_points", "grpc"), 8);
    assert_eq!(harness.count("accepted_log_records", "http"), 20);
}

#[tokio::test]
async fn only_the_configured_port_listens_and_serves_both() {
    let harness = start_yaml("protocols: {grpc: {endpoint: '127.0.0.1:0'}}").await;
    assert!(harness.receiver.http.is_none());
    let answer = send(harness.grpc(), false, "/v1/traces", &[PROTOBUF], spans(1)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_signal_without_pipeline_is_unimplemented_and_404() {
    let section = Section::from_yaml(&both("", ""));
    let settings = Settings::check(&section).unwrap();
    let sink = Arc::new(Sink::default());
    let mut next = Outlets::default();
    next.set(Signal::Traces, Outlet::to(sink.clone()));
    let context = BuildContext::standalone(ComponentKind::Receiver, "otlp/x");
    let receiver = start(&settings, &context, next).await.unwrap();
    let harness = Harness {
        receiver,
        sink,
        context,
    };
    assert_eq!(
        call(harness.grpc(), LOGS_METHOD, &[], framed(0, &records(1)))
            .await
            .code(),
        12
    );
    let answer = send(harness.http(), false, "/v1/logs", &[JSON], "{}").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("no pipeline takes logs"), "{}", answer.text());
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &[PROTOBUF], spans(1))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn metadata_comes_along_when_asked_for() {
    let harness = start_yaml(&both("include_metadata: true", "include_metadata: true")).await;
    call(
        harness.grpc(),
        TRACES_METHOD,
        &[("x-tenant", "a")],
        framed(0, &spans(1)),
    )
    .await;
    send(
        harness.http(),
        false,
        "/v1/traces",
        &[PROTOBUF, ("X-Tenant", "b")],
        spans(1),
    )
    .await;
    let batches = harness.sink.batches();
    assert_eq!(batches[0].origin().metadata_values("x-tenant"), [Box::<str>::from("a")]);
    assert_eq!(batches[1].origin().metadata_values("X-Tenant"), [Box::<str>::from("b")]);
}

#[tokio::test]
async fn memory_is_held_until_the_last_reference_is_gone() {
    let harness = start_default().await;
    let body = spans(10);
    let zipped = zstd::encode_all(&body[..], 1).unwrap();
    call(harness.grpc(), TRACES_METHOD, &[], framed(0, &body)).await;
    let encoded = [PROTOBUF, ("content-encoding", "zstd")];
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &encoded, zipped).await.status,
        200
    );
    let batches = harness.sink.batches();
    assert_eq!(harness.context.memory.used(), 2 * body.len() as u64);
    drop(batches);
    assert_eq!(harness.context.memory.used(), 0);
}

#[tokio::test]
async fn refusals_pass_through_in_both_protocols_with_all_codes() {
    use std::time::Duration;
    use tonic::Code;
    let harness = start_default().await;
    let table = [
        (Refused::permanent("bad data"), 13, 500, false),
        (Refused::retryable("sending queue is full"), 14, 503, true),
        // Without a delay a gRPC client would take it as final.
        (
            Refused::retryable("slow down").with_code(Code::ResourceExhausted),
            8,
            429,
            true,
        ),
        (
            Refused::permanent("too much for good").with_code(Code::ResourceExhausted),
            8,
            429,
            false,
        ),
        (
            Refused::retryable("slow")
                .with_code(Code::ResourceExhausted)
                .after(Duration::from_secs(7)),
            8,
            429,
            true,
        ),
        (
            Refused::permanent("who are you").with_code(Code::Unauthenticated),
            16,
            401,
            false,
        ),
        (Refused::retryable("gone").with_code(Code::DataLoss), 15, 503, false),
    ];
    for (refusal, code, status, delay) in table {
        let message = refusal.message.to_string();
        harness.sink.refuse(refusal);
        let answer = call(harness.grpc(), TRACES_METHOD, &[], framed(0, &spans(2))).await;
        assert_eq!((answer.code(), answer.status), (code, 200));
        assert_eq!(answer.header("grpc-message"), message);
        assert_eq!(
            answer.headers.contains_key("grpc-status-details-bin"),
            delay,
            "{message}"
        );
        let answer = send(harness.http(), false, "/v1/traces", &[PROTOBUF], spans(2)).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.contains_key("retry-after"), delay, "{message}");
        assert_eq!(answer.header("content-type"), "application/x-protobuf");
        let decoded = rpc_status(&answer.body);
        assert_eq!(decoded, (code, message));
    }
    assert!(harness.sink.seen().is_empty());
    assert_eq!(harness.count("accepted_spans", "grpc"), 0);
    assert_eq!(
        harness.count("refused_spans", "grpc") + harness.count("failed_spans", "grpc"),
        14
    );
    assert_eq!(
        harness.count("refused_spans", "http") + harness.count("failed_spans", "http"),
        14
    );
}

/// Code and message of a `google.rpc.Status`.
fn rpc_status(body: &[u8]) -> (i32, String) {
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    let status = RpcStatus::decode(body).unwrap();
    (status.code, status.message)
}
