//! The object store's requests through our own HTTP client, so that there is one TLS stack, one way through proxies, and
//! credentials from where every other AWS call has them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use object_store::aws::AwsCredential;
use object_store::client::{
    CredentialProvider, HttpClient as StoreClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Error};

use crate::aws::sign::Signer;
use crate::component::Clock;
use crate::net::client::dial::Dialer;
use crate::net::client::http::{HttpClient, HttpSettings};
use crate::net::client::proxy::ProxyRules;
use crate::net::tls::client::{ClientTls, TlsSource};

/// Bytes of an object that are read.
const LONGEST_OBJECT: usize = 256 << 20;
/// Connections kept, and how long.
const IDLE_CONNECTIONS: usize = 8;
const IDLE: Duration = Duration::from_secs(30);
/// One exchange, its body included.
const EXCHANGE: Duration = Duration::from_secs(60);

/// A client for one store.
pub(super) fn client() -> Arc<HttpClient> {
    // S3 speaks HTTP/1.1 only.
    let tls = TlsSource::new(ClientTls::of_system(true), &[b"http/1.1"]);
    Arc::new(HttpClient::new(HttpSettings {
        dialer: Dialer {
            tls: Some(Arc::new(tls)),
            proxies: Arc::new(ProxyRules::from_environment()),
        },
        max_idle: IDLE_CONNECTIONS,
        max_connections: None,
        idle_timeout: Some(IDLE),
        no_keepalive: false,
        http2_ping_after: None,
        http2_ping_timeout: IDLE,
        write_buffer: None,
        read_buffer: None,
    }))
}

/// Gives the object store our client.
#[derive(Clone)]
pub(super) struct OwnHttp(pub(super) Arc<HttpClient>);

impl fmt::Debug for OwnHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnHttp")
    }
}

impl HttpConnector for OwnHttp {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<StoreClient> {
        Ok(StoreClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for OwnHttp {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, mut body) = request.into_parts();
        let mut chunks: Vec<Bytes> = Vec::new();
        while let Some(frame) = body.frame().await {
            chunks.extend(frame?.into_data());
        }
        let request = http::Request::from_parts(head, chunks);
        let answered = tokio::time::timeout(EXCHANGE, self.0.exchange(request, LONGEST_OBJECT)).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(HttpError::new(HttpErrorKind::Request, error)),
            Err(late) => return Err(HttpError::new(HttpErrorKind::Timeout, late)),
        };
        let body = Full::new(answer.body).map_err(|never| match never {});
        let mut response = http::Response::new(HttpResponseBody::new(body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// Credentials of the SDK for the object store.
pub(super) struct Credentials(pub(super) Arc<Signer>);

impl Credentials {
    /// Nothing is fetched yet.
    pub(super) fn new(region: &str, provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Signer::new("s3", region, provider, clock)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let credentials = self.0.credentials().await.map_err(|error| Error::Unauthenticated {
            path: String::new(),
            source: error.into(),
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        }))
    }
}
