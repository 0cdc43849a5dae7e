//! Which spans of a trace have been handed on, in eight bytes: the xor of a hash of each span's id.
//!
//! When a trace grows, its present ids are known and the xor of those that were handed on: as long as the hashes are
//! linearly independent over GF(2) exactly one subset of them has that xor, and elimination finds it. 48 random hashes
//! of 64 bits are dependent once in 65,000 traces; that is noticed, and then everything is handed on again rather than
//! something lost. Larger traces keep their hashes in full.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Larger traces keep the hash of every span.
pub const MOST_FOLDED: usize = 48;

/// Of a trace: the key it is remembered by.
pub fn trace_key(id: &str) -> u64 {
    xxh3_64(id.to_ascii_lowercase().as_bytes())
}

/// Of a span within its trace. Ids are hashed because some senders count them up, which would make them dependent.
pub fn span_key(id: &[u8], version: u64) -> u64 {
    xxh3_64_with_seed(id, version)
}

/// Of a span of the log group, whose trace is not known as a whole.
pub fn logged_key(trace: &[u8], span: &[u8]) -> u64 {
    xxh3_64_with_seed(span, xxh3_64(trace))
}

/// What has been handed on of one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emitted {
    /// The xor of the keys.
    Folded(u64),
    /// The keys, sorted.
    Listed(Vec<u64>),
}

impl Default for Emitted {
    fn default() -> Self {
        Emitted::Folded(0)
    }
}

impl Emitted {
    /// What is to be remembered of these keys.
    pub fn of(keys: &[u64]) -> Self {
        if keys.len() <= MOST_FOLDED {
            return Emitted::Folded(keys.iter().fold(0, |sum, key| sum ^ key));
        }
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        Emitted::Listed(keys)
    }

    /// For each key whether it has been handed on; `None` where that cannot be told.
    pub fn among(&self, keys: &[u64]) -> Option<Vec<bool>> {
        match self {
            Emitted::Listed(known) => Some(keys.iter().map(|key| known.binary_search(key).is_ok()).collect()),
            Emitted::Folded(0) => Some(vec![false; keys.len()]),
            Emitted::Folded(sum) => solve(keys, *sum),
        }
    }
}

/// The subset of `keys` with this xor, if it is the only one.
fn solve(keys: &[u64], sum: u64) -> Option<Vec<bool>> {
    // One more than the bits there are is certainly dependent.
    if keys.len() > 64 {
        return None;
    }
    // By leading bit: a combination of keys, and which keys it is made of.
    let mut basis = [(0u64, 0u64); 64];
    for (position, key) in keys.iter().enumerate() {
        let (rest, members) = reduce(&basis, *key, 1 << position);
        if rest == 0 {
            return None;
        }
        basis[leading_bit(rest)] = (rest, members);
    }
    let (rest, members) = reduce(&basis, sum, 0);
    (rest == 0).then(|| (0..keys.len()).map(|position| members >> position & 1 == 1).collect())
}

fn reduce(basis: &[(u64, u64); 64], mut value: u64, mut members: u64) -> (u64, u64) {
    while value != 0 {
        let (combination, made_of) = basis[leading_bit(value)];
        if combination == 0 {
            break;
        }
        value ^= combination;
        members ^= made_of;
    }
    (value, members)
}

fn leading_bit(value: u64) -> usize {
    // Zero never comes here; it would be bit 0.
    63 - (value | 1).leading_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: u64, trace: u64) -> Vec<u64> {
        (1..=count)
            .map(|n| span_key(&(trace * 1_000 + n).to_be_bytes(), 0))
            .collect()
    }

    #[test]
    fn every_part_of_a_trace_is_found_again_in_eight_bytes() {
        let mut wrong = 0;
        for trace in 0..2_000u64 {
            let all = keys(1 + trace % 48, trace);
            let emitted: Vec<bool> = (0..all.len())
                .map(|n| (trace.wrapping_mul(0x9E37_79B9) >> (n % 32)) & 1 == 1)
                .collect();
            let part: Vec<u64> = all
                .iter()
                .zip(&emitted)
                .filter(|(_, emitted)| **emitted)
                .map(|(key, _)| *key)
                .collect();
            match Emitted::of(&part).among(&all) {
                Some(found) => assert_eq!(found, emitted, "trace {trace}"),
                None => wrong += 1,
            }
        }
        assert!(wrong <= 1, "{wrong} could not be told");
    }

    #[test]
    fn large_traces_are_listed_and_found() {
        let all = keys(300, 1);
        let emitted = Emitted::of(&all[..200]);
        let found = emitted.among(&all).unwrap();
        assert_eq!(found.iter().filter(|emitted| **emitted).count(), 200);
        assert!(found[..200].iter().all(|emitted| *emitted));
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let all = keys(5, 7);
        assert_eq!(Emitted::Folded(0x1234).among(&all), None);
        assert_eq!(Emitted::Folded(all[0]).among(&[all[0], all[0]]), None);
        assert_eq!(Emitted::Folded(all[0]).among(&keys(70, 3)), None);
    }
}
