//! JSON to wire, led by the tables.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::fault::{Fault, Reach, Step};
use super::number::{double, exact_integer};
use super::reader::{Next, Reader};
use crate::pdata::{DoorLimits, Rejected, Utf8};
use crate::wire::schema::{FieldSpec, Kind, MessageSpec, Role};
use crate::wire::{put_len, put_varint, varint_len};

/// Base64 with or without padding; URL-safe letters are turned into these first.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) struct Outcome {
    /// An Export request.
    pub(super) bytes: Vec<u8>,
    /// Records that were left out.
    pub(super) rejected: Rejected,
}

/// Reads a whole request.
pub(super) fn read_request(request: &'static MessageSpec, text: &[u8], limits: &DoorLimits) -> Result<Outcome, Fault> {
    let mut read = Read {
        reader: Reader::new(text),
        out: Vec::with_capacity(text.len() / 2),
        limits,
        rejected: Rejected::default(),
    };
    read.message(request, 0)?;
    read.reader.end()?;
    Ok(Outcome {
        bytes: read.out,
        rejected: read.rejected,
    })
}

struct Read<'a, 'l> {
    reader: Reader<'a>,
    out: Vec<u8>,
    limits: &'l DoorLimits,
    rejected: Rejected,
}

impl<'a> Read<'a, '_> {
    /// The fields of one message; `null` is a message without fields. Recursion is bounded by the nesting of values and
    /// the depth of JSON.
    fn message(&mut self, spec: &'static MessageSpec, nesting: usize) -> Result<(), Fault> {
        if self.reader.take_null()? {
            return Ok(());
        }
        self.reader.open(b'{')?;
        let mut first = true;
        while let Some(key) = self.reader.next_key(&mut first)? {
            match spec.field_by_name(&key) {
                Some(field) => self
                    .field(spec, field, nesting)
                    .map_err(|fault| fault.inside(Step::Field(field.json)))?,
                None => self.reader.skip_value()?,
            }
        }
        Ok(())
    }

    fn field(&mut self, spec: &MessageSpec, field: &'static FieldSpec, nesting: usize) -> Result<(), Fault> {
        if self.reader.take_null()? {
            return Ok(());
        }
        match (field.repeated, field.kind) {
            (true, Kind::Message(child)) => self.messages(field.number, child, nesting),
            (true, Kind::String) => self.strings(field.number),
            (true, _) => self.numbers(field),
            (false, Kind::Message(child)) => self.child(field.number, child, nesting),
            (false, _) => self.scalar(spec, field),
        }
    }

    /// A message with its tag and length.
    fn child(&mut self, number: u32, spec: &'static MessageSpec, nesting: usize) -> Result<(), Fault> {
        let nesting = nesting + usize::from(spec.role == Role::Value);
        let limit = self.limits.max_nesting;
        // The value itself is level zero: what counts is arrays and maps inside each other.
        if nesting > limit + 1 {
            return Err(Fault::new(format!("values are nested more than {limit} deep")));
        }
        let at = self.begin(number);
        self.message(spec, nesting)?;
        self.end(at);
        Ok(())
    }

    /// Writes a tag and one byte of length; gives the place behind them.
    fn begin(&mut self, number: u32) -> usize {
        put_varint(&mut self.out, u64::from(number) << 3 | 2);
        self.out.push(0);
        self.out.len()
    }

    /// Fills in the length of what was written since.
    fn end(&mut self, at: usize) {
        let len = self.out.len() - at;
        if len < 0x80 {
            self.out[at - 1] = len as u8;
            return;
        }
        let mut encoded = Vec::with_capacity(varint_len(len as u64));
        put_varint(&mut encoded, len as u64);
        self.out.splice(at - 1..at, encoded);
    }

    fn messages(&mut self, number: u32, child: &'static MessageSpec, nesting: usize) -> Result<(), Fault> {
        self.reader.open(b'[')?;
        let mut first = true;
        let mut index = 0;
        while self.reader.next_element(&mut first)? {
            if child.role == Role::Attribute && index == self.limits.max_attributes {
                let message = format!("more than {index} attributes");
                return Err(Fault::of_record(Reach::OverLimit, message));
            }
            self.element(number, child, nesting)
                .map_err(|fault| fault.inside(Step::Index(index)))?;
            index += 1;
        }
        Ok(())
    }

    /// One element of a list of messages. A record that cannot be used is left out, and the rest goes on.
    fn element(&mut self, number: u32, child: &'static MessageSpec, nesting: usize) -> Result<(), Fault> {
        // Only among values does a `null` stand for something.
        if child.role != Role::Value && self.reader.take_null()? {
            return Ok(());
        }
        let (mark, written) = (self.reader.mark(), self.out.len());
        let Err(fault) = self.child(number, child, nesting) else {
            return Ok(());
        };
        let is_record = matches!(child.role, Role::Item | Role::Point);
        if !is_record || fault.reach == Reach::Request {
            return Err(fault);
        }
        self.out.truncate(written);
        self.reader.return_to(mark);
        self.reader.skip_value()?;
        match fault.reach {
            Reach::BadId => self.rejected.wrong_length_ids += 1,
            Reach::Utf8 => self.rejected.invalid_utf8 += 1,
            Reach::OverLimit | Reach::Request => self.rejected.over_limit += 1,
        }
        if self.rejected.example.is_none() {
            self.rejected.example = Some(fault.message().into());
        }
        Ok(())
    }

    fn strings(&mut self, number: u32) -> Result<(), Fault> {
        self.reader.open(b'[')?;
        let mut first = true;
        while self.reader.next_element(&mut first)? {
            let text = if self.reader.take_null()? {
                Cow::Borrowed("")
            } else {
                self.text()?
            };
            put_len(&mut self.out, number, text.as_bytes());
        }
        Ok(())
    }

    /// A list of numbers, packed.
    fn numbers(&mut self, field: &'static FieldSpec) -> Result<(), Fault> {
        self.reader.open(b'[')?;
        let at = self.begin(field.number);
        let mut first = true;
        let mut index = 0;
        while self.reader.next_element(&mut first)? {
            let bits = if self.reader.take_null()? {
                0
            } else {
                self.bits(field.kind)
                    .map_err(|fault| fault.inside(Step::Index(index)))?
            };
            self.put_bits(field.kind, bits);
            index += 1;
        }
        if index == 0 {
            // Nothing to pack: no field at all. The tags of lists of numbers take one byte.
            self.out.truncate(at - 2);
        } else {
            self.end(at);
        }
        Ok(())
    }

    /// A scalar with its tag, unless it is the default of a field that does not know whether it is set.
    fn scalar(&mut self, spec: &MessageSpec, field: &'static FieldSpec) -> Result<(), Fault> {
        match field.kind {
            Kind::String => {
                let text = self.text()?;
                let limit = self.limits.max_key_bytes;
                if spec.role == Role::Attribute && text.len() > limit {
                    let message = format!("a key is longer than {limit} bytes");
                    return Err(Fault::of_record(Reach::OverLimit, message));
                }
                self.put_bytes(field, text.as_bytes());
            }
            Kind::Bytes => {
                let text = self.text()?;
                let plain: Vec<u8> = text
                    .bytes()
                    .map(|byte| match byte {
                        b'-' => b'+',
                        b'_' => b'/',
                        other => other,
                    })
                    .collect();
                let bytes = BASE64.decode(plain).map_err(|_| Fault::new("no base64"))?;
                self.put_bytes(field, &bytes);
            }
            Kind::Id(len) => {
                let text = self.text()?;
                let id = read_id(field.json, &text, len)?;
                self.put_bytes(field, &id);
            }
            kind => {
                let bits = self.bits(kind)?;
                if bits != 0 || field.presence {
                    let wire_type = kind.wire_type() as u64;
                    put_varint(&mut self.out, u64::from(field.number) << 3 | wire_type);
                    self.put_bits(kind, bits);
                }
            }
        }
        Ok(())
    }

    fn put_bytes(&mut self, field: &FieldSpec, bytes: &[u8]) {
        if !bytes.is_empty() || field.presence {
            put_len(&mut self.out, field.number, bytes);
        }
    }

    fn put_bits(&mut self, kind: Kind, bits: u64) {
        match kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => self.out.extend_from_slice(&bits.to_le_bytes()),
            Kind::Fixed32 => self.out.extend_from_slice(&(bits as u32).to_le_bytes()),
            _ => put_varint(&mut self.out, bits),
        }
    }

    /// A string, repaired where allowed.
    fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        let string = self.reader.string()?;
        if string.repaired {
            if self.limits.utf8 == Utf8::Reject {
                return Err(Fault::of_record(Reach::Utf8, "a string is no UTF-8"));
            }
            self.rejected.repaired_strings += 1;
        }
        Ok(string.text)
    }

    /// A number, bool or enum as it is written on the wire.
    fn bits(&mut self, kind: Kind) -> Result<u64, Fault> {
        let next = self.reader.next()?;
        let text: Cow<'_, str> = match (kind, next) {
            (Kind::Bool, Next::Bool) => return self.reader.bool().map(u64::from),
            (_, Next::String) => self.reader.string()?.text,
            (Kind::Bool, _) => return Err(Fault::new("expected true or false")),
            (_, Next::Number) => Cow::Borrowed(self.reader.number()?),
            _ => return Err(Fault::new("expected a number")),
        };
        match kind {
            Kind::Bool => match &*text {
                "true" => Ok(1),
                "false" => Ok(0),
                _ => Err(Fault::new("expected true or false")),
            },
            Kind::Double => match double(&text) {
                Some(value) => Ok(value.to_bits()),
                None => Err(Fault::new("expected a number, \"NaN\", \"Infinity\" or \"-Infinity\"")),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(number) => Ok(number as u64),
                None => integer_bits(Kind::Int32, &text)
                    .map_err(|_| Fault::new(format!("no number and no name such as {}", names[0]))),
            },
            _ => integer_bits(kind, &text),
        }
    }
}

