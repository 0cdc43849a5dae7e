//! Functions over windows: rates, trends, statistics.

use std::sync::Arc;

use super::selectors::Window;
use super::{Element, EvalError, Evaluation, Value, drop_name};
use crate::alert::promql::ast::{Expr, Function};
use crate::alert::store::Histogram;

/// What a function makes of one window.
enum Made {
    Number(f64),
    Histogram(Histogram),
    Nothing,
}

/// The borders of a window, and the time the expression is evaluated at.
#[derive(Clone, Copy)]
struct Borders {
    begin: i64,
    end: i64,
    now: i64,
}

impl Evaluation<'_> {
    pub(super) fn over_window(&self, function: Function, args: &[Expr], now: i64) -> Result<Value, EvalError> {
        // The range is the last argument, but for predict_linear.
        let (range, param) = match (function, args) {
            (Function::QuantileOverTime, [param, range]) | (Function::PredictLinear, [range, param]) => {
                (range, self.scalar_of(param, now)?)
            }
            (_, [range, ..]) => (range, 0.0),
            _ => return Err(EvalError::Argument("a range is missing".to_owned())),
        };
        let (windows, borders) = match range {
            Expr::Range { selector, window } => {
                let end = selector.shift.apply(now);
                let borders = Borders {
                    begin: end - window,
                    end,
                    now,
                };
                (self.range(selector, *window, now)?, borders)
            }
            Expr::Subquery(subquery) => {
                let end = subquery.shift.apply(now);
                let borders = Borders {
                    begin: end - subquery.window,
                    end,
                    now,
                };
                (self.steps(subquery, now)?, borders)
            }
            _ => return Err(EvalError::Argument("a range of values is needed".to_owned())),
        };
        if function == Function::AbsentOverTime {
            return Ok(Value::Vector(if windows.is_empty() {
                vec![self.absent_element(range, now)]
            } else {
                Vec::new()
            }));
        }
        let mut elements = Vec::with_capacity(windows.len());
        for window in windows {
            let (value, histogram) = match made(function, param, &window, borders) {
                Made::Nothing => continue,
                Made::Number(value) => (value, None),
                Made::Histogram(histogram) => (0.0, Some(Arc::new(histogram))),
            };
            let mut labels = window.labels;
            if function != Function::LastOverTime {
                drop_name(&mut labels);
            }
            elements.push(Element {
                labels,
                value,
                histogram,
                time: now,
            });
        }
        self.bounded(elements).map(Value::Vector)
    }
}

fn made(function: Function, param: f64, window: &Window, borders: Borders) -> Made {
    let points = &window.floats[..];
    if points.is_empty() {
        return of_histograms(function, &window.histograms, borders);
    }
    let number = match function {
        Function::Rate => extrapolated(points, borders, true, true),
        Function::Increase => extrapolated(points, borders, true, false),
        Function::Delta => extrapolated(points, borders, false, false),
        Function::Irate => last_two(points, true),
        Function::Idelta => last_two(points, false),
        Function::Deriv => regression(points, points.first().map_or(0, |(at, _)| *at)).map(|(slope, _)| slope),
        Function::PredictLinear => regression(points, borders.now).map(|(slope, intercept)| slope * param + intercept),
        Function::Resets => Some(pairs(points).filter(|(before, after)| after < before).count() as f64),
        Function::Changes => {
            let differ = |(before, after): &(f64, f64)| after != before && !(after.is_nan() && before.is_nan());
            Some(pairs(points).filter(differ).count() as f64)
        }
        Function::CountOverTime => Some(points.len() as f64),
        Function::LastOverTime => points.last().map(|(_, value)| *value),
        Function::PresentOverTime => Some(1.0),
        Function::SumOverTime => Some(sum(points)),
        Function::AvgOverTime => Some(mean(points)),
        Function::MinOverTime => points.iter().map(|(_, value)| *value).reduce(smaller),
        Function::MaxOverTime => points.iter().map(|(_, value)| *value).reduce(larger),
        Function::StdvarOverTime => Some(variance(points)),
        Function::StddevOverTime => Some(variance(points).sqrt()),
        Function::QuantileOverTime => Some(quantile(param, &mut values(points))),
        Function::MadOverTime => {
            let median = quantile(0.5, &mut values(points));
            let mut distances: Vec<f64> = points.iter().map(|(_, value)| (value - median).abs()).collect();
            Some(quantile(0.5, &mut distances))
        }
        _ => None,
    };
    number.map_or(Made::Nothing, Made::Number)
}

