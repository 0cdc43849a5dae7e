//! Cursors as bytes in the state of the process: for each receiver, account and region 64 chunks of series, written in
//! one transaction a cycle.
//!
//! A chunk is `version, saved_at, entries`; an entry is the series' identity, its cursor, its gaps, its running sum where
//! output is cumulative, and a hash of every emitted minute that may still change. All numbers are little-endian.
//! Beside them stands how late the values of each namespace are. Whatever cannot be read is as if it were not there.

use std::collections::HashMap;

use super::history::{Saved, Tail};
use super::lag::Lag;
use super::tracks::{Kept, Running};
use crate::component::{StateChange, StateError, StateStore};

/// The space in the state.
pub const SPACE: &str = "cloudwatch.cursors";
const VERSION: u8 = 1;
const CHUNKS: u64 = 64;
/// More than this for one series is no entry of ours.
const MOST: usize = 100_000;

const RUNNING: u8 = 1;

/// Where the cursors of one receiver, account and region stand.
#[derive(Clone, Debug)]
pub struct Cursors {
    prefix: Vec<u8>,
    /// A hash of what each chunk holds on the disk.
    written: HashMap<u8, u64>,
    /// When the lags were written last, unix seconds.
    lags_written: i64,
}

/// Lags are written no more often: they are learned over a day.
const LAGS_EVERY_S: i64 = 900;

/// What an earlier process kept.
#[derive(Debug, Default)]
pub struct Restored {
    pub series: HashMap<u64, Kept>,
    /// When the oldest chunk was written, unix seconds.
    pub saved_at: i64,
    /// Since when the receiver has been reading here, unix seconds.
    pub start: i64,
    /// How late values are, by namespace.
    pub lags: Vec<(String, Lag)>,
}

impl Cursors {
    pub fn new(receiver: &str, account: &str, region: &str) -> Self {
        Self {
            prefix: format!("{receiver}\0{account}\0{region}\0").into_bytes(),
            written: HashMap::new(),
            lags_written: 0,
        }
    }

    fn lag_key(&self, namespace: &str) -> Vec<u8> {
        let mut key = self.key(LAG);
        key.extend_from_slice(namespace.as_bytes());
        key
    }

    /// The changes that keep how late values are; none where that was done lately, unless it is the `last` chance.
    pub fn lag_changes<'a>(
        &mut self,
        lags: impl Iterator<Item = (&'a str, &'a Lag)>,
        now: i64,
        last: bool,
    ) -> Vec<StateChange> {
        if !last && now - self.lags_written < LAGS_EVERY_S {
            return Vec::new();
        }
        self.lags_written = now;
        lags.map(|(namespace, lag)| StateChange::put(SPACE, self.lag_key(namespace), lag.to_bytes()))
            .collect()
    }

    fn key(&self, chunk: u8) -> Vec<u8> {
        let mut key = self.prefix.clone();
        key.push(chunk);
        key
    }

    /// What is there; `None` where nothing is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn load(&self, store: &dyn StateStore) -> Result<Option<Restored>, StateError> {
        let mut restored = Restored {
            saved_at: i64::MAX,
            ..Restored::default()
        };
        let start = store.get(SPACE, &self.key(START))?;
        store.scan(SPACE, &self.prefix, &mut |key, value| {
            let chunk = key.strip_prefix(self.prefix.as_slice());
            if chunk.is_some_and(|chunk| chunk.len() == 1 && u64::from(chunk[0]) < CHUNKS)
                && let Some((saved_at, entries)) = read_chunk(value)
            {
                restored.saved_at = restored.saved_at.min(saved_at);
                restored.series.extend(entries);
            }
            let namespace = chunk.and_then(|rest| std::str::from_utf8(rest.strip_prefix(&[LAG])?).ok());
            if let Some((namespace, lag)) = namespace.zip(Lag::from_bytes(value)) {
                restored.lags.push((namespace.to_owned(), lag));
            }
            true
        })?;
        let Some(start) = start.as_deref().and_then(|bytes| Reader(bytes).u32()) else {
            return Ok(None);
        };
        restored.start = i64::from(start);
        Ok(Some(restored))
    }

    /// The changes that bring the state to `series` as of `now`; chunks that have not changed are left out.
    pub fn changes(&mut self, series: impl Iterator<Item = (u64, Kept)>, start: i64, now: i64) -> Vec<StateChange> {
        let mut chunks: Vec<Vec<u8>> = vec![Vec::new(); CHUNKS as usize];
        for (identity, kept) in series {
            if let Some(chunk) = chunks.get_mut((identity % CHUNKS) as usize) {
                write_entry(identity, &kept, chunk);
            }
        }
        let mut changes = Vec::new();
        for (number, entries) in chunks.into_iter().enumerate() {
            let number = number as u8;
            let hash = xxhash_rust::xxh3::xxh3_64(&entries);
            let known = self.written.insert(number, hash);
            if known == Some(hash) || (known.is_none() && entries.is_empty()) {
                continue;
            }
            let mut value = vec![VERSION];
            value.extend_from_slice(&short(now).to_le_bytes());
            value.extend_from_slice(&entries);
            changes.push(StateChange::put(SPACE, self.key(number), value));
        }
        if !changes.is_empty() {
            changes.push(StateChange::put(SPACE, self.key(START), short(start).to_le_bytes()));
        }
        changes
    }

    /// The last changes did not get through: everything is written again.
    pub fn failed(&mut self) {
        self.written.clear();
    }

    /// Forgets what is there.
    pub fn clear(&self) -> Vec<StateChange> {
        // How late values are stays true.
        let numbers = (0..CHUNKS as u8).chain([START]);
        numbers
            .map(|number| StateChange::remove(SPACE, self.key(number)))
            .collect()
    }
}

