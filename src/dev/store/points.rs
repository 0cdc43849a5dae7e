//! Data points to rows, and what is known of their series.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use foldhash::fast::RandomState;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::intake::{Groups, Intake, Unusable, put_attributes, span_id, without};
use super::segment::{AGAIN, GAP, LinkEntry, MetricEntry, NewRow, Segment, TraceId};
use super::texts::Place;
use super::values::indexed;
use crate::wire::{Exemplar, Metric, MetricData, Point, Repeated, ResourceGroup, ScopeGroup, View, WireError};

/// Exemplars of a point that are kept beside it; all are in the raw item.
const MOST_EXEMPLARS: usize = 16;

/// A series: a metric of one resource and scope with one set of attributes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesInfo {
    /// Stored now.
    pub points: u64,
    pub last_time: u64,
    last_start: u64,
}

/// The series, by the hash of what makes them.
#[derive(Default)]
pub struct SeriesTable(Mutex<HashMap<u64, SeriesInfo, RandomState>>);

impl SeriesTable {
    /// Notes a point; tells whether it has the times of the one before (SDKs export twice at shutdown).
    fn note(&self, series: u64, time: u64, start: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let info = all.entry(series).or_default();
        let is_again = info.points > 0 && (info.last_time, info.last_start) == (time, start);
        info.points += 1;
        info.last_time = time;
        info.last_start = start;
        is_again
    }

    /// Takes out what an evicted segment held.
    pub fn forget(&self, segment: &Segment) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for series in &segment.parents {
            if let Some(info) = all.get_mut(series) {
                info.points = info.points.saturating_sub(1);
                if info.points == 0 {
                    all.remove(series);
                }
            }
        }
        if all.capacity() > 4 * all.len().max(64) {
            all.shrink_to_fit();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.capacity() * (size_of::<(u64, SeriesInfo)>() + 1)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::default();
    }
}

/// A metric whose points are being taken.
struct Source<'a> {
    metric: Metric<'a>,
    data: MetricData<'a>,
    header: Vec<u8>,
    data_header: Vec<u8>,
    /// Hash of all that its series have in common.
    identity: u64,
}

impl Intake<'_> {
    pub(super) fn metric(
        &mut self,
        resource: ResourceGroup<'_>,
        scope: ScopeGroup<'_>,
        item: &[u8],
        groups: &mut Option<Groups>,
    ) {
        // What cannot be read is counted by whoever knows how many items came.
        let Ok(Some(source)) = source_of(resource, scope, Metric::of(item)) else {
            return;
        };
        for raw in source.data.raw_points() {
            let Ok(raw) = raw else { break };
            let point = Point::of_kind(source.data.kind(), raw);
            let taken = match self.groups(resource, scope, groups) {
                Ok(groups) => self.point(groups, &source, point),
                Err(_) => Err(Unusable),
            };
            match taken {
                Ok(false) => self.taken.stored += 1,
                Ok(true) => self.taken.dropped += 1,
                Err(_) => self.taken.rejected += 1,
            }
        }
    }

    /// Stores a point; tells whether it takes the place of the one before.
    fn point(&mut self, groups: Groups, source: &Source<'_>, point: Point<'_>) -> Result<bool, Unusable> {
        let is_gap = point.is_gap()?;
        let value = value_of(&point)?;
        let segment = self.ring.current();
        let metric = put_metric(segment, source)?;
        self.attributes.clear();
        put_attributes(segment, point.attributes(), Place::Own, &mut self.attributes)?;
        let mut series = source.identity;
        for attribute in point.attributes().raw() {
            // A sum does not depend on the order, which a sender may change from export to export.
            series = series.wrapping_add(xxh3_64_with_seed(attribute?, 1));
        }
        let (time, since) = (point.time_unix_nano()?, point.start_time_unix_nano()?);
        let at = segment.len() as u32;
        let exemplars = match &point {
            Point::Number(point) => links_of(point.exemplars(), at)?,
            Point::Histogram(point) => links_of(point.exemplars(), at)?,
            Point::ExponentialHistogram(point) => links_of(point.exemplars(), at)?,
            Point::Summary(_) => Vec::new(),
        };
        let is_again = self.shared.series.note(series, time, since);
        let row = NewRow {
            parent: series,
            start: time,
            duration: since,
            name: segment.metrics[usize::from(metric)].name,
            resource: groups.resource,
            scope: groups.scope,
            kind: source.data.kind() as u8,
            status: if is_gap { GAP } else { 0 } | if is_again { AGAIN } else { 0 },
            metric,
            value,
            arrival: self.arrival,
            ..NewRow::default()
        };
        segment.links.extend_from_slice(&exemplars);
        segment.push(&row, &self.attributes, &[], point.raw());
        Ok(is_again)
    }
}

