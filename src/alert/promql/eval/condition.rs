//! A rule's expression as a condition: besides the elements for which it holds, those that are there and for which it
//! does not. "Not breaching" and "no data" look the same in PromQL; M of N and the policies for missing data have to
//! tell them apart.

use super::binary::{Answer, answer};
use super::{Element, EvalError, Evaluation, Value};
use crate::alert::promql::Expression;
use crate::alert::promql::ast::{Binary, Expr, Operator};

/// An element and whether the condition holds for it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub element: Element,
    pub holds: bool,
}

impl Evaluation<'_> {
    /// Every element the condition was asked for.
    ///
    /// # Errors
    /// As [`Evaluation::vector`].
    pub fn condition(&self, expression: &Expression, time: i64) -> Result<Vec<Outcome>, EvalError> {
        let outcomes = self.outcomes(&expression.root, time)?;
        let holding: Vec<Element> = outcomes
            .iter()
            .filter(|outcome| outcome.holds)
            .map(|outcome| outcome.element.clone())
            .collect();
        self.check_unique(&holding)?;
        Ok(outcomes)
    }

    fn outcomes(&self, expr: &Expr, time: i64) -> Result<Vec<Outcome>, EvalError> {
        let Expr::Binary(binary) = expr else {
            return self.all(expr, time);
        };
        let op = binary.op;
        if op.is_comparison() && !binary.is_bool && binary.right.is_scalar() && !binary.left.is_scalar() {
            return self.threshold(binary, time);
        }
        match op {
            Operator::And | Operator::Unless => {
                let left = self.outcomes(&binary.left, time)?;
                let right = self.vector_of(&binary.right, time)?;
                let keys = self.keys(&binary.matching);
                let there: std::collections::HashSet<_> =
                    right.iter().map(|element| keys.of(&element.labels)).collect();
                let wanted = op == Operator::And;
                let judged = left.into_iter().map(|mut outcome| {
                    outcome.holds &= there.contains(&keys.of(&outcome.element.labels)) == wanted;
                    outcome
                });
                Ok(judged.collect())
            }
            _ => self.all(expr, time),
        }
    }

    fn all(&self, expr: &Expr, time: i64) -> Result<Vec<Outcome>, EvalError> {
        let elements = match self.expr(expr, time)? {
            Value::Vector(elements) => elements,
            Value::Scalar(value) => vec![self.element(value, time)],
        };
        Ok(elements
            .into_iter()
            .map(|element| Outcome { element, holds: true })
            .collect())
    }

    fn threshold(&self, binary: &Binary, time: i64) -> Result<Vec<Outcome>, EvalError> {
        let limit = self.scalar_of(&binary.right, time)?;
        let elements = self.vector_of(&binary.left, time)?;
        let judged = elements
            .into_iter()
            .filter(|element| element.histogram.is_none())
            .map(|element| Outcome {
                holds: matches!(answer(binary.op, element.value, limit), Answer::Holds(true)),
                element,
            });
        Ok(judged.collect())
    }
}
