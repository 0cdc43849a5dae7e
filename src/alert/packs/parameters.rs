//! What of the shipped rules can be set: `packs: {dynamodb: {thresholds: {latency_p99_ms: 200}}}`.

use crate::config::Section;

/// A rule by its alert, and by its severity where several rules have the name.
#[derive(Clone, Copy, Debug)]
pub struct RuleName {
    pub alert: &'static str,
    pub severity: &'static str,
}

/// What kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any number that is not negative.
    Number,
    /// A share of one: above 0, at most 1.
    Share,
    /// `7d`, `90s`: seconds in the rule.
    Duration,
}

/// A threshold.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    /// As it stands in the rules, behind a comparison.
    pub default: &'static str,
    pub kind: Kind,
    pub rules: &'static [RuleName],
}

/// A label by which a pack can be narrowed.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub label: &'static str,
    /// Beginnings of the names of metrics that have it.
    metrics: &'static [&'static str],
    /// Beginnings of those that do not, though `metrics` says so.
    except: &'static [&'static str],
}

impl Filter {
    /// Whether a metric has the label.
    pub fn applies_to(&self, metric: &str) -> bool {
        let any = |beginnings: &[&str]| beginnings.iter().any(|beginning| metric.starts_with(beginning));
        any(self.metrics) && !any(self.except)
    }
}

impl Parameter {
    /// The value as it is written into the rules; `None` where it was not one, which has been reported.
    pub fn read(&self, section: &Section) -> Option<String> {
        let (is_good, expected): (fn(f64) -> bool, _) = match self.kind {
            Kind::Number => (|number| number >= 0.0, "expected a number that is not negative"),
            Kind::Share => (
                |share| share > 0.0 && share <= 1.0,
                "expected a share above 0 and at most 1, e.g. 0.8",
            ),
            Kind::Duration => {
                let text = section.read::<String>()?;
                let seconds = seconds(&text);
                if seconds.is_none() {
                    section.error(EXPECTED_DURATION);
                }
                return seconds.map(|seconds| seconds.to_string());
            }
        };
        let value = section.read::<f64>()?;
        if !value.is_finite() || !is_good(value) {
            section.error(expected);
            return None;
        }
        Some(value.to_string())
    }
}

/// What is said of a duration that is none.
pub const EXPECTED_DURATION: &str = "expected a duration such as 7d, 12h or 90s";

/// A duration in Prometheus' grammar, in whole seconds: `1d12h`, units w d h m s.
pub fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

const fn all(alert: &'static str) -> RuleName {
    RuleName { alert, severity: "" }
}

const fn of(alert: &'static str, severity: &'static str) -> RuleName {
    RuleName { alert, severity }
}

const fn number(name: &'static str, default: &'static str, rules: &'static [RuleName]) -> Parameter {
    let kind = Kind::Number;
    Parameter {
        name,
        default,
        kind,
        rules,
    }
}

const fn share(name: &'static str, default: &'static str, rules: &'static [RuleName]) -> Parameter {
    let kind = Kind::Share;
    Parameter {
        name,
        default,
        kind,
        rules,
    }
}

const fn duration(name: &'static str, default: &'static str, rules: &'static [RuleName]) -> Parameter {
    let kind = Kind::Duration;
    Parameter {
        name,
        default,
        kind,
        rules,
    }
}

