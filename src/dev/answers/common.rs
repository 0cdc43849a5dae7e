//! What all answers have in common: numbers as JSON carries them, the question, the head of a list.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dev::query::{Query, QueryError, Window, units};
use crate::dev::store::{Place, Segment, Store, Tombstone, TraceId, ValueKind};
use crate::pdata::Signal;

/// Nanoseconds: since the epoch, or of a duration. Decimal text in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ns(pub u64);

impl Serialize for Ns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Ns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Ns).map_err(serde::de::Error::custom)
    }
}

/// Nanoseconds that may be before another time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedNs(pub i64);

impl Serialize for SignedNs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A trace id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hex16(pub TraceId);

impl Serialize for Hex16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // No id is written as nothing.
        if self.0 == [0; 16] {
            return serializer.serialize_str("");
        }
        serializer.serialize_str(&hex::encode(self.0))
    }
}

/// A span id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hex8(pub u64);

impl Serialize for Hex8 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            return serializer.serialize_str("");
        }
        serializer.serialize_str(&hex::encode(self.0.to_be_bytes()))
    }
}

/// An attribute with its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attr {
    pub key: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: String,
}

/// Texts of attributes in lists; the detail of a span or log has them whole.
const LIST_TEXT: usize = 4 << 10;

impl Attr {
    /// The attributes of one place among these.
    pub fn of_pairs(segment: &Segment, pairs: &[u32], place: Place) -> Vec<Attr> {
        let pairs = pairs
            .iter()
            .map(|at| segment.pairs.get(*at))
            .filter(|pair| pair.place == place);
        pairs
            .map(|pair| Attr {
                key: segment.texts.get(pair.key).to_owned(),
                kind: pair.kind.name(),
                value: cut(segment.texts.get(pair.value), LIST_TEXT),
            })
            .collect()
    }

    /// From the wire.
    ///
    /// # Errors
    /// Where they are malformed.
    pub fn of_wire(attributes: crate::wire::Attributes<'_>) -> Result<Vec<Attr>, crate::wire::WireError> {
        let mut list = Vec::new();
        for attribute in attributes {
            let attribute = attribute?;
            let (kind, text): (ValueKind, _) = crate::dev::store::text_of(&attribute.value()?)?;
            list.push(Attr {
                key: attribute.key()?.lossy().into_owned(),
                kind: kind.name(),
                value: text.into_owned(),
            });
        }
        Ok(list)
    }
}

/// At most so many bytes of a text, whole characters, with `…` where something is missing.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// How much an answer may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub default: usize,
    pub most: usize,
}

/// A question as page, command line and MCP put it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub query: Query,
    pub window: Window,
    pub limit: usize,
    pub cursor: Option<String>,
    pub now: u64,
    /// Nothing is looked for after this.
    pub deadline: Option<tokio::time::Instant>,
}

impl Ask {
    /// Everything that fits a query.
    ///
    /// # Errors
    /// Where the text is no query.
    pub fn all(text: &str, limit: usize, now: u64) -> Result<Self, Failure> {
        Ok(Self {
            query: Query::parse(text, now)?,
            window: Window::ALL,
            limit,
            cursor: None,
            now,
            deadline: None,
        })
    }

    /// With a window as people write it.
    ///
    /// # Errors
    /// Where one of the times is none.
    pub fn within(mut self, from: Option<&str>, to: Option<&str>) -> Result<Self, Failure> {
        let time = |text: &str| {
            units::time(text, self.now)
                .ok_or_else(|| Failure::Bad(format!("not a time: {text:?}; -15m, RFC 3339, or unix seconds")))
        };
        let from = from.filter(|text| !text.is_empty()).map(time).transpose()?;
        let to = to.filter(|text| !text.is_empty()).map(time).transpose()?;
        self.window = Window {
            from: from.unwrap_or(0),
            to: to.unwrap_or(u64::MAX),
        };
        Ok(self)
    }

    /// Where a list goes on whose cursor is a number; a cursor of another list begins it anew.
    pub(super) fn offset(&self) -> usize {
        self.cursor
            .as_deref()
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0)
    }

    /// Whether the time for an answer is over.
    pub fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| tokio::time::Instant::now() >= deadline)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A parameter.
    #[error("{0}")]
    Bad(String),
    #[error("{0}")]
    Missing(String),
    /// The prefix of an id fits several.
    #[error("{prefix} is the beginning of {} ids", .candidates.len())]
    Ambiguous { prefix: String, candidates: Vec<String> },
}

/// What every list begins with.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    pub v: u8,
    /// All that fit, listed or not.
    pub total: u64,
    pub truncated: bool,
    pub cursor: Option<String>,
    pub window: WindowShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<Tombstone>,
}

/// The window that was looked at: what is stored, where none was asked for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WindowShown {
    pub from: Ns,
    pub to: Ns,
}

impl Head {
    /// For a list of `listed` of `total`.
    pub fn new(store: &Store, ask: &Ask, signal: Signal, total: u64, listed: usize) -> Self {
        let stored = store.span().unwrap_or((ask.now, ask.now));
        let from = if ask.window.from == 0 {
            stored.0
        } else {
            ask.window.from
        };
        let to = if ask.window.to == u64::MAX {
            ask.now.max(stored.1)
        } else {
            ask.window.to
        };
        let pruned = store.tombstones().touching(ask.window.from, ask.window.to);
        Self {
            v: 1,
            total,
            truncated: total > listed as u64,
            cursor: None,
            window: WindowShown {
                from: Ns(from),
                to: Ns(to),
            },
            empty: (total == 0).then(|| why_empty(store, ask, signal, &pruned)),
            pruned,
        }
    }
}

fn why_empty(store: &Store, ask: &Ask, signal: Signal, pruned: &[Tombstone]) -> String {
    if store.books(signal).received == 0 {
        return "nothing received".to_owned();
    }
    if let Some(stone) = pruned.last()
        && store.rows(signal) == 0
    {
        let at = jiff::Timestamp::from_nanosecond(i128::from(stone.at.0));
        return at.map_or("pruned".to_owned(), |at| {
            format!("pruned at {}", at.strftime("%H:%M:%S UTC"))
        });
    }
    let outside = store
        .span()
        .is_none_or(|(from, to)| to < ask.window.from || from >= ask.window.to);
    if outside { "outside the window" } else { "filtered" }.to_owned()
}