fn source_of<'a>(
    resource: ResourceGroup<'_>,
    scope: ScopeGroup<'_>,
    metric: Metric<'a>,
) -> Result<Option<Source<'a>>, WireError> {
    let Some(data) = metric.data()? else { return Ok(None) };
    let header = without(metric.raw(), data.kind().field())?;
    let mut data_header = Vec::new();
    let mut pieces = data.pieces();
    while let Some(field) = pieces.next_field()? {
        // Points are field 1; the others are two varints.
        if let (true, crate::wire::FieldValue::Varint(value)) = (field.number != 1, field.value) {
            crate::wire::put_varint(&mut data_header, u64::from(field.number) << 3);
            crate::wire::put_varint(&mut data_header, value);
        }
    }
    let mut identity = xxh3_64(&without(resource.raw(), 2)?);
    identity = xxh3_64_with_seed(&without(scope.raw(), 2)?, identity);
    // Not the description: it may differ between exports of one instrument.
    identity = xxh3_64_with_seed(metric.name()?.as_bytes(), identity);
    identity = xxh3_64_with_seed(metric.unit()?.as_bytes(), identity);
    identity = xxh3_64_with_seed(&data_header, identity ^ u64::from(data.kind().field()));
    Ok(Some(Source {
        metric,
        data,
        header,
        data_header,
        identity,
    }))
}

fn put_metric(segment: &mut Segment, source: &Source<'_>) -> Result<u16, WireError> {
    let kind = source.data.kind();
    if let Some(known) = segment.find_metric(&source.header, &source.data_header, kind) {
        return Ok(known);
    }
    let entry = MetricEntry {
        header: Bytes::copy_from_slice(&source.header),
        data_header: Bytes::copy_from_slice(&source.data_header),
        kind,
        name: segment.texts.put(indexed(&source.metric.name()?.lossy())),
        unit: segment.texts.put(indexed(&source.metric.unit()?.lossy())),
        description: segment.texts.put(indexed(&source.metric.description()?.lossy())),
        temporality: u8::try_from(source.data.aggregation_temporality()?).unwrap_or(0),
        monotonic: source.data.is_monotonic()?,
    };
    Ok(segment.add_metric(entry))
}

fn value_of(point: &Point<'_>) -> Result<f64, WireError> {
    Ok(match point {
        Point::Number(point) => point.value()?.map_or(f64::NAN, |value| value.as_f64()),
        Point::Histogram(point) => point.sum()?.unwrap_or(f64::NAN),
        Point::ExponentialHistogram(point) => point.sum()?.unwrap_or(f64::NAN),
        Point::Summary(point) => point.sum()?,
    })
}

fn links_of<'a>(exemplars: Repeated<'a, Exemplar<'a>>, row: u32) -> Result<Vec<LinkEntry>, WireError> {
    let mut links = Vec::new();
    for exemplar in exemplars.take(MOST_EXEMPLARS) {
        let exemplar = exemplar?;
        let trace: TraceId = exemplar.trace_id()?.try_into().unwrap_or_default();
        links.push(LinkEntry {
            row,
            trace,
            span: span_id(exemplar.span_id()?).unwrap_or_default(),
            time: exemplar.time_unix_nano()?,
            value: exemplar.value()?.map_or(f64::NAN, |value| value.as_f64()),
        });
    }
    Ok(links)
}
