//! What stands in an object: a request of OTLP as protobuf or JSON, compressed or not, or the spans of one as Parquet. Its
//! name says which.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::component::Refused;
use crate::net::codec::compress::{Compression as Algorithm, Compressor};
use crate::net::codec::{Encoding, inflate};
use crate::pdata::{Batch, Check, DoorLimits, Origin, Permit, Signal};
#[cfg(feature = "parquet")]
use crate::pdata::{Decoded, NoMemory};

/// Bytes of a decompressed object that are read.
const LONGEST: usize = 512 << 20;

/// How telemetry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Marshaler {
    #[default]
    OtlpJson,
    OtlpProto,
    #[cfg(feature = "parquet")]
    OtlpParquet,
}

impl Marshaler {
    /// Every one of this build.
    pub const ALL: &[Marshaler] = &[
        Marshaler::OtlpJson,
        Marshaler::OtlpProto,
        #[cfg(feature = "parquet")]
        Marshaler::OtlpParquet,
    ];
    /// One that a binary may be built without.
    pub const PARQUET: &str = "otlp_parquet";

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Marshaler::OtlpJson => "otlp_json",
            Marshaler::OtlpProto => "otlp_proto",
            #[cfg(feature = "parquet")]
            Marshaler::OtlpParquet => Self::PARQUET,
        }
    }

    /// Signals that can be written so.
    pub fn signals(self) -> &'static [Signal] {
        match self {
            Marshaler::OtlpJson | Marshaler::OtlpProto => &Signal::ALL,
            #[cfg(feature = "parquet")]
            Marshaler::OtlpParquet => &[Signal::Traces],
        }
    }

    /// Its files are compressed inside: nothing more is done to them.
    pub fn compresses_itself(self) -> bool {
        match self {
            Marshaler::OtlpJson | Marshaler::OtlpProto => false,
            #[cfg(feature = "parquet")]
            Marshaler::OtlpParquet => true,
        }
    }

    /// The Collector's endings of file names.
    pub fn ending(self) -> &'static str {
        match self {
            Marshaler::OtlpJson => "json",
            Marshaler::OtlpProto => "binpb",
            #[cfg(feature = "parquet")]
            Marshaler::OtlpParquet => "parquet",
        }
    }
}

/// How an object is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    /// Behind the ending.
    pub fn ending(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// What does it, at our usual level.
    pub fn compressor(self) -> Option<Compressor> {
        let algorithm = match self {
            Compression::None => return None,
            Compression::Gzip => Algorithm::Gzip,
            Compression::Zstd => Algorithm::Zstd,
        };
        Compressor::new(algorithm, None).ok()
    }

    fn encoding(self) -> Encoding {
        match self {
            Compression::None => Encoding::Identity,
            Compression::Gzip => Encoding::Gzip,
            Compression::Zstd => Encoding::Zstd,
        }
    }
}

/// An object's body, and the memory that it holds.
pub struct Body {
    pub parts: Vec<Bytes>,
    _permit: Option<Permit>,
}

/// Writes a batch.
///
/// # Errors
/// Where it is malformed below the items, or there is no memory for its text.
pub async fn encode(
    batch: Batch,
    how: Marshaler,
    compression: Compression,
    compressor: Option<&Compressor>,
) -> Result<Body, Refused> {
    // Who compresses inside is told; the others get a compressor.
    let _ = compression;
    let (parts, permit) = match how {
        Marshaler::OtlpProto => (batch.into_parts().into_vec(), None),
        Marshaler::OtlpJson => {
            let (text, permit) = batch.to_json_within().map_err(|error| {
                if error.is_retryable() {
                    Refused::retryable(error.to_string())
                } else {
                    Refused::permanent(format!("malformed data below the items: {error}"))
                }
            })?;
            (vec![Bytes::from(text)], Some(permit))
        }
        #[cfg(feature = "parquet")]
        Marshaler::OtlpParquet => {
            let (file, permit) = to_parquet(batch, compression != Compression::None).await?;
            return Ok(Body {
                parts: vec![file],
                _permit: Some(permit),
            });
        }
    };
    let Some(compressor) = compressor else {
        return Ok(Body { parts, _permit: permit });
    };
    let mut compressed = Vec::new();
    let done = compressor.compress(&parts, &mut compressed).await;
    done.map_err(|error| Refused::retryable(format!("cannot compress: {error}")))?;
    Ok(Body {
        parts: vec![compressed.into()],
        _permit: None,
    })
}

/// Spans as they are, as structs and as columns are about ten times the wire form, for the moment.
#[cfg(feature = "parquet")]
async fn to_parquet(mut batch: Batch, is_compressed: bool) -> Result<(Bytes, Permit), Refused> {
    const LARGEST: usize = 12;
    const SMALLEST: usize = 64 << 10;
    let wanted = SMALLEST + LARGEST * batch.wire_len();
    let mut permit = batch.origin().reserve(wanted).map_err(|error| match error {
        NoMemory::Now => Refused::retryable(error.to_string()),
        NoMemory::Ever => Refused::permanent(error.to_string()),
    })?;
    let encoding = tokio::task::spawn_blocking(move || {
        let decoded = batch
            .decode()
            .map_err(|error| format!("malformed data below the items: {error}"))?;
        let Decoded::Traces(request) = decoded else {
            return Err("only spans are written as Parquet".to_owned());
        };
        super::parquet::encode(request, is_compressed).map_err(|error| format!("cannot write Parquet: {error}"))
    });
    let encoded = encoding
        .await
        .map_err(|_| Refused::retryable("encoding was interrupted"))?;
    let file = encoded.map_err(Refused::permanent)?;
    permit.shrink_to(file.capacity() as u64);
    Ok((file.into(), permit))
}

/// Reads an object again; the ending of its name says how it was written.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode(name: &str, signal: Signal, bytes: &Bytes) -> Result<Batch, String> {
    let compression = Compression::ALL
        .into_iter()
        .rev()
        .find(|compression| name.ends_with(compression.ending()))
        .unwrap_or_default();
    let bare = name.strip_suffix(compression.ending()).unwrap_or(name);
    let ending = bare.rsplit('.').next().unwrap_or_default();
    let how = Marshaler::ALL.iter().find(|how| how.ending() == ending);
    let how = how.ok_or_else(|| format!("its ending `.{ending}` is none that this build reads"))?;
    let plain = inflate(compression.encoding(), bytes, LONGEST, &mut |_| true).map_err(|error| error.to_string())?;
    let limits = DoorLimits {
        max_elements: usize::MAX,
        check: Check::Frame,
        ..DoorLimits::default()
    };
    let admitted = match how {
        Marshaler::OtlpProto => Batch::at_door(signal, plain, &limits, Origin::internal()),
        Marshaler::OtlpJson => Batch::from_json(signal, &plain, &limits, Origin::internal()),
        #[cfg(feature = "parquet")]
        Marshaler::OtlpParquet => {
            let request = super::parquet::decode(&plain, LONGEST)?;
            return Ok(Batch::from_decoded(Decoded::Traces(request), Origin::internal()));
        }
    };
    admitted
        .map(|admitted| admitted.batch)
        .map_err(|error| error.to_string())
}
