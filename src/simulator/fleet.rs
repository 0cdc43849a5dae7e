//! The reference fleet that polling is priced by: many alike tables, a share of them busy, throttles now and then.

use super::random::Dice;
use super::scenario::{Capacity, Direction, Index, Lag, Load, LoadEvent, Operation, Scenario, Table};

/// What a fleet is made of.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    pub tables: usize,
    /// Share of the tables that have traffic.
    pub hot: f64,
    /// How long throttles are planned for, in days from the start; 0: none.
    pub days: i64,
    pub lag: Lag,
    pub seed: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            tables: 100,
            hot: 0.4,
            days: 7,
            lag: Lag::default(),
            seed: 1,
        }
    }
}

const DAY: i64 = 24 * 60;
/// 2026-01-05T00:00:00Z
const START: u64 = 1_767_571_200;
const CAPACITY: f64 = 60.0;

impl Fleet {
    /// Provisioned tables with two indexes and six operations. Each busy one is throttled once or twice a day for some
    /// minutes; an idle one has no request at all.
    pub fn scenario(self) -> Scenario {
        let busy = (self.tables as f64 * self.hot).round() as usize;
        let tables = (0..self.tables)
            .map(|number| self.table(number, number < busy))
            .collect();
        Scenario {
            sagemaker: super::sagemaker::SageMaker::default(),
            name: "fleet".to_owned(),
            seed: self.seed,
            start: START,
            history: 360,
            account: "111122223333".to_owned(),
            roles: Vec::new(),
            lag: self.lag,
            user_errors: 0.0,
            tables,
            xray: super::xray::Settings::default(),
        }
    }

    fn table(self, number: usize, busy: bool) -> Table {
        let name = format!("fleet-{number:05}");
        let dice = Dice::new(self.seed, &name, 0);
        let load = |units: f64, first: u64| Load {
            units: if busy { units } else { 0.0 },
            noise: 0.3,
            events: if busy { self.bursts(dice, first) } else { Vec::new() },
        };
        let index = |name: &str, units: f64| Index {
            name: name.to_owned(),
            capacity: Capacity::Provisioned {
                read: CAPACITY,
                write: CAPACITY,
            },
            write_share: 0.5,
            reads: Load {
                events: Vec::new(),
                ..load(units, 0)
            },
        };
        Table {
            name,
            region: "eu-central-1".to_owned(),
            account: None,
            created: None,
            deleted: None,
            capacity: Capacity::Provisioned {
                read: CAPACITY,
                write: CAPACITY,
            },
            reads: load(20.0 + 20.0 * dice.uniform(1), 100),
            writes: load(10.0 + 20.0 * dice.uniform(2), 200),
            operations: operations(),
            indexes: vec![index("by-customer", 8.0), index("by-date", 3.0)],
            local_indexes: Vec::new(),
            items: 100_000,
            items_per_hour: 0.0,
            item_bytes: 400,
            conditional_failures: 0.0,
            everything: false,
            tags: std::collections::BTreeMap::new(),
            transaction_conflicts: 0.0,
            expired_items: 0.0,
            contributor_insights: None,
            collections: Vec::new(),
        }
    }

    /// Two minutes to a quarter of an hour beyond the capacity, at a random time of each day.
    fn bursts(self, dice: Dice, first: u64) -> Vec<LoadEvent> {
        let days = 0..self.days.max(0) as u64;
        days.map(|day| {
            let from = day as i64 * DAY + (dice.uniform(first + 2 * day) * (DAY - 20) as f64) as i64;
            let length = 2 + (dice.uniform(first + 2 * day + 1) * 13.0) as i64;
            LoadEvent {
                from,
                to: from + length,
                units: 1.5 * CAPACITY,
                one_key: false,
            }
        })
        .collect()
    }
}

fn operations() -> Vec<Operation> {
    let shares = [
        ("PutItem", Direction::Write, 0.5, 4.0, 0.0),
        ("UpdateItem", Direction::Write, 0.3, 5.0, 0.0),
        ("DeleteItem", Direction::Write, 0.2, 4.0, 0.0),
        ("GetItem", Direction::Read, 0.5, 2.5, 0.0),
        ("Query", Direction::Read, 0.3, 8.0, 12.0),
        ("Scan", Direction::Read, 0.2, 40.0, 200.0),
    ];
    shares
        .into_iter()
        .map(|(name, direction, share, latency_ms, items)| Operation {
            name: name.to_owned(),
            direction,
            share,
            units: 1.0,
            latency_ms,
            spread: 0.5,
            items,
            system_errors: 0.0,
            slow: Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::World;
    use super::*;

    #[test]
    fn a_reference_table_has_65_series_and_is_throttled_now_and_then() {
        let fleet = Fleet {
            tables: 10,
            ..Fleet::default()
        };
        let world = World::new(fleet.scenario());
        let of = |table: &str| {
            let table = table.to_owned();
            let series = world.series().iter();
            series
                .filter(move |series| series.dimensions.iter().any(|(_, value)| *value == table))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("fleet-00000").len(), 65);
        let throttled = |table: &str| {
            let minutes = 0..DAY;
            let sentinels: Vec<_> = of(table)
                .into_iter()
                .filter(|series| series.metric == "WriteThrottleEvents")
                .collect();
            let start = world.scenario.start as i64;
            minutes
                .filter(|minute| {
                    sentinels
                        .iter()
                        .any(|series| !world.final_samples(series, start + 60 * minute).is_empty())
                })
                .count()
        };
        assert!((2..=15).contains(&throttled("fleet-00003")));
        assert_eq!(throttled("fleet-00004"), 0);
    }
}
