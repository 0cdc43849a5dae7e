//! What can be seen of HTTP/2 from below it: where frames begin and end, without reading what is in them.
//!
//! The HTTP/2 library neither limits the time of a header block nor how many frames come that ask nothing (pings,
//! settings, window updates, empty data); both are told from the nine bytes in front of each frame (RFC 9113, 4.1).

use tokio::time::{Duration, Instant};

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames that ask nothing: so many a second ...
const FREE: u32 = 1024;

/// ... and so many more for each frame that brings something: clients measure the line with a ping per answer.
const FOR_EACH: u32 = 8;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameWatch {
    head: [u8; HEAD],
    /// Bytes of `head` that are there.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// The payload to come is one of headers.
    in_headers: bool,
    /// HEADERS came and END_HEADERS did not.
    block_open: bool,
    credit: u32,
    /// When `credit` was last filled up; set at the first time it runs out.
    filled: Option<Instant>,
}

/// Too many frames that ask nothing.
#[derive(Debug)]
pub(super) struct Flood;

impl FrameWatch {
    /// For what follows the preface.
    pub(super) fn new() -> Self {
        Self {
            head: [0; HEAD],
            have: 0,
            left: 0,
            in_headers: false,
            block_open: false,
            credit: FREE,
            filled: None,
        }
    }

    /// Whether the peer has begun something that ends with a header block or a frame's head, and not ended it.
    pub(super) fn is_heading(&self) -> bool {
        self.have > 0 || self.block_open || (self.in_headers && self.left > 0)
    }

    /// Takes the bytes that came.
    ///
    /// # Errors
    /// [`Flood`]: the connection should end.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD {
                return Ok(());
            }
            self.have = 0;
            self.begin_frame()?;
        }
    }

    fn begin_frame(&mut self) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.in_headers = matches!(kind, HEADERS | CONTINUATION);
        match kind {
            HEADERS => self.block_open = flags & END_HEADERS == 0,
            CONTINUATION if flags & END_HEADERS != 0 => self.block_open = false,
            _ => {}
        }
        match kind {
            HEADERS => self.earn(),
            DATA if self.left > 0 || flags & END_STREAM != 0 => self.earn(),
            // The library counts these.
            CONTINUATION => {}
            _ => return self.spend(),
        }
        Ok(())
    }

    fn earn(&mut self) {
        self.credit = (self.credit + FOR_EACH).min(8 * FREE);
    }

    fn spend(&mut self) -> Result<(), Flood> {
        if self.credit == 0 {
            let now = Instant::now();
            if self.filled.is_some_and(|filled| now - filled < Duration::from_secs(1)) {
                return Err(Flood);
            }
            self.filled = Some(now);
            self.credit = FREE;
        }
        self.credit -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        [
            &[0, 0, length, kind, flags, 0, 0, 0, 1][..],
            &vec![0; usize::from(length)],
        ]
        .concat()
    }

    #[tokio::test]
    async fn a_header_block_is_open_until_its_last_byte_however_it_is_cut() {
        let bytes = [
            frame(HEADERS, 0, 5),
            frame(CONTINUATION, END_HEADERS, 3),
            frame(DATA, 0, 4),
        ]
        .concat();
        for size in 1..bytes.len() {
            let mut watch = FrameWatch::new();
            for (at, piece) in bytes.chunks(size).enumerate() {
                watch.feed(piece).unwrap();
                let seen = at * size + piece.len();
                // HEADERS end at 14, CONTINUATION at 26; the head of DATA is 26..35.
                let heading = seen < 26 || (27..35).contains(&seen);
                assert_eq!(watch.is_heading(), heading, "after {seen} bytes in pieces of {size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_ask_nothing_are_limited_by_second_and_by_what_is_asked() {
        let mut watch = FrameWatch::new();
        // A ping for every call is how clients measure the line.
        for _ in 0..100_000 {
            watch.feed(&frame(HEADERS, END_HEADERS, 1)).unwrap();
            watch.feed(&frame(PING, 0, 8)).unwrap();
        }
        let mut watch = FrameWatch::new();
        for _ in 0..20 {
            for _ in 0..FREE {
                watch.feed(&frame(PING, 0, 8)).unwrap();
            }
            tokio::time::advance(Duration::from_millis(1100)).await;
        }
        let flood = (0..4 * FREE).any(|_| watch.feed(&frame(PING, 0, 8)).is_err());
        assert!(flood);
        let mut watch = FrameWatch::new();
        let flood = (0..4 * FREE).any(|_| watch.feed(&frame(DATA, 0, 0)).is_err());
        assert!(flood, "empty data is no data");
    }
}
