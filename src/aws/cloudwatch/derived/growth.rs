//! How an item count grows: samples over eight days, and the change over seven.
//!
//! DescribeTable refreshes its counts about every six hours. A sample is kept of each change, and of a count that stays
//! the same twice a day, so that there is always one near the time that is compared with.

const HOUR: i64 = 3600;
const WEEK: i64 = 7 * 24 * HOUR;
/// How far the sample may be from a week ago.
const TOLERANCE: i64 = 12 * HOUR;
/// A count that stays is noted again after so long.
const AGAIN: i64 = 12 * HOUR;
/// Older samples are not needed.
const KEEP: i64 = WEEK + 24 * HOUR;
/// Four changes a day and two repetitions need 64; the rest is for counts that AWS refreshes more often.
const MOST: usize = 256;
/// Of the kept form.
const VERSION: u8 = 1;

/// Counts of one table or index over time, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples(Vec<(i64, i64)>);

impl Samples {
    /// Notes a count at `now` (unix seconds). `true`: there is something to keep.
    pub fn note(&mut self, now: i64, count: i64) -> bool {
        let needed = self
            .0
            .last()
            .is_none_or(|(at, last)| *last != count || now - at >= AGAIN);
        // A clock that went back would put samples out of order.
        let in_order = self.0.last().is_none_or(|(at, _)| now > *at);
        if !needed || !in_order {
            return false;
        }
        self.0.push((now, count));
        let too_many = self.0.len().saturating_sub(MOST);
        let old = self.0.iter().take_while(|(at, _)| now - at > KEEP).count();
        self.0.drain(..old.max(too_many));
        true
    }

    /// Whether nothing was noted for so long that nothing can follow from it.
    pub fn is_old(&self, now: i64) -> bool {
        self.0.last().is_none_or(|(at, _)| now - at > KEEP)
    }

    /// Percent by which the count grew in a week; `None` before a week is known, and where there was nothing.
    pub fn growth(&self, now: i64) -> Option<f64> {
        let (_, count) = self.0.last()?;
        let week_ago = now - WEEK;
        if self.0.first()?.0 > week_ago {
            return None;
        }
        let nearest = self.0.iter().min_by_key(|(at, _)| (at - week_ago).abs())?;
        let known = (nearest.0 - week_ago).abs() <= TOLERANCE && nearest.1 > 0;
        known.then(|| (count - nearest.1) as f64 / nearest.1 as f64 * 100.0)
    }

    /// The form that is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (at, count) in &self.0 {
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// Reads what was kept; nothing where it is of another version or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Self::default();
        };
        let (numbers, _) = rest.as_chunks::<8>();
        let numbers: Vec<i64> = numbers.iter().map(|number| i64::from_le_bytes(*number)).collect();
        let (pairs, _) = numbers.as_chunks::<2>();
        let mut samples: Vec<(i64, i64)> = pairs.iter().map(|[at, count]| (*at, *count)).collect();
        samples.truncate(MOST);
        samples.sort_unstable();
        Self(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_compared_with_the_sample_nearest_to_it() {
        let mut samples = Samples::default();
        let mut now = 1_000_000;
        // A count that grows by ten each six hours.
        for step in 0..40 {
            samples.note(now, 1_000 + 10 * step);
            // The 28th step of six hours is a week.
            let expected = (step >= 28).then(|| 280.0 / (1_000 + 10 * (step - 28)) as f64 * 100.0);
            assert_eq!(samples.growth(now), expected, "step {step}");
            now += 6 * HOUR;
        }
    }

    #[test]
    fn a_count_that_stays_grows_by_nothing() {
        let mut samples = Samples::default();
        let mut noted = 0;
        for hour in 0..=200 {
            noted += u32::from(samples.note(hour * HOUR, 500));
        }
        assert_eq!(noted, 17, "each change once, and twice a day");
        assert_eq!(samples.growth(200 * HOUR), Some(0.0));
        assert!(!samples.note(0, 400), "time does not go back");
    }

    #[test]
    fn what_is_kept_reads_back_and_damage_is_nothing() {
        let mut samples = Samples::default();
        samples.note(10, 5);
        samples.note(20, 6);
        assert_eq!(Samples::from_bytes(&samples.to_bytes()), samples);
        assert_eq!(Samples::from_bytes(&[9, 1, 2]), Samples::default());
        assert_eq!(Samples::from_bytes(&[]), Samples::default());
        let mut many = Samples::default();
        for at in 0..1_000 {
            many.note(at, at);
        }
        assert_eq!(many.0.len(), MOST);
    }
}
