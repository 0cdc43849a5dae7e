//! Attributes and their values (`opentelemetry/proto/common/v1/common.proto`).

use super::field::{FieldSource, last_len};
use super::{Field, Fields, Pieces, Repeated, Text, View, WireError, read_varint};

/// `AnyValue`. Reading one level does not look into what it contains: arrays and maps are read when they are iterated,
/// so depth is the caller's to bound.
#[derive(Clone, Copy, Debug, Default)]
pub enum Value<'a> {
    /// No member of the oneof is set: a valid, empty value.
    #[default]
    Empty,
    String(Text<'a>),
    Bool(bool),
    Int(i64),
    /// May be NaN or infinite.
    Double(f64),
    Array(Values<'a>),
    Map(Attributes<'a>),
    Bytes(&'a [u8]),
    /// An index into the string table of a profiles request; means nothing in other signals.
    StringIndex(i32),
}

impl<'a> Value<'a> {
    /// The value in these payload bytes of an `AnyValue`.
    ///
    /// # Errors
    /// Where its own level is malformed.
    #[inline]
    pub fn read(raw: &'a [u8]) -> Result<Self, WireError> {
        // One field, a short string: by far the most frequent value.
        if let [0x0a, len, text @ ..] = raw
            && usize::from(*len) == text.len()
            && *len < 0x80
        {
            return Ok(Value::String(Text::new(text)));
        }
        Self::read_pieces(Pieces::one(raw))
    }

    /// The same for a value in pieces.
    ///
    /// # Errors
    /// As above.
    pub fn read_pieces(mut pieces: Pieces<'a>) -> Result<Self, WireError> {
        let mut value = Value::Empty;
        while let Some(field) = pieces.next_field()? {
            // The last member wins; only a message member that directly follows itself is merged.
            value = match (field.number, value) {
                (1, _) => Value::String(Text::new(field.len()?)),
                (2, _) => Value::Bool(field.varint()? != 0),
                (3, _) => Value::Int(field.varint()? as i64),
                (4, _) => Value::Double(f64::from_bits(field.fixed64()?)),
                (5, Value::Array(begun)) => {
                    field.len()?;
                    Value::Array(begun)
                }
                (5, _) => Value::Array(Values(Repeated::in_pieces(pieces.member(field.len()?, 5), 1))),
                (6, Value::Map(begun)) => {
                    field.len()?;
                    Value::Map(begun)
                }
                (6, _) => Value::Map(Attributes::in_pieces(pieces.member(field.len()?, 6), 1)),
                (7, _) => Value::Bytes(field.len()?),
                (8, _) => Value::StringIndex(field.varint()? as i32),
                (_, unchanged) => unchanged,
            };
        }
        Ok(value)
    }

    /// The text of a string value.
    pub fn as_text(&self) -> Option<Text<'a>> {
        match self {
            Value::String(text) => Some(*text),
            _ => None,
        }
    }
}

/// The elements of an array value.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a>(Repeated<'a, &'a [u8]>);

impl<'a> Values<'a> {
    /// The payloads of the elements.
    pub fn raw(&self) -> Repeated<'a, &'a [u8]> {
        self.0
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = self.0.next()?;
        Some(raw.and_then(Value::read))
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct KeyValue<'a> {
    raw: &'a [u8],
}

impl<'a> View<'a> for KeyValue<'a> {
    #[inline]
    fn of(raw: &'a [u8]) -> Self {
        Self { raw }
    }
}

impl<'a> KeyValue<'a> {
    /// Its payload bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The key.
    ///
    /// # Errors
    /// Where the attribute is malformed.
    #[inline]
    pub fn key(&self) -> Result<Text<'a>, WireError> {
        match split_plain(self.raw) {
            Some((key, _)) => Ok(Text::new(key)),
            None => last_len(Fields::new(self.raw), 1).map(Text::new),
        }
    }

    /// The payload of the value where the attribute stands as every encoder writes it; else read [`KeyValue::value`].
    #[inline]
    pub fn plain_value(&self) -> Option<&'a [u8]> {
        split_plain(self.raw).and_then(|(_, value)| value)
    }

    /// The value; a missing one is [`Value::Empty`].
    ///
    /// # Errors
    /// Where the attribute or the first level of its value is malformed.
    #[inline]
    pub fn value(&self) -> Result<Value<'a>, WireError> {
        match split_plain(self.raw) {
            Some((_, Some(value))) => Value::read(value),
            Some((_, None)) => Ok(Value::Empty),
            None => match Pieces::find(self.raw, 2)? {
                Some(pieces) => Value::read_pieces(pieces),
                None => Ok(Value::Empty),
            },
        }
    }
}

/// Key and value payload where the attribute is written as every encoder writes it: the key (under 128 bytes), then
/// the value or nothing, and no more. `None` sends the caller the long way.
#[inline(always)]
fn split_plain(raw: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let [0x0a, key_len, rest @ ..] = raw else {
        return None;
    };
    if *key_len >= 0x80 {
        return None;
    }
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let [0x12, rest @ ..] = rest else {
        return rest.is_empty().then_some((key, None));
    };
    let mut value = rest;
    let value_len = read_varint(&mut value).ok()?;
    (value_len == value.len() as u64).then_some((key, Some(value)))
}

/// A list of attributes: those of a resource, a span, ..., or a map value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    fields: Pieces<'a>,
    number: u32,
}

impl<'a> Attributes<'a> {
    /// The attributes in field `number` of `message`.
    #[inline]
    pub fn new(message: &'a [u8], number: u32) -> Self {
        Self::in_pieces(Pieces::one(message), number)
    }

    /// The same of a message in pieces.
    #[inline]
    pub fn in_pieces(fields: Pieces<'a>, number: u32) -> Self {
        Self { fields, number }
    }

    /// The payloads of the attributes.
    pub fn raw(&self) -> Repeated<'a, &'a [u8]> {
        Repeated::in_pieces(self.fields, self.number)
    }

    /// The attribute with this key: the first, should the sender have broken OTLP's rule that keys are unique (the
    /// Collector does the same). A key without value is `Some(Value::Empty)`.
    ///
    /// # Errors
    /// Where the bytes up to it, or its value's first level, are malformed.
    #[inline]
    pub fn get(&self, key: &str) -> Result<Option<Value<'a>>, WireError> {
        match self.find(key)? {
            Some(attribute) => attribute.value().map(Some),
            None => Ok(None),
        }
    }

    /// Whether there is an attribute with this key.
    ///
    /// # Errors
    /// As above.
    pub fn contains(&self, key: &str) -> Result<bool, WireError> {
        Ok(self.find(key)?.is_some())
    }

    /// The attribute itself, as above.
    ///
    /// # Errors
    /// As above.
    pub fn find(&self, key: &str) -> Result<Option<KeyValue<'a>>, WireError> {
        let mut fields = self.fields;
        while let Some(field) = next_of(&mut fields, self.number)? {
            let attribute = KeyValue::of(field.len()?);
            if attribute.key()?.as_bytes() == key.as_bytes() {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }
}

#[inline(always)]
fn next_of<'a>(fields: &mut impl FieldSource<'a>, number: u32) -> Result<Option<Field<'a>>, WireError> {
    while let Some(field) = fields.next_field()? {
        if field.number == number {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<KeyValue<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let field = next_of(&mut self.fields, self.number).transpose()?;
        Some(field.and_then(|field| field.len()).map(KeyValue::of))
    }
}
