//! The chaos proxy: hands TCP on between the agent and its far end, and spoils it as it is told. What goes towards the far
//! end is never changed, only held, cut or dropped: without TLS nobody could tell.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::locked;

/// What it does to connections, new ones and open ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chaos {
    #[default]
    None,
    /// Every piece is late.
    Latency(Duration),
    /// So many bytes a second.
    Bandwidth(u64),
    /// Pieces of so many bytes.
    Slices(usize),
    /// The connection is reset after so many bytes of either side.
    ResetAfter(u64),
    /// Takes everything, hands nothing on.
    BlackHole,
    /// The far end seems to have closed its side.
    HalfClose,
    /// A byte in so many of the answers is another.
    CorruptAnswers(u64),
    /// Answers do not arrive.
    LoseAnswers,
}

impl Chaos {
    /// Every kind once.
    pub const ALL: [Chaos; 8] = [
        Chaos::Latency(Duration::from_millis(80)),
        Chaos::Bandwidth(400_000),
        Chaos::Slices(7),
        Chaos::ResetAfter(100_000),
        Chaos::BlackHole,
        Chaos::HalfClose,
        Chaos::CorruptAnswers(50),
        Chaos::LoseAnswers,
    ];
}

/// Listens until it is dropped.
pub struct Proxy {
    pub chaos: Arc<Mutex<Chaos>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let chaos = Arc::new(Mutex::new(Chaos::None));
        let for_all = Arc::clone(&chaos);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let chaos = Arc::clone(&for_all);
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let there = pass(from_client, to_server, Way::There, Arc::clone(&chaos));
                    let back = pass(from_server, to_client, Way::Back, chaos);
                    // The end of one way is the end of both.
                    tokio::select! {
                        () = there => {}
                        () = back => {}
                    }
                });
            }
        });
        Ok(Self { chaos, _tasks: tasks })
    }

    pub fn set(&self, chaos: Chaos) {
        *locked(&self.chaos) = chaos;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, chaos: Arc<Mutex<Chaos>>) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    let mut closed = false;
    // TCP loses nothing in the middle: a connection of which something was swallowed ends, at the latest with the chaos.
    let mut swallowed = None;
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let now = *locked(&chaos);
        let piece = &mut buffer[..read];
        passed += read as u64;
        if swallowed.is_some_and(|chaos| chaos != now) {
            return;
        }
        match now {
            Chaos::Latency(delay) => tokio::time::sleep(delay).await,
            Chaos::Bandwidth(rate) => tokio::time::sleep(Duration::from_micros(read as u64 * 1_000_000 / rate)).await,
            Chaos::ResetAfter(most) if passed > most => {
                let _ = to.as_ref().set_zero_linger();
                return;
            }
            Chaos::BlackHole => {
                swallowed = Some(now);
                continue;
            }
            Chaos::LoseAnswers if way == Way::Back => {
                swallowed = Some(now);
                continue;
            }
            Chaos::HalfClose if way == Way::Back => {
                if !closed {
                    let _ = to.shutdown().await;
                    closed = true;
                }
                continue;
            }
            Chaos::CorruptAnswers(every) if way == Way::Back && passed % every < read as u64 => {
                piece[(passed % read as u64) as usize] ^= 0x20;
            }
            _ => {}
        }
        // A connection that lost some of its bytes has no use any more.
        if closed {
            return;
        }
        let size = match now {
            Chaos::Slices(size) => size,
            _ => read,
        };
        for slice in piece.chunks(size) {
            if to.write_all(slice).await.is_err() {
                return;
            }
        }
    }
}
