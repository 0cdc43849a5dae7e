//! What every OTLP client is promised, one named case a promise: ports, methods, content types, encodings, CORS, the traps
//! of JSON, and records with bad ids.

use super::*;

struct Case<'a> {
    promise: &'a str,
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Vec<u8>,
    status: u16,
    /// Headers of the answer; an empty value stands for 'must not be there'.
    answered: &'a [(&'a str, &'a str)],
    /// Must stand in the body.
    says: &'a str,
}

const LOCAL: (&str, &str) = ("origin", "http://localhost:5173");
const FOREIGN: (&str, &str) = ("origin", "https://evil.example");

fn post<'a>(
    promise: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: impl Into<Vec<u8>>,
    status: u16,
) -> Case<'a> {
    Case {
        promise,
        method: "POST",
        path,
        headers,
        body: body.into(),
        status,
        answered: &[],
        says: "",
    }
}

fn http_cases() -> Vec<Case<'static>> {
    let good = bodies::spans(2);
    let method = |method: &'static str| Case {
        method,
        answered: &[("allow", "POST")],
        ..post("other methods are 405 with Allow", "/v1/traces", &[], "", 405)
    };
    vec![
        post("traces by protobuf", "/v1/traces", &[PROTOBUF], good.clone(), 200),
        post(
            "a trailing slash is taken without redirect",
            "/v1/traces/",
            &[PROTOBUF],
            good.clone(),
            200,
        ),
        post("metrics have a path", "/v1/metrics", &[PROTOBUF], "", 200),
        post("logs have a path", "/v1/logs", &[PROTOBUF], "", 200),
        method("GET"),
        method("PUT"),
        method("DELETE"),
        post("unknown paths are 404", "/v1/profiles", &[PROTOBUF], "", 404),
        Case {
            says: "/v1/traces",
            ..post(
                "an endpoint that is used verbatim is told the path",
                "/",
                &[PROTOBUF],
                good.clone(),
                404,
            )
        },
        Case {
            says: "OTEL_EXPORTER_OTLP_ENDPOINT",
            ..post("... and the variable", "/", &[PROTOBUF], good.clone(), 404)
        },
        Case {
            says: "/v1/traces",
            ..post(
                "near misses name the right path",
                "/v1/trace",
                &[PROTOBUF],
                good.clone(),
                404,
            )
        },
        Case {
            says: "/v1/logs",
            ..post("... of logs", "/v1/log", &[PROTOBUF], "", 404)
        },
        post(
            "application/protobuf is the same",
            "/v1/traces",
            &[("content-type", "application/protobuf")],
            good.clone(),
            200,
        ),
        post(
            "content types may have parameters",
            "/v1/traces",
            &[("content-type", "Application/JSON; charset=utf-8")],
            "{}",
            200,
        ),
        post(
            "other content types are 415",
            "/v1/traces",
            &[("content-type", "text/html")],
            good.clone(),
            415,
        ),
        post("no content type is 415", "/v1/traces", &[], good.clone(), 415),
        post(
            "text/plain is 415",
            "/v1/traces",
            &[("content-type", "text/plain")],
            "{}",
            415,
        ),
        post(
            "text/plain from an allowed page with JSON is a beacon",
            "/v1/traces",
            &[("content-type", "text/plain"), LOCAL],
            "{}",
            200,
        ),
        post(
            "... but not with something else",
            "/v1/traces",
            &[("content-type", "text/plain"), LOCAL],
            good.clone(),
            415,
        ),
        post(
            "gzip",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "gzip")],
            bodies::gzip(&good),
            200,
        ),
        post(
            "deflate",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "deflate")],
            bodies::zlib(&good),
            200,
        ),
        post(
            "zstd",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "zstd")],
            bodies::zstd(&good),
            200,
        ),
        post(
            "snappy",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "snappy")],
            bodies::snappy(&good),
            200,
        ),
        post(
            "identity",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "identity")],
            good.clone(),
            200,
        ),
        post(
            "unknown encodings are 415",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "br")],
            good.clone(),
            415,
        ),
        post(
            "corrupt ones are 400",
            "/v1/traces",
            &[PROTOBUF, ("content-encoding", "gzip")],
            good.clone(),
            400,
        ),
        Case {
            answered: &[("content-type", "application/x-protobuf")],
            ..post("an answer has the request's type", "/v1/traces", &[PROTOBUF], "", 200)
        },
        Case {
            answered: &[("content-type", "application/json")],
            says: "{}",
            ..post("... also JSON", "/v1/traces", &[JSON], "{}", 200)
        },
        post("an empty JSON body is no message", "/v1/traces", &[JSON], "", 400),
        Case {
            answered: &[("content-type", "application/json"), ("retry-after", "")],
            says: "\"code\":3",
            ..post(
                "errors are a google.rpc.Status in JSON",
                "/v1/traces",
                &[JSON],
                "{",
                400,
            )
        },
        Case {
            answered: &[("content-type", "application/x-protobuf")],
            ..post("... or in protobuf", "/v1/traces", &[PROTOBUF], "x", 400)
        },
    ]
}

