//! Counters, gauges and histograms of the agent itself: bound once when a component is built, one atomic add a batch.
//!
//! Knows no format: `telemetry` renders the registry as Prometheus text or OTLP. Names are the full metric names
//! (`otelcol_receiver_accepted_spans`, `radiosonde_...`); label sets are fixed when an instrument is made.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use super::{ComponentKind, Custody, DropReason, Offered, Outlet, Refused};
use crate::pdata::{Batch, Signal};

/// Label names and values, in the order they are shown.
type Labels = Vec<(&'static str, String)>;

/// What a metric family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicU64>);

impl Default for Gauge {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(0f64.to_bits())))
    }
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds (a negative number subtracts).
    pub fn add(&self, delta: f64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            Some((f64::from_bits(bits) + delta).to_bits())
        });
    }

    /// Now.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Counts by upper bound, as a Prometheus histogram.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<HistogramState>);

#[derive(Debug)]
struct HistogramState {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum: Gauge,
}

impl Histogram {
    /// Takes one measurement.
    pub fn record(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.add(value);
    }
}

#[derive(Clone)]
enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    /// Asked at gather time.
    Observed(Arc<dyn Fn() -> f64 + Send + Sync>),
    Histogram(Histogram),
}

struct Family {
    kind: Kind,
    help: &'static str,
    instruments: Vec<(Labels, Instrument)>,
}

/// All instruments of the process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
    moves: Arc<RwLock<()>>,
}

thread_local! {
    /// Moves that are open in this thread: one inside another is part of it, and takes no lock of its own.
    static OPEN_MOVES: Cell<u32> = const { Cell::new(0) };
}

/// How often a gather yields, and then how often it sleeps for [`PAUSE`], until no move is under way.
const YIELDS: u32 = 1_000;
const PAUSES: u32 = 2_000;
const PAUSE: Duration = Duration::from_micros(50);

/// While it is held no [`Registry::gather`] runs. See [`Registry::moving`].
#[must_use]
pub struct Moving<'a>(#[allow(dead_code)] Option<RwLockReadGuard<'a, ()>>); // Held, not read: dropping it unlocks.

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        OPEN_MOVES.set(OPEN_MOVES.get().saturating_sub(1));
    }
}

/// The value of one series at gather time.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    Counter(u64),
    Gauge(f64),
    Histogram {
        /// Upper bounds; one count more than bounds, the last for everything above.
        bounds: &'static [f64],
        counts: Vec<u64>,
        sum: f64,
    },
}

/// One series at gather time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: Vec<(&'static str, String)>,
    pub value: SampleValue,
}

