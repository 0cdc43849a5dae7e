//! Finding the factory of a type, and saying what is wrong where there is none.

use crate::component::{ComponentKind, Factory};
use crate::config::suggest_among;

/// Types that the Collector's configurations use and this build does not have: 'not built yet' says more than
/// 'unknown'.
const NOT_BUILT: &[(ComponentKind, &[&str])] = &[
    (
        ComponentKind::Receiver,
        &[
            "prometheus",
            "awsxray",
            "awscontainerinsightreceiver",
            "awscontainerinsight",
            "filelog",
            "file_log",
            "statsd",
            "awsecscontainermetrics",
            "zipkin",
            "jaeger",
            "hostmetrics",
            "host_metrics",
            "kubeletstats",
            "kubelet_stats",
            "k8s_cluster",
            "k8sobjects",
            "k8s_objects",
            "receiver_creator",
            "kafka",
            "nop",
            "dynamodb",
            "sagemaker",
            "xray",
            "otlp",
        ],
    ),
    (
        ComponentKind::Processor,
        &[
            "batch",
            "memory_limiter",
            "resourcedetection",
            "resource_detection",
            "resource",
            "attributes",
            "filter",
            "transform",
            "k8sattributes",
            "k8s_attributes",
            "tail_sampling",
            "metricstransform",
            "metrics_transform",
            "cumulativetodelta",
            "deltatocumulative",
            "probabilistic_sampler",
            "groupbytrace",
            "groupbyattrs",
            "deltatorate",
            "metricsgeneration",
            "span",
        ],
    ),
    (
        ComponentKind::Exporter,
        &[
            "awsemf",
            "awsxray",
            "awscloudwatchlogs",
            "prometheusremotewrite",
            "prometheus_remote_write",
            "otlp",
            "otlp_grpc",
            "otlphttp",
            "otlp_http",
            "debug",
            "logging",
            "loadbalancing",
            "load_balancing",
            "prometheus",
            "file",
            "nop",
            "kafka",
            "datadog",
            "signalfx",
            "sapm",
            "logzio",
        ],
    ),
    (
        ComponentKind::Connector,
        &["forward", "spanmetrics", "span_metrics", "routing", "count"],
    ),
    (
        ComponentKind::Extension,
        &[
            "health_check",
            "sigv4auth",
            "awsproxy",
            "basicauth",
            "basic_auth",
            "bearertokenauth",
            "bearer_token_auth",
            "oauth2client",
            "oauth2_client",
            "oidc",
            "pprof",
            "zpages",
            "k8s_leader_elector",
            "k8s_observer",
            "ecs_observer",
        ],
    ),
];

/// How a type was found.
pub(super) struct Found<'a> {
    pub factory: &'a dyn Factory,
    /// Written in a spelling that is out of use.
    pub old_spelling: bool,
}

/// The factory of `type_name` among those of a kind.
pub(super) fn find<'a>(registry: &[&'a dyn Factory], kind: ComponentKind, type_name: &str) -> Option<Found<'a>> {
    for factory in registry {
        if factory.kind() != kind {
            continue;
        }
        if factory.type_name() == type_name {
            return Some(Found {
                factory: *factory,
                old_spelling: false,
            });
        }
        if factory.aliases().contains(&type_name) {
            return Some(Found {
                factory: *factory,
                old_spelling: !is_same_name(factory.type_name(), type_name),
            });
        }
    }
    None
}

/// `otlphttp` and `otlp_http`, `otlp` and `otlp_grpc`: which of the two is the old one depends on the Collector's
/// version, so neither is worth a warning. `logging` for `debug` is.
fn is_same_name(type_name: &str, alias: &str) -> bool {
    let letters = |text: &str| text.replace('_', "");
    let (type_name, alias) = (letters(type_name), letters(alias));
    alias.starts_with(&type_name) || type_name.starts_with(&alias)
}

/// What to say about a type without a factory.
pub(super) fn refusal(registry: &[&dyn Factory], kind: ComponentKind, type_name: &str) -> String {
    let what = kind.name();
    let planned = NOT_BUILT
        .iter()
        .any(|(of, names)| *of == kind && names.contains(&type_name));
    if planned {
        return format!("the {what} \"{type_name}\" is not built yet");
    }
    let other = registry
        .iter()
        .find(|factory| factory.type_name() == type_name || factory.aliases().contains(&type_name));
    if let Some(other) = other {
        return format!(
            "\"{type_name}\" is no {what}; it is known as {} only",
            article(other.kind())
        );
    }
    let mut known = Vec::new();
    for factory in registry.iter().filter(|factory| factory.kind() == kind) {
        known.push(factory.type_name());
        known.extend(factory.aliases());
    }
    known.sort_unstable();
    let hint = suggest_among(type_name, &known);
    format!("unknown {what} \"{type_name}\"{hint}")
}

fn article(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::Receiver => "a receiver",
        ComponentKind::Processor => "a processor",
        ComponentKind::Exporter => "an exporter",
        ComponentKind::Connector => "a connector",
        ComponentKind::Extension => "an extension",
    }
}
