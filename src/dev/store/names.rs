//! Names that summaries refer to by number: services and runs. Bounded; what comes after that is `(other)`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Distinct names that are kept. A process that makes up service names must not fill the memory.
const MOST: usize = 16_384;

/// See the module text. Number 0 is the empty name.
pub struct Names(Mutex<Inner>);

struct Inner {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
    bytes: usize,
}

impl Default for Names {
    fn default() -> Self {
        let names = Self(Mutex::new(Inner {
            list: Vec::new(),
            numbers: HashMap::new(),
            bytes: 0,
        }));
        names.number("");
        names
    }
}

impl Names {
    /// The number of a name, new or known.
    pub fn number(&self, name: &str) -> u16 {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inner.numbers.get(name) {
            return *known;
        }
        let name: Arc<str> = if inner.list.len() < MOST - 1 {
            name.into()
        } else {
            "(other)".into()
        };
        if let Some(known) = inner.numbers.get(&name) {
            return *known;
        }
        let number = inner.list.len() as u16;
        inner.bytes += name.len() + 64;
        inner.list.push(Arc::clone(&name));
        inner.numbers.insert(name, number);
        number
    }

    /// The number of a known name.
    pub fn find(&self, name: &str) -> Option<u16> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.numbers.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, number: u16) -> Arc<str> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.list.get(usize::from(number)).cloned().unwrap_or_default()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
