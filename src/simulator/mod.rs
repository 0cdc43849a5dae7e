//! A simulated AWS endpoint: one HTTP server that speaks CloudWatch (rpc-v2-cbor and awsJson1.0), DynamoDB's
//! descriptions and items (awsJson1.0), S3 (REST XML), SageMaker and tagging (awsJson1.1), STS and SNS (query) and X-Ray (REST JSON, OTLP), on a virtual
//! clock, with planned faults and a bill.
//!
//! Every value and every delay is a hash of seed, scenario, series and minute: the order of requests changes nothing.
//! Signatures must be present and are not verified. Used by the tests and by `radiosonde demo`; never by `run`.

mod answer;
mod bill;
mod clock;
mod cloudwatch;
mod control;
mod dynamodb;
mod everything;
mod faults;
mod fleet;
mod gms;
mod insights;
mod items;
mod limits;
mod load;
mod memory;
mod random;
mod s3;
pub mod sagemaker;
mod scenario;
mod server;
mod sns;
mod statistics;
mod sts;
mod tagging;
mod value;
mod world;
pub mod xray;

#[cfg(test)]
mod tests;

pub use bill::{Bill, Counts};
pub use clock::VirtualClock;
pub use faults::{Fault, FaultKind};
pub use fleet::Fleet;
pub use items::Tables;
pub use s3::Buckets;
pub use scenario::{
    Capacity, Collection, Direction, HotKey, Index, Insights, Lag, Load, LoadEvent, Operation, Role, Scenario, Slow,
    Table,
};
pub use server::Served;
pub use sns::Publication;
pub use statistics::{Samples, Statistic};
pub use world::{Series, World};

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::component::{Clock, UnixNanos};

/// Calls kept for `/_sim/calls`.
const CALLS_KEPT: usize = 1_000;

/// The endpoint's state: a world, its clock, planned faults, the bill.
pub struct Simulator {
    world: Mutex<Arc<World>>,
    clock: VirtualClock,
    faults: Mutex<Vec<Fault>>,
    bill: Mutex<Bill>,
    limits: Mutex<limits::Limits>,
    /// Seconds by which the service's clock is ahead of the simulated time, as its answers say it.
    skew: Mutex<f64>,
    calls: Mutex<VecDeque<Call>>,
    xray: xray::XRay,
    sns: Mutex<sns::Topics>,
    tables: Mutex<Tables>,
    buckets: Mutex<s3::Buckets>,
}

/// One call as it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub api: String,
    pub account: String,
    pub region: String,
    /// Simulated unix seconds.
    pub at: f64,
    pub status: u16,
}

/// The price of asking everything every minute.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Baseline {
    pub series: usize,
    /// Since the first call that is billed.
    pub minutes: f64,
    pub usd: f64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    /// With a clock of the caller's.
    pub fn new(scenario: Scenario, clock: VirtualClock) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(Arc::new(World::new(scenario))),
            clock,
            faults: Mutex::default(),
            bill: Mutex::default(),
            limits: Mutex::default(),
            skew: Mutex::default(),
            calls: Mutex::default(),
            xray: xray::XRay::default(),
            sns: Mutex::default(),
            tables: Mutex::default(),
            buckets: Mutex::default(),
        })
    }

    /// With a clock that stands at the scenario's start.
    pub fn frozen(scenario: Scenario) -> Arc<Self> {
        let clock = VirtualClock::frozen(UnixNanos::from_seconds(scenario.start));
        Self::new(scenario, clock)
    }

    /// The endpoint's time; also meant for the agent under test.
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// What is simulated: also the oracle for tests.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&locked(&self.world))
    }

    /// Replaces the world and forgets bill, calls and faults. The clock moves on to the scenario's start, if that is
    /// still ahead.
    pub fn reset(&self, scenario: Scenario) {
        self.clock.advance_to(UnixNanos::from_seconds(scenario.start));
        *locked(&self.world) = Arc::new(World::new(scenario));
        locked(&self.faults).clear();
        *locked(&self.bill) = Bill::default();
        *locked(&self.limits) = limits::Limits::default();
        *locked(&self.skew) = 0.0;
        locked(&self.calls).clear();
        self.xray.reset();
        *locked(&self.sns) = sns::Topics::default();
        *locked(&self.tables) = Tables::default();
        *locked(&self.buckets) = s3::Buckets::default();
    }

    /// Replaces the planned faults.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        *locked(&self.faults) = faults;
    }

    /// By how many seconds the service's `Date` is wrong.
    pub fn set_skew(&self, seconds: f64) {
        *locked(&self.skew) = seconds;
    }

    /// What was charged so far.
    pub fn bill(&self) -> Bill {
        locked(&self.bill).clone()
    }

    /// What the same time would have cost with every series asked every minute, as exporters that know no classes do
    /// it: one unit for each series and minute since the first charge.
    pub fn baseline(&self) -> Baseline {
        let bill = locked(&self.bill);
        let minutes = bill.since().map_or(0.0, |since| (self.now_s() - since) / 60.0);
        let series = self.world().series().len();
        let units = minutes * series as f64;
        Baseline {
            series,
            minutes,
            usd: units * bill::USD_PER_METRIC,
        }
    }

    /// The latest calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.calls).iter().cloned().collect()
    }

    /// What was published by SNS, oldest first, without what a FIFO topic has recognised.
    pub fn publications(&self) -> Vec<Publication> {
        locked(&self.sns).kept()
    }

    /// Every span of every generated or sent trace that starts between two times (unix seconds).
    pub fn true_spans(&self, from: f64, to: f64) -> BTreeMap<String, Vec<xray::TrueSpan>> {
        self.xray.truth(&self.world().scenario, from, to)
    }

    /// Puts a segment document into the simulated X-Ray as if it had been sent at `at` (unix seconds), long ago if need be:
    /// it shows as soon as the delay of the index, counted from then, is over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn put_segment(&self, document: serde_json::Value, at: f64) -> Result<(), String> {
        self.xray.put_segment(document, at)
    }

    /// Changes the simulated X-Ray as `/_sim/xray` does.
    ///
    /// # Errors
    /// An unreadable command.
    pub fn command_xray(&self, command: &str) -> Result<serde_json::Value, String> {
        let world = self.world();
        self.xray.control(&world.scenario, self.now_s(), command.as_bytes())
    }

    /// The tables with items: changed by tests and scenarios.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        locked(&self.tables)
    }

    /// The buckets likewise.
    pub fn buckets(&self) -> MutexGuard<'_, s3::Buckets> {
        locked(&self.buckets)
    }

    /// Simulated unix seconds.
    pub fn now_s(&self) -> f64 {
        self.clock.now().0 as f64 / 1e9
    }

    fn note(&self, call: Call) {
        let mut calls = locked(&self.calls);
        if calls.len() == CALLS_KEPT {
            calls.pop_front();
        }
        calls.push_back(call);
    }
}
