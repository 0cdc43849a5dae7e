//! The keys of one issuer: found by its metadata (OpenID Connect Discovery 1.0), fetched when a token names one that is
//! not there, and again now and then, so that keys which the issuer withdraws no longer count.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Uri};
use serde::Deserialize;
use tokio::time::{Duration, Instant};

use super::super::watched_file::WatchedFile;
use super::Issuer;
use super::keys::KeySet;
use crate::net::client::http::{HttpClient, HttpSettings};
use crate::net::tls::client::ClientTls;

/// Whatever strangers send, the issuer is not asked more often.
const SELDOM: Duration = Duration::from_secs(10);
/// Keys as old as this are asked for again.
const OLD: Duration = Duration::from_secs(15 * 60);
/// For both questions together.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An issuer and its keys.
pub struct Provider {
    issuer: Issuer,
    source: Source,
}

enum Source {
    File(WatchedFile<KeySet>),
    Published(Box<Published>),
}

struct Published {
    http: HttpClient,
    current: Mutex<Option<(Arc<KeySet>, Instant)>>,
    /// Held while the issuer is asked; when it was asked last.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// When the file of keys cannot be used.
    pub fn open(issuer: Issuer) -> Result<Self, String> {
        let source = match &issuer.keys_file {
            Some(path) => Source::File(WatchedFile::open(path, KeySet::read)?),
            None => {
                let tls = issuer.authorities.clone().map(ClientTls::trusting).unwrap_or_default();
                Source::Published(Box::new(Published {
                    http: HttpClient::new(HttpSettings::occasional(tls)),
                    current: Mutex::default(),
                    asked: tokio::sync::Mutex::default(),
                }))
            }
        };
        Ok(Self { issuer, source })
    }

    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The keys as they are known. Old ones are asked for anew by one request while the others use them.
    pub async fn keys(&self) -> Option<Arc<KeySet>> {
        let published = match &self.source {
            Source::File(file) => return Some(file.get()),
            Source::Published(published) => published,
        };
        match published.current() {
            Some((keys, at)) if at.elapsed() < OLD => Some(keys),
            Some((keys, _)) => match published.asked.try_lock() {
                Ok(asked) => published.ask(&self.issuer, asked).await.or(Some(keys)),
                Err(_) => Some(keys),
            },
            None => published.ask(&self.issuer, published.asked.lock().await).await,
        }
    }

    /// A token names a key that is not among these: the keys as the issuer has them now, if it may be asked.
    pub async fn newer_than(&self, known: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let Source::Published(published) = &self.source else {
            return None;
        };
        let newest = published.ask(&self.issuer, published.asked.lock().await).await?;
        (!Arc::ptr_eq(&newest, known)).then_some(newest)
    }
}

impl Published {
    fn current(&self) -> Option<(Arc<KeySet>, Instant)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks, unless somebody has a moment ago. What is known stays where there is no good answer.
    async fn ask(
        &self,
        issuer: &Issuer,
        mut asked: tokio::sync::MutexGuard<'_, Option<Instant>>,
    ) -> Option<Arc<KeySet>> {
        if asked.is_none_or(|at| at.elapsed() >= SELDOM) {
            *asked = Some(Instant::now());
            let fetched = tokio::time::timeout(TIMEOUT, self.fetch(issuer)).await;
            match fetched.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}"))) {
                Ok(keys) => {
                    let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                    *current = Some((Arc::new(keys), Instant::now()));
                }
                Err(problem) => tracing::warn!(issuer = %issuer.name, %problem, "the keys of an issuer cannot be read"),
            }
        }
        self.current().map(|(keys, _)| keys)
    }

    async fn fetch(&self, issuer: &Issuer) -> Result<KeySet, String> {
        let metadata = self.get(issuer.discovery.clone()).await?;
        let metadata: Metadata =
            serde_json::from_str(&metadata).map_err(|_| "the metadata have no issuer and jwks_uri".to_owned())?;
        // Discovery, 4.3: else one issuer could speak for another.
        if metadata.issuer != issuer.name {
            return Err("the metadata are those of another issuer".to_owned());
        }
        let uri: Uri = metadata.jwks_uri.parse().map_err(|_| "jwks_uri is no URL".to_owned())?;
        if issuer.discovery.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
            return Err("jwks_uri is not https".to_owned());
        }
        KeySet::read(&self.get(uri).await?)
    }

    async fn get(&self, uri: Uri) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self
            .http
            .get(uri.clone(), headers)
            .await
            .map_err(|problem| format!("{uri}: {problem}"))?;
        if !answer.status.is_success() {
            return Err(format!("{uri} answered with HTTP status {}", answer.status));
        }
        String::from_utf8(answer.body.to_vec()).map_err(|_| format!("{uri} answered with something that is no text"))
    }
}
