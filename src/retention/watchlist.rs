//! The traces that need something done, as the last checks of this process found them: for the page of `dev` and `demo`.
//! Bounded; the ones with the least time stay.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::archive::TraceId;
use super::state::State;
use crate::aws::xray::ids::write_trace_id;

/// Traces that are remembered.
const MOST: usize = 1_000;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endangered {
    pub id: TraceId,
    pub state: State,
    /// Until X-Ray forgets it, when it was looked at; `None`: it has.
    pub left: Option<Duration>,
    /// When it began, unix seconds.
    pub start: u64,
    /// The region; `ROLE in REGION` where a role is taken.
    pub place: String,
    /// What is not known of it, and why.
    pub why: Option<String>,
}

impl Endangered {
    /// As X-Ray writes ids: `1-8-24`.
    pub fn xray_id(&self) -> String {
        write_trace_id(&self.id.0)
    }

    /// What it means and what to do, the nearest first.
    pub fn steps(&self) -> Vec<String> {
        let id = self.xray_id();
        let region = self.place.rsplit(" in ").next().unwrap_or(&self.place);
        let meaning = match self.state {
            State::Lost => "X-Ray has let it go and no archive has a copy: it cannot be read any more.",
            State::EmptyCopy => "An archive has an entry for it without a single span: the copy is of no use.",
            State::PartialCopy => "An archive has some of its spans and not all of them.",
            State::AtRisk => "No archive has a copy, and X-Ray will let it go soon.",
            _ => "No archive has a copy, and the time to make one has come.",
        };
        let mut steps = vec![meaning.to_owned()];
        if self.state != State::Lost {
            steps.push(format!(
                "Read it while it is there: aws xray batch-get-traces --region {region} --trace-ids {id}"
            ));
            steps.push(
                "Let the agent copy such traces by itself: on_at_risk: [metric, log, archive] and an archive_pipeline of \
                 the processor span_retention."
                    .to_owned(),
            );
        }
        steps.push(
            "List all of them now, without writing anything: radiosonde retention check --config FILE".to_owned(),
        );
        steps
    }
}

/// One for the process, in [`crate::component::Commons`].
#[derive(Default)]
pub struct Watchlist(Mutex<BTreeMap<TraceId, Endangered>>);

impl Watchlist {
    /// What a check says of a trace now.
    pub fn note(&self, endangered: Endangered) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = endangered.id;
        all.insert(id, endangered);
        if all.len() > MOST {
            let safest = all.values().max_by_key(|one| one.left).map(|one| one.id);
            safest.and_then(|id| all.remove(&id));
        }
    }

    /// Nothing needs to be done about it any more.
    pub fn forget(&self, id: &TraceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Those with the least time first; what is lost is last, since nothing can be done.
    pub fn worst(&self, most: usize) -> Vec<Endangered> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed: Vec<Endangered> = all.values().cloned().collect();
        listed.sort_by_key(|one| (one.left.is_none(), one.left, one.start));
        listed.truncate(most);
        listed
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// None needs anything done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u8, left: Option<u64>) -> Endangered {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&[0x65, 0x55, 0x55, 0x55]);
        id[15] = number;
        Endangered {
            id: TraceId(id),
            state: if left.is_some() { State::AtRisk } else { State::Lost },
            left: left.map(Duration::from_secs),
            start: 1_700_000_000,
            place: "arn:aws:iam::1:role/x in eu-central-1".to_owned(),
            why: None,
        }
    }

    #[test]
    fn the_least_time_comes_first_and_what_is_lost_last() {
        let list = Watchlist::default();
        for (number, left) in [(1, Some(900)), (2, None), (3, Some(60))] {
            list.note(one(number, left));
        }
        let order: Vec<u8> = list.worst(9).iter().map(|one| one.id.0[15]).collect();
        assert_eq!(order, [3, 1, 2]);
        list.note(one(3, Some(5_000)));
        assert_eq!(list.worst(1)[0].id.0[15], 1);
        list.forget(&one(1, None).id);
        assert_eq!((list.len(), list.is_empty()), (2, false));
    }

    #[test]
    fn the_steps_name_the_trace_as_x_ray_does() {
        let steps = one(7, Some(60)).steps();
        assert!(
            steps[1].contains("--region eu-central-1 --trace-ids 1-65555555-000000000000000000000007"),
            "{steps:?}"
        );
        assert!(
            one(7, None)
                .steps()
                .iter()
                .all(|step| !step.contains("batch-get-traces"))
        );
    }

    #[test]
    fn it_is_bounded() {
        let list = Watchlist::default();
        for number in 0..=MOST as u32 {
            let mut trace = one(0, Some(u64::from(number)));
            trace.id.0[8..12].copy_from_slice(&number.to_be_bytes());
            list.note(trace);
        }
        assert_eq!(list.len(), MOST);
        assert_eq!(list.worst(1)[0].left, Some(Duration::ZERO));
    }
}
