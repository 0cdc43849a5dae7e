//! What a user may choose of the translation.

use serde::{Deserialize, Serialize};

/// `semconv`: which generation of attribute names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Semconv {
    #[default]
    Stable,
    Old,
    Both,
}

/// `compat`: whose keys, types, kinds and statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    #[default]
    None,
    /// As the Collector's `awsxray` receiver.
    Collector,
}

/// `metadata::mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataMode {
    /// One attribute a namespace, its value as JSON.
    #[default]
    Json,
    /// One attribute a value.
    Expand,
}

/// The options of [`super::Reader`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub semconv: Semconv,
    pub compat: Compat,
    /// A segment's `error` and `throttle` make its span an error.
    pub treat_client_errors: bool,
    /// Keys that X-Ray does not document are kept in `aws.xray.unknown.*`.
    pub keep_unknown: bool,
    pub metadata: MetadataMode,
    /// Bytes of metadata of one segment that are kept.
    pub metadata_max_bytes: usize,
    /// Subsegments deeper than this become children of the one at this depth.
    pub max_depth: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            semconv: Semconv::Stable,
            compat: Compat::None,
            treat_client_errors: false,
            keep_unknown: false,
            metadata: MetadataMode::Json,
            metadata_max_bytes: 64 << 10,
            max_depth: 2000,
        }
    }
}

impl Options {
    /// Whether names of the present conventions are written.
    pub fn stable(&self) -> bool {
        self.semconv != Semconv::Old
    }

    /// Whether names of the conventions before are written.
    pub fn old(&self) -> bool {
        self.semconv != Semconv::Stable
    }

    /// Whether the Collector is followed where it differs.
    pub fn collector(&self) -> bool {
        self.compat == Compat::Collector
    }
}
