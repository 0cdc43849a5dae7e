//! The walk of a rewriter over one part, and the splicing of what it says.

use std::borrow::Cow;

use super::edit::{Edit, Scratch};
use super::{Place, Rewriter, Visit};
use crate::pdata::Signal;
use crate::wire::{
    Fields, ItemLevel, Metric, MetricKind, Record, Records, ResourceGroup, ScopeGroup, Splicer, View, WireError,
    count_in_group, count_in_metric, count_in_scope,
};

/// Items that came or went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) dropped: usize,
    pub(super) malformed: usize,
    /// Data points that a metric lost or gained because its payload was replaced.
    pub(super) lost_in_edits: usize,
    pub(super) gained_in_edits: usize,
}

pub(super) struct Walk<'r, R> {
    rewriter: &'r mut R,
    level: ItemLevel,
    item_attributes: u32,
    tally: Tally,
    resource: Scratch,
    scope: Scratch,
    item: Scratch,
    point: Scratch,
}

/// What a rewriter said, errors turned into a drop.
enum Said {
    Stay { inside: bool },
    Drop,
    Malformed,
}

impl Said {
    fn from(visit: Result<Visit, WireError>) -> Self {
        match visit {
            Ok(Visit::Inside) => Said::Stay { inside: true },
            Ok(Visit::Keep) => Said::Stay { inside: false },
            Ok(Visit::Drop) => Said::Drop,
            Err(_) => Said::Malformed,
        }
    }
}

/// What happened to the children of a group.
#[derive(Default)]
struct Children {
    stayed: bool,
    went: bool,
}

impl Children {
    /// A parent goes when all its children were dropped; one that came empty stays as it came.
    fn all_went(&self) -> bool {
        self.went && !self.stayed
    }
}

