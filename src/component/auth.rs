//! How somebody proves who they are: an authenticator is an extension that `auth: {authenticator: ID}` names, of an
//! exporter that proves itself ([`ClientAuth`]) or of a listener whose clients must ([`ServerAuth`]).
//!
//! The extension registers itself when it starts; exporters and listeners ask for it at every request, so that a reload
//! of the extension needs no reload of theirs. A listener whose authenticator does not run takes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{BoxFuture, ComponentId, Deadline, Refused, Running};
use crate::pdata::Auth;

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

    /// The far end answered 401 or UNAUTHENTICATED. What is cached is forgotten; `true`: the next request proves itself
    /// anew, so the same data may be offered again.
    fn was_rejected(&self) -> bool {
        false
    }
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq)]
pub enum Denied {
    /// It has not proven who it is: 401, UNAUTHENTICATED. The reason never shows what it sent.
    Unproven {
        reason: Cow<'static, str>,
        /// The value of `WWW-Authenticate`.
        challenge: Option<HeaderValue>,
    },
    /// Nobody can tell now (no keys yet, too many checks at once): 503, UNAVAILABLE.
    Unable(Cow<'static, str>),
}

/// Judges the clients of a listener by the headers of a request, before its body is read.
pub trait ServerAuth: Send + Sync {
    /// Who the client is.
    ///
    /// # Errors
    /// [`Denied`].
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Auth, Denied>>;

    /// The header that carries the proof: it goes no further than this, not into metadata either.
    fn carrier(&self) -> &HeaderName;
}

/// The one value of a header that proves something.
///
/// # Errors
/// When it is not there, not text, or there more than once: which one counts is then a matter of taste.
pub fn only_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or("the request has no credentials")?;
    if values.next().is_some() {
        return Err("the request has credentials more than once");
    }
    let text = value.to_str().map_err(|_| "the credentials are no text")?;
    Ok(text.trim())
}

/// What follows a scheme (`Bearer`, `Basic`), which is compared ignoring case (RFC 9110, 11.1).
pub fn after_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim_start())
}

/// The authenticators that run, by the id of their extension. Cheap to clone; all clones are one list.
#[derive(Clone, Default)]
pub struct Authenticators {
    clients: Table<dyn ClientAuth>,
    servers: Table<dyn ServerAuth>,
}

type Table<T> = Arc<RwLock<BTreeMap<ComponentId, Arc<T>>>>;

fn insert<T: ?Sized>(table: &Table<T>, id: &ComponentId, auth: Arc<T>) {
    let mut all = table.write().unwrap_or_else(PoisonError::into_inner);
    all.insert(id.clone(), auth);
}

fn remove<T: ?Sized>(table: &Table<T>, id: &ComponentId, auth: &Arc<T>) {
    let mut all = table.write().unwrap_or_else(PoisonError::into_inner);
    if all.get(id).is_some_and(|have| Arc::ptr_eq(have, auth)) {
        all.remove(id);
    }
}

impl Authenticators {
    /// Puts an authenticator in the place of the one that had its id. It is one until what comes back is stopped.
    pub fn register(
        &self,
        id: &ComponentId,
        client: Option<Arc<dyn ClientAuth>>,
        server: Option<Arc<dyn ServerAuth>>,
    ) -> Arc<dyn Running> {
        if let Some(auth) = &client {
            insert(&self.clients, id, Arc::clone(auth));
        }
        if let Some(auth) = &server {
            insert(&self.servers, id, Arc::clone(auth));
        }
        Arc::new(Registered {
            id: id.clone(),
            client,
            server,
            all: self.clone(),
        })
    }

    /// The authenticator of an extension for what is sent, if it runs.
    pub fn client(&self, id: &ComponentId) -> Option<Arc<dyn ClientAuth>> {
        let all = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }

    /// The authenticator of an extension for what comes, if it runs.
    pub fn server(&self, id: &ComponentId) -> Option<Arc<dyn ServerAuth>> {
        let all = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned()
    }
}

/// An entry; a reload may have put another in its place.
struct Registered {
    id: ComponentId,
    client: Option<Arc<dyn ClientAuth>>,
    server: Option<Arc<dyn ServerAuth>>,
    all: Authenticators,
}

impl Running for Registered {
    fn stop(&self, _deadline: Deadline) -> BoxFuture<'_, ()> {
        if let Some(auth) = &self.client {
            remove(&self.all.clients, &self.id, auth);
        }
        if let Some(auth) = &self.server {
            remove(&self.all.servers, &self.id, auth);
        }
        Box::pin(std::future::ready(()))
    }
}

/// What an exporter or a listener keeps of `auth: {authenticator: ID}`.
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
        let Some(auth) = self.all.client(&self.id) else {
            return Err(Refused::retryable(self.does_not_run()));
        };
        auth.authorize(request).await
    }

    /// See [`ClientAuth::was_rejected`].
    pub fn was_rejected(&self) -> bool {
        self.all.client(&self.id).is_some_and(|auth| auth.was_rejected())
    }

    /// Lets the extension judge a request: who sent it, and the header that says so.
    ///
    /// # Errors
    /// [`Denied`]; also while it does not run.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<(Auth, HeaderName), Denied> {
        let Some(auth) = self.all.server(&self.id) else {
            return Err(Denied::Unable(self.does_not_run().into()));
        };
        let mut proven = auth.authenticate(headers).await?;
        proven
            .attributes
            .push(("authenticator".into(), self.id.as_str().into()));
        Ok((proven, auth.carrier().clone()))
    }

    fn does_not_run(&self) -> String {
        format!("the authenticator \"{}\" does not run", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_count_only_when_they_are_there_once() {
        let name = http::header::AUTHORIZATION;
        let mut headers = HeaderMap::new();
        assert!(only_value(&headers, &name).is_err());
        headers.append(&name, HeaderValue::from_static(" Bearer a "));
        assert_eq!(only_value(&headers, &name), Ok("Bearer a"));
        headers.append(&name, HeaderValue::from_static("Bearer b"));
        assert!(only_value(&headers, &name).is_err());
        headers.insert(&name, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert!(only_value(&headers, &name).is_err());
    }

    #[test]
    fn a_scheme_is_told_in_any_case_and_only_whole() {
        assert_eq!(after_scheme("bearer  abc", "Bearer"), Some("abc"));
        assert_eq!(after_scheme("Bearerabc", "Bearer"), None);
        assert_eq!(after_scheme("Basic abc", "Bearer"), None);
        assert_eq!(after_scheme("Bearer", "Bearer"), None);
    }

    #[tokio::test]
    async fn an_authenticator_that_does_not_run_lets_nobody_in() {
        let all = Authenticators::default();
        let named = NamedAuth::new(ComponentId::new("bearertokenauth"), &all);
        let denied = named.authenticate(&HeaderMap::new()).await.unwrap_err();
        assert!(matches!(denied, Denied::Unable(_)));
    }
}
