//! The parts of a batch as they are handed to the socket: large ones as they are, small ones gathered.

use bytes::{Bytes, BytesMut};

/// Parts below this are copied together: a frame and a system call of its own cost more than copying 8 KiB.
const SMALL: usize = 8 * 1024;
/// Size of a gathered chunk: one HTTP/2 frame of the default size.
const GATHERED: usize = 16 * 1024;

/// `prefix` followed by all parts, in order, in few chunks. Only small parts are copied.
pub fn gather(prefix: &[u8], parts: &[Bytes]) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(parts.len() + 1);
    let mut open = BytesMut::new();
    open.extend_from_slice(prefix);
    for part in parts {
        if part.len() >= SMALL {
            close(&mut open, &mut chunks);
            chunks.push(part.clone());
            continue;
        }
        if open.len() + part.len() > GATHERED {
            close(&mut open, &mut chunks);
        }
        if open.capacity() - open.len() < part.len() {
            open.reserve(GATHERED);
        }
        open.extend_from_slice(part);
    }
    close(&mut open, &mut chunks);
    chunks
}

fn close(open: &mut BytesMut, chunks: &mut Vec<Bytes>) {
    if !open.is_empty() {
        chunks.push(std::mem::take(open).freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_out_in_order_and_large_parts_are_not_copied() {
        let large = Bytes::from(vec![7u8; SMALL]);
        let small = Bytes::from(vec![3u8; 3000]);
        let mut parts = vec![large.clone(), small.clone(), Bytes::new(), small.clone(), large.clone()];
        parts.extend(std::iter::repeat_n(small, 10));
        let chunks = gather(b"head", &parts);
        assert_eq!(chunks.concat(), [b"head".to_vec(), parts.concat()].concat());
        assert!(chunks.iter().any(|chunk| chunk.as_ptr() == large.as_ptr()));
        assert!(chunks.len() < parts.len(), "{} chunks", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.len() <= GATHERED));
    }

    #[test]
    fn nothing_in_gives_only_the_prefix() {
        assert_eq!(gather(b"\0\0\0\0\0", &[]), [Bytes::from_static(b"\0\0\0\0\0")]);
        assert!(gather(b"", &[]).is_empty());
    }
}
