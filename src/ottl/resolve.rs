//! From the syntax tree to bound expressions: every path, enum symbol and function is looked up here, once.

use super::SyntaxError;
use super::ast::{Call, CompareOp, Node, NodeKind, PathSegment, Statement};
use super::context::{Context, find_field};
use super::enums;
use super::error::did_you_mean;
use super::expr::{Expr, Key, Test};
use super::functions;
use super::value::{List, Map, Value};

/// Editors of the language, refused by name until statements are carried out.
const EDITORS: &[&str] = &[
    "append",
    "delete_index",
    "delete_key",
    "delete_keys",
    "delete_matching_keys",
    "flatten",
    "keep_keys",
    "keep_matching_keys",
    "limit",
    "merge_maps",
    "replace_all_matches",
    "replace_all_patterns",
    "replace_match",
    "replace_pattern",
    "set",
    "truncate_all",
];

pub(super) struct Resolver {
    pub context: Context,
    /// Paths have to begin with the name of their context (where the context itself was inferred from them).
    pub prefixed_only: bool,
}

/// The lowest context that the paths and functions name.
///
/// # Errors
/// Where no path names a context.
pub(super) fn infer(node: &Node) -> Result<Context, SyntaxError> {
    let mut lowest: Option<Context> = None;
    let mut stack = vec![node];
    while let Some(node) = stack.pop() {
        let named = match &node.kind {
            NodeKind::Path(path) => Context::named(&path[0].name),
            NodeKind::Call(call) => functions::context_of(&call.name),
            _ => None,
        };
        // `ALL` is ordered from the top down within each signal.
        if let Some(context) = named
            && lowest.is_none_or(|have| context.is_within(have))
        {
            lowest = Some(context);
        }
        let children = stack.len();
        push_children(node, &mut stack);
        // The first child is looked at first: of two contexts that exclude each other the first counts.
        stack[children..].reverse();
    }
    lowest.ok_or_else(|| {
        SyntaxError::new(
            node.start,
            "cannot tell which context is meant: begin the paths with it, e.g. `span.name`",
        )
    })
}

fn push_children<'n>(node: &'n Node, stack: &mut Vec<&'n Node>) {
    match &node.kind {
        NodeKind::Or(nodes) | NodeKind::And(nodes) | NodeKind::List(nodes) => stack.extend(nodes),
        NodeKind::Not(inner) => stack.push(inner),
        NodeKind::Compare { left, right, .. } => stack.extend([&**left, &**right]),
        NodeKind::Arithmetic { first, rest } => {
            stack.push(first);
            stack.extend(rest.iter().map(|(_, operand)| operand));
        }
        NodeKind::Path(path) => stack.extend(path.iter().flat_map(|segment| &segment.keys)),
        NodeKind::Call(call) => {
            stack.extend(call.arguments.iter().map(|argument| &argument.value));
            stack.extend(&call.keys);
        }
        NodeKind::Map(entries) => stack.extend(entries.iter().map(|(_, value)| value)),
        _ => {}
    }
}

impl Resolver {
    /// A boolean expression.
    pub(super) fn test(&self, node: &Node) -> Result<Test, SyntaxError> {
        let all = |nodes: &[Node]| nodes.iter().map(|node| self.test(node)).collect::<Result<Vec<_>, _>>();
        Ok(match &node.kind {
            NodeKind::Bool(value) => Test::Constant(*value),
            NodeKind::Or(terms) => Test::Or(all(terms)?),
            NodeKind::And(terms) => Test::And(all(terms)?),
            NodeKind::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            NodeKind::Compare { op, left, right } => comparison(*op, self.value(left)?, self.value(right)?),
            NodeKind::Call(_) => Test::Call(self.value(node)?),
            other => {
                return Err(SyntaxError::new(
                    node.start,
                    format!(
                        "{} is no condition; compare it with something, e.g. `... == true` or `... != nil`",
                        other.describe()
                    ),
                ));
            }
        })
    }

