//! JSON read into an arena: what a segment document is before anybody knows what its fields mean.
//!
//! The reader needs no stack a level (a document may be a chain of thousands of subsegments), keeps numbers as their
//! text (times are exact to the nanosecond, integers of any size survive), keeps the order of keys, and takes what
//! common JSON readers refuse and SDKs send: lone surrogates, control characters in strings, `NaN`.

mod read;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

pub use read::NotJson;

/// A value of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeId(NonZeroU32);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    True,
    False,
    Number,
    Text,
    List,
    Map,
}

/// A piece of text: of the source, or of the strings that had escapes.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    start: u32,
    end: u32,
    unescaped: bool,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// Empty in lists.
    key: Piece,
    /// Of a text its content; of everything else what stands in the source.
    text: Piece,
    /// What stands in the source, with quotes and braces.
    raw: (u32, u32),
    first: Option<NodeId>,
    next: Option<NodeId>,
}

/// What a tree is kept in; reused from document to document.
#[derive(Debug, Default)]
pub struct Arena {
    nodes: Vec<Node>,
    unescaped: String,
    /// Open maps and lists, and the last child of each.
    open: Vec<(NodeId, Option<NodeId>)>,
}

/// A document that was read.
pub struct Tree<'a> {
    source: &'a str,
    arena: &'a Arena,
    root: NodeId,
    /// Where the document ends in the source.
    pub end: usize,
}

impl<'a> Tree<'a> {
    /// Reads the first JSON value of `source`. What follows it is not looked at: see [`Tree::end`].
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn read(source: &'a str, arena: &'a mut Arena) -> Result<Self, NotJson> {
        let (root, end) = read::read(source, arena)?;
        Ok(Self {
            source,
            arena,
            root,
            end,
        })
    }

    /// The outermost value.
    pub fn root(&self) -> NodeId {
        self.root
    }

    fn node(&self, id: NodeId) -> &Node {
        // Ids are made by the reader of this arena only, and an arena is read into only through `&mut`.
        &self.arena.nodes[id.0.get() as usize - 1]
    }

    fn piece(&self, piece: Piece) -> &str {
        let text = if piece.unescaped {
            self.arena.unescaped.as_str()
        } else {
            self.source
        };
        &text[piece.start as usize..piece.end as usize]
    }

    /// What it is.
    pub fn kind(&self, id: NodeId) -> Kind {
        self.node(id).kind
    }

    /// Its key in the map around it; empty elsewhere.
    pub fn key(&self, id: NodeId) -> &str {
        self.piece(self.node(id).key)
    }

    /// Its content if it is a text.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        let node = self.node(id);
        (node.kind == Kind::Text).then(|| self.piece(node.text))
    }

    /// What is written if it is a number.
    pub fn number(&self, id: NodeId) -> Option<&str> {
        let node = self.node(id);
        (node.kind == Kind::Number).then(|| self.piece(node.text))
    }

    /// Its value if it is a bool.
    pub fn flag(&self, id: NodeId) -> Option<bool> {
        match self.kind(id) {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// What stands in the source.
    pub fn raw(&self, id: NodeId) -> &str {
        let (start, end) = self.node(id).raw;
        &self.source[start as usize..end as usize]
    }

    /// The values inside it, in their order; none where it is neither map nor list.
    pub fn children(&self, id: NodeId) -> Children<'_> {
        Children {
            tree: self,
            next: self.node(id).first,
        }
    }

    /// The last value of this key in a map.
    pub fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        if self.kind(map) != Kind::Map {
            return None;
        }
        self.children(map).filter(|child| self.key(*child) == key).last()
    }

    /// It as JSON without white space between the values.
    pub fn compact(&self, id: NodeId) -> String {
        compact(self.raw(id))
    }
}

/// See [`Tree::children`].
pub struct Children<'t> {
    tree: &'t Tree<'t>,
    next: Option<NodeId>,
}

impl Iterator for Children<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let found = self.next?;
        self.next = self.tree.node(found).next;
        Some(found)
    }
}

/// Leaves out the white space between the values of JSON text.
fn compact(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut text = String::with_capacity(raw.len());
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = read::end_of_text(bytes, at),
            b' ' | b'\t' | b'\r' | b'\n' => {
                text.push_str(&raw[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    text.push_str(&raw[copied..]);
    text
}
