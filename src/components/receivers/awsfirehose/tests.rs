//! Socket tests, with a pusher that does what Firehose does.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;

use ::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use super::*;
use crate::aws::cloudwatch::{Builder, StreamPoint};
use crate::component::{Outlet, Refused, SampleValue, Stage};
use crate::net::tls::test_certificates::Authority;
use crate::pdata::{Batch, Decoded};

const KEY: &str = "a-long-random-text";

#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    refusal: Mutex<Option<Refused>>,
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let refusal = self.refusal.lock().unwrap().clone();
        if refusal.is_none() {
            self.batches.lock().unwrap().push(batch);
        }
        Box::pin(async move { refusal.map_or(Ok(()), Err) })
    }
}

struct Harness {
    receiver: Receiver,
    sink: Arc<Sink>,
    context: BuildContext,
}

async fn start_yaml(more: &str) -> Harness {
    let yaml = format!("endpoint: 127.0.0.1:0\naccess_key: {KEY}\n{more}\n");
    let section = Section::from_yaml(&yaml);
    let settings = Settings::check(&section);
    assert!(!section.has_errors(), "{:?}", section.problems());
    let sink = Arc::new(Sink::default());
    let mut next = Outlets::default();
    next.set(Signal::Metrics, Outlet::to(sink.clone()));
    let context = BuildContext::standalone(ComponentKind::Receiver, "awsfirehose");
    let receiver = start(&settings.unwrap(), &context, next).await.unwrap();
    Harness {
        receiver,
        sink,
        context,
    }
}

impl Harness {
    fn address(&self) -> SocketAddr {
        self.receiver.server.addresses()[0]
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for mut batch in std::mem::take(&mut *self.sink.batches.lock().unwrap()) {
            let items = batch.items();
            let Decoded::Metrics(request) = batch.decode().unwrap() else {
                panic!("no metrics")
            };
            assert_eq!(Decoded::Metrics(request.clone()).count_items(), items);
            let scopes = request.resource_metrics.iter().flat_map(|group| &group.scope_metrics);
            metrics.extend(scopes.flat_map(|scope| scope.metrics.clone()));
        }
        metrics
    }

    fn count(&self, name: &str, label: Option<(&'static str, &str)>) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let found = samples.iter().find(|sample| {
            let fits = label.is_none_or(|(key, value)| sample.labels.contains(&(key, value.to_owned())));
            sample.name == name && fits
        });
        match found.map(|sample| &sample.value) {
            Some(SampleValue::Counter(count)) => *count,
            _ => 0,
        }
    }
}

/// What Firehose sends for one batch of records.
struct Push {
    id: &'static str,
    records: Vec<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
    gzip: bool,
}

fn push(id: &'static str, records: Vec<Vec<u8>>) -> Push {
    Push {
        id,
        records,
        headers: vec![
            ("x-amz-firehose-request-id", id.to_owned()),
            ("x-amz-firehose-access-key", KEY.to_owned()),
            ("x-amz-firehose-protocol-version", "1.0".to_owned()),
            (
                "x-amz-firehose-source-arn",
                "arn:aws:firehose:eu-central-1:111122223333:deliverystream/s".to_owned(),
            ),
            ("content-type", "application/json".to_owned()),
        ],
        gzip: false,
    }
}

impl Push {
    fn body(&self) -> String {
        let records: Vec<Value> = self
            .records
            .iter()
            .map(|record| serde_json::json!({ "data": STANDARD.encode(record) }))
            .collect();
        serde_json::json!({ "requestId": self.id, "timestamp": 1_767_225_600_000_u64, "records": records }).to_string()
    }

    async fn to(&self, address: SocketAddr) -> (u16, Value) {
        self.send(address, self.body().into_bytes()).await
    }

