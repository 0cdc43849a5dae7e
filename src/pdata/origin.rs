//! Where a batch came from, and the memory it holds while it is here.

use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Permit;

/// Chosen request metadata (headers or gRPC metadata) of the client, names in lower case.
pub type Headers = Vec<(Box<str>, Vec<Box<str>>)>;

/// Who the client proved to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// Named facts of the identity, e.g. `subject`.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// Shared by all clones and slices of what one client sent in one request.
///
/// The origin of a joined batch carries the metadata it was batched by and the permits of all its parts; the client
/// address is lost there, as in the Collector.
#[derive(Debug, Default)]
pub struct Origin {
    /// The peer's address; `None` for data made in this process and for joined batches.
    pub client: Option<SocketAddr>,
    /// Only with `include_metadata` at the receiver (or the keys a batch was joined by).
    pub metadata: Headers,
    /// Identity from an authenticator of the receiver.
    pub auth: Option<Auth>,
    /// The sender holds a cursor (file, Kafka, CloudWatch, X-Ray) that it moves after `Ok`: a batcher answers it only
    /// when the next stage has taken the data.
    pub cursor: bool,
    /// Held until the last clone of the data is gone.
    pub permits: SmallVec<[Arc<Permit>; 1]>,
}

impl Origin {
    /// The origin of data that this process made itself.
    pub fn internal() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// All values of a metadata key; the key is compared ignoring ASCII case (gRPC and HTTP send lower case).
    pub fn metadata_values(&self, key: &str) -> &[Box<str>] {
        self.metadata
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map_or(&[], |(_, values)| values.as_slice())
    }
}
