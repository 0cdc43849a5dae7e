//! The byte stream below HTTP: plain or TLS, with the bytes that were read to recognise the protocol put back in front,
//! a limit on stalled writes, and a count of reads that shows whether a request has begun.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::frames::{Flood, FrameWatch};
use crate::net::tls::certificate::identity_of;
use crate::pdata::Auth;

/// The first bytes of every HTTP/2 connection with prior knowledge (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What a connection does, seen from outside: enough to tell idle from busy without asking the clock per request.
#[derive(Default)]
pub(super) struct Activity {
    /// Requests being handled.
    pub(super) open: AtomicUsize,
    /// Requests begun since the connection was opened.
    pub(super) begun: AtomicU64,
    /// Reads that brought bytes.
    pub(super) reads: AtomicU64,
    /// `reads` when the last request ended: a difference while none is open means that a header is coming in.
    pub(super) reads_when_idle: AtomicU64,
    /// HTTP/2: header blocks (or heads of frames) that were not complete at the end of a read, and whether one is now.
    pub(super) cut_headers: AtomicU64,
    pub(super) header_open: AtomicBool,
    /// Answers that wait until the peer takes more of them, and pieces of answers handed on so far.
    pub(super) answering: AtomicUsize,
    pub(super) answered: AtomicU64,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// A TLS handshake on a listener without TLS.
    TlsHello,
}

/// TCP or TLS over it.
pub(super) enum Transport {
    Plain(TcpStream),
    // Boxed: a TLS session is over a kilobyte.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Who the client is by the certificate that the handshake has verified.
    pub(super) fn client_identity(&self) -> Option<Auth> {
        let Transport::Tls(stream) = self else { return None };
        let chain = stream.get_ref().1.peer_certificates()?;
        identity_of(chain.first()?)
    }
}

/// A [`Transport`] under observation.
pub(super) struct Watched {
    inner: Transport,
    /// Bytes read ahead, and how many of them were handed on.
    ahead: ([u8; HTTP2_PREFACE.len()], usize, usize),
    activity: Arc<Activity>,
    /// Only for HTTP/2.
    frames: Option<FrameWatch>,
    write_timeout: Option<Duration>,
    /// Armed while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(inner: Transport, activity: Arc<Activity>, write_timeout: Option<Duration>) -> Self {
        Self {
            inner,
            ahead: ([0; HTTP2_PREFACE.len()], 0, 0),
            activity,
            frames: None,
            write_timeout,
            stalled: None,
        }
    }

    /// Reads as many bytes as it takes to tell the protocol (at most the preface) and keeps them for the next reader.
    /// `None` when the peer closed without a word.
    pub(super) async fn recognise(&mut self) -> io::Result<Option<Protocol>> {
        let mut seen = [0; HTTP2_PREFACE.len()];
        let mut filled = 0;
        let protocol = loop {
            let read = match &mut self.inner {
                Transport::Plain(stream) => stream.read(&mut seen[filled..]).await?,
                Transport::Tls(stream) => stream.read(&mut seen[filled..]).await?,
            };
            if read == 0 {
                if filled == 0 {
                    return Ok(None);
                }
                break Protocol::Http1;
            }
            filled += read;
            if let Some(protocol) = decide(&seen[..filled]) {
                break protocol;
            }
        };
        self.ahead = (seen, 0, filled);
        // At most the preface was read, so frames begin with the next byte.
        self.frames = (protocol == Protocol::Http2).then(FrameWatch::new);
        Ok(Some(protocol))
    }

    /// Looks at the frames that came.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(frames) = &mut self.frames else {
            return Ok(());
        };
        let was_open = frames.is_heading();
        let fed = frames.feed(bytes);
        let is_open = frames.is_heading();
        // Nearly every read ends where a frame ends: then nothing is written here.
        if is_open && !was_open {
            self.activity.cut_headers.fetch_add(1, Ordering::Relaxed);
        }
        if is_open != was_open {
            self.activity.header_open.store(is_open, Ordering::Relaxed);
        }
        fed.map_err(|Flood| io::Error::new(io::ErrorKind::InvalidData, "too many frames that ask nothing"))
    }

    /// Turns a stalled write into an error once it has waited too long; progress disarms it.
    fn limit<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let Some(limit) = self.write_timeout else {
            return progress;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not read our answers",
        )))
    }
}

/// The protocol, as soon as the bytes tell.
fn decide(seen: &[u8]) -> Option<Protocol> {
    if seen.first() == Some(&TLS_HANDSHAKE) {
        return Some(Protocol::TlsHello);
    }
    if !HTTP2_PREFACE.starts_with(seen) {
        return Some(Protocol::Http1);
    }
    (seen.len() == HTTP2_PREFACE.len()).then_some(Protocol::Http2)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (bytes, from, to) = self.ahead;
        if from < to {
            let taken = (to - from).min(buffer.remaining());
            buffer.put_slice(&bytes[from..from + taken]);
            self.ahead.1 += taken;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            self.activity.reads.fetch_add(1, Ordering::Relaxed);
            self.follow(&buffer.filled()[before..])?;
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        };
        self.limit(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
        };
        self.limit(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        };
        self.limit(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.inner {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        };
        self.limit(context, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_told_by_the_first_bytes_and_not_before_they_tell() {
        assert_eq!(decide(b"P"), None, "POST, PUT or the preface");
        assert_eq!(decide(b"PR"), None);
        assert_eq!(decide(b"PO"), Some(Protocol::Http1));
        assert_eq!(decide(HTTP2_PREFACE), Some(Protocol::Http2));
        assert_eq!(decide(&[22, 3, 1]), Some(Protocol::TlsHello));
        assert_eq!(decide(b"PRI * HTTP/1.1\r\n"), Some(Protocol::Http1));
    }
}
