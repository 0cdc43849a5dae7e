//! S3 as far as an archive needs it: PutObject, GetObject, HeadObject, DeleteObject, ListObjectsV2 and the lifecycle
//! rules, with ETags. The bucket stands in the path; a bucket that is written to is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use md5::{Digest, Md5};

use super::answer::{ApiError, Caller, escape};
use super::faults::strike;
use super::server::{date, reset};
use super::{Call, Simulator, locked};

/// Keys of a page.
const PAGE: usize = 1_000;

/// One object.
#[derive(Clone, Debug)]
pub struct Object {
    pub body: Bytes,
    pub etag: String,
    /// Simulated unix seconds.
    pub written: f64,
}

/// A bucket: its objects in the order of their keys, its rules.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    /// As it was put; `None`: no rules.
    pub lifecycle: Option<String>,
}

/// All buckets, by name.
pub type Buckets = BTreeMap<String, Bucket>;

/// Whether a request is signed for S3.
pub(super) fn is_for(headers: &HeaderMap) -> bool {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.is_some_and(|header| header.contains("/s3/aws4_request"))
}

/// An answer before it is one.
struct Done {
    status: StatusCode,
    body: Bytes,
    headers: Vec<(header::HeaderName, String)>,
}

impl Done {
    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: Bytes::new(),
            headers: Vec::new(),
        }
    }

    fn xml(text: String) -> Self {
        Self {
            body: Bytes::from(text),
            headers: vec![(header::CONTENT_TYPE, "application/xml".to_owned())],
            ..Self::empty(StatusCode::OK)
        }
    }
}

fn missing(code: &str, what: &str) -> ApiError {
    ApiError {
        status: 404,
        ..ApiError::sender(code, format!("The specified {what} does not exist."))
    }
}

/// Answers one request.
pub(super) async fn handle(simulator: &Arc<Simulator>, head: &Parts, body: Bytes) -> Response {
    let account = simulator.world().scenario.account.clone();
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let caller = match Caller::from_authorization(authorization, &account) {
        Ok(caller) => caller,
        Err(error) => return respond(simulator, &head.method, Err(error)),
    };
    let (bucket, key) = place(head.uri.path());
    let query: BTreeMap<String, String> = fields(head.uri.query().unwrap_or_default());
    let api = api_of(&head.method, &key, &query);
    let now = simulator.now_s();
    let struck = {
        let minute = simulator.world().minute_of(now as i64);
        strike(&mut locked(&simulator.faults), api, &caller, minute, now)
    };
    if struck.reset {
        return reset();
    }
    if struck.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(struck.delay_ms)).await;
    }
    let result = match struck.error {
        Some(error) => Err(ApiError {
            // S3 has its own words for both.
            code: match error.code.as_str() {
                "ThrottlingException" => "SlowDown".to_owned(),
                "AccessDeniedException" => "AccessDenied".to_owned(),
                _ => error.code.clone(),
            },
            status: if error.code == "ThrottlingException" {
                503
            } else {
                error.status
            },
            ..error
        }),
        None => call(&mut locked(&simulator.buckets), api, (&bucket, &key), &query, body, now),
    };
    if result.is_ok() {
        locked(&simulator.bill).charge(now, &caller.account, &caller.region, api, 0);
    }
    let response = respond(simulator, &head.method, result);
    simulator.note(Call {
        api: api.to_owned(),
        account: caller.account,
        region: caller.region,
        at: now,
        status: response.status().as_u16(),
    });
    response
}

fn place(path: &str) -> (String, String) {
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let text = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    (text(bucket), text(key))
}

fn fields(query: &str) -> BTreeMap<String, String> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn api_of(method: &Method, key: &str, query: &BTreeMap<String, String>) -> &'static str {
    let about_rules = query.contains_key("lifecycle");
    match (method.as_str(), key.is_empty()) {
        ("GET", true) if about_rules => "GetBucketLifecycleConfiguration",
        ("PUT", true) if about_rules => "PutBucketLifecycleConfiguration",
        ("PUT", true) => "CreateBucket",
        ("HEAD", true) => "HeadBucket",
        ("GET", true) => "ListObjectsV2",
        ("PUT", false) => "PutObject",
        ("GET", false) => "GetObject",
        ("HEAD", false) => "HeadObject",
        ("DELETE", false) => "DeleteObject",
        _ => "Unknown",
    }
}

