//! Who may send: the authenticator that a listener's `auth` names, asked before a request's body is read, and the
//! client certificate of its connection.
//!
//! A gate belongs to a port, not to a protocol: whatever comes in there has to pass it.

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::Peer;
use super::groups::refuse_unbuilt;
use crate::component::{BuildContext, ComponentId, Counter, Denied, LimitedLog, NamedAuth};
use crate::config::Section;
use crate::net::status::Status;
use crate::pdata::Auth;

/// Lets requests in.
pub struct Gate {
    auth: Option<NamedAuth>,
    receiver: ComponentId,
    denied: Counter,
    log: LimitedLog,
}

/// Who sent a request.
#[derive(Debug, Default)]
pub struct Identity {
    /// `None`: nobody asked.
    pub auth: Option<Auth>,
    /// The header that carried the proof; it is kept out of metadata.
    pub carrier: Option<HeaderName>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    authenticator: String,
}

/// Reads `auth: {authenticator: ID}` of a listener; whether there is such an extension is checked with the whole
/// configuration.
pub(super) fn read_auth(section: &Section) -> Option<ComponentId> {
    let auth = section.take("auth").filter(|auth| !auth.is_null())?;
    refuse_unbuilt(&auth, &["request_params"]);
    let id = auth.read::<Keys>()?.authenticator;
    if id.is_empty() {
        auth.error_at("authenticator", "names no extension");
        return None;
    }
    Some(ComponentId::new(&id))
}

impl Gate {
    /// The gate of one port of the receiver that `context` belongs to.
    pub fn new(authenticator: Option<&ComponentId>, context: &BuildContext, transport: &str) -> Self {
        Self {
            auth: authenticator.map(|id| NamedAuth::new(id.clone(), &context.authenticators)),
            receiver: context.id.clone(),
            denied: context.instruments.counter(
                "radiosonde_receiver_unauthenticated_requests_total",
                "Requests that were not let in: no proof of who sent them, or one that is not good.",
                &[("transport", transport)],
            ),
            log: LimitedLog::default(),
        }
    }

    /// Whether clients have to prove who they are.
    pub fn is_guarded(&self) -> bool {
        self.auth.is_some()
    }

    /// Judges a request by its headers and its connection.
    ///
    /// # Errors
    /// The answer: 401 and UNAUTHENTICATED, or 503 and UNAVAILABLE while nobody can tell.
    pub async fn admit(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, Status> {
        let certificate = peer.certificate.as_deref();
        let Some(auth) = &self.auth else {
            return Ok(Identity {
                auth: certificate.cloned(),
                carrier: None,
            });
        };
        match auth.authenticate(headers).await {
            Ok((mut auth, carrier)) => {
                // What the authenticator says goes before what the certificate says.
                for (name, value) in certificate.into_iter().flat_map(|auth| &auth.attributes) {
                    if auth.attributes.iter().all(|(have, _)| have != name) {
                        auth.attributes.push((name.clone(), value.clone()));
                    }
                }
                Ok(Identity {
                    auth: Some(auth),
                    carrier: Some(carrier),
                })
            }
            Err(denied) => Err(self.refuse(denied, peer)),
        }
    }

    fn refuse(&self, denied: Denied, peer: &Peer) -> Status {
        self.denied.add(1);
        let (reason, status) = match denied {
            Denied::Unproven { reason, challenge } => {
                let status = Status::new(Code::Unauthenticated, reason.clone());
                (reason, status.with_challenge(challenge))
            }
            Denied::Unable(reason) => (reason.clone(), Status::unavailable(reason)),
        };
        if let Some(left_out) = self.log.admit() {
            tracing::warn!(receiver = %self.receiver, client = %peer.address, left_out, %reason,
                "a request was not let in");
        }
        status
    }
}
