//! Reading datagrams: from the kernel into chunks, and chunks into the queue. Waits for nothing but the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::telemetry::Telemetry;
use crate::component::BuildContext;
use crate::net::udp::{Received, UdpBuffers, UdpSocket};
use crate::pdata::Permit;

/// Datagrams of one read, one behind the other.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Nanoseconds since the epoch.
    pub(super) received_ns: u64,
    /// Over what the datagrams become.
    pub(super) permit: Permit,
}

impl Chunk {
    /// Each datagram.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let datagram = &self.bytes[begin..*end as usize];
            begin = *end as usize;
            datagram
        })
    }
}

/// Chunks and bytes that wait for the decoder of one socket: about a second of a busy one.
const MOST_CHUNKS: usize = 4096;
const MOST_BYTES: usize = 32 << 20;
/// Spans take about this many times the bytes of their documents.
const DECODED: u64 = 6;
/// So many datagrams a read make a socket busy: then it is left alone for a moment, because waking up for each datagram
/// costs more than translating it.
const BUSY: usize = 8;
const MOMENT: Duration = Duration::from_millis(1);

/// The end that chunks are put into.
pub(super) struct Queue {
    chunks: mpsc::Sender<Chunk>,
    bytes: Arc<AtomicUsize>,
}

/// The end that they are taken from.
pub(super) struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    bytes: Arc<AtomicUsize>,
}

/// A queue between one socket and its decoder.
pub(super) fn queue() -> (Queue, Chunks) {
    let (sender, receiver) = mpsc::channel(MOST_CHUNKS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        chunks: sender,
        bytes: Arc::clone(&bytes),
    };
    (
        queue,
        Chunks {
            chunks: receiver,
            bytes,
        },
    )
}

impl Queue {
    /// `false`: there is no room.
    fn put(&self, chunk: Chunk) -> bool {
        let size = chunk.bytes.len();
        if self.bytes.load(Ordering::Relaxed) + size > MOST_BYTES {
            return false;
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let put = self.chunks.try_send(chunk).is_ok();
        if !put {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        put
    }
}

impl Chunks {
    /// The next chunk; `None` when the socket is closed and everything was taken.
    pub(super) async fn take(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await;
        self.taken(chunk)
    }

    /// The next one if it is there.
    pub(super) fn take_now(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.try_recv().ok();
        self.taken(chunk)
    }

    fn taken(&self, chunk: Option<Chunk>) -> Option<Chunk> {
        if let Some(chunk) = &chunk {
            self.bytes.fetch_sub(chunk.bytes.len(), Ordering::Relaxed);
        }
        chunk
    }
}

/// The task of one socket.
pub(super) struct Reading {
    pub(super) socket: UdpSocket,
    pub(super) queue: Queue,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) context: BuildContext,
}

impl Reading {
    /// Until `quit`, and then what the kernel has left.
    pub(super) async fn run(self, quit: CancellationToken) {
        let mut buffers = UdpBuffers::default();
        let mut filling = Filling::default();
        loop {
            let received = tokio::select! {
                () = quit.cancelled() => break,
                received = self.socket.receive(&mut buffers, |datagram| filling.add(datagram)) => received,
            };
            match received {
                Ok(received) => {
                    self.hand_on(&mut filling, received);
                    if received.datagrams >= BUSY && !received.is_full() {
                        tokio::time::sleep(MOMENT).await;
                    }
                }
                Err(error) => {
                    // The error of an earlier answer (there are none) or a lack of memory: neither lasts.
                    tracing::warn!(receiver = %self.context.id, %error, "cannot read from the UDP socket, trying on");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        while let Ok(received) = self.socket.receive_now(&mut buffers, |datagram| filling.add(datagram)) {
            if received.datagrams == 0 {
                break;
            }
            self.hand_on(&mut filling, received);
        }
    }

    fn hand_on(&self, filling: &mut Filling, received: Received) {
        if received.dropped > 0 {
            self.telemetry.kernel_dropped(received.dropped);
        }
        if filling.ends.is_empty() {
            return;
        }
        let datagrams = filling.ends.len() as u64;
        self.telemetry.bytes.add(filling.bytes.len() as u64);
        let permit = self.context.memory.try_acquire(filling.bytes.len() as u64 * DECODED);
        let put = permit.is_some_and(|permit| {
            let Filling { bytes, ends } = std::mem::take(filling);
            let chunk = Chunk {
                bytes,
                ends,
                received_ns: self.context.clock.now().0,
                permit,
            };
            self.queue.put(chunk)
        });
        if !put {
            self.telemetry.queue_dropped(datagrams);
        }
        filling.bytes.clear();
        filling.ends.clear();
    }
}

#[derive(Default)]
struct Filling {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Filling {
    fn add(&mut self, datagram: &[u8]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(32 << 10);
            self.ends.reserve(64);
        }
        self.bytes.extend_from_slice(datagram);
        // One read is at most 4 MiB.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}
