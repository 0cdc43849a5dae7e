//! Data points and exemplars (`opentelemetry/proto/metrics/v1/metrics.proto`).

use std::marker::PhantomData;

use super::field::{last_varint, zigzag32};
use super::view::view;
use super::{Attributes, Field, FieldValue, Fields, Pieces, Value, WireError, WireType, read_varint};

/// The value of a number point or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Double(f64),
    Int(i64),
}

impl Number {
    /// As a double; integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Double(value) => value,
            Number::Int(value) => value as f64,
        }
    }
}

/// Set in [`Point::flags`] when the series has no value here (a gap).
const NO_RECORDED_VALUE: u32 = 1;

/// A point of any kind.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    Number(NumberPoint<'a>),
    Histogram(HistogramPoint<'a>),
    ExponentialHistogram(ExponentialHistogramPoint<'a>),
    Summary(SummaryPoint<'a>),
}

/// Calls the same method on whichever point it is.
macro_rules! on_each {
    ($self:ident, $point:ident => $call:expr) => {
        match $self {
            Point::Number($point) => $call,
            Point::Histogram($point) => $call,
            Point::ExponentialHistogram($point) => $call,
            Point::Summary($point) => $call,
        }
    };
}

impl<'a> Point<'a> {
    /// Its payload bytes.
    pub fn raw(&self) -> &'a [u8] {
        on_each!(self, point => point.raw())
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        on_each!(self, point => point.attributes())
    }

    /// The field number its attributes stand in: it differs from kind to kind.
    pub fn attributes_field(&self) -> u32 {
        match self {
            Point::Number(_) | Point::Summary(_) => 7,
            Point::Histogram(_) => 9,
            Point::ExponentialHistogram(_) => 1,
        }
    }

    /// The attribute with this key; see [`Attributes::get`].
    ///
    /// # Errors
    /// Where the bytes up to it are malformed.
    pub fn attribute(&self, key: &str) -> Result<Option<Value<'a>>, WireError> {
        self.attributes().get(key)
    }

    /// Nanoseconds since the epoch.
    ///
    /// # Errors
    /// Where the point is malformed; so for all below.
    pub fn time_unix_nano(&self) -> Result<u64, WireError> {
        on_each!(self, point => point.time_unix_nano())
    }

    /// Nanoseconds since the epoch; 0 where unknown.
    ///
    /// # Errors
    /// As above.
    pub fn start_time_unix_nano(&self) -> Result<u64, WireError> {
        on_each!(self, point => point.start_time_unix_nano())
    }

    /// `DataPointFlags`.
    ///
    /// # Errors
    /// As above.
    pub fn flags(&self) -> Result<u32, WireError> {
        on_each!(self, point => point.flags())
    }

    /// Whether the point says that there is no value.
    ///
    /// # Errors
    /// As above.
    pub fn is_gap(&self) -> Result<bool, WireError> {
        Ok(self.flags()? & NO_RECORDED_VALUE != 0)
    }
}

view! {
    /// `NumberDataPoint`: a point of a gauge or a sum.
    NumberPoint {
        /// Its attributes.
        attributes: attributes = 7,
        /// Nanoseconds since the epoch; 0 where unknown.
        start_time_unix_nano: fixed64 = 2,
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 3,
        /// Sample measurements behind the value.
        exemplars: repeated<Exemplar<'a>> = 5,
        /// `DataPointFlags`: bit 0 says that there is no value.
        flags: uint32 = 8,
    }
}

impl NumberPoint<'_> {
    /// The value; `None` where none is written.
    ///
    /// # Errors
    /// Where the point is malformed.
    pub fn value(&self) -> Result<Option<Number>, WireError> {
        last_number(self.raw, 4, 6)
    }
}

