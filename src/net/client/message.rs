//! What stands before a gRPC message: one byte "compressed", four bytes length (gRPC over HTTP/2, "Length-Prefixed-Message").

use tonic::Code;

use super::status::GrpcStatus;

/// Bytes of the prefix.
pub const PREFIX: usize = 5;

/// The prefix of a message of `length` bytes.
///
/// # Errors
/// A message beyond 4 GiB, which gRPC cannot carry.
pub fn prefix(compressed: bool, length: usize) -> Result<[u8; PREFIX], GrpcStatus> {
    let Ok(length) = u32::try_from(length) else {
        return Err(GrpcStatus::new(
            Code::InvalidArgument,
            "a gRPC message is at most 4 GiB",
        ));
    };
    let [a, b, c, d] = length.to_be_bytes();
    Ok([u8::from(compressed), a, b, c, d])
}
