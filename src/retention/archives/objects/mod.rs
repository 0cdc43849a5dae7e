//! Archives of objects: a bucket of S3 or a directory, as the `awss3` exporter writes them.
//!
//! `parquet` is the form of objects that tables are queried with, where this is built with it.
//! `place.rs` says where, `store.rs` counts the calls, `body.rs` is what stands in an object and `manifest.rs` what stands
//! beside it; `write.rs` writes both, `read.rs` answers an audit from the manifests and gives the spans back.

pub mod body;
mod http;
mod lifecycle;
pub mod manifest;
#[cfg(feature = "parquet")]
mod parquet;
pub mod place;
mod read;
mod store;
#[cfg(test)]
mod tests;
pub mod write;

pub use read::{ObjectArchive, ReadSettings};
pub use store::Objects;
