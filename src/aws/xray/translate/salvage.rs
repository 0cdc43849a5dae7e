//! What was wrong with a document, by reason.

/// Why a part of a document was lost or guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    Annotation,
    Aws,
    Cause,
    Depth,
    EndTime,
    FieldType,
    HttpStatus,
    Id,
    Link,
    Metadata,
    Name,
    Namespace,
    ParentId,
    StartTime,
    Subsegment,
    Text,
    TrailingData,
    UnknownKey,
}

impl Reason {
    /// Every reason, sorted by name.
    pub const ALL: [Reason; 18] = [
        Reason::Annotation,
        Reason::Aws,
        Reason::Cause,
        Reason::Depth,
        Reason::EndTime,
        Reason::FieldType,
        Reason::HttpStatus,
        Reason::Id,
        Reason::Link,
        Reason::Metadata,
        Reason::Name,
        Reason::Namespace,
        Reason::ParentId,
        Reason::StartTime,
        Reason::Subsegment,
        Reason::Text,
        Reason::TrailingData,
        Reason::UnknownKey,
    ];

    /// The `reason` label, and what stands in `aws.xray.salvaged`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Annotation => "annotation",
            Reason::Aws => "aws",
            Reason::Cause => "cause",
            Reason::Depth => "depth",
            Reason::EndTime => "end_time",
            Reason::FieldType => "field_type",
            Reason::HttpStatus => "http_status",
            Reason::Id => "id",
            Reason::Link => "link",
            Reason::Metadata => "metadata",
            Reason::Name => "name",
            Reason::Namespace => "namespace",
            Reason::ParentId => "parent_id",
            Reason::StartTime => "start_time",
            Reason::Subsegment => "subsegment",
            Reason::Text => "text",
            Reason::TrailingData => "trailing_data",
            Reason::UnknownKey => "unknown_key",
        }
    }
}

/// Why nothing of a document could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not JSON at all.
    NotJson,
    /// JSON, and neither an object nor an array of objects.
    NotADocument,
    /// Without a trace id nobody can tell what it belongs to.
    TraceId,
    /// Neither it nor anything inside it has an id.
    Id,
}

impl Rejected {
    /// Every one.
    pub const ALL: [Rejected; 4] = [
        Rejected::NotJson,
        Rejected::NotADocument,
        Rejected::TraceId,
        Rejected::Id,
    ];

    /// The `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            Rejected::NotJson => "not_json",
            Rejected::NotADocument => "not_a_document",
            Rejected::TraceId => "trace_id",
            Rejected::Id => "id",
        }
    }
}

/// What one call of [`super::Reader::segments`] could not take as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Each document of which nothing was usable.
    pub rejected: Vec<Rejected>,
    counts: [u32; Reason::ALL.len()],
    any: bool,
}

impl Salvaged {
    /// Adds one.
    pub fn count(&mut self, reason: Reason) {
        self.counts[reason as usize] += 1;
        self.any = true;
    }

    /// Adds a document of which nothing was usable.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rejected.push(rejected);
    }

    /// Nothing was wrong.
    pub fn is_clean(&self) -> bool {
        !self.any && self.rejected.is_empty()
    }

    /// The reasons that occurred and how often, sorted by name.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u32)> {
        let counts = Reason::ALL.into_iter().zip(self.counts);
        counts.filter(|(_, count)| self.any && *count > 0)
    }
}

/// The reasons of one span.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u8;
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let marked = Reason::ALL
            .into_iter()
            .filter(move |reason| self.0 & 1 << *reason as u8 != 0);
        marked.map(Reason::name)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_the_order_of_their_names_and_positions() {
        let names: Vec<&str> = Reason::ALL.into_iter().map(Reason::name).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(
            Reason::ALL
                .iter()
                .enumerate()
                .all(|(index, reason)| *reason as usize == index)
        );
    }
}
