//! Where a batch came from, and the memory it holds while it is here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::{BatchId, NoMemory, Permit, Pieces};

/// Chosen request metadata (headers or gRPC metadata) of the client, names in lower case.
pub type Headers = Vec<(Box<str>, Vec<Box<str>>)>;

/// Who the client proved to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Named facts of the identity, e.g. `subject`.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// How a client sent its request, in the words of OTLP; empty where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// `grpc`, `http/protobuf` or `http/json`.
    pub protocol: &'static str,
    /// `identity`, `gzip`, ...
    pub encoding: &'static str,
}

/// Shared by all clones and slices of what one client sent in one request.
///
/// The origin of a joined batch carries the metadata it was batched by and the permits of all its parts; the client
/// address is lost there, as in the Collector.
#[derive(Debug, Default)]
pub struct Origin {
    /// The peer's address; `None` for data made in this process and for joined batches.
    pub client: Option<SocketAddr>,
    /// Not kept by queues on the disk nor for joined batches: it is for whoever looks at the requests themselves.
    pub sent: Sent,
    /// Only with `include_metadata` at the receiver (or the keys a batch was joined by).
    pub metadata: Headers,
    /// Identity from an authenticator of the receiver.
    pub auth: Option<Auth>,
    /// The sender holds a cursor (file, Kafka, CloudWatch, X-Ray) that it moves after `Ok`: a batcher answers it only
    /// when the next stage has taken the data.
    pub cursor: bool,
    /// Held until the last clone of the data is gone.
    pub permits: SmallVec<[Arc<Permit>; 1]>,
    /// Set by whoever offers the same batch again until it is taken, so that a branch of a fan-out that has it already
    /// is left out then.
    pub taken_by: Option<Arc<TakenBy>>,
    /// What this request is known by wherever it is offered again, over restarts too: a durable queue that has it says
    /// `Ok` and takes it no second time. It belongs to the whole; a part of the data has none.
    pub batch_id: Option<BatchId>,
    /// What the data was joined of, for a next hop that knows the parts: set by a queue, last before the far end.
    pub pieces: Option<Arc<Pieces>>,
}

/// The branches of fan-outs that have taken a batch, over all offers of it.
#[derive(Debug, Default)]
pub struct TakenBy(Mutex<Vec<(u128, usize)>>);

impl TakenBy {
    /// Branch `branch` of the fan-out `fan_out` has it.
    pub fn note(&self, fan_out: u128, branch: usize) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((fan_out, branch));
    }

    /// Whether that branch has it.
    pub fn has(&self, fan_out: u128, branch: usize) -> bool {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.contains(&(fan_out, branch))
    }
}

impl Origin {
    /// The origin of data that this process made itself.
    pub fn internal() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The same origin, for offering a batch as often as it takes. `taken_by` is shared by all offers.
    pub fn remembering(&self, taken_by: &Arc<TakenBy>) -> Arc<Self> {
        Arc::new(Self {
            client: self.client,
            sent: self.sent,
            metadata: self.metadata.clone(),
            auth: self.auth.clone(),
            cursor: self.cursor,
            permits: self.permits.clone(),
            taken_by: Some(Arc::clone(taken_by)),
            batch_id: self.batch_id,
            pieces: None,
        })
    }

    /// The same origin for other data, or for data known by another id.
    pub fn known_as(&self, batch_id: Option<BatchId>) -> Self {
        Self {
            client: self.client,
            sent: self.sent,
            metadata: self.metadata.clone(),
            auth: self.auth.clone(),
            cursor: self.cursor,
            permits: self.permits.clone(),
            taken_by: self.taken_by.clone(),
            batch_id,
            pieces: None,
        }
    }

    /// Memory for another form of this data (structs, text), from the budget that it was admitted by. Data that this
    /// process made itself is not limited.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn reserve(&self, bytes: usize) -> Result<Permit, NoMemory> {
        match self.permits.first() {
            Some(permit) => {
                let held = self.permits.iter().map(|permit| permit.bytes()).sum();
                permit.another(bytes as u64, held)
            }
            None => Ok(Permit::none()),
        }
    }

    /// All values of a metadata key; the key is compared ignoring ASCII case (gRPC and HTTP send lower case).
    pub fn metadata_values(&self, key: &str) -> &[Box<str>] {
        self.metadata
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map_or(&[], |(_, values)| values.as_slice())
    }
}
