//! Converters: functions that make a value from values. One [`Spec`] each, in a table by group.
//!
//! Arguments are bound to parameters when a condition is checked; a pattern that is a literal is compiled there too.

mod data;
mod text;
mod times;
mod types;

use std::borrow::Cow;

use ::regex::Regex;

use super::context::Context;
use super::error::did_you_mean;
use super::expr::Expr;
use super::target::Target;
use super::value::Value;
use super::{EvalError, SyntaxError, regex};

/// What a function is called, takes and does.
pub(super) struct Spec {
    name: &'static str,
    parameters: &'static [Parameter],
    /// Where it can be used; empty: everywhere.
    contexts: &'static [Context],
    eval: for<'v> fn(&Frame<'v, '_>) -> Result<Value<'v>, EvalError>,
}

/// One parameter.
struct Parameter {
    name: &'static str,
    optional: bool,
    kind: ParameterKind,
}

#[derive(Clone, Copy, PartialEq)]
enum ParameterKind {
    Value,
    Pattern,
    /// A pattern in which at least one group has a name.
    NamedPattern,
    /// A time format; known when the condition is checked.
    Format,
    /// Taken by the language, but only this value is built.
    Only(&'static str),
}

const fn required(name: &'static str) -> Parameter {
    parameter(name, false, ParameterKind::Value)
}

const fn optional(name: &'static str) -> Parameter {
    parameter(name, true, ParameterKind::Value)
}

const fn parameter(name: &'static str, optional: bool, kind: ParameterKind) -> Parameter {
    Parameter { name, optional, kind }
}

type Eval = for<'v> fn(&Frame<'v, '_>) -> Result<Value<'v>, EvalError>;

/// A function for every context.
const fn spec(name: &'static str, parameters: &'static [Parameter], eval: Eval) -> Spec {
    Spec {
        name,
        parameters,
        contexts: &[],
        eval,
    }
}

/// Converters of the language that come later: refused by name.
const LATER: &[&str] = &[
    "AppendValues",
    "Base64Decode",
    "CommunityID",
    "ConvertAttributesToElementsXML",
    "ConvertCase",
    "ConvertTextToElementsXML",
    "Decode",
    "Encode",
    "ExtractGrokPatterns",
    "FNV",
    "Format",
    "GetXML",
    "Index",
    "InsertXML",
    "IsInCIDR",
    "IsValidLuhn",
    "KeepKeys",
    "Keys",
    "LookupValue",
    "MD5",
    "Murmur3Hash",
    "Murmur3Hash128",
    "ParseCSV",
    "ParseInt",
    "ParseKeyValue",
    "ParseSeverity",
    "ParseSimplifiedXML",
    "ParseXML",
    "ProfileID",
    "RemoveXML",
    "SHA1",
    "SHA512",
    "SliceToMap",
    "Sort",
    "ToCamelCase",
    "ToKeyValueString",
    "ToSnakeCase",
    "TruncateTime",
    "URL",
    "UUID",
    "UUIDv7",
    "UserAgent",
    "Values",
    "XXH128",
    "XXH3",
];

fn all() -> impl Iterator<Item = &'static Spec> {
    text::SPECS
        .iter()
        .chain(types::SPECS)
        .chain(times::SPECS)
        .chain(data::SPECS)
}

fn find(name: &str) -> Option<&'static Spec> {
    all().find(|spec| spec.name == name)
}

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// `; did you mean ...?`
pub(super) fn suggest(name: &str) -> String {
    did_you_mean(name, all().map(|spec| spec.name))
}

/// The context that a function belongs to, where it belongs to one.
pub(super) fn context_of(name: &str) -> Option<Context> {
    find(name)?.contexts.first().copied()
}

/// An argument as written, its value bound.
pub(super) struct Given<'n> {
    pub name: Option<&'n str>,
    pub start: usize,
    pub value: Expr,
}

/// A function with its arguments, in the order of its parameters.
pub(super) struct Call {
    spec: &'static Spec,
    arguments: Vec<Option<Expr>>,
    /// Compiled from the parameter that is a literal pattern.
    pattern: Option<Regex>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(self.spec.name)
            .field("arguments", &self.arguments)
            .finish()
    }
}

/// Binds arguments to parameters.
pub(super) fn bind(name: &str, start: usize, given: Vec<Given<'_>>, context: Context) -> Result<Call, SyntaxError> {
    let Some(spec) = find(name) else {
        let message = if LATER.contains(&name) {
            format!("function `{name}` is not built yet")
        } else {
            format!("unknown function `{name}`{}", suggest(name))
        };
        return Err(SyntaxError::new(start, message));
    };
    if !spec.contexts.is_empty() && !spec.contexts.contains(&context) {
        return Err(SyntaxError::new(
            start,
            format!(
                "`{name}` belongs to the {} context, this is the {} context",
                spec.contexts[0].name(),
                context.name()
            ),
        ));
    }
    let mut call = Call {
        spec,
        arguments: spec.parameters.iter().map(|_| None).collect(),
        pattern: None,
    };
    for (position, argument) in given.into_iter().enumerate() {
        let slot = slot(spec, position, &argument)?;
        if call.arguments[slot].is_some() {
            return Err(SyntaxError::new(
                argument.start,
                format!("`{name}` is given `{}` twice", spec.parameters[slot].name),
            ));
        }
        check(&mut call, slot, &argument)?;
        call.arguments[slot] = Some(argument.value);
    }
    let missing = (spec.parameters.iter().zip(&call.arguments))
        .find(|(parameter, argument)| !parameter.optional && argument.is_none());
    if let Some((parameter, _)) = missing {
        return Err(SyntaxError::new(
            start,
            format!("`{name}` needs `{}`; it takes ({})", parameter.name, signature(spec)),
        ));
    }
    Ok(call)
}

