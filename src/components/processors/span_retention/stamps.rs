//! What the processor does to spans: leaves out old ones, and stamps the others.

use std::time::Duration;

use crate::component::{Refused, UnixNanos};
use crate::pdata::{Batch, Edit, Place, Rewriter, Rewritten, Visit};
use crate::retention::state::{Policy, State};
use crate::wire::{SetMode, Span, Text, Value, View, WireError};

fn refused(error: WireError) -> Refused {
    Refused::permanent(format!("malformed traces: {error}"))
}

fn start_of(edit: &Edit<'_>) -> Result<u64, WireError> {
    Span::of(edit.bytes()).start_time_unix_nano()
}

/// Tells old spans from others. What has no start is not old.
pub struct Age {
    pub now: UnixNanos,
    pub limit: Duration,
}

impl Age {
    fn is_old(&self, start: u64) -> bool {
        let limit = u64::try_from(self.limit.as_nanos()).unwrap_or(u64::MAX);
        start > 0 && self.now.0.saturating_sub(start) > limit
    }

    /// The batch without old spans.
    pub fn younger(&self, batch: Batch) -> Result<Rewritten, Refused> {
        let mut sieve = Sieve {
            age: self,
            keeps_old: false,
        };
        batch.rewrite(&mut sieve).map_err(refused)
    }

    /// The old spans alone, and how many others there are.
    pub fn older(&self, batch: Batch) -> Result<(Option<Batch>, usize), Refused> {
        let mut sieve = Sieve {
            age: self,
            keeps_old: true,
        };
        let rewritten = batch.rewrite(&mut sieve).map_err(refused)?;
        let left = rewritten.batch.filter(|batch| batch.items() > 0);
        Ok((left, rewritten.dropped))
    }
}

struct Sieve<'a> {
    age: &'a Age,
    keeps_old: bool,
}

impl Rewriter for Sieve<'_> {
    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let is_old = self.age.is_old(start_of(edit)?);
        Ok(if is_old == self.keeps_old {
            Visit::Keep
        } else {
            Visit::Drop
        })
    }
}

/// Writes on every span when X-Ray will let it go.
pub struct Stamps {
    pub policy: Policy,
}

impl Stamps {
    /// Stamps all spans of a batch.
    pub fn put(&self, now: UnixNanos, batch: Batch) -> Result<Rewritten, Refused> {
        let mut stamper = Stamper {
            policy: &self.policy,
            now,
            value: Vec::new(),
        };
        batch.rewrite(&mut stamper).map_err(refused)
    }
}

struct Stamper<'a> {
    policy: &'a Policy,
    now: UnixNanos,
    value: Vec<u8>,
}

impl Stamper<'_> {
    /// A span on its way has no copy yet: its state is what its age makes it.
    fn state(&self, left: Option<Duration>) -> State {
        match left {
            None => State::Lost,
            Some(left) if left <= self.policy.critical_before => State::AtRisk,
            Some(left) if left <= self.policy.warn_before => State::Due,
            Some(_) => State::Pending,
        }
    }
}

impl Rewriter for Stamper<'_> {
    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let start = start_of(edit)?;
        if start == 0 {
            return Ok(Visit::Keep);
        }
        let kept = u64::try_from(self.policy.xray_retention.as_nanos()).unwrap_or(u64::MAX);
        let expiry = start.saturating_add(kept);
        let left = expiry.checked_sub(self.now.0).map(Duration::from_nanos);
        let state = self.state(left).name();
        let days = left.map_or(0, |left| (left.as_secs() / 86_400) as i64);
        let at = jiff::Timestamp::from_nanosecond(i128::from(expiry)).unwrap_or(jiff::Timestamp::MAX);
        let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let value = &mut self.value;
        edit.edit_attributes(|attributes| {
            for (key, stamp) in [
                ("aws.xray.retention.expires_at", Value::String(Text::new(at.as_bytes()))),
                ("aws.xray.retention.days_left", Value::Int(days)),
                ("aws.xray.retention.state", Value::String(Text::new(state.as_bytes()))),
            ] {
                value.clear();
                stamp.encode_to(value)?;
                attributes.set(SetMode::Upsert, key, value)?;
            }
            Ok(())
        })?;
        Ok(Visit::Keep)
    }
}
