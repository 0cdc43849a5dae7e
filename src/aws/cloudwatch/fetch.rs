//! Sends one planned request and merges its pages.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy, StatusCode};

use super::plan::Request;
use super::want::Want;
use crate::aws::{Calls, Failure};

/// Pages of one request; more than this is an answer gone wrong.
const MAX_PAGES: usize = 1_000;

/// What AWS said of one id.
#[derive(Default)]
struct Answer {
    points: BTreeMap<i64, f64>,
    complete: bool,
    partial: bool,
    forbidden: bool,
}

/// What became of one request.
#[derive(Default)]
pub struct Fetched {
    /// Complete answers by position of the series: the values of each minute, in the order of its statistics.
    pub complete: HashMap<usize, BTreeMap<i64, Vec<f64>>>,
    /// Series that the credentials may not read.
    pub forbidden: Vec<usize>,
    /// Series without a complete answer, without a failed call.
    pub incomplete: usize,
    /// Ids that were answered in more than one part.
    pub partial: u64,
    /// Metrics billed: per call that was answered, five statistics of one metric count once.
    pub units: u64,
    /// Why not all pages came; those that came count.
    pub failure: Option<Failure>,
}

/// Asks for one request.
pub async fn fetch(client: &Client, calls: &Calls, request: &Request, wants: &[&Want]) -> Fetched {
    let mut fetched = fetch_pages(client, calls, request, wants).await;
    if fetched.failure == Some(Failure::InvalidToken) {
        // The pages took too long: once more from the beginning.
        let units = fetched.units;
        fetched = fetch_pages(client, calls, request, wants).await;
        fetched.units += units;
    }
    fetched
}

async fn fetch_pages(client: &Client, calls: &Calls, request: &Request, wants: &[&Want]) -> Fetched {
    let queries = queries(request, wants);
    let units_per_call: u64 = wants.iter().map(|want| want.statistics.len().div_ceil(5) as u64).sum();
    let mut fetched = Fetched::default();
    let mut answers: HashMap<String, Answer> = HashMap::new();
    let mut token: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let call = client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.clone()))
            .start_time(DateTime::from_secs(request.from))
            .end_time(DateTime::from_secs(request.to))
            .scan_by(ScanBy::TimestampAscending)
            .set_next_token(token.take());
        let page = match calls.send(|| call.send()).await {
            Ok(page) => page,
            Err(failure) => {
                // AWS answered, and bills what we could not read.
                if matches!(failure, Failure::Server { status, .. } if status < 300) {
                    fetched.units += units_per_call;
                }
                fetched.failure = Some(failure);
                break;
            }
        };
        fetched.units += units_per_call;
        for result in page.metric_data_results() {
            let Some(id) = result.id() else { continue };
            let answer = answers.entry(id.to_owned()).or_default();
            for (at, value) in result.timestamps().iter().zip(result.values()) {
                answer.points.insert(at.secs(), *value);
            }
            match result.status_code() {
                Some(StatusCode::Complete) => answer.complete = true,
                Some(StatusCode::PartialData) => {
                    answer.complete = false;
                    answer.partial = true;
                }
                Some(StatusCode::Forbidden) => answer.forbidden = true,
                // InternalError: the next page or the next poll may have it.
                _ => answer.complete = false,
            }
        }
        match page.next_token() {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    fetched.partial = answers.values().filter(|answer| answer.partial).count() as u64;
    sort_out(request, wants, &answers, &mut fetched);
    fetched
}

fn sort_out(request: &Request, wants: &[&Want], answers: &HashMap<String, Answer>, fetched: &mut Fetched) {
    for (place, (position, want)) in request.series.iter().zip(wants).enumerate() {
        let of = |statistic: usize| answers.get(&id(place, statistic));
        let mut own = (0..want.statistics.len()).map(of);
        if own.clone().flatten().any(|answer| answer.forbidden) {
            fetched.forbidden.push(*position);
            continue;
        }
        // A statistic without a complete answer says nothing about the whole series.
        if !own.clone().all(|answer| answer.is_some_and(|answer| answer.complete)) {
            fetched.incomplete += usize::from(fetched.failure.is_none());
            continue;
        }
        let mut minutes: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        if let Some(Some(first)) = own.next() {
            for (at, value) in &first.points {
                minutes.insert(*at, vec![*value]);
            }
        }
        for answer in own.flatten() {
            for (at, value) in &answer.points {
                if let Some(values) = minutes.get_mut(at) {
                    values.push(*value);
                }
            }
        }
        // A minute that only some statistics show is still on its way. NaN and infinity are no values.
        minutes
            .retain(|_, values| values.len() == want.statistics.len() && values.iter().all(|value| value.is_finite()));
        fetched.complete.insert(*position, minutes);
    }
}

/// Unique in one request; AWS wants a lower-case letter first.
fn id(place: usize, statistic: usize) -> String {
    format!("s{place}_{statistic}")
}

fn queries(request: &Request, wants: &[&Want]) -> Vec<MetricDataQuery> {
    let mut queries = Vec::new();
    for (place, want) in wants.iter().enumerate() {
        let mut metric = Metric::builder()
            .namespace(&want.series.namespace)
            .metric_name(&want.series.metric);
        for (name, value) in &want.series.dimensions {
            metric = metric.dimensions(Dimension::builder().name(name).value(value).build());
        }
        let metric = metric.build();
        for (number, statistic) in want.statistics.iter().enumerate() {
            let stat = MetricStat::builder()
                .metric(metric.clone())
                .period(i32::try_from(request.period).unwrap_or(i32::MAX))
                .stat(statistic.name())
                .build();
            queries.push(
                MetricDataQuery::builder()
                    .id(id(place, number))
                    .metric_stat(stat)
                    .build(),
            );
        }
    }
    queries
}
