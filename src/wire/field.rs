//! The field iterator: number, wire type and value of each field of a message, one after the other.

use thiserror::Error;

use super::read_varint;

/// Why bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("a field is longer than the message it stands in")]
    Truncated,
    #[error("a varint has more than 64 bits")]
    Varint,
    #[error("a field has a number outside 1 to 536870911")]
    FieldNumber,
    #[error("field {number} has wire type {found}, which does not exist")]
    NoSuchWireType { number: u32, found: u8 },
    /// Groups are deprecated since protobuf 2 and OTLP has never had any; a skipper for them would have to recurse.
    #[error("field {number} is a group; OTLP has no groups")]
    Group { number: u32 },
    #[error("field {number} has wire type {found}, its schema says {wanted}")]
    WrongWireType {
        number: u32,
        found: WireType,
        wanted: WireType,
    },
}

/// Wire types (<https://protobuf.dev/programming-guides/encoding/#structure>), without groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Len = 2,
    Fixed32 = 5,
}

impl std::fmt::Display for WireType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WireType::Varint => "varint",
            WireType::Fixed64 => "fixed64",
            WireType::Len => "len",
            WireType::Fixed32 => "fixed32",
        })
    }
}

/// The value of a field, as far as it can be read without a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Len(&'a [u8]),
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub number: u32,
    pub value: FieldValue<'a>,
}

impl<'a> Field<'a> {
    /// Which wire type it has.
    pub fn wire_type(&self) -> WireType {
        match self.value {
            FieldValue::Varint(_) => WireType::Varint,
            FieldValue::Fixed64(_) => WireType::Fixed64,
            FieldValue::Len(_) => WireType::Len,
            FieldValue::Fixed32(_) => WireType::Fixed32,
        }
    }

    #[cold]
    fn wrong(&self, wanted: WireType) -> WireError {
        WireError::WrongWireType {
            number: self.number,
            found: self.wire_type(),
            wanted,
        }
    }

    /// The varint.
    ///
    /// # Errors
    /// [`WireError::WrongWireType`]; the same for the three below.
    #[inline]
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            FieldValue::Varint(value) => Ok(value),
            _ => Err(self.wrong(WireType::Varint)),
        }
    }

    /// The eight bytes, little endian.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            FieldValue::Fixed64(value) => Ok(value),
            _ => Err(self.wrong(WireType::Fixed64)),
        }
    }

    /// The payload: a string, bytes, a message or packed numbers.
    #[inline]
    pub fn len(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            FieldValue::Len(value) => Ok(value),
            _ => Err(self.wrong(WireType::Len)),
        }
    }

    /// The four bytes, little endian.
    #[inline]
    pub fn fixed32(&self) -> Result<u32, WireError> {
        match self.value {
            FieldValue::Fixed32(value) => Ok(value),
            _ => Err(self.wrong(WireType::Fixed32)),
        }
    }
}

/// Reads one field off the front; `None` at the end. After an error `input` stands where it stood.
#[inline(always)]
pub(super) fn read_field<'a>(input: &mut &'a [u8]) -> Result<Option<Field<'a>>, WireError> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut rest = *input;
    let key = read_varint(&mut rest)?;
    let number = (key >> 3) as u32;
    if key > u64::from(u32::MAX) || number == 0 {
        return Err(WireError::FieldNumber);
    }
    let value = match key & 7 {
        2 => {
            let len = read_varint(&mut rest)?;
            // A claim beyond usize is beyond the slice as well.
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let (payload, after) = rest.split_at_checked(len).ok_or(WireError::Truncated)?;
            rest = after;
            FieldValue::Len(payload)
        }
        0 => FieldValue::Varint(read_varint(&mut rest)?),
        1 => {
            let (bytes, after) = rest.split_first_chunk().ok_or(WireError::Truncated)?;
            rest = after;
            FieldValue::Fixed64(u64::from_le_bytes(*bytes))
        }
        5 => {
            let (bytes, after) = rest.split_first_chunk().ok_or(WireError::Truncated)?;
            rest = after;
            FieldValue::Fixed32(u32::from_le_bytes(*bytes))
        }
        3 | 4 => return Err(WireError::Group { number }),
        found => {
            return Err(WireError::NoSuchWireType {
                number,
                found: found as u8,
            });
        }
    };
    *input = rest;
    Ok(Some(Field { number, value }))
}

/// The fields of one message. Ends after the first error.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field and the bytes it was written as (tag, length, payload).
    ///
    /// # Errors
    /// Where the message is not well framed.
    #[inline]
    pub fn next_with_record(&mut self) -> Result<Option<(Field<'a>, &'a [u8])>, WireError> {
        let before = self.rest;
        let field = self.next_field()?;
        let record = &before[..before.len() - self.rest.len()];
        Ok(field.map(|field| (field, record)))
    }
}

/// What fields can be read from: one slice, or a message in several pieces.
pub(super) trait FieldSource<'a> {
    fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError>;
}

impl<'a> Fields<'a> {
    /// The next field; `None` at the end.
    ///
    /// # Errors
    /// Where the message is not well framed; then nothing follows.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        let field = read_field(&mut self.rest);
        if field.is_err() {
            self.rest = &[];
        }
        field
    }
}

impl<'a> FieldSource<'a> for Fields<'a> {
    #[inline(always)]
    fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        Fields::next_field(self)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_field().transpose()
    }
}

// Last one wins: each of these walks the whole message.

pub(super) fn last_len<'a>(mut fields: impl FieldSource<'a>, number: u32) -> Result<&'a [u8], WireError> {
    let mut last: &[u8] = &[];
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            last = field.len()?;
        }
    }
    Ok(last)
}

pub(super) fn last_varint<'a>(mut fields: impl FieldSource<'a>, number: u32) -> Result<u64, WireError> {
    let mut last = 0;
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            last = field.varint()?;
        }
    }
    Ok(last)
}

pub(super) fn last_fixed64<'a>(mut fields: impl FieldSource<'a>, number: u32) -> Result<Option<u64>, WireError> {
    let mut last = None;
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            last = Some(field.fixed64()?);
        }
    }
    Ok(last)
}

pub(super) fn last_fixed32<'a>(mut fields: impl FieldSource<'a>, number: u32) -> Result<u32, WireError> {
    let mut last = 0;
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            last = field.fixed32()?;
        }
    }
    Ok(last)
}

/// Decodes a `sint32` (zigzag).
pub(super) fn zigzag32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}
