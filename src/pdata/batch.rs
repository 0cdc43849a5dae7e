//! [`Batch`]: telemetry of one signal, kept as the OTLP protobuf it came as until somebody needs structs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use smallvec::{SmallVec, smallvec};

use super::Origin;
use crate::wire::ItemLevel;

/// The three signals of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// All signals, in the order the OTLP specification lists them.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// The name a pipeline is configured by: `traces`, `metrics`, `logs`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }

    /// What counts as an item: spans and log records themselves, the data points of metrics.
    pub fn item_level(self) -> ItemLevel {
        match self {
            Signal::Metrics => ItemLevel::Point,
            Signal::Traces | Signal::Logs => ItemLevel::Record,
        }
    }

    /// The suffix of the Collector's metric names: `spans`, `metric_points`, `log_records`.
    pub fn items_name(self) -> &'static str {
        match self {
            Signal::Traces => "spans",
            Signal::Metrics => "metric_points",
            Signal::Logs => "log_records",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Wire parts: each a well-framed run of field-1 records of the signal's Export request. Written one after the other
/// they are one valid request.
pub type Parts = SmallVec<[Bytes; 1]>;

/// The decoded form, for stages that need structs.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Decoded {
    /// Which signal this is.
    pub fn signal(&self) -> Signal {
        match self {
            Decoded::Traces(_) => Signal::Traces,
            Decoded::Metrics(_) => Signal::Metrics,
            Decoded::Logs(_) => Signal::Logs,
        }
    }

    /// Spans, data points or log records.
    pub fn count_items(&self) -> usize {
        match self {
            Decoded::Traces(request) => request
                .resource_spans
                .iter()
                .flat_map(|resource| &resource.scope_spans)
                .map(|scope| scope.spans.len())
                .sum(),
            Decoded::Metrics(request) => request
                .resource_metrics
                .iter()
                .flat_map(|resource| &resource.scope_metrics)
                .flat_map(|scope| &scope.metrics)
                .map(count_points)
                .sum(),
            Decoded::Logs(request) => request
                .resource_logs
                .iter()
                .flat_map(|resource| &resource.scope_logs)
                .map(|scope| scope.log_records.len())
                .sum(),
        }
    }

    /// Encoded size in bytes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Decoded::Traces(request) => request.encoded_len(),
            Decoded::Metrics(request) => request.encoded_len(),
            Decoded::Logs(request) => request.encoded_len(),
        }
    }

    /// The Export request's protobuf.
    pub fn encode(&self) -> Bytes {
        match self {
            Decoded::Traces(request) => request.encode_to_vec().into(),
            Decoded::Metrics(request) => request.encode_to_vec().into(),
            Decoded::Logs(request) => request.encode_to_vec().into(),
        }
    }
}

pub(super) fn count_points(metric: &opentelemetry_proto::tonic::metrics::v1::Metric) -> usize {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    match &metric.data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    }
}

#[derive(Clone, Debug)]
enum Body {
    Wire(Parts),
    // Boxed: a batch is moved far more often than it is decoded.
    Decoded(Box<Decoded>),
}

/// Telemetry of one signal on its way. Cheap to clone while it is wire bytes.
///
/// Invariant: `items` is the number of spans, data points or log records in the body. It is counted once at the door
/// and kept exact by every edit; all accounting stands on it.
#[derive(Clone, Debug)]
pub struct Batch {
    signal: Signal,
    body: Body,
    items: u32,
    origin: Arc<Origin>,
}

impl Batch {
    /// A batch of wire bytes whose framing was checked and whose items were counted by the caller.
    pub fn from_wire(signal: Signal, bytes: Bytes, items: u32, origin: Arc<Origin>) -> Self {
        Self::from_parts(signal, smallvec![bytes], items, origin)
    }

    /// The same from several parts. Empty parts are left out.
    pub fn from_parts(signal: Signal, mut parts: Parts, items: u32, origin: Arc<Origin>) -> Self {
        parts.retain(|part| !part.is_empty());
        Self {
            signal,
            body: Body::Wire(parts),
            items,
            origin,
        }
    }

