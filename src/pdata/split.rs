//! Splitting a batch by items or by bytes, on the wire.
//!
//! A cut inside a resource, a scope or a metric repeats its header on both sides. Resource groups that lie wholly on one
//! side are slices of the same buffer; only the groups that are cut are copied.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Batch, Edit, Parts, Place, Rewriter, Signal, Visit};
use crate::wire::{
    Fields, ItemLevel, Metric, MetricKind, Records, View, WireError, count_in_group, count_in_metric, len_field_len,
};

impl Batch {
    /// The first `first` items, and the rest: `None` where there is none. Items without number (empty groups) stay
    /// where they stand.
    ///
    /// # Errors
    /// Where the framing down to the items is broken, which cannot be behind the door.
    pub fn split_at_items(self, first: usize) -> Result<(Batch, Option<Batch>), WireError> {
        if first >= self.items() {
            return Ok((self, None));
        }
        let mut pieces = self.split_at_cuts(&[first])?.into_iter();
        let left = pieces.next();
        let right = pieces.next();
        match (left, right) {
            (Some(left), right) => Ok((left, right)),
            (None, _) => unreachable!("one cut makes two pieces"),
        }
    }

    /// Batches of at most `max` items each, in order. Zero means no limit.
    ///
    /// # Errors
    /// As [`Batch::split_at_items`].
    pub fn split_by_items(self, max: usize) -> Result<Vec<Batch>, WireError> {
        if max == 0 || self.items() <= max {
            return Ok(vec![self]);
        }
        let cuts: Vec<usize> = (1..self.items().div_ceil(max)).map(|at| at * max).collect();
        self.split_at_cuts(&cuts)
    }

    /// Batches of at most `max` bytes each, in order. One item that is larger than that alone with its headers is sent
    /// alone: somebody else has to refuse it. Groups and metrics without items are not reckoned. Zero means no limit.
    ///
    /// # Errors
    /// As [`Batch::split_at_items`].
    pub fn split_by_bytes(mut self, max: usize) -> Result<Vec<Batch>, WireError> {
        if max == 0 || self.wire_len() <= max {
            return Ok(vec![self]);
        }
        let level = self.signal().item_level();
        let mut ruler = Ruler::new(max, level);
        for part in self.parts() {
            ruler.part(part)?;
        }
        let cuts = ruler.cuts;
        if cuts.is_empty() {
            return Ok(vec![self]);
        }
        self.split_at_cuts(&cuts)
    }

    /// Cuts before the items with these numbers, which grow and lie inside.
    fn split_at_cuts(mut self, cuts: &[usize]) -> Result<Vec<Batch>, WireError> {
        let signal = self.signal();
        let mut origin = self.origin().clone();
        if origin.batch_id.is_some() || origin.pieces.is_some() {
            // The id is that of the whole.
            origin = Arc::new(origin.known_as(None));
        }
        let items = self.items();
        let mut bounds = cuts.to_vec();
        bounds.push(items);
        let mut knife = Knife {
            signal,
            bounds: &bounds,
            piece: 0,
            item: 0,
            pieces: vec![Parts::new(); bounds.len()],
        };
        for part in self.parts() {
            knife.part(part)?;
        }
        debug_assert_eq!(knife.item, items, "every item is on one side");
        let mut begin = 0;
        let mut batches = Vec::with_capacity(bounds.len());
        for (parts, end) in knife.pieces.into_iter().zip(&bounds) {
            let count = u32::try_from(end - begin).unwrap_or(u32::MAX);
            let batch = Batch::from_parts(signal, parts, count, origin.clone());
            debug_assert_eq!(
                batch.count_again(),
                Ok(batch.items()),
                "the item count follows every cut"
            );
            batches.push(batch);
            begin = *end;
        }
        Ok(batches)
    }
}

struct Knife<'b> {
    signal: Signal,
    /// Where each piece ends, in items of the whole batch.
    bounds: &'b [usize],
    /// The piece being filled.
    piece: usize,
    /// Items passed so far.
    item: usize,
    pieces: Vec<Parts>,
}

