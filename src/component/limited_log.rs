//! At most ten lines a second of one kind; the rest is counted and told with the next line.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Decides whether a line of one kind is written.
pub struct LimitedLog(Mutex<State>);

struct State {
    window_start: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl Default for LimitedLog {
    fn default() -> Self {
        Self(Mutex::new(State {
            window_start: None,
            written: 0,
            suppressed: 0,
        }))
    }
}

impl LimitedLog {
    /// `Some(n)`: write the line; `n` lines were left out since the last one. `None`: leave it out.
    pub fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.window_start.is_none_or(|start| now - start >= WINDOW) {
            state.window_start = Some(now);
            state.written = 0;
        }
        if state.written >= LINES {
            state.suppressed += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_ten_lines_a_second_and_tells_how_many_it_left_out() {
        let log = LimitedLog::default();
        let written = (0..25).filter(|_| log.admit().is_some()).count();
        assert_eq!(written, 10);
        tokio::time::advance(WINDOW).await;
        assert_eq!(log.admit(), Some(15));
        assert_eq!(log.admit(), Some(0));
    }
}
