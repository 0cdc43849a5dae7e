//! From chunks of datagrams to batches of spans, and those to the pipeline.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sockets::{Chunk, Chunks};
use super::telemetry::Telemetry;
use crate::aws::xray::datagram;
use crate::aws::xray::hold::{Hold, Released};
use crate::aws::xray::translate::{Document, Encoder, Reader, Spans};
use crate::component::{BuildContext, DropReason, Outlet};
use crate::pdata::{Batch, Origin, Permit, Signal};

/// Shared by the decoders and the timer.
pub(super) type Holding = Arc<Mutex<Hold>>;

/// Spans in one batch, about.
const LARGE_BATCH: u32 = 512;
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

/// Spans of a batch, as its bytes.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    spans: u32,
}

impl Written {
    fn add(&mut self, document: Document, encoder: &mut Encoder) {
        self.spans += u32::try_from(document.spans().len()).unwrap_or(u32::MAX);
        encoder.write(document.resource_spans, &mut self.bytes);
    }
}

impl Decoder {
    /// The task of one socket's datagrams; ends when the socket is closed and its queue empty.
    pub(super) async fn run(self: Arc<Self>, mut chunks: Chunks) {
        let (mut spans, mut encoder) = (Spans::default(), Encoder::default());
        let mut usual_size = 0;
        while let Some(chunk) = chunks.take().await {
            let mut permits: SmallVec<[Arc<Permit>; 1]> = SmallVec::new();
            let mut written = Written::default();
            written.bytes.reserve(usual_size);
            let mut next = Some(chunk);
            while let Some(chunk) = next {
                self.decode(&chunk, &mut spans);
                self.write(&mut spans, &mut encoder, &mut written);
                permits.push(Arc::new(chunk.permit));
                next = if written.spans < LARGE_BATCH {
                    chunks.take_now()
                } else {
                    None
                };
            }
            usual_size = written.bytes.len();
            self.offer(written, permits).await;
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
    fn write(&self, spans: &mut Spans, encoder: &mut Encoder, written: &mut Written) {
        if !self.keep_inferred {
            self.telemetry.inferred_dropped.add(spans.drop_inferred() as u64);
        }
        let documents = spans.documents.drain(..);
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if holding.is_empty() && !documents.as_slice().iter().any(|document| document.in_progress) {
            drop(holding);
            documents.for_each(|document| written.add(document, encoder));
            return;
        }
        let (mut out, mut released) = (Vec::new(), Released::default());
        let now = Instant::now();
        for document in documents {
            holding.offer(document, now, &mut out, &mut released);
        }
        drop(holding);
        self.telemetry.released(released);
        out.into_iter().for_each(|document| written.add(document, encoder));
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
        let (mut written, mut encoder) = (Written::default(), Encoder::default());
        out.into_iter().for_each(|document| written.add(document, &mut encoder));
        self.offer(written, SmallVec::new()).await;
    }

    /// Until the pipeline has taken it: nobody will send it again. Meanwhile the queue fills.
    async fn offer(&self, written: Written, permits: SmallVec<[Arc<Permit>; 1]>) {
        let Some(outlet) = &self.outlet else { return };
        if written.spans == 0 {
            return;
        }
        let origin = Origin {
            permits,
            ..Origin::default()
        };
        let batch = Batch::from_wire(Signal::Traces, written.bytes.into(), written.spans, Arc::new(origin));
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
