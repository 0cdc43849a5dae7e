//! Which items a processor works on: the Collector's `include` and `exclude` match properties, read in one way for all
//! processors that take them. No component itself.
//!
//! Between keys all must match, in a list one of it; `attributes` and `resources` must all be there. An item is
//! selected when (there is no `include` or it matches) and `exclude` does not match.

mod matcher;
mod value;

pub use matcher::{AttributeConfig, Attributes, Libraries, LibraryConfig, MatchType, Severity, SeverityConfig, Texts};
pub use value::ConfigValue;

use serde::{Deserialize, Serialize};

use crate::config::Section;
use crate::ottl::kind_symbol;
use crate::pdata::{Place, Signal};
use crate::wire::{self, WireError};

/// What the Collector says for the name of a service that has none.
const NO_SERVICE_NAME: &str = "<nil-service-name>";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    match_type: Option<MatchType>,
    regexp: Option<RegexpCache>,
    services: Vec<String>,
    span_names: Vec<String>,
    span_kinds: Vec<String>,
    attributes: Vec<AttributeConfig>,
    resources: Vec<AttributeConfig>,
    libraries: Vec<LibraryConfig>,
    metric_names: Vec<String>,
    log_bodies: Vec<String>,
    log_severity_texts: Vec<String>,
    log_severity_number: Option<SeverityConfig>,
}

/// Accepted for configurations that have it; our matching is linear and keeps no cache.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct RegexpCache {
    #[serde(rename = "cacheenabled")]
    _cache_enabled: bool,
    #[serde(rename = "cachemaxnumentries")]
    _cache_max_num_entries: u64,
}

/// Match properties: one side, `include` or `exclude`.
#[derive(Debug, Default)]
pub struct Properties {
    pub services: Option<Texts>,
    pub span_names: Option<Texts>,
    pub span_kinds: Option<Texts>,
    pub attributes: Option<Attributes>,
    pub resources: Option<Attributes>,
    pub libraries: Option<Libraries>,
    pub metric_names: Option<Texts>,
    pub log_bodies: Option<Texts>,
    pub log_severity_texts: Option<Texts>,
    pub log_severity_number: Option<Severity>,
}

impl Properties {
    /// Reads and checks `include` or `exclude`. Reports what is wrong; `None` when nothing can be made of it.
    pub fn check(section: &Section) -> Option<Self> {
        let config: Config = section.read()?;
        let match_type = check_match_type(section, config.match_type, config.log_severity_number.is_some())?;
        let texts = |key: &str, list| Texts::check(section, key, match_type, list);
        if config.regexp.is_some() && match_type != MatchType::Regexp {
            section.warn_at("regexp", "has no effect with this match_type");
        }
        let severity = config.log_severity_number.as_ref();
        let properties = Self {
            services: texts("services", config.services),
            span_names: texts("span_names", config.span_names),
            span_kinds: texts("span_kinds", config.span_kinds),
            attributes: Attributes::check(section, "attributes", match_type, config.attributes),
            resources: Attributes::check(section, "resources", match_type, config.resources),
            libraries: Libraries::check(section, "libraries", match_type, config.libraries),
            metric_names: texts("metric_names", config.metric_names),
            log_bodies: texts("log_bodies", config.log_bodies),
            log_severity_texts: texts("log_severity_texts", config.log_severity_texts),
            log_severity_number: severity.and_then(|config| Severity::check(section, "log_severity_number", config)),
        };
        if severity.is_none() && properties.keys().is_empty() {
            section.error("needs at least one of services, span_names, span_kinds, attributes, resources, libraries, metric_names, log_bodies, log_severity_texts, log_severity_number");
        }
        if !Signal::ALL
            .into_iter()
            .any(|signal| properties.misplaced(signal).is_none())
        {
            let keys = properties.keys().join(", ");
            section.error(format!("no signal has all of {keys}"));
        }
        Some(properties)
    }

