//! What a segment holds in bytes, by what was allocated, and giving back what was kept for growing.

use super::segment::{EventEntry, LinkEntry, Segment};

impl Segment {
    pub(super) fn shrink(&mut self) {
        self.texts.shrink();
        self.pairs.shrink();
        self.traces.shrink_to_fit();
        self.spans.shrink_to_fit();
        self.parents.shrink_to_fit();
        self.starts.shrink_to_fit();
        self.durations.shrink_to_fit();
        self.names.shrink_to_fit();
        self.messages.shrink_to_fit();
        self.resource.shrink_to_fit();
        self.scope.shrink_to_fit();
        self.kinds.shrink_to_fit();
        self.statuses.shrink_to_fit();
        self.metric.shrink_to_fit();
        self.values.shrink_to_fit();
        self.arrivals.shrink_to_fit();
        self.attribute_ends.shrink_to_fit();
        self.attributes.shrink_to_fit();
        self.event_ends.shrink_to_fit();
        self.events.shrink_to_fit();
        self.links.shrink_to_fit();
        self.raw_at.shrink_to_fit();
        self.raw_len.shrink_to_fit();
    }

    /// Bytes held, by what was allocated.
    pub fn bytes(&self) -> usize {
        let wide = self.spans.capacity() + self.parents.capacity() + self.starts.capacity() + self.durations.capacity();
        let wide = wide + self.values.capacity() + self.arrivals.capacity();
        let four = self.names.capacity() + self.messages.capacity() + self.raw_at.capacity() + self.raw_len.capacity();
        let four = four + self.attribute_ends.capacity() + self.attributes.capacity() + self.event_ends.capacity();
        let four = four + self.posting_ends.capacity();
        let two = self.resource.capacity() + self.scope.capacity() + self.metric.capacity() + self.postings.capacity();
        let pointers = self.resources.capacity() + self.scopes.capacity() + self.metrics.capacity();
        size_of::<Self>()
            + self.texts.bytes()
            + self.pairs.bytes()
            + self.by_header.bytes()
            + self.entry_bytes
            + self.raw.bytes()
            + self.traces.capacity() * 16
            + wide * 8
            + four * 4
            + two * 2
            + self.kinds.capacity()
            + self.statuses.capacity()
            + pointers * 8
            + self.events.capacity() * size_of::<EventEntry>()
            + self.links.capacity() * size_of::<LinkEntry>()
    }
}
