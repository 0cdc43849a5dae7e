//! The expressions that are known: keys compared with `=`, `BETWEEN` and `begins_with`; conditions of `attribute_exists`,
//! `attribute_not_exists` and comparisons, joined by `AND` or by `OR`; `SET` of values.

use std::cmp::Ordering;

use serde_json::{Map, Value as Json};

use super::super::answer::ApiError;
use super::invalid;
use super::table::{Item, compare};

/// `ExpressionAttributeNames` and `ExpressionAttributeValues`.
pub struct Names<'a> {
    names: Option<&'a Map<String, Json>>,
    values: Option<&'a Map<String, Json>>,
}

impl<'a> Names<'a> {
    pub fn of(request: &'a Json) -> Self {
        Self {
            names: request["ExpressionAttributeNames"].as_object(),
            values: request["ExpressionAttributeValues"].as_object(),
        }
    }

    /// An attribute's name, behind its placeholder.
    pub fn resolve(&self, name: &str) -> Result<String, ApiError> {
        if !name.starts_with('#') {
            return Ok(name.to_owned());
        }
        let name_of = self.names.and_then(|names| names.get(name)).and_then(Json::as_str);
        name_of.map(str::to_owned).ok_or_else(|| {
            invalid(format!(
                "An expression attribute name used in the document path is not defined: {name}"
            ))
        })
    }

    fn value(&self, name: &str) -> Result<Json, ApiError> {
        let value = self.values.and_then(|values| values.get(name)).cloned();
        value.ok_or_else(|| {
            invalid(format!(
                "An expression attribute value used in expression is not defined: {name}"
            ))
        })
    }
}

fn unknown(text: &str) -> ApiError {
    invalid(format!("the simulator does not know the expression {text:?}"))
}

/// `f(a, b)` -> a, b.
fn call<'t>(text: &'t str, function: &str) -> Option<Vec<&'t str>> {
    let arguments = text
        .strip_prefix(function)?
        .trim_start()
        .strip_prefix('(')?
        .trim_end()
        .strip_suffix(')')?;
    Some(arguments.split(',').map(str::trim).collect())
}

/// Which items a query is about.
pub struct KeyCondition {
    hash: (String, Json),
    range: Option<(String, Test)>,
}

enum Test {
    Is(Json),
    Between(Json, Json),
    Begins(String),
}

impl KeyCondition {
    /// The partition key must be compared first.
    pub fn read(text: &str, hash: &str, range: &str, names: &Names<'_>) -> Result<Self, ApiError> {
        let (first, rest) = match text.split_once(" AND ") {
            Some((first, rest)) => (first, Some(rest.trim())),
            None => (text, None),
        };
        let (name, value) = first.split_once('=').ok_or_else(|| unknown(text))?;
        let name = names.resolve(name.trim())?;
        if name != hash {
            return Err(invalid(format!("Query condition missed key schema element: {hash}")));
        }
        let hash = (name, names.value(value.trim())?);
        let Some(rest) = rest else {
            return Ok(Self { hash, range: None });
        };
        let (name, test) = if let Some(arguments) = call(rest, "begins_with") {
            let [name, value] = arguments[..] else {
                return Err(unknown(text));
            };
            let value = names.value(value)?;
            let prefix = value["S"].as_str().unwrap_or_default().to_owned();
            (name, Test::Begins(prefix))
        } else if let Some((name, bounds)) = rest.split_once(" BETWEEN ") {
            let (low, high) = bounds.split_once(" AND ").ok_or_else(|| unknown(text))?;
            (name, Test::Between(names.value(low.trim())?, names.value(high.trim())?))
        } else {
            let (name, value) = rest.split_once('=').ok_or_else(|| unknown(text))?;
            (name, Test::Is(names.value(value.trim())?))
        };
        let name = names.resolve(name.trim())?;
        if name != range {
            return Err(invalid(format!("Query key condition not supported: {name}")));
        }
        Ok(Self {
            hash,
            range: Some((name, test)),
        })
    }

    /// An item without the keys of the index is not in it.
    pub fn holds(&self, item: &Item) -> bool {
        if item.get(&self.hash.0) != Some(&self.hash.1) {
            return false;
        }
        let Some((name, test)) = &self.range else {
            return true;
        };
        let Some(value) = item.get(name) else {
            return false;
        };
        match test {
            Test::Is(wanted) => value == wanted,
            Test::Between(low, high) => compare(value, low).is_ge() && compare(value, high).is_le(),
            Test::Begins(prefix) => value["S"].as_str().is_some_and(|text| text.starts_with(prefix)),
        }
    }
}

/// What must hold before a write.
pub struct Condition {
    all: bool,
    terms: Vec<Term>,
}

enum Term {
    Exists(String, bool),
    Compare(String, &'static str, Json),
}

impl Condition {
    pub fn read(text: &str, names: &Names<'_>) -> Result<Self, ApiError> {
        let all = !text.contains(" OR ");
        if !all && text.contains(" AND ") {
            return Err(unknown(text));
        }
        let mut terms = Vec::new();
        for term in text.split(if all { " AND " } else { " OR " }) {
            let term = term.trim();
            let exists = |function| call(term, function).and_then(|arguments| arguments.first().copied());
            if let Some(name) = exists("attribute_not_exists") {
                terms.push(Term::Exists(names.resolve(name)?, false));
            } else if let Some(name) = exists("attribute_exists") {
                terms.push(Term::Exists(names.resolve(name)?, true));
            } else {
                let operators = ["<=", ">=", "<>", "<", ">", "="];
                let mut found = operators
                    .into_iter()
                    .filter_map(|operator| Some((operator, term.split_once(operator)?)));
                let (operator, (name, value)) = found.next().ok_or_else(|| unknown(text))?;
                let (name, value) = (names.resolve(name.trim())?, names.value(value.trim())?);
                terms.push(Term::Compare(name, operator, value));
            }
        }
        Ok(Self { all, terms })
    }

    pub fn holds(&self, item: Option<&Item>) -> bool {
        let holds = |term: &Term| match term {
            Term::Exists(name, wanted) => item.is_some_and(|item| item.contains_key(name)) == *wanted,
            Term::Compare(name, operator, wanted) => {
                let Some(value) = item.and_then(|item| item.get(name)) else {
                    return false;
                };
                let order = compare(value, wanted);
                match *operator {
                    "<=" => order.is_le(),
                    ">=" => order.is_ge(),
                    "<" => order.is_lt(),
                    ">" => order.is_gt(),
                    "<>" => value != wanted,
                    _ => value == wanted || (order == Ordering::Equal && value.get("N").is_some()),
                }
            }
        };
        if self.all {
            self.terms.iter().all(holds)
        } else {
            self.terms.iter().any(holds)
        }
    }
}

/// The assignments of `SET a = :a, b = :b`.
pub fn assignments(text: &str, names: &Names<'_>) -> Result<Vec<(String, Json)>, ApiError> {
    let list = text.trim().strip_prefix("SET ").ok_or_else(|| unknown(text))?;
    let mut assignments = Vec::new();
    for assignment in list.split(',') {
        let (name, value) = assignment.split_once('=').ok_or_else(|| unknown(text))?;
        assignments.push((names.resolve(name.trim())?, names.value(value.trim())?));
    }
    Ok(assignments)
}
