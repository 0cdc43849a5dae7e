//! What an archive is asked: which traces it holds, how complete, for how long, and the traces themselves.
//!
//! Everything here reads. Archives are written by exporters, whose acknowledgement the ledger notes. A fact that could
//! not be read is [`Found::Unknown`] and never [`Found::Nothing`]: nobody may conclude a loss from a failed read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::aws::xray::ids;
use crate::component::{BoxFuture, UnixNanos};
use crate::pdata::Batch;

const DAY_SECONDS: u64 = 86_400;

/// 16 bytes, as in OTLP. Every other form (`tr-`, `1-8-24`, bare hex in any case) is normalised by [`TraceId::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

impl TraceId {
    /// Reads every form that an id is written in. `None`: it is none, or all zero.
    pub fn parse(text: &str) -> Option<Self> {
        ids::trace_id(text).map(Self)
    }

    /// What the ledger and manifests keep of an id. All 16 bytes count: ids born in X-Ray begin with a time.
    pub fn hash(self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }
}

/// 32 hex digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The ids of a trace's spans in one number: each counts once, the order does not matter. Whoever compares two of them
/// has to leave out repeated ids (a span that was delivered twice) first.
pub fn span_xor(ids: impl IntoIterator<Item = [u8; 8]>) -> u64 {
    ids.into_iter().fold(0, |xor, id| xor ^ u64::from_be_bytes(id))
}

/// A day of trace start, UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// The day that a moment lies in.
    pub fn of(at: UnixNanos) -> Self {
        Self(u32::try_from(at.seconds() / DAY_SECONDS).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn start(self) -> UnixNanos {
        UnixNanos::from_seconds(u64::from(self.0) * DAY_SECONDS)
    }

    /// The first moment of the next one.
    pub fn end(self) -> UnixNanos {
        UnixNanos::from_seconds((u64::from(self.0) + 1) * DAY_SECONDS)
    }

    /// Reads `2026-11-20`.
    pub fn parse(text: &str) -> Option<Self> {
        // The parser takes whole times, too.
        let date: jiff::civil::Date = if text.len() == 10 {
            text.parse().ok()?
        } else {
            return None;
        };
        let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
        Some(Self::of(UnixNanos::from_seconds(u64::try_from(start).ok()?)))
    }
}

/// `2026-11-20`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.start().seconds()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_second(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{}", at.strftime("%Y-%m-%d"))
    }
}

/// What an archive holds of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredCopy {
    /// Different spans; 0 is an empty copy.
    pub spans: u32,
    /// [`span_xor`] of their ids, where the archive knows it without reading the spans.
    pub span_xor: Option<u64>,
    /// X-Ray's revision of the trace that was copied.
    pub revision: Option<u32>,
    /// A span was still open when the copy was made.
    pub in_progress: bool,
    /// X-Ray held back a part of the trace.
    pub limit_exceeded: bool,
    /// When the archive lets it go, `None` = never. What should be gone already, whatever can still be read of it, is
    /// not reported as a copy.
    pub expires_at: Option<UnixNanos>,
}

/// The answer to one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was looked for and is not there.
    Nothing,
    Copy(StoredCopy),
    /// Could not be told, and why.
    Unknown(String),
}

/// Why a whole question failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("not allowed to read the archive: {0}")]
    Denied(String),
    #[error("the archive cannot be reached: {0}")]
    Unreachable(String),
    #[error("the budget is spent: {0}")]
    OverBudget(String),
    #[error("the archive holds what cannot be read: {0}")]
    Unreadable(String),
}

/// What reading cost so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// By operation (`Query`, `GetObject`) and outcome (`ok`, `throttled`, `denied`, `error`).
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
    /// DynamoDB read request units.
    pub read_units: f64,
}

/// The ids of a page, and where the next begins; `None` after the last.
pub type Page = (Vec<TraceId>, Option<String>);

/// The spans of a page, and where the next begins; `None` after the last.
pub type Batches = (Vec<Batch>, Option<String>);

/// A place that keeps copies of traces. Read-only.
pub trait Archive: Send + Sync {
    /// As metrics, states and messages name it.
    fn name(&self) -> &str;

    /// How long a copy written now is kept; `None` = for ever. Read before any trace is.
    fn lifetime(&self) -> BoxFuture<'_, Result<Option<Duration>, ArchiveError>>;

    /// One answer for each id, in order, for traces that began on `day`. Never fails as a whole: what could not be
    /// read is [`Found::Unknown`].
    fn probe<'a>(&'a self, day: Day, ids: &'a [TraceId]) -> BoxFuture<'a, Vec<Found>>;

    /// The spans of a trace; `None` = not here.
    fn read(&self, id: TraceId) -> BoxFuture<'_, Result<Option<Batch>, ArchiveError>>;

    /// Ids held for a day of trace start, page by page.
    fn list(&self, day: Day, page: Option<String>) -> BoxFuture<'_, Result<Page, ArchiveError>>;

    /// The spans held for a day of trace start, page by page. Archives that keep many traces in one object read each
    /// object once; a span that was stored twice comes twice.
    fn batches(&self, day: Day, page: Option<String>) -> BoxFuture<'_, Result<Batches, ArchiveError>> {
        Box::pin(async move {
            let (ids, next) = self.list(day, page).await?;
            let mut batches = Vec::with_capacity(ids.len());
            for id in ids {
                batches.extend(self.read(id).await?);
            }
            Ok((batches, next))
        })
    }

    /// What reading cost so far.
    fn spent(&self) -> Spent;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_id_is_one_id() {
        let forms = [
            "5759e988bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a994272793",
            "tr-5759E988bd862e3fe1be46a994272793",
        ];
        let ids: Vec<_> = forms.iter().map(|form| TraceId::parse(form).unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && id.hash() == ids[0].hash()));
        assert_eq!(ids[0].to_string(), forms[0]);
        assert_eq!(TraceId::parse("tr-5759"), None);
    }

    #[test]
    fn a_day_ends_where_the_next_begins_in_utc() {
        // 2026-11-20T23:59:59Z
        let last = UnixNanos::from_seconds(1_795_219_199);
        let day = Day::of(last);
        assert_eq!(day.to_string(), "2026-11-20");
        assert_eq!(Day::parse("2026-11-20"), Some(day));
        assert_eq!(Day::of(UnixNanos(last.0 + 1_000_000_000)), Day(day.0 + 1));
        assert_eq!(day.end(), Day(day.0 + 1).start());
        assert_eq!(Day::of(day.start()), day);
        for text in ["", "2026-13-01", "20.11.2026", "2026-11-20T01:00:00Z"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_ids_of_spans_make_one_number_in_any_order() {
        let ids = [[1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1]];
        let backwards = ids.iter().rev().copied();
        assert_eq!(span_xor(ids), span_xor(backwards));
        assert_ne!(span_xor(ids), span_xor([ids[0]]));
        assert_eq!(span_xor([]), 0);
    }
}
