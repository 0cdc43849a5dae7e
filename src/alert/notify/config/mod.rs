//! The keys of a component that say what happens after an alert fires: `route`, `inhibit_rules`, `time_intervals`,
//! `receivers`, `templates` (Alertmanager's syntax), and our own `silences` and `links`.

mod duration;
mod http;
mod intervals;
mod matcher;
mod receivers;
mod route;
mod silence;
#[cfg(test)]
mod tests;

pub use http::HttpTarget;
pub use intervals::TimeInterval;
pub use matcher::{Matcher, all_match, label};
pub use receivers::{
    AlertmanagerOut, Out, PagerDutyOut, Receiver, SlackAccess, SlackOut, SnsOut, SnsTarget, Target, WebhookOut,
};
pub use route::{Grouping, InhibitRule, Route};
pub use silence::{Silence, SilenceRequest};

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::route::Known;
use super::template::Templates;
use crate::config::Section;

/// A checked configuration of the notifying side.
#[derive(Clone)]
pub struct Settings {
    /// `None`: nobody is told, and the admin API shows what fires.
    pub route: Option<Arc<Route>>,
    pub inhibit: Vec<InhibitRule>,
    pub intervals: BTreeMap<String, Vec<TimeInterval>>,
    pub receivers: Vec<Receiver>,
    pub templates: Arc<Templates>,
    pub silences: Vec<Silence>,
    pub links: Links,
}

/// `links`: where the links of a notification lead.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Links {
    /// Our admin API as the readers of a notification reach it; without it there are no links to it.
    pub external_url: String,
    /// Of one trace, with `{trace_id}` in it; else the X-Ray console where there is a label `region`.
    pub trace: String,
}

impl Settings {
    /// Reads its keys from a component's section and leaves the others. Problems are reported to the section.
    pub fn read(section: &Section) -> Self {
        let intervals = intervals::read(section);
        let templates = Arc::new(Templates::read(section));
        let receivers = Receiver::read_all(section, &templates);
        let names: Vec<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        let known = Known {
            receivers: &names,
            intervals: &intervals,
        };
        let route = section
            .take("route")
            .filter(|route| !route.keys().is_empty() || !names.is_empty());
        let route = route.and_then(|route| Route::read(&route, &known));
        if route.is_none() && !names.is_empty() && !section.has("route") {
            section.error_at(
                "receivers",
                "without a `route` nobody is told: add one with a `receiver`",
            );
        }
        Self {
            route,
            inhibit: InhibitRule::read_all(section),
            silences: Silence::read_all(section),
            links: read_links(section),
            intervals,
            receivers,
            templates,
        }
    }

    /// The names that an escalation may lead to.
    pub fn receiver_names(&self) -> impl Iterator<Item = &str> {
        self.receivers.iter().map(|receiver| receiver.name.as_str())
    }

    /// The receiver of a name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// An outlet by its id, with the receiver it belongs to.
    pub fn out(&self, id: &str) -> Option<(&Receiver, &Out)> {
        let all = self.receivers.iter();
        let mut all = all.flat_map(|receiver| receiver.outs.iter().map(move |out| (receiver, out)));
        all.find(|(_, out)| out.id == id)
    }
}

fn read_links(section: &Section) -> Links {
    let Some(section) = section.take("links") else {
        return Links::default();
    };
    let mut links: Links = section.read().unwrap_or_default();
    for (key, url) in [("external_url", &links.external_url), ("trace", &links.trace)] {
        let is_url = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !url.is_empty() && !is_url {
            section.error_at(key, "must be a URL that begins with http:// or https://");
        }
    }
    if !links.trace.is_empty() && !links.trace.contains("{trace_id}") {
        section.error_at("trace", "must have {trace_id} where the id of the trace belongs");
    }
    links
        .external_url
        .truncate(links.external_url.trim_end_matches('/').len());
    links
}
