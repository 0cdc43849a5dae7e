//! `${...}` in values: environment variables, files, defaults.
//!
//! Runs after merging, over values only, never keys. A value that is one `${...}` and nothing else takes the YAML type
//! of what stands behind it; anything joined of parts is a text. What was expanded is scanned again, within limits.

use std::sync::Arc;

use super::{Environment, fetch};
use crate::config::problem::{Problem, Severity};
use crate::config::scalar::{self, Kind};
use crate::config::source::{Sources, Span};
use crate::config::suggest;
use crate::config::tree::{Expanded, MAX_DEPTH, MAX_TEXT, MAX_VALUES, Node, Scalar, Value};
use crate::config::yaml;

/// Most expansions for one value.
const MAX_EXPANSIONS: usize = 1_000;
/// Deepest chain of values that name each other. The Collector scans 1,000 times; nobody means more than a few.
const MAX_CHAIN: usize = 100;

/// Expands every value of the tree in place.
pub(super) fn expand(root: &mut Node, environment: &dyn Environment, problems: &mut Vec<Problem>) {
    let mut expander = Expander {
        environment,
        problems,
        path: Vec::new(),
        span: root.span,
        written: 0,
        values: 0,
        expansions: 0,
    };
    expander.node(root);
}

struct Expander<'a> {
    environment: &'a dyn Environment,
    problems: &'a mut Vec<Problem>,
    path: Vec<String>,
    /// The value being expanded.
    span: Span,
    /// Bytes of text that all expansions have made.
    written: usize,
    /// Values that all expansions have made.
    values: usize,
    /// Expansions in the value at hand.
    expansions: usize,
}

/// What `${...}` stands for.
struct Fetched {
    /// `None`: the variable is not set.
    text: Option<String>,
    /// The text is a default written in the configuration.
    is_default: bool,
    /// As messages name it.
    origin: String,
}

/// A text after expansion.
struct Joined {
    text: String,
    origins: Vec<String>,
}

