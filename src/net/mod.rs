//! The network edge: listeners, TLS, the gRPC bytes codec, HTTP, capped decompression, and the client side of both.
//!
//! Only this module opens listening sockets. It knows nothing of pipelines: whoever serves something hands a function
//! to [`server::serve_http`] and gets back a [`crate::component::Running`] to stop.

pub mod client;
pub mod codec;
pub mod server;
pub mod status;
pub mod tls;
pub mod udp;
