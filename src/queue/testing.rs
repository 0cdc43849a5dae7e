//! For tests: batches whose items can be told apart, and a far end that does as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use crate::component::{BoxFuture, Refused, Registry, SampleValue, Stage};
use crate::pdata::{Batch, Decoded, Origin, Signal};

/// Spans with these ids, as wire bytes.
pub fn spans(ids: impl IntoIterator<Item = u64>) -> Batch {
    spans_from(ids, Origin::internal())
}

/// The same from somewhere.
pub fn spans_from(ids: impl IntoIterator<Item = u64>, origin: Arc<Origin>) -> Batch {
    named_spans(ids, "work", origin)
}

fn named_spans(ids: impl IntoIterator<Item = u64>, name: &str, origin: Arc<Origin>) -> Batch {
    let spans: Vec<Span> = ids
        .into_iter()
        .map(|id| Span {
            trace_id: vec![1; 16],
            span_id: id.to_be_bytes().to_vec(),
            name: name.to_owned(),
            ..Span::default()
        })
        .collect();
    let items = spans.len() as u32;
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Batch::from_wire(Signal::Traces, request.encode_to_vec().into(), items, origin)
}

/// A span of more than `bytes`.
pub fn span_of(id: u64, bytes: usize) -> Batch {
    named_spans([id], &"w".repeat(bytes), Origin::internal())
}

/// The ids of the spans, in order.
pub fn ids(batch: &Batch) -> Vec<u64> {
    let mut batch = batch.clone();
    let Decoded::Traces(request) = batch.decode().unwrap() else {
        panic!("spans only");
    };
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let ids = scopes
        .flat_map(|scope| &scope.spans)
        .map(|span| span.span_id.as_slice());
    ids.map(|id| u64::from_be_bytes(id.try_into().unwrap())).collect()
}

/// What the far end does with one attempt.
#[derive(Clone, Debug)]
pub enum Act {
    Take,
    /// Takes after this long.
    TakeAfter(Duration),
    Refuse(Refused),
    /// Never answers.
    Hang,
    Panic,
}

/// A far end that follows a script and then does the same for ever.
pub struct FarEnd {
    script: Mutex<VecDeque<Act>>,
    afterwards: Mutex<Act>,
    poison: Mutex<Vec<u64>>,
    taken: Mutex<Vec<Batch>>,
    attempts: Mutex<Vec<(tokio::time::Instant, Vec<u64>)>>,
}

impl FarEnd {
    pub fn new(afterwards: Act) -> Arc<Self> {
        Self::scripted([], afterwards)
    }

    pub fn scripted(script: impl IntoIterator<Item = Act>, afterwards: Act) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            afterwards: Mutex::new(afterwards),
            poison: Mutex::default(),
            taken: Mutex::default(),
            attempts: Mutex::default(),
        })
    }

    /// From now on does this.
    pub fn act(&self, afterwards: Act) {
        *self.afterwards.lock().unwrap() = afterwards;
    }

    /// Does this once, before anything else.
    pub fn next(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }

    /// Refuses for good whatever holds one of these spans.
    pub fn refuse_spans(&self, ids: impl IntoIterator<Item = u64>) {
        self.poison.lock().unwrap().extend(ids);
    }

    /// Every batch it took.
    pub fn taken(&self) -> Vec<Batch> {
        self.taken.lock().unwrap().clone()
    }

    /// The ids of every batch it took.
    pub fn taken_ids(&self) -> Vec<Vec<u64>> {
        self.taken().iter().map(ids).collect()
    }

    /// All ids it took, sorted.
    pub fn all_ids(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.taken_ids().into_iter().flatten().collect();
        all.sort_unstable();
        all
    }

    /// When it was called, and with what.
    pub fn attempts(&self) -> Vec<(tokio::time::Instant, Vec<u64>)> {
        self.attempts.lock().unwrap().clone()
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let act = self.script.lock().unwrap().pop_front();
            let act = act.unwrap_or_else(|| self.afterwards.lock().unwrap().clone());
            let ids = ids(&batch);
            let is_poisoned = ids.iter().any(|id| self.poison.lock().unwrap().contains(id));
            self.attempts.lock().unwrap().push((tokio::time::Instant::now(), ids));
            if is_poisoned {
                return Err(Refused::permanent("invalid span"));
            }
            match act {
                Act::Take => {}
                Act::TakeAfter(delay) => tokio::time::sleep(delay).await,
                Act::Refuse(refused) => return Err(refused),
                Act::Hang => std::future::pending().await,
                Act::Panic => panic!("a bug in an exporter"),
            }
            self.taken.lock().unwrap().push(batch);
            Ok(())
        })
    }
}

/// What happens to a queue in a random history.
#[derive(Clone, Debug)]
pub enum Step {
    /// A request of so many items.
    Offer(u64),
    /// So many milliseconds.
    Wait(u64),
    Down,
    Up,
    /// The next attempt is refused for good.
    Poison,
    Restart,
    /// What was not synced survives as this seed says.
    PowerCut(u64),
}

/// One of them; power cuts as often as `power_cuts` to fourteen.
pub fn step(power_cuts: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..8).prop_map(Step::Offer),
        3 => (1u64..20_000).prop_map(Step::Wait),
        1 => Just(Step::Down),
        1 => Just(Step::Up),
        1 => Just(Step::Poison),
        1 => Just(Step::Restart),
        power_cuts => any::<u64>().prop_map(Step::PowerCut),
    ]
}

/// A far end that nobody reaches.
pub fn down() -> Act {
    Act::Refuse(Refused::retryable("connection refused"))
}

/// Runs on a clock that is moved by whoever waits.
pub fn run_paused<T>(history: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(history)
}

/// The sum of every series of this name that carries `labels`.
pub fn metric(registry: &Registry, name: &str, labels: &[(&str, &str)]) -> f64 {
    let samples = registry.gather();
    let has_all = |have: &[(&'static str, String)]| {
        labels
            .iter()
            .all(|(name, value)| have.iter().any(|(n, v)| n == name && v == value))
    };
    let of_name = samples
        .iter()
        .filter(|sample| sample.name == name && has_all(&sample.labels));
    of_name
        .map(|sample| match &sample.value {
            SampleValue::Counter(count) => *count as f64,
            SampleValue::Gauge(value) => *value,
            SampleValue::Histogram { counts, .. } => counts.iter().sum::<u64>() as f64,
        })
        .sum()
}
