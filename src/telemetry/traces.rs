//! Spans of the agent itself, by OTLP, only where `service::telemetry::traces` has a processor.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tonic::metadata::{MetadataKey, MetadataMap};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::service::{SpanProcessor, TraceSampler, TracesConfig};
use crate::graph::stages::SPAN_TARGET;

/// The way out for spans; `None` where none is configured. Call it inside the runtime.
///
/// # Errors
/// An endpoint or header that is none, or what is not built.
pub fn provider(config: &TracesConfig, resource: &[(String, String)]) -> Result<Option<SdkTracerProvider>, String> {
    if config.processors.is_empty() {
        return Ok(None);
    }
    let attributes = resource
        .iter()
        .map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let mut builder = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_attributes(attributes).build())
        .with_sampler(sampler(&config.sampler));
    for processor in &config.processors {
        let exporter = exporter(processor)?;
        builder = match processor.batch {
            None => builder.with_simple_exporter(exporter),
            Some(batch) => {
                let settings = BatchConfigBuilder::default()
                    .with_scheduled_delay(batch.schedule_delay)
                    .with_max_queue_size(batch.max_queue_size)
                    .with_max_export_batch_size(batch.max_export_batch_size)
                    .build();
                let batching = BatchSpanProcessor::builder(exporter)
                    .with_batch_config(settings)
                    .build();
                builder.with_span_processor(batching)
            }
        };
    }
    Ok(Some(builder.build()))
}

fn exporter(processor: &SpanProcessor) -> Result<SpanExporter, String> {
    if processor.endpoint.starts_with("https://") {
        return Err("TLS is not built yet for the agent's own spans; use http://".to_owned());
    }
    if let Some(compression) = &processor.compression {
        return Err(format!(
            "compression {compression:?} is not built yet for the agent's own spans"
        ));
    }
    let mut headers = MetadataMap::new();
    for (name, value) in &processor.headers.0 {
        let key: MetadataKey<_> = name.parse().map_err(|_| format!("{name:?} is no header name"))?;
        let value = value
            .reveal()
            .parse()
            .map_err(|_| format!("the value of header {name:?} cannot be sent"))?;
        headers.insert(key, value);
    }
    SpanExporter::builder()
        .with_tonic()
        .with_endpoint(processor.endpoint.clone())
        .with_timeout(processor.timeout)
        .with_metadata(headers)
        .build()
        .map_err(|error| error.to_string())
}

fn sampler(configured: &TraceSampler) -> Sampler {
    match configured {
        TraceSampler::ParentBased => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        TraceSampler::AlwaysOn => Sampler::AlwaysOn,
        TraceSampler::AlwaysOff => Sampler::AlwaysOff,
        TraceSampler::Ratio(ratio) => Sampler::TraceIdRatioBased(*ratio),
    }
}

/// Turns the spans of our stages, and no others, into OpenTelemetry's.
pub fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let ours = FilterFn::new(|metadata| metadata.is_span() && metadata.target() == SPAN_TARGET);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("radiosonde"))
        .with_filter(ours)
}
