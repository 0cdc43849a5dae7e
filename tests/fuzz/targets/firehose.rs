//! Firehose: no panic, and what is let in has the items it says. The first byte picks what the records hold and what
//! becomes of them; the rest is an envelope, and a record by itself.

use bytes::Bytes;
use radiosonde::components::receivers::awsfirehose::convert::{Convert, Form, Reading, read};
use radiosonde::components::receivers::awsfirehose::envelope::{Envelope, decode};
use radiosonde::pdata::{MemoryBudget, Permit};

const BUDGET: u64 = 64 << 20;

pub fn run(data: &[u8]) {
    let Some((pick, body)) = data.split_first() else {
        return;
    };
    let common = [("team".to_owned(), "shop".to_owned())];
    let reading = Reading {
        form: if pick & 1 == 0 { Form::CwMetrics } else { Form::OtlpV1 },
        convert: if pick & 2 == 0 { Convert::Typed } else { Convert::None },
        common: if pick & 4 == 0 { &[] } else { &common },
    };
    take(reading, vec![Bytes::copy_from_slice(body)]);
    let Ok(envelope) = Envelope::read(body) else {
        return;
    };
    let records: Vec<Bytes> = envelope.records.0.iter().filter_map(|data| decode(data).ok()).collect();
    assert!(records.iter().map(Bytes::len).sum::<usize>() <= envelope.decoded_len());
    take(reading, records);
}

fn take(reading: Reading<'_>, records: Vec<Bytes>) {
    let budget = MemoryBudget::new(BUDGET);
    let mut permit: Permit = budget.try_acquire(1 << 20).expect("an empty budget");
    if let Ok(taken) = read(reading, records, &mut permit)
        && let Some(mut batch) = taken.batch
    {
        let items = batch.items();
        assert!(items > 0);
        assert!(permit.bytes() <= batch.wire_len() as u64);
        // Deeper nesting than prost reads may be inside what was not decoded.
        if let Ok(decoded) = batch.decode() {
            assert_eq!(decoded.count_items(), items);
        }
    }
}
