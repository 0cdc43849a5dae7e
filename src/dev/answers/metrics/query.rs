//! One metric over time: values, rates, quantiles, a heat map.

use std::collections::{BTreeMap, BTreeSet};

use super::bins::{Bins, Bound};
use super::collect::{Collected, PointAt, Reader, Series, collect};
use super::shown::{Column, Exemplar, Heatmap, MetricSeries, SeriesShown};
use super::{kind_name, temporality_name};
use crate::dev::answers::common::WindowShown;
use crate::dev::answers::{Ask, Failure, Hex8, Hex16, Ns};
use crate::dev::query::Window;
use crate::dev::store::Store;
use crate::wire::{MetricKind, Point};

/// Series of an answer.
const MOST_SERIES: usize = 100;
/// Exemplars of an answer.
const MOST_EXEMPLARS: usize = 200;
/// Rows of a heat map: exponential histograms are read at a scale that gives no more.
const MOST_BOUNDS: usize = 120;
/// Columns of a heat map.
const MOST_COLUMNS: usize = 300;

/// What is made of the points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum As {
    Value,
    /// A second.
    Rate,
    /// Since the point before.
    Delta,
    Quantile(f64),
    Heatmap,
}

impl As {
    /// By name.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn named(name: &str) -> Result<Self, Failure> {
        Ok(match name {
            "" | "value" => As::Value,
            "rate" => As::Rate,
            "delta" => As::Delta,
            "heatmap" => As::Heatmap,
            _ => match name.strip_prefix('p').and_then(|share| share.parse::<f64>().ok()) {
                // p999 is 99.9 %.
                Some(share) if (0.0..=100.0).contains(&share) => As::Quantile(share / 100.0),
                Some(999.0) => As::Quantile(0.999),
                _ => {
                    let message = format!("`as` is one of value, rate, delta, p50, p95, p99, heatmap, not {name:?}");
                    return Err(Failure::Bad(message));
                }
            },
        })
    }
}

/// The question.
#[derive(Clone, Debug)]
pub struct MetricAsk {
    pub name: String,
    pub made: As,
    /// Labels that stay apart; all of them, where none is named.
    pub by: Vec<String>,
    /// Points of a series.
    pub points: usize,
}

/// One metric over time.
///
/// # Errors
/// Where no point of this name fits.
pub fn query(store: &Store, ask: &Ask, metric: &MetricAsk) -> Result<MetricSeries, Failure> {
    let missing = || Failure::Missing(format!("there is no point of the metric {:?} here", metric.name));
    let collected = collect(store, ask, &metric.name).ok_or_else(missing)?;
    let times = || {
        collected
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.time)
    };
    let (first, last) = (times().min().ok_or_else(missing)?, times().max().unwrap_or_default());
    let window = Window {
        from: if ask.window.from == 0 { first } else { ask.window.from },
        to: if ask.window.to == u64::MAX {
            last + 1
        } else {
            ask.window.to
        },
    };
    let is_histogram = matches!(collected.kind, MetricKind::Histogram | MetricKind::ExponentialHistogram);
    let wants_bins = matches!(metric.made, As::Quantile(_) | As::Heatmap);
    if wants_bins && !is_histogram && collected.kind != MetricKind::Summary {
        let message = format!(
            "{} is a {}: it has no distribution; ask as=value or as=rate",
            metric.name,
            kind_name(collected.kind)
        );
        return Err(Failure::Bad(message));
    }
    let groups = groups(&collected, &metric.by);
    let total = groups.len();
    let mut work = Work {
        all: &collected,
        reader: collected.reader(),
        window,
        made: metric.made,
        points: metric.points.clamp(1, 5_000),
        scale: scale_of(&collected),
        resets: Vec::new(),
    };
    let heatmap = (metric.made == As::Heatmap).then(|| work.heatmap());
    let mut series = Vec::new();
    for (labels, members) in groups.into_iter().take(MOST_SERIES) {
        if metric.made == As::Heatmap {
            break;
        }
        work.resets.clear();
        let points = work.line(&members);
        series.push(SeriesShown {
            labels,
            points,
            resets: work
                .resets
                .iter()
                .copied()
                .filter(|time| window.has(*time))
                .map(Ns)
                .collect(),
        });
    }
    Ok(MetricSeries {
        v: 1,
        name: metric.name.clone(),
        kind: kind_name(collected.kind),
        unit: collected.unit.clone(),
        temporality: temporality_name(collected.temporality),
        monotonic: collected.monotonic,
        window: WindowShown {
            from: Ns(window.from),
            to: Ns(window.to),
        },
        total,
        truncated: total > MOST_SERIES,
        series,
        heatmap,
        exemplars: exemplars(&collected, window),
    })
}