impl Knife<'_> {
    fn part(&mut self, part: &Bytes) -> Result<(), WireError> {
        // The run of whole groups that go into the same piece.
        let mut run: Option<Range<usize>> = None;
        let mut records = Records::new(part, 0..part.len());
        while let Some((field, record)) = records.next_record()? {
            if field.number != 1 {
                continue;
            }
            let place = record.start..record.payload.end;
            let items = count_in_group(field.len()?, self.signal.item_level())?;
            while self.item == self.bounds[self.piece] && self.piece + 1 < self.bounds.len() {
                self.keep(part, run.take());
                self.piece += 1;
            }
            let fits = self.item + items <= self.bounds[self.piece] || self.piece + 1 == self.bounds.len();
            if fits {
                run = Some(run.map_or(place.clone(), |run| run.start..place.end));
                self.item += items;
                continue;
            }
            self.keep(part, run.take());
            self.cut(&part.slice(place), items)?;
        }
        self.keep(part, run);
        Ok(())
    }

    fn keep(&mut self, part: &Bytes, run: Option<Range<usize>>) {
        let Some(run) = run else {
            return;
        };
        // A slice keeps its whole buffer: one that is less than a quarter of it is copied.
        let bytes = if run.len() < part.len() / 4 {
            Bytes::copy_from_slice(&part[run])
        } else {
            part.slice(run)
        };
        self.pieces[self.piece].push(bytes);
    }

    /// Cuts one resource group with this many items into as many pieces as its bounds say.
    fn cut(&mut self, group: &Bytes, items: usize) -> Result<(), WireError> {
        let end = self.item + items;
        let mut passed = 0;
        loop {
            let is_last_piece = self.piece + 1 == self.bounds.len();
            let bound = if is_last_piece {
                end
            } else {
                self.bounds[self.piece].min(end)
            };
            let kept = bound - self.item;
            // Metrics and scopes without items at the end of the group belong to its last piece.
            let to = if bound == end { usize::MAX } else { passed + kept };
            if let Some(bytes) = cut_out(self.signal, group, passed..to)? {
                self.pieces[self.piece].push(bytes);
            }
            passed += kept;
            self.item = bound;
            if self.item == end {
                return Ok(());
            }
            self.piece += 1;
        }
    }
}

/// The group with only these of its items.
fn cut_out(signal: Signal, group: &Bytes, items: Range<usize>) -> Result<Option<Bytes>, WireError> {
    let count = count_items_of(group, signal)?;
    let whole = Batch::from_wire(signal, group.clone(), count, super::Origin::internal());
    let mut only = Only {
        level: signal.item_level(),
        items,
        at: 0,
    };
    let rewritten = whole.rewrite(&mut only)?;
    Ok(rewritten.batch.map(Batch::into_bytes))
}

fn count_items_of(part: &[u8], signal: Signal) -> Result<u32, WireError> {
    let items = crate::wire::count_items(part, signal.item_level())?;
    Ok(u32::try_from(items).unwrap_or(u32::MAX))
}

/// Keeps a range of items.
struct Only {
    level: ItemLevel,
    items: Range<usize>,
    at: usize,
}

impl Only {
    /// Whether the next `count` items are all in, all out, or both.
    fn pass(&mut self, count: usize) -> Visit {
        let (begin, end) = (self.at, self.at + count);
        let kept = end.min(self.items.end).saturating_sub(begin.max(self.items.start));
        if kept == count && (count > 0 || self.items.contains(&begin)) {
            self.at = end;
            Visit::Keep
        } else if kept == 0 {
            self.at = end;
            Visit::Drop
        } else {
            // Its points pass one by one.
            Visit::Inside
        }
    }
}

