//! How urgent a series is, and which of them are silent while nothing happens.

use super::config::Config;
use crate::aws::catalogue::Metric;
use crate::aws::cloudwatch::bill::class_of;
use crate::aws::cloudwatch::{Class, Names, Shape, ZeroFill, statistics};

/// How the series of a metric are polled.
pub fn shape(metric: &Metric, config: &Config, names: &mut Names) -> Shape {
    let class = class_of(metric);
    let fill = match config.zero_fill {
        ZeroFill::Core => class == Class::Sentinel || metric.metric == "UserErrors",
        ZeroFill::All => is_sparse(metric),
        ZeroFill::None => false,
    };
    Shape {
        namespace: names.name(&metric.namespace),
        metric: names.name(&metric.metric),
        kind: metric.otel_kind,
        unit: names.name(&metric.unit),
        statistics: statistics(metric, &config.taste),
        period: i64::from(metric.period_s),
        class,
        fill,
        heartbeat: is_heartbeat(metric),
    }
}

/// Published while nothing happens: consumed units (0 while idle), provisioned ones, and the account's maxima.
fn is_heartbeat(metric: &Metric) -> bool {
    let name = metric.metric.as_str();
    matches!(
        name,
        "ConsumedReadCapacityUnits"
            | "ConsumedWriteCapacityUnits"
            | "ProvisionedReadCapacityUnits"
            | "ProvisionedWriteCapacityUnits"
    ) || name.starts_with("AccountMax")
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

/// Index-building metrics that AWS still publishes, always as 0: they cost, so somebody has to name them.
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
