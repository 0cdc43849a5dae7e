//! [`inflate`].

use std::cell::RefCell;
use std::io::{self, Read};

use bytes::Bytes;

use super::Encoding;

/// The magic of the framed snappy format: a stream identifier chunk.
const SNAPPY_STREAM: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// log2 of the largest zstd window taken.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What zstd's streaming decoder holds beside its window: the context and a part of a block.
const ZSTD_STREAM: usize = 192 << 10;

/// Output that grows beyond this size gets all the address space it may need at once: growing step by step would copy
/// it, and for that moment hold it twice. Pages that nothing is written to cost nothing.
const GROWS_BY_COPY: usize = 1 << 20;

/// ... but no more than this at once, however large the cap is.
const LARGEST_RESERVE: usize = 64 << 20;

/// Why a body could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// 413 or RESOURCE_EXHAUSTED: offering it again does not help.
    #[error("decompressed body is larger than {cap} bytes")]
    TooLarge { cap: usize },
    /// 400 or INVALID_ARGUMENT.
    #[error("body is not valid {encoding}")]
    Corrupt { encoding: &'static str },
    /// The memory budget refused: 503 or UNAVAILABLE.
    #[error("no memory for the decompressed body")]
    NoMemory,
}

/// The decompressed bytes, at most `cap` of them. `admit` is asked before each growth with the bytes to be added, and
/// may refuse; nothing is written before it agrees.
///
/// # Errors
/// See [`InflateError`].
pub fn inflate(
    encoding: Encoding,
    input: &Bytes,
    cap: usize,
    admit: &mut dyn FnMut(usize) -> bool,
) -> Result<Bytes, InflateError> {
    if input.is_empty() || encoding == Encoding::Identity {
        return if input.len() > cap {
            Err(InflateError::TooLarge { cap })
        } else {
            Ok(input.clone())
        };
    }
    let mut out = Output {
        cap,
        admit,
        encoding,
        window: 0,
    };
    let bytes: &[u8] = input;
    let inflated = match encoding {
        Encoding::Identity => unreachable!("handled above"),
        Encoding::Gzip => gzip(bytes, &mut out),
        Encoding::Zlib => zlib(bytes, &mut out),
        Encoding::Deflate => deflate(bytes, &mut out),
        Encoding::Zstd => zstd(bytes, &mut out),
        Encoding::Snappy if !bytes.starts_with(SNAPPY_STREAM) => snappy_block(bytes, &mut out),
        Encoding::Snappy | Encoding::SnappyFramed => {
            out.read(snap::read::FrameDecoder::new(bytes), bytes.len().saturating_mul(2))
        }
        Encoding::Lz4 => lz4(bytes, &mut out),
    };
    inflated.map(Bytes::from)
}

/// Where the bytes go: the rules of every decoder.
struct Output<'a> {
    cap: usize,
    admit: &'a mut dyn FnMut(usize) -> bool,
    encoding: Encoding,
    /// What the decoder will keep of the output in a window of its own, beyond what it keeps already: touched, and so
    /// paid for, only as far as output comes.
    window: usize,
}

impl Output<'_> {
    fn corrupt(&self) -> InflateError {
        InflateError::Corrupt {
            encoding: self.encoding.name(),
        }
    }

    /// Room for `size` bytes that a header claims.
    fn claimed(&mut self, size: usize) -> Result<Vec<u8>, InflateError> {
        if size > self.cap {
            return Err(InflateError::TooLarge { cap: self.cap });
        }
        if !(self.admit)(size) {
            return Err(InflateError::NoMemory);
        }
        Ok(Vec::with_capacity(size))
    }

    /// Reads to the end in growing steps, the first of `guess` bytes.
    fn read(&mut self, mut decoder: impl Read, guess: usize) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        let mut step = guess.max(512);
        loop {
            step = step.min(self.cap - out.len());
            let kept = step.min(self.window);
            self.window -= kept;
            if !(self.admit)(step + kept) {
                return Err(InflateError::NoMemory);
            }
            if out.capacity() < out.len() + step {
                let all = if out.len() + step > GROWS_BY_COPY {
                    (self.cap - out.len()).min(LARGEST_RESERVE).max(step)
                } else {
                    step
                };
                out.reserve_exact(all);
            }
            let wanted = step as u64;
            let read = decoder
                .by_ref()
                .take(wanted)
                .read_to_end(&mut out)
                .map_err(|_| self.corrupt())?;
            if read < step {
                return Ok(out);
            }
            // A guess that was exact is the usual case: see whether this is the end before growing. Reading on also
            // lets the decoder verify its checksum.
            let mut probe = [0; 32];
            let more = read_some(&mut decoder, &mut probe).map_err(|_| self.corrupt())?;
            if more == 0 {
                return Ok(out);
            }
            if more > self.cap - out.len() {
                return Err(InflateError::TooLarge { cap: self.cap });
            }
            if !(self.admit)(more) {
                return Err(InflateError::NoMemory);
            }
            out.extend_from_slice(&probe[..more]);
            step = out.len();
        }
    }
}

