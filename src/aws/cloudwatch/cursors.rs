//! Cursors as bytes in the state of the process, one transaction a cycle.
//!
//! Series stand in 64 chunks by their identity. A cycle writes the series that have changed since the last one (its
//! *step*) and one of the chunks whole, in turn: after 64 cycles every chunk is newer than the oldest step, whose place
//! the next step takes. So a cycle costs what has changed, and a start reads chunks, then what later steps say. All
//! chunks are written at once where that is less: at first, after a failure, and when most series have changed.
//!
//! A record is `version, saved_at, number of the cycle, entries`; an entry is the series' identity, its cursor, its gaps,
//! its running sum where output is cumulative, and a hash of every emitted minute that may still change. All numbers are
//! little-endian. Beside them stands how late the values of each namespace are. Whatever cannot be read is as if it were
//! not there.

use std::collections::HashMap;

use super::history::{Saved, Tail};
use super::lag::Lag;
use super::tracks::{Kept, Running};
use crate::component::{StateChange, StateError, StateStore};

/// The space in the state.
pub const SPACE: &str = "cloudwatch.cursors";
const VERSION: u8 = 2;
/// Chunks without the number of a cycle, and no steps.
const FIRST_VERSION: u8 = 1;
const CHUNKS: u32 = 64;
/// More than this for one series is no entry of ours.
const MOST: usize = 100_000;
/// Less than this is not worth being written in steps.
const SMALL_BYTES: usize = 64 * 1024;

const RUNNING: u8 = 1;

/// Where the cursors of one receiver, account and region stand.
#[derive(Clone, Debug)]
pub struct Cursors {
    prefix: Vec<u8>,
    /// The number of the last cycle that wrote.
    cycle: u32,
    /// All chunks are to be written: nothing is known of what the disk holds, or steps have grown too large.
    whole: bool,
    /// Bytes of all entries, and of the steps since all chunks were written.
    total: usize,
    stepped: usize,
    /// When the lags were written last, unix seconds.
    lags_written: i64,
}

/// Lags are written no more often: they are learned over a day.
const LAGS_EVERY_S: i64 = 900;

/// What an earlier process kept.
#[derive(Debug, Default)]
pub struct Restored {
    pub series: HashMap<u64, Kept>,
    /// When cursors were last written, unix seconds.
    pub saved_at: i64,
    /// Since when the receiver has been reading here, unix seconds.
    pub start: i64,
    /// How late values are, by namespace.
    pub lags: Vec<(String, Lag)>,
    /// The number of the last cycle that wrote.
    cycle: u32,
}

/// A series to be kept, and a hash of what was last written of it, 0 where nothing was.
pub struct Keeping<'a> {
    pub identity: u64,
    pub kept: Kept,
    pub written: &'a mut u32,
}

