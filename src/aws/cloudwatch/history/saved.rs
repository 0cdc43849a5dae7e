//! What of a series' past outlives the process: the cursor, the gaps, and of the minutes that may still change a hash of
//! what was emitted. With it a restart repeats nothing, and a change that happens across it is seen.

use xxhash_rust::xxh3::xxh3_64;

use super::{Fate, History, Minute, RUNNING, Values, short};

/// One emitted minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    pub at: u32,
    pub hash: u32,
}

/// A series as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    pub cursor: u32,
    pub gaps: Vec<(u32, u32)>,
    pub tail: Vec<Tail>,
}

/// Of the values of a minute. Equal values have equal hashes; that others have it too is as likely as one in four
/// thousand million.
pub(super) fn hash(values: &[f64]) -> u32 {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
    xxh3_64(&bytes) as u32
}

impl History {
    /// What to keep of it.
    pub fn save(&self) -> Saved {
        let done = self.minutes.iter().filter(|minute| minute.fate == Fate::Done);
        let tail = done.map(|minute| Tail {
            at: minute.at,
            hash: match &minute.values {
                Values::One(value) => hash(&[*value]),
                Values::Many(values) => hash(values),
                Values::Hash(hash) => *hash,
            },
        });
        Saved {
            cursor: self.cursor,
            gaps: self.gaps().to_vec(),
            tail: tail.collect(),
        }
    }

    /// Goes on from what was kept. `known_from`: before it nothing is known of what was emitted.
    pub fn restored(saved: &Saved, known_from: i64, period: i64) -> Self {
        let mut history = Self::starting(i64::from(saved.cursor), period);
        history.begin = short(known_from).min(history.cursor);
        history.gaps = saved.gaps.iter().copied().collect();
        history.minutes = saved
            .tail
            .iter()
            .map(|tail| Minute {
                at: tail.at,
                age: RUNNING,
                fate: Fate::Done,
                flags: 0,
                values: Values::Hash(tail.hash),
            })
            .collect();
        history.minutes.sort_by_key(|minute| minute.at);
        history.minutes.dedup_by_key(|minute| minute.at);
        history
    }
}
