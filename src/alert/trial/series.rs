//! promtool's notation for series: `name{label="value"}`, and `1 2 _ 0+10x5 stale` for its values.

use crate::alert::promql::{Expr, Expression, MatcherKind};

/// One value of a series; `None` where there is none.
pub type Written = Option<f64>;

/// A series repeated by `x` may not be longer.
const MOST_VALUES: usize = 1_000_000;

/// Name and labels, `__name__` among them.
///
/// # Errors
/// What is wrong with the text.
pub fn labels(text: &str) -> Result<Vec<(String, String)>, String> {
    let expression = Expression::parse(text).map_err(|error| error.message)?;
    let Expr::Instant(selector) = &expression.root else {
        return Err("a series is written as name{label=\"value\"}".to_owned());
    };
    let mut labels = Vec::new();
    if let Some(name) = &selector.name {
        labels.push(("__name__".to_owned(), name.clone()));
    }
    for matcher in &selector.matchers {
        let MatcherKind::Equal(value) = &matcher.kind else {
            return Err(format!("the label {} needs one value, by =", matcher.label));
        };
        labels.push((matcher.label.clone(), value.clone()));
    }
    labels.sort();
    Ok(labels)
}

/// The values in order.
///
/// # Errors
/// What is wrong, and at which byte.
pub fn values(text: &str) -> Result<Vec<Written>, (usize, String)> {
    let mut values = Vec::new();
    let mut at = 0;
    for word in text.split_whitespace() {
        let offset = text[at..].find(word).map_or(at, |found| at + found);
        at = offset + word.len();
        one(word, &mut values).map_err(|message| (offset, message))?;
        if values.len() > MOST_VALUES {
            return Err((offset, format!("more than {MOST_VALUES} values")));
        }
    }
    Ok(values)
}

fn one(word: &str, values: &mut Vec<Written>) -> Result<(), String> {
    if word.starts_with("{{") {
        return Err("native histograms in series are not supported".to_owned());
    }
    let (what, times) = match word.rsplit_once('x') {
        Some((what, times)) if !what.is_empty() => {
            let times: usize = times
                .parse()
                .map_err(|_| format!("{word:?}: what follows x is no number"))?;
            (what, Some(times))
        }
        _ => (word, None),
    };
    if times.is_some_and(|times| times > MOST_VALUES) {
        return Err(format!("more than {MOST_VALUES} values"));
    }
    match what {
        "_" => {
            values.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            return Ok(());
        }
        "stale" => {
            values.push(Some(crate::alert::store::STALE));
            return Ok(());
        }
        _ => {}
    }
    let (start, step) = start_and_step(what).ok_or_else(|| format!("{word:?} is no value"))?;
    let Some(times) = times else {
        values.push(Some(start));
        return Ok(());
    };
    // `a+bxn`: the first and n more.
    let mut value = start;
    for _ in 0..=times {
        values.push(Some(value));
        value += step;
    }
    Ok(())
}

fn start_and_step(text: &str) -> Option<(f64, f64)> {
    if let Some(value) = number(text) {
        return Some((value, 0.0));
    }
    // The sign that parts the two is not the first character, nor that of an exponent.
    for (position, sign) in text.char_indices().skip(1) {
        if !matches!(sign, '+' | '-') || text[..position].ends_with(['e', 'E']) {
            continue;
        }
        if let (Some(start), Some(step)) = (number(&text[..position]), number(&text[position + 1..])) {
            return Some((start, if sign == '-' { -step } else { step }));
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Inf" | "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.ends_with(|last: char| last.is_ascii_digit() || last == '.') => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_promtool_reads_them() {
        let read = values("1 -2 _ 0+10x2 5-1x1 3x1 _x2 1e3").unwrap();
        let some: Vec<Written> = vec![
            Some(1.0),
            Some(-2.0),
            None,
            Some(0.0),
            Some(10.0),
            Some(20.0),
            Some(5.0),
            Some(4.0),
            Some(3.0),
            Some(3.0),
            None,
            None,
            Some(1000.0),
        ];
        assert_eq!(read, some);
        assert!(values("NaN").unwrap()[0].unwrap().is_nan());
        assert_eq!(values("1 two").unwrap_err().0, 2);
        assert!(values("1x99999999999").is_err());
    }
}
