//! Which series a table makes, how urgent each is, and which of them are silent while nothing happens.

use super::config::Config;
use crate::aws::catalogue::Metric;
use crate::aws::cloudwatch::{Class, SeriesId, Want, ZeroFill, statistics};

/// How a series is polled.
pub fn want(metric: &Metric, series: &SeriesId, config: &Config, resource: &str, since: i64) -> Want {
    let class = class_of(metric);
    let fill = match config.zero_fill {
        ZeroFill::Core => class == Class::Sentinel || metric.metric == "UserErrors",
        ZeroFill::All => is_sparse(metric),
        ZeroFill::None => false,
    };
    Want {
        series: series.clone(),
        kind: metric.otel_kind,
        unit: metric.unit.clone(),
        statistics: statistics(metric, &config.percentiles, config.min_max),
        period: i64::from(metric.period_s),
        class,
        fill,
        resource: resource.to_owned(),
        exists_from: since,
    }
}

fn class_of(metric: &Metric) -> Class {
    match metric.metric.as_str() {
        _ if metric.period_s >= 300 => Class::Native,
        "ReadThrottleEvents" | "WriteThrottleEvents" => Class::Sentinel,
        "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits" | "SuccessfulRequestLatency" => Class::Core,
        _ => Class::Detail,
    }
}

/// Series that are asked for because the table is there, not because ListMetrics names them: a throttle that never
/// happened is invisible there, and the first one would be missed for 15 minutes.
pub fn is_described(metric: &Metric, on_demand: Option<bool>) -> bool {
    let name = metric.metric.as_str();
    match name {
        "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits" => true,
        "ProvisionedReadCapacityUnits" | "ProvisionedWriteCapacityUnits" => on_demand == Some(false),
        "OnDemandMaxReadRequestUnits" | "OnDemandMaxWriteRequestUnits" => on_demand == Some(true),
        _ => name.ends_with("ThrottleEvents"),
    }
}

/// Index-building metrics that AWS still publishes, always as 0.
pub fn is_always_zero(metric: &Metric) -> bool {
    matches!(
        metric.metric.as_str(),
        "OnlineIndexConsumedWriteCapacity" | "OnlineIndexThrottleEvents"
    )
}

/// No point means nothing happened.
fn is_sparse(metric: &Metric) -> bool {
    let name = metric.metric.as_str();
    name.ends_with("ThrottleEvents")
        || name.starts_with("FaultInjection")
        || matches!(
            name,
            "ThrottledRequests"
                | "SystemErrors"
                | "UserErrors"
                | "ConditionalCheckFailedRequests"
                | "TransactionConflict"
                | "TimeToLiveDeletedItemCount"
        )
}
