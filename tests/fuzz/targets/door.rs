//! The door: no panic, and its count is that of prost wherever prost takes the bytes.

use radiosonde::pdata::{Batch, Check, DoorLimits, Origin, Signal, Utf8, estimate_decoded};

pub fn run(data: &[u8]) {
    for signal in Signal::ALL {
        for (check, utf8) in [
            (Check::Frame, Utf8::Replace),
            (Check::Full, Utf8::Replace),
            (Check::Full, Utf8::Reject),
        ] {
            let limits = DoorLimits {
                check,
                utf8,
                ..DoorLimits::default()
            };
            enter(signal, data, &limits);
        }
        assert!(estimate_decoded(signal, data) >= data.len());
    }
}

fn enter(signal: Signal, data: &[u8], limits: &DoorLimits) {
    let Ok(admitted) = Batch::at_door(signal, data.to_vec().into(), limits, Origin::internal()) else {
        return;
    };
    let mut batch = admitted.batch;
    let (items, bytes) = (batch.items(), batch.clone().into_bytes());
    // Prost stops at 100 messages inside each other; the door does not look so deep, or only at values.
    if let Ok(decoded) = batch.decode() {
        assert_eq!(decoded.count_items(), items);
    }
    // What was let in is let in again, unchanged.
    let again = Batch::at_door(signal, bytes.clone(), limits, Origin::internal()).expect("let in before");
    assert_eq!(again.batch.items(), items);
    assert_eq!(again.rejected.count(), 0);
    assert_eq!(again.batch.into_bytes(), bytes);
}
