//! Functions on strings.

use std::borrow::Cow;

use super::{Frame, ParameterKind, Spec, optional, parameter, required, spec};
use crate::ottl::EvalError;
use crate::ottl::value::{List, Map, Value};

pub(super) const SPECS: &[Spec] = &[
    spec(
        "IsMatch",
        &[required("target"), parameter("pattern", false, ParameterKind::Pattern)],
        is_match,
    ),
    spec(
        "ExtractPatterns",
        &[
            required("target"),
            parameter("pattern", false, ParameterKind::NamedPattern),
        ],
        extract_patterns,
    ),
    spec("Concat", &[required("values"), required("delimiter")], concat),
    spec("Split", &[required("target"), required("delimiter")], split),
    spec(
        "Substring",
        &[required("target"), required("start"), required("length")],
        substring,
    ),
    spec("ToUpperCase", &[required("target")], |frame| {
        Ok(Value::Text(frame.text(0)?.to_uppercase().into()))
    }),
    spec("ToLowerCase", &[required("target")], |frame| {
        Ok(Value::Text(frame.text(0)?.to_lowercase().into()))
    }),
    spec("HasPrefix", &[required("value"), required("prefix")], |frame| {
        Ok(Value::Bool(frame.text(0)?.starts_with(&*frame.text(1)?)))
    }),
    spec("HasSuffix", &[required("value"), required("suffix")], |frame| {
        Ok(Value::Bool(frame.text(0)?.ends_with(&*frame.text(1)?)))
    }),
    spec("Trim", &[required("target"), optional("replacement")], trim),
    spec("TrimPrefix", &[required("value"), required("prefix")], |frame| {
        let (value, prefix) = (frame.text(0)?, frame.text(1)?);
        let from = if value.starts_with(&*prefix) { prefix.len() } else { 0 };
        let to = value.len();
        Ok(Value::Text(slice(value, from, to)))
    }),
    spec("TrimSuffix", &[required("value"), required("suffix")], |frame| {
        let (value, suffix) = (frame.text(0)?, frame.text(1)?);
        let cut = if value.ends_with(&*suffix) { suffix.len() } else { 0 };
        let to = value.len() - cut;
        Ok(Value::Text(slice(value, 0, to)))
    }),
];

/// Part of a text, borrowed where the text is. The bounds lie on characters.
fn slice(text: Cow<'_, str>, from: usize, to: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..to]),
        Cow::Owned(text) => Cow::Owned(text[from..to].to_owned()),
    }
}

/// False for nil; other values are matched as they are written.
fn is_match<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let Some(target) = frame.value(0)?.to_text()? else {
        return Ok(Value::Bool(false));
    };
    Ok(Value::Bool(frame.pattern(1)?.is_match(&target)))
}

/// A map of the named groups; empty where the pattern does not match.
fn extract_patterns<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let target = frame.text(0)?;
    let pattern = frame.pattern(1)?;
    let mut entries = Vec::new();
    if let Some(captures) = pattern.captures(&target) {
        for name in pattern.capture_names().flatten() {
            let text = captures.name(name).map_or("", |found| found.as_str());
            entries.push((Cow::Owned(name.to_owned()), Value::Text(Cow::Owned(text.to_owned()))));
        }
    }
    Ok(Value::Map(Map::Owned(entries)))
}

fn concat<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let values = match frame.value(0)? {
        Value::List(list) => list,
        other => return Err(frame.wrong("list", &other)),
    };
    let delimiter = frame.text(1)?;
    let mut joined = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            joined.push_str(&delimiter);
        }
        joined.push_str(value?.to_text()?.as_deref().unwrap_or("<nil>"));
    }
    Ok(Value::Text(joined.into()))
}

fn split<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let (target, delimiter) = (frame.text(0)?, frame.text(1)?);
    // An empty delimiter separates all characters; Rust's split would add an empty text at either end.
    let parts: Vec<Value<'v>> = match (&target, delimiter.is_empty()) {
        (_, true) => target.chars().map(|c| Value::Text(c.to_string().into())).collect(),
        (Cow::Borrowed(text), _) => text.split(&*delimiter).map(Value::text).collect(),
        (Cow::Owned(text), _) => {
            let owned = |part: &str| Value::Text(Cow::Owned(part.to_owned()));
            text.split(&*delimiter).map(owned).collect()
        }
    };
    Ok(Value::List(List::Owned(parts)))
}

fn substring<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let target = frame.text(0)?;
    let start = usize::try_from(frame.int(1)?).map_err(|_| frame.failed("start is negative"))?;
    let length = usize::try_from(frame.int(2)?).map_err(|_| frame.failed("length is negative"))?;
    let end = start.checked_add(length).filter(|end| *end <= target.len());
    let Some(end) = end else {
        return Err(frame.failed("start and length lie outside the string"));
    };
    if !target.is_char_boundary(start) || !target.is_char_boundary(end) {
        return Err(frame.failed("start or end lies inside a character"));
    }
    Ok(Value::Text(slice(target, start, end)))
}

/// Takes the characters of the second argument (a space) off both ends.
fn trim<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let target = frame.text(0)?;
    let cut = if frame.is_given(1) {
        frame.text(1)?
    } else {
        Cow::Borrowed(" ")
    };
    let is_cut = |c: char| cut.contains(c);
    let from = target.len() - target.trim_start_matches(is_cut).len();
    let to = target.trim_end_matches(is_cut).len();
    Ok(Value::Text(slice(target, from.min(to), to)))
}
