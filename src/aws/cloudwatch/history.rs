//! One series' recent minutes: what AWS said of each, when it said so, and what became of it.
//!
//! CloudWatch values arrive late and change for minutes. A value is settled when two polls at least a period (and 60 s)
//! apart, both after its minute had ended, gave the same, or when it is older than `max_late`. Absence settles by age
//! alone. Only settled minutes are emitted.

use std::collections::BTreeMap;

use super::want::Want;

/// When a value counts as settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settling {
    /// Seconds after which a minute is final.
    pub max_late: i64,
    /// Age alone decides.
    pub strict: bool,
}

/// What became of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Still changing, or not there yet.
    Open,
    /// To be emitted; not acknowledged yet.
    Settled,
    /// Handed on, or given up.
    Done,
    /// Decided to have no value.
    Empty,
}

#[derive(Clone, Debug)]
struct Minute {
    /// In the order of the want's statistics; empty: no value so far.
    values: Vec<f64>,
    /// Time of the first poll after the minute's end that gave these values.
    since: Option<i64>,
    fate: Fate,
    /// A 0 of ours stands for it.
    filled: bool,
}

/// A minute to emit.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Start of the period, unix seconds.
    pub at: i64,
    pub values: Vec<f64>,
    /// A 0 of ours.
    pub filled: bool,
}

/// What one poll changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// First values of minutes that had been decided empty.
    pub late: u64,
    /// Values that changed after they were emitted.
    pub revised: u64,
}

/// The recent past of one series.
#[derive(Clone, Debug)]
pub struct History {
    minutes: BTreeMap<i64, Minute>,
    /// Everything earlier is done or empty.
    cursor: i64,
}

impl History {
    /// A series that is wanted from `start` on (rounded up to the period).
    pub fn starting(start: i64, period: i64) -> Self {
        Self {
            minutes: BTreeMap::new(),
            cursor: start + (-start).rem_euclid(period),
        }
    }

