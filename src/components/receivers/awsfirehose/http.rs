//! One request of Firehose: who sends it, whether it was taken before, what it holds, and the answer, which has to have
//! exactly the form of Amazon's "HTTP endpoint delivery request and response specifications".

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tonic::Code;

use super::convert::{self, Convert, Form, Read, Reading};
use super::envelope::{Envelope, decode};
use super::recent::{Recent, Seen};
use super::settings::Settings;
use crate::component::{BuildContext, Counter, DropReason, LimitedLog, Outlet, ReceiverCounts};
use crate::net::codec::{Encoding, InflateError, inflate};
use crate::net::server::body::{AnswerBody, BodyLimits, discard, read_all};
use crate::net::server::{Gate, HttpGroup, Identity, Peer};
use crate::net::status::Status;
use crate::pdata::{Headers, Origin, Permit, Signal};

const REQUEST_ID: &str = "x-amz-firehose-request-id";
const ACCESS_KEY: &str = "x-amz-firehose-access-key";
const COMMON_ATTRIBUTES: &str = "x-amz-firehose-common-attributes";
const PROTOCOL_VERSION: &str = "x-amz-firehose-protocol-version";

/// Ids are UUIDs; a longer one is somebody else's.
const LONGEST_ID: usize = 128;
/// Attributes that a stream's owner may set: 50, by Firehose's documentation.
const MOST_ATTRIBUTES: usize = 50;
/// Bodies up to this size are read in the connection's task.
const INLINE: usize = 64 << 10;
/// What Firehose is told to wait while another request with its id is under way.
const BUSY: Duration = Duration::from_secs(5);

/// How requests ended, for the metrics.
struct Outcomes {
    taken: Counter,
    duplicate: Counter,
    unauthorized: Counter,
    refused: Counter,
    records: Counter,
    truncated: Counter,
    malformed: Counter,
    dropped: Counter,
}

impl Outcomes {
    fn new(context: &BuildContext) -> Self {
        let instruments = &context.instruments;
        let request = |outcome: &'static str| {
            let help = "Requests of Firehose, by what became of them.";
            instruments.counter("radiosonde_firehose_requests_total", help, &[("outcome", outcome)])
        };
        let lost = |reason: &'static str| {
            let help = "Messages or lines of Firehose records that could not be read.";
            instruments.counter("radiosonde_firehose_unreadable_total", help, &[("reason", reason)])
        };
        let help = "Records of Firehose requests that were read.";
        Self {
            taken: request("taken"),
            duplicate: request("duplicate"),
            unauthorized: request("unauthorized"),
            refused: request("refused"),
            records: instruments.counter("radiosonde_firehose_records_total", help, &[]),
            truncated: lost("truncated"),
            malformed: lost("malformed"),
            dropped: instruments.dropped(Signal::Metrics, DropReason::Invalid),
        }
    }
}

/// Answers requests.
pub(super) struct Listener {
    context: BuildContext,
    outlet: Option<Outlet>,
    group: HttpGroup,
    gate: Gate,
    limits: BodyLimits,
    form: Form,
    convert: Convert,
    /// Of the key: both sides of the comparison have one length.
    key: [u8; 32],
    recent: Recent,
    outcomes: Outcomes,
    counts: ReceiverCounts,
    faults: LimitedLog,
    /// For work on blocking threads.
    turns: Arc<Semaphore>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    request_id: &'a str,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommonAttributes {
    common_attributes: std::collections::BTreeMap<String, String>,
}

/// A body that was read, and how it is to be understood.
struct Job {
    bytes: Bytes,
    permit: Permit,
    encoding: Encoding,
    cap: usize,
    id: String,
    form: Form,
    convert: Convert,
    common: Vec<(String, String)>,
}

/// What came of it.
struct Done {
    read: Read,
    records: u64,
    permit: Permit,
}

impl Listener {
    pub(super) fn new(settings: &Settings, context: &BuildContext, outlet: Option<Outlet>) -> Self {
        let recent = Recent::default();
        let observed = recent.clone();
        let help = "Request ids remembered, so that a repeated request is not taken twice.";
        context
            .instruments
            .observe("radiosonde_firehose_remembered_requests", help, &[], move || {
                observed.len() as f64
            });
        Self {
            outlet,
            group: settings.http.clone(),
            gate: Gate::new(settings.http.auth.as_ref(), context, "http"),
            limits: BodyLimits {
                cap: settings.http.cap,
                deadline: settings.http.body_deadline,
                memory: context.memory.clone(),
                admission_wait: context.admission_wait,
            },
            form: settings.form,
            convert: settings.convert,
            key: Sha256::digest(settings.access_key.reveal().as_bytes()).into(),
            recent,
            outcomes: Outcomes::new(context),
            counts: context.instruments.receiver("http"),
            faults: LimitedLog::default(),
            turns: Arc::new(Semaphore::new(2)),
            context: context.clone(),
        }
    }