fn integer_bits(kind: Kind, text: &str) -> Result<u64, Fault> {
    let Some(integer) = exact_integer(text) else {
        return Err(Fault::new("expected a whole number"));
    };
    let bits = match kind {
        Kind::Int32 => i32::try_from(integer).ok().map(|value| i64::from(value) as u64),
        Kind::Sint32 => i32::try_from(integer)
            .ok()
            .map(|value| u64::from(((value << 1) ^ (value >> 31)) as u32)),
        Kind::Uint32 | Kind::Fixed32 => u32::try_from(integer).ok().map(u64::from),
        Kind::Int64 | Kind::Sfixed64 => i64::try_from(integer).ok().map(|value| value as u64),
        _ => u64::try_from(integer).ok(),
    };
    bits.ok_or_else(|| Fault::new("the number is out of range"))
}

/// An id in hexadecimal, in any case; empty is empty.
fn read_id(name: &str, text: &str, len: usize) -> Result<Vec<u8>, Fault> {
    let digits = 2 * len;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() == digits
        && let Ok(id) = hex::decode(text)
    {
        return Ok(id);
    }
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decoded_len = BASE64.decode(text).map_or(0, |bytes| bytes.len());
    let message = if decoded_len == len && text.len() < digits {
        format!(
            "{name} looks like base64; OTLP/JSON needs {digits} hex digits (a known SDK fault: update it or use \
             http/protobuf)"
        )
    } else if is_hex {
        format!("{name} has {} hex digits; OTLP/JSON needs {digits}", text.len())
    } else {
        format!("{name} is not hexadecimal; OTLP/JSON needs {digits} hex digits")
    };
    Err(Fault::of_record(Reach::BadId, message))
}
