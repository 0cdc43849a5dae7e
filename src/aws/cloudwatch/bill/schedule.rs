//! When each series is asked again: by class, by what it did lately, and by whether its table or endpoint is in trouble.
//!
//! A demotion costs freshness, never data: CloudWatch keeps the points, and the length of the window that asks for them
//! is free. A promotion takes effect at once, because the moment to ask next is computed from the moment of the last
//! question, not written down ahead.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::history::Answer;
use super::super::want::{Class, Name, Want};
use super::budget::{Level, Rates};
use super::tiers::Role;
use crate::aws::globs::any_matches;

/// `polling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything at the interval.
    Uniform,
    /// By class.
    Tiered,
    /// By class and by what a series did lately.
    #[default]
    Adaptive,
}

/// Why a series has its interval: the label `tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    Uniform,
    Tiered,
    Hot,
    Idle,
    Silent,
    Escalated,
}

impl Tier {
    pub const ALL: [Tier; 6] = [
        Tier::Uniform,
        Tier::Tiered,
        Tier::Hot,
        Tier::Idle,
        Tier::Silent,
        Tier::Escalated,
    ];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Uniform => "uniform",
            Tier::Tiered => "tiered",
            Tier::Hot => "hot",
            Tier::Idle => "idle",
            Tier::Silent => "silent",
            Tier::Escalated => "escalated",
        }
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// A series that moved in this time is hot.
const HOT_S: i64 = HOUR;
/// A series without a point for so long is silent.
const SILENT_S: i64 = 3 * HOUR;
/// Trouble is over when so much time was quiet.
const QUIET_S: i64 = 30 * MINUTE;
/// A resource that wakes up has its silent series asked like hot ones for so long: they may have woken with it, and
/// their first values may be late.
const WAKE_S: i64 = 15 * MINUTE;

/// The settings of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    pub mode: Mode,
    /// Seconds; nothing is asked more often.
    pub interval: i64,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            mode: Mode::Adaptive,
            interval: MINUTE,
        }
    }
}

/// What is remembered of one series. There may be hundreds of thousands: minutes since 1970 in 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    group: u32,
    role: Role,
    class: Class,
    statistics: u8,
    period: i32,
    /// Since when its silence is known; 0: never asked.
    known_from: u32,
    last_point: u32,
    last_active: u32,
    last_asked: u32,
    /// Asked by GetMetricStatistics.
    pub free: bool,
}

impl Pace {
    /// Units of one poll.
    pub fn units(&self) -> u64 {
        u64::from(self.statistics).div_ceil(5)
    }

    /// Never answered so far.
    pub fn is_new(&self) -> bool {
        self.known_from == 0
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether it says why a resource is in trouble.
    pub fn explains_trouble(&self) -> bool {
        self.role.explains_trouble()
    }

    /// By its own points alone.
    fn activity(&self, now: i64) -> Activity {
        let since = |minute: u32| now - i64::from(minute) * MINUTE - i64::from(self.period);
        if since(self.last_active.max(self.known_from)) < HOT_S {
            // Also what is not known for long: a new table must not be taken for a silent one.
            return Activity::Hot;
        }
        if since(self.last_point.max(self.known_from)) < SILENT_S {
            return Activity::Idle;
        }
        Activity::Silent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Hot,
    Idle,
    Silent,
}

/// What a series is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supposed {
    Active,
    Unchanged,
    Silent,
}

/// A table or endpoint: what its series have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Its members that are left; 0: the place is free.
    members: u32,
    phase: i64,
    /// Unix seconds.
    hot_until: i64,
    trouble_until: i64,
    woke: i64,
}

/// What the series of a class cost as things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassCost {
    pub series: usize,
    /// Metrics that one question for each of them is billed as.
    pub units: u64,
    pub units_per_hour: f64,
    /// Free requests, instead of units.
    pub requests_per_hour: f64,
}

