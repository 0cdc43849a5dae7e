//! One series' recent minutes: what AWS said of each, when it said so, and what became of it.
//!
//! CloudWatch values arrive late and change for minutes. A value is settled when two polls at least a period (and 60 s)
//! apart, both after its minute had ended, gave the same; or when it is as old as values of its namespace are when they
//! change for the last time; or when it is older than `max_late`. Absence settles by age, or where a heartbeat of the
//! resource proves that AWS was not just late. Only settled minutes are emitted.
//!
//! Kept small: minutes without a value are not stored. What lies before the cursor and is not stored was decided empty;
//! what lies behind it and is not stored is not there yet.

mod saved;
#[cfg(test)]
mod tests;

pub use saved::{Saved, Tail};

use super::lag::Lag;
use super::want::Want;

/// When a value counts as settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Seconds after which a minute is final.
    pub max_late: i64,
    /// The learned lag, seconds of age; `max_late` where nothing was learned.
    pub lag: i64,
    /// Age alone decides.
    pub strict: bool,
    /// What changed after it was emitted is emitted again.
    pub reemit: bool,
}

/// What became of a minute with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Still changing.
    Open,
    /// To be emitted; not acknowledged yet.
    Settled,
    /// Handed on, or given up.
    Done,
}

/// The values of a minute in the order of the want's statistics.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    One(f64),
    Many(Box<[f64]>),
    /// Emitted before the process started: only whether they change is of interest.
    Hash(u32),
}

/// The longest pause between two questions that is not a gap: an hour, and one that failed.
const RECENT_S: i64 = 2 * 3600;

/// `Minute::age` of a value that was not yet seen after its minute had ended.
const RUNNING: u16 = u16::MAX;

/// A 0 of ours stands for it.
const FILLED: u8 = 1;
/// It has been decided empty before.
const LATE: u8 = 2;
/// It has been emitted with other values before.
const AGAIN: u8 = 4;
/// It was asked for often enough to know when it changed.
const WATCHED: u8 = 8;

#[derive(Clone, Debug)]
struct Minute {
    /// Start of the period, unix seconds: good until 2106.
    at: u32,
    /// Seconds after the end of the period when these values were first heard.
    age: u16,
    fate: Fate,
    flags: u8,
    values: Values,
}

impl Minute {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Why a point goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    First,
    /// A 0 that stands for silence.
    Filled,
    /// The first value of a minute that had been decided empty.
    Late,
    /// It went out before with other values.
    Again,
}

/// A minute to emit.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Start of the period, unix seconds.
    pub at: i64,
    pub values: Vec<f64>,
    pub why: Why,
}

/// One minute of a complete answer: start, and where its values begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    at: i64,
    first: usize,
}

/// A complete answer for one series: minutes in order, each with a value for every statistic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    rows: Vec<Row>,
    values: Vec<f64>,
    width: usize,
}

impl Answer {
    /// For so many statistics.
    pub fn of_width(width: usize) -> Self {
        Self {
            width,
            ..Self::default()
        }
    }

    /// Adds a minute; they come in order. Values that do not fit the width are ignored.
    pub fn push(&mut self, at: i64, values: impl IntoIterator<Item = f64>) {
        let first = self.values.len();
        self.values.extend(values);
        if self.values.len() != first + self.width || self.rows.last().is_some_and(|row| row.at >= at) {
            self.values.truncate(first);
            return;
        }
        self.rows.push(Row { at, first });
    }

    /// The same with other columns; `None` where one is none of these.
    pub fn with_columns(&self, columns: &[usize]) -> Option<Self> {
        if columns.iter().any(|column| *column >= self.width) {
            return None;
        }
        let mut answer = Self::of_width(columns.len());
        for (at, values) in self.iter() {
            answer.push(at, columns.iter().filter_map(|column| values.get(*column).copied()));
        }
        Some(answer)
    }

    /// Minutes and their values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &[f64])> {
        self.rows.iter().map(|row| (row.at, self.of(row)))
    }

    fn of(&self, row: &Row) -> &[f64] {
        self.values.get(row.first..row.first + self.width).unwrap_or_default()
    }

    /// Minutes with values.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No minute has a value.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What one poll changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// First values of minutes that had been decided empty.
    pub late: u64,
    /// Values that changed after they were emitted.
    pub revised: u64,
}

