//! PagerDuty's Events API v2: trigger, acknowledge, resolve; an incident an alert.

use http::HeaderMap;
use serde_json::{Map, Value as Json, json};

use super::super::config::PagerDutyOut;
use super::super::links;
use super::super::message::{Kind, Message};
use super::super::outbox::Failed;
use super::super::payload;
use super::super::rfc3339;
use super::super::state::Entry;
use super::super::template::Escape;
use super::http::Poster;
use super::{Common, Outlet, cut};
use crate::component::BoxFuture;

/// The longest summary and the longest key that it takes.
const MOST_SUMMARY: usize = 1_024;
const MOST_KEY: usize = 255;

/// See the module.
pub struct PagerDuty {
    poster: Poster,
    out: PagerDutyOut,
    common: Common,
}

impl PagerDuty {
    pub fn new(out: &PagerDutyOut, common: &Common) -> Self {
        Self {
            poster: Poster::new(&out.http, &common.context),
            out: out.clone(),
            common: common.clone(),
        }
    }

    async fn attempt(&self, entry: &Entry) -> Result<Option<String>, Failed> {
        let message = &entry.message;
        if !message.fires() {
            self.event("resolve", message, None).await?;
            return Ok(None);
        }
        self.event("trigger", message, Some(self.payload(message))).await?;
        if message.lines.iter().all(|line| !line.acknowledged_by.is_empty()) {
            self.event("acknowledge", message, None).await?;
        }
        Ok(None)
    }

    async fn event(&self, action: &str, message: &Message, payload: Option<Json>) -> Result<(), Failed> {
        let mut event = json!({
            "routing_key": self.out.routing_key.reveal(),
            "event_action": action,
            "dedup_key": dedup_key(message),
        });
        if let Some(payload) = payload {
            event["payload"] = payload;
            event["links"] = self.links(message);
            for (name, text) in [("client", &self.out.client), ("client_url", &self.out.client_url)] {
                let value = self.common.text(text, message, Escape::Plain);
                if !value.is_empty() {
                    event[name] = Json::from(value);
                }
            }
        }
        let body = event.to_string().into_bytes();
        self.poster
            .post(self.poster.uri.clone(), HeaderMap::new(), body)
            .await
            .map(|_| ())
    }

    fn payload(&self, message: &Message) -> Json {
        let text = |text| self.common.text(text, message, Escape::Plain);
        let own = text(&self.out.severity);
        let severity = match own.as_str() {
            "critical" | "error" | "warning" | "info" => own.as_str(),
            // As the rule has it.
            _ => severity_of(message),
        };
        let settings = &self.common.settings.links;
        let mut details = Map::new();
        for line in message.lines.iter().take(10) {
            let facts = &line.facts;
            let mut about = payload::details(line, &links::of(facts, settings));
            about["labels"] = Json::Object(
                facts
                    .labels
                    .iter()
                    .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
                    .collect(),
            );
            about["starts_at"] = Json::from(rfc3339(facts.starts_at));
            details.insert(format!("{} {:016x}", facts.name(), facts.fingerprint), about);
        }
        // Of one alert the details themselves.
        if details.len() == 1 {
            let only = details.into_iter().next();
            details = only
                .and_then(|(_, about)| about.as_object().cloned())
                .unwrap_or_default();
        }
        for (name, value) in &self.out.details {
            details.insert(name.clone(), Json::from(text(value)));
        }
        let mut payload = json!({
            "summary": cut(&text(&self.out.description), MOST_SUMMARY),
            "source": source(message),
            "severity": severity,
            "timestamp": rfc3339(message.lines.iter().map(|line| line.facts.starts_at).min().unwrap_or(0)),
            "custom_details": details,
        });
        for (name, given) in [
            ("class", &self.out.class),
            ("component", &self.out.component),
            ("group", &self.out.group),
        ] {
            let value = text(given);
            if !value.is_empty() {
                payload[name] = Json::from(value);
            }
        }
        payload
    }

    fn links(&self, message: &Message) -> Json {
        let mut shown = Vec::new();
        if let Some(line) = message.lines.first() {
            let links = links::of(&line.facts, &self.common.settings.links);
            let traces = links.traces.into_iter().take(3).map(|url| (url, "trace"));
            for (href, text) in [
                (links.console, "console"),
                (links.runbook, "runbook"),
                (links.silence, "silence"),
            ]
            .into_iter()
            .chain(traces)
            {
                if !href.is_empty() {
                    shown.push(json!({"href": href, "text": text}));
                }
            }
        }
        Json::Array(shown)
    }
}

/// An incident for an alert; a digest has one of its own.
fn dedup_key(message: &Message) -> String {
    match message.lines.first() {
        Some(line) if message.kind != Kind::Digest => format!("{:016x}", line.facts.fingerprint),
        _ => cut(
            &format!("radiosonde/{}/{}", message.receiver, message.group_key),
            MOST_KEY,
        ),
    }
}

fn severity_of(message: &Message) -> &'static str {
    let any = |severity: &str| {
        message
            .lines
            .iter()
            .any(|line| line.facts.fires() && line.facts.severity() == severity)
    };
    if any("critical") {
        "critical"
    } else if any("warning") {
        "warning"
    } else {
        "info"
    }
}

/// What it is about: the resource, as far as a label names one.
fn source(message: &Message) -> String {
    let labels = message.common(|facts| &facts.labels);
    for name in [
        "TableName",
        "EndpointName",
        "PipelineName",
        "service_name",
        "account_id",
    ] {
        let value = super::super::config::label(&labels, name);
        if !value.is_empty() {
            return value.to_owned();
        }
    }
    "radiosonde".to_owned()
}

impl Outlet for PagerDuty {
    fn send<'a>(&'a self, entry: &'a Entry, _place: Option<&'a str>) -> BoxFuture<'a, Result<Option<String>, Failed>> {
        Box::pin(self.attempt(entry))
    }
}