fn of_histograms(function: Function, points: &[(i64, Arc<Histogram>)], borders: Borders) -> Made {
    let (Some((_, first)), Some((_, last))) = (points.first(), points.last()) else {
        return Made::Nothing;
    };
    match function {
        Function::CountOverTime => Made::Number(points.len() as f64),
        Function::PresentOverTime => Made::Number(1.0),
        Function::LastOverTime => Made::Histogram(Histogram::clone(last)),
        Function::SumOverTime | Function::AvgOverTime => {
            let mut total = Histogram::clone(first);
            for (_, histogram) in &points[1..] {
                total = total.combine(histogram, |a, b| a + b);
            }
            if function == Function::AvgOverTime {
                total = total.scaled(1.0 / points.len() as f64);
            }
            Made::Histogram(total)
        }
        Function::Rate | Function::Increase | Function::Delta if points.len() >= 2 => {
            let mut grown = last.combine(first, |a, b| a - b);
            if function != Function::Delta {
                for pair in points.windows(2) {
                    if pair[1].1.is_reset_after(&pair[0].1) {
                        grown = grown.combine(&pair[0].1, |a, b| a + b);
                    }
                }
            }
            let times = (points[0].0, points[points.len() - 1].0, points.len());
            let mut factor = extension(times, borders, None);
            if function == Function::Rate {
                factor /= (borders.end - borders.begin) as f64 / 1000.0;
            }
            Made::Histogram(grown.scaled(factor))
        }
        _ => Made::Nothing,
    }
}

/// By how much a difference between the first and the last point grows when it is taken for the whole window.
/// `to_zero`: milliseconds before the first point at which a counter was zero.
fn extension((first, last, count): (i64, i64, usize), borders: Borders, to_zero: Option<f64>) -> f64 {
    let sampled = (last - first) as f64;
    let between = sampled / (count - 1) as f64;
    let mut before = (first - borders.begin) as f64;
    let after = (borders.end - last) as f64;
    if let Some(to_zero) = to_zero {
        before = before.min(to_zero);
    }
    let threshold = between * 1.1;
    let side = |distance: f64| if distance < threshold { distance } else { between / 2.0 };
    (sampled + side(before) + side(after)) / sampled
}

fn extrapolated(points: &[(i64, f64)], borders: Borders, is_counter: bool, per_second: bool) -> Option<f64> {
    let [(first_at, first), .., (last_at, last)] = points else {
        return None;
    };
    let mut grown = last - first;
    if is_counter {
        for (before, after) in pairs(points) {
            if after < before {
                grown += before;
            }
        }
    }
    let sampled = (last_at - first_at) as f64;
    let to_zero = (is_counter && grown > 0.0 && *first >= 0.0).then(|| sampled * (first / grown));
    let mut factor = extension((*first_at, *last_at, points.len()), borders, to_zero);
    if per_second {
        factor /= (borders.end - borders.begin) as f64 / 1000.0;
    }
    Some(grown * factor)
}

fn last_two(points: &[(i64, f64)], is_rate: bool) -> Option<f64> {
    let [.., (before_at, before), (at, last)] = points else {
        return None;
    };
    if !is_rate {
        return Some(last - before);
    }
    let grown = if last < before { *last } else { last - before };
    Some(grown / ((at - before_at) as f64 / 1000.0))
}

/// Slope a second, and the value at `origin`.
fn regression(points: &[(i64, f64)], origin: i64) -> Option<(f64, f64)> {
    let [(_, first), _, ..] = points else { return None };
    if points.iter().all(|(_, value)| value == first) {
        return Some(if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, *first)
        });
    }
    let count = points.len() as f64;
    let (mut sum_x, mut sum_y, mut sum_xy, mut sum_xx) = (0.0, 0.0, 0.0, 0.0);
    for (at, value) in points {
        let x = (at - origin) as f64 / 1000.0;
        sum_x += x;
        sum_y += value;
        sum_xy += x * value;
        sum_xx += x * x;
    }
    let covariance = sum_xy - sum_x * sum_y / count;
    let variance = sum_xx - sum_x * sum_x / count;
    let slope = covariance / variance;
    Some((slope, sum_y / count - slope * sum_x / count))
}

fn pairs(points: &[(i64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    points.windows(2).map(|pair| (pair[0].1, pair[1].1))
}

fn values(points: &[(i64, f64)]) -> Vec<f64> {
    points.iter().map(|(_, value)| *value).collect()
}

/// With the compensation of Kahan and Neumaier: many small values beside a large one.
fn sum(points: &[(i64, f64)]) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0);
    for (_, value) in points {
        let next = total + value;
        if next.is_finite() {
            lost += if total.abs() >= value.abs() {
                (total - next) + value
            } else {
                (value - next) + total
            };
        }
        total = next;
    }
    if total.is_finite() { total + lost } else { total }
}

fn mean(points: &[(i64, f64)]) -> f64 {
    sum(points) / points.len() as f64
}

fn variance(points: &[(i64, f64)]) -> f64 {
    let mean = mean(points);
    let squares: f64 = points.iter().map(|(_, value)| (value - mean).powi(2)).sum();
    squares / points.len() as f64
}

/// A number wins over none.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if b < a || a.is_nan() { b } else { a }
}

pub(super) fn larger(a: f64, b: f64) -> f64 {
    if b > a || a.is_nan() { b } else { a }
}

/// Interpolated between ranks; sorts the values.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // What is not a number stands before all numbers.
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = q * (values.len() - 1) as f64;
    let low = rank.floor().max(0.0) as usize;
    let high = (low + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[low] * (1.0 - weight) + values[high] * weight
}
