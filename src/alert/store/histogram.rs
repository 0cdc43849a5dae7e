//! Exponential histograms as they are: counts in buckets that grow by a factor of 2^(2^-scale). Bucket `i` holds values in
//! (base^i, base^(i+1)], as OTLP counts them.

/// Consecutive buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    pub offset: i32,
    pub counts: Vec<f64>,
}

/// One native histogram. Counts are floats: rates of them are histograms too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub scale: i32,
    pub count: f64,
    pub sum: f64,
    pub zero_count: f64,
    pub zero_threshold: f64,
    pub positive: Spread,
    pub negative: Spread,
}

/// Buckets of one side that a histogram may have; more are merged into coarser ones before.
pub const MOST_BUCKETS: usize = 1_024;
const COARSEST: i32 = -10;

impl Spread {
    fn at(&self, index: i32) -> f64 {
        let position = usize::try_from(i64::from(index) - i64::from(self.offset)).ok();
        position
            .and_then(|position| self.counts.get(position))
            .copied()
            .unwrap_or(0.0)
    }

    /// Two neighbours become one.
    fn coarser(&self) -> Self {
        if self.counts.is_empty() {
            return Self::default();
        }
        let offset = self.offset >> 1;
        let mut counts: Vec<f64> = Vec::with_capacity(self.counts.len() / 2 + 1);
        for (position, count) in self.counts.iter().enumerate() {
            let index = (self.offset.saturating_add(position as i32)) >> 1;
            let target = (index - offset) as usize;
            if target >= counts.len() {
                counts.resize(target + 1, 0.0);
            }
            counts[target] += count;
        }
        Self { offset, counts }
    }

    fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        if self.counts.is_empty() && other.counts.is_empty() {
            return Self::default();
        }
        let end = |spread: &Self| i64::from(spread.offset) + spread.counts.len() as i64;
        let (low, high) = match (self.counts.is_empty(), other.counts.is_empty()) {
            (true, _) => (other.offset, end(other)),
            (_, true) => (self.offset, end(self)),
            _ => (self.offset.min(other.offset), end(self).max(end(other))),
        };
        let width = (high - i64::from(low)).clamp(0, 2 * MOST_BUCKETS as i64);
        let counts = (0..width as i32)
            .map(|step| f(self.at(low.saturating_add(step)), other.at(low.saturating_add(step))))
            .collect();
        Self { offset: low, counts }
    }
}

