//! Firehose's envelope, and the framing inside its records. Nothing here believes a size that a stranger claims.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::wire::read_varint;

/// Records of one request; Firehose batches at most some thousands. Each costs memory beside its text.
pub const MAX_RECORDS: usize = 100_000;

/// A request as Firehose sends it.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The same as in the header.
    #[serde(borrow, rename = "requestId", default)]
    pub request_id: Cow<'a, str>,
    /// Records in base64.
    #[serde(borrow, default)]
    pub records: Records<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads the JSON text. Unknown members are left out.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("the body is no Firehose request: {error}"))
    }

    /// Bytes that all records together decode to, at most.
    pub fn decoded_len(&self) -> usize {
        let lengths = self.records.0.iter().map(|record| record.len() / 4 * 3 + 3);
        lengths.sum()
    }
}

/// The records' data, as sent.
#[derive(Debug, Default)]
pub struct Records<'a>(pub Vec<Cow<'a, str>>);

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Records<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Records<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records<'de>, A::Error> {
                let mut records = Vec::new();
                while let Some(record) = list.next_element::<Record<'de>>()? {
                    if records.len() == MAX_RECORDS {
                        return Err(A::Error::custom(format!("more than {MAX_RECORDS} records")));
                    }
                    records.push(record.data);
                }
                Ok(Records(records))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// The bytes of a record.
///
/// # Errors
/// Where it is no base64.
pub fn decode(data: &str) -> Result<Bytes, base64::DecodeError> {
    STANDARD.decode(data).map(Bytes::from)
}

/// The messages of an OTLP record, each behind its length as a varint. A record that ends inside one was truncated:
/// the messages before are whole.
#[derive(Debug)]
pub struct Messages {
    rest: Bytes,
    truncated: bool,
}

impl Messages {
    /// The messages of this record.
    pub fn of(record: Bytes) -> Self {
        Self {
            rest: record,
            truncated: false,
        }
    }

    /// Whether it ended inside a message. Known when there is no next one.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let mut input: &[u8] = &self.rest;
        let length = read_varint(&mut input)
            .ok()
            .and_then(|length| usize::try_from(length).ok());
        let from = self.rest.len() - input.len();
        match length.filter(|length| *length <= input.len()) {
            Some(length) => {
                let message = self.rest.slice(from..from + length);
                self.rest = self.rest.slice(from + length..);
                Some(message)
            }
            None => {
                self.truncated = true;
                self.rest = Bytes::new();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_gives_its_id_and_records() {
        let text = br#"{"requestId":"a","timestamp":1,"extra":[{}],"records":[{"data":"YQ=="},{"data":"Y\/8="},{}]}"#;
        let envelope = Envelope::read(text).unwrap();
        assert_eq!(envelope.request_id, "a");
        let decoded: Vec<Bytes> = envelope.records.0.iter().map(|data| decode(data).unwrap()).collect();
        assert_eq!(decoded, [&b"a"[..], b"c\xff", b""]);
        assert!(envelope.decoded_len() >= 3);
        assert!(decode("Y").is_err());
    }

    #[test]
    fn too_many_records_are_refused_before_they_are_kept() {
        let many = vec!["{}"; MAX_RECORDS + 1].join(",");
        let text = format!("{{\"requestId\":\"a\",\"records\":[{many}]}}");
        let error = Envelope::read(text.as_bytes()).unwrap_err();
        assert!(error.contains("more than 100000 records"), "{error}");
    }

    #[test]
    fn whole_messages_before_a_truncated_one_are_kept() {
        for (record, whole, truncated) in [
            (&b""[..], 0, false),
            (b"\x02ab\x01c", 2, false),
            (b"\x02ab\x05c", 1, true),
            (b"\x02ab\x80", 1, true),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, true),
            (b"\x00\x00", 2, false),
        ] {
            let mut messages = Messages::of(Bytes::copy_from_slice(record));
            assert_eq!(messages.by_ref().count(), whole, "{record:?}");
            assert_eq!(messages.is_truncated(), truncated, "{record:?}");
        }
    }
}
