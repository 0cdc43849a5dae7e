//! Keeps repeated lines from flooding the log.
//!
//! Two rules, both per place in the code: the Collector's sampling (the first `initial` lines of a tick, then every
//! `thereafter`-th), and at most ten lines a second (reliability rule) whatever the sampling says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::callsite::Identifier;

/// Lines a second and place in the code.
const PER_SECOND: u64 = 10;

/// `service::telemetry::logs::sampling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    pub tick: Duration,
    pub initial: u64,
    /// 0: nothing more in this tick.
    pub thereafter: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(10),
            initial: 10,
            thereafter: 100,
        }
    }
}

struct Seen {
    tick_began: Instant,
    in_tick: u64,
    second_began: Instant,
    in_second: u64,
    held_back: u64,
}

/// The memory of the sampler: one entry a place in the code, so bounded by the code.
#[derive(Default)]
pub struct Sampler(Mutex<HashMap<Identifier, Seen>>);

/// What is to be done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Written; so many alike were held back since the last one written.
    Write {
        held_back: u64,
    },
    HoldBack,
}

impl Sampler {
    /// Decides about one line from `place`. `sampling` is `None` where it is switched off.
    pub fn judge(&self, place: Identifier, sampling: Option<Sampling>) -> Verdict {
        let now = Instant::now();
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = places.entry(place).or_insert(Seen {
            tick_began: now,
            in_tick: 0,
            second_began: now,
            in_second: 0,
            held_back: 0,
        });
        let sampled = sampling.is_none_or(|sampling| {
            if now.duration_since(seen.tick_began) >= sampling.tick {
                seen.tick_began = now;
                seen.in_tick = 0;
            }
            seen.in_tick += 1;
            let beyond = seen.in_tick.saturating_sub(sampling.initial);
            beyond == 0 || (sampling.thereafter > 0 && beyond.is_multiple_of(sampling.thereafter))
        });
        if now.duration_since(seen.second_began) >= Duration::from_secs(1) {
            seen.second_began = now;
            seen.in_second = 0;
        }
        if !sampled || seen.in_second >= PER_SECOND {
            seen.held_back += 1;
            return Verdict::HoldBack;
        }
        seen.in_second += 1;
        Verdict::Write {
            held_back: std::mem::take(&mut seen.held_back),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Identifier {
        static PLACE: tracing::callsite::DefaultCallsite = {
            static META: tracing::Metadata<'static> = tracing::metadata! {
                name: "here",
                target: "test",
                level: tracing::Level::INFO,
                fields: &[],
                callsite: &PLACE,
                kind: tracing::metadata::Kind::EVENT,
            };
            tracing::callsite::DefaultCallsite::new(&META)
        };
        Identifier(&PLACE)
    }

    fn written(sampler: &Sampler, lines: usize, sampling: Option<Sampling>) -> usize {
        (0..lines)
            .filter(|_| matches!(sampler.judge(here(), sampling), Verdict::Write { .. }))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_lines_of_a_tick_are_written_then_every_hundredth() {
        let sampler = Sampler::default();
        assert_eq!(written(&sampler, 10, Some(Sampling::default())), 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(written(&sampler, 200, Some(Sampling::default())), 2);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(written(&sampler, 5, Some(Sampling::default())), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn without_sampling_ten_lines_a_second_are_the_limit_and_the_rest_is_counted() {
        let sampler = Sampler::default();
        assert_eq!(written(&sampler, 1000, None), 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sampler.judge(here(), None), Verdict::Write { held_back: 990 });
    }
}
