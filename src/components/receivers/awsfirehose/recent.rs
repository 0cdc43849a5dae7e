//! Request ids of the last hour: Firehose sends a request again, under the same id, when it did not get the answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an id is remembered; Firehose tries for up to two hours, but with the answer lost again each time.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Ids that are remembered: about 10 MB.
const MOST: usize = 65_536;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// A request with this id is under way.
    Busy,
    Taken,
}

#[derive(Default)]
struct Ids {
    states: HashMap<Box<str>, State>,
    /// Taken ones, oldest first.
    order: VecDeque<(Instant, Box<str>)>,
}

/// The ids of requests under way and of those taken within the hour.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Ids>>);

/// What is known of a request.
pub(super) enum Seen {
    /// Never seen: go on, and say when it was taken.
    New(Turn),
    /// Somebody works on it.
    Busy,
    /// It was taken: nothing is left to do.
    Taken,
}

/// One request under way. Dropped without [`Turn::taken`] it may come again.
pub(super) struct Turn {
    recent: Recent,
    id: Box<str>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, id: &str) -> Seen {
        let mut ids = self.lock();
        ids.forget_before(Instant::now());
        match ids.states.get(id) {
            Some(State::Busy) => Seen::Busy,
            Some(State::Taken) => Seen::Taken,
            None => {
                ids.states.insert(id.into(), State::Busy);
                Seen::New(Turn {
                    recent: self.clone(),
                    id: id.into(),
                })
            }
        }
    }

    /// Ids that are remembered as taken.
    pub(super) fn len(&self) -> usize {
        self.lock().order.len()
    }
}

impl Ids {
    fn forget_before(&mut self, now: Instant) {
        while let Some((at, id)) = self.order.front() {
            if now.duration_since(*at) < REMEMBERED && self.order.len() < MOST {
                return;
            }
            self.states.remove(id);
            self.order.pop_front();
        }
    }
}

impl Turn {
    /// The pipeline has it: the same id is not taken again.
    pub(super) fn taken(self) {
        let mut ids = self.recent.lock();
        ids.states.insert(self.id.clone(), State::Taken);
        ids.order.push_back((Instant::now(), self.id.clone()));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut ids = self.recent.lock();
        if ids.states.get(&self.id) == Some(&State::Busy) {
            ids.states.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_new(recent: &Recent, id: &str) -> bool {
        matches!(recent.begin(id), Seen::New(_))
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_is_known_for_an_hour_and_what_failed_is_not() {
        let recent = Recent::default();
        let Seen::New(turn) = recent.begin("a") else { panic!() };
        assert!(matches!(recent.begin("a"), Seen::Busy));
        drop(turn);
        let Seen::New(turn) = recent.begin("a") else { panic!() };
        turn.taken();
        assert!(matches!(recent.begin("a"), Seen::Taken));
        tokio::time::advance(REMEMBERED - Duration::from_secs(1)).await;
        assert!(matches!(recent.begin("a"), Seen::Taken));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_new(&recent, "a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_forgotten_where_there_are_too_many() {
        let recent = Recent::default();
        for id in 0..MOST + 10 {
            let Seen::New(turn) = recent.begin(&id.to_string()) else {
                panic!()
            };
            turn.taken();
        }
        assert!(recent.len() <= MOST);
        assert!(is_new(&recent, "0"));
        assert!(!is_new(&recent, &(MOST + 9).to_string()));
    }
}
