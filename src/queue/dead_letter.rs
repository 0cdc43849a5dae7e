//! `sending_queue::dead_letter`: what the far end refused for good is kept in a log of its own, for whoever wants to look.
//!
//! `radiosonde queue dump` reads it. On the books it is dropped: nobody will send it. Bounded; when it is full, or cannot
//! be written, the data is only counted.

use std::path::PathBuf;
use std::sync::Arc;

use super::fs::{Aside, Fs};
use super::log::{self, Draft, Writer};
use crate::component::{BuildContext, Clock, ComponentId, Counter, LimitedLog, QueueSettings};
use crate::pdata::{Batch, BatchId, Signal};

const SEGMENT_BYTES: u64 = 8 << 20;
/// What it takes on the disk at most.
const MAX_BYTES: u64 = 1 << 30;

/// See the module text.
pub struct DeadLetter {
    exporter: ComponentId,
    aside: Aside,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    /// Opened with the first that is kept.
    writer: tokio::sync::Mutex<Option<Writer>>,
    kept: Counter,
    said: LimitedLog,
}

impl DeadLetter {
    /// Where the settings name a directory. Touches no file.
    pub fn new(context: &BuildContext, settings: &QueueSettings, signal: Signal, fs: &Arc<dyn Fs>) -> Option<Self> {
        let folder = settings.dead_letter.as_ref()?;
        let base = match &context.state_dir {
            Some(state) => state.join(folder),
            None => folder.clone(),
        };
        let kept = context.instruments.counter(
            "radiosonde_dead_letter_items",
            "Items that the far end refused for good and that are kept in `dead_letter`; dropped on the books.",
            &[("data_type", signal.name())],
        );
        Some(Self {
            exporter: context.id.clone(),
            aside: Aside(Arc::clone(fs)),
            dir: base.join(super::spill::stem_of(context, signal)),
            clock: Arc::clone(&context.clock),
            writer: tokio::sync::Mutex::new(None),
            kept,
            said: LimitedLog::default(),
        })
    }

    /// Returns when the batches are on the disk, or cannot be.
    pub async fn keep(&self, batches: Vec<Batch>) {
        let items: usize = batches.iter().map(Batch::items).sum();
        let now = self.clock.now();
        let drafts: Vec<Draft> = batches
            .into_iter()
            .map(|mut batch| Draft::new(&mut batch, now, BatchId(uuid::Uuid::new_v4().as_u128())))
            .collect();
        let mut place = self.writer.lock().await;
        let (fs, dir, writer) = (Arc::clone(&self.aside.0), self.dir.clone(), place.take());
        let writing = self.aside.run(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => match log::open(fs, &dir, SEGMENT_BYTES, false) {
                    Ok(opened) => opened.writer,
                    Err(error) => return (None, Err(error.to_string())),
                },
            };
            let kept = write(&mut writer, &drafts);
            (Some(writer), kept)
        });
        let kept = match writing.await {
            Ok((writer, kept)) => {
                *place = writer;
                kept
            }
            Err(error) => Err(error.to_string()),
        };
        match kept {
            Ok(()) => self.kept.add(items as u64),
            Err(error) => {
                if let Some(left_out) = self.said.admit() {
                    tracing::warn!(exporter = %self.exporter, %error, items, left_out, "`dead_letter` cannot keep what was refused for good");
                }
            }
        }
    }
}

fn write(writer: &mut Writer, drafts: &[Draft]) -> Result<(), String> {
    let more: u64 = drafts.iter().map(Draft::record_len).sum();
    if writer.disk_bytes().saturating_add(more) > MAX_BYTES {
        return Err(format!("it holds {} MiB, which is all it may", MAX_BYTES >> 20));
    }
    writer.commit(drafts, true).map_err(|error| error.to_string())?;
    writer.mark().map_err(|error| error.to_string())
}
