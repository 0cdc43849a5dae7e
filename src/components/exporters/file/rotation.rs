//! Rotation: names of backups, and which of them go. A backup of `a.json` is `a-2026-01-02T03-04-05.678.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::component::UnixNanos;
use crate::config::Section;

const MEGABYTE: u64 = 1024 * 1024;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Length of `2026-01-02T03-04-05.678`.
const STAMP_LEN: usize = 23;

/// When a file is put aside, and how many of these are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file does not grow beyond this (one larger record stands alone).
    pub max_bytes: u64,
    /// 0: no bound.
    pub max_backups: usize,
    /// 0: no bound.
    pub max_days: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    max_megabytes: u64,
    max_days: u64,
    max_backups: usize,
    localtime: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            max_megabytes: 100,
            max_days: 0,
            max_backups: 100,
            localtime: false,
        }
    }
}

impl Rotation {
    /// From the `rotation` section.
    pub fn read(section: &Section) -> Self {
        let keys: Keys = section.read().unwrap_or_default();
        if keys.localtime {
            section.error_at("localtime", "`localtime` is not built yet: names of backups are in UTC");
        }
        // 0 is the default, as in the Collector.
        let megabytes = if keys.max_megabytes == 0 {
            100
        } else {
            keys.max_megabytes
        };
        Self {
            max_bytes: megabytes.saturating_mul(MEGABYTE),
            max_backups: keys.max_backups,
            max_days: keys.max_days,
        }
    }

    /// Gives the file the name of a backup.
    pub fn move_aside(&self, path: &Path, now: UnixNanos) -> io::Result<()> {
        let mut moment = now;
        loop {
            let backup = backup_name(path, moment);
            if !backup.exists() {
                return fs::rename(path, backup);
            }
            // Two rotations within a millisecond: the later one is named a little late.
            moment = UnixNanos(moment.0.saturating_add(1_000_000));
        }
    }

    /// Removes backups beyond the number and the age that are kept.
    pub fn remove_old(&self, path: &Path, now: UnixNanos) -> io::Result<()> {
        let mut backups = backups(path)?;
        // Names sort by time.
        backups.sort_unstable();
        let too_many = match self.max_backups {
            0 => 0,
            max => backups.len().saturating_sub(max),
        };
        let kept = backups.split_off(too_many);
        for backup in backups {
            fs::remove_file(backup)?;
        }
        if self.max_days == 0 {
            return Ok(());
        }
        let age = UnixNanos::from_seconds(self.max_days.saturating_mul(DAY_SECONDS));
        let oldest_kept = backup_name(path, UnixNanos(now.0.saturating_sub(age.0)));
        for backup in kept.into_iter().filter(|backup| *backup < oldest_kept) {
            fs::remove_file(backup)?;
        }
        Ok(())
    }
}

/// The name before the ending, and the ending with its dot.
fn name_parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(path.file_stem()).unwrap_or_default();
    let ending = text(path.extension()).map_or_else(String::new, |ending| format!(".{ending}"));
    (stem, ending)
}

fn backup_name(path: &Path, moment: UnixNanos) -> PathBuf {
    let (stem, ending) = name_parts(path);
    path.with_file_name(format!("{stem}-{}{ending}", stamp(moment)))
}

fn stamp(moment: UnixNanos) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(moment.0)).unwrap_or_default();
    let civil = jiff::tz::Offset::UTC.to_datetime(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}-{:02}-{:02}.{:03}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        civil.millisecond()
    )
}

/// Backups of this file, and nothing else that begins alike.
fn backups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (stem, ending) = name_parts(path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let rest = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-'));
        let moment = rest.and_then(|rest| rest.strip_suffix(&ending));
        if moment.is_some_and(is_stamp) {
            found.push(path.with_file_name(name));
        }
    }
    Ok(found)
}

fn is_stamp(text: &str) -> bool {
    const SHAPE: &[u8; STAMP_LEN] = b"0000-00-00T00-00-00.000";
    let alike = |(shape, byte): (&u8, u8)| {
        if *shape == b'0' {
            byte.is_ascii_digit()
        } else {
            *shape == byte
        }
    };
    text.len() == STAMP_LEN && SHAPE.iter().zip(text.bytes()).all(alike)
}
