//! The small state as one file, `state.redb` in the state directory: a transactional B-tree (redb), a table a space.
//!
//! The process always starts: a file that is damaged, foreign or of a later version is moved to `quarantine/` beside it,
//! counted, and an empty one takes its place; where no file can be written at all, the state is kept in memory and an
//! ERROR says so. The same holds while running: redb checks every page it reads.

mod quarantine;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::component::{Counter, Histogram, Instruments, MemoryState, Registry, StateChange, StateError, StateStore};

/// The file in the state directory.
pub const FILE_NAME: &str = "state.redb";
/// redb's default is 1 GiB; what is here is small and rarely read.
const CACHE_BYTES: usize = 4 << 20;
/// A table of our own that says whose file it is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("radiosonde");
const VERSION: u64 = 1;
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The state of a process: in `state_dir`, or in memory where there is none.
pub fn open(state_dir: Option<&Path>, registry: &Registry) -> Arc<dyn StateStore> {
    let instruments = Instruments::of_process(registry.clone());
    let durable = instruments.gauge(
        "radiosonde_state_durable",
        "1: cursors and other small state survive a crash. 0: they are in memory.",
        &[],
    );
    let Some(state_dir) = state_dir else {
        return Arc::new(MemoryState::default());
    };
    match FileState::open(state_dir, &instruments) {
        Ok(state) => {
            durable.set(1.0);
            Arc::new(state)
        }
        Err(problem) => {
            error!(
                path = %state_dir.join(FILE_NAME).display(),
                error = %problem,
                "The state file cannot be used. Cursors, spend and alert state are in memory and end with the process."
            );
            Arc::new(MemoryState::default())
        }
    }
}

#[derive(Clone)]
struct Telemetry {
    committed: Counter,
    failed: Counter,
    seconds: Histogram,
    quarantined: Counter,
}

impl Telemetry {
    fn new(instruments: &Instruments) -> Self {
        let outcome = |outcome| {
            instruments.counter(
                "radiosonde_state_commits_total",
                "Transactions on the small state.",
                &[("outcome", outcome)],
            )
        };
        Self {
            committed: outcome("ok"),
            failed: outcome("error"),
            seconds: instruments.histogram(
                "radiosonde_state_commit_seconds",
                "Time until a transaction was on the disk.",
                &[],
                SECONDS,
            ),
            quarantined: instruments.counter(
                "radiosonde_state_quarantined_total",
                "State files that were damaged or not ours, and moved away.",
                &[],
            ),
        }
    }
}

/// The file, open.
pub struct FileState {
    path: PathBuf,
    /// `None` after a failed try to open it again.
    database: RwLock<Option<Database>>,
    telemetry: Telemetry,
}

/// What redb's errors mean to us.
#[derive(Debug)]
enum Trouble {
    /// Whatever is in the file cannot be used.
    Damaged(String),
    /// The file may be all right.
    Io(String),
}

impl Trouble {
    fn of(error: impl Into<redb::Error>) -> Self {
        let error = error.into();
        let text = error.to_string();
        match error {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::LockPoisoned(_) => Trouble::Damaged(text),
            // What redb calls a file whose first bytes are not its own.
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Trouble::Damaged(text),
            _ => Trouble::Io(text),
        }
    }
}

impl FileState {
    /// Opens or makes the file. What is there and cannot be used is moved away.
    ///
    /// # Errors
    /// When not even a new file can be made.
    pub fn open(state_dir: &Path, instruments: &Instruments) -> Result<Self, StateError> {
        let path = state_dir.join(FILE_NAME);
        let telemetry = Telemetry::new(instruments);
        let database = open_or_replace(&path, &telemetry)?;
        let of_file = path.clone();
        instruments.observe("radiosonde_state_bytes", "Size of the state file.", &[], move || {
            std::fs::metadata(&of_file).map_or(0.0, |file| file.len() as f64)
        });
        Ok(Self {
            path,
            database: RwLock::new(Some(database)),
            telemetry,
        })
    }

    /// Works on the database. Damage found on the way puts an empty file in its place; a failed disk has it opened
    /// again at the next call.
    fn on_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, StateError> {
        let result = {
            let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match held.as_ref() {
                Some(database) => guarded(|| work(database)),
                None => {
                    drop(held);
                    self.reopen(false, "")?;
                    let held = self.database.read().unwrap_or_else(PoisonError::into_inner);
                    let closed = || Err(Trouble::Io("the file is closed".to_owned()));
                    held.as_ref().map_or_else(closed, |database| guarded(|| work(database)))
                }
            }
        };
        match result {
            Ok(value) => Ok(value),
            Err(Trouble::Damaged(reason)) => {
                self.reopen(true, &reason)?;
                Err(StateError::Damaged(reason))
            }
            Err(Trouble::Io(reason)) => {
                // After a failed write redb refuses all others until it is opened again.
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
                Err(StateError::Io(reason))
            }
        }
    }

