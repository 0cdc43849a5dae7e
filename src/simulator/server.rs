//! The HTTP side: routes a request by path, target and signing scope, and encodes the answer in the caller's protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

use super::answer::{ApiError, Caller};
use super::faults::{Struck, strike};
use super::value::Value;
use super::{Call, Simulator, cloudwatch, control, dynamodb, gms, insights, locked, s3, sagemaker, sts, tagging, xray};
use crate::component::{Deadline, Running};
use crate::net::server::{BindError, Endpoint, HttpServer, ServerSettings, serve_http};

/// More than the largest request that any of these services takes (5 MB of OTLP).
const MAX_BODY: usize = 8 << 20;

const CBOR_PATH: &str = "/service/GraniteServiceVersion20100801/operation/";

/// Prefix of X-Amz-Target, prefix of error types, and the JSON protocol of each service.
const TARGETS: &[(&str, &str, Protocol)] = &[
    (
        "GraniteServiceVersion20100801.",
        "com.amazonaws.cloudwatch",
        Protocol::Json,
    ),
    ("DynamoDB_20120810.", "com.amazonaws.dynamodb.v20120810", Protocol::Json),
    ("SageMaker.", "com.amazonaws.sagemaker", Protocol::Json11),
    (
        "ResourceGroupsTaggingAPI_20170126.",
        "com.amazonaws.tagging",
        Protocol::Json11,
    ),
    ("Logs_20140328.", "com.amazonaws.logs", Protocol::Json11),
];

/// What requests under way get when the server is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A running server; stops when told to or dropped.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    http: HttpServer,
}

impl Served {
    /// The endpoint URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting and waits a moment for requests under way.
    pub async fn stop(&self) {
        self.http.stop(Deadline::after(LAST_ANSWERS)).await;
    }
}

impl Simulator {
    /// Serves on `listen` until stopped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(self: &Arc<Self>, listen: SocketAddr) -> Result<Served, BindError> {
        let refused = |reason: String| BindError {
            address: listen.to_string(),
            reason,
        };
        let endpoint = Endpoint::parse(&listen.to_string()).map_err(refused)?;
        let simulator = Arc::clone(self);
        let answer = move |request, _peer| handle(Arc::clone(&simulator), request);
        let http = serve_http(&ServerSettings::new(endpoint), answer).await?;
        let bound = http.addresses().first().copied();
        let address = bound.ok_or_else(|| refused("nothing was bound".to_owned()))?;
        Ok(Served { address, http })
    }
}

/// The protocols an answer may be in.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Cbor,
    Json,
    Json11,
    Query,
}

/// One routed call.
struct Routed {
    protocol: Protocol,
    /// Prefix of error types.
    namespace: &'static str,
    api: String,
}

fn route(path: &str, headers: &HeaderMap, body: &[u8]) -> Option<Routed> {
    if let Some(api) = path.strip_prefix(CBOR_PATH) {
        let is_cbor = headers
            .get("smithy-protocol")
            .is_some_and(|value| value.as_bytes() == b"rpc-v2-cbor");
        return is_cbor.then(|| Routed {
            protocol: Protocol::Cbor,
            namespace: "com.amazonaws.cloudwatch",
            api: api.to_owned(),
        });
    }
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    if let Some(target) = target {
        let mut services = TARGETS.iter();
        return services.find_map(|(prefix, namespace, protocol)| {
            Some(Routed {
                protocol: *protocol,
                namespace,
                api: target.strip_prefix(prefix)?.to_owned(),
            })
        });
    }
    let form = sts::fields(body);
    let (_, action) = form.into_iter().find(|(name, _)| name == "Action")?;
    Some(Routed {
        protocol: Protocol::Query,
        namespace: if action == "Publish" { "sns" } else { "sts" },
        api: action,
    })
}

