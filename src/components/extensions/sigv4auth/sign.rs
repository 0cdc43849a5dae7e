//! Credentials, and the signature of one request over exactly the bytes that are sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::config::Config;
use super::host::named_by;
use crate::aws::Access;
use crate::component::{BoxFuture, ClientAuth, Clock, Outgoing, Refused};

/// Credentials are read anew so long before they expire ...
const BEFORE_EXPIRY: Duration = Duration::from_secs(300);
/// ... and those that do not say when after this time.
const WITHOUT_EXPIRY: Duration = Duration::from_secs(900);

/// Signs.
pub struct Signer {
    config: Config,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    provider: Option<SharedCredentialsProvider>,
    credentials: Option<(Credentials, SystemTime)>,
}

impl Signer {
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            clock,
            held: Mutex::default(),
        }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.clock.now().0)
    }

    /// Credentials that are good for a while yet.
    async fn credentials(&self, region: &str) -> Result<Credentials, Refused> {
        let mut held = self.held.lock().await;
        let now = self.now();
        if let Some((credentials, until)) = &held.credentials
            && now < *until
        {
            return Ok(credentials.clone());
        }
        let provider = match &held.provider {
            Some(provider) => provider.clone(),
            None => {
                let access = Access::load(self.config.access.clone(), Arc::clone(&self.clock)).await;
                let sdk = access.config(&self.config.place(region)).await;
                let provider = sdk.credentials_provider();
                let provider = provider.ok_or_else(|| Refused::retryable("no provider of AWS credentials"))?;
                held.provider = Some(provider.clone());
                provider
            }
        };
        let credentials = match provider.provide_credentials().await {
            Ok(credentials) => credentials,
            Err(error) => {
                // The next request looks again, also at the environment and at files.
                held.provider = None;
                let reason = crate::aws::failure::chain(&error);
                return Err(Refused::retryable(format!("no AWS credentials: {reason}")));
            }
        };
        let until = match credentials.expiry() {
            Some(expiry) => expiry.checked_sub(BEFORE_EXPIRY).unwrap_or(expiry),
            None => now + WITHOUT_EXPIRY,
        };
        held.credentials = Some((credentials.clone(), until));
        Ok(credentials)
    }

    async fn authorized(&self, request: Outgoing<'_>) -> Result<(), Refused> {
        let host = request.uri.host().unwrap_or_default();
        let (service, region) = named_by(host);
        let pick = |own: &str, named: Option<&str>, what: &str| match (own, named) {
            ("", None) => Err(Refused::permanent(format!(
                "sigv4auth: no {what}, and {host:?} names none"
            ))),
            ("", Some(named)) => Ok(named.to_owned()),
            (own, _) => Ok(own.to_owned()),
        };
        let region = pick(&self.config.region, region, "region")?;
        let service = pick(&self.config.service, service, "service")?;
        let credentials = self.credentials(&region).await?;
        self.sign(request, credentials, &region, &service)
            .map_err(|error| Refused::permanent(format!("sigv4auth: cannot sign: {error}")))
    }

    fn sign(
        &self,
        request: Outgoing<'_>,
        credentials: Credentials,
        region: &str,
        service: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut hash = Sha256::new();
        for piece in request.body {
            hash.update(piece);
        }
        let hash = hex::encode(hash.finalize());
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(self.now())
            .settings(settings)
            .build()?
            .into();
        // A signature over a header that is not text would not be understood: such a header stays unsigned.
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = request.headers.iter();
        let headers: Vec<(String, String)> = headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
            .collect();
        let plain = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Precomputed(hash);
        let signable = SignableRequest::new(request.method.as_str(), request.uri.to_string(), plain, body)?;
        let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
        let (added, _query) = instructions.into_parts();
        for header in added {
            let mut value = HeaderValue::from_str(header.value())?;
            value.set_sensitive(true);
            request
                .headers
                .insert(HeaderName::from_bytes(header.name().as_bytes())?, value);
        }
        Ok(())
    }
}

impl ClientAuth for Signer {
    fn authorize<'a>(&'a self, request: Outgoing<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.authorized(request))
    }
}