impl<'r, R: Rewriter> Walk<'r, R> {
    pub(super) fn new(rewriter: &'r mut R, signal: Signal) -> Self {
        Self {
            rewriter,
            level: signal.item_level(),
            item_attributes: match signal {
                Signal::Traces => 9,
                Signal::Metrics => 12,
                Signal::Logs => 6,
            },
            tally: Tally::default(),
            resource: Scratch::default(),
            scope: Scratch::default(),
            item: Scratch::default(),
            point: Scratch::default(),
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The part's new bytes; `None` where nothing changed.
    pub(super) fn part(&mut self, part: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
        let mut splicer = Splicer::new(part);
        let mut records = Records::new(part, 0..part.len());
        while let Some((field, record)) = records.next_record()? {
            if field.number == 1 {
                self.group(&mut splicer, part, record, field.len()?)?;
            }
        }
        Ok(splicer.finish())
    }

    fn group(&mut self, splicer: &mut Splicer<'_>, part: &[u8], record: Record, raw: &[u8]) -> Result<(), WireError> {
        let group = ResourceGroup::of(raw);
        let message = header_message(raw)?;
        let mut scratch = std::mem::take(&mut self.resource);
        let mut edit = Edit::new(&message, 1, &mut scratch);
        let said = Said::from(self.rewriter.resource(group, &mut edit));
        let Said::Stay { inside } = said else {
            self.count_gone(&said, count_in_group(raw, self.level)?);
            splicer.replace(record.start..record.payload.end, &[]);
            self.resource = scratch;
            return Ok(());
        };
        splicer.enter(record.clone());
        let mut header = NewHeader::begin(edit.into_edited(), raw, splicer, &record)?;
        let mut children = Children::default();
        let mut records = Records::new(part, record.payload);
        // Nothing inside is to be looked at: the header stands in front, nearly always.
        while inside || header.wants_more() {
            let Some((field, record)) = records.next_record()? else {
                break;
            };
            match field.number {
                1 => header.replace_piece(splicer, &record),
                2 if inside => {
                    let place = Place {
                        resource: group,
                        scope: ScopeGroup::of(field.len()?),
                    };
                    self.scope_group(splicer, part, record, place, &mut children)?;
                }
                _ => {}
            }
        }
        if children.all_went() {
            splicer.leave_removed();
        } else {
            splicer.leave();
        }
        self.resource = scratch;
        Ok(())
    }

    fn scope_group(
        &mut self,
        splicer: &mut Splicer<'_>,
        part: &[u8],
        record: Record,
        place: Place<'_>,
        siblings: &mut Children,
    ) -> Result<(), WireError> {
        let raw = place.scope.raw();
        let message = header_message(raw)?;
        let mut scratch = std::mem::take(&mut self.scope);
        let mut edit = Edit::new(&message, 3, &mut scratch);
        let said = Said::from(self.rewriter.scope(place, &mut edit));
        let Said::Stay { inside } = said else {
            self.count_gone(&said, count_in_scope(raw, self.level)?);
            splicer.replace(record.start..record.payload.end, &[]);
            siblings.went = true;
            self.scope = scratch;
            return Ok(());
        };
        splicer.enter(record.clone());
        let mut header = NewHeader::begin(edit.into_edited(), raw, splicer, &record)?;
        let mut children = Children::default();
        let mut records = Records::new(part, record.payload);
        while inside || header.wants_more() {
            let Some((field, record)) = records.next_record()? else {
                break;
            };
            match field.number {
                1 => header.replace_piece(splicer, &record),
                2 if inside => match self.level {
                    ItemLevel::Record => self.record(splicer, record, place, field.len()?, &mut children),
                    ItemLevel::Point => self.metric(splicer, record, place, field.len()?, &mut children)?,
                },
                _ => {}
            }
        }
        if children.all_went() {
            splicer.leave_removed();
            siblings.went = true;
        } else {
            splicer.leave();
            siblings.stayed = true;
        }
        self.scope = scratch;
        Ok(())
    }

    /// A span or a log record.
    #[inline]
    fn record(
        &mut self,
        splicer: &mut Splicer<'_>,
        record: Record,
        place: Place<'_>,
        raw: &[u8],
        siblings: &mut Children,
    ) {
        let range = record.start..record.payload.end;
        let mut edit = Edit::new(raw, self.item_attributes, &mut self.item);
        let said = Said::from(self.rewriter.item(place, &mut edit));
        if let Said::Stay { .. } = said {
            if let Some(bytes) = edit.into_edited() {
                splicer.replace_with_message(range, 2, bytes);
            }
            siblings.stayed = true;
        } else {
            self.count_gone(&said, 1);
            splicer.replace(range, &[]);
            siblings.went = true;
        }
    }

    fn metric(
        &mut self,
        splicer: &mut Splicer<'_>,
        record: Record,
        place: Place<'_>,
        raw: &[u8],
        siblings: &mut Children,
    ) -> Result<(), WireError> {
        let range = record.start..record.payload.end;
        let mut scratch = std::mem::take(&mut self.item);
        let mut edit = Edit::new(raw, self.item_attributes, &mut scratch);
        let said = Said::from(self.rewriter.item(place, &mut edit));
        if let Said::Stay { inside } = said {
            self.metric_that_stays(splicer, range, place, edit, (inside, siblings))?;
        } else {
            self.count_gone(&said, count_in_metric(raw)?);
            splicer.replace(range, &[]);
            siblings.went = true;
        }
        self.item = scratch;
        Ok(())
    }

    /// A metric that stays, unless all its points go.
    fn metric_that_stays(
        &mut self,
        splicer: &mut Splicer<'_>,
        range: std::ops::Range<usize>,
        place: Place<'_>,
        edit: Edit<'_>,
        (inside, siblings): (bool, &mut Children),
    ) -> Result<(), WireError> {
        let original = edit.original();
        let edited = edit.into_edited();
        if let Some(bytes) = edited {
            // The payload came from a rewriter: nobody has checked yet that it can be counted.
            let before = count_in_metric(original)?;
            let after = count_in_metric(bytes)?;
            self.tally.lost_in_edits += before.saturating_sub(after);
            self.tally.gained_in_edits += after.saturating_sub(before);
        }
        let metric = edited.unwrap_or(original);
        let mut points = Children::default();
        let spliced = if inside {
            self.points(place, metric, &mut points)?
        } else {
            None
        };
        if points.all_went() {
            splicer.replace(range, &[]);
            siblings.went = true;
            return Ok(());
        }
        siblings.stayed = true;
        if let Some(bytes) = spliced.as_deref().or(edited) {
            splicer.replace_with_message(range, 2, bytes);
        }
        Ok(())
    }

    /// Visits the points of a metric; gives its new payload where one was edited or dropped.
    fn points(&mut self, place: Place<'_>, metric: &[u8], points: &mut Children) -> Result<Option<Vec<u8>>, WireError> {
        let Some((kind, begins_at)) = live_data(metric)? else {
            return Ok(None);
        };
        let mut splicer = Splicer::new(metric);
        let mut fields = Records::new(metric, begins_at..metric.len());
        while let Some((field, data)) = fields.next_record()? {
            if field.number != kind.field() {
                continue;
            }
            let mut records = Records::new(metric, data.payload.clone());
            splicer.enter(data);
            while let Some((field, record)) = records.next_record()? {
                if field.number == 1 {
                    let range = record.start..record.payload.end;
                    self.point(&mut splicer, range, place, (metric, kind, field.len()?), points);
                }
            }
            splicer.leave();
        }
        Ok(splicer.finish())
    }

    fn point(
        &mut self,
        splicer: &mut Splicer<'_>,
        range: std::ops::Range<usize>,
        place: Place<'_>,
        (metric, kind, raw): (&[u8], MetricKind, &[u8]),
        siblings: &mut Children,
    ) {
        let attributes = crate::wire::Point::of_kind(kind, raw).attributes_field();
        let mut edit = Edit::new(raw, attributes, &mut self.point);
        let said = Said::from(self.rewriter.point(place, Metric::of(metric), kind, &mut edit));
        if let Said::Stay { .. } = said {
            if let Some(bytes) = edit.into_edited() {
                splicer.replace_with_message(range, 1, bytes);
            }
            siblings.stayed = true;
        } else {
            self.count_gone(&said, 1);
            splicer.replace(range, &[]);
            siblings.went = true;
        }
    }

    fn count_gone(&mut self, said: &Said, items: usize) {
        match said {
            Said::Malformed => self.tally.malformed += items,
            _ => self.tally.dropped += items,
        }
    }
}

/// The resource or scope of a group: one slice, or its pieces written one after the other, which is the same message.
fn header_message(group: &[u8]) -> Result<Cow<'_, [u8]>, WireError> {
    let mut message = Cow::Borrowed(&[][..]);
    let mut fields = Fields::new(group);
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            let piece = field.len()?;
            if message.is_empty() {
                message = Cow::Borrowed(piece);
            } else {
                message.to_mut().extend_from_slice(piece);
            }
        }
    }
    Ok(message)
}

