//! The tree of an expression as text again: parts of an expression have no text of their own.

use std::fmt::{self, Display, Formatter};

use super::ast::{
    AGGREGATIONS, Aggregate, Binary, Cardinality, Expr, FUNCTIONS, Grouping, Matcher, MatcherKind, Operator, Selector,
    Shift,
};
use crate::alert::rules::PromDuration;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(number) => write!(f, "{number}"),
            Expr::Text(text) => write!(f, "{text:?}"),
            Expr::Instant(selector) => write!(f, "{}{}", Plain(selector), Moved(selector.shift)),
            Expr::Range { selector, window } => {
                let window = PromDuration(*window);
                write!(f, "{}[{window}]{}", Plain(selector), Moved(selector.shift))
            }
            Expr::Subquery(subquery) => {
                let step = subquery
                    .step
                    .map(|step| PromDuration(step).to_string())
                    .unwrap_or_default();
                let window = PromDuration(subquery.window);
                write!(f, "({})[{window}:{step}]{}", subquery.expr, Moved(subquery.shift))
            }
            Expr::Negate(inner) => write!(f, "-({inner})"),
            Expr::Binary(binary) => write_binary(f, binary),
            Expr::Aggregate(aggregate) => write_aggregate(f, aggregate),
            Expr::Call { function, args } => {
                let name = FUNCTIONS.iter().find(|(_, known)| known == function);
                write!(f, "{}(", name.map_or("?", |(name, _)| name))?;
                for (number, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if number > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

struct Plain<'a>(&'a Selector);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name.as_deref().unwrap_or_default())?;
        if self.0.matchers.is_empty() && self.0.name.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        for (number, Matcher { label, kind }) in self.0.matchers.iter().enumerate() {
            let (sign, value) = match kind {
                MatcherKind::Equal(value) => ("=", value.as_str()),
                MatcherKind::NotEqual(value) => ("!=", value.as_str()),
                MatcherKind::Matches(pattern) => ("=~", pattern.as_str()),
                MatcherKind::MatchesNot(pattern) => ("!~", pattern.as_str()),
            };
            // Patterns are kept anchored.
            let value = value
                .strip_prefix("^(?s:")
                .and_then(|value| value.strip_suffix(")$"))
                .unwrap_or(value);
            write!(f, "{}{label}{sign}{value:?}", if number > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}

struct Moved(Shift);

impl Display for Moved {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.offset {
            0 => {}
            offset if offset < 0 => write!(f, " offset -{}", PromDuration(-offset))?,
            offset => write!(f, " offset {}", PromDuration(offset))?,
        }
        match self.0.at {
            Some(at) => write!(f, " @ {}", at as f64 / 1_000.0),
            None => Ok(()),
        }
    }
}

fn write_binary(f: &mut Formatter<'_>, binary: &Binary) -> fmt::Result {
    let side = |expr: &Expr| match expr {
        Expr::Binary(_) => format!("({expr})"),
        _ => expr.to_string(),
    };
    let op = match binary.op {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::Power => "^",
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::And => "and",
        Operator::Or => "or",
        Operator::Unless => "unless",
    };
    write!(f, "{} {op} ", side(&binary.left))?;
    if binary.is_bool {
        f.write_str("bool ")?;
    }
    match &binary.matching {
        Grouping::By(labels) => write!(f, "on ({}) ", labels.join(", "))?,
        Grouping::Without(labels) if labels.is_empty() => {}
        Grouping::Without(labels) => write!(f, "ignoring ({}) ", labels.join(", "))?,
    }
    match &binary.cardinality {
        Cardinality::OneToOne => {}
        Cardinality::ManyToOne(labels) => write!(f, "group_left ({}) ", labels.join(", "))?,
        Cardinality::OneToMany(labels) => write!(f, "group_right ({}) ", labels.join(", "))?,
    }
    f.write_str(&side(&binary.right))
}

fn write_aggregate(f: &mut Formatter<'_>, aggregate: &Aggregate) -> fmt::Result {
    let name = AGGREGATIONS.iter().find(|(_, known)| *known == aggregate.op);
    f.write_str(name.map_or("?", |(name, _)| name))?;
    match &aggregate.grouping {
        Grouping::By(labels) if labels.is_empty() => {}
        Grouping::By(labels) => write!(f, " by ({}) ", labels.join(", "))?,
        Grouping::Without(labels) => write!(f, " without ({}) ", labels.join(", "))?,
    }
    match &aggregate.param {
        Some(param) => write!(f, "({param}, {})", aggregate.expr),
        None => write!(f, "({})", aggregate.expr),
    }
}

#[cfg(test)]
mod tests {
    use crate::alert::promql::Expression;

    #[test]
    fn what_is_written_means_the_same() {
        for text in [
            "sum by (a, b) (sum_over_time(x_sum{O=\"\", V!=\"1\"}[5m])) / 300 > 0.8",
            "max_over_time((rate(x[5m]) * 2)[1h:30s] offset 1d) * on (a) group_left (b) (y{c=~\"p.*\"} or z)",
            "topk(3, x) unless ignoring (b) -(y)",
            "x > bool 3",
            "histogram_quantile(0.99, sum without (pod) (rate(h_bucket[5m])))",
            "label_replace(x offset 5m, \"d\", \"$1\", \"s\", \"(.*)\")",
        ] {
            let once = Expression::parse(text).unwrap().root.to_string();
            let twice = Expression::parse(&once).unwrap_or_else(|error| panic!("{once}: {error}"));
            assert_eq!(twice.root.to_string(), once);
            let squeezed = |text: &str| text.replace([' ', '(', ')'], "");
            assert_eq!(squeezed(&once), squeezed(text));
        }
    }
}
