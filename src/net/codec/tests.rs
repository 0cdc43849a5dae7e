//! Every encoding: what is taken, what is cut off, what is corrupt.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use proptest::prelude::*;

use super::*;

/// Something that compresses, but not to nothing.
fn text() -> Vec<u8> {
    (0..20_000_u32)
        .flat_map(|n| format!("span {} of {}; ", n % 977, n % 13).into_bytes())
        .collect()
}

fn deflate_with<W: Write>(mut encoder: W, data: &[u8], finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
    encoder.write_all(data).unwrap();
    finish(encoder)
}

fn compress(encoding: Encoding, data: &[u8]) -> Bytes {
    let level = Compression::fast();
    match encoding {
        Encoding::Identity => data.to_vec(),
        Encoding::Gzip => deflate_with(flate2::write::GzEncoder::new(Vec::new(), level), data, |e| {
            e.finish().unwrap()
        }),
        Encoding::Zlib | Encoding::Deflate => {
            deflate_with(flate2::write::ZlibEncoder::new(Vec::new(), level), data, |e| {
                e.finish().unwrap()
            })
        }
        Encoding::Zstd => zstd::encode_all(data, 1).unwrap(),
        Encoding::Snappy => snap::raw::Encoder::new().compress_vec(data).unwrap(),
        Encoding::SnappyFramed => deflate_with(snap::write::FrameEncoder::new(Vec::new()), data, |e| {
            e.into_inner().unwrap()
        }),
        Encoding::Lz4 => deflate_with(lz4_flex::frame::FrameEncoder::new(Vec::new()), data, |e| {
            e.finish().unwrap()
        }),
    }
    .into()
}

fn inflate_all(encoding: Encoding, input: &Bytes, cap: usize) -> Result<Bytes, InflateError> {
    inflate(encoding, input, cap, &mut |_| true)
}

#[test]
fn every_encoding_gives_back_what_was_compressed_up_to_exactly_the_cap() {
    let text = text();
    for encoding in Encoding::ALL {
        let input = compress(encoding, &text);
        for cap in [text.len(), text.len() + 1, 10 * text.len()] {
            assert_eq!(inflate_all(encoding, &input, cap).unwrap(), text, "{encoding:?} {cap}");
        }
        let over = inflate_all(encoding, &input, text.len() - 1);
        assert_eq!(
            over,
            Err(InflateError::TooLarge { cap: text.len() - 1 }),
            "{encoding:?}"
        );
        assert_eq!(inflate_all(encoding, &Bytes::new(), 0).unwrap(), "", "{encoding:?}");
    }
}

#[test]
fn every_truncation_of_a_small_body_is_corrupt() {
    for encoding in Encoding::ALL
        .into_iter()
        .filter(|encoding| *encoding != Encoding::Identity)
    {
        let whole = compress(encoding, b"a small body that is small, a body that is a body");
        for length in 1..whole.len() {
            let outcome = inflate_all(encoding, &whole.slice(..length), 1000);
            // Streams of frames may be cut between two frames without anybody noticing.
            let cut_between_frames = matches!(encoding, Encoding::SnappyFramed) && length == 10;
            if !cut_between_frames {
                let corrupt = InflateError::Corrupt {
                    encoding: encoding.name(),
                };
                assert_eq!(outcome, Err(corrupt), "{encoding:?} cut at {length} of {}", whole.len());
            }
        }
    }
}

#[test]
fn memory_is_asked_for_before_it_is_used_and_a_bomb_stops_at_the_cap() {
    let zeros = vec![0; 50 << 20];
    for encoding in [
        Encoding::Gzip,
        Encoding::Zlib,
        Encoding::Zstd,
        Encoding::SnappyFramed,
        Encoding::Lz4,
    ] {
        let bomb = compress(encoding, &zeros);
        let mut asked = 0;
        let outcome = inflate(encoding, &bomb, 1 << 20, &mut |more| {
            asked += more;
            true
        });
        assert_eq!(outcome, Err(InflateError::TooLarge { cap: 1 << 20 }), "{encoding:?}");
        // zstd keeps what it has written in a window, too.
        let most = if encoding == Encoding::Zstd { 5 << 19 } else { 1 << 20 };
        assert!(asked <= most, "{encoding:?} asked for {asked}");
        let mut refusals = 0;
        let refused = inflate(encoding, &bomb, 100 << 20, &mut |_| {
            refusals += 1;
            false
        });
        assert_eq!((refused, refusals), (Err(InflateError::NoMemory), 1), "{encoding:?}");
    }
}

#[test]
fn a_gzip_body_of_several_members_is_one_body() {
    let mut members = compress(Encoding::Gzip, b"one ").to_vec();
    members.extend_from_slice(&compress(Encoding::Gzip, b"two"));
    assert_eq!(inflate_all(Encoding::Gzip, &members.into(), 100).unwrap(), "one two");
}

