//! [`Section`]: a mapping of the configuration as its reader sees it.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frozen::{Content, Frozen, Label, NodeId};
use super::problem::{Problem, Problems, Severity};
use super::read;
use super::source::{Sources, Span};
use super::tree::Node;
use super::yaml;

/// A node of the configuration tree with its position, and the place where problems with it are reported.
///
/// Several groups of settings can be read from one mapping, one after another, each taking its own keys. Keys that
/// nobody took are reported as unknown, with a suggestion, when the check of the component is over.
/// Cheap to clone; clones share what was taken and what was reported.
#[derive(Clone)]
pub struct Section {
    pub(crate) frozen: Arc<Frozen>,
    pub(crate) node: NodeId,
}

impl Section {
    /// Reads `T` from the keys that `T` knows and leaves the others for the next reader. A null section reads as an
    /// empty mapping, so `T` should be `#[serde(default)]`. Every bad value is reported with its position (not only the
    /// first), and `T`'s default stands in for it; `None` when not even that was possible.
    ///
    /// Inside `T`, unknown keys of nested structs are reported, and a key with nothing behind it leaves the default.
    /// What `T` holds for keys that are not written is what `print-config` shows for them.
    pub fn read<T: DeserializeOwned + Serialize>(&self) -> Option<T> {
        let value: T = read::read(&self.frozen, self.node)?;
        self.settle_all(&value);
        Some(value)
    }

    /// Takes the section below `key` and reads a group of settings from it; where it is absent, the group's defaults hold.
    pub fn read_group<T: DeserializeOwned + Serialize + Default>(&self, key: &str) -> Option<T> {
        match self.take(key) {
            Some(group) => group.read(),
            None => {
                let group = T::default();
                self.settle(key, &group);
                Some(group)
            }
        }
    }

    /// Says what holds for `key` where it is not written, for `print-config`: where the type that is read has no value
    /// for it, or a whole group is absent. What is written, and what was said before about a single setting, stays.
    pub fn settle(&self, key: &str, value: impl Serialize) {
        if self.frozen.keeps_unwritten()
            && let Ok(value) = serde_json::to_value(value)
        {
            let settings = serde_json::Map::from_iter([(key.to_owned(), value)]);
            self.frozen.settle(self.node, settings.into());
        }
    }

    /// Likewise for all fields of a struct.
    pub fn settle_all(&self, values: &impl Serialize) {
        if self.frozen.keeps_unwritten()
            && let Ok(values) = serde_json::to_value(values)
        {
            self.frozen.settle(self.node, values);
        }
    }

    /// Takes the section below `key`; `None` where the key is absent. `key:` with nothing behind it gives a section for
    /// which [`Section::is_null`] holds: on, with defaults.
    pub fn take(&self, key: &str) -> Option<Section> {
        self.frozen.know(self.node, &[key]);
        let slot = self.frozen.slot(self.node);
        if !self.is_map_like() {
            let found = read::describe(slot);
            self.error(format!("expected a map, found {found}"));
            return None;
        }
        let child = self.frozen.child(self.node, key)?;
        self.frozen.mark_opened(child);
        Some(self.at(child))
    }

    /// Whether the key is there (null counts). Does not take it.
    pub fn has(&self, key: &str) -> bool {
        self.frozen.know(self.node, &[key]);
        self.frozen.child(self.node, key).is_some()
    }

    /// The keys in the order of the file. Does not take them.
    pub fn keys(&self) -> Vec<String> {
        let Content::Map(children) = &self.frozen.slot(self.node).content else {
            return Vec::new();
        };
        let keys = children.iter().filter_map(|child| self.frozen.key(*child));
        keys.map(str::to_string).collect()
    }

    /// The elements of a list (or the lone element where a scalar stands for a list); empty for null.
    pub fn elements(&self) -> Vec<Section> {
        match &self.frozen.slot(self.node).content {
            Content::Null => Vec::new(),
            Content::Scalar(_) => vec![self.clone()],
            Content::Map(_) => {
                self.error("expected a list, found a map");
                self.frozen.mark_failed(self.node);
                Vec::new()
            }
            Content::List(children) => {
                let mut elements = Vec::with_capacity(children.len());
                for child in children {
                    self.frozen.mark_opened(*child);
                    elements.push(self.at(*child));
                }
                elements
            }
        }
    }

