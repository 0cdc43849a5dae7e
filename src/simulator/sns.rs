//! SNS, as far as a publisher sees it: `Publish`, with the deduplication of FIFO topics. Query protocol: form in, XML out.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::answer::{ApiError, Caller, escape};

/// Publications kept.
const KEPT: usize = 1_000;
/// Seconds in which a FIFO topic recognises a message.
const RECOGNISED: f64 = 300.0;
/// Bytes of a message with its attributes.
const LARGEST: usize = 256 * 1024;
const LONGEST_SUBJECT: usize = 100;

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Publication {
    /// ARN or telephone number.
    pub to: String,
    pub subject: String,
    /// Of a JSON structure the text of each protocol; else `default` alone.
    pub message: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, String>,
    pub group_id: String,
    pub deduplication_id: String,
    /// Simulated unix seconds.
    pub at: f64,
}

/// All topics.
#[derive(Default)]
pub struct Topics {
    kept: VecDeque<Publication>,
    numbered: u64,
}

impl Topics {
    /// Oldest first.
    pub fn kept(&self) -> Vec<Publication> {
        self.kept.iter().cloned().collect()
    }

    /// Answers `Publish` at `now` (unix seconds).
    pub fn publish(&mut self, caller: &Caller, form: &[(String, String)], now: f64) -> Result<String, ApiError> {
        let publication = read(caller, form, now)?;
        self.numbered += 1;
        let is_known = !publication.deduplication_id.is_empty()
            && self.kept.iter().any(|other| {
                other.to == publication.to
                    && other.deduplication_id == publication.deduplication_id
                    && now - other.at < RECOGNISED
            });
        if !is_known {
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(publication);
        }
        Ok(format!(
            "<PublishResponse xmlns=\"https://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>\
             00000000-0000-4000-8000-{:012}</MessageId></PublishResult><ResponseMetadata><RequestId>sim</RequestId>\
             </ResponseMetadata></PublishResponse>",
            self.numbered
        ))
    }
}

fn invalid(message: impl AsRef<str>) -> ApiError {
    ApiError::sender(
        "InvalidParameter",
        format!("Invalid parameter: {}", escape(message.as_ref())),
    )
}

fn read(caller: &Caller, form: &[(String, String)], now: f64) -> Result<Publication, ApiError> {
    let field = |name: &str| {
        let found = form.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let to: Vec<String> = ["TopicArn", "TargetArn", "PhoneNumber"]
        .iter()
        .map(|name| field(name))
        .filter(|value| !value.is_empty())
        .collect();
    let [to] = <[String; 1]>::try_from(to).map_err(|_| invalid("TopicArn or TargetArn Reason: no value"))?;
    if to.starts_with("arn:") && to.split(':').nth(3) != Some(caller.region.as_str()) {
        return Err(invalid("TopicArn"));
    }
    let (text, subject) = (field("Message"), field("Subject"));
    if text.is_empty() {
        return Err(invalid("Empty message"));
    }
    if text.len() > LARGEST {
        return Err(invalid("Message too long"));
    }
    let is_plain = subject.chars().all(|next| next.is_ascii() && !next.is_ascii_control());
    if subject.len() > LONGEST_SUBJECT || !is_plain {
        return Err(invalid("Subject"));
    }
    let (group_id, deduplication_id) = (field("MessageGroupId"), field("MessageDeduplicationId"));
    let is_fifo = to.ends_with(".fifo");
    if is_fifo && (group_id.is_empty() || deduplication_id.is_empty()) {
        return Err(invalid(
            "The MessageGroupId and MessageDeduplicationId parameters are required for FIFO topics",
        ));
    }
    if !is_fifo && to.starts_with("arn:") && !deduplication_id.is_empty() {
        return Err(invalid(
            "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
        ));
    }
    let message = if field("MessageStructure") == "json" {
        let read: BTreeMap<String, String> = serde_json::from_str(&text)
            .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
        if !read.contains_key("default") {
            return Err(invalid("Message Structure - No default entry in JSON message body"));
        }
        read
    } else {
        BTreeMap::from([("default".to_owned(), text)])
    };
    Ok(Publication {
        to,
        subject,
        message,
        attributes: attributes(form)?,
        group_id,
        deduplication_id,
        at: now,
    })
}

/// `MessageAttributes.entry.N.Name` and `.Value.StringValue`.
fn attributes(form: &[(String, String)]) -> Result<BTreeMap<String, String>, ApiError> {
    let mut found = BTreeMap::new();
    for (key, name) in form {
        let Some(entry) = key
            .strip_prefix("MessageAttributes.entry.")
            .and_then(|rest| rest.strip_suffix(".Name"))
        else {
            continue;
        };
        let wanted = format!("MessageAttributes.entry.{entry}.Value.StringValue");
        let value = form
            .iter()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.clone());
        let value = value.filter(|value| !value.is_empty());
        let value =
            value.ok_or_else(|| invalid(format!("The message attribute '{name}' must contain non-empty value")))?;
        found.insert(name.clone(), value);
    }
    Ok(found)
}
