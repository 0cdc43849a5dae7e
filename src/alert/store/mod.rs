//! Series in memory: what rules read. Bounded in bytes and series; only series that some rule selects are kept.
//!
//! A rule registers its selectors first ([`Store::select`]) and gets a number for each; a series is kept as a member of
//! every selection it fits, so that an evaluation never searches. Texts of labels stand once, in [`Symbols`]; labels are
//! pairs of numbers. Knows nothing of rules, sources or clocks: times are milliseconds that the caller brings.

mod histogram;
mod samples;
mod selection;
mod symbols;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use smallvec::SmallVec;

pub use histogram::{Histogram, Spread};
pub use samples::{Point, STALE, Samples, is_stale};
pub use selection::{Selection, SelectionId};
pub use symbols::{NAME, Sym, Symbols};

use crate::alert::promql::Matcher;

/// Position of a series.
pub type SeriesId = u32;
/// Names and values, sorted by name's number.
pub type LabelSet = SmallVec<[(Sym, Sym); 8]>;

/// What stands where a period has no point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    #[default]
    None,
    /// Nothing happened: 0.
    Zero,
    /// The last value, at most this old (milliseconds).
    Hold(i64),
}

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    pub bytes: usize,
    pub series: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            series: 200_000,
        }
    }
}

/// One series.
#[derive(Debug)]
pub struct Series {
    pub labels: Box<[(Sym, Sym)]>,
    pub samples: Samples,
    /// Milliseconds that one point stands for; 0 where points have no period.
    pub period: u32,
    /// Who brings it; the caller's numbers.
    pub source: u32,
    fill: PackedFill,
    /// Minutes since the epoch: before that nothing is filled in.
    since: u32,
    /// Trace ids of exemplars, newest last.
    pub traces: Option<Box<Traces>>,
}

impl Series {
    pub fn fill(&self) -> Fill {
        self.fill.into()
    }

    /// The minute of its first point, in milliseconds: before that it was not there.
    pub fn since(&self) -> i64 {
        i64::from(self.since) * 60_000
    }
}

/// A [`Fill`] in four bytes: 0, 1, or 2 and the seconds that are held.
#[derive(Clone, Copy, Debug)]
struct PackedFill(u32);

impl From<Fill> for PackedFill {
    fn from(fill: Fill) -> Self {
        PackedFill(match fill {
            Fill::None => 0,
            Fill::Zero => 1,
            Fill::Hold(age) => 2 + u32::try_from(age / 1_000).unwrap_or(u32::MAX - 2).min(u32::MAX - 2),
        })
    }
}

impl From<PackedFill> for Fill {
    fn from(packed: PackedFill) -> Self {
        match packed.0 {
            0 => Fill::None,
            1 => Fill::Zero,
            held => Fill::Hold(i64::from(held - 2) * 1_000),
        }
    }
}

/// Times and trace ids.
pub type Traces = Vec<(i64, [u8; 16])>;

/// Most trace ids of a series.
const MOST_TRACES: usize = 10;

/// What a caller says of a series when it brings it first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    pub period: u32,
    pub source: u32,
    pub fill: Fill,
}

/// What became of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is the newest of its series.
    Newest,
    /// It stands before others, or in the place of one that was different.
    Changed,
    /// It was there already.
    Known,
    /// There is no room.
    Full,
}

/// Why a series is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// No rule selects it.
    Unselected,
    /// The store is full.
    Full,
}

/// The series store.
#[derive(Debug)]
pub struct Store {
    limits: StoreLimits,
    symbols: Symbols,
    series: Vec<Option<Series>>,
    free: Vec<SeriesId>,
    /// By the hash of the labels; the rare second one under a hash stands at the next number.
    by_labels: HashMap<u64, SeriesId, foldhash::fast::FixedState>,
    selections: Vec<Selection>,
    by_name: HashMap<String, Vec<SelectionId>>,
    any_name: Vec<SelectionId>,
    sample_bytes: usize,
    live: usize,
    generation: u64,
    hasher: foldhash::fast::FixedState,
}

