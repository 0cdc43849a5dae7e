//! OTTL conditions by level, and what an error of one of them does.

use serde::{Deserialize, Serialize};

use crate::ottl::{Condition, Context, EvalError, Target};
use crate::pdata::Signal;
use crate::wire::WireError;

/// What an error of a condition does. (An item whose bytes are malformed is dropped and counted in any mode.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorMode {
    /// The condition counts as false; a warning for each batch.
    #[default]
    Ignore,
    /// The same without a word.
    Silent,
    /// The whole batch is refused for good.
    Propagate,
}

/// A condition and its error mode.
#[derive(Debug)]
pub struct Rule {
    pub condition: Condition,
    pub error_mode: ErrorMode,
}

/// The rules of one signal: on each level any condition that is true drops.
#[derive(Debug, Default)]
pub struct Levels {
    pub resource: Vec<Rule>,
    pub scope: Vec<Rule>,
    /// Spans, metrics, log records.
    pub item: Vec<Rule>,
    /// Span events, data points.
    pub inner: Vec<Rule>,
}

impl Levels {
    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.resource.is_empty() && !self.looks_inside()
    }

    /// Whether anything below the resource is judged.
    pub fn looks_inside(&self) -> bool {
        !self.scope.is_empty() || !self.item.is_empty() || !self.inner.is_empty()
    }

    /// Adds a rule at the level of its context; gives the context back where the signal has no such level.
    pub fn add(&mut self, signal: Signal, rule: Rule) -> Result<(), Context> {
        let level = match (rule.condition.context(), signal) {
            (Context::Resource, _) => &mut self.resource,
            (Context::Scope, _) => &mut self.scope,
            (Context::Span, Signal::Traces) | (Context::Metric, Signal::Metrics) | (Context::Log, Signal::Logs) => {
                &mut self.item
            }
            (Context::SpanEvent, Signal::Traces) | (Context::DataPoint, Signal::Metrics) => &mut self.inner,
            (context, _) => return Err(context),
        };
        level.push(rule);
        Ok(())
    }
}

/// What the conditions of one batch ran into.
#[derive(Debug, Default)]
pub struct Trouble<'f> {
    /// The first error that propagates, with its condition.
    pub refused: Option<(&'f str, EvalError)>,
    /// The first error that was ignored, with its condition.
    pub ignored: Option<(&'f str, EvalError)>,
    /// How often a condition was ignored.
    pub times_ignored: usize,
}

impl<'f> Trouble<'f> {
    /// Whether one of the rules drops. After an error that propagates nothing is asked any more.
    #[inline]
    pub fn any(&mut self, rules: &'f [Rule], target: &Target<'_>) -> Result<bool, WireError> {
        if self.refused.is_some() {
            return Ok(false);
        }
        for rule in rules {
            match rule.condition.holds(target) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(EvalError::Malformed(error)) => return Err(error),
                Err(error) => self.note(rule, error),
            }
        }
        Ok(false)
    }

    #[cold]
    fn note(&mut self, rule: &'f Rule, error: EvalError) {
        match rule.error_mode {
            ErrorMode::Silent => {}
            ErrorMode::Ignore => {
                self.times_ignored += 1;
                self.ignored.get_or_insert((rule.condition.text(), error));
            }
            ErrorMode::Propagate => {
                self.refused.get_or_insert((rule.condition.text(), error));
            }
        }
    }
}
