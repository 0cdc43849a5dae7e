//! The query language of dev mode: no text makes the parser panic or leave its text with a position, and no telemetry
//! makes the store or a search in it panic. The query goes to the first zero byte, the telemetry follows it.

use bytes::Bytes;
use radiosonde::dev::query::{NoExtras, Query, Window, complete};
use radiosonde::dev::store::Store;
use radiosonde::pdata::{Batch, DoorLimits, Origin, Signal};

/// Now, as the queries see it.
const NOW: u64 = 1_700_000_000_000_000_000;

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else {
        return;
    };
    let telemetry = data.get(end + 1..).unwrap_or_default();
    let query = match Query::parse(text, NOW) {
        Ok(query) => query,
        Err(error) => {
            assert!(
                error.position <= text.chars().count(),
                "position {} of {text:?}",
                error.position
            );
            return;
        }
    };
    let store = Store::default();
    for signal in Signal::ALL {
        let bytes = Bytes::copy_from_slice(telemetry);
        let Ok(admitted) = Batch::at_door(signal, bytes, &DoorLimits::default(), Origin::internal()) else {
            continue;
        };
        let items = admitted.batch.items() as u64;
        let taken = store.take(admitted.batch);
        assert_eq!(
            taken.stored + taken.rejected + taken.dropped,
            items,
            "the books of {signal}"
        );
    }
    let snapshot = store.snapshot();
    for signal in Signal::ALL {
        for segment in snapshot.of(signal) {
            let rows = query.rows(segment, Window::ALL, &NoExtras);
            let complete = radiosonde::dev::store::Segment::clone(segment).complete();
            assert_eq!(rows, query.rows(&complete, Window::ALL, &NoExtras), "{text:?}");
        }
    }
    let length = text.chars().count();
    for cursor in [0, length / 2, length] {
        let found = complete(text, cursor, &snapshot);
        assert!(found.from <= found.to && found.to <= length, "{text:?} at {cursor}");
    }
}
