//! What the properties do not reach: messages no encoder writes.

use bytes::Bytes;

use super::*;
use crate::pdata::{Origin, Signal};
use crate::wire::{Fields, SetMode, Value, put_len, resources};

fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, payload) in fields {
        put_len(&mut out, *number, payload);
    }
    out
}

fn attribute(key: &str) -> Vec<u8> {
    message(&[(1, key.as_bytes())])
}

fn batch(signal: Signal, group: &[u8]) -> Batch {
    let request = message(&[(1, group)]);
    let items = count_items(&request, signal.item_level()).unwrap();
    Batch::from_wire(signal, Bytes::from(request), items as u32, Origin::internal())
}

/// Sets `new` on resources, and drops items that are empty or begin with field 15.
struct Edits;

impl Rewriter for Edits {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let value = Value::Int(1).encode()?;
        edit.edit_attributes(|list| list.set(SetMode::Upsert, "new", &value))?;
        Ok(Visit::Inside)
    }

    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        match Fields::new(edit.bytes()).next_field()? {
            Some(field) if field.number != 15 => Ok(Visit::Inside),
            _ => Ok(Visit::Drop),
        }
    }

    fn point(
        &mut self,
        _place: Place<'_>,
        _metric: Metric<'_>,
        _kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        Ok(if edit.bytes().is_empty() {
            Visit::Drop
        } else {
            Visit::Keep
        })
    }
}

#[test]
fn merges_the_pieces_of_a_resource_it_edits() {
    let piece = |key| message(&[(1, &attribute(key))]);
    let item = message(&[(5, b"name")]);
    let scope = message(&[(2, &item)]);
    // The resource stands behind and between its scopes.
    let group = message(&[(2, &scope), (1, &piece("a")), (2, &scope), (1, &piece("b"))]);
    let rewritten = batch(Signal::Traces, &group).rewrite(&mut Edits).unwrap();
    let bytes = rewritten.batch.unwrap().into_bytes();
    let merged = message(&[(1, &attribute("a")), (1, &attribute("b"))]);
    let group = resources(&bytes).next().unwrap().unwrap();
    let keys: Vec<String> = group
        .resource()
        .unwrap()
        .attributes()
        .map(|attribute| attribute.unwrap().key().unwrap().to_string())
        .collect();
    assert_eq!(keys, ["a", "b", "new"]);
    assert!(group.resource().unwrap().pieces().first_piece().starts_with(&merged));
    assert_eq!(group.scopes().count(), 2);
}

#[test]
fn gives_a_group_without_resource_one() {
    let scope = message(&[(2, &message(&[(5, b"name")]))]);
    let rewritten = batch(Signal::Traces, &message(&[(2, &scope)]))
        .rewrite(&mut Edits)
        .unwrap();
    let bytes = rewritten.batch.unwrap().into_bytes();
    let group = resources(&bytes).next().unwrap().unwrap();
    assert!(group.resource().unwrap().attribute("new").unwrap().is_some());
}

#[test]
fn drops_what_cannot_be_read_and_counts_it_apart() {
    let bad: &[u8] = &[0x0b];
    let scope = message(&[(2, bad), (2, &message(&[(5, b"name")])), (2, &[])]);
    let rewritten = batch(Signal::Logs, &message(&[(2, &scope)]))
        .rewrite(&mut Edits)
        .unwrap();
    assert_eq!((rewritten.dropped, rewritten.malformed), (1, 1));
    assert_eq!(rewritten.batch.unwrap().items(), 1);
}

#[test]
fn takes_parents_away_with_their_last_item() {
    let gone = message(&[(2, &message(&[(15, b"")]))]);
    let rewritten = batch(Signal::Traces, &message(&[(2, &gone), (2, &gone)]))
        .rewrite(&mut Edits)
        .unwrap();
    assert!(rewritten.batch.is_none());
    assert_eq!(rewritten.dropped, 2);
}

#[test]
fn visits_only_the_points_of_the_kind_that_won() {
    let point = message(&[(7, &attribute("k"))]);
    let gauge = message(&[(1, &[]), (1, &point)]);
    let sum = message(&[(1, &[]), (1, &point), (1, &point)]);
    // Gauge, then sum, then a second piece of the sum: only the sum lives.
    let metric = message(&[(5, &gauge), (7, &sum), (7, &sum)]);
    let scope = message(&[(2, &metric)]);
    let before = batch(Signal::Metrics, &message(&[(2, &scope)]));
    assert_eq!(before.items(), 6);
    let rewritten = before.rewrite(&mut Edits).unwrap();
    assert_eq!(rewritten.dropped, 2);
    assert_eq!(rewritten.batch.unwrap().items(), 4);
}

/// Replaces every metric by one with a single point.
struct Replace(Vec<u8>);

impl Rewriter for Replace {
    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit.replace(&self.0);
        Ok(Visit::Keep)
    }
}

#[test]
fn counts_the_points_of_a_metric_that_was_replaced() {
    let many = message(&[(5, &message(&[(1, &[]), (1, &[]), (1, &[])]))]);
    let one = message(&[(5, &message(&[(1, &[])]))]);
    for (from, to) in [(&many, &one), (&one, &many)] {
        let scope = message(&[(2, from.as_slice())]);
        let before = batch(Signal::Metrics, &message(&[(2, &scope)]));
        let rewritten = before.rewrite(&mut Replace(to.clone())).unwrap();
        let after = rewritten.batch.unwrap();
        assert_eq!(after.items(), after.count_again().unwrap());
        assert_eq!(rewritten.dropped, 0);
    }
}

#[test]
fn shortens_and_lengthens_lengths_across_a_byte() {
    let long = message(&[(5, &[b'x'; 200])]);
    let scope = message(&[(2, &long), (2, &message(&[(5, b"y")]))]);
    let group = message(&[(2, &scope)]);
    for replacement in [vec![], message(&[(5, &[b'z'; 20_000])])] {
        let rewritten = batch(Signal::Logs, &group)
            .rewrite(&mut Replace(replacement.clone()))
            .unwrap();
        let expected = message(&[(2, &message(&[(2, &replacement), (2, &replacement)]))]);
        assert_eq!(rewritten.batch.unwrap().into_bytes(), message(&[(1, &expected)]));
    }
}
