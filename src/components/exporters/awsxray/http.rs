//! HTTP for the SDK's client where the SDK's own would not do: through the proxy of the configuration, or with any
//! certificate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::net::client::dial::Dialer;
use crate::net::client::http::{HttpClient, HttpSettings};
use crate::net::client::proxy::{Proxy, ProxyRules};
use crate::net::tls::client::{ClientTls, TlsSource};

const IDLE: Duration = Duration::from_secs(30);

/// Sends what the SDK has signed.
#[derive(Clone)]
pub(super) struct OwnHttp(Arc<HttpClient>);

impl fmt::Debug for OwnHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnHttp")
    }
}

impl OwnHttp {
    /// `proxy` `None`: that of the environment, if any. As many connections are kept as calls run at the same time.
    pub(super) fn new(proxy: Option<Proxy>, verified: bool, connections: usize) -> Self {
        let tls = TlsSource::new(ClientTls::of_system(verified), &[b"http/1.1"]);
        let proxies = proxy.map_or_else(ProxyRules::from_environment, ProxyRules::always);
        Self(Arc::new(HttpClient::new(HttpSettings {
            dialer: Dialer {
                tls: Some(Arc::new(tls)),
                proxies: Arc::new(proxies),
            },
            max_idle: connections,
            max_connections: None,
            idle_timeout: Some(IDLE),
            no_keepalive: false,
            http2_ping_after: None,
            http2_ping_timeout: IDLE,
            write_buffer: None,
            read_buffer: None,
        })))
    }

    async fn exchange(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        // X-Ray has nothing but POST.
        let uri: Uri = request.uri().parse().map_err(|error| user(&error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            let name = HeaderName::try_from(name).map_err(|error| user(&error))?;
            headers.append(name, HeaderValue::try_from(value).map_err(|error| user(&error))?);
        }
        let body = request.body().bytes().ok_or_else(|| user(&"the body is a stream"))?;
        let body = Bytes::copy_from_slice(body);
        let answer = self.0.post(uri, headers, vec![body]).await;
        let answer = answer.map_err(|error| ConnectorError::io(error.into()))?;
        let status = StatusCode::try_from(answer.status.as_u16()).map_err(|error| user(&error))?;
        let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
        for (name, value) in &answer.headers {
            // What is no text the SDK would not read either.
            if let Ok(value) = value.to_str() {
                response
                    .headers_mut()
                    .append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }
}

fn user(problem: &dyn fmt::Display) -> ConnectorError {
    ConnectorError::user(problem.to_string().into())
}

impl HttpConnector for OwnHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(request))
    }
}

impl aws_smithy_runtime_api::client::http::HttpClient for OwnHttp {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // Time limits are those of the attempt.
        SharedHttpConnector::new(self.clone())
    }
}
