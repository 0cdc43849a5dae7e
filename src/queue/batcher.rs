//! `sending_queue::batch`: joins requests behind the queue, kept apart by metadata. Owned by one dispatcher.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::bounded::size_of;
use super::ticket::Piece;
use crate::component::QueueBatch;
use crate::pdata::Batch;

/// Pieces that will be sent together; or passes each on alone where nothing is to be batched.
pub struct Batcher {
    settings: Option<QueueBatch>,
    /// In the order in which they were opened, so that the first is the first to be flushed.
    partitions: VecDeque<Partition>,
    ready: VecDeque<Vec<Piece>>,
}

struct Partition {
    key: Vec<Vec<Box<str>>>,
    pieces: Vec<Piece>,
    size: u64,
    flush_at: Instant,
}

impl Batcher {
    /// `None`: each piece goes on its own.
    pub fn new(settings: Option<QueueBatch>) -> Self {
        Self {
            settings,
            partitions: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.ready.is_empty()
    }

    /// Takes a piece.
    pub fn add(&mut self, piece: Piece) {
        let Some(settings) = self.settings.clone() else {
            self.ready.push_back(vec![piece]);
            return;
        };
        let key = partition_key(&piece.batch, &settings.partition_keys);
        let found = self.partitions.iter().position(|partition| partition.key == key);
        let index = found.unwrap_or_else(|| {
            self.partitions.push_back(Partition::new(key, settings.flush_timeout));
            self.partitions.len() - 1
        });
        for piece in split(piece, &settings) {
            let size = size_of(&piece.batch, settings.sizer);
            let partition = &mut self.partitions[index];
            let would_overflow = settings.max_size > 0 && partition.size + size > settings.max_size;
            if would_overflow && !partition.pieces.is_empty() {
                self.ready.push_back(partition.take(settings.flush_timeout));
            }
            partition.pieces.push(piece);
            partition.size += size;
            if partition.size >= settings.min_size {
                self.ready.push_back(partition.take(settings.flush_timeout));
            }
        }
        if self.partitions[index].pieces.is_empty() {
            self.partitions.remove(index);
        }
    }

    /// What is full or has waited long enough; everything when `all`.
    pub fn take_ready(&mut self, all: bool) -> Option<Vec<Piece>> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        let now = Instant::now();
        let due = self
            .partitions
            .iter()
            .position(|partition| all || partition.flush_at <= now)?;
        self.partitions.remove(due).map(|partition| partition.pieces)
    }

    /// When something has waited long enough.
    pub fn next_flush(&self) -> Option<Instant> {
        self.partitions.iter().map(|partition| partition.flush_at).min()
    }
}

impl Partition {
    fn new(key: Vec<Vec<Box<str>>>, flush_timeout: Duration) -> Self {
        Self {
            key,
            pieces: Vec::new(),
            size: 0,
            flush_at: Instant::now() + flush_timeout,
        }
    }

    fn take(&mut self, flush_timeout: Duration) -> Vec<Piece> {
        self.size = 0;
        self.flush_at = Instant::now() + flush_timeout;
        std::mem::take(&mut self.pieces)
    }
}

fn partition_key(batch: &Batch, keys: &[String]) -> Vec<Vec<Box<str>>> {
    keys.iter()
        .map(|key| batch.origin().metadata_values(key).to_vec())
        .collect()
}

/// Pieces of at most `max_size` (an item larger than that stays whole).
fn split(piece: Piece, settings: &QueueBatch) -> Vec<Piece> {
    let size = size_of(&piece.batch, settings.sizer);
    if settings.max_size == 0 || size <= settings.max_size {
        return vec![piece];
    }
    super::split::by_size(piece, settings.sizer, settings.max_size)
}
