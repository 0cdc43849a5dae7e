//! Protobuf without schema: varints, the field iterator, OTLP views, splicing.
//!
//! Knows neither tokio nor prost nor any other module of this crate. Nothing here allocates while reading, and no
//! input makes it panic: what is not well framed is a [`WireError`].
//!
//! Reading telemetry is one walk for all three signals, because their Export requests have one shape
//! (`opentelemetry/proto/collector/*/v1/*_service.proto`): field 1 resource groups; in each field 1 the resource,
//! field 2 scope groups; in each field 1 the scope, field 2 the items (spans, metrics, log records).
//!
//! ```
//! # use radiosonde::wire::{self, WireError};
//! fn count_errors(part: &[u8]) -> Result<usize, WireError> {
//!     let mut errors = 0;
//!     for resource in wire::resources(part) {
//!         for scope in resource?.scopes() {
//!             for span in scope?.spans() {
//!                 errors += usize::from(span?.status()?.code()? == 2);
//!             }
//!         }
//!     }
//!     Ok(errors)
//! }
//! ```
//!
//! Views read the last of a repeated scalar and merge a singular message that stands several times, as the protobuf
//! encoding says (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>). A view checks only what it reads:
//! an accessor's error says that the bytes it had to walk are malformed.

mod attributes;
mod count;
mod deep;
mod field;
mod group;
mod log;
mod metric;
mod pieces;
mod point;
pub mod schema;
mod span;
mod splice;
mod text;
mod value;
mod varint;
mod view;

#[cfg(test)]
mod tests;

pub use attributes::{AttributeList, SetMode};
pub use count::{ItemLevel, count_in_group, count_in_metric, count_in_scope, count_items};
pub use deep::{Deep, DeepLimits, Fault, check_deep, estimate_memory};
pub use field::{Field, FieldValue, Fields, WireError, WireType};
pub use group::{Resource, ResourceGroup, Scope, ScopeGroup, resources};
pub use log::LogRecord;
pub use metric::{Metric, MetricData, MetricKind};
pub use pieces::{Pieces, Repeated, View, range_in};
pub use point::{
    Buckets, Element, Exemplar, ExponentialHistogramPoint, HistogramPoint, Number, NumberPoint, Numbers, Point,
    QuantileValue, SummaryPoint, Varint,
};
pub use span::{Span, SpanEvent, SpanLink, Status};
pub use splice::{Record, Records, Splicer, len_field_len, put_len, put_len_header};
pub use text::Text;
pub use value::{Attributes, KeyValue, Value, Values};
pub use varint::{put_varint, read_varint, varint_len};
