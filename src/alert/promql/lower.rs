//! promql-parser's tree -> ours.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use promql_parser::label::{self, MatchOp};
use promql_parser::parser::{self, AtModifier, LabelModifier, Offset, VectorMatchCardinality, VectorSelector};

use super::PromqlError;
use super::ast::{
    AGGREGATIONS, Aggregate, Binary, Cardinality, Expr, FUNCTIONS, Grouping, Matcher, MatcherKind, Operator, Selector,
    Shift, Subquery,
};
use super::tokens::{Kind, Token};

/// Compiled patterns are bounded by this.
const PATTERN_BYTES: usize = 1 << 20;
/// How deep the tree may be: chains of operators without brackets nest too.
const DEEPEST_TREE: usize = 400;

struct Lower<'a> {
    text: &'a str,
    tokens: &'a [Token],
    selectors: Cell<usize>,
}

pub(super) fn lower(text: &str, tokens: &[Token], parsed: &parser::Expr) -> Result<Expr, PromqlError> {
    let lower = Lower {
        text,
        tokens,
        selectors: Cell::new(0),
    };
    let root = lower.expr(parsed, 0)?;
    match root {
        Expr::Text(_) => Err(PromqlError::new(0, "a text is no condition")),
        Expr::Range { .. } | Expr::Subquery(_) => Err(PromqlError::new(
            0,
            "a range of values is no condition; use a function such as max_over_time",
        )),
        root => Ok(root),
    }
}