/// One complete answer as it is taken.
pub struct Heard<'a> {
    pub answer: &'a Answer,
    /// The minutes it speaks of: from inclusive, to exclusive.
    pub from: i64,
    pub to: i64,
    /// When it was asked for.
    pub now: i64,
}

/// The recent past of one series.
#[derive(Clone, Debug)]
pub struct History {
    minutes: Vec<Minute>,
    /// Everything earlier is done or empty, but for `gaps`.
    cursor: u32,
    /// Nothing is known of what lies earlier.
    begin: u32,
    /// When the last complete answer was asked for; 0: never.
    polled: u32,
    /// The newest minute with a value of AWS, and the newest whose first value was not 0. 0: none.
    newest: u32,
    nonzero: u32,
    /// When a first value last differed from the one before.
    changed: u32,
    last: f32,
    /// Stretches before the cursor that are still to be asked back.
    gaps: Box<[(u32, u32)]>,
}

fn short(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

fn up(at: i64, period: i64) -> i64 {
    at + (-at).rem_euclid(period)
}

impl History {
    /// A series that is wanted from `start` on (rounded up to the period).
    pub fn starting(start: i64, period: i64) -> Self {
        let cursor = short(up(start, period));
        Self {
            minutes: Vec::new(),
            cursor,
            begin: cursor,
            polled: 0,
            newest: 0,
            nonzero: 0,
            changed: 0,
            last: 0.0,
            gaps: Box::default(),
        }
    }

    /// The oldest minute that is not done, gaps left aside.
    pub fn cursor(&self) -> i64 {
        i64::from(self.cursor)
    }

    /// The newest minute that is settled with a value of AWS.
    pub fn newest_settled(&self) -> Option<i64> {
        let minute = self.newest_minute()?;
        Some(i64::from(minute.at))
    }

    fn newest_minute(&self) -> Option<&Minute> {
        self.minutes
            .iter()
            .rev()
            .find(|minute| minute.fate != Fate::Open && !minute.has(FILLED))
    }

    /// Its first statistic.
    pub fn newest_value(&self) -> Option<f64> {
        first(&self.newest_minute()?.values)
    }

    /// The settled values of a minute that is still remembered; a 0 of ours counts.
    pub fn settled_at(&self, at: i64) -> Option<&[f64]> {
        let position = self.position(short(at)).ok()?;
        let minute = self.minutes.get(position)?;
        match (&minute.values, minute.fate) {
            (_, Fate::Open) | (Values::Hash(_), _) => None,
            (Values::One(value), _) => Some(std::slice::from_ref(value)),
            (Values::Many(values), _) => Some(values),
        }
    }

    /// The newest minute with a value of AWS, settled or not, of this process' life.
    pub fn newest(&self) -> Option<i64> {
        (self.newest > 0).then(|| i64::from(self.newest))
    }

    /// The newest minute whose first statistic was not 0.
    pub fn nonzero(&self) -> Option<i64> {
        (self.nonzero > 0).then(|| i64::from(self.nonzero))
    }

    /// The newest minute whose first statistic differed from the one before.
    pub fn changed(&self) -> Option<i64> {
        (self.changed > 0).then(|| i64::from(self.changed))
    }

    /// When the last complete answer was asked for.
    pub fn polled(&self) -> Option<i64> {
        (self.polled > 0).then(|| i64::from(self.polled))
    }

    /// Minutes that were seen and are not settled.
    pub fn open(&self) -> usize {
        self.minutes.iter().filter(|minute| minute.fate == Fate::Open).count()
    }

    /// From where to ask: the oldest open minute, and far enough back to see revisions.
    pub fn ask_from(&self, now: i64, max_late: i64) -> i64 {
        let tail = self.tail(now, max_late).max(i64::from(self.begin));
        self.cursor().min(tail)
    }

    /// How far back minutes are remembered and asked again: counted from the last answer, because what came later than
    /// `max_late` and after it would be missed where a series is asked every quarter of an hour or less. After a longer
    /// pause than that it counts from now: what lies in a gap is asked back apart.
    fn tail(&self, now: i64, max_late: i64) -> i64 {
        let polled = i64::from(self.polled);
        let recent = polled > 0 && now - polled <= RECENT_S;
        let since = if recent { now.min(polled) } else { now };
        since - 2 * max_late
    }

    fn position(&self, at: u32) -> Result<usize, usize> {
        self.minutes.binary_search_by_key(&at, |minute| minute.at)
    }

    /// Takes a complete answer.
    pub fn take(&mut self, want: &Want, heard: &Heard<'_>, rules: Rules) -> Changes {
        let mut changes = Changes::default();
        let period = want.shape.period;
        let from = up(heard.from.max(self.ask_from(heard.now, rules.max_late)), period);
        // Asked for so often that a change is seen soon after it happens.
        let watched = self.polled > 0 && heard.now - i64::from(self.polled) <= 2 * period.max(60);
        let mut next = self.position(short(from)).unwrap_or_else(|place| place);
        for (at, values) in heard.answer.iter() {
            if at < from || at >= heard.to || at.rem_euclid(period) != 0 {
                continue;
            }
            while self.minutes.get(next).is_some_and(|minute| i64::from(minute.at) < at) {
                self.vanished(next);
                next += 1;
            }
            let known = self.minutes.get(next).is_some_and(|minute| i64::from(minute.at) == at);
            if !known {
                let late = at < self.cursor();
                changes.late += u64::from(late);
                let minute = Minute {
                    at: short(at),
                    age: RUNNING,
                    fate: Fate::Open,
                    flags: if late { LATE } else { 0 },
                    values: pack(values),
                };
                if self.minutes.len() == self.minutes.capacity() {
                    // Doubling would leave half of it empty, in every series.
                    self.minutes.reserve_exact(4);
                }
                self.minutes.insert(next, minute);
                self.note(at, values);
            }
            if let Some(minute) = self.minutes.get_mut(next) {
                let end = at + period;
                let revised = hear(minute, values, (heard.now, end), watched, rules.reemit);
                changes.revised += u64::from(revised);
                if revised {
                    self.note(at, values);
                }
            }
            next += 1;
        }
        while self
            .minutes
            .get(next)
            .is_some_and(|minute| i64::from(minute.at) < heard.to)
        {
            self.vanished(next);
            next += 1;
        }
        self.polled = short(heard.now);
        changes
    }

    /// AWS showed a value before and does not now: that confirms nothing.
    fn vanished(&mut self, position: usize) {
        if let Some(minute) = self
            .minutes
            .get_mut(position)
            .filter(|minute| minute.fate == Fate::Open)
        {
            minute.age = RUNNING;
        }
    }

    fn note(&mut self, at: i64, values: &[f64]) {
        let at = short(at);
        let value = values.first().copied().unwrap_or_default();
        if value != 0.0 {
            self.nonzero = self.nonzero.max(at);
        }
        if at > self.newest {
            if self.newest == 0 || self.last != value as f32 {
                self.changed = at;
            }
            self.newest = at;
            self.last = value as f32;
        }
    }

    /// Settles what can be settled after the last answer. `fill`: silence may become 0; `heartbeat`: the newest settled
    /// minute of the resource's heartbeat. True where something is ready to go out.
    pub fn decide(&mut self, want: &Want, fill: bool, heartbeat: Option<i64>, rules: Rules) -> bool {
        let (period, polled) = (want.shape.period, i64::from(self.polled));
        if polled == 0 {
            return self.has_ready();
        }
        let mut next = 0;
        // What came after its minute was passed holds nothing back.
        while let Some(minute) = self.minutes.get_mut(next) {
            if i64::from(minute.at) >= i64::from(self.cursor) {
                break;
            }
            if minute.fate == Fate::Open && settles(minute, (polled, period), rules) {
                minute.fate = Fate::Settled;
            }
            next += 1;
        }
        let mut at = self.cursor();
        while at + period <= polled {
            match self.minutes.get_mut(next) {
                Some(minute) if i64::from(minute.at) == at => {
                    if minute.fate == Fate::Open {
                        if settles(minute, (polled, period), rules) {
                            minute.fate = Fate::Settled;
                        } else if !minute.has(AGAIN) {
                            // A minute that is still filling holds back the later ones of its series.
                            break;
                        }
                    }
                    next += 1;
                }
                _ => {
                    let age = polled - at - period;
                    let proven = !rules.strict && age >= rules.lag && heartbeat.is_some_and(|newest| newest >= at);
                    if fill && at >= want.exists_from && (age >= rules.max_late || proven) {
                        self.minutes.insert(next, zero(at, want));
                        next += 1;
                    }
                }
            }
            at += period;
        }
        self.advance(period, rules);
        self.has_ready()
    }

    /// Something else proves that nothing happened before `until`: minutes without a value are 0 though nobody asked.
    /// True where something is ready to go out.
    pub fn imply_zeros(&mut self, want: &Want, until: i64) -> bool {
        let period = want.shape.period;
        let mut at = self.cursor().max(up(want.exists_from, period));
        while at + period <= until {
            match self.position(short(at)) {
                // Still on its way, or to be handed on first.
                Ok(position)
                    if self
                        .minutes
                        .get(position)
                        .is_some_and(|minute| minute.fate == Fate::Open) =>
                {
                    break;
                }
                Ok(_) => {}
                Err(position) => self.minutes.insert(position, zero(at, want)),
            }
            at += period;
        }
        self.has_ready()
    }

    /// Something is settled and not handed on.
    pub fn has_ready(&self) -> bool {
        self.minutes.iter().any(|minute| minute.fate == Fate::Settled)
    }

    /// Settled minutes, oldest first.
    pub fn ready(&self) -> Vec<Point> {
        let settled = self.minutes.iter().filter(|minute| minute.fate == Fate::Settled);
        settled
            .map(|minute| Point {
                at: i64::from(minute.at),
                values: match &minute.values {
                    Values::One(value) => vec![*value],
                    Values::Many(values) => values.to_vec(),
                    Values::Hash(_) => Vec::new(),
                },
                why: match minute.flags {
                    flags if flags & AGAIN != 0 => Why::Again,
                    flags if flags & FILLED != 0 => Why::Filled,
                    flags if flags & LATE != 0 => Why::Late,
                    _ => Why::First,
                },
            })
            .collect()
    }

    /// The minute was handed on, or given up for good.
    pub fn done(&mut self, at: i64) {
        let position = self.position(short(at)).ok();
        if let Some(minute) = position.and_then(|position| self.minutes.get_mut(position)) {
            debug_assert_eq!(minute.fate, Fate::Settled, "only a settled minute is handed on");
            minute.fate = Fate::Done;
        }
    }

    /// Moves the cursor over what is done or empty.
    pub fn advance(&mut self, period: i64, rules: Rules) {
        let polled = i64::from(self.polled);
        let mut next = self.position(self.cursor).unwrap_or_else(|place| place);
        loop {
            let at = self.cursor();
            match self.minutes.get(next) {
                Some(minute) if i64::from(minute.at) == at => {
                    // One that is to go out again has been passed before.
                    if minute.fate != Fate::Done && !minute.has(AGAIN) {
                        break;
                    }
                    next += 1;
                }
                _ => {
                    if polled - at - period < rules.max_late {
                        break;
                    }
                }
            }
            self.cursor = short(at + period);
        }
    }

    /// Forgets what no poll will ask for again, and learns from it how late values are.
    pub fn tidy(&mut self, now: i64, max_late: i64, lag: Option<&mut Lag>) {
        let oldest_gap = self.gaps.first().map(|(from, _)| *from);
        let keep = short(self.cursor().min(self.tail(now, max_late)));
        let keep = oldest_gap.map_or(keep, |from| from.min(keep));
        let gone = self.minutes.partition_point(|minute| minute.at < keep);
        let gone = self.minutes[..gone]
            .iter()
            .position(|minute| minute.fate != Fate::Done)
            .unwrap_or(gone);
        if let Some(lag) = lag {
            for minute in &self.minutes[..gone] {
                if minute.has(WATCHED) && !minute.has(FILLED) && minute.age != RUNNING {
                    lag.record(i64::from(minute.age), now);
                }
            }
        }
        if gone > 0 {
            self.minutes.drain(..gone);
            if self.minutes.is_empty() {
                self.minutes = Vec::new();
            }
        }
    }

    /// Puts what lies between the cursor and `to` aside as a gap, and goes on from there. What was handed on of it stays
    /// known. Returns how many minutes lie in it.
    pub fn set_aside(&mut self, to: i64, period: i64) -> u64 {
        let to = short(up(to, period));
        if to <= self.cursor {
            return 0;
        }
        let from = self.cursor;
        debug_assert!(!self.has_ready(), "what is settled goes out first");
        self.minutes
            .retain(|minute| minute.at >= to || minute.fate == Fate::Done);
        self.gaps = self.gaps.iter().copied().chain([(from, to)]).collect();
        self.cursor = to;
        u64::from(to - from) / period.max(1).unsigned_abs()
    }

    /// What is still to be asked back, oldest first.
    pub fn gaps(&self) -> &[(u32, u32)] {
        &self.gaps
    }

    /// Gives up the part of the gaps before `to`. Returns how many seconds that was.
    pub fn give_up_before(&mut self, to: i64) -> u64 {
        let to = short(to);
        let mut given_up = 0;
        for (from, end) in &mut self.gaps {
            let new = (*from).max(to.min(*end));
            given_up += u64::from(new - *from);
            *from = new;
        }
        if given_up > 0 {
            self.gaps = self.gaps.iter().copied().filter(|(from, end)| from < end).collect();
        }
        given_up
    }

    /// Whether a minute of a gap has been handed on already.
    pub fn is_done(&self, at: i64) -> bool {
        self.position(short(at))
            .ok()
            .and_then(|position| self.minutes.get(position))
            .is_some_and(|minute| minute.fate == Fate::Done)
    }
}

fn first(values: &Values) -> Option<f64> {
    match values {
        Values::One(value) => Some(*value),
        Values::Many(values) => values.first().copied(),
        Values::Hash(_) => None,
    }
}

fn pack(values: &[f64]) -> Values {
    match values {
        [one] => Values::One(*one),
        many => Values::Many(many.into()),
    }
}

fn zero(at: i64, want: &Want) -> Minute {
    let width = want.shape.statistics.len();
    Minute {
        at: short(at),
        age: 0,
        fate: Fate::Settled,
        flags: FILLED,
        values: if width == 1 {
            Values::One(0.0)
        } else {
            Values::Many(vec![0.0; width].into())
        },
    }
}

fn same(known: &Values, values: &[f64]) -> bool {
    match known {
        Values::One(one) => values == [*one],
        Values::Many(many) => **many == *values,
        Values::Hash(hash) => *hash == saved::hash(values),
    }
}

/// Takes the values of one minute. `when`: now, and the end of its period. True where it changed after it went out.
fn hear(minute: &mut Minute, values: &[f64], when: (i64, i64), watched: bool, reemit: bool) -> bool {
    let (now, end) = when;
    let mut revised = false;
    if !same(&minute.values, values) {
        match minute.fate {
            Fate::Done => {
                revised = true;
                if reemit {
                    minute.fate = Fate::Open;
                    minute.flags |= AGAIN;
                }
            }
            // Not gone out yet: it settles anew.
            Fate::Settled => minute.fate = Fate::Open,
            Fate::Open => {}
        }
        minute.flags &= !FILLED;
        minute.values = pack(values);
        minute.age = RUNNING;
    } else if let Values::Hash(_) = minute.values {
        // Now they are known again; that they did not change needs no second look.
        minute.values = pack(values);
    }
    if minute.age == RUNNING && now >= end {
        minute.age = u16::try_from(now - end).unwrap_or(RUNNING - 1).min(RUNNING - 1);
        if watched {
            minute.flags |= WATCHED;
        } else {
            minute.flags &= !WATCHED;
        }
    }
    revised
}

/// Whether an open minute is settled. `when`: the last answer, and the period.
fn settles(minute: &Minute, when: (i64, i64), rules: Rules) -> bool {
    let (polled, period) = when;
    let end = i64::from(minute.at) + period;
    let age = polled - end;
    if age >= rules.max_late {
        return true;
    }
    if rules.strict || minute.age == RUNNING {
        return false;
    }
    let since = end + i64::from(minute.age);
    polled - since >= period.max(60) || age >= rules.lag
}