#[test]
fn a_gzip_trailer_that_lies_about_its_size_is_corrupt_and_costs_nothing() {
    let mut body = compress(Encoding::Gzip, b"short").to_vec();
    let size = body.len();
    body[size - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut asked = 0;
    let outcome = inflate(Encoding::Gzip, &body.into(), usize::MAX, &mut |more| {
        asked += more;
        true
    });
    assert_eq!(outcome, Err(InflateError::Corrupt { encoding: "gzip" }));
    assert!(asked < 10_000);
}

#[test]
fn raw_deflate_is_taken_for_deflate_but_not_for_zlib() {
    let raw = deflate_with(
        flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast()),
        b"raw deflate",
        |e| e.finish().unwrap(),
    );
    let raw = Bytes::from(raw);
    assert_eq!(inflate_all(Encoding::Deflate, &raw, 100).unwrap(), "raw deflate");
    assert!(inflate_all(Encoding::Zlib, &raw, 100).is_err());
}

#[test]
fn framed_snappy_is_taken_under_the_plain_name_too() {
    let framed = compress(Encoding::SnappyFramed, b"framed");
    assert_eq!(inflate_all(Encoding::Snappy, &framed, 100).unwrap(), "framed");
}

#[test]
fn a_snappy_length_of_four_gigabytes_is_a_lie() {
    let lie = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    let outcome = inflate_all(Encoding::Snappy, &lie, usize::MAX);
    assert_eq!(outcome, Err(InflateError::Corrupt { encoding: "snappy" }));
}

#[test]
fn a_zstd_frame_of_unknown_size_is_streamed_and_a_huge_window_refused() {
    let text = text();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&text).unwrap();
    let streamed = Bytes::from(encoder.finish().unwrap());
    assert_eq!(zstd::bulk::Decompressor::upper_bound(&streamed), None);
    assert_eq!(inflate_all(Encoding::Zstd, &streamed, text.len()).unwrap(), text);
    assert!(inflate_all(Encoding::Zstd, &streamed, text.len() - 1).is_err());
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&text).unwrap();
    let wide = Bytes::from(encoder.finish().unwrap());
    assert_eq!(
        inflate_all(Encoding::Zstd, &wide, usize::MAX),
        Err(InflateError::Corrupt { encoding: "zstd" })
    );
}

#[test]
fn encodings_are_named_in_any_case_and_unknown_ones_are_not_guessed() {
    assert_eq!(Encoding::named("GZIP"), Some(Encoding::Gzip));
    assert_eq!(Encoding::named(""), Some(Encoding::Identity));
    assert_eq!(Encoding::named("br"), None);
    assert_eq!(Encoding::named("gzip, gzip"), None);
}

/// Whatever comes: no panic, never more than the cap, and never more memory than was asked for.
fn holds_its_promises(encoding: Encoding, input: Bytes) {
    const CAP: usize = 64 << 10;
    let mut asked = 0;
    let outcome = inflate(encoding, &input, CAP, &mut |more| {
        asked += more;
        true
    });
    if let Ok(bytes) = outcome {
        assert!(bytes.len() <= CAP);
        assert!(bytes.len() <= asked || encoding == Encoding::Identity || input.is_empty());
    }
    // deflate may try zlib before it falls back; zstd has a context and a window.
    let most = if encoding == Encoding::Zstd {
        2 * CAP + (192 << 10)
    } else {
        2 * CAP
    };
    assert!(asked <= most, "{encoding:?} asked for {asked}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_break_a_decoder(bytes: Vec<u8>, encoding in prop::sample::select(&Encoding::ALL[..])) {
        holds_its_promises(encoding, bytes.into());
    }

    #[test]
    fn damaged_bodies_never_break_a_decoder(
        repeated in prop::collection::vec(any::<u8>(), 1..40),
        times in 1_usize..10_000,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        encoding in prop::sample::select(&Encoding::ALL[..]),
    ) {
        let mut body = compress(encoding, &repeated.repeat(times)).to_vec();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        holds_its_promises(encoding, body.into());
    }
}

#[test]
fn the_window_of_a_zstd_stream_is_asked_for_as_well() {
    let plain = vec![7; 3 << 20];
    for window_log in [17, 20, 23] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.window_log(window_log).unwrap();
        std::io::Write::write_all(&mut encoder, &plain).unwrap();
        let packed = Bytes::from(encoder.finish().unwrap());
        let mut asked = 0;
        let inflated = inflate(Encoding::Zstd, &packed, 4 << 20, &mut |more| {
            asked += more;
            true
        });
        assert_eq!(inflated.unwrap(), plain);
        let kept = plain.len().min(1 << window_log);
        assert!(asked >= plain.len() + kept, "{asked} for 2^{window_log}");
    }
}
