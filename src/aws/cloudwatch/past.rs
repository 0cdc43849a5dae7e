//! What somebody wants to know of the past of series that are polled anyway: how they were in the last weeks. Whoever
//! polls them asks once, in points of five minutes, and hands the answer to him and not into pipelines.
//!
//! A wish is known to all pollers of the process. A resource is asked for as a whole, since sums run over its series.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::sync::mpsc;

use super::want::{Shape, Want};

/// Seconds between two points of an answer; AWS keeps those for 63 days.
pub const PERIOD: i64 = 300;
/// Answers that wait to be read: each may be a megabyte.
const WAITING: usize = 4;

/// All wishes of the process.
#[derive(Default)]
pub struct Wishes(Mutex<Vec<Weak<Wish>>>);

/// What one who asks wants.
pub struct Wish {
    wants: Box<dyn Fn(&Shape) -> bool + Send + Sync>,
    /// Seconds.
    pub span: i64,
    /// Series of places that have been asked for.
    asked: Mutex<HashSet<u64>>,
    answers: mpsc::Sender<Past>,
}

/// The past of one resource.
pub struct Past {
    /// Typed metrics with the resource's attributes, as the poller hands them on.
    pub request: ExportMetricsServiceRequest,
    /// Hash of account, region and resource.
    pub resource: u64,
    /// What to give to [`Wish::done_with`] after a restart.
    pub series: Vec<u64>,
    /// What was asked, unix seconds.
    pub from: i64,
    pub to: i64,
}

impl Wishes {
    /// Asks for the last `span` seconds of every series whose metric is wanted. The wish ends when it is dropped.
    pub fn ask(
        &self,
        span: i64,
        wants: impl Fn(&Shape) -> bool + Send + Sync + 'static,
        done: impl IntoIterator<Item = u64>,
    ) -> (Arc<Wish>, mpsc::Receiver<Past>) {
        let (answers, receiver) = mpsc::channel(WAITING);
        let wish = Arc::new(Wish {
            wants: Box::new(wants),
            span,
            asked: Mutex::new(done.into_iter().collect()),
            answers,
        });
        let mut wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.retain(|wish| wish.strong_count() > 0);
        wishes.push(Arc::downgrade(&wish));
        (wish, receiver)
    }

    /// Those that are still there.
    pub fn all(&self) -> Vec<Arc<Wish>> {
        let wishes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wishes.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Wish {
    fn asked(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the past of a series is still to be asked for.
    pub fn is_open(&self, place: u64, want: &Want) -> bool {
        // Coarser points say nothing about five minutes.
        want.shape.period <= PERIOD && (self.wants)(&want.shape) && !self.asked().contains(&number(place, want))
    }

    /// Room for one more answer; `None` while the last ones wait to be read.
    pub fn room(&self) -> Option<mpsc::Permit<'_, Past>> {
        self.answers.try_reserve().ok()
    }

    /// They are not asked for again.
    pub fn done_with(&self, series: &[u64]) {
        self.asked().extend(series);
    }
}

/// A series of an account and region.
pub fn number(place: u64, want: &Want) -> u64 {
    place ^ want.identity()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::catalogue::Kind;
    use crate::aws::cloudwatch::want::{Class, SeriesId, Stat};

    fn want(metric: &str, period: i64) -> Want {
        Want {
            shape: Arc::new(Shape {
                namespace: "AWS/DynamoDB".into(),
                metric: metric.into(),
                kind: Kind::SumDelta,
                unit: "Count".into(),
                statistics: vec![Stat::Sum],
                period,
                class: Class::Core,
                fill: false,
                heartbeat: false,
            }),
            dimensions: SeriesId::new("AWS/DynamoDB", metric, &[("TableName", "t")]).dimensions,
            resource: "t".into(),
            exists_from: 0,
        }
    }

    #[test]
    fn a_series_is_asked_for_once_in_each_place_and_a_wish_ends_with_him_who_asks() {
        let wishes = Wishes::default();
        let (wish, _receiver) = wishes.ask(60, |shape| &*shape.metric == "A", []);
        let (wanted, other) = (want("A", 60), want("B", 60));
        assert!(wish.is_open(1, &wanted) && !wish.is_open(1, &other) && !wish.is_open(1, &want("A", 3_600)));
        wish.done_with(&[number(1, &wanted)]);
        assert!(!wish.is_open(1, &wanted) && wish.is_open(2, &wanted));
        assert_eq!(wishes.all().len(), 1);
        drop(wish);
        assert!(wishes.all().is_empty());
    }

    #[test]
    fn answers_wait_in_a_bounded_place() {
        let (wish, _receiver) = Wishes::default().ask(60, |_| true, []);
        let held: Vec<_> = std::iter::from_fn(|| wish.room()).collect();
        assert_eq!(held.len(), WAITING);
    }
}