    /// The keys that are set.
    fn keys(&self) -> Vec<&'static str> {
        let keys = [
            ("services", self.services.is_some()),
            ("span_names", self.span_names.is_some()),
            ("span_kinds", self.span_kinds.is_some()),
            ("attributes", self.attributes.is_some()),
            ("resources", self.resources.is_some()),
            ("libraries", self.libraries.is_some()),
            ("metric_names", self.metric_names.is_some()),
            ("log_bodies", self.log_bodies.is_some()),
            ("log_severity_texts", self.log_severity_texts.is_some()),
            ("log_severity_number", self.log_severity_number.is_some()),
        ];
        keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| key).collect()
    }

    /// The first key that items of this signal do not have.
    pub fn misplaced(&self, signal: Signal) -> Option<&'static str> {
        let known: &[&str] = match signal {
            Signal::Traces => &[
                "services",
                "span_names",
                "span_kinds",
                "attributes",
                "resources",
                "libraries",
            ],
            Signal::Metrics => &["metric_names", "resources"],
            Signal::Logs => &[
                "log_bodies",
                "log_severity_texts",
                "log_severity_number",
                "attributes",
                "resources",
                "libraries",
            ],
        };
        self.keys().into_iter().find(|key| !known.contains(key))
    }

    fn match_place(&self, place: Place<'_>) -> Result<bool, WireError> {
        if let Some(services) = &self.services {
            let name = match place.resource.resource()?.attribute("service.name")? {
                Some(wire::Value::String(name)) => name,
                _ => wire::Text::new(NO_SERVICE_NAME.as_bytes()),
            };
            if !services.matches(name) {
                return Ok(false);
            }
        }
        if let Some(resources) = &self.resources
            && !resources.match_all(place.resource.resource()?.attributes())?
        {
            return Ok(false);
        }
        match &self.libraries {
            Some(libraries) => libraries.match_any(place.scope.scope()?),
            None => Ok(true),
        }
    }

    fn match_attributes(&self, attributes: wire::Attributes<'_>) -> Result<bool, WireError> {
        match &self.attributes {
            Some(wanted) => wanted.match_all(attributes),
            None => Ok(true),
        }
    }

    /// Whether a span has all of it.
    ///
    /// # Errors
    /// Where the span, or what stands above it, is malformed; so for all below.
    pub fn match_span(&self, place: Place<'_>, span: wire::Span<'_>) -> Result<bool, WireError> {
        if let Some(names) = &self.span_names
            && !names.matches(span.name()?)
        {
            return Ok(false);
        }
        if let Some(kinds) = &self.span_kinds
            && !kinds.matches(wire::Text::new(kind_symbol(span.kind()?).as_bytes()))
        {
            return Ok(false);
        }
        Ok(self.match_attributes(span.attributes())? && self.match_place(place)?)
    }

    /// Whether a log record has all of it.
    ///
    /// # Errors
    /// As above.
    pub fn match_log(&self, place: Place<'_>, log: wire::LogRecord<'_>) -> Result<bool, WireError> {
        if let Some(bodies) = &self.log_bodies {
            let matches = match log.body()? {
                wire::Value::String(text) => bodies.matches(text),
                // Only bodies that are strings can match.
                _ => false,
            };
            if !matches {
                return Ok(false);
            }
        }
        if let Some(texts) = &self.log_severity_texts
            && !texts.matches(log.severity_text()?)
        {
            return Ok(false);
        }
        if let Some(severity) = &self.log_severity_number
            && !severity.matches(log.severity_number()?)
        {
            return Ok(false);
        }
        Ok(self.match_attributes(log.attributes())? && self.match_place(place)?)
    }

    /// Whether a metric has all of it.
    ///
    /// # Errors
    /// As above.
    pub fn match_metric(&self, place: Place<'_>, metric: wire::Metric<'_>) -> Result<bool, WireError> {
        if let Some(names) = &self.metric_names
            && !names.matches(metric.name()?)
        {
            return Ok(false);
        }
        self.match_place(place)
    }
}

/// `match_type` is needed wherever texts are compared.
pub fn check_match_type(section: &Section, match_type: Option<MatchType>, can_do_without: bool) -> Option<MatchType> {
    match match_type {
        Some(MatchType::Expr) => {
            section.error_at(
                "match_type",
                "match_type expr is not built yet; write an OTTL condition instead",
            );
            None
        }
        Some(match_type) => Some(match_type),
        None if can_do_without => Some(MatchType::Strict),
        None => {
            section.error("`match_type` is missing: strict or regexp");
            None
        }
    }
}

/// `include` and `exclude` together.
#[derive(Debug, Default)]
pub struct Selector {
    include: Option<Properties>,
    exclude: Option<Properties>,
}

impl Selector {
    /// Takes `include` and `exclude` from a section.
    pub fn check(section: &Section) -> Self {
        let side = |key| section.take(key).and_then(|side| Properties::check(&side));
        Self {
            include: side("include"),
            exclude: side("exclude"),
        }
    }

    /// From two sides that were read elsewhere.
    pub fn new(include: Option<Properties>, exclude: Option<Properties>) -> Self {
        Self { include, exclude }
    }

    /// Whether there is nothing to ask: every item is selected.
    pub fn is_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// The first key that items of this signal do not have.
    pub fn misplaced(&self, signal: Signal) -> Option<&'static str> {
        [&self.include, &self.exclude]
            .into_iter()
            .flatten()
            .find_map(|side| side.misplaced(signal))
    }

    fn selects(&self, matches: impl Fn(&Properties) -> Result<bool, WireError>) -> Result<bool, WireError> {
        if let Some(include) = &self.include
            && !matches(include)?
        {
            return Ok(false);
        }
        match &self.exclude {
            Some(exclude) => matches(exclude).map(|matches| !matches),
            None => Ok(true),
        }
    }

    /// Whether a span is selected.
    ///
    /// # Errors
    /// Where it, or what stands above it, is malformed; so for all below.
    pub fn selects_span(&self, place: Place<'_>, span: wire::Span<'_>) -> Result<bool, WireError> {
        self.selects(|side| side.match_span(place, span))
    }

    /// Whether a log record is selected.
    ///
    /// # Errors
    /// As above.
    pub fn selects_log(&self, place: Place<'_>, log: wire::LogRecord<'_>) -> Result<bool, WireError> {
        self.selects(|side| side.match_log(place, log))
    }

    /// Whether a metric is selected.
    ///
    /// # Errors
    /// As above.
    pub fn selects_metric(&self, place: Place<'_>, metric: wire::Metric<'_>) -> Result<bool, WireError> {
        self.selects(|side| side.match_metric(place, metric))
    }
}
