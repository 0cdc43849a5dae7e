//! What a condition is evaluated on: the views of one item and of what stands above it.

use crate::component::Clock;
use crate::pdata::Origin;
use crate::wire;

/// One item with its surroundings. Cheap to make and to copy: nothing is read before a path asks for it.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub resource: wire::ResourceGroup<'a>,
    /// `None` while only the resource is judged.
    pub scope: Option<wire::ScopeGroup<'a>>,
    pub item: Item<'a>,
    /// Where the batch came from: `context.client...`.
    pub origin: &'a Origin,
    /// `Now()`.
    pub clock: &'a dyn Clock,
}

/// The innermost thing at hand.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// The resource or the scope itself.
    None,
    Span(wire::Span<'a>),
    SpanEvent {
        span: wire::Span<'a>,
        event: wire::SpanEvent<'a>,
        /// Its place among the events of the span.
        index: usize,
    },
    Metric(wire::Metric<'a>),
    DataPoint {
        metric: wire::Metric<'a>,
        point: wire::Point<'a>,
    },
    Log(wire::LogRecord<'a>),
}
