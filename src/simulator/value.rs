//! One value tree for the two wire formats of the AWS APIs: rpc-v2-cbor and awsJson. Operations are written once.

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use serde_json::Value as Json;

/// Deeper input is refused; the deepest request of these APIs has seven levels.
const MAX_DEPTH: usize = 32;

/// A decoded request or an answer to encode.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Seconds since the epoch: tag 1 in CBOR, a number in JSON.
    Time(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// A request body that is not well formed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("malformed CBOR: {0}")]
    Cbor(#[from] minicbor::decode::Error),
    #[error("malformed JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("a number is out of range")]
    Range,
    #[error("bytes behind the end of the request")]
    Trailing,
}

impl Value {
    /// An answer's map.
    pub fn map<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Value::Map(
            entries
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    /// Adds an entry to a map.
    pub fn push(&mut self, name: &str, value: Value) {
        if let Value::Map(entries) = self {
            entries.push((name.to_owned(), value));
        }
    }

    /// The entry of a map; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(entries) = self else { return None };
        entries
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Null)
    }

    /// The text below `name`.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The whole number below `name`.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// The moment below `name`, seconds since the epoch.
    pub fn time(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Time(seconds) | Value::Float(seconds) => Some(*seconds),
            Value::Int(seconds) => Some(*seconds as f64),
            _ => None,
        }
    }

    /// The list below `name`; empty where there is none.
    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(values)) => values,
            _ => &[],
        }
    }

    /// Reads a CBOR body. An empty body is an empty map, as the protocol allows.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Ok(Value::Map(Vec::new()));
        }
        let mut decoder = Decoder::new(bytes);
        let value = read_cbor(&mut decoder, 0)?;
        if decoder.position() != bytes.len() {
            return Err(WireError::Trailing);
        }
        Ok(value)
    }

    /// Writes CBOR, with maps and lists of definite length.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        // Writing to a Vec cannot fail.
        let _ = write_cbor(self, &mut encoder);
        encoder.into_writer()
    }

    /// Reads a JSON body.
    pub fn from_json(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Ok(Value::Map(Vec::new()));
        }
        Ok(read_json(serde_json::from_slice(bytes)?))
    }

    /// Writes JSON.
    pub fn to_json(&self) -> Vec<u8> {
        write_json(self).to_string().into_bytes()
    }
}

fn read_cbor(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::Depth);
    }
    Ok(match decoder.datatype()? {
        Type::Bool => Value::Bool(decoder.bool()?),
        Type::Null | Type::Undefined => {
            decoder.skip()?;
            Value::Null
        }
        Type::F16 => Value::Float(f64::from(decoder.f16()?)),
        Type::F32 => Value::Float(f64::from(decoder.f32()?)),
        Type::F64 => Value::Float(decoder.f64()?),
        Type::String => Value::Text(decoder.str()?.to_owned()),
        Type::StringIndef => Value::Text(decoder.str_iter()?.collect::<Result<String, _>>()?),
        Type::Tag => {
            let tag = decoder.tag()?;
            let inner = read_cbor(decoder, depth + 1)?;
            match (tag.as_u64(), inner) {
                (1, Value::Int(seconds)) => Value::Time(seconds as f64),
                (1, Value::Float(seconds)) => Value::Time(seconds),
                (_, inner) => inner,
            }
        }
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array()?;
            let mut values = Vec::new();
            while more(decoder, length, values.len())? {
                values.push(read_cbor(decoder, depth + 1)?);
            }
            Value::List(values)
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map()?;
            let mut entries = Vec::new();
            while more(decoder, length, entries.len())? {
                let Value::Text(name) = read_cbor(decoder, depth + 1)? else {
                    return Err(minicbor::decode::Error::message("a map key is not a text").into());
                };
                entries.push((name, read_cbor(decoder, depth + 1)?));
            }
            Value::Map(entries)
        }
        _ => {
            let int = decoder.int()?;
            Value::Int(i64::try_from(int).map_err(|_| WireError::Range)?)
        }
    })
}

/// Whether another element follows: by the stated length, else until the break, which is taken.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, have: usize) -> Result<bool, WireError> {
    if let Some(length) = length {
        return Ok((have as u64) < length);
    }
    if decoder.datatype()? == Type::Break {
        decoder.skip()?;
        return Ok(false);
    }
    Ok(true)
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write_cbor(value: &Value, encoder: &mut Encoder<Vec<u8>>) -> Written {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(b) => encoder.bool(*b)?.ok(),
        Value::Int(n) => encoder.i64(*n)?.ok(),
        // Doubles must be floats on the wire even when they are whole: clients refuse an integer there.
        Value::Float(x) => encoder.f64(*x)?.ok(),
        Value::Time(seconds) => encoder.tag(Tag::new(1))?.f64(*seconds)?.ok(),
        Value::Text(text) => encoder.str(text)?.ok(),
        Value::List(values) => {
            encoder.array(values.len() as u64)?;
            for value in values {
                write_cbor(value, encoder)?;
            }
            Ok(())
        }
        Value::Map(entries) => {
            encoder.map(entries.len() as u64)?;
            for (name, value) in entries {
                encoder.str(name)?;
                write_cbor(value, encoder)?;
            }
            Ok(())
        }
    }
}

fn read_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(b),
        Json::Number(number) => match number.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Float(number.as_f64().unwrap_or(0.0)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(values) => Value::List(values.into_iter().map(read_json).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(name, value)| (name, read_json(value)))
                .collect(),
        ),
    }
}

fn write_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(n) => Json::from(*n),
        Value::Float(x) | Value::Time(x) => Json::from(*x),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(values) => Json::Array(values.iter().map(write_json).collect()),
        Value::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(name, value)| (name.clone(), write_json(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        Value::map([
            ("Id", Value::text("m1")),
            ("At", Value::Time(1_700_000_000.0)),
            (
                "Values",
                Value::List(vec![Value::Float(3.0), Value::Int(-4), Value::Bool(true)]),
            ),
        ])
    }

    #[test]
    fn what_is_written_as_cbor_reads_back() {
        assert_eq!(Value::from_cbor(&sample().to_cbor()).unwrap(), sample());
    }

    #[test]
    fn reads_maps_and_lists_of_indefinite_length() {
        let mut encoder = Encoder::new(Vec::new());
        encoder.begin_map().unwrap().str("a").unwrap();
        encoder.begin_array().unwrap().i32(1).unwrap().end().unwrap();
        encoder.end().unwrap();
        let value = Value::from_cbor(&encoder.into_writer()).unwrap();
        assert_eq!(value, Value::map([("a", Value::List(vec![Value::Int(1)]))]));
    }

    #[test]
    fn deep_truncated_and_trailing_input_is_refused() {
        assert!(matches!(Value::from_cbor(&[0x81; 100_000]), Err(WireError::Depth)));
        let whole = sample().to_cbor();
        for end in 1..whole.len() {
            assert!(Value::from_cbor(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(matches!(Value::from_cbor(&[0x01, 0x01]), Err(WireError::Trailing)));
        // A list that claims 2^60 elements must not reserve them.
        assert!(Value::from_cbor(&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
