//! Trace and segment ids as X-Ray and its relatives write them.

/// A trace id in OTLP's bytes.
pub type TraceId = [u8; 16];

/// A segment's or subsegment's id.
pub type SpanId = [u8; 8];

/// `1-` 8 hex `-` 24 hex, 32 hex, or `tr-` 32 hex (MLflow), in any case. All zero is no id. Nothing is concluded from
/// the first four bytes: only ids born in X-Ray hold a time there.
pub fn trace_id(text: &str) -> Option<TraceId> {
    let bytes = text.as_bytes();
    let mut id = [0; 16];
    match bytes.len() {
        35 if bytes.starts_with(b"1-") && bytes[10] == b'-' => {
            let (time, rest) = id.split_at_mut(4);
            decode(&bytes[2..10], time)?;
            decode(&bytes[11..], rest)?;
        }
        35 if bytes.starts_with(b"tr-") => decode(&bytes[3..], &mut id)?,
        32 => decode(bytes, &mut id)?,
        _ => return None,
    }
    (id != [0; 16]).then_some(id)
}

/// 16 hex digits, not all zero.
pub fn span_id(text: &str) -> Option<SpanId> {
    let mut id = [0; 8];
    if text.len() != 16 {
        return None;
    }
    decode(text.as_bytes(), &mut id)?;
    (id != [0; 8]).then_some(id)
}

fn decode(hex: &[u8], into: &mut [u8]) -> Option<()> {
    for (pair, byte) in hex.chunks_exact(2).zip(into) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// As X-Ray writes it: `1-` 8 hex `-` 24 hex.
pub fn write_trace_id(id: &TraceId) -> String {
    let hex = hex::encode(id);
    format!("1-{}-{}", &hex[..8], &hex[8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_trace_id_is_read_and_written_in_one() {
        for text in [
            "1-5759e988-bd862e3fe1be46a994272793",
            "1-5759E988-BD862E3FE1BE46A994272793",
            "5759e988bd862e3fe1be46a994272793",
            "tr-5759e988bd862e3fe1be46a994272793",
        ] {
            let id = trace_id(text).unwrap();
            assert_eq!(write_trace_id(&id), "1-5759e988-bd862e3fe1be46a994272793");
        }
    }

    #[test]
    fn what_is_no_trace_id_is_refused() {
        for text in [
            "",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-5759e988_bd862e3fe1be46a994272793",
            "1-5759e98-8bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759e988-bd862e3fe1be46a9942727933",
            "1-5759e988-bd862e3fe1be46a99427279g",
            "00000000000000000000000000000000",
            "1-é759e98-bd862e3fe1be46a994272793",
        ] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_span_id_is_sixteen_hex_digits_that_are_not_all_zero() {
        assert_eq!(
            span_id("70DE5b6f19ff9a0a"),
            Some([0x70, 0xde, 0x5b, 0x6f, 0x19, 0xff, 0x9a, 0x0a])
        );
        for text in [
            "",
            "0000000000000000",
            "70de5b6f19ff9a0",
            "70de5b6f19ff9a0aa",
            "70de5b6f19ff9a0x",
        ] {
            assert_eq!(span_id(text), None, "{text}");
        }
    }
}