/// Writes an edited resource or scope in the place of its pieces.
struct NewHeader<'a> {
    edited: Option<&'a [u8]>,
    written: bool,
}

impl<'a> NewHeader<'a> {
    /// Where the group has no such message yet, the new one is written right at its beginning.
    fn begin(
        edited: Option<&'a [u8]>,
        group: &[u8],
        splicer: &mut Splicer<'_>,
        record: &Record,
    ) -> Result<Self, WireError> {
        let mut written = false;
        if let Some(bytes) = edited
            && crate::wire::Pieces::find(group, 1)?.is_none()
        {
            let at = record.payload.start;
            splicer.replace_with_message(at..at, 1, bytes);
            written = true;
        }
        Ok(Self { edited, written })
    }

    /// Whether a piece may still have to be replaced.
    fn wants_more(&self) -> bool {
        self.edited.is_some()
    }

    /// The first piece gives way to the new message, the others go.
    fn replace_piece(&mut self, splicer: &mut Splicer<'_>, record: &Record) {
        let Some(bytes) = self.edited else {
            return;
        };
        let range = record.start..record.payload.end;
        if self.written {
            splicer.replace(range, &[]);
        } else {
            splicer.replace_with_message(range, 1, bytes);
            self.written = true;
        }
    }
}

/// The kind of a metric's data and where its first piece begins: of a oneof written several times, the last kind wins.
fn live_data(metric: &[u8]) -> Result<Option<(MetricKind, usize)>, WireError> {
    let mut live: Option<(MetricKind, usize)> = None;
    let mut fields = Records::new(metric, 0..metric.len());
    while let Some((field, record)) = fields.next_record()? {
        if let Some(kind) = MetricKind::of_field(field.number)
            && live.is_none_or(|(begun, _)| begun != kind)
        {
            live = Some((kind, record.start));
        }
    }
    Ok(live)
}
