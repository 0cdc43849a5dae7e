//! `route`: the tree that says who is told about which alert, and how alerts are put together. `inhibit_rules`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::super::Labels;
use super::duration;
use super::intervals::TimeInterval;
use super::matcher::{Matcher, all_match, is_label_name, label};
use crate::config::{Section, suggest_among};

const SECOND: u64 = 1_000_000_000;

/// A node of the tree.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its place in the tree, the same for the same tree: `0/2/1`.
    pub id: String,
    matchers: Vec<Matcher>,
    pub receiver: String,
    pub grouping: Grouping,
    /// Nanoseconds.
    pub group_wait: u64,
    pub group_interval: u64,
    pub repeat_interval: u64,
    /// Its brothers behind it are asked too.
    goes_on: bool,
    mute: Vec<String>,
    active: Vec<String>,
    children: Vec<Arc<Route>>,
}

/// By which labels alerts are put together.
#[derive(Clone, Debug, PartialEq)]
pub enum Grouping {
    /// Every label: each alert alone.
    All,
    By(Vec<String>),
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    receiver: String,
    group_by: Option<Vec<String>>,
    group_wait: Option<String>,
    group_interval: Option<String>,
    repeat_interval: Option<String>,
    #[serde(rename = "continue")]
    goes_on: bool,
    mute_time_intervals: Vec<String>,
    active_time_intervals: Vec<String>,
}

/// The names that routes may use.
pub struct Known<'a> {
    pub receivers: &'a [&'a str],
    pub intervals: &'a BTreeMap<String, Vec<TimeInterval>>,
}

impl Route {
    /// Reads the tree.
    pub fn read(section: &Section, known: &Known<'_>) -> Option<Arc<Self>> {
        if !section.require_map() {
            return None;
        }
        let root = Self {
            id: "0".to_owned(),
            matchers: Vec::new(),
            receiver: String::new(),
            grouping: Grouping::By(["alertname", "account_id", "region"].map(str::to_owned).to_vec()),
            group_wait: 30 * SECOND,
            group_interval: 300 * SECOND,
            repeat_interval: 4 * 3600 * SECOND,
            goes_on: false,
            mute: Vec::new(),
            active: Vec::new(),
            children: Vec::new(),
        };
        let read = Self::read_below(section, &root, "0".to_owned(), known);
        let at_root = |key: &str, is_there: bool| {
            if is_there {
                section.error_at(
                    key,
                    format!("the root of the tree takes every alert and has no `{key}`"),
                );
            }
        };
        for key in ["matchers", "match", "match_re"] {
            at_root(key, section.has(key) && !read.matchers.is_empty());
        }
        at_root("continue", read.goes_on);
        at_root("mute_time_intervals", !read.mute.is_empty());
        at_root("active_time_intervals", !read.active.is_empty());
        if read.receiver.is_empty() {
            section.error("the root of the tree needs a `receiver`");
        }
        Some(Arc::new(read))
    }

    fn read_below(section: &Section, above: &Self, id: String, known: &Known<'_>) -> Self {
        let keys: Keys = section.read().unwrap_or_default();
        let time = |key: &str, text: &Option<String>, inherited: u64| match text.as_deref() {
            None => inherited,
            Some(text) => duration::parse(text).unwrap_or_else(|reason| {
                section.error_at(key, format!("{text:?} {reason}"));
                inherited
            }),
        };
        let mut route = Self {
            matchers: read_matchers(section, ["matchers", "match", "match_re"]),
            receiver: if keys.receiver.is_empty() {
                above.receiver.clone()
            } else {
                keys.receiver.clone()
            },
            grouping: read_grouping(section, keys.group_by).unwrap_or_else(|| above.grouping.clone()),
            group_wait: time("group_wait", &keys.group_wait, above.group_wait),
            group_interval: time("group_interval", &keys.group_interval, above.group_interval),
            repeat_interval: time("repeat_interval", &keys.repeat_interval, above.repeat_interval),
            goes_on: keys.goes_on,
            mute: keys.mute_time_intervals,
            active: keys.active_time_intervals,
            children: Vec::new(),
            id,
        };
        for (key, value) in [
            ("group_interval", route.group_interval),
            ("repeat_interval", route.repeat_interval),
        ] {
            if value == 0 {
                section.error_at(key, format!("`{key}` cannot be zero"));
            }
        }
        if !keys.receiver.is_empty() && !known.receivers.contains(&keys.receiver.as_str()) {
            let hint = suggest_among(&keys.receiver, known.receivers);
            section.error_at("receiver", format!("there is no receiver {:?}{hint}", keys.receiver));
        }
        for (key, names) in [
            ("mute_time_intervals", &route.mute),
            ("active_time_intervals", &route.active),
        ] {
            let all: Vec<&str> = known.intervals.keys().map(String::as_str).collect();
            for (position, name) in names.iter().enumerate() {
                if !known.intervals.contains_key(name) {
                    let hint = suggest_among(name, &all);
                    section.error_at(
                        &format!("{key}::{position}"),
                        format!("there is no time interval {name:?}{hint}"),
                    );
                }
            }
        }
        if let Some(below) = section.take("routes") {
            for (position, child) in below.elements().iter().enumerate() {
                if child.require_map() {
                    let id = format!("{}/{position}", route.id);
                    route
                        .children
                        .push(Arc::new(Self::read_below(child, &route, id, known)));
                }
            }
        }
        route
    }

