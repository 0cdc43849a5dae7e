//! Which service a span belongs to, for subsegments that come without their segment.
//!
//! A table of fixed size in which the newer entry of two that fall on one slot stays: constant work a span, and as
//! forgetful as any bounded cache.

use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

/// Spans remembered, a second or two of a busy receiver.
const SLOTS: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Services(Mutex<Vec<Option<Entry>>>);

/// The hash of a trace and span, and the service.
type Entry = (u64, Arc<str>);

impl Services {
    pub(super) fn remember(&self, trace_id: &[u8; 16], span_id: &[u8], service: &Arc<str>) {
        let hash = hash(trace_id, span_id);
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        slots[hash as usize % SLOTS] = Some((hash, Arc::clone(service)));
    }

    pub(super) fn find(&self, trace_id: &[u8; 16], span_id: &[u8]) -> Option<Arc<str>> {
        let hash = hash(trace_id, span_id);
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, service) = slots.get(hash as usize % SLOTS)?.as_ref()?;
        (*found == hash).then(|| Arc::clone(service))
    }
}

fn hash(trace_id: &[u8; 16], span_id: &[u8]) -> u64 {
    let mut both = [0; 24];
    both[..16].copy_from_slice(trace_id);
    for (to, from) in both[16..].iter_mut().zip(span_id) {
        *to = *from;
    }
    xxh3_64(&both)
}
