//! The runs of applications that `dev -- CMD` has started: which command, when, how it ended. What they sent is in the store.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::component::UnixNanos;

/// Runs that are remembered.
const MOST: usize = 200;
/// Bytes of a command that are kept.
const LONGEST: usize = 1_000;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    pub command: String,
    /// Nanoseconds since the epoch.
    pub started: u64,
    pub ended: Option<u64>,
    pub exit_code: Option<u8>,
}

/// All of them. One for the process.
#[derive(Default)]
pub struct Runs(Mutex<VecDeque<Run>>);

impl Runs {
    /// A new run. Its id.
    pub fn begin(&self, command: &str, now: UnixNanos) -> String {
        let random = uuid::Uuid::new_v4();
        let id = format!("r-{}", hex::encode(&random.as_bytes()[..3]));
        let end = (0..=LONGEST.min(command.len()))
            .rev()
            .find(|at| command.is_char_boundary(*at));
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() == MOST {
            runs.pop_front();
        }
        runs.push_back(Run {
            id: id.clone(),
            command: command[..end.unwrap_or(0)].to_owned(),
            started: now.0,
            ended: None,
            exit_code: None,
        });
        id
    }

    /// A run has ended. Whether there is such a run.
    pub fn end(&self, id: &str, now: UnixNanos, exit_code: u8) -> bool {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = runs.iter_mut().find(|run| run.id == id) else {
            return false;
        };
        run.ended = Some(now.0);
        run.exit_code = Some(exit_code);
        true
    }

    /// The newest first.
    pub fn all(&self) -> Vec<Run> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_and_end_and_the_oldest_are_forgotten() {
        let runs = Runs::default();
        let first = runs.begin("python app.py", UnixNanos(1));
        assert!(runs.end(&first, UnixNanos(5), 3));
        assert_eq!(runs.all()[0].exit_code, Some(3));
        for number in 0..MOST as u64 {
            runs.begin("x", UnixNanos(10 + number));
        }
        assert_eq!(runs.all().len(), MOST);
        assert!(!runs.end(&first, UnixNanos(9), 0));
    }
}
