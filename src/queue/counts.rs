//! The books of one exporter (or batcher) and signal: every item is in exactly one state.
//!
//! `taken = delivered + dropped + returned + spilled + queued + in_flight`, at every gather: each move from one state to
//! another is made under [`Registry::moving`], which a gather waits for. No lock that is taken inside a move may be held
//! when one begins.

use crate::component::{Counter, DropReason, Gauge, Instruments, Moving, Registry};
use crate::pdata::Signal;

/// Where items of one exporter and signal are, and what became of them.
pub struct Counts {
    signal: Signal,
    instruments: Instruments,
    registry: Registry,
    taken: Counter,
    sent: Counter,
    send_failed: Counter,
    enqueue_failed: Counter,
    returned: Counter,
    spilled: Counter,
    recovered: Counter,
    waiting: Gauge,
    taken_though_refused: Gauge,
    queued: Gauge,
    in_flight: Gauge,
    suppressed: Counter,
    requests_in_flight: Gauge,
}

/// The name of one of the Collector's metrics, which carry the signal in their name.
fn of_signal(names: [&'static str; 3], signal: Signal) -> &'static str {
    names[signal as usize]
}

impl Counts {
    /// Makes the instruments.
    pub fn new(instruments: &Instruments, signal: Signal) -> Self {
        let data_type = [("data_type", signal.name())];
        let by_signal = |names, help| instruments.counter(of_signal(names, signal), help, &[]);
        Self {
            signal,
            registry: instruments.registry().clone(),
            taken: instruments.counter(
                "radiosonde_taken_items",
                "Items that the queue took, or that were offered to an exporter without a queue.",
                &data_type,
            ),
            sent: by_signal(
                [
                    "otelcol_exporter_sent_spans",
                    "otelcol_exporter_sent_metric_points",
                    "otelcol_exporter_sent_log_records",
                ],
                "Items that the far end took.",
            ),
            send_failed: by_signal(
                [
                    "otelcol_exporter_send_failed_spans",
                    "otelcol_exporter_send_failed_metric_points",
                    "otelcol_exporter_send_failed_log_records",
                ],
                "Items that the far end did not take, after all tries.",
            ),
            enqueue_failed: by_signal(
                [
                    "otelcol_exporter_enqueue_failed_spans",
                    "otelcol_exporter_enqueue_failed_metric_points",
                    "otelcol_exporter_enqueue_failed_log_records",
                ],
                "Items that the queue refused; the sender was told.",
            ),
            returned: instruments.counter(
                "radiosonde_returned_items",
                "Items taken first and then refused to a sender who was waiting for the result.",
                &data_type,
            ),
            spilled: instruments.counter(
                "radiosonde_spilled_items",
                "Items left in a file at shutdown, to be sent first at the next start.",
                &data_type,
            ),
            recovered: instruments.counter(
                "radiosonde_recovered_items",
                "Items taken from a file that an earlier run left.",
                &data_type,
            ),
            suppressed: instruments.counter(
                "radiosonde_duplicates_suppressed_items",
                "Items of requests that the queue had taken before and that their senders brought again.",
                &data_type,
            ),
            waiting: instruments.gauge(
                "radiosonde_waiting_items",
                "Items whose sender is held back until there is room.",
                &data_type,
            ),
            taken_though_refused: instruments.taken_though_refused(&data_type),
            queued: instruments.gauge("radiosonde_queue_items", "Items that wait to be sent.", &data_type),
            in_flight: instruments.gauge(
                "radiosonde_in_flight_items",
                "Items being sent or waiting for another try.",
                &data_type,
            ),
            requests_in_flight: instruments.gauge(
                "otelcol_exporter_in_flight_requests",
                "Requests being sent or waiting for another try.",
                &data_type,
            ),
            instruments: instruments.clone(),
        }
    }

    /// Nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        let _moving = self.registry.moving();
        self.queued.value() + self.in_flight.value() == 0.0
    }

    /// The Collector's `queue_size` and `queue_capacity`.
    pub fn queue_gauges(&self) -> (Gauge, Gauge) {
        let data_type = [("data_type", self.signal.name())];
        let size = self.instruments.gauge(
            "otelcol_exporter_queue_size",
            "Content of the sending queue in units of its sizer, what is being sent included.",
            &data_type,
        );
        let capacity = self.instruments.gauge(
            "otelcol_exporter_queue_capacity",
            "Capacity of the sending queue in units of its sizer.",
            &data_type,
        );
        (size, capacity)
    }

    /// Content and capacity in bytes.
    pub fn byte_gauges(&self) -> (Gauge, Gauge) {
        let data_type = [("data_type", self.signal.name())];
        let size = self.instruments.gauge(
            "radiosonde_queue_bytes",
            "Content of a durable queue in bytes of its log, what is being sent included.",
            &data_type,
        );
        let capacity = self.instruments.gauge(
            "radiosonde_queue_capacity_bytes",
            "Capacity of a durable queue in bytes of its log; 0 until it is open.",
            &data_type,
        );
        (size, capacity)
    }

    /// Room on the disk, syncs, damaged records.
    pub fn log_instruments(&self) -> (Gauge, Counter, Counter) {
        let data_type = [("data_type", self.signal.name())];
        let disk_bytes = self.instruments.gauge(
            "radiosonde_queue_disk_bytes",
            "Room that the log of a durable queue takes on the disk.",
            &data_type,
        );
        let syncs = self.instruments.counter(
            "radiosonde_queue_fsyncs",
            "Syncs of data to the disk by a durable queue.",
            &data_type,
        );
        let corrupt = self.instruments.counter(
            "radiosonde_queue_corrupt_records",
            "Records of a durable queue's log that were damaged.",
            &data_type,
        );
        (disk_bytes, syncs, corrupt)
    }

    /// Several of these as one move.
    pub fn moving(&self) -> Moving<'_> {
        self.registry.moving()
    }

    /// Taken from a file into the queue.
    pub fn recovered(&self, items: usize) {
        let _moving = self.registry.moving();
        self.recovered.add(items as u64);
        self.queued(items);
    }

    /// They came again, and are here already: the sender hears that they were taken.
    pub fn suppressed(&self, items: usize) {
        self.suppressed.add(items as u64);
    }

    /// Senders of so many items begin, or end, to wait for room.
    pub fn waiting(&self, items: f64) {
        self.waiting.add(items);
    }

    /// Taken, but the sender did not stay for the answer.
    pub fn left_behind(&self, items: f64) {
        self.taken_though_refused.add(items);
    }

    /// Taken into the queue.
    pub fn queued(&self, items: usize) {
        let _moving = self.registry.moving();
        self.taken.add(items as u64);
        self.queued.add(items as f64);
    }

    /// Offered to an exporter without a queue: in flight at once.
    pub fn taken_in_flight(&self, items: usize) {
        let _moving = self.registry.moving();
        self.taken.add(items as u64);
        self.in_flight.add(items as f64);
    }

    /// From the queue onto the way.
    pub fn started(&self, items: usize) {
        let _moving = self.registry.moving();
        self.queued.add(-(items as f64));
        self.in_flight.add(items as f64);
    }

    /// A request goes on its way, or has ended.
    pub fn requests(&self, change: i32) {
        self.requests_in_flight.add(f64::from(change));
    }

    /// The far end took them.
    pub fn delivered(&self, items: usize) {
        let _moving = self.registry.moving();
        self.in_flight.add(-(items as f64));
        self.sent.add(items as u64);
    }

    /// Lost, from in flight.
    pub fn dropped(&self, items: usize, reason: DropReason) {
        // Made before the move: no instrument may be made while a gather is held off.
        let dropped = self.drop_counter(reason);
        self.dropped_by(items, &dropped);
    }

    /// The counter of one reason.
    pub fn drop_counter(&self, reason: DropReason) -> Counter {
        self.instruments.dropped(self.signal, reason)
    }

    /// Lost, from in flight, for the reason of a counter.
    pub fn dropped_by(&self, items: usize, dropped: &Counter) {
        let _moving = self.registry.moving();
        self.in_flight.add(-(items as f64));
        dropped.add(items as u64);
        self.send_failed.add(items as u64);
    }

    /// Stays in a file, from queued.
    pub fn stays(&self, items: usize) {
        let _moving = self.registry.moving();
        self.queued.add(-(items as f64));
        self.spilled.add(items as u64);
    }

    /// Refused after all, to a sender who waited.
    pub fn returned(&self, items: usize) {
        let _moving = self.registry.moving();
        self.in_flight.add(-(items as f64));
        self.returned.add(items as u64);
        self.send_failed.add(items as u64);
    }

    /// Left in a file, from in flight.
    pub fn spilled(&self, items: usize) {
        let _moving = self.registry.moving();
        self.in_flight.add(-(items as f64));
        self.spilled.add(items as u64);
    }

    /// Lost before they were taken: a damaged record of a file.
    pub fn corrupt(&self, items: u64) {
        let dropped = self.instruments.dropped(self.signal, DropReason::CorruptRecord);
        let _moving = self.registry.moving();
        self.recovered.add(items);
        self.taken.add(items);
        dropped.add(items);
    }

    /// Refused at the door of the queue.
    pub fn enqueue_failed(&self, items: usize) {
        self.enqueue_failed.add(items as u64);
    }
}
