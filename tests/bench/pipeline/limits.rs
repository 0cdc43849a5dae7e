//! What the product promises, as numbers. A missed one fails the benchmark with the sentence beside it.

/// CPU of the agent over that of the joining proxy: uncompressed gRPC and HTTP, all signals, small requests too.
pub const UNCOMPRESSED_RATIO: f64 = 1.5;
/// CPU seconds for a million spans, gzip in and out at the product's default level.
pub const GZIP_SECONDS: f64 = 2.0;
/// CPU of the agent over that of the joining proxy at the same gzip level.
pub const GZIP_RATIO: f64 = 1.2;
/// CPU of the agent with a filter and an upsert over that of the joining proxy without them.
pub const FILTER_UPSERT_RATIO: f64 = 2.0;
/// CPU with three `nop` exporters over that with one.
pub const FAN_OUT_RATIO: f64 = 1.5;
/// Peak resident memory in every run, MB.
pub const PEAK_RSS_MB: f64 = 40.0;
/// Resident memory when idle, MB.
pub const IDLE_RSS_MB: f64 = 15.0;
/// Percent of a core when idle.
pub const IDLE_CPU_PERCENT: f64 = 0.2;
/// From start to listening, ms.
pub const START_MS: f64 = 20.0;
/// The stripped binary, MB.
pub const BINARY_MB: f64 = 45.0;
/// p99 of the acknowledgement above the passing proxy's at 5,000 spans a second, ms.
pub const ACK_P99_MS: f64 = 1.0;
/// Peak resident memory with `limit_mib: 200`, the far end down and 50,000 spans a second offered, MiB.
pub const OVERLOAD_RSS_MIB: f64 = 220.0;
