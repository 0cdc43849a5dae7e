//! Metrics (`opentelemetry/proto/metrics/v1/metrics.proto`), down to their points.

use super::field::last_varint;
use super::view::view;
use super::{
    ExponentialHistogramPoint, HistogramPoint, NumberPoint, Pieces, Point, Repeated, SummaryPoint, View, WireError,
};

view! {
    /// `Metric`: a name, a unit and points of one kind.
    Metric {
        /// The instrument's name.
        name: string = 1,
        /// What it measures.
        description: string = 2,
        /// UCUM unit.
        unit: string = 3,
        /// Facts about the metric itself (not about its points).
        metadata: bare_attributes = 12,
    }
}

/// The kinds of metric data. The number is the field it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    ExponentialHistogram = 10,
    Summary = 11,
}

impl MetricKind {
    /// The kind that stands in this field of `Metric`.
    #[inline]
    pub fn of_field(number: u32) -> Option<Self> {
        Some(match number {
            5 => MetricKind::Gauge,
            7 => MetricKind::Sum,
            9 => MetricKind::Histogram,
            10 => MetricKind::ExponentialHistogram,
            11 => MetricKind::Summary,
            _ => return None,
        })
    }

    /// The field of `Metric` it stands in.
    pub fn field(self) -> u32 {
        self as u32
    }
}

impl<'a> Metric<'a> {
    /// Its data; `None` where the sender wrote none.
    ///
    /// # Errors
    /// Where the metric is malformed.
    pub fn data(&self) -> Result<Option<MetricData<'a>>, WireError> {
        let mut data: Option<MetricData<'a>> = None;
        let mut pieces = Pieces::one(self.raw);
        while let Some(field) = pieces.next_field()? {
            let Some(kind) = MetricKind::of_field(field.number) else {
                continue;
            };
            let payload = field.len()?;
            // A oneof: the last kind wins, and pieces of one kind that directly follow each other are merged.
            let continues = data.is_some_and(|begun| begun.kind == kind);
            if !continues {
                let pieces = pieces.member(payload, field.number);
                data = Some(MetricData { kind, pieces });
            }
        }
        Ok(data)
    }
}

/// The data of a metric: its points, and how they are aggregated.
#[derive(Clone, Copy, Debug)]
pub struct MetricData<'a> {
    kind: MetricKind,
    pieces: Pieces<'a>,
}

impl<'a> MetricData<'a> {
    /// Which kind of points.
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// `AggregationTemporality`: 0 unspecified, 1 delta, 2 cumulative. Gauges and summaries have none (0).
    ///
    /// # Errors
    /// Where the data is malformed.
    pub fn aggregation_temporality(&self) -> Result<i32, WireError> {
        match self.kind {
            MetricKind::Gauge | MetricKind::Summary => Ok(0),
            _ => last_varint(self.pieces, 2).map(|value| value as i32),
        }
    }

    /// Whether a sum only grows; false for everything else.
    ///
    /// # Errors
    /// Where the data is malformed.
    pub fn is_monotonic(&self) -> Result<bool, WireError> {
        match self.kind {
            MetricKind::Sum => last_varint(self.pieces, 3).map(|value| value != 0),
            _ => Ok(false),
        }
    }

    /// The points, typed by the kind.
    pub fn points(&self) -> impl Iterator<Item = Result<Point<'a>, WireError>> + use<'a> {
        let kind = self.kind;
        self.raw_points()
            .map(move |raw| raw.map(|raw| Point::of_kind(kind, raw)))
    }

    /// The payloads of the points.
    pub fn raw_points(&self) -> Repeated<'a, &'a [u8]> {
        Repeated::in_pieces(self.pieces, 1)
    }

    /// How many points there are.
    ///
    /// # Errors
    /// Where the data is malformed.
    pub fn count_points(&self) -> Result<usize, WireError> {
        let mut count = 0;
        for point in self.raw_points() {
            point?;
            count += 1;
        }
        Ok(count)
    }

    /// The message's pieces, for those who read other fields.
    pub fn pieces(&self) -> Pieces<'a> {
        self.pieces
    }
}

impl<'a> Point<'a> {
    /// The point of a metric of this kind.
    pub fn of_kind(kind: MetricKind, raw: &'a [u8]) -> Self {
        match kind {
            MetricKind::Gauge | MetricKind::Sum => Point::Number(NumberPoint::of(raw)),
            MetricKind::Histogram => Point::Histogram(HistogramPoint::of(raw)),
            MetricKind::ExponentialHistogram => Point::ExponentialHistogram(ExponentialHistogramPoint::of(raw)),
            MetricKind::Summary => Point::Summary(SummaryPoint::of(raw)),
        }
    }
}
