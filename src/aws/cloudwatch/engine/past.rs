//! Asking for the past of series on somebody's wish, resource by resource, when nothing more urgent is open: at no more
//! than a fifth of the rate, within the budget, and with the cost in the log first.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::Shard;
use crate::aws::catalogue::Kind;
use crate::aws::cloudwatch::bill::{Api, USD_PER_UNIT};
use crate::aws::cloudwatch::fetch::{Line, Outcome, fetch};
use crate::aws::cloudwatch::history::{Answer, Why};
use crate::aws::cloudwatch::output::Builder;
use crate::aws::cloudwatch::past::{PERIOD, Past, Wish, Wishes, number};
use crate::aws::cloudwatch::plan::{MAX_POINTS, MAX_QUERIES, Request};
use crate::aws::cloudwatch::tracks::Settled;
use crate::aws::cloudwatch::want::{Name, Shape, Want};

/// Of the rate.
const SHARE: f64 = 0.2;

/// The series of one resource that are wished for.
type Resources = BTreeMap<Name, Vec<Want>>;

impl Shard {
    /// Asks for the past of some resources, if somebody wishes it.
    pub(super) async fn ask_past(&mut self) {
        let wishes = self.context.commons.get::<Wishes>().all();
        if wishes.is_empty() || self.tracks.with_gaps().next().is_some() {
            return;
        }
        let place = self.place_number();
        let most = (self.get_metric_data.rate() * self.tracks.schedule.tick() as f64 * SHARE).max(1.0) as usize;
        let mut requests = 0;
        for wish in wishes {
            let open = self.open_resources(&wish, place);
            if open.is_empty() {
                continue;
            }
            let series: usize = open.values().map(Vec::len).sum();
            let units: u64 = open.values().flatten().map(Want::units).sum();
            let mut told = false;
            for (resource, wants) in open {
                let Some(room) = wish.room() else { break };
                if requests >= most || !self.may_ask(Api::Gmd) {
                    return;
                }
                if !told {
                    told = true;
                    tracing::info!(receiver = %self.context.id, account = %self.desk.account, region = %self.desk.region,
                        series, units, usd = units as f64 * USD_PER_UNIT, days = wish.span / 86_400,
                        "asking for the past, to know what is usual; at no more than a fifth of the rate");
                }
                let Some((past, asked)) = self.past_of(&resource, &wants, wish.span, place).await else {
                    return;
                };
                requests += asked;
                wish.done_with(&past.series);
                room.send(past);
            }
        }
    }

    fn place_number(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        for part in [&self.desk.account, &self.desk.region] {
            hash.write(part.as_bytes());
            hash.write_u8(0xff);
        }
        hash.finish()
    }

    fn open_resources(&self, wish: &Wish, place: u64) -> Resources {
        let mut open = Resources::new();
        for track in self.tracks.iter().filter(|track| wish.is_open(place, &track.want)) {
            let own = open.entry(Arc::clone(&track.want.resource)).or_default();
            own.push(track.want.clone());
        }
        open
    }

    /// Everything that is wished of one resource, and how many requests it took. `None`: AWS did not answer; it is asked
    /// again in the next round.
    async fn past_of(&mut self, resource: &Name, wants: &[Want], span: i64, place: u64) -> Option<(Past, usize)> {
        let now = self.now();
        let to = now - now.rem_euclid(PERIOD);
        let from = to - span;
        let mut builder = Builder::new(self.settings().receiver);
        let mut asked = 0;
        for some in cut(wants, (to - from) / PERIOD) {
            let wants: Vec<Want> = some.iter().map(in_five_minutes).collect();
            let request = Request {
                period: PERIOD,
                from,
                to,
                series: (0..wants.len()).collect(),
            };
            let queries: usize = wants.iter().map(|want| want.shape.statistics.len()).sum();
            let points = (to - from) / PERIOD * queries as i64;
            self.points.take_many(points as f64, self.context.clock.as_ref()).await;
            let line = Line {
                client: &self.client,
                calls: &self.get_metric_data,
            };
            let fetched = fetch(line, &request, &wants, &[]).await;
            self.charge(fetched.units, 0);
            asked += 1;
            if let Some(failure) = fetched.failure {
                tracing::debug!(receiver = %self.context.id, trouble = %failure, "the past could not be read yet");
                return None;
            }
            for (want, outcome) in wants.iter().zip(fetched.outcomes) {
                if let Outcome::Complete(answer) = outcome {
                    add(want, &answer, (from, to), &mut builder);
                }
            }
        }
        let mut hash = Xxh3Default::new();
        hash.write_u64(place);
        hash.write(resource.as_bytes());
        let past = Past {
            request: builder.finish(|id| self.source.describe(id)),
            resource: hash.finish(),
            series: wants.iter().map(|want| number(place, want)).collect(),
            from,
            to,
        };
        Some((past, asked))
    }
}

/// Where silence means that nothing happened, the first point says so: from there on it does.
fn add(want: &Want, answer: &Answer, (from, to): (i64, i64), builder: &mut Builder) {
    let mut add = |at: i64, values: Vec<f64>| {
        builder.add(&Settled {
            want: want.clone(),
            at,
            values,
            why: Why::First,
            running: None,
        });
    };
    let first = from.max(want.exists_from + (-want.exists_from).rem_euclid(PERIOD));
    let is_silent = answer.iter().next().is_none_or(|(at, _)| at > first);
    if want.shape.kind == Kind::SumDelta && is_silent && first < to {
        add(first, vec![0.0; want.shape.statistics.len()]);
    }
    for (at, values) in answer.iter() {
        add(at, values.to_vec());
    }
}

/// As many series as one answer holds.
fn cut(wants: &[Want], points: i64) -> Vec<&[Want]> {
    let most = usize::try_from(MAX_POINTS / points.max(1))
        .unwrap_or(0)
        .clamp(1, MAX_QUERIES);
    let mut parts = Vec::new();
    let (mut begin, mut queries) = (0, 0);
    for (position, want) in wants.iter().enumerate() {
        let own = want.shape.statistics.len();
        if queries + own > most && position > begin {
            parts.push(&wants[begin..position]);
            (begin, queries) = (position, 0);
        }
        queries += own;
    }
    if begin < wants.len() {
        parts.push(&wants[begin..]);
    }
    parts
}

fn in_five_minutes(want: &Want) -> Want {
    Want {
        shape: Arc::new(Shape {
            period: PERIOD,
            ..Shape::clone(&want.shape)
        }),
        ..want.clone()
    }
}
