//! HTTP/2 by hand: frames as RFC 9113 draws them, and headers without compression, for everything that a library of ours
//! would not send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal header fields that are never indexed (RFC 7541, 6.2.3). Names and values below 127 bytes.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0x10], text(name), text(value)].concat()
}

/// The header block of an Export call.
pub fn export_headers() -> Vec<u8> {
    [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", super::TRACES),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ]
    .concat()
}

/// The preface and these settings (id, value).
pub fn opening(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A connection that writes frames and looks at what comes back.
pub struct Raw {
    pub stream: TcpStream,
    seen: Vec<u8>,
}

impl Raw {
    pub async fn open(to: std::net::SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&opening(settings)).await.unwrap();
        Self {
            stream,
            seen: Vec::new(),
        }
    }

    /// Writes for as long as the other end takes it; `false` once it has closed or takes nothing for five seconds.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut buffer = [0; 65_536];
        while !rest.is_empty() {
            let step = async {
                tokio::select! {
                    written = self.stream.writable() => written.map(|()| None),
                    read = self.stream.readable() => read.map(|()| Some(())),
                }
            };
            let Ok(Ok(readable)) = tokio::time::timeout(Duration::from_secs(5), step).await else {
                return false;
            };
            if readable.is_some() {
                match self.stream.try_read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(count) => self.keep(&buffer[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return false,
                }
            }
            match self.stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn keep(&mut self, bytes: &[u8]) {
        // Only the tail matters to the tests: how a connection ended.
        self.seen.extend_from_slice(bytes);
        if self.seen.len() > 1 << 20 {
            self.seen.drain(..512 << 10);
        }
    }

    /// Whether the other end closes within this time.
    pub async fn is_closed_within(&mut self, patience: Duration) -> bool {
        let mut buffer = [0; 65_536];
        let reading = async {
            loop {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => self.keep(&buffer[..count]),
                }
            }
        };
        tokio::time::timeout(patience, reading).await.is_ok()
    }

    /// Kind, flags, stream, payload of every whole frame that came.
    pub fn frames(&self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut rest = &self.seen[..];
        let mut frames = Vec::new();
        while let Some((head, behind)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = behind.get(..length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push((head[3], head[4], stream, payload.to_vec()));
            rest = &behind[length..];
        }
        frames
    }

    /// The error code of the last GOAWAY, if one came.
    pub fn goaway(&self) -> Option<u32> {
        let frames = self.frames();
        let last = frames.iter().rev().find(|(kind, ..)| *kind == GOAWAY)?;
        Some(u32::from_be_bytes(last.3.get(4..8)?.try_into().ok()?))
    }
}
