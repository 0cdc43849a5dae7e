//! The instruments of one batch processor and signal: the Collector's, and the books of what is held.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::component::{BuildContext, Counter, Custody, DropReason, Gauge, Histogram, Instruments, Refused, Registry};
use crate::pdata::Signal;

// The Collector's bucket bounds.
const SIZES: &[f64] = &[
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 7000.0, 8000.0,
    9000.0, 10000.0, 20000.0, 30000.0, 50000.0, 100000.0,
];
const BYTES: &[f64] = &[
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 7000.0, 8000.0,
    9000.0, 10e3, 20e3, 30e3, 50e3, 100e3, 200e3, 300e3, 400e3, 500e3, 600e3, 700e3, 800e3, 900e3, 1e6, 2e6, 3e6, 4e6,
    5e6, 6e6, 7e6, 8e6, 9e6,
];

/// Why a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Size,
    Timeout,
}

/// See the module text.
pub struct Counts {
    signal: Signal,
    instruments: Instruments,
    registry: Registry,
    send_size: Histogram,
    send_size_bytes: Histogram,
    size_trigger: Counter,
    timeout_trigger: Counter,
    cardinality: Gauge,
    held: Gauge,
    /// Items of batches that the next stage has and has not answered for.
    handed_down: AtomicUsize,
    waiting: Gauge,
    spilled: Counter,
    recovered: Counter,
}

impl Counts {
    pub fn new(context: &BuildContext, signal: Signal) -> Self {
        let instruments = &context.instruments;
        Self {
            signal,
            registry: instruments.registry().clone(),
            send_size: instruments.histogram(
                "otelcol_processor_batch_batch_send_size",
                "Items of a batch that was sent.",
                &[],
                SIZES,
            ),
            send_size_bytes: instruments.histogram(
                "otelcol_processor_batch_batch_send_size_bytes",
                "Bytes of a batch that was sent.",
                &[],
                BYTES,
            ),
            size_trigger: instruments.counter(
                "otelcol_processor_batch_batch_size_trigger_send",
                "Batches sent because they were full.",
                &[],
            ),
            timeout_trigger: instruments.counter(
                "otelcol_processor_batch_timeout_trigger_send",
                "Batches sent because their time was over.",
                &[],
            ),
            cardinality: instruments.gauge(
                "otelcol_processor_batch_metadata_cardinality",
                "Combinations of metadata values that have a batch of their own.",
                &[],
            ),
            held: instruments.gauge(
                "radiosonde_queue_items",
                "Items that wait to be sent.",
                &[("data_type", signal.name())],
            ),
            handed_down: AtomicUsize::new(0),
            waiting: instruments.gauge(
                "radiosonde_waiting_items",
                "Items whose sender is held back until there is room.",
                &[("data_type", signal.name())],
            ),
            recovered: instruments.counter(
                "radiosonde_recovered_items",
                "Items taken from a file that an earlier run left.",
                &[("data_type", signal.name())],
            ),
            spilled: instruments.counter(
                "radiosonde_spilled_items",
                "Items left in a file at shutdown, to be sent first at the next start.",
                &[("data_type", signal.name())],
            ),
            instruments: instruments.clone(),
        }
    }

    /// Whether anything waits here.
    pub fn holds_items(&self) -> bool {
        self.held.value() > 0.0 || self.handed_down.load(Ordering::Relaxed) > 0
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The books over one offer of items that are held.
    pub fn custody(&self, items: usize) -> Held<'_> {
        Held { counts: self, items }
    }

    /// The sender of so many items waits for room until the answer is dropped.
    pub fn waiting(&self, items: usize) -> Waiting<'_> {
        self.waiting.add(items as f64);
        Waiting { counts: self, items }
    }

    /// Items of an earlier run's file are held.
    pub fn recovered(&self, items: usize) {
        let _moving = self.registry.moving();
        self.recovered.add(items as u64);
        self.took(items);
    }

    /// Items came in.
    pub fn took(&self, items: usize) {
        self.held.add(items as f64);
    }

    /// Items went to the next stage, or back to a caller who waited.
    pub fn left(&self, items: usize) {
        self.held.add(-(items as f64));
    }

    /// Items that were answered for are lost.
    pub fn dropped(&self, items: usize, reason: DropReason) {
        let dropped = self.instruments.dropped(self.signal, reason);
        let _moving = self.registry.moving();
        self.held.add(-(items as f64));
        dropped.add(items as u64);
    }

    /// Items were left in a file.
    pub fn spilled(&self, items: usize) {
        let _moving = self.registry.moving();
        self.held.add(-(items as f64));
        self.spilled.add(items as u64);
    }

    /// Items of a damaged record that an earlier run left.
    pub fn corrupt(&self, items: u64) {
        let dropped = self.instruments.dropped(self.signal, DropReason::CorruptRecord);
        let _moving = self.registry.moving();
        self.recovered.add(items);
        dropped.add(items);
    }

    /// A batch goes.
    pub fn sending(&self, trigger: Trigger, items: usize, bytes: usize) {
        self.send_size.record(items as f64);
        self.send_size_bytes.record(bytes as f64);
        match trigger {
            Trigger::Size => self.size_trigger.add(1),
            Trigger::Timeout => self.timeout_trigger.add(1),
        }
    }

    pub fn cardinality(&self, groups: usize) {
        self.cardinality.set(groups as f64);
    }
}

/// See [`Counts::custody`].
pub struct Held<'a> {
    counts: &'a Counts,
    items: usize,
}

impl Custody for Held<'_> {
    fn handed_down(&mut self) {
        self.counts.handed_down.fetch_add(self.items, Ordering::Relaxed);
        self.counts.left(self.items);
    }

    fn answered(&mut self, answer: &Result<(), Refused>, waited: bool) {
        if waited {
            self.abandoned();
        }
        if answer.is_ok() {
            self.counts.left(self.items);
        }
    }

    fn abandoned(&mut self) {
        self.counts.took(self.items);
        self.counts.handed_down.fetch_sub(self.items, Ordering::Relaxed);
    }
}

/// See [`Counts::waiting`].
pub struct Waiting<'a> {
    counts: &'a Counts,
    items: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counts.waiting.add(-(self.items as f64));
    }
}