impl Lower<'_> {
    /// Where a word stands first; the parser's tree does not say.
    fn place(&self, word: &str) -> usize {
        let found = self.tokens.iter().find(|token| token.text(self.text) == word);
        found.map_or(0, |token| token.start)
    }

    /// Where a text with this content stands first.
    fn place_of_text(&self, content: &str) -> usize {
        let mut texts = self.tokens.iter().filter(|token| token.kind == Kind::Text);
        let found = texts.find(|token| {
            token
                .text(self.text)
                .get(1..)
                .is_some_and(|rest| rest.starts_with(content))
        });
        found.map_or(0, |token| token.start)
    }

    fn expr(&self, expr: &parser::Expr, depth: usize) -> Result<Expr, PromqlError> {
        if depth > DEEPEST_TREE {
            return Err(PromqlError::new(
                0,
                format!("nested deeper than {DEEPEST_TREE} operators"),
            ));
        }
        let below = depth + 1;
        Ok(match expr {
            parser::Expr::NumberLiteral(literal) => Expr::Number(literal.val),
            parser::Expr::StringLiteral(literal) => Expr::Text(literal.val.clone()),
            parser::Expr::Paren(paren) => self.expr(&paren.expr, below)?,
            parser::Expr::Unary(unary) => Expr::Negate(Box::new(self.expr(&unary.expr, below)?)),
            parser::Expr::VectorSelector(selector) => Expr::Instant(self.selector(selector)?),
            parser::Expr::MatrixSelector(matrix) => Expr::Range {
                selector: self.selector(&matrix.vs)?,
                window: millis(matrix.range),
            },
            parser::Expr::Subquery(subquery) => Expr::Subquery(Box::new(Subquery {
                expr: self.expr(&subquery.expr, below)?,
                window: millis(subquery.range),
                step: subquery.step.map(millis),
                shift: self.shift(subquery.offset.as_ref(), subquery.at.as_ref())?,
            })),
            parser::Expr::Binary(binary) => self.binary(binary, below)?,
            parser::Expr::Aggregate(aggregate) => self.aggregate(aggregate, below)?,
            parser::Expr::Call(call) => self.call(call, below)?,
            parser::Expr::Extension(_) => return Err(PromqlError::new(0, "this expression is not supported")),
        })
    }

    fn selector(&self, selector: &VectorSelector) -> Result<Selector, PromqlError> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err(PromqlError::new(
                self.place("or"),
                "`or` between matchers is not supported; use =~ \"a|b\"",
            ));
        }
        let mut name = selector.name.clone();
        let mut matchers = Vec::new();
        for matcher in &selector.matchers.matchers {
            let lowered = self.matcher(matcher)?;
            match (&lowered.kind, lowered.label == label::METRIC_NAME, &name) {
                (MatcherKind::Equal(value), true, None) => name = Some(value.clone()),
                _ => matchers.push(lowered),
            }
        }
        if name.as_deref().unwrap_or_default().is_empty() && matchers.iter().all(|matcher| matcher.accepts("")) {
            return Err(PromqlError::new(
                0,
                "a selector needs a name or a matcher that does not take the empty text",
            ));
        }
        let id = self.selectors.get();
        self.selectors.set(id + 1);
        Ok(Selector {
            id,
            name,
            matchers,
            shift: self.shift(selector.offset.as_ref(), selector.at.as_ref())?,
        })
    }

    fn matcher(&self, matcher: &label::Matcher) -> Result<Matcher, PromqlError> {
        let pattern = |text: &str| {
            regex::RegexBuilder::new(&format!("^(?s:{text})$"))
                .size_limit(PATTERN_BYTES)
                .build()
                .map_err(|error| {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default().to_owned();
                    PromqlError::new(self.place_of_text(text), format!("the pattern {text:?}: {reason}"))
                })
        };
        let value = matcher.value.clone();
        let kind = match &matcher.op {
            MatchOp::Equal => MatcherKind::Equal(value),
            MatchOp::NotEqual => MatcherKind::NotEqual(value),
            MatchOp::Re(_) => MatcherKind::Matches(pattern(&value)?),
            MatchOp::NotRe(_) => MatcherKind::MatchesNot(pattern(&value)?),
        };
        Ok(Matcher {
            label: matcher.name.clone(),
            kind,
        })
    }

    fn shift(&self, offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, PromqlError> {
        let offset = match offset {
            None => 0,
            Some(Offset::Pos(duration)) => millis(*duration),
            Some(Offset::Neg(_)) => {
                return Err(PromqlError::new(
                    self.place("offset"),
                    "a negative offset looks into the future; an alert cannot wait for it",
                ));
            }
        };
        let at = match at {
            None => None,
            Some(AtModifier::At(time)) => Some(unix_millis(*time)),
            Some(AtModifier::Start | AtModifier::End) => {
                return Err(PromqlError::new(
                    self.place("@"),
                    "@ start() and @ end() are not supported",
                ));
            }
        };
        Ok(Shift { offset, at })
    }

    fn binary(&self, binary: &parser::BinaryExpr, depth: usize) -> Result<Expr, PromqlError> {
        let sign = binary.op.to_string();
        let op = match sign.as_str() {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "%" => Operator::Modulo,
            "^" => Operator::Power,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "and" => Operator::And,
            "or" => Operator::Or,
            "unless" => Operator::Unless,
            _ => {
                return Err(PromqlError::new(
                    self.place(&sign),
                    format!("the operator {sign} is not supported"),
                ));
            }
        };
        let (left, right) = (self.expr(&binary.lhs, depth)?, self.expr(&binary.rhs, depth)?);
        let mut matching = Grouping::Without(Vec::new());
        let mut cardinality = Cardinality::OneToOne;
        let mut is_bool = false;
        if let Some(modifier) = &binary.modifier {
            is_bool = modifier.return_bool;
            if let Some(labels) = &modifier.matching {
                matching = grouping(labels);
            }
            cardinality = match &modifier.card {
                VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Cardinality::OneToOne,
                VectorMatchCardinality::ManyToOne(labels) => Cardinality::ManyToOne(labels.labels.clone()),
                VectorMatchCardinality::OneToMany(labels) => Cardinality::OneToMany(labels.labels.clone()),
            };
        }
        Ok(Expr::Binary(Box::new(Binary {
            op,
            left,
            right,
            is_bool,
            matching,
            cardinality,
        })))
    }

    fn aggregate(&self, aggregate: &parser::AggregateExpr, depth: usize) -> Result<Expr, PromqlError> {
        let name = aggregate.op.to_string();
        let Some((_, op)) = AGGREGATIONS.iter().find(|(known, _)| *known == name) else {
            return Err(PromqlError::new(
                self.place(&name),
                format!("the aggregation {name} is not supported"),
            ));
        };
        let param = match &aggregate.param {
            Some(param) => Some(self.expr(param, depth)?),
            None => None,
        };
        Ok(Expr::Aggregate(Box::new(Aggregate {
            op: *op,
            expr: self.expr(&aggregate.expr, depth)?,
            param,
            grouping: aggregate
                .modifier
                .as_ref()
                .map_or_else(|| Grouping::By(Vec::new()), grouping),
        })))
    }

    fn call(&self, call: &parser::Call, depth: usize) -> Result<Expr, PromqlError> {
        let name = call.func.name;
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(PromqlError::new(
                self.place(name),
                format!("the function {name} is not supported"),
            ));
        };
        let mut args = Vec::with_capacity(call.args.args.len());
        for arg in &call.args.args {
            args.push(self.expr(arg, depth)?);
        }
        Ok(Expr::Call {
            function: *function,
            args,
        })
    }
}

fn grouping(modifier: &LabelModifier) -> Grouping {
    match modifier {
        LabelModifier::Include(labels) => Grouping::By(labels.labels.clone()),
        LabelModifier::Exclude(labels) => Grouping::Without(labels.labels.clone()),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn unix_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    }
}
