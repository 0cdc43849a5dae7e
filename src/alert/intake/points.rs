//! The points of one wanted metric.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use super::plan::{MetricPlan, Output, Stat};
use super::{Intake, Place, names, source_kind, text_of};
use crate::alert::engine::Engine;
use crate::alert::store::{Histogram, Origin, Point as Stored, STALE, SeriesId, Spread};
use crate::wire::{Exemplar, ExponentialHistogramPoint, HistogramPoint, Metric, Point, SummaryPoint, Value, WireError};

const NANOS: u64 = 1_000_000;

/// A point on its way into the store.
struct Incoming<'a> {
    point: Point<'a>,
    place: &'a Place,
    /// Of metric, resource and attributes.
    hash: u64,
    time: i64,
    period: u32,
    source: u32,
    now: i64,
    /// The labels; built when a series is seen first.
    labels: Option<Vec<(String, String)>>,
}

impl Intake {
    #[allow(clippy::too_many_arguments)] // One call, from the walk over the metrics.
    pub(super) fn points(
        &mut self,
        metric: &Metric<'_>,
        key: u64,
        place: &Place,
        is_poller: bool,
        now: i64,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        // Taken out so that the rest can be changed meanwhile; put back below.
        let Some(plan) = self.plans.remove(&key) else {
            return Ok(());
        };
        let result = self.points_by(&plan, metric, key, place, is_poller, now, engine);
        self.plans.insert(key, plan);
        result
    }

    #[allow(clippy::too_many_arguments)] // One call, from just above.
    fn points_by(
        &mut self,
        plan: &MetricPlan,
        metric: &Metric<'_>,
        key: u64,
        place: &Place,
        is_poller: bool,
        now: i64,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        let Some(data) = metric.data()? else { return Ok(()) };
        let is_cloudwatch = matches!(
            plan,
            MetricPlan::CloudWatch { .. } | MetricPlan::Watermark | MetricPlan::Blind(_)
        );
        let prefix = if is_cloudwatch || is_poller {
            "cloudwatch"
        } else {
            "push"
        };
        let source = engine.source(
            &format!("{prefix}|{}", place.key),
            source_kind(is_poller, is_cloudwatch),
        );
        if is_poller
            && is_cloudwatch
            && let Some(service) = &place.service
        {
            engine.serves(source, service);
        }
        for point in data.points() {
            let point = point?;
            let time = i64::try_from(point.time_unix_nano()? / NANOS).unwrap_or(i64::MAX);
            let start = i64::try_from(point.start_time_unix_nano()? / NANOS).unwrap_or(0);
            let mut incoming = Incoming {
                hash: self.point_hash(key, place.hash, &point)?,
                point,
                place,
                time,
                period: if is_cloudwatch && start > 0 {
                    u32::try_from(time - start).unwrap_or(0)
                } else {
                    0
                },
                source,
                now,
                labels: None,
            };
            self.point(plan, &mut incoming, engine)?;
        }
        Ok(())
    }

    fn point_hash(&self, key: u64, place: u64, point: &Point<'_>) -> Result<u64, WireError> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(key);
        hasher.write_u64(place);
        for attribute in point.attributes().raw() {
            hasher.write(attribute?);
        }
        Ok(hasher.finish())
    }

