//! Interned texts and attributes of one segment: each distinct one stands once and has a number.

use super::table::Table;

/// Number of a text. 0 is the empty text.
pub type Sym = u32;

/// Distinct texts, one after the other in one buffer, so that a search passes over them in one go.
#[derive(Clone)]
pub struct Texts {
    buffer: String,
    ends: Vec<u32>,
    table: Table,
}

impl Default for Texts {
    fn default() -> Self {
        let mut texts = Self {
            buffer: String::new(),
            ends: Vec::new(),
            table: Table::default(),
        };
        texts.put("");
        texts
    }
}

impl Texts {
    /// The number of a text, new or known.
    pub fn put(&mut self, text: &str) -> Sym {
        let hash = self.table.hash(text);
        if let Some(known) = self.table.find(hash, |at| self.get(at) == text) {
            return known;
        }
        let at = self.ends.len() as u32;
        self.buffer.push_str(text);
        self.ends.push(self.buffer.len() as u32);
        let (buffer, ends) = (&self.buffer, &self.ends);
        self.table.insert(hash, at, |state, at| {
            use std::hash::BuildHasher;
            state.hash_one(text_at(buffer, ends, at))
        });
        at
    }

    /// The number of a text, if it stands here.
    pub fn find(&self, text: &str) -> Option<Sym> {
        self.table.find(self.table.hash(text), |at| self.get(at) == text)
    }

    /// The text of a number; empty for one that was never given.
    pub fn get(&self, sym: Sym) -> &str {
        text_at(&self.buffer, &self.ends, sym)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// All texts in one.
    pub fn buffer(&self) -> &str {
        &self.buffer
    }

    /// The number of the text that covers this byte of the buffer, and where it stands.
    pub fn covering(&self, at: usize) -> (Sym, std::ops::Range<usize>) {
        let sym = self.ends.partition_point(|end| *end as usize <= at);
        let start = if sym == 0 { 0 } else { self.ends[sym - 1] as usize };
        let end = self.ends.get(sym).map_or(self.buffer.len(), |end| *end as usize);
        (sym as u32, start..end)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.buffer.capacity() + self.ends.capacity() * 4 + self.table.bytes()
    }

    /// Gives back what was kept for growing.
    pub fn shrink(&mut self) {
        self.buffer.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

fn text_at<'a>(buffer: &'a str, ends: &[u32], sym: Sym) -> &'a str {
    let at = sym as usize;
    let Some(end) = ends.get(at) else { return "" };
    let start = if at == 0 { 0 } else { ends[at - 1] };
    buffer.get(start as usize..*end as usize).unwrap_or_default()
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Place {
    /// Of the span, log record or data point itself.
    Own,
    Event,
    Resource,
    Scope,
}

/// Type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValueKind {
    None,
    String,
    Bool,
    Int,
    Double,
    Bytes,
    Array,
    Map,
}

impl ValueKind {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::None => "none",
            ValueKind::String => "string",
            ValueKind::Bool => "bool",
            ValueKind::Int => "int",
            ValueKind::Double => "double",
            ValueKind::Bytes => "bytes",
            ValueKind::Array => "array",
            ValueKind::Map => "map",
        }
    }
}

/// One attribute with its value as text: numbers in decimal, bytes in base64, arrays and maps as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub place: Place,
    pub kind: ValueKind,
    pub key: Sym,
    pub value: Sym,
}

/// Distinct attributes.
#[derive(Clone, Default)]
pub struct Pairs {
    list: Vec<Pair>,
    table: Table,
}

impl Pairs {
    /// The number of an attribute, new or known.
    pub fn put(&mut self, pair: Pair) -> u32 {
        let hash = self.table.hash(&pair);
        if let Some(known) = self.table.find(hash, |at| self.list[at as usize] == pair) {
            return known;
        }
        let at = self.list.len() as u32;
        self.list.push(pair);
        let list = &self.list;
        self.table.insert(hash, at, |state, at| {
            use std::hash::BuildHasher;
            state.hash_one(list[at as usize])
        });
        at
    }

    /// The number of an attribute, if it stands here.
    pub fn find(&self, pair: Pair) -> Option<u32> {
        self.table
            .find(self.table.hash(&pair), |at| self.list[at as usize] == pair)
    }

    /// The attribute of a number.
    pub fn get(&self, at: u32) -> Pair {
        self.list[at as usize]
    }

    /// All of them, by their number.
    pub fn all(&self) -> &[Pair] {
        &self.list
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.list.capacity() * size_of::<Pair>() + self.table.bytes()
    }

    /// Gives back what was kept for growing.
    pub fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_however_often_it_is_put() {
        let mut texts = Texts::default();
        let numbers: Vec<Sym> = (0..5_000)
            .map(|at| texts.put(&format!("text {}", at % 1_000)))
            .collect();
        assert_eq!(texts.count(), 1_001);
        for (at, sym) in numbers.iter().enumerate() {
            assert_eq!(texts.get(*sym), format!("text {}", at % 1_000));
            assert_eq!(texts.find(texts.get(*sym)), Some(*sym));
        }
        assert_eq!((texts.put(""), texts.find("no such")), (0, None));
    }

    #[test]
    fn a_place_in_the_buffer_belongs_to_the_text_that_covers_it() {
        let mut texts = Texts::default();
        let (one, two) = (texts.put("one"), texts.put("two"));
        let at = texts.buffer().find("tw").unwrap();
        assert_eq!(texts.covering(at).0, two);
        assert_eq!(texts.covering(0), (one, 0..3));
    }
}
