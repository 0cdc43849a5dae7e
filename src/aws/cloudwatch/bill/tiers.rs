//! Classes: how urgent a series is, and what part it plays when its table or endpoint is in trouble.

use super::super::want::{Class, Shape};
use crate::aws::catalogue::{Kind, Metric};

/// Periods from here on are slow by nature.
const NATIVE_S: u32 = 300;
/// A GPU this busy is worth a closer look.
const GPU_PERCENT: f64 = 90.0;

/// How urgent a metric of the catalogue is.
pub fn class_of(metric: &Metric) -> Class {
    let name = metric.metric.as_str();
    if metric.period_s >= NATIVE_S {
        return Class::Native;
    }
    if metric.namespace == "AWS/DynamoDB" {
        return match name {
            "ReadThrottleEvents" | "WriteThrottleEvents" => Class::Sentinel,
            "ConsumedReadCapacityUnits" | "ConsumedWriteCapacityUnits" | "SuccessfulRequestLatency" => Class::Core,
            _ => Class::Detail,
        };
    }
    let endpoint = metric.namespace == "AWS/SageMaker"
        && matches!(
            name,
            "Invocations"
                | "Invocation4XXErrors"
                | "Invocation5XXErrors"
                | "ModelLatency"
                | "OverheadLatency"
                | "ApproximateBacklogSize"
                | "ApproximateBacklogSizePerInstance"
                | "ApproximateAgeOfOldestRequest"
                | "HasBacklogWithoutCapacity"
        );
    let machine = metric.namespace.starts_with("/aws/sagemaker/")
        && [
            "CPUUtilization",
            "MemoryUtilization",
            "GPUUtilization",
            "GPUMemoryUtilization",
        ]
        .iter()
        .any(|utilization| name.strip_suffix("Normalized").unwrap_or(name) == *utilization);
    if endpoint || machine {
        Class::Core
    } else {
        Class::Detail
    }
}

/// What a series does in the schedule, beyond its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Role(u8);

impl Role {
    /// A level: active while it changes. Others are active while they are not 0.
    const LEVEL: u8 = 1;
    /// Any point means that something happened.
    const EVENTS: u8 = 1 << 1;
    /// Errors are asked more often than their silence would have it.
    const ERRORS: u8 = 1 << 2;
    /// Asked every minute while its resource is in trouble.
    const EXPLAINS: u8 = 1 << 3;
    /// A value other than 0 is trouble.
    const ALARM: u8 = 1 << 4;
    /// A value of 90 % is trouble.
    const GPU: u8 = 1 << 5;
    /// The operator wants it as often as without any demotion by activity.
    const PINNED: u8 = 1 << 6;
    /// It belongs to no resource.
    const WIDE: u8 = 1 << 7;

    /// Of a series by its metric.
    pub fn of(shape: &Shape) -> Self {
        let (namespace, metric, class) = (&*shape.namespace, &*shape.metric, shape.class);
        let mut role = match shape.kind {
            Kind::Gauge => Self::LEVEL,
            Kind::Histogram => Self::EVENTS,
            Kind::SumDelta => 0,
        };
        if namespace == "AWS/DynamoDB" {
            let cause = class == Class::Detail && metric.ends_with("ThrottleEvents");
            if cause || metric == "ThrottledRequests" {
                role |= Self::EXPLAINS;
            }
            if class == Class::Sentinel {
                role |= Self::ALARM;
            }
            if matches!(metric, "SystemErrors" | "UserErrors") {
                role |= Self::ERRORS;
            }
            return Self(role);
        }
        if class == Class::Detail {
            role |= Self::EXPLAINS;
        }
        if metric == "Invocation5XXErrors" {
            role |= Self::ALARM;
        }
        if metric.starts_with("GPUUtilization") {
            role |= Self::GPU;
        }
        let counts_errors =
            namespace == "AWS/SageMaker" && (metric.ends_with("Errors") || metric.ends_with("Failures"));
        if counts_errors {
            role |= Self::ERRORS;
        }
        Self(role)
    }

    /// The same, kept at the tiered interval whatever it does.
    pub fn pinned(self) -> Self {
        Self(self.0 | Self::PINNED)
    }

    /// The same, of the whole account.
    pub fn account_wide(self) -> Self {
        Self(self.0 | Self::WIDE)
    }

    pub fn is_account_wide(self) -> bool {
        self.has(Self::WIDE)
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    pub fn is_pinned(self) -> bool {
        self.has(Self::PINNED)
    }

    /// SystemErrors, UserErrors, SageMaker's error counts.
    pub fn is_errors(self) -> bool {
        self.has(Self::ERRORS)
    }

    /// DynamoDB's causes and ThrottledRequests; the details of an endpoint.
    pub fn explains_trouble(self) -> bool {
        self.has(Self::EXPLAINS)
    }

    /// Whether this value means trouble at its resource.
    pub fn is_trouble(self, value: f64) -> bool {
        (self.has(Self::ALARM) && value != 0.0) || (self.has(Self::GPU) && value >= GPU_PERCENT)
    }

    /// Whether a value shows that something goes on; `before`: the value one period earlier, where known.
    pub fn is_active(self, value: f64, before: Option<f64>) -> bool {
        if self.has(Self::LEVEL) {
            return before.is_some_and(|before| before != value);
        }
        self.has(Self::EVENTS) || value != 0.0
    }
}
