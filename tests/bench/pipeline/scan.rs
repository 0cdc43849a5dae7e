//! Counts the items of a request without decoding it: the sink's way of knowing that everything has arrived.

use crate::data::Signal;

/// Spans, data points or log records; what is no protobuf counts up to the place where it ends to be one.
pub fn count(signal: Signal, request: &[u8]) -> usize {
    match signal {
        Signal::Traces | Signal::Logs => below(request, &[1, 2], 2),
        Signal::Metrics => {
            let mut points = 0;
            each(request, 1, &mut |resource| {
                each(resource, 2, &mut |scope| {
                    each(scope, 2, &mut |metric| {
                        for kind in [5, 7, 9, 10, 11] {
                            each(metric, kind, &mut |data| each(data, 1, &mut |_| points += 1));
                        }
                    });
                });
            });
            points
        }
    }
}

fn below(message: &[u8], path: &[u64], last: u64) -> usize {
    let mut count = 0;
    match path {
        [] => each(message, last, &mut |_| count += 1),
        [field, rest @ ..] => each(message, *field, &mut |inner| count += below(inner, rest, last)),
    }
    count
}

/// Calls `found` with every length-delimited field of this number.
fn each(mut message: &[u8], wanted: u64, found: &mut dyn FnMut(&[u8])) {
    while !message.is_empty() {
        let Some(key) = varint(&mut message) else { return };
        let skip = match key & 7 {
            0 => {
                if varint(&mut message).is_none() {
                    return;
                }
                0
            }
            1 => 8,
            5 => 4,
            2 => match varint(&mut message) {
                Some(length) => length as usize,
                None => return,
            },
            _ => return,
        };
        let Some((field, rest)) = message.split_at_checked(skip) else {
            return;
        };
        if key & 7 == 2 && key >> 3 == wanted {
            found(field);
        }
        message = rest;
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
