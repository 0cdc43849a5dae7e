//! Sends one planned request and merges its pages.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode};

use super::history::Answer;
use super::plan::Request;
use super::want::{Stat, Want};
use crate::aws::{Calls, Failure};

/// Pages of one request; more than this is an answer gone wrong.
const MAX_PAGES: usize = 1_000;

/// What AWS said of one id.
#[derive(Clone, Debug, Default)]
struct Said {
    /// In the order they came.
    points: Vec<(i64, f64)>,
    complete: bool,
    partial: bool,
    forbidden: bool,
}

/// What became of one series of a request.
#[derive(Debug)]
pub enum Outcome {
    Complete(Answer),
    /// The credentials may not read it.
    Forbidden,
    /// No complete answer: nothing is known.
    Nothing,
}

/// What became of one request.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In the order of the request's series.
    pub outcomes: Vec<Outcome>,
    /// Ids that were answered in more than one part.
    pub partial: u64,
    /// Metrics billed: per call that was answered, five statistics of one metric count once.
    pub units: u64,
    /// Why not all pages came; those that came count.
    pub failure: Option<Failure>,
    /// What was said of the series that several receivers asked for together: its place in the request, and that.
    pub shared: Vec<(usize, Columns)>,
}

/// What was said of each statistic of a series.
#[derive(Debug)]
pub struct Columns(Vec<Said>);

impl Columns {
    /// What is known of these statistics; `asked`: those that were asked for. A statistic that the series does not have
    /// takes nothing from the others.
    pub fn of(&self, asked: &[Stat], wanted: &[Stat]) -> Outcome {
        let place = |stat: &Stat| asked.iter().position(|have| have == stat);
        let said = wanted.iter().map(|stat| self.0.get(place(stat)?).cloned());
        match said.collect::<Option<Vec<Said>>>() {
            Some(mut own) => outcome(&mut own),
            None => Outcome::Nothing,
        }
    }
}

/// How AWS is asked: the client, and the calls it goes through.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub client: &'a Client,
    pub calls: &'a Calls,
}

/// Asks for one request. `shared`: places in it of which every statistic is to be told apart.
pub async fn fetch(line: Line<'_>, request: &Request, wants: &[Want], shared: &[usize]) -> Fetched {
    let mut fetched = fetch_pages(line, request, wants, shared).await;
    if fetched.failure == Some(Failure::InvalidToken) {
        // The pages took too long: once more from the beginning.
        let units = fetched.units;
        fetched = fetch_pages(line, request, wants, shared).await;
        fetched.units += units;
    }
    fetched
}

async fn fetch_pages(line: Line<'_>, request: &Request, wants: &[Want], shared: &[usize]) -> Fetched {
    let mut queries = Some(queries(request.period, wants));
    let units_per_call: u64 = wants.iter().map(Want::units).sum();
    let mut fetched = Fetched::default();
    let mut said = Answers::of(wants);
    let mut token: Option<String> = None;
    for _ in 0..MAX_PAGES {
        // Kept for a second page; the first is most often the last.
        let asked = queries.take().unwrap_or_else(|| self::queries(request.period, wants));
        let call = line
            .client
            .get_metric_data()
            .set_metric_data_queries(Some(asked))
            .start_time(DateTime::from_secs(request.from))
            .end_time(DateTime::from_secs(request.to))
            .scan_by(ScanBy::TimestampAscending)
            .set_next_token(token.take());
        let page = match line.calls.send(|| call.send()).await {
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
            said.add(result);
        }
        match page.next_token() {
            Some(next) => token = Some(next.to_owned()),
            None => break,
        }
    }
    fetched.partial = said.ids.iter().filter(|said| said.partial).count() as u64;
    fetched.shared = shared
        .iter()
        .filter_map(|place| Some((*place, said.columns(*place)?)))
        .collect();
    fetched.outcomes = said.sort_out(wants);
    fetched
}

/// The answers by id; the ids of a series stand together.
pub struct Answers {
    ids: Vec<Said>,
    /// Where the ids of each series begin.
    starts: Vec<usize>,
}

impl Answers {
    /// Nothing said yet of these series.
    pub fn of(wants: &[Want]) -> Self {
        let mut starts = Vec::with_capacity(wants.len());
        let mut count = 0;
        for want in wants {
            starts.push(count);
            count += want.shape.statistics.len();
        }
        Self {
            ids: vec![Said::default(); count],
            starts,
        }
    }

