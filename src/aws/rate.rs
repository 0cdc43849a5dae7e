//! A token bucket per API that finds its own rate: slower when AWS throttles, faster while it does not (AIMD).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::component::{Clock, UnixNanos};

/// Where an API starts and what it may reach, requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub start: f64,
    pub max: f64,
}

impl Limits {
    pub const GET_METRIC_DATA: Self = Self { start: 5.0, max: 25.0 };
    pub const GET_METRIC_STATISTICS: Self = Self {
        start: 20.0,
        max: 200.0,
    };
    /// Points of GetMetricData, half of what AWS allows.
    pub const POINTS: Self = Self {
        start: 90_000.0,
        max: 90_000.0,
    };
    pub const LIST_METRICS: Self = Self { start: 2.0, max: 10.0 };
    /// ListTables and DescribeTable.
    pub const DESCRIBE: Self = Self { start: 5.0, max: 10.0 };
    /// DescribeLimits is throttled above one a minute; callers ask hourly.
    /// Each of SageMaker's operations.
    pub const SAGEMAKER: Self = Self { start: 2.0, max: 5.0 };
    /// GetResources of tagging.
    pub const TAGGING: Self = Self { start: 1.0, max: 3.0 };
    /// FilterLogEvents: AWS allows 5 to 25, by region.
    pub const FILTER_LOG_EVENTS: Self = Self { start: 4.0, max: 10.0 };
    pub const STS: Self = Self { start: 1.0, max: 2.0 };
}

/// After a throttle nothing is sent for so long.
const PAUSE: f64 = 5.0;
/// The rate grows by this share of the maximum ...
const GROWTH: f64 = 0.05;
/// ... every so many seconds.
const GROWTH_EVERY: f64 = 10.0;
const SLOWEST: f64 = 0.05;

/// The buckets of the process, one for each account, region and API: everybody who calls the same API draws from the
/// same. Kept in the [commons](crate::component::Commons).
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<Api, Arc<Bucket>>>);

/// Account, region, operation.
type Api = (String, String, &'static str);

impl Rates {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Nobody has called anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bucket of an API; `place`: account and region. The first who asks sets the limits.
    pub fn bucket(&self, place: (&str, &str), api: &'static str, limits: Limits, now: UnixNanos) -> Arc<Bucket> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.0.to_owned(), place.1.to_owned(), api);
        Arc::clone(buckets.entry(key).or_insert_with(|| Arc::new(Bucket::new(limits, now))))
    }
}

/// The bucket of one account, region and API.
#[derive(Debug)]
pub struct Bucket {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    tokens: f64,
    at: f64,
    grown_at: f64,
    closed_until: f64,
}

fn seconds(now: UnixNanos) -> f64 {
    now.0 as f64 / 1e9
}

impl Bucket {
    pub fn new(limits: Limits, now: UnixNanos) -> Self {
        let at = seconds(now);
        Self {
            limits,
            state: Mutex::new(State {
                rate: limits.start,
                tokens: limits.start.max(1.0),
                at,
                grown_at: at,
                closed_until: at,
            }),
        }
    }

    /// Requests per second now.
    pub fn rate(&self) -> f64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rate
    }

    /// Takes a token, or says how long to wait before asking again.
    pub fn try_take(&self, now: UnixNanos) -> Result<(), Duration> {
        self.try_take_many(1.0, now)
    }

    /// Takes many at once. What is more than a second's worth is taken on credit: the next ones wait for it.
    pub fn try_take_many(&self, tokens: f64, now: UnixNanos) -> Result<(), Duration> {
        let now = seconds(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.closed_until {
            return Err(Duration::from_secs_f64(state.closed_until - now));
        }
        if now - state.grown_at >= GROWTH_EVERY {
            state.rate = (state.rate + GROWTH * self.limits.max).min(self.limits.max);
            state.grown_at = now;
        }
        let burst = state.rate.max(1.0);
        state.tokens = (state.tokens + (now - state.at).max(0.0) * state.rate).min(burst);
        state.at = now;
        let needed = tokens.min(burst);
        if state.tokens >= needed {
            state.tokens -= tokens;
            return Ok(());
        }
        let missing = needed - state.tokens;
        // A whole nanosecond at least: rounding must not wake the waiter too early for ever.
        Err(Duration::from_secs_f64(missing / state.rate) + Duration::from_nanos(1_000))
    }

    /// Waits for many tokens.
    pub async fn take_many(&self, tokens: f64, clock: &dyn Clock) {
        while let Err(wait) = self.try_take_many(tokens, clock.now()) {
            clock.sleep(wait).await;
        }
    }

    /// Waits for a token.
    pub async fn take(&self, clock: &dyn Clock) {
        while let Err(wait) = self.try_take(clock.now()) {
            clock.sleep(wait).await;
        }
    }

    /// AWS throttled: half the rate, and a pause.
    pub fn throttled(&self, now: UnixNanos) {
        let now = seconds(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rate = (state.rate / 2.0).max(SLOWEST);
        state.tokens = 0.0;
        state.at = now;
        state.grown_at = now;
        state.closed_until = now + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> UnixNanos {
        UnixNanos((seconds * 1e9) as u64)
    }

    #[test]
    fn halves_and_pauses_on_a_throttle_and_grows_back_to_the_maximum() {
        let bucket = Bucket::new(Limits { start: 8.0, max: 10.0 }, at(0.0));
        bucket.throttled(at(1.0));
        assert_eq!(bucket.rate(), 4.0);
        assert!(bucket.try_take(at(5.9)).is_err());
        assert!(bucket.try_take(at(6.0)).is_ok());
        for step in 2..40 {
            let _ = bucket.try_take(at(f64::from(step) * 10.0 + 1.0));
        }
        assert_eq!(bucket.rate(), 10.0);
    }

    #[test]
    fn what_is_more_than_a_second_s_worth_is_taken_on_credit() {
        let bucket = Bucket::new(Limits::POINTS, at(0.0));
        assert!(bucket.try_take_many(100_800.0, at(0.0)).is_ok());
        let wait = bucket.try_take_many(100_800.0, at(0.0)).unwrap_err();
        assert!((1.1..1.2).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(bucket.try_take_many(100_800.0, at(1.2)).is_ok());
    }

    #[test]
    fn gives_no_more_than_the_rate() {
        let bucket = Bucket::new(Limits { start: 5.0, max: 5.0 }, at(0.0));
        let mut given = 0;
        for millis in 0..10_000 {
            given += i32::from(bucket.try_take(at(f64::from(millis) / 1000.0)).is_ok());
        }
        assert!((50..=55).contains(&given), "{given}");
    }
}