/// The key behind the chunks that begins the keys of lags.
const LAG: u8 = 254;
/// The key behind the chunks that says since when the receiver reads.
const START: u8 = 255;

fn short(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

fn write_entry(identity: u64, kept: &Kept, into: &mut Vec<u8>) {
    into.extend_from_slice(&identity.to_le_bytes());
    into.extend_from_slice(&kept.saved.cursor.to_le_bytes());
    into.push(if kept.running.is_some() { RUNNING } else { 0 });
    if let Some(running) = &kept.running {
        for number in [running.start, running.until] {
            into.extend_from_slice(&short(number).to_le_bytes());
        }
        for number in [running.sum, running.count] {
            into.extend_from_slice(&number.to_le_bytes());
        }
    }
    // Half an hour of minutes fits; more than 65,535 is cut, and what is cut is at worst sent again.
    let pairs = |pairs: &[(u32, u32)], into: &mut Vec<u8>| {
        let count = u16::try_from(pairs.len()).unwrap_or(u16::MAX);
        into.extend_from_slice(&count.to_le_bytes());
        for (one, other) in pairs.iter().take(usize::from(count)) {
            into.extend_from_slice(&one.to_le_bytes());
            into.extend_from_slice(&other.to_le_bytes());
        }
    };
    pairs(&kept.saved.gaps, into);
    let tail: Vec<(u32, u32)> = kept.saved.tail.iter().map(|tail| (tail.at, tail.hash)).collect();
    pairs(&tail, into);
}

/// Reads numbers from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }

    fn pairs(&mut self) -> Option<Vec<(u32, u32)>> {
        let count = usize::from(self.take().map(u16::from_le_bytes)?);
        let mut pairs = Vec::with_capacity(count.min(MOST).min(self.0.len() / 8));
        for _ in 0..count {
            pairs.push((self.u32()?, self.u32()?));
        }
        Some(pairs)
    }
}

fn read_chunk(bytes: &[u8]) -> Option<(i64, Vec<(u64, Kept)>)> {
    let mut reader = Reader(bytes);
    if reader.u8()? != VERSION {
        return None;
    }
    let saved_at = i64::from(reader.u32()?);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        entries.push(read_entry(&mut reader)?);
    }
    Some((saved_at, entries))
}

fn read_entry(reader: &mut Reader<'_>) -> Option<(u64, Kept)> {
    let identity = reader.u64()?;
    let cursor = reader.u32()?;
    let running = if reader.u8()? & RUNNING != 0 {
        let (start, until) = (i64::from(reader.u32()?), i64::from(reader.u32()?));
        Some(Running {
            start,
            until,
            sum: reader.f64()?,
            count: reader.f64()?,
        })
    } else {
        None
    };
    let gaps = reader.pairs()?;
    let tail = reader.pairs()?;
    let saved = Saved {
        cursor,
        gaps: gaps.into_iter().filter(|(from, to)| from < to).collect(),
        tail: tail.into_iter().map(|(at, hash)| Tail { at, hash }).collect(),
    };
    Some((identity, Kept { saved, running }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::MemoryState;

    fn kept(cursor: u32) -> Kept {
        Kept {
            saved: Saved {
                cursor,
                gaps: vec![(60, 120)],
                tail: vec![Tail { at: 180, hash: 7 }],
            },
            running: Some(Running {
                start: 1,
                sum: 2.5,
                count: 3.0,
                until: 4,
            }),
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_what_has_not_changed_is_not_written_again() {
        let store = MemoryState::default();
        let mut cursors = Cursors::new("dynamodb", "1", "eu");
        assert!(cursors.load(&store).unwrap().is_none());
        let series = || [(3u64, kept(240)), (67, kept(300)), (9, Kept::default())].into_iter();
        store.commit(cursors.changes(series(), 50, 1_000)).unwrap();
        assert!(cursors.changes(series(), 50, 1_060).is_empty());
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!(restored.series, series().collect());
        assert_eq!((restored.saved_at, restored.start), (1_000, 50));
        let changed = [(3u64, kept(300)), (67, kept(300)), (9, Kept::default())].into_iter();
        assert_eq!(cursors.changes(changed, 50, 1_060).len(), 2, "one chunk and the start");
        assert!(
            Cursors::new("dynamodb/other", "1", "eu")
                .load(&store)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn how_late_values_are_is_kept_now_and_then() {
        let store = MemoryState::default();
        let mut cursors = Cursors::new("dynamodb", "1", "eu");
        let mut lag = Lag::default();
        lag.record(90, 10_000);
        let lags = || [("AWS/DynamoDB", &lag)].into_iter();
        store.commit(cursors.lag_changes(lags(), 10_000, false)).unwrap();
        assert!(cursors.lag_changes(lags(), 10_060, false).is_empty());
        assert_eq!(cursors.lag_changes(lags(), 10_060, true).len(), 1);
        let series = [(3u64, kept(240))].into_iter();
        store.commit(cursors.changes(series, 50, 10_060)).unwrap();
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!(restored.lags, [("AWS/DynamoDB".to_owned(), lag)]);
        assert_eq!(restored.series.len(), 1);
    }

    #[test]
    fn no_bytes_do_more_harm_than_being_nothing() {
        let mut whole = vec![VERSION, 1, 0, 0, 0];
        write_entry(3, &kept(240), &mut whole);
        for end in 0..whole.len() {
            let read = read_chunk(&whole[..end]);
            assert!(end == 5 || read.is_none(), "{end}");
        }
        let mut claims = whole.clone();
        let tail = claims.len() - 10;
        claims[tail..tail + 2].fill(0xff);
        assert!(read_chunk(&claims).is_none());
        assert_eq!(read_chunk(&whole).unwrap().1.len(), 1);
    }
}
