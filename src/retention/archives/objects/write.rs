//! Writing: one object a batch, then its manifests. Who asks is answered when all of it is stored.
//!
//! An object is named by the hash of what is in it, its manifests likewise: a batch that is tried again replaces what the
//! first try left, and counts once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::body::{Compression, Marshaler, encode};
use super::manifest::{self, ENDING, FOLDER, Header, Manifest, Row};
use super::store::Objects;
use crate::aws::Failure;
use crate::component::{Clock, Refused, UnixNanos};
use crate::net::codec::compress::Compressor;
use crate::pdata::{Batch, Signal};
use crate::retention::archive::Day;

/// How objects are named and written.
#[derive(Clone, Debug)]
pub struct Layout {
    /// strftime, of the time of writing in UTC; empty: no folders.
    pub partition: String,
    /// Before the signal's name.
    pub file_prefix: String,
    pub marshaler: Marshaler,
    pub compression: Compression,
}

/// What a batch became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Of the object.
    pub bytes: usize,
    pub manifests: usize,
}

/// Writes into one place.
pub struct Writer {
    layout: Layout,
    compressor: Option<Compressor>,
    clock: Arc<dyn Clock>,
}

/// A partition at a moment.
///
/// # Errors
/// What is wrong with the format.
pub fn partition_at(format: &str, at: UnixNanos) -> Result<String, jiff::Error> {
    let seconds = i64::try_from(at.seconds()).unwrap_or_default();
    let at = jiff::Timestamp::from_second(seconds)?.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &at)
}

impl Writer {
    /// Opens nothing.
    pub fn new(layout: Layout, clock: Arc<dyn Clock>) -> Self {
        Self {
            compressor: match layout.marshaler.compresses_itself() {
                true => None,
                false => layout.compression.compressor(),
            },
            layout,
            clock,
        }
    }

    /// Stores a batch.
    ///
    /// # Errors
    /// As the far end of an exporter.
    pub async fn write(&self, objects: &Objects, mut batch: Batch) -> Result<Written, Refused> {
        let now = self.clock.now();
        let signal = batch.signal();
        let hash = hash_of(&mut batch);
        let days = match signal {
            Signal::Traces => manifest::rows_of(&batch, now)
                .map_err(|error| Refused::permanent(format!("malformed data below the items: {error}")))?,
            Signal::Metrics | Signal::Logs => BTreeMap::new(),
        };
        let object = self.object(signal, hash, now)?;
        let body = encode(
            batch,
            self.layout.marshaler,
            self.layout.compression,
            self.compressor.as_ref(),
        )
        .await?;
        let bytes = body.parts.iter().map(Bytes::len).sum();
        put(objects, &object, body.parts).await?;
        let manifests = days.len();
        for (day, rows) in days {
            let path = format!("{FOLDER}/day={day}/{hash:032x}{ENDING}");
            let manifest = describe(&object, day, rows, now);
            put(objects, &path, vec![manifest.encode().into()]).await?;
        }
        Ok(Written { bytes, manifests })
    }

    fn object(&self, signal: Signal, hash: u128, now: UnixNanos) -> Result<String, Refused> {
        let Layout {
            partition,
            file_prefix,
            marshaler,
            compression,
        } = &self.layout;
        let folder = partition_at(partition, now)
            .map_err(|error| Refused::retryable(format!("no partition for the time {}: {error}", now.seconds())))?;
        let folder = folder.trim_matches('/');
        let slash = if folder.is_empty() { "" } else { "/" };
        let ending = marshaler.ending();
        let compressed = match marshaler.compresses_itself() {
            true => "",
            false => compression.ending(),
        };
        Ok(format!(
            "{folder}{slash}{file_prefix}{signal}_{hash:032x}.{ending}{compressed}"
        ))
    }
}

/// Over the wire form: the same batch has the same name in every format.
fn hash_of(batch: &mut Batch) -> u128 {
    let mut hasher = Xxh3::new();
    for part in batch.parts() {
        hasher.update(part);
    }
    hasher.digest128()
}

fn describe(object: &str, day: Day, rows: BTreeMap<[u8; 16], Row>, now: UnixNanos) -> Manifest {
    let header = Header {
        object: object.to_owned(),
        day: day.to_string(),
        traces: rows.len(),
        spans: rows.values().map(|row| row.closed.len() + row.open.len()).sum(),
        written_unix_nano: now.0,
    };
    Manifest { header, rows }
}

async fn put(objects: &Objects, path: &str, parts: Vec<Bytes>) -> Result<(), Refused> {
    let stored = objects.put(path, parts).await;
    stored.map_err(|failure| match failure {
        // A role that lacks a permission, or a bucket that is not there, can be repaired while the queue waits.
        Failure::Refused { ref code, .. } if code == "NotPossible" => Refused::permanent(failure.to_string()),
        failure => Refused::retryable(failure.to_string()).with_code(tonic::Code::Unavailable),
    })
}
