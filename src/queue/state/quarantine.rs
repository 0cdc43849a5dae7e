//! Where state files that cannot be used are kept for whoever wants to look: the newest few.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// More damaged files than this are not kept.
const KEPT: usize = 3;

/// Moves `file` to `quarantine/` beside it and removes the oldest above the bound. Returns where it is now.
///
/// # Errors
/// When it cannot be moved.
pub(super) fn take(file: &Path) -> io::Result<PathBuf> {
    let folder = file.with_file_name("quarantine");
    fs::DirBuilder::new().recursive(true).create(&folder)?;
    let stem = file
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let prefix = format!("{stem}.");
    let mut numbers: Vec<u64> = fs::read_dir(&folder)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    let kept = folder.join(format!("{prefix}{next}"));
    fs::rename(file, &kept)?;
    let too_many = (numbers.len() + 1).saturating_sub(KEPT);
    for number in numbers.into_iter().take(too_many) {
        fs::remove_file(folder.join(format!("{prefix}{number}")))?;
    }
    Ok(kept)
}
