//! Between a read body and the pipeline: decompression, the check at the door, the offer, and the counting of both.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use smallvec::smallvec;
use tokio::sync::Semaphore;
use tonic::Code;

use super::listener::Port;
use super::settings::Settings;
use crate::component::{
    BuildContext, ComponentId, Incident, IncidentKind, Incidents, Outlet, Outlets, ReceiverCounts, Refused,
};
use crate::net::codec::{Encoding, InflateError, inflate};
use crate::net::server::Identity;
use crate::net::status::Status;
use crate::pdata::{
    Admitted, BATCH_ID_HEADER, Batch, Check, DoorError, DoorLimits, Headers, Origin, Permit, Pieces, Sent, Signal, Utf8,
};

/// Compressed bodies up to this size are first tried in the connection's task ...
const INLINE_COMPRESSED: usize = 64 << 10;

/// ... where they may grow to this size: one or two milliseconds. Everything else goes to a blocking thread.
const INLINE_INFLATED: usize = 1 << 20;

/// JSON and bodies that are checked to the bottom above this size are read on a blocking thread ...
const INLINE_DEEP: usize = 128 << 10;

/// ... as are all others above this one.
const INLINE_FRAME: usize = 1 << 20;

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
    pub(super) identity: Identity,
    pub(super) headers: &'a HeaderMap,
    /// Whether the pipeline sees them.
    pub(super) include_metadata: bool,
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
    /// For work on blocking threads.
    turns: Arc<Semaphore>,
    /// What clients do wrong.
    pub(super) incidents: Arc<Incidents>,
}

impl Door {
    pub(super) fn new(settings: &Settings, context: &BuildContext, outlets: Outlets) -> Self {
        Self {
            id: context.id.clone(),
            incidents: context.commons.get(),
            outlets,
            grpc: context.instruments.receiver(Port::Grpc.name()),
            http: context.instruments.receiver(Port::Http.name()),
            limits: DoorLimits {
                check: settings.check,
                utf8: settings.utf8,
                ..DoorLimits::default()
            },
            turns: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(2, |cores| usize::from(cores).max(2)),
            )),
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
        let Identity { auth, carrier } = offer.identity;
        let metadata = match offer.include_metadata {
            true => headers_of(offer.headers, carrier.as_ref()),
            false => Headers::default(),
        };
        let pieces = offer.headers.get(BATCH_ID_HEADER).filter(|_| form == Form::Protobuf);
        let pieces = pieces.and_then(|value| Pieces::of_header(value.to_str().ok()?));
        let sent = Sent {
            protocol: match (port, form) {
                (Port::Grpc, _) => "grpc",
                (Port::Http, Form::Protobuf) => "http/protobuf",
                (Port::Http, Form::Json) => "http/json",
            },
            encoding: offer.encoding.name(),
        };
        let reader = Reader {
            signal,
            form,
            encoding: offer.encoding,
            cap: offer.cap,
            limits: self.limits.clone(),
        };
        let admitted = match reader.open_quickly(offer.bytes, offer.permit)? {
            Body::Open(bytes, permit) if reader.is_quick(&bytes) => reader.let_in(bytes, permit),
            body => on_blocking_thread(&self.turns, move || reader.read(body)).await?,
        };
        let (mut admitted, permit) = admitted.map_err(|refusal| self.refuse(port, signal, refusal))?;
        admitted.batch = admitted.batch.with_origin(Arc::new(Origin {
            client: Some(client),
            sent,
            metadata,
            auth,
            permits: smallvec![Arc::new(permit)],
            ..Origin::default()
        }));
        self.hand_over(outlet, port, admitted, pieces).await
    }

    fn counts(&self, port: Port) -> &ReceiverCounts {
        match port {
            Port::Grpc => &self.grpc,
            Port::Http => &self.http,
        }
    }

    /// Counts the records of a request of which none was usable. Of one that cannot be read nobody knows how many it has.
    fn refuse(&self, port: Port, signal: Signal, refusal: Refusal) -> Status {
        match refusal {
            Refusal::NoMemory => Status::no_memory(),
            Refusal::Body(status) => status,
            Refusal::Door(error) => {
                if let DoorError::NothingUsable(rejected) = &error {
                    let refused = Err(Refused::retryable(""));
                    self.counts(port).record(signal, rejected.count(), &refused);
                }
                let items = match &error {
                    DoorError::NothingUsable(rejected) => rejected.count(),
                    _ => 1,
                };
                let kind = match &error {
                    DoorError::NothingUsable(_) => IncidentKind::Rejected,
                    _ => IncidentKind::Refused,
                };
                self.incidents.tell(|| Incident {
                    kind,
                    subject: signal.to_string(),
                    text: error.to_string(),
                    items,
                });
                tracing::debug!(receiver = %self.id, %error, "request refused at the door");
                Status::invalid(error.to_string())
            }
        }
    }

    async fn hand_over(
        &self,
        outlet: &Outlet,
        port: Port,
        admitted: Admitted,
        pieces: Option<Pieces>,
    ) -> Result<Taken, Status> {
        let counts = self.counts(port);
        let signal = admitted.batch.signal();
        let items = admitted.batch.items();
        let mut taken = Taken::default();
        if admitted.rejected.has_message() {
            taken.rejected = admitted.rejected.count();
            taken.message = admitted.rejected.to_string();
            self.incidents.tell(|| Incident {
                kind: IncidentKind::Rejected,
                subject: signal.to_string(),
                text: taken.message.clone(),
                items: taken.rejected,
            });
            // The client is told and keeps the data: refused, not lost.
            counts.record(signal, taken.rejected, &Err(Refused::retryable("")));
            tracing::debug!(receiver = %self.id, rejected = taken.rejected, "records rejected: {}", taken.message);
        }
        if items == 0 {
            return Ok(taken);
        }
        // A request of another agent of ours: what of it is here already, its queues know.
        let pieces = pieces.and_then(|pieces| admitted.batch.in_pieces(&pieces, &self.limits));
        let offered = match pieces {
            Some(pieces) => worst_of(counts.offer_all(outlet, pieces).await),
            None => counts.offer(signal, items, outlet.consume(admitted.batch)).await,
        };
        match offered {
            Ok(()) => Ok(taken),
            Err(refused) => {
                tracing::debug!(receiver = %self.id, items, error = %refused, "data refused");
                Err(Status::of(&refused))
            }
        }
    }
}