/// Series that become one line, by the labels they share.
fn groups<'a>(all: &'a Collected, by: &[String]) -> Vec<(BTreeMap<String, String>, Vec<&'a Series>)> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<&Series>> = BTreeMap::new();
    for series in &all.series {
        let labels = if by.is_empty() {
            series.labels.clone()
        } else {
            by.iter().map(|key| (key.clone(), all.label(series, key))).collect()
        };
        groups.entry(labels).or_default().push(series);
    }
    groups.into_iter().collect()
}

/// The coarsest scale there is, made coarser until the buckets are few enough.
fn scale_of(all: &Collected) -> i32 {
    if all.kind != MetricKind::ExponentialHistogram {
        return 0;
    }
    let mut reader = all.reader();
    let mut scale = i32::MAX;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for point in all.series.iter().flat_map(|series| &series.points) {
        all.with_point(&mut reader, point, |point| {
            if let Point::ExponentialHistogram(point) = point {
                let own = point.scale().unwrap_or(0).clamp(-10, 20);
                scale = scale.min(own);
                if let Ok(Some(buckets)) = point.positive() {
                    let offset = f64::from(buckets.offset().unwrap_or(0));
                    let width = (-f64::from(own)).exp2();
                    let count = buckets.bucket_counts().count() as f64;
                    low = low.min(offset * width);
                    high = high.max((offset + count) * width);
                }
            }
        });
    }
    // `low` and `high` are powers of two; a scale has 2^scale buckets for each.
    while scale > -10 && (high - low) * f64::from(scale).exp2() > MOST_BOUNDS as f64 {
        scale -= 1;
    }
    scale.min(20)
}

struct Work<'a> {
    all: &'a Collected,
    reader: Reader<'a>,
    window: Window,
    made: As,
    points: usize,
    scale: i32,
    resets: Vec<u64>,
}