    async fn send(&self, address: SocketAddr, body: Vec<u8>) -> (u16, Value) {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://{address}/any/path"));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = if self.gzip {
            request = request.header("content-encoding", "gzip");
            gzip(&body)
        } else {
            body
        };
        let answer = client
            .request(request.body(Full::new(Bytes::from(body))).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// As Firehose does: the same request again until it is taken.
    async fn until_taken(&self, address: SocketAddr, tries: usize) -> usize {
        for attempt in 1..=tries {
            if self.to(address).await.0 == 200 {
                return attempt;
            }
        }
        panic!("never taken");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn line(metric: &str, value: f64) -> String {
    serde_json::json!({
        "metric_stream_name": "all", "account_id": "111122223333", "region": "eu-central-1",
        "namespace": "AWS/DynamoDB", "metric_name": metric, "dimensions": {"TableName": "orders"},
        "timestamp": 1_767_225_600_000_u64, "unit": "Count",
        "value": {"count": 60.0, "sum": value, "max": 9.0, "min": 1.0},
    })
    .to_string()
}

fn lines(values: &[f64]) -> Vec<u8> {
    let lines = values
        .iter()
        .map(|value| line("ConsumedReadCapacityUnits", *value) + "\n");
    lines.collect::<String>().into_bytes()
}

/// An OTLP 1.0.0 message as a Metric Stream writes it.
fn message(metric: &str, value: f64) -> Vec<u8> {
    let point = StreamPoint::from_json(line(metric, value).as_bytes()).unwrap();
    let (id, resource) = point.resource();
    let mut builder = Builder::new("stream");
    point.add_summary(&id, &mut builder);
    builder.finish(|_| resource.clone()).encode_to_vec()
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut record = Vec::new();
    for message in messages {
        crate::wire::put_varint(&mut record, message.len() as u64);
        record.extend_from_slice(message);
    }
    record
}

fn sums(metrics: &[Metric]) -> Vec<f64> {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
    let mut values = Vec::new();
    for metric in metrics {
        let Some(Data::Sum(sum)) = &metric.data else {
            panic!("no sum: {metric:?}")
        };
        for point in &sum.data_points {
            match point.value {
                Some(Number::AsDouble(value)) => values.push(value),
                _ => panic!("{point:?}"),
            }
        }
    }
    values.sort_by(f64::total_cmp);
    values
}

#[tokio::test]
async fn takes_framed_otlp_and_answers_as_firehose_wants_it() {
    let harness = start_yaml("encoding: otlp_v1").await;
    let record = framed(&[
        message("ConsumedReadCapacityUnits", 5.0),
        message("ConsumedWriteCapacityUnits", 7.0),
    ]);
    let second = framed(&[message("ConsumedReadCapacityUnits", 6.0)]);
    let (status, answer) = push("id-1", vec![record, second]).to(harness.address()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["requestId"], "id-1");
    assert!(answer["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    let metrics = harness.metrics();
    assert_eq!(sums(&metrics), [5.0, 6.0, 7.0]);
    assert_eq!(metrics[0].name, "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits");
    assert_eq!(harness.count("radiosonde_firehose_records_total", None), 2);
    assert_eq!(harness.count("otelcol_receiver_accepted_metric_points", None), 3);
}

#[tokio::test]
async fn takes_json_lines_with_gzip_and_the_older_key() {
    let harness = start_yaml("record_type: cwmetrics").await;
    let mut push = push("id-1", vec![lines(&[1.0, 2.0]), lines(&[3.0]), Vec::new()]);
    push.gzip = true;
    let (status, answer) = push.to(harness.address()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(sums(&harness.metrics()), [1.0, 2.0, 3.0]);
}

#[tokio::test]
async fn without_conversion_otlp_stays_the_bytes_it_was() {
    let harness = start_yaml("encoding: otlp_v1\nconvert: none").await;
    let messages = [message("ConsumedReadCapacityUnits", 5.0), message("UserErrors", 7.0)];
    let (status, _) = push("id-1", vec![framed(&messages)]).to(harness.address()).await;
    assert_eq!(status, 200);
    let batch = harness.sink.batches.lock().unwrap().remove(0);
    assert_eq!(batch.items(), 2);
    assert_eq!(batch.into_bytes(), messages.concat());
}

#[tokio::test]
async fn without_conversion_json_lines_become_summaries() {
    let harness = start_yaml("convert: none").await;
    push("id-1", vec![lines(&[5.0])])
        .until_taken(harness.address(), 1)
        .await;
    let metrics = harness.metrics();
    let Some(Data::Summary(summary)) = &metrics[0].data else {
        panic!("{metrics:?}")
    };
    let point = &summary.data_points[0];
    assert_eq!((point.count, point.sum), (60, 5.0));
    let keys: Vec<&str> = point
        .attributes
        .iter()
        .map(|attribute| attribute.key.as_str())
        .collect();
    assert_eq!(keys, ["Namespace", "MetricName", "Dimensions"]);
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_401() {
    let harness = start_yaml("").await;
    for key in [None, Some(""), Some("a-long-random-tex"), Some("A-long-random-text")] {
        let mut push = push("id-1", vec![lines(&[1.0])]);
        push.headers.retain(|(name, _)| *name != "x-amz-firehose-access-key");
        push.headers
            .extend(key.map(|key| ("x-amz-firehose-access-key", key.to_owned())));
        let (status, answer) = push.to(harness.address()).await;
        assert_eq!((status, &answer["requestId"]), (401, &Value::from("id-1")), "{key:?}");
        assert_eq!(answer["errorMessage"], "invalid firehose access key");
    }
    assert!(harness.metrics().is_empty());
    let unauthorized = Some(("outcome", "unauthorized"));
    assert_eq!(harness.count("radiosonde_firehose_requests_total", unauthorized), 4);
    assert_eq!(push("id-1", vec![lines(&[1.0])]).to(harness.address()).await.0, 200);
}

#[tokio::test]
async fn what_the_pipeline_refuses_comes_again_and_what_it_took_is_not_doubled() {
    let harness = start_yaml("").await;
    *harness.sink.refusal.lock().unwrap() = Some(Refused::retryable("queue is full"));
    let push = push("id-1", vec![lines(&[1.0, 2.0])]);
    let (status, answer) = push.to(harness.address()).await;
    assert_eq!((status, &answer["errorMessage"]), (503, &Value::from("queue is full")));
    *harness.sink.refusal.lock().unwrap() = Some(Refused::permanent("too large for the queue"));
    assert_eq!(push.to(harness.address()).await.0, 500);
    *harness.sink.refusal.lock().unwrap() = None;
    assert_eq!(push.until_taken(harness.address(), 1).await, 1);
    // The answer was lost on the way, as far as Firehose knows.
    for _ in 0..3 {
        let (status, answer) = push.to(harness.address()).await;
        assert_eq!((status, &answer["requestId"]), (200, &Value::from("id-1")));
    }
    assert_eq!(sums(&harness.metrics()), [1.0, 2.0]);
    let duplicate = Some(("outcome", "duplicate"));
    assert_eq!(harness.count("radiosonde_firehose_requests_total", duplicate), 3);
    assert_eq!(harness.count("otelcol_receiver_accepted_metric_points", None), 2);
}

#[tokio::test]
async fn a_truncated_tail_costs_only_itself_and_is_counted() {
    let harness = start_yaml("encoding: otlp_v1").await;
    let mut record = framed(&[
        message("ConsumedReadCapacityUnits", 5.0),
        message("ConsumedReadCapacityUnits", 6.0),
    ]);
    record.truncate(record.len() - 3);
    assert_eq!(push("id-1", vec![record]).to(harness.address()).await.0, 200);
    assert_eq!(sums(&harness.metrics()), [5.0]);
    let truncated = Some(("reason", "truncated"));
    assert_eq!(harness.count("radiosonde_firehose_unreadable_total", truncated), 1);
    assert_eq!(harness.count("otelcol_dropped_items", Some(("reason", "invalid"))), 1);
}

#[tokio::test]
async fn a_bad_line_costs_only_itself_but_nothing_usable_is_an_error() {
    let harness = start_yaml("").await;
    let mut record = b"{\"metric_name\": 1}\n".to_vec();
    record.extend_from_slice(&lines(&[4.0]));
    assert_eq!(push("id-1", vec![record]).to(harness.address()).await.0, 200);
    assert_eq!(sums(&harness.metrics()), [4.0]);
    let malformed = Some(("reason", "malformed"));
    assert_eq!(harness.count("radiosonde_firehose_unreadable_total", malformed), 1);
    let (status, answer) = push("id-2", vec![b"not json\n".to_vec()]).to(harness.address()).await;
    assert_eq!(status, 400);
    assert!(
        answer["errorMessage"]
            .as_str()
            .unwrap()
            .starts_with("no record can be read"),
        "{answer}"
    );
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let harness = start_yaml("max_request_body_size: 64KiB").await;
    let good = push("id-1", Vec::new());
    let of = |body: &str| body.as_bytes().to_vec();
    for (body, expected, message) in [
        (of("{"), 400, "the body is no Firehose request"),
        (of("{\"records\":[]}"), 400, "missing request id in body"),
        (of("{\"requestId\":\"other\"}"), 400, "different request id in body"),
        (
            of("{\"requestId\":\"id-1\",\"records\":[{\"data\":\"*\"}]}"),
            400,
            "unable to base64 decode the record at index 0",
        ),
        (vec![b' '; 70_000], 413, "request body is larger than 65536 bytes"),
    ] {
        let (status, answer) = good.send(harness.address(), body).await;
        let told = answer["errorMessage"].as_str().unwrap();
        assert!(status == expected && told.starts_with(message), "{status} {answer}");
    }
    let mut bomb = push("id-1", Vec::new());
    bomb.gzip = true;
    let (status, answer) = bomb.send(harness.address(), vec![b' '; 10 << 20]).await;
    assert_eq!(status, 413, "{answer}");
    let mut nameless = push("", Vec::new());
    nameless
        .headers
        .retain(|(name, _)| *name != "x-amz-firehose-request-id");
    let (status, answer) = nameless.to(harness.address()).await;
    assert_eq!(
        (status, &answer["errorMessage"]),
        (400, &Value::from("missing request id in header"))
    );
    // None of them stands in the way of the right one.
    assert_eq!(good.to(harness.address()).await.0, 200);
}

#[tokio::test]
async fn common_attributes_go_to_every_resource_that_lacks_them() {
    let harness = start_yaml("encoding: otlp_v1").await;
    let common = r#"{"commonAttributes":{"team":"shop","cloud.region":"elsewhere"}}"#;
    let mut push = push("id-1", vec![framed(&[message("ConsumedReadCapacityUnits", 5.0)])]);
    push.headers
        .push(("x-amz-firehose-common-attributes", common.to_owned()));
    assert_eq!(push.to(harness.address()).await.0, 200);
    let bytes = harness.sink.batches.lock().unwrap().remove(0).into_bytes();
    let request = ExportMetricsServiceRequest::decode(bytes).unwrap();
    let attributes = &request.resource_metrics[0].resource.as_ref().unwrap().attributes;
    let keys: Vec<&str> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(keys.iter().filter(|key| **key == "cloud.region").count(), 1, "{keys:?}");
    assert!(
        keys.contains(&"team") && keys.contains(&"cloud.resource_id"),
        "{keys:?}"
    );
    assert!(!format!("{attributes:?}").contains("elsewhere"));
}

#[tokio::test]
async fn a_large_request_goes_through_a_blocking_thread_and_gives_its_memory_back() {
    let harness = start_yaml("").await;
    let many: Vec<f64> = (0..2_000).map(f64::from).collect();
    let (status, answer) = push("id-1", vec![lines(&many)]).to(harness.address()).await;
    assert_eq!(status, 200, "{answer}");
    {
        let batches = harness.sink.batches.lock().unwrap();
        let held: u64 = batches[0].origin().permits.iter().map(|permit| permit.bytes()).sum();
        assert_eq!(held, batches[0].wire_len() as u64);
    }
    assert_eq!(sums(&harness.metrics()).len(), 2_000);
    assert_eq!(harness.context.memory.used(), 0);
}

#[test]
fn wrong_sections_are_told() {
    for (yaml, told) in [
        ("endpoint: localhost:4433", "`access_key` is required"),
        ("access_key: a\nencoding: cwlogs", "\"cwlogs\" is not built yet"),
        ("access_key: a\nencoding: csv", "unknown encoding \"csv\""),
        (
            "access_key: a\nencoding: otlp_v1\nrecord_type: cwmetrics",
            "set one of them",
        ),
        ("access_key: a\nconvert: maybe", "maybe"),
    ] {
        let section = Section::from_yaml(yaml);
        let _ = Settings::check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(told)),
            "{yaml}: {problems:?}"
        );
    }
}

/// One request over TLS, as Firehose sends it: HTTP/1.1 on a certificate that it trusts. `None`: no connection.
async fn push_over_tls(address: SocketAddr, authority: &Authority, push: &Push) -> Option<(u16, Value)> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TokioIo::new(connector.connect(name, stream).await.ok()?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.ok()?;
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::post("/any/path").header("host", "localhost");
    for (name, value) in &push.headers {
        request = request.header(*name, value);
    }
    let body = Full::new(Bytes::from(push.body()));
    let answer = sender.send_request(request.body(body).unwrap()).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap()))
}

#[tokio::test]
async fn over_tls_a_stream_is_taken_and_a_sender_that_does_not_trust_us_or_speaks_plainly_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let issued = authority.issue_server();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (write("cert.pem", &issued.certificate), write("key.pem", &issued.key));
    let tls = format!("encoding: cwmetrics\ntls: {{cert_file: '{certificate}', key_file: '{key}'}}");
    let harness = start_yaml(&tls).await;
    let request = push("tls-1", vec![lines(&[1.0, 2.0])]);
    let (status, answer) = push_over_tls(harness.address(), &authority, &request).await.unwrap();
    assert_eq!((status, answer["requestId"].as_str()), (200, Some("tls-1")));
    assert_eq!(harness.metrics().len(), 1);
    // The same again is known by its id; a wrong key is not let in.
    let again = push_over_tls(harness.address(), &authority, &request).await.unwrap();
    assert_eq!(again.0, 200);
    assert!(harness.metrics().is_empty());
    let mut stranger = push("tls-2", vec![lines(&[1.0])]);
    stranger.headers[1].1 = "guessed".to_owned();
    let refused = push_over_tls(harness.address(), &authority, &stranger).await.unwrap();
    assert_eq!(refused.0, 401);
    assert!(
        push_over_tls(harness.address(), &Authority::new(), &request)
            .await
            .is_none()
    );
    let plain = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = format!("http://{}/", harness.address()).parse().unwrap();
    assert!(plain.get(uri).await.is_err(), "nothing is served in plain text");
}
