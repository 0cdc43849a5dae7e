//! One batch to several stages, and who of them has it already.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::component::{BoxFuture, Gauge, Refused, Registry, Stage};
use crate::pdata::{Batch, TakenBy};

/// One way on from a fan-out.
pub struct Branch {
    pub stage: Arc<dyn Stage>,
    /// `radiosonde_taken_though_refused_items`: what this branch took while another one refused, so that it will be
    /// offered to all of them again.
    pub ahead: Gauge,
}

/// Offers a batch to several stages at once. The result is the worst of theirs.
///
/// Whoever offers the same batch again puts a [`TakenBy`] into its origin: then a branch that has it is left out, and
/// one that is down costs the others no duplicates.
pub struct FanOut {
    id: u128,
    branches: Vec<Branch>,
    registry: Registry,
}

impl FanOut {
    /// A stage in front of `branches`; the stage itself where there is one.
    pub fn to(mut branches: Vec<Branch>, registry: &Registry) -> Arc<dyn Stage> {
        if branches.len() == 1 {
            return branches.remove(0).stage;
        }
        Arc::new(Self {
            id: uuid::Uuid::new_v4().as_u128(),
            branches,
            registry: registry.clone(),
        })
    }
}

impl Stage for FanOut {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let taken_by = batch.origin().taken_by.clone();
        let items = batch.items();
        let mut answers = Vec::with_capacity(self.branches.len());
        for (index, branch) in self.branches.iter().enumerate() {
            let has_it = taken_by.as_ref().is_some_and(|taken_by| taken_by.has(self.id, index));
            answers.push(if has_it {
                Answer::HadIt
            } else {
                let mut batch = batch.clone();
                if let Some(id) = batch.origin().batch_id {
                    // Two branches may end in one queue, and each of them brings data of its own.
                    let origin = batch.origin().known_as(Some(id.on_way(index as u64)));
                    batch = batch.with_origin(Arc::new(origin));
                }
                Answer::Waits(branch.stage.consume(batch))
            });
        }
        Box::pin(Worst {
            fan_out: self,
            items,
            taken_by,
            answers,
            worst: None,
        })
    }
}

enum Answer<'a> {
    Waits(BoxFuture<'a, Result<(), Refused>>),
    Took,
    Refused,
    /// Took it when it was offered before.
    HadIt,
}

/// Waits for all answers, the slow ones side by side, and keeps the worst.
struct Worst<'a> {
    fan_out: &'a FanOut,
    items: usize,
    taken_by: Option<Arc<TakenBy>>,
    answers: Vec<Answer<'a>>,
    worst: Option<Refused>,
}

impl Worst<'_> {
    /// The batch comes again: who took it is ahead of the others.
    fn note_who_is_ahead(&mut self) {
        for (index, answer) in self.answers.drain(..).enumerate() {
            if matches!(answer, Answer::Took) {
                self.fan_out.branches[index].ahead.add(self.items as f64);
                if let Some(taken_by) = &self.taken_by {
                    taken_by.note(self.fan_out.id, index);
                }
            }
        }
    }

    /// Everybody has it: nobody is ahead any more.
    fn note_who_was_ahead(&mut self) {
        for (index, answer) in self.answers.drain(..).enumerate() {
            if matches!(answer, Answer::HadIt) {
                self.fan_out.branches[index].ahead.add(-(self.items as f64));
            }
        }
    }
}

impl Future for Worst<'_> {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let fan_out = this.fan_out;
        let _moving = fan_out.registry.moving();
        let mut waiting = false;
        for slot in &mut this.answers {
            let Answer::Waits(answer) = slot else { continue };
            match answer.as_mut().poll(context) {
                Poll::Pending => waiting = true,
                Poll::Ready(Ok(())) => *slot = Answer::Took,
                Poll::Ready(Err(refused)) => {
                    *slot = Answer::Refused;
                    this.worst = Some(match this.worst.take() {
                        Some(worst) => worst.worse(refused),
                        None => refused,
                    });
                }
            }
        }
        if waiting {
            return Poll::Pending;
        }
        Poll::Ready(match this.worst.take() {
            Some(worst) => {
                this.note_who_is_ahead();
                Err(worst)
            }
            None => {
                this.note_who_was_ahead();
                Ok(())
            }
        })
    }
}