impl Store {
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            symbols: Symbols::new(),
            series: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::default(),
            selections: Vec::new(),
            by_name: HashMap::new(),
            any_name: Vec::new(),
            sample_bytes: 0,
            live: 0,
            generation: 0,
            hasher: foldhash::fast::FixedState::default(),
        }
    }

    /// Registers what is read together. The same condition gives the same number. Series that are there already become
    /// members.
    pub fn select(&mut self, name: Option<&str>, matchers: &[Matcher]) -> SelectionId {
        let wanted = Selection::new(name, matchers);
        if let Some(position) = self.selections.iter().position(|have| have.key() == wanted.key()) {
            return position as SelectionId;
        }
        let id = self.selections.len() as SelectionId;
        match name {
            Some(name) => self.by_name.entry(name.to_owned()).or_default().push(id),
            None => self.any_name.push(id),
        }
        self.selections.push(wanted);
        for position in 0..self.series.len() {
            let Some(series) = &self.series[position] else { continue };
            let selection = &mut self.selections[id as usize];
            if selection.accepts(&self.symbols, &series.labels) {
                selection.add(position as SeriesId, series.source);
            }
        }
        id
    }

    /// Whether any selection could take a series of this name.
    pub fn wants(&self, name: &str) -> bool {
        !self.any_name.is_empty() || self.by_name.contains_key(name)
    }

    /// Whether a selection is there that is not bound to a name.
    pub fn wants_any(&self) -> bool {
        !self.any_name.is_empty()
    }

    /// The names that selections are bound to.
    pub fn wanted_names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub fn selection(&self, id: SelectionId) -> Option<&Selection> {
        self.selections.get(id as usize)
    }

    pub fn series(&self, id: SeriesId) -> Option<&Series> {
        self.series.get(id as usize)?.as_ref()
    }

    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Grows when series go: their numbers may mean others then.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// About how many bytes the samples take.
    pub fn sample_bytes(&self) -> usize {
        self.sample_bytes
    }

    /// About how many bytes everything but the samples takes.
    pub fn series_bytes(&self) -> usize {
        let labels: usize = self
            .series
            .iter()
            .flatten()
            .map(|series| size_of_val(&*series.labels))
            .sum();
        let slots = self.series.capacity() * size_of::<Option<Series>>();
        // A table is at most seven eighths full; an entry has a byte of its own.
        let index = self.by_labels.capacity() * 8 / 7 * (size_of::<(u64, SeriesId)>() + 1);
        let members: usize = self.selections.iter().map(Selection::bytes).sum();
        labels + slots + index + members + self.symbols.bytes()
    }

    /// The series with these labels, the metric's name among them as `__name__`; made where a selection takes it.
    ///
    /// # Errors
    /// When it is not kept.
    pub fn intern(&mut self, labels: &[(&str, &str)], origin: Origin) -> Result<SeriesId, NotKept> {
        let mut set: LabelSet = SmallVec::with_capacity(labels.len());
        let name = labels
            .iter()
            .find(|(name, _)| *name == "__name__")
            .map_or("", |(_, value)| *value);
        if !self.takes(name, labels) {
            return Err(NotKept::Unselected);
        }
        for (label, value) in labels {
            if !value.is_empty() {
                set.push((self.symbols.intern(label), self.symbols.intern(value)));
            }
        }
        set.sort_unstable();
        let mut hash = self.hash(&set);
        while let Some(found) = self.by_labels.get(&hash) {
            if self.series(*found).is_some_and(|series| *series.labels == *set) {
                return Ok(*found);
            }
            hash = hash.wrapping_add(1);
        }
        if self.live >= self.limits.series || self.sample_bytes >= self.limits.bytes {
            return Err(NotKept::Full);
        }
        let series = Series {
            labels: set.as_slice().into(),
            samples: Samples::default(),
            period: origin.period,
            source: origin.source,
            fill: origin.fill.into(),
            since: u32::MAX,
            traces: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.series[id as usize] = Some(series);
                id
            }
            None => {
                // Growing by doubling would leave half of it unused.
                if self.series.len() == self.series.capacity() {
                    self.series.reserve_exact((self.series.len() / 8).max(64));
                }
                self.series.push(Some(series));
                (self.series.len() - 1) as SeriesId
            }
        };
        self.live += 1;
        self.by_labels.insert(hash, id);
        let mut ids: SmallVec<[SelectionId; 8]> = self.any_name.iter().copied().collect();
        ids.extend(self.by_name.get(name).into_iter().flatten().copied());
        for selection in ids {
            let selection = &mut self.selections[selection as usize];
            if selection.accepts(&self.symbols, &set) {
                selection.add(id, origin.source);
            }
        }
        Ok(id)
    }

    fn takes(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let by_name = self.by_name.get(name).into_iter().flatten();
        let mut candidates = by_name.chain(&self.any_name);
        candidates.any(|id| self.selections[*id as usize].accepts_texts(labels))
    }

    fn hash(&self, labels: &[(Sym, Sym)]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for (name, value) in labels {
            hasher.write_u32(*name);
            hasher.write_u32(*value);
        }
        hasher.finish()
    }

    /// Adds a point to a series.
    pub fn push(&mut self, id: SeriesId, time: i64, point: Point) -> Pushed {
        if self.sample_bytes >= self.limits.bytes {
            return Pushed::Full;
        }
        let Some(series) = self.series.get_mut(id as usize).and_then(Option::as_mut) else {
            return Pushed::Full;
        };
        series.since = series.since.min(u32::try_from(time / 60_000).unwrap_or(0));
        let before = series.samples.bytes();
        let pushed = series.samples.push(time, point);
        self.sample_bytes = self.sample_bytes + series.samples.bytes() - before;
        pushed
    }

    /// Notes the trace of an exemplar.
    pub fn note_trace(&mut self, id: SeriesId, time: i64, trace: [u8; 16]) {
        let Some(series) = self.series.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        let traces = series.traces.get_or_insert_default();
        if traces.iter().any(|(_, have)| *have == trace) {
            return;
        }
        if traces.len() >= MOST_TRACES {
            traces.remove(0);
        }
        traces.push((time, trace));
    }

    /// A series now comes from another source, or with another period.
    pub fn describe(&mut self, id: SeriesId, origin: Origin) {
        let Some(series) = self.series.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        series.period = origin.period;
        series.fill = origin.fill.into();
        if series.source == origin.source {
            return;
        }
        series.source = origin.source;
        for selection in &mut self.selections {
            selection.note_source(id, origin.source);
        }
    }

    /// Forgets points before `oldest`, and series that have had none since `silent`. Says how many series went.
    pub fn expire(&mut self, oldest: i64, silent: i64) -> usize {
        let mut gone = Vec::new();
        for position in 0..self.series.len() {
            let Some(series) = &mut self.series[position] else {
                continue;
            };
            let before = series.samples.bytes();
            series.samples.expire(oldest);
            self.sample_bytes = self.sample_bytes + series.samples.bytes() - before;
            if series.samples.newest().is_none_or(|newest| newest < silent) {
                gone.push(position as SeriesId);
            }
        }
        for id in &gone {
            self.remove(*id);
        }
        if !gone.is_empty() {
            self.generation += 1;
            for selection in &mut self.selections {
                let series = &self.series;
                selection.retain(|id| series.get(id as usize).is_some_and(Option::is_some));
            }
        }
        gone.len()
    }

    fn remove(&mut self, id: SeriesId) {
        let Some(series) = self.series.get_mut(id as usize).and_then(Option::take) else {
            return;
        };
        self.sample_bytes -= series.samples.bytes();
        self.live -= 1;
        self.free.push(id);
        let mut hash = self.hash(&series.labels);
        // Those behind it in the same chain move up, so that the chain has no hole.
        let mut chain = Vec::new();
        while let Some(found) = self.by_labels.remove(&hash) {
            if found != id {
                chain.push(found);
            }
            hash = hash.wrapping_add(1);
        }
        for found in chain {
            let Some(labels) = self.series(found).map(|series| series.labels.clone()) else {
                continue;
            };
            let mut hash = self.hash(&labels);
            while self.by_labels.contains_key(&hash) {
                hash = hash.wrapping_add(1);
            }
            self.by_labels.insert(hash, found);
        }
    }

    /// The labels of a series as texts, sorted by name.
    pub fn texts(&self, labels: &[(Sym, Sym)]) -> Vec<(String, String)> {
        let mut texts: Vec<(String, String)> = labels
            .iter()
            .map(|(name, value)| {
                (
                    self.symbols.text(*name).to_owned(),
                    self.symbols.text(*value).to_owned(),
                )
            })
            .collect();
        texts.sort();
        texts
    }
}
