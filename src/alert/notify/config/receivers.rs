//! `receivers`: named lists of outlets. Alertmanager's webhook, Slack, PagerDuty and SNS, and an Alertmanager itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::template::{Templates, Text};
use super::http::HttpTarget;
use crate::config::Section;
use crate::config::types::Secret;

/// Somebody who is told, by all outlets at once.
#[derive(Clone)]
pub struct Receiver {
    pub name: String,
    /// Who is told instead when an outlet refuses for good; else the receiver at the root of the routes.
    pub fallback: String,
    pub outs: Vec<Out>,
}

/// One way to tell somebody.
#[derive(Clone)]
pub struct Out {
    /// `receiver/kind/position`: what state and telemetry know it by.
    pub id: String,
    /// Whether it wants to know of an end.
    pub send_resolved: bool,
    pub target: Target,
}

/// Where an outlet leads.
#[derive(Clone)]
pub enum Target {
    Alertmanager(Box<AlertmanagerOut>),
    Webhook(Box<WebhookOut>),
    Slack(Box<SlackOut>),
    PagerDuty(Box<PagerDutyOut>),
    Sns(Box<SnsOut>),
}

/// One peer of an Alertmanager; each of a cluster is an outlet of its own.
#[derive(Clone)]
pub struct AlertmanagerOut {
    pub http: HttpTarget,
}

/// A webhook.
#[derive(Clone)]
pub struct WebhookOut {
    pub http: HttpTarget,
    /// 0: all.
    pub max_alerts: usize,
    /// Signs time and body.
    pub secret: Option<Secret>,
}

/// How Slack knows us.
#[derive(Clone)]
pub enum SlackAccess {
    /// An incoming webhook: messages are only added.
    Webhook,
    /// A bot: a message is edited in place.
    Bot(Secret),
}

/// A channel of Slack.
#[derive(Clone)]
pub struct SlackOut {
    pub http: HttpTarget,
    pub access: SlackAccess,
    pub channel: String,
    pub username: String,
    pub icon_emoji: String,
    pub icon_url: String,
    pub title: Text,
    pub title_link: Text,
    pub text: Text,
    pub color: Text,
}

/// A service of PagerDuty.
#[derive(Clone)]
pub struct PagerDutyOut {
    pub http: HttpTarget,
    pub routing_key: Secret,
    /// Proves that an acknowledgement comes from PagerDuty's webhook (version 3).
    pub webhook_secret: Option<Secret>,
    pub description: Text,
    pub severity: Text,
    pub client: Text,
    pub client_url: Text,
    pub class: Text,
    pub component: Text,
    pub group: Text,
    pub details: BTreeMap<String, Text>,
}

/// A topic, an endpoint or a telephone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnsTarget {
    Topic(String),
    Endpoint(String),
    Phone(String),
}

/// SNS.
#[derive(Clone)]
pub struct SnsOut {
    pub to: SnsTarget,
    pub subject: Text,
    pub message: Text,
    pub attributes: BTreeMap<String, String>,
    #[cfg(feature = "aws")]
    pub access: crate::aws::AccessSettings,
    #[cfg(feature = "aws")]
    pub place: crate::aws::Place,
}

impl SnsTarget {
    /// A FIFO topic wants a group and an id for deduplication.
    pub fn is_fifo(&self) -> bool {
        matches!(self, SnsTarget::Topic(arn) if arn.ends_with(".fifo"))
    }
}

impl Target {
    /// The word in `id` and in telemetry.
    pub fn kind(&self) -> &'static str {
        match self {
            Target::Alertmanager(_) => "alertmanager",
            Target::Webhook(_) => "webhook",
            Target::Slack(_) => "slack",
            Target::PagerDuty(_) => "pagerduty",
            Target::Sns(_) => "sns",
        }
    }

    /// It wakes people.
    pub fn is_pager(&self) -> bool {
        matches!(self, Target::PagerDuty(_))
    }

    /// It is told of each alert alone, not of a group.
    pub fn is_per_alert(&self) -> bool {
        matches!(self, Target::PagerDuty(_) | Target::Sns(_))
    }

    /// It is told again and again what fires, and groups and repeats by itself.
    pub fn is_synced(&self) -> bool {
        matches!(self, Target::Alertmanager(_))
    }

    /// It shows that somebody has taken an alert on.
    pub fn shows_acknowledgement(&self) -> bool {
        match self {
            Target::PagerDuty(_) => true,
            Target::Slack(slack) => matches!(slack.access, SlackAccess::Bot(_)),
            _ => false,
        }
    }
}

