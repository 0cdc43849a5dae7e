//! Wire to JSON, led by the tables.

use std::ops::{Deref, DerefMut};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::JsonWriteError;
use crate::wire::schema::{FieldSpec, Kind, MessageSpec, Role};
use crate::wire::{Field, FieldValue, Fields, WireError, read_varint};

/// Arrays and maps inside each other in one value: what readers must follow.
const MAX_NESTING: usize = 64;

/// The text, and what it may cost.
struct Out {
    text: Vec<u8>,
    /// Largest length of `text`.
    limit: usize,
    /// Bytes that may still be copied to merge messages that are written in pieces. No encoder writes such; nested ones
    /// would hold a copy at every level.
    may_merge: usize,
}

impl Deref for Out {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.text
    }
}

impl DerefMut for Out {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }
}

impl Out {
    /// Before something is written that takes at most `more` bytes.
    fn check(&self, more: usize) -> Result<(), JsonWriteError> {
        if self.text.len() + more > self.limit {
            return Err(JsonWriteError::TooLong { limit: self.limit });
        }
        Ok(())
    }
}

/// Writes parts as one request, of at most `limit` bytes (and a few).
pub(super) fn write_request(
    request: &'static MessageSpec,
    parts: &[Bytes],
    limit: usize,
) -> Result<Vec<u8>, JsonWriteError> {
    let length = parts.iter().map(Bytes::len).sum::<usize>();
    let mut out = Out {
        text: Vec::with_capacity(2 * length),
        limit,
        may_merge: length,
    };
    out.push(b'{');
    // An Export request has one field, the list of resource groups.
    if let Some(FieldSpec {
        json,
        number,
        kind: Kind::Message(group),
        ..
    }) = request.fields.first()
    {
        let mut first = true;
        for part in parts {
            let mut fields = Fields::new(part);
            while let Some(field) = fields.next_field()? {
                if field.number != *number {
                    continue;
                }
                if first {
                    put_key(&mut out, json, &mut true);
                    out.push(b'[');
                } else {
                    out.push(b',');
                }
                first = false;
                message(&mut out, group, field.len()?, 0)?;
            }
        }
        if !first {
            out.push(b']');
        }
    }
    out.push(b'}');
    Ok(out.text)
}

/// What a first walk over a message found of one field.
#[derive(Clone, Copy, Default)]
struct Slot<'a> {
    /// The last occurrence.
    last: Option<Field<'a>>,
    /// The message from its first occurrence on; of a oneof's member from where it won.
    from: &'a [u8],
    /// Whether it stands more than once.
    again: bool,
}

fn message(out: &mut Out, spec: &'static MessageSpec, raw: &[u8], nesting: usize) -> Result<(), JsonWriteError> {
    // Keys and scalars of the longest message, without its strings.
    const LONGEST: usize = 512;
    out.check(LONGEST)?;
    let slots = find_slots(spec, raw)?;
    out.push(b'{');
    let mut first = true;
    for known in spec.fields {
        let slot = &slots[known.number as usize];
        let Some(last) = slot.last else {
            continue;
        };
        match (known.repeated, known.kind) {
            (true, _) => list(out, known, slot, nesting, &mut first)?,
            (false, Kind::Message(child)) => {
                put_key(out, known.json, &mut first);
                let nesting = deeper(child, nesting)?;
                if slot.again {
                    // Pieces written one after the other are the merged message.
                    let whole = merged(out, known.number, slot.from)?;
                    message(out, child, &whole, nesting)?;
                } else {
                    message(out, child, last.len()?, nesting)?;
                }
            }
            (false, _) => {
                if known.presence || !is_default(&last) {
                    put_key(out, known.json, &mut first);
                    if let FieldValue::Len(payload) = last.value {
                        out.check(longest_of(known.kind, payload))?;
                    }
                    scalar(out, known.kind, &last)?;
                }
            }
        }
    }
    out.push(b'}');
    Ok(())
}

fn find_slots<'a>(spec: &MessageSpec, raw: &'a [u8]) -> Result<[Slot<'a>; 17], WireError> {
    let mut slots = [Slot::default(); 17];
    let mut winner = 0;
    let mut fields = Fields::new(raw);
    loop {
        let from = fields.rest();
        let Some(field) = fields.next_field()? else {
            return Ok(slots);
        };
        let Some(known) = spec.field(field.number) else {
            continue;
        };
        if known.oneof && winner != field.number {
            slots[winner as usize] = Slot::default();
            winner = field.number;
        }
        let slot = &mut slots[field.number as usize];
        if slot.last.is_none() {
            slot.from = from;
        } else {
            slot.again = true;
        }
        slot.last = Some(field);
    }
}

/// A value inside a value is one level deeper. Recursion is bounded by this.
fn deeper(child: &MessageSpec, nesting: usize) -> Result<usize, JsonWriteError> {
    let nesting = nesting + usize::from(child.role == Role::Value);
    if nesting > MAX_NESTING + 1 {
        return Err(JsonWriteError::TooDeep { limit: MAX_NESTING });
    }
    Ok(nesting)
}

