//! Comparison and arithmetic: the tables of the language, value by value.

use std::cmp::Ordering;

use super::EvalError;
use super::ast::{ArithmeticOp, CompareOp};
use super::value::{List, MAX_VALUE_DEPTH, Map, Value};

/// Compares two values. Unlike types are unequal, and neither less nor greater; int and float compare as floats; bool,
/// string, bytes, time and duration have an order; nil, lists and maps only equality.
///
/// # Errors
/// Where a list or map of the telemetry is malformed, or nests too deep to be followed.
pub fn compare(op: CompareOp, left: &Value<'_>, right: &Value<'_>) -> Result<bool, EvalError> {
    let equality = matches!(op, CompareOp::Equal | CompareOp::NotEqual);
    if equality && matches!(left, Value::List(_) | Value::Map(_) | Value::Nil) {
        return Ok(same(left, right, MAX_VALUE_DEPTH)? == (op == CompareOp::Equal));
    }
    let Some(order) = order(left, right) else {
        return Ok(op == CompareOp::NotEqual);
    };
    Ok(match op {
        CompareOp::Equal => order == Some(Ordering::Equal),
        CompareOp::NotEqual => order != Some(Ordering::Equal),
        CompareOp::Less => order == Some(Ordering::Less),
        CompareOp::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        CompareOp::Greater => order == Some(Ordering::Greater),
        CompareOp::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

/// The order of two values of like type; the inner option is empty for NaN, the outer one for unlike types.
fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) | (Value::Duration(left), Value::Duration(right)) => {
            Some(left.cmp(right))
        }
        _ => return None,
    })
}

/// Equality in depth. Inside lists and maps an int is not a float.
fn same(left: &Value<'_>, right: &Value<'_>, depth: usize) -> Result<bool, EvalError> {
    if depth == 0 {
        return Err(EvalError::TooDeep);
    }
    Ok(match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::List(left), Value::List(right)) => same_lists(left, right, depth)?,
        (Value::Map(left), Value::Map(right)) => same_maps(left, right, depth)?,
        (Value::Int(_), Value::Double(_)) | (Value::Double(_), Value::Int(_)) => false,
        _ => order(left, right) == Some(Some(Ordering::Equal)),
    })
}

fn same_lists(left: &List<'_>, right: &List<'_>, depth: usize) -> Result<bool, EvalError> {
    let (mut left, mut right) = (left.iter(), right.iter());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ok(true),
            (Some(left), Some(right)) => {
                if !same(&left?, &right?, depth - 1)? {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
}

fn same_maps(left: &Map<'_>, right: &Map<'_>, depth: usize) -> Result<bool, EvalError> {
    let mut left = left.iter().collect::<Result<Vec<_>, _>>()?;
    let mut right = right.iter().collect::<Result<Vec<_>, _>>()?;
    if left.len() != right.len() {
        return Ok(false);
    }
    left.sort_by(|a, b| a.0.cmp(&b.0));
    right.sort_by(|a, b| a.0.cmp(&b.0));
    for ((left_key, left), (right_key, right)) in left.iter().zip(&right) {
        if left_key != right_key || !same(left, right, depth - 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `left op right` for numbers, times and durations. Ints wrap around as the Collector's do; an int beside a float
/// becomes a float.
///
/// # Errors
/// For other types, and for division by zero.
pub fn arithmetic(op: ArithmeticOp, left: &Value<'_>, right: &Value<'_>) -> Result<Value<'static>, EvalError> {
    use ArithmeticOp::{Add, Subtract};
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::Int(int(op, *left, *right)?),
        (Value::Double(left), Value::Double(right)) => Value::Double(double(op, *left, *right)?),
        (Value::Int(left), Value::Double(right)) => Value::Double(double(op, *left as f64, *right)?),
        (Value::Double(left), Value::Int(right)) => Value::Double(double(op, *left, *right as f64)?),
        (Value::Time(left), Value::Time(right)) if op == Subtract => Value::Duration(left.saturating_sub(*right)),
        (Value::Time(time), Value::Duration(by)) if op == Add => Value::Time(time.saturating_add(*by)),
        (Value::Time(time), Value::Duration(by)) if op == Subtract => Value::Time(time.saturating_sub(*by)),
        (Value::Duration(by), Value::Time(time)) if op == Add => Value::Time(time.saturating_add(*by)),
        (Value::Duration(left), Value::Duration(right)) if op == Add => Value::Duration(left.saturating_add(*right)),
        (Value::Duration(left), Value::Duration(right)) if op == Subtract => {
            Value::Duration(left.saturating_sub(*right))
        }
        _ => {
            return Err(EvalError::Arithmetic {
                left: left.type_name(),
                right: right.type_name(),
            });
        }
    })
}

fn int(op: ArithmeticOp, left: i64, right: i64) -> Result<i64, EvalError> {
    Ok(match op {
        ArithmeticOp::Add => left.wrapping_add(right),
        ArithmeticOp::Subtract => left.wrapping_sub(right),
        ArithmeticOp::Multiply => left.wrapping_mul(right),
        ArithmeticOp::Divide if right == 0 => return Err(EvalError::DivisionByZero),
        ArithmeticOp::Divide => left.wrapping_div(right),
    })
}

fn double(op: ArithmeticOp, left: f64, right: f64) -> Result<f64, EvalError> {
    Ok(match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Subtract => left - right,
        ArithmeticOp::Multiply => left * right,
        ArithmeticOp::Divide if right == 0.0 => return Err(EvalError::DivisionByZero),
        ArithmeticOp::Divide => left / right,
    })
}
