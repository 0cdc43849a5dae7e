//! Inhibition: which alerts fire that keep others from being told.

use std::collections::{BTreeMap, HashMap};

use super::super::config::InhibitRule;
use super::super::state::Incident;

/// The sources that fire, for each rule, by the values in which source and target agree.
#[derive(Debug, Default)]
pub struct Sources(Vec<HashMap<Vec<String>, Found>>);

/// How many sources there are of one key.
#[derive(Debug, Default)]
struct Found {
    all: usize,
    /// Those that are targets too: they do not inhibit what is both.
    both: usize,
}

impl Sources {
    /// Looks through all alerts.
    pub fn rebuild(&mut self, rules: &[InhibitRule], incidents: &BTreeMap<u64, Incident>) {
        self.0.clear();
        for rule in rules {
            let mut found: HashMap<Vec<String>, Found> = HashMap::new();
            for incident in incidents.values().filter(|incident| incident.facts.fires()) {
                let labels = &incident.facts.labels;
                if let Some(key) = rule.source_key(labels) {
                    let found = found.entry(key).or_default();
                    found.all += 1;
                    found.both += usize::from(rule.is_both(labels));
                }
            }
            self.0.push(found);
        }
    }

    /// Whether an alert is held back by another.
    pub fn inhibits(&self, rules: &[InhibitRule], incident: &Incident) -> bool {
        let labels = &incident.facts.labels;
        rules.iter().zip(&self.0).any(|(rule, sources)| {
            let Some(found) = rule.target_key(labels).and_then(|key| sources.get(&key)) else {
                return false;
            };
            if rule.is_both(labels) {
                found.all > found.both
            } else {
                found.all > 0
            }
        })
    }
}
