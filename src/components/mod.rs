//! The registry: one line a component. `components` prints it, the graph builds from it, the contract test runs over it.

use crate::component::Factory;

pub mod connectors;
pub mod exporters;
pub mod extensions;
pub mod processors;
pub mod receivers;

/// Every component of this build.
pub const REGISTRY: &[&dyn Factory] = &[
    // receivers
    &receivers::nop::NopFactory,
    #[cfg(feature = "aws")]
    &receivers::awsfirehose::FirehoseFactory,
    #[cfg(feature = "aws")]
    &receivers::awsxray::AwsXrayFactory,
    #[cfg(feature = "aws")]
    &receivers::awscloudwatch::AwsCloudWatchFactory,
    #[cfg(feature = "aws")]
    &receivers::dynamodb::DynamoDbFactory,
    #[cfg(feature = "aws")]
    &receivers::sagemaker::SageMakerFactory,
    &receivers::otlp::OtlpFactory,
    #[cfg(feature = "aws")]
    &receivers::xray::XRayFactory,
    // processors
    &processors::alerts::AlertsFactory,
    &processors::attributes::AttributesFactory,
    &processors::batch::BatchFactory,
    &processors::filter::FilterFactory,
    &processors::memory_limiter::MemoryLimiterFactory,
    &processors::resource::ResourceFactory,
    #[cfg(feature = "aws")]
    &processors::span_retention::SpanRetentionFactory,
    // exporters
    #[cfg(feature = "aws")]
    &exporters::awss3::AwsS3Factory,
    #[cfg(feature = "aws")]
    &exporters::awsxray::AwsXrayFactory,
    &exporters::debug::DebugFactory,
    &exporters::devstore::DevStoreFactory,
    &exporters::file::FileFactory,
    #[cfg(feature = "aws")]
    &exporters::mlflow_dynamodb::MlflowDynamoDbFactory,
    &exporters::nop::NopFactory,
    &exporters::otlp::OtlpFactory,
    &exporters::otlphttp::OtlpHttpFactory,
    &exporters::terminal::TerminalFactory,
    // connectors
    &connectors::alerts::AlertsFactory,
    #[cfg(feature = "aws")]
    &connectors::awsclientmetrics::ClientMetricsFactory,
    &connectors::forward::ForwardFactory,
    // extensions
    &extensions::basicauth::BasicAuthFactory,
    &extensions::bearertokenauth::BearerTokenAuthFactory,
    &extensions::file_storage::FileStorageFactory,
    &extensions::health_check::HealthCheckFactory,
    &extensions::oauth2client::OAuth2ClientFactory,
    &extensions::oidc::OidcFactory,
    #[cfg(feature = "aws")]
    &extensions::sigv4auth::SigV4AuthFactory,
    &extensions::zpages::ZpagesFactory,
];
