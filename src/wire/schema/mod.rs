//! OTLP's messages as tables: what the deep check, the size estimate and OTLP/JSON need to know of every field.
//!
//! The views do not use it: they are written out by hand for speed.

mod tables;

pub use tables::{
    ANY_VALUE, INSTRUMENTATION_SCOPE, KEY_VALUE, LOG_RECORD, LOGS_REQUEST, METRIC, METRICS_REQUEST, RESOURCE, SPAN,
    TRACES_REQUEST,
};

use super::WireType;

/// A message type.
#[derive(Debug)]
pub struct MessageSpec {
    /// As in the .proto file.
    pub name: &'static str,
    /// What it plays in a request.
    pub role: Role,
    /// Bytes that one takes in memory once decoded to a generated struct, without what its fields point to.
    pub memory: usize,
    /// In the order of the .proto file.
    pub fields: &'static [FieldSpec],
    /// Index into `fields` plus one, by field number.
    by_number: [u8; 17],
}

/// What a message plays in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Plain,
    /// A span, a metric or a log record: may be taken out alone.
    Item,
    /// A data point.
    Point,
    /// `KeyValue`.
    Attribute,
    /// `AnyValue`, which may contain itself.
    Value,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    pub number: u32,
    /// As in the .proto file.
    pub name: &'static str,
    /// lowerCamelCase, as OTLP/JSON writes it.
    pub json: &'static str,
    pub kind: Kind,
    /// A list.
    pub repeated: bool,
    /// Knows whether it is set: written even where it has the default value.
    pub presence: bool,
    /// A member of the message's only oneof: the last one set wins.
    pub oneof: bool,
}

/// The type of a field, or of a list's elements.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    String,
    Bytes,
    /// Bytes that JSON writes in hexadecimal: an id of this many bytes.
    Id(usize),
    Bool,
    Int32,
    Uint32,
    Sint32,
    Int64,
    Uint64,
    Fixed32,
    Fixed64,
    Sfixed64,
    Double,
    /// The names of its values, by number.
    Enum(&'static [&'static str]),
    Message(&'static MessageSpec),
}

impl Kind {
    /// How a value is written when it stands alone.
    pub fn wire_type(self) -> WireType {
        match self {
            Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => WireType::Len,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => WireType::Fixed64,
            Kind::Fixed32 => WireType::Fixed32,
            Kind::Bool | Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Int64 | Kind::Uint64 | Kind::Enum(_) => {
                WireType::Varint
            }
        }
    }
}

impl MessageSpec {
    /// The field with this number.
    #[inline]
    pub fn field(&self, number: u32) -> Option<&'static FieldSpec> {
        let at = usize::from(*self.by_number.get(number as usize)?);
        self.fields.get(at.checked_sub(1)?)
    }

    /// The field that JSON calls this, in either casing.
    pub fn field_by_name(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields
            .iter()
            .find(|field| field.json == name || field.name == name)
    }

    const fn new(name: &'static str, role: Role, memory: usize, fields: &'static [FieldSpec]) -> Self {
        let mut by_number = [0; 17];
        let mut at = 0;
        while at < fields.len() {
            by_number[fields[at].number as usize] = at as u8 + 1;
            at += 1;
        }
        Self {
            name,
            role,
            memory,
            fields,
            by_number,
        }
    }
}

impl FieldSpec {
    const fn new(number: u32, name: &'static str, json: &'static str, kind: Kind) -> Self {
        Self {
            number,
            name,
            json,
            kind,
            repeated: false,
            presence: false,
            oneof: false,
        }
    }

    const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    const fn presence(mut self) -> Self {
        self.presence = true;
        self
    }

    const fn oneof(mut self) -> Self {
        self.oneof = true;
        self.presence()
    }
}
