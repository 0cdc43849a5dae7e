//! The server's half of gRPC for unary calls whose messages stay bytes: the five-byte prefix, the deadline, the
//! encoding, and answers. Written on hyper's HTTP/2 instead of tonic's server: a message that came in one DATA frame is
//! used where it lies, any other gets one buffer of its exact size, and memory is admitted between prefix and message.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Body;

use super::body::{AnswerBody, BodyLimits, Exact, Incoming};
use crate::net::codec::Encoding;
use crate::net::status::Status;
use crate::pdata::Permit;

/// Compression flag and message length (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX: usize = 5;

/// Longer deadlines of clients are cut.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// What is decompressed on every service.
const ENCODINGS: [Encoding; 5] = [
    Encoding::Identity,
    Encoding::Gzip,
    Encoding::Deflate,
    Encoding::Zstd,
    Encoding::Snappy,
];

/// The same for `grpc-accept-encoding`.
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,deflate,zstd,snappy");

/// A unary request's message, still encoded.
#[derive(Debug)]
pub struct Message {
    pub encoding: Encoding,
    pub bytes: Bytes,
    /// Over the bytes as they came.
    pub permit: Permit,
}

/// The prefix of a message, read from pieces of any size.
#[derive(Debug, Default)]
pub struct PrefixReader {
    bytes: [u8; PREFIX],
    have: usize,
}

impl PrefixReader {
    /// Takes what belongs to the prefix off the front of `data`; the flag and the length once it is complete.
    pub fn feed(&mut self, data: &mut Bytes) -> Option<(u8, usize)> {
        let taken = (PREFIX - self.have).min(data.len());
        self.bytes[self.have..self.have + taken].copy_from_slice(&data[..taken]);
        self.have += taken;
        data.advance(taken);
        let [flag, length @ ..] = self.bytes;
        (self.have == PREFIX).then(|| (flag, u32::from_be_bytes(length) as usize))
    }
}

/// The encoding named by `grpc-encoding`.
///
/// # Errors
/// UNIMPLEMENTED for one that is not taken.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    let Some(value) = headers.get("grpc-encoding") else {
        return Ok(Encoding::Identity);
    };
    let named = value.to_str().ok().and_then(Encoding::named);
    named.filter(|encoding| ENCODINGS.contains(encoding)).ok_or_else(|| {
        let text = "unknown grpc-encoding; known: identity, gzip, deflate, zstd, snappy";
        Status::new(tonic::Code::Unimplemented, text)
    })
}

/// How long the client waits, from `grpc-timeout`, at most a minute. A malformed header is no deadline.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // At most 8 digits, says the protocol, so nothing below overflows.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(timeout.min(LONGEST_DEADLINE))
}

/// Reads the one message of a unary call. The length claim is checked against the cap before anything is allocated.
///
/// # Errors
/// INVALID_ARGUMENT for bad framing, RESOURCE_EXHAUSTED above the cap, UNAVAILABLE without memory, DEADLINE_EXCEEDED
/// for slow bodies.
pub async fn read_message<B>(body: B, encoding: Encoding, limits: &BodyLimits) -> Result<Message, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut body = Incoming::new(body, limits.deadline);
    let mut prefix = PrefixReader::default();
    let (flag, length, first) = loop {
        let Some(mut data) = body.next().await? else {
            return Err(Status::invalid("the gRPC message is cut off"));
        };
        if let Some((flag, length)) = prefix.feed(&mut data) {
            break (flag, length, data);
        }
    };
    let encoding = match flag {
        0 => Encoding::Identity,
        1 if encoding == Encoding::Identity => {
            return Err(Status::invalid(
                "the gRPC message is flagged as compressed without a grpc-encoding",
            ));
        }
        1 => encoding,
        _ => return Err(Status::invalid("the gRPC message has an unknown compression flag")),
    };
    if length > limits.cap {
        let text = format!("gRPC message is larger than max ({length} vs. {})", limits.cap);
        return Err(Status::too_large(text));
    }
    let permit = limits.admit(length).await?;
    let mut message = Exact::new(length);
    let mut data = first;
    loop {
        if !message.push(data) {
            return Err(Status::invalid("a unary gRPC request has more than one message"));
        }
        // Also after the last byte of the message: the end of the stream belongs to the request.
        match body.next().await? {
            Some(next) => data = next,
            None => break,
        }
    }
    if !message.is_full() {
        return Err(Status::invalid("the gRPC message is cut off"));
    }
    Ok(Message {
        encoding,
        bytes: message.into_bytes(),
        permit,
    })
}