    /// Answers one request.
    pub(super) async fn serve(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<AnswerBody> {
        let (head, mut body) = request.into_parts();
        let id = text_of(&head.headers, REQUEST_ID).unwrap_or_default().to_owned();
        let result = self.take(&head, &id, &mut body, &peer).await;
        // A client of HTTP/1 that is still sending sees our answer only if we read on for a while.
        if head.version < Version::HTTP_2 && !head.headers.contains_key(EXPECT) && !body.is_end_stream() {
            discard(body).await;
        }
        if let Err(status) = &result
            && let Some(left_out) = self.faults.admit()
        {
            tracing::warn!(receiver = %self.context.id, client = %peer.address, request = %id, status = %status.http,
                left_out, reason = status.shown(), "a request of Firehose was not taken");
        }
        self.answer(&id, result.err().as_ref())
    }

    fn answer(&self, id: &str, failure: Option<&Status>) -> Response<AnswerBody> {
        let body = Answer {
            request_id: id,
            timestamp: self.context.clock.now().0 / 1_000_000,
            error_message: failure.map(Status::shown),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut answer = Response::new(AnswerBody::full(body));
        *answer.status_mut() = failure.map_or(StatusCode::OK, |status| status.http);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if failure.is_some_and(|status| status.http == StatusCode::METHOD_NOT_ALLOWED) {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        for (name, value) in &self.group.response_headers {
            headers.insert(name.clone(), value.clone());
        }
        answer
    }

    async fn take(&self, head: &Parts, id: &str, body: &mut Incoming, peer: &Peer) -> Result<(), Status> {
        let result = self.take_once(head, id, body, peer).await;
        match &result {
            Err(status) if status.http == StatusCode::UNAUTHORIZED => self.outcomes.unauthorized.add(1),
            Err(_) => self.outcomes.refused.add(1),
            Ok(()) => {}
        }
        result
    }

    async fn take_once(&self, head: &Parts, id: &str, body: &mut Incoming, peer: &Peer) -> Result<(), Status> {
        let identity = self.gate.admit(&head.headers, peer).await?;
        self.check_head(head, id)?;
        let turn = match self.recent.begin(id) {
            Seen::New(turn) => turn,
            Seen::Taken => {
                self.outcomes.duplicate.add(1);
                return Ok(());
            }
            Seen::Busy => {
                let text = "a request with this id is under way";
                let mut status = Status::new(Code::Unavailable, text);
                status.retry_after = Some(BUSY);
                return Err(status);
            }
        };
        let encoding = self.encoding(&head.headers)?;
        let declared = body.size_hint().exact();
        let (bytes, permit) = read_all(body, declared, &self.limits).await?;
        let job = Job {
            bytes,
            permit,
            encoding,
            cap: self.limits.cap,
            id: id.to_owned(),
            form: self.form,
            convert: self.convert,
            common: self.common_attributes(&head.headers),
        };
        let done = if encoding == Encoding::Identity && job.bytes.len() <= INLINE {
            work(job)?
        } else {
            self.on_blocking_thread(job).await?
        };
        self.hand_over(done, head, peer, identity).await?;
        turn.taken();
        self.outcomes.taken.add(1);
        Ok(())
    }

    fn check_head(&self, head: &Parts, id: &str) -> Result<(), Status> {
        if head.method != Method::POST {
            let status = Status::new(Code::Unimplemented, "Firehose sends with POST");
            return Err(status.with_http(StatusCode::METHOD_NOT_ALLOWED));
        }
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Status::invalid("missing request id in header"));
        }
        let given = head
            .headers
            .get(ACCESS_KEY)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let given: [u8; 32] = Sha256::digest(given).into();
        if !bool::from(given.ct_eq(&self.key)) {
            let status = Status::new(Code::Unauthenticated, "invalid firehose access key");
            return Err(status.with_http(StatusCode::UNAUTHORIZED));
        }
        match text_of(&head.headers, PROTOCOL_VERSION) {
            None | Some("1.0") => Ok(()),
            Some(_) => Err(Status::invalid("unknown Firehose protocol version; known: 1.0")),
        }
    }

    fn encoding(&self, headers: &HeaderMap) -> Result<Encoding, Status> {
        let Some(value) = headers.get(CONTENT_ENCODING) else {
            return Ok(Encoding::Identity);
        };
        let named = value.to_str().ok().and_then(Encoding::named);
        named
            .filter(|encoding| self.group.encodings.contains(encoding))
            .ok_or_else(|| {
                let status = Status::invalid("unsupported content-encoding; Firehose sends gzip or nothing");
                status.with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            })
    }

    /// Attributes that cannot be read are left out, as in the Collector: they are no reason to lose the data.
    fn common_attributes(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let Some(value) = headers.get(COMMON_ATTRIBUTES) else {
            return Vec::new();
        };
        match serde_json::from_slice::<CommonAttributes>(value.as_bytes()) {
            Ok(read) => read.common_attributes.into_iter().take(MOST_ATTRIBUTES).collect(),
            Err(error) => {
                if let Some(left_out) = self.faults.admit() {
                    tracing::warn!(receiver = %self.context.id, %error, left_out,
                        "the common attributes of a Firehose request cannot be read; it is taken without them");
                }
                Vec::new()
            }
        }
    }

    /// A few requests at a time: each has its body in memory in several forms.
    async fn on_blocking_thread(&self, job: Job) -> Result<Done, Status> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(job)
        });
        done.await
            .unwrap_or_else(|_| Err(Status::new(Code::Internal, "reading the request failed")))
    }

    async fn hand_over(&self, done: Done, head: &Parts, peer: &Peer, identity: Identity) -> Result<(), Status> {
        let Done { read, records, permit } = done;
        if let Some(batch) = read.batch {
            let Some(outlet) = &self.outlet else {
                return Err(Status::new(
                    Code::Unimplemented,
                    "no metrics pipeline uses this receiver",
                ));
            };
            let origin = Origin {
                client: Some(peer.address),
                metadata: if self.group.include_metadata {
                    metadata(&head.headers, identity.carrier.as_ref())
                } else {
                    Headers::new()
                },
                auth: identity.auth,
                ..Origin::default()
            };
            let batch = convert::owned(batch, permit, origin);
            let items = batch.items();
            let offered = self.counts.offer(Signal::Metrics, items, outlet.consume(batch));
            offered.await.map_err(|refused| Status::of(&refused))?;
        }
        self.outcomes.records.add(records);
        self.outcomes.truncated.add(read.truncated);
        self.outcomes.malformed.add(read.malformed);
        let lost = read.truncated + read.malformed;
        if lost > 0 {
            self.outcomes.dropped.add(lost);
            if let Some(left_out) = self.faults.admit() {
                tracing::error!(receiver = %self.context.id, lost, left_out, first = %read.fault,
                    "messages of a Firehose request cannot be read and are lost; the others were taken");
            }
        }
        Ok(())
    }
}

