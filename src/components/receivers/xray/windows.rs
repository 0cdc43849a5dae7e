//! Which time range is asked for next: disjoint, from the cursor to what has settled, no wider than AWS and memory allow.

use crate::aws::xray::api::Window;

/// Traces of a window that are a comfortable number: many more, and the next one is narrower.
const COMFORTABLE: usize = 10_000;
const NARROWEST_S: u64 = 10;

/// Cuts time into windows.
#[derive(Clone, Debug)]
pub struct Cutter {
    settle: u64,
    longest: u64,
    width: u64,
}

impl Cutter {
    /// All in seconds. Begins with narrow windows, because it is not known how much there is.
    pub fn new(settle: u64, longest: u64, first: u64) -> Self {
        Self {
            settle,
            longest: longest.max(NARROWEST_S),
            width: first.clamp(NARROWEST_S, longest.max(NARROWEST_S)),
        }
    }

    /// The window after the cursor; `None` where nothing has settled since.
    pub fn next(&self, cursor: u64, now: u64) -> Option<Window> {
        let settled = now.saturating_sub(self.settle);
        let to = settled.min(cursor.saturating_add(self.width));
        (to > cursor).then_some(Window { from: cursor, to })
    }

    /// How long until something has settled after the cursor.
    pub fn wait(&self, cursor: u64, now: u64) -> u64 {
        (cursor + self.settle + 1).saturating_sub(now)
    }

    /// A window was drained and held so many traces.
    pub fn drained(&mut self, traces: usize) {
        if traces > 2 * COMFORTABLE {
            self.narrow();
        } else if traces < COMFORTABLE / 2 {
            self.width = self.width.saturating_mul(2).min(self.longest);
        }
    }

    /// The service refused a window of this width. False where it cannot get narrower.
    pub fn narrow(&mut self) -> bool {
        let could = self.width > NARROWEST_S;
        self.width = (self.width / 2).max(NARROWEST_S);
        could
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_disjoint_and_end_where_things_have_settled() {
        let mut cutter = Cutter::new(60, 6 * 3600, 60);
        let mut cursor = 0;
        let mut ends = Vec::new();
        while let Some(window) = cutter.next(cursor, 100_000) {
            assert_eq!(window.from, cursor);
            assert!(window.to - window.from <= 6 * 3600);
            cursor = window.to;
            cutter.drained(10);
            ends.push(window.to);
        }
        assert_eq!(ends.last(), Some(&(100_000 - 60)));
        assert!(ends.len() < 20, "{ends:?}");
        assert_eq!(cutter.next(cursor, 100_000), None);
        assert_eq!(cutter.wait(cursor, 100_000), 1);
    }

    #[test]
    fn many_traces_and_refusals_make_windows_narrow_but_not_empty() {
        let mut cutter = Cutter::new(0, 3600, 3600);
        cutter.drained(100_000);
        assert_eq!(cutter.next(0, 10_000), Some(Window { from: 0, to: 1800 }));
        while cutter.narrow() {}
        assert_eq!(
            cutter.next(0, 10_000),
            Some(Window {
                from: 0,
                to: NARROWEST_S
            })
        );
    }
}
