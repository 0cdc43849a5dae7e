//! Base-128 varints (<https://protobuf.dev/programming-guides/encoding/#varints>).

use super::WireError;

/// Reads a varint off the front of `input`.
///
/// # Errors
/// [`WireError::Truncated`] where the input ends inside it, [`WireError::Varint`] where it has more than ten bytes or
/// more than 64 bits. Longer encodings than needed are taken within ten bytes, as protobuf's own decoders do.
#[inline(always)]
pub fn read_varint(input: &mut &[u8]) -> Result<u64, WireError> {
    // Tags and most lengths fit one byte, the rest of the lengths two.
    match *input {
        [a, rest @ ..] if *a < 0x80 => {
            *input = rest;
            Ok(u64::from(*a))
        }
        [a, b, rest @ ..] if *b < 0x80 => {
            *input = rest;
            Ok(u64::from(*a & 0x7f) | u64::from(*b) << 7)
        }
        _ => read_long_varint(input),
    }
}

#[inline(never)]
fn read_long_varint(input: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for (at, byte) in input.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            // The tenth byte holds the 64th bit only.
            if at == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            *input = &input[at + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() < 10 {
        WireError::Truncated
    } else {
        WireError::Varint
    })
}

/// Bytes that [`put_varint`] writes: 1 to 10.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a varint in its shortest form.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
