//! From chunks of datagrams to batches of spans, and those to the pipeline.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use smallvec::SmallVec;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sockets::{Chunk, Chunks};
use super::telemetry::Telemetry;
use crate::aws::xray::datagram;
use crate::aws::xray::hold::{Hold, Released};
use crate::aws::xray::translate::{Document, Reader, Spans};
use crate::component::{BuildContext, DropReason, Outlet};
use crate::pdata::{Batch, Decoded, Origin, Permit, Signal};

/// Shared by the decoders and the timer.
pub(super) type Holding = Arc<Mutex<Hold>>;

/// Documents in one batch, about.
const LARGE_BATCH: usize = 512;
/// How often is looked for what was held long enough.
const LOOK: Duration = Duration::from_secs(1);
/// Between two offers of a batch that was refused.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Translates; one for all sockets.
pub(super) struct Decoder {
    pub(super) reader: Reader,
    pub(super) keep_inferred: bool,
    /// `None`: no pipeline reads from here.
    pub(super) outlet: Option<Outlet>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) holding: Holding,
    pub(super) context: BuildContext,
}

impl Decoder {
    /// The task of one socket's datagrams; ends when the socket is closed and its queue empty.
    pub(super) async fn run(self: Arc<Self>, mut chunks: Chunks) {
        let mut spans = Spans::default();
        while let Some(chunk) = chunks.take().await {
            let mut permits: SmallVec<[Arc<Permit>; 1]> = SmallVec::new();
            let mut next = Some(chunk);
            while let Some(chunk) = next {
                self.decode(&chunk, &mut spans);
                permits.push(Arc::new(chunk.permit));
                next = if spans.documents.len() < LARGE_BATCH {
                    chunks.take_now()
                } else {
                    None
                };
            }
            let documents = self.hold_back(&mut spans);
            self.offer(documents, permits).await;
        }
    }

    fn decode(&self, chunk: &Chunk, spans: &mut Spans) {
        for datagram in chunk.datagrams() {
            match datagram::document(datagram) {
                Ok(document) => self.translate(document, chunk.received_ns, spans),
                Err(bad) => self.telemetry.bad_frame(bad),
            }
        }
    }

    fn translate(&self, document: &[u8], received_ns: u64, spans: &mut Spans) {
        let before = spans.documents.len();
        // A panic costs the datagram that it is about.
        let translation = AssertUnwindSafe(|| self.reader.segments(document, received_ns, &mut *spans));
        match std::panic::catch_unwind(translation) {
            Ok(salvaged) => {
                let documents = &spans.documents[before..];
                for document in documents {
                    self.telemetry.segments[document.kind as usize].add(1);
                }
                self.telemetry.translated(documents.len(), &salvaged);
            }
            Err(_) => {
                spans.documents.truncate(before);
                self.telemetry.internal();
            }
        }
    }

    /// What may go on of the documents: without inferred ones, and without those that have no end yet.
    fn hold_back(&self, spans: &mut Spans) -> Vec<Document> {
        if !self.keep_inferred {
            self.telemetry.inferred_dropped.add(spans.drop_inferred() as u64);
        }
        let documents = std::mem::take(&mut spans.documents);
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if holding.is_empty() && !documents.iter().any(|document| document.in_progress) {
            return documents;
        }
        let (mut out, mut released) = (Vec::with_capacity(documents.len()), Released::default());
        let now = Instant::now();
        for document in documents {
            holding.offer(document, now, &mut out, &mut released);
        }
        drop(holding);
        self.telemetry.released(released);
        out
    }

    /// The timer's task. At the end it waits for the decoders, then gives out everything that is held.
    pub(super) async fn release_held(self: Arc<Self>, quit: CancellationToken, decoding: Vec<JoinHandle<()>>) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = quit.cancelled() => break,
                _ = look.tick() => self.release(|hold, out, released| hold.expire(Instant::now(), out, released)).await,
            }
        }
        for task in decoding {
            // A task that panicked has nothing to wait for.
            let _ = task.await;
        }
        self.release(Hold::release_all).await;
    }

    async fn release(&self, release: impl FnOnce(&mut Hold, &mut Vec<Document>, &mut Released)) {
        let (mut out, mut released) = (Vec::new(), Released::default());
        release(
            &mut self.holding.lock().unwrap_or_else(PoisonError::into_inner),
            &mut out,
            &mut released,
        );
        self.telemetry.released(released);
        self.offer(out, SmallVec::new()).await;
    }

    /// Until the pipeline has taken it: nobody will send it again. Meanwhile the queue fills.
    async fn offer(&self, documents: Vec<Document>, permits: SmallVec<[Arc<Permit>; 1]>) {
        let Some(outlet) = &self.outlet else { return };
        if documents.is_empty() {
            return;
        }
        let resource_spans = documents.into_iter().map(|document| document.resource_spans).collect();
        let decoded = Decoded::Traces(ExportTraceServiceRequest { resource_spans });
        let origin = Origin {
            permits,
            ..Origin::default()
        };
        let mut batch = Batch::from_decoded(decoded, Arc::new(origin));
        // As bytes it is cheap to keep for another offer.
        batch.parts();
        let items = batch.items();
        let mut pause = FIRST_PAUSE;
        let counts = &self.telemetry.counts;
        loop {
            let call = outlet.consume(batch.clone());
            let refused = match counts.offer(Signal::Traces, items, call).await {
                Ok(()) => return,
                Err(refused) => refused,
            };
            if refused.permanent {
                self.lost(items, DropReason::PermanentError, &refused.message);
                return;
            }
            let pausing = tokio::time::sleep(refused.retry_after.unwrap_or(pause).min(LONGEST_PAUSE));
            tokio::select! {
                () = self.context.stop.cancelled() => {
                    self.lost(items, DropReason::ShutdownDeadline, &refused.message);
                    return;
                }
                () = pausing => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn lost(&self, items: usize, reason: DropReason, message: &str) {
        self.context
            .instruments
            .dropped(Signal::Traces, reason)
            .add(items as u64);
        if let Some(suppressed) = self.telemetry.drop_log.admit() {
            tracing::error!(receiver = %self.context.id, items, suppressed, error = message, "spans lost");
        }
    }
}