/// All of it was taken, or the worst answer.
fn worst_of(answers: Vec<Result<(), Refused>>) -> Result<(), Refused> {
    let refused = answers.into_iter().filter_map(Result::err);
    refused.reduce(Refused::worse).map_or(Ok(()), Err)
}

/// All header values that are text, names in lower case; without the one that carried the client's credentials.
fn headers_of(headers: &HeaderMap, carrier: Option<&HeaderName>) -> Headers {
    let mut metadata = Headers::with_capacity(headers.keys_len());
    for name in headers.keys().filter(|name| carrier != Some(*name)) {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        metadata.push((name.as_str().into(), values.map(Box::from).collect()));
    }
    metadata
}

/// A request's body on its way in, under its permit.
enum Body {
    Open(Bytes, Permit),
    Compressed(Bytes, Permit),
}

/// How a body is read: all that a blocking thread needs to know.
struct Reader {
    signal: Signal,
    form: Form,
    encoding: Encoding,
    /// For the decompressed body.
    cap: usize,
    limits: DoorLimits,
}

impl Reader {
    /// Decompresses what does not hold up other connections; the rest stays as it is.
    fn open_quickly(&self, bytes: Bytes, mut permit: Permit) -> Result<Body, Status> {
        if self.encoding == Encoding::Identity {
            return Ok(Body::Open(bytes, permit));
        }
        if bytes.len() <= INLINE_COMPRESSED {
            match inflate_now(self.encoding, &bytes, self.cap.min(INLINE_INFLATED), &mut permit) {
                Ok(inflated) => return Ok(Body::Open(inflated, permit)),
                Err(InflateError::TooLarge { .. }) if self.cap > INLINE_INFLATED => {
                    permit.shrink_to(bytes.len() as u64);
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        Ok(Body::Compressed(bytes, permit))
    }

    fn is_quick(&self, bytes: &Bytes) -> bool {
        let deep = self.form == Form::Json || self.limits.check == Check::Full;
        bytes.len() <= if deep { INLINE_DEEP } else { INLINE_FRAME }
    }

    /// Everything in one turn: a decompressed body never waits for the next one.
    fn read(&self, body: Body) -> Result<(Admitted, Permit), Refusal> {
        match body {
            Body::Open(bytes, permit) => self.let_in(bytes, permit),
            Body::Compressed(bytes, mut permit) => {
                let inflated = inflate_now(self.encoding, &bytes, self.cap, &mut permit);
                drop(bytes);
                self.let_in(inflated.map_err(|error| Refusal::Body(refusal(error)))?, permit)
            }
        }
    }

    /// Checks and counts: what the pipeline gets, what was taken out, and the permit over what is left.
    fn let_in(&self, bytes: Bytes, mut permit: Permit) -> Result<(Admitted, Permit), Refusal> {
        let second_form = match (self.form, self.limits.check) {
            (Form::Json, _) => largest_of_json(&bytes),
            // Repairing writes the request anew.
            (Form::Protobuf, Check::Full) if self.limits.utf8 == Utf8::Replace => bytes.len(),
            (Form::Protobuf, _) => 0,
        };
        if !permit.try_grow(second_form as u64) {
            return Err(Refusal::NoMemory);
        }
        let origin = Origin::internal();
        let admitted = match self.form {
            Form::Protobuf => Batch::at_door(self.signal, bytes, &self.limits, origin),
            Form::Json => Batch::from_json(self.signal, &bytes, &self.limits, origin),
        };
        let admitted = admitted.map_err(Refusal::Door)?;
        if second_form > 0 {
            permit.shrink_to(admitted.batch.wire_len() as u64);
        }
        Ok((admitted, permit))
    }
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

/// Heavy work, a few requests at a time: more would not be faster, but all of them would have their bodies in memory in
/// several forms, and every thread would keep some of it.
async fn on_blocking_thread<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let turn = Arc::clone(turns).acquire_owned().await;
    let work = move || {
        let _turn = turn;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Status::new(Code::Internal, "reading the request failed"))
}

/// Why the door did not let a request in.
#[derive(Debug)]
enum Refusal {
    Door(DoorError),
    NoMemory,
    /// What is wrong with its compressed form.
    Body(Status),
}

/// The most bytes that a JSON text may become on the wire. Names, brackets and quotes make the text the longer of the two,
/// but for numbers in a list (two bytes become eight) and for bytes that are no UTF-8 (one becomes three).
fn largest_of_json(text: &[u8]) -> usize {
    let commas = text.iter().filter(|byte| **byte == b',').count();
    let repaired = if std::str::from_utf8(text).is_ok() {
        0
    } else {
        text.iter().filter(|byte| !byte.is_ascii()).count()
    };
    text.len() + 8 * commas + 2 * repaired
}
