//! The admin listener, localhost:4320: status over gRPC (with health and reflection) and as JSON over HTTP, on one port.
//!
//! Knows the status board, the registry of instruments, the desk of the alert engines and the taps, and nothing of the
//! graph behind them. What changes something there (silences, acknowledgements) needs a token; everything else is read-only.

mod guard;
mod host_check;
mod pipeline;
mod rates;
mod serve;
mod status;
mod tap;
#[cfg(test)]
mod tests;

pub use guard::PageToken;
pub use serve::{Admin, Pages, serve};
pub use status::{state_name, to_json};

/// The generated types of `radiosonde.admin.v1`.
#[allow(clippy::all, missing_docs)] // Generated code.
pub mod v1 {
    tonic::include_proto!("radiosonde.admin.v1");

    /// For server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/admin_descriptors.bin"));
}
