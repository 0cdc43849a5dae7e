//! What is usual for a label set of a rule with `anomaly`: median and deviation for each hour of the week, and by how
//! much the last day differs from them.
//!
//! An hour is learned when it is over, from all its values at once, so that single values do not count; what an alert
//! fires on is not learned at all. Two weeks have to be known before anything is judged. Knows no store and no clock.

use std::collections::{BTreeMap, HashSet};

use crate::alert::rules::{Anomaly, Direction};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const SLOTS: usize = 168;
/// What has to be known before anything is judged.
pub const WARM_UP: i64 = 14 * DAY;
/// Label sets of one rule: about 6 MiB.
const MOST: usize = 2_000;
/// Values of one hour: one each five seconds.
const MOST_VALUES: usize = 720;
/// A label set that has not been seen for so long is forgotten.
const FORGOTTEN_AFTER: i64 = 35 * DAY;
/// What a new week counts at least, against all weeks before it.
const LEAST_GAIN: f64 = 0.1;
/// Makes of a median deviation what a standard deviation would be, were the values normally distributed.
const TO_SIGMA: f64 = 1.4826;
/// The form of [`Usual::to_bytes`].
const VERSION: u8 = 1;

/// One hour of the week: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    median: f64,
    /// Median of the absolute deviations, as they were found.
    deviation: f32,
    /// How often the hour was learned.
    hours: u32,
}

/// So often an hour has to have been seen before it is judged.
const LEAST_HOURS: u32 = 2;

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    pub expected: f64,
    /// Half of its width.
    pub half: f64,
}

impl Band {
    fn is_left(&self, value: f64, direction: Direction) -> bool {
        let above = value > self.expected + self.half;
        let below = value < self.expected - self.half;
        match direction {
            Direction::Up => above,
            Direction::Down => below,
            Direction::Both => above || below,
        }
    }
}

/// What is usual for one label set. Times are event time in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Usual {
    slots: Box<[Slot]>,
    /// By how much values differ from their medians, smoothed over about a day.
    level: f64,
    /// The first and the last time learned from.
    begun: i64,
    last: i64,
    /// The hour whose values are being collected.
    hour: i64,
    values: Vec<f64>,
    /// It has changed in something that is worth keeping.
    dirty: bool,
}

