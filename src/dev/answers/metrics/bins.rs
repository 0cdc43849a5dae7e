//! Counts between bounds, of explicit and exponential histograms alike: added, subtracted, asked for quantiles.

use std::collections::BTreeMap;

use crate::wire::{ExponentialHistogramPoint, HistogramPoint, Point, WireError};

/// Buckets of one point that are read.
const MOST_BUCKETS: usize = 10_000;

/// A bound that can be a key. Ordered as numbers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound(pub f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Counts by upper and lower bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bins {
    /// Upper bound first, so that they stand in the order of their values.
    pub counts: BTreeMap<(Bound, Bound), f64>,
    /// The smallest and the largest measurement, where it is known.
    pub range: Option<(f64, f64)>,
}

impl Bins {
    /// Of a histogram point; exponential ones at most at this scale. `None` for other points.
    ///
    /// # Errors
    /// Where the point is malformed.
    pub fn of(point: &Point<'_>, scale: i32) -> Result<Option<Self>, WireError> {
        match point {
            Point::Histogram(point) => explicit(point).map(Some),
            Point::ExponentialHistogram(point) => exponential(point, scale).map(Some),
            _ => Ok(None),
        }
    }

    fn put(&mut self, lower: f64, upper: f64, count: f64) {
        if count > 0.0 {
            *self.counts.entry((Bound(upper), Bound(lower))).or_default() += count;
        }
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Bins) {
        for (bounds, count) in &other.counts {
            *self.counts.entry(*bounds).or_default() += count;
        }
        if let Some((min, max)) = other.range {
            let range = self.range.get_or_insert((min, max));
            // NaN never wins.
            range.0 = range.0.min(min);
            range.1 = range.1.max(max);
        }
    }

    /// What came since `before`; `None` where something became less, which a restart does.
    pub fn since(&self, before: &Bins) -> Option<Bins> {
        let mut grown = Bins::default();
        for (bounds, count) in &before.counts {
            if self.counts.get(bounds).copied().unwrap_or_default() < *count {
                return None;
            }
        }
        for ((upper, lower), count) in &self.counts {
            let had = before.counts.get(&(*upper, *lower)).copied().unwrap_or_default();
            grown.put(lower.0, upper.0, count - had);
        }
        Some(grown)
    }

    /// How many measurements.
    pub fn count(&self) -> f64 {
        self.counts.values().sum()
    }

    /// The value below which this share of the measurements lies, between the bounds of its bucket in proportion.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count <= 0.0 {
            return None;
        }
        let wanted = share * count;
        let mut passed = 0.0;
        for ((upper, lower), here) in &self.counts {
            if passed + here >= wanted {
                let (min, max) = self.range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
                // The outermost buckets have no end: what was measured bounds them, else their inner bound.
                let low = if lower.0.is_finite() { lower.0.max(min) } else { min };
                let high = if upper.0.is_finite() { upper.0.min(max) } else { max };
                return Some(match (low.is_finite(), high.is_finite()) {
                    (true, true) if high >= low => low + (high - low) * ((wanted - passed) / here).clamp(0.0, 1.0),
                    (true, _) => low,
                    (_, true) => high,
                    _ => 0.0,
                });
            }
            passed += here;
        }
        None
    }
}

fn explicit(point: &HistogramPoint<'_>) -> Result<Bins, WireError> {
    let mut bins = Bins {
        range: range_of(point.min()?, point.max()?),
        ..Bins::default()
    };
    let mut bounds = Vec::new();
    for bound in point.explicit_bounds().take(MOST_BUCKETS) {
        bounds.push(bound?);
    }
    for (at, count) in point.bucket_counts().take(bounds.len() + 1).enumerate() {
        let lower = if at == 0 { f64::NEG_INFINITY } else { bounds[at - 1] };
        let upper = bounds.get(at).copied().unwrap_or(f64::INFINITY);
        bins.put(lower, upper, count? as f64);
    }
    // Without buckets there is one for all.
    if bins.counts.is_empty() && bounds.is_empty() {
        bins.put(f64::NEG_INFINITY, f64::INFINITY, point.count()? as f64);
    }
    Ok(bins)
}

fn exponential(point: &ExponentialHistogramPoint<'_>, most: i32) -> Result<Bins, WireError> {
    let mut bins = Bins {
        range: range_of(point.min()?, point.max()?),
        ..Bins::default()
    };
    let scale = point.scale()?;
    // Buckets of a finer scale fall into one of a coarser scale as wholes.
    let shift = scale.saturating_sub(most).clamp(0, 31) as u32;
    let scale = scale.min(most);
    let threshold = point.zero_threshold()?.max(0.0);
    bins.put(-threshold, threshold, point.zero_count()? as f64);
    for (sign, buckets) in [(1.0, point.positive()?), (-1.0, point.negative()?)] {
        let Some(buckets) = buckets else { continue };
        let offset = i64::from(buckets.offset()?);
        for (at, count) in buckets.bucket_counts().take(MOST_BUCKETS).enumerate() {
            let index = (offset + at as i64) >> shift;
            let (near, far) = (bound_of(index, scale), bound_of(index + 1, scale));
            let count = count? as f64;
            if sign > 0.0 {
                bins.put(near, far, count);
            } else {
                bins.put(-far, -near, count);
            }
        }
    }
    Ok(bins)
}

/// `base^index` with `base = 2^(2^-scale)`.
fn bound_of(index: i64, scale: i32) -> f64 {
    (index as f64 * (-f64::from(scale)).exp2()).exp2()
}

fn range_of(min: Option<f64>, max: Option<f64>) -> Option<(f64, f64)> {
    Some((min?, max?)).filter(|(min, max)| min <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_in_their_bucket_in_proportion() {
        let mut bins = Bins::default();
        bins.put(0.0, 10.0, 50.0);
        bins.put(10.0, 20.0, 50.0);
        assert_eq!(bins.quantile(0.5), Some(10.0));
        assert_eq!(bins.quantile(0.75), Some(15.0));
        bins.put(20.0, f64::INFINITY, 100.0);
        assert_eq!(bins.quantile(0.99), Some(20.0));
        assert_eq!(Bins::default().quantile(0.5), None);
    }

    #[test]
    fn what_became_less_is_no_growth() {
        let mut before = Bins::default();
        before.put(0.0, 1.0, 5.0);
        let mut after = before.clone();
        after.put(0.0, 1.0, 2.0);
        assert_eq!(after.since(&before).unwrap().count(), 2.0);
        assert_eq!(before.since(&after), None);
    }

    #[test]
    fn bounds_of_a_scale_grow_by_its_base() {
        assert_eq!(bound_of(3, 0), 8.0);
        assert_eq!(bound_of(-1, 0), 0.5);
        assert!((bound_of(2, 1) - 2.0).abs() < 1e-12);
    }
}
