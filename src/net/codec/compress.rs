//! Compressing what leaves: one [`Compressor`] an exporter, its engines reused from request to request.
//!
//! Works in slices and gives way between them, so that a batch of many megabytes does not hold up the runtime's
//! thread, unless compression is what everything waits for. Decompression of what comes in, with its caps, lives beside
//! it. Knows no headers and no protocols.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::{Compress, Compression as Level, FlushCompress, Status};
use zstd::stream::raw::{Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

/// Input bytes worked on before other tasks get their turn: about 0.1 ms of gzip at its default level.
const SLICE: usize = 64 * 1024;
/// With so many calls under way compression is what everything waits for, and giving way would only let more data in:
/// then a call is worked through, and what it needs comes before what it would be followed by.
const BACKLOG: usize = 2;
/// Engines kept for the next request. A deflate engine holds about 256 KiB.
const KEPT_ENGINES: usize = 4;
/// Levels where the configuration names none. gzip's own default (6) costs four times the CPU of level 1 for about a
/// tenth less bytes of OTLP.
const DEFAULT_DEFLATE_LEVEL: u32 = 1;
const DEFAULT_ZSTD_LEVEL: i32 = 1;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: what HTTP calls `deflate`, and the Collector also `zlib`.
    Zlib,
    /// RFC 8878.
    Zstd,
    /// One raw snappy block.
    SnappyBlock,
    /// The snappy framing format.
    SnappyFramed,
    /// The LZ4 frame format.
    Lz4,
}

/// A level outside of what the algorithm knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLevel {
    #[error("{name} takes levels {from} to {to}, not {level}")]
    OutOfRange {
        name: &'static str,
        from: i32,
        to: i32,
        level: i32,
    },
    #[error("{name} has no levels")]
    NoLevels { name: &'static str },
}

/// Compresses messages; shared by all calls of an exporter.
pub struct Compressor {
    kind: Compression,
    level: i32,
    engines: Mutex<Vec<Engine>>,
    /// Calls under way.
    calls: AtomicUsize,
}

enum Engine {
    Deflate(Compress),
    Zstd(ZstdEncoder<'static>),
}

impl Compressor {
    /// A compressor at `level`, or at our default where that is `None`.
    ///
    /// # Errors
    /// A level that the algorithm does not have. `-1` is an algorithm's own default, as in the Collector.
    pub fn new(kind: Compression, level: Option<i32>) -> Result<Self, BadLevel> {
        let level = match kind {
            Compression::Gzip | Compression::Zlib => deflate_level(kind, level)?,
            Compression::Zstd => zstd_level(level)?,
            Compression::SnappyBlock | Compression::SnappyFramed | Compression::Lz4 => match level {
                None | Some(0 | -1) => 0,
                Some(_) => return Err(BadLevel::NoLevels { name: kind.name() }),
            },
        };
        Ok(Self {
            kind,
            level,
            engines: Mutex::new(Vec::new()),
            calls: AtomicUsize::new(0),
        })
    }

    /// The algorithm.
    pub fn kind(&self) -> Compression {
        self.kind
    }