impl Cursors {
    pub fn new(receiver: &str, account: &str, region: &str) -> Self {
        Self {
            prefix: format!("{receiver}\0{account}\0{region}\0").into_bytes(),
            cycle: 0,
            whole: true,
            total: 0,
            stepped: 0,
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

    fn key(&self, number: u8) -> Vec<u8> {
        let mut key = self.prefix.clone();
        key.push(number);
        key
    }

    fn step_key(&self, cycle: u32) -> Vec<u8> {
        let mut key = self.key(STEP);
        key.push((cycle % CHUNKS) as u8);
        key
    }

    /// What is there; `None` where nothing is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn load(&self, store: &dyn StateStore) -> Result<Option<Restored>, StateError> {
        let mut restored = Restored::default();
        let mut written_in = [0; CHUNKS as usize];
        let mut steps = Vec::new();
        let start = store.get(SPACE, &self.key(START))?;
        store.scan(SPACE, &self.prefix, &mut |key, value| {
            match key.strip_prefix(self.prefix.as_slice()) {
                Some([chunk]) => {
                    if let Some(cycle) = written_in.get_mut(usize::from(*chunk))
                        && let Some(record) = read_record(value)
                    {
                        *cycle = record.cycle;
                        restored.cycle = restored.cycle.max(record.cycle);
                        restored.saved_at = restored.saved_at.max(record.saved_at);
                        restored.series.extend(record.entries);
                    }
                }
                Some([STEP, _]) => steps.extend(read_record(value)),
                Some([LAG, namespace @ ..]) => {
                    if let Some((namespace, lag)) = std::str::from_utf8(namespace).ok().zip(Lag::from_bytes(value)) {
                        restored.lags.push((namespace.to_owned(), lag));
                    }
                }
                _ => {}
            }
            true
        })?;
        steps.sort_by_key(|step| step.cycle);
        for step in steps {
            restored.cycle = restored.cycle.max(step.cycle);
            restored.saved_at = restored.saved_at.max(step.saved_at);
            for (identity, kept) in step.entries {
                if written_in[chunk_of(identity)] < step.cycle {
                    restored.series.insert(identity, kept);
                }
            }
        }
        let Some(start) = start.as_deref().and_then(|bytes| Reader(bytes).u32()) else {
            return Ok(None);
        };
        restored.start = i64::from(start);
        Ok(Some(restored))
    }

    /// What was read is what the disk holds: later cycles have later numbers.
    pub fn go_on(&mut self, restored: &Restored) {
        self.cycle = restored.cycle;
    }

    /// The changes that bring the state to `series` as of `now`; none where nothing has changed.
    pub fn changes<'a>(&mut self, series: impl Iterator<Item = Keeping<'a>>, start: i64, now: i64) -> Vec<StateChange> {
        let cycle = self.cycle.wrapping_add(1);
        let head = record_head(now, cycle);
        let turn = (cycle % CHUNKS) as usize;
        // `None`: not written in this cycle.
        let mut chunks: Vec<Option<Vec<u8>>> = (0..CHUNKS as usize)
            .map(|chunk| (self.whole || chunk == turn).then(|| head.to_vec()))
            .collect();
        let mut step = head.to_vec();
        let mut entry = Vec::new();
        let mut has_changed = false;
        self.total = 0;
        for Keeping {
            identity,
            kept,
            written,
        } in series
        {
            entry.clear();
            write_entry(identity, &kept, &mut entry);
            self.total += entry.len();
            // 0 stands for what was never written.
            let hash = (xxhash_rust::xxh3::xxh3_64(&entry) as u32).max(1);
            let changed = std::mem::replace(written, hash) != hash;
            has_changed |= changed;
            match chunks.get_mut(chunk_of(identity)) {
                Some(Some(chunk)) => chunk.extend_from_slice(&entry),
                _ if changed => step.extend_from_slice(&entry),
                _ => {}
            }
        }
        if !has_changed && !self.whole {
            return Vec::new();
        }
        self.cycle = cycle;
        let stepped = step.len();
        let mut changes = Vec::new();
        for (number, chunk) in chunks.into_iter().enumerate() {
            if let Some(chunk) = chunk {
                changes.push(StateChange::put(SPACE, self.key(number as u8), chunk));
            }
        }
        if self.whole {
            // Chunks that are newer than all steps make them waste.
            let steps = (0..CHUNKS).map(|cycle| self.step_key(cycle));
            changes.extend(steps.map(|key| StateChange::remove(SPACE, key)));
        }
        // Written where it is empty too: an older one of its place must not be taken for it.
        changes.push(StateChange::put(SPACE, self.step_key(cycle), step));
        changes.push(StateChange::put(SPACE, self.key(START), short(start).to_le_bytes()));
        self.stepped = if self.whole { 0 } else { self.stepped + stepped };
        let is_much = stepped > self.total / 2 || self.stepped > self.total;
        self.whole = is_much && self.total > SMALL_BYTES;
        changes
    }

    /// The last changes did not get through: everything is written again.
    pub fn failed(&mut self) {
        self.whole = true;
    }