impl Work<'_> {
    fn slot(&self, time: u64, slots: usize) -> usize {
        let length = (self.window.to - self.window.from).max(1);
        let since = time.saturating_sub(self.window.from);
        ((u128::from(since) * slots as u128 / u128::from(length)) as usize).min(slots - 1)
    }

    fn slot_time(&self, slot: usize, slots: usize) -> Ns {
        let length = u128::from(self.window.to - self.window.from);
        Ns(self.window.from + (length * slot as u128 / slots as u128) as u64)
    }

    fn line(&mut self, members: &[&Series]) -> Vec<(Ns, Option<f64>)> {
        if let As::Quantile(share) = self.made {
            if self.all.kind == MetricKind::Summary {
                let values: Vec<Vec<(u64, f64)>> = members.iter().map(|series| self.summary(series, share)).collect();
                return self.joined(&values, true);
            }
            let slots = self.columns(members);
            let (bins, slots) = (self.bins(members, slots), slots);
            let line = bins.into_iter().enumerate().filter(|(_, bins)| bins.count() > 0.0);
            return line
                .map(|(slot, bins)| (self.slot_time(slot, slots), bins.quantile(share)))
                .collect();
        }
        let values: Vec<Vec<(u64, f64)>> = members.iter().map(|series| self.values(series)).collect();
        let is_level = self.made == As::Value && !self.all.monotonic && self.all.kind != MetricKind::Sum;
        self.joined(&values, is_level)
    }

    /// One series as it is, several summed up; gauges and means are averaged.
    fn joined(&self, values: &[Vec<(u64, f64)>], is_level: bool) -> Vec<(Ns, Option<f64>)> {
        if let [one] = values {
            return m4(one, self.points, |time| self.slot(time, self.points));
        }
        // Of each series the last value of a slot (levels, totals), or the sum of what came in it (deltas).
        let slots = self.points;
        let mut sums: BTreeMap<usize, (f64, u32)> = BTreeMap::new();
        for series in values {
            let mut own: BTreeMap<usize, f64> = BTreeMap::new();
            for (time, value) in series.iter().filter(|(_, value)| !value.is_nan()) {
                let slot = own.entry(self.slot(*time, slots)).or_default();
                *slot = if self.made == As::Delta { *slot + value } else { *value };
            }
            for (slot, value) in own {
                let sum = sums.entry(slot).or_default();
                sum.0 += value;
                sum.1 += 1;
            }
        }
        let line = sums.into_iter().map(|(slot, (sum, count))| {
            let value = if is_level { sum / f64::from(count) } else { sum };
            (self.slot_time(slot, slots), Some(value))
        });
        line.collect()
    }

    /// The values of one series in the window.
    fn values(&mut self, series: &Series) -> Vec<(u64, f64)> {
        let mut values = Vec::with_capacity(series.points.len());
        let mut before: Option<(PointAt, f64)> = None;
        for point in &series.points {
            let value = self.value(point);
            let made = match self.made {
                As::Value => Some(value),
                _ if self.all.kind == MetricKind::Gauge => before.map(|(_, had)| value - had),
                _ => self.growth(point, value, before.as_ref()),
            };
            let seconds = self.seconds(point, before.as_ref());
            if let Some(made) = made
                && self.window.has(point.time)
            {
                let made = if self.made == As::Rate { made / seconds } else { made };
                values.push((point.time, made));
            }
            if !value.is_nan() {
                before = Some((*point, value));
            }
        }
        values
    }

    /// The value that counts: of a distribution its mean, where values are asked for, else how many measurements.
    fn value(&mut self, point: &PointAt) -> f64 {
        if matches!(self.all.kind, MetricKind::Gauge | MetricKind::Sum) || point.value.is_nan() {
            return point.value;
        }
        let (all, sum) = (self.all, point.value);
        let count = all.with_point(&mut self.reader, point, |point| match point {
            Point::Histogram(point) => point.count(),
            Point::ExponentialHistogram(point) => point.count(),
            Point::Summary(point) => point.count(),
            Point::Number(_) => Ok(0),
        });
        let count = count.unwrap_or(0) as f64;
        match self.made {
            As::Value if count > 0.0 => sum / count,
            As::Value => f64::NAN,
            _ => count,
        }
    }

    /// What was added by a point; the resets on the way are noted.
    fn growth(&mut self, point: &PointAt, value: f64, before: Option<&(PointAt, f64)>) -> Option<f64> {
        if self.all.temporality == 1 || value.is_nan() {
            return Some(value);
        }
        let Some((last, had)) = before else {
            // What was counted before the first point is not known to have come now.
            return None;
        };
        let is_reset = (self.all.monotonic || self.all.kind != MetricKind::Sum) && value < *had;
        let is_new = point.since > last.time;
        if is_reset || is_new {
            self.resets.push(point.time);
            return Some(value);
        }
        Some(value - had)
    }

    fn seconds(&self, point: &PointAt, before: Option<&(PointAt, f64)>) -> f64 {
        let own = point.time.saturating_sub(point.since);
        let since_last = before.map(|(last, _)| point.time.saturating_sub(last.time));
        let nanos = match since_last {
            _ if self.all.temporality == 1 && point.since > 0 && own > 0 => own,
            Some(nanos) => nanos,
            None => own,
        };
        (nanos as f64 / 1e9).max(1e-9)
    }

    /// The quantile that a summary has for this share.
    fn summary(&mut self, series: &Series, share: f64) -> Vec<(u64, f64)> {
        let (all, window) = (self.all, self.window);
        let inside = series.points.iter().filter(|point| window.has(point.time));
        inside
            .map(|at| {
                let value = all.with_point(&mut self.reader, at, |point| {
                    let Point::Summary(point) = point else { return f64::NAN };
                    let mut values = point.quantile_values().flatten();
                    let found = values.find(|value| value.quantile().is_ok_and(|own| (own - share).abs() < 1e-9));
                    found.and_then(|value| value.value().ok()).unwrap_or(f64::NAN)
                });
                (at.time, value)
            })
            .collect()
    }

    /// Slots of time: not more than there are points of one series, so that none stays empty by rounding.
    fn columns(&self, members: &[&Series]) -> usize {
        let most = members.iter().map(|series| series.points.len()).max().unwrap_or(1);
        self.points.min(MOST_COLUMNS).min(most.max(1))
    }

    /// What was measured in each slot, over all these series.
    fn bins(&mut self, members: &[&Series], slots: usize) -> Vec<Bins> {
        let mut bins = vec![Bins::default(); slots];
        let (all, scale) = (self.all, self.scale);
        for series in members {
            let mut before: Option<(u64, Bins)> = None;
            for at in &series.points {
                let read = all.with_point(&mut self.reader, at, |point| Bins::of(point, scale));
                let Ok(Some(read)) = read else { continue };
                let grown = match &before {
                    _ if all.temporality == 1 => Some(read.clone()),
                    // The first of all points says what there was, not when it came.
                    None => None,
                    Some((time, _)) if at.since > *time => Some(read.clone()),
                    Some((_, had)) => Some(read.since(had).unwrap_or_else(|| read.clone())),
                };
                if let Some(grown) = grown
                    && self.window.has(at.time)
                {
                    bins[self.slot(at.time, slots)].add(&grown);
                }
                before = Some((at.time, read));
            }
        }
        bins
    }

    fn heatmap(&mut self) -> Heatmap {
        let all = self.all;
        let members: Vec<&Series> = all.series.iter().collect();
        let slots = self.columns(&members);
        let bins = self.bins(&members, slots);
        let bounds: BTreeSet<Bound> = bins
            .iter()
            .flat_map(|bins| bins.counts.keys())
            .map(|(upper, _)| *upper)
            .collect();
        let bounds: Vec<Bound> = bounds.into_iter().collect();
        let columns = bins.iter().enumerate().map(|(slot, bins)| {
            let mut counts = vec![0.0; bounds.len()];
            for ((upper, _), count) in &bins.counts {
                if let Ok(row) = bounds.binary_search(upper) {
                    counts[row] += count;
                }
            }
            Column {
                t: self.slot_time(slot, slots),
                counts,
            }
        });
        let columns = columns.collect();
        let largest = bounds.iter().rev().map(|bound| bound.0).find(|bound| bound.is_finite());
        let finite = |bound: &Bound| {
            if bound.0.is_finite() {
                bound.0
            } else {
                largest.map_or(0.0, |bound| bound * 2.0)
            }
        };
        Heatmap {
            bounds: bounds.iter().map(finite).collect(),
            columns,
        }
    }
}

