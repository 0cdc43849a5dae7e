//! What becomes of a trace: from its start, what X-Ray says of it and what archives hold, to one state.
//!
//! A state needs proof. Where a fact that decides an earlier state could not be read the answer is [`State::Unknown`], not
//! the next row: a failed probe never gives `lost`, a failed read of X-Ray never gives `archived`.

#[cfg(test)]
mod tests;

use std::time::Duration;

use smallvec::SmallVec;

use super::archive::{Found, StoredCopy};
use super::ledger::{Noted, Xors};
use crate::component::UnixNanos;

/// How long traces live, and how early to speak up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub xray_retention: Duration,
    /// Zero: how long archives keep copies is not looked at.
    pub required: Duration,
    pub warn_before: Duration,
    pub critical_before: Duration,
    pub min_age: Duration,
}

/// The states of the specification, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Lost,
    EmptyCopy,
    PartialCopy,
    AtRisk,
    Due,
    Pending,
    ShortCopy,
    Archived,
    Unknown,
}

impl State {
    pub const ALL: [State; 9] = [
        State::Lost,
        State::EmptyCopy,
        State::PartialCopy,
        State::AtRisk,
        State::Due,
        State::Pending,
        State::ShortCopy,
        State::Archived,
        State::Unknown,
    ];

    /// The label value.
    pub fn name(self) -> &'static str {
        match self {
            State::Lost => "lost",
            State::EmptyCopy => "empty_copy",
            State::PartialCopy => "partial_copy",
            State::AtRisk => "at_risk",
            State::Due => "due",
            State::Pending => "pending",
            State::ShortCopy => "short_copy",
            State::Archived => "archived",
            State::Unknown => "unknown",
        }
    }

    /// A complete copy is proven.
    pub fn is_safe(self) -> bool {
        matches!(self, State::Archived | State::ShortCopy)
    }
}

/// What X-Ray says of a trace; `None`: not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Different spans, without inferred ones.
    pub spans: Option<u32>,
    pub span_xor: Option<u64>,
    pub revision: Option<u32>,
    pub in_progress: bool,
    /// The spans that were delivered were compared before, and were not all.
    pub differs: bool,
}

/// What was read of X-Ray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Known(Facts),
    /// And why.
    Unread(String),
}

/// A copy as it is weighed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// `None`: at least one.
    pub spans: Option<u32>,
    /// What deliveries of its spans came to; empty: not known.
    pub xors: Xors,
    pub revision: Option<u32>,
    pub in_progress: bool,
    /// Spans in progress are not in `xors`: when they are the same as X-Ray's, what was open has ended.
    pub only_ended: bool,
    pub limit_exceeded: bool,
    /// `None`: kept for ever.
    pub expires_at: Option<UnixNanos>,
}

/// One archive's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Copy(Held),
    /// And why.
    Unread(String),
}

impl From<StoredCopy> for Held {
    fn from(copy: StoredCopy) -> Self {
        Self {
            spans: Some(copy.spans),
            xors: copy.span_xor.into_iter().collect(),
            revision: copy.revision,
            in_progress: copy.in_progress,
            only_ended: false,
            limit_exceeded: copy.limit_exceeded,
            expires_at: copy.expires_at,
        }
    }
}

impl From<Found> for Answer {
    fn from(found: Found) -> Self {
        match found {
            Found::Nothing => Answer::Nothing,
            Found::Copy(copy) => Answer::Copy(copy.into()),
            Found::Unknown(why) => Answer::Unread(why),
        }
    }
}

impl Answer {
    /// Of a ledger whose archive keeps copies until `expires_at`.
    pub fn noted(noted: Noted, expires_at: Option<UnixNanos>) -> Self {
        match noted {
            Noted::Nothing => Answer::Nothing,
            Noted::Unreadable(why) => Answer::Unread(why),
            Noted::Copy { xors, mark } => Answer::Copy(Held {
                spans: None,
                xors,
                revision: mark.revision(),
                in_progress: mark.is_open(),
                only_ended: true,
                limit_exceeded: mark.is_limited(),
                expires_at,
            }),
        }
    }
}

