//! The directory of a queue's log with any content: it opens, it is read to an end, it goes on, and what was settled does
//! not come again. The first byte says how it is cut into a cursor and segments, and whether checksums are put right.

use std::path::Path;
use std::sync::Arc;

use radiosonde::component::UnixNanos;
use radiosonde::pdata::{Batch, BatchId, Origin, Signal};
use radiosonde::queue::fs::RealFs;
use radiosonde::queue::log::record::HEADER_LEN;
use radiosonde::queue::log::{Draft, Opened, Range, Read, open};

const NONCE: u64 = 0x0123_4567_89ab_cdef;
const SEGMENT: u64 = 64 << 10;

pub fn run(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    // Memory, where the machine offers some as a folder: every run syncs.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    fill(folder.path(), *how, data);
    let mut log = start(folder.path());
    let waiting = log.waiting;
    let found = drain(&mut log);
    let most = data.len() / HEADER_LEN + 1;
    assert!(
        found.records <= most,
        "{} records in {} bytes",
        found.records,
        data.len()
    );
    let items: u64 = found.ranges.iter().map(|range| range.size().items).sum();
    // Whoever puts checksums right can also claim any number of items; damage cannot.
    let is_forged = *how & 1 == 0;
    assert!(
        is_forged || items >= waiting.items,
        "{items} of {} items",
        waiting.items
    );
    log.writer.settle(&found.ranges);
    let mut batch = Batch::from_wire(Signal::Traces, vec![0x0a, 0].into(), 1, Origin::internal());
    log.writer
        .commit(&[Draft::new(&mut batch, UnixNanos(1), BatchId(1))], true)
        .expect("room on the disk");
    assert_eq!(drain(&mut log).records, 1, "it goes on");
    log.writer.close().expect("a disk that works");
    drop(log);
    let mut log = start(folder.path());
    assert_eq!(
        drain(&mut log).records,
        1,
        "what was settled stays settled, what was not is there"
    );
}

/// Seven bits of `how`: the first whether checksums are put right, the others where it is cut.
fn fill(folder: &Path, how: u8, data: &[u8]) {
    let cursor_len = (usize::from(how >> 1 & 7) * data.len() / 16).min(data.len());
    let (cursor, mut segments) = data.split_at(cursor_len);
    let count = usize::from(how >> 4 & 3) + 1;
    let size = segments.len().div_ceil(count).max(1);
    let mut cursor = cursor.to_vec();
    if how & 1 == 0 {
        right_cursor(&mut cursor);
    }
    if !cursor.is_empty() {
        std::fs::write(folder.join("cursor"), cursor).expect("a folder that can be written");
    }
    for number in 1..=count as u64 {
        let (part, rest) = segments.split_at(size.min(segments.len()));
        segments = rest;
        let mut part = part.to_vec();
        if how & 1 == 0 {
            right_segment(&mut part);
        }
        std::fs::write(folder.join(format!("{number:016x}-{NONCE:016x}.wal")), part)
            .expect("a folder that can be written");
    }
}

fn right_cursor(cursor: &mut [u8]) {
    if cursor.len() < 68 {
        return;
    }
    cursor[..8].copy_from_slice(b"RADIOCUR");
    cursor[8..12].copy_from_slice(&1u32.to_le_bytes());
    let ranges = usize::from(cursor[12]) % ((cursor.len() - 68) / 48 + 1);
    cursor[12..16].copy_from_slice(&(ranges as u32).to_le_bytes());
    let end = 64 + ranges * 48;
    let checksum = crc32c::crc32c(&cursor[..end]);
    cursor[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn right_segment(segment: &mut [u8]) {
    if segment.len() < 64 {
        return;
    }
    segment[..8].copy_from_slice(b"RADIOWAL");
    segment[8..12].copy_from_slice(&1u32.to_le_bytes());
    segment[16..24].copy_from_slice(&NONCE.to_le_bytes());
    let checksum = crc32c::crc32c(&segment[..60]);
    segment[60..64].copy_from_slice(&checksum.to_le_bytes());
    let mut at = 64;
    while at + HEADER_LEN <= segment.len() {
        let header = &mut segment[at..];
        let length = |at: usize| u32::from_le_bytes([header[at], header[at + 1], 0, 0]) as usize;
        let end = (HEADER_LEN + length(12) + length(16)).min(header.len());
        let body = crc32c::crc32c(&header[HEADER_LEN..end]);
        header[..4].copy_from_slice(b"RWAL");
        header[72..80].copy_from_slice(&NONCE.to_le_bytes());
        header[80..84].copy_from_slice(&body.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..HEADER_LEN - 4]);
        header[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
        at += end;
    }
}

fn start(folder: &Path) -> Opened {
    open(Arc::new(RealFs), folder, SEGMENT, false).expect("it opens whatever is in it")
}

struct Found {
    records: usize,
    /// Read and lost.
    ranges: Vec<Range>,
}

fn drain(log: &mut Opened) -> Found {
    let mut found = Found {
        records: 0,
        ranges: Vec::new(),
    };
    loop {
        match log.reader.read_next().expect("a disk that works") {
            Read::Record(header, _) => {
                found.records += 1;
                found.ranges.push(header.range());
            }
            Read::Lost(lost) => found.ranges.extend(lost),
            Read::Nothing => return found,
        }
    }
}
