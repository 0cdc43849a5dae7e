//! The file that says which requests of segments that are gone were taken lately, so that they are known when their
//! senders bring them again.
//!
//! Written before segments are removed and at an orderly end; what came later is found in the headers of the segments that
//! are there. A file that is lost or damaged costs duplicates, never data.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::files::{retry, write_all_at};
use super::record::{HEAD_LEN, HEADER_LEN, Header, u32_at, u64_at};
use super::segments::{Segment, find_header, header_at};
use crate::component::UnixNanos;
use crate::pdata::BatchId;
use crate::queue::fs::Fs;

const MAGIC: &[u8; 8] = b"RADIOIDS";
const VERSION: u32 = 1;
/// Magic, version, number of ids, number of the first record that is not covered.
const FIXED: usize = 8 + 4 + 4 + 8;
const ID_LEN: usize = 24;
const LARGEST: u64 = 64 << 20;
const NAME: &str = "ids";
const UNFINISHED: &str = "ids.new";

/// An id, and when its request was taken.
pub type Taken = (BatchId, UnixNanos);

/// Replaces the file: `ids` are those of all records before `covered`.
pub fn save(fs: &dyn Fs, dir: &Path, covered: u64, ids: &[Taken]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(FIXED + ids.len() * ID_LEN + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(ids.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&covered.to_le_bytes());
    for (id, at) in ids {
        bytes.extend_from_slice(&id.0.to_le_bytes());
        bytes.extend_from_slice(&at.0.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let unfinished = dir.join(UNFINISHED);
    match retry(|| fs.remove(&unfinished)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = retry(|| fs.create(&unfinished))?;
    write_all_at(file.as_mut(), 0, &bytes)?;
    retry(|| file.sync())?;
    retry(|| fs.rename(&unfinished, &dir.join(NAME)))?;
    retry(|| fs.sync_dir(dir))
}

/// The ids of a log: of its file, and of the records that are not in it. `segments` are all there are, oldest first.
/// Reads headers only, and of no segment that was begun `kept` before the newest record or earlier.
pub fn load(fs: &dyn Fs, dir: &Path, segments: &[Segment], kept: u64) -> Vec<Taken> {
    let (covered, mut ids) = read_file(fs, dir).unwrap_or_default();
    let mut found: Vec<Vec<Taken>> = Vec::new();
    let mut newest = 0;
    for segment in segments.iter().rev() {
        let of_segment = walk(fs, dir, segment, covered).unwrap_or_default();
        newest = of_segment.ids.iter().map(|(_, at)| at.0).fold(newest, u64::max);
        let is_covered = segment.first.is_some_and(|first| first.records <= covered);
        let is_old = of_segment.began != 0 && of_segment.began.saturating_add(kept) < newest;
        found.push(of_segment.ids);
        if is_covered || is_old {
            break;
        }
    }
    ids.extend(found.into_iter().rev().flatten());
    ids
}

fn read_file(fs: &dyn Fs, dir: &Path) -> Option<(u64, Vec<Taken>)> {
    let mut file = retry(|| fs.open(&dir.join(NAME))).ok()?;
    let length = retry(|| file.length()).ok().filter(|length| *length <= LARGEST)?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    retry(|| file.read_at(0, &mut bytes)).ok()?;
    let end = bytes.len().checked_sub(4)?;
    let whole = bytes.starts_with(MAGIC)
        && u32_at(&bytes, 8)? == VERSION
        && u32_at(&bytes, end)? == crc32c::crc32c(&bytes[..end])
        && bytes.len() == FIXED + u32_at(&bytes, 12)? as usize * ID_LEN + 4;
    if !whole {
        return None;
    }
    let ids = bytes[FIXED..end].chunks_exact(ID_LEN).map(|id| {
        let number = u128::from(u64_at(id, 0).unwrap_or(0)) | u128::from(u64_at(id, 8).unwrap_or(0)) << 64;
        (BatchId(number), UnixNanos(u64_at(id, 16).unwrap_or(0)))
    });
    Some((u64_at(&bytes, 16)?, ids.collect()))
}

#[derive(Default)]
struct OfSegment {
    ids: Vec<Taken>,
    /// When its first record was taken.
    began: u64,
}

fn walk(fs: &dyn Fs, dir: &Path, segment: &Segment, covered: u64) -> io::Result<OfSegment> {
    let mut file = retry(|| fs.open(&dir.join(&segment.name)))?;
    let mut found = OfSegment::default();
    let mut offset = HEAD_LEN;
    let mut last_group: Vec<(u64, Header)> = Vec::new();
    loop {
        let header = match header_at(file.as_mut(), segment.nonce, offset, segment.readable)? {
            Some(header) => Some((offset, header)),
            None => find_header(file.as_mut(), segment.nonce, offset, segment.readable, true)?,
        };
        let Some((place, header)) = header else { break };
        if found.began == 0 {
            found.began = header.enqueued.0;
        }
        if last_group
            .first()
            .is_none_or(|(_, first)| first.group() != header.group())
        {
            found
                .ids
                .extend(last_group.drain(..).filter_map(|(_, header)| id_of(&header, covered)));
        }
        last_group.push((place, header));
        offset = place + header.record_len();
    }
    // Of a group that was cut off nobody was told that it is here: only what is whole will be sent.
    for (place, header) in last_group {
        let length = usize::try_from(header.record_len())
            .unwrap_or(0)
            .saturating_sub(HEADER_LEN);
        let Some(id) = id_of(&header, covered) else { continue };
        let mut body = vec![0; length];
        retry(|| file.read_at(place + HEADER_LEN as u64, &mut body))?;
        if header.decode_body(Bytes::from(body)).is_some() {
            found.ids.push(id);
        }
    }
    Ok(found)
}

fn id_of(header: &Header, covered: u64) -> Option<Taken> {
    let counts = header.id_came_with_it && header.before.records >= covered;
    counts.then_some((header.batch_id, header.enqueued))
}
