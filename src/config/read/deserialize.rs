//! serde's view of a value of the tree.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::error::ReadError;
use super::scalars::Text;
use super::{Reader, describe, special};
use crate::config::frozen::{Content, NodeId, Slot};
use crate::config::scalar::Kind;

/// A value to be read.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    reader: &'a Reader<'a>,
    node: NodeId,
    /// The section itself: takes only its keys and leaves the others to the next reader.
    top: bool,
}

impl<'a> At<'a> {
    pub fn top(reader: &'a Reader<'a>, node: NodeId) -> Self {
        let top = true;
        Self { reader, node, top }
    }

    fn below(reader: &'a Reader<'a>, node: NodeId) -> Self {
        let top = false;
        Self { reader, node, top }
    }

    fn slot(&self) -> &'a Slot {
        self.reader.frozen.slot(self.node)
    }

    /// Whoever reads the top as something other than a struct takes all of it.
    fn take_all(&self) {
        if self.top {
            self.reader.frozen.mark_consumed(self.node);
        }
    }

    fn fail(&self, expected: &str) -> ReadError {
        let found = describe(self.slot());
        ReadError::message(format!("expected {expected}, found {found}")).at(self.node)
    }

    /// The scalar here; what an expansion was made of counts as one.
    fn text(&self, expected: &str) -> Result<Text<'a>, ReadError> {
        self.take_all();
        let slot = self.slot();
        let (text, quoted) = match (&slot.content, &slot.expanded) {
            (Content::Scalar(scalar), _) => (scalar.text.as_str(), scalar.quoted),
            (_, Some(expanded)) => (expanded.text.as_str(), true),
            (Content::Null, None) => ("", false),
            (Content::List(_) | Content::Map(_), None) => return Err(self.fail(expected)),
        };
        Ok(Text {
            reader: self.reader,
            node: self.node,
            text,
            quoted,
            expanded: slot.expanded.is_some(),
            untyped: slot.expanded.is_some(),
        })
    }

    fn is_empty(&self) -> bool {
        match &self.slot().content {
            Content::Null => true,
            Content::Scalar(scalar) => scalar.text.is_empty(),
            Content::List(_) | Content::Map(_) => false,
        }
    }

    /// The values of the map here, without those that are masked; nothing counts as an empty map.
    fn entries(&self) -> Result<Vec<NodeId>, ReadError> {
        match &self.slot().content {
            Content::Map(children) => {
                let visible = children.iter().copied().filter(|child| !self.reader.is_masked(*child));
                Ok(visible.collect())
            }
            _ if self.is_empty() => Ok(Vec::new()),
            _ => Err(self.fail("a map")),
        }
    }

    fn named_special<V: Visitor<'a>>(&self, name: &str, visitor: V) -> Result<V::Value, ReadError> {
        match name {
            special::DURATION => {
                let duration = self.text("a duration such as 10s")?.as_duration()?;
                visitor.visit_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
            }
            special::SIZE => visitor.visit_u64(self.text("a size such as 10MiB")?.as_size()?),
            special::SECRET => {
                self.reader.frozen.mark_secret(self.node);
                visitor.visit_newtype_struct(*self)
            }
            special::SECRET_URL => {
                if let Content::Scalar(scalar) = &self.reader.frozen.slot(self.node).content
                    && holds_credentials(&scalar.text)
                {
                    self.reader.frozen.mark_secret(self.node);
                }
                visitor.visit_newtype_struct(*self)
            }
            _ => visitor.visit_newtype_struct(*self),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let text = self.text("a whole number")?;
            let value = text.as_int_within(i128::from(<$type>::MIN), i128::from(<$type>::MAX))?;
            let value = <$type>::try_from(value).map_err(|_| ReadError::message("out of range"))?;
            visitor.$visit(value).map_err(|error: ReadError| error.at(self.node))
        })*
    };
}

