//! Joining: the same for both transports.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

const ITEMS: usize = 8192;
const WAIT: Duration = Duration::from_millis(200);
/// As the product's queue: batches sent at the same time.
const SENDERS: usize = 10;
const SMALL: usize = 8 * 1024;
const GATHERED: usize = 16 * 1024;

/// One request, uncompressed.
pub struct Piece {
    pub path: String,
    pub chunks: Vec<Bytes>,
    pub items: usize,
}

/// Takes pieces; what it has joined goes out through `send`.
#[derive(Clone)]
pub struct Joiner {
    pieces: mpsc::Sender<Piece>,
    /// Items by length of a request.
    told: Arc<HashMap<usize, usize>>,
    gzip: bool,
}

impl Joiner {
    pub fn start<F, Fut>(told: HashMap<usize, usize>, gzip: Option<u32>, tasks: &mut JoinSet<()>, send: F) -> Self
    where
        F: Fn(String, Vec<Bytes>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (pieces, taken) = mpsc::channel(16);
        tasks.spawn(join_for_ever(taken, gzip, send));
        Self {
            pieces,
            told: Arc::new(told),
            gzip: gzip.is_some(),
        }
    }

    /// Takes a request's body as it came (its prefix already off).
    pub async fn take(&self, path: &str, chunks: Vec<Bytes>) -> Result<()> {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let items = self.told.get(&length).copied();
        let items = items.with_context(|| format!("not told of requests of {length} bytes"))?;
        let chunks = if self.gzip {
            vec![Bytes::from(crate::sink::gunzip(&chunks.concat())?)]
        } else {
            chunks
        };
        let piece = Piece {
            path: path.to_owned(),
            chunks,
            items,
        };
        self.pieces.send(piece).await.context("the joiner has ended")
    }
}

async fn join_for_ever<F, Fut>(mut taken: mpsc::Receiver<Piece>, gzip: Option<u32>, send: F)
where
    F: Fn(String, Vec<Bytes>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let senders = Arc::new(Semaphore::new(SENDERS));
    let mut sending = JoinSet::new();
    while let Some(first) = taken.recv().await {
        let deadline = Instant::now() + WAIT;
        let path = first.path;
        let mut chunks = first.chunks;
        let mut items = first.items;
        while items < ITEMS {
            tokio::select! {
                piece = taken.recv() => match piece {
                    Some(piece) => {
                        items += piece.items;
                        chunks.extend(piece.chunks);
                    }
                    None => break,
                },
                () = sleep_until(deadline) => break,
            }
        }
        while sending.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&senders).acquire_owned().await else {
            return;
        };
        let body = match gzip {
            None => gather(chunks),
            Some(level) => compress(&chunks, level),
        };
        let sent = send(path, body);
        sending.spawn(async move {
            if let Err(problem) = sent.await {
                eprintln!("joining proxy: {problem:#}");
            }
            drop(permit);
        });
    }
}

fn compress(chunks: &[Bytes], level: u32) -> Vec<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    for chunk in chunks {
        encoder.write_all(chunk).expect("a Vec takes everything");
    }
    vec![encoder.finish().expect("a Vec takes everything").into()]
}

/// Small chunks are copied together, as in the product.
fn gather(chunks: Vec<Bytes>) -> Vec<Bytes> {
    let mut gathered = Vec::with_capacity(chunks.len());
    let mut open = BytesMut::new();
    for chunk in chunks {
        if chunk.len() >= SMALL {
            if !open.is_empty() {
                gathered.push(std::mem::take(&mut open).freeze());
            }
            gathered.push(chunk);
            continue;
        }
        if open.len() + chunk.len() > GATHERED {
            gathered.push(std::mem::take(&mut open).freeze());
        }
        if open.capacity() - open.len() < chunk.len() {
            open.reserve(GATHERED);
        }
        open.extend_from_slice(&chunk);
    }
    if !open.is_empty() {
        gathered.push(open.freeze());
    }
    gathered
}
