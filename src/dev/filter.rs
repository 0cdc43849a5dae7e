//! The query language as a filter of what passes: each batch in a store of its own, for as long as that takes.

use std::collections::HashSet;

use super::answers::{Ask, find_rows};
use super::query::Query;
use super::store::Store;
use super::terminal::Wanted;
use crate::pdata::{Batch, Signal};

/// What lets a trace through: that one of its spans in a batch fits.
///
/// # Errors
/// Where the text is no query, with the place.
pub fn wanted(text: &str) -> Result<Wanted, String> {
    let store = Store::default();
    if let Err(error) = Query::parse(text, store.now()) {
        let suggestion = error.suggestion.as_deref().unwrap_or_default();
        return Err(format!(
            "{} (at character {}) {suggestion}",
            error.error,
            error.position + 1
        ));
    }
    let text = text.to_owned();
    Ok(Box::new(move |batch: &Batch| fitting(&text, batch)))
}

fn fitting(text: &str, batch: &Batch) -> HashSet<[u8; 16]> {
    let store = Store::default();
    store.take(batch.clone());
    let mut ids = HashSet::new();
    // It was read before: it is a query.
    let Ok(ask) = Ask::all(text, usize::MAX, store.now()) else {
        return ids;
    };
    let (found, _) = find_rows(&store, &store.snapshot(), &ask, Signal::Traces);
    for part in found {
        for row in part.rows.rows() {
            ids.insert(part.segment.trace(row));
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;
    use crate::pdata::Origin;

    #[test]
    fn only_traces_with_a_span_that_fits_come_through() {
        let span = |trace: u8, name: &str| Span {
            trace_id: vec![trace; 16],
            span_id: vec![trace; 8],
            name: name.to_owned(),
            ..Span::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: vec![span(1, "cart"), span(2, "quote")],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let bytes = request.encode_to_vec();
        let batch = Batch::from_wire(Signal::Traces, bytes.into(), 2, Arc::new(Origin::default()));
        let wanted = wanted("name=quote").unwrap();
        assert_eq!(wanted(&batch), HashSet::from([[2; 16]]));
        assert!(super::wanted("name=(").is_err());
    }
}
