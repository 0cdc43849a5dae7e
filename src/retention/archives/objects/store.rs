//! The calls of an object store, counted and with their failures classified.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};

use super::lifecycle::Rules;
use crate::aws::Failure;
use crate::aws::failure::chain;
use crate::component::UnixNanos;

/// Names of one listing; a day of manifests has a few thousand.
const MOST_NAMES: usize = 1_000_000;

/// A store below a prefix. Paths are below it, too.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    pub(super) rules: Option<Rules>,
    calls: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: &str, rules: Option<Rules>) -> Self {
        Self {
            store,
            prefix: prefix.to_owned(),
            rules,
            calls: Mutex::default(),
        }
    }

    /// The whole key of a path.
    pub fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.prefix)
        }
    }

    fn path(&self, path: &str) -> Path {
        Path::from(self.key(path))
    }

    /// Writes an object, in place of one that is there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn put(&self, path: &str, parts: Vec<Bytes>) -> Result<(), Failure> {
        let payload: PutPayload = parts.into_iter().collect();
        let answer = self.store.put(&self.path(path), payload).await;
        self.count("PutObject", "s3:PutObject", answer).await?;
        Ok(())
    }

    /// Reads an object; `None`: it is not there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, Failure> {
        let answer = match self.store.get(&self.path(path)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        missing_is_none(self.count("GetObject", "s3:GetObject", answer).await)
    }

    /// When an object was written; `None`: it is not there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn written(&self, path: &str) -> Result<Option<UnixNanos>, Failure> {
        let answer = self.store.head(&self.path(path)).await;
        let found = missing_is_none(self.count("HeadObject", "s3:GetObject", answer).await)?;
        Ok(found.map(|meta| {
            let nanos = meta.last_modified.timestamp_nanos_opt().unwrap_or_default();
            UnixNanos(u64::try_from(nanos).unwrap_or_default())
        }))
    }

    /// The names of the objects in a folder, sorted.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let folder = self.path(folder);
        let mut listing = self.store.list(Some(&folder));
        let mut names = Vec::new();
        let mut failed = None;
        while let Some(object) = listing.next().await {
            match object {
                Ok(object) if names.len() < MOST_NAMES => {
                    names.extend(object.location.filename().map(str::to_owned));
                }
                Ok(_) => break,
                Err(error) => failed = Some(error),
            }
        }
        self.count("ListObjects", "s3:ListBucket", failed.map_or(Ok(()), Err))
            .await?;
        names.sort();
        Ok(names)
    }

    /// The names of the folders in a folder, sorted.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let answer = self.store.list_with_delimiter(Some(&self.path(folder))).await;
        let found = self.count("ListObjects", "s3:ListBucket", answer).await?;
        let names = found.common_prefixes.iter();
        let mut names: Vec<String> = names.filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// Calls so far by operation and outcome.
    pub fn calls(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note(&self, operation: &'static str, outcome: &'static str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((operation, outcome)).or_default() += 1;
    }

    /// Notes the outcome. What is not there was an answer, too.
    async fn count<T>(&self, operation: &'static str, action: &str, answer: Result<T, Error>) -> Result<T, Failed> {
        let failed = match answer {
            Ok(answer) => {
                self.note(operation, "ok");
                return Ok(answer);
            }
            Err(Error::NotFound { .. }) => {
                self.note(operation, "ok");
                return Err(Failed(None));
            }
            Err(error) => failure(action, &error),
        };
        self.note(operation, failed.outcome());
        if let (Failure::Denied { .. } | Failure::NoCredentials(_), Some(rules)) = (&failed, &self.rules) {
            rules.forget_credentials().await;
        }
        Err(Failed(Some(failed)))
    }
}

/// `None`: there is no such object.
struct Failed(Option<Failure>);

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        failed.0.unwrap_or_else(|| Failure::Refused {
            code: "NotFound".to_owned(),
            message: "the bucket or directory is not there".to_owned(),
        })
    }
}

fn missing_is_none<T>(answer: Result<T, Failed>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failed(None)) => Ok(None),
        Err(Failed(Some(failure))) => Err(failure),
    }
}

/// The store keeps the status of an answer only in its words.
fn failure(action: &str, error: &Error) -> Failure {
    let message: String = chain(error).chars().take(1_000).collect();
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } if message.contains("no credentials") => {
            Failure::NoCredentials(message)
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Failure::Denied {
            action: action.to_owned(),
            message,
        },
        Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => Failure::Refused {
            code: "NotPossible".to_owned(),
            message,
        },
        _ if ["SlowDown", "503", "429"].iter().any(|mark| message.contains(mark)) => Failure::Throttled {
            code: "SlowDown".to_owned(),
        },
        _ => Failure::Unreachable(message),
    }
}
