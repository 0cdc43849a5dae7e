//! What the polling engine is given: the queries of the configuration, or what ListMetrics names.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudwatch::types::RecentlyActive;

use super::config::{Chosen, Config, Discovery};
use crate::aws::catalogue::{Kind, catalogue};
use crate::aws::cloudwatch::{
    ACCOUNT, Blueprint, Class, Desk, Names, Resource, SeriesId, Settings, Shape, Source, Stat, Want, Watched,
};
use crate::aws::rate::Limits;
use crate::aws::{Calls, Failure};
use crate::component::{BoxFuture, Counter};

/// New metrics are looked for no more often than this.
const DISCOVER_S: i64 = 300;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;
/// Pages of one listing.
const MAX_PAGES: usize = 2_000;

/// The receiver as it is configured.
pub struct Queries {
    pub config: Arc<Config>,
}

impl Blueprint for Queries {
    fn settings(&self) -> &Settings {
        &self.config.engine
    }

    fn source(&self, desk: &Desk) -> Box<dyn Source> {
        let labels = [("account", desk.account.as_str()), ("region", desk.region.as_str())];
        let limited = desk.context.instruments.counter(
            "cloudwatch_discovery_limited_total",
            "Discoveries that found more metrics than `limit`.",
            &labels,
        );
        Box::new(QuerySource {
            config: Arc::clone(&self.config),
            client: desk.access.cloudwatch(&desk.sdk),
            calls: desk.calls("ListMetrics", "cloudwatch:ListMetrics", Limits::LIST_METRICS),
            desk: desk.clone(),
            names: Names::default(),
            found: BTreeSet::new(),
            due: 0,
            denied: None,
            limited,
            told: false,
            waited: false,
            changed: true,
        })
    }
}

struct QuerySource {
    config: Arc<Config>,
    client: aws_sdk_cloudwatch::Client,
    calls: Calls,
    desk: Desk,
    names: Names,
    found: BTreeSet<SeriesId>,
    due: i64,
    denied: Option<Failure>,
    limited: Counter,
    /// The limit was told of.
    told: bool,
    /// `initial_delay` has passed.
    waited: bool,
    changed: bool,
}

impl QuerySource {
    async fn refresh(&mut self, discovery: &Discovery, now: i64) -> Option<Failure> {
        if now < self.due {
            return None;
        }
        match self.list(discovery).await {
            Ok(found) => {
                self.changed |= found != self.found;
                self.found = found;
                self.denied = None;
                self.due = now + self.config.interval.max(DISCOVER_S);
                None
            }
            Err(failure) => {
                if matches!(failure, Failure::Denied { .. }) {
                    self.denied = Some(failure.clone());
                    self.due = now + DENIED_S;
                }
                Some(failure)
            }
        }
    }

    /// A page that fails fails the whole: the old list stays.
    async fn list(&mut self, discovery: &Discovery) -> Result<BTreeSet<SeriesId>, Failure> {
        let limit = usize::try_from(discovery.limit).unwrap_or(usize::MAX);
        let filter = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut found = BTreeSet::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            // What lies in our window is younger than three hours, so is what is listed.
            let call = self
                .client
                .list_metrics()
                .set_namespace(filter(&discovery.filters.namespace))
                .set_metric_name(filter(&discovery.filters.metric_name))
                .recently_active(RecentlyActive::Pt3H)
                .set_next_token(token.take());
            let page = self.calls.send(|| call.send()).await?;
            for metric in page.metrics() {
                let (Some(namespace), Some(name)) = (metric.namespace(), metric.metric_name()) else {
                    continue;
                };
                let dimensions: Vec<(&str, &str)> = metric
                    .dimensions()
                    .iter()
                    .filter_map(|dimension| Some((dimension.name()?, dimension.value()?)))
                    .collect();
                let series = self.names.series(namespace, name, &dimensions);
                if found.len() == limit && !found.contains(&series) {
                    self.tell_of_the_limit(limit);
                    return Ok(found);
                }
                found.insert(series);
            }
            match page.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        Ok(found)
    }

