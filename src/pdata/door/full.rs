//! `check: full`: the walk to the bottom of everything that came in.

use bytes::Bytes;

use super::{Admitted, DoorError, DoorLimits, Utf8, empty, malformed};
use crate::pdata::{Batch, Parts, Signal};
use crate::wire::schema::{LOGS_REQUEST, METRICS_REQUEST, MessageSpec, TRACES_REQUEST};
use crate::wire::{DeepLimits, Fault, check_deep, count_in_metric, count_items, estimate_memory};

/// The table of a signal's Export request.
pub(in crate::pdata) fn request_spec(signal: Signal) -> &'static MessageSpec {
    match signal {
        Signal::Traces => &TRACES_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
        Signal::Logs => &LOGS_REQUEST,
    }
}

/// Bytes that an Export request would take in memory once decoded: payload and structs. One pass over the wire without
/// allocation, about what [`Check::Full`](super::Check::Full) costs. Stages that never decode are charged the payload only.
pub fn estimate_decoded(signal: Signal, request: &[u8]) -> usize {
    estimate_memory(request_spec(signal), request)
}

pub(super) fn check(admitted: &mut Admitted, limits: &DoorLimits) -> Result<(), DoorError> {
    let signal = admitted.batch.signal();
    let deep_limits = DeepLimits {
        max_nesting: limits.max_nesting,
        max_attributes: limits.max_attributes,
        max_key_bytes: limits.max_key_bytes,
        repair_utf8: limits.utf8 == Utf8::Replace,
    };
    let rejected = &mut admitted.rejected;
    let mut gone = 0;
    let mut on_bad_item = |fault: Fault, item: &[u8]| {
        let items = match signal {
            Signal::Metrics => count_in_metric(item).unwrap_or(0),
            Signal::Traces | Signal::Logs => 1,
        };
        gone += items;
        match fault {
            Fault::Malformed(_) => rejected.malformed += items,
            Fault::Utf8 => rejected.invalid_utf8 += items,
            Fault::TooManyAttributes | Fault::KeyTooLong | Fault::TooDeep => rejected.over_limit += items,
        }
    };
    let mut parts = Parts::new();
    let mut changed = false;
    let mut repaired = 0;
    for part in admitted.batch.parts() {
        let deep = check_deep(request_spec(signal), part, deep_limits, &mut on_bad_item)
            .map_err(|fault| refusal(signal, fault, limits))?;
        repaired += deep.repaired;
        match deep.bytes {
            Some(bytes) => {
                changed = true;
                parts.push(Bytes::from(bytes));
            }
            None => parts.push(part.clone()),
        }
    }
    admitted.rejected.repaired_strings += repaired;
    if !changed {
        return Ok(());
    }
    let origin = admitted.batch.origin().clone();
    let left = admitted.batch.items().saturating_sub(gone);
    let batch = Batch::from_parts(signal, parts, u32::try_from(left).unwrap_or(u32::MAX), origin);
    debug_assert_eq!(count_all(&batch), left, "the item count follows every edit");
    admitted.batch = if batch.wire_len() == 0 {
        empty(signal, batch.origin().clone())
    } else {
        batch
    };
    Ok(())
}

fn count_all(batch: &Batch) -> usize {
    let level = batch.signal().item_level();
    let parts = batch.clone().into_parts();
    parts.iter().map(|part| count_items(part, level).unwrap_or(0)).sum()
}

/// A fault outside any item, or of the nesting, refuses the request.
fn refusal(signal: Signal, fault: Fault, limits: &DoorLimits) -> DoorError {
    match fault {
        Fault::Malformed(error) => malformed(signal, "a resource or scope", error),
        Fault::Utf8 => DoorError::Utf8,
        Fault::TooManyAttributes => DoorError::TooManyAttributes {
            limit: limits.max_attributes,
        },
        Fault::KeyTooLong => DoorError::KeyTooLong {
            limit: limits.max_key_bytes,
        },
        Fault::TooDeep => DoorError::TooDeep {
            limit: limits.max_nesting,
        },
    }
}
