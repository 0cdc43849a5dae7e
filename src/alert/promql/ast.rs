//! The tree of an expression: only what is supported has a place in it. Times and durations are milliseconds.

use regex::Regex;

/// An expression.
#[derive(Clone, Debug)]
pub enum Expr {
    Number(f64),
    /// Only as an argument.
    Text(String),
    /// An instant vector.
    Instant(Selector),
    /// A range vector.
    Range {
        selector: Selector,
        window: i64,
    },
    Subquery(Box<Subquery>),
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call {
        function: Function,
        args: Vec<Expr>,
    },
}

/// What a selector may be moved by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// Looked back from the evaluation time.
    pub offset: i64,
    /// A fixed time in place of the evaluation time.
    pub at: Option<i64>,
}

impl Shift {
    /// The time that is meant when `now` is asked.
    pub fn apply(self, now: i64) -> i64 {
        self.at.unwrap_or(now).saturating_sub(self.offset)
    }
}

/// Series by name and labels.
#[derive(Clone, Debug)]
pub struct Selector {
    /// Its place among the selectors of the expression.
    pub id: usize,
    /// The metric's name where it is given as such.
    pub name: Option<String>,
    /// Besides the name.
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
}

/// A condition on one label. An absent label is empty.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub label: String,
    pub kind: MatcherKind,
}

#[derive(Clone, Debug)]
pub enum MatcherKind {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
    MatchesNot(Regex),
}