/// The last of a oneof of a double and an sfixed64.
fn last_number(message: &[u8], double: u32, int: u32) -> Result<Option<Number>, WireError> {
    let mut fields = Fields::new(message);
    let mut last = None;
    while let Some(field) = fields.next_field()? {
        if field.number == double {
            last = Some(Number::Double(f64::from_bits(field.fixed64()?)));
        } else if field.number == int {
            last = Some(Number::Int(field.fixed64()? as i64));
        }
    }
    Ok(last)
}

view! {
    /// `HistogramDataPoint`: counts between explicit bounds.
    HistogramPoint {
        /// Its attributes.
        attributes: attributes = 9,
        /// Nanoseconds since the epoch; 0 where unknown.
        start_time_unix_nano: fixed64 = 2,
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 3,
        /// How many measurements.
        count: fixed64 = 4,
        /// Their sum.
        sum: optional_double = 5,
        /// One more than there are bounds, or none.
        bucket_counts: numbers<u64> = 6,
        /// Upper bounds, growing.
        explicit_bounds: numbers<f64> = 7,
        /// Sample measurements.
        exemplars: repeated<Exemplar<'a>> = 8,
        /// `DataPointFlags`: bit 0 says that there is no value.
        flags: uint32 = 10,
        /// The smallest measurement.
        min: optional_double = 11,
        /// The largest measurement.
        max: optional_double = 12,
    }
}

view! {
    /// `ExponentialHistogramDataPoint`: counts in buckets that grow by a factor of 2^(2^-scale).
    ExponentialHistogramPoint {
        /// Its attributes.
        attributes: attributes = 1,
        /// Nanoseconds since the epoch; 0 where unknown.
        start_time_unix_nano: fixed64 = 2,
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 3,
        /// How many measurements.
        count: fixed64 = 4,
        /// Their sum.
        sum: optional_double = 5,
        /// Resolution: base = 2^(2^-scale).
        scale: sint32 = 6,
        /// Measurements whose absolute value is at most the zero threshold.
        zero_count: fixed64 = 7,
        /// `DataPointFlags`: bit 0 says that there is no value.
        flags: uint32 = 10,
        /// Sample measurements.
        exemplars: repeated<Exemplar<'a>> = 11,
        /// The smallest measurement.
        min: optional_double = 12,
        /// The largest measurement.
        max: optional_double = 13,
        /// Half the width of the zero bucket.
        zero_threshold: double = 14,
    }
}

impl<'a> ExponentialHistogramPoint<'a> {
    /// Buckets of positive measurements; `None` where none are written.
    ///
    /// # Errors
    /// Where the point is malformed.
    pub fn positive(&self) -> Result<Option<Buckets<'a>>, WireError> {
        Ok(Pieces::find(self.raw, 8)?.map(|pieces| Buckets { pieces }))
    }

    /// Buckets of negative measurements; `None` where none are written.
    ///
    /// # Errors
    /// Where the point is malformed.
    pub fn negative(&self) -> Result<Option<Buckets<'a>>, WireError> {
        Ok(Pieces::find(self.raw, 9)?.map(|pieces| Buckets { pieces }))
    }
}

/// `ExponentialHistogramDataPoint.Buckets`.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Buckets<'a> {
    /// The index of the first bucket.
    ///
    /// # Errors
    /// Where the buckets are malformed.
    pub fn offset(&self) -> Result<i32, WireError> {
        last_varint(self.pieces, 1).map(zigzag32)
    }

    /// The counts of consecutive buckets.
    pub fn bucket_counts(&self) -> Numbers<'a, Varint> {
        Numbers::new(self.pieces, 2)
    }
}

view! {
    /// `SummaryDataPoint`: quantiles computed by the source.
    SummaryPoint {
        /// Its attributes.
        attributes: attributes = 7,
        /// Nanoseconds since the epoch; 0 where unknown.
        start_time_unix_nano: fixed64 = 2,
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 3,
        /// How many measurements.
        count: fixed64 = 4,
        /// Their sum.
        sum: double = 5,
        /// Values at quantiles.
        quantile_values: repeated<QuantileValue<'a>> = 6,
        /// `DataPointFlags`: bit 0 says that there is no value.
        flags: uint32 = 8,
    }
}