    /// The oldest minute that is not done.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    fn newest(&self) -> Option<(i64, &Minute)> {
        let settled = self
            .minutes
            .iter()
            .rev()
            .find(|(_, minute)| matches!(minute.fate, Fate::Settled | Fate::Done) && !minute.filled);
        settled.map(|(at, minute)| (*at, minute))
    }

    /// The newest minute that is settled with a real value.
    pub fn newest_settled(&self) -> Option<i64> {
        self.newest().map(|(at, _)| at)
    }

    /// Its first statistic.
    pub fn newest_value(&self) -> Option<f64> {
        self.newest()?.1.values.first().copied()
    }

    /// Minutes that were seen and are not settled.
    pub fn open(&self) -> usize {
        self.minutes
            .values()
            .filter(|minute| minute.fate == Fate::Open && !minute.values.is_empty())
            .count()
    }

    /// From where to ask: the oldest open minute, and far enough back to see revisions.
    pub fn ask_from(&self, now: i64, settling: Settling, first: i64) -> i64 {
        self.cursor.min((now - 2 * settling.max_late).max(first))
    }

    /// Moves the start on to `to`, giving up what was not asked for in time. Returns how many minutes were given up.
    pub fn skip_to(&mut self, to: i64, period: i64) -> u64 {
        if to <= self.cursor {
            return 0;
        }
        let to = to + (-to).rem_euclid(period);
        let skipped = (to - self.cursor) / period;
        self.cursor = to;
        self.minutes = self.minutes.split_off(&to);
        u64::try_from(skipped).unwrap_or(0)
    }

    /// Takes a complete answer for the minutes from `from` (inclusive) to `to` (exclusive), polled at `now`.
    pub fn take(
        &mut self,
        want: &Want,
        answer: &BTreeMap<i64, Vec<f64>>,
        window: (i64, i64),
        now: i64,
        settling: Settling,
    ) -> Changes {
        let mut changes = Changes::default();
        let (from, to) = window;
        let mut at = from + (-from).rem_euclid(want.period);
        while at < to {
            let known = self.minutes.contains_key(&at);
            // What was done before the memory begins is not looked at again.
            if known || at >= self.cursor {
                let minute = self.minutes.entry(at).or_insert_with(|| Minute {
                    values: Vec::new(),
                    since: None,
                    fate: Fate::Open,
                    filled: false,
                });
                match answer.get(&at) {
                    Some(values) => {
                        let heard = minute.hear((at, want.period), values, now, settling);
                        changes.late += heard.late;
                        changes.revised += heard.revised;
                    }
                    None => minute.hear_nothing(want, at, now, settling),
                }
            }
            at += want.period;
        }
        self.tidy(want.period, now, settling);
        changes
    }

    /// Settled minutes, oldest first. A minute that is still filling holds back the later ones of its series.
    pub fn ready(&self) -> Vec<Point> {
        let mut ready = Vec::new();
        for (at, minute) in &self.minutes {
            match minute.fate {
                Fate::Settled => ready.push(Point {
                    at: *at,
                    values: minute.values.clone(),
                    filled: minute.filled,
                }),
                Fate::Open if !minute.values.is_empty() => break,
                _ => {}
            }
        }
        ready
    }

    /// The minute was handed on, or given up for good.
    pub fn done(&mut self, at: i64, period: i64) {
        if let Some(minute) = self.minutes.get_mut(&at) {
            debug_assert_eq!(minute.fate, Fate::Settled, "only a settled minute is handed on");
            minute.fate = Fate::Done;
        }
        self.advance(period);
    }

    fn advance(&mut self, period: i64) {
        while let Some(minute) = self.minutes.get(&self.cursor) {
            if !matches!(minute.fate, Fate::Done | Fate::Empty) {
                break;
            }
            self.cursor += period;
        }
    }

    /// Forgets what no poll will ask for again.
    fn tidy(&mut self, period: i64, now: i64, settling: Settling) {
        self.advance(period);
        let keep = self.cursor.min(now - 2 * settling.max_late);
        self.minutes = self.minutes.split_off(&keep);
    }
}

impl Minute {
    /// `minute`: start and length.
    fn hear(&mut self, minute: (i64, i64), values: &[f64], now: i64, settling: Settling) -> Changes {
        let (at, period) = minute;
        let end = at + period;
        let mut changes = Changes::default();
        let same = self.values == values && !self.filled;
        match self.fate {
            Fate::Done | Fate::Settled if same => return changes,
            Fate::Done => {
                // Counted, not sent again: stores that add deltas up would count it twice.
                changes.revised += 1;
                self.values = values.to_vec();
                self.filled = false;
                return changes;
            }
            Fate::Settled => {
                self.values = values.to_vec();
                self.filled = false;
                return changes;
            }
            Fate::Empty => {
                changes.late += 1;
                self.fate = Fate::Open;
            }
            Fate::Open => {}
        }
        if !same {
            self.values = values.to_vec();
            self.since = None;
        }
        if now >= end && self.since.is_none() {
            self.since = Some(now);
        }
        let stood = self.since.is_some_and(|since| now - since >= period.max(60));
        let old = now - end >= settling.max_late;
        if old || (stood && !settling.strict) {
            self.fate = Fate::Settled;
        }
        changes
    }

    fn hear_nothing(&mut self, want: &Want, at: i64, now: i64, settling: Settling) {
        let old = now - (at + want.period) >= settling.max_late;
        if self.fate != Fate::Open || !old {
            return;
        }
        if !self.values.is_empty() {
            // AWS showed it before: it is a value all the same.
            self.fate = Fate::Settled;
        } else if want.fill && at >= want.exists_from {
            self.values = vec![0.0; want.statistics.len()];
            self.filled = true;
            self.fate = Fate::Settled;
        } else {
            self.fate = Fate::Empty;
        }
    }
}
