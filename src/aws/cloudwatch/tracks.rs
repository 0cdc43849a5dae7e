//! All series of one receiver in one account and region: what is wanted, what was said of it, what is to go out.

mod known;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::bill::{Api, Pace, Schedule, Supposed, Survey, fits_statistics};
use super::cursors::Keeping;
use super::exchange::Gift;
use super::history::{Answer, Changes, Heard, History, Rules, Saved, Why};
use super::lag::{Lag, clamped};
use super::plan::Ask;
use super::want::{Class, Name, SeriesId, Want, identity};

/// A series found later is asked back to the start of the receiver, at most so far; longer gaps are backfilled.
pub const MAX_WINDOW_S: i64 = 3 * 3600;
/// A series that the credentials may not read is tried again after so long.
const FORBIDDEN_S: i64 = 3600;
/// What is no longer wanted is remembered for so long.
const FORGET_S: i64 = 24 * 3600;

/// How values are judged.
#[derive(Clone, Copy, Debug)]
pub struct Judging {
    pub max_late: i64,
    pub strict: bool,
    pub reemit: bool,
    /// Unix seconds of the first minute wanted.
    pub start: i64,
    /// Series found until then (unix seconds) are asked back to `start` however long ago that is; later ones at most
    /// three hours.
    pub whole_until: i64,
}

/// One series.
pub struct Track {
    pub want: Want,
    pub history: History,
    pub identity: u64,
    /// When it was asked, and what it did lately.
    pace: Pace,
    /// Not before, unix seconds.
    not_before: i64,
    /// Unwanted since; polled until its last values are settled.
    leaving: Option<i64>,
    /// The credentials may not read it; asked again hourly.
    forbidden: bool,
    /// Listed among those with something to go out.
    listed: bool,
    /// A hash of what was last written of it.
    written: u32,
    /// The sum so far of what went out, for cumulative output.
    pub running: Option<Box<Running>>,
}

/// A sum that grows from `start` on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// Unix seconds.
    pub start: i64,
    pub sum: f64,
    pub count: f64,
    /// Unix seconds up to which it has been sent: time does not run back.
    pub until: i64,
}

/// A series as it outlives the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub saved: Saved,
    pub running: Option<Running>,
}

/// What is kept of a series that is not wanted now.
struct Unwanted {
    kept: Kept,
    /// Unix seconds; then it is forgotten.
    until: i64,
    /// A hash of what was last written of it.
    written: u32,
}

impl Unwanted {
    fn new(kept: Kept, now: i64) -> Self {
        Self {
            kept,
            until: now + FORGET_S,
            written: 0,
        }
    }
}

/// A point that is ready to be handed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    pub want: Want,
    /// Start of the period, unix seconds.
    pub at: i64,
    /// In the order of the want's statistics.
    pub values: Vec<f64>,
    pub why: Why,
    /// What the cumulative sum was before it.
    pub running: Option<Running>,
}

impl Settled {
    /// The end of the period, unix seconds.
    pub fn end(&self) -> i64 {
        self.at.saturating_add(self.want.shape.period)
    }
}

/// The series of a shard.
pub struct Tracks {
    judging: Judging,
    tracks: Vec<Track>,
    by_identity: HashMap<u64, u32>,
    /// Positions of those with something to go out.
    ready: Vec<u32>,
    /// What is kept of series that are not wanted now, and until when.
    unwanted: HashMap<u64, Unwanted>,
    /// Before it nothing is known of what an earlier process emitted.
    known_from: i64,
    lags: BTreeMap<Name, Lag>,
    /// What the lags say, as of the last round: they are sums over a day.
    learned: BTreeMap<Name, i64>,
    heartbeats: HashMap<Name, Beat>,
    cumulative: bool,
    pub schedule: Schedule,
}

/// The heartbeat of a resource, over all its series that are one. Times are unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The newest settled minute with a value.
    pub newest: Option<i64>,
    /// The last complete answer.
    pub polled: i64,
    /// When the next is due.
    pub due: i64,
    /// The shortest period.
    pub period: i64,
}

impl Tracks {
    pub fn new(judging: Judging, cumulative: bool) -> Self {
        Self {
            judging,
            tracks: Vec::new(),
            by_identity: HashMap::new(),
            ready: Vec::new(),
            unwanted: HashMap::new(),
            known_from: i64::MAX,
            lags: BTreeMap::new(),
            learned: BTreeMap::new(),
            heartbeats: HashMap::new(),
            cumulative,
            schedule: Schedule::default(),
        }
    }