impl Usual {
    fn new(at: i64) -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS].into(),
            level: 0.0,
            begun: at,
            last: at,
            hour: hour_of(at),
            values: Vec::new(),
            dirty: true,
        }
    }

    /// Takes a value into account; `interval`: milliseconds since the one before.
    fn learn(&mut self, at: i64, value: f64, interval: i64) {
        if !value.is_finite() || at < self.last {
            return;
        }
        self.last = at;
        let hour = hour_of(at);
        if hour != self.hour {
            self.end_hour();
            self.hour = hour;
        }
        if self.values.len() < MOST_VALUES {
            self.values.push(value);
        }
        let slot = self.slots[slot_of(at)];
        if slot.hours > 0 {
            // A single value moves the level as much as a deviation does, however far away it is.
            let most = 2.0 * self.deviation(at) + 0.01 * slot.median.abs();
            let off = (value - slot.median).clamp(self.level - most, self.level + most);
            let share = (interval as f64 / DAY as f64).min(1.0);
            self.level += share * (off - self.level);
        }
    }

    fn end_hour(&mut self) {
        let Some(median) = median(&mut self.values) else { return };
        let slot = &mut self.slots[slot_of(self.hour + HOUR)];
        let gain = (1.0 / f64::from(slot.hours.saturating_add(1))).max(LEAST_GAIN);
        let around = if slot.hours == 0 { median } else { slot.median };
        let mut off: Vec<f64> = self.values.iter().map(|value| (value - around).abs()).collect();
        let deviation = self::median(&mut off).unwrap_or(0.0);
        slot.median += gain * (median - slot.median);
        slot.deviation += (gain * (deviation - f64::from(slot.deviation))) as f32;
        slot.hours = slot.hours.saturating_add(1);
        self.values.clear();
        self.dirty = true;
    }

    /// As a standard deviation, from the hour and those beside it: one hour has few values.
    fn deviation(&self, at: i64) -> f64 {
        let slot = slot_of(at);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (slot, weight) in [
            ((slot + SLOTS - 1) % SLOTS, 1.0),
            (slot, 2.0),
            ((slot + 1) % SLOTS, 1.0),
        ] {
            let slot = self.slots[slot];
            if slot.hours > 0 {
                sum += weight * f64::from(slot.deviation);
                weights += weight;
            }
        }
        if weights > 0.0 { TO_SIGMA * sum / weights } else { 0.0 }
    }

    /// What values of this time are compared with; `None` while it learns.
    fn band(&self, at: i64, anomaly: &Anomaly) -> Option<Band> {
        // An hour less: the first and the last may be cut.
        if at - self.begun < WARM_UP - HOUR {
            return None;
        }
        let slot = self.slots[slot_of(at)];
        if slot.hours < LEAST_HOURS {
            return None;
        }
        let expected = slot.median + self.level;
        let floor = anomaly.min.unwrap_or(0.01 * expected.abs());
        Some(Band {
            expected,
            half: (anomaly.k * self.deviation(at)).max(floor),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40 + 16 * SLOTS + 8 * self.values.len());
        bytes.push(VERSION);
        for time in [self.begun, self.last, self.hour] {
            bytes.extend(time.to_be_bytes());
        }
        bytes.extend(self.level.to_be_bytes());
        for slot in &self.slots {
            bytes.extend(slot.median.to_be_bytes());
            bytes.extend(slot.deviation.to_be_bytes());
            bytes.extend(slot.hours.to_be_bytes());
        }
        for value in &self.values {
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        if *version != VERSION || rest.len() % 8 != 0 || rest.len() < 8 * (4 + 2 * SLOTS) {
            return None;
        }
        let mut words = rest
            .chunks_exact(8)
            .map(|word| u64::from_be_bytes(word.try_into().unwrap_or_default()));
        let mut time = || words.next().map(|word| word as i64);
        let (begun, last, hour) = (time()?, time()?, time()?);
        let level = f64::from_bits(words.next()?);
        let mut slots = Vec::with_capacity(SLOTS);
        for _ in 0..SLOTS {
            let (median, rest) = (words.next()?, words.next()?);
            slots.push(Slot {
                median: f64::from_bits(median),
                deviation: f32::from_bits((rest >> 32) as u32),
                hours: rest as u32,
            });
        }
        Some(Self {
            slots: slots.into(),
            level,
            begun,
            last,
            hour,
            values: words.take(MOST_VALUES).map(f64::from_bits).collect(),
            dirty: false,
        })
    }
}

/// What is usual for each label set of a rule, by the hash of its labels.
#[derive(Debug)]
pub(super) struct Usuals {
    anomaly: Anomaly,
    known: BTreeMap<u64, Usual>,
    /// Whose history was read, and of what: several resources that speak of one label set each know a part of it.
    primed: BTreeMap<u64, u64>,
    contradicted: HashSet<u64>,
    /// Forgotten since the last time they were kept.
    gone: Vec<u64>,
    last: i64,
    refused: u64,
}

impl Usuals {
    pub fn new(anomaly: Anomaly) -> Self {
        Self {
            anomaly,
            known: BTreeMap::new(),
            primed: BTreeMap::new(),
            contradicted: HashSet::new(),
            gone: Vec::new(),
            last: i64::MIN,
            refused: 0,
        }
    }

    /// Whether a value is unusual; never while it is learned what is usual.
    pub fn is_unusual(&self, key: u64, at: i64, value: f64) -> bool {
        self.band(key, at)
            .is_some_and(|band| band.is_left(value, self.anomaly.direction))
    }

    /// What values of a label set are compared with.
    pub fn band(&self, key: u64, at: i64) -> Option<Band> {
        self.known.get(&key)?.band(at, &self.anomaly)
    }

    /// Takes a value into account that is not one to alert on.
    pub fn learn(&mut self, key: u64, at: i64, value: f64, interval: i64) {
        self.last = self.last.max(at);
        if let Some(usual) = self.known.get_mut(&key) {
            usual.learn(at, value, interval);
            return;
        }
        if self.known.len() >= MOST {
            self.refused += 1;
            return;
        }
        let mut usual = Usual::new(at);
        usual.learn(at, value, interval);
        self.known.insert(key, usual);
    }

    /// Forgets what has not been seen for weeks.
    pub fn tidy(&mut self) {
        let oldest = self.last.saturating_sub(FORGOTTEN_AFTER);
        let gone = &mut self.gone;
        self.known.retain(|key, usual| {
            let stays = usual.last >= oldest;
            if !stays {
                gone.push(*key);
            }
            stays
        });
        self.primed.retain(|key, _| self.known.contains_key(key));
    }

    /// Takes over what another learned from the history of one resource.
    pub fn adopt(&mut self, other: Self, resource: u64) {
        for (key, mut usual) in other.known {
            if self.contradicted.contains(&key) {
                continue;
            }
            match self.primed.get(&key) {
                // A series of the same resource that was found later: what is known holds.
                Some(from) if *from == resource => continue,
                Some(_) => {
                    self.contradicted.insert(key);
                    self.known.remove(&key);
                    self.primed.remove(&key);
                    self.gone.push(key);
                    continue;
                }
                None => {}
            }
            let has_more = self.known.get(&key).is_some_and(|own| own.begun <= usual.begun);
            let is_full = self.known.len() >= MOST && !self.known.contains_key(&key);
            if has_more || is_full {
                continue;
            }
            usual.end_hour();
            usual.dirty = true;
            self.primed.insert(key, resource);
            self.last = self.last.max(usual.last);
            self.known.insert(key, usual);
        }
    }

    /// What has changed since it was kept (`all`: also within the hour), and what is gone (`None`).
    pub fn to_keep(&self, all: bool) -> impl Iterator<Item = (u64, Option<Vec<u8>>)> + '_ {
        let changed = self.known.iter().filter(move |(_, usual)| usual.dirty || all);
        let gone = self.gone.iter().filter(|key| !self.known.contains_key(key));
        changed
            .map(|(key, usual)| (*key, Some(usual.to_bytes())))
            .chain(gone.map(|key| (*key, None)))
    }

    /// It is on the disk.
    pub fn kept(&mut self) {
        self.known.values_mut().for_each(|usual| usual.dirty = false);
        self.gone.clear();
    }

    /// Takes up what was kept. False: it cannot be read.
    pub fn take_up(&mut self, key: u64, bytes: &[u8]) -> bool {
        let Some(usual) = Usual::from_bytes(bytes) else {
            return false;
        };
        self.last = self.last.max(usual.last);
        self.known.insert(key, usual);
        true
    }

    /// Label sets of which it is not known yet what is usual, at this time; those that there was no room for.
    pub fn learning(&self, at: i64) -> (usize, u64) {
        let learning = self
            .known
            .values()
            .filter(|usual| usual.band(at, &self.anomaly).is_none());
        (learning.count(), self.refused)
    }
}