fn read_some(decoder: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match decoder.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[allow(clippy::disallowed_methods)] // The uncapped decoders are what this module caps.
fn gzip(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    // The last four bytes are the size modulo 2^32 of the last member; deflate never exceeds a ratio of 1032.
    let claimed = input.last_chunk().map_or(0, |tail| u32::from_le_bytes(*tail) as usize);
    let plausible = claimed <= out.cap && claimed <= input.len().saturating_mul(1032);
    let guess = if plausible {
        claimed
    } else {
        input.len().saturating_mul(4)
    };
    out.read(flate2::bufread::MultiGzDecoder::new(input), guess)
}

fn zlib(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    out.read(flate2::bufread::ZlibDecoder::new(input), input.len().saturating_mul(4))
}

fn deflate(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    // RFC 1950: method 8 in the low bits, and the first two bytes are a multiple of 31.
    let zlib_header =
        input.len() >= 2 && input[0] & 0x0f == 8 && u16::from_be_bytes([input[0], input[1]]).is_multiple_of(31);
    if zlib_header {
        match zlib(input, out) {
            // A raw stream may look like that by chance.
            Err(InflateError::Corrupt { .. }) => {}
            other => return other,
        }
    }
    out.read(
        flate2::bufread::DeflateDecoder::new(input),
        input.len().saturating_mul(4),
    )
}

thread_local! {
    /// A zstd context is 160 KiB: one a thread, not one a request.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    // Where every frame records its size, one call writes all: no window is allocated.
    if let Some(size) = zstd::bulk::Decompressor::upper_bound(input) {
        let mut buffer = out.claimed(size)?;
        return ZSTD.with_borrow_mut(|context| {
            let context = match context {
                Some(context) => context,
                None => context.insert(zstd::bulk::Decompressor::new().map_err(|_| out.corrupt())?),
            };
            context
                .decompress_to_buffer(input, &mut buffer)
                .map_err(|_| out.corrupt())?;
            Ok(buffer)
        });
    }
    let window_log = zstd_window_log(input).filter(|log| *log <= ZSTD_WINDOW_LOG);
    let window_log = window_log.ok_or_else(|| out.corrupt())?;
    if !(out.admit)(ZSTD_STREAM) {
        return Err(InflateError::NoMemory);
    }
    // Twice: the C library gives the window of the stream before this one back late.
    out.window = 2 << window_log;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|_| out.corrupt())?;
    decoder.window_log_max(window_log).map_err(|_| out.corrupt())?;
    out.read(decoder, input.len().saturating_mul(4))
}

/// log2 of the largest window that a frame of the input asks for, rounded up; `None` where it cannot be told.
fn zstd_window_log(mut input: &[u8]) -> Option<u32> {
    // libzstd allocates no less.
    let mut largest = 10;
    while !input.is_empty() {
        let frame = zstd::zstd_safe::find_frame_compressed_size(input).ok()?;
        let (frame, rest) = input.split_at_checked(frame.max(1))?;
        largest = largest.max(window_log_of_frame(frame)?);
        input = rest;
    }
    Some(largest)
}

/// Zstandard frame header (RFC 8878, section 3.1.1.1).
fn window_log_of_frame(frame: &[u8]) -> Option<u32> {
    const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
    let (magic, header) = frame.split_first_chunk()?;
    if SKIPPABLE.contains(&u32::from_le_bytes(*magic)) {
        return Some(0);
    }
    let (descriptor, header) = header.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    if !is_single_segment {
        let window = header.first()?;
        let (exponent, mantissa) = (u32::from(window >> 3), window & 7);
        return Some(10 + exponent + u32::from(mantissa > 0));
    }
    // The window is as large as the content, whose size is then always there.
    let size = header.get(dictionary_id..)?;
    let size = match descriptor >> 6 {
        0 => u64::from(*size.first()?),
        1 => u64::from(u16::from_le_bytes(*size.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*size.first_chunk()?)),
        _ => u64::from_le_bytes(*size.first_chunk()?),
    };
    Some(u64::BITS - size.saturating_sub(1).leading_zeros())
}

fn snappy_block(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    let size = snap::raw::decompress_len(input).map_err(|_| out.corrupt())?;
    // A copy of three bytes gives at most 64: a larger claim is a lie.
    if size > input.len().saturating_mul(32) {
        return Err(out.corrupt());
    }
    drop(out.claimed(size)?);
    snap::raw::Decoder::new()
        .decompress_vec(input)
        .map_err(|_| out.corrupt())
}

fn lz4(input: &[u8], out: &mut Output<'_>) -> Result<Vec<u8>, InflateError> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(input);
    let inflated = out.read(&mut decoder, input.len().saturating_mul(3))?;
    // The decoder takes the end of input between two blocks for the end of the frame: ask for the end mark, four zero
    // bytes before the checksum that bit 2 of the flags announces (LZ4 frame format 1.6).
    let checksum = input.get(4).map_or(0, |flags| usize::from(flags & 4));
    let mark = input.len().saturating_sub(checksum);
    let ended = mark >= 11 && input[mark - 4..mark] == [0; 4];
    if !ended || !decoder.get_ref().is_empty() {
        return Err(out.corrupt());
    }
    Ok(inflated)
}
