//! How an exporter proves who it is: an authenticator is an extension that `auth: {authenticator: ID}` names.
//!
//! The extension registers itself when it starts; an exporter asks for it at every request, so that a reload of the
//! extension needs no reload of the exporter.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use super::{BoxFuture, ComponentId, Refused};

/// A request as it will be sent.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    /// What proves it is added here.
    pub headers: &'a mut HeaderMap,
    /// The pieces of the body, compressed where the exporter compresses.
    pub body: &'a [Bytes],
}

/// Proves who sends a request.
pub trait ClientAuth: Send + Sync {
    /// Adds to the request what it takes.
    ///
    /// # Errors
    /// Why it cannot be proven now (no credentials, no token); usually worth another try.
    fn authorize<'a>(&'a self, request: Outgoing<'a>) -> BoxFuture<'a, Result<(), Refused>>;
}

/// The authenticators that run, by the id of their extension. Cheap to clone; all clones are one list.
#[derive(Clone, Default)]
pub struct Authenticators(Arc<RwLock<BTreeMap<ComponentId, Arc<dyn ClientAuth>>>>);

impl Authenticators {
    /// Puts an authenticator in the place of the one that had its id.
    pub fn register(&self, id: &ComponentId, auth: Arc<dyn ClientAuth>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.clone(), auth);
    }

    /// Takes an authenticator out, if it is still this one.
    pub fn remove(&self, id: &ComponentId, auth: &Arc<dyn ClientAuth>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(id).is_some_and(|have| Arc::ptr_eq(have, auth)) {
            all.remove(id);
        }
    }

    /// The authenticator of an extension, if it runs.
    pub fn get(&self, id: &ComponentId) -> Option<Arc<dyn ClientAuth>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }
}

/// What an exporter keeps of `auth: {authenticator: ID}`.
#[derive(Clone)]
pub struct NamedAuth {
    id: ComponentId,
    all: Authenticators,
}

impl NamedAuth {
    /// The extension `id` among those that run.
    pub fn new(id: ComponentId, all: &Authenticators) -> Self {
        Self { id, all: all.clone() }
    }

    /// Lets the extension authorize a request.
    ///
    /// # Errors
    /// Its refusal; a retryable one while it does not run.
    pub async fn authorize(&self, request: Outgoing<'_>) -> Result<(), Refused> {
        let Some(auth) = self.all.get(&self.id) else {
            return Err(Refused::retryable(format!(
                "the authenticator \"{}\" does not run",
                self.id
            )));
        };
        auth.authorize(request).await
    }
}