    /// Reports an error unless this is a map, or nothing; says whether it is.
    pub fn require_map(&self) -> bool {
        let is_map = self.is_map_like();
        if !is_map {
            let found = read::describe(self.frozen.slot(self.node));
            self.error(format!("expected a map, found {found}"));
        }
        is_map
    }

    /// Nothing stands here: `key:`, `~` or `null`.
    pub fn is_null(&self) -> bool {
        match &self.frozen.slot(self.node).content {
            Content::Null => true,
            // The Collector takes an empty text (an unset variable) for nothing as well.
            Content::Scalar(scalar) => scalar.text.is_empty(),
            Content::List(_) | Content::Map(_) => false,
        }
    }

    /// The `::` path of this section, e.g. `receivers::otlp::protocols`.
    pub fn path(&self) -> String {
        self.frozen.path(self.node)
    }

    /// Reports an error at this section.
    pub fn error(&self, message: impl Into<String>) {
        self.frozen.report(Severity::Error, self.node, message.into());
    }

    /// Reports an error at the value of `key` (a `::` path below this section; the section itself where it is absent).
    pub fn error_at(&self, key: &str, message: impl Into<String>) {
        self.report_at(Severity::Error, key, message.into());
    }

    /// Reports a warning at this section.
    pub fn warn(&self, message: impl Into<String>) {
        self.frozen.report(Severity::Warning, self.node, message.into());
    }

    /// Reports a warning at the value of `key`.
    pub fn warn_at(&self, key: &str, message: impl Into<String>) {
        self.report_at(Severity::Warning, key, message.into());
    }

    /// An error inside a text value (an OTTL condition, a regular expression): `offset` bytes into the value of `key`,
    /// pointing into the configuration file where the value's layout allows it, else at the value.
    ///
    /// `key` is a `::` path below this section, list elements by their number; empty means the section itself.
    pub fn error_in_text(&self, key: &str, offset: usize, message: impl Into<String>) {
        let (node, rest) = self.resolve(key);
        let mut span = self.frozen.place(node);
        let mut message = message.into();
        let slot = self.frozen.slot(node);
        if let (Content::Scalar(scalar), None, None) = (&slot.content, &slot.expanded, &rest) {
            let written = self.frozen.sources.slice(slot.span);
            if let Some(inside) = offset_in_source(written, &scalar.text, offset) {
                let start = slot.span.start + u32::try_from(inside).unwrap_or(0);
                span = Span {
                    start,
                    end: start + 1,
                    ..span
                };
            } else {
                message = format!("{message} (at character {} of the text)", offset + 1);
            }
        }
        if let Some(expanded) = &slot.expanded {
            message.push_str("; the value comes from ");
            message.push_str(&expanded.variable);
        }
        let path = self.path_with(node, rest);
        self.frozen.report_as(Severity::Error, node, span, path, message);
    }

    /// A section read from YAML text, for tests and examples. Panics on bad YAML.
    pub fn from_yaml(text: &str) -> Self {
        let mut sources = Sources::default();
        let source = sources.add("yaml", text);
        let mut problems = Vec::new();
        let root = match yaml::parse(&sources, source, &mut problems) {
            Ok(root) => root.unwrap_or_else(|| Node::empty_map(Span::default())),
            Err(problem) => {
                let problems = Problems::new(Arc::new(sources), vec![problem], Vec::new());
                panic!("{problems}");
            }
        };
        let sources = Arc::new(sources);
        assert!(
            problems.is_empty(),
            "{}",
            Problems::new(Arc::clone(&sources), problems, Vec::new())
        );
        Section::root(Frozen::new(root, sources))
    }

    /// Every problem reported so far to this section's file (errors and warnings as shown to the user), for tests.
    /// Untaken keys are included.
    pub fn problems(&self) -> Vec<String> {
        let mut list = self.frozen.problems();
        list.extend(self.frozen.untaken(self.node).into_iter().map(|(_, problem)| problem));
        Problems::new(Arc::clone(&self.frozen.sources), list, Vec::new()).lines()
    }

    /// The section at the top of a tree.
    pub(crate) fn root(frozen: Frozen) -> Self {
        frozen.mark_opened(0);
        Self {
            frozen: Arc::new(frozen),
            node: 0,
        }
    }

    /// Reports the keys below this section that nobody took. Called once, when everybody has read what is theirs.
    pub fn report_untaken(&self) {
        for (node, problem) in self.frozen.untaken(self.node) {
            let Problem {
                path, message, span, ..
            } = problem;
            let span = span.unwrap_or_else(|| self.frozen.place(node));
            self.frozen.report_as(Severity::Error, node, span, path, message);
        }
    }