/// At most four points of each slot: the first, the smallest, the largest and the last. What is drawn of them is what would
/// be drawn of all. Gaps stay.
fn m4(values: &[(u64, f64)], slots: usize, slot_of: impl Fn(u64) -> usize) -> Vec<(Ns, Option<f64>)> {
    let shown = |(time, value): (u64, f64)| (Ns(time), Some(value).filter(|value| !value.is_nan()));
    if values.len() <= slots {
        return values.iter().copied().map(shown).collect();
    }
    let mut kept = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let slot = slot_of(values[at].0);
        let end = at + values[at..].partition_point(|(time, _)| slot_of(*time) <= slot);
        let group = at..end.max(at + 1);
        let numbers = || group.clone().filter(|at| !values[*at].1.is_nan());
        let mut chosen = vec![group.start, group.end - 1];
        chosen.extend(numbers().min_by(|a, b| values[*a].1.total_cmp(&values[*b].1)));
        chosen.extend(numbers().max_by(|a, b| values[*a].1.total_cmp(&values[*b].1)));
        chosen.extend(group.clone().find(|at| values[*at].1.is_nan()));
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|at| shown(values[at])));
        at = group.end;
    }
    kept
}

fn exemplars(all: &Collected, window: Window) -> Vec<Exemplar> {
    let points = all
        .series
        .iter()
        .flat_map(|series| &series.points)
        .filter(|point| window.has(point.time));
    let mut found: Vec<Exemplar> = points
        .flat_map(|point| all.exemplars(point))
        .map(|link| Exemplar {
            t: Ns(link.time),
            value: link.value,
            trace_id: Hex16(link.trace),
            span_id: Hex8(link.span),
        })
        .collect();
    found.sort_by_key(|exemplar| std::cmp::Reverse((exemplar.t, exemplar.trace_id)));
    // Cumulative points repeat their exemplars.
    found.dedup_by_key(|exemplar| (exemplar.t, exemplar.trace_id, exemplar.span_id));
    found.truncate(MOST_EXEMPLARS);
    found
}
