//! Counting items on the wire.

use super::{Fields, Metric, MetricKind, Repeated, View, WireError};

/// What is counted as an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemLevel {
    /// The records of a scope group: spans, log records.
    Record,
    /// The data points of the metrics in a scope group.
    Point,
}

/// Items of an Export request, or of a part of a batch.
///
/// # Errors
/// Where the bytes down to the items are malformed; so for all below.
pub fn count_items(part: &[u8], level: ItemLevel) -> Result<usize, WireError> {
    sum_of(part, 1, |group| count_in_group(group, level))
}

/// Items of the payload of one resource group.
///
/// # Errors
/// As above.
pub fn count_in_group(group: &[u8], level: ItemLevel) -> Result<usize, WireError> {
    sum_of(group, 2, |scope| count_in_scope(scope, level))
}

/// Items of the payload of one scope group.
///
/// # Errors
/// As above.
pub fn count_in_scope(scope: &[u8], level: ItemLevel) -> Result<usize, WireError> {
    match level {
        ItemLevel::Record => sum_of(scope, 2, |_| Ok(1)),
        ItemLevel::Point => sum_of(scope, 2, count_in_metric),
    }
}

/// Data points of the payload of one metric.
///
/// # Errors
/// As above.
#[inline]
pub fn count_in_metric(metric: &[u8]) -> Result<usize, WireError> {
    let mut fields = Fields::new(metric);
    let mut data = None;
    while let Some(field) = fields.next_field()? {
        if MetricKind::of_field(field.number).is_none() {
            continue;
        }
        if data.is_some() {
            return count_in_metric_with_pieces(metric);
        }
        data = Some(field.len()?);
    }
    match data {
        Some(data) => sum_of(data, 1, |_| Ok(1)),
        None => Ok(0),
    }
}

/// Data written several times: the last kind wins.
#[cold]
fn count_in_metric_with_pieces(metric: &[u8]) -> Result<usize, WireError> {
    match Metric::of(metric).data()? {
        Some(data) => data.count_points(),
        None => Ok(0),
    }
}

#[inline(always)]
fn sum_of(
    message: &[u8],
    number: u32,
    mut count: impl FnMut(&[u8]) -> Result<usize, WireError>,
) -> Result<usize, WireError> {
    let mut sum = 0;
    for element in Repeated::<&[u8]>::new(message, number) {
        sum += count(element?)?;
    }
    Ok(sum)
}
