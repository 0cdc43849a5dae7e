//! Every gRPC and HTTP status of a far end, seen through receiver and exporter in the four combinations of protocols:
//! what comes out is what the OTLP specification and the Collector's behaviour say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::support::{Agent, free_ports};

/// What the far end answers next.
#[derive(Clone)]
enum Answer {
    Grpc {
        code: i32,
        retry_after: Option<u64>,
    },
    Http {
        status: u16,
        retry_after: Option<&'static str>,
    },
}

struct FarEnd {
    address: std::net::SocketAddr,
    answer: Arc<Mutex<Answer>>,
    _tasks: tokio::task::JoinSet<()>,
}

impl FarEnd {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(Answer::Grpc {
            code: 0,
            retry_after: None,
        }));
        let mut tasks = tokio::task::JoinSet::new();
        let shared = Arc::clone(&answer);
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| answer_one(request, Arc::clone(&shared)));
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self {
            address,
            answer,
            _tasks: tasks,
        }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

type AnswerBody = BoxBody<Bytes, std::convert::Infallible>;

async fn answer_one(
    request: Request<Incoming>,
    answer: Arc<Mutex<Answer>>,
) -> Result<Response<AnswerBody>, std::convert::Infallible> {
    let _ = request.into_body().collect().await;
    let answer = answer.lock().unwrap().clone();
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    match answer {
        Answer::Grpc { code, retry_after } => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(code));
            trailers.insert("grpc-message", HeaderValue::from_static("as told"));
            if let Some(seconds) = retry_after {
                trailers.insert("grpc-status-details-bin", retry_info(code, seconds));
            }
            // An empty ExportTraceServiceResponse, then trailers.
            let message = Full::new(Bytes::from_static(&[0, 0, 0, 0, 0]));
            *response.body_mut() = message.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/grpc"));
        }
        Answer::Http { status, retry_after } => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(text) = retry_after {
                response
                    .headers_mut()
                    .insert("retry-after", HeaderValue::from_static(text));
            }
        }
    }
    Ok(response)
}

fn retry_info(code: i32, seconds: u64) -> HeaderValue {
    #[derive(Clone, PartialEq, Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        delay: Option<prost_types::Duration>,
    }
    let delay = prost_types::Duration {
        seconds: seconds as i64,
        nanos: 0,
    };
    let value = RetryInfo { delay: Some(delay) }.encode_to_vec();
    let details = vec![Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value,
    }];
    let bytes = RpcStatus { code, details }.encode_to_vec();
    use base64::Engine;
    HeaderValue::try_from(base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)).unwrap()
}

fn one_span() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "one".to_owned(),
        ..Span::default()
    };
    let scope = ScopeSpans {
        spans: vec![span],
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
}

/// An agent without queue and retry, so that the client sees what the far end says.
fn agent(exporter: &str) -> (Agent, u16, u16) {
    let ports = free_ports(2);
    let (grpc, http) = (ports[0], ports[1]);
    let config = format!(
        r#"
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
exporters: {exporter}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [{name}]}}}}
"#,
        name = exporter.trim_start_matches('{').split(':').next().unwrap().trim(),
    );
    (Agent::ready(&config), grpc, http)
}

async fn export_grpc(port: u16) -> Result<(), Status> {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let channel = channel.connect_timeout(Duration::from_secs(5)).connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let codec = tonic_prost::ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
    client
        .unary(tonic::Request::new(one_span()), path, codec)
        .await
        .map(drop)
}

/// Status and Retry-After.
async fn export_http(port: u16) -> (u16, Option<String>) {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let request = Request::post("/v1/traces")
        .header("host", "localhost")
        .header("content-type", "application/x-protobuf")
        .body(Full::new(Bytes::from(one_span().encode_to_vec())))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let retry_after = answer
        .headers()
        .get("retry-after")
        .map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), retry_after)
}

/// The HTTP code for a gRPC code, as the specification's table has it.
fn http_of(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => 503,
        Code::ResourceExhausted => 429,
        Code::InvalidArgument => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::Unimplemented => 404,
        _ => 500,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_grpc_codes_of_a_far_end_pass_through_in_both_protocols() {
    let far = FarEnd::start().await;
    let exporter = format!(
        r#"{{otlp: {{endpoint: "{}", tls: {{insecure: true}}, sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}}}"#,
        far.address
    );
    let (mut agent, grpc, http) = agent(&exporter);
    for number in 0..=16 {
        let code = Code::from_i32(number);
        far.answers(Answer::Grpc {
            code: number,
            retry_after: None,
        });
        let seen = export_grpc(grpc)
            .await
            .map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(seen, code, "gRPC client, far end says {code:?}");
        let (status, _) = export_http(http).await;
        assert_eq!(status, http_of(code), "HTTP client, far end says {code:?}");
    }
    // The delay passes through, too.
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        far.answers(Answer::Grpc {
            code: code as i32,
            retry_after: Some(7),
        });
        let status = export_grpc(grpc).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert!(!status.details().is_empty(), "RetryInfo is in the details");
        assert_eq!(export_http(http).await, (http_of(code), Some("7".to_owned())));
    }
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_statuses_of_a_far_end_stay_retryable_or_final_in_both_protocols() {
    let far = FarEnd::start().await;
    let exporter = format!(
        r#"{{otlphttp: {{endpoint: "http://{}", sending_queue: {{enabled: false}}, retry_on_failure: {{enabled: false}}}}}}"#,
        far.address
    );
    let (mut agent, grpc, http) = agent(&exporter);
    for status in [200, 202, 204] {
        far.answers(Answer::Http {
            status,
            retry_after: None,
        });
        assert!(export_grpc(grpc).await.is_ok(), "{status} is success");
        assert_eq!(export_http(http).await.0, 200, "{status} is success");
    }
    for status in [429, 502, 503, 504] {
        far.answers(Answer::Http {
            status,
            retry_after: Some("9"),
        });
        // Retry-After is defined for 429 and 503 only.
        let says_when = matches!(status, 429 | 503);
        let seen = export_grpc(grpc).await.unwrap_err();
        let retryable = seen.code() == Code::Unavailable || (seen.code() == Code::ResourceExhausted && says_when);
        assert!(retryable, "gRPC client, {status}: {seen:?}");
        assert_eq!(!seen.details().is_empty(), says_when, "gRPC client, {status}: {seen:?}");
        let (seen, after) = export_http(http).await;
        assert!(matches!(seen, 429 | 502 | 503 | 504), "HTTP client, {status}: {seen}");
        assert_eq!(after.as_deref(), says_when.then_some("9"));
        // Without a delay from the far end a client must still be able to tell that it may try again.
        far.answers(Answer::Http {
            status,
            retry_after: None,
        });
        let seen = export_grpc(grpc).await.unwrap_err();
        let retryable = seen.code() == Code::Unavailable || !seen.details().is_empty();
        assert!(retryable, "gRPC client, {status} without a delay: {seen:?}");
    }
    for status in [400, 401, 403, 404, 405, 408, 413, 415, 500, 501] {
        far.answers(Answer::Http {
            status,
            retry_after: None,
        });
        let seen = export_grpc(grpc).await.unwrap_err().code();
        let retried = matches!(
            seen,
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        assert!(!retried, "gRPC client, {status} is final, got {seen:?}");
        let (seen, _) = export_http(http).await;
        assert!(
            (400..=500).contains(&seen) && seen != 429,
            "HTTP client, {status} is final, got {seen}"
        );
    }
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}
