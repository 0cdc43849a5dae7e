//! Resource groups and scope groups: the two levels above the items, alike in all signals.

use super::field::{last_len, last_varint};
use super::{Attributes, Fields, LogRecord, Metric, Pieces, Repeated, Span, Text, Value, View, WireError};

/// The resource groups of an Export request, or of a part of a batch.
pub fn resources(part: &[u8]) -> Repeated<'_, ResourceGroup<'_>> {
    Repeated::new(part, 1)
}

/// `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
#[derive(Clone, Copy, Debug)]
pub struct ResourceGroup<'a> {
    raw: &'a [u8],
}

impl<'a> View<'a> for ResourceGroup<'a> {
    #[inline]
    fn of(raw: &'a [u8]) -> Self {
        Self { raw }
    }
}

impl<'a> ResourceGroup<'a> {
    /// Its payload bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The resource; empty where none is written.
    ///
    /// # Errors
    /// Where the group is malformed.
    pub fn resource(&self) -> Result<Resource<'a>, WireError> {
        let pieces = Pieces::find(self.raw, 1)?.unwrap_or_default();
        Ok(Resource { pieces })
    }

    /// The scope groups.
    pub fn scopes(&self) -> Repeated<'a, ScopeGroup<'a>> {
        Repeated::new(self.raw, 2)
    }

    /// The schema URL of the resource.
    ///
    /// # Errors
    /// Where the group is malformed.
    pub fn schema_url(&self) -> Result<Text<'a>, WireError> {
        last_len(Fields::new(self.raw), 3).map(Text::new)
    }
}

/// `Resource`: who the telemetry is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resource<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Resource<'a> {
    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::in_pieces(self.pieces, 1)
    }

    /// The attribute with this key; see [`Attributes::get`].
    ///
    /// # Errors
    /// Where the bytes up to it are malformed.
    pub fn attribute(&self, key: &str) -> Result<Option<Value<'a>>, WireError> {
        self.attributes().get(key)
    }

    /// How many attributes the sender left out.
    ///
    /// # Errors
    /// Where the resource is malformed.
    pub fn dropped_attributes_count(&self) -> Result<u32, WireError> {
        last_varint(self.pieces, 2).map(|count| count as u32)
    }

    /// The message's pieces, for those who read other fields.
    pub fn pieces(&self) -> Pieces<'a> {
        self.pieces
    }
}

/// `ScopeSpans`, `ScopeMetrics` or `ScopeLogs`.
#[derive(Clone, Copy, Debug)]
pub struct ScopeGroup<'a> {
    raw: &'a [u8],
}

impl<'a> View<'a> for ScopeGroup<'a> {
    #[inline]
    fn of(raw: &'a [u8]) -> Self {
        Self { raw }
    }
}

impl<'a> ScopeGroup<'a> {
    /// Its payload bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The instrumentation scope; empty where none is written.
    ///
    /// # Errors
    /// Where the group is malformed.
    pub fn scope(&self) -> Result<Scope<'a>, WireError> {
        let pieces = Pieces::find(self.raw, 1)?.unwrap_or_default();
        Ok(Scope { pieces })
    }

    /// The payloads of the items, whatever the signal: spans, metrics or log records.
    pub fn items(&self) -> Repeated<'a, &'a [u8]> {
        Repeated::new(self.raw, 2)
    }

    /// The spans, where the signal is traces.
    pub fn spans(&self) -> Repeated<'a, Span<'a>> {
        Repeated::new(self.raw, 2)
    }

    /// The metrics, where the signal is metrics.
    pub fn metrics(&self) -> Repeated<'a, Metric<'a>> {
        Repeated::new(self.raw, 2)
    }

    /// The log records, where the signal is logs.
    pub fn log_records(&self) -> Repeated<'a, LogRecord<'a>> {
        Repeated::new(self.raw, 2)
    }

    /// The schema URL of scope and items.
    ///
    /// # Errors
    /// Where the group is malformed.
    pub fn schema_url(&self) -> Result<Text<'a>, WireError> {
        last_len(Fields::new(self.raw), 3).map(Text::new)
    }
}

/// `InstrumentationScope`: the library that made the items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Scope<'a> {
    /// The library's name.
    ///
    /// # Errors
    /// Where the scope is malformed; so for all below.
    pub fn name(&self) -> Result<Text<'a>, WireError> {
        last_len(self.pieces, 1).map(Text::new)
    }

    /// The library's version.
    ///
    /// # Errors
    /// As above.
    pub fn version(&self) -> Result<Text<'a>, WireError> {
        last_len(self.pieces, 2).map(Text::new)
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::in_pieces(self.pieces, 3)
    }

    /// The attribute with this key; see [`Attributes::get`].
    ///
    /// # Errors
    /// As above.
    pub fn attribute(&self, key: &str) -> Result<Option<Value<'a>>, WireError> {
        self.attributes().get(key)
    }

    /// How many attributes the sender left out.
    ///
    /// # Errors
    /// As above.
    pub fn dropped_attributes_count(&self) -> Result<u32, WireError> {
        last_varint(self.pieces, 4).map(|count| count as u32)
    }

    /// The message's pieces, for those who read other fields.
    pub fn pieces(&self) -> Pieces<'a> {
        self.pieces
    }
}
