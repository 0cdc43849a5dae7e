//! Signature version 4 over requests that we send ourselves, with credentials that are fetched when they are needed.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::sync::Mutex;

use crate::component::Clock;

/// Credentials are fetched again this long before they expire.
const EARLY: Duration = Duration::from_secs(300);

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("no credentials: {0}")]
    NoCredentials(String),
    #[error("cannot be signed: {0}")]
    NotSignable(String),
}

/// Signs for one service in one region.
pub struct Signer {
    pub service: String,
    pub region: String,
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    /// Locked while they are fetched: a thousand requests ask the provider once.
    current: Mutex<Option<Credentials>>,
}

impl Signer {
    /// Nothing is fetched yet.
    pub fn new(service: &str, region: &str, provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self {
            service: service.to_owned(),
            region: region.to_owned(),
            provider,
            clock,
            current: Mutex::new(None),
        }
    }

    /// From the cache until five minutes before they expire.
    ///
    /// # Errors
    /// Where the provider has none.
    pub async fn credentials(&self) -> Result<Credentials, SignError> {
        let now = UNIX_EPOCH + Duration::from_nanos(self.clock.now().0);
        let mut current = self.current.lock().await;
        if let Some(credentials) = &*current
            && credentials.expiry().is_none_or(|expiry| expiry > now + EARLY)
        {
            return Ok(credentials.clone());
        }
        let fetched = self.provider.provide_credentials().await;
        let credentials = fetched.map_err(|error| SignError::NoCredentials(with_causes(&error)))?;
        *current = Some(credentials.clone());
        Ok(credentials)
    }

    /// Forgets the credentials: the far end has refused them.
    pub async fn forget(&self) {
        *self.current.lock().await = None;
    }

    /// Adds the signature of a POST with exactly this body to `headers`. All of them are signed; `host` is added.
    ///
    /// # Errors
    /// See [`SignError`].
    pub async fn sign_post(&self, uri: &Uri, headers: &mut HeaderMap, body: &[u8]) -> Result<(), SignError> {
        self.sign("POST", uri, headers, body).await
    }

    /// The same of any request.
    ///
    /// # Errors
    /// See [`SignError`].
    pub async fn sign(&self, method: &str, uri: &Uri, headers: &mut HeaderMap, body: &[u8]) -> Result<(), SignError> {
        let not_signable = |error: &dyn std::fmt::Display| SignError::NotSignable(error.to_string());
        let identity = self.credentials().await?.into();
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let host = HeaderValue::try_from(authority).map_err(|error| not_signable(&error))?;
        headers.insert(http::header::HOST, host);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(UNIX_EPOCH + Duration::from_nanos(self.clock.now().0))
            .settings(settings_of(&self.service))
            .build()
            .map_err(|error| not_signable(&error))?
            .into();
        let signed: Vec<(&str, &str)> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let url = uri.to_string();
        let request = SignableRequest::new(method, &url, signed.into_iter(), SignableBody::Bytes(body))
            .map_err(|error| not_signable(&error))?;
        let (instructions, _) = sign(request, &params)
            .map_err(|error| not_signable(&error))?
            .into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            let name = HeaderName::from_static(header.name());
            let mut value = HeaderValue::try_from(header.value()).map_err(|error| not_signable(&error))?;
            value.set_sensitive(header.sensitive());
            headers.insert(name, value);
        }
        Ok(())
    }
}

/// S3 signs paths as they are sent, and wants the hash of the body in a header.
fn settings_of(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    settings
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
