//! OTLP/JSON: no panic; what is read can be written, and reads back the same.

use radiosonde::pdata::{Batch, DoorLimits, Origin, Signal};

pub fn run(data: &[u8]) {
    let limits = DoorLimits::default();
    for signal in Signal::ALL {
        // As text, and as wire bytes that are to be written as text.
        if let Ok(admitted) = Batch::from_json(signal, data, &limits, Origin::internal()) {
            round_trip(admitted.batch);
        }
        if let Ok(admitted) = Batch::at_door(signal, data.to_vec().into(), &limits, Origin::internal()) {
            let _ = admitted.batch.to_json();
        }
    }
}

fn round_trip(batch: Batch) {
    let text = batch.to_json().expect("what was read from JSON can be written");
    let limits = DoorLimits::default();
    let again = Batch::from_json(batch.signal(), &text, &limits, Origin::internal()).expect("our own JSON");
    assert_eq!(again.batch.items(), batch.items());
    assert_eq!(again.rejected.count(), 0);
    assert_eq!(again.batch.to_json().expect("written before"), text);
}
