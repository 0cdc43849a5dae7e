//! One attempt of one awsJson call: sign, send, read.

use std::fmt;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::ser_de::DeserializeResponse;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::aws::access::partition;

/// Bytes of an answer that are read. A page holds at most 100 summaries.
const LONGEST_ANSWER: usize = 8 << 20;
/// Reading an answer may take so long.
const READ: Duration = Duration::from_secs(15);
/// Names the error, beside the body.
const ERROR_HEADER: &str = "x-amzn-errortype";
/// Credentials are asked for anew so long before they expire.
const EARLY: Duration = Duration::from_secs(300);

/// A service that speaks awsJson 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    SageMaker,
    Tagging,
    /// CloudWatch Logs.
    Logs,
}

impl Service {
    /// Before the operation in X-Amz-Target.
    fn target(self) -> &'static str {
        match self {
            Service::SageMaker => "SageMaker.",
            Service::Tagging => "ResourceGroupsTaggingAPI_20170126.",
            Service::Logs => "Logs_20140328.",
        }
    }

    /// In the signature's scope.
    fn signing_name(self) -> &'static str {
        match self {
            Service::SageMaker => "sagemaker",
            Service::Tagging => "tagging",
            Service::Logs => "logs",
        }
    }

    /// Where AWS serves it.
    fn endpoint(self, region: &str) -> String {
        let host = match self {
            Service::SageMaker => "api.sagemaker",
            Service::Tagging => "tagging",
            Service::Logs => "logs",
        };
        let domain = if partition(region) == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("https://{host}.{region}.{domain}")
    }
}

/// A client of one service in one account and region.
pub struct JsonClient {
    service: Service,
    region: String,
    /// With the slash at its end.
    url: String,
    operation: Operation<Prepared, Answered, JsonError>,
    provider: Option<SharedCredentialsProvider>,
    time: SharedTimeSource,
    cached: tokio::sync::Mutex<Option<Credentials>>,
}

/// A signed request.
struct Prepared {
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer whose body is not read yet.
#[derive(Debug)]
struct Answered(HttpResponse);

/// What the service said went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .0.code().unwrap_or("unknown"), .0.message().unwrap_or_default())]
pub struct JsonError(ErrorMetadata);

impl ProvideErrorMetadata for JsonError {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

/// Takes the answer before its body is read: we read it ourselves, up to a cap.
#[derive(Debug)]
struct Unread;

impl DeserializeResponse for Unread {
    fn deserialize_streaming_with_config(
        &self,
        response: &mut HttpResponse,
        _config: &ConfigBag,
    ) -> Option<Result<Output, OrchestratorError<Error>>> {
        let mut taken = HttpResponse::new(response.status(), response.take_body());
        if let Some(Ok(kind)) = response.headers().try_get(ERROR_HEADER) {
            taken.headers_mut().insert(ERROR_HEADER, kind.to_owned());
        }
        Some(Ok(Output::erase(Answered(taken))))
    }

    fn deserialize_nonstreaming_with_config(
        &self,
        _response: &HttpResponse,
        _config: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        Err(OrchestratorError::other("the body was taken before"))
    }
}

/// The body of an error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

pub(super) type Sent<T> = Result<T, SdkError<JsonError, HttpResponse>>;

impl JsonClient {
    /// For the account and region of `config`; `endpoint` empty: AWS' own. `clock` where `config` has no time.
    pub fn new(service: Service, config: &SdkConfig, endpoint: &str, clock: impl TimeSource + 'static) -> Self {
        let region = config
            .region()
            .map(|region| region.as_ref().to_owned())
            .unwrap_or_default();
        let base = if endpoint.is_empty() {
            service.endpoint(&region)
        } else {
            endpoint.trim_end_matches('/').to_owned()
        };
        let timeouts = config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let mut operation = Operation::builder()
            .service_name(service.signing_name())
            .operation_name("json")
            .endpoint_url(&base)
            .no_auth()
            .no_retry()
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .serializer(serialize)
            .deserializer_impl(Unread);
        if let Some(http) = config.http_client() {
            operation = operation.http_client(http);
        }
        if let Some(sleep) = config.sleep_impl() {
            operation = operation.sleep_impl(sleep);
        }
        if let Some(time) = config.time_source() {
            operation = operation.time_source(time);
        }
        Self {
            service,
            url: format!("{base}/"),
            region,
            operation: operation.build(),
            provider: config.credentials_provider(),
            time: config.time_source().unwrap_or_else(|| SharedTimeSource::new(clock)),
            cached: tokio::sync::Mutex::new(None),
        }
    }

