//! The tree and the data to text, within limits.

use std::time::Duration;

use tokio::time::Instant;

use super::function::Function;
use super::parse::{Command, Node, Operand, Pipe, Range, Set};
use super::value::Value;
use super::{Escape, LONGEST, TemplateError, Templates};

/// Calls of templates inside each other.
const DEEPEST: usize = 32;
/// Steps between two looks at the clock.
const LOOK: u32 = 64;

/// Renders nodes.
pub fn render(
    templates: &Templates,
    nodes: &[Node],
    data: &Value,
    escape: Escape,
    slowest: Duration,
) -> Result<String, TemplateError> {
    let mut run = Run {
        templates,
        escape,
        until: Instant::now() + slowest,
        steps: 0,
        depth: 0,
        written: String::new(),
        variables: vec![(String::new(), data.clone())],
    };
    run.nodes(nodes, data)?;
    Ok(run.written)
}

struct Run<'a> {
    templates: &'a Templates,
    escape: Escape,
    until: Instant,
    steps: u32,
    depth: usize,
    written: String,
    /// The innermost last; `$` is the first.
    variables: Vec<(String, Value)>,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        let held = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(held);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        self.step()?;
        match node {
            Node::Text(text) => self.write(text),
            Node::Emit(pipe) => {
                let value = self.pipe(pipe, dot)?;
                let text = match &value {
                    Value::Safe(text) => text.to_string(),
                    value => escaped(&value.shown(), self.escape),
                };
                self.write(&text)
            }
            Node::Set(set) => self.set(set, dot).map(|_| ()),
            Node::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.pipe(condition, dot)?.is_true() {
                        return self.nodes(body, dot);
                    }
                }
                self.nodes(otherwise, dot)
            }
            Node::With(set, body, otherwise) => {
                let held = self.variables.len();
                let value = self.set(set, dot)?;
                if value.is_true() {
                    self.nodes(body, &value)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
                self.variables.truncate(held);
                Ok(())
            }
            Node::Range(range) => self.range(range, dot),
            Node::Call(offset, name, pipe) => self.call(*offset, name, pipe.as_ref(), dot),
        }
    }

    fn call(&mut self, offset: usize, name: &str, pipe: Option<&Pipe>, dot: &Value) -> Result<(), TemplateError> {
        let Some(nodes) = self.templates.defined.get(name).cloned() else {
            let known: Vec<&str> = self.templates.defined.keys().map(String::as_str).collect();
            let hint = crate::config::suggest_among(name, &known);
            return Err(TemplateError::new(
                offset,
                format!("there is no template {name:?}{hint}"),
            ));
        };
        let data = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TemplateError::new(
                offset,
                "templates that call each other more than 32 deep",
            ));
        }
        // A template sees what it is given and nothing of its caller.
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        let result = self.nodes(&nodes, &data);
        self.variables = outer;
        self.depth -= 1;
        // Its places are those of another text.
        result.map_err(|error| TemplateError::new(offset, error.message))
    }

    fn range(&mut self, range: &Range, dot: &Value) -> Result<(), TemplateError> {
        let over = self.pipe(&range.over, dot)?;
        let entries: Vec<(Value, Value)> = match &over {
            Value::List(values) => {
                let numbered = values.iter().enumerate();
                numbered
                    .map(|(at, value)| (Value::Number(at as f64), value.clone()))
                    .collect()
            }
            Value::Pairs(pairs) => {
                let pairs = pairs.iter();
                pairs
                    .map(|(name, value)| (Value::text(name.as_str()), value.clone()))
                    .collect()
            }
            Value::Nil => Vec::new(),
            _ => {
                let offset = range.over.0.first().map_or(0, |command| command.offset);
                return Err(TemplateError::new(offset, "`range` goes over lists and maps only"));
            }
        };
        if entries.is_empty() {
            return self.nodes(&range.otherwise, dot);
        }
        for (key, value) in entries {
            self.step()?;
            let held = self.variables.len();
            for (name, given) in [(&range.key, &key), (&range.value, &value)] {
                if let Some(name) = name {
                    self.variables.push((name.clone(), given.clone()));
                }
            }
            self.nodes(&range.body, &value)?;
            self.variables.truncate(held);
        }
        Ok(())
    }

    fn set(&mut self, set: &Set, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.pipe(&set.pipe, dot)?;
        if let Some(name) = &set.name {
            let known = self.variables.iter_mut().rev().find(|(have, _)| have == name);
            match known {
                Some((_, old)) if !set.declares => *old = value.clone(),
                None if !set.declares => return Err(TemplateError::new(0, format!("there is no variable ${name}"))),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut result: Option<Value> = None;
        for command in &pipe.0 {
            result = Some(self.command(command, dot, result)?);
        }
        Ok(result.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value, TemplateError> {
        self.step()?;
        let Operand::Function(function) = &command.head else {
            if last.is_some() {
                return Err(TemplateError::new(
                    command.offset,
                    "only a function can stand behind `|`",
                ));
            }
            return self.operand(&command.head, dot, command.offset);
        };
        let mut arguments = Vec::new();
        for argument in &command.arguments {
            let value = self.operand(argument, dot, command.offset)?;
            // They need not look further.
            let decides = match function {
                Function::And => !value.is_true(),
                Function::Or => value.is_true(),
                _ => false,
            };
            if decides {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        let result = function.call(&arguments);
        let value = result.map_err(|message| TemplateError::new(command.offset, message))?;
        // No value grows without bound, in a variable either.
        match &value {
            Value::Text(text) | Value::Safe(text) if text.len() > LONGEST => Err(too_long(command.offset)),
            _ => Ok(value),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, offset: usize) -> Result<Value, TemplateError> {
        let (value, fields) = match operand {
            Operand::Dot(fields) => (dot.clone(), fields.as_slice()),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(have, _)| have == name);
                let found = found.map(|(_, value)| value.clone());
                let value = found.ok_or_else(|| TemplateError::new(offset, format!("there is no variable ${name}")))?;
                (value, fields.as_slice())
            }
            Operand::Inner(pipe, fields) => (self.pipe(pipe, dot)?, fields.as_slice()),
            // As Alertmanager's, what the template says itself is not escaped.
            Operand::Quoted(text) => (Value::Safe(text.as_str().into()), [].as_slice()),
            Operand::Number(number) => (Value::Number(*number), [].as_slice()),
            Operand::Bool(value) => (Value::Bool(*value), [].as_slice()),
            Operand::Nil => (Value::Nil, [].as_slice()),
            Operand::Function(function) => {
                let called = function.call(&[]);
                (
                    called.map_err(|message| TemplateError::new(offset, message))?,
                    [].as_slice(),
                )
            }
        };
        let mut value = value;
        for name in fields {
            value = value
                .field(name)
                .map_err(|message| TemplateError::new(offset, message))?;
        }
        Ok(value)
    }

    fn write(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.written.len() + text.len() > LONGEST {
            return Err(too_long(0));
        }
        self.written.push_str(text);
        Ok(())
    }

    fn step(&mut self) -> Result<(), TemplateError> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(LOOK) && Instant::now() > self.until {
            return Err(TemplateError::new(0, "rendering took longer than 100 ms"));
        }
        Ok(())
    }
}

fn too_long(offset: usize) -> TemplateError {
    TemplateError::new(offset, "the text becomes longer than 64 KiB")
}

/// A text of telemetry for where it goes.
pub fn escaped(text: &str, escape: Escape) -> String {
    let mut safe = String::with_capacity(text.len());
    for next in text.chars() {
        match (escape, next) {
            (Escape::Slack, '&') => safe.push_str("&amp;"),
            (Escape::Slack, '<') => safe.push_str("&lt;"),
            (Escape::Slack, '>') => safe.push_str("&gt;"),
            (_, '\n' | '\t') => safe.push(next),
            // Escape sequences of terminals, and characters that turn the direction of reading.
            (_, next) if next.is_control() || matches!(next, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {}
            (_, next) => safe.push(next),
        }
    }
    safe
}
