use super::*;

fn details(retry: Option<(i64, i32)>) -> String {
    let details = retry
        .map(|(seconds, nanos)| RpcAny {
            type_url: RETRY_INFO.into(),
            value: RetryInfo {
                retry_delay: Some(RpcDuration { seconds, nanos }),
            }
            .encode_to_vec(),
        })
        .into_iter()
        .collect();
    let status = RpcStatus {
        code: 8,
        message: "slow down".into(),
        details,
    };
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

#[test]
fn all_grpc_codes_are_retryable_or_not_as_the_collector_says() {
    for number in 1..=16 {
        let code = Code::from_i32(number);
        let refused = GrpcStatus::new(code, "x").into_refused("far:1");
        let retryable = [1, 4, 10, 11, 14, 15].contains(&number);
        assert_eq!(refused.permanent, !retryable, "{code:?}");
        assert_eq!(refused.code, Some(code));
    }
}

#[test]
fn resource_exhausted_is_retryable_only_with_retry_info() {
    let with = headers(&[
        ("grpc-status", "8"),
        ("grpc-message", "slow%20down"),
        ("grpc-status-details-bin", &details(Some((2, 500_000_000)))),
    ]);
    let status = GrpcStatus::from_headers(&with).unwrap();
    assert_eq!(status.message, "slow down");
    let refused = status.into_refused("far:1");
    assert!(!refused.permanent);
    assert_eq!(refused.retry_after, Some(Duration::from_millis(2500)));

    let without = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &details(None))]);
    assert!(
        GrpcStatus::from_headers(&without)
            .unwrap()
            .into_refused("far:1")
            .permanent
    );
}

#[test]
fn hostile_statuses_are_read_without_harm() {
    for (name, value) in [
        ("grpc-status", "99999999999"),
        ("grpc-status", ""),
        ("grpc-message", "%zz%"),
        ("grpc-status-details-bin", "!!!"),
        ("grpc-status-details-bin", &details(Some((i64::MIN, i32::MIN)))),
        ("grpc-status-details-bin", &details(Some((i64::MAX, i32::MAX)))),
    ] {
        let mut map = headers(&[("grpc-status", "14")]);
        map.insert(http::HeaderName::from_static(name), value.parse().unwrap());
        assert!(GrpcStatus::from_headers(&map).is_some(), "{name}: {value}");
    }
    assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
    let long = GrpcStatus::new(Code::Internal, "ä".repeat(10_000)).into_refused("x");
    assert!(long.message.len() < 2000);
}

fn http(status: u16, pairs: &[(&'static str, &str)], body: &[u8]) -> Refused {
    let headers = headers(pairs);
    HttpFailure {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        body,
        now: UnixNanos::from_seconds(784_111_777),
    }
    .into_refused("http://far/v1/traces")
}

#[test]
fn http_statuses_map_as_the_collector_does() {
    for status in (300..600).chain([600]) {
        let refused = http(status, &[], b"");
        assert_eq!(refused.permanent, ![429, 502, 503, 504].contains(&status), "{status}");
    }
    for (status, code) in [
        (400, Code::InvalidArgument),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (408, Code::Unknown),
        (429, Code::ResourceExhausted),
        (500, Code::Unknown),
        (503, Code::Unavailable),
    ] {
        assert_eq!(http(status, &[], b"").code, Some(code), "{status}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (value, wanted) in [
        ("7", Some(7)),
        ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
        ("soon", None),
        ("-3", None),
        ("", None),
    ] {
        let refused = http(503, &[("retry-after", value)], b"");
        assert_eq!(refused.retry_after, wanted.map(Duration::from_secs), "{value}");
    }
    assert_eq!(http(502, &[("retry-after", "7")], b"").retry_after, None);
}

#[test]
fn the_text_of_a_status_in_the_body_is_shown_and_nothing_else() {
    let status = RpcStatus {
        code: 3,
        message: "bad span".into(),
        details: Vec::new(),
    };
    let protobuf = http(
        400,
        &[("content-type", "application/x-protobuf")],
        &status.encode_to_vec(),
    );
    assert!(protobuf.message.ends_with("400 Bad Request: bad span"), "{protobuf}");
    let json = http(
        400,
        &[("content-type", "application/json")],
        br#"{"code":3,"message":"bad span"}"#,
    );
    assert_eq!(json.message, protobuf.message);
    let html = http(400, &[("content-type", "text/html")], b"<html>secret</html>");
    assert!(!html.message.contains("secret"), "{html}");
}

#[test]
fn partial_success_is_read_in_both_encodings() {
    let wanted = PartialSuccess {
        rejected: 5,
        message: "too old".into(),
    };
    let wire = ExportResponse {
        partial_success: Some(WirePartialSuccess {
            rejected: 5,
            error_message: "too old".into(),
        }),
    };
    assert_eq!(
        PartialSuccess::from_protobuf(&wire.encode_to_vec()),
        Some(wanted.clone())
    );
    for field in [
        "rejectedSpans",
        "rejectedDataPoints",
        "rejectedLogRecords",
        "rejected_spans",
    ] {
        for number in ["5", "\"5\""] {
            let text = format!(r#"{{"partialSuccess":{{"{field}":{number},"errorMessage":"too old"}}}}"#);
            assert_eq!(
                PartialSuccess::from_json(text.as_bytes()),
                Some(wanted.clone()),
                "{text}"
            );
        }
    }
    for nothing in [
        "",
        "{}",
        r#"{"partialSuccess":{}}"#,
        r#"{"partialSuccess":null}"#,
        "no json",
    ] {
        assert_eq!(PartialSuccess::from_json(nothing.as_bytes()), None, "{nothing}");
    }
    for nothing in [&b""[..], b"\x0a\x00", b"\xff\xff\xff"] {
        assert_eq!(PartialSuccess::from_protobuf(nothing), None);
    }
}
