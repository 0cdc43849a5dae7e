//! Reads `timeout`, `retry_on_failure` and `sending_queue`: the keys that every sending exporter shares.
//!
//! Only reads and validates; `queue` carries the settings out. Keys, defaults and rules are the Collector's
//! exporterhelper (`QueueSettings`, `BackOffConfig`, `TimeoutConfig`).

use serde::{Deserialize, Serialize};

use super::delivery_shown;
use crate::component::{Delivery, Durability, Overflow, QueueBatch, QueueSettings, RetrySettings, Sizer};
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration};

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct TimeoutKey {
    timeout: Option<GoDuration>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct RetryKeys {
    enabled: Option<bool>,
    initial_interval: Option<GoDuration>,
    randomization_factor: Option<f64>,
    multiplier: Option<f64>,
    max_interval: Option<GoDuration>,
    max_elapsed_time: Option<GoDuration>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct QueueKeys {
    enabled: Option<bool>,
    num_consumers: Option<u64>,
    queue_size: Option<u64>,
    sizer: Option<SizerName>,
    block_on_overflow: Option<bool>,
    wait_for_result: Option<bool>,
    max_bytes: Option<ByteSize>,
    storage: Option<String>,
    durability: Option<DurabilityName>,
    interval: Option<GoDuration>,
    overflow: Option<OverflowName>,
    max_age: Option<GoDuration>,
    max_concurrency: Option<u64>,
    dead_letter: Option<String>,
}

#[derive(Deserialize, Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum DurabilityName {
    Fsync,
    Interval,
    Memory,
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Fsync => Durability::Fsync,
            DurabilityName::Interval => Durability::Interval,
            DurabilityName::Memory => Durability::Memory,
        }
    }
}

#[derive(Deserialize, Serialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum OverflowName {
    Refuse,
    DropOldest,
    Block,
}

