//! `timeout`, `retry_on_failure` and `sending_queue` as they hold, for `print-config`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::component::{Delivery, Durability, Overflow, QueueBatch, QueueSettings, RetrySettings, Sizer};
use crate::config::Section;
use crate::config::types::GoDuration;

/// Says what holds for the keys of these groups that nobody wrote.
pub fn settle(section: &Section, delivery: &Delivery) {
    section.settle("timeout", text(delivery.timeout.unwrap_or_default()));
    // A queue on the disk has neither of the two limits unless they are configured.
    let on_disk = delivery.queue.as_ref().is_some_and(is_on_disk);
    section.settle("retry_on_failure", retry(delivery.retry.as_ref(), on_disk));
    section.settle("sending_queue", queue(delivery.queue.as_ref(), on_disk));
}

fn is_on_disk(queue: &QueueSettings) -> bool {
    match queue.durability {
        Some(durability) => durability != Durability::Memory,
        None => queue.storage.is_some(),
    }
}

fn retry(settings: Option<&RetrySettings>, on_disk: bool) -> Value {
    let Some(settings) = settings else {
        return json!({"enabled": false});
    };
    let for_ever = on_disk && !settings.limit_is_configured;
    json!({
        "enabled": settings.enabled,
        "initial_interval": text(settings.initial_interval),
        "randomization_factor": settings.randomization_factor,
        "multiplier": settings.multiplier,
        "max_interval": text(settings.max_interval),
        "max_elapsed_time": text(if for_ever { Duration::ZERO } else { settings.max_elapsed_time }),
    })
}

fn queue(settings: Option<&QueueSettings>, on_disk: bool) -> Value {
    let Some(settings) = settings else {
        return json!({"enabled": false});
    };
    // Nor is it bounded in requests.
    let sized = !(on_disk && settings.size_is_default);
    let durability = settings.durability.map(|durability| match durability {
        Durability::Fsync => "fsync",
        Durability::Interval => "interval",
        Durability::Memory => "memory",
    });
    let overflow = match settings.overflow {
        Overflow::Refuse => "refuse",
        Overflow::DropOldest => "drop_oldest",
        Overflow::Block => "block",
    };
    json!({
        "enabled": true,
        "num_consumers": settings.num_consumers,
        "queue_size": sized.then_some(settings.queue_size),
        "sizer": sized.then(|| sizer(settings.sizer)),
        "block_on_overflow": settings.block_on_overflow,
        "wait_for_result": settings.wait_for_result,
        "durability": durability.or(on_disk.then_some("fsync")),
        "overflow": overflow,
        "max_age": text(settings.max_age),
        "max_concurrency": settings.max_concurrency,
        "batch": settings.batch.as_ref().map(batch),
    })
}

fn batch(settings: &QueueBatch) -> Value {
    json!({
        "flush_timeout": text(settings.flush_timeout),
        "min_size": settings.min_size,
        "max_size": settings.max_size,
        "sizer": sizer(settings.sizer),
    })
}

fn sizer(sizer: Sizer) -> &'static str {
    match sizer {
        Sizer::Requests => "requests",
        Sizer::Items => "items",
        Sizer::Bytes => "bytes",
    }
}

fn text(duration: Duration) -> String {
    GoDuration(duration).to_string()
}
