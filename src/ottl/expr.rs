//! Expressions bound to a context, and their evaluation.

use std::borrow::Cow;

use super::EvalError;
use super::ast::{ArithmeticOp, CompareOp};
use super::compare::{arithmetic, compare};
use super::fields::{Field, SpanField, trace_state_member};
use super::functions::Call;
use super::target::Target;
use super::value::{List, Map, Value};
use crate::wire;

/// Something that has a value.
#[derive(Debug)]
pub(super) enum Expr {
    Constant(Value<'static>),
    Path {
        field: Field,
        keys: Vec<Key>,
    },
    Call {
        call: Box<Call>,
        keys: Vec<Key>,
    },
    Arithmetic {
        first: Box<Expr>,
        rest: Vec<(ArithmeticOp, Expr)>,
    },
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
}

/// What stands in `[...]`.
#[derive(Debug)]
pub(super) enum Key {
    Text(String),
    Index(i64),
    /// Known only when the item is.
    Computed(Expr),
}

/// Something that is true or false.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    Or(Vec<Test>),
    And(Vec<Test>),
    Not(Box<Test>),
    Compare {
        op: CompareOp,
        left: Expr,
        right: Expr,
    },
    /// `attributes["key"] == "text"` (or `!=`), by far the most frequent condition: compared on the wire.
    AttributeText {
        field: Field,
        key: String,
        text: String,
        equal: bool,
    },
    /// A function that gives a bool.
    Call(Expr),
}

impl Test {
    pub(super) fn holds(&self, target: &Target<'_>) -> Result<bool, EvalError> {
        match self {
            Test::Constant(value) => Ok(*value),
            Test::Or(terms) => {
                for term in terms {
                    if term.holds(target)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::And(terms) => {
                for term in terms {
                    if !term.holds(target)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Not(inner) => Ok(!inner.holds(target)?),
            Test::Compare { op, left, right } => compare(*op, &left.eval(target)?, &right.eval(target)?),
            Test::AttributeText {
                field,
                key,
                text,
                equal,
            } => {
                let found = match field.attributes(target)? {
                    Some(attributes) => attributes.get(key)?,
                    None => None,
                };
                let same = matches!(found, Some(wire::Value::String(have)) if have.as_bytes() == text.as_bytes());
                Ok(same == *equal)
            }
            Test::Call(call) => match call.eval(target)? {
                Value::Bool(value) => Ok(value),
                other => Err(EvalError::NotABool {
                    found: other.type_name(),
                }),
            },
        }
    }
}

impl Expr {
    pub(super) fn eval<'v>(&'v self, target: &Target<'v>) -> Result<Value<'v>, EvalError> {
        match self {
            Expr::Constant(value) => Ok(value.borrowed()),
            Expr::Path { field, keys } => path(*field, keys, target),
            Expr::Call { call, keys } => index(call.eval(target)?, keys, target),
            Expr::Arithmetic { first, rest } => {
                let mut result = first.eval(target)?;
                for (op, operand) in rest {
                    result = arithmetic(*op, &result, &operand.eval(target)?)?;
                }
                Ok(result)
            }
            Expr::List(elements) => {
                let elements = elements.iter().map(|element| element.eval(target));
                Ok(Value::List(List::Owned(elements.collect::<Result<_, _>>()?)))
            }
            Expr::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, element)| Ok((Cow::Borrowed(key.as_str()), element.eval(target)?)));
                Ok(Value::Map(Map::Owned(entries.collect::<Result<_, EvalError>>()?)))
            }
        }
    }

    /// Evaluates what does not depend on any item.
    pub(super) fn constant(&self) -> Option<&Value<'static>> {
        match self {
            Expr::Constant(value) => Some(value),
            _ => None,
        }
    }
}

fn path<'v>(field: Field, keys: &'v [Key], target: &Target<'v>) -> Result<Value<'v>, EvalError> {
    if let [Key::Text(key), rest @ ..] = keys
        && let Some(attributes) = field.attributes(target)?
    {
        let value = attributes.get(key)?.map_or(Value::Nil, Value::from);
        return index(value, rest, target);
    }
    let value = field.read(target)?;
    if field == Field::Span(SpanField::TraceState)
        && let [key] = keys
    {
        return match key.eval(target)? {
            Value::Text(key) => Ok(trace_state_member(&value, &key)),
            other => Err(EvalError::Index {
                container: "trace state",
                key: other.type_name(),
            }),
        };
    }
    index(value, keys, target)
}

/// Follows the keys. A key that is not there ends in nil; a value that cannot be indexed is an error.
fn index<'v>(mut value: Value<'v>, keys: &'v [Key], target: &Target<'v>) -> Result<Value<'v>, EvalError> {
    for key in keys {
        if matches!(value, Value::Nil) {
            return Ok(value);
        }
        value = match key.eval(target)? {
            Value::Text(key) => value.at_key(&key)?,
            Value::Int(index) => value.at_index(index)?,
            other => {
                return Err(EvalError::Index {
                    container: value.type_name(),
                    key: other.type_name(),
                });
            }
        };
    }
    Ok(value)
}

impl Key {
    fn eval<'v>(&'v self, target: &Target<'v>) -> Result<Value<'v>, EvalError> {
        match self {
            Key::Text(key) => Ok(Value::text(key)),
            Key::Index(index) => Ok(Value::Int(*index)),
            Key::Computed(expr) => expr.eval(target),
        }
    }
}
