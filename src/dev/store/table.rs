//! A hash table of numbers: positions of things that stand elsewhere, found by their hash. Holds four bytes an entry
//! and no keys, which the ordinary maps would keep a second time.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

/// See the module text. Cloning copies one list.
#[derive(Clone, Default)]
pub struct Table {
    /// Position plus one; 0 is free. As long as a power of two, or empty.
    slots: Vec<u32>,
    used: usize,
    state: RandomState,
}

impl Table {
    /// The hash of a key, for the other functions.
    pub fn hash<T: std::hash::Hash + ?Sized>(&self, key: &T) -> u64 {
        self.state.hash_one(key)
    }

    /// The position with this hash that `is_it` recognises.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                0 => return None,
                slot if is_it(slot - 1) => return Some(slot - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Puts a position in that is not there yet. `hash_of` tells the hash of those that are, should they have to move.
    pub fn insert(&mut self, hash: u64, position: u32, hash_of: impl Fn(&RandomState, u32) -> u64) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow(hash_of);
        }
        self.put(hash, position);
        self.used += 1;
    }

    fn put(&mut self, hash: u64, position: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = position + 1;
    }

    fn grow(&mut self, hash_of: impl Fn(&RandomState, u32) -> u64) {
        let larger = (self.slots.len() * 2).max(16);
        let before = std::mem::replace(&mut self.slots, vec![0; larger]);
        for slot in before {
            if slot != 0 {
                let hash = hash_of(&self.state, slot - 1);
                self.put(hash, slot - 1);
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * 4
    }
}
