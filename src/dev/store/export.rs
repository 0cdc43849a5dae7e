//! Rows back to Export requests: the original bytes of each item, under the original bytes of their groups.

use bytes::Bytes;

use super::raw::RawReader;
use super::segment::Segment;
use crate::pdata::Signal;
use crate::wire::{put_len, put_len_header};

/// Rows of a segment as one Export request. Neighbours with the same resource and scope share a group.
pub fn request_of(segment: &Segment, rows: impl Iterator<Item = usize>) -> Bytes {
    let mut reader = RawReader::new(&segment.raw);
    let mut request = Vec::new();
    let mut scopes = Vec::new();
    let mut items = Vec::new();
    let mut points = Vec::new();
    let mut before: Option<(u16, u16, u16)> = None;
    for row in rows {
        let metric = segment.metric.get(row).copied().unwrap_or_default();
        let now = (segment.resource[row], segment.scope[row], metric);
        if let Some(before) = before.filter(|before| *before != now) {
            close_metric(segment, before.2, &mut points, &mut items);
            if (before.0, before.1) != (now.0, now.1) {
                close_scope(segment, before.1, &mut items, &mut scopes);
            }
            if before.0 != now.0 {
                close_resource(segment, before.0, &mut scopes, &mut request);
            }
        }
        before = Some(now);
        let (at, len) = segment.raw_place(row);
        let item = reader.read(at, len);
        if segment.signal == Signal::Metrics {
            put_len(&mut points, 1, item);
        } else {
            put_len(&mut items, 2, item);
        }
    }
    if let Some(last) = before {
        close_metric(segment, last.2, &mut points, &mut items);
        close_scope(segment, last.1, &mut items, &mut scopes);
        close_resource(segment, last.0, &mut scopes, &mut request);
    }
    request.into()
}

fn close_metric(segment: &Segment, metric: u16, points: &mut Vec<u8>, items: &mut Vec<u8>) {
    let Some(entry) = segment.metrics.get(usize::from(metric)).filter(|_| !points.is_empty()) else {
        return;
    };
    let mut data = std::mem::take(points);
    data.extend_from_slice(&entry.data_header);
    let mut item = entry.header.to_vec();
    put_len(&mut item, entry.kind.field(), &data);
    put_len(items, 2, &item);
}

fn close_scope(segment: &Segment, scope: u16, items: &mut Vec<u8>, scopes: &mut Vec<u8>) {
    let entry = &segment.scopes[usize::from(scope)];
    put_len_header(scopes, 2, entry.header.len() + items.len());
    scopes.extend_from_slice(&entry.header);
    scopes.append(items);
}

fn close_resource(segment: &Segment, resource: u16, scopes: &mut Vec<u8>, request: &mut Vec<u8>) {
    let entry = &segment.resources[usize::from(resource)];
    put_len_header(request, 1, entry.header.len() + scopes.len());
    request.extend_from_slice(&entry.header);
    request.append(scopes);
}