impl Rewriter for Only {
    fn scope(&mut self, place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        // An empty scope group goes where the next item goes, once.
        let is_empty = place.scope.items().next().is_none();
        Ok(if is_empty { self.pass(0) } else { Visit::Inside })
    }

    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        match self.level {
            ItemLevel::Record => Ok(self.pass(1)),
            ItemLevel::Point => {
                let points = count_in_metric(edit.bytes())?;
                Ok(self.pass(points))
            }
        }
    }

    fn point(
        &mut self,
        _place: Place<'_>,
        _metric: Metric<'_>,
        _kind: MetricKind,
        _edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        Ok(self.pass(1))
    }
}

/// Finds the cuts that keep every piece within a number of bytes. Headers are reckoned for each piece they stand in,
/// and lengths as if they were as wide as they ever get in the whole: a piece may be a few bytes smaller than allowed.
struct Ruler {
    max: usize,
    level: ItemLevel,
    cuts: Vec<usize>,
    item: usize,
    used: usize,
    /// Whether the headers of the resource group, scope group and metric stand in the piece already.
    begun: [bool; 3],
    /// What those headers cost.
    headers: [usize; 3],
}

impl Ruler {
    fn new(max: usize, level: ItemLevel) -> Self {
        Self {
            max,
            level,
            cuts: Vec::new(),
            item: 0,
            used: 0,
            begun: [false; 3],
            headers: [0; 3],
        }
    }

    fn part(&mut self, part: &[u8]) -> Result<(), WireError> {
        let mut groups = Fields::new(part);
        while let Some((field, record)) = groups.next_with_record()? {
            if field.number == 1 {
                let group = field.len()?;
                self.enter(0, record.len() - payload_of(group, 2)?);
                let mut scopes = Fields::new(group);
                while let Some((field, record)) = scopes.next_with_record()? {
                    if field.number == 2 {
                        self.scope(field.len()?, record)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn scope(&mut self, scope: &[u8], record: &[u8]) -> Result<(), WireError> {
        self.enter(1, record.len() - payload_of(scope, 2)?);
        let mut items = Fields::new(scope);
        while let Some((field, record)) = items.next_with_record()? {
            if field.number != 2 {
                continue;
            }
            match self.level {
                ItemLevel::Record => self.item(record.len()),
                ItemLevel::Point => self.metric(field.len()?, record)?,
            }
        }
        Ok(())
    }

    fn metric(&mut self, metric: &[u8], record: &[u8]) -> Result<(), WireError> {
        let Some(data) = Metric::of(metric).data()? else {
            return Ok(());
        };
        let mut points = 0;
        for point in data.raw_points() {
            points += len_field_len(1, point?.len());
        }
        self.enter(2, record.len().saturating_sub(points));
        for point in data.raw_points() {
            self.item(len_field_len(1, point?.len()));
        }
        Ok(())
    }

    /// Goes into a group or a metric, whose header must stand in every piece that has an item of it.
    fn enter(&mut self, level: usize, header: usize) {
        self.headers[level] = header;
        self.headers[level + 1..].fill(0);
        self.begun[level..].fill(false);
    }

    fn item(&mut self, len: usize) {
        let cost = len + self.missing_headers();
        if self.used > 0 && self.used + cost > self.max {
            self.cuts.push(self.item);
            self.begun = [false; 3];
            self.used = len + self.missing_headers();
        } else {
            self.used += cost;
        }
        self.begun = [true; 3];
        self.item += 1;
    }

    /// What the headers cost that do not stand in the piece yet.
    fn missing_headers(&self) -> usize {
        let headers = self.headers.iter().zip(&self.begun);
        headers.filter(|(_, begun)| !**begun).map(|(header, _)| *header).sum()
    }
}

/// Bytes of the length-delimited fields `number` with their headers.
fn payload_of(message: &[u8], number: u32) -> Result<usize, WireError> {
    let mut sum = 0;
    let mut fields = Fields::new(message);
    while let Some((field, record)) = fields.next_with_record()? {
        if field.number == number {
            sum += record.len();
        }
    }
    Ok(sum)
}
