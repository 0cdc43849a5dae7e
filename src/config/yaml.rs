//! YAML text -> [`Node`]. The only file that knows the YAML parser.
//!
//! One document is read: the first of several `---`. Anchors are repeated by copying, within limits, `<<` is resolved,
//! a key given twice is an error. JSON is YAML.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span as ParserSpan, Tag};

use super::problem::Problem;
use super::scalar::{self, Kind};
use super::source::{Sources, Span};
use super::tree::{Entry, MAX_ALIASES, MAX_DEPTH, MAX_TEXT, MAX_VALUES, Node, Scalar, Value};

/// Reads the document in `source`. `Ok(None)`: there is none, or it is empty.
///
/// # Errors
/// The one problem that made the text unreadable. Problems that leave a tree (a key given twice) go to `problems`.
pub(crate) fn parse(sources: &Sources, source: u32, problems: &mut Vec<Problem>) -> Result<Option<Node>, Problem> {
    let text = sources.get(source).map_or("", |source| &source.text);
    let whole = Span {
        source,
        start: 0,
        end: 0,
    };
    if text.len() > MAX_TEXT {
        return Err(Problem::error(whole, "the text is longer than 8 MiB"));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        // Longer keys are refused by YAML itself; generated configurations have them (labels, expressions).
        simple_key_max_lookahead: 4096,
    };
    let mut builder = Builder::new(sources, source, problems);
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(event) => event,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                return Err(Problem::error(
                    builder.span_of(at, at),
                    format!("not valid YAML: {}", error.info()),
                ));
            }
        };
        if builder.event(event, span)? {
            break;
        }
    }
    Ok(builder.root)
}

/// A list or map whose end has not been seen.
enum Open {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// Values of `<<`, in order.
    inherited: Vec<Node>,
}

struct Key {
    text: String,
    span: Span,
    /// A plain `<<`.
    inherits: bool,
}

struct Frame {
    open: Open,
    start: usize,
    anchor: usize,
}

struct Builder<'a> {
    sources: &'a Sources,
    source: u32,
    problems: &'a mut Vec<Problem>,
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Arc<Node>>,
    aliases: usize,
    values: usize,
}