    /// Where the value of `key` stands, as `line:column`; the section itself where the key is absent.
    pub fn place_at(&self, key: &str) -> String {
        let (node, _) = self.resolve(key);
        let (line, column) = self.frozen.sources.line_column(self.frozen.place(node));
        format!("{line}:{column}")
    }

    /// Whether an error was reported at this section or below it.
    pub fn has_errors(&self) -> bool {
        self.frozen.has_error_below(self.node)
    }

    fn at(&self, node: NodeId) -> Self {
        Self {
            frozen: Arc::clone(&self.frozen),
            node,
        }
    }

    fn is_map_like(&self) -> bool {
        self.is_null() || matches!(self.frozen.slot(self.node).content, Content::Map(_))
    }

    fn report_at(&self, severity: Severity, key: &str, message: String) {
        let (node, rest) = self.resolve(key);
        if rest.is_none() {
            self.frozen.report(severity, node, message);
            return;
        }
        let path = self.path_with(node, rest);
        self.frozen
            .report_as(severity, node, self.frozen.place(node), path, message);
    }

    /// The deepest value that is there on the way down `key`, and what of the path is left.
    fn resolve(&self, key: &str) -> (NodeId, Option<String>) {
        let mut node = self.node;
        if key.is_empty() {
            return (node, None);
        }
        let mut parts = key.split("::");
        while let Some(part) = parts.next() {
            let child = match &self.frozen.slot(node).content {
                Content::List(children) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| children.get(index).copied()),
                _ => self.frozen.child(node, part),
            };
            let Some(child) = child else {
                let rest: Vec<&str> = std::iter::once(part).chain(parts).collect();
                return (node, Some(rest.join("::")));
            };
            node = child;
        }
        (node, None)
    }

    fn path_with(&self, node: NodeId, rest: Option<String>) -> String {
        let path = self.frozen.path(node);
        match rest {
            None => path,
            Some(rest) if path.is_empty() => rest,
            Some(rest) => format!("{path}::{rest}"),
        }
    }

    /// Reports an error at the key that leads here, not at what stands behind it.
    pub fn error_on_key(&self, message: impl Into<String>) {
        self.report_on_key(Severity::Error, message.into());
    }

    /// Reports a warning likewise.
    pub fn warn_on_key(&self, message: impl Into<String>) {
        self.report_on_key(Severity::Warning, message.into());
    }

    /// Reports something worth knowing that needs no change.
    pub fn note_on_key(&self, message: impl Into<String>) {
        self.report_on_key(Severity::Info, message.into());
    }

    fn report_on_key(&self, severity: Severity, message: String) {
        let slot = self.frozen.slot(self.node);
        let span = match &slot.label {
            Label::Key { span, .. } => *span,
            Label::Root | Label::Index(_) => slot.span,
        };
        self.frozen.report_as(severity, self.node, span, self.path(), message);
    }

    /// Takes everything below without looking at it.
    pub fn take_all(&self) {
        self.frozen.mark_consumed(self.node);
    }

    /// Equal for equal content, wherever it was written: what a reload compares. Only within one process.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.frozen.hash(self.node, &mut hasher);
        hasher.write_u64(self.frozen.beside(self.node));
        hasher.finish()
    }

    /// A file that the section names was read, and this is its content: when that changes a reload builds anew.
    pub fn depends_on(&self, content: &[u8]) {
        self.frozen.note_beside(self.node, xxhash_rust::xxh3::xxh3_64(content));
    }
}

/// Where byte `offset` of a scalar's value stands in the text it was written as. `None` where escapes or folding moved it.
fn offset_in_source(written: &str, value: &str, offset: usize) -> Option<usize> {
    let offset = offset.min(value.len());
    if let Some(start) = written.find(value) {
        return Some(start + offset);
    }
    // A literal block: line by line, each but the first (where the block's span begins) behind the indentation.
    let line_number = value.get(..offset)?.matches('\n').count();
    let line_start = value[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let line_text = value[line_start..].lines().next().unwrap_or("");
    let mut at = 0;
    for _ in 0..line_number {
        at += written[at..].find('\n')? + 1;
    }
    let written_line = written[at..].lines().next()?;
    let indent = written_line.len().checked_sub(line_text.len())?;
    written_line
        .ends_with(line_text)
        .then_some(at + indent + offset - line_start)
}

#[cfg(test)]
mod tests;
