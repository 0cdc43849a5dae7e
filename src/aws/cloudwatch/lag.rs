//! How late the values of a namespace are, learned from what is seen: the age at which minutes changed for the last
//! time, over the last 24 hours.

/// Seconds of age in one step of the scale; AWS is asked once a minute, so finer is noise.
const STEP_S: i64 = 15;
/// Ages above are counted in the last step.
const STEPS: usize = 240;
/// The day in hours: the oldest is forgotten when a new one begins.
const HOURS: usize = 24;
/// Before so many minutes were seen nothing is claimed.
const ENOUGH: u64 = 1_000;
/// One value in a thousand may be later than what is claimed.
const QUANTILE: f64 = 0.999;

/// Of the bytes.
const VERSION: u8 = 1;

/// The ages of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Lag {
    hours: Vec<[u32; STEPS]>,
    /// Which hour each slot stands for.
    stamps: [i64; HOURS],
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            hours: vec![[0; STEPS]; HOURS],
            stamps: [i64::MIN; HOURS],
        }
    }
}

impl Lag {
    /// A minute changed for the last time `age` seconds after its end. `now`: unix seconds.
    pub fn record(&mut self, age: i64, now: i64) {
        let hour = now.div_euclid(3600);
        let slot = hour.rem_euclid(HOURS as i64) as usize;
        if self.stamps[slot] != hour {
            self.stamps[slot] = hour;
            self.hours[slot] = [0; STEPS];
        }
        let step = usize::try_from(age.max(0) / STEP_S).unwrap_or(0).min(STEPS - 1);
        let count = &mut self.hours[slot][step];
        *count = count.saturating_add(1);
    }

    /// For the state store: of each hour its number, how many steps of it were seen, and of each which and how often.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for (counts, stamp) in self.hours.iter().zip(&self.stamps) {
            let seen: Vec<(u16, u32)> = (0u16..).zip(counts.iter().copied()).filter(|(_, n)| *n > 0).collect();
            if seen.is_empty() {
                continue;
            }
            bytes.extend_from_slice(&stamp.to_le_bytes());
            bytes.extend_from_slice(&(seen.len() as u16).to_le_bytes());
            for (step, count) in seen {
                bytes.extend_from_slice(&step.to_le_bytes());
                bytes.extend_from_slice(&count.to_le_bytes());
            }
        }
        bytes
    }

    /// What [`Self::to_bytes`] gave; whatever cannot be read is as if nothing had been learned.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut lag = Self::default();
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        while !rest.is_empty() {
            let stamp = i64::from_le_bytes(take(&mut rest)?);
            let slot = stamp.rem_euclid(HOURS as i64) as usize;
            lag.stamps[slot] = stamp;
            for _ in 0..u16::from_le_bytes(take(&mut rest)?) {
                let step = usize::from(u16::from_le_bytes(take(&mut rest)?));
                *lag.hours[slot].get_mut(step)? = u32::from_le_bytes(take(&mut rest)?);
            }
        }
        Some(lag)
    }

    /// The age in seconds after which hardly anything changes; `None` until enough was seen.
    pub fn learned(&self, now: i64) -> Option<i64> {
        let oldest = now.div_euclid(3600) - HOURS as i64;
        let mut sums = [0u64; STEPS];
        for (hour, stamp) in self.hours.iter().zip(&self.stamps) {
            if *stamp > oldest {
                for (sum, count) in sums.iter_mut().zip(hour) {
                    *sum += u64::from(*count);
                }
            }
        }
        let total: u64 = sums.iter().sum();
        if total < ENOUGH {
            return None;
        }
        let wanted = (total as f64 * QUANTILE).ceil() as u64;
        let mut seen = 0;
        for (step, count) in sums.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some((step as i64 + 1) * STEP_S);
            }
        }
        None
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// The age that settles a value of this period: what was learned, but neither below two periods nor above `max_late`.
pub fn clamped(learned: Option<i64>, period: i64, max_late: i64) -> i64 {
    learned.map_or(max_late, |age| age.max(2 * period).min(max_late))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_nothing_before_a_thousand_minutes_and_forgets_after_a_day() {
        let mut lag = Lag::default();
        for n in 0..999 {
            lag.record(n % 90, 0);
        }
        assert_eq!(lag.learned(0), None);
        lag.record(300, 0);
        assert_eq!(lag.learned(0), Some(90), "one in a thousand may be later");
        for _ in 0..10 {
            lag.record(300, 3600);
        }
        assert_eq!(lag.learned(3600), Some(315));
        assert_eq!(lag.learned(24 * 3600), None, "the first hour is over");
        assert_eq!(clamped(Some(90), 60, 600), 120);
        assert_eq!(clamped(Some(900), 60, 600), 600);
        assert_eq!(clamped(Some(90), 3600, 600), 600);
        assert_eq!(clamped(None, 60, 600), 600);
    }

    #[test]
    fn what_was_learned_outlives_the_process_and_damage_is_as_nothing() {
        let mut lag = Lag::default();
        for n in 0..3_000 {
            lag.record(n % 200, 3_600 * (n / 1_000));
        }
        let bytes = lag.to_bytes();
        let again = Lag::from_bytes(&bytes).unwrap();
        assert_eq!(again, lag);
        assert_eq!(again.learned(7_200), lag.learned(7_200));
        for end in 0..bytes.len() {
            // Cut between two hours it is a shorter history.
            let read = Lag::from_bytes(&bytes[..end]);
            assert!(read.is_none_or(|read| read != lag));
        }
        let mut wrong = bytes.clone();
        wrong[11..13].fill(0xff);
        assert!(Lag::from_bytes(&wrong).is_none(), "no such step");
    }
}