/// The answer OK with a message (already encoded, without prefix).
pub fn ok(message: &[u8]) -> Response<AnswerBody> {
    const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    let framed = if message.is_empty() {
        Bytes::from_static(&[0; PREFIX])
    } else {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut framed = Vec::with_capacity(PREFIX + message.len());
        framed.push(0);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        framed.into()
    };
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut answer = Response::new(AnswerBody::with_trailers(framed, trailers));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

/// The answer to a failed call.
pub fn failed(status: &Status) -> Response<AnswerBody> {
    let mut answer = status.to_grpc();
    if status.code == tonic::Code::Unimplemented {
        answer.headers_mut().insert("grpc-accept-encoding", ACCEPTED);
    }
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tonic::Code;

    use super::*;
    use crate::pdata::MemoryBudget;

    fn limits() -> BodyLimits {
        BodyLimits {
            cap: 100,
            deadline: Some(Duration::from_secs(30)),
            memory: MemoryBudget::new(100),
            admission_wait: Duration::from_millis(1),
        }
    }

    async fn read(bytes: &'static [u8], encoding: Encoding) -> Result<Message, Code> {
        let body = Full::new(Bytes::from_static(bytes));
        read_message(body, encoding, &limits())
            .await
            .map_err(|status| status.code)
    }

    #[tokio::test]
    async fn a_message_in_one_frame_is_used_where_it_lies() {
        const SENT: &[u8] = b"\0\0\0\0\x03abc";
        let message = read(SENT, Encoding::Gzip).await.unwrap();
        assert_eq!(
            (message.bytes.as_ptr(), &message.bytes[..]),
            (SENT[5..].as_ptr(), &b"abc"[..])
        );
        assert_eq!((message.encoding, message.permit.bytes()), (Encoding::Identity, 3));
    }

    #[tokio::test]
    async fn bad_framing_is_an_invalid_argument() {
        let bad: [&[u8]; 6] = [
            b"",
            b"\0\0\0",
            b"\0\0\0\0\x03ab",
            b"\0\0\0\0\x01ab",
            b"\x02\0\0\0\x01a",
            b"\0\0\0\0\0\0\0\0\0\0",
        ];
        for bytes in bad {
            assert_eq!(
                read(bytes, Encoding::Gzip).await.unwrap_err(),
                Code::InvalidArgument,
                "{bytes:?}"
            );
        }
        assert_eq!(
            read(b"\x01\0\0\0\x01a", Encoding::Identity).await.unwrap_err(),
            Code::InvalidArgument
        );
        assert_eq!(
            read(b"\x01\0\0\0\x01a", Encoding::Gzip).await.unwrap().encoding,
            Encoding::Gzip
        );
    }

    #[tokio::test]
    async fn a_length_claim_of_four_gigabytes_is_refused_before_anything_is_allocated() {
        assert_eq!(
            read(b"\0\xff\xff\xff\xffabc", Encoding::Identity).await.unwrap_err(),
            Code::ResourceExhausted
        );
    }

    #[test]
    fn the_prefix_may_come_in_any_pieces() {
        let mut reader = PrefixReader::default();
        for byte in [0_u8, 0, 0, 1] {
            assert_eq!(reader.feed(&mut Bytes::copy_from_slice(&[byte])), None);
        }
        let mut last = Bytes::from_static(&[2, 7, 8]);
        assert_eq!(reader.feed(&mut last), Some((0, 0x102)));
        assert_eq!(last, [7, 8][..]);
    }

    #[test]
    fn deadlines_are_read_in_every_unit_and_cut_at_a_minute() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            timeout(&headers)
        };
        assert_eq!(of("10S"), Some(Duration::from_secs(10)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(60)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        for bad in ["", "S", "10", "1.5S", "-1S", "999999999S", "1x"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    /// A body in the pieces it is cut into.
    struct Cut(std::collections::VecDeque<Bytes>);

    impl Body for Cut {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop_front().map(|piece| Ok(http_body::Frame::data(piece))))
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_a_message_or_refused_the_same_way(
            claimed in 0_usize..120,
            flag in 0_u8..3,
            payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
            cuts in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..6),
        ) {
            let length = u32::try_from(claimed).unwrap().to_be_bytes();
            let whole = Bytes::from([&[flag], &length[..], &payload].concat());
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
            at.extend([0, whole.len()]);
            at.sort_unstable();
            let pieces = at.windows(2).map(|ends| whole.slice(ends[0]..ends[1])).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let read = runtime.block_on(read_message(Cut(pieces), Encoding::Gzip, &limits()));
            let good = flag < 2 && claimed == payload.len() && claimed <= 100;
            match read {
                Ok(message) => proptest::prop_assert!(good && message.bytes == payload),
                Err(status) => {
                    proptest::prop_assert!(!good);
                    let code = if claimed > 100 && flag < 2 { Code::ResourceExhausted } else { Code::InvalidArgument };
                    proptest::prop_assert_eq!(status.code, code);
                }
            }
        }
    }
}