fn merged(out: &mut Out, number: u32, from: &[u8]) -> Result<Vec<u8>, JsonWriteError> {
    out.may_merge = out.may_merge.checked_sub(from.len()).ok_or(JsonWriteError::InPieces)?;
    let mut merged = Vec::new();
    let mut fields = Fields::new(from);
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            merged.extend_from_slice(field.len()?);
        }
    }
    Ok(merged)
}

/// The most bytes that this becomes in JSON, quotes included.
fn longest_of(kind: Kind, payload: &[u8]) -> usize {
    match kind {
        Kind::String => {
            let grown = payload
                .iter()
                .filter(|byte| !matches!(byte, 0x20..0x7f) || matches!(byte, b'"' | b'\\'));
            payload.len() + 5 * grown.count() + 2
        }
        _ => 2 * payload.len() + 8,
    }
}

fn list(
    out: &mut Out,
    known: &FieldSpec,
    slot: &Slot<'_>,
    nesting: usize,
    first: &mut bool,
) -> Result<(), JsonWriteError> {
    put_key(out, known.json, first);
    out.push(b'[');
    let begin = out.len();
    let mut fields = Fields::new(slot.from);
    while let Some(field) = fields.next_field()? {
        if field.number != known.number {
            continue;
        }
        match (known.kind, field.value) {
            (Kind::Message(child), _) => {
                message(out, child, field.len()?, deeper(child, nesting)?)?;
                out.push(b',');
            }
            (Kind::String, _) => {
                let text = field.len()?;
                out.check(longest_of(Kind::String, text))?;
                string(out, text);
                out.push(b',');
            }
            (kind, FieldValue::Len(packed)) => packed_numbers(out, kind, known.number, packed)?,
            (kind, _) => {
                out.check(LONGEST_NUMBER)?;
                scalar(out, kind, &field)?;
                out.push(b',');
            }
        }
    }
    if out.len() > begin {
        out.pop();
    }
    out.push(b']');
    Ok(())
}

/// A quoted number and a comma; doubles are the longest.
const LONGEST_NUMBER: usize = 32;

fn packed_numbers(out: &mut Out, kind: Kind, number: u32, mut packed: &[u8]) -> Result<(), JsonWriteError> {
    while !packed.is_empty() {
        out.check(LONGEST_NUMBER)?;
        let value = match kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
                let (bytes, rest) = packed.split_first_chunk().ok_or(WireError::Truncated)?;
                packed = rest;
                FieldValue::Fixed64(u64::from_le_bytes(*bytes))
            }
            _ => FieldValue::Varint(read_varint(&mut packed)?),
        };
        scalar(out, kind, &Field { number, value })?;
        out.push(b',');
    }
    Ok(())
}

fn put_key(out: &mut Vec<u8>, key: &str, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn is_default(field: &Field<'_>) -> bool {
    match field.value {
        FieldValue::Varint(bits) | FieldValue::Fixed64(bits) => bits == 0,
        FieldValue::Fixed32(bits) => bits == 0,
        FieldValue::Len(payload) => payload.is_empty(),
    }
}

fn scalar(out: &mut Vec<u8>, kind: Kind, field: &Field<'_>) -> Result<(), WireError> {
    match kind {
        Kind::String => string(out, field.len()?),
        Kind::Bytes => quoted(out, &STANDARD.encode(field.len()?)),
        Kind::Id(_) => quoted(out, &hex::encode(field.len()?)),
        Kind::Bool => display(out, field.varint()? != 0),
        Kind::Int32 | Kind::Enum(_) => display(out, field.varint()? as i32),
        Kind::Uint32 => display(out, field.varint()? as u32),
        Kind::Sint32 => {
            let bits = field.varint()? as u32;
            display(out, (bits >> 1) as i32 ^ -((bits & 1) as i32));
        }
        Kind::Fixed32 => display(out, field.fixed32()?),
        Kind::Int64 => quoted_display(out, field.varint()? as i64),
        Kind::Uint64 => quoted_display(out, field.varint()?),
        Kind::Fixed64 => quoted_display(out, field.fixed64()?),
        Kind::Sfixed64 => quoted_display(out, field.fixed64()? as i64),
        Kind::Double => put_double(out, f64::from_bits(field.fixed64()?)),
        Kind::Message(_) => debug_assert!(false, "messages are written by their own function"),
    }
    Ok(())
}

fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write;
    // A Vec takes whatever is written.
    let _ = write!(out, "{value}");
}

fn quoted_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.push(b'"');
    display(out, value);
    out.push(b'"');
}

fn quoted(out: &mut Vec<u8>, plain: &str) {
    out.push(b'"');
    out.extend_from_slice(plain.as_bytes());
    out.push(b'"');
}

/// Numbers that JSON has not are written in the words of proto3's JSON mapping.
fn put_double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        quoted(out, "NaN");
    } else if value.is_infinite() {
        quoted(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        // The shortest text that reads back as the same double, with an exponent where that is shorter.
        display(out, format_args!("{value:?}"));
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => display(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
