//! SNS: JSON for programs and text for people, in one message.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::json;
use tokio::sync::OnceCell;
use xxhash_rust::xxh3::Xxh3;

use super::super::config::{SnsOut, SnsTarget};
use super::super::message::Message;
use super::super::outbox::Failed;
use super::super::payload;
use super::super::state::Entry;
use super::super::template::Escape;
use super::{Common, Outlet, cut};
use crate::aws::{Access, Failure};
use crate::component::BoxFuture;

/// SNS takes 256 KiB for message and attributes together.
const MOST_BYTES: usize = 200 * 1024;
/// Characters of a subject, which are ASCII.
const MOST_SUBJECT: usize = 100;
/// Characters of one text message.
const MOST_SMS: usize = 140;

/// See the module.
pub struct Sns {
    out: SnsOut,
    common: Common,
    client: OnceCell<Client>,
}

impl Sns {
    pub fn new(out: &SnsOut, common: &Common) -> Self {
        Self {
            out: out.clone(),
            common: common.clone(),
            client: OnceCell::new(),
        }
    }

    async fn client(&self) -> &Client {
        let make = || async {
            let clock = std::sync::Arc::clone(&self.common.context.clock);
            let access = Access::load(self.out.access.clone(), clock).await;
            access.sns(&access.config(&self.out.place).await)
        };
        self.client.get_or_init(make).await
    }

    async fn attempt(&self, entry: &Entry) -> Result<Option<String>, Failed> {
        let message = &entry.message;
        let client = self.client().await;
        let mut request = client.publish();
        let subject = subject(&self.common.text(&self.out.subject, message, Escape::Plain));
        request = match &self.out.to {
            SnsTarget::Topic(arn) => request.topic_arn(arn),
            SnsTarget::Endpoint(arn) => request.target_arn(arn),
            SnsTarget::Phone(number) => request.phone_number(number),
        };
        request = match &self.out.to {
            SnsTarget::Phone(_) => request.message(cut(&subject, MOST_SMS)),
            _ => {
                let body = self.body(message, &subject);
                request.message(body).message_structure("json").subject(subject)
            }
        };
        for (name, value) in self.attributes(message) {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build();
            // Only the type is required, and it is there.
            if let Ok(value) = value {
                request = request.message_attributes(name, value);
            }
        }
        if self.out.to.is_fifo() {
            request = request
                .message_group_id(group_id(entry))
                .message_deduplication_id(deduplication_id(message));
        }
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => Err(judged(&Failure::of("sns:Publish", &error))),
        }
    }

    /// By protocol: JSON where a program reads, text where people do.
    fn body(&self, message: &Message, subject: &str) -> String {
        let links = &self.common.settings.links;
        let text = self.common.text(&self.out.message, message, Escape::Plain);
        let mut most = message.lines.len();
        loop {
            let json = payload::webhook(message, links, most).to_string();
            let body = json!({"default": json, "email": text, "sms": cut(subject, MOST_SMS)}).to_string();
            if body.len() <= MOST_BYTES || most <= 1 {
                return body;
            }
            most /= 2;
        }
    }

    /// What subscriptions can filter by.
    fn attributes(&self, message: &Message) -> Vec<(String, String)> {
        let common = message.common(|facts| &facts.labels);
        let label = |name| super::super::config::label(&common, name).to_owned();
        let own = [
            ("alertname", label("alertname")),
            ("severity", label("severity")),
            ("status", message.status().to_owned()),
            ("kind", message.kind.name().to_owned()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let given = self
            .out
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        // An attribute cannot be empty, and there are ten at most.
        own.chain(given)
            .filter(|(_, value)| !value.is_empty())
            .take(10)
            .collect()
    }
}

/// Messages of one group stay in order: those of an alert, or of the digests.
pub fn group_id(entry: &Entry) -> String {
    match entry.message.lines.as_slice() {
        [line] => format!("{:016x}", line.facts.fingerprint),
        _ => entry.lane.chars().filter(char::is_ascii_graphic).take(128).collect(),
    }
}

/// Fingerprint, beginning, state and step of every alert.
pub fn deduplication_id(message: &Message) -> String {
    let mut hasher = Xxh3::new();
    for line in &message.lines {
        hasher.update(&line.facts.fingerprint.to_le_bytes());
        hasher.update(&line.facts.starts_at.to_le_bytes());
        hasher.update(&[u8::from(line.facts.fires())]);
        hasher.update(&(message.step as u64).to_le_bytes());
    }
    format!("{:032x}", hasher.digest128())
}

/// ASCII without control characters, which is all that SNS takes.
fn subject(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|next| {
            if next.is_ascii() && !next.is_control() {
                next
            } else {
                ' '
            }
        })
        .collect();
    let plain = plain.trim();
    if plain.is_empty() {
        "alert".to_owned()
    } else {
        cut(plain, MOST_SUBJECT)
    }
}

fn judged(failure: &Failure) -> Failed {
    let why = failure.to_string();
    match failure {
        Failure::Refused { .. } => Failed::Refused { why },
        // Permissions and credentials are repaired without us; the message waits for that.
        _ => Failed::Retry { after: None, why },
    }
}

impl Outlet for Sns {
    fn send<'a>(&'a self, entry: &'a Entry, _place: Option<&'a str>) -> BoxFuture<'a, Result<Option<String>, Failed>> {
        Box::pin(self.attempt(entry))
    }
}