    /// The same with another schedule; before the first wants.
    pub fn scheduled(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How values are judged.
    pub fn judging(&self) -> Judging {
        self.judging
    }

    /// Goes on from what an earlier process kept at `saved_at`; before the first wants.
    pub fn restore(&mut self, kept: HashMap<u64, Kept>, saved_at: i64, now: i64) {
        self.known_from = saved_at - 2 * self.judging.max_late;
        self.unwanted = kept
            .into_iter()
            .map(|(identity, kept)| (identity, Unwanted::new(kept, now)))
            .collect();
    }

    /// How late values are, by namespace.
    pub fn lags(&self) -> impl Iterator<Item = (&str, &Lag)> {
        self.lags.iter().map(|(namespace, lag)| (&**namespace, lag))
    }

    /// Takes what an earlier process learned of how late values are.
    pub fn restore_lags(&mut self, lags: Vec<(String, Lag)>) {
        self.lags = lags
            .into_iter()
            .map(|(namespace, lag)| (namespace.into(), lag))
            .collect();
    }

    fn learn(&mut self, now: i64) {
        let lags = self.lags.iter();
        self.learned = lags
            .filter_map(|(namespace, lag)| Some((Arc::clone(namespace), lag.learned(now)?)))
            .collect();
    }

    fn rules(&self, want: &Want) -> Rules {
        let learned = self.learned.get(&want.shape.namespace).copied();
        Rules {
            max_late: self.judging.max_late,
            lag: clamped(learned, want.shape.period, self.judging.max_late),
            strict: self.judging.strict,
            reemit: self.judging.reemit,
        }
    }

    fn position(&self, namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Option<usize> {
        let mut key = identity(namespace, metric, dimensions.iter().copied());
        loop {
            let position = *self.by_identity.get(&key)? as usize;
            let want = &self.tracks.get(position)?.want;
            let same = &*want.shape.namespace == namespace
                && &*want.shape.metric == metric
                && want.dimensions.len() == dimensions.len()
                && want
                    .dimensions
                    .iter()
                    .zip(dimensions)
                    .all(|((name, value), (other, its))| &**name == *other && &**value == *its);
            if same {
                return Some(position);
            }
            key = key.wrapping_add(1);
        }
    }

    fn position_of(&self, want: &Want) -> Result<usize, u64> {
        let mut key = want.identity();
        loop {
            let Some(position) = self.by_identity.get(&key) else {
                return Err(key);
            };
            let have = self.tracks.get(*position as usize).map(|track| &track.want);
            let same = have.is_some_and(|have| {
                have.shape.metric == want.shape.metric
                    && have.dimensions == want.dimensions
                    && have.shape.namespace == want.shape.namespace
            });
            if same {
                return Ok(*position as usize);
            }
            // Two series with one hash: the second stands behind the first.
            key = key.wrapping_add(1);
        }
    }

    /// Takes an answer that somebody else asked for, if it is what would have been asked here. `None`: it is not.
    pub fn accept(&mut self, gift: &Gift) -> Option<Changes> {
        let want = Want {
            shape: Arc::clone(&gift.shape),
            dimensions: Arc::clone(&gift.dimensions),
            resource: Arc::clone(&gift.shape.metric),
            exists_from: 0,
        };
        let position = self.position_of(&want).ok()?;
        let track = self.tracks.get(position)?;
        let needed = track.history.ask_from(gift.asked_at, self.judging.max_late);
        let newer = track.history.polled().is_none_or(|polled| polled < gift.asked_at);
        let same = track.want.shape.statistics == gift.shape.statistics && track.want.shape.period == gift.shape.period;
        // An answer that does not reach back far enough would leave a hole.
        (same && newer && gift.window.0 <= needed)
            .then(|| self.take(position, &gift.answer, gift.window, gift.asked_at))
    }

    /// Replaces what is wanted. What is no longer wanted is polled until its last values have come.
    pub fn set_wants(&mut self, wants: Vec<Want>, now: i64) {
        let leave = now + 2 * self.judging.max_late;
        for track in &mut self.tracks {
            track.leaving.get_or_insert(leave);
        }
        for want in wants {
            match self.position_of(&want) {
                Ok(position) => {
                    if let Some(track) = self.tracks.get_mut(position) {
                        track.leaving = None;
                        // Other statistics: what is known of its minutes does not compare.
                        if track.want.shape.statistics != want.shape.statistics {
                            let saved = Saved {
                                tail: Vec::new(),
                                ..track.history.save()
                            };
                            track.history = History::restored(&saved, i64::from(saved.cursor), want.shape.period);
                        }
                        self.schedule.renew(&mut track.pace, &want);
                        track.want = want;
                    }
                }
                Err(identity) => self.add(want, identity, now),
            }
        }
        self.drop_left(now);
    }

    fn add(&mut self, want: Want, identity: u64, now: i64) {
        let period = want.shape.period;
        let kept = self.unwanted.remove(&identity);
        let (history, running) = match kept {
            Some(Unwanted { kept, .. }) => (History::restored(&kept.saved, self.known_from, period), kept.running),
            None => {
                let oldest = if now <= self.judging.whole_until {
                    i64::MIN
                } else {
                    now - MAX_WINDOW_S
                };
                (History::starting(self.judging.start.max(oldest), period), None)
            }
        };
        let running = running.or_else(|| {
            self.cumulative.then(|| Running {
                start: history.cursor(),
                ..Running::default()
            })
        });
        self.by_identity.insert(identity, self.tracks.len() as u32);
        let pace = self.schedule.enrol(&want);
        self.tracks.push(Track {
            pace,
            not_before: 0,
            want,
            history,
            identity,
            leaving: None,
            forbidden: false,
            listed: false,
            written: 0,
            running: running.map(Box::new),
        });
    }

    /// Stops asking for what has not been wanted for long enough.
    pub fn drop_left(&mut self, now: i64) {
        let left = |track: &Track| track.leaving.is_some_and(|until| now >= until) && !track.listed;
        self.unwanted.retain(|_, unwanted| now < unwanted.until);
        if !self.tracks.iter().any(left) {
            return;
        }
        for track in self.tracks.iter().filter(|track| left(track)) {
            let kept = Kept {
                saved: track.history.save(),
                running: track.running.as_deref().copied(),
            };
            self.unwanted.insert(track.identity, Unwanted::new(kept, now));
        }
        for track in self.tracks.iter().filter(|track| left(track)) {
            self.schedule.leave(&track.pace);
        }
        self.tracks.retain(|track| !left(track));
        self.reindex();
    }

    fn reindex(&mut self) {
        self.by_identity.clear();
        self.ready.clear();
        for position in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(position) else {
                continue;
            };
            if track.listed {
                self.ready.push(position as u32);
            }
            let mut key = track.want.identity();
            while self.by_identity.contains_key(&key) {
                key = key.wrapping_add(1);
            }
            track.identity = key;
            self.by_identity.insert(key, position as u32);
        }
        let resources: std::collections::HashSet<&Name> =
            self.tracks.iter().map(|track| &track.want.resource).collect();
        self.heartbeats.retain(|resource, _| resources.contains(resource));
    }

    /// The series at a position.
    pub fn get(&self, position: usize) -> Option<&Track> {
        self.tracks.get(position)
    }

    /// All series.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    /// Series by class and tier, and what they cost.
    pub fn survey(&self, now: i64) -> Survey {
        self.schedule.survey(self.tracks.iter().map(|track| &track.pace), now)
    }

    /// Takes every series for known without asking.
    pub fn suppose(&mut self, now: i64, what: impl Fn(&Want) -> Supposed) {
        for track in &mut self.tracks {
            let supposed = what(&track.want);
            self.schedule.suppose(&mut track.pace, &track.want, supposed, now);
        }
    }

    /// Chooses the series that are asked by GetMetricStatistics: of those it can answer, as many as `room` polls an hour
    /// allow. Those that are so already stay first, so that series do not wander; then the least urgent, because a
    /// request a series is slower than 500 series a request. Returns how many there are.
    pub fn choose_free(&mut self, source: Api, room: f64, now: i64) -> usize {
        let mut room = if source == Api::Gmd { 0.0 } else { room };
        let mut chosen = 0;
        let schedule = &self.schedule;
        let polls = |pace: &Pace| {
            schedule
                .interval(pace, now)
                .1
                .map_or(0.0, |interval| 3600.0 / interval as f64)
        };
        for track in &mut self.tracks {
            let fits = source == Api::Gms && fits_statistics(&track.want.shape.statistics);
            let stays = track.pace.free && polls(&track.pace) <= room;
            track.pace.free = fits || stays;
            if track.pace.free {
                room -= polls(&track.pace);
                chosen += 1;
            }
        }
        for class in [Class::Native, Class::Detail, Class::Core] {
            for track in &mut self.tracks {
                let pace = &mut track.pace;
                if room < 1.0 || source != Api::Auto {
                    return chosen;
                }
                let fits = !pace.free && pace.class() == class && fits_statistics(&track.want.shape.statistics);
                if fits && polls(pace) <= room {
                    room -= polls(pace);
                    pace.free = true;
                    chosen += 1;
                }
            }
        }
        chosen
    }

    /// Whether a series is asked by GetMetricStatistics.
    pub fn is_free(&self, position: usize) -> bool {
        self.tracks.get(position).is_some_and(|track| track.pace.free)
    }

    /// Asked without an answer: again at its next time, not at once.
    pub fn asked(&mut self, position: usize, now: i64) {
        if let Some(track) = self.tracks.get_mut(position) {
            self.schedule.asked(&mut track.pace, now);
        }
    }

    /// Minutes seen and not settled.
    pub fn open_minutes(&self) -> usize {
        self.tracks.iter().map(|track| track.history.open()).sum()
    }

    /// Series that may not be read, now or at the last try.
    pub fn forbidden(&self) -> usize {
        self.tracks.iter().filter(|track| track.forbidden).count()
    }

    /// The newest settled minute of a series.
    pub fn newest_settled(&self, series: &SeriesId) -> Option<i64> {
        self.of(series)?.newest_settled()
    }

    /// The newest settled value of a series: its first statistic.
    pub fn newest_value(&self, series: &SeriesId) -> Option<f64> {
        self.of(series)?.newest_value()
    }

    fn of(&self, series: &SeriesId) -> Option<&History> {
        let dimensions: Vec<(&str, &str)> = series
            .dimensions
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        self.history(&series.namespace, &series.metric, &dimensions)
    }

    /// A series; `dimensions` sorted by name.
    pub fn track(&self, namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Option<&Track> {
        self.tracks.get(self.position(namespace, metric, dimensions)?)
    }

    /// What is known of a series; `dimensions` sorted by name.
    pub fn history(&self, namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> Option<&History> {
        let position = self.position(namespace, metric, dimensions)?;
        Some(&self.tracks.get(position)?.history)
    }

    /// The heartbeat of a resource; `None` before the first answer.
    pub fn beat(&self, resource: &str) -> Option<Beat> {
        self.heartbeats.get(resource).copied()
    }

    /// Every series whose time has come, and from where to ask. A gap too long for one window is set aside; the second
    /// number is how many minutes lie in new gaps.
    pub fn due(&mut self, now: i64, in_order: bool) -> (Vec<Ask>, u64) {
        self.learn(now);
        let mut asks = Vec::new();
        let mut aside = 0;
        for (position, track) in self.tracks.iter_mut().enumerate() {
            if now < track.not_before || !self.schedule.is_due(&track.pace, now) {
                continue;
            }
            if now - track.history.cursor() > MAX_WINDOW_S {
                aside += track.history.set_aside(now - MAX_WINDOW_S, track.want.shape.period);
            }
            if in_order && !track.history.gaps().is_empty() {
                continue;
            }
            let from = track.history.ask_from(now, self.judging.max_late);
            let from = self
                .schedule
                .look_back(&track.pace, now)
                .map_or(from, |back| from.min(back));
            asks.push(Ask::new(position, &track.want, from));
        }
        (asks, aside)
    }

    /// Takes a complete answer for the minutes of the window, asked for at `asked_at`.
    pub fn take(&mut self, position: usize, answer: &Answer, window: (i64, i64), asked_at: i64) -> Changes {
        let Some(rules) = self.tracks.get(position).map(|track| self.rules(&track.want)) else {
            return Changes::default();
        };
        let Some(track) = self.tracks.get_mut(position) else {
            return Changes::default();
        };
        let heard = Heard {
            answer,
            from: window.0,
            to: window.1,
            now: asked_at,
        };
        let changes = track.history.take(&track.want, &heard, rules);
        track.forbidden = false;
        self.schedule
            .heard(&mut track.pace, &track.want, answer, window.0, asked_at);
        let interval = self.schedule.interval(&track.pace, asked_at).1;
        let due = asked_at + interval.unwrap_or(FORGET_S);
        if track.want.shape.heartbeat {
            let resource = Arc::clone(&track.want.resource);
            let beat = self.heartbeats.entry(resource).or_insert(Beat {
                newest: None,
                polled: asked_at,
                due,
                period: track.want.shape.period,
            });
            beat.polled = beat.polled.max(asked_at);
            beat.due = beat.due.max(due);
            beat.period = beat.period.min(track.want.shape.period);
        }
        self.decide(position, asked_at);
        changes
    }

    /// Settles what can be settled of a series.
    pub fn decide(&mut self, position: usize, now: i64) {
        let Some(track) = self.tracks.get(position) else { return };
        let rules = self.rules(&track.want);
        let heartbeat = self.heartbeats.get(&track.want.resource).and_then(|beat| beat.newest);
        let Some(track) = self.tracks.get_mut(position) else {
            return;
        };
        // What is gone is silent because it is gone, not because it is quiet.
        let fill = track.want.shape.fill && track.leaving.is_none();
        let ready = track.history.decide(&track.want, fill, heartbeat, rules);
        let lag = self.lags.entry(Arc::clone(&track.want.shape.namespace)).or_default();
        track.history.tidy(now, rules.max_late, Some(lag));
        if ready && !track.listed {
            track.listed = true;
            self.ready.push(position as u32);
        }
        if track.want.shape.heartbeat
            && let Some(beat) = self.heartbeats.get_mut(&track.want.resource)
        {
            beat.newest = beat.newest.max(track.history.newest_settled());
        }
    }

    /// Where every sentinel of a table has settled at 0, its causes and throttled requests are 0 without being asked:
    /// those that are filled with zeros go out with the sentinels and not an hour later. A value that comes all the same is
    /// a revision.
    pub fn imply_zeros(&mut self) {
        let silent = |track: &Track| track.want.shape.fill && track.pace.explains_trouble() && track.leaving.is_none();
        if !self.tracks.iter().any(silent) {
            return;
        }
        // Of each resource: until when its sentinels are settled, and the newest that was not 0.
        let mut known: HashMap<Name, (i64, i64)> = HashMap::new();
        for track in self
            .tracks
            .iter()
            .filter(|track| track.want.shape.class == Class::Sentinel)
        {
            let until = track.history.polled().map_or(0, |_| track.history.cursor());
            let entry = known.entry(Arc::clone(&track.want.resource)).or_insert((i64::MAX, 0));
            entry.0 = entry.0.min(until);
            entry.1 = entry.1.max(track.history.nonzero().unwrap_or(0));
        }
        for (position, track) in self.tracks.iter_mut().enumerate() {
            let Some((until, troubled)) = known.get(&track.want.resource).filter(|_| silent(track)) else {
                continue;
            };
            // In trouble they are asked every minute; and before the first answer nothing is known of them.
            if *troubled >= track.history.cursor() || track.history.polled().is_none() {
                continue;
            }
            if track.history.imply_zeros(&track.want, *until) && !track.listed {
                track.listed = true;
                self.ready.push(position as u32);
            }
        }
    }

    /// The credentials may not read it: asked again in an hour.
    pub fn forbid(&mut self, position: usize, now: i64) {
        if let Some(track) = self.tracks.get_mut(position) {
            track.not_before = now + FORBIDDEN_S;
            track.forbidden = true;
        }
    }

    /// Series with something to go out.
    pub fn ready_series(&self) -> usize {
        self.ready.len()
    }

    /// Puts what is ready in the order of its resources and metrics: what belongs together goes out together.
    pub fn sort_ready(&mut self) {
        let tracks = &self.tracks;
        // Equal names are one name in memory, mostly; where they are not the output groups them all the same.
        self.ready.sort_by_cached_key(|position| {
            let want = tracks.get(*position as usize).map(|track| &track.want);
            want.map(|want| (want.resource.as_ptr() as usize, Arc::as_ptr(&want.shape) as usize))
        });
    }

    /// What is ready, oldest first per series, of about so many points; series are not split.
    pub fn settled(&self, about: usize) -> Vec<Settled> {
        let mut settled = Vec::new();
        for position in self.ready.iter().rev() {
            if settled.len() >= about {
                break;
            }
            let Some(track) = self.tracks.get(*position as usize) else {
                continue;
            };
            let mut running = track.running.as_deref().copied();
            for point in track.history.ready() {
                let before = running;
                if let Some(running) = &mut running {
                    running.add(&track.want, point.at, &point.values);
                }
                settled.push(Settled {
                    want: track.want.clone(),
                    at: point.at,
                    values: point.values,
                    why: point.why,
                    running: before,
                });
            }
        }
        settled
    }

    /// The points were taken over by the pipeline (or given up for good): the cursors move.
    pub fn acknowledge(&mut self, points: &[Settled]) {
        let mut last = None;
        for point in points {
            let Ok(position) = self.position_of(&point.want) else {
                continue;
            };
            if let Some(track) = self.tracks.get_mut(position) {
                track.history.done(point.at);
                if let Some(running) = &mut track.running {
                    running.add(&point.want, point.at, &point.values);
                }
            }
            if let Some(before) = last.replace(position).filter(|before| *before != position) {
                self.settle_down(before);
            }
        }
        if let Some(last) = last {
            self.settle_down(last);
        }
        // They were taken from the end.
        while let Some(position) = self.ready.last() {
            if let Some(track) = self.tracks.get_mut(*position as usize) {
                if track.history.has_ready() {
                    break;
                }
                track.listed = false;
            }
            self.ready.pop();
        }
    }

    fn settle_down(&mut self, position: usize) {
        let Some(track) = self.tracks.get(position) else { return };
        let rules = self.rules(&track.want);
        if let Some(track) = self.tracks.get_mut(position) {
            track.history.advance(track.want.shape.period, rules);
        }
    }

    /// Adds points of gaps to the running sums: they were taken over by the pipeline.
    pub fn add_to_running(&mut self, points: &[Settled]) {
        for point in points {
            let Ok(position) = self.position_of(&point.want) else {
                continue;
            };
            let running = self.tracks.get_mut(position).and_then(|track| track.running.as_mut());
            if let Some(running) = running {
                running.add(&point.want, point.at, &point.values);
            }
        }
    }

    /// What lies before `to` of the oldest gap of a series has been asked back and handed on.
    pub fn close_gap(&mut self, identity: u64, to: i64) {
        let position = self.by_identity.get(&identity).map(|position| *position as usize);
        if let Some(track) = position.and_then(|position| self.tracks.get_mut(position)) {
            track.history.give_up_before(to);
        }
    }

    /// Series with a gap, by position.
    pub fn with_gaps(&self) -> impl Iterator<Item = (usize, &Track)> {
        self.tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| !track.history.gaps().is_empty())
    }

    /// The series at a position, to change its gaps.
    pub fn get_mut(&mut self, position: usize) -> Option<&mut Track> {
        self.tracks.get_mut(position)
    }

    /// Everything to keep, by identity.
    pub fn keep(&mut self) -> impl Iterator<Item = Keeping<'_>> {
        let own = self.tracks.iter_mut().map(|track| Keeping {
            identity: track.identity,
            kept: Kept {
                saved: track.history.save(),
                running: track.running.as_deref().copied(),
            },
            written: &mut track.written,
        });
        let unwanted = self.unwanted.iter_mut().map(|(identity, unwanted)| Keeping {
            identity: *identity,
            kept: unwanted.kept.clone(),
            written: &mut unwanted.written,
        });
        own.chain(unwanted)
    }

    /// How far a resource is known: the oldest undecided minute of its sentinels and of its core series that were not
    /// silent for three hours, for every resource.
    pub fn watermarks(&self, now: i64) -> HashMap<&Name, i64> {
        let mut watermarks: HashMap<&Name, i64> = HashMap::new();
        for track in &self.tracks {
            let counts = match track.want.shape.class {
                Class::Sentinel => true,
                Class::Core => track.history.newest().is_some_and(|newest| now - newest < MAX_WINDOW_S),
                Class::Detail | Class::Native => false,
            };
            if !counts || track.leaving.is_some() || track.history.polled().is_none() {
                continue;
            }
            let cursor = track.history.cursor();
            let watermark = watermarks.entry(&track.want.resource).or_insert(cursor);
            *watermark = (*watermark).min(cursor);
        }
        watermarks
    }
}

impl Running {
    /// Adds what a point says.
    pub fn add(&mut self, want: &Want, at: i64, values: &[f64]) {
        use super::want::Stat;
        let value = |wanted: &Stat| {
            let position = want.shape.statistics.iter().position(|stat| stat == wanted)?;
            values.get(position).copied()
        };
        let (average, count) = (value(&Stat::Average), value(&Stat::SampleCount));
        let sum = value(&Stat::Sum).or_else(|| Some(average? * count?));
        self.sum += sum.unwrap_or(0.0);
        self.count += count.unwrap_or(0.0);
        self.until = self.until.max(at + want.shape.period);
    }
}
