//! Zip archives of a few files (PKWARE's APPNOTE 6.3.10), written without compression and without times, so that equal
//! contents are equal archives; read with every length checked and bounded.

use std::io::Read;

use flate2::Crc;

/// Files of an archive that is read.
const MOST_FILES: usize = 100;

/// An archive under way.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl Writer {
    /// Adds a file of less than 4 GiB; there are never more than a few.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        let at = self.bytes.len() as u32;
        let mut common = Vec::new();
        // Version 2.0, no flags, stored, 1980-01-01 00:00.
        for half in [20_u16, 0, 0, 0, 0x0021] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc_of(content), content.len() as u32, content.len() as u32] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&0_u16.to_le_bytes());
        self.bytes.extend_from_slice(b"PK\x03\x04");
        self.bytes.extend_from_slice(&common);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(content);
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        self.directory.extend_from_slice(&common);
        // No comment, disk 0, attributes.
        self.directory.extend_from_slice(&[0; 10]);
        self.directory.extend_from_slice(&at.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.files += 1;
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        let (at, len) = (self.bytes.len() as u32, self.directory.len() as u32);
        self.bytes.append(&mut self.directory);
        self.bytes.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
        for half in [self.files, self.files] {
            self.bytes.extend_from_slice(&half.to_le_bytes());
        }
        for word in [len, at] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.extend_from_slice(&0_u16.to_le_bytes());
        self.bytes
    }
}

/// Why an archive is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZipError {
    #[error("the zip archive is damaged: {0}")]
    Damaged(&'static str),
    #[error("the zip archive has more than {MOST_FILES} files")]
    TooMany,
    #[error("the zip archive holds more than {0} bytes")]
    TooLarge(usize),
    #[error("{0:?} in the zip archive leads out of it")]
    Escapes(String),
    #[error("{0:?} in the zip archive is compressed by a method that is not known, or encrypted")]
    Method(String),
}

fn half(bytes: &[u8], at: usize) -> Result<usize, ZipError> {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map(|two| usize::from(u16::from_le_bytes(two)))
        .ok_or(ZipError::Damaged("it ends too early"))
}

fn word(bytes: &[u8], at: usize) -> Result<usize, ZipError> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map(|four| u32::from_le_bytes(four) as usize)
        .ok_or(ZipError::Damaged("it ends too early"))
}

/// The files of an archive with their names, together at most `most` bytes.
///
/// # Errors
/// See [`ZipError`].
pub fn read(bytes: &[u8], most: usize) -> Result<Vec<(String, Vec<u8>)>, ZipError> {
    // The end stands before a comment of at most 64 KiB.
    let from = bytes.len().saturating_sub(65_557);
    let end = bytes[from..].windows(4).rposition(|four| four == b"PK\x05\x06");
    let end = from + end.ok_or(ZipError::Damaged("its end is missing"))?;
    let count = half(bytes, end + 10)?;
    if count > MOST_FILES {
        return Err(ZipError::TooMany);
    }
    let mut at = word(bytes, end + 16)?;
    let mut files = Vec::new();
    let mut left = most;
    for _ in 0..count {
        if bytes.get(at..at + 4) != Some(b"PK\x01\x02") {
            return Err(ZipError::Damaged("its directory is not where it should be"));
        }
        let (flags, method) = (half(bytes, at + 8)?, half(bytes, at + 10)?);
        let (crc, packed, place) = (word(bytes, at + 16)?, word(bytes, at + 20)?, word(bytes, at + 42)?);
        let (name_len, extra, comment) = (half(bytes, at + 28)?, half(bytes, at + 30)?, half(bytes, at + 32)?);
        let name = bytes
            .get(at + 46..at + 46 + name_len)
            .ok_or(ZipError::Damaged("a name is cut off"))?;
        let name = String::from_utf8_lossy(name).into_owned();
        at += 46 + name_len + extra + comment;
        let escapes =
            name.starts_with(['/', '\\']) || name.contains(':') || name.split(['/', '\\']).any(|part| part == "..");
        if escapes {
            return Err(ZipError::Escapes(name));
        }
        if name.ends_with('/') {
            continue;
        }
        let start = place + 30 + half(bytes, place + 26)? + half(bytes, place + 28)?;
        let data = bytes
            .get(start..start + packed)
            .ok_or(ZipError::Damaged("a file is cut off"))?;
        let content = match method {
            _ if flags & 1 != 0 => return Err(ZipError::Method(name)),
            0 => data.to_vec(),
            8 => inflated(data, left, most)?,
            _ => return Err(ZipError::Method(name)),
        };
        left = left.checked_sub(content.len()).ok_or(ZipError::TooLarge(most))?;
        if crc_of(&content) as usize != crc {
            return Err(ZipError::Damaged("a checksum does not fit"));
        }
        files.push((name, content));
    }
    Ok(files)
}

fn inflated(data: &[u8], left: usize, most: usize) -> Result<Vec<u8>, ZipError> {
    let mut content = Vec::new();
    // One byte more than may be, to see that it is too much.
    let mut reader = flate2::read::DeflateDecoder::new(data).take(left as u64 + 1);
    let read = reader.read_to_end(&mut content);
    read.map_err(|_| ZipError::Damaged("a file cannot be inflated"))?;
    if content.len() > left {
        return Err(ZipError::TooLarge(most));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_equal_contents_are_equal_archives() {
        let made = || {
            let mut writer = Writer::default();
            writer.add("traces.binpb", b"abc");
            writer.add("logs.binpb", &[0; 1_000]);
            writer.finish()
        };
        assert_eq!(made(), made());
        let files = read(&made(), 1 << 20).unwrap();
        assert_eq!(files[0], ("traces.binpb".to_owned(), b"abc".to_vec()));
        assert_eq!(files[1].1.len(), 1_000);
        assert_eq!(read(&made(), 1_000), Err(ZipError::TooLarge(1_000)));
    }

    #[test]
    fn bombs_slips_and_damage_are_refused() {
        let mut writer = Writer::default();
        writer.add("../../etc/passwd", b"x");
        assert!(matches!(read(&writer.finish(), 100), Err(ZipError::Escapes(_))));
        let mut writer = Writer::default();
        writer.add("a", b"content");
        let whole = writer.finish();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0xff;
            let _refused_or_not = read(&bad, 100);
            // Only the length of a comment that is not there may be missing.
            assert!(at >= whole.len() - 2 || read(&whole[..at], 100).is_err(), "{at}");
        }
        let mut bomb = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![0; 10 << 20]).unwrap();
        assert_eq!(
            inflated(&bomb.finish().unwrap(), 1_000, 1_000),
            Err(ZipError::TooLarge(1_000))
        );
    }
}
