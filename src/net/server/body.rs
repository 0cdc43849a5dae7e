//! Bodies: reading a request's within its limits, and the small answers of ours.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::net::status::Status;
use crate::pdata::{MemoryBudget, Permit};

/// After this time a body must have come at [`SLOWEST`] on average.
const FREE_TIME: Duration = Duration::from_secs(5);

/// Bytes per second.
const SLOWEST: u64 = 1024;

/// What a request body may cost.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Largest body, bytes; also after decompression.
    pub cap: usize,
    /// For the whole body; `None`: no limit, not even on its rate.
    pub deadline: Option<Duration>,
    /// Where memory is asked for.
    pub memory: MemoryBudget,
    /// How long to wait for memory.
    pub admission_wait: Duration,
}

impl BodyLimits {
    /// A permit for `bytes`, before they are read or made.
    ///
    /// # Errors
    /// The refusal that clients get when memory is short.
    pub async fn admit(&self, bytes: usize) -> Result<Permit, Status> {
        let permit = self.memory.acquire(bytes as u64, self.admission_wait).await;
        permit.ok_or_else(Status::no_memory)
    }

    fn too_large(&self) -> Status {
        Status::too_large(format!("request body is larger than {} bytes", self.cap))
    }
}

/// A request body under its deadline. No timer is armed as long as the bytes are there when they are asked for.
pub struct Incoming<B> {
    body: B,
    deadline: Option<Duration>,
    received: u64,
    /// When the reader first had to wait, and the next look at the clock.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B: Body<Data = Bytes> + Unpin> Incoming<B> {
    /// `deadline` counts from the first wait for bytes.
    pub fn new(body: B, deadline: Option<Duration>) -> Self {
        Self {
            body,
            deadline,
            received: 0,
            waiting: None,
        }
    }

    /// The next piece; `None` at the end. Trailers are skipped.
    ///
    /// # Errors
    /// When the client sends no more, too slowly, or breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Err(Status::invalid("the request body broke off")));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Pending => return self.poll_clock(context).map(Err),
            }
        }
    }

    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let (since, clock) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + FREE_TIME.min(deadline))))
        });
        while clock.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let waited = now - *since;
            let too_slow = self.received < waited.as_secs() * SLOWEST && waited >= FREE_TIME;
            if waited >= deadline || too_slow {
                let text = format!("the request body did not come within {} s", waited.as_secs());
                let status = Status::new(tonic::Code::DeadlineExceeded, text);
                return Poll::Ready(status.with_http(http::StatusCode::REQUEST_TIMEOUT));
            }
            let next = (now + Duration::from_secs(1)).min(*since + deadline);
            clock.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Bytes of a known number, collected without a copy where they come in one piece.
#[derive(Debug)]
pub struct Exact {
    expected: usize,
    one: Bytes,
    many: BytesMut,
}

impl Exact {
    /// Nothing is allocated before a second piece comes.
    pub fn new(expected: usize) -> Self {
        Self {
            expected,
            one: Bytes::new(),
            many: BytesMut::new(),
        }
    }

    fn have(&self) -> usize {
        self.one.len() + self.many.len()
    }

    /// Whether all bytes are there.
    pub fn is_full(&self) -> bool {
        self.have() == self.expected
    }

    /// Takes a piece; `false` when it is more than expected.
    #[must_use]
    pub fn push(&mut self, piece: Bytes) -> bool {
        if piece.len() > self.expected - self.have() {
            return false;
        }
        if self.have() == 0 {
            self.one = piece;
            return true;
        }
        if self.many.is_empty() {
            self.many.reserve(self.expected);
            self.many.extend_from_slice(&std::mem::take(&mut self.one));
        }
        self.many.extend_from_slice(&piece);
        true
    }

    /// The bytes so far.
    pub fn into_bytes(self) -> Bytes {
        if self.many.is_empty() {
            self.one
        } else {
            self.many.freeze()
        }
    }
}

/// Reads a whole HTTP body. Memory is admitted before it is read: by its declared length, else piece by piece.
///
/// # Errors
/// The status to answer with: too large, too slow, broken off, no memory.
pub async fn read_all<B>(body: B, declared: Option<u64>, limits: &BodyLimits) -> Result<(Bytes, Permit), Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut body = Incoming::new(body, limits.deadline);
    match declared {
        Some(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > limits.cap {
                return Err(limits.too_large());
            }
            let permit = limits.admit(length).await?;
            let mut whole = Exact::new(length);
            while let Some(piece) = body.next().await? {
                if !whole.push(piece) {
                    return Err(Status::invalid("the request body is longer than its content-length"));
                }
            }
            if !whole.is_full() {
                return Err(Status::invalid("the request body is shorter than its content-length"));
            }
            Ok((whole.into_bytes(), permit))
        }
        None => {
            let mut permit = limits.admit(0).await?;
            let mut whole = BytesMut::new();
            let mut first = Bytes::new();
            while let Some(piece) = body.next().await? {
                let so_far = first.len() + whole.len();
                if piece.len() > limits.cap - so_far {
                    return Err(limits.too_large());
                }
                if !permit.try_grow(piece.len() as u64) {
                    return Err(Status::no_memory());
                }
                if so_far == 0 {
                    first = piece;
                    continue;
                }
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&piece);
            }
            let bytes = if whole.is_empty() { first } else { whole.freeze() };
            Ok((bytes, permit))
        }
    }
}

