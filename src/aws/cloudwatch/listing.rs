//! What ListMetrics names: one call for a whole namespace, hourly, with RecentlyActive=PT3H; never one for each metric.
//! A page that fails keeps the old list.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::types::{DimensionFilter, RecentlyActive};

use super::engine::Desk;
use super::want::{Names, SeriesId};
use crate::aws::rate::Limits;
use crate::aws::{Calls, Failure};

/// Hourly is enough: a metric takes a quarter of an hour to show at all.
const EVERY_S: i64 = 3600;
/// A series that is no longer listed counts for so long: the three hours that RecentlyActive stands for, and one list.
const KEPT_S: i64 = 4 * EVERY_S;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;
/// Pages of one namespace; 500 series each.
const MAX_PAGES: usize = 2_000;

/// One namespace, or a part of it.
struct Part {
    namespace: &'static str,
    /// Dimension that all series must have.
    filter: Option<(&'static str, &'static str)>,
    due: i64,
    /// Asked at all.
    asked: Option<i64>,
    /// Series and until when they count.
    series: BTreeMap<SeriesId, i64>,
}

/// The series of some namespaces.
pub struct Listing {
    client: Client,
    calls: Calls,
    parts: Vec<Part>,
    names: Names,
    denied: Option<Failure>,
}

impl Listing {
    /// Of whole namespaces.
    pub fn new(desk: &Desk, namespaces: Vec<&'static str>) -> Self {
        let part = |namespace| Part {
            namespace,
            filter: None,
            due: 0,
            asked: None,
            series: BTreeMap::new(),
        };
        Self {
            client: desk.access.cloudwatch(&desk.sdk),
            calls: desk.calls("ListMetrics", "cloudwatch:ListMetrics", Limits::LIST_METRICS),
            parts: namespaces.into_iter().map(part).collect(),
            names: Names::default(),
            denied: None,
        }
    }

    /// Only series with this dimension: of a namespace that many services share.
    pub fn only(mut self, namespace: &'static str, name: &'static str, value: &'static str) -> Self {
        for part in self.parts.iter_mut().filter(|part| part.namespace == namespace) {
            part.filter = Some((name, value));
        }
        self
    }

    /// Other credentials, the same rates and counts.
    pub fn renew(&mut self, desk: &Desk) {
        self.client = desk.access.cloudwatch(&desk.sdk);
    }

    /// Something is expected to show: asked again so many seconds after the last time.
    pub fn ask_again_after(&mut self, seconds: i64, now: i64) {
        for part in &mut self.parts {
            if let Some(asked) = part.asked {
                part.due = part.due.min((asked + seconds).max(now));
            }
        }
    }

    /// Every series that counts.
    pub fn series(&self) -> impl Iterator<Item = &SeriesId> {
        self.parts.iter().flat_map(|part| part.series.keys())
    }

    /// The missing permission.
    pub fn denied(&self) -> Option<String> {
        self.denied.as_ref().map(Failure::to_string)
    }

    /// Asks what is due. Whether series have come or gone, and what failed.
    pub async fn refresh(&mut self, now: i64) -> (bool, Vec<Failure>) {
        let (mut changed, mut failures) = (false, Vec::new());
        for part in &mut self.parts {
            if now < part.due {
                continue;
            }
            let before = part.series.len();
            let (new, result) = list(&self.client, &self.calls, part, &mut self.names, now).await;
            changed |= new;
            match result {
                Ok(()) => {
                    self.denied = None;
                    part.series.retain(|_, until| now < *until);
                    changed |= part.series.len() < before;
                    part.asked = Some(now);
                    part.due = now + EVERY_S;
                }
                Err(failure) => {
                    let ends = failure.ends_the_round() || failure.is_transient();
                    if matches!(failure, Failure::Denied { .. }) {
                        self.denied = Some(failure.clone());
                        part.due = now + DENIED_S;
                    }
                    failures.push(failure);
                    if ends {
                        // What ails AWS ails the next namespace too.
                        break;
                    }
                }
            }
        }
        if changed {
            self.names.tidy();
        }
        (changed, failures)
    }
}

/// All pages; whether there was a new series. Those of pages before a failure count.
async fn list(
    client: &Client,
    calls: &Calls,
    part: &mut Part,
    names: &mut Names,
    now: i64,
) -> (bool, Result<(), Failure>) {
    let mut new = false;
    let mut token: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut call = client
            .list_metrics()
            .namespace(part.namespace)
            .recently_active(RecentlyActive::Pt3H)
            .set_next_token(token.take());
        if let Some((name, value)) = part.filter {
            call = call.dimensions(DimensionFilter::builder().name(name).value(value).build());
        }
        let page = match calls.send(|| call.send()).await {
            Ok(page) => page,
            Err(failure) => return (new, Err(failure)),
        };
        for metric in page.metrics() {
            let dimensions: Vec<(&str, &str)> = metric
                .dimensions()
                .iter()
                .filter_map(|dimension| Some((dimension.name()?, dimension.value()?)))
                .collect();
            if let Some(name) = metric.metric_name() {
                let series = names.series(part.namespace, name, &dimensions);
                new |= part.series.insert(series, now + KEPT_S).is_none();
            }
        }
        match page.next_token() {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    (new, Ok(()))
}