impl<'a> Deserializer<'a> for At<'a> {
    type Error = ReadError;

    whole_numbers!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.take_all();
        match &self.slot().content {
            Content::Null => visitor.visit_unit(),
            Content::List(_) => return self.deserialize_seq(visitor),
            Content::Map(_) => return self.deserialize_map(visitor),
            Content::Scalar(_) => any_scalar(self.text("a value")?, visitor),
        }
        .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_bool(self.text("true or false")?.as_bool()?)
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(self.text("a number")?.as_float()?)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        // The text of an expansion as it was written: `0123`, not 83.
        let text = match &self.slot().expanded {
            Some(expanded) => Text {
                text: &expanded.text,
                ..self.text("a text")?
            },
            None => self.text("a text")?,
        };
        visitor
            .visit_borrowed_str(text.as_text())
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let nothing = matches!(self.slot().content, Content::Null) && self.slot().expanded.is_none();
        if nothing {
            self.take_all();
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.take_all();
        if self.is_empty() {
            visitor.visit_unit()
        } else {
            Err(self.fail("nothing"))
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.named_special(name, visitor)
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.take_all();
        let elements = match &self.slot().content {
            Content::List(children) => {
                let visible = children.iter().copied().filter(|child| !self.reader.is_masked(*child));
                Elements::Nodes(visible.collect::<Vec<_>>().into_iter())
            }
            Content::Map(_) => return Err(self.fail("a list")),
            _ if self.is_empty() => Elements::Nodes(Vec::new().into_iter()),
            // A plain text splits at commas, as in the Collector.
            _ => Elements::Pieces(self.text("a list")?, self.text("a list")?.text.split(',')),
        };
        visitor
            .visit_seq(List {
                reader: self.reader,
                elements,
            })
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.take_all();
        let entries = self.entries()?;
        visitor
            .visit_map(Entries::new(self.reader, entries))
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let frozen = self.reader.frozen;
        if self.top {
            frozen.know(self.node, fields);
        }
        let mut entries = Vec::new();
        for child in self.entries()? {
            let key = frozen.key(child).unwrap_or_default();
            let slot = frozen.slot(child);
            let is_nothing = matches!(slot.content, Content::Null) && slot.expanded.is_none();
            if !fields.contains(&key) {
                if !self.top {
                    frozen.report_unknown_key(child, fields);
                }
                continue;
            }
            frozen.mark_consumed(child);
            // `key:` leaves the field's default.
            if !is_nothing {
                entries.push(child);
            }
        }
        visitor
            .visit_map(Entries::new(self.reader, entries))
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.take_all();
        if let Content::Map(_) = &self.slot().content {
            let entries = self.entries()?;
            let [only] = entries.as_slice() else {
                return Err(self.fail(&format!("one key out of {}", variants.join(", "))));
            };
            let key = self.reader.frozen.key(*only).unwrap_or_default();
            let choice = Choice {
                variant: key,
                content: Some(At::below(self.reader, *only)),
            };
            return visitor.visit_enum(choice).map_err(|error: ReadError| error.at(*only));
        }
        let variant = self.text("a text")?.text;
        let choice = Choice { variant, content: None };
        visitor
            .visit_enum(choice)
            .map_err(|error: ReadError| error.at(self.node))
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.take_all();
        visitor.visit_unit()
    }
}

/// A scalar whose reader takes what comes.
fn any_scalar<'a, V: Visitor<'a>>(text: Text<'a>, visitor: V) -> Result<V::Value, ReadError> {
    match text.kind() {
        Kind::Null => visitor.visit_unit(),
        Kind::Bool(value) => visitor.visit_bool(value),
        Kind::Int(_) => {
            let value = text.as_int()?;
            match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_f64(value as f64),
            }
        }
        Kind::Float(value) => visitor.visit_f64(value),
        Kind::Date | Kind::Text => visitor.visit_borrowed_str(text.text),
    }
}

enum Elements<'a> {
    Nodes(std::vec::IntoIter<NodeId>),
    Pieces(Text<'a>, std::str::Split<'a, char>),
}

struct List<'a> {
    reader: &'a Reader<'a>,
    elements: Elements<'a>,
}

