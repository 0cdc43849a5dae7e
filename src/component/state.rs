//! Small state that outlives the process: cursors, spend, alert state, silences. Bytes under a key in a named space,
//! changed in transactions. What lies behind it (a file, or memory where no state directory is configured) is
//! `queue::state`'s business. Not for telemetry: that is what queues are for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

/// Why state could not be read or kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The disk failed or is full; the next call tries again.
    #[error("the state file cannot be read or written: {0}")]
    Io(String),
    /// The file was damaged: it is in quarantine and a new, empty one has taken its place.
    #[error("the state file was damaged and a new one has been started: {0}")]
    Damaged(String),
    /// The runtime is ending.
    #[error("the work on the state was cut short")]
    Cancelled,
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Sets the value of a key.
    Put {
        space: String,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// Removes a key; no error where it is not there.
    Remove { space: String, key: Vec<u8> },
}

impl StateChange {
    /// Sets `key` in `space`.
    pub fn put(space: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put {
            space: space.to_owned(),
            key: key.into(),
            value: value.into(),
        }
    }

    /// Removes `key` from `space`.
    pub fn remove(space: &str, key: impl Into<Vec<u8>>) -> Self {
        Self::Remove {
            space: space.to_owned(),
            key: key.into(),
        }
    }
}

/// The state of the process, shared by its components.
///
/// A space is named by the part of the program that owns it (`cloudwatch.cursors`); where several components share a
/// space, a key begins with the component's id. Values carry a version of their own: a later build may find them.
///
/// Every call may block on the disk for milliseconds: from async code go through [`with_state`].
pub trait StateStore: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;

    /// Shows every key that begins with `prefix`, in order, until `visit` answers `false`. `visit` must not call the
    /// store.
    ///
    /// # Errors
    /// When the file cannot be read; what was shown before is true.
    fn scan(&self, space: &str, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StateError>;

    /// Makes all changes or none, in order; on the disk when it returns. Nothing to change is `Ok`.
    ///
    /// # Errors
    /// When the file cannot be written: nothing has been changed.
    fn commit(&self, changes: Vec<StateChange>) -> Result<(), StateError>;

    /// Whether what was committed is there after a crash.
    fn is_durable(&self) -> bool;
}

/// Runs `work` on the store without holding up the runtime: in a blocking thread where the store is a file.
///
/// # Errors
/// Those of `work`, and [`StateError::Cancelled`] when the runtime ends first.
pub async fn with_state<T, F>(store: &Arc<dyn StateStore>, work: F) -> Result<T, StateError>
where
    T: Send + 'static,
    F: FnOnce(&dyn StateStore) -> Result<T, StateError> + Send + 'static,
{
    if !store.is_durable() {
        return work(store.as_ref());
    }
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(store.as_ref())).await;
    done.unwrap_or(Err(StateError::Cancelled))
}

/// Keys and values of one space.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// State that lives as long as the process: where no state directory is configured, and in tests.
#[derive(Debug, Default)]
pub struct MemoryState {
    spaces: Mutex<BTreeMap<String, Entries>>,
}

impl StateStore for MemoryState {
    fn get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(spaces.get(space).and_then(|entries| entries.get(key)).cloned())
    }

    fn scan(&self, space: &str, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StateError> {
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entries) = spaces.get(space) else {
            return Ok(());
        };
        for (key, value) in entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded)) {
            if !key.starts_with(prefix) || !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, changes: Vec<StateChange>) -> Result<(), StateError> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                StateChange::Put { space, key, value } => {
                    spaces.entry(space).or_default().insert(key, value);
                }
                StateChange::Remove { space, key } => {
                    if let Some(entries) = spaces.get_mut(&space) {
                        entries.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_keeps_spaces_apart_and_shows_a_prefix_in_order() {
        let store: Arc<dyn StateStore> = Arc::new(MemoryState::default());
        store
            .commit(vec![
                StateChange::put("a", *b"x/2", *b"two"),
                StateChange::put("a", *b"x/1", *b"one"),
                StateChange::put("a", *b"y", *b"other"),
                StateChange::put("b", *b"x/3", *b"elsewhere"),
                StateChange::remove("a", *b"nowhere"),
            ])
            .unwrap();
        let mut seen = Vec::new();
        store
            .scan("a", b"x/", &mut |key, value| {
                seen.push((key.to_vec(), value.to_vec()));
                true
            })
            .unwrap();
        assert_eq!(
            seen,
            [(b"x/1".to_vec(), b"one".to_vec()), (b"x/2".to_vec(), b"two".to_vec())]
        );
        let found = with_state(&store, |store| store.get("b", b"x/3")).await.unwrap();
        assert_eq!(found, Some(b"elsewhere".to_vec()));
        store.commit(vec![StateChange::remove("b", *b"x/3")]).unwrap();
        assert_eq!(store.get("b", b"x/3").unwrap(), None);
    }
}
