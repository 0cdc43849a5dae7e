//! Until the door of `pdata` is here: requests are decoded once to be checked and counted. JSON is not built yet.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::settings::{Check, Utf8};
use crate::pdata::{Batch, Origin, Signal};

#[derive(Clone, Default)]
pub(super) struct DoorLimits {
    pub(super) check: Check,
    pub(super) utf8: Utf8,
}

#[derive(Default)]
pub(super) struct Rejected;

impl Rejected {
    pub(super) fn count(&self) -> usize {
        0
    }

    pub(super) fn has_message(&self) -> bool {
        false
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing rejected")
    }
}

pub(super) struct Admitted {
    pub(super) batch: Batch,
    pub(super) rejected: Rejected,
}

pub(super) fn at_door(
    signal: Signal,
    bytes: Bytes,
    _limits: &DoorLimits,
    origin: Arc<Origin>,
) -> Result<Admitted, String> {
    let mut decoded = Batch::from_wire(signal, bytes.clone(), 0, Arc::clone(&origin));
    decoded.decode().map_err(|error| error.to_string())?;
    decoded.recount();
    let items = u32::try_from(decoded.items()).unwrap_or(u32::MAX);
    Ok(Admitted {
        batch: Batch::from_wire(signal, bytes, items, origin),
        rejected: Rejected,
    })
}

pub(super) fn from_json(
    _signal: Signal,
    _bytes: &[u8],
    _limits: &DoorLimits,
    _origin: Arc<Origin>,
) -> Result<Admitted, String> {
    Err("OTLP/JSON is not built yet; send application/x-protobuf".to_owned())
}
