//! CloudWatch: GetMetricData and ListMetrics, with the service's own checks.

use xxhash_rust::xxh3::xxh3_64;

use super::answer::{ApiError, Caller};
use super::faults::Paging;
use super::random::Dice;
use super::statistics::{Samples, Statistic};
use super::value::Value;
use super::world::{Series, World};

/// Queries in one request.
const MAX_QUERIES: usize = 500;
/// Points in one answer.
const MAX_POINTS: usize = 100_800;
/// Metrics in one page of ListMetrics.
const LIST_PAGE: usize = 500;
/// A new metric is listed about 15 minutes after its first point.
const LIST_DELAY_S: i64 = 15 * 60;

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// One checked query.
struct Query<'a> {
    id: &'a str,
    namespace: &'a str,
    metric: &'a str,
    statistic: Statistic,
    period: i64,
    series: Option<&'a Series>,
    label: String,
}

/// What an answer cost: the number of metrics asked for, five statistics of one metric counting once.
pub struct Billed {
    pub answer: Value,
    pub units: u64,
}

/// Points that a request asks for, and how old the oldest is: what the service's limit per second counts.
pub fn points_asked(request: &Value, now: f64) -> (f64, f64) {
    let start = request.time("StartTime").unwrap_or(now);
    let span = (request.time("EndTime").unwrap_or(now).min(now) - start).max(0.0);
    let mut points = 0.0;
    for query in request.list("MetricDataQueries") {
        let period = query.get("MetricStat").and_then(|stat| stat.int("Period"));
        points += (span / period.unwrap_or(MINUTE).max(1) as f64).ceil();
    }
    (points, now - start)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::sender("ValidationError", message)
}

/// GetMetricData at `now` (unix seconds).
pub fn get_metric_data(
    world: &World,
    caller: &Caller,
    request: &Value,
    now: f64,
    paging: &Paging,
) -> Result<Billed, ApiError> {
    let start = request
        .time("StartTime")
        .ok_or_else(|| invalid("StartTime is required"))? as i64;
    let end = request.time("EndTime").ok_or_else(|| invalid("EndTime is required"))? as i64;
    if start >= end {
        return Err(invalid(
            "The parameter StartTime must be less than the parameter EndTime.",
        ));
    }
    let descending = match request.str("ScanBy") {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => return Err(invalid(format!("ScanBy: unknown value {other}"))),
    };
    let page = match request.int("MaxDatapoints") {
        None => MAX_POINTS,
        Some(n) if (1..=MAX_POINTS as i64).contains(&n) => n as usize,
        Some(_) => return Err(invalid("MaxDatapoints must be between 1 and 100800")),
    };
    let page = paging.points.map_or(page, |points| page.min(points.max(1)));
    let queries = check_queries(world, caller, request.list("MetricDataQueries"))?;
    let units = units(&queries);
    let token = Token::read(request, now, paging)?;

    let mut results = Vec::new();
    let mut skip = token.delivered;
    let mut room = page;
    let mut next = None;
    let mut last = Last::default();
    for query in &queries {
        let status = paging.status_of(query.id, query.metric);
        let points = match (&status, query.series) {
            (None, Some(series)) => last.points(world, series, query, (start, end), token.as_of),
            _ => Vec::new(),
        };
        if skip > 0 && skip >= points.len().max(1) {
            skip -= points.len().max(1);
            continue;
        }
        if room == 0 {
            next = Some(());
            break;
        }
        let mut points = points;
        if descending {
            points.reverse();
        }
        let rest = points.split_off(skip.min(points.len()));
        skip = 0;
        let fits = rest.len().min(room);
        // An id without points takes a place as well, so that every page gets on.
        room -= fits.max(1).min(room);
        let complete = fits == rest.len();
        let code = match &status {
            Some(code) => code.as_str(),
            None if complete => "Complete",
            None => "PartialData",
        };
        results.push(result(query, &rest[..fits], code));
        if !complete {
            next = Some(());
            break;
        }
    }
    let mut answer = Value::map([
        ("MetricDataResults", Value::List(results)),
        ("Messages", Value::List(Vec::new())),
    ]);
    if next.is_some() {
        let delivered = token.delivered + (page - room);
        answer.push("NextToken", Value::Text(token.following(request, delivered, now)));
    }
    Ok(Billed { answer, units })
}