impl Registry {
    fn instrument(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: Labels,
        new: Instrument,
    ) -> Instrument {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            kind,
            help,
            instruments: Vec::new(),
        });
        debug_assert_eq!(family.kind, kind, "one metric name, one kind: {name}");
        if let Some((_, found)) = family.instruments.iter_mut().find(|(have, _)| *have == labels) {
            // An observer is replaced: after a reload the old one looks at something that is gone.
            if matches!(new, Instrument::Observed(_)) {
                *found = new;
            }
            return found.clone();
        }
        family.instruments.push((labels, new.clone()));
        new
    }

    /// Every series, ordered by name.
    pub fn gather(&self) -> Vec<Sample> {
        let _still = self.stand_still();
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut samples = Vec::new();
        for (name, family) in families.iter() {
            for (labels, instrument) in &family.instruments {
                let value = match instrument {
                    Instrument::Counter(counter) => SampleValue::Counter(counter.value()),
                    Instrument::Gauge(gauge) => SampleValue::Gauge(gauge.value()),
                    Instrument::Observed(observe) => SampleValue::Gauge(observe()),
                    Instrument::Histogram(Histogram(state)) => SampleValue::Histogram {
                        bounds: state.bounds,
                        counts: state.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
                        sum: state.sum.value(),
                    },
                };
                samples.push(Sample {
                    name,
                    help: family.help,
                    kind: family.kind,
                    labels: labels.clone(),
                    value,
                });
            }
        }
        samples
    }

    /// Items that move from one state to another (queued, in flight, sent) are counted out of the one and into the
    /// other while this is held, so that no gather sees them twice or nowhere. Never hold it across an await; what is
    /// [observed](Instruments::observe) must take no lock that is held around it.
    pub fn moving(&self) -> Moving<'_> {
        let outer = OPEN_MOVES.replace(OPEN_MOVES.get() + 1);
        let lock = (outer == 0).then(|| self.moves.read().unwrap_or_else(PoisonError::into_inner));
        Moving(lock)
    }

    /// Waits for a moment without moves and holds new ones off. The lock is tried and not queued for: a move may be
    /// inside a call that takes long, and nobody else is to wait for that. After a tenth of a second the gather reads
    /// all the same (`None`), and counts that what it shows may be torn.
    fn stand_still(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        for attempt in 0..YIELDS + PAUSES {
            match self.moves.try_write() {
                Ok(still) => return Some(still),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if attempt < YIELDS => std::thread::yield_now(),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        let help = "Gathers that found no moment without moves: their sums may be torn.";
        let torn = Instrument::Counter(Counter::default());
        let torn = self.instrument("radiosonde_torn_gathers_total", help, Kind::Counter, Vec::new(), torn);
        if let Instrument::Counter(torn) = torn {
            torn.add(1);
        }
        None
    }

    /// Removes every gauge that carries this label: the component is gone. What was counted stays, because the
    /// accounting has to close over the life of the process.
    pub fn forget(&self, label: &'static str, value: &str) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for family in families.values_mut().filter(|family| family.kind == Kind::Gauge) {
            family
                .instruments
                .retain(|(labels, _)| !labels.iter().any(|(name, have)| *name == label && have == value));
        }
    }
}

/// The registry as one component sees it: its kind and id are on every instrument it makes.
#[derive(Clone)]
pub struct Instruments {
    registry: Registry,
    /// `None`: what is made belongs to the process.
    own: Option<(&'static str, String)>,
}

impl Instruments {
    /// For a component of `kind` with this id.
    pub fn new(registry: Registry, kind: ComponentKind, id: &str) -> Self {
        Self {
            registry,
            own: Some((kind.name(), id.to_owned())),
        }
    }

    /// For what belongs to no component: no label of its own.
    pub fn of_process(registry: Registry) -> Self {
        Self { registry, own: None }
    }

    fn id(&self) -> String {
        self.own.as_ref().map_or_else(String::new, |(_, id)| id.clone())
    }

    /// With a registry of its own, for tests and tools.
    pub fn standalone(kind: ComponentKind, id: &str) -> Self {
        Self::new(Registry::default(), kind, id)
    }

    /// The registry behind it.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn labels(&self, extra: &[(&'static str, &str)]) -> Labels {
        let mut labels: Labels = self.own.iter().cloned().collect();
        labels.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        labels
    }

