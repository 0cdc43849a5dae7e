//! gRPC framing: the same message whatever pieces it comes in, and never more than it claims. The first byte is the size
//! of the pieces.

use bytes::Bytes;
use radiosonde::net::server::body::Exact;
use radiosonde::net::server::grpc::PrefixReader;

const CAP: usize = 64 << 10;

pub fn run(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let mut pieces = stream.chunks(usize::from(*size).max(1)).map(Bytes::copy_from_slice);
    let mut prefix = PrefixReader::default();
    let found = pieces.find_map(|mut piece| prefix.feed(&mut piece).map(|found| (found, piece)));
    let Some(((flag, length), first)) = found else {
        assert!(stream.len() < 5);
        return;
    };
    let [claimed_flag, claimed @ ..] = *stream.first_chunk::<5>().expect("a prefix was found");
    assert_eq!((flag, length), (claimed_flag, u32::from_be_bytes(claimed) as usize));
    if length > CAP {
        return;
    }
    let mut message = Exact::new(length);
    let fits = message.push(first) && pieces.all(|piece| message.push(piece));
    let payload = &stream[5..];
    assert_eq!(fits, payload.len() <= length);
    if fits {
        assert_eq!(message.is_full(), payload.len() == length);
        assert_eq!(message.into_bytes(), payload);
    }
}
