//! Rows of segments as resource groups of an Export request, by a rule that does not depend on the segments: neighbours of
//! the same resource and scope are one group, up to a thousand items.

use axum::body::Bytes;

use crate::dev::answers::Failure;
use crate::dev::store::{RawReader, Segment};
use crate::pdata::Signal;
use crate::wire::{put_len, put_len_header};

/// Items of a group.
const MOST_ITEMS: usize = 1_000;

/// The group that is being written.
#[derive(Default)]
pub struct Groups {
    resource: Bytes,
    scope: Bytes,
    /// Metrics: the fields of the metric but its data, of its data but its points, and the field its data stands in.
    metric: Option<(Bytes, Bytes, u32)>,
    points: Vec<u8>,
    items: Vec<u8>,
    count: usize,
}

impl Groups {
    /// Adds rows; `each` gets every group that is full or followed by another.
    pub fn take(
        &mut self,
        segment: &Segment,
        rows: impl Iterator<Item = usize>,
        each: &mut impl FnMut(Bytes) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reader = RawReader::new(&segment.raw);
        for row in rows {
            let resource = &segment.resource_of(row).header;
            let scope = &segment.scopes[usize::from(segment.scope[row])].header;
            if self.count >= MOST_ITEMS || self.resource != *resource || self.scope != *scope {
                self.finish(each)?;
                self.resource = resource.clone();
                self.scope = scope.clone();
            }
            let (at, len) = segment.raw_place(row);
            let item = reader.read(at, len);
            if segment.signal == Signal::Metrics {
                let entry = &segment.metrics[usize::from(segment.metric[row])];
                let field = entry.kind.field();
                let is_same = self.metric.as_ref().is_some_and(|(header, data, kind)| {
                    *kind == field && *header == entry.header && *data == entry.data_header
                });
                if !is_same {
                    self.close_metric();
                    self.metric = Some((entry.header.clone(), entry.data_header.clone(), field));
                }
                put_len(&mut self.points, 1, item);
            } else {
                put_len(&mut self.items, 2, item);
            }
            self.count += 1;
        }
        Ok(())
    }

    fn close_metric(&mut self) {
        let Some((header, data_header, field)) = self.metric.take() else {
            return;
        };
        let mut data = std::mem::take(&mut self.points);
        data.extend_from_slice(&data_header);
        let mut metric = header.to_vec();
        put_len(&mut metric, field, &data);
        put_len(&mut self.items, 2, &metric);
    }

    /// Writes what is left.
    pub fn finish(&mut self, each: &mut impl FnMut(Bytes) -> Result<(), Failure>) -> Result<(), Failure> {
        self.close_metric();
        if self.count == 0 {
            return Ok(());
        }
        self.count = 0;
        let items = std::mem::take(&mut self.items);
        let mut group = self.resource.to_vec();
        put_len_header(&mut group, 2, self.scope.len() + items.len());
        group.extend_from_slice(&self.scope);
        group.extend_from_slice(&items);
        let mut request = Vec::new();
        put_len(&mut request, 1, &group);
        each(request.into())
    }
}
