//! What outlives the process: the cursor, and what has been handed on of the traces of the last week, in one redb file a
//! region. Cursor and traces change in one transaction.
//!
//! A trace is 18 bytes: a hash of its id, the xor of its spans (see `seen`), its revision. They lie in a table for each
//! day, so that a day that has passed is forgotten as a whole. Without a directory everything is kept in memory.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};

use super::seen::Emitted;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Traces to be fetched again: id to [`Due`].
const DUE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("due");

const FOLDED: &str = "folded/";
const LISTED: &str = "listed/";
/// Spans of the log group that were handed on, by day.
const SPANS: &str = "spans/";
const DAY_S: u64 = 86_400;
/// Bytes of pages kept in memory.
const CACHE: usize = 32 << 20;

/// Revisions from here on are not told apart.
pub const REVISION_UNKNOWN: u16 = u16::MAX;

/// Why the state could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[error("state of X-Ray: {0}")]
pub struct StateError(pub String);

impl<E: Into<redb::Error>> From<E> for StateError {
    fn from(error: E) -> Self {
        let error: redb::Error = error.into();
        Self(error.to_string())
    }
}

/// What is remembered of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub emitted: Emitted,
    pub revision: u16,
    /// Days since the epoch when it was first seen: where it is kept.
    pub day: u32,
}

/// Why and when a trace is fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Unix seconds.
    pub at: u64,
    /// Since when it has been waiting, unix seconds.
    pub since: u64,
    /// It has spans that are in progress; at `at` they are handed on as they are. Else BatchGetTraces did not process it.
    pub open: bool,
}

impl Due {
    fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.since.to_le_bytes());
        bytes[16] = u8::from(self.open);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |from: usize| Some(u64::from_le_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
        Some(Self {
            at: number(0)?,
            since: number(8)?,
            open: *bytes.get(16)? == 1,
        })
    }
}

/// One transaction.
#[derive(Debug, Default)]
pub struct Commit {
    /// `cursor` and other numbers by name.
    pub numbers: Vec<(&'static str, u64)>,
    pub traces: Vec<(u64, Known)>,
    /// `None`: not due any more.
    pub due: BTreeMap<String, Option<Due>>,
    /// Spans of the log group, by [`logged_key`](super::seen::logged_key), and the day they are remembered under.
    pub spans: (u32, Vec<u64>),
    /// Days before this one are forgotten.
    pub forget_before: u32,
    /// The same of spans.
    pub forget_spans_before: u32,
}

/// The file of one account and region.
pub struct State {
    database: Database,
    durable: bool,
}

impl State {
    /// Opens or creates the file; `None`: memory. A file that is no state is moved aside and a new one begun; the second
    /// value then says so.
    ///
    /// # Errors
    /// When it can be neither opened nor created.
    pub fn open(path: Option<&Path>) -> Result<(Self, Option<String>), StateError> {
        let Some(path) = path else {
            let database = Database::builder().create_with_backend(InMemoryBackend::new())?;
            return Ok((Self::prepared(database, false)?, None));
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StateError(format!("{}: {error}", folder.display())))?;
        }
        let create = || Database::builder().set_cache_size(CACHE).create(path);
        let damage = match create() {
            Ok(database) => return Ok((Self::prepared(database, true)?, None)),
            // Somebody has it, or the disk fails: that is no reason to forget anything.
            Err(error) if !is_damage(&error) => return Err(error.into()),
            Err(error) => error,
        };
        let aside = aside(path);
        if let Err(error) = std::fs::rename(path, &aside) {
            return Err(StateError(format!("{damage}, and it cannot be moved aside: {error}")));
        }
        let told = format!("{damage}; it was moved to {} and a new state begun", aside.display());
        Ok((Self::prepared(create()?, true)?, Some(told)))
    }

    fn prepared(database: Database, durable: bool) -> Result<Self, StateError> {
        let write = database.begin_write()?;
        write.open_table(META)?;
        write.open_table(DUE)?;
        write.commit()?;
        Ok(Self { database, durable })
    }

    /// Whether it is there after a crash.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// A number by name.
    pub fn number(&self, name: &str) -> Result<Option<u64>, StateError> {
        let table = self.database.begin_read()?.open_table(META)?;
        Ok(table.get(name)?.map(|value| value.value()))
    }

    /// Every trace that is due, those of the future too.
    pub fn due(&self) -> Result<BTreeMap<String, Due>, StateError> {
        let table = self.database.begin_read()?.open_table(DUE)?;
        let mut all = BTreeMap::new();
        for entry in table.iter()? {
            let (id, due) = entry?;
            if let Some(due) = Due::from_bytes(due.value()) {
                all.insert(id.value().to_owned(), due);
            }
        }
        Ok(all)
    }

