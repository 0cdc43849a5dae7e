//! The client side of the network: dialling (TLS, proxies), a gRPC channel of our own over h2, an HTTP client over hyper.
//!
//! Bodies are lists of [`bytes::Bytes`] and leave without being joined. What a far end answers becomes a
//! [`crate::component::Refused`] in [`status`]. Knows no queues and no retries: one call is one attempt.

pub mod batch_id;
pub mod chunks;
pub mod dial;
pub mod endpoint;
pub mod grpc;
pub mod http;
pub mod message;
pub mod proxy;
pub mod status;
#[cfg(test)]
pub(crate) mod test_peer;
mod unary;
