//! Decompression that stops at a limit.
