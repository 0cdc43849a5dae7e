//! The shipped rules: the files of `config/rules`, embedded, with the thresholds, contacts and filters of the
//! configuration written into their text. What comes out is a rule file like any other; reading it is not done here.

mod edit;
mod parameters;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::parameters::{Filter, Parameter};
use crate::config::Section;

/// A shipped rule file.
pub struct Pack {
    /// As in `packs: {NAME: ...}`.
    pub name: &'static str,
    /// The file as it is shipped.
    pub text: &'static str,
    parameters: &'static [Parameter],
    filters: &'static [Filter],
}

/// All packs.
pub const PACKS: &[Pack] = &[
    Pack {
        name: "dynamodb",
        text: include_str!("../../../config/rules/dynamodb.yaml"),
        parameters: parameters::DYNAMODB,
        filters: parameters::DYNAMODB_FILTERS,
    },
    Pack {
        name: "sagemaker",
        text: include_str!("../../../config/rules/sagemaker.yaml"),
        parameters: parameters::SAGEMAKER,
        filters: parameters::SAGEMAKER_FILTERS,
    },
    Pack {
        name: "self",
        text: include_str!("../../../config/rules/self.yaml"),
        parameters: parameters::SELF,
        filters: &[],
    },
    Pack {
        name: "xray",
        text: include_str!("../../../config/rules/xray.yaml"),
        parameters: parameters::XRAY,
        filters: parameters::XRAY_FILTERS,
    },
];

/// The pack that is on without being asked for: the alerts about the agent itself.
const ALWAYS: &str = "self";

/// What stands for a contact that nobody has set.
pub const PLACEHOLDER_CONTACT: &str = "${ALERT_CONTACT}";

/// A pack with its parameters written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackText {
    /// For messages: `pack dynamodb`.
    pub name: String,
    /// A rule file: Prometheus' document, then the `x-radiosonde` one.
    pub text: String,
}

/// `any`: throttled requests within five minutes. `sustained`: in each of five minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum ThrottleMode {
    #[default]
    Any,
    Sustained,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after: String,
    to: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Common {
    contact: String,
    escalation: Option<Vec<Step>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct OfDynamoDb {
    throttle_mode: ThrottleMode,
}

/// The pack of that name.
pub fn find(name: &str) -> Option<&'static Pack> {
    PACKS.iter().find(|pack| pack.name == name)
}

/// The packs that a configuration asks for; `section` is `packs`, absent means none is named. `self` is always among
/// them. Problems are reported at the section.
pub fn read(section: Option<&Section>) -> Vec<PackText> {
    let mut texts = Vec::new();
    if let Some(section) = section.filter(|section| section.require_map()) {
        for pack in PACKS {
            if section.has(pack.name)
                && let Some(own) = section.take(pack.name)
            {
                texts.push(pack.configured(&own));
            }
        }
    }
    let always = PackText::of(ALWAYS, find(ALWAYS).map_or("", |pack| pack.text).to_owned());
    if !texts.iter().any(|text| text.name == always.name) {
        texts.push(always);
    }
    texts
}

impl PackText {
    fn of(pack: &str, text: String) -> Self {
        Self {
            name: format!("pack {pack}"),
            text,
        }
    }
}

impl Pack {
    /// The file with the parameters of its section, as far as they are right.
    pub fn configured(&self, section: &Section) -> PackText {
        if !section.require_map() {
            return PackText::of(self.name, self.text.to_owned());
        }
        let mut text = self.thresholds(section, self.text.to_owned());
        text = self.filtered(section, text);
        text = contact_and_escalation(section, text);
        if self.name == "dynamodb"
            && let Some(own) = section.read::<OfDynamoDb>()
            && own.throttle_mode == ThrottleMode::Sustained
        {
            text = edit::enable(&text, "DynamoDBThrottledSustained", true);
            text = edit::enable(&text, "DynamoDBThrottledRequests", false);
        }
        PackText::of(self.name, text)
    }

    fn thresholds(&self, section: &Section, mut text: String) -> String {
        let Some(thresholds) = section.take("thresholds").filter(Section::require_map) else {
            return text;
        };
        // All names first, so that a misspelt one is told with the one that was meant.
        let wanted: Vec<&Parameter> = self
            .parameters
            .iter()
            .filter(|parameter| thresholds.has(parameter.name))
            .collect();
        for parameter in wanted {
            let Some(value) = thresholds.take(parameter.name).and_then(|own| parameter.read(&own)) else {
                continue;
            };
            for rule in parameter.rules {
                text = edit::threshold(&text, rule, parameter.default, &value);
            }
        }
        text
    }

    fn filtered(&self, section: &Section, mut text: String) -> String {
        let Some(filters) = section.take("filters").filter(Section::require_map) else {
            return text;
        };
        let wanted: Vec<&Filter> = self.filters.iter().filter(|filter| filters.has(filter.label)).collect();
        for filter in wanted {
            let Some(pattern) = filters.take(filter.label).and_then(|own| own.read::<String>()) else {
                continue;
            };
            if let Err(error) = regex::Regex::new(&pattern) {
                filters.error_at(filter.label, format!("not a regular expression: {error}"));
                continue;
            }
            text = edit::filter(&text, filter, &pattern);
        }
        text
    }
}

fn contact_and_escalation(section: &Section, mut text: String) -> String {
    let Some(common) = section.read::<Common>() else {
        return text;
    };
    if common.contact.trim().is_empty() {
        section.warn("no `contact`: whoever gets an alert of this pack does not learn whom to ask");
    } else {
        let quoted = serde_json::Value::from(common.contact);
        text = text.replacen(
            &format!("contact: \"{PLACEHOLDER_CONTACT}\""),
            &format!("contact: {quoted}"),
            1,
        );
    }
    if let Some(steps) = common.escalation {
        let mut written = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            if parameters::seconds(&step.after).is_none() {
                section.error_at(&format!("escalation::{number}::after"), parameters::EXPECTED_DURATION);
            }
            if step.to.trim().is_empty() {
                section.error_at(&format!("escalation::{number}::to"), "names the receiver that is told");
            }
            let to = serde_json::Value::from(step.to.as_str());
            written.push(format!("{{after: {}, to: {to}}}", step.after));
        }
        let steps = format!("[{}]", written.join(", "));
        text = edit::escalation(&text, &steps);
    }
    text
}

/// Names of the parameters of a pack, with what they are by default.
pub fn parameters_of(pack: &Pack) -> BTreeMap<&'static str, &'static str> {
    pack.parameters
        .iter()
        .map(|parameter| (parameter.name, parameter.default))
        .collect()
}
