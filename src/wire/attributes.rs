//! Editing the attributes of a message: insert, update, upsert, delete, on the bytes.

use std::ops::Range;

use super::{Fields, KeyValue, Text, Value, View, WireError, put_len, put_len_header, put_varint, varint_len};

/// What to do with a key that is there, or is not: the actions of the Collector's attributes processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMode {
    /// Only where the key is absent.
    Insert,
    /// Only where the key is present.
    Update,
    /// Either way.
    Upsert,
}

/// The attributes of one message, to be edited. Reuse one for many messages: its buffers stay.
///
/// Edits act on what earlier edits left. A key that stands twice (which OTLP forbids) is set at its first place and
/// deleted at all.
#[derive(Debug, Default)]
pub struct AttributeList<'a> {
    message: &'a [u8],
    number: u32,
    entries: Vec<Entry>,
    /// Payloads of attributes that were set.
    fresh: Vec<u8>,
    /// From the first attribute of the message to the end of the last; its end where it has none.
    run: Range<usize>,
    /// Whether other fields stand between them.
    scattered: bool,
    changed: bool,
}

/// A payload range, in the message or among the fresh ones.
#[derive(Clone, Copy, Debug)]
struct Entry {
    fresh: bool,
    /// Where the record with its tag begins; means something in the message only.
    record_start: u32,
    start: u32,
    end: u32,
}

impl<'a> AttributeList<'a> {
    /// A list that has not read anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the attributes in field `number` of `message`. What was edited before is forgotten.
    ///
    /// # Errors
    /// Where the message is malformed, or longer than 4 GiB.
    pub fn read(&mut self, message: &'a [u8], number: u32) -> Result<(), WireError> {
        self.entries.clear();
        self.fresh.clear();
        self.message = message;
        self.number = number;
        self.scattered = false;
        self.changed = false;
        self.run = message.len()..message.len();
        if u32::try_from(message.len()).is_err() {
            return Err(WireError::Truncated);
        }
        let mut fields = Fields::new(message);
        let mut start = 0;
        while let Some(field) = fields.next_field()? {
            let end = message.len() - fields.rest().len();
            if field.number == number {
                let payload = field.len()?;
                if self.entries.is_empty() {
                    self.run = start..end;
                }
                self.scattered |= start > self.run.end;
                self.run.end = end;
                self.entries.push(Entry {
                    fresh: false,
                    record_start: start as u32,
                    start: (end - payload.len()) as u32,
                    end: end as u32,
                });
            }
            start = end;
        }
        Ok(())
    }

    /// The same list, emptied, for a message that lives elsewhere: keeps the buffers.
    pub fn recycle<'b>(mut self) -> AttributeList<'b> {
        self.entries.clear();
        self.fresh.clear();
        AttributeList {
            message: &[],
            number: 0,
            entries: self.entries,
            fresh: self.fresh,
            ..AttributeList::default()
        }
    }

