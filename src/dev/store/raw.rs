//! The original protobuf of the items of a segment: one stream in blocks, compressed when the segment is complete.

use bytes::Bytes;

/// Bytes after which a block is closed. One item is read by inflating one block: 30 us for this size.
const BLOCK: usize = 64 << 10;

#[derive(Clone)]
struct Block {
    /// Where it begins in the stream.
    start: u32,
    /// Length in the stream.
    len: u32,
    packed: bool,
    data: Bytes,
}

/// See the module text.
#[derive(Clone, Default)]
pub struct Raw {
    blocks: Vec<Block>,
    /// The block that is being written.
    tail: Vec<u8>,
    tail_start: u32,
}

impl Raw {
    /// Appends an item; its place for [`Raw::read`].
    pub fn push(&mut self, item: &[u8]) -> u32 {
        let at = self.tail_start + self.tail.len() as u32;
        self.tail.extend_from_slice(item);
        if self.tail.len() >= BLOCK {
            self.close_block();
        }
        at
    }

    fn close_block(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let len = self.tail.len() as u32;
        self.blocks.push(Block {
            start: self.tail_start,
            len,
            packed: false,
            data: Bytes::from(std::mem::take(&mut self.tail)),
        });
        self.tail_start += len;
    }

    /// Compresses what is not yet, as often as it gets smaller by it.
    pub fn pack(&mut self) {
        self.close_block();
        // Level 1: 340 ns a span, a quarter of the size.
        let Ok(mut packer) = zstd::bulk::Compressor::new(1) else {
            return;
        };
        for block in self.blocks.iter_mut().filter(|block| !block.packed) {
            if let Ok(packed) = packer.compress(&block.data)
                && packed.len() < block.data.len()
            {
                block.data = Bytes::from(packed.into_boxed_slice());
                block.packed = true;
            }
        }
        self.blocks.shrink_to_fit();
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let data: usize = self.blocks.iter().map(|block| block.data.len()).sum();
        data + self.tail.capacity() + self.blocks.capacity() * size_of::<Block>()
    }

    /// Length of the stream.
    pub fn written(&self) -> usize {
        self.tail_start as usize + self.tail.len()
    }
}

/// Reads items; keeps the block inflated last, so that reading in order inflates each once.
pub struct RawReader<'a> {
    raw: &'a Raw,
    held: Option<usize>,
    inflated: Vec<u8>,
}

impl<'a> RawReader<'a> {
    /// Over the items of `raw`.
    pub fn new(raw: &'a Raw) -> Self {
        Self {
            raw,
            held: None,
            inflated: Vec::new(),
        }
    }

    /// The item at a place that [`Raw::push`] gave; empty where there is none.
    pub fn read(&mut self, at: u32, len: u32) -> &[u8] {
        let raw = self.raw;
        if at >= raw.tail_start {
            let from = (at - raw.tail_start) as usize;
            return raw.tail.get(from..from + len as usize).unwrap_or_default();
        }
        let number = raw.blocks.partition_point(|block| block.start + block.len <= at);
        let Some(block) = raw.blocks.get(number) else {
            return &[];
        };
        let from = (at - block.start) as usize;
        let range = from..from + len as usize;
        if !block.packed {
            return block.data.get(range).unwrap_or_default();
        }
        if self.held != Some(number) {
            // We packed it: the length is ours, not a stranger's.
            let inflated = zstd::bulk::Decompressor::new()
                .and_then(|mut reader| reader.decompress(&block.data, block.len as usize));
            self.inflated = inflated.unwrap_or_default();
            self.held = Some(number);
        }
        self.inflated.get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_they_were_written_before_and_after_packing() {
        let mut raw = Raw::default();
        let items: Vec<Vec<u8>> = (0..3_000_u32)
            .map(|at| at.to_le_bytes().repeat(1 + at as usize % 40))
            .collect();
        let places: Vec<u32> = items.iter().map(|item| raw.push(item)).collect();
        let before = raw.bytes();
        for packed in [false, true] {
            if packed {
                raw.pack();
                assert!(raw.bytes() < before / 2, "{} of {before}", raw.bytes());
            }
            let mut reader = RawReader::new(&raw);
            for (item, at) in items.iter().zip(&places) {
                assert_eq!(reader.read(*at, item.len() as u32), item);
            }
        }
        assert_eq!(RawReader::new(&raw).read(u32::MAX - 10, 4), b"");
    }
}