impl<'a> SeqAccess<'a> for List<'a> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        match &mut self.elements {
            Elements::Nodes(nodes) => {
                let Some(node) = nodes.next() else { return Ok(None) };
                let element = At::below(self.reader, node);
                seed.deserialize(element).map(Some).map_err(|error| error.at(node))
            }
            Elements::Pieces(whole, pieces) => {
                let Some(piece) = pieces.next() else { return Ok(None) };
                let piece = Text {
                    text: piece.trim(),
                    untyped: true,
                    ..*whole
                };
                let node = piece.node;
                seed.deserialize(Piece(piece)).map(Some).map_err(|error| error.at(node))
            }
        }
    }
}

/// One of the pieces of a text that stands for a list.
struct Piece<'a>(Text<'a>);

macro_rules! pieces {
    ($($method:ident $visit:ident $least:expr, $most:expr, $type:ty);*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let value = self.0.as_int_within(i128::from($least), i128::from($most))?;
            visitor.$visit(<$type>::try_from(value).map_err(|_| ReadError::message("out of range"))?)
        })*
    };
}

impl<'de> Deserializer<'de> for Piece<'de> {
    type Error = ReadError;

    pieces!(
        deserialize_i8 visit_i64 i8::MIN, i8::MAX, i64;
        deserialize_i16 visit_i64 i16::MIN, i16::MAX, i64;
        deserialize_i32 visit_i64 i32::MIN, i32::MAX, i64;
        deserialize_i64 visit_i64 i64::MIN, i64::MAX, i64;
        deserialize_u8 visit_u64 u8::MIN, u8::MAX, u64;
        deserialize_u16 visit_u64 u16::MIN, u16::MAX, u64;
        deserialize_u32 visit_u64 u32::MIN, u32::MAX, u64;
        deserialize_u64 visit_u64 u64::MIN, u64::MAX, u64
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        any_scalar(self.0, visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_borrowed_str(self.0.as_text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_f64(self.0.as_float()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_bool(self.0.as_bool()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match name {
            special::DURATION => {
                let nanos = self.0.as_duration()?.as_nanos();
                visitor.visit_u64(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            special::SIZE => visitor.visit_u64(self.0.as_size()?),
            special::SECRET => {
                self.0.reader.frozen.mark_secret(self.0.node);
                visitor.visit_newtype_struct(self)
            }
            special::SECRET_URL => {
                if holds_credentials(self.0.text) {
                    self.0.reader.frozen.mark_secret(self.0.node);
                }
                visitor.visit_newtype_struct(self)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let variant = self.0.text;
        visitor.visit_enum(Choice { variant, content: None })
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The values of a map, one key after another.
struct Entries<'a> {
    reader: &'a Reader<'a>,
    nodes: std::vec::IntoIter<NodeId>,
    current: NodeId,
}

impl<'a> Entries<'a> {
    fn new(reader: &'a Reader<'a>, nodes: Vec<NodeId>) -> Self {
        Self {
            reader,
            nodes: nodes.into_iter(),
            current: 0,
        }
    }
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        self.current = node;
        let key = self.reader.frozen.key(node).unwrap_or_default();
        let key: StrDeserializer<'_, ReadError> = key.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(node))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let value = At::below(self.reader, self.current);
        seed.deserialize(value).map_err(|error| error.at(self.current))
    }
}

/// One of several forms: a text, or a map with one key.
struct Choice<'a> {
    variant: &'a str,
    content: Option<At<'a>>,
}

impl<'a> EnumAccess<'a> for Choice<'a> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: StrDeserializer<'_, ReadError> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> VariantAccess<'a> for Choice<'a> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            Some(content) if !content.is_empty() => Err(content.fail("nothing")),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, ReadError> {
        match self.content {
            Some(content) => seed.deserialize(content),
            None => Err(ReadError::message(format!(
                "\"{}\" needs settings below it",
                self.variant
            ))),
        }
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        match self.content {
            Some(content) => content.deserialize_seq(visitor),
            None => Err(de::Error::custom(format!("\"{}\" needs a list below it", self.variant))),
        }
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.content {
            Some(content) => content.deserialize_struct("", fields, visitor),
            None => Err(ReadError::message(format!(
                "\"{}\" needs settings below it",
                self.variant
            ))),
        }
    }
}

/// Whether a URL has a user, a password or a query in it. A text that is no URL but has such characters may be a secret
/// that stands in the wrong place.
fn holds_credentials(url: &str) -> bool {
    url.contains(['@', '?'])
}