fn call(
    buckets: &mut Buckets,
    api: &str,
    place: (&str, &str),
    query: &BTreeMap<String, String>,
    body: Bytes,
    now: f64,
) -> Result<Done, ApiError> {
    let (name, key) = place;
    if matches!(api, "PutObject" | "CreateBucket") {
        buckets.entry(name.to_owned()).or_default();
    }
    let bucket = buckets.get_mut(name).ok_or_else(|| missing("NoSuchBucket", "bucket"))?;
    match api {
        "CreateBucket" | "HeadBucket" => Ok(Done::empty(StatusCode::OK)),
        "GetBucketLifecycleConfiguration" => {
            let rules = bucket.lifecycle.clone();
            let rules = rules.ok_or_else(|| missing("NoSuchLifecycleConfiguration", "lifecycle configuration"))?;
            Ok(Done::xml(rules))
        }
        "PutBucketLifecycleConfiguration" => {
            bucket.lifecycle = Some(String::from_utf8_lossy(&body).into_owned());
            Ok(Done::empty(StatusCode::OK))
        }
        "ListObjectsV2" => Ok(Done::xml(list(name, bucket, query))),
        "PutObject" => {
            let etag = format!("\"{}\"", hex::encode(Md5::digest(&body)));
            let object = Object {
                body,
                etag: etag.clone(),
                written: now,
            };
            bucket.objects.insert(key.to_owned(), object);
            let mut done = Done::empty(StatusCode::OK);
            done.headers.push((header::ETAG, etag));
            Ok(done)
        }
        "DeleteObject" => {
            bucket.objects.remove(key);
            Ok(Done::empty(StatusCode::NO_CONTENT))
        }
        "GetObject" | "HeadObject" => {
            let object = bucket.objects.get(key).ok_or_else(|| missing("NoSuchKey", "key"))?;
            let mut done = Done::empty(StatusCode::OK);
            done.body = object.body.clone();
            done.headers.push((header::ETAG, object.etag.clone()));
            done.headers.push((header::LAST_MODIFIED, http_date(object.written)));
            Ok(done)
        }
        other => Err(ApiError::sender(
            "NotImplemented",
            format!("the simulator does not know {other}"),
        )),
    }
}

fn timestamp(at: f64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

fn http_date(at: f64) -> String {
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&timestamp(at)).unwrap_or_default()
}

fn list(name: &str, bucket: &Bucket, query: &BTreeMap<String, String>) -> String {
    let of = |field: &str| query.get(field).map_or("", String::as_str);
    let (prefix, delimiter) = (of("prefix"), of("delimiter"));
    let after = of("continuation-token").max(of("start-after"));
    let page = of("max-keys").parse().unwrap_or(PAGE).min(PAGE);
    let (mut contents, mut folders, mut last) = (String::new(), Vec::<String>::new(), String::new());
    let (mut taken, mut more) = (0, false);
    for (key, object) in &bucket.objects {
        if !key.starts_with(prefix) || key.as_str() <= after {
            continue;
        }
        let below = &key[prefix.len()..];
        let folder = match below.find(delimiter) {
            Some(end) if !delimiter.is_empty() => Some(format!("{prefix}{}", &below[..end + delimiter.len()])),
            _ => None,
        };
        if let Some(folder) = &folder
            && folders.last() == Some(folder)
        {
            last.clone_from(key);
            continue;
        }
        if taken == page {
            more = true;
            break;
        }
        taken += 1;
        last.clone_from(key);
        match folder {
            Some(folder) => folders.push(folder),
            None => contents.push_str(&format!(
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                escape(key),
                timestamp(object.written),
                escape(&object.etag),
                object.body.len()
            )),
        }
    }
    let folders: String = folders
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(folder)))
        .collect();
    let next = if more {
        format!("<NextContinuationToken>{}</NextContinuationToken>", escape(&last))
    } else {
        String::new()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>{}</Name><Prefix>{}</Prefix><KeyCount>{taken}</KeyCount><MaxKeys>{page}</MaxKeys>\
         <IsTruncated>{more}</IsTruncated>{contents}{folders}{next}</ListBucketResult>",
        escape(name),
        escape(prefix)
    )
}

fn respond(simulator: &Simulator, method: &Method, result: Result<Done, ApiError>) -> Response {
    let done = result.unwrap_or_else(|error| Done {
        status: StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        ..Done::xml(format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{}</Code><Message>{}</Message>\
             <RequestId>sim</RequestId></Error>",
            escape(&error.code),
            escape(&error.message)
        ))
    });
    let length = done.body.len();
    let is_head = method == Method::HEAD;
    let mut response = Response::new(if is_head { Body::empty() } else { Body::from(done.body) });
    *response.status_mut() = done.status;
    let headers = response.headers_mut();
    for (name, value) in done.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if is_head && done.status.is_success() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(date) = date(simulator) {
        headers.insert(header::DATE, date);
    }
    response
}
