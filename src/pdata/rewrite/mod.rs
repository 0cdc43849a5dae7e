//! Editing a batch on the wire (T2): a [`Rewriter`] visits resources, scopes, items and data points and says for each
//! whether it stays, goes or is replaced; attributes are edited on the bytes.
//!
//! What was not touched is not copied: a batch nobody edited comes back with the same bytes. Parents go when all their
//! items were dropped. The item count of the batch follows every edit.

mod edit;
mod walk;

#[cfg(test)]
mod tests;

pub use edit::Edit;

use bytes::Bytes;

use super::{Batch, Parts};
use crate::wire::{Metric, MetricKind, ResourceGroup, ScopeGroup, WireError, count_items};

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It stays, with its edits, and what is inside is visited. For spans, log records and data points the same as
    /// [`Visit::Keep`].
    Inside,
    /// It stays, with its edits, and nothing inside is visited.
    Keep,
    /// It goes, with all that is inside.
    Drop,
}

/// Where an item stands: its parents as they came, before this rewriter edited them.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub resource: ResourceGroup<'a>,
    pub scope: ScopeGroup<'a>,
}

/// Says what becomes of each element. An error from any of these drops the element as malformed, and counts it.
pub trait Rewriter {
    /// A resource group; `edit` is over its `Resource`.
    ///
    /// # Errors
    /// Where the element's bytes are malformed; so for all below.
    fn resource(&mut self, group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let _ = (group, edit);
        Ok(Visit::Inside)
    }

    /// A scope group; `edit` is over its `InstrumentationScope`.
    ///
    /// # Errors
    /// As above.
    fn scope(&mut self, place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let _ = (place, edit);
        Ok(Visit::Inside)
    }

    /// A span, a metric or a log record.
    ///
    /// # Errors
    /// As above.
    fn item(&mut self, place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError>;

    /// A data point of a metric for which [`Rewriter::item`] said [`Visit::Inside`].
    ///
    /// # Errors
    /// As above.
    fn point(
        &mut self,
        place: Place<'_>,
        metric: Metric<'_>,
        kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        let _ = (place, metric, kind, edit);
        Ok(Visit::Keep)
    }
}

/// What a rewriter left of a batch. Counts are in items: spans, data points, log records.
#[derive(Debug)]
pub struct Rewritten {
    /// `None` when nothing is left.
    pub batch: Option<Batch>,
    /// Items dropped because the rewriter said so.
    pub dropped: usize,
    /// Items dropped because they, or a parent, could not be read; the accounting's reason is `invalid`.
    pub malformed: usize,
}

impl Batch {
    /// Edits the batch by `rewriter`.
    ///
    /// # Errors
    /// Where the framing down to the items is broken, which cannot be behind the door.
    pub fn rewrite(mut self, rewriter: &mut impl Rewriter) -> Result<Rewritten, WireError> {
        let signal = self.signal();
        let origin = self.origin().clone();
        let items = self.items();
        let mut walk = walk::Walk::new(rewriter, signal);
        let mut new_parts = Parts::new();
        let mut changed = false;
        for part in self.parts() {
            match walk.part(part)? {
                Some(bytes) => {
                    changed = true;
                    new_parts.push(Bytes::from(bytes));
                }
                None => new_parts.push(part.clone()),
            }
        }
        let tally = walk.tally();
        let gone = tally.dropped + tally.malformed + tally.lost_in_edits;
        let left = (items + tally.gained_in_edits).saturating_sub(gone);
        let batch = if changed {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            Batch::from_parts(signal, new_parts, left, origin)
        } else {
            self
        };
        debug_assert_eq!(
            batch.count_again(),
            Ok(batch.items()),
            "the item count follows every edit"
        );
        let nothing_left = changed && batch.wire_len() == 0;
        Ok(Rewritten {
            batch: (!nothing_left).then_some(batch),
            dropped: tally.dropped,
            malformed: tally.malformed,
        })
    }

    /// The items of the body, counted anew; for checks.
    pub(super) fn count_again(&self) -> Result<usize, WireError> {
        let level = self.signal().item_level();
        let mut items = 0;
        for part in self.clone().into_parts() {
            items += count_items(&part, level)?;
        }
        Ok(items)
    }
}