    fn reopen(&self, damaged: bool, reason: &str) -> Result<(), StateError> {
        let mut held = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if damaged {
            // Closed before it is moved. Closing a damaged file may fail in its own way.
            let old = held.take();
            let _closed = catch_unwind(AssertUnwindSafe(|| drop(old)));
            replace(&self.path, reason, &self.telemetry)?;
        }
        if held.is_none() {
            *held = Some(open_or_replace(&self.path, &self.telemetry)?);
        }
        Ok(())
    }
}

/// A damaged file can lead redb into a panic: that is damage too, and must not end more than this call.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Trouble::Damaged("its structure is inconsistent".to_owned())))
}

fn replace(path: &Path, reason: &str, telemetry: &Telemetry) -> Result<(), StateError> {
    let kept = quarantine::take(path).map_err(|error| StateError::Io(error.to_string()))?;
    telemetry.quarantined.add(1);
    warn!(
        path = %path.display(), kept_as = %kept.display(), reason,
        "The state file is damaged or not ours. It is kept in quarantine; cursors and other small state begin anew."
    );
    Ok(())
}

fn open_or_replace(path: &Path, telemetry: &Telemetry) -> Result<Database, StateError> {
    let io = |reason| StateError::Io(reason);
    match guarded(|| open_file(path)) {
        Ok(database) => return Ok(database),
        Err(Trouble::Io(reason)) => return Err(io(reason)),
        Err(Trouble::Damaged(reason)) => replace(path, &reason, telemetry)?,
    }
    guarded(|| open_file(path)).map_err(|trouble| match trouble {
        Trouble::Io(reason) | Trouble::Damaged(reason) => io(reason),
    })
}

fn open_file(path: &Path) -> Result<Database, Trouble> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| Trouble::Io(error.to_string()))?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let mut database = builder.create_file(file).map_err(Trouble::of)?;
    // Reads every page once: what is damaged is found now, not in the middle of the night.
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => return Err(Trouble::Damaged("checksums do not match".to_owned())),
        Err(error) => return Err(Trouble::of(error)),
    }
    let transaction = database.begin_write().map_err(Trouble::of)?;
    {
        let mut about = transaction.open_table(ABOUT).map_err(Trouble::of)?;
        let version = about.get("version").map_err(Trouble::of)?.map(|found| found.value());
        match version {
            Some(VERSION) => {}
            Some(other) => return Err(Trouble::Damaged(format!("version {other} is not known here"))),
            None => {
                let foreign = transaction
                    .list_tables()
                    .map_err(Trouble::of)?
                    .any(|table| table.name() != ABOUT.name());
                if foreign {
                    return Err(Trouble::Damaged("another program's tables are in it".to_owned()));
                }
                about.insert("version", VERSION).map_err(Trouble::of)?;
            }
        }
    }
    transaction.commit().map_err(Trouble::of)?;
    Ok(database)
}

/// The table of a space. No space can be the table that says whose file it is.
fn table_name(space: &str) -> String {
    format!("state.{space}")
}

impl StateStore for FileState {
    fn get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let name = table_name(space);
        self.on_database(|database| {
            let transaction = database.begin_read().map_err(Trouble::of)?;
            let table = match transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(Trouble::of(error)),
            };
            let found = table.get(key).map_err(Trouble::of)?;
            Ok(found.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, space: &str, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StateError> {
        let name = table_name(space);
        self.on_database(|database| {
            let transaction = database.begin_read().map_err(Trouble::of)?;
            let table = match transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(&name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(Trouble::of(error)),
            };
            for entry in table.range(prefix..).map_err(Trouble::of)? {
                let (key, value) = entry.map_err(Trouble::of)?;
                if !key.value().starts_with(prefix) || !visit(key.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn commit(&self, changes: Vec<StateChange>) -> Result<(), StateError> {
        if changes.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let result = self.on_database(|database| change_all(database, &changes));
        self.telemetry.seconds.record(began.elapsed().as_secs_f64());
        let counter = if result.is_ok() {
            &self.telemetry.committed
        } else {
            &self.telemetry.failed
        };
        counter.add(1);
        result
    }

    fn is_durable(&self) -> bool {
        true
    }
}

fn change_all(database: &Database, changes: &[StateChange]) -> Result<(), Trouble> {
    let transaction = database.begin_write().map_err(Trouble::of)?;
    // Runs of one space share its open table: changes keep their order.
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let space = space_of(first);
        let run = rest.iter().take_while(|change| space_of(change) == space).count();
        let (now, later) = rest.split_at(run);
        rest = later;
        let name = table_name(space);
        let definition = TableDefinition::<&[u8], &[u8]>::new(&name);
        let mut table = transaction.open_table(definition).map_err(Trouble::of)?;
        for change in now {
            match change {
                StateChange::Put { key, value, .. } => {
                    table.insert(key.as_slice(), value.as_slice()).map_err(Trouble::of)?;
                }
                StateChange::Remove { key, .. } => {
                    table.remove(key.as_slice()).map_err(Trouble::of)?;
                }
            }
        }
    }
    transaction.commit().map_err(Trouble::of)
}

fn space_of(change: &StateChange) -> &str {
    match change {
        StateChange::Put { space, .. } | StateChange::Remove { space, .. } => space,
    }
}
