//! Fuzz targets: each a plain function over bytes that panics when something is wrong. cargo-fuzz runs them, and
//! `tests/fuzz_corpus.rs` runs them over their corpora and seeded mutations in every `cargo test`.

// Each fuzz binary uses one of them.
#![allow(dead_code)]

pub mod codec;
pub mod dev_query;
pub mod door;
#[cfg(feature = "aws")]
pub mod firehose;
pub mod grpc_frame;
pub mod htpasswd;
pub mod json;
pub mod jwt;
pub mod ottl;
pub mod splicer;
pub mod views;
pub mod wal_directory;
pub mod wal_record;
#[cfg(feature = "aws")]
pub mod xray_answers;
#[cfg(feature = "aws")]
pub mod xray_datagram;
#[cfg(feature = "aws")]
pub mod xray_document;

/// Panics when something is wrong.
pub type Target = fn(&[u8]);

/// Name of the corpus folder, and the target.
pub const ALL: &[(&str, Target)] = &[
    ("door", door::run),
    ("views", views::run),
    ("splicer", splicer::run),
    ("json", json::run),
    ("ottl", ottl::run),
    ("codec", codec::run),
    ("dev_query", dev_query::run),
    ("grpc_frame", grpc_frame::run),
    ("jwt", jwt::run),
    ("htpasswd", htpasswd::run),
    ("wal_record", wal_record::run),
    ("wal_directory", wal_directory::run),
    #[cfg(feature = "aws")]
    ("firehose", firehose::run),
    #[cfg(feature = "aws")]
    ("xray_answers", xray_answers::run),
    #[cfg(feature = "aws")]
    ("xray_datagram", xray_datagram::run),
    #[cfg(feature = "aws")]
    ("xray_document", xray_document::run),
];
