//! Decompression: no panic, never more than the cap, never more memory than was asked for. The first byte picks the
//! encoding.

use bytes::Bytes;
use radiosonde::net::codec::{Encoding, inflate};

const CAP: usize = 64 << 10;
/// What a zstd stream is charged for its own context, beside its window.
const CONTEXT: usize = 192 << 10;

pub fn run(data: &[u8]) {
    let Some((pick, body)) = data.split_first() else {
        return;
    };
    let encoding = Encoding::ALL[usize::from(*pick) % Encoding::ALL.len()];
    let mut asked = 0;
    let inflated = inflate(encoding, &Bytes::copy_from_slice(body), CAP, &mut |more| {
        asked += more;
        true
    });
    // Deflate may be tried as zlib first.
    let context = if encoding == Encoding::Zstd { CONTEXT } else { 0 };
    assert!(asked <= 2 * CAP + context, "{encoding:?} asked for {asked}");
    if let Ok(bytes) = inflated {
        assert!(bytes.len() <= CAP);
        assert!(bytes.len() <= asked || encoding == Encoding::Identity);
    }
    // Without memory nothing is made.
    let refused = inflate(encoding, &Bytes::copy_from_slice(body), CAP, &mut |more| more == 0);
    assert!(refused.map_or(0, |bytes| bytes.len()) == 0 || encoding == Encoding::Identity);
}