/// What the schedule looks like at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    pub series: BTreeMap<(Class, Tier), usize>,
    /// With the demotions of the budget as they are now.
    pub classes: BTreeMap<Class, ClassCost>,
    /// Series that the budget has switched off.
    pub off: usize,
    /// Billed units and free requests per hour at each level.
    pub rates: Rates,
    /// Tables and endpoints in trouble.
    pub escalated: usize,
}

/// The schedule of one account and region.
pub struct Schedule {
    rhythm: Rhythm,
    /// Globs of metric names that keep the tiered interval.
    pins: Vec<String>,
    groups: Vec<Group>,
    by_resource: HashMap<Name, u32>,
    /// Some resource is hot until: stands for the account's own series.
    any_hot_until: i64,
    level: Level,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Rhythm::default(), Vec::new())
    }
}

impl Schedule {
    pub fn new(rhythm: Rhythm, pins: Vec<String>) -> Self {
        Self {
            rhythm,
            pins,
            groups: Vec::new(),
            by_resource: HashMap::new(),
            any_hot_until: 0,
            level: Level::None,
        }
    }

    /// How often the poller looks for what is due, seconds.
    pub fn tick(&self) -> i64 {
        self.rhythm.interval.max(1)
    }

    /// The demotions that the budget asks for.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// A series that is wanted from now on.
    pub fn enrol(&mut self, want: &Want) -> Pace {
        let group = match self.by_resource.get(&want.resource) {
            Some(group) => *group,
            None => {
                let phase = xxhash_rust::xxh3::xxh3_64(want.resource.as_bytes()) % 60;
                let group = Group {
                    phase: phase as i64 * MINUTE,
                    ..Group::default()
                };
                let free = self.groups.iter().position(|group| group.members == 0);
                let place = free.unwrap_or(self.groups.len());
                if place == self.groups.len() {
                    self.groups.push(group);
                } else {
                    self.groups[place] = group;
                }
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                self.by_resource.insert(Arc::clone(&want.resource), place);
                place
            }
        };
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.members += 1;
        }
        let mut role = Role::of(&want.shape);
        if any_matches(&self.pins, &want.shape.metric) {
            role = role.pinned();
        }
        if want.dimensions.is_empty() {
            role = role.account_wide();
        }
        Pace {
            group,
            role,
            class: want.shape.class,
            statistics: u8::try_from(want.shape.statistics.len()).unwrap_or(u8::MAX),
            period: i32::try_from(want.shape.period).unwrap_or(i32::MAX),
            known_from: 0,
            last_point: 0,
            last_active: 0,
            last_asked: 0,
            free: false,
        }
    }

    /// A series that is wanted no more.
    pub fn leave(&mut self, pace: &Pace) {
        let Some(group) = self.groups.get_mut(pace.group as usize) else {
            return;
        };
        group.members = group.members.saturating_sub(1);
        if group.members == 0 {
            self.by_resource.retain(|_, place| *place != pace.group);
        }
    }

    /// A series whose want changed: its statistics may cost another unit.
    pub fn renew(&self, pace: &mut Pace, want: &Want) {
        pace.statistics = u8::try_from(want.shape.statistics.len()).unwrap_or(u8::MAX);
    }

    fn group(&self, pace: &Pace) -> Group {
        self.groups.get(pace.group as usize).copied().unwrap_or_default()
    }

    /// Whether anything goes on at its resource; for what belongs to no resource: anywhere.
    fn is_warm(&self, pace: &Pace, now: i64) -> bool {
        now < self.group(pace).hot_until || (pace.role.is_account_wide() && now < self.any_hot_until)
    }

    /// Why and how often a series is asked now; `None`: not at all.
    pub fn interval(&self, pace: &Pace, now: i64) -> (Tier, Option<i64>) {
        self.interval_at(pace, now, self.level)
    }

    fn interval_at(&self, pace: &Pace, now: i64, level: Level) -> (Tier, Option<i64>) {
        let activity = pace.activity(now);
        let group = self.group(pace);
        let escalated = self.rhythm.mode != Mode::Uniform && pace.role.explains_trouble() && now < group.trouble_until;
        let tiered = match pace.class {
            Class::Sentinel | Class::Core => MINUTE,
            Class::Detail | Class::Native => 5 * MINUTE,
        };
        let (tier, wanted) = match self.rhythm.mode {
            Mode::Uniform => (Tier::Uniform, self.rhythm.interval),
            _ if escalated => (Tier::Escalated, MINUTE),
            Mode::Tiered => (Tier::Tiered, tiered),
            Mode::Adaptive if pace.role.is_pinned() => (Tier::Tiered, tiered),
            Mode::Adaptive => self.adaptive(pace, activity, now),
        };
        let floor = self.rhythm.interval.max(i64::from(pace.period));
        let wanted = wanted.max(floor);
        (tier, demote(level, pace, activity, escalated, wanted))
    }

    fn adaptive(&self, pace: &Pace, activity: Activity, now: i64) -> (Tier, i64) {
        let warm = self.is_warm(pace, now);
        let woke = now - self.group(pace).woke < WAKE_S;
        let activity = match pace.class {
            // A sentinel is hot while anything happens on its table: its own silence is the good case.
            Class::Sentinel if warm || pace.activity(now) == Activity::Hot => Activity::Hot,
            Class::Sentinel => Activity::Idle,
            Class::Core | Class::Detail if woke && activity == Activity::Silent => Activity::Hot,
            _ => activity,
        };
        let (tier, seconds) = match (activity, pace.class) {
            (Activity::Hot, Class::Sentinel | Class::Core) => (Tier::Hot, MINUTE),
            (Activity::Hot, _) => (Tier::Hot, 5 * MINUTE),
            (Activity::Idle, Class::Sentinel | Class::Core) => (Tier::Idle, 5 * MINUTE),
            (Activity::Idle, _) => (Tier::Idle, 15 * MINUTE),
            (Activity::Silent, Class::Sentinel) => (Tier::Silent, 5 * MINUTE),
            (Activity::Silent, _) => (Tier::Silent, HOUR),
        };
        if pace.role.is_errors() {
            let most = if warm { 5 * MINUTE } else { 15 * MINUTE };
            return (tier, seconds.min(most));
        }
        (tier, seconds)
    }

    /// Whether its time has come. Ticks are multiples of the interval, shifted by resource where the interval is long,
    /// so that a thousand tables are not all asked in the same minute.
    pub fn is_due(&self, pace: &Pace, now: i64) -> bool {
        let Some(interval) = self.interval(pace, now).1 else {
            return false;
        };
        let phase = if interval > self.rhythm.interval.max(i64::from(pace.period)) {
            self.group(pace).phase
        } else {
            0
        };
        let tick = |at: i64| (at - phase).div_euclid(interval);
        tick(now) > tick(i64::from(pace.last_asked) * MINUTE)
    }

    /// From where the first question asks, so that hot and silent are told apart at once: the window is free.
    pub fn look_back(&self, pace: &Pace, now: i64) -> Option<i64> {
        let worth_it = pace.is_new() && self.rhythm.mode == Mode::Adaptive;
        worth_it.then_some(now - SILENT_S - 2 * i64::from(pace.period))
    }

    /// Takes an answer to a question that went back to `from`.
    pub fn heard(&mut self, pace: &mut Pace, want: &Want, answer: &Answer, from: i64, now: i64) {
        pace.last_asked = minutes(now);
        let was_new = pace.is_new();
        if was_new {
            pace.known_from = minutes(from.max(want.exists_from)).max(1);
        }
        let mut before: Option<(i64, f64)> = None;
        let mut trouble = None;
        let period = want.shape.period;
        for (at, values) in answer.iter() {
            let Some(value) = values.first().copied() else { continue };
            let previous = before.filter(|(earlier, _)| at - earlier == period);
            if pace.role.is_active(value, previous.map(|(_, value)| value)) {
                pace.last_active = pace.last_active.max(minutes(at));
            }
            if values.iter().any(|value| pace.role.is_trouble(*value)) {
                trouble = Some(at);
            }
            pace.last_point = pace.last_point.max(minutes(at));
            before = Some((at, value));
        }
        let Some(group) = self.groups.get_mut(pace.group as usize) else {
            return;
        };
        if let Some(at) = trouble {
            group.trouble_until = group.trouble_until.max(at + period + QUIET_S);
        }
        if pace.class == Class::Core && pace.last_active > 0 {
            let hot_until = i64::from(pace.last_active) * MINUTE + period + HOT_S;
            if hot_until > now && group.hot_until <= now && !was_new {
                group.woke = now;
            }
            group.hot_until = group.hot_until.max(hot_until);
            self.any_hot_until = self.any_hot_until.max(hot_until);
        }
    }

    /// Takes a series for known without asking: `active` now, or with points that say nothing, or without any. For what
    /// a plan will cost.
    pub fn suppose(&mut self, pace: &mut Pace, want: &Want, supposed: Supposed, now: i64) {
        pace.known_from = 1;
        let moment = minutes(now - want.shape.period);
        pace.last_point = if supposed == Supposed::Silent { 0 } else { moment };
        pace.last_active = if supposed == Supposed::Active { moment } else { 0 };
        if pace.class == Class::Core && supposed == Supposed::Active {
            let hot_until = now + HOT_S;
            if let Some(group) = self.groups.get_mut(pace.group as usize) {
                group.hot_until = hot_until;
            }
            self.any_hot_until = hot_until;
        }
    }

    /// Places for resources.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.groups.len()
    }

    /// Asked and not answered as it should: again only at its next tick.
    pub fn asked(&self, pace: &mut Pace, now: i64) {
        pace.last_asked = minutes(now);
    }

    /// Counts series and what they cost.
    pub fn survey<'a>(&self, paces: impl Iterator<Item = &'a Pace>, now: i64) -> Survey {
        let mut survey = Survey::default();
        for pace in paces {
            let (tier, interval) = self.interval(pace, now);
            *survey.series.entry((pace.class, tier)).or_default() += 1;
            survey.off += usize::from(interval.is_none());
            let class = survey.classes.entry(pace.class).or_default();
            class.series += 1;
            class.units += pace.units();
            if let Some(interval) = interval {
                let polls = HOUR as f64 / interval as f64;
                if pace.free {
                    class.requests_per_hour += polls;
                } else {
                    class.units_per_hour += polls * pace.units() as f64;
                }
            }
            for level in Level::ALL {
                let Some(interval) = self.interval_at(pace, now, level).1 else {
                    continue;
                };
                let polls = HOUR as f64 / interval as f64;
                let (units, requests) = &mut survey.rates[level as usize];
                if pace.free {
                    *requests += polls;
                } else {
                    *units += polls * pace.units() as f64;
                }
            }
        }
        let live = self.groups.iter().filter(|group| group.members > 0);
        survey.escalated = live.filter(|group| now < group.trouble_until).count();
        survey
    }
}

/// Applies the budget's demotions.
fn demote(level: Level, pace: &Pace, activity: Activity, escalated: bool, interval: i64) -> Option<i64> {
    let silent = activity == Activity::Silent && !escalated && !pace.role.is_errors();
    let slowest = match pace.class {
        Class::Detail if level >= Level::SilentDetailOff && silent => return None,
        Class::Detail if level >= Level::DetailHourly => HOUR,
        Class::Native if level >= Level::NativeHourly => HOUR,
        Class::Core if level >= Level::CoreIdleSlow && activity != Activity::Hot => 15 * MINUTE,
        Class::Core if level >= Level::CoreHotSlow => 5 * MINUTE,
        Class::Sentinel if level >= Level::SentinelSlow => 5 * MINUTE,
        _ => 0,
    };
    Some(interval.max(slowest))
}

fn minutes(seconds: i64) -> u32 {
    u32::try_from(seconds.div_euclid(MINUTE)).unwrap_or(0)
}
