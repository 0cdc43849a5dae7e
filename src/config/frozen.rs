//! The finished tree as it is read: values by number, each knowing its parent, and beside them what was taken, what is
//! secret and what is wrong.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::problem::{Problem, Severity};
use super::source::{Sources, Span};
use super::suggest;
use super::tree::{Expanded, Node, Scalar, Value};

/// Index of a value in the tree.
pub(crate) type NodeId = u32;

/// Most problems that one configuration is told about.
const MAX_PROBLEMS: usize = 1_000;

pub(crate) struct Slot {
    pub parent: Option<NodeId>,
    pub label: Label,
    pub content: Content,
    pub span: Span,
    pub expanded: Option<Arc<Expanded>>,
}

pub(crate) enum Label {
    Root,
    Key { text: String, span: Span },
    Index(usize),
}

pub(crate) enum Content {
    Null,
    Scalar(Scalar),
    List(Vec<NodeId>),
    Map(Vec<NodeId>),
}

/// A tree and the state that all sections of it share.
pub(crate) struct Frozen {
    slots: Vec<Slot>,
    pub sources: Arc<Sources>,
    state: Mutex<State>,
    /// Somebody will ask for the settings that nobody wrote.
    keeps_unwritten: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Somebody holds a section of it.
    opened: HashSet<NodeId>,
    /// Read to the bottom.
    consumed: HashSet<NodeId>,
    secret: HashSet<NodeId>,
    /// Read without success: says nothing about the keys that others would have taken.
    failed: HashSet<NodeId>,
    /// Keys that readers of a map asked for.
    known: HashMap<NodeId, BTreeSet<String>>,
    problems: Vec<(NodeId, Problem)>,
    /// What was reported already: reading is repeated after an error.
    seen: HashSet<(NodeId, String)>,
    /// Settings that nobody wrote, with the value that holds for them, by the map they would stand in.
    unwritten: HashMap<NodeId, serde_json::Map<String, serde_json::Value>>,
    /// Hashes of what was read besides the text itself.
    beside: HashMap<NodeId, u64>,
}

