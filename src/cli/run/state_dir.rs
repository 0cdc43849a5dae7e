//! The state directory: one process at a time; and where a drain leaves things when there is none.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};
use sha2::{Digest, Sha256};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("state directory {path}: {reason}")]
    Unusable { path: String, reason: std::io::Error },
    #[error("state directory {path} is in use by process {holder}")]
    Taken { path: String, holder: String },
}

/// The directory, locked for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    pub path: PathBuf,
    _lock: Flock<File>,
}

impl StateDir {
    /// Creates (0700) and locks the directory.
    ///
    /// # Errors
    /// When it cannot be created or written, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let unusable = |reason| StateDirError::Unusable {
            path: path.display().to_string(),
            reason,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path.join("lock")).map_err(unusable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // The number only helps whoever finds the directory taken; the lock is the kernel's.
                let written = lock
                    .set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| writeln!(lock, "{}", std::process::id()));
                written.map_err(unusable)?;
                Ok(Self {
                    path: path.to_owned(),
                    _lock: lock,
                })
            }
            Err((mut file, _)) => {
                let mut holder = String::new();
                let _unknown = Read::by_ref(&mut file).take(32).read_to_string(&mut holder);
                Err(StateDirError::Taken {
                    path: path.display().to_string(),
                    holder: holder.trim().to_owned(),
                })
            }
        }
    }
}

/// The folder for what a drain could not deliver when no state directory is configured: below the first place that can
/// be written, named by the configuration's URIs, so that the next start with the same finds it. Creates nothing.
pub fn spill_dir(uris: &[String], variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let places = [
        // systemd may name several, separated by colons; the first is ours.
        variable("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from)),
        set("XDG_STATE_HOME").map(|home| home.join("radiosonde")),
        set("HOME").map(|home| home.join(".local/state/radiosonde")),
    ];
    let mut hash = Sha256::new();
    for uri in uris {
        hash.update(uri.as_bytes());
        hash.update([0]);
    }
    let name = hex::encode(&hash.finalize()[..8]);
    let found = places
        .into_iter()
        .flatten()
        .find(|place| place.is_absolute() && could_be_written(place));
    found.map(|place| place.join("spill").join(name))
}

/// The folder, or the nearest one above it that exists, can be written.
fn could_be_written(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|ancestor| fs::metadata(ancestor).is_ok());
    existing.is_some_and(|folder| access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_who_has_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/state");
        let first = StateDir::open(&path).unwrap();
        let refused = StateDir::open(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("in use by process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn only_the_owner_may_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::open(&root.path().join("state")).unwrap();
        assert_eq!(fs::metadata(&state.path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            fs::metadata(state.path.join("lock")).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "").unwrap();
        let error = StateDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }

    #[test]
    fn the_spill_folder_depends_on_the_uris_and_creates_nothing() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().to_str().unwrap().to_owned();
        let variable = |name: &str| (name == "HOME").then(|| home.clone());
        let one = spill_dir(&["file:a".to_owned()], variable).unwrap();
        let other = spill_dir(&["file:b".to_owned()], variable).unwrap();
        assert!(one.starts_with(root.path().join(".local/state/radiosonde/spill")));
        assert_ne!(one, other);
        assert_eq!(spill_dir(&["file:a".to_owned()], variable).unwrap(), one);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(spill_dir(&["file:a".to_owned()], |_| None), None);
    }
}