    /// A counter; asking twice with the same labels gives the same one.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.counter_with(name, help, self.labels(labels))
    }

    /// A counter that names its component in a label of another name, as the Collector's filter does.
    pub fn counter_under(&self, label: &'static str, name: &'static str, help: &'static str) -> Counter {
        self.counter_with(name, help, vec![(label, self.id())])
    }

    fn counter_with(&self, name: &'static str, help: &'static str, labels: Labels) -> Counter {
        let new = Instrument::Counter(Counter::default());
        match self.registry.instrument(name, help, Kind::Counter, labels, new) {
            Instrument::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    /// A gauge that the component sets.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        let new = Instrument::Gauge(Gauge::default());
        match self
            .registry
            .instrument(name, help, Kind::Gauge, self.labels(labels), new)
        {
            Instrument::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// Takes a gauge of this component off the page: there is nothing that it could say.
    pub fn withdraw(&self, name: &'static str, labels: &[(&'static str, &str)]) {
        let labels = self.labels(labels);
        let mut families = self.registry.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.get_mut(name).filter(|family| family.kind == Kind::Gauge) {
            family.instruments.retain(|(have, _)| *have != labels);
        }
    }

    /// A gauge that is asked when metrics are gathered.
    pub fn observe(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        observe: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let new = Instrument::Observed(Arc::new(observe));
        self.registry
            .instrument(name, help, Kind::Gauge, self.labels(labels), new);
    }

    /// A histogram over fixed upper bounds.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        bounds: &'static [f64],
    ) -> Histogram {
        let new = Histogram(Arc::new(HistogramState {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: Gauge::default(),
        }));
        match self.registry.instrument(
            name,
            help,
            Kind::Histogram,
            self.labels(labels),
            Instrument::Histogram(new.clone()),
        ) {
            Instrument::Histogram(histogram) => histogram,
            _ => new,
        }
    }

    /// `otelcol_dropped_items{component,signal,reason}`: every loss is counted here, once.
    pub fn dropped(&self, signal: Signal, reason: DropReason) -> Counter {
        self.counter_with(
            "otelcol_dropped_items",
            "Items lost, by component, signal and reason.",
            vec![
                ("component", self.id()),
                ("signal", signal.name().to_owned()),
                ("reason", reason.name().to_owned()),
            ],
        )
    }

    /// `radiosonde_discarded_items{component,signal}`: items that the configuration asked to remove (filters).
    pub fn discarded(&self, signal: Signal) -> Counter {
        self.counter_with(
            "radiosonde_discarded_items",
            "Items removed because the configuration says so, by component and signal.",
            vec![("component", self.id()), ("signal", signal.name().to_owned())],
        )
    }

    /// `radiosonde_taken_though_refused_items`: taken here, although the sender was told to bring the data again (another
    /// branch of a fan-out refused it, or the sender went away).
    pub fn taken_though_refused(&self, labels: &[(&'static str, &str)]) -> Gauge {
        self.gauge(
            "radiosonde_taken_though_refused_items",
            "Items taken although their sender was told to bring them again.",
            labels,
        )
    }

    /// The Collector's receiver counters for one transport.
    pub fn receiver(&self, transport: &str) -> ReceiverCounts {
        let of = |names: [&'static str; 3], help: &'static str| {
            names.map(|name| self.counter(name, help, &[("transport", transport)]))
        };
        let pending = Signal::ALL.map(|signal| {
            self.gauge(
                "radiosonde_receiver_pending_items",
                "Items whose sender waits for the pipeline's answer.",
                &[("transport", transport), ("data_type", signal.name())],
            )
        });
        let ahead = Signal::ALL
            .map(|signal| self.taken_though_refused(&[("transport", transport), ("data_type", signal.name())]));
        ReceiverCounts {
            registry: self.registry.clone(),
            pending,
            ahead,
            accepted: of(
                [
                    "otelcol_receiver_accepted_spans",
                    "otelcol_receiver_accepted_metric_points",
                    "otelcol_receiver_accepted_log_records",
                ],
                "Items that the pipeline took.",
            ),
            refused: of(
                [
                    "otelcol_receiver_refused_spans",
                    "otelcol_receiver_refused_metric_points",
                    "otelcol_receiver_refused_log_records",
                ],
                "Items that the pipeline refused; the client was told.",
            ),
            failed: of(
                [
                    "otelcol_receiver_failed_spans",
                    "otelcol_receiver_failed_metric_points",
                    "otelcol_receiver_failed_log_records",
                ],
                "Items that failed inside the agent; the client was told.",
            ),
        }
    }
}

/// `otelcol_receiver_{accepted,refused,failed}_{spans,metric_points,log_records}` of one receiver and transport.
#[derive(Clone)]
pub struct ReceiverCounts {
    registry: Registry,
    pending: [Gauge; 3],
    /// Pieces that were taken of requests that were refused.
    ahead: [Gauge; 3],
    accepted: [Counter; 3],
    refused: [Counter; 3],
    failed: [Counter; 3],
}

impl ReceiverCounts {
    /// Counts what became of `items` that were offered to the pipeline.
    pub fn record(&self, signal: Signal, items: usize, result: &Result<(), Refused>) {
        let counters = match result {
            Ok(()) => &self.accepted,
            Err(refused) if refused.permanent => &self.failed,
            Err(_) => &self.refused,
        };
        counters[signal as usize].add(items as u64);
    }

    /// Hands several batches of one signal down at the same time, as one request on the books. Their answers, in order;
    /// none is missing.
    pub async fn offer_all(&self, outlet: &Outlet, batches: Vec<Batch>) -> Vec<Result<(), Refused>> {
        let Some(signal) = batches.first().map(Batch::signal) else {
            return Vec::new();
        };
        let sizes: Vec<usize> = batches.iter().map(Batch::items).collect();
        let mut answers = Vec::new();
        let call = async {
            answers = outlet.consume_all(batches).await;
            let refused = answers.iter().filter_map(|answer| answer.as_ref().err().cloned());
            let worst = refused.reduce(Refused::worse);
            if worst.is_some() {
                // To their sender they were refused with the rest, and they come again with it, or not at all.
                let taken = sizes.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
                let taken: usize = taken.map(|(items, _)| items).sum();
                self.ahead[signal as usize].add(taken as f64);
            }
            worst.map_or(Ok(()), Err)
        };
        let _worst = self.offer(signal, sizes.iter().sum(), call).await;
        answers
    }

    /// Hands `items` down by `call` and counts what becomes of them, in the same move as those below do.
    pub fn offer<F>(&self, signal: Signal, items: usize, call: F) -> Offered<'_, F, Received<'_>>
    where
        F: Future<Output = Result<(), Refused>>,
    {
        let custody = Received {
            counts: self,
            signal,
            items,
        };
        Offered::new(&self.registry, call, custody)
    }
}

/// The books of a receiver over one batch.
pub struct Received<'a> {
    counts: &'a ReceiverCounts,
    signal: Signal,
    items: usize,
}

impl Received<'_> {
    fn pending(&self, change: f64) {
        self.counts.pending[self.signal as usize].add(change);
    }
}

