//! How an exporter wants its data delivered: the settings of queue, retry and timeout (the Collector's exporterhelper).
//!
//! The settings live here because a plan names them; `queue` carries them out; the graph puts both together.

use std::path::PathBuf;
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

/// How safe the content of a queue is when the sender has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: neither a crash nor a power cut takes it.
    Fsync,
    /// In a file: a crash does not take it, a power cut what the last `interval` brought.
    Interval,
    /// In memory only.
    Memory,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Says so.
    #[default]
    Refuse,
    /// Gives up its oldest data, counted. Durable queues only.
    DropOldest,
    /// Lets the sender wait.
    Block,
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
    /// `queue_size` was not configured.
    pub size_is_default: bool,
    /// Unset: `Fsync` where there is a place for it, else `Memory`.
    pub durability: Option<Durability>,
    /// Between two syncs of `Durability::Interval`.
    pub interval: Duration,
    /// The extension that names the place.
    pub storage: Option<String>,
    /// What it names; filled in by the graph. Relative to the state directory, where there is one.
    pub storage_dir: Option<PathBuf>,
    pub overflow: Overflow,
    /// Older data is dropped from a durable queue; zero: never.
    pub max_age: Duration,
    /// As many requests as the far end bears are sent at the same time, from one to this; unset: 64 for a durable queue,
    /// always `num_consumers` for one in memory.
    pub max_concurrency: Option<usize>,
    /// The directory in which what was refused for good is kept. Relative to the state directory, where there is one.
    pub dead_letter: Option<PathBuf>,
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
            size_is_default: true,
            durability: None,
            interval: Duration::from_millis(50),
            storage: None,
            storage_dir: None,
            overflow: Overflow::Refuse,
            max_age: Duration::from_secs(72 * 3600),
            max_concurrency: None,
            dead_letter: None,
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
    /// `max_elapsed_time` was configured; a durable queue has no such limit unless it was.
    pub limit_is_configured: bool,
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
            limit_is_configured: false,
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