impl<'a> Expander<'a> {
    fn node(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Null => {}
            Value::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.path.push(index.to_string());
                    self.node(element);
                    self.path.pop();
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.path.push(entry.key.clone());
                    self.node(&mut entry.node);
                    self.path.pop();
                }
            }
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                let scalar = scalar.clone();
                self.span = node.span;
                self.expansions = 0;
                *node = match self.scalar(&scalar, 0) {
                    Ok(node) => node,
                    Err(message) => {
                        self.report(Severity::Error, message);
                        Node::null(node.span)
                    }
                };
            }
            Value::Scalar(_) => {}
        }
    }

    fn report(&mut self, severity: Severity, message: String) {
        self.problems.push(Problem {
            severity,
            path: self.path.join("::"),
            ..Problem::error(self.span, message)
        });
    }

    /// A scalar with a `$` in it.
    fn scalar(&mut self, scalar: &Scalar, depth: usize) -> Result<Node, String> {
        if let Some(inner) = whole(&scalar.text) {
            let fetched = self.fetch(inner, depth)?;
            return self.typed(fetched, depth);
        }
        let joined = self.join(&scalar.text, depth, Escapes::Resolve)?;
        let mut node = Node {
            value: Value::Scalar(Scalar {
                text: joined.text.clone(),
                quoted: scalar.quoted || !joined.origins.is_empty(),
            }),
            span: self.span,
            expanded: None,
        };
        if !joined.origins.is_empty() {
            node.expanded = Some(Arc::new(Expanded {
                variable: joined.origins.join(", "),
                text: joined.text,
            }));
        }
        Ok(node)
    }

    /// The value of a lone `${...}`: typed as YAML, its text kept for string fields.
    fn typed(&mut self, fetched: Fetched, depth: usize) -> Result<Node, String> {
        let text = fetched.text.unwrap_or_default();
        let parsed = parse_value(&text);
        let value = match parsed {
            // `${env:U:-}` is an empty text, not nothing.
            None | Some(Value::Null) if fetched.is_default && text.is_empty() => Value::Scalar(Scalar {
                text: String::new(),
                quoted: true,
            }),
            None if text.trim().is_empty() => Value::Null,
            Some(Value::Null) => Value::Null,
            Some(Value::Scalar(scalar)) if is_number_or_bool(&scalar) => Value::Scalar(scalar),
            Some(collection @ (Value::List(_) | Value::Map(_))) => {
                return self.collection(collection, &text, &fetched.origin, depth);
            }
            // A text, quoted or not, and what is not valid YAML: as it stands, then scanned again.
            None | Some(Value::Scalar(_)) => {
                if text.contains('$') {
                    let scalar = Scalar { text, quoted: true };
                    return self.scalar(&scalar, depth + 1).map(|node| from(node, fetched.origin));
                }
                Value::Scalar(Scalar {
                    text: text.clone(),
                    quoted: true,
                })
            }
        };
        let variable = fetched.origin;
        Ok(Node {
            value,
            span: self.span,
            expanded: Some(Arc::new(Expanded { variable, text })),
        })
    }

    /// A list or map out of a variable: its parts are expanded in turn.
    fn collection(&mut self, value: Value, text: &str, origin: &str, depth: usize) -> Result<Node, String> {
        let mut node = Node {
            value,
            span: self.span,
            expanded: None,
        };
        if self.path.len() + node.depth() > MAX_DEPTH {
            return Err(format!("{origin}: nested deeper than {MAX_DEPTH} levels"));
        }
        self.values += node.count();
        if self.values > MAX_VALUES {
            return Err(format!("{origin}: more than {MAX_VALUES} values"));
        }
        self.parts(&mut node, origin, depth)?;
        let text = if text.contains('$') {
            self.join(text, depth + 1, Escapes::Resolve)?.text
        } else {
            text.to_string()
        };
        let variable = origin.to_string();
        node.expanded = Some(Arc::new(Expanded { variable, text }));
        Ok(node)
    }

    // Recursion is as deep as the tree: at most `MAX_DEPTH` levels, at most `MAX_CHAIN` times.
    fn parts(&mut self, node: &mut Node, origin: &str, depth: usize) -> Result<(), String> {
        node.span = self.span;
        match &mut node.value {
            Value::Null => {}
            Value::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.path.push(index.to_string());
                    let result = self.parts(element, origin, depth);
                    self.path.pop();
                    result?;
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    entry.key_span = self.span;
                    self.path.push(entry.key.clone());
                    let result = self.parts(&mut entry.node, origin, depth);
                    self.path.pop();
                    result?;
                }
            }
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                let scalar = scalar.clone();
                *node = from(self.scalar(&scalar, depth + 1)?, origin.to_string());
            }
            Value::Scalar(scalar) => {
                let text = scalar.text.clone();
                let variable = origin.to_string();
                node.expanded = Some(Arc::new(Expanded { variable, text }));
            }
        }
        Ok(())
    }

    /// Replaces every `${...}` in a text.
    fn join(&mut self, text: &str, depth: usize, escapes: Escapes) -> Result<Joined, String> {
        let mut joined = Joined {
            text: String::with_capacity(text.len()),
            origins: Vec::new(),
        };
        // Nothing closes behind this: not worth looking for.
        let last_close = text.rfind('}').unwrap_or(0);
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            joined.text.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            let run = rest.bytes().take_while(|byte| *byte == b'$').count();
            let behind = &rest[run..];
            let opens = behind.starts_with('{') && run % 2 == 1 && last_close > text.len() - behind.len();
            let inner = if opens { closed(&behind[1..]) } else { None };
            let Some(inner) = inner else {
                // Looking for the end of what never ends costs a pass over the text each time.
                self.expansions += usize::from(opens);
                if self.expansions > MAX_EXPANSIONS {
                    return Err("too many ${ without an end".to_string());
                }
                // No expansion starts here: `$$` is a dollar, a lone dollar is itself.
                let kept = if escapes == Escapes::Resolve {
                    run.div_ceil(2)
                } else {
                    run
                };
                joined.text.extend(std::iter::repeat_n('$', kept));
                if run % 2 == 1 {
                    self.warn_of_bare_name(behind);
                }
                rest = behind;
                continue;
            };
            let dollars = if escapes == Escapes::Resolve { run / 2 } else { run - 1 };
            joined.text.extend(std::iter::repeat_n('$', dollars));
            let fetched = self.fetch(inner, depth)?;
            let value = fetched.text.unwrap_or_default();
            if value.contains('$') {
                let nested = self.join(&value, depth + 1, escapes)?;
                joined.text.push_str(&nested.text);
            } else {
                joined.text.push_str(&value);
            }
            joined.origins.push(fetched.origin);
            self.count_text(joined.text.len())?;
            rest = &behind[1 + inner.len() + 1..];
        }
        joined.text.push_str(rest);
        Ok(joined)
    }

    fn count_text(&mut self, bytes: usize) -> Result<(), String> {
        self.written = self.written.saturating_add(bytes);
        if self.written > MAX_TEXT {
            return Err("expanding variables makes more than 8 MiB of text".to_string());
        }
        Ok(())
    }

    /// `$NAME` is not expanded; whoever writes it where NAME is set probably thinks that it is.
    fn warn_of_bare_name(&mut self, behind: &str) {
        let name_len = behind
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        let name = &behind[..name_len];
        if is_name(name) && self.environment.variable(name).is_some() {
            let message = format!("${name} is not expanded; write ${{env:{name}}}, or $${name} for the text itself");
            self.report(Severity::Warning, message);
        }
    }

    /// What stands behind `${inner}`.
    fn fetch(&mut self, inner: &str, depth: usize) -> Result<Fetched, String> {
        self.expansions += 1;
        if depth > MAX_CHAIN || self.expansions > MAX_EXPANSIONS {
            return Err(format!("${{{inner}}}: variables refer to each other without end"));
        }
        let inner = if inner.contains("${") {
            self.join(inner, depth + 1, Escapes::Keep)?.text
        } else {
            inner.to_string()
        };
        let Some((scheme, rest)) = inner.split_once(':') else {
            return self.variable(&inner, &inner, None);
        };
        match scheme {
            _ if rest.starts_with('-') => self.variable(scheme, &inner, Some(&rest[1..])),
            "env" => match rest.split_once(":-") {
                Some((name, default)) => self.variable(name, &inner, Some(default)),
                None => self.variable(rest, &inner, None),
            },
            "file" => {
                let text = fetch::read_file(rest)?;
                self.count_text(text.len())?;
                Ok(Fetched {
                    text: Some(text),
                    is_default: false,
                    origin: format!("file {rest}"),
                })
            }
            "yaml" => Ok(Fetched {
                text: Some(rest.to_string()),
                is_default: false,
                origin: format!("${{{inner}}}"),
            }),
            "http" | "https" | "s3" => Err(fetch::not_built(&format!("${{{inner}}}"), scheme)),
            _ => {
                let hint = suggest::hint(scheme, &["env", "file", "yaml"]);
                Err(format!("${{{inner}}}: the scheme \"{scheme}\" is not known{hint}"))
            }
        }
    }

    fn variable(&mut self, name: &str, inner: &str, default: Option<&str>) -> Result<Fetched, String> {
        if !is_name(name) {
            return Err(format!(
                "${{{inner}}}: \"{name}\" is not the name of a variable (letters, digits and _); write $${{ for the text itself"
            ));
        }
        let origin = format!("environment variable {name}");
        let value = self.environment.variable(name);
        if value.is_none() && default.is_none() {
            let message = format!("Configuration references unset environment variable \"{name}\"");
            self.report(Severity::Warning, message);
        }
        if value.as_deref() == Some("") {
            let message = format!("Configuration references empty environment variable \"{name}\"");
            self.report(Severity::Info, message);
        }
        let is_default = value.is_none() && default.is_some();
        Ok(Fetched {
            text: value.or_else(|| default.map(str::to_string)),
            is_default,
            origin,
        })
    }
}