    /// Forgets what is there.
    pub fn clear(&self) -> Vec<StateChange> {
        // How late values are stays true.
        let numbers = (0..CHUNKS as u8).chain([START]).map(|number| self.key(number));
        let keys = numbers.chain((0..CHUNKS).map(|cycle| self.step_key(cycle)));
        keys.map(|key| StateChange::remove(SPACE, key)).collect()
    }
}

fn chunk_of(identity: u64) -> usize {
    (identity % u64::from(CHUNKS)) as usize
}

/// The key behind the chunks that begins the keys of steps.
const STEP: u8 = 253;
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

/// Bytes before the entries.
const RECORD_HEAD: usize = 9;

fn record_head(now: i64, cycle: u32) -> [u8; RECORD_HEAD] {
    let mut head = [VERSION; RECORD_HEAD];
    head[1..5].copy_from_slice(&short(now).to_le_bytes());
    head[5..].copy_from_slice(&cycle.to_le_bytes());
    head
}

/// A chunk or a step.
struct Record {
    saved_at: i64,
    cycle: u32,
    entries: Vec<(u64, Kept)>,
}

fn read_record(bytes: &[u8]) -> Option<Record> {
    let mut reader = Reader(bytes);
    let version = reader.u8()?;
    let saved_at = i64::from(reader.u32()?);
    let cycle = match version {
        VERSION => reader.u32()?,
        FIRST_VERSION => 0,
        _ => return None,
    };
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        entries.push(read_entry(&mut reader)?);
    }
    Some(Record {
        saved_at,
        cycle,
        entries,
    })
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

    /// Series with what was written of them, as the receiver holds them.
    #[derive(Default)]
    struct Series(std::collections::BTreeMap<u64, (Kept, u32)>);

    impl Series {
        fn of(all: &[(u64, Kept)]) -> Self {
            Self(
                all.iter()
                    .map(|(identity, kept)| (*identity, (kept.clone(), 0)))
                    .collect(),
            )
        }

        fn set(&mut self, identity: u64, kept: Kept) {
            self.0.entry(identity).or_default().0 = kept;
        }

        fn keep(&mut self) -> impl Iterator<Item = Keeping<'_>> {
            self.0.iter_mut().map(|(identity, (kept, written))| Keeping {
                identity: *identity,
                kept: kept.clone(),
                written,
            })
        }

        fn all(&self) -> HashMap<u64, Kept> {
            self.0
                .iter()
                .map(|(identity, (kept, _))| (*identity, kept.clone()))
                .collect()
        }
    }

    fn three() -> Series {
        Series::of(&[(3, kept(240)), (67, kept(300)), (9, Kept::default())])
    }

    #[test]
    fn what_is_kept_comes_back_and_what_has_not_changed_is_not_written_again() {
        let store = MemoryState::default();
        let mut cursors = Cursors::new("dynamodb", "1", "eu");
        assert!(cursors.load(&store).unwrap().is_none());
        let mut series = three();
        store.commit(cursors.changes(series.keep(), 50, 1_000)).unwrap();
        assert!(cursors.changes(series.keep(), 50, 1_060).is_empty());
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!(restored.series, series.all());
        assert_eq!((restored.saved_at, restored.start), (1_000, 50));
        series.set(3, kept(300));
        let changes = cursors.changes(series.keep(), 50, 1_060);
        assert_eq!(changes.len(), 3, "the chunk whose turn it is, a step and the start");
        store.commit(changes).unwrap();
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!((restored.series, restored.saved_at), (series.all(), 1_060));
        assert!(
            Cursors::new("dynamodb/other", "1", "eu")
                .load(&store)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn whatever_changes_when_it_is_there_after_every_cycle_and_in_another_process() {
        let store = MemoryState::default();
        let mut cursors = Cursors::new("dynamodb", "1", "eu");
        let mut series = Series::default();
        let mut random = 7u64;
        for cycle in 0..400u32 {
            for _ in 0..5 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                series.set(random >> 52, kept(random as u32));
            }
            if cycle % 97 == 50 {
                // A write that fails, and one whose failure nobody saw the end of.
                let _lost = cursors.changes(series.keep(), 50, i64::from(cycle));
                cursors.failed();
            }
            if cycle % 131 == 100 {
                // Another process: it knows only what is there.
                cursors = Cursors::new("dynamodb", "1", "eu");
                let restored = cursors.load(&store).unwrap().unwrap();
                cursors.go_on(&restored);
                series = Series::of(&restored.series.into_iter().collect::<Vec<_>>());
            }
            store
                .commit(cursors.changes(series.keep(), 50, i64::from(cycle)))
                .unwrap();
            let read = Cursors::new("dynamodb", "1", "eu").load(&store).unwrap().unwrap();
            assert_eq!(read.series, series.all(), "cycle {cycle}");
            let mut bytes = 0;
            store
                .scan(SPACE, b"", &mut |_, value| {
                    bytes += value.len();
                    true
                })
                .unwrap();
            // Chunks, steps up to as much again, the last step and the heads.
            assert!(bytes < 4 * cursors.total + SMALL_BYTES, "{bytes} for {}", cursors.total);
        }
        store.commit(cursors.clear()).unwrap();
        assert!(cursors.load(&store).unwrap().is_none());
    }

    #[test]
    fn a_cycle_writes_what_has_changed_and_one_chunk() {
        let mut cursors = Cursors::new("dynamodb", "1", "eu");
        let mut series = Series::default();
        for identity in 0..64_000 {
            series.set(identity, kept(1));
        }
        let bytes = |change: &StateChange| match change {
            StateChange::Put { value, .. } => value.len(),
            StateChange::Remove { .. } => 0,
        };
        let written = |changes: &[StateChange]| changes.iter().map(bytes).sum::<usize>();
        let whole = written(&cursors.changes(series.keep(), 50, 1));
        for cycle in 2..200u32 {
            series.set(u64::from(cycle) * 31, kept(cycle));
            let few = written(&cursors.changes(series.keep(), 50, i64::from(cycle)));
            assert!(few < whole / 60, "{few} of {whole} in cycle {cycle}");
        }
    }

    #[test]
    fn chunks_of_the_first_version_are_read() {
        let store = MemoryState::default();
        let cursors = Cursors::new("dynamodb", "1", "eu");
        let mut chunk = vec![FIRST_VERSION, 232, 3, 0, 0];
        write_entry(3, &kept(240), &mut chunk);
        let changes = vec![
            StateChange::put(SPACE, cursors.key(3), chunk),
            StateChange::put(SPACE, cursors.key(START), 50u32.to_le_bytes()),
        ];
        store.commit(changes).unwrap();
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!((restored.saved_at, restored.series.len()), (1_000, 1));
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
        let mut series = Series::of(&[(3u64, kept(240))]);
        store.commit(cursors.changes(series.keep(), 50, 10_060)).unwrap();
        let restored = cursors.load(&store).unwrap().unwrap();
        assert_eq!(restored.lags, [("AWS/DynamoDB".to_owned(), lag)]);
        assert_eq!(restored.series.len(), 1);
    }

    #[test]
    fn no_bytes_do_more_harm_than_being_nothing() {
        let mut whole = vec![VERSION, 1, 0, 0, 0, 1, 0, 0, 0];
        write_entry(3, &kept(240), &mut whole);
        for end in 0..whole.len() {
            let read = read_record(&whole[..end]);
            assert!(end == RECORD_HEAD || read.is_none(), "{end}");
        }
        let mut claims = whole.clone();
        let tail = claims.len() - 10;
        claims[tail..tail + 2].fill(0xff);
        assert!(read_record(&claims).is_none());
        assert_eq!(read_record(&whole).unwrap().entries.len(), 1);
    }
}