/// A tick belongs to the hour that its window lies in: that of 10:00 to the one before.
fn hour_of(at: i64) -> i64 {
    let inside = at - 1;
    inside - inside.rem_euclid(HOUR)
}

fn slot_of(at: i64) -> usize {
    usize::try_from((at - 1).div_euclid(HOUR).rem_euclid(SLOTS as i64)).unwrap_or(0)
}

fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| is_even);
    Some(lower.map_or(*upper, |lower| (lower + *upper) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = 300_000;

    /// Numbers between 0 and 1 in the order of a seed; the sum of twelve is nearly normally distributed.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.next()).sum::<f64>() - 6.0
        }
    }

    /// Day and night, and quiet week-ends, with a tenth of noise.
    fn seasonal(at: i64, noise: &mut Noise) -> f64 {
        let day = (at.rem_euclid(DAY)) as f64 / DAY as f64;
        let weekend = if (at.div_euclid(DAY)).rem_euclid(7) >= 5 {
            0.4
        } else {
            1.0
        };
        let base = weekend * (100.0 + 60.0 * (std::f64::consts::TAU * day).sin());
        base * (1.0 + 0.1 * noise.normal())
    }

    fn anomaly() -> Anomaly {
        Anomaly {
            k: 4.0,
            direction: Direction::Up,
            min: Some(10.0),
        }
    }

    fn learned(seed: u64, days: i64) -> (Usuals, Noise, i64) {
        let (mut usuals, mut noise) = (Usuals::new(anomaly()), Noise(seed));
        let mut at = 1_767_225_600_000;
        for _ in 0..days * DAY / STEP {
            at += STEP;
            usuals.learn(1, at, seasonal(at, &mut noise), STEP);
        }
        (usuals, noise, at)
    }

    #[test]
    fn nothing_is_judged_before_two_weeks_are_known() {
        let (usuals, _, at) = learned(1, 13);
        assert_eq!(usuals.band(1, at + STEP), None);
        assert_eq!(usuals.learning(at), (1, 0));
        assert!(!usuals.is_unusual(1, at + STEP, 1e9));
        let (usuals, _, at) = learned(1, 14);
        assert!(usuals.is_unusual(1, at + STEP, 1e9));
        assert_eq!(usuals.learning(at + STEP), (0, 0));
    }

    #[test]
    fn seasonal_data_gives_less_than_one_false_alert_in_thirty_days_and_a_threefold_step_is_found_in_three_points() {
        let (mut alerts, mut points) = (0, 0);
        for seed in 0..20 {
            let (mut usuals, mut noise, mut at) = learned(seed, 14);
            let mut in_row = 0;
            for _ in 0..30 * DAY / STEP {
                at += STEP;
                let value = seasonal(at, &mut noise);
                let unusual = usuals.is_unusual(1, at, value);
                in_row = if unusual { in_row + 1 } else { 0 };
                points += u32::from(unusual);
                // As the rules of the pack: three of three.
                alerts += u32::from(in_row == 3);
                if in_row < 3 {
                    usuals.learn(1, at, value, STEP);
                }
            }
            for _ in 0..3 {
                at += STEP;
                let value = 3.0 * seasonal(at, &mut noise);
                assert!(
                    usuals.is_unusual(1, at, value),
                    "seed {seed}: {value} in {:?}",
                    usuals.band(1, at)
                );
            }
        }
        assert!(alerts < 20, "{alerts} false alerts of 20 series in 30 days");
        assert!(points < 20 * 20, "{points} unusual points of 20 series in 30 days");
    }

    #[test]
    fn a_slow_growth_is_followed_and_a_sudden_one_is_not_learned_while_it_fires() {
        let (mut usuals, mut noise, mut at) = learned(7, 14);
        let mut unusual = 0;
        for step in 0..14 * DAY / STEP {
            at += STEP;
            let growth = 1.0 + 0.5 * step as f64 / (14 * DAY / STEP) as f64;
            let value = growth * seasonal(at, &mut noise);
            unusual += u32::from(usuals.is_unusual(1, at, value));
            usuals.learn(1, at, value, STEP);
        }
        assert!(unusual < 40, "{unusual}");
        let before = usuals.band(1, at + STEP);
        for _ in 0..DAY / STEP {
            at += STEP;
            assert!(usuals.is_unusual(1, at, 1_000.0));
        }
        assert!(usuals.band(1, at + STEP).unwrap().expected < 2.0 * before.unwrap().expected.max(100.0));
    }

    #[test]
    fn what_was_kept_is_the_same_again_and_damage_is_seen() {
        let (usuals, _, at) = learned(3, 15);
        let kept: Vec<_> = usuals.to_keep(true).collect();
        let mut again = Usuals::new(anomaly());
        let bytes = kept[0].1.clone().unwrap();
        assert!(bytes.len() < 168 * 16 + 200, "{}", bytes.len());
        assert!(again.take_up(1, &bytes));
        assert_eq!(again.band(1, at + STEP), usuals.band(1, at + STEP));
        assert_eq!(again.to_keep(false).count(), 0, "nothing has changed");
        assert!(!again.take_up(2, &bytes[..100]) && !again.take_up(2, &[]));
    }

    #[test]
    fn two_resources_that_each_know_a_part_of_one_label_set_are_not_believed() {
        let (one, _, at) = learned(1, 15);
        let (same, _, _) = learned(1, 15);
        let (other, _, _) = learned(2, 15);
        let mut usuals = Usuals::new(anomaly());
        usuals.adopt(one, 10);
        assert!(usuals.band(1, at).is_some());
        usuals.adopt(same, 10);
        assert!(usuals.band(1, at).is_some(), "one resource, found in two parts");
        usuals.adopt(other, 20);
        assert!(usuals.band(1, at).is_none());
    }

    #[test]
    fn what_is_not_seen_for_weeks_is_forgotten() {
        let (mut usuals, _, at) = learned(1, 14);
        usuals.kept();
        usuals.learn(2, at + FORGOTTEN_AFTER + STEP, 1.0, STEP);
        usuals.tidy();
        assert_eq!(usuals.known.len(), 1);
        let kept: Vec<_> = usuals.to_keep(false).collect();
        assert!(kept.contains(&(1, None)), "{:?}", kept.len());
    }
}
