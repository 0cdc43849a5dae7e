//! CloudWatch Logs: the events of a group in a range of time, page by page.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{JsonClient, request};

/// The operation.
pub const FILTER_LOG_EVENTS: &str = "FilterLogEvents";
/// Events of one page at most; a page ends at 1 MB too.
const PAGE: u32 = 10_000;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogEvent {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub message: String,
}

/// One page of events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogPage {
    pub events: Vec<LogEvent>,
    /// There is more, also behind a page without events.
    pub next_token: Option<String>,
}

/// The members of a request for one page: events from `from` (inclusive) to `to` (exclusive), unix seconds.
pub fn filter_log_events(group: &str, from: u64, to: u64, token: Option<&str>) -> Map<String, Value> {
    let mut members = request([
        ("logGroupName", json!(group)),
        ("startTime", json!(from.saturating_mul(1_000))),
        // AWS' end is inclusive.
        ("endTime", json!(to.saturating_mul(1_000).saturating_sub(1))),
        ("limit", json!(PAGE)),
    ]);
    if let Some(token) = token {
        members.insert("nextToken".to_owned(), json!(token));
    }
    members
}

impl JsonClient {
    /// One page, without waiting for its turn: callers send it through their own rate.
    ///
    /// # Errors
    /// As the service or the way to it says.
    pub fn log_page<'a>(
        &'a self,
        members: &'a Map<String, Value>,
    ) -> impl Future<Output = super::client::Sent<LogPage>> + Send + 'a {
        self.send::<LogPage>(FILTER_LOG_EVENTS, members)
    }
}
