//! What of the configuration asks for more than CloudWatch's metrics: hot keys and item collections.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hot_keys::HotKeySettings;
use super::levels::Collection;
use crate::aws::cloudwatch::config::seconds;
use crate::aws::cloudwatch::derived::collections::Model;
use crate::config::Section;
use crate::config::types::GoDuration;

/// `hot_keys`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct HotKeyKeys {
    enabled: bool,
    plaintext: bool,
    top: i32,
    period: GoDuration,
}

impl Default for HotKeyKeys {
    fn default() -> Self {
        Self {
            enabled: false,
            plaintext: false,
            top: 10,
            period: GoDuration(Duration::from_secs(300)),
        }
    }
}

/// Reads `hot_keys`. `Some(None)`: not asked for.
pub fn check_hot_keys(section: &Section) -> Option<Option<HotKeySettings>> {
    let Some(hot_keys) = section.take("hot_keys") else {
        return Some(None);
    };
    let keys = hot_keys.read::<HotKeyKeys>()?;
    if !(1..=100).contains(&keys.top) {
        hot_keys.error_at("top", "must be 1 to 100: a report has no more");
    }
    let period = seconds(keys.period);
    if period < 60 || period % 60 != 0 || period > 86_400 {
        hot_keys.error_at("period", "must be whole minutes, at most a day");
    }
    if !keys.enabled {
        return Some(None);
    }
    if keys.plaintext {
        hot_keys.warn_at(
            "plaintext",
            "keys of items will be attributes as they are; they may be personal data",
        );
    }
    Some(Some(HotKeySettings {
        plaintext: keys.plaintext,
        top: keys.top,
        period,
    }))
}

/// One of `item_collections`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct CollectionKeys {
    table: String,
    key: String,
    model: Option<Model>,
    query: BTreeMap<String, f64>,
}

/// Reads `item_collections`; problems go to the section.
pub fn check_collections(section: &Section) -> Vec<Collection> {
    let mut collections = Vec::new();
    let Some(list) = section.take("item_collections") else {
        return collections;
    };
    for element in list.elements() {
        let Some(keys) = element.read::<CollectionKeys>() else {
            continue;
        };
        if keys.table.is_empty() || keys.key.is_empty() {
            element.error("`table` and `key` (the partition key's value) are required");
        }
        if keys.model.is_none() && keys.query.is_empty() {
            element.error("`model`, `query` or both are required: they tell the size");
        }
        if keys.model.is_some_and(|model| !model.is_sound()) {
            element.error_at("model", "must be numbers of 0 or more");
        }
        if keys.query.values().any(|bytes| !bytes.is_finite() || *bytes <= 0.0) {
            element.error_at(
                "query",
                "must be bytes of an item by prefix of the sort key, more than 0",
            );
        }
        collections.push(Collection {
            table: keys.table,
            key: keys.key,
            model: keys.model,
            query: keys.query,
        });
    }
    collections
}

#[cfg(test)]
mod tests {
    use super::super::config::check;
    use crate::config::Section;

    #[test]
    fn settings_of_derived_signals_that_make_no_sense_are_told() {
        let wrong = [
            ("hot_keys: {enabled: true, top: 0}", "1 to 100"),
            ("hot_keys: {enabled: true, period: 90s}", "whole minutes"),
            ("item_collections: [{table: a, key: b}]", "tell the size"),
            ("item_collections: [{key: b, model: {runs: 1}}]", "are required"),
            ("item_collections: [{table: a, key: b, query: {c: 0}}]", "more than 0"),
            ("derived: false\nhot_keys: {enabled: true}", "leave it true"),
        ];
        for (text, told) in wrong {
            let section = Section::from_yaml(&format!("profile: here\n{text}\n"));
            check(&section);
            let problems = section.problems();
            assert!(
                problems.iter().any(|problem| problem.contains(told)),
                "{text}: {problems:?}"
            );
        }
    }
}