impl From<OverflowName> for Overflow {
    fn from(name: OverflowName) -> Self {
        match name {
            OverflowName::Refuse => Overflow::Refuse,
            OverflowName::DropOldest => Overflow::DropOldest,
            OverflowName::Block => Overflow::Block,
        }
    }
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct BatchKeys {
    flush_timeout: Option<GoDuration>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    sizer: Option<SizerName>,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct PartitionKeys {
    metadata_keys: Vec<String>,
}

#[derive(Deserialize, Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum SizerName {
    Requests,
    Items,
    Bytes,
}

impl From<SizerName> for Sizer {
    fn from(name: SizerName) -> Self {
        match name {
            SizerName::Requests => Sizer::Requests,
            SizerName::Items => Sizer::Items,
            SizerName::Bytes => Sizer::Bytes,
        }
    }
}

/// Takes `timeout`, `retry_on_failure` and `sending_queue` from an exporter's section. What is absent stays as in
/// `defaults`; problems are reported to the section and a default stands in.
pub fn read(section: &Section, defaults: Delivery) -> Delivery {
    let delivery = Delivery {
        timeout: read_timeout(section, defaults.timeout),
        retry: read_retry(section, defaults.retry),
        queue: read_queue(section, defaults.queue),
    };
    delivery_shown::settle(section, &delivery);
    delivery
}

fn read_timeout(section: &Section, default: Option<std::time::Duration>) -> Option<std::time::Duration> {
    let keys: TimeoutKey = section.read().unwrap_or_default();
    match keys.timeout {
        None => default,
        // As in the Collector: zero is "no limit".
        Some(GoDuration(timeout)) if timeout.is_zero() => None,
        Some(GoDuration(timeout)) => Some(timeout),
    }
}

fn read_retry(section: &Section, default: Option<RetrySettings>) -> Option<RetrySettings> {
    let Some(section) = section.take("retry_on_failure") else {
        return default;
    };
    let keys: RetryKeys = section.read().unwrap_or_default();
    let base = default.unwrap_or_default();
    let enabled = keys.enabled.unwrap_or(base.enabled);
    let settings = RetrySettings {
        enabled,
        initial_interval: keys.initial_interval.map_or(base.initial_interval, |value| value.0),
        randomization_factor: keys.randomization_factor.unwrap_or(base.randomization_factor),
        multiplier: keys.multiplier.unwrap_or(base.multiplier),
        max_interval: keys.max_interval.map_or(base.max_interval, |value| value.0),
        max_elapsed_time: keys.max_elapsed_time.map_or(base.max_elapsed_time, |value| value.0),
        limit_is_configured: keys.max_elapsed_time.is_some(),
    };
    if !enabled {
        return None;
    }
    check_retry(&section, &settings);
    Some(settings)
}

fn check_retry(section: &Section, settings: &RetrySettings) {
    if !(0.0..=1.0).contains(&settings.randomization_factor) {
        section.error_at("randomization_factor", "must be between 0 and 1");
    }
    if !(settings.multiplier.is_finite() && settings.multiplier >= 0.0) {
        section.error_at("multiplier", "must be a number that is not negative");
    }
    let limited = !settings.max_elapsed_time.is_zero();
    if limited && settings.max_elapsed_time < settings.initial_interval {
        section.error_at("max_elapsed_time", "must not be less than `initial_interval`");
    } else if limited && settings.max_elapsed_time < settings.max_interval {
        section.error_at("max_elapsed_time", "must not be less than `max_interval`");
    }
}

fn read_queue(section: &Section, default: Option<QueueSettings>) -> Option<QueueSettings> {
    let Some(section) = section.take("sending_queue") else {
        return default;
    };
    let keys: QueueKeys = section.read().unwrap_or_default();
    if keys.dead_letter.as_deref() == Some("") {
        section.error_at("dead_letter", "must name a directory");
    }
    let base = default.unwrap_or_default();
    let sizer = keys.sizer.map_or(base.sizer, Sizer::from);
    let settings = QueueSettings {
        num_consumers: keys.num_consumers.map_or(base.num_consumers, to_usize),
        queue_size: keys.queue_size.unwrap_or(base.queue_size),
        sizer,
        block_on_overflow: keys.block_on_overflow.unwrap_or(base.block_on_overflow),
        wait_for_result: keys.wait_for_result.unwrap_or(base.wait_for_result),
        max_bytes: keys.max_bytes.map(|size| size.0).or(base.max_bytes),
        batch: read_batch(&section, sizer),
        size_is_default: keys.queue_size.is_none() && keys.sizer.is_none(),
        durability: keys.durability.map(Durability::from).or(base.durability),
        interval: keys.interval.map_or(base.interval, |value| value.0),
        storage: keys.storage.clone().or(base.storage),
        storage_dir: None,
        dead_letter: keys
            .dead_letter
            .as_ref()
            .map(std::path::PathBuf::from)
            .or(base.dead_letter),
        overflow: keys.overflow.map_or(base.overflow, Overflow::from),
        max_age: keys.max_age.map_or(base.max_age, |value| value.0),
        max_concurrency: keys.max_concurrency.map(to_usize).or(base.max_concurrency),
    };
    if keys.enabled == Some(false) {
        if settings.storage.is_some() {
            section.warn_at("storage", "has no effect: the queue is switched off");
        }
        return None;
    }
    check_queue(&section, &settings);
    check_durable(&section, &settings);
    if keys.interval.is_some() && settings.durability != Some(Durability::Interval) {
        section.warn_at("interval", "has no effect without `durability: interval`");
    }
    Some(settings)
}

fn check_queue(section: &Section, settings: &QueueSettings) {
    if settings.num_consumers == 0 {
        section.error_at("num_consumers", "must be at least 1");
    }
    if settings.queue_size == 0 {
        section.error_at("queue_size", "must be at least 1");
    }
    if settings.max_bytes == Some(0) {
        section.error_at("max_bytes", "must be at least 1");
    }
    let Some(batch) = &settings.batch else {
        return;
    };
    if batch.sizer == settings.sizer && batch.min_size > settings.queue_size {
        section.error_at(
            "batch::min_size",
            "must not be more than `queue_size`: the batch would never fill",
        );
    }
}

/// Keys of the durable queue that cannot work, or do not go together.
fn check_durable(section: &Section, settings: &QueueSettings) {
    if settings.max_concurrency == Some(0) {
        section.error_at("max_concurrency", "must be at least 1");
    }
    if settings.interval.is_zero() {
        section.error_at(
            "interval",
            "must be more than zero; `durability: fsync` syncs before it answers",
        );
    }
    let in_memory = settings.durability == Some(Durability::Memory);
    if in_memory && settings.overflow == Overflow::DropOldest {
        section.error_at("overflow", "`drop_oldest` needs a durable queue");
    }
    if in_memory && settings.storage.is_some() {
        section.warn_at("storage", "has no effect with `durability: memory`");
    }
    if settings.block_on_overflow && settings.overflow == Overflow::DropOldest {
        section.error_at("overflow", "`drop_oldest` and `block_on_overflow` exclude each other");
    }
}

fn read_batch(queue: &Section, queue_sizer: Sizer) -> Option<QueueBatch> {
    let section = queue.take("batch")?;
    let keys: BatchKeys = section.read().unwrap_or_default();
    let partition: PartitionKeys = section
        .take("partition")
        .and_then(|partition| partition.read())
        .unwrap_or_default();
    // The Collector takes the queue's sizer where it can be a batch's, and items otherwise.
    let inherited = match queue_sizer {
        Sizer::Requests => Sizer::Items,
        other => other,
    };
    let batch = QueueBatch {
        flush_timeout: keys
            .flush_timeout
            .map_or(std::time::Duration::from_millis(200), |value| value.0),
        min_size: keys.min_size.unwrap_or(8192),
        max_size: keys.max_size.unwrap_or(0),
        sizer: keys.sizer.map_or(inherited, Sizer::from),
        partition_keys: partition.metadata_keys,
    };
    if batch.sizer == Sizer::Requests {
        section.error_at("sizer", "a batch is sized in `items` or `bytes`");
    }
    if batch.flush_timeout.is_zero() {
        section.error_at("flush_timeout", "must be more than zero");
    }
    if batch.max_size != 0 && batch.max_size < batch.min_size {
        section.error_at("max_size", "must be 0 or at least `min_size`");
    }
    Some(batch)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn defaults() -> Delivery {
        Delivery {
            queue: Some(QueueSettings::default()),
            retry: Some(RetrySettings::default()),
            timeout: Some(Duration::from_secs(5)),
        }
    }

    fn read_yaml(yaml: &str) -> (Delivery, Vec<String>) {
        let section = Section::from_yaml(yaml);
        let delivery = read(&section, defaults());
        (delivery, section.problems())
    }

    #[test]
    fn absent_keys_keep_the_defaults() {
        let (delivery, problems) = read_yaml("{}");
        assert_eq!(delivery, defaults());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn reads_every_key() {
        let (delivery, problems) = read_yaml(
            "timeout: 7s\nretry_on_failure: {initial_interval: 1s, randomization_factor: 0, multiplier: 2, \
             max_interval: 3s, max_elapsed_time: 0s}\nsending_queue: {num_consumers: 2, queue_size: 100000, \
             sizer: items, block_on_overflow: true, wait_for_result: true, batch: {flush_timeout: 1s, min_size: 10, \
             max_size: 20, partition: {metadata_keys: [tenant]}}}",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(delivery.timeout, Some(Duration::from_secs(7)));
        let retry = delivery.retry.unwrap();
        assert_eq!(retry.max_elapsed_time, Duration::ZERO);
        assert_eq!(retry.multiplier, 2.0);
        let queue = delivery.queue.unwrap();
        assert_eq!(
            (queue.num_consumers, queue.queue_size, queue.sizer),
            (2, 100_000, Sizer::Items)
        );
        assert!(queue.block_on_overflow && queue.wait_for_result);
        let batch = queue.batch.unwrap();
        assert_eq!((batch.min_size, batch.max_size, batch.sizer), (10, 20, Sizer::Items));
        assert_eq!(batch.partition_keys, ["tenant"]);
    }

    #[test]
    fn switched_off_means_none_and_zero_timeout_means_no_limit() {
        let (delivery, problems) =
            read_yaml("timeout: 0s\nretry_on_failure: {enabled: false}\nsending_queue: {enabled: false}");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(delivery, Delivery::default());
    }

    #[test]
    fn a_null_section_is_on_with_defaults() {
        let section = Section::from_yaml("sending_queue:\nretry_on_failure:");
        let delivery = read(&section, Delivery::default());
        assert_eq!(delivery.queue, Some(QueueSettings::default()));
        assert_eq!(delivery.retry, Some(RetrySettings::default()));
    }

    #[test]
    fn reads_the_keys_of_the_durable_queue() {
        let (delivery, problems) = read_yaml(
            "retry_on_failure: {max_elapsed_time: 10m}\nsending_queue: {storage: file_storage/a, durability: interval, \
             interval: 20ms, overflow: drop_oldest, max_age: 1h, max_bytes: 1GiB, max_concurrency: 8}",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let queue = delivery.queue.unwrap();
        assert_eq!(queue.storage.as_deref(), Some("file_storage/a"));
        assert_eq!(queue.durability, Some(Durability::Interval));
        assert_eq!((queue.overflow, queue.max_concurrency), (Overflow::DropOldest, Some(8)));
        assert_eq!(
            (queue.interval, queue.max_age),
            (Duration::from_millis(20), Duration::from_secs(3600))
        );
        assert!(queue.size_is_default && delivery.retry.unwrap().limit_is_configured);
    }

    #[test]
    fn a_dead_letter_is_a_directory() {
        let (delivery, problems) = read_yaml("sending_queue: {dead_letter: refused}");
        assert_eq!(problems, [] as [String; 0]);
        assert_eq!(delivery.queue.unwrap().dead_letter, Some("refused".into()));
        let (_, problems) = read_yaml("sending_queue: {dead_letter: ''}");
        assert!(problems[0].contains("must name a directory"), "{problems:?}");
    }

    #[test]
    fn refuses_settings_that_cannot_work() {
        for (yaml, text) in [
            ("sending_queue: {num_consumers: 0}", "at least 1"),
            ("sending_queue: {queue_size: 0}", "at least 1"),
            ("sending_queue: {max_concurrency: 0}", "at least 1"),
            ("sending_queue: {interval: 0s}", "more than zero"),
            ("sending_queue: {durability: memory, overflow: drop_oldest}", "durable"),
            (
                "sending_queue: {block_on_overflow: true, overflow: drop_oldest}",
                "exclude",
            ),
            ("sending_queue: {durability: disk}", "durability"),
            ("sending_queue: {batch: {max_size: 5}}", "at least `min_size`"),
            ("sending_queue: {batch: {sizer: requests}}", "`items` or `bytes`"),
            ("sending_queue: {sizer: items, batch: {}}", "`queue_size`"),
            ("retry_on_failure: {randomization_factor: 2}", "between 0 and 1"),
            ("retry_on_failure: {max_elapsed_time: 1s}", "`initial_interval`"),
        ] {
            let (_, problems) = read_yaml(yaml);
            assert!(
                problems.iter().any(|problem| problem.contains(text)),
                "{yaml}: {problems:?}"
            );
        }
    }
}
