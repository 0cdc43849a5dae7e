//! Silences: alerts that match are not told until a time. Always with an end, an author and a reason.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::super::Labels;
use super::matcher::{Matcher, all_match};
use crate::config::Section;

/// The longest: whoever wants more repeats it, and thinks again.
const LONGEST: u64 = 90 * 86_400 * 1_000_000_000;

/// A silence that has been checked.
#[derive(Clone, Debug)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    /// Nanoseconds since the epoch.
    pub starts_at: u64,
    pub ends_at: u64,
    pub created_by: String,
    pub comment: String,
}

/// A silence as it is written: in the configuration, in a request and in the state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SilenceRequest {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// As in a route: `severity="warning"`.
    pub matchers: Vec<String>,
    /// RFC 3339; now where it is empty.
    pub starts_at: String,
    pub ends_at: String,
    pub created_by: String,
    pub comment: String,
}

impl Silence {
    /// `silences` of the configuration.
    pub fn read_all(section: &Section) -> Vec<Self> {
        let mut silences = Vec::new();
        for one in section.take("silences").iter().flat_map(Section::elements) {
            if !one.require_map() {
                continue;
            }
            let request: SilenceRequest = one.read().unwrap_or_default();
            match Self::of(request, None) {
                // Of the same silence the same id: it is not another one after a reload.
                Ok(silence) => silences.push(silence),
                Err((key, reason)) => one.error_at(key, reason),
            }
        }
        silences
    }

    /// Checks a silence. `now`: where it has no start of its own.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn of(request: SilenceRequest, now: Option<u64>) -> Result<Self, (&'static str, String)> {
        let mut matchers = Vec::new();
        for text in &request.matchers {
            matchers.extend(Matcher::parse_all(text).map_err(|reason| ("matchers", reason))?);
        }
        let empty: Labels = Labels::new();
        if matchers.is_empty() || all_match(&matchers, &empty) {
            let reason = "at least one matcher must not match an alert without labels: nobody silences everything";
            return Err(("matchers", reason.to_owned()));
        }
        for (key, text) in [("created_by", &request.created_by), ("comment", &request.comment)] {
            if text.trim().is_empty() {
                return Err((key, format!("a silence must have a `{key}`: who silences, and why")));
            }
        }
        let starts_at = match (request.starts_at.as_str(), now) {
            ("", Some(now)) => now,
            // One of the configuration begins with the epoch: only its end counts.
            ("", None) => 0,
            (text, _) => nanos("starts_at", text)?,
        };
        let ends_at = nanos("ends_at", &request.ends_at)?;
        if ends_at <= starts_at {
            return Err(("ends_at", "the end must be behind the start".to_owned()));
        }
        if starts_at > 0 && ends_at - starts_at > LONGEST {
            return Err(("ends_at", "a silence lasts 90 days at most".to_owned()));
        }
        let mut silence = Self {
            id: request.id,
            matchers,
            starts_at,
            ends_at,
            created_by: request.created_by,
            comment: request.comment,
        };
        if silence.id.is_empty() {
            silence.id = silence.own_id();
        }
        Ok(silence)
    }

    /// An id that follows from what it says.
    fn own_id(&self) -> String {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for matcher in &self.matchers {
            hasher.update(matcher.to_string().as_bytes());
            hasher.update(&[0xff]);
        }
        for part in [&self.created_by, &self.comment] {
            hasher.update(part.as_bytes());
            hasher.update(&[0xff]);
        }
        hasher.update(&self.starts_at.to_le_bytes());
        hasher.update(&self.ends_at.to_le_bytes());
        format!("{:016x}", hasher.digest())
    }

    /// Whether it is on, and meant for an alert with these labels.
    pub fn covers(&self, labels: &Labels, now: u64) -> bool {
        self.starts_at <= now && now < self.ends_at && all_match(&self.matchers, labels)
    }

    /// As it is written.
    pub fn to_request(&self) -> SilenceRequest {
        SilenceRequest {
            id: self.id.clone(),
            matchers: self.matchers.iter().map(ToString::to_string).collect(),
            starts_at: super::super::rfc3339(self.starts_at),
            ends_at: super::super::rfc3339(self.ends_at),
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
        }
    }
}

fn nanos(key: &'static str, text: &str) -> Result<u64, (&'static str, String)> {
    let time: Option<Timestamp> = text.parse().ok();
    let nanos = time.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    nanos.ok_or_else(|| (key, format!("{text:?} is no time; write e.g. 2026-11-20T18:00:00Z")))
}
