//! Writes the lines of the view, on a thread of its own: a terminal that is slow, or stopped, holds up nothing. What it
//! has no room for is counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Block;

/// Blocks that wait to be written.
const WAITING: usize = 256;

/// The writer of the view.
pub struct Screen {
    sender: Option<SyncSender<Block>>,
    skipped: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl Screen {
    /// Writes to `out`.
    pub fn to(mut out: Box<dyn Write + Send>) -> Self {
        let (sender, receiver) = sync_channel::<Block>(WAITING);
        let skipped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&skipped);
        let write = move || {
            for block in receiver {
                // A terminal that has gone away is no reason to end.
                let _gone = write_block(&mut *out, &block);
                let _gone = tell_skipped(&mut *out, &counter);
            }
            let _gone = tell_skipped(&mut *out, &counter);
        };
        // Without a thread nothing is shown, and everything else works.
        let writer = std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(write)
            .ok();
        Self {
            sender: Some(sender),
            skipped,
            writer,
        }
    }

    /// Writes, or counts what there is no room for.
    pub fn show(&self, blocks: Vec<Block>) {
        let Some(sender) = &self.sender else { return };
        for block in blocks {
            let lines = block.lines.len() as u64;
            if sender.try_send(block).is_err() {
                self.skipped.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }

    /// A few lines of its own.
    pub fn say(&self, lines: Vec<String>) {
        self.show(vec![Block {
            replaces_last: false,
            lines,
        }]);
    }

    /// Waits until everything has been written.
    pub fn finish(mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

fn tell_skipped(out: &mut dyn Write, counter: &AtomicU64) -> std::io::Result<()> {
    let skipped = counter.swap(0, Ordering::Relaxed);
    if skipped > 0 {
        writeln!(out, "({skipped} lines skipped: the terminal is slow)")?;
    }
    out.flush()
}

fn write_block(out: &mut dyn Write, block: &Block) -> std::io::Result<()> {
    let mut text = String::new();
    if block.replaces_last {
        // One up, and away with what stands there.
        text.push_str("\x1b[1A\r\x1b[2K");
    }
    for line in &block.lines {
        text.push_str(line);
        text.push('\n');
    }
    out.write_all(text.as_bytes())
}
