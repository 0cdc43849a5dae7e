//! What the door rejects: bad records among good ones, text that is no UTF-8, element bombs.

use super::*;

#[tokio::test]
async fn bad_records_are_rejected_and_the_rest_is_kept() {
    let harness = start_default().await;
    let mut request = ExportTraceServiceRequest::decode(&spans(3)[..]).unwrap();
    request.resource_spans[0].scope_spans[0].spans[1].trace_id = vec![1; 8];
    let answer = call(harness.grpc(), TRACES_METHOD, &[], framed(0, &request.encode_to_vec())).await;
    assert_eq!(answer.code(), 0);
    let response =
        opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse::decode(&answer.body[5..]);
    let partial = response.unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("16 bytes"), "{}", partial.error_message);
    assert_eq!(harness.sink.seen(), [(Signal::Traces, 2)]);
    assert_eq!(harness.count("refused_spans", "grpc"), 1);
    for span in &mut request.resource_spans[0].scope_spans[0].spans {
        span.trace_id = vec![1; 8];
    }
    let answer = call(harness.grpc(), TRACES_METHOD, &[], framed(0, &request.encode_to_vec())).await;
    assert_eq!(answer.code(), 3, "nothing usable");
}

#[tokio::test]
async fn millions_of_empty_elements_in_a_small_body_are_400() {
    let harness = start_default().await;
    // Field 1, length 0: an empty resource group, two bytes each.
    let bomb = zstd::encode_all(&[10, 0].repeat(2_000_000)[..], 3).unwrap();
    assert!(bomb.len() < 10_000);
    let answer = call(
        harness.grpc(),
        TRACES_METHOD,
        &[("grpc-encoding", "zstd")],
        framed(1, &bomb),
    )
    .await;
    assert_eq!(answer.code(), 3, "{answer:?}");
    let headers = [PROTOBUF, ("content-encoding", "zstd")];
    let answer = send(harness.http(), false, "/v1/traces", &headers, bomb).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn a_full_check_looks_below_the_item() {
    // A span whose name is no UTF-8.
    let mut body = spans(1);
    let at = body.windows(6).position(|bytes| bytes == b"span 0").unwrap();
    body[at] = 0xff;
    let replacing = start_yaml(&format!("{{check: full, {}}}", both("", ""))).await;
    let answer = call(replacing.grpc(), TRACES_METHOD, &[], framed(0, &body)).await;
    assert_eq!(answer.code(), 0, "{answer:?}");
    assert!(answer.body.len() > 5, "a warning in the partial success");
    let mut taken = replacing.sink.batches();
    assert!(taken[0].decode().is_ok(), "repaired");
    let rejecting = start_yaml(&format!("{{check: full, utf8: reject, {}}}", both("", ""))).await;
    assert_eq!(
        call(rejecting.grpc(), TRACES_METHOD, &[], framed(0, &body))
            .await
            .code(),
        3
    );
    let plain = start_default().await;
    assert_eq!(call(plain.grpc(), TRACES_METHOD, &[], framed(0, &body)).await.code(), 0);
    assert_eq!(plain.sink.batches()[0].clone().into_bytes(), body);
}