/// The state of a trace, with what depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    /// To be treated like `at_risk`: an incomplete copy with little time left.
    pub urgent: bool,
    /// X-Ray still has it.
    pub recoverable: bool,
    /// X-Ray could tell whether the copy is complete, by its spans.
    pub comparable: bool,
    /// Until X-Ray lets it go; `None`: it has.
    pub time_left: Option<Duration>,
    /// Of `unknown`: what could not be read.
    pub why: Option<String>,
}

/// What is to be said of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It may still be written.
    TooYoung,
    /// Nobody requires it any more.
    NotRequired,
    Is(Verdict),
}

fn later(at: UnixNanos, by: Duration) -> u64 {
    at.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX))
}

/// Judges one trace.
pub fn judge(policy: &Policy, now: UnixNanos, start: UnixNanos, source: &Source, answers: &[Answer]) -> Judged {
    if now.0 < later(start, policy.min_age) {
        return Judged::TooYoung;
    }
    let required_until = later(start, policy.required);
    if !policy.required.is_zero() && required_until < now.0 {
        return Judged::NotRequired;
    }
    let expiry = later(start, policy.xray_retention);
    let expired = expiry < now.0;
    let left = Duration::from_nanos(expiry.saturating_sub(now.0));
    let weighed = Weighed::of(now, source, answers);
    let (state, why) = weighed.state(policy, expired, left, required_until);
    let is_incomplete = matches!(state, State::EmptyCopy | State::PartialCopy);
    Judged::Is(Verdict {
        state,
        urgent: is_incomplete && left <= policy.critical_before,
        recoverable: !expired,
        comparable: weighed.undecided.is_some() && !expired,
        time_left: (!expired).then_some(left),
        why,
    })
}

/// What all archives together hold.
#[derive(Debug, Default)]
struct Weighed {
    /// A complete copy, and until when the one that lives longest is kept.
    complete_until: Option<u64>,
    partial: bool,
    empty: bool,
    /// A copy of which nobody can tell whether it is complete, and why.
    undecided: Option<String>,
    /// An archive that could not be read, and why.
    unread: Option<String>,
}

impl Weighed {
    fn of(now: UnixNanos, source: &Source, answers: &[Answer]) -> Self {
        let mut weighed = Self::default();
        for answer in answers {
            match answer {
                Answer::Nothing => {}
                Answer::Unread(why) => weighed.unread = Some(why.clone()),
                // Gone, even where it can still be read.
                Answer::Copy(copy) if copy.expires_at.is_some_and(|at| at < now) => {}
                Answer::Copy(copy) if copy.spans == Some(0) => weighed.empty = true,
                Answer::Copy(copy) => match completeness(source, copy) {
                    Completeness::Complete => {
                        let until = copy.expires_at.map_or(u64::MAX, |at| at.0);
                        weighed.complete_until = weighed.complete_until.max(Some(until));
                    }
                    Completeness::Partial => weighed.partial = true,
                    Completeness::Undecided(why) => weighed.undecided = Some(why),
                },
            }
        }
        weighed
    }

    fn state(&self, policy: &Policy, expired: bool, left: Duration, required_until: u64) -> (State, Option<String>) {
        let missing = self.undecided.clone().or_else(|| self.unread.clone());
        if let Some(until) = self.complete_until {
            let is_long = policy.required.is_zero() || until >= required_until;
            return match missing {
                _ if is_long => (State::Archived, None),
                // The one that was not read may be kept longer.
                Some(why) => (State::Unknown, Some(why)),
                None => (State::ShortCopy, None),
            };
        }
        if let Some(why) = missing {
            return (State::Unknown, Some(why));
        }
        let state = if self.empty && !expired {
            State::EmptyCopy
        } else if self.partial {
            State::PartialCopy
        } else if expired {
            State::Lost
        } else if left <= policy.critical_before {
            State::AtRisk
        } else if left <= policy.warn_before {
            State::Due
        } else {
            State::Pending
        };
        (state, None)
    }
}

enum Completeness {
    Complete,
    Partial,
    Undecided(String),
}

