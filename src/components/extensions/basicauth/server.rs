//! What a listener asks: the pair of a request against the list. Slow hashes are computed on blocking threads, a few at
//! a time, and what was good is remembered for as long as the list is the same; so a stranger who tries passwords holds up
//! nobody who has one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::super::watched_file::WatchedFile;
use super::htpasswd::{Hash, Users};
use crate::component::{BoxFuture, Denied, ServerAuth, after_scheme, only_value};
use crate::pdata::Auth;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"radiosonde\", charset=\"UTF-8\"");
/// Slow checks at the same time ...
const AT_ONCE: usize = 2;
/// ... and those that may wait for a turn; more are told to come again.
const WAITING: usize = 32;
/// Pairs that are remembered.
const REMEMBERED: usize = 1024;

/// The lists; who stands in the configuration goes before the file.
pub struct Source {
    pub inline: Arc<Users>,
    pub file: Option<WatchedFile<Users>>,
}

/// Judges.
pub struct BasicServer {
    source: Source,
    checks: Arc<Semaphore>,
    queue: Semaphore,
    known: Mutex<Known>,
    /// Makes what is remembered useless to whoever reads it.
    salt: [u8; 16],
}

/// Pairs that were good, by a salted digest, of one state of the list.
#[derive(Default)]
struct Known {
    of: Option<Arc<Users>>,
    pairs: HashSet<[u8; 32]>,
}

impl BasicServer {
    pub fn new(source: Source) -> Self {
        Self {
            source,
            checks: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Semaphore::new(AT_ONCE + WAITING),
            known: Mutex::default(),
            salt: uuid::Uuid::new_v4().into_bytes(),
        }
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<Auth, Denied> {
        let value = only_value(headers, &AUTHORIZATION).map_err(unproven)?;
        let encoded =
            after_scheme(value, "Basic").ok_or_else(|| unproven("the credentials are not of the scheme Basic"))?;
        let decoded = STANDARD
            .decode(encoded)
            .map_err(|_| unproven("the credentials are no base64"))?;
        let pair = String::from_utf8(decoded).map_err(|_| unproven("the credentials are no UTF-8"))?;
        let pair = Zeroizing::new(pair);
        let (user, password) = pair
            .split_once(':')
            .ok_or_else(|| unproven("the credentials have no colon"))?;
        let file = self.source.file.as_ref().map(WatchedFile::get);
        let users = match file {
            Some(file) if !self.source.inline.knows(user) => file,
            _ => Arc::clone(&self.source.inline),
        };
        let Some((hash, counts)) = users.hash_of(user) else {
            return Err(unproven(WRONG));
        };
        if self.fits(&users, hash, &pair, password).await? && counts {
            return Ok(Auth {
                attributes: vec![("username".into(), user.into())],
            });
        }
        Err(unproven(WRONG))
    }

    async fn fits(&self, users: &Arc<Users>, hash: Hash, pair: &str, password: &str) -> Result<bool, Denied> {
        if !hash.is_slow() {
            return Ok(hash.fits(password));
        }
        let digest: [u8; 32] = Sha256::new()
            .chain_update(self.salt)
            .chain_update(pair)
            .finalize()
            .into();
        if self.known(users).pairs.contains(&digest) {
            return Ok(true);
        }
        let busy = || Denied::Unable("too many passwords are being checked".into());
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        let turn = Arc::clone(&self.checks).acquire_owned().await.map_err(|_| busy())?;
        let password = Zeroizing::new(password.to_owned());
        let check = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash.fits(&password)
        });
        let fits = check.await.unwrap_or(false);
        if fits {
            let mut known = self.known(users);
            if known.pairs.len() >= REMEMBERED {
                known.pairs.clear();
            }
            known.pairs.insert(digest);
        }
        Ok(fits)
    }

    /// What is remembered of this state of the list; of another nothing is.
    fn known(&self, users: &Arc<Users>) -> std::sync::MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A list in the configuration never changes: only those of a file are told apart.
        let is_file = !Arc::ptr_eq(users, &self.source.inline);
        if is_file && !known.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, users)) {
            known.of = Some(Arc::clone(users));
            known.pairs.clear();
        }
        known
    }
}

const WRONG: &str = "user or password are wrong";

fn unproven(reason: &'static str) -> Denied {
    Denied::Unproven {
        reason: reason.into(),
        challenge: Some(CHALLENGE),
    }
}

impl ServerAuth for BasicServer {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Auth, Denied>> {
        Box::pin(self.judge(headers))
    }

    fn carrier(&self) -> &HeaderName {
        &AUTHORIZATION
    }
}
