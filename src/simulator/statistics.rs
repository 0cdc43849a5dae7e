//! Statistics over the samples of a period, as CloudWatch offers them.

use super::random::Dice;

/// Values with the number of times they occurred.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<(f64, u64)>);

/// What can be asked of a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    Sum,
    SampleCount,
    Average,
    Minimum,
    Maximum,
    /// In percent, e.g. 99.9.
    Percentile(f64),
    /// The mean of the values between two percentiles.
    TrimmedMean(f64, f64),
}

impl Statistic {
    /// By its API name: `Sum`, `p99.9`, `tm90`, `IQM`.
    pub fn parse(name: &str) -> Option<Self> {
        let percent = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let value = text.parse::<f64>().ok().filter(|_| digits)?;
            (0.0..=100.0).contains(&value).then_some(value)
        };
        Some(match name {
            "Sum" => Statistic::Sum,
            "SampleCount" => Statistic::SampleCount,
            "Average" => Statistic::Average,
            "Minimum" => Statistic::Minimum,
            "Maximum" => Statistic::Maximum,
            "IQM" => Statistic::TrimmedMean(25.0, 75.0),
            _ => match (name.strip_prefix('p'), name.strip_prefix("tm")) {
                (Some(rest), _) => Statistic::Percentile(percent(rest)?),
                (_, Some(rest)) => Statistic::TrimmedMean(0.0, percent(rest)?),
                _ => return None,
            },
        })
    }
}

impl Samples {
    /// One sample.
    pub fn one(value: f64) -> Self {
        Self(vec![(value, 1)])
    }

    /// `n` times 1; nothing for 0 (a sparse metric has no point then).
    pub fn ones(n: u64) -> Self {
        Self(if n == 0 { Vec::new() } else { vec![(1.0, n)] })
    }

    /// Values with how often each occurred.
    pub fn of(values: Vec<(f64, u64)>) -> Self {
        let mut samples = Self(values.into_iter().filter(|(_, times)| *times > 0).collect());
        samples.sort();
        samples
    }

    /// 1 for so many of all, 0 for the others: the average is the share.
    pub fn flags(ones: u64, all: u64) -> Self {
        Self::of(vec![(0.0, all.saturating_sub(ones)), (1.0, ones.min(all))])
    }

    /// Requests of one unit each, the last one of what is left; a single 0 for nothing.
    pub fn spread(units: f64) -> Self {
        let whole = units.floor() as u64;
        let rest = units - whole as f64;
        let mut samples = Vec::new();
        if whole > 0 {
            samples.push((1.0, whole));
        }
        if rest > 1e-6 || whole == 0 {
            samples.insert(0, (rest, 1));
        }
        Self(samples)
    }

    /// `n` values around `median`; at most 64 different ones, which is plenty for a p99 by eye and exact for tests.
    pub fn log_normal(median: f64, sigma: f64, n: u64, dice: Dice) -> Self {
        let kinds = n.min(64);
        let mut samples = Vec::new();
        for kind in 0..kinds {
            let times = n / kinds + u64::from(kind < n % kinds);
            samples.push((median * (sigma * dice.normal(1_000 + kind)).exp(), times));
        }
        let mut samples = Self(samples);
        samples.sort();
        samples
    }

    /// Whole numbers.
    pub fn rounded(mut self) -> Self {
        for (value, _) in &mut self.0 {
            *value = value.round();
        }
        self
    }

    fn sort(&mut self) {
        self.0.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// Adds the samples of another period.
    pub fn merge(&mut self, other: Samples) {
        self.0.extend(other.0);
        self.sort();
    }

    /// What has arrived of an incomplete minute: three fifths of every kind. A lone sample is there or not.
    pub fn first_part(mut self) -> Self {
        for (_, times) in &mut self.0 {
            *times = (*times * 3).div_ceil(5);
        }
        self
    }

    /// Nothing happened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|(_, times)| times).sum()
    }

    fn sum(&self) -> f64 {
        self.0.iter().map(|(value, times)| value * *times as f64).sum()
    }

    /// `None` without samples.
    pub fn get(&self, statistic: Statistic) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        Some(match statistic {
            Statistic::Sum => self.sum(),
            Statistic::SampleCount => count as f64,
            Statistic::Average => self.sum() / count as f64,
            Statistic::Minimum => self.0.iter().map(|(value, _)| *value).fold(f64::INFINITY, f64::min),
            Statistic::Maximum => self.0.iter().map(|(value, _)| *value).fold(f64::NEG_INFINITY, f64::max),
            Statistic::Percentile(percent) => self.at_rank(percent / 100.0 * count as f64),
            Statistic::TrimmedMean(low, high) => {
                self.mean_between(low / 100.0 * count as f64, high / 100.0 * count as f64)
            }
        })
    }

    /// The smallest value that at least `rank` samples do not exceed.
    fn at_rank(&self, rank: f64) -> f64 {
        let mut seen = 0.0;
        let mut last = 0.0;
        for (value, times) in &self.0 {
            seen += *times as f64;
            last = *value;
            if seen >= rank {
                break;
            }
        }
        last
    }

    fn mean_between(&self, low: f64, high: f64) -> f64 {
        let mut seen = 0.0;
        let mut sum = 0.0;
        let mut weight = 0.0;
        for (value, times) in &self.0 {
            let next = seen + *times as f64;
            let inside = (next.min(high) - f64::max(seen, low)).max(0.0);
            sum += value * inside;
            weight += inside;
            seen = next;
        }
        if weight > 0.0 { sum / weight } else { self.at_rank(low) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_come_from_the_samples() {
        let mut samples = Samples::ones(98);
        samples.merge(Samples(vec![(10.0, 1), (100.0, 1)]));
        let get = |name: &str| samples.get(Statistic::parse(name).unwrap()).unwrap();
        assert_eq!(get("SampleCount"), 100.0);
        assert_eq!(get("Sum"), 208.0);
        assert_eq!(get("Average"), 2.08);
        assert_eq!(get("p50"), 1.0);
        assert_eq!(get("p99"), 10.0);
        assert_eq!(get("p100"), 100.0);
        assert_eq!(get("IQM"), 1.0);
        assert_eq!(get("tm99"), (98.0 + 10.0) / 99.0);
    }

    #[test]
    fn unknown_statistics_are_told_from_known_ones() {
        for bad in ["sum", "p", "p101", "p-1", "pnan", "tm", "", "p1e1"] {
            assert_eq!(Statistic::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_idle_table_publishes_one_zero() {
        let idle = Samples::spread(0.0);
        assert_eq!(idle.get(Statistic::Sum), Some(0.0));
        assert_eq!(idle.get(Statistic::SampleCount), Some(1.0));
    }
}
