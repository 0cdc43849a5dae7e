//! Rewriting on the wire == the same edit on prost's structs.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;

use super::well_formed;
use crate::pdata::{Batch, Decoded, Edit, Origin, Place, Rewriter, Visit};
use crate::wire::{Attributes, Metric, MetricKind, ResourceGroup, SetMode, Text, Value, View, WireError};

/// Drops what has the attribute `k0`; where it has not, deletes `k1`, sets `k2` to 7 where it is and adds `new`.
struct EditAttributes;

fn edit_list(edit: &mut Edit<'_>) -> Result<Visit, WireError> {
    let seven = Value::Int(7).encode()?;
    let text = Value::String(Text::new(b"fresh")).encode()?;
    edit.edit_attributes(|list| {
        if list.get("k0")?.is_some() {
            return Ok(Visit::Drop);
        }
        list.delete("k1")?;
        list.set(SetMode::Update, "k2", &seven)?;
        list.set(SetMode::Insert, "new", &text)?;
        list.set(SetMode::Upsert, "new", &text)?;
        Ok(Visit::Inside)
    })
}

impl Rewriter for EditAttributes {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit_list(edit)
    }

    fn scope(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit_list(edit)
    }

    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit_list(edit)
    }

    fn point(
        &mut self,
        _place: Place<'_>,
        _metric: Metric<'_>,
        _kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        edit_list(edit)
    }
}

/// The same on structs; false for drop.
fn edit_structs(attributes: &mut Vec<KeyValue>) -> bool {
    if attributes.iter().any(|attribute| attribute.key == "k0") {
        return false;
    }
    attributes.retain(|attribute| attribute.key != "k1");
    let set = |attribute: &mut KeyValue, value: Any| {
        attribute.value = Some(AnyValue { value: Some(value) });
    };
    if let Some(attribute) = attributes.iter_mut().find(|attribute| attribute.key == "k2") {
        set(attribute, Any::IntValue(7));
    }
    let mut fresh = KeyValue {
        key: "new".to_owned(),
        ..KeyValue::default()
    };
    set(&mut fresh, Any::StringValue("fresh".to_owned()));
    attributes.push(fresh);
    true
}

/// Keeps what passes; false when everything went and there was something.
fn retain<T>(list: &mut Vec<T>, keep: impl FnMut(&mut T) -> bool) -> bool {
    let before = list.len();
    list.retain_mut(keep);
    before == 0 || !list.is_empty()
}

fn edit_metric(metric: &mut opentelemetry_proto::tonic::metrics::v1::Metric) -> bool {
    edit_structs(&mut metric.metadata)
        && match &mut metric.data {
            None => true,
            Some(Data::Gauge(data)) => retain(&mut data.data_points, |point| edit_structs(&mut point.attributes)),
            Some(Data::Sum(data)) => retain(&mut data.data_points, |point| edit_structs(&mut point.attributes)),
            Some(Data::Histogram(data)) => retain(&mut data.data_points, |point| edit_structs(&mut point.attributes)),
            Some(Data::ExponentialHistogram(data)) => {
                retain(&mut data.data_points, |point| edit_structs(&mut point.attributes))
            }
            Some(Data::Summary(data)) => retain(&mut data.data_points, |point| edit_structs(&mut point.attributes)),
        }
}

fn edit_decoded(decoded: &mut Decoded) {
    macro_rules! edit_groups {
        ($groups:expr, $scopes:ident, $items:ident, $edit_item:expr) => {
            retain($groups, |group| {
                edit_structs(&mut group.resource.get_or_insert_default().attributes)
                    && retain(&mut group.$scopes, |scope| {
                        edit_structs(&mut scope.scope.get_or_insert_default().attributes)
                            && retain(&mut scope.$items, $edit_item)
                    })
            })
        };
    }
    match decoded {
        Decoded::Traces(request) => edit_groups!(&mut request.resource_spans, scope_spans, spans, |span| {
            edit_structs(&mut span.attributes)
        }),
        Decoded::Metrics(request) => {
            edit_groups!(&mut request.resource_metrics, scope_metrics, metrics, edit_metric)
        }
        Decoded::Logs(request) => edit_groups!(&mut request.resource_logs, scope_logs, log_records, |record| {
            edit_structs(&mut record.attributes)
        }),
    };
}

struct Nothing;

impl Rewriter for Nothing {
    fn item(&mut self, _place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        Ok(Visit::Inside)
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn edits_attributes_as_on_structs((signal, bytes, mut decoded) in well_formed()) {
        let items = decoded.count_items();
        let batch = Batch::from_wire(signal, bytes, items as u32, Origin::internal());
        let rewritten = batch.rewrite(&mut EditAttributes).unwrap();
        edit_decoded(&mut decoded);
        let left = decoded.count_items();
        prop_assert_eq!(rewritten.dropped, items - left);
        prop_assert_eq!(rewritten.malformed, 0);
        match rewritten.batch {
            Some(mut batch) => {
                prop_assert_eq!(batch.items(), left);
                prop_assert_eq!(batch.decode().unwrap(), &decoded);
            }
            None => prop_assert_eq!(decoded.encoded_len(), 0),
        }
    }

    #[test]
    fn gives_back_the_same_bytes_where_nothing_was_edited((signal, bytes, decoded) in well_formed()) {
        let batch = Batch::from_wire(signal, bytes.clone(), decoded.count_items() as u32, Origin::internal());
        let rewritten = batch.rewrite(&mut Nothing).unwrap();
        let same = rewritten.batch.unwrap().into_bytes();
        prop_assert_eq!(same.as_ptr(), bytes.as_ptr());
        prop_assert_eq!(same.len(), bytes.len());
    }

    #[test]
    fn reads_attributes_back_as_they_were_set((signal, bytes, _) in well_formed()) {
        // The value of any attribute, encoded again, is the same value.
        for group in crate::wire::resources(&bytes) {
            for attribute in group.unwrap().resource().unwrap().attributes() {
                let value = attribute.unwrap().value().unwrap();
                let again = value.encode().unwrap();
                prop_assert_eq!(format!("{:?}", Value::read(&again).unwrap().encode()), format!("{:?}", value.encode()));
                prop_assert_eq!(Attributes::new(&[], 1).count(), 0);
            }
        }
        let _ = (signal, <&[u8]>::of(&[]));
    }
}
