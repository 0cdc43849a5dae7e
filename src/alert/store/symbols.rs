//! Texts as numbers, each text once.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of a text.
pub type Sym = u32;

/// `__name__`.
pub const NAME: Sym = 0;
/// The empty text.
const EMPTY: Sym = 1;

#[derive(Debug)]
pub struct Symbols {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, Sym, foldhash::fast::FixedState>,
    text_bytes: usize,
}

impl Symbols {
    pub(super) fn new() -> Self {
        let mut symbols = Self {
            texts: Vec::new(),
            ids: HashMap::default(),
            text_bytes: 0,
        };
        symbols.intern("__name__");
        symbols.intern("");
        symbols
    }

    /// The number of a text; a new one where it has none.
    pub(super) fn intern(&mut self, text: &str) -> Sym {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.texts.len() as Sym;
        let text: Arc<str> = text.into();
        self.text_bytes += text.len() + 16;
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    /// The number of a text, where it has one.
    pub fn get(&self, text: &str) -> Option<Sym> {
        self.ids.get(text).copied()
    }

    /// The text of a number; empty for one that is not known.
    pub fn text(&self, id: Sym) -> &str {
        self.texts.get(id as usize).map_or("", |text| text)
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.len() <= EMPTY as usize + 1
    }

    pub(super) fn bytes(&self) -> usize {
        self.text_bytes + self.texts.capacity() * 16 + self.ids.capacity() * 8 / 7 * 25
    }
}
