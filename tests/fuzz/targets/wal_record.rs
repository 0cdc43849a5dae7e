//! A record of a queue's log, and the head of a segment. Checksums are put right first: without that nothing but the
//! checksum would be tried. Bytes before it: what decides whether they are.

use bytes::Bytes;
use radiosonde::queue::log::record::{HEADER_LEN, Header, decode_head};

const NONCE: u64 = 0x0123_4567_89ab_cdef;

pub fn run(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let mut data = data.to_vec();
    // As it is: nothing may pass that is not whole.
    let _ = decode_head(NONCE, &data);
    if let Some(header) = Header::decode(NONCE, &data) {
        check(&header, &data);
    }
    if how % 2 == 0 {
        put_right(&mut data);
        if let Some(header) = Header::decode(NONCE, &data) {
            check(&header, &data);
        }
    }
}

/// Nonce and checksums of a record, and magic, version and checksum of a head.
pub fn put_right(data: &mut [u8]) {
    if data.len() < HEADER_LEN {
        return;
    }
    let body = crc32c::crc32c(&data[HEADER_LEN..]);
    data[..4].copy_from_slice(b"RWAL");
    data[72..80].copy_from_slice(&NONCE.to_le_bytes());
    data[80..84].copy_from_slice(&body.to_le_bytes());
    let header = crc32c::crc32c(&data[..HEADER_LEN - 4]);
    data[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&header.to_le_bytes());
}

fn check(header: &Header, data: &[u8]) {
    assert!(header.record_len() >= HEADER_LEN as u64);
    let range = header.range();
    assert!(range.to.records >= range.from.records && range.to.bytes >= range.from.bytes);
    assert!(header.group() <= header.before.records);
    let Some(batch) = header.decode_body(Bytes::copy_from_slice(&data[HEADER_LEN..])) else {
        return;
    };
    assert_eq!((batch.signal(), batch.items()), (header.signal, header.items as usize));
    let payload = batch.into_bytes();
    assert!(data.ends_with(&payload));
    assert_eq!(payload.len() + HEADER_LEN + header.origin_len as usize, data.len());
}