    /// Whether an edit changed anything.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// How many attributes there are now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The attributes as they are now.
    pub fn iter(&self) -> impl Iterator<Item = KeyValue<'_>> {
        self.entries.iter().map(|entry| KeyValue::of(self.payload(entry)))
    }

    /// The value of a key; `Some(Value::Empty)` for a key without value.
    ///
    /// # Errors
    /// Where an attribute up to it is malformed; so for all below.
    pub fn get(&self, key: &str) -> Result<Option<Value<'_>>, WireError> {
        match self.position(key)? {
            Some(at) => KeyValue::of(self.payload(&self.entries[at])).value().map(Some),
            None => Ok(None),
        }
    }

    /// Sets a key to a value given as the payload of an `AnyValue` (see [`Value::encode`]). Tells whether it was set.
    ///
    /// # Errors
    /// As above.
    pub fn set(&mut self, mode: SetMode, key: &str, value: &[u8]) -> Result<bool, WireError> {
        let at = self.position(key)?;
        let wanted = match mode {
            SetMode::Insert => at.is_none(),
            SetMode::Update => at.is_some(),
            SetMode::Upsert => true,
        };
        if !wanted {
            return Ok(false);
        }
        let start = self.fresh.len();
        put_len(&mut self.fresh, 1, key.as_bytes());
        put_len(&mut self.fresh, 2, value);
        let entry = Entry {
            fresh: true,
            record_start: 0,
            start: start as u32,
            end: self.fresh.len() as u32,
        };
        match at {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
        self.changed = true;
        Ok(true)
    }

    /// Deletes a key. Tells whether it was there.
    ///
    /// # Errors
    /// As above.
    pub fn delete(&mut self, key: &str) -> Result<bool, WireError> {
        self.retain(|name| name != key).map(|deleted| deleted > 0)
    }

    /// Keeps the attributes whose key passes. Tells how many went.
    ///
    /// # Errors
    /// As above; what went before that attribute stays away.
    pub fn retain(&mut self, mut keep: impl FnMut(Text<'_>) -> bool) -> Result<usize, WireError> {
        let before = self.entries.len();
        let mut kept = 0;
        for at in 0..before {
            let entry = self.entries[at];
            match KeyValue::of(self.payload(&entry)).key() {
                Ok(key) if !keep(key) => self.changed = true,
                Ok(_) => {
                    self.entries[kept] = entry;
                    kept += 1;
                }
                Err(error) => {
                    self.entries.drain(kept..at);
                    return Err(error);
                }
            }
        }
        self.entries.truncate(kept);
        Ok(before - kept)
    }

    /// Appends the whole message with its attributes as they are now: other fields stay in their order, the attributes
    /// stand together where the first of them stood, or at the end.
    ///
    /// # Errors
    /// Where the message is malformed, which [`AttributeList::read`] would have said.
    pub fn write_message(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.reserve(self.message.len() + self.fresh.len() + 8 * self.entries.len());
        out.extend_from_slice(&self.message[..self.run.start]);
        self.write_attributes(out);
        if self.scattered {
            let mut fields = Fields::new(&self.message[self.run.clone()]);
            while let Some((field, record)) = fields.next_with_record()? {
                if field.number != self.number {
                    out.extend_from_slice(record);
                }
            }
        }
        out.extend_from_slice(&self.message[self.run.end..]);
        Ok(())
    }

    /// Appends the attributes alone, as fields of the number they were read from.
    pub fn write_attributes(&self, out: &mut Vec<u8>) {
        let mut at = 0;
        while at < self.entries.len() {
            let entry = self.entries[at];
            if entry.fresh {
                put_len(out, self.number, self.payload(&entry));
                at += 1;
                continue;
            }
            // Neighbours that still stand side by side are copied in one go.
            let mut end = entry.end;
            at += 1;
            while let Some(next) = self
                .entries
                .get(at)
                .filter(|next| !next.fresh && next.record_start == end)
            {
                end = next.end;
                at += 1;
            }
            out.extend_from_slice(&self.message[entry.record_start as usize..end as usize]);
        }
    }

    fn position(&self, key: &str) -> Result<Option<usize>, WireError> {
        for (at, entry) in self.entries.iter().enumerate() {
            if KeyValue::of(self.payload(entry)).key()?.as_bytes() == key.as_bytes() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    #[inline]
    fn payload(&self, entry: &Entry) -> &[u8] {
        let range = entry.start as usize..entry.end as usize;
        if entry.fresh {
            &self.fresh[range]
        } else {
            &self.message[range]
        }
    }
}

impl Value<'_> {
    /// The payload of an `AnyValue` with this value, for [`AttributeList::set`].
    ///
    /// # Errors
    /// Where the own level of an array or a map is malformed.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::new();
        self.encode_to(&mut out)?;
        Ok(out)
    }

    /// The same, appended to a buffer.
    ///
    /// # Errors
    /// As above.
    pub fn encode_to(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match *self {
            Value::Empty => {}
            Value::String(text) => put_len(out, 1, text.as_bytes()),
            Value::Bool(value) => out.extend_from_slice(&[0x10, u8::from(value)]),
            Value::Int(value) => put_varint_field(out, 3, value as u64),
            Value::Double(value) => {
                out.push(0x21);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Array(values) => put_list(out, 5, values.raw())?,
            Value::Map(attributes) => put_list(out, 6, attributes.raw())?,
            Value::Bytes(bytes) => put_len(out, 7, bytes),
            Value::StringIndex(index) => put_varint_field(out, 8, index as u64),
        }
        Ok(())
    }
}

/// Elements are copied as they stand: nothing is walked below them.
fn put_list<'a>(
    out: &mut Vec<u8>,
    number: u32,
    elements: impl Iterator<Item = Result<&'a [u8], WireError>> + Clone,
) -> Result<(), WireError> {
    let mut len = 0;
    for element in elements.clone() {
        let element = element?.len();
        len += 1 + varint_len(element as u64) + element;
    }
    put_len_header(out, number, len);
    for element in elements {
        put_len(out, 1, element?);
    }
    Ok(())
}

fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}