    fn point(&mut self, plan: &MetricPlan, incoming: &mut Incoming<'_>, engine: &mut Engine) -> Result<(), WireError> {
        let is_gap = incoming.point.is_gap()?;
        match (plan, incoming.point) {
            (MetricPlan::Watermark, Point::Number(number)) => {
                if let Some(until) = number.value()? {
                    engine.cover(incoming.source, (until.as_f64() * 1_000.0) as i64, incoming.now);
                }
            }
            (MetricPlan::Blind(output), Point::Number(number)) => {
                let Some(value) = number.value()?.map(|value| value.as_f64()) else {
                    return Ok(());
                };
                engine.blind(incoming.source, value > 0.0, incoming.now);
                if let Some(output) = output {
                    // How the poller is, is known now, whatever its data is.
                    let own = format!("blind|{}", incoming.place.key);
                    incoming.source = engine.source(&own, source_kind(false, false));
                    self.number(output, incoming, 0, value, false, engine)?;
                }
            }
            (MetricPlan::Number { output, is_delta }, Point::Number(number)) => {
                let value = number.value()?.map(|value| value.as_f64());
                let value = if is_gap { Some(STALE) } else { value };
                if let Some(value) = value {
                    let id = self.number(output, incoming, 0, value, *is_delta && !is_gap, engine)?;
                    note_traces(id, number.exemplars(), engine)?;
                }
            }
            (
                MetricPlan::CloudWatch {
                    base,
                    outputs,
                    percentiles,
                    beside,
                },
                _,
            ) if !is_gap => {
                self.cloudwatch((base, outputs, *percentiles, beside.as_ref()), incoming, engine)?;
            }
            (
                MetricPlan::Histogram {
                    bucket,
                    sum,
                    count,
                    is_delta,
                },
                Point::Histogram(histogram),
            ) if !is_gap => {
                let parts = (bucket.as_ref(), sum.as_ref(), count.as_ref());
                self.histogram(parts, *is_delta, &histogram, incoming, engine)?;
            }
            (MetricPlan::Native { output, is_delta }, Point::ExponentialHistogram(histogram)) if !is_gap => {
                let read = Arc::new(native(&histogram)?);
                let Some(id) = self.find(output, incoming, 0, &[], engine)? else {
                    return Ok(());
                };
                let total = match self.totals.histograms.get(&id) {
                    Some(total) if *is_delta => Arc::new(total.combine(&read, |a, b| a + b)),
                    _ => read,
                };
                if *is_delta {
                    self.totals.histograms.insert(id, Arc::clone(&total));
                }
                engine.push(id, incoming.time, Stored::Histogram(total), incoming.now);
                note_traces(Some(id), histogram.exemplars(), engine)?;
            }
            (MetricPlan::Summary { quantile, sum, count }, Point::Summary(summary)) if !is_gap => {
                self.summary(
                    (quantile.as_ref(), sum.as_ref(), count.as_ref()),
                    &summary,
                    incoming,
                    engine,
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A number of a series; `part` tells the several series of one point apart.
    #[allow(clippy::too_many_arguments)] // All of them differ from call to call.
    fn number(
        &mut self,
        output: &Output,
        incoming: &mut Incoming<'_>,
        part: u64,
        value: f64,
        adds_up: bool,
        engine: &mut Engine,
    ) -> Result<Option<SeriesId>, WireError> {
        let Some(id) = self.find(output, incoming, part, &[], engine)? else {
            return Ok(None);
        };
        self.put(id, incoming, value, adds_up, engine);
        Ok(Some(id))
    }

    fn put(&mut self, id: SeriesId, incoming: &Incoming<'_>, value: f64, adds_up: bool, engine: &mut Engine) {
        let mut value = value;
        if adds_up {
            let total = self.totals.numbers.entry(id).or_insert(0.0);
            *total += value;
            value = *total;
        }
        engine.push(id, incoming.time, Stored::Float(value), incoming.now);
    }

    fn find(
        &mut self,
        output: &Output,
        incoming: &mut Incoming<'_>,
        part: u64,
        extra: &[(&str, &str)],
        engine: &mut Engine,
    ) -> Result<Option<SeriesId>, WireError> {
        let hash = incoming.hash ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let origin = Origin {
            period: incoming.period,
            source: incoming.source,
            fill: output.fill,
        };
        if let Some(known) = self.known.get(&hash) {
            return Ok(match known {
                super::Known::Is(id) => Some(*id),
                super::Known::Unselected => None,
            });
        }
        if incoming.labels.is_none() {
            incoming.labels = Some(labels_of(&incoming.point, incoming.place)?);
        }
        let labels = incoming.labels.as_deref().unwrap_or_default();
        let mut texts: Vec<(&str, &str)> = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        texts.push(("__name__", &output.name));
        texts.extend(extra);
        let found = self.series(hash, || engine.intern(&texts, origin));
        if let Some(id) = found {
            // It may be known from before, from another source or with another period.
            engine.describe(id, origin);
        }
        Ok(found)
    }

    fn cloudwatch(
        &mut self,
        (base, outputs, percentiles, beside): (&str, &[(Stat, Output)], bool, Option<&Output>),
        incoming: &mut Incoming<'_>,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        match incoming.point {
            Point::Number(number) => {
                let Some(value) = number.value()?.map(|value| value.as_f64()) else {
                    return Ok(());
                };
                if let Some(Value::String(stat)) = incoming.point.attribute("stat")? {
                    // A gauge for each statistic.
                    let stat = crate::alert::rules::metrics::statistic_name(&stat.lossy());
                    let name = format!("{base}_{stat}");
                    if engine.store().wants(&name) {
                        let output = Output {
                            fill: crate::alert::rules::metrics::default_fill(&name),
                            name,
                        };
                        self.number(&output, incoming, 1, value, false, engine)?;
                    }
                    return Ok(());
                }
                let output = beside.or_else(|| outputs.first().map(|(_, output)| output));
                if let Some(output) = output {
                    let id = self.number(output, incoming, 1, value, false, engine)?;
                    note_traces(id, number.exemplars(), engine)?;
                }
            }
            Point::Histogram(histogram) => {
                let (count, sum) = (histogram.count()? as f64, histogram.sum()?.unwrap_or(0.0));
                let (min, max) = (histogram.min()?, histogram.max()?);
                self.statistics(outputs, (sum, count, min, max), incoming, engine)?;
            }
            Point::Summary(summary) => {
                let (count, sum) = (summary.count()? as f64, summary.sum()?);
                let (mut min, mut max) = (None, None);
                for quantile in summary.quantile_values() {
                    let quantile = quantile?;
                    let (share, value) = (quantile.quantile()?, quantile.value()?);
                    if share == 0.0 {
                        min = Some(value);
                    } else if share == 1.0 {
                        max = Some(value);
                    } else if percentiles {
                        let percent = format!("{:.4}", share * 100.0);
                        let percent = percent.trim_end_matches('0').trim_end_matches('.').replace('.', "_");
                        let name = format!("{base}_p{percent}");
                        if engine.store().wants(&name) {
                            let output = Output {
                                fill: crate::alert::rules::metrics::default_fill(&name),
                                name,
                            };
                            self.number(&output, incoming, 100 + (share * 10_000.0) as u64, value, false, engine)?;
                        }
                    }
                }
                self.statistics(outputs, (sum, count, min, max), incoming, engine)?;
            }
            Point::ExponentialHistogram(_) => {}
        }
        Ok(())
    }

    fn statistics(
        &mut self,
        outputs: &[(Stat, Output)],
        (sum, count, min, max): (f64, f64, Option<f64>, Option<f64>),
        incoming: &mut Incoming<'_>,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        for (stat, output) in outputs {
            let value = match stat {
                Stat::Sum => Some(sum),
                Stat::SampleCount => Some(count),
                Stat::Average => (count > 0.0).then(|| sum / count),
                Stat::Minimum => min,
                Stat::Maximum => max,
            };
            if let Some(value) = value {
                self.number(output, incoming, 1 + *stat as u64, value, false, engine)?;
            }
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        (bucket, sum, count): (Option<&Output>, Option<&Output>, Option<&Output>),
        is_delta: bool,
        histogram: &HistogramPoint<'_>,
        incoming: &mut Incoming<'_>,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        let total = histogram.count()? as f64;
        if let (Some(output), Some(sum)) = (sum, histogram.sum()?) {
            self.number(output, incoming, 1, sum, is_delta, engine)?;
        }
        if let Some(output) = count {
            let id = self.number(output, incoming, 2, total, is_delta, engine)?;
            note_traces(id, histogram.exemplars(), engine)?;
        }
        let Some(output) = bucket else { return Ok(()) };
        let mut below = 0.0;
        let mut bounds = histogram.explicit_bounds();
        for (position, counted) in histogram.bucket_counts().enumerate() {
            below += counted? as f64;
            let bound = match bounds.next() {
                Some(bound) => bound?.to_string(),
                None => "+Inf".to_owned(),
            };
            let id = self.find(output, incoming, 1_000 + position as u64, &[("le", &bound)], engine)?;
            if let Some(id) = id {
                self.put(id, incoming, below, is_delta, engine);
                note_traces(Some(id), histogram.exemplars(), engine)?;
            }
        }
        Ok(())
    }

    fn summary(
        &mut self,
        (quantile, sum, count): (Option<&Output>, Option<&Output>, Option<&Output>),
        summary: &SummaryPoint<'_>,
        incoming: &mut Incoming<'_>,
        engine: &mut Engine,
    ) -> Result<(), WireError> {
        if let Some(output) = sum {
            self.number(output, incoming, 1, summary.sum()?, false, engine)?;
        }
        if let Some(output) = count {
            self.number(output, incoming, 2, summary.count()? as f64, false, engine)?;
        }
        let Some(output) = quantile else { return Ok(()) };
        for (position, value) in summary.quantile_values().enumerate() {
            let value = value?;
            let share = value.quantile()?.to_string();
            let id = self.find(
                output,
                incoming,
                1_000 + position as u64,
                &[("quantile", &share)],
                engine,
            )?;
            if let Some(id) = id {
                self.put(id, incoming, value.value()?, false, engine);
            }
        }
        Ok(())
    }
}

/// The labels of a point: those of its resource, and its own attributes. Those of CloudWatch's own view are flat here.
fn labels_of(point: &Point<'_>, place: &Place) -> Result<Vec<(String, String)>, WireError> {
    let mut labels = place.labels.clone();
    let mut add = |name: String, value: String| {
        labels.retain(|(have, _)| *have != name);
        labels.push((name, value));
    };
    for attribute in point.attributes() {
        let attribute = attribute?;
        let (key, value) = (attribute.key()?.lossy().into_owned(), attribute.value()?);
        match (&value, key.as_str()) {
            (Value::Map(dimensions), "Dimensions") => {
                for dimension in *dimensions {
                    let dimension = dimension?;
                    if let Some(text) = text_of(&dimension.value()?) {
                        add(names::label(&dimension.key()?.lossy()), text);
                    }
                }
            }
            (_, "Namespace" | "MetricName" | "stat") if point.attribute("Dimensions")?.is_some() => {}
            _ => {
                if let Some(text) = text_of(&value) {
                    let name = match key.as_str() {
                        "cloud.account.id" => "account_id".to_owned(),
                        "cloud.region" => "region".to_owned(),
                        other => names::label(other),
                    };
                    add(name, text);
                }
            }
        }
    }
    Ok(labels)
}

fn native(point: &ExponentialHistogramPoint<'_>) -> Result<Histogram, WireError> {
    let spread = |buckets: Option<crate::wire::Buckets<'_>>| -> Result<Spread, WireError> {
        let Some(buckets) = buckets else {
            return Ok(Spread::default());
        };
        let mut counts = Vec::new();
        for count in buckets.bucket_counts() {
            // Far more than any sender has (160 is usual); the rest would only take memory.
            if counts.len() >= 16_384 {
                break;
            }
            counts.push(count? as f64);
        }
        Ok(Spread {
            offset: buckets.offset()?,
            counts,
        })
    };
    let histogram = Histogram {
        scale: point.scale()?,
        count: point.count()? as f64,
        sum: point.sum()?.unwrap_or(0.0),
        zero_count: point.zero_count()? as f64,
        zero_threshold: point.zero_threshold()?,
        positive: spread(point.positive()?)?,
        negative: spread(point.negative()?)?,
    };
    Ok(histogram.bounded())
}

fn note_traces<'a>(
    id: Option<SeriesId>,
    exemplars: impl Iterator<Item = Result<Exemplar<'a>, WireError>>,
    engine: &mut Engine,
) -> Result<(), WireError> {
    let Some(id) = id else { return Ok(()) };
    for exemplar in exemplars {
        let exemplar = exemplar?;
        let time = i64::try_from(exemplar.time_unix_nano()? / NANOS).unwrap_or(0);
        if let Ok(trace) = <[u8; 16]>::try_from(exemplar.trace_id()?) {
            engine.note_trace(id, time, trace);
        }
    }
    Ok(())
}
