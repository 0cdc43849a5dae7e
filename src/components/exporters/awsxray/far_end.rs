//! One attempt at X-Ray: a batch's documents in as many calls as they need.

use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_xray::Client;
use aws_sdk_xray::config::retry::RetryConfig;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::sync::{Mutex, Semaphore};

use super::config::Config;
use super::delivered::{Delivered, Progress, key};
use super::http::OwnHttp;
use super::records::Records;
use super::verdict::{self, CallFailed, Unprocessed};
use crate::aws::xray::compose::{Composed, Documents, Dropped, Part, documents};
use crate::component::{BoxFuture, BuildContext, Clock, ComponentId, Counter, Instruments, LimitedLog, Refused, Stage};
use crate::pdata::{Batch, Decoded, Signal};

/// X-Ray takes so many documents a call.
const MOST_DOCUMENTS: usize = 50;
/// Tries of a document that is refused with a code that nobody documents.
const FEW_TRIES: u32 = 3;
const OUTCOMES: [&str; 5] = ["sent", "retry", "rejected", "too_large", "bad_id"];

#[derive(Clone, Copy)]
enum Outcome {
    Sent,
    Retry,
    Rejected,
    TooLarge,
    BadId,
}

struct Telemetry {
    instruments: Instruments,
    documents: [Counter; OUTCOMES.len()],
    shortened: [Counter; Part::ALL.len()],
    /// As the OTLP exporters count what the far end did not take of an accepted request.
    rejected_items: Counter,
    log: LimitedLog,
}

impl Telemetry {
    fn new(context: &BuildContext) -> Self {
        let instruments = context.instruments.clone();
        let documents = OUTCOMES.map(|outcome| {
            let help = "Documents for X-Ray by what became of them.";
            instruments.counter("xray_export_documents_total", help, &[("outcome", outcome)])
        });
        let shortened = Part::ALL.map(|part| {
            let help = "Documents that were shortened to fit, by what was shortened.";
            instruments.counter("xray_export_truncated_total", help, &[("part", part.name())])
        });
        let rejected_items = instruments.counter(
            "radiosonde_exporter_rejected_items",
            "Items that the far end answered for with a partial success: sent, and not taken there.",
            &[("signal", Signal::Traces.name())],
        );
        Self {
            documents,
            shortened,
            rejected_items,
            instruments,
            log: LimitedLog::default(),
        }
    }

    fn count(&self, outcome: Outcome, n: usize) {
        self.documents[outcome as usize].add(n as u64);
    }

    /// X-Ray's codes are few; a code that is made up must not make a series for each call.
    fn unprocessed(&self, code: &str) {
        let is_name = !code.is_empty() && code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = if is_name { code } else { "other" };
        let help = "Documents that X-Ray did not process, by its error code.";
        let counter = self
            .instruments
            .counter("xray_export_unprocessed_total", help, &[("code", code)]);
        counter.add(1);
    }
}

/// What a batch still has to send, and why something waits.
struct Attempt {
    progress: Progress,
    /// Of the last failure that another try may help against.
    trouble: Option<String>,
    rejected: usize,
    why_rejected: String,
}

/// X-Ray of one region.
pub(super) struct FarEnd {
    pub(super) id: ComponentId,
    pub(super) config: Arc<Config>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) records: Records,
    telemetry: Telemetry,
    calls: Semaphore,
    delivered: Delivered,
    /// Loaded when the first batch comes, again when the credentials have expired.
    client: Mutex<Option<Client>>,
}

impl FarEnd {
    pub(super) fn new(config: Arc<Config>, context: &BuildContext) -> Self {
        Self {
            id: context.id.clone(),
            calls: Semaphore::new(config.workers),
            clock: Arc::clone(&context.clock),
            records: Records::new(config.telemetry.as_ref(), &context.instruments),
            config,
            telemetry: Telemetry::new(context),
            delivered: Delivered::default(),
            client: Mutex::new(None),
        }
    }

