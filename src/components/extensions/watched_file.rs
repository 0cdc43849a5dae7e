//! A small file whose content is a setting (tokens, passwords, keys): read when the component is checked and again when
//! it changes. Contents are compared, so that a swapped symbolic link counts as change. A file that cannot be used
//! leaves what was read before in use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};
use zeroize::Zeroizing;

use crate::config::types::Secret;

/// How often the file is looked at, at most: at the first use after it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longer files are no settings.
const LONGEST: u64 = 1 << 20;

/// What is made of a file's content.
pub struct WatchedFile<T> {
    path: PathBuf,
    read: fn(&str) -> Result<T, String>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    value: Arc<T>,
    content: u64,
    looked: Instant,
}

impl<T> WatchedFile<T> {
    /// Reads it now.
    ///
    /// # Errors
    /// When it cannot be read or used; the text never shows what is in it.
    pub fn open(path: &Path, read: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let text = text_of(path)?;
        let value = read(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            read,
            current: Mutex::new(Current {
                value: Arc::new(value),
                content: hash(&text),
                looked: Instant::now(),
            }),
        })
    }

    /// What was made of the file as it was a few seconds ago at most. Blocks for reading a small file, rarely.
    pub fn get(&self) -> Arc<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() < LOOK_EVERY {
            return Arc::clone(&current.value);
        }
        current.looked = Instant::now();
        let text = match text_of(&self.path) {
            Ok(text) if hash(&text) == current.content => return Arc::clone(&current.value),
            Ok(text) => text,
            Err(problem) => {
                tracing::warn!(%problem, "what was read before stays in use");
                return Arc::clone(&current.value);
            }
        };
        current.content = hash(&text);
        match (self.read)(&text) {
            Ok(value) => {
                tracing::info!(file = %self.path.display(), "the file has changed, using what is in it now");
                current.value = Arc::new(value);
            }
            Err(problem) => {
                tracing::warn!(file = %self.path.display(), %problem, "the file has changed but cannot be used, \
                    what was read before stays in use");
            }
        }
        Arc::clone(&current.value)
    }
}

fn text_of(path: &Path) -> Result<Zeroizing<String>, String> {
    use std::io::Read;
    let unreadable = |reason: std::io::Error| format!("cannot read {}: {reason}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// The first line that is not empty, for files with one secret.
fn one_line(text: &str) -> Result<Secret, String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(Secret::new).ok_or_else(|| "the file is empty".to_owned())
}

/// A secret that stands in the configuration, or in a file that it names.
pub enum Part {
    Fixed(Secret),
    File(WatchedFile<Secret>),
}

impl Part {
    /// From the file where one is named, else the text.
    ///
    /// # Errors
    /// When the file cannot be read or used.
    pub fn open(text: Secret, file: &str) -> Result<Self, String> {
        match file {
            "" => Ok(Part::Fixed(text)),
            path => Ok(Part::File(WatchedFile::open(path.as_ref(), one_line)?)),
        }
    }

    /// The secret as it is now.
    pub fn get(&self) -> Secret {
        match self {
            Part::Fixed(text) => text.clone(),
            Part::File(file) => (*file.get()).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_through_a_swapped_link_and_bad_content_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, link, next] = ["one", "two", "link", "next"].map(|name| folder.path().join(name));
        std::fs::write(&one, "first\n").unwrap();
        std::fs::write(&two, "second\n").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let file = WatchedFile::open(&link, one_line).unwrap();
        assert_eq!(file.get().reveal(), "first");
        std::os::unix::fs::symlink(&two, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        assert_eq!(file.get().reveal(), "first", "it is not looked at for every request");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.get().reveal(), "second");
        std::fs::write(&two, "\n").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.get().reveal(), "second");
        std::fs::remove_file(&link).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.get().reveal(), "second");
        assert!(WatchedFile::open(&link, one_line).is_err());
    }
}