/// Whether a copy that is not empty has all that X-Ray has.
fn completeness(source: &Source, copy: &Held) -> Completeness {
    if copy.limit_exceeded || (copy.in_progress && !copy.only_ended) {
        return Completeness::Partial;
    }
    let facts = match source {
        Source::Known(facts) => facts,
        Source::Unread(why) => return Completeness::Undecided(why.clone()),
    };
    // The ids of the spans decide, whatever else was said.
    let is_counted = !copy.xors.is_empty() || copy.only_ended;
    if let (Some(xor), true) = (facts.span_xor, is_counted) {
        let sum = copy.xors.iter().fold(0, |sum, xor| sum ^ xor);
        // An archive that has more spans than X-Ray has them all.
        let has_more = copy
            .spans
            .zip(facts.spans)
            .is_some_and(|(stored, current)| stored > current);
        let is_same = sum == xor || copy.xors.contains(&xor) || has_more;
        let is_same = is_same && !copy.xors.is_empty();
        return if is_same && (copy.only_ended || !facts.in_progress) {
            Completeness::Complete
        } else {
            Completeness::Partial
        };
    }
    if copy.in_progress && !facts.differs {
        return Completeness::Undecided("a span was open when it was delivered".to_owned());
    }
    let has_fewer = copy.spans.zip(facts.spans).map(|(stored, current)| stored < current);
    let is_older = copy
        .revision
        .zip(facts.revision)
        .map(|(stored, current)| stored < current);
    match (has_fewer, is_older) {
        (Some(true), _) | (_, Some(true)) => return Completeness::Partial,
        (_, Some(false)) => return Completeness::Complete,
        (Some(false), None) if !facts.in_progress => return Completeness::Complete,
        _ => {}
    }
    if facts.differs && copy.only_ended {
        return Completeness::Partial;
    }
    match facts.revision {
        _ if facts.in_progress => Completeness::Undecided("X-Ray has a segment in progress".to_owned()),
        // Sent in one piece: what was delivered of it is all of it. What others have copied may be a part.
        Some(1) if copy.only_ended => Completeness::Complete,
        Some(revision) => Completeness::Undecided(format!("not compared with revision {revision} of X-Ray")),
        None => Completeness::Undecided("X-Ray tells no revision, and it was not compared".to_owned()),
    }
}

/// Traces by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_state: [u64; 9],
    /// Of `empty_copy` and `partial_copy`: those with little time left.
    pub urgent: u64,
    /// Not counted in any state.
    pub too_young: u64,
    pub not_required: u64,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, judged: &Judged) {
        match judged {
            Judged::TooYoung => self.too_young += 1,
            Judged::NotRequired => self.not_required += 1,
            Judged::Is(verdict) => {
                self.by_state[verdict.state as usize] += 1;
                self.urgent += u64::from(verdict.urgent);
            }
        }
    }

    /// So many more.
    pub fn add_many(&mut self, state: State, count: u64) {
        self.by_state[state as usize] += count;
    }

    /// Those of other traces too.
    pub fn extend(&mut self, other: &Self) {
        for (mine, theirs) in self.by_state.iter_mut().zip(other.by_state) {
            *mine += theirs;
        }
        self.urgent += other.urgent;
        self.too_young += other.too_young;
        self.not_required += other.not_required;
    }

    /// Of one state.
    pub fn of(&self, state: State) -> u64 {
        self.by_state[state as usize]
    }

    /// In any state.
    pub fn total(&self) -> u64 {
        self.by_state.iter().sum()
    }

    /// The exit code of a monitoring plug-in: 0 ok, 1 warning, 2 critical, 3 unknown. If several apply: 2, then 3, then 1.
    pub fn exit_code(&self, check_failed: bool) -> u8 {
        let any = |states: &[State]| states.iter().any(|state| self.of(*state) > 0);
        if any(&[State::Lost, State::AtRisk]) || self.urgent > 0 {
            2
        } else if any(&[State::Unknown]) || check_failed {
            3
        } else if any(&[State::Due, State::ShortCopy, State::EmptyCopy, State::PartialCopy]) {
            1
        } else {
            0
        }
    }
}

/// Answers of the archives of a trace; nearly always a few.
pub type Answers = SmallVec<[Answer; 3]>;
