//! What a durable queue is told, and where it keeps its log.

use std::path::PathBuf;
use std::time::Duration;

use crate::component::{BuildContext, Durability, Overflow, QueueSettings, Sizer};
use crate::pdata::Signal;

/// `max_bytes` where none is configured.
const MAX_BYTES: u64 = 2 << 30;
/// A queue has room for so many segments at least.
const SEGMENTS: u64 = 16;

/// Where a queue keeps its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Memory,
    /// In this directory, as safe as this.
    Log(PathBuf, Durability),
    /// The configuration wants a log and names no place for it.
    Nowhere,
}

/// Where the queue of `context` keeps its content: as `durability` says; unset, in a log where the queue names a storage
/// or the agent has a state directory.
pub fn place_for(context: &BuildContext, settings: &QueueSettings, signal: Signal) -> Place {
    let base = match (&settings.storage_dir, &context.state_dir) {
        (Some(storage), Some(state)) if storage.is_relative() => Some(state.join(storage)),
        (Some(storage), _) => Some(storage.clone()),
        (None, Some(state)) => Some(state.join("queue")),
        (None, None) => None,
    };
    let durability = settings.durability.unwrap_or(match base {
        Some(_) => Durability::Fsync,
        None => Durability::Memory,
    });
    match (durability, base) {
        (Durability::Memory, _) => Place::Memory,
        (_, None) => Place::Nowhere,
        (durability, Some(base)) => Place::Log(base.join(super::super::spill::stem_of(context, signal)), durability),
    }
}

/// A queue's settings, with all defaults of a log.
#[derive(Clone, Debug)]
pub struct DurableSettings {
    pub dir: PathBuf,
    pub durability: Durability,
    pub interval: Duration,
    pub sizer: Sizer,
    pub capacity: u64,
    pub max_bytes: u64,
    pub overflow: Overflow,
    pub wait_for_result: bool,
    /// Zero: for ever.
    pub max_age: Duration,
    pub segment_bytes: u64,
}

impl DurableSettings {
    /// Of a queue whose log is in `dir`.
    pub fn new(settings: &QueueSettings, dir: PathBuf, durability: Durability) -> Self {
        let max_bytes = settings.max_bytes.unwrap_or(MAX_BYTES);
        // The Collector's 1,000 requests are made for a queue in memory: here bytes are the bound unless one was set.
        let (sizer, capacity) = match settings.size_is_default {
            true => (Sizer::Bytes, max_bytes),
            false => (settings.sizer, settings.queue_size),
        };
        Self {
            dir,
            durability,
            interval: settings.interval,
            sizer,
            capacity,
            max_bytes,
            overflow: match settings.overflow {
                Overflow::Refuse if settings.block_on_overflow => Overflow::Block,
                overflow => overflow,
            },
            wait_for_result: settings.wait_for_result,
            max_age: settings.max_age,
            segment_bytes: (max_bytes / SEGMENTS).clamp(1 << 20, super::log::SEGMENT_BYTES),
        }
    }
}
