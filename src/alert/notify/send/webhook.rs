//! A webhook: Alertmanager's body, signed if there is a secret.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use super::super::config::WebhookOut;
use super::super::outbox::Failed;
use super::super::payload;
use super::super::state::Entry;
use super::http::Poster;
use super::{Common, Outlet};
use crate::component::BoxFuture;
use crate::config::types::Secret;

/// When it was signed, seconds since the epoch.
const TIMESTAMP: HeaderName = HeaderName::from_static("x-radiosonde-timestamp");
/// `v1=` and HMAC-SHA256 in hex over the timestamp, a full stop and the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-radiosonde-signature");
/// The same for the same message.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// See the module.
pub struct Webhook {
    poster: Poster,
    secret: Option<Secret>,
    max_alerts: usize,
    common: Common,
}

impl Webhook {
    pub fn new(out: &WebhookOut, common: &Common) -> Self {
        Self {
            poster: Poster::new(&out.http, &common.context),
            secret: out.secret.clone(),
            max_alerts: out.max_alerts,
            common: common.clone(),
        }
    }

    async fn attempt(&self, entry: &Entry) -> Result<Option<String>, Failed> {
        let body = payload::webhook(&entry.message, &self.common.settings.links, self.max_alerts);
        let body = body.to_string().into_bytes();
        let mut headers = HeaderMap::new();
        if let Ok(key) = HeaderValue::try_from(entry.message.key()) {
            headers.insert(KEY, key);
        }
        if let Some(secret) = &self.secret {
            let seconds = self.poster.now() / 1_000_000_000;
            headers.insert(TIMESTAMP, HeaderValue::from(seconds));
            if let Ok(signature) = HeaderValue::try_from(sign(secret, seconds, &body)) {
                headers.insert(SIGNATURE, signature);
            }
        }
        self.poster.post(self.poster.uri.clone(), headers, body).await?;
        Ok(None)
    }
}

/// `v1=...`.
pub fn sign(secret: &Secret, seconds: u64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()) else {
        // HMAC takes keys of every length.
        return String::new();
    };
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

impl Outlet for Webhook {
    fn send<'a>(&'a self, entry: &'a Entry, _place: Option<&'a str>) -> BoxFuture<'a, Result<Option<String>, Failed>> {
        Box::pin(self.attempt(entry))
    }
}
