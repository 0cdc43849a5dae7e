//! [`Section`]: a mapping of the configuration as its reader sees it.

use serde::de::DeserializeOwned;

/// A node of the configuration tree with its position, and the place where problems with it are reported.
///
/// Several groups of settings can be read from one mapping, one after another, each taking its own keys. Keys that
/// nobody took are reported as unknown, with a suggestion, when the check of the component is over.
/// Cheap to clone; clones share what was taken and what was reported.
#[derive(Clone)]
pub struct Section {}

impl Section {
    /// Reads `T` from the keys that `T` knows and leaves the others for the next reader. A null section reads as an
    /// empty mapping, so `T` should be `#[serde(default)]`. Every bad value is reported with its position (not only the
    /// first), and `T`'s default stands in for it; `None` when not even that was possible.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        unimplemented!("config helper")
    }

    /// Takes the section below `key`; `None` where the key is absent. `key:` with nothing behind it gives a section for
    /// which [`Section::is_null`] holds: on, with defaults.
    pub fn take(&self, _key: &str) -> Option<Section> {
        unimplemented!("config helper")
    }

    /// Whether the key is there (null counts). Does not take it.
    pub fn has(&self, _key: &str) -> bool {
        unimplemented!("config helper")
    }

    /// The keys in the order of the file. Does not take them.
    pub fn keys(&self) -> Vec<String> {
        unimplemented!("config helper")
    }

    /// The elements of a list (or the lone element where a scalar stands for a list); empty for null.
    pub fn elements(&self) -> Vec<Section> {
        unimplemented!("config helper")
    }

    /// Nothing stands here: `key:`, `~` or `null`.
    pub fn is_null(&self) -> bool {
        unimplemented!("config helper")
    }

    /// The `::` path of this section, e.g. `receivers::otlp::protocols`.
    pub fn path(&self) -> String {
        unimplemented!("config helper")
    }

    /// Reports an error at this section.
    pub fn error(&self, _message: impl Into<String>) {
        unimplemented!("config helper")
    }

    /// Reports an error at the value of `key` (a `::` path below this section; the section itself where it is absent).
    pub fn error_at(&self, _key: &str, _message: impl Into<String>) {
        unimplemented!("config helper")
    }

    /// Reports a warning at this section.
    pub fn warn(&self, _message: impl Into<String>) {
        unimplemented!("config helper")
    }

    /// Reports a warning at the value of `key`.
    pub fn warn_at(&self, _key: &str, _message: impl Into<String>) {
        unimplemented!("config helper")
    }

    /// An error inside a text value (an OTTL condition, a regular expression): `offset` bytes into the value of `key`,
    /// pointing into the configuration file where the value's layout allows it, else at the value.
    pub fn error_in_text(&self, _key: &str, _offset: usize, _message: impl Into<String>) {
        unimplemented!("config helper")
    }

    /// A section read from YAML text, for tests and examples. Panics on bad YAML.
    pub fn from_yaml(_text: &str) -> Self {
        unimplemented!("config helper")
    }

    /// Every problem reported so far to this section's file (errors and warnings as shown to the user), for tests.
    /// Untaken keys are included.
    pub fn problems(&self) -> Vec<String> {
        unimplemented!("config helper")
    }
}
