//! Tags of resources, where the configuration asks for them: which resources they choose, and which become attributes.

use std::collections::BTreeMap;

use super::config::Common;
use super::engine::Desk;
use crate::aws::globs::any_matches;
use crate::aws::json::tagging::{GET_RESOURCES, Tags, get_resources};
use crate::aws::json::{JsonClient, Service};
use crate::aws::rate::Limits;
use crate::aws::{Calls, Failure};

/// Tags change seldom.
const EVERY_S: i64 = 3600;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;

/// The tags of one account and region.
pub struct Tagged {
    client: JsonClient,
    calls: Calls,
    types: Vec<&'static str>,
    /// Key, and globs of which one must match.
    wanted: BTreeMap<String, Vec<String>>,
    attributes: Vec<String>,
    tags: Tags,
    due: i64,
    denied: Option<Failure>,
}

impl Tagged {
    /// `types`: of GetResources, e.g. `dynamodb:table`.
    pub fn new(desk: &Desk, common: &Common, types: Vec<&'static str>) -> Self {
        Self {
            client: desk.access.json(&desk.sdk, Service::Tagging),
            calls: desk.calls("GetResources", GET_RESOURCES, Limits::TAGGING),
            types,
            wanted: common.tags.clone(),
            attributes: common.tag_attributes.clone(),
            tags: Tags::new(),
            due: 0,
            denied: None,
        }
    }

    /// Other credentials, the same rate and count.
    pub fn renew(&mut self, desk: &Desk) {
        self.client = desk.access.json(&desk.sdk, Service::Tagging);
    }

    /// The missing permission.
    pub fn denied(&self) -> Option<String> {
        self.denied.as_ref().map(Failure::to_string)
    }

    /// Asks when it is due, if tags are asked for at all. A failure keeps what was known.
    pub async fn refresh(&mut self, now: i64) -> Option<Failure> {
        let needed = !self.wanted.is_empty() || !self.attributes.is_empty();
        if !needed || now < self.due {
            return None;
        }
        match get_resources(&self.client, &self.calls, &self.types).await {
            Ok(tags) => {
                self.tags = tags;
                self.denied = None;
                self.due = now + EVERY_S;
                None
            }
            Err(failure) => {
                if matches!(failure, Failure::Denied { .. }) {
                    self.denied = Some(failure.clone());
                    self.due = now + DENIED_S;
                }
                Some(failure)
            }
        }
    }

    /// Whether the tags of a resource are those that are asked for: all keys must match. An untagged resource matches
    /// where nothing is asked for.
    pub fn take(&self, arn: &str) -> bool {
        let own = self.tags.get(arn);
        self.wanted.iter().all(|(key, globs)| {
            let value = own.and_then(|tags| tags.get(key));
            value.is_some_and(|value| any_matches(globs, value))
        })
    }

    /// What of its tags goes into the resource, as `tag.<key>`.
    pub fn attributes(&self, arn: &str) -> Vec<(String, String)> {
        let Some(own) = self.tags.get(arn) else {
            return Vec::new();
        };
        let named = self.attributes.iter();
        named
            .filter_map(|key| Some((format!("tag.{key}"), own.get(key)?.clone())))
            .collect()
    }
}