    /// A batch of structs, for components that make telemetry themselves.
    pub fn from_decoded(decoded: Decoded, origin: Arc<Origin>) -> Self {
        Self {
            signal: decoded.signal(),
            items: u32::try_from(decoded.count_items()).unwrap_or(u32::MAX),
            body: Body::Decoded(Box::new(decoded)),
            origin,
        }
    }

    /// The signal.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// Spans, data points or log records.
    pub fn items(&self) -> usize {
        self.items as usize
    }

    /// Where it came from.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The same telemetry under another origin.
    pub fn with_origin(mut self, origin: Arc<Origin>) -> Self {
        self.origin = origin;
        self
    }

    /// Size of the Export request in bytes (uncompressed protobuf).
    pub fn wire_len(&self) -> usize {
        match &self.body {
            Body::Wire(parts) => parts.iter().map(Bytes::len).sum(),
            Body::Decoded(decoded) => decoded.encoded_len(),
        }
    }

    /// The wire parts, encoding first where the body is decoded.
    pub fn into_parts(self) -> Parts {
        match self.body {
            Body::Wire(parts) => parts,
            Body::Decoded(decoded) => smallvec![decoded.encode()],
        }
    }

    /// Turns the body into wire form in place and gives its parts.
    pub fn parts(&mut self) -> &Parts {
        if let Body::Decoded(decoded) = &self.body {
            self.body = Body::Wire(smallvec![decoded.encode()]);
        }
        match &self.body {
            Body::Wire(parts) => parts,
            Body::Decoded(_) => unreachable!("the body was turned into wire form above"),
        }
    }

    /// One contiguous Export request. Copies only when there is more than one part.
    pub fn into_bytes(self) -> Bytes {
        let mut parts = self.into_parts();
        match parts.len() {
            0 => Bytes::new(),
            1 => parts.remove(0),
            _ => parts.concat().into(),
        }
    }

    /// Decodes in place (once) and gives the structs. After an edit call [`Batch::recount`].
    ///
    /// # Errors
    /// Where the bytes below the item are no valid protobuf (the door checks only down to the item).
    pub fn decode(&mut self) -> Result<&mut Decoded, prost::DecodeError> {
        if let Body::Wire(parts) = &self.body {
            let decoded = decode_parts(self.signal, parts)?;
            self.body = Body::Decoded(Box::new(decoded));
        }
        match &mut self.body {
            Body::Decoded(decoded) => Ok(decoded),
            Body::Wire(_) => unreachable!("the body was decoded above"),
        }
    }

    /// Counts the items again after the decoded form was edited.
    pub fn recount(&mut self) {
        if let Body::Decoded(decoded) = &self.body {
            self.items = u32::try_from(decoded.count_items()).unwrap_or(u32::MAX);
        }
    }

    /// Puts batches of one signal into one, nothing copied. The origin is the caller's: it must hold the permits of
    /// all parts (see [`Origin`]).
    pub fn join(signal: Signal, batches: impl IntoIterator<Item = Batch>, origin: Arc<Origin>) -> Self {
        let mut parts = Parts::new();
        let mut items: u32 = 0;
        for batch in batches {
            debug_assert_eq!(batch.signal, signal, "only batches of one signal are joined");
            items = items.saturating_add(batch.items);
            parts.extend(batch.into_parts());
        }
        Self::from_parts(signal, parts, items, origin)
    }
}

fn decode_parts(signal: Signal, parts: &Parts) -> Result<Decoded, prost::DecodeError> {
    // Protobuf merges repeated fields of messages written one after the other, so parts are merged one by one.
    fn merge_all<M: Message + Default>(parts: &Parts) -> Result<M, prost::DecodeError> {
        let mut message = M::default();
        for part in parts {
            message.merge(part.clone())?;
        }
        Ok(message)
    }
    Ok(match signal {
        Signal::Traces => Decoded::Traces(merge_all(parts)?),
        Signal::Metrics => Decoded::Metrics(merge_all(parts)?),
        Signal::Logs => Decoded::Logs(merge_all(parts)?),
    })
}