impl Frozen {
    pub fn new(root: Node, sources: Arc<Sources>) -> Self {
        let mut slots = Vec::new();
        freeze(root, None, Label::Root, &mut slots);
        Self {
            slots,
            sources,
            state: Mutex::new(State::default()),
            keeps_unwritten: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on [`Frozen::settle`] is called.
    pub fn keep_unwritten(&self) {
        self.keeps_unwritten.store(true, Ordering::Relaxed);
    }

    /// Whether it is worth calling [`Frozen::settle`].
    pub fn keeps_unwritten(&self) -> bool {
        self.keeps_unwritten.load(Ordering::Relaxed)
    }

    /// Takes note of what a reader made of a value: the settings in it that are not written.
    // Recursion is as deep as the type that was read.
    pub fn settle(&self, node: NodeId, value: serde_json::Value) {
        use serde_json::Value as Json;
        match (&self.slot(node).content, value) {
            (Content::List(children), Json::Array(values)) => {
                for (child, value) in children.iter().zip(values) {
                    self.settle(*child, value);
                }
            }
            (Content::Map(_) | Content::Null, Json::Object(settings)) => {
                for (key, value) in settings {
                    match self.child(node, &key) {
                        Some(child) => self.settle(child, value),
                        None if value.is_null() || value == "" => {}
                        None => {
                            self.state().unwritten.entry(node).or_default().insert(key, value);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// The settings of a map that nobody wrote.
    pub fn unwritten(&self, node: NodeId) -> serde_json::Map<String, serde_json::Value> {
        self.state().unwritten.get(&node).cloned().unwrap_or_default()
    }

    /// The slot of a number that this tree has given out.
    pub fn slot(&self, node: NodeId) -> &Slot {
        &self.slots[node as usize]
    }

    /// The value of `key` in a map.
    pub fn child(&self, node: NodeId, key: &str) -> Option<NodeId> {
        let Content::Map(children) = &self.slot(node).content else {
            return None;
        };
        children.iter().copied().find(|child| self.key(*child) == Some(key))
    }

    /// The key that leads to a value; `None` in lists and at the root.
    pub fn key(&self, node: NodeId) -> Option<&str> {
        match &self.slot(node).label {
            Label::Key { text, .. } => Some(text),
            Label::Root | Label::Index(_) => None,
        }
    }

    /// The `::` path of a value.
    pub fn path(&self, node: NodeId) -> String {
        let mut parts = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at {
            let slot = self.slot(node);
            match &slot.label {
                Label::Root => {}
                Label::Key { text, .. } => parts.push(text.clone()),
                Label::Index(index) => parts.push(index.to_string()),
            }
            at = slot.parent;
        }
        parts.reverse();
        parts.join("::")
    }

    /// What to point at: a scalar itself, the key of anything larger or invisible.
    pub fn place(&self, node: NodeId) -> Span {
        let slot = self.slot(node);
        let visible_scalar = matches!(slot.content, Content::Scalar(_)) && slot.span.end > slot.span.start;
        match &slot.label {
            Label::Key { span, .. } if !visible_scalar && slot.expanded.is_none() => *span,
            _ => slot.span,
        }
    }

    /// Whether `ancestor` is `node` or stands above it.
    pub fn is_below(&self, node: NodeId, ancestor: NodeId) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node == ancestor {
                return true;
            }
            at = self.slot(node).parent;
        }
        false
    }

    /// Feeds the content of a value to a hasher: keys, texts and structure, no positions.
    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
    pub fn hash<H: Hasher>(&self, node: NodeId, hasher: &mut H) {
        if let Some(key) = self.key(node) {
            key.hash(hasher);
        }
        match &self.slot(node).content {
            Content::Null => hasher.write_u8(0),
            Content::Scalar(scalar) => {
                hasher.write_u8(1);
                (&scalar.text, scalar.quoted).hash(hasher);
            }
            Content::List(children) | Content::Map(children) => {
                hasher.write_u8(2);
                hasher.write_usize(children.len());
                for child in children {
                    self.hash(*child, hasher);
                }
            }
        }
    }

    /// Reports a problem at a value; the same one only once.
    pub fn report(&self, severity: Severity, node: NodeId, message: String) {
        let mut message = message;
        if let Some(expanded) = &self.slot(node).expanded {
            message.push_str("; the value comes from ");
            message.push_str(&expanded.variable);
        }
        self.report_as(severity, node, self.place(node), self.path(node), message);
    }

    /// Reports a problem that belongs to `node` at another place or path.
    pub fn report_as(&self, severity: Severity, node: NodeId, span: Span, path: String, message: String) {
        let mut state = self.state();
        if state.problems.len() >= MAX_PROBLEMS || !state.seen.insert((node, format!("{path}: {message}"))) {
            return;
        }
        let problem = Problem {
            severity,
            path,
            message,
            span: Some(span),
        };
        state.problems.push((node, problem));
    }

    /// Takes over what was found before there was a tree.
    pub fn adopt(&self, problems: Vec<Problem>) {
        let mut state = self.state();
        let room = MAX_PROBLEMS.saturating_sub(state.problems.len());
        state
            .problems
            .extend(problems.into_iter().take(room).map(|problem| (0, problem)));
    }

    /// Every problem so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.state()
            .problems
            .iter()
            .map(|(_, problem)| problem.clone())
            .collect()
    }

    /// Whether an error was reported at `node` or below it.
    pub fn has_error_below(&self, node: NodeId) -> bool {
        let state = self.state();
        state
            .problems
            .iter()
            .any(|(at, problem)| problem.severity == Severity::Error && self.is_below(*at, node))
    }

    pub fn mark_opened(&self, node: NodeId) {
        self.state().opened.insert(node);
    }

    pub fn mark_consumed(&self, node: NodeId) {
        self.state().consumed.insert(node);
    }

    /// Something that is no part of the text belongs to what stands here.
    pub fn note_beside(&self, node: NodeId, hash: u64) {
        let mut state = self.state();
        let noted = state.beside.entry(node).or_default();
        *noted = noted.rotate_left(5) ^ hash;
    }

    /// All that was noted for this node.
    pub fn beside(&self, node: NodeId) -> u64 {
        self.state().beside.get(&node).copied().unwrap_or_default()
    }

    pub fn mark_failed(&self, node: NodeId) {
        self.state().failed.insert(node);
    }

    pub fn mark_secret(&self, node: NodeId) {
        self.state().secret.insert(node);
    }

    pub fn is_secret(&self, node: NodeId) -> bool {
        self.state().secret.contains(&node)
    }

    /// Where secrets stand in the texts.
    pub fn secret_spans(&self) -> Vec<Span> {
        let state = self.state();
        state.secret.iter().map(|node| self.slot(*node).span).collect()
    }

    /// Remembers the keys that a reader of `node` understands.
    pub fn know(&self, node: NodeId, keys: &[&str]) {
        let mut state = self.state();
        let known = state.known.entry(node).or_default();
        for key in keys {
            if !known.contains(*key) {
                known.insert((*key).to_string());
            }
        }
    }

    /// Reports a key that nobody understands.
    pub fn report_unknown_key(&self, node: NodeId, known: &[&str]) {
        let problem = self.unknown_key(node, known);
        if let Some(span) = problem.span {
            self.report_as(problem.severity, node, span, problem.path, problem.message);
        }
    }

    fn unknown_key(&self, node: NodeId, known: &[&str]) -> Problem {
        let slot = self.slot(node);
        let key = self.key(node).unwrap_or_default();
        let span = match &slot.label {
            Label::Key { span, .. } => *span,
            Label::Root | Label::Index(_) => slot.span,
        };
        let message = match suggest::closest(key, known) {
            Some(near) => format!("unknown key; did you mean \"{near}\"?"),
            None if !known.is_empty() && known.len() <= 12 => format!("unknown key; known here: {}", known.join(", ")),
            None => "unknown key".to_string(),
        };
        Problem {
            path: self.path(node),
            ..Problem::error(span, message)
        }
    }

    /// The keys below `node` that nobody took, as problems.
    pub fn untaken(&self, node: NodeId) -> Vec<(NodeId, Problem)> {
        let mut found = Vec::new();
        let state = self.state();
        self.collect_untaken(node, &state, &mut found);
        found
    }

    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
    fn collect_untaken(&self, node: NodeId, state: &State, found: &mut Vec<(NodeId, Problem)>) {
        if state.consumed.contains(&node) {
            return;
        }
        match &self.slot(node).content {
            Content::Null | Content::Scalar(_) => {}
            Content::List(children) => {
                for child in children {
                    if state.opened.contains(child) {
                        self.collect_untaken(*child, state, found);
                    }
                }
            }
            Content::Map(children) => {
                let known: Vec<&str> = match state.known.get(&node) {
                    Some(known) => known.iter().map(String::as_str).collect(),
                    None => Vec::new(),
                };
                for child in children {
                    if state.opened.contains(child) {
                        self.collect_untaken(*child, state, found);
                    } else if !state.consumed.contains(child) && !state.failed.contains(&node) {
                        let told = state.problems.iter().any(|(at, _)| at == child);
                        if !told {
                            found.push((*child, self.unknown_key(*child, &known)));
                        }
                    }
                }
            }
        }
    }
}

// Recursion is as deep as the tree: at most `MAX_DEPTH` levels.
fn freeze(node: Node, parent: Option<NodeId>, label: Label, slots: &mut Vec<Slot>) -> NodeId {
    // A tree holds far fewer than 2^32 values (`MAX_VALUES` a document).
    let id = slots.len() as NodeId;
    slots.push(Slot {
        parent,
        label,
        content: Content::Null,
        span: node.span,
        expanded: node.expanded,
    });
    let content = match node.value {
        Value::Null => Content::Null,
        Value::Scalar(scalar) => Content::Scalar(scalar),
        Value::List(elements) => {
            let mut children = Vec::with_capacity(elements.len());
            for (index, element) in elements.into_iter().enumerate() {
                children.push(freeze(element, Some(id), Label::Index(index), slots));
            }
            Content::List(children)
        }
        Value::Map(entries) => {
            let mut children = Vec::with_capacity(entries.len());
            for entry in entries {
                let label = Label::Key {
                    text: entry.key,
                    span: entry.key_span,
                };
                children.push(freeze(entry.node, Some(id), label, slots));
            }
            Content::Map(children)
        }
    };
    slots[id as usize].content = content;
    id
}