async fn handle(simulator: Arc<Simulator>, request: Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), MAX_BODY).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "request body is larger than 8 MiB");
    };
    if let Some(command) = head.uri.path().strip_prefix("/_sim/") {
        return control::answer(&simulator, command, head.uri.query().unwrap_or_default(), &body).await;
    }
    if let Some(api) = xray::api_of(head.uri.path()) {
        return xray::handle(&simulator, api, &head, body).await;
    }
    if s3::is_for(&head.headers) {
        return s3::handle(&simulator, &head, body).await;
    }
    let Some(routed) = route(head.uri.path(), &head.headers, &body) else {
        return plain(StatusCode::NOT_FOUND, "no such AWS API in this simulator");
    };
    let account = simulator.world().scenario.account.clone();
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = match Caller::from_authorization(authorization, &account) {
        Ok(caller) => caller,
        Err(error) => return failed(&simulator, &routed, &error),
    };
    let struck = {
        let minute = simulator.world().minute_of(simulator.now_s() as i64);
        let now = simulator.now_s();
        strike(&mut locked(&simulator.faults), &routed.api, &caller, minute, now)
    };
    if struck.reset {
        return reset();
    }
    if struck.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(struck.delay_ms)).await;
    }
    let result = call(&simulator, &routed, &caller, &body, &struck);
    let response = match result {
        Ok((bytes, units)) => {
            let now = simulator.now_s();
            locked(&simulator.bill).charge(now, &caller.account, &caller.region, &routed.api, units);
            let mut bytes = bytes;
            if struck.truncate {
                bytes.truncate(bytes.len() / 2);
            }
            if struck.malform
                && let Some(first) = bytes.first_mut()
            {
                // Neither CBOR nor JSON begins like this.
                *first = 0xff;
            }
            respond(&simulator, routed.protocol, 200, bytes, None)
        }
        Err(error) => failed(&simulator, &routed, &error),
    };
    simulator.note(Call {
        api: routed.api,
        account: caller.account,
        region: caller.region,
        at: simulator.now_s(),
        status: response.status().as_u16(),
    });
    response
}

/// The encoded answer and the metrics it is billed for.
fn call(
    simulator: &Simulator,
    routed: &Routed,
    caller: &Caller,
    body: &Bytes,
    struck: &Struck,
) -> Result<(Vec<u8>, u64), ApiError> {
    if let Some(error) = &struck.error {
        return Err(error.clone());
    }
    let world = simulator.world();
    let now = simulator.now_s();
    locked(&simulator.limits).call(caller, &routed.api, now)?;
    let expected = match routed.namespace {
        "com.amazonaws.cloudwatch" => "monitoring",
        "com.amazonaws.sagemaker" => "sagemaker",
        "com.amazonaws.tagging" => "tagging",
        "sns" => "sns",
        "com.amazonaws.logs" => "logs",
        "sts" => "sts",
        _ => "dynamodb",
    };
    if caller.service != expected {
        return Err(ApiError {
            status: 403,
            code: "SignatureDoesNotMatch".to_owned(),
            message: format!("Credential should be scoped to correct service: '{expected}'."),
        });
    }
    if routed.namespace == "sns" {
        let published = locked(&simulator.sns).publish(caller, &sts::fields(body), now);
        return published.map(|xml| (xml.into_bytes(), 0));
    }
    if routed.protocol == Protocol::Query {
        return sts::call(&world, caller, &sts::fields(body), now).map(|xml| (xml.into_bytes(), 0));
    }
    if expected == "dynamodb"
        && let Ok(request) = serde_json::from_slice::<serde_json::Value>(body)
    {
        let mut tables = locked(&simulator.tables);
        if tables.is_about(caller, &routed.api, &request) {
            let answer = tables.call(caller, &routed.api, &request, now)?;
            return Ok((answer.json.to_string().into_bytes(), answer.half_units));
        }
    }
    let read = match routed.protocol {
        Protocol::Cbor => Value::from_cbor(body),
        _ => Value::from_json(body),
    };
    let request = read.map_err(|error| ApiError::sender("SerializationException", error.to_string()))?;
    let (answer, units) = match (expected, routed.api.as_str()) {
        ("monitoring", "GetMetricData") if xray::is_about_xray(&request) => {
            let region = &caller.region;
            simulator.xray.metric_data(&world.scenario, region, &request, now)?
        }
        ("logs", "FilterLogEvents") => {
            let region = &caller.region;
            let answer = simulator
                .xray
                .log_events(&world.scenario, region, &request, now, struck)?;
            (answer, 0)
        }
        ("logs", other) => {
            let message = format!("the simulator does not know {other}");
            return Err(ApiError::sender("UnknownOperationException", message));
        }
        ("monitoring", "GetMetricData") => {
            let (points, age) = cloudwatch::points_asked(&request, now);
            locked(&simulator.limits).points(caller, points, age, now)?;
            let billed = cloudwatch::get_metric_data(&world, caller, &request, now, &struck.paging)?;
            (billed.answer, billed.units)
        }
        ("monitoring", "ListMetrics") => (cloudwatch::list_metrics(&world, caller, &request, now)?, 0),
        ("monitoring", "GetMetricStatistics") => (gms::get_metric_statistics(&world, caller, &request, now)?, 0),
        // Billed like one metric.
        ("monitoring", "GetInsightRuleReport") => (insights::report(&world, caller, &request, now)?, 1),
        ("monitoring", other) => {
            return Err(ApiError::sender(
                "InvalidAction",
                format!("Could not find operation {other}"),
            ));
        }
        ("sagemaker", other) => (sagemaker::call(&world, caller, other, &request, now)?, 0),
        ("tagging", other) => (tagging::call(&world, caller, other, &request)?, 0),
        (_, other) => (dynamodb::call(&world, caller, other, &request, now)?, 0),
    };
    let bytes = match routed.protocol {
        Protocol::Cbor => answer.to_cbor(),
        _ => answer.to_json(),
    };
    Ok((bytes, units))
}

