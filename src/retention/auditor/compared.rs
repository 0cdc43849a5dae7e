//! From a fetched trace to its spans: what X-Ray has, span by span, and the batch that an archive is given.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::aws::xray::api::fetch::Fetched;
use crate::aws::xray::translate::{Options, Reader, Spans};
use crate::pdata::Decoded;
use crate::retention::archive::span_xor;
use crate::retention::state::Facts;

/// Reads traces; reuse one for many.
pub struct Comparer {
    reader: Reader,
    spans: Spans,
}

/// A trace as X-Ray gave it.
pub struct Whole {
    pub facts: Facts,
    /// X-Ray held a part back.
    pub limit_exceeded: bool,
    pub resource_spans: Vec<ResourceSpans>,
}

impl Default for Comparer {
    fn default() -> Self {
        Self {
            reader: Reader::new(Options::default()),
            spans: Spans::default(),
        }
    }
}

impl Comparer {
    /// Spans without inferred ones, each once. `now_ns` stands in for times that nothing tells.
    pub fn read(&mut self, fetched: &Fetched, revision: Option<u32>, now_ns: u64) -> Whole {
        self.spans.documents.clear();
        for document in &fetched.documents {
            let _ = self.reader.segments(document.as_bytes(), now_ns, &mut self.spans);
        }
        let _ = self.spans.drop_inferred();
        let mut ids: Vec<[u8; 8]> = Vec::new();
        let mut in_progress = false;
        for document in &self.spans.documents {
            in_progress |= document.in_progress;
            let found = document
                .spans()
                .iter()
                .filter_map(|span| <[u8; 8]>::try_from(span.span_id.as_slice()).ok());
            ids.extend(found);
        }
        ids.sort_unstable();
        ids.dedup();
        let facts = Facts {
            spans: Some(u32::try_from(ids.len()).unwrap_or(u32::MAX)),
            span_xor: Some(span_xor(ids)),
            revision,
            in_progress,
            differs: false,
        };
        let documents = self.spans.documents.drain(..);
        Whole {
            facts,
            limit_exceeded: fetched.limit_exceeded,
            resource_spans: documents.map(|document| document.resource_spans).collect(),
        }
    }
}

/// What an archive is given.
pub fn request(resource_spans: Vec<ResourceSpans>) -> Decoded {
    Decoded::Traces(ExportTraceServiceRequest { resource_spans })
}
