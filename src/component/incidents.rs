//! What receivers see of clients that do something wrong: for the lints of `dev`, which name the remedy. Nobody needs to
//! listen; what is not fetched is forgotten.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Incidents that wait to be fetched.
const MOST: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentKind {
    /// gRPC on the port of HTTP, or the other way round. It was served.
    OtherProtocol,
    /// A page of an origin that is not allowed.
    ForeignOrigin,
    /// Records that were refused at the door.
    Rejected,
    /// A request that was refused as a whole.
    Refused,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub kind: IncidentKind,
    /// What it is about: an origin, a client. Not more than 200 bytes of it are kept.
    pub subject: String,
    /// For people.
    pub text: String,
    /// Items.
    pub items: usize,
}

/// Where they are told and fetched. One for the process, in [`super::Commons`].
#[derive(Default)]
pub struct Incidents {
    is_listened_to: AtomicBool,
    waiting: Mutex<VecDeque<Incident>>,
}

impl Incidents {
    /// From now on they are kept until they are fetched.
    pub fn listen(&self) {
        self.is_listened_to.store(true, Ordering::Relaxed);
    }

    /// Tells one; costs one load where nobody listens.
    pub fn tell(&self, incident: impl FnOnce() -> Incident) {
        if !self.is_listened_to.load(Ordering::Relaxed) {
            return;
        }
        let mut incident = incident();
        for text in [&mut incident.subject, &mut incident.text] {
            const LONGEST: usize = 200;
            let end = (0..=LONGEST.min(text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MOST {
            waiting.pop_front();
        }
        waiting.push_back(incident);
    }

    /// Those that were told since the last call.
    pub fn fetch(&self) -> Vec<Incident> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_listens_to_is_kept_and_not_more_than_fits() {
        let incidents = Incidents::default();
        let one = || Incident {
            kind: IncidentKind::Refused,
            subject: "ä".repeat(300),
            text: String::new(),
            items: 1,
        };
        incidents.tell(one);
        assert_eq!(incidents.fetch(), []);
        incidents.listen();
        for _ in 0..MOST + 5 {
            incidents.tell(one);
        }
        let fetched = incidents.fetch();
        assert_eq!(fetched.len(), MOST);
        assert_eq!(fetched[0].subject.len(), 200);
        assert_eq!(incidents.fetch(), []);
    }
}
