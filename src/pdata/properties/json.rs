//! What is written as JSON reads back as the same telemetry.

use proptest::prelude::*;

use super::{decode, mutated, well_formed};
use crate::pdata::{Batch, DoorLimits, JsonWriteError, Origin, Signal};
use crate::wire::WireError;

fn batch(signal: Signal, bytes: bytes::Bytes, items: usize) -> Batch {
    Batch::from_wire(signal, bytes, items as u32, Origin::internal())
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn reads_back_what_it_writes((signal, bytes, decoded) in well_formed()) {
        let text = batch(signal, bytes, decoded.count_items()).to_json().unwrap();
        let strict: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert!(strict.is_object());
        let mut admitted = Batch::from_json(signal, &text, &DoorLimits::default(), Origin::internal()).unwrap();
        prop_assert_eq!(admitted.rejected.count(), 0);
        prop_assert_eq!(admitted.batch.items(), decoded.count_items());
        prop_assert_eq!(admitted.batch.decode().unwrap(), &decoded);
    }

    #[test]
    fn writes_of_mutated_bytes_what_prost_reads((signal, bytes) in mutated()) {
        let Some(decoded) = decode(signal, &bytes) else {
            return Ok(());
        };
        let items = decoded.count_items();
        let written = batch(signal, bytes, items).to_json();
        let from_structs = batch(signal, decoded.encode(), items).to_json().unwrap();
        match written {
            Ok(text) => prop_assert_eq!(without_negative_zero(&text), without_negative_zero(&from_structs)),
            Err(JsonWriteError::Malformed(WireError::Group { .. })) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn takes_any_text_without_panic(text in "[\\PC\"\\\\{}\\[\\]:,0-9eE+.-]{0,200}", signal in super::signal()) {
        let _ = Batch::from_json(signal, text.as_bytes(), &DoorLimits::default(), Origin::internal());
    }

    #[test]
    fn takes_mutated_json_without_panic(
        (signal, bytes, decoded) in well_formed(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = batch(signal, bytes, decoded.count_items()).to_json().unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let limits = DoorLimits::default();
        if let Ok(admitted) = Batch::from_json(signal, &text, &limits, Origin::internal()) {
            let mut batch = admitted.batch;
            let items = batch.items();
            prop_assert_eq!(batch.decode().unwrap().count_items(), items);
        }
    }
}

/// Prost does not write a negative zero where a field has no presence.
fn without_negative_zero(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace("-0.0", "0.0");
    let fields = ["sum", "quantile", "value", "zeroThreshold"];
    fields.iter().fold(text, |text, field| {
        text.replace(&format!("\"{field}\":0.0,"), "")
            .replace(&format!(",\"{field}\":0.0"), "")
            .replace(&format!("\"{field}\":0.0"), "")
    })
}
