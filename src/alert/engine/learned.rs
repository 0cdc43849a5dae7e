//! What rules with `anomaly` have learned, on its way to the disk, from it, and from history that was read at once.

use super::{Engine, Watched};

/// What is usual for one label set of one rule; `None`: it is forgotten.
pub struct Learned {
    /// Of the rule: [`crate::alert::rules::Rule::measure`].
    pub measure: u64,
    /// Hash of the labels.
    pub key: u64,
    pub bytes: Option<Vec<u8>>,
}

impl Engine {
    /// Whether any rule learns what is usual.
    pub fn learns(&self) -> bool {
        self.watched.iter().any(|watched| watched.usuals.is_some())
    }

    /// What has to be kept; `all`: also what would be kept at the end of the hour.
    pub fn learned(&self, all: bool) -> Vec<Learned> {
        let mut list = Vec::new();
        for watched in &self.watched {
            let Some(usuals) = &watched.usuals else { continue };
            let measure = watched.rule().measure();
            let own = usuals.to_keep(all);
            list.extend(own.map(|(key, bytes)| Learned { measure, key, bytes }));
        }
        list
    }

    /// It is on the disk.
    pub fn learned_is_kept(&mut self) {
        for usuals in self.watched.iter_mut().filter_map(|watched| watched.usuals.as_mut()) {
            usuals.kept();
        }
    }

    /// Takes up what was kept. `None`: no rule measures that any more; `Some(false)`: it cannot be read.
    pub fn take_up_learned(&mut self, measure: u64, key: u64, bytes: &[u8]) -> Option<bool> {
        let mut found = None;
        for watched in &mut self.watched {
            if watched.rule().measure() == measure
                && let Some(usuals) = &mut watched.usuals
            {
                found = Some(usuals.take_up(key, bytes));
            }
        }
        found
    }

    /// Evaluates the rules with `anomaly` over all of a past that is in the store, only to learn from it. Milliseconds.
    pub fn rehearse(&mut self, from: i64, to: i64) {
        for watched in self.watched.iter_mut().filter(|watched| watched.usuals.is_some()) {
            watched.rehearse(&self.store, (from, to));
        }
    }

    /// Takes over what another engine with the same rules learned from the history of one resource.
    pub fn learn_from(&mut self, other: Engine, resource: u64) {
        for mut from in other.watched {
            let measure = from.rule().measure();
            let Some(learned) = from.usuals.take() else { continue };
            let own = |watched: &&mut Watched| watched.rule().measure() == measure && watched.usuals.is_some();
            let mut own = self.watched.iter_mut().filter(own);
            if let Some(usuals) = own.next().and_then(|watched| watched.usuals.as_mut()) {
                usuals.adopt(learned, resource);
            }
        }
    }

    /// Label sets of which it is not known yet what is usual, and values that there was no room to learn from.
    pub fn learning(&self) -> (usize, u64) {
        let (mut sets, mut refused) = (0, 0);
        for watched in &self.watched {
            if let Some(usuals) = &watched.usuals {
                let (learning, left_out) = usuals.learning(watched.last_tick().unwrap_or(0));
                sets += learning;
                refused += left_out;
            }
        }
        (sets, refused)
    }
}