    /// The routes that an alert takes, in the order of the tree.
    pub fn of(self: &Arc<Self>, labels: &Labels) -> Vec<Arc<Route>> {
        if !all_match(&self.matchers, labels) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for child in &self.children {
            let found = child.of(labels);
            let is_over = !found.is_empty() && !child.goes_on;
            taken.extend(found);
            if is_over {
                break;
            }
        }
        if taken.is_empty() {
            taken.push(Arc::clone(self));
        }
        taken
    }

    /// The labels that an alert is put together by, with their values; what it does not have is left out.
    pub fn group_of(&self, labels: &Labels) -> Labels {
        match &self.grouping {
            Grouping::All => labels.clone(),
            Grouping::By(names) => {
                let mut group: Labels = names
                    .iter()
                    .filter(|name| !label(labels, name).is_empty())
                    .map(|name| (name.clone(), label(labels, name).to_owned()))
                    .collect();
                group.sort();
                group
            }
        }
    }

    /// Whether it is silent at a time: inside an interval that mutes it, or outside all in which it is active.
    pub fn is_mute(&self, now: u64, intervals: &BTreeMap<String, Vec<TimeInterval>>) -> bool {
        let inside = |name: &String| {
            let named = intervals.get(name);
            named.is_some_and(|all| all.iter().any(|interval| interval.contains(now)))
        };
        self.mute.iter().any(inside) || (!self.active.is_empty() && !self.active.iter().any(inside))
    }
}

fn read_grouping(section: &Section, names: Option<Vec<String>>) -> Option<Grouping> {
    let names = names?;
    if names.iter().any(|name| name == "...") {
        if names.len() > 1 {
            section.error_at("group_by", "`...` means every label and stands alone");
        }
        return Some(Grouping::All);
    }
    let mut seen = BTreeSet::new();
    for (position, name) in names.iter().enumerate() {
        let at = format!("group_by::{position}");
        if !is_label_name(name) {
            section.error_at(&at, format!("{name:?} is no label name"));
        }
        if !seen.insert(name) {
            section.error_at(&at, format!("{name:?} is there twice"));
        }
    }
    Some(Grouping::By(names))
}

/// Reads a list of matchers and the two older forms of it; `keys`: their names.
pub fn read_matchers(section: &Section, keys: [&str; 3]) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    let [list, equal, like] = keys;
    for one in section.take(list).iter().flat_map(Section::elements) {
        let Some(text) = one.read::<String>() else { continue };
        match Matcher::parse_all(&text) {
            Ok(read) => matchers.extend(read),
            Err(reason) => one.error(reason),
        }
    }
    for (key, operator) in [(equal, "="), (like, "=~")] {
        let Some(map) = section.take(key) else { continue };
        for (name, value) in map.read::<BTreeMap<String, String>>().unwrap_or_default() {
            match Matcher::new(&name, operator, &value) {
                Ok(matcher) => matchers.push(matcher),
                Err(reason) => map.error_at(&name, reason),
            }
        }
    }
    matchers
}

/// While a source fires, targets that agree with it in some labels are not told.
#[derive(Clone, Debug)]
pub struct InhibitRule {
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct InhibitKeys {
    equal: Vec<String>,
}

impl InhibitRule {
    /// Reads the list.
    pub fn read_all(section: &Section) -> Vec<Self> {
        let mut rules = Vec::new();
        for one in section.take("inhibit_rules").iter().flat_map(Section::elements) {
            if !one.require_map() {
                continue;
            }
            let equal = one.read::<InhibitKeys>().unwrap_or_default().equal;
            for (position, name) in equal.iter().enumerate() {
                if !is_label_name(name) {
                    one.error_at(&format!("equal::{position}"), format!("{name:?} is no label name"));
                }
            }
            rules.push(Self {
                source: read_matchers(&one, ["source_matchers", "source_match", "source_match_re"]),
                target: read_matchers(&one, ["target_matchers", "target_match", "target_match_re"]),
                equal,
            });
        }
        rules
    }

    /// The values of the labels in which source and target agree, if this is a source.
    pub fn source_key(&self, labels: &Labels) -> Option<Vec<String>> {
        all_match(&self.source, labels).then(|| self.key(labels))
    }

    /// The same, if this is a target.
    pub fn target_key(&self, labels: &Labels) -> Option<Vec<String>> {
        all_match(&self.target, labels).then(|| self.key(labels))
    }

    /// What is source and target at once does not inhibit its like.
    pub fn is_both(&self, labels: &Labels) -> bool {
        all_match(&self.source, labels) && all_match(&self.target, labels)
    }

    fn key(&self, labels: &Labels) -> Vec<String> {
        self.equal.iter().map(|name| label(labels, name).to_owned()).collect()
    }
}