impl Matcher {
    /// Whether a label with this value passes.
    pub fn accepts(&self, value: &str) -> bool {
        match &self.kind {
            MatcherKind::Equal(wanted) => wanted == value,
            MatcherKind::NotEqual(refused) => refused != value,
            MatcherKind::Matches(pattern) => pattern.is_match(value),
            MatcherKind::MatchesNot(pattern) => !pattern.is_match(value),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Subquery {
    pub expr: Expr,
    pub window: i64,
    /// `None`: the interval of the evaluation.
    pub step: Option<i64>,
    pub shift: Shift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    pub fn is_set(self) -> bool {
        matches!(self, Operator::And | Operator::Or | Operator::Unless)
    }
}

#[derive(Clone, Debug)]
pub struct Binary {
    pub op: Operator,
    pub left: Expr,
    pub right: Expr,
    /// A comparison that answers 0 or 1 in place of filtering.
    pub is_bool: bool,
    /// Which labels both sides are matched by.
    pub matching: Grouping,
    pub cardinality: Cardinality,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`: labels taken from the one side.
    ManyToOne(Vec<String>),
    /// `group_right`.
    OneToMany(Vec<String>),
}

/// `by`/`on` or `without`/`ignoring`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub op: Aggregation,
    pub expr: Expr,
    pub param: Option<Expr>,
    pub grouping: Grouping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    Sum,
    Average,
    Minimum,
    Maximum,
    Count,
    Group,
    StandardDeviation,
    Variance,
    Quantile,
    Top,
    Bottom,
    CountValues,
}

/// Names as they are written, and what is meant.
pub const AGGREGATIONS: &[(&str, Aggregation)] = &[
    ("sum", Aggregation::Sum),
    ("avg", Aggregation::Average),
    ("min", Aggregation::Minimum),
    ("max", Aggregation::Maximum),
    ("count", Aggregation::Count),
    ("group", Aggregation::Group),
    ("stddev", Aggregation::StandardDeviation),
    ("stdvar", Aggregation::Variance),
    ("quantile", Aggregation::Quantile),
    ("topk", Aggregation::Top),
    ("bottomk", Aggregation::Bottom),
    ("count_values", Aggregation::CountValues),
];

macro_rules! functions {
    ($($variant:ident $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function { $($variant,)* }

        /// Names as they are written, and what is meant.
        pub const FUNCTIONS: &[(&str, Function)] = &[$(($name, Function::$variant),)*];
    };
}

functions! {
    Rate "rate",
    Irate "irate",
    Increase "increase",
    Delta "delta",
    Idelta "idelta",
    Deriv "deriv",
    PredictLinear "predict_linear",
    Resets "resets",
    Changes "changes",
    AvgOverTime "avg_over_time",
    MinOverTime "min_over_time",
    MaxOverTime "max_over_time",
    SumOverTime "sum_over_time",
    CountOverTime "count_over_time",
    LastOverTime "last_over_time",
    PresentOverTime "present_over_time",
    AbsentOverTime "absent_over_time",
    QuantileOverTime "quantile_over_time",
    StddevOverTime "stddev_over_time",
    StdvarOverTime "stdvar_over_time",
    MadOverTime "mad_over_time",
    Absent "absent",
    HistogramQuantile "histogram_quantile",
    HistogramCount "histogram_count",
    HistogramSum "histogram_sum",
    HistogramAvg "histogram_avg",
    HistogramFraction "histogram_fraction",
    Abs "abs",
    Ceil "ceil",
    Floor "floor",
    Round "round",
    Exp "exp",
    Ln "ln",
    Log2 "log2",
    Log10 "log10",
    Sqrt "sqrt",
    Sgn "sgn",
    Clamp "clamp",
    ClampMin "clamp_min",
    ClampMax "clamp_max",
    Scalar "scalar",
    Vector "vector",
    Time "time",
    Timestamp "timestamp",
    Minute "minute",
    Hour "hour",
    DayOfWeek "day_of_week",
    DayOfMonth "day_of_month",
    DayOfYear "day_of_year",
    DaysInMonth "days_in_month",
    Month "month",
    Year "year",
    Sort "sort",
    SortDesc "sort_desc",
    LabelReplace "label_replace",
    LabelJoin "label_join",
}

impl Expr {
    /// Whether it gives one number without labels.
    pub fn is_scalar(&self) -> bool {
        match self {
            Expr::Number(_) => true,
            Expr::Negate(inner) => inner.is_scalar(),
            Expr::Binary(binary) => binary.left.is_scalar() && binary.right.is_scalar(),
            Expr::Call { function, .. } => matches!(function, Function::Scalar | Function::Time),
            _ => false,
        }
    }

    pub(super) fn selectors<'a>(&'a self, visit: &mut dyn FnMut(&'a Selector)) {
        match self {
            Expr::Number(_) | Expr::Text(_) => {}
            Expr::Instant(selector) | Expr::Range { selector, .. } => visit(selector),
            Expr::Subquery(subquery) => subquery.expr.selectors(visit),
            Expr::Negate(inner) => inner.selectors(visit),
            Expr::Binary(binary) => {
                binary.left.selectors(visit);
                binary.right.selectors(visit);
            }
            Expr::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    param.selectors(visit);
                }
                aggregate.expr.selectors(visit);
            }
            Expr::Call { args, .. } => args.iter().for_each(|arg| arg.selectors(visit)),
        }
    }

    /// The longest offset of a selector or subquery.
    pub fn longest_offset(&self) -> i64 {
        match self {
            Expr::Number(_) | Expr::Text(_) => 0,
            Expr::Instant(selector) | Expr::Range { selector, .. } => selector.shift.offset.max(0),
            Expr::Subquery(subquery) => subquery.shift.offset.max(0) + subquery.expr.longest_offset(),
            Expr::Negate(inner) => inner.longest_offset(),
            Expr::Binary(binary) => binary.left.longest_offset().max(binary.right.longest_offset()),
            Expr::Aggregate(aggregate) => aggregate.expr.longest_offset(),
            Expr::Call { args, .. } => args.iter().map(Expr::longest_offset).max().unwrap_or(0),
        }
    }

    pub(super) fn reach(&self, lookback: i64) -> i64 {
        match self {
            Expr::Number(_) | Expr::Text(_) => 0,
            Expr::Instant(selector) => lookback + selector.shift.offset.max(0),
            Expr::Range { selector, window } => window + selector.shift.offset.max(0),
            Expr::Subquery(subquery) => subquery.window + subquery.shift.offset.max(0) + subquery.expr.reach(lookback),
            Expr::Negate(inner) => inner.reach(lookback),
            Expr::Binary(binary) => binary.left.reach(lookback).max(binary.right.reach(lookback)),
            Expr::Aggregate(aggregate) => {
                let param = aggregate.param.as_ref().map_or(0, |param| param.reach(lookback));
                aggregate.expr.reach(lookback).max(param)
            }
            Expr::Call { args, .. } => args.iter().map(|arg| arg.reach(lookback)).max().unwrap_or(0),
        }
    }
}