fn cors_cases() -> Vec<Case<'static>> {
    const ECHO: &[(&str, &str)] = &[
        ("access-control-allow-origin", "http://localhost:5173"),
        ("access-control-allow-credentials", ""),
    ];
    const NONE: &[(&str, &str)] = &[("access-control-allow-origin", "")];
    let preflight = |promise, headers: &'static [(&'static str, &'static str)], answered| Case {
        method: "OPTIONS",
        answered,
        ..post(promise, "/v1/traces", headers, "", 204)
    };
    vec![
        preflight(
            "a preflight echoes origin and headers",
            &[
                LOCAL,
                ("access-control-request-method", "POST"),
                (
                    "access-control-request-headers",
                    "content-type,x-api-key,traceparent,content-encoding",
                ),
            ],
            &[
                ("access-control-allow-origin", "http://localhost:5173"),
                ("access-control-allow-headers", "x-api-key"),
                ("access-control-max-age", "600"),
                ("vary", "rigin"),
                ("access-control-allow-credentials", ""),
            ],
        ),
        preflight(
            "a preflight is allowed into a private network if it asks",
            &[
                LOCAL,
                ("access-control-request-method", "POST"),
                ("access-control-request-private-network", "true"),
            ],
            &[("access-control-allow-private-network", "true")],
        ),
        preflight(
            "a foreign page gets no allow header",
            &[FOREIGN, ("access-control-request-method", "POST")],
            NONE,
        ),
        Case {
            answered: ECHO,
            ..post(
                "an allowed page sees its answer",
                "/v1/traces",
                &[JSON, LOCAL],
                "{}",
                200,
            )
        },
        Case {
            answered: ECHO,
            ..post("... and every error: bad data", "/v1/traces", &[JSON, LOCAL], "{", 400)
        },
        Case {
            answered: ECHO,
            ..post("... wrong path", "/v1/nothing", &[JSON, LOCAL], "{}", 404)
        },
        Case {
            answered: ECHO,
            ..post(
                "... wrong type",
                "/v1/traces",
                &[("content-type", "text/html"), LOCAL],
                "{}",
                415,
            )
        },
        Case {
            answered: ECHO,
            ..post("127.0.0.1 and any port", "/v1/traces", &[JSON, LOCAL], "{}", 200)
        },
        Case {
            answered: NONE,
            ..post("a foreign page may not send", "/v1/traces", &[JSON, FOREIGN], "{}", 403)
        },
        Case {
            answered: NONE,
            ..post(
                "null is a foreign page",
                "/v1/traces",
                &[JSON, ("origin", "null")],
                "{}",
                403,
            )
        },
        Case {
            answered: NONE,
            ..post(
                "so is one that looks alike",
                "/v1/traces",
                &[JSON, ("origin", "http://localhost.evil.example:80")],
                "{}",
                403,
            )
        },
    ]
}

