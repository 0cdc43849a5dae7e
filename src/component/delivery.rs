//! How an exporter wants its data delivered: the settings of queue, retry and timeout (the Collector's exporterhelper).
//!
//! The settings live here because a plan names them; `queue` carries them out; the graph puts both together.

use std::time::Duration;

/// What a queue's capacity counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizer {
    /// Batches as they were offered (the Collector's default).
    #[default]
    Requests,
    /// Spans, data points, log records.
    Items,
    /// Uncompressed OTLP bytes.
    Bytes,
}

/// Where a queue keeps its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PersistMode {
    /// In memory only.
    #[default]
    Memory,
}

/// `sending_queue`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSettings {
    /// Requests sent at the same time.
    pub num_consumers: usize,
    /// Capacity in units of `sizer`; counts what waits and what is being sent.
    pub queue_size: u64,
    /// What the capacity counts.
    pub sizer: Sizer,
    /// Wait for room instead of refusing.
    pub block_on_overflow: bool,
    /// `Ok` only when the far end has taken the data.
    pub wait_for_result: bool,
    /// Bound in uncompressed OTLP bytes beside `queue_size`; `None`: a quarter of the memory budget.
    pub max_bytes: Option<u64>,
    /// Batching behind the queue.
    pub batch: Option<QueueBatch>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            num_consumers: 10,
            queue_size: 1000,
            sizer: Sizer::Requests,
            block_on_overflow: false,
            wait_for_result: false,
            max_bytes: None,
            batch: None,
        }
    }
}

/// `sending_queue::batch`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueBatch {
    pub flush_timeout: Duration,
    pub min_size: u64,
    /// 0: no upper bound.
    pub max_size: u64,
    /// `items` or `bytes`.
    pub sizer: Sizer,
    /// Batches are kept apart by the values of these metadata keys.
    pub partition_keys: Vec<String>,
}

impl Default for QueueBatch {
    fn default() -> Self {
        Self {
            flush_timeout: Duration::from_millis(200),
            min_size: 8192,
            max_size: 0,
            sizer: Sizer::Items,
            partition_keys: Vec::new(),
        }
    }
}

/// `retry_on_failure`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    pub enabled: bool,
    pub initial_interval: Duration,
    /// The delay is drawn from `interval * (1 +- factor)`.
    pub randomization_factor: f64,
    pub multiplier: f64,
    pub max_interval: Duration,
    /// Zero: for ever.
    pub max_elapsed_time: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            initial_interval: Duration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Duration::from_secs(300),
        }
    }
}

/// Everything between the pipeline and one attempt at the far end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// `None`: synchronous, errors go upstream.
    pub queue: Option<QueueSettings>,
    /// `None`: one attempt.
    pub retry: Option<RetrySettings>,
    /// Of one attempt; `None`: no limit.
    pub timeout: Option<Duration>,
}
