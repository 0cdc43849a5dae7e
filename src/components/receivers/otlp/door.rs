//! Between a read body and the pipeline: decompression, the check at the door, the offer, and the counting of both.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::HeaderMap;
use bytes::Bytes;
use smallvec::smallvec;
use tonic::Code;

use super::listener::Port;
use super::settings::Settings;
use crate::component::{BuildContext, ComponentId, Outlet, Outlets, ReceiverCounts, Refused};
use crate::net::codec::{Encoding, InflateError, inflate};
use crate::net::status::Status;
use crate::pdata::{Admitted, Batch, Check, DoorLimits, Headers, Origin, Permit, Signal};

/// Compressed bodies up to this size are first tried in the connection's task ...
const INLINE_COMPRESSED: usize = 64 << 10;

/// ... where they may grow to this size: one or two milliseconds. Everything else goes to a blocking thread.
const INLINE_INFLATED: usize = 1 << 20;

/// JSON and bodies that are checked to the bottom above this size are read on a blocking thread.
const INLINE_DEEP: usize = 128 << 10;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

/// A request whose body has been read.
pub(super) struct Offer<'a> {
    pub(super) port: Port,
    pub(super) signal: Signal,
    pub(super) form: Form,
    pub(super) encoding: Encoding,
    pub(super) bytes: Bytes,
    /// Over `bytes`.
    pub(super) permit: Permit,
    /// For the decompressed body.
    pub(super) cap: usize,
    pub(super) client: SocketAddr,
    /// Only with `include_metadata`.
    pub(super) metadata: Option<&'a HeaderMap>,
}

/// What became of a request that was not refused as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Items that were taken out at the door.
    pub(super) rejected: usize,
    /// What the client should know; empty where there is nothing to say.
    pub(super) message: String,
}

impl Taken {
    /// Nothing was rejected and there is nothing to warn of.
    pub(super) fn is_whole(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }
}

/// Shared by both ports of a receiver.
pub(super) struct Door {
    id: ComponentId,
    outlets: Outlets,
    grpc: ReceiverCounts,
    http: ReceiverCounts,
    limits: DoorLimits,
}

impl Door {
    pub(super) fn new(settings: &Settings, context: &BuildContext, outlets: Outlets) -> Self {
        Self {
            id: context.id.clone(),
            outlets,
            grpc: context.instruments.receiver(Port::Grpc.name()),
            http: context.instruments.receiver(Port::Http.name()),
            limits: DoorLimits {
                check: settings.check,
                utf8: settings.utf8,
                ..DoorLimits::default()
            },
        }
    }

    /// Where a signal goes.
    ///
    /// # Errors
    /// UNIMPLEMENTED or 404 when no pipeline of that signal uses the receiver.
    pub(super) fn outlet(&self, signal: Signal) -> Result<&Outlet, Status> {
        self.outlets.get(signal).ok_or_else(|| {
            let text = format!("no pipeline takes {signal} from receiver \"{}\"", self.id);
            Status::new(Code::Unimplemented, text)
        })
    }

    /// Decompresses, checks and counts the request, and hands it to the pipeline. Its answer is the client's.
    pub(super) async fn offer(&self, outlet: &Outlet, offer: Offer<'_>) -> Result<Taken, Status> {
        let Offer { port, signal, form, .. } = offer;
        let client = offer.client;
        let metadata = offer.metadata.map(headers_of).unwrap_or_default();
        let (bytes, permit) = if offer.encoding == Encoding::Identity {
            (offer.bytes, offer.permit)
        } else {
            inflate_within(offer.encoding, offer.bytes, offer.cap, offer.permit).await?
        };
        let origin = Arc::new(Origin {
            client: Some(client),
            metadata,
            permits: smallvec![Arc::new(permit)],
            ..Origin::default()
        });
        let deep = form == Form::Json || self.limits.check == Check::Full;
        let admitted = if deep && bytes.len() > INLINE_DEEP {
            let limits = self.limits.clone();
            on_blocking_thread(move || let_in(signal, form, bytes, &limits, origin)).await?
        } else {
            let_in(signal, form, bytes, &self.limits, origin)?
        };
        self.hand_over(outlet, port, admitted).await
    }

    async fn hand_over(&self, outlet: &Outlet, port: Port, admitted: Admitted) -> Result<Taken, Status> {
        let counts = match port {
            Port::Grpc => &self.grpc,
            Port::Http => &self.http,
        };
        let signal = admitted.batch.signal();
        let items = admitted.batch.items();
        let mut taken = Taken::default();
        if admitted.rejected.has_message() {
            taken.rejected = admitted.rejected.count();
            taken.message = admitted.rejected.to_string();
            // The client is told and keeps the data: refused, not lost.
            counts.record(signal, taken.rejected, &Err(Refused::retryable("")));
            tracing::debug!(receiver = %self.id, rejected = taken.rejected, "records rejected: {}", taken.message);
        }
        if items == 0 {
            return Ok(taken);
        }
        match counts.offer(signal, items, outlet.consume(admitted.batch)).await {
            Ok(()) => Ok(taken),
            Err(refused) => {
                tracing::debug!(receiver = %self.id, items, error = %refused, "data refused");
                Err(Status::of(&refused))
            }
        }
    }
}

/// All header values that are text, names in lower case.
fn headers_of(headers: &HeaderMap) -> Headers {
    let mut metadata = Headers::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        metadata.push((name.as_str().into(), values.map(Box::from).collect()));
    }
    metadata
}

/// Decompresses where it does not hold up other connections; the permit then covers the decompressed bytes.
async fn inflate_within(
    encoding: Encoding,
    bytes: Bytes,
    cap: usize,
    mut permit: Permit,
) -> Result<(Bytes, Permit), Status> {
    if bytes.len() <= INLINE_COMPRESSED {
        match inflate_now(encoding, &bytes, cap.min(INLINE_INFLATED), &mut permit) {
            Err(InflateError::TooLarge { .. }) if cap > INLINE_INFLATED => permit.shrink_to(bytes.len() as u64),
            other => return other.map(|inflated| (inflated, permit)).map_err(refusal),
        }
    }
    on_blocking_thread(move || {
        let inflated = inflate_now(encoding, &bytes, cap, &mut permit).map_err(refusal)?;
        Ok((inflated, permit))
    })
    .await
}

fn inflate_now(encoding: Encoding, bytes: &Bytes, cap: usize, permit: &mut Permit) -> Result<Bytes, InflateError> {
    let inflated = inflate(encoding, bytes, cap, &mut |more| permit.try_grow(more as u64))?;
    permit.shrink_to(inflated.len() as u64);
    Ok(inflated)
}

fn refusal(error: InflateError) -> Status {
    match error {
        InflateError::TooLarge { .. } => Status::too_large(error.to_string()),
        InflateError::Corrupt { .. } => Status::invalid(error.to_string()),
        InflateError::NoMemory => Status::no_memory(),
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Status::new(Code::Internal, "reading the request failed")))
}

/// Checks and counts: what the pipeline gets, and what was taken out.
fn let_in(
    signal: Signal,
    form: Form,
    bytes: Bytes,
    limits: &DoorLimits,
    origin: Arc<Origin>,
) -> Result<Admitted, Status> {
    let admitted = match form {
        Form::Protobuf => Batch::at_door(signal, bytes, limits, origin),
        Form::Json => Batch::from_json(signal, &bytes, limits, origin),
    };
    admitted.map_err(|error| Status::invalid(error.to_string()))
}
