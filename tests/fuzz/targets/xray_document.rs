//! Segment documents: no panic in either direction, times in order, ids of the right length, and what was translated and
//! put together again is a document that is translated to the same spans.

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use radiosonde::aws::xray::compose::{LARGEST_DOCUMENT, Options as Composing, documents};
use radiosonde::aws::xray::translate::{Compat, Options, Reader, Semconv, Spans};

const NOW: u64 = 1_700_000_000_000_000_000;

pub fn run(data: &[u8]) {
    let collector = Options {
        semconv: Semconv::Both,
        compat: Compat::Collector,
        keep_unknown: true,
        ..Options::default()
    };
    read(data, collector);
    let spans = read(data, Options::default());
    let composed = documents(&spans, &Composing::default());
    for composed in &composed.documents {
        assert!(composed.document.len() <= LARGEST_DOCUMENT);
        let mut again = Spans::default();
        let salvaged = Reader::new(Options::default()).segments(composed.document.as_bytes(), NOW, &mut again);
        assert!(salvaged.rejected.is_empty(), "{}", composed.document);
        assert_eq!(again.count(), 1, "{}", composed.document);
    }
}

fn read(data: &[u8], options: Options) -> Vec<ResourceSpans> {
    let collector = options.compat == Compat::Collector;
    let mut out = Spans::default();
    let reader = Reader::new(options);
    reader.segments(data, NOW, &mut out);
    out.drop_inferred();
    for document in &out.documents {
        for span in document.spans() {
            assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            assert!(matches!(span.parent_span_id.len(), 0 | 8));
            let open = collector && span.end_time_unix_nano == 0;
            assert!(open || span.start_time_unix_nano <= span.end_time_unix_nano);
            let mut keys: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            let all = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), all, "a key twice");
        }
    }
    out.documents
        .into_iter()
        .map(|document| document.resource_spans)
        .collect()
}
