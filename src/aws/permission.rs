//! What a configured component may ask of AWS: one IAM action, and the resources it is for.

use std::borrow::Cow;

/// One action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The statement it stands in.
    pub sid: &'static str,
    /// E.g. `cloudwatch:GetMetricData`.
    pub action: &'static str,
    /// `*`, or an ARN with stars.
    pub resource: Cow<'static, str>,
}

impl Permission {
    /// An action that cannot be narrowed to a resource.
    pub const fn on_all(sid: &'static str, action: &'static str) -> Self {
        Self {
            sid,
            action,
            resource: Cow::Borrowed("*"),
        }
    }
}

/// Reading metrics.
pub const GET_METRIC_DATA: Permission = Permission::on_all("CloudWatch", "cloudwatch:GetMetricData");
/// Reading them with the free requests.
pub const GET_METRIC_STATISTICS: Permission = Permission::on_all("CloudWatch", "cloudwatch:GetMetricStatistics");
/// Finding metrics.
pub const LIST_METRICS: Permission = Permission::on_all("CloudWatch", "cloudwatch:ListMetrics");
/// Reading tags.
pub const GET_RESOURCES: Permission = Permission::on_all("Discovery", "tag:GetResources");
