//! The configuration of the `sagemaker` receiver: what all CloudWatch receivers share, the kinds of resource, and how
//! fine points may be.

use serde::{Deserialize, Serialize};

use super::fleet::Kind;
use crate::aws::cloudwatch::config::{Common, Defaults};
use crate::config::Section;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    kinds: Vec<Kind>,
    high_resolution: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            kinds: Kind::ALL.to_vec(),
            high_resolution: false,
        }
    }
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub common: Common,
    pub kinds: Vec<Kind>,
    /// Points below a minute, where an endpoint publishes them.
    pub high_resolution: bool,
}

/// Reads and checks. Problems are reported to the section.
pub fn check(section: &Section) -> Option<Config> {
    let keys = section.read::<Keys>()?;
    let common = Common::read(
        section,
        &Defaults {
            receiver: "sagemaker",
            resource_kind: "endpoint",
            // Values of SageMaker come later than DynamoDB's.
            max_late: 900,
        },
    )?;
    if keys.kinds.is_empty() {
        section.error_at("kinds", "must name at least one kind, or be left out for all");
    }
    let mut kinds = keys.kinds;
    kinds.sort_unstable();
    kinds.dedup();
    Some(Config {
        common,
        kinds,
        high_resolution: keys.high_resolution,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_watched_unless_some_are_named() {
        let config = check(&Section::from_yaml("regions: [eu-central-1]")).unwrap();
        assert_eq!(config.kinds, Kind::ALL);
        assert_eq!(config.common.engine.max_late, 900);
        let text = "regions: [eu-central-1]\nkinds: [pipelines, endpoints, endpoints]\nhigh_resolution: true";
        let config = check(&Section::from_yaml(text)).unwrap();
        assert_eq!(config.kinds, [Kind::Endpoints, Kind::Pipelines]);
        assert!(config.high_resolution);
    }

    #[test]
    fn unknown_kinds_and_keys_of_other_receivers_are_refused_with_their_place() {
        for (text, expected) in [
            ("kinds: [notebooks]", "notebooks"),
            ("kinds: []", "at least one kind"),
            ("hot_keys: {enabled: true}", "hot_keys"),
            ("item_collections: []", "item_collections"),
        ] {
            let section = Section::from_yaml(&format!("regions: [eu-central-1]\n{text}\n"));
            check(&section);
            let problems = section.problems().join("\n");
            assert!(
                problems.contains(expected) && problems.contains("2:"),
                "{text}: {problems}"
            );
        }
    }
}
