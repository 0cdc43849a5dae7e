//! The receiver's own metrics. Bound once; counted per datagram, because each datagram is a sender's request.

use std::sync::{Arc, PoisonError};

use super::decode::Holding;
use crate::aws::xray::datagram::BadFrame;
use crate::aws::xray::hold::Released;
use crate::aws::xray::translate::{DocumentKind, Reason, Rejected, Salvaged};
use crate::component::{BuildContext, Counter, Instruments, LimitedLog, ReceiverCounts};

/// Everything the receiver counts.
pub(super) struct Telemetry {
    instruments: Instruments,
    pub(super) counts: ReceiverCounts,
    /// Datagrams that gave at least one document.
    ok: Counter,
    rejected: Counter,
    dropped: Counter,
    bad_frames: [Counter; BadFrame::ALL.len()],
    bad_documents: [Counter; Rejected::ALL.len()],
    internal: Counter,
    pub(super) segments: [Counter; DocumentKind::ALL.len()],
    salvaged: [Counter; Reason::ALL.len()],
    pub(super) bytes: Counter,
    queue_dropped: Counter,
    pub(super) kernel_drops: Counter,
    completed: Counter,
    timeout: Counter,
    evicted: Counter,
    pub(super) inferred_dropped: Counter,
    pub(super) drop_log: LimitedLog,
}

impl Telemetry {
    pub(super) fn new(context: &BuildContext) -> Self {
        let instruments = &context.instruments;
        let outcome = |outcome| {
            let help = "X-Ray datagrams by what became of them.";
            instruments.counter("xray_udp_datagrams_total", help, &[("outcome", outcome)])
        };
        let reject = |reason| {
            let help = "Datagrams and documents that nothing could be made of, by reason.";
            instruments.counter("xray_udp_rejected_total", help, &[("reason", reason)])
        };
        let progress = |outcome| {
            let help = "Segments that were held until they had an end, by how that ended.";
            instruments.counter("xray_in_progress_total", help, &[("outcome", outcome)])
        };
        let plain = |name, help| instruments.counter(name, help, &[]);
        Self {
            counts: instruments.receiver("udp"),
            ok: outcome("ok"),
            rejected: outcome("rejected"),
            dropped: outcome("dropped"),
            bad_frames: BadFrame::ALL.map(|bad| reject(bad.name())),
            bad_documents: Rejected::ALL.map(|bad| reject(bad.name())),
            internal: reject("internal"),
            segments: DocumentKind::ALL.map(|kind| {
                let help = "X-Ray documents by kind.";
                instruments.counter("xray_udp_segments_total", help, &[("kind", kind.name())])
            }),
            salvaged: Reason::ALL.map(|reason| {
                let help = "Parts of X-Ray documents that were lost or guessed, by reason.";
                instruments.counter("xray_udp_salvaged_total", help, &[("reason", reason.name())])
            }),
            bytes: plain("xray_udp_bytes_total", "Bytes of X-Ray datagrams."),
            queue_dropped: plain(
                "xray_udp_queue_dropped_total",
                "Datagrams dropped because decoding was behind.",
            ),
            kernel_drops: plain(
                "xray_udp_kernel_drops_total",
                "Datagrams that the kernel dropped because its receive buffer was full.",
            ),
            completed: progress("completed"),
            timeout: progress("timeout"),
            evicted: progress("evicted"),
            inferred_dropped: plain(
                "xray_inferred_dropped_total",
                "Segments that X-Ray had inferred, dropped.",
            ),
            drop_log: LimitedLog::default(),
            instruments: instruments.clone(),
        }
    }

    pub(super) fn observe_held(&self, holding: &Holding) {
        let holding = Arc::downgrade(holding);
        let help = "Segments held until they have an end.";
        self.instruments.observe("xray_in_progress_held", help, &[], move || {
            let held = holding.upgrade();
            held.map_or(0, |held| held.lock().unwrap_or_else(PoisonError::into_inner).len()) as f64
        });
    }

    pub(super) fn bad_frame(&self, bad: BadFrame) {
        self.rejected.add(1);
        self.bad_frames[bad as usize].add(1);
    }

    /// A panic while one datagram was translated.
    pub(super) fn internal(&self) {
        self.rejected.add(1);
        self.internal.add(1);
    }

    /// What a datagram gave.
    pub(super) fn translated(&self, documents: usize, salvaged: &Salvaged) {
        if documents > 0 {
            self.ok.add(1);
        } else {
            self.rejected.add(1);
        }
        if salvaged.is_clean() {
            return;
        }
        for rejected in &salvaged.rejected {
            self.bad_documents[*rejected as usize].add(1);
        }
        for (reason, count) in salvaged.reasons() {
            self.salvaged[reason as usize].add(u64::from(count));
        }
    }

    pub(super) fn queue_dropped(&self, datagrams: u64) {
        self.dropped.add(datagrams);
        self.queue_dropped.add(datagrams);
        if let Some(suppressed) = self.drop_log.admit() {
            tracing::warn!(datagrams, suppressed, "decoding is behind: X-Ray datagrams dropped");
        }
    }

    pub(super) fn kernel_dropped(&self, datagrams: u64) {
        self.kernel_drops.add(datagrams);
        if let Some(suppressed) = self.drop_log.admit() {
            tracing::warn!(
                datagrams,
                suppressed,
                "the kernel's receive buffer was full: X-Ray datagrams lost"
            );
        }
    }

    pub(super) fn released(&self, released: Released) {
        self.completed.add(released.completed);
        self.timeout.add(released.timeout);
        self.evicted.add(released.evicted);
    }
}