/// Reads on and throws away, for at most two seconds: so that a client that is still sending gets to see an answer.
pub async fn discard<B>(body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    const LONGEST: Duration = Duration::from_secs(2);
    let mut body = Incoming::new(body, None);
    let rest = async { while let Ok(Some(_)) = body.next().await {} };
    let _ = tokio::time::timeout(LONGEST, rest).await;
}

/// The bodies of our own answers: nothing, a few bytes, or a gRPC message with its trailers.
#[derive(Debug)]
pub struct AnswerBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl AnswerBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self {
            data: None,
            trailers: None,
        }
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            data: Some(bytes.into()).filter(|bytes| !bytes.is_empty()),
            trailers: None,
        }
    }

    /// These bytes and trailers behind them.
    pub fn with_trailers(bytes: Bytes, trailers: HeaderMap) -> Self {
        Self {
            data: Some(bytes),
            trailers: Some(trailers),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Exact only without trailers: hyper writes a content-length from it, which gRPC does not have.
        match (&self.data, &self.trailers) {
            (_, Some(_)) => SizeHint::default(),
            (data, None) => SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn limits(cap: usize) -> BodyLimits {
        BodyLimits {
            cap,
            deadline: Some(Duration::from_secs(30)),
            memory: MemoryBudget::new(1000),
            admission_wait: Duration::from_millis(100),
        }
    }

    struct Pieces(std::collections::VecDeque<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece.as_bytes().into()))))
        }
    }

    fn pieces(pieces: &[&'static str]) -> Pieces {
        Pieces(pieces.iter().copied().collect())
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"hello");
        let (got, permit) = read_all(Full::new(sent.clone()), Some(5), &limits(5)).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
        assert_eq!(permit.bytes(), 5);
        let (got, permit) = read_all(Full::new(sent.clone()), None, &limits(5)).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
        assert_eq!(permit.bytes(), 5);
    }

    #[tokio::test]
    async fn pieces_are_joined() {
        for declared in [Some(6), None] {
            let (got, _) = read_all(pieces(&["ab", "cd", "ef"]), declared, &limits(6))
                .await
                .unwrap();
            assert_eq!(got, "abcdef");
        }
    }

    #[tokio::test]
    async fn the_cap_holds_for_declared_and_undeclared_bodies() {
        for declared in [Some(7), Some(u64::MAX), None] {
            let status = read_all(pieces(&["abcd", "efg"]), declared, &limits(6))
                .await
                .unwrap_err();
            assert_eq!(status.http.as_u16(), 413);
        }
    }

    #[tokio::test]
    async fn a_body_that_differs_from_its_declared_length_is_bad() {
        for declared in [3, 5] {
            let status = read_all(pieces(&["ab", "cd"]), Some(declared), &limits(10))
                .await
                .unwrap_err();
            assert_eq!(status.http.as_u16(), 400);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_asked_for_before_reading() {
        let limits = limits(10_000);
        let held = limits.admit(990).await.unwrap();
        let refused = read_all(pieces(&["x"]), Some(11), &limits).await.unwrap_err();
        assert_eq!((refused.http.as_u16(), refused.retry_after.is_some()), (503, true));
        let refused = read_all(pieces(&["0123456789", "x"]), None, &limits).await.unwrap_err();
        assert_eq!(refused.http.as_u16(), 503);
        drop(held);
        assert_eq!(limits.memory.used(), 0);
    }

    /// Sends `piece` every `pause` for ever.
    struct Trickle {
        piece: Bytes,
        pause: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::ready!(self.next.as_mut().poll(context));
            let pause = self.pause;
            self.next.as_mut().reset(Instant::now() + pause);
            Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_end_at_the_deadline_and_very_slow_ones_before() {
        for (bytes, ends_after) in [(10, 6), (2048, 30)] {
            let body = Trickle {
                piece: Bytes::from(vec![0; bytes]),
                pause: Duration::from_secs(1),
                next: Box::pin(tokio::time::sleep(Duration::from_secs(1))),
            };
            let begun = Instant::now();
            let mut limits = limits(usize::MAX);
            limits.memory = MemoryBudget::unlimited();
            let status = read_all(body, None, &limits).await.unwrap_err();
            assert_eq!(status.code, tonic::Code::DeadlineExceeded);
            let took = begun.elapsed().as_secs();
            assert!(
                took.abs_diff(ends_after) <= 1,
                "{bytes} bytes a second ended after {took} s"
            );
        }
    }
}