    /// The SDK's client. Whoever comes first loads it, the others wait.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let loaded = self.load().await?;
        *client = Some(loaded.clone());
        Ok(loaded)
    }

    async fn load(&self) -> Result<Client, String> {
        let config = &self.config;
        let mut place = config.place.clone();
        if place.region.is_empty() && config.local_mode {
            let mut of_process = ["AWS_REGION", "AWS_DEFAULT_REGION"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok());
            let region = of_process.next().ok_or("no region: set `region` or AWS_REGION")?;
            place.region = region;
        }
        let loaded = place.load(Arc::clone(&self.clock)).await;
        let (_, sdk) = loaded.ok_or("no region: set `region`, AWS_REGION or a profile")?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3).min(config.timeout))
            .operation_attempt_timeout(config.timeout)
            .build();
        let retry = RetryConfig::standard()
            .with_max_attempts(config.retries + 1)
            .with_initial_backoff(Duration::from_millis(100));
        let mut builder = aws_sdk_xray::config::Builder::from(&sdk)
            .timeout_config(timeouts)
            .retry_config(retry);
        if !config.endpoint.is_empty() {
            builder = builder.endpoint_url(&config.endpoint);
        }
        if config.proxy.is_some() || !config.verified {
            builder = builder.http_client(OwnHttp::new(config.proxy.clone(), config.verified, config.workers));
        }
        Ok(Client::from_conf(builder.build()))
    }

    async fn send(&self, mut batch: Batch) -> Result<(), Refused> {
        let key = key(&mut batch);
        let progress = self.delivered.take(key);
        // Holds the memory permits until the data has left.
        let _origin = Arc::clone(batch.origin());
        let spans: &[ResourceSpans] = match batch.decode() {
            Ok(Decoded::Traces(request)) => &request.resource_spans,
            Ok(_) => return Err(Refused::permanent("only traces can be sent to X-Ray")),
            Err(error) => return Err(Refused::permanent(format!("broken below the spans: {error}"))),
        };
        let composed = documents(spans, &self.config.composing);
        let is_first_try = progress.finished.is_empty() && progress.tries.is_empty();
        let unusable = composed.dropped.len();
        if is_first_try {
            self.count_composed(&composed);
        }
        let mut attempt = Attempt {
            progress,
            trouble: None,
            rejected: 0,
            why_rejected: String::new(),
        };
        let mut waiting = composed.documents;
        waiting.retain(|document| !attempt.progress.finished.contains(&document.id));
        self.send_all(&waiting, &mut attempt).await;
        self.conclude(key, attempt, &waiting, unusable)
    }

    fn count_composed(&self, composed: &Documents) {
        self.records.received(composed.documents.len() + composed.dropped.len());
        for dropped in &composed.dropped {
            self.records.rejected(1);
            self.telemetry.rejected_items.add(1);
            match dropped {
                Dropped::BadId => self.telemetry.count(Outcome::BadId, 1),
                Dropped::TooLarge => self.telemetry.count(Outcome::TooLarge, 1),
            }
        }
        for part in &composed.shortened {
            self.telemetry.shortened[*part as usize].add(1);
        }
    }

    /// Chunk after chunk; one that fails does not keep the later ones from being sent, unless X-Ray cannot be reached
    /// or asks for less.
    async fn send_all(&self, waiting: &[Composed], attempt: &mut Attempt) {
        let mut chunks: Vec<&[Composed]> = chunks(waiting, self.config.max_request_bytes);
        chunks.reverse();
        while let Some(chunk) = chunks.pop() {
            let client = match self.client().await {
                Ok(client) => client,
                Err(problem) => {
                    attempt.trouble = Some(problem);
                    return;
                }
            };
            match self.call(&client, chunk).await {
                Ok(unprocessed) => self.judge(chunk, unprocessed, attempt),
                Err(CallFailed::TooLarge) if chunk.len() > 1 => {
                    let (first, second) = chunk.split_at(chunk.len() / 2);
                    chunks.extend([second, first]);
                }
                Err(CallFailed::TooLarge) => self.reject(chunk, "X-Ray finds the document too large", attempt),
                Err(CallFailed::Permanent(message)) => self.reject(chunk, &message, attempt),
                Err(CallFailed::Credentials(message)) => {
                    *self.client.lock().await = None;
                    attempt.trouble = Some(message);
                    return;
                }
                Err(CallFailed::Later { message, stop }) => {
                    attempt.trouble = Some(message);
                    if stop {
                        return;
                    }
                }
            }
        }
    }

    /// The ids that X-Ray did not process, and their codes.
    async fn call(&self, client: &Client, chunk: &[Composed]) -> Result<Vec<(String, String)>, CallFailed> {
        // It is never closed.
        let Ok(_turn) = self.calls.acquire().await else {
            return Ok(Vec::new());
        };
        let now = self.clock.now();
        let timestamp = format!("{}.{:03}", now.seconds(), now.0 / 1_000_000 % 1000);
        let call = client
            .put_trace_segments()
            .set_trace_segment_documents(Some(chunk.iter().map(|composed| composed.document.clone()).collect()))
            .customize()
            .mutate_request(move |request| {
                request.headers_mut().insert("x-amzn-xray-timestamp", timestamp.clone());
            });
        match call.send().await {
            Ok(answer) => {
                let unprocessed = answer.unprocessed_trace_segments().iter();
                let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                Ok(unprocessed
                    .map(|one| (text(one.id()), text(one.error_code())))
                    .collect())
            }
            Err(error) => {
                let (failed, backend) = verdict::of_call(&error);
                self.records.failed(backend);
                Err(failed)
            }
        }
    }

    fn judge(&self, chunk: &[Composed], unprocessed: Vec<(String, String)>, attempt: &mut Attempt) {
        for document in chunk {
            let code = unprocessed.iter().find(|(id, _)| id.eq_ignore_ascii_case(&document.id));
            let Some((_, code)) = code else {
                attempt.progress.finished.insert(document.id.clone());
                attempt.progress.any_sent = true;
                self.telemetry.count(Outcome::Sent, 1);
                self.records.sent(1);
                continue;
            };
            self.telemetry.unprocessed(code);
            let tries = attempt.progress.tries.entry(document.id.clone()).or_default();
            *tries += 1;
            let verdict = match verdict::of_code(code) {
                Unprocessed::RetryFew if *tries >= FEW_TRIES => Unprocessed::Drop,
                verdict => verdict,
            };
            if verdict == Unprocessed::Drop {
                self.reject(std::slice::from_ref(document), code, attempt);
            } else {
                attempt.trouble = Some(format!("X-Ray did not process some segments: {code}"));
            }
        }
        // Without an id nobody can tell which one it was: none of the chunk was lost by what we know.
        for (_, code) in unprocessed.iter().filter(|(id, _)| id.is_empty()) {
            self.telemetry.unprocessed(code);
            self.log(1, code);
        }
    }

    /// These will never be taken.
    fn reject(&self, documents: &[Composed], why: &str, attempt: &mut Attempt) {
        for document in documents {
            attempt.progress.finished.insert(document.id.clone());
        }
        attempt.rejected += documents.iter().filter(|document| document.is_span).count();
        attempt.why_rejected = why.to_owned();
        self.telemetry.count(Outcome::Rejected, documents.len());
        self.records.rejected(documents.len());
        self.log(documents.len(), why);
    }

    fn log(&self, segments: usize, why: &str) {
        if let Some(suppressed) = self.telemetry.log.admit() {
            tracing::error!(exporter = %self.id, segments, suppressed, why, "X-Ray does not take segments");
        }
    }

    fn conclude(&self, key: u128, attempt: Attempt, waiting: &[Composed], unusable: usize) -> Result<(), Refused> {
        let finished = &attempt.progress.finished;
        let left = waiting
            .iter()
            .filter(|document| !finished.contains(&document.id))
            .count();
        if left > 0 {
            self.telemetry.count(Outcome::Retry, left);
            self.records.spilled(left);
            // What was rejected in this try is counted as such now; the batch may yet be delivered.
            self.telemetry.rejected_items.add(attempt.rejected as u64);
            self.delivered.keep(key, attempt.progress);
            let trouble = attempt
                .trouble
                .unwrap_or_else(|| "X-Ray did not take all segments".to_owned());
            return Err(Refused::retryable(trouble).with_code(tonic::Code::Unavailable));
        }
        let nothing_taken = !attempt.progress.any_sent && attempt.rejected > 0 && unusable == 0;
        if nothing_taken {
            return Err(Refused::permanent(attempt.why_rejected));
        }
        self.telemetry.rejected_items.add(attempt.rejected as u64);
        Ok(())
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.send(batch))
    }
}

/// At most 50 documents and so many bytes a call.
fn chunks(documents: &[Composed], most_bytes: usize) -> Vec<&[Composed]> {
    // Braces, the field's name; then each document's quotes and comma, and a backslash before each of its quotes.
    const AROUND: usize = 32;
    let size = |composed: &Composed| {
        let escaped = composed
            .document
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'))
            .count();
        composed.document.len() + escaped + 3
    };
    let mut chunks = Vec::new();
    let (mut begin, mut bytes) = (0, AROUND);
    for (at, document) in documents.iter().enumerate() {
        let size = size(document);
        if at > begin && (at - begin == MOST_DOCUMENTS || bytes + size > most_bytes) {
            chunks.push(&documents[begin..at]);
            (begin, bytes) = (at, AROUND);
        }
        bytes += size;
    }
    if begin < documents.len() {
        chunks.push(&documents[begin..]);
    }
    chunks
}
