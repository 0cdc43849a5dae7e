//! Editing without decoding: bytes are taken out of or put into nested messages, and the lengths around them rewritten.
//!
//! A [`Splicer`] walks beside its reader: the reader says which length-delimited record it enters and leaves, and which
//! bytes go. Nothing is copied before the first edit, and what was never edited is copied as it stands.

use std::ops::Range;

use smallvec::SmallVec;

use super::{WireError, put_varint, read_varint, varint_len};

/// A length-delimited record in its source: tag, length, payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the tag begins.
    pub start: usize,
    /// Where the payload stands.
    pub payload: Range<usize>,
}

/// Rewrites a message. Edits come in the order of the source.
#[derive(Debug)]
pub struct Splicer<'a> {
    source: &'a [u8],
    /// Up to here the source is in `out`, edited or not.
    copied: usize,
    out: Vec<u8>,
    levels: SmallVec<[Level; 4]>,
    changed: bool,
}

/// A record that was entered and not left yet.
#[derive(Debug)]
struct Level {
    record: Record,
    opened: Option<Opened>,
}

/// A record whose header stands in `out` already, its length to be filled in.
#[derive(Clone, Copy, Debug)]
struct Opened {
    record_at: usize,
    len_at: usize,
    payload_at: usize,
}

impl<'a> Splicer<'a> {
    /// Over `source`, which is not copied unless something is edited.
    pub fn new(source: &'a [u8]) -> Self {
        Self {
            source,
            copied: 0,
            out: Vec::new(),
            levels: SmallVec::new(),
            changed: false,
        }
    }

    /// Enters a record: edits up to the matching [`Splicer::leave`] are inside it.
    #[inline]
    pub fn enter(&mut self, record: Record) {
        self.levels.push(Level { record, opened: None });
    }

    /// Leaves the record entered last and writes its new length where something inside was edited.
    #[inline]
    pub fn leave(&mut self) {
        let Some(level) = self.levels.pop() else {
            debug_assert!(false, "left more records than were entered");
            return;
        };
        let Some(opened) = level.opened else {
            return;
        };
        self.copy_to(level.record.payload.end);
        let len = self.out.len() - opened.payload_at;
        let mut encoded = [0; 10];
        let width = encode_into(&mut encoded, len as u64);
        if width == opened.payload_at - opened.len_at {
            self.out[opened.len_at..opened.payload_at].copy_from_slice(&encoded[..width]);
        } else {
            self.out
                .splice(opened.len_at..opened.payload_at, encoded[..width].iter().copied());
        }
    }

    /// Leaves the record entered last and takes it out with all that is in it.
    pub fn leave_removed(&mut self) {
        let Some(level) = self.levels.pop() else {
            debug_assert!(false, "left more records than were entered");
            return;
        };
        match level.opened {
            Some(opened) => {
                self.out.truncate(opened.record_at);
                self.copied = level.record.payload.end;
            }
            None => self.replace(level.record.start..level.record.payload.end, &[]),
        }
    }

    /// How many records are entered.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Forgets records entered beyond `depth`; the record at `depth` must then be removed, as its bytes are half written.
    pub fn abandon_to(&mut self, depth: usize) {
        self.levels.truncate(depth);
    }

    /// Puts `bytes` in the place of this range of the source (of nothing, where the range is empty). The bytes are whole
    /// fields of the record entered last.
    #[inline]
    pub fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.open_levels();
        self.copy_to(range.start);
        self.out.extend_from_slice(bytes);
        self.copied = range.end;
    }

    /// Puts a message field in the place of this range of the source.
    #[inline]
    pub fn replace_with_message(&mut self, range: Range<usize>, number: u32, payload: &[u8]) {
        self.open_levels();
        self.copy_to(range.start);
        put_len(&mut self.out, number, payload);
        self.copied = range.end;
    }

    /// Whether anything was edited.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The new message; `None` where nothing was edited.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        debug_assert!(self.levels.is_empty(), "every record entered is left");
        if !self.changed {
            return None;
        }
        self.copy_to(self.source.len());
        // What was kept must not hold much more memory than it needs.
        if self.out.len() < self.out.capacity() / 2 {
            self.out.shrink_to_fit();
        }
        Some(self.out)
    }

    #[inline]
    fn copy_to(&mut self, end: usize) {
        debug_assert!(self.copied <= end, "edits come in the order of the source");
        if let Some(bytes) = self.source.get(self.copied..end) {
            self.out.extend_from_slice(bytes);
            self.copied = end;
        }
    }

    /// Writes the headers of the records that enclose the edit, where they do not stand yet.
    #[inline]
    fn open_levels(&mut self) {
        if !self.changed {
            self.changed = true;
            // Room for the usual case, some bytes more for each item, without growing on the way.
            self.out.reserve_exact(self.source.len() + self.source.len() / 8 + 64);
        }
        // Levels are opened from the outside in, so the innermost tells.
        if self.levels.last().is_some_and(|level| level.opened.is_none()) {
            self.open_closed_levels();
        }
    }

    fn open_closed_levels(&mut self) {
        for at in 0..self.levels.len() {
            if self.levels[at].opened.is_some() {
                continue;
            }
            let Record { start, payload } = self.levels[at].record.clone();
            self.copy_to(start);
            let record_at = self.out.len();
            // Tag and length as they stand: the length keeps its place, and mostly its width.
            self.copy_to(payload.start);
            let len_width = len_width(&self.source[start..payload.start]);
            self.levels[at].opened = Some(Opened {
                record_at,
                len_at: self.out.len() - len_width,
                payload_at: self.out.len(),
            });
        }
    }
}

/// How many bytes the length takes in a record's header.
fn len_width(header: &[u8]) -> usize {
    let mut rest = header;
    match read_varint(&mut rest) {
        Ok(_) => rest.len(),
        Err(_) => 0,
    }
}

fn encode_into(out: &mut [u8; 10], mut value: u64) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// Appends a length-delimited field: a string, bytes or a message.
#[inline]
pub fn put_len(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    put_len_header(out, number, payload.len());
    out.extend_from_slice(payload);
}

/// Appends tag and length of a length-delimited field; `len` bytes must follow.
#[inline]
pub fn put_len_header(out: &mut Vec<u8>, number: u32, len: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, len as u64);
}

/// Bytes that [`put_len`] writes for a payload of `len` bytes.
#[inline]
pub fn len_field_len(number: u32, len: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(len as u64) + len
}

/// The fields of a message with the places they stand at; the message stands at `base` of its source.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    fields: super::Fields<'a>,
    end: usize,
}

impl<'a> Records<'a> {
    /// The fields of `source[place]`; none where the place is outside.
    #[inline]
    pub fn new(source: &'a [u8], place: Range<usize>) -> Self {
        Self {
            end: place.end,
            fields: super::Fields::new(source.get(place).unwrap_or_default()),
        }
    }

    /// The next field and its place. The payload of a field that is not length-delimited is empty.
    ///
    /// # Errors
    /// Where the message is not well framed.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<(super::Field<'a>, Record)>, WireError> {
        let start = self.end - self.fields.rest().len();
        let Some(field) = self.fields.next_field()? else {
            return Ok(None);
        };
        let end = self.end - self.fields.rest().len();
        let payload_len = match field.value {
            super::FieldValue::Len(payload) => payload.len(),
            _ => 0,
        };
        let record = Record {
            start,
            payload: end - payload_len..end,
        };
        Ok(Some((field, record)))
    }
}