impl Histogram {
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + 8 * (self.positive.counts.len() + self.negative.counts.len())
    }

    /// With buckets twice as wide, until both sides are small enough.
    pub fn bounded(mut self) -> Self {
        while self.scale > COARSEST
            && (self.positive.counts.len() > MOST_BUCKETS || self.negative.counts.len() > MOST_BUCKETS)
        {
            self = self.coarser();
        }
        self
    }

    fn coarser(&self) -> Self {
        Self {
            scale: self.scale - 1,
            positive: self.positive.coarser(),
            negative: self.negative.coarser(),
            ..self.clone()
        }
    }

    fn at_scale(&self, scale: i32) -> Self {
        let mut histogram = self.clone();
        while histogram.scale > scale {
            histogram = histogram.coarser();
        }
        histogram
    }

    /// Bucket by bucket, at the coarser scale of both.
    pub fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> f64 + Copy) -> Self {
        let scale = self.scale.min(other.scale);
        let (a, b) = (self.at_scale(scale), other.at_scale(scale));
        Self {
            scale,
            count: f(a.count, b.count),
            sum: f(a.sum, b.sum),
            zero_count: f(a.zero_count, b.zero_count),
            zero_threshold: a.zero_threshold.max(b.zero_threshold),
            positive: a.positive.combine(&b.positive, f),
            negative: a.negative.combine(&b.negative, f),
        }
    }

    pub fn scaled(&self, factor: f64) -> Self {
        let times = |spread: &Spread| Spread {
            offset: spread.offset,
            counts: spread.counts.iter().map(|count| count * factor).collect(),
        };
        Self {
            count: self.count * factor,
            sum: self.sum * factor,
            zero_count: self.zero_count * factor,
            positive: times(&self.positive),
            negative: times(&self.negative),
            ..self.clone()
        }
    }

    /// Whether this cannot have grown out of `before`: the counter began anew.
    pub fn is_reset_after(&self, before: &Self) -> bool {
        if self.count < before.count || self.zero_count < before.zero_count || self.scale > before.scale {
            return true;
        }
        let before = before.at_scale(self.scale);
        let shrunk = |new: &Spread, old: &Spread| {
            let mut indices = 0..old.counts.len() as i32;
            indices.any(|step| new.at(old.offset.saturating_add(step)) < old.at(old.offset.saturating_add(step)))
        };
        shrunk(&self.positive, &before.positive) || shrunk(&self.negative, &before.negative)
    }

    fn bound(&self, index: i32) -> f64 {
        (f64::from(index) * (-f64::from(self.scale)).exp2()).exp2()
    }

    /// Buckets from the smallest value up: lower bound, upper bound, count.
    pub fn buckets(&self) -> Vec<(f64, f64, f64)> {
        let mut buckets = Vec::with_capacity(self.positive.counts.len() + self.negative.counts.len() + 1);
        for (step, count) in self.negative.counts.iter().enumerate().rev() {
            let index = self.negative.offset.saturating_add(step as i32);
            buckets.push((-self.bound(index.saturating_add(1)), -self.bound(index), *count));
        }
        if self.zero_count > 0.0 {
            let below = if self.negative.counts.is_empty() {
                0.0
            } else {
                -self.zero_threshold
            };
            let above = if self.positive.counts.is_empty() && !self.negative.counts.is_empty() {
                0.0
            } else {
                self.zero_threshold
            };
            buckets.push((below, above, self.zero_count));
        }
        for (step, count) in self.positive.counts.iter().enumerate() {
            let index = self.positive.offset.saturating_add(step as i32);
            buckets.push((self.bound(index), self.bound(index.saturating_add(1)), *count));
        }
        buckets.retain(|(_, _, count)| *count != 0.0);
        buckets
    }

    /// The value below which a share `q` of the measurements lies, interpolated as Prometheus 3 does: by the exponent
    /// inside exponential buckets, linearly in the zero bucket.
    pub fn quantile(&self, q: f64) -> f64 {
        if q.is_nan() || self.count == 0.0 {
            return f64::NAN;
        }
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        let rank = q * self.count;
        let mut below = 0.0;
        let buckets = self.buckets();
        for (low, high, count) in &buckets {
            if below + count >= rank {
                return within(*low, *high, (rank - below) / count);
            }
            below += count;
        }
        buckets.last().map_or(f64::NAN, |(_, high, _)| *high)
    }

    /// The share of the measurements between two values.
    pub fn fraction(&self, lower: f64, upper: f64) -> f64 {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        let rank = |value: f64| {
            let mut below = 0.0;
            for (low, high, count) in self.buckets() {
                if value >= high {
                    below += count;
                } else if value > low {
                    below += count * share(low, high, value);
                }
            }
            below
        };
        (rank(upper) - rank(lower)) / self.count
    }
}

fn within(low: f64, high: f64, share: f64) -> f64 {
    if low > 0.0 {
        return (low.log2() + (high.log2() - low.log2()) * share).exp2();
    }
    if high < 0.0 {
        return -(((-low).log2() + ((-high).log2() - (-low).log2()) * share).exp2());
    }
    low + (high - low) * share
}

fn share(low: f64, high: f64, value: f64) -> f64 {
    if low > 0.0 {
        return (value.log2() - low.log2()) / (high.log2() - low.log2());
    }
    if high < 0.0 {
        return 1.0 - ((-value).log2() - (-high).log2()) / ((-low).log2() - (-high).log2());
    }
    (value - low) / (high - low)
}
