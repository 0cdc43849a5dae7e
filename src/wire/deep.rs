//! The walk to the bottom: wire types of every known field, nesting, UTF-8, number of attributes, length of keys.
//!
//! Recursion is bounded: message types nest a fixed number deep, and values by [`DeepLimits::max_nesting`].

use std::ops::Range;

use super::schema::{FieldSpec, Kind, MessageSpec, Role};
use super::{Field, FieldValue, Records, Splicer, WireError, WireType, read_varint};

/// What the walk holds a request to.
#[derive(Clone, Copy, Debug)]
pub struct DeepLimits {
    /// Arrays and maps inside each other in one value.
    pub max_nesting: usize,
    /// Attributes of one element.
    pub max_attributes: usize,
    /// Bytes of an attribute's key.
    pub max_key_bytes: usize,
    /// Put U+FFFD in the place of what is no UTF-8, instead of finding fault with it.
    pub repair_utf8: bool,
}

/// What the walk finds wrong with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Malformed(WireError),
    Utf8,
    TooManyAttributes,
    KeyTooLong,
    TooDeep,
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Fault::Malformed(error)
    }
}

/// What the walk did to a part.
#[derive(Debug, Default)]
pub struct Deep {
    /// The new bytes, where anything was repaired or taken out.
    pub bytes: Option<Vec<u8>>,
    /// Strings repaired.
    pub repaired: usize,
}

/// Walks a part of a batch to the bottom. `on_bad_item` hears of each item that is taken out for a fault in it, with its
/// payload; [`Fault::TooDeep`] is always a fault of the whole request.
///
/// # Errors
/// A fault outside any item.
pub fn check_deep(
    request: &'static MessageSpec,
    part: &[u8],
    limits: DeepLimits,
    on_bad_item: &mut dyn FnMut(Fault, &[u8]),
) -> Result<Deep, Fault> {
    let mut walk = DeepWalk {
        source: part,
        splicer: Splicer::new(part),
        limits,
        repaired: 0,
        on_bad_item,
    };
    walk.message(request, 0..part.len(), 0)?;
    let DeepWalk { splicer, repaired, .. } = walk;
    Ok(Deep {
        bytes: splicer.finish(),
        repaired,
    })
}

struct DeepWalk<'a, 'f> {
    source: &'a [u8],
    splicer: Splicer<'a>,
    limits: DeepLimits,
    repaired: usize,
    on_bad_item: &'f mut dyn FnMut(Fault, &[u8]),
}

impl<'a> DeepWalk<'a, '_> {
    /// Walks one message; says whether it had children that were all taken out.
    fn message(&mut self, spec: &'static MessageSpec, place: Range<usize>, nesting: usize) -> Result<bool, Fault> {
        let mut records = Records::new(self.source, place);
        let mut attributes = 0;
        let (mut stayed, mut went) = (false, false);
        while let Some((field, record)) = records.next_record()? {
            let Some(known) = spec.field(field.number) else {
                continue;
            };
            match known.kind {
                Kind::Message(child) => {
                    let payload = field.len()?;
                    if child.role == Role::Attribute {
                        attributes += 1;
                        if attributes > self.limits.max_attributes {
                            return Err(Fault::TooManyAttributes);
                        }
                    }
                    let nesting = nesting + usize::from(child.role == Role::Value);
                    // The value itself is level zero: what counts is arrays and maps inside each other.
                    if nesting > self.limits.max_nesting + 1 {
                        return Err(Fault::TooDeep);
                    }
                    let depth = self.splicer.depth();
                    self.splicer.enter(record.clone());
                    match self.message(child, record.payload.clone(), nesting) {
                        Ok(true) => {
                            self.splicer.leave_removed();
                            went = true;
                        }
                        Ok(false) => {
                            self.splicer.leave();
                            stayed |= child.role != Role::Plain || known.repeated;
                        }
                        Err(fault) if child.role == Role::Item && fault != Fault::TooDeep => {
                            self.splicer.abandon_to(depth + 1);
                            self.splicer.leave_removed();
                            (self.on_bad_item)(fault, payload);
                            went = true;
                        }
                        Err(fault) => return Err(fault),
                    }
                }
                Kind::String => self.string(spec, known, &field, record.start..record.payload.end)?,
                _ => check_scalar(known, &field)?,
            }
        }
        Ok(went && !stayed)
    }

    fn string(
        &mut self,
        spec: &MessageSpec,
        known: &FieldSpec,
        field: &Field<'_>,
        range: Range<usize>,
    ) -> Result<(), Fault> {
        let bytes = field.len()?;
        if spec.role == Role::Attribute && bytes.len() > self.limits.max_key_bytes {
            return Err(Fault::KeyTooLong);
        }
        if std::str::from_utf8(bytes).is_ok() {
            return Ok(());
        }
        if !self.limits.repair_utf8 {
            return Err(Fault::Utf8);
        }
        let repaired = String::from_utf8_lossy(bytes);
        self.splicer
            .replace_with_message(range, known.number, repaired.as_bytes());
        self.repaired += 1;
        Ok(())
    }
}

/// Checks the wire type of a field that is no message; lists of numbers may be packed.
fn check_scalar(known: &FieldSpec, field: &Field<'_>) -> Result<(), WireError> {
    let wanted = known.kind.wire_type();
    if field.wire_type() == wanted {
        return Ok(());
    }
    let FieldValue::Len(packed) = field.value else {
        return Err(wrong(field, wanted));
    };
    if !known.repeated {
        return Err(wrong(field, wanted));
    }
    let width = match wanted {
        WireType::Fixed64 => 8,
        WireType::Fixed32 => 4,
        _ => {
            let mut rest = packed;
            while !rest.is_empty() {
                read_varint(&mut rest)?;
            }
            return Ok(());
        }
    };
    if packed.len() % width == 0 {
        Ok(())
    } else {
        Err(WireError::Truncated)
    }
}

fn wrong(field: &Field<'_>, wanted: WireType) -> WireError {
    WireError::WrongWireType {
        number: field.number,
        found: field.wire_type(),
        wanted,
    }
}

/// What a request would take in memory once decoded to generated structs, in bytes: its payload and the struct of every
/// message in it. One pass, no allocation. What cannot be read counts nothing: decoding would stop there as well.
///
/// Source: the measured sizes of the reliability specification, section 3.2. Empty elements cost up to 130 times their
/// bytes on the wire.
pub fn estimate_memory(request: &'static MessageSpec, part: &[u8]) -> usize {
    let structs = structs_of(request, part, 0);
    part.len().saturating_add(structs)
}

fn structs_of(spec: &'static MessageSpec, message: &[u8], depth: usize) -> usize {
    // Decoders stop at 100 messages inside each other.
    const DEEPEST: usize = 100;
    let mut sum = 0usize;
    for field in super::Fields::new(message).map_while(Result::ok) {
        let Some(known) = spec.field(field.number) else {
            continue;
        };
        let FieldValue::Len(payload) = field.value else {
            continue;
        };
        sum = sum.saturating_add(match known.kind {
            Kind::Message(child) if depth < DEEPEST => {
                // A singular message is a part of its parent, whose size counts it.
                let own = if known.repeated { child.memory } else { 0 };
                own.saturating_add(structs_of(child, payload, depth + 1))
            }
            // Lists of strings: a header each. Packed varints grow to eight bytes.
            Kind::String if known.repeated => 24,
            Kind::Uint64 if known.repeated => payload.len().saturating_mul(7),
            _ => 0,
        });
    }
    sum
}