    fn tell_of_the_limit(&mut self, limit: usize) {
        self.limited.add(1);
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(receiver = %self.desk.context.id, limit,
                "discovery found more metrics than `limit`; the rest is not read");
        }
    }

    fn want(&mut self, series: &SeriesId, stats: &[String]) -> Want {
        let dimensions: Vec<&str> = series.dimensions.iter().map(|(name, _)| &**name).collect();
        let known = catalogue().lookup(&series.namespace, &series.metric, &dimensions);
        let statistics: Vec<Stat> = Config::statistics(stats);
        let shape = Shape {
            namespace: Arc::clone(&series.namespace),
            metric: Arc::clone(&series.metric),
            kind: known.map_or(Kind::Gauge, |metric| metric.otel_kind),
            unit: self.names.name(known.map_or("", |metric| metric.unit.as_str())),
            statistics,
            period: self.config.period,
            class: if self.config.period >= 300 {
                Class::Native
            } else {
                Class::Detail
            },
            fill: false,
            heartbeat: false,
        };
        Want {
            shape: Arc::new(shape),
            dimensions: Arc::clone(&series.dimensions),
            resource: self.names.name(ACCOUNT),
            exists_from: 0,
        }
    }

    fn all(&mut self) -> Vec<Want> {
        let config = Arc::clone(&self.config);
        match &config.chosen {
            Chosen::Queries(queries) => {
                let mut wants: Vec<Want> = Vec::new();
                for query in queries {
                    let dimensions: Vec<(&str, &str)> = query
                        .dimensions
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.as_str()))
                        .collect();
                    let series = self.names.series(&query.namespace, &query.metric_name, &dimensions);
                    let want = self.want(&series, &query.stats);
                    // Named twice, with other statistics: asked once, for all of them.
                    let twin = wants.iter_mut().find(|known| known.series() == series);
                    match twin {
                        None => wants.push(want),
                        Some(known) => {
                            let mut shape = Shape::clone(&known.shape);
                            for stat in &want.shape.statistics {
                                if !shape.statistics.contains(stat) {
                                    shape.statistics.push(stat.clone());
                                }
                            }
                            known.shape = Arc::new(shape);
                        }
                    }
                }
                wants
            }
            Chosen::Discovery(discovery) => {
                let found: Vec<SeriesId> = self.found.iter().cloned().collect();
                found.iter().map(|series| self.want(series, &discovery.stats)).collect()
            }
        }
    }
}

impl Source for QuerySource {
    fn renew(&mut self, desk: &Desk) {
        self.client = desk.access.cloudwatch(&desk.sdk);
        self.desk = desk.clone();
    }

    fn discover(&mut self, now: i64) -> BoxFuture<'_, Vec<Failure>> {
        Box::pin(async move {
            if !std::mem::replace(&mut self.waited, true) {
                let wait = Duration::from_secs(u64::try_from(self.config.initial_delay).unwrap_or(0));
                self.desk.context.clock.sleep(wait).await;
            }
            let config = Arc::clone(&self.config);
            match &config.chosen {
                Chosen::Queries(_) => Vec::new(),
                Chosen::Discovery(discovery) => self.refresh(discovery, now).await.into_iter().collect(),
            }
        })
    }

    fn denied(&self) -> Vec<String> {
        self.denied.iter().map(Failure::to_string).collect()
    }

    fn wants(&mut self) -> Option<Vec<Want>> {
        std::mem::take(&mut self.changed).then(|| self.all())
    }

    fn watched(&self) -> Vec<Watched> {
        Vec::new()
    }

    fn describe(&self, _resource: &str) -> Resource {
        let attributes = [
            ("cloud.provider", "aws"),
            ("cloud.account.id", self.desk.account.as_str()),
            ("cloud.region", self.desk.region.as_str()),
        ];
        Resource {
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}