/// Where a page begins: written into the NextToken, bound to the rest of the request.
struct Token {
    delivered: usize,
    /// Later pages show the data as of the first one.
    as_of: f64,
}

impl Token {
    fn read(request: &Value, now: f64, paging: &Paging) -> Result<Self, ApiError> {
        let Some(text) = request.str("NextToken") else {
            return Ok(Self {
                delivered: 0,
                as_of: now,
            });
        };
        let refuse = || ApiError::sender("InvalidNextToken", "The next token specified is invalid.");
        let mut parts = text.split('.');
        let hash = parts.next().unwrap_or_default();
        let delivered = parts.next().and_then(|part| part.parse().ok()).ok_or_else(refuse)?;
        let as_of_ms: u64 = parts.next().and_then(|part| part.parse().ok()).ok_or_else(refuse)?;
        let issued_ms: u64 = parts.next().and_then(|part| part.parse().ok()).ok_or_else(refuse)?;
        let age = now - issued_ms as f64 / 1e3;
        if hash != fingerprint(request) || paging.token_ttl_s.is_some_and(|ttl| age > ttl) {
            return Err(refuse());
        }
        Ok(Self {
            delivered,
            as_of: as_of_ms as f64 / 1e3,
        })
    }

    fn following(&self, request: &Value, delivered: usize, now: f64) -> String {
        let as_of_ms = (self.as_of * 1e3) as u64;
        format!("{}.{delivered}.{as_of_ms}.{}", fingerprint(request), (now * 1e3) as u64)
    }
}

/// Of everything but the token itself.
fn fingerprint(request: &Value) -> String {
    let mut rest = request.clone();
    if let Value::Map(entries) = &mut rest {
        entries.retain(|(name, _)| name != "NextToken");
    }
    format!("{:016x}", xxh3_64(&rest.to_cbor()))
}

fn check_queries<'a>(world: &'a World, caller: &'a Caller, list: &'a [Value]) -> Result<Vec<Query<'a>>, ApiError> {
    if list.is_empty() {
        return Err(invalid("MetricDataQueries must not be empty"));
    }
    if list.len() > MAX_QUERIES {
        return Err(invalid(format!(
            "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )));
    }
    let mut queries: Vec<Query<'a>> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (position, query) in list.iter().enumerate() {
        let place = position + 1;
        let id = query.str("Id").unwrap_or_default();
        if !is_id(id) {
            return Err(invalid(format!(
                "The value {id} for parameter MetricDataQueries.member.{place}.Id is not matching the expected pattern \
                 ^[a-z][a-zA-Z0-9_]*$."
            )));
        }
        if !ids.insert(id) {
            return Err(invalid(format!(
                "The values for parameter Id in MetricDataQueries are not unique: {id}"
            )));
        }
        queries.push(check_query(world, caller, query, id, place)?);
    }
    Ok(queries)
}

fn check_query<'a>(
    world: &'a World,
    caller: &'a Caller,
    query: &'a Value,
    id: &'a str,
    place: usize,
) -> Result<Query<'a>, ApiError> {
    let member = |name: &str| format!("MetricDataQueries.member.{place}.{name}");
    if query.get("Expression").is_some() {
        return Err(invalid(format!(
            "{}: the simulator has no metric math",
            member("Expression")
        )));
    }
    let stat = query
        .get("MetricStat")
        .ok_or_else(|| invalid(format!("{} is required", member("MetricStat"))))?;
    let metric = stat
        .get("Metric")
        .ok_or_else(|| invalid(format!("{} is required", member("MetricStat.Metric"))))?;
    let name = metric
        .str("MetricName")
        .ok_or_else(|| invalid(format!("{} is required", member("MetricStat.Metric.MetricName"))))?;
    let period = stat.int("Period").unwrap_or_default();
    let short = [1, 5, 10, 20, 30].contains(&period);
    if period <= 0 || (period % 60 != 0 && !short) {
        return Err(invalid(format!(
            "Period {period} is not valid: it must be 1, 5, 10, 20, 30 or a multiple of 60"
        )));
    }
    let statistic = stat.str("Stat").unwrap_or_default();
    let Some(statistic) = Statistic::parse(statistic) else {
        return Err(invalid(format!(
            "The value {statistic} for parameter {} is not supported.",
            member("Stat")
        )));
    };
    let dimensions = dimensions(metric.list("Dimensions"));
    let account = query.str("AccountId").unwrap_or(&caller.account);
    let namespace = metric.str("Namespace").unwrap_or_default();
    let series = world.find((account, &caller.region), namespace, name, &dimensions);
    let label = query.str("Label").map_or_else(
        || {
            let mut label: Vec<&str> = dimensions.iter().map(|(_, value)| value.as_str()).collect();
            label.push(name);
            label.join(" ")
        },
        str::to_owned,
    );
    Ok(Query {
        id,
        namespace,
        metric: name,
        statistic,
        period,
        series,
        label,
    })
}

