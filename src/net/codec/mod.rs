//! Compressed bodies: the names of the encodings, and decompression that stops at a limit.
//!
//! [`inflate`] never writes more than the cap, and asks for memory before it grows, so a bomb costs its compressed
//! bytes and at most the cap. Sizes that a stranger claims (gzip trailer, zstd frame header, snappy length) are used to
//! size the first allocation when they are within the cap, and believed no further.

pub mod compress;
mod inflate;
#[cfg(test)]
mod tests;

pub use inflate::{InflateError, inflate};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Identity,
    /// RFC 1952; several members one after the other are one body.
    Gzip,
    /// RFC 8878; window at most 8 MiB, as its section 3.1.1.1.2 recommends.
    Zstd,
    /// RFC 1950.
    Zlib,
    /// What HTTP calls deflate is zlib (RFC 9110, section 8.4.1.2); raw RFC 1951 is taken too, since clients send it.
    Deflate,
    /// Blocks; the framed form is recognised by its first bytes, since gRPC clients send it under this name.
    Snappy,
    SnappyFramed,
    /// The frame format.
    Lz4,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Encoding; 8] = [
        Encoding::Identity,
        Encoding::Gzip,
        Encoding::Zstd,
        Encoding::Zlib,
        Encoding::Deflate,
        Encoding::Snappy,
        Encoding::SnappyFramed,
        Encoding::Lz4,
    ];

    /// As in `content-encoding` and `grpc-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Zlib => "zlib",
            Encoding::Deflate => "deflate",
            Encoding::Snappy => "snappy",
            Encoding::SnappyFramed => "x-snappy-framed",
            Encoding::Lz4 => "lz4",
        }
    }

    /// By its name in any case; an empty name is identity.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        if name.is_empty() {
            return Some(Encoding::Identity);
        }
        Encoding::ALL
            .into_iter()
            .find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }
}
