//! Inferred segments: X-Ray makes them up for services that send nothing, from the subsegment that called them.

use std::collections::HashMap;

use super::attributes::Attributes;
use super::{DocumentKind, Spans};

impl Spans {
    /// Takes the inferred documents out, and tells each one's service and ARN to the span that it was inferred from.
    /// Gives how many there were.
    pub fn drop_inferred(&mut self) -> usize {
        let is_inferred = |kind| kind == DocumentKind::Inferred;
        if !self.documents.iter().any(|document| is_inferred(document.kind)) {
            return 0;
        }
        let mut services = HashMap::new();
        let before = self.documents.len();
        self.documents.retain_mut(|document| {
            if !is_inferred(document.kind) {
                return true;
            }
            let caller = document.spans().first().map(|span| span.parent_span_id.clone());
            if let (Some(caller), Some(service)) = (caller, document.inferred.take()) {
                services.insert((document.trace_id, caller), service);
            }
            false
        });
        for document in &mut self.documents {
            let trace_id = document.trace_id;
            for span in document.spans_mut() {
                let Some((origin, arn)) = services.get(&(trace_id, span.span_id.clone())) else {
                    continue;
                };
                let mut attributes = Attributes(std::mem::take(&mut span.attributes));
                for (key, value) in [("aws.xray.origin", origin), ("aws.xray.resource_arn", arn)] {
                    if !value.is_empty() {
                        attributes.text(key, value.clone());
                    }
                }
                span.attributes = attributes.0;
            }
        }
        before - self.documents.len()
    }
}
