//! Cuts a poll into requests: no more than 500 queries, no more points than one answer holds, no series split.

use super::want::Want;

/// Queries in one request.
pub const MAX_QUERIES: usize = 500;
/// Points in one answer: with more AWS answers in pages, which may be billed again.
pub const MAX_POINTS: i64 = 100_800;

/// What to ask for one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Position of the series among the tracks.
    pub series: usize,
    pub class: super::Class,
    pub statistics: usize,
    pub period: i64,
    /// Unix seconds, a multiple of the period.
    pub from: i64,
}

impl Ask {
    pub fn new(series: usize, want: &Want, from: i64) -> Self {
        Self {
            series,
            class: want.shape.class,
            statistics: want.shape.statistics.len(),
            period: want.shape.period,
            from: from - from.rem_euclid(want.shape.period),
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub period: i64,
    pub from: i64,
    /// Exclusive.
    pub to: i64,
    /// Positions of the series.
    pub series: Vec<usize>,
}

/// The requests for all asks at `now`, the most urgent first. Equal periods and similar windows stand together.
pub fn plan(mut asks: Vec<Ask>, now: i64) -> Vec<Request> {
    asks.retain(|ask| ask.statistics > 0 && ask.statistics <= MAX_QUERIES);
    // A long window costs room for everybody in its request, so long windows keep to themselves (by the hour).
    asks.sort_by_key(|ask| (ask.class, ask.period, (now - ask.from) / 3600, ask.series));
    let mut requests: Vec<Request> = Vec::new();
    let mut queries = 0usize;
    for ask in asks {
        let to = now + (-now).rem_euclid(ask.period);
        if to <= ask.from {
            continue;
        }
        if let Some(last) = requests.last_mut() {
            let from = last.from.min(ask.from);
            let total = queries + ask.statistics;
            let points = (last.to - from) / ask.period * total as i64;
            if last.period == ask.period && total <= MAX_QUERIES && points <= MAX_POINTS {
                last.from = from;
                last.series.push(ask.series);
                queries = total;
                continue;
            }
        }
        queries = ask.statistics;
        requests.push(Request {
            period: ask.period,
            from: ask.from,
            to,
            series: vec![ask.series],
        });
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Class;
    use super::*;

    fn ask() -> impl Strategy<Value = Ask> {
        (
            0..4usize,
            1..6usize,
            prop::sample::select(vec![60i64, 300, 3600]),
            0..86_400i64,
        )
            .prop_map(|(class, statistics, period, back)| {
                let from = 2_000_000 - back;
                Ask {
                    series: 0,
                    class: Class::ALL[class],
                    statistics,
                    period,
                    from: from - from.rem_euclid(period),
                }
            })
    }

    proptest! {
        #[test]
        fn no_plan_splits_a_series_or_exceeds_the_limits(mut asks in prop::collection::vec(ask(), 0..900)) {
            for (position, ask) in asks.iter_mut().enumerate() {
                ask.series = position;
            }
            let requests = plan(asks.clone(), 2_000_000);
            let mut seen = vec![0; asks.len()];
            for request in &requests {
                let mut queries = 0;
                for series in &request.series {
                    seen[*series] += 1;
                    queries += asks[*series].statistics;
                    prop_assert_eq!(asks[*series].period, request.period);
                    prop_assert!(request.from <= asks[*series].from && request.to >= 2_000_000);
                }
                prop_assert!(queries <= MAX_QUERIES);
                let points = (request.to - request.from) / request.period * queries as i64;
                prop_assert!(points <= MAX_POINTS || request.series.len() == 1);
                prop_assert_eq!(request.from % request.period, 0);
                prop_assert_eq!(request.to % request.period, 0);
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
        }
    }
}
