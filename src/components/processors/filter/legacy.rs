//! The older form: `include` and `exclude` of metrics and logs, with keys of their own.

use serde::{Deserialize, Serialize};

use crate::components::processors::select::{
    AttributeConfig, Attributes, MatchType, Properties, Severity, SeverityConfig, Texts, check_match_type,
};
use crate::config::Section;
use crate::wire::{self, WireError};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct MetricConfig {
    match_type: Option<MatchType>,
    metric_names: Vec<String>,
    expressions: Vec<String>,
    resource_attributes: Vec<AttributeConfig>,
    #[serde(skip_serializing)]
    regexp: Option<serde::de::IgnoredAny>,
}

/// One side for metrics. A resource that does not pass goes with all its metrics, whatever their names.
#[derive(Debug)]
pub struct MetricSide {
    names: Option<Texts>,
    resource: Option<Attributes>,
}

/// Reads `metrics::include` or `metrics::exclude`.
pub fn check_metrics(section: &Section) -> Option<MetricSide> {
    let config: MetricConfig = section.read()?;
    let match_type = check_match_type(section, config.match_type, false)?;
    if !config.expressions.is_empty() {
        section.error_at(
            "expressions",
            "expressions are not built yet; write an OTTL condition instead",
        );
    }
    if config.regexp.is_some() && match_type != MatchType::Regexp {
        section.warn_at("regexp", "has no effect with this match_type");
    }
    Some(MetricSide {
        names: Texts::check(section, "metric_names", match_type, config.metric_names),
        resource: Attributes::check(section, "resource_attributes", match_type, config.resource_attributes),
    })
}

impl MetricSide {
    /// Whether the resource matches; `None` where the side does not ask.
    pub fn match_resource(&self, resource: wire::Resource<'_>) -> Result<Option<bool>, WireError> {
        let wanted = self.resource.as_ref();
        wanted.map(|wanted| wanted.match_all(resource.attributes())).transpose()
    }

    /// Whether the name matches; `None` where the side does not ask.
    pub fn match_name(&self, metric: wire::Metric<'_>) -> Result<Option<bool>, WireError> {
        match &self.names {
            Some(names) => Ok(Some(names.matches(metric.name()?))),
            None => Ok(None),
        }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct LogConfig {
    match_type: Option<MatchType>,
    resource_attributes: Vec<AttributeConfig>,
    record_attributes: Vec<AttributeConfig>,
    severity_texts: Vec<String>,
    severity_number: Option<SeverityConfig>,
    bodies: Vec<String>,
}

/// Reads `logs::include` or `logs::exclude`.
pub fn check_logs(section: &Section) -> Option<Properties> {
    let config: LogConfig = section.read()?;
    let only_severity = config.severity_number.is_some();
    let match_type = check_match_type(section, config.match_type, only_severity)?;
    let texts = |key: &str, list| Texts::check(section, key, match_type, list);
    let attributes = |key: &str, list| Attributes::check(section, key, match_type, list);
    let severity = config.severity_number.as_ref();
    Some(Properties {
        resources: attributes("resource_attributes", config.resource_attributes),
        attributes: attributes("record_attributes", config.record_attributes),
        log_severity_texts: texts("severity_texts", config.severity_texts),
        log_bodies: texts("bodies", config.bodies),
        log_severity_number: severity.and_then(|config| Severity::check(section, "severity_number", config)),
        ..Properties::default()
    })
}