impl Custody for Received<'_> {
    fn handed_down(&mut self) {
        self.pending(self.items as f64);
    }

    fn answered(&mut self, answer: &Result<(), Refused>, waited: bool) {
        if waited {
            self.pending(-(self.items as f64));
        }
        self.counts.record(self.signal, self.items, answer);
    }

    fn abandoned(&mut self) {
        self.pending(-(self.items as f64));
        // Nobody told the client anything: it will bring the data again.
        self.counts.failed[self.signal as usize].add(self.items as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_and_labels_are_one_counter() {
        let instruments = Instruments::standalone(ComponentKind::Receiver, "otlp/a");
        let counts = instruments.receiver("grpc");
        counts.record(Signal::Metrics, 3, &Ok(()));
        instruments.receiver("grpc").record(Signal::Metrics, 4, &Ok(()));
        let samples = instruments.registry().gather();
        let accepted = samples
            .iter()
            .find(|sample| sample.name == "otelcol_receiver_accepted_metric_points")
            .unwrap();
        assert_eq!(accepted.value, SampleValue::Counter(7));
        assert_eq!(
            accepted.labels,
            [("receiver", "otlp/a".to_owned()), ("transport", "grpc".to_owned())]
        );
    }

    #[test]
    fn a_gauge_that_was_withdrawn_is_gone_and_may_come_again() {
        let instruments = Instruments::standalone(ComponentKind::Processor, "p");
        for region in ["a", "b"] {
            instruments.gauge("left", "", &[("region", region)]).set(1.0);
        }
        instruments.withdraw("left", &[("region", "a")]);
        assert_eq!(instruments.registry().gather().len(), 1);
        instruments.gauge("left", "", &[("region", "a")]).set(2.0);
        assert_eq!(instruments.registry().gather().len(), 2);
    }

    #[test]
    fn a_histogram_puts_a_value_on_the_bound_into_its_bucket() {
        let instruments = Instruments::standalone(ComponentKind::Processor, "batch");
        let sizes = instruments.histogram("otelcol_processor_batch_batch_send_size", "", &[], &[10.0, 100.0]);
        for value in [10.0, 10.5, 1000.0] {
            sizes.record(value);
        }
        let samples = instruments.registry().gather();
        assert_eq!(
            samples[0].value,
            SampleValue::Histogram {
                bounds: &[10.0, 100.0],
                counts: vec![1, 1, 1],
                sum: 1020.5
            }
        );
    }
}
