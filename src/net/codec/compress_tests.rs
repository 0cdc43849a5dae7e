//! Every algorithm is read back by the decoder of its own library.

use std::io::Read;

use super::*;

fn parts() -> Vec<Bytes> {
    let text: Vec<u8> = (0..40_000u32)
        .flat_map(|n| format!("span {} of {};", n % 97, n).into_bytes())
        .collect();
    vec![
        Bytes::from(text[..100_000].to_vec()),
        Bytes::new(),
        Bytes::from(text[100_000..100_003].to_vec()),
        Bytes::from(text[100_003..].to_vec()),
    ]
}

#[allow(clippy::disallowed_methods)] // The input is this test's own.
fn read_back(kind: Compression, compressed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        Compression::Gzip => flate2::read::GzDecoder::new(compressed).read_to_end(&mut out),
        Compression::Zlib => flate2::read::ZlibDecoder::new(compressed).read_to_end(&mut out),
        Compression::Zstd => {
            out = zstd::decode_all(compressed).unwrap();
            Ok(0)
        }
        Compression::SnappyBlock => {
            out = snap::raw::Decoder::new().decompress_vec(compressed).unwrap();
            Ok(0)
        }
        Compression::SnappyFramed => snap::read::FrameDecoder::new(compressed).read_to_end(&mut out),
        Compression::Lz4 => lz4_flex::frame::FrameDecoder::new(compressed).read_to_end(&mut out),
    }
    .unwrap();
    out
}

const ALL: [Compression; 6] = [
    Compression::Gzip,
    Compression::Zlib,
    Compression::Zstd,
    Compression::SnappyBlock,
    Compression::SnappyFramed,
    Compression::Lz4,
];

#[tokio::test]
async fn what_was_compressed_reads_back_also_with_a_reused_engine() {
    for kind in ALL {
        let compressor = Compressor::new(kind, None).unwrap();
        for parts in [parts(), Vec::new(), vec![Bytes::from_static(b"x")], parts()] {
            let mut out = b"head".to_vec();
            compressor.compress(&parts, &mut out).await.unwrap();
            assert_eq!(&out[..4], b"head");
            assert_eq!(read_back(kind, &out[4..]), parts.concat(), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn the_level_reaches_the_algorithm() {
    for kind in [Compression::Gzip, Compression::Zlib, Compression::Zstd] {
        let mut sizes = Vec::new();
        for level in [1, 9] {
            let mut out = Vec::new();
            let compressor = Compressor::new(kind, Some(level)).unwrap();
            compressor.compress(&parts(), &mut out).await.unwrap();
            assert_eq!(read_back(kind, &out), parts().concat());
            sizes.push(out.len());
        }
        assert_ne!(sizes[1], sizes[0], "{kind:?}");
    }
}

#[tokio::test]
async fn an_abandoned_call_does_not_spoil_the_next() {
    for kind in ALL {
        let compressor = Compressor::new(kind, None).unwrap();
        let mut out = Vec::new();
        let input = parts();
        {
            let call = compressor.compress(&input, &mut out);
            tokio::pin!(call);
            // One slice, then the caller goes away.
            let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        }
        let mut out = Vec::new();
        compressor.compress(&input, &mut out).await.unwrap();
        assert_eq!(read_back(kind, &out), input.concat(), "{kind:?}");
    }
}

#[test]
fn refuses_levels_that_do_not_exist() {
    for (kind, level) in [
        (Compression::Gzip, 10),
        (Compression::Gzip, -3),
        (Compression::Zstd, 23),
        (Compression::SnappyBlock, 3),
        (Compression::Lz4, 2),
    ] {
        assert!(Compressor::new(kind, Some(level)).is_err(), "{kind:?} {level}");
    }
}