const fn label(label: &'static str, metrics: &'static [&'static str], except: &'static [&'static str]) -> Filter {
    Filter { label, metrics, except }
}

pub(super) const DYNAMODB: &[Parameter] = &[
    number("throttled_requests", "0", &[all("DynamoDBThrottledRequests")]),
    number("throttled_per_minute", "1", &[all("DynamoDBThrottlingDetected")]),
    number("table_throttle_events", "0", &[all("DynamoDBTableThrottleEvents")]),
    number("gsi_throttle_events", "0", &[all("DynamoDBGsiThrottled")]),
    number("hot_partition_events", "0", &[all("DynamoDBHotPartition")]),
    number("system_errors", "0", &[all("DynamoDBSystemErrors")]),
    number("system_errors_per_minute", "1", &[all("DynamoDBSystemErrorsDetected")]),
    number(
        "item_collection_warning_bytes",
        "7e9",
        &[of("DynamoDBItemCollectionSize", "warning")],
    ),
    number(
        "item_collection_critical_bytes",
        "9e9",
        &[of("DynamoDBItemCollectionSize", "critical")],
    ),
    number("latency_p99_ms", "100", &[all("DynamoDBLatencyP99High")]),
    number(
        "latency_average_warning_ms",
        "50",
        &[of("DynamoDBLatencyAverageHigh", "warning")],
    ),
    number(
        "latency_average_critical_ms",
        "100",
        &[of("DynamoDBLatencyAverageHigh", "critical")],
    ),
    share(
        "capacity_high",
        "0.80",
        &[all("DynamoDBReadCapacityHigh"), all("DynamoDBWriteCapacityHigh")],
    ),
    share(
        "capacity_elevated",
        "0.70",
        &[
            all("DynamoDBReadCapacityElevated"),
            all("DynamoDBWriteCapacityElevated"),
        ],
    ),
    number(
        "replication_latency_ms",
        "30000",
        &[all("DynamoDBReplicationLatencyHigh")],
    ),
    number("item_count_growth", "0.20", &[all("DynamoDBItemCountGrowth")]),
    share("client_retries", "0.05", &[of("DynamoDBClientRetries", "warning")]),
];

pub(super) const DYNAMODB_FILTERS: &[Filter] = &[
    label(
        "TableName",
        &["aws_dynamodb_", "dynamodb_"],
        &["aws_dynamodb_user_errors_"],
    ),
    // What clients tell has no account.
    label(
        "account_id",
        &["aws_dynamodb_"],
        &["aws_dynamodb_item_collection_size_"],
    ),
    label("region", &["aws_dynamodb_", "dynamodb_"], &[]),
];

pub(super) const XRAY: &[Parameter] = &[
    duration("expiry_warning", "604800", &[of("XRayTraceRetentionExpiry", "warning")]),
    duration(
        "expiry_critical",
        "172800",
        &[of("XRayTraceRetentionExpiry", "critical")],
    ),
    share("traces_drop", "0.5", &[all("XRayTracesProcessedDrop")]),
    share("sampling_cut", "0.5", &[all("XRaySamplingRateCut")]),
    share("fault_rate_warning", "0.01", &[of("XRayServiceFaultRate", "warning")]),
    share("fault_rate_critical", "0.05", &[of("XRayServiceFaultRate", "critical")]),
    number("fault_rate_requests", "100", &[all("XRayServiceFaultRate")]),
];

pub(super) const XRAY_FILTERS: &[Filter] = &[
    label("account_id", &["aws_xray_"], &[]),
    label("region", &["aws_xray_"], &[]),
    label("service", &["aws_xray_service_"], &[]),
];

pub(super) const SAGEMAKER: &[Parameter] = &[
    share(
        "invocation_5xx_warning",
        "0.01",
        &[of("SageMakerInvocation5xx", "warning")],
    ),
    share(
        "invocation_5xx_critical",
        "0.05",
        &[of("SageMakerInvocation5xx", "critical")],
    ),
    share("model_errors", "0.01", &[all("SageMakerModelErrors")]),
    share("invocation_4xx", "0.05", &[all("SageMakerInvocation4xx")]),
    number(
        "requests",
        "20",
        &[
            all("SageMakerInvocation5xx"),
            all("SageMakerModelErrors"),
            all("SageMakerInvocation4xx"),
        ],
    ),
    number("model_latency_p99_us", "1000000", &[all("SageMakerModelLatencyP99")]),
    number("overhead_latency_us", "500000", &[all("SageMakerOverheadLatency")]),
    number("cpu_warning_percent", "80", &[of("SageMakerCpuHigh", "warning")]),
    number("cpu_critical_percent", "95", &[of("SageMakerCpuHigh", "critical")]),
    number("memory_warning_percent", "80", &[of("SageMakerMemoryHigh", "warning")]),
    number(
        "memory_critical_percent",
        "95",
        &[of("SageMakerMemoryHigh", "critical")],
    ),
    number("gpu_warning_percent", "80", &[of("SageMakerGpuHigh", "warning")]),
    number("gpu_critical_percent", "95", &[of("SageMakerGpuHigh", "critical")]),
    number(
        "gpu_memory_warning_percent",
        "80",
        &[of("SageMakerGpuMemoryHigh", "warning")],
    ),
    number(
        "gpu_memory_critical_percent",
        "95",
        &[of("SageMakerGpuMemoryHigh", "critical")],
    ),
    number("disk_warning_percent", "80", &[of("SageMakerDiskHigh", "warning")]),
    number("disk_critical_percent", "90", &[of("SageMakerDiskHigh", "critical")]),
    number("gpu_idle_percent", "10", &[all("SageMakerGpuIdle")]),
    share("cache_hits", "0.5", &[all("SageMakerModelCacheMiss")]),
    number("model_loading_us", "5000000", &[all("SageMakerModelLoadSlow")]),
    number("cold_start_us", "10000000", &[all("SageMakerColdStart")]),
    duration("async_backlog_age", "600", &[all("SageMakerAsyncBacklogAge")]),
    share("feature_store_5xx", "0.01", &[all("SageMakerFeatureStore5xx")]),
];

pub(super) const SAGEMAKER_FILTERS: &[Filter] = &[
    label("account_id", &["aws_sagemaker_"], &[]),
    label("region", &["aws_sagemaker_"], &[]),
    // Leaves out inference components, which have a name of their own.
    label(
        "EndpointName",
        &["aws_sagemaker_"],
        &[
            "aws_sagemaker_featurestore_",
            "aws_sagemaker_inferencecomponents_",
            "aws_sagemaker_job_",
            "aws_sagemaker_labelingjobs_",
            "aws_sagemaker_modelbuildingpipeline_",
            "aws_sagemaker_modelmonitoring_",
            "aws_sagemaker_monitor_",
            "aws_sagemaker_trainingjobs_",
        ],
    ),
    label("PipelineName", &["aws_sagemaker_modelbuildingpipeline_"], &[]),
    label("FeatureGroupName", &["aws_sagemaker_featurestore_"], &[]),
];

pub(super) const SELF: &[Parameter] = &[
    share(
        "cloudwatch_budget_warning",
        "0.8",
        &[of("RadiosondeCloudWatchBudget", "warning")],
    ),
    duration("clock_skew", "30", &[all("RadiosondeClockSkew")]),
    duration("evaluation_late", "60", &[all("RadiosondeEvaluationLate")]),
    number("late_points", "100", &[all("RadiosondeLatePointsHigh")]),
    share("queue_near_full", "0.8", &[all("RadiosondeQueueNearFull")]),
    duration(
        "certificate_warning",
        "1209600",
        &[of("RadiosondeCertificateExpiring", "warning")],
    ),
    duration(
        "certificate_critical",
        "259200",
        &[of("RadiosondeCertificateExpiring", "critical")],
    ),
];
