//! Which records of a log are done with: everything before a place, and some ranges behind it.
//!
//! Records are delivered in any order. Ranges that touch are one range, so there are never more of them than requests
//! on their way.

use std::collections::BTreeMap;

use super::record::{Range, Totals};

/// See the module text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    base: Totals,
    /// By the number of their first record; apart from each other and behind `base`.
    ranges: BTreeMap<u64, Range>,
}

impl Settled {
    /// Everything before `base`.
    pub fn from(base: Totals) -> Self {
        Self {
            base,
            ranges: BTreeMap::new(),
        }
    }

    /// Everything before this place is done with.
    pub fn base(&self) -> Totals {
        self.base
    }

    /// What is done with behind the base.
    pub fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.values()
    }

    /// Whether a record is done with.
    pub fn contains(&self, record: u64) -> bool {
        if record < self.base.records {
            return true;
        }
        let before = self.ranges.range(..=record).next_back();
        before.is_some_and(|(_, range)| record < range.to.records)
    }

    /// So much before `end` is not done with.
    pub fn open_until(&self, end: Totals) -> Totals {
        let mut open = self.base.until(end);
        for range in self.ranges.values() {
            open = range.size().until(open);
        }
        open
    }

    /// Notes a range. One that overlaps what is known already (a damaged cursor) is taken as far as it is new.
    pub fn insert(&mut self, range: Range) {
        for mut fresh in self.missing_in(range) {
            if fresh.from.records <= self.base.records {
                self.base = fresh.to;
            } else {
                let touching_before = self.ranges.range(..fresh.from.records).next_back();
                if let Some((key, before)) = touching_before
                    && before.to.records == fresh.from.records
                {
                    fresh.from = before.from;
                    let key = *key;
                    self.ranges.remove(&key);
                }
                if let Some(behind) = self.ranges.remove(&fresh.to.records) {
                    fresh.to = behind.to;
                }
                self.ranges.insert(fresh.from.records, fresh);
            }
            while let Some(first) = self.ranges.first_entry()
                && first.get().from.records <= self.base.records
            {
                self.base = first.remove().to;
            }
        }
    }

    /// The parts of `gap` that are not done with.
    pub fn missing_in(&self, gap: Range) -> Vec<Range> {
        let mut from = gap.from;
        if from.records < self.base.records {
            from = self.base;
        }
        let mut missing = Vec::new();
        let first = self
            .ranges
            .range(..=from.records)
            .next_back()
            .map_or(from.records, |(key, _)| *key);
        for range in self.ranges.range(first..).map(|(_, range)| range) {
            if range.from.records >= gap.to.records {
                break;
            }
            if range.to.records <= from.records {
                continue;
            }
            if range.from.records > from.records {
                missing.push(Range { from, to: range.from });
            }
            from = range.to;
        }
        if from.records < gap.to.records {
            missing.push(Range { from, to: gap.to });
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(records: u64) -> Totals {
        Totals {
            records,
            items: records * 3,
            bytes: records * 100,
        }
    }

    fn range(from: u64, to: u64) -> Range {
        Range {
            from: at(from),
            to: at(to),
        }
    }

    proptest! {
        #[test]
        fn keeps_the_set_that_a_plain_list_would(ranges in proptest::collection::vec((0u64..60, 1u64..9), 0..40)) {
            let mut settled = Settled::from(at(2));
            let mut plain = [false; 80];
            plain[..2].fill(true);
            for (from, len) in ranges {
                settled.insert(range(from, from + len));
                plain[from as usize..(from + len) as usize].fill(true);
                // A range that begins before the base counts from there.
                let done = plain.iter().filter(|done| **done).count() as u64;
                prop_assert_eq!(settled.open_until(at(80)), at(80 - done));
                for (record, done) in plain.iter().enumerate() {
                    prop_assert_eq!(settled.contains(record as u64), *done, "{}", record);
                }
                prop_assert_eq!(settled.base().records, plain.iter().position(|done| !done).unwrap() as u64);
            }
        }
    }

    #[test]
    fn a_gap_is_missing_where_nothing_is_settled() {
        let mut settled = Settled::from(at(5));
        settled.insert(range(8, 12));
        assert_eq!(settled.missing_in(range(2, 20)), [range(5, 8), range(12, 20)]);
        assert_eq!(settled.missing_in(range(9, 11)), []);
        assert_eq!(settled.missing_in(range(10, 14)), [range(12, 14)]);
    }
}