/// Inflates, reads the envelope and its records.
fn work(job: Job) -> Result<Done, Status> {
    let mut permit = job.permit;
    let held = permit.bytes();
    let bytes = if job.encoding == Encoding::Identity {
        job.bytes
    } else {
        inflate(job.encoding, &job.bytes, job.cap, &mut |more| {
            permit.try_grow(more as u64)
        })
        .map_err(refusal)?
    };
    permit.shrink_to(held.max(bytes.len() as u64));
    let envelope = Envelope::read(&bytes).map_err(Status::invalid)?;
    if envelope.request_id.is_empty() {
        return Err(Status::invalid("missing request id in body"));
    }
    if envelope.request_id != job.id {
        return Err(Status::invalid("different request id in body"));
    }
    if !permit.try_grow(envelope.decoded_len() as u64) {
        return Err(Status::no_memory());
    }
    let mut records = Vec::with_capacity(envelope.records.0.len());
    for (index, data) in envelope.records.0.iter().enumerate() {
        let record = decode(data).map_err(|error| {
            let text = format!("unable to base64 decode the record at index {index}: {error}");
            Status::invalid(text)
        })?;
        records.push(record);
    }
    let count = records.len() as u64;
    let reading = Reading {
        form: job.form,
        convert: job.convert,
        common: &job.common,
    };
    let read = convert::read(reading, records, &mut permit)?;
    Ok(Done {
        read,
        records: count,
        permit,
    })
}

fn refusal(error: InflateError) -> Status {
    match error {
        InflateError::TooLarge { .. } => Status::too_large(error.to_string()),
        InflateError::Corrupt { .. } => Status::invalid(error.to_string()),
        InflateError::NoMemory => Status::no_memory(),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All headers but the key, which is nobody's business behind the door.
fn metadata(headers: &HeaderMap, carrier: Option<&HeaderName>) -> Headers {
    let mut metadata = Headers::new();
    let is_secret = |name: &HeaderName| name.as_str() == ACCESS_KEY || carrier == Some(name);
    for name in headers.keys().filter(|name| !is_secret(name)) {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        metadata.push((name.as_str().into(), values.map(Box::from).collect()));
    }
    metadata
}