impl<'a> Builder<'a> {
    fn new(sources: &'a Sources, source: u32, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            sources,
            source,
            problems,
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            aliases: 0,
            values: 0,
        }
    }

    fn span_of(&self, start: usize, end: usize) -> Span {
        // The text is at most 8 MiB long, so that every offset fits.
        Span {
            source: self.source,
            start: u32::try_from(start).unwrap_or(0),
            end: u32::try_from(end.max(start)).unwrap_or(0),
        }
    }

    /// Takes one event; `true` at the end of the first document.
    fn event(&mut self, event: Event<'_>, span: ParserSpan) -> Result<bool, Problem> {
        let range = span.byte_range().unwrap_or(0..0);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let span = self.span_of(range.start, range.end);
                let inherits = text == "<<" && style == ScalarStyle::Plain;
                let node = self.scalar(text.into_owned(), style, tag.as_deref(), span);
                self.finish(node, anchor, inherits)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(Open::List(Vec::new()), range.start, anchor)?,
            Event::MappingStart(_, anchor, _) => self.open(Open::Map(OpenMap::default()), range.start, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end)?,
            Event::Alias(id) => self.alias(id, self.span_of(range.start, range.end))?,
            Event::DocumentEnd => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let mut quoted = style != ScalarStyle::Plain;
        match tag.map(|tag| (tag, tag.core_suffix())) {
            Some((_, Some("str"))) => quoted = true,
            Some((_, Some(_))) => quoted = false,
            Some((tag, None)) if tag.original() != "!" => {
                let message = format!("the tag {} means nothing here and is ignored", tag.original());
                self.problems.push(Problem::warning(span, message));
            }
            Some(_) => quoted = true,
            None => {}
        }
        let is_null = !quoted && scalar::kind_of_plain(&text) == Kind::Null;
        let value = if is_null {
            Value::Null
        } else {
            Value::Scalar(Scalar { text, quoted })
        };
        Node {
            value,
            span,
            expanded: None,
        }
    }

    fn open(&mut self, open: Open, start: usize, anchor: usize) -> Result<(), Problem> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Problem::error(
                self.span_of(start, start),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.stack.push(Frame { open, start, anchor });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Problem> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let span = self.span_of(frame.start, end);
        let value = match frame.open {
            Open::List(elements) => Value::List(elements),
            Open::Map(map) => Value::Map(self.inherit(map)),
        };
        let node = Node {
            value,
            span,
            expanded: None,
        };
        self.finish(node, frame.anchor, false)
    }

    /// Adds what `<<` brings: own keys win, then the earlier of several maps.
    fn inherit(&mut self, map: OpenMap) -> Vec<Entry> {
        let OpenMap {
            mut entries,
            mut index,
            inherited,
            ..
        } = map;
        let mut parents = Vec::new();
        for node in inherited {
            match node.value {
                Value::Map(parent) => parents.push(parent),
                Value::List(elements) => {
                    for element in elements {
                        match element.value {
                            Value::Map(parent) => parents.push(parent),
                            _ => self.refuse_inheritance(element.span),
                        }
                    }
                }
                Value::Null => {}
                Value::Scalar(_) => self.refuse_inheritance(node.span),
            }
        }
        for entry in parents.into_iter().flatten() {
            if !index.contains_key(&entry.key) {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry);
            }
        }
        entries
    }

    fn refuse_inheritance(&mut self, span: Span) {
        let message = "behind << stands a map, or a list of maps";
        self.problems.push(Problem::error(span, message));
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Problem> {
        self.aliases += 1;
        if self.aliases > MAX_ALIASES {
            return Err(Problem::error(span, format!("more than {MAX_ALIASES} aliases")));
        }
        let Some(node) = self.anchors.get(&id).map(Arc::clone) else {
            return Err(Problem::error(span, "the alias stands inside what it refers to"));
        };
        if self.stack.len() + node.depth() > MAX_DEPTH {
            return Err(Problem::error(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.grow(node.count(), span)?;
        self.finish(Node::clone(&node), 0, false)
    }

    fn grow(&mut self, by: usize, span: Span) -> Result<(), Problem> {
        self.values += by;
        if self.values > MAX_VALUES {
            return Err(Problem::error(span, format!("more than {MAX_VALUES} values")));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs: a list, a key, a value, the root.
    fn finish(&mut self, node: Node, anchor: usize, inherits: bool) -> Result<(), Problem> {
        self.grow(1, node.span)?;
        if anchor != 0 {
            // The copy counts too: nested anchors would otherwise hold many times what the text does.
            self.grow(node.count(), node.span)?;
            self.anchors.insert(anchor, Arc::new(node.clone()));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let map = match &mut frame.open {
            Open::List(elements) => {
                elements.push(node);
                return Ok(());
            }
            Open::Map(map) => map,
        };
        let Some(key) = map.key.take() else {
            map.key = Some(Self::key(node, inherits, self.sources)?);
            return Ok(());
        };
        if key.inherits {
            map.inherited.push(node);
            return Ok(());
        }
        if let Some(first) = map.index.get(&key.text) {
            let (line, _) = self.sources.line_column(map.entries[*first].key_span);
            let message = format!("the key \"{}\" is given twice; first on line {line}", key.text);
            self.problems.push(Problem::error(key.span, message));
            return Ok(());
        }
        map.index.insert(key.text.clone(), map.entries.len());
        map.entries.push(Entry {
            key: key.text,
            key_span: key.span,
            node,
        });
        Ok(())
    }

    fn key(node: Node, inherits: bool, sources: &Sources) -> Result<Key, Problem> {
        let text = match node.value {
            Value::Scalar(scalar) => scalar.text,
            Value::Null => sources.slice(node.span).to_string(),
            Value::List(_) | Value::Map(_) => {
                return Err(Problem::error(node.span, "a key is a text, not a list or a map"));
            }
        };
        Ok(Key {
            text,
            span: node.span,
            inherits,
        })
    }
}