fn failed(simulator: &Simulator, routed: &Routed, error: &ApiError) -> Response {
    let bytes = match routed.protocol {
        Protocol::Cbor => error.body(routed.namespace).to_cbor(),
        Protocol::Json | Protocol::Json11 => error.body(routed.namespace).to_json(),
        Protocol::Query => error.xml().into_bytes(),
    };
    respond(simulator, routed.protocol, error.status, bytes, Some(error))
}

fn respond(
    simulator: &Simulator,
    protocol: Protocol,
    status: u16,
    bytes: Vec<u8>,
    error: Option<&ApiError>,
) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let content_type = match protocol {
        Protocol::Cbor => "application/cbor",
        Protocol::Json => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::Query => "text/xml",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if protocol == Protocol::Cbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    headers.insert(
        "x-amzn-requestid",
        HeaderValue::from_static("00000000-0000-4000-8000-000000000000"),
    );
    if let Some(error) = error
        && protocol != Protocol::Query
        && let Ok(value) = HeaderValue::from_str(&format!("{};{}", error.code, error.fault()))
    {
        headers.insert(HeaderName::from_static("x-amzn-query-error"), value);
    }
    if let Some(date) = date(simulator) {
        headers.insert(header::DATE, date);
    }
    response
}

/// An answer that breaks off: the connection is closed instead of a body.
pub(super) fn reset() -> Response {
    Response::new(Body::new(BrokenBody))
}

/// A body that fails at once.
struct BrokenBody;

impl http_body::Body for BrokenBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        std::task::Poll::Ready(Some(Err(broken)))
    }
}

/// The service's time is the simulated one, unless a fault says otherwise.
pub(super) fn date(simulator: &Simulator) -> Option<HeaderValue> {
    let skew = *locked(&simulator.skew);
    let now = jiff::Timestamp::from_second((simulator.now_s() + skew) as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
    date.ok().and_then(|date| HeaderValue::from_str(&date).ok())
}

/// An answer outside the protocols.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
