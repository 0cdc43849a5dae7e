//! Functions over vectors and scalars.

use super::{Element, EvalError, Evaluation, Value, drop_name, set_label, value_of};
use crate::alert::promql::ast::{Expr, Function, MatcherKind};
use crate::alert::store::{Histogram, LabelSet};

/// A number as Prometheus writes it into a label.
pub(super) fn number_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

impl Evaluation<'_> {
    pub(super) fn call(&self, function: Function, args: &[Expr], time: i64) -> Result<Value, EvalError> {
        use Function as F;
        match function {
            F::Rate
            | F::Irate
            | F::Increase
            | F::Delta
            | F::Idelta
            | F::Deriv
            | F::PredictLinear
            | F::Resets
            | F::Changes
            | F::AvgOverTime
            | F::MinOverTime
            | F::MaxOverTime
            | F::SumOverTime
            | F::CountOverTime
            | F::LastOverTime
            | F::PresentOverTime
            | F::AbsentOverTime
            | F::QuantileOverTime
            | F::StddevOverTime
            | F::StdvarOverTime
            | F::MadOverTime => self.over_window(function, args, time),
            F::Time => Ok(Value::Scalar(time as f64 / 1000.0)),
            F::Scalar => {
                let elements = self.vector_arg(args, 0, time)?;
                Ok(Value::Scalar(match &elements[..] {
                    [element] => element.value,
                    _ => f64::NAN,
                }))
            }
            F::Vector => Ok(Value::Vector(vec![self.element(self.scalar_arg(args, 0, time)?, time)])),
            F::Absent => {
                let elements = self.vector_arg(args, 0, time)?;
                let absent = elements.is_empty().then(|| self.absent_element(&args[0], time));
                Ok(Value::Vector(absent.into_iter().collect()))
            }
            F::HistogramQuantile => {
                let q = self.scalar_arg(args, 0, time)?;
                let elements = self.vector_arg(args, 1, time)?;
                self.histogram_quantile(q, elements, time).map(Value::Vector)
            }
            F::HistogramCount | F::HistogramSum | F::HistogramAvg => {
                let elements = self.vector_arg(args, 0, time)?;
                Ok(of_histograms(elements, |histogram| match function {
                    F::HistogramCount => histogram.count,
                    F::HistogramSum => histogram.sum,
                    _ => histogram.sum / histogram.count,
                }))
            }
            F::HistogramFraction => {
                let (lower, upper) = (self.scalar_arg(args, 0, time)?, self.scalar_arg(args, 1, time)?);
                let elements = self.vector_arg(args, 2, time)?;
                Ok(of_histograms(elements, |histogram| histogram.fraction(lower, upper)))
            }
            F::Sort | F::SortDesc => {
                let mut elements = self.vector_arg(args, 0, time)?;
                elements.sort_by(|a, b| {
                    let (a, b) = (a.value, b.value);
                    let by_value = if function == F::Sort {
                        a.total_cmp(&b)
                    } else {
                        b.total_cmp(&a)
                    };
                    a.is_nan().cmp(&b.is_nan()).then(by_value)
                });
                Ok(Value::Vector(elements))
            }
            F::LabelReplace => self.label_replace(args, time).map(Value::Vector),
            F::LabelJoin => self.label_join(args, time).map(Value::Vector),
            _ => self.each(function, args, time),
        }
    }

    /// Functions of one value at a time.
    fn each(&self, function: Function, args: &[Expr], time: i64) -> Result<Value, EvalError> {
        use Function as F;
        let mut elements = match args.first() {
            Some(_) => self.vector_arg(args, 0, time)?,
            // minute() and its like without an argument: now.
            None => vec![self.element(time as f64 / 1000.0, time)],
        };
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut to_nearest = 1.0;
        match function {
            F::Clamp => (low, high) = (self.scalar_arg(args, 1, time)?, self.scalar_arg(args, 2, time)?),
            F::ClampMin => low = self.scalar_arg(args, 1, time)?,
            F::ClampMax => high = self.scalar_arg(args, 1, time)?,
            F::Round if args.len() > 1 => to_nearest = self.scalar_arg(args, 1, time)?,
            _ => {}
        }
        if low > high {
            return Ok(Value::Vector(Vec::new()));
        }
        if function != F::Timestamp {
            elements.retain(|element| element.histogram.is_none());
        }
        for element in &mut elements {
            let value = element.value;
            element.value = match function {
                F::Abs => value.abs(),
                F::Ceil => value.ceil(),
                F::Floor => value.floor(),
                F::Round => {
                    // By the inverse, so that 0.1 does not add its error.
                    let inverse = 1.0 / to_nearest;
                    (value * inverse + 0.5).floor() / inverse
                }
                F::Exp => value.exp(),
                F::Ln => value.ln(),
                F::Log2 => value.log2(),
                F::Log10 => value.log10(),
                F::Sqrt => value.sqrt(),
                F::Sgn if value == 0.0 || value.is_nan() => value,
                F::Sgn => value.signum(),
                F::Clamp | F::ClampMin | F::ClampMax if value.is_nan() || low.is_nan() || high.is_nan() => f64::NAN,
                F::Clamp | F::ClampMin | F::ClampMax => value.max(low).min(high),
                F::Timestamp => {
                    element.histogram = None;
                    element.time as f64 / 1000.0
                }
                F::Minute
                | F::Hour
                | F::DayOfWeek
                | F::DayOfMonth
                | F::DayOfYear
                | F::DaysInMonth
                | F::Month
                | F::Year => calendar(function, value),
                _ => return Err(EvalError::Argument(format!("{function:?} is no function of a vector"))),
            };
            drop_name(&mut element.labels);
        }
        Ok(Value::Vector(elements))
    }

    fn vector_arg(&self, args: &[Expr], position: usize, time: i64) -> Result<Vec<Element>, EvalError> {
        match args.get(position) {
            Some(arg) => self.vector_of(arg, time),
            None => Err(EvalError::Argument("an argument is missing".to_owned())),
        }
    }

    fn scalar_arg(&self, args: &[Expr], position: usize, time: i64) -> Result<f64, EvalError> {
        match args.get(position) {
            Some(arg) => self.scalar_of(arg, time),
            None => Err(EvalError::Argument("an argument is missing".to_owned())),
        }
    }

    /// What stands for series that are not there: 1, with the labels that the selector names.
    pub(super) fn absent_element(&self, arg: &Expr, time: i64) -> Element {
        let mut labels = LabelSet::new();
        if let Expr::Instant(selector) | Expr::Range { selector, .. } = arg {
            for matcher in &selector.matchers {
                let once = selector
                    .matchers
                    .iter()
                    .filter(|other| other.label == matcher.label)
                    .count()
                    == 1;
                if let (MatcherKind::Equal(value), true) = (&matcher.kind, once && matcher.label != "__name__")
                    && !value.is_empty()
                {
                    set_label(&mut labels, self.intern(&matcher.label), Some(self.intern(value)));
                }
            }
        }
        Element {
            labels,
            ..self.element(1.0, time)
        }
    }

    fn label_replace(&self, args: &[Expr], time: i64) -> Result<Vec<Element>, EvalError> {
        let [
            _,
            Expr::Text(target),
            Expr::Text(replacement),
            Expr::Text(source),
            Expr::Text(pattern),
        ] = args
        else {
            return Err(EvalError::Argument(
                "label_replace needs a vector and four texts".to_owned(),
            ));
        };
        let anchored = format!("^(?s:{pattern})$");
        let regex = regex::RegexBuilder::new(&anchored)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| EvalError::Argument(format!("the pattern {pattern:?} of label_replace is not valid")))?;
        let mut elements = self.vector_arg(args, 0, time)?;
        let (target, source) = (self.intern(target), self.intern(source));
        for element in &mut elements {
            let value = value_of(&element.labels, source).map(|value| self.text(value));
            let value = value.as_deref().unwrap_or_default();
            let Some(found) = regex.captures(value) else { continue };
            let mut text = String::new();
            found.expand(replacement, &mut text);
            let value = (!text.is_empty()).then(|| self.intern(&text));
            set_label(&mut element.labels, target, value);
        }
        Ok(elements)
    }

    fn label_join(&self, args: &[Expr], time: i64) -> Result<Vec<Element>, EvalError> {
        let [_, Expr::Text(target), Expr::Text(separator), sources @ ..] = args else {
            return Err(EvalError::Argument("label_join needs a vector and texts".to_owned()));
        };
        let mut names = Vec::with_capacity(sources.len());
        for source in sources {
            let Expr::Text(source) = source else {
                return Err(EvalError::Argument("label_join needs names of labels".to_owned()));
            };
            names.push(self.intern(source));
        }
        let target = self.intern(target);
        let mut elements = self.vector_arg(args, 0, time)?;
        for element in &mut elements {
            let parts: Vec<String> = names
                .iter()
                .map(|name| {
                    value_of(&element.labels, *name).map_or_else(String::new, |value| self.text(value).to_string())
                })
                .collect();
            let text = parts.join(separator);
            let value = (!text.is_empty()).then(|| self.intern(&text));
            set_label(&mut element.labels, target, value);
        }
        Ok(elements)
    }
}

fn of_histograms(elements: Vec<Element>, value: impl Fn(&Histogram) -> f64) -> Value {
    let mut results = Vec::with_capacity(elements.len());
    for mut element in elements {
        let Some(histogram) = element.histogram.take() else {
            continue;
        };
        element.value = value(&histogram);
        drop_name(&mut element.labels);
        results.push(element);
    }
    Value::Vector(results)
}

/// Parts of a UTC date, as Prometheus counts them (Sunday is 0).
fn calendar(function: Function, seconds: f64) -> f64 {
    if !seconds.is_finite() {
        return f64::NAN;
    }
    let Ok(timestamp) = jiff::Timestamp::from_second(seconds.floor() as i64) else {
        return f64::NAN;
    };
    let date = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
    match function {
        Function::Minute => f64::from(date.minute()),
        Function::Hour => f64::from(date.hour()),
        Function::DayOfWeek => f64::from(date.weekday().to_sunday_zero_offset()),
        Function::DayOfMonth => f64::from(date.day()),
        Function::DayOfYear => f64::from(date.day_of_year()),
        Function::DaysInMonth => f64::from(date.days_in_month()),
        Function::Month => f64::from(date.month()),
        _ => f64::from(date.year()),
    }
}