    /// One attempt.
    pub(super) async fn send<A: DeserializeOwned>(&self, operation: &str, request: &Map<String, Value>) -> Sent<A> {
        let body = serde_json::to_vec(request).map_err(SdkError::construction_failure)?;
        let credentials = self.credentials().await.map_err(no_credentials)?;
        let prepared = self
            .sign(operation, body.into(), credentials)
            .map_err(SdkError::construction_failure)?;
        let answered = self.operation.invoke(prepared).await?;
        let Answered(mut response) = answered;
        let status = response.status();
        let reading = Limited::new(response.take_body(), LONGEST_ANSWER).collect();
        let bytes = match tokio::time::timeout(READ, reading).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(SdkError::response_error(error, response)),
            Err(late) => return Err(SdkError::timeout_error(late)),
        };
        if !status.is_success() {
            let header = response.headers().get(ERROR_HEADER).map(str::to_owned);
            let error = read_error(&bytes, header);
            return Err(SdkError::service_error(error, response));
        }
        match serde_json::from_slice(&bytes) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(SdkError::response_error(error, response)),
        }
    }

    /// From the cache until five minutes before they expire: a role is not assumed for every call.
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut cached = self.cached.lock().await;
        let now = self.time.now();
        let fresh = |credentials: &&Credentials| credentials.expiry().is_none_or(|expiry| now + EARLY < expiry);
        if let Some(credentials) = cached.as_ref().filter(fresh) {
            return Ok(credentials.clone());
        }
        let Some(provider) = &self.provider else {
            return Err(CredentialsError::not_loaded("no provider of credentials"));
        };
        let credentials = provider.provide_credentials().await?;
        *cached = Some(credentials.clone());
        Ok(credentials)
    }

    fn sign(&self, operation: &str, body: Bytes, credentials: Credentials) -> Result<Prepared, BoxError> {
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            (
                "x-amz-target".to_owned(),
                format!("{}{operation}", self.service.target()),
            ),
        ];
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.signing_name())
            .time(self.time.now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let plain = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new("POST", self.url.as_str(), plain, SignableBody::Bytes(&body))?;
        let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
        let (added, _query) = instructions.into_parts();
        for header in added {
            headers.push((header.name().to_owned(), header.value().to_owned()));
        }
        Ok(Prepared { headers, body })
    }
}

/// Failing to get credentials looks like the SDK's own failure to.
fn no_credentials(error: CredentialsError) -> SdkError<JsonError, HttpResponse> {
    SdkError::construction_failure(error)
}

fn serialize(prepared: Prepared) -> Result<HttpRequest, BoxError> {
    let mut request = HttpRequest::new(SdkBody::from(prepared.body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    for (name, value) in prepared.headers {
        request.headers_mut().try_insert(name, value)?;
    }
    Ok(request)
}

/// The code is what stands behind `#` in `__type`, or in the header, before a colon.
fn read_error(body: &[u8], header: Option<String>) -> JsonError {
    let read: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let kind = if read.kind.is_empty() {
        header.unwrap_or_default()
    } else {
        read.kind
    };
    let code = kind.rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    let message = read.message.chars().take(1_000).collect::<String>();
    JsonError(ErrorMetadata::builder().code(code).message(message).build())
}