/// A log record with this body, and a span with these fields.
fn json_cases() -> Vec<Case<'static>> {
    let value =
        |value: &str| format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{value}}}]}}]}}]}}");
    let span = |fields: &str| format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{{fields}}}]}}]}}]}}");
    let ids = "\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\"";
    let logs = |promise, json: String| post(promise, "/v1/logs", &[JSON], json, 200);
    let spans = |promise, json: String| post(promise, "/v1/traces", &[JSON], json, 200);
    vec![
        logs("{} is a value", value("{}")),
        logs("{} in a list", value("{\"arrayValue\":{\"values\":[{},{\"intValue\":1},null]}}")),
        logs("{} in a map", value("{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":{}},{\"key\":\"b\"}]}}")),
        logs("null for a message", value("null")),
        logs("null for a list", "{\"resourceLogs\":null}".to_owned()),
        logs("null in a list of messages", "{\"resourceLogs\":[null,{\"scopeLogs\":[null]}]}".to_owned()),
        spans("null for a scalar", span(&format!("{ids},\"name\":null,\"kind\":null,\"startTimeUnixNano\":null"))),
        spans("empty submessages", span(&format!("{ids},\"status\":{{}},\"attributes\":[],\"events\":[{{}}]"))),
        spans("unknown fields at every depth", span(&format!("{ids},\"future\":{{\"a\":[1,{{\"b\":null}}]}}"))),
        logs("unknown fields in a value", value("{\"future\":{\"x\":[]},\"stringValue\":\"s\"}")),
        spans("snake case", "{\"resource_spans\":[{\"scope_spans\":[{\"spans\":[{\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\",\"start_time_unix_nano\":\"1\"}]}]}]}".to_owned()),
        spans("enums as numbers", span(&format!("{ids},\"kind\":2,\"status\":{{\"code\":2}}"))),
        spans("enums as names", span(&format!("{ids},\"kind\":\"SPAN_KIND_SERVER\",\"status\":{{\"code\":\"STATUS_CODE_ERROR\"}}"))),
        spans("times as strings", span(&format!("{ids},\"startTimeUnixNano\":\"18446744073709551615\""))),
        spans("times as numbers", span(&format!("{ids},\"startTimeUnixNano\":1700000000000000000"))),
        logs("integers as strings", value("{\"intValue\":\"-9223372036854775808\"}")),
        logs("integers as numbers", value("{\"intValue\":9223372036854775807}")),
        logs("doubles as strings", value("{\"doubleValue\":\"1.5\"}")),
        logs("NaN", value("{\"doubleValue\":\"NaN\"}")),
        logs("Infinity", value("{\"doubleValue\":\"Infinity\"}")),
        logs("-Infinity", value("{\"doubleValue\":\"-Infinity\"}")),
        logs("base64 with padding", value("{\"bytesValue\":\"AQ==\"}")),
        logs("base64 without padding", value("{\"bytesValue\":\"AQ\"}")),
        logs("base64 of URLs", value("{\"bytesValue\":\"-_-_\"}")),
        spans("hexadecimal ids in capitals", span("\"traceId\":\"0AF7651916CD43DD8448EB211C80319C\",\"spanId\":\"B7AD6B7169203331\",\"parentSpanId\":\"\"")),
        Case {
            says: "traceId looks like base64; OTLP/JSON needs 32 hex digits (a known SDK fault: update it or use http/protobuf)",
            ..post("ids in base64 are explained", "/v1/traces", &[JSON], span("\"traceId\":\"CvdlGRbNQ92ESOshHIAxnA==\",\"spanId\":\"t61rcWkgMzE=\""), 400)
        },
        Case { says: "resourceSpans[0].scopeSpans[0].spans[0].kind", ..post("errors name the JSON path", "/v1/traces", &[JSON], span(&format!("{ids},\"kind\":[]")), 400) },
        Case { says: "rejectedSpans", ..spans("a span with a bad id does not lose the rest", format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{{{ids}}},{{\"traceId\":\"ab\",\"spanId\":\"cd\"}}]}}]}}]}}")) },
        Case { says: "rejectedSpans", ..spans("ids of zeroes are counted, not refused", span("\"traceId\":\"00000000000000000000000000000000\",\"spanId\":\"0000000000000000\"")) },
    ]
}