fn is_id(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && id.len() <= 255
}

pub fn dimensions(list: &[Value]) -> Vec<(String, String)> {
    let mut dimensions: Vec<(String, String)> = list
        .iter()
        .filter_map(|entry| Some((entry.str("Name")?.to_owned(), entry.str("Value")?.to_owned())))
        .collect();
    dimensions.sort();
    dimensions
}

/// Up to five statistics of one metric count as one metric requested.
fn units(queries: &[Query<'_>]) -> u64 {
    let mut known: std::collections::HashMap<(*const Series, i64), u64> = std::collections::HashMap::new();
    let mut unknown: std::collections::HashMap<(String, i64), u64> = std::collections::HashMap::new();
    for query in queries {
        match query.series {
            Some(series) => *known.entry((std::ptr::from_ref(series), query.period)).or_default() += 1,
            // A metric that does not exist is billed as well; its label names it well enough.
            None => {
                let name = format!("{}/{}/{}", query.namespace, query.metric, query.label);
                *unknown.entry((name, query.period)).or_default() += 1;
            }
        }
    }
    known
        .values()
        .chain(unknown.values())
        .map(|statistics| statistics.div_ceil(5))
        .sum()
}

/// The samples of a series' buckets as of `as_of`, oldest first, aligned to the period.
pub fn buckets(world: &World, series: &Series, period: i64, window: (i64, i64), as_of: f64) -> Vec<(i64, Samples)> {
    let (start, end) = window;
    let age = as_of as i64 - start;
    // Old data exists only in coarser periods.
    let coarsest = match age {
        _ if age <= 15 * DAY => MINUTE,
        _ if age <= 63 * DAY => 5 * MINUTE,
        _ => 60 * MINUTE,
    };
    if period % coarsest != 0 && period >= MINUTE {
        return Vec::new();
    }
    // Points below a minute live for three hours; most metrics are stored by the minute.
    if period < MINUTE && (age > 3 * 3600 || period % series.period != 0) {
        return Vec::new();
    }
    let step = series.period.min(MINUTE);
    let oldest = (as_of as i64 - 455 * DAY).max(world.scenario.start as i64 - 60 * world.scenario.history);
    let start = start.max(oldest);
    let mut bucket = start - start.rem_euclid(period);
    // The start is rounded down to the minute, not to the bucket: an earlier bucket is not returned.
    if bucket < start - start.rem_euclid(coarsest) {
        bucket += period;
    }
    let end = end.min(as_of as i64 + period);
    let mut found = Vec::new();
    while bucket < end {
        let mut samples = world.visible_samples(series, bucket, as_of);
        let mut at = bucket + step;
        while at < bucket + period {
            let more = world.visible_samples(series, at, as_of);
            if !more.is_empty() {
                samples.merge(more);
            }
            at += step;
        }
        if !samples.is_empty() {
            found.push((bucket, samples));
        }
        bucket += period;
    }
    found
}

/// The buckets of the last series asked for: the statistics of a metric stand side by side in a request.
#[derive(Default)]
struct Last {
    of: Option<(*const Series, i64)>,
    buckets: Vec<(i64, Samples)>,
}

impl Last {
    fn points(
        &mut self,
        world: &World,
        series: &Series,
        query: &Query<'_>,
        window: (i64, i64),
        as_of: f64,
    ) -> Vec<(i64, f64)> {
        let of = Some((std::ptr::from_ref(series), query.period));
        if self.of != of {
            self.of = of;
            self.buckets = buckets(world, series, query.period, window, as_of);
        }
        let points = self.buckets.iter();
        points
            .filter_map(|(at, samples)| Some((*at, samples.get(query.statistic)?)))
            .collect()
    }
}

fn result(query: &Query<'_>, points: &[(i64, f64)], status: &str) -> Value {
    let times = points.iter().map(|(at, _)| Value::Time(*at as f64)).collect();
    let values = points.iter().map(|(_, value)| Value::Float(*value)).collect();
    Value::map([
        ("Id", Value::text(query.id)),
        ("Label", Value::text(query.label.as_str())),
        ("Timestamps", Value::List(times)),
        ("Values", Value::List(values)),
        ("StatusCode", Value::text(status)),
    ])
}

/// ListMetrics at `now`.
pub fn list_metrics(world: &World, caller: &Caller, request: &Value, now: f64) -> Result<Value, ApiError> {
    let recently = match request.str("RecentlyActive") {
        None => false,
        Some("PT3H") => true,
        Some(other) => {
            return Err(ApiError::sender(
                "InvalidParameterValue",
                format!("RecentlyActive {other}: only PT3H"),
            ));
        }
    };
    let offset: usize = match request.str("NextToken") {
        None => 0,
        Some(token) => token
            .strip_prefix("list-")
            .and_then(|rest| rest.parse().ok())
            .ok_or_else(|| ApiError::sender("InvalidParameterValue", "NextToken is not valid"))?,
    };
    let mut page = Vec::new();
    let mut next = None;
    for (position, series) in world.series().iter().enumerate().skip(offset) {
        let wanted = request
            .str("Namespace")
            .is_none_or(|namespace| namespace == series.namespace)
            && series.account == caller.account
            && series.region == caller.region
            && request.str("MetricName").is_none_or(|name| name == series.metric)
            && request
                .list("Dimensions")
                .iter()
                .all(|filter| dimension_fits(series, filter));
        if !wanted || !is_listed(world, series, recently, now) {
            continue;
        }
        if page.len() == LIST_PAGE {
            next = Some(position);
            break;
        }
        page.push(listed(series));
    }
    let mut answer = Value::map([("Metrics", Value::List(page))]);
    if let Some(next) = next {
        answer.push("NextToken", Value::Text(format!("list-{next}")));
    }
    Ok(answer)
}

fn dimension_fits(series: &Series, filter: &Value) -> bool {
    let name = filter.str("Name").unwrap_or_default();
    let value = filter.str("Value");
    series
        .dimensions
        .iter()
        .any(|(have, content)| have == name && value.is_none_or(|value| value == content))
}

fn is_listed(world: &World, series: &Series, recently: bool, now: f64) -> bool {
    let now_s = now as i64;
    let back = if recently {
        // The service may show metrics that ended up to 50 minutes earlier.
        let dice = Dice::new(world.scenario.seed, &series.metric, series.dimensions.len() as i64);
        3 * 3600 + (dice.uniform(7) * 3000.0) as i64
    } else {
        14 * DAY
    };
    // Known at all: a point that is old enough to have been indexed. Active: one in the window.
    world.points_known(series, now_s).is_some_and(|(first, last)| {
        let indexed = first <= now_s - LIST_DELAY_S;
        indexed && last >= now_s - back
    })
}

fn listed(series: &Series) -> Value {
    let dimensions = series
        .dimensions
        .iter()
        .map(|(name, value)| {
            Value::map([
                ("Name", Value::text(name.as_str())),
                ("Value", Value::text(value.as_str())),
            ])
        })
        .collect();
    Value::map([
        ("Namespace", Value::text(series.namespace.as_str())),
        ("MetricName", Value::text(series.metric.as_str())),
        ("Dimensions", Value::List(dimensions)),
    ])
}