    /// Takes one result of a page.
    pub fn add(&mut self, result: &MetricDataResult) {
        let Some(said) = result.id().and_then(|id| self.of_id(id)) else {
            return;
        };
        let points = result.timestamps().iter().zip(result.values());
        said.points.extend(points.map(|(at, value)| (at.secs(), *value)));
        match result.status_code() {
            Some(StatusCode::Complete) => said.complete = true,
            Some(StatusCode::PartialData) => {
                said.complete = false;
                said.partial = true;
            }
            Some(StatusCode::Forbidden) => said.forbidden = true,
            // InternalError: the next page or the next poll may have it.
            _ => said.complete = false,
        }
    }

    fn of_id(&mut self, id: &str) -> Option<&mut Said> {
        let (place, statistic) = id.strip_prefix('s')?.split_once('_')?;
        let place: usize = place.parse().ok()?;
        let statistic: usize = statistic.parse().ok()?;
        let start = *self.starts.get(place)?;
        let end = self.starts.get(place + 1).copied().unwrap_or(self.ids.len());
        self.ids.get_mut(start..end)?.get_mut(statistic)
    }

    fn columns(&self, place: usize) -> Option<Columns> {
        let start = *self.starts.get(place)?;
        let end = self.starts.get(place + 1).copied().unwrap_or(self.ids.len());
        Some(Columns(self.ids.get(start..end)?.to_vec()))
    }

    /// What is known of each series.
    pub fn sort_out(mut self, wants: &[Want]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(wants.len());
        let mut rest = self.ids.as_mut_slice();
        for want in wants {
            let (own, later) = rest.split_at_mut(want.shape.statistics.len());
            rest = later;
            outcomes.push(outcome(own));
        }
        outcomes
    }
}

fn outcome(own: &mut [Said]) -> Outcome {
    if own.iter().any(|said| said.forbidden) {
        return Outcome::Forbidden;
    }
    // A statistic without a complete answer says nothing about the whole series.
    if own.is_empty() || !own.iter().all(|said| said.complete) {
        return Outcome::Nothing;
    }
    for said in own.iter_mut() {
        // In order already, but for pages that came twice or a service that does not keep to what was asked.
        if !said.points.is_sorted_by_key(|(at, _)| *at) {
            said.points.sort_by_key(|(at, _)| *at);
        }
    }
    let mut answer = Answer::of_width(own.len());
    let mut places = vec![0usize; own.len()];
    let Some((first, others)) = own.split_first() else {
        return Outcome::Nothing;
    };
    let mut values = Vec::with_capacity(others.len() + 1);
    for (at, value) in &first.points {
        values.clear();
        values.push(*value);
        for (said, place) in others.iter().zip(&mut places) {
            while said.points.get(*place).is_some_and(|(other, _)| other < at) {
                *place += 1;
            }
            if let Some((_, value)) = said.points.get(*place).filter(|(other, _)| other == at) {
                values.push(*value);
            }
        }
        // A minute that only some statistics show is still on its way. NaN and infinity are no values.
        if values.len() == others.len() + 1 && values.iter().all(|value| value.is_finite()) {
            answer.push(*at, values.iter().copied());
        }
    }
    Outcome::Complete(answer)
}

/// The queries of a request, in the order of its series. Ids are unique in one request; AWS wants a lower-case letter
/// first.
pub fn queries(period: i64, wants: &[Want]) -> Vec<MetricDataQuery> {
    let mut queries = Vec::with_capacity(wants.iter().map(|want| want.shape.statistics.len()).sum());
    for (place, want) in wants.iter().enumerate() {
        let mut metric = Metric::builder()
            .namespace(&*want.shape.namespace)
            .metric_name(&*want.shape.metric);
        for (name, value) in want.dimensions.iter() {
            metric = metric.dimensions(Dimension::builder().name(&**name).value(&**value).build());
        }
        let metric = metric.build();
        for (number, statistic) in want.shape.statistics.iter().enumerate() {
            let stat = MetricStat::builder()
                .metric(metric.clone())
                .period(i32::try_from(period).unwrap_or(i32::MAX))
                .stat(statistic.name())
                .build();
            queries.push(
                MetricDataQuery::builder()
                    .id(format!("s{place}_{number}"))
                    .metric_stat(stat)
                    .build(),
            );
        }
    }
    queries
}