async fn keep(cases: Vec<Case<'_>>) {
    let cors =
        "cors: {allowed_origins: ['http://localhost:*', 'http://127.0.0.1:*'], allowed_headers: ['*'], max_age: 600}";
    let mut target = Target::start(&Setup {
        http: cors,
        ..Setup::default()
    });
    let mut wrong = Vec::new();
    for case in &cases {
        // Both ports serve both protocols, and HTTP comes in versions 1 and 2.
        for (port, http2) in [(target.http, false), (target.grpc, false), (target.http, true)] {
            let answer = send(case.method, port, http2, case.path, case.headers, case.body.clone())
                .await
                .unwrap();
            let missing: Vec<_> = case
                .answered
                .iter()
                .filter(|(name, value)| match *value {
                    "" => answer.headers.contains_key(*name),
                    value => !answer.header(name).contains(value),
                })
                .collect();
            if answer.status != case.status || !missing.is_empty() || !answer.text().contains(case.says) {
                wrong.push(format!(
                    "{} (HTTP/2: {http2}): {} {missing:?} {}",
                    case.promise,
                    answer.status,
                    answer.text()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    target.lives("the promises of the intake").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_served_as_promised() {
    keep(http_cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_browsers_are_served_as_promised() {
    keep(cors_cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_read_as_promised() {
    keep(json_cases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_is_served_as_promised_on_both_ports() {
    let mut target = Target::start(&Setup::default());
    let method = |service: &str| format!("/opentelemetry.proto.collector.{service}/Export");
    let good = bodies::spans(2);
    let packed: [(&str, Vec<u8>); 5] = [
        ("identity", good.clone()),
        ("gzip", bodies::gzip(&good)),
        ("deflate", bodies::zlib(&good)),
        ("zstd", bodies::zstd(&good)),
        ("snappy", bodies::snappy(&good)),
    ];
    for port in [target.grpc, target.http] {
        for service in [
            "trace.v1.TraceService",
            "metrics.v1.MetricsService",
            "logs.v1.LogsService",
        ] {
            let empty = grpc(port, &method(service), &[], bodies::framed(0, &[])).await;
            assert_eq!(empty.code(), 0, "an empty request of {service}");
            for (encoding, _) in &packed {
                let answer = grpc(
                    port,
                    &method(service),
                    &[("grpc-encoding", encoding)],
                    bodies::framed(0, &[]),
                )
                .await;
                assert_eq!(answer.code(), 0, "{encoding} on {service}");
            }
            let garbage = grpc(port, &method(service), &[], bodies::framed(0, b"\xff\xff\xff")).await;
            assert_eq!(garbage.code(), 3, "garbage on {service}");
        }
        for (encoding, body) in &packed {
            let flag = u8::from(*encoding != "identity");
            let answer = grpc(port, TRACES, &[("grpc-encoding", encoding)], bodies::framed(flag, body)).await;
            assert_eq!(answer.code(), 0, "{encoding}: {answer:?}");
        }
        for unknown in [
            "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
            "/nothing",
        ] {
            assert_eq!(
                grpc(port, unknown, &[], bodies::framed(0, &[])).await.code(),
                12,
                "{unknown}"
            );
        }
        let over = grpc(port, TRACES, &[], bodies::framed(0, &vec![0; (4 << 20) + 1])).await;
        assert_eq!((over.code(), over.is_retryable()), (8, false), "over the cap");
        let unknown = grpc(port, TRACES, &[("grpc-encoding", "br")], bodies::framed(1, &good)).await;
        assert_eq!(unknown.code(), 12);
        assert!(unknown.header("grpc-accept-encoding").contains("gzip"));
    }
    target.lives("gRPC").await;
}