    /// A value expression.
    pub(super) fn value(&self, node: &Node) -> Result<Expr, SyntaxError> {
        Ok(match &node.kind {
            NodeKind::Nil => Expr::Constant(Value::Nil),
            NodeKind::Bool(value) => Expr::Constant(Value::Bool(*value)),
            NodeKind::Int(value) => Expr::Constant(Value::Int(*value)),
            NodeKind::Double(value) => Expr::Constant(Value::Double(*value)),
            NodeKind::Text(text) => Expr::Constant(Value::Text(text.clone().into())),
            NodeKind::Bytes(bytes) => Expr::Constant(Value::Bytes(bytes.clone().into())),
            NodeKind::Name(symbol) => Expr::Constant(Value::Int(enum_number(symbol, node.start)?)),
            NodeKind::Path(path) => self.path(path)?,
            NodeKind::Call(call) => self.call(call)?,
            NodeKind::Arithmetic { first, rest } => {
                let rest = rest.iter().map(|(op, operand)| Ok((*op, self.value(operand)?)));
                Expr::Arithmetic {
                    first: Box::new(self.value(first)?),
                    rest: rest.collect::<Result<_, SyntaxError>>()?,
                }
            }
            NodeKind::List(elements) => {
                let elements = elements.iter().map(|element| self.value(element));
                list(elements.collect::<Result<_, _>>()?)
            }
            NodeKind::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| Ok((key.clone(), self.value(value)?)));
                map(entries.collect::<Result<_, SyntaxError>>()?)
            }
            other => {
                return Err(SyntaxError::new(
                    node.start,
                    format!("expected a value, found {}", other.describe()),
                ));
            }
        })
    }

    fn path(&self, path: &[PathSegment]) -> Result<Expr, SyntaxError> {
        let names: Vec<&str> = path.iter().map(|segment| segment.name.as_str()).collect();
        let starts_with_context = Context::named(names[0]).is_some() || matches!(names[0], "context" | "otelcol");
        let found = find_field(self.context, &names).map_err(|(segment, message)| {
            let at = path.get(segment).unwrap_or(&path[0]);
            SyntaxError::new(at.start, message)
        })?;
        if self.prefixed_only && !starts_with_context {
            return Err(SyntaxError::new(
                path[0].start,
                format!(
                    "the path needs its context in front here: `{}.{}`",
                    self.context.name(),
                    names.join(".")
                ),
            ));
        }
        let (last, before) = path.split_last().expect("the parser makes no empty path");
        let misplaced = before.iter().find(|segment| !segment.keys.is_empty());
        let wrong_key = match misplaced {
            Some(segment) => segment.keys.first(),
            None if !found.indexable => last.keys.first(),
            None => None,
        };
        if let Some(key) = wrong_key {
            let name = &misplaced.unwrap_or(last).name;
            return Err(SyntaxError::new(key.start, format!("`{name}` cannot be indexed")));
        }
        Ok(Expr::Path {
            field: found.field,
            keys: self.keys(&last.keys)?,
        })
    }

    fn keys(&self, keys: &[Node]) -> Result<Vec<Key>, SyntaxError> {
        let key = |node: &Node| {
            Ok(match &node.kind {
                NodeKind::Text(text) => Key::Text(text.clone()),
                NodeKind::Int(index) if *index < 0 => {
                    return Err(SyntaxError::new(node.start, "an index is not negative"));
                }
                NodeKind::Int(index) => Key::Index(*index),
                NodeKind::Path(_) | NodeKind::Call(_) | NodeKind::Arithmetic { .. } => Key::Computed(self.value(node)?),
                other => {
                    return Err(SyntaxError::new(
                        node.start,
                        format!("a key is a string or an int, not {}", other.describe()),
                    ));
                }
            })
        };
        keys.iter().map(key).collect()
    }

    fn call(&self, call: &Call) -> Result<Expr, SyntaxError> {
        if call.name.starts_with(|first: char| !first.is_ascii_uppercase()) {
            return Err(SyntaxError::new(
                call.start,
                match EDITORS.contains(&call.name.as_str()) {
                    true => format!("`{}` is an editor; a condition changes nothing", call.name),
                    false => format!("unknown function `{}`{}", call.name, functions::suggest(&call.name)),
                },
            ));
        }
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(functions::Given {
                name: argument.name.as_deref(),
                start: argument.value.start,
                value: self.value(&argument.value)?,
            });
        }
        let bound = functions::bind(&call.name, call.start, arguments, self.context)?;
        Ok(Expr::Call {
            call: Box::new(bound),
            keys: self.keys(&call.keys)?,
        })
    }

    /// Statements are parsed and their parts resolved; then the editor is refused, since none is built yet.
    pub(super) fn refuse_statement(&self, statement: &Statement) -> SyntaxError {
        let name = statement.editor.name.as_str();
        let problem = if EDITORS.contains(&name) {
            format!("editor `{name}` is not built yet")
        } else {
            format!("unknown editor `{name}`{}", did_you_mean(name, EDITORS.iter().copied()))
        };
        match statement.condition.as_ref().map(|condition| self.test(condition)) {
            Some(Err(error)) => error,
            _ => SyntaxError::new(statement.editor.start, problem),
        }
    }
}

fn enum_number(symbol: &str, start: usize) -> Result<i64, SyntaxError> {
    enums::lookup(symbol).ok_or_else(|| {
        let message = if functions::exists(symbol) {
            format!("`{symbol}` is a function; call it: `{symbol}(...)`")
        } else {
            format!("unknown enum symbol `{symbol}`{}", did_you_mean(symbol, enums::names()))
        };
        SyntaxError::new(start, message)
    })
}

fn comparison(op: CompareOp, left: Expr, right: Expr) -> Test {
    let (path, constant) = match (left, right) {
        (path @ Expr::Path { .. }, Expr::Constant(constant)) => (path, constant),
        // Equality reads the same from both sides.
        (Expr::Constant(constant), path @ Expr::Path { .. }) if is_equality(op) => (path, constant),
        (left, right) => return Test::Compare { op, left, right },
    };
    if let (Expr::Path { field, keys }, Value::Text(text)) = (&path, &constant)
        && let [Key::Text(key)] = keys.as_slice()
        && is_equality(op)
        && field.has_attributes()
    {
        return Test::AttributeText {
            field: *field,
            key: key.clone(),
            text: text.clone().into_owned(),
            equal: op == CompareOp::Equal,
        };
    }
    Test::Compare {
        op,
        left: path,
        right: Expr::Constant(constant),
    }
}

fn is_equality(op: CompareOp) -> bool {
    matches!(op, CompareOp::Equal | CompareOp::NotEqual)
}

/// A list of constants is a constant.
fn list(elements: Vec<Expr>) -> Expr {
    if elements.iter().any(|element| element.constant().is_none()) {
        return Expr::List(elements);
    }
    let constants = elements.into_iter().filter_map(into_constant).collect();
    Expr::Constant(Value::List(List::Owned(constants)))
}

fn map(entries: Vec<(String, Expr)>) -> Expr {
    if entries.iter().any(|(_, value)| value.constant().is_none()) {
        return Expr::Map(entries);
    }
    let constants = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.into(), into_constant(value)?)))
        .collect();
    Expr::Constant(Value::Map(Map::Owned(constants)))
}

fn into_constant(expr: Expr) -> Option<Value<'static>> {
    match expr {
        Expr::Constant(value) => Some(value),
        _ => None,
    }
}