const NOT_BUILT: [&str; 9] = [
    "discord_configs",
    "email_configs",
    "msteams_configs",
    "opsgenie_configs",
    "pushover_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    name: String,
    fallback: String,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct OutKeys {
    send_resolved: Option<bool>,
}

impl Receiver {
    /// Reads `receivers`.
    pub fn read_all(section: &Section, templates: &Templates) -> Vec<Self> {
        let mut receivers: Vec<Self> = Vec::new();
        let list = section.take("receivers");
        let sections: Vec<Section> = list.iter().flat_map(Section::elements).collect();
        for one in &sections {
            if !one.require_map() {
                continue;
            }
            let keys: Keys = one.read().unwrap_or_default();
            if keys.name.is_empty() {
                one.error("a receiver needs a `name`");
            } else if receivers.iter().any(|have| have.name == keys.name) {
                one.error_at("name", format!("two receivers are called {:?}", keys.name));
            }
            receivers.push(Self {
                outs: read_outs(one, &keys.name, templates),
                name: keys.name,
                fallback: keys.fallback,
            });
        }
        for (receiver, one) in receivers.iter().zip(&sections) {
            let is_known = receivers.iter().any(|other| other.name == receiver.fallback);
            if !receiver.fallback.is_empty() && !is_known {
                one.error_at("fallback", format!("there is no receiver {:?}", receiver.fallback));
            }
        }
        receivers
    }
}

fn read_outs(section: &Section, receiver: &str, templates: &Templates) -> Vec<Out> {
    for key in NOT_BUILT {
        if section.take(key).is_some() {
            section.error_at(
                key,
                format!("`{key}` is not built; there are webhook, slack, pagerduty, sns and alertmanager"),
            );
        }
    }
    let mut outs = Vec::new();
    let mut add = |key: &str, read: &dyn Fn(&Section) -> Vec<Target>| {
        let mut position = 0;
        for one in section.take(key).iter().flat_map(Section::elements) {
            if !one.require_map() {
                continue;
            }
            let send_resolved = one.read::<OutKeys>().unwrap_or_default().send_resolved;
            for target in read(&one) {
                outs.push(Out {
                    id: format!("{receiver}/{}/{position}", target.kind()),
                    send_resolved: send_resolved.unwrap_or(true),
                    target,
                });
                position += 1;
            }
        }
    };
    add("webhook_configs", &|one| read_webhook(one).into_iter().collect());
    add("slack_configs", &|one| read_slack(one, templates).into_iter().collect());
    add("pagerduty_configs", &|one| {
        read_pagerduty(one, templates).into_iter().collect()
    });
    add("sns_configs", &|one| read_sns(one, templates).into_iter().collect());
    add("alertmanager_configs", &read_alertmanagers);
    outs
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct WebhookKeys {
    url: Secret,
    max_alerts: usize,
    secret: Option<Secret>,
}

fn read_webhook(section: &Section) -> Option<Target> {
    let keys: WebhookKeys = section.read()?;
    let http = HttpTarget::read(section, "url", keys.url.reveal())?;
    let secret = keys.secret;
    if secret.as_ref().is_some_and(|secret| secret.reveal().is_empty()) {
        section.error_at("secret", "is empty: leave it out, or give one");
    }
    Some(Target::Webhook(Box::new(WebhookOut {
        http,
        max_alerts: keys.max_alerts,
        secret,
    })))
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct AlertmanagerKeys {
    urls: Vec<String>,
}

/// Each peer is told of everything: a balancer before them would make one of them forget.
fn read_alertmanagers(section: &Section) -> Vec<Target> {
    let keys: AlertmanagerKeys = section.read().unwrap_or_default();
    if keys.urls.is_empty() {
        section.error("`urls` is missing: one for each peer, e.g. http://alertmanager-0:9093");
    }
    let mut targets = Vec::new();
    for (position, url) in keys.urls.iter().enumerate() {
        let slash = if url.ends_with('/') { "" } else { "/" };
        let url = format!("{url}{slash}api/v2/alerts");
        let http = HttpTarget::read(section, &format!("urls::{position}"), &url);
        targets.extend(http.map(|http| Target::Alertmanager(Box::new(AlertmanagerOut { http }))));
    }
    targets
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct SlackKeys {
    api_url: Secret,
    bot_token: Option<Secret>,
    channel: String,
    username: String,
    icon_emoji: String,
    icon_url: String,
    title: String,
    title_link: String,
    text: String,
    color: String,
}

impl Default for SlackKeys {
    fn default() -> Self {
        Self {
            api_url: Secret::default(),
            bot_token: None,
            channel: String::new(),
            username: String::new(),
            icon_emoji: String::new(),
            icon_url: String::new(),
            title: "{{ template \"radiosonde.title\" . }}".to_owned(),
            title_link: String::new(),
            text: "{{ template \"radiosonde.slack.text\" . }}".to_owned(),
            color: "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}".to_owned(),
        }
    }
}

fn read_slack(section: &Section, templates: &Templates) -> Option<Target> {
    let keys: SlackKeys = section.read()?;
    let (access, url) = match keys.bot_token {
        Some(token) => {
            if keys.channel.is_empty() {
                section.error("a bot needs a `channel`");
            }
            let own = keys.api_url.reveal();
            let url = if own.is_empty() { "https://slack.com/api/" } else { own };
            (SlackAccess::Bot(token), url.to_owned())
        }
        None => (SlackAccess::Webhook, keys.api_url.reveal().to_owned()),
    };
    let http = HttpTarget::read(section, "api_url", &url)?;
    let text = |key: &str, text: &str| templates.text(section, key, text);
    Some(Target::Slack(Box::new(SlackOut {
        http,
        access,
        channel: keys.channel,
        username: keys.username,
        icon_emoji: keys.icon_emoji,
        icon_url: keys.icon_url,
        title: text("title", &keys.title),
        title_link: text("title_link", &keys.title_link),
        text: text("text", &keys.text),
        color: text("color", &keys.color),
    })))
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct PagerDutyKeys {
    routing_key: Secret,
    webhook_secret: Option<Secret>,
    url: Secret,
    description: String,
    severity: String,
    client: String,
    client_url: String,
    class: String,
    component: String,
    group: String,
    details: BTreeMap<String, String>,
}

impl Default for PagerDutyKeys {
    fn default() -> Self {
        Self {
            routing_key: Secret::default(),
            webhook_secret: None,
            url: Secret::new("https://events.pagerduty.com/v2/enqueue"),
            description: "{{ template \"radiosonde.title\" . }}".to_owned(),
            severity: String::new(),
            client: "Radiosonde".to_owned(),
            client_url: "{{ .ExternalURL }}".to_owned(),
            class: String::new(),
            component: String::new(),
            group: String::new(),
            details: BTreeMap::new(),
        }
    }
}

fn read_pagerduty(section: &Section, templates: &Templates) -> Option<Target> {
    let keys: PagerDutyKeys = section.read()?;
    if section.take("service_key").is_some() {
        section.error_at(
            "service_key",
            "is of the first version of the API: use a `routing_key` of the second",
        );
    } else if keys.routing_key.reveal().is_empty() {
        section.error("`routing_key` is missing: that of an Events API v2 integration");
    }
    let http = HttpTarget::read(section, "url", keys.url.reveal())?;
    let text = |key: &str, text: &str| templates.text(section, key, text);
    let mut details = BTreeMap::new();
    for (name, value) in &keys.details {
        details.insert(name.clone(), text(&format!("details::{name}"), value));
    }
    Some(Target::PagerDuty(Box::new(PagerDutyOut {
        http,
        routing_key: keys.routing_key,
        webhook_secret: keys.webhook_secret.filter(|secret| !secret.reveal().is_empty()),
        description: text("description", &keys.description),
        severity: text("severity", &keys.severity),
        client: text("client", &keys.client),
        client_url: text("client_url", &keys.client_url),
        class: text("class", &keys.class),
        component: text("component", &keys.component),
        group: text("group", &keys.group),
        details,
    })))
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct SnsKeys {
    topic_arn: String,
    target_arn: String,
    phone_number: String,
    subject: String,
    message: String,
    attributes: BTreeMap<String, String>,
    api_url: String,
}

impl Default for SnsKeys {
    fn default() -> Self {
        Self {
            topic_arn: String::new(),
            target_arn: String::new(),
            phone_number: String::new(),
            subject: "{{ template \"radiosonde.title\" . }}".to_owned(),
            message: "{{ template \"radiosonde.text\" . }}".to_owned(),
            attributes: BTreeMap::new(),
            api_url: String::new(),
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct SigV4Keys {
    region: String,
    access_key: String,
    secret_key: Secret,
    profile: String,
    role_arn: String,
    external_id: String,
}

fn read_sns(section: &Section, templates: &Templates) -> Option<Target> {
    let keys: SnsKeys = section.read()?;
    let sigv4 = section.take("sigv4");
    let sign: SigV4Keys = sigv4.and_then(|section| section.read()).unwrap_or_default();
    let given = [
        ("topic_arn", keys.topic_arn.clone()),
        ("target_arn", keys.target_arn.clone()),
        ("phone_number", keys.phone_number.clone()),
    ];
    let mut given = given.into_iter().filter(|(_, value)| !value.is_empty());
    let (Some((kind, value)), None) = (given.next(), given.next()) else {
        section.error("exactly one of `topic_arn`, `target_arn` and `phone_number` says where to");
        return None;
    };
    let to = match kind {
        "topic_arn" => SnsTarget::Topic(value.clone()),
        "target_arn" => SnsTarget::Endpoint(value.clone()),
        _ => SnsTarget::Phone(value.clone()),
    };
    let of_arn = value.split(':').nth(3).filter(|_| value.starts_with("arn:"));
    if kind != "phone_number" && of_arn.is_none_or(str::is_empty) {
        section.error_at(
            kind,
            "must be an ARN with a region: arn:aws:sns:eu-central-1:123456789012:NAME",
        );
        return None;
    }
    let region = if sign.region.is_empty() {
        of_arn.unwrap_or_default()
    } else {
        &sign.region
    };
    let subject = templates.text(section, "subject", &keys.subject);
    let message = templates.text(section, "message", &keys.message);
    sns(section, keys, (to, subject, message), &sign, region.to_owned())
}

#[cfg(feature = "aws")]
fn sns(
    section: &Section,
    keys: SnsKeys,
    (to, subject, message): (SnsTarget, Text, Text),
    sign: &SigV4Keys,
    region: String,
) -> Option<Target> {
    use crate::aws::access::{AccountSettings, StaticCredentials, account_of_arn};
    use crate::aws::{AccessSettings, Place};

    if !sign.role_arn.is_empty() && account_of_arn(&sign.role_arn).is_none() {
        let message = "must be the ARN of a role: arn:aws:iam::123456789012:role/NAME";
        section.error_at("sigv4::role_arn", message);
    }
    let access = AccessSettings {
        regions: Some(region.clone())
            .into_iter()
            .filter(|region| !region.is_empty())
            .collect(),
        profile: sign.profile.clone(),
        endpoint: keys.api_url,
        credentials: (!sign.access_key.is_empty()).then(|| StaticCredentials {
            access_key_id: sign.access_key.clone(),
            secret_access_key: sign.secret_key.clone(),
            session_token: Secret::default(),
        }),
        ..AccessSettings::default()
    };
    let role = (!sign.role_arn.is_empty()).then(|| AccountSettings {
        role_arn: sign.role_arn.clone(),
        external_id: sign.external_id.clone(),
        ..AccountSettings::default()
    });
    Some(Target::Sns(Box::new(SnsOut {
        to,
        subject,
        message,
        attributes: keys.attributes,
        access,
        place: Place { role, region },
    })))
}

#[cfg(not(feature = "aws"))]
fn sns(section: &Section, _: SnsKeys, _: (SnsTarget, Text, Text), _: &SigV4Keys, _: String) -> Option<Target> {
    section.error("this build has no AWS: `sns_configs` needs the feature \"aws\"");
    None
}
