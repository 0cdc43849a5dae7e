//! What happens on a table in one minute: requests, refusals, consumed units. A pure function of scenario and minute.

use super::random::Dice;
use super::scenario::{Capacity, Direction, Load, Operation, Scenario, Table};

/// Why throughput was refused; the order of the names in AWS' cause metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Provisioned,
    KeyRange,
    MaxOnDemand,
    AccountLimit,
}

impl Cause {
    pub const ALL: [Cause; 4] = [
        Cause::Provisioned,
        Cause::KeyRange,
        Cause::MaxOnDemand,
        Cause::AccountLimit,
    ];

    /// The middle of the metric name.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Provisioned => "ProvisionedThroughput",
            Cause::KeyRange => "KeyRangeThroughput",
            Cause::MaxOnDemand => "MaxOnDemandThroughput",
            Cause::AccountLimit => "AccountLimit",
        }
    }
}

/// One direction of a table or an index in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Units asked for and units served, per minute.
    pub asked: f64,
    pub served: f64,
    /// What refused the rest.
    pub cause: Option<Cause>,
}

impl Flow {
    fn refused(&self) -> f64 {
        (self.asked - self.served).max(0.0)
    }

    /// Refused units as throttle events.
    pub fn throttles(&self) -> u64 {
        self.refused().round() as u64
    }
}

/// Requests of one operation in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests {
    pub succeeded: u64,
    pub throttled: u64,
    pub failed: u64,
}

/// The units per second that a load asks for at a minute, and whether they all go to one key.
fn demand(load: &Load, dice: Dice, throw: u64, minute: i64) -> (f64, bool) {
    let event = load
        .events
        .iter()
        .rev()
        .find(|event| event.from <= minute && minute < event.to);
    let (units, one_key) = event.map_or((load.units, false), |event| (event.units, event.one_key));
    let factor = 1.0 + load.noise * (2.0 * dice.uniform(throw) - 1.0);
    ((units * factor).max(0.0), one_key)
}

/// One partition serves at most so many units per second (DynamoDB's documented limits).
const KEY_READ: f64 = 3000.0;
const KEY_WRITE: f64 = 1000.0;

fn serve(asked_per_second: f64, one_key: bool, capacity: Capacity, direction: Direction) -> Flow {
    let (limit, cause) = match (capacity, direction) {
        (Capacity::Provisioned { read, .. }, Direction::Read) => (Some(read), Cause::Provisioned),
        (Capacity::Provisioned { write, .. }, Direction::Write) => (Some(write), Cause::Provisioned),
        (Capacity::OnDemand { max_read, .. }, Direction::Read) => (max_read, Cause::MaxOnDemand),
        (Capacity::OnDemand { max_write, .. }, Direction::Write) => (max_write, Cause::MaxOnDemand),
    };
    let mut served = limit.map_or(asked_per_second, |limit| asked_per_second.min(limit));
    let mut reason = cause;
    let key_limit = if direction == Direction::Read {
        KEY_READ
    } else {
        KEY_WRITE
    };
    if one_key && served > key_limit {
        served = key_limit;
        reason = Cause::KeyRange;
    }
    Flow {
        asked: asked_per_second * 60.0,
        served: served * 60.0,
        cause: (served < asked_per_second).then_some(reason),
    }
}

/// A table in one minute.
#[derive(Clone, Debug)]
pub struct TableMinute {
    pub read: Flow,
    pub write: Flow,
    /// Per index: reads, writes.
    pub indexes: Vec<(Flow, Flow)>,
    /// Per operation of the table.
    pub requests: Vec<Requests>,
}

impl TableMinute {
    /// The table itself, or one of its indexes.
    pub fn flow(&self, index: Option<usize>, direction: Direction) -> Flow {
        let (read, write) = match index {
            None => (self.read, self.write),
            Some(index) => self.indexes.get(index).copied().unwrap_or_default(),
        };
        if direction == Direction::Read { read } else { write }
    }
}

/// What happens to `table` at `minute` (relative to the scenario's start).
pub fn table_minute(scenario: &Scenario, table: &Table, minute: i64) -> TableMinute {
    let dice = Dice::new(scenario.seed, &format!("{}/{}", scenario.name, table.name), minute);
    let (read_demand, read_key) = demand(&table.reads, dice, 1, minute);
    let (write_demand, write_key) = demand(&table.writes, dice, 2, minute);
    let read = serve(read_demand, read_key, table.capacity, Direction::Read);
    let mut write = serve(write_demand, write_key, table.capacity, Direction::Write);

    // An index that cannot take its share of a write refuses the write of the table.
    let mut worst = 1.0f64;
    let mut indexes = Vec::new();
    for (position, index) in table.indexes.iter().enumerate() {
        let (reads, one_key) = demand(&index.reads, dice, 10 + position as u64, minute);
        let index_read = serve(reads, one_key, index.capacity, Direction::Read);
        let index_write = serve(
            write.served / 60.0 * index.write_share,
            false,
            index.capacity,
            Direction::Write,
        );
        if index_write.asked > 0.0 {
            worst = worst.min(index_write.served / index_write.asked);
        }
        indexes.push((index_read, index_write));
    }
    let refused_by_table = write.asked - write.served;
    write.served *= worst;
    // The table's own events count only what the table itself refused.
    write.asked = write.served + refused_by_table;

    let offered_writes = write_demand * 60.0;
    let mut requests = Vec::new();
    for (position, operation) in table.operations.iter().enumerate() {
        let (asked, served) = match operation.direction {
            Direction::Read => (read.asked, read.served),
            Direction::Write => (offered_writes, write.served),
        };
        requests.push(operation_minute(
            operation,
            asked,
            served,
            dice,
            100 + 4 * position as u64,
        ));
    }
    TableMinute {
        read,
        write,
        indexes,
        requests,
    }
}

fn operation_minute(operation: &Operation, asked: f64, served: f64, dice: Dice, throw: u64) -> Requests {
    let units = operation.units.max(0.01);
    let offered = dice.count(throw, asked * operation.share / units);
    let passed = if asked > 0.0 { served / asked } else { 1.0 };
    let throttled = ((offered as f64) * (1.0 - passed)).round() as u64;
    let rest = offered - throttled.min(offered);
    let failed = dice.count(throw + 1, rest as f64 * operation.system_errors).min(rest);
    Requests {
        succeeded: rest - failed,
        throttled,
        failed,
    }
}
