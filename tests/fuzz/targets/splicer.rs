//! Rewriting and splitting: no panic, counts stay exact, and what comes out passes the door again.

use radiosonde::pdata::{Batch, DoorLimits, Edit, Origin, Place, Rewriter, Signal, Visit};
use radiosonde::wire::{Metric, MetricKind, ResourceGroup, SetMode, Value, WireError};

pub fn run(data: &[u8]) {
    for signal in Signal::ALL {
        let limits = DoorLimits::default();
        let Ok(admitted) = Batch::at_door(signal, data.to_vec().into(), &limits, Origin::internal()) else {
            continue;
        };
        let batch = admitted.batch;
        for seed in 0..3 {
            rewrite(batch.clone(), seed);
        }
        for max in [1, 2, 7] {
            let pieces = batch.clone().split_by_items(max).expect("the door checked the framing");
            assert!(pieces.iter().all(|piece| piece.items() <= max));
            assert_eq!(pieces.iter().map(Batch::items).sum::<usize>(), batch.items());
            pieces.into_iter().for_each(enter_again);
        }
        for max in [1, 100, 1_000] {
            let pieces = batch.clone().split_by_bytes(max).expect("the door checked the framing");
            assert_eq!(pieces.iter().map(Batch::items).sum::<usize>(), batch.items());
            pieces.into_iter().for_each(enter_again);
        }
    }
}

fn enter_again(batch: Batch) {
    let items = batch.items();
    let (signal, bytes) = (batch.signal(), batch.into_bytes());
    let again = Batch::at_door(signal, bytes, &DoorLimits::default(), Origin::internal()).expect("let in before");
    assert_eq!(again.batch.items() + again.rejected.count(), items);
}

fn rewrite(batch: Batch, seed: u32) {
    let before = batch.items();
    let mut edits = Edits(seed);
    let rewritten = batch.rewrite(&mut edits).expect("the door checked the framing");
    let left = rewritten.batch.as_ref().map_or(0, Batch::items);
    assert_eq!(left + rewritten.dropped + rewritten.malformed, before);
    rewritten.batch.into_iter().for_each(enter_again);
}

/// Drops, keeps and edits in a fixed disorder.
struct Edits(u32);

impl Edits {
    fn edit(&mut self, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let choice = self.0 >> 28;
        if choice == 0 {
            return Ok(Visit::Drop);
        }
        if choice < 8 {
            let value = Value::Int(i64::from(self.0)).encode()?;
            edit.edit_attributes(|list| {
                list.set(SetMode::Upsert, "fuzz", &value)?;
                list.set(SetMode::Update, "k", &value)?;
                if choice < 4 {
                    list.retain(|key| key.as_bytes().len() % 2 == 0)?;
                }
                Ok(())
            })?;
        }
        Ok(if choice == 15 { Visit::Keep } else { Visit::Inside })
    }
}

impl Rewriter for Edits {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        self.edit(edit)
    }

    fn scope(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        self.edit(edit)
    }

    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        self.edit(edit)
    }

    fn point(
        &mut self,
        _place: Place<'_>,
        _metric: Metric<'_>,
        _kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        self.edit(edit)
    }
}
