//! The points of each series of a metric, in order, the last of equal times.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::{Ask, find_rows};
use crate::dev::query::{Key, NoExtras, Query, Window};
use crate::dev::store::{GAP, Place, RawReader, Segment, Store};
use crate::pdata::Signal;
use crate::wire::{MetricKind, Point};

/// One point of a series.
#[derive(Clone, Copy, Debug)]
pub struct PointAt {
    pub time: u64,
    /// Since when it counts.
    pub since: u64,
    /// NaN for a gap.
    pub value: f64,
    segment: usize,
    row: usize,
}

/// A series with its points.
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<PointAt>,
}

/// Everything of one metric.
pub struct Collected {
    pub kind: MetricKind,
    pub temporality: u8,
    pub monotonic: bool,
    pub unit: String,
    pub series: Vec<Series>,
    segments: Vec<Arc<Segment>>,
}

/// The points of a metric that fit, by series; `None` where there is none. Of points outside the window the last one
/// before it is taken too: the first rate needs it.
pub fn collect(store: &Store, ask: &Ask, name: &str) -> Option<Collected> {
    let snapshot = store.snapshot();
    let named = Query::parse(
        &format!("name=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
        0,
    )
    .ok()?;
    let whole = Ask {
        window: Window {
            from: 0,
            to: ask.window.to,
        },
        ..ask.clone()
    };
    let (found, _) = find_rows(store, &snapshot, &whole, Signal::Metrics);
    let mut collected: Option<Collected> = None;
    let mut positions: HashMap<u64, usize> = HashMap::new();
    // Oldest first: what comes later wins.
    for found in found.iter().rev() {
        let segment = &found.segment;
        let rows = named.rows(segment, Window::ALL, &NoExtras).and(&found.rows);
        for row in rows.rows() {
            let Some(entry) = segment.metric_of(row) else { continue };
            let all = collected.get_or_insert_with(|| Collected {
                kind: entry.kind,
                temporality: entry.temporality,
                monotonic: entry.monotonic,
                unit: segment.texts.get(entry.unit).to_owned(),
                series: Vec::new(),
                segments: Vec::new(),
            });
            // Two instruments of one name and different kinds: the one that came first is shown.
            if entry.kind != all.kind {
                continue;
            }
            if all.segments.last().is_none_or(|last| last.seq != segment.seq) {
                all.segments.push(Arc::clone(segment));
            }
            let position = *positions.entry(segment.parents[row]).or_insert_with(|| {
                all.series.push(Series {
                    labels: labels_of(segment, row),
                    points: Vec::new(),
                });
                all.series.len() - 1
            });
            let is_gap = segment.statuses[row] & GAP != 0;
            all.series[position].points.push(PointAt {
                time: segment.starts[row],
                since: segment.durations[row],
                value: if is_gap { f64::NAN } else { segment.values[row] },
                segment: all.segments.len() - 1,
                row,
            });
        }
    }
    let mut all = collected?;
    for series in &mut all.series {
        tidy(&mut series.points, ask.window.from);
    }
    all.series.retain(|series| !series.points.is_empty());
    Some(all)
}

/// Orders points, keeps the last of equal times, and one before the window.
fn tidy(points: &mut Vec<PointAt>, from: u64) {
    points.sort_by_key(|point| point.time);
    let mut kept: Vec<PointAt> = Vec::with_capacity(points.len());
    for point in points.drain(..) {
        match kept.last_mut() {
            Some(last) if last.time == point.time => *last = point,
            _ => kept.push(point),
        }
    }
    let first = kept.partition_point(|point| point.time < from);
    kept.drain(..first.saturating_sub(1));
    *points = kept;
}

fn labels_of(segment: &Segment, row: usize) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let own = segment.attributes(row).iter().map(|at| segment.pairs.get(*at));
    for pair in own.filter(|pair| pair.place == Place::Own) {
        labels.insert(
            segment.texts.get(pair.key).to_owned(),
            segment.texts.get(pair.value).to_owned(),
        );
    }
    labels.insert("service".to_owned(), segment.service(row).to_owned());
    labels
}

impl Collected {
    /// Calls with the point itself.
    pub fn with_point<T>(&self, reader: &mut Reader<'_>, at: &PointAt, call: impl FnOnce(&Point<'_>) -> T) -> T {
        let segment = &self.segments[at.segment];
        let (place, len) = segment.raw_place(at.row);
        let raw = reader.0[at.segment].read(place, len);
        call(&Point::of_kind(self.kind, raw))
    }

    /// Reads the original points.
    pub fn reader(&self) -> Reader<'_> {
        Reader(
            self.segments
                .iter()
                .map(|segment| RawReader::new(&segment.raw))
                .collect(),
        )
    }

    /// Exemplars of a point: time, value, trace and span.
    pub fn exemplars(&self, at: &PointAt) -> &[crate::dev::store::LinkEntry] {
        self.segments[at.segment].links(at.row)
    }

    /// A series' value of a key, to group by: a label, else an attribute of its resource.
    pub fn label(&self, series: &Series, key: &str) -> String {
        if let Some(label) = series.labels.get(key) {
            return label.clone();
        }
        let Some(first) = series.points.first() else {
            return String::new();
        };
        let segment = &self.segments[first.segment];
        let name = match Key::named(key) {
            Key::Attribute(_, Some((_, name))) => name,
            _ => key.to_owned(),
        };
        segment.attribute(first.row, &name).unwrap_or_default().to_owned()
    }
}

/// See [`Collected::reader`].
pub struct Reader<'a>(Vec<RawReader<'a>>);