view! {
    /// `SummaryDataPoint.ValueAtQuantile`.
    QuantileValue {
        /// 0 to 1.
        quantile: double = 1,
        /// The value there.
        value: double = 2,
    }
}

view! {
    /// `Exemplar`: one measurement behind a point.
    Exemplar {
        /// Attributes of the measurement that the point's series does not have.
        filtered_attributes: bare_attributes = 7,
        /// Nanoseconds since the epoch.
        time_unix_nano: fixed64 = 2,
        /// 8 bytes, or none.
        span_id: bytes = 4,
        /// 16 bytes, or none.
        trace_id: bytes = 5,
    }
}

impl Exemplar<'_> {
    /// The value; `None` where none is written.
    ///
    /// # Errors
    /// Where the exemplar is malformed.
    pub fn value(&self) -> Result<Option<Number>, WireError> {
        last_number(self.raw, 3, 6)
    }
}

/// How an element of a repeated number is written.
pub trait Element: Copy {
    /// What it is read as.
    type Value;
    #[doc(hidden)]
    const WIRE_TYPE: WireType;
    #[doc(hidden)]
    fn of_bits(bits: u64) -> Self::Value;
}

impl Element for u64 {
    type Value = u64;
    const WIRE_TYPE: WireType = WireType::Fixed64;
    fn of_bits(bits: u64) -> u64 {
        bits
    }
}

impl Element for f64 {
    type Value = f64;
    const WIRE_TYPE: WireType = WireType::Fixed64;
    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
}

/// Elements written as varints (`uint64`).
#[derive(Clone, Copy, Debug)]
pub struct Varint;

impl Element for Varint {
    type Value = u64;
    const WIRE_TYPE: WireType = WireType::Varint;
    fn of_bits(bits: u64) -> u64 {
        bits
    }
}

/// A repeated number, packed or not: a parser must take both.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a, E> {
    fields: Pieces<'a>,
    number: u32,
    packed: &'a [u8],
    element: PhantomData<fn() -> E>,
}

impl<'a, E: Element> Numbers<'a, E> {
    /// Field `number` of a message.
    pub fn new(fields: Pieces<'a>, number: u32) -> Self {
        Self {
            fields,
            number,
            packed: &[],
            element: PhantomData,
        }
    }

    fn next_number(&mut self) -> Result<Option<E::Value>, WireError> {
        loop {
            if !self.packed.is_empty() {
                return self.next_packed().map(Some);
            }
            let Some(field) = self.fields.next_field()? else {
                return Ok(None);
            };
            if field.number != self.number {
                continue;
            }
            match (field.value, E::WIRE_TYPE) {
                (FieldValue::Len(packed), _) => self.packed = packed,
                (FieldValue::Varint(bits), WireType::Varint) | (FieldValue::Fixed64(bits), WireType::Fixed64) => {
                    return Ok(Some(E::of_bits(bits)));
                }
                _ => return Err(wrong_element(&field, E::WIRE_TYPE)),
            }
        }
    }

    fn next_packed(&mut self) -> Result<E::Value, WireError> {
        if E::WIRE_TYPE == WireType::Varint {
            return read_varint(&mut self.packed).map(E::of_bits);
        }
        let (bytes, rest) = self.packed.split_first_chunk().ok_or(WireError::Truncated)?;
        self.packed = rest;
        Ok(E::of_bits(u64::from_le_bytes(*bytes)))
    }
}

fn wrong_element(field: &Field<'_>, wanted: WireType) -> WireError {
    WireError::WrongWireType {
        number: field.number,
        found: field.wire_type(),
        wanted,
    }
}

impl<E: Element> Iterator for Numbers<'_, E> {
    type Item = Result<E::Value, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_number();
        if next.is_err() {
            self.packed = &[];
            self.fields = Pieces::default();
        }
        next.transpose()
    }
}