impl Drop for Worst<'_> {
    fn drop(&mut self) {
        // The caller went away while some had not answered: to it, nobody has the batch.
        if !self.answers.is_empty() {
            let fan_out = self.fan_out;
            let _moving = fan_out.registry.moving();
            self.note_who_is_ahead();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::pdata::{Origin, Signal};

    struct Answers {
        with: Result<(), Refused>,
        offered: AtomicUsize,
    }

    fn answers(with: Result<(), Refused>) -> Arc<Answers> {
        Arc::new(Answers {
            with,
            offered: AtomicUsize::new(0),
        })
    }

    impl Stage for Answers {
        fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            self.offered.fetch_add(batch.items(), Ordering::Relaxed);
            Box::pin(std::future::ready(self.with.clone()))
        }
    }

    struct Never;

    impl Stage for Never {
        fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            Box::pin(std::future::pending())
        }
    }

    fn batch(items: u32) -> Batch {
        Batch::from_wire(Signal::Logs, bytes::Bytes::new(), items, Origin::internal())
    }

    fn fan_out(stages: Vec<Arc<dyn Stage>>) -> Arc<dyn Stage> {
        let branch = |stage| Branch {
            stage,
            ahead: Gauge::default(),
        };
        FanOut::to(stages.into_iter().map(branch).collect(), &Registry::default())
    }

    #[tokio::test]
    async fn a_branch_that_has_the_batch_is_not_offered_it_again() {
        let (takes, full) = (answers(Ok(())), answers(Err(Refused::retryable("full"))));
        let ahead = Gauge::default();
        let branch = |stage: Arc<dyn Stage>, ahead: &Gauge| Branch {
            stage,
            ahead: ahead.clone(),
        };
        let branches = vec![branch(takes.clone(), &ahead), branch(full.clone(), &Gauge::default())];
        let fan_out = FanOut::to(branches, &Registry::default());
        let taken_by = Arc::new(TakenBy::default());
        let again = batch(3).with_origin(Origin::internal().remembering(&taken_by));
        for _ in 0..3 {
            fan_out.consume(again.clone()).await.unwrap_err();
        }
        assert_eq!(takes.offered.load(Ordering::Relaxed), 3, "once");
        assert_eq!(full.offered.load(Ordering::Relaxed), 9, "each time");
        assert_eq!(ahead.value(), 3.0);
        // Another batch is another matter.
        fan_out.consume(batch(2)).await.unwrap_err();
        assert_eq!(takes.offered.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn a_refusal_of_one_target_does_not_keep_the_batch_from_the_others() {
        let (first, second) = (answers(Err(Refused::retryable("full"))), answers(Ok(())));
        let fan_out = fan_out(vec![first.clone(), second.clone()]);
        let refused = fan_out.consume(batch(3)).await.unwrap_err();
        assert!(!refused.permanent);
        assert_eq!(second.offered.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn the_worst_answer_is_the_answer() {
        let targets: Vec<Arc<dyn Stage>> = vec![
            answers(Err(Refused::retryable("full"))),
            answers(Err(Refused::permanent("bad data"))),
            answers(Ok(())),
        ];
        let refused = fan_out(targets).consume(batch(1)).await.unwrap_err();
        assert!(refused.permanent);
        assert_eq!(refused.message, "bad data");
    }

    #[tokio::test]
    async fn a_slow_target_does_not_hold_up_the_offer_to_the_others() {
        let behind = answers(Ok(()));
        let fan_out = fan_out(vec![Arc::new(Never), behind.clone()]);
        let mut call = fan_out.consume(batch(2));
        let polled = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_pending())).await;
        assert!(polled);
        assert_eq!(behind.offered.load(Ordering::Relaxed), 2);
    }
}