/// Whether `$$` becomes `$`: once, at the very end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Resolve,
    Keep,
}

/// What stands between the braces, if a text is one `${...}` and nothing else.
fn whole(text: &str) -> Option<&str> {
    let behind = text.strip_prefix("${")?;
    let inner = closed(behind)?;
    (inner.len() + 1 == behind.len()).then_some(inner)
}

/// The text up to the `}` that closes an expansion; inner `${` bring their own.
fn closed(behind: &str) -> Option<&str> {
    let bytes = behind.as_bytes();
    let mut open = 0;
    let mut dollars = 0;
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'$' => dollars += 1,
            b'{' if dollars % 2 == 1 => open += 1,
            b'}' if open == 0 => return Some(&behind[..index]),
            b'}' => open -= 1,
            _ => {}
        }
        if *byte != b'$' {
            dollars = 0;
        }
    }
    None
}

/// `[A-Za-z_][A-Za-z0-9_]*`.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_number_or_bool(scalar: &Scalar) -> bool {
    !scalar.quoted && !matches!(scalar::kind_of_plain(&scalar.text), Kind::Text | Kind::Date)
}

/// The value of a text read as YAML; `None` where it is not valid, or empty.
fn parse_value(text: &str) -> Option<Value> {
    let mut sources = Sources::default();
    let source = sources.add("", text);
    let mut problems = Vec::new();
    let node = yaml::parse(&sources, source, &mut problems).ok().flatten()?;
    problems.is_empty().then_some(node.value)
}

/// Names where a value came from first, not where the chain ended.
fn from(mut node: Node, origin: String) -> Node {
    let text = match (&node.expanded, &node.value) {
        (Some(expanded), _) => expanded.text.clone(),
        (None, Value::Scalar(scalar)) => scalar.text.clone(),
        (None, _) => String::new(),
    };
    node.expanded = Some(Arc::new(Expanded { variable: origin, text }));
    node
}