    /// What is known of traces, in their order.
    pub fn known(&self, traces: &[u64]) -> Result<Vec<Option<Known>>, StateError> {
        let read = self.database.begin_read()?;
        let mut found = vec![None; traces.len()];
        // The newest day first: most traces that are seen again are young.
        for (day, is_folded) in self.days()?.into_iter().rev() {
            let name = table_name(is_folded, day);
            if is_folded {
                let table = read.open_table(folded(&name))?;
                for (key, slot) in traces.iter().zip(&mut found) {
                    if slot.is_none()
                        && let Some(value) = table.get(key)?
                    {
                        let (sum, revision) = value.value();
                        let emitted = Emitted::Folded(sum);
                        *slot = Some(Known { emitted, revision, day });
                    }
                }
            } else {
                let table = read.open_table(listed(&name))?;
                for (key, slot) in traces.iter().zip(&mut found) {
                    if let Some(value) = table.get(key)? {
                        let (keys, revision) = from_list(value.value());
                        let emitted = Emitted::Listed(keys);
                        *slot = Some(Known { emitted, revision, day });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Days that have tables; `true` for the folded ones, which come before the listed ones of the same day reversed.
    fn days(&self) -> Result<Vec<(u32, bool)>, StateError> {
        let read = self.database.begin_read()?;
        let mut days = Vec::new();
        for table in read.list_tables()? {
            let name = table.name();
            for (prefix, is_folded) in [(FOLDED, true), (LISTED, false)] {
                if let Some(day) = name.strip_prefix(prefix).and_then(|day| day.parse().ok()) {
                    days.push((day, is_folded));
                }
            }
        }
        days.sort_unstable();
        Ok(days)
    }

    fn span_days(&self) -> Result<Vec<u32>, StateError> {
        let read = self.database.begin_read()?;
        let names = read.list_tables()?;
        Ok(names
            .filter_map(|table| table.name().strip_prefix(SPANS)?.parse().ok())
            .collect())
    }

    /// Which spans of the log group have been handed on, in their order.
    pub fn known_spans(&self, spans: &[u64]) -> Result<Vec<bool>, StateError> {
        let read = self.database.begin_read()?;
        let mut known = vec![false; spans.len()];
        for day in self.span_days()? {
            let table = read.open_table(spans_of(&format!("{SPANS}{day}")))?;
            for (key, known) in spans.iter().zip(&mut known) {
                *known = *known || table.get(key)?.is_some();
            }
        }
        Ok(known)
    }

    /// Makes all of it, or nothing; on the disk when it returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        let gone = self.days()?.into_iter().filter(|(day, _)| *day < commit.forget_before);
        let gone: Vec<(u32, bool)> = gone.collect();
        let spans_gone = self.span_days()?;
        let write = self.database.begin_write()?;
        for day in spans_gone.into_iter().filter(|day| *day < commit.forget_spans_before) {
            write.delete_table(spans_of(&format!("{SPANS}{day}")))?;
        }
        let (day, spans) = &commit.spans;
        if !spans.is_empty() {
            let mut sorted = spans.clone();
            sorted.sort_unstable();
            let mut table = write.open_table(spans_of(&format!("{SPANS}{day}")))?;
            for key in sorted {
                table.insert(key, ())?;
            }
        }
        for (day, is_folded) in gone {
            let name = table_name(is_folded, day);
            if is_folded {
                write.delete_table(folded(&name))?;
            } else {
                write.delete_table(listed(&name))?;
            }
        }
        {
            let mut meta = write.open_table(META)?;
            for (name, value) in &commit.numbers {
                meta.insert(*name, *value)?;
            }
            let mut due = write.open_table(DUE)?;
            for (id, entry) in &commit.due {
                match entry {
                    Some(entry) => due.insert(id.as_str(), entry.to_bytes().as_slice())?,
                    None => due.remove(id.as_str())?,
                };
            }
        }
        let mut by_day: BTreeMap<u32, Vec<&(u64, Known)>> = BTreeMap::new();
        for trace in &commit.traces {
            by_day
                .entry(trace.1.day.max(commit.forget_before))
                .or_default()
                .push(trace);
        }
        for (day, mut traces) in by_day {
            // In the order of the keys: pages are written once.
            traces.sort_by_key(|(key, _)| *key);
            let (folded_name, listed_name) = (table_name(true, day), table_name(false, day));
            let mut short = write.open_table(folded(&folded_name))?;
            let has_long = traces
                .iter()
                .any(|(_, known)| matches!(known.emitted, Emitted::Listed(_)));
            let mut long = if has_long {
                Some(write.open_table(listed(&listed_name))?)
            } else {
                None
            };
            for (key, known) in traces {
                match &known.emitted {
                    Emitted::Folded(sum) => {
                        short.insert(key, (*sum, known.revision))?;
                    }
                    Emitted::Listed(keys) => {
                        short.remove(key)?;
                        if let Some(long) = &mut long {
                            long.insert(key, to_list(keys, known.revision).as_slice())?;
                        }
                    }
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Traces that are remembered.
    pub fn traces(&self) -> Result<u64, StateError> {
        let read = self.database.begin_read()?;
        let mut count = 0;
        for (day, is_folded) in self.days()? {
            let name = table_name(is_folded, day);
            count += match is_folded {
                true => read.open_table(folded(&name))?.len()?,
                false => read.open_table(listed(&name))?.len()?,
            };
        }
        Ok(count)
    }
}

/// The day of a moment (unix seconds).
pub fn day_of(at: u64) -> u32 {
    u32::try_from(at / DAY_S).unwrap_or(u32::MAX)
}

fn table_name(is_folded: bool, day: u32) -> String {
    format!("{}{day}", if is_folded { FOLDED } else { LISTED })
}

fn folded(name: &str) -> TableDefinition<'_, u64, (u64, u16)> {
    TableDefinition::new(name)
}

fn listed(name: &str) -> TableDefinition<'_, u64, &'static [u8]> {
    TableDefinition::new(name)
}

fn spans_of(name: &str) -> TableDefinition<'_, u64, ()> {
    TableDefinition::new(name)
}

fn to_list(keys: &[u64], revision: u16) -> Vec<u8> {
    let mut bytes = revision.to_le_bytes().to_vec();
    for key in keys {
        bytes.extend_from_slice(&key.to_le_bytes());
    }
    bytes
}

fn from_list(bytes: &[u8]) -> (Vec<u64>, u16) {
    let (revision, keys) = bytes.split_at(bytes.len().min(2));
    let revision = revision.try_into().map_or(REVISION_UNKNOWN, u16::from_le_bytes);
    let keys = keys
        .chunks_exact(8)
        .map(|key| key.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    (keys.collect(), revision)
}

fn is_damage(error: &redb::DatabaseError) -> bool {
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::UpgradeRequired(_) | DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sum: u64, day: u32) -> Known {
        Known {
            emitted: Emitted::Folded(sum),
            revision: 3,
            day,
        }
    }

    #[test]
    fn what_was_committed_is_there_after_a_restart_and_old_days_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xray-state").join("a.redb");
        let due = Due {
            at: 5,
            since: 4,
            open: true,
        };
        let large = Known {
            emitted: Emitted::Listed((0..100).collect()),
            revision: 9,
            day: 11,
        };
        {
            let (state, told) = State::open(Some(&path)).unwrap();
            assert!(told.is_none() && state.is_durable());
            let commit = Commit {
                numbers: vec![("cursor", 77)],
                traces: vec![(1, known(10, 10)), (2, known(20, 11)), (3, large.clone())],
                due: BTreeMap::from([("1-a".to_owned(), Some(due))]),
                ..Commit::default()
            };
            state.commit(&commit).unwrap();
        }
        let (state, _) = State::open(Some(&path)).unwrap();
        assert_eq!(state.number("cursor").unwrap(), Some(77));
        assert_eq!(state.due().unwrap(), BTreeMap::from([("1-a".to_owned(), due)]));
        let found = state.known(&[2, 9, 1, 3]).unwrap();
        assert_eq!(found, [Some(known(20, 11)), None, Some(known(10, 10)), Some(large)]);
        let commit = Commit {
            forget_before: 11,
            due: BTreeMap::from([("1-a".to_owned(), None)]),
            ..Commit::default()
        };
        state.commit(&commit).unwrap();
        assert_eq!(state.known(&[1]).unwrap(), [None]);
        assert_eq!(state.traces().unwrap(), 2);
        assert!(state.due().unwrap().is_empty());
    }

    #[test]
    fn spans_of_the_log_group_are_remembered_for_some_days() {
        let (state, _) = State::open(None).unwrap();
        for day in [10, 11] {
            let spans = (day, vec![u64::from(day), 5]);
            let commit = Commit {
                spans,
                ..Commit::default()
            };
            state.commit(&commit).unwrap();
        }
        assert_eq!(state.known_spans(&[10, 11, 12, 5]).unwrap(), [true, true, false, true]);
        let commit = Commit {
            forget_spans_before: 11,
            ..Commit::default()
        };
        state.commit(&commit).unwrap();
        assert_eq!(state.known_spans(&[10, 11, 12, 5]).unwrap(), [false, true, false, true]);
        assert_eq!(state.traces().unwrap(), 0);
    }

    #[test]
    fn a_file_that_somebody_has_open_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        let (first, _) = State::open(Some(&path)).unwrap();
        assert!(State::open(Some(&path)).is_err());
        drop(first);
        assert!(State::open(Some(&path)).unwrap().1.is_none());
    }

    #[test]
    fn a_damaged_file_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        std::fs::write(&path, b"no database at all").unwrap();
        let (state, told) = State::open(Some(&path)).unwrap();
        assert!(told.unwrap().contains("a.redb.damaged"));
        assert_eq!(state.number("cursor").unwrap(), None);
        assert!(folder.path().join("a.redb.damaged").exists());
    }
}
