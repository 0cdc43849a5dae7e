//! The file: a buffer before it, so that a record is never half in it, and rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::rotation::Rotation;
use crate::component::Clock;

/// The buffer is written out when it holds this much.
const BUFFER: usize = 64 * 1024;

/// See the module text. All calls block.
pub struct Output {
    path: PathBuf,
    file: File,
    /// Length of the file up to the last whole record.
    written: u64,
    buffer: Vec<u8>,
    rotation: Option<Rotation>,
    clock: Arc<dyn Clock>,
}

impl Output {
    /// Opens the file, behind what is in it where `keeps_old`, else empty.
    pub fn open(path: PathBuf, keeps_old: bool, rotation: Option<Rotation>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(!keeps_old)
            .open(&path)?;
        let written = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            path,
            file,
            written,
            buffer: Vec::new(),
            rotation,
            clock,
        })
    }

    /// Bytes that have not reached the file.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Takes a whole record. On an error nothing of it was taken, and what was taken before is still kept.
    pub fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if !self.buffer.is_empty() && self.buffer.len() + record.len() > BUFFER {
            self.flush()?;
        }
        self.rotate_before(record.len() as u64)?;
        self.buffer.extend_from_slice(record);
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        let flushed = self.flush();
        if flushed.is_err() {
            // The caller has the record still and will bring it again.
            self.buffer.truncate(self.buffer.len() - record.len());
        }
        flushed
    }

    /// Writes the buffer out. On an error the file ends with its last whole record, and the buffer is kept.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            self.file.set_len(self.written)?;
            self.file.seek(SeekFrom::Start(self.written))?;
            return Err(error);
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// A record that would make the file too large begins a new one.
    fn rotate_before(&mut self, bytes: u64) -> io::Result<()> {
        let Some(rotation) = self.rotation.clone() else {
            return Ok(());
        };
        let length = self.written + self.buffer.len() as u64;
        if length == 0 || length + bytes <= rotation.max_bytes {
            return Ok(());
        }
        self.flush()?;
        let now = self.clock.now();
        rotation.move_aside(&self.path, now)?;
        self.file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
        self.written = 0;
        // A backup that cannot be removed must not stop the writing.
        if let Err(error) = rotation.remove_old(&self.path, now) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove old files of a rotation");
        }
        Ok(())
    }
}
