//! Who has a batch while it is handed down: kept so that the books close at every gather, not only when all is quiet.
//!
//! A call down the pipeline either is answered within one poll, or waits. Within a poll no gather looks
//! ([`Registry::moving`]), so that "taken below" and "answered above" are one move. While the call waits, what stands
//! below has the batch on its books, and [`Custody`] tells the one above when that begins and ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use smallvec::SmallVec;

use super::{Counter, Refused, Registry};

/// The books of the one who hands a batch down. All calls are made while no gather looks.
pub trait Custody {
    /// The call waits: somebody below has the batch on his books.
    fn handed_down(&mut self);
    /// The answer has come; `waited` tells whether the batch had been handed down before.
    fn answered(&mut self, answer: &Result<(), Refused>, waited: bool);
    /// The caller went away after the batch had been handed down.
    fn abandoned(&mut self);
}

pin_project! {
    /// A call down the pipeline with its books.
    pub struct Offered<'a, F, C>
    where
        C: Custody,
    {
        #[pin]
        call: Option<F>,
        custody: C,
        registry: &'a Registry,
        waits: bool,
    }

    impl<F, C> PinnedDrop for Offered<'_, F, C>
    where
        C: Custody,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.call.is_none() {
                return;
            }
            let _moving = this.registry.moving();
            // What is below closes its own books when its call goes: in the same move.
            this.call.set(None);
            if *this.waits {
                this.custody.abandoned();
            }
        }
    }
}

impl<'a, F, C: Custody> Offered<'a, F, C> {
    /// `call` is what `Stage::consume` gave.
    pub fn new(registry: &'a Registry, call: F, custody: C) -> Self {
        Self {
            call: Some(call),
            custody,
            registry,
            waits: false,
        }
    }
}

impl<F, C> Future for Offered<'_, F, C>
where
    F: Future<Output = Result<(), Refused>>,
    C: Custody,
{
    type Output = Result<(), Refused>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let _moving = this.registry.moving();
        let Some(call) = this.call.as_mut().as_pin_mut() else {
            // Polled after its answer, which no executor does.
            return Poll::Pending;
        };
        let polled = call.poll(context);
        match &polled {
            Poll::Pending if !*this.waits => {
                *this.waits = true;
                this.custody.handed_down();
            }
            Poll::Pending => {}
            Poll::Ready(answer) => {
                this.call.set(None);
                this.custody.answered(answer, *this.waits);
            }
        }
        polled
    }
}

/// What processors took out of a batch: counted when the rest has been taken, since the sender of a refused request
/// brings all of it again.
#[derive(Debug, Default)]
pub struct Removed(SmallVec<[(Counter, u64); 2]>);

impl Removed {
    /// Notes `items` for `counter`.
    pub fn note(&mut self, counter: &Counter, items: u64) {
        if items > 0 {
            self.0.push((counter.clone(), items));
        }
    }

    /// Items noted so far.
    pub fn items(&self) -> u64 {
        self.0.iter().map(|(_, items)| items).sum()
    }

    /// Counts them.
    pub fn settle(&mut self) {
        for (counter, items) in self.0.drain(..) {
            counter.add(items);
        }
    }
}