    /// Appends `parts`, compressed as one stream, to `out`.
    ///
    /// # Errors
    /// Only what the libraries report (memory, or an input beyond an algorithm's limit of 4 GiB).
    pub async fn compress(&self, parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
        let _call = Call::new(&self.calls);
        match self.kind {
            Compression::Gzip | Compression::Zlib => self.deflate(parts, out).await,
            Compression::Zstd => self.zstd(parts, out).await,
            Compression::SnappyBlock => snappy_block(parts, out),
            Compression::SnappyFramed => {
                let mut encoder = snap::write::FrameEncoder::new(&mut *out);
                self.write_slices(&mut encoder, parts).await?;
                encoder.flush()
            }
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut *out);
                self.write_slices(&mut encoder, parts).await?;
                encoder.finish().map_err(io::Error::other)?;
                Ok(())
            }
        }
    }

    async fn deflate(&self, parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
        let mut engine = match self.take() {
            Some(Engine::Deflate(engine)) => engine,
            _ => self.new_deflate(),
        };
        for slice in slices(parts) {
            deflate_all(&mut engine, slice, out, FlushCompress::None)?;
            self.give_way().await;
        }
        deflate_all(&mut engine, &[], out, FlushCompress::Finish)?;
        engine.reset();
        self.keep(Engine::Deflate(engine));
        Ok(())
    }

    fn new_deflate(&self) -> Compress {
        let level = Level::new(self.level.unsigned_abs());
        match self.kind {
            Compression::Gzip => Compress::new_gzip(level, 15),
            _ => Compress::new(level, true),
        }
    }

    async fn zstd(&self, parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
        let mut engine = match self.take() {
            Some(Engine::Zstd(engine)) => engine,
            _ => ZstdEncoder::new(self.level)?,
        };
        // Zstd sizes its tables by the content: a small request then clears little memory.
        let total: usize = parts.iter().map(Bytes::len).sum();
        engine.set_pledged_src_size(Some(total as u64))?;
        for slice in slices(parts) {
            let mut input = InBuffer::around(slice);
            while input.pos < slice.len() {
                grow(out, slice.len());
                let written = out.len();
                engine.run(&mut input, &mut OutBuffer::around_pos(out, written))?;
            }
            self.give_way().await;
        }
        loop {
            grow(out, 1024);
            let written = out.len();
            let left = engine.finish(&mut OutBuffer::around_pos(out, written), true)?;
            if left == 0 {
                break;
            }
        }
        engine.reinit()?;
        self.keep(Engine::Zstd(engine));
        Ok(())
    }

    async fn write_slices(&self, encoder: &mut impl Write, parts: &[Bytes]) -> io::Result<()> {
        for slice in slices(parts) {
            encoder.write_all(slice)?;
            self.give_way().await;
        }
        Ok(())
    }

    async fn give_way(&self) {
        if self.calls.load(Ordering::Relaxed) < BACKLOG {
            tokio::task::yield_now().await;
        }
    }

    fn take(&self) -> Option<Engine> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, engine: Engine) {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if engines.len() < KEPT_ENGINES {
            engines.push(engine);
        }
    }
}

/// Counts a call while it is under way, also when its future is dropped.
struct Call<'a>(&'a AtomicUsize);

impl<'a> Call<'a> {
    fn new(calls: &'a AtomicUsize) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
            Compression::SnappyBlock => "snappy",
            Compression::SnappyFramed => "x-snappy-framed",
            Compression::Lz4 => "lz4",
        }
    }
}

fn deflate_level(kind: Compression, level: Option<i32>) -> Result<i32, BadLevel> {
    match level {
        None => Ok(DEFAULT_DEFLATE_LEVEL as i32),
        Some(-1) => Ok(6),
        Some(level @ 0..=9) => Ok(level),
        Some(level) => Err(BadLevel::OutOfRange {
            name: kind.name(),
            from: -1,
            to: 9,
            level,
        }),
    }
}

fn zstd_level(level: Option<i32>) -> Result<i32, BadLevel> {
    match level {
        None => Ok(DEFAULT_ZSTD_LEVEL),
        // Zero is what a Collector configuration has when it names none.
        Some(-1 | 0) => Ok(3),
        Some(level @ 1..=22) => Ok(level),
        Some(level) => Err(BadLevel::OutOfRange {
            name: "zstd",
            from: -1,
            to: 22,
            level,
        }),
    }
}

fn slices(parts: &[Bytes]) -> impl Iterator<Item = &[u8]> {
    parts.iter().flat_map(|part| part.chunks(SLICE))
}

/// Makes room for at least a quarter of `input` more bytes; the vector doubles, so that is rarely a move.
fn grow(out: &mut Vec<u8>, input: usize) {
    if out.capacity() - out.len() < 256 {
        out.reserve((input / 4).max(1024));
    }
}

fn deflate_all(engine: &mut Compress, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> io::Result<()> {
    let begin = engine.total_in();
    loop {
        let taken = usize::try_from(engine.total_in() - begin).unwrap_or(usize::MAX);
        grow(out, input.len());
        let rest = input.get(taken..).unwrap_or_default();
        if rest.is_empty() && matches!(flush, FlushCompress::None) {
            return Ok(());
        }
        match engine.compress_vec(rest, out, flush) {
            Ok(Status::StreamEnd) => return Ok(()),
            // `BufError` is "no room left in the output"; the next turn makes some.
            Ok(Status::Ok | Status::BufError) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

fn snappy_block(parts: &[Bytes], out: &mut Vec<u8>) -> io::Result<()> {
    let joined;
    let input: &[u8] = match parts {
        [] => &[],
        [one] => one,
        many => {
            joined = many.concat();
            &joined
        }
    };
    let begin = out.len();
    out.resize(begin + snap::raw::max_compress_len(input.len()), 0);
    let written = snap::raw::Encoder::new()
        .compress(input, &mut out[begin..])
        .map_err(io::Error::other)?;
    out.truncate(begin + written);
    Ok(())
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