fn signature(spec: &Spec) -> String {
    let names = spec.parameters.iter().map(|parameter| match parameter.optional {
        true => format!("[{}]", parameter.name),
        false => parameter.name.to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn slot(spec: &Spec, position: usize, argument: &Given<'_>) -> Result<usize, SyntaxError> {
    let found = match argument.name {
        Some(name) => spec.parameters.iter().position(|parameter| parameter.name == name),
        None => Some(position).filter(|position| *position < spec.parameters.len()),
    };
    found.ok_or_else(|| {
        let problem = match argument.name {
            Some(name) => format!("`{}` has no argument `{name}`", spec.name),
            None => format!("too many arguments for `{}`", spec.name),
        };
        SyntaxError::new(argument.start, format!("{problem}; it takes ({})", signature(spec)))
    })
}

/// Judges what can be judged before any item is there.
fn check(call: &mut Call, slot: usize, argument: &Given<'_>) -> Result<(), SyntaxError> {
    let parameter = &call.spec.parameters[slot];
    let constant = argument.value.constant();
    match (parameter.kind, constant) {
        (ParameterKind::Value, _) | (ParameterKind::Pattern, None) => Ok(()),
        (ParameterKind::Pattern | ParameterKind::NamedPattern, Some(Value::Text(pattern))) => {
            let compiled = regex::compile(pattern).map_err(|message| SyntaxError::new(argument.start, message))?;
            let has_names = compiled.capture_names().flatten().next().is_some();
            if parameter.kind == ParameterKind::NamedPattern && !has_names {
                return Err(SyntaxError::new(
                    argument.start,
                    "the pattern needs at least one named group, e.g. `(?P<name>...)`",
                ));
            }
            call.pattern = Some(compiled);
            Ok(())
        }
        (ParameterKind::Format, Some(Value::Text(format))) => {
            times::check_format(format).map_err(|message| SyntaxError::new(argument.start, message))
        }
        (ParameterKind::Only(value), Some(Value::Text(text))) if text.is_empty() || *text == value => Ok(()),
        (ParameterKind::Only(value), _) => Err(SyntaxError::new(
            argument.start,
            format!("`{}` other than \"{value}\" is not built yet", parameter.name),
        )),
        (ParameterKind::Pattern | ParameterKind::NamedPattern | ParameterKind::Format, _) => Err(SyntaxError::new(
            argument.start,
            format!("`{}` must be a literal string", parameter.name),
        )),
    }
}

impl Call {
    pub(super) fn eval<'v>(&'v self, target: &Target<'v>) -> Result<Value<'v>, EvalError> {
        (self.spec.eval)(&Frame { call: self, target })
    }
}

/// One call under way: its arguments are evaluated when they are asked for.
struct Frame<'v, 't> {
    call: &'v Call,
    target: &'t Target<'v>,
}

impl<'v> Frame<'v, '_> {
    fn name(&self) -> &'static str {
        self.call.spec.name
    }

    /// The value of an argument; nil for an optional one that was not given.
    fn value(&self, index: usize) -> Result<Value<'v>, EvalError> {
        match &self.call.arguments[index] {
            Some(argument) => argument.eval(self.target),
            None => Ok(Value::Nil),
        }
    }

    fn is_given(&self, index: usize) -> bool {
        self.call.arguments[index].is_some()
    }

    fn wrong(&self, expected: &'static str, found: &Value<'_>) -> EvalError {
        EvalError::Argument {
            function: self.name(),
            expected,
            found: found.type_name(),
        }
    }

    fn failed(&self, reason: &'static str) -> EvalError {
        EvalError::Failed {
            function: self.name(),
            reason,
        }
    }

    /// An argument that must be a string.
    fn text(&self, index: usize) -> Result<Cow<'v, str>, EvalError> {
        match self.value(index)? {
            Value::Text(text) => Ok(text),
            other => Err(self.wrong("string", &other)),
        }
    }

    fn int(&self, index: usize) -> Result<i64, EvalError> {
        match self.value(index)? {
            Value::Int(value) => Ok(value),
            other => Err(self.wrong("int", &other)),
        }
    }

    fn time(&self, index: usize) -> Result<i64, EvalError> {
        match self.value(index)? {
            Value::Time(nanos) => Ok(nanos),
            other => Err(self.wrong("time", &other)),
        }
    }

    fn duration(&self, index: usize) -> Result<i64, EvalError> {
        match self.value(index)? {
            Value::Duration(nanos) => Ok(nanos),
            other => Err(self.wrong("duration", &other)),
        }
    }

    /// The compiled pattern; one that is only known now is compiled now.
    fn pattern(&self, index: usize) -> Result<Cow<'v, Regex>, EvalError> {
        if let Some(compiled) = &self.call.pattern {
            return Ok(Cow::Borrowed(compiled));
        }
        let compiled = regex::compile(&self.text(index)?).map_err(|_| self.failed("bad regular expression"))?;
        Ok(Cow::Owned(compiled))
    }
}
