//! CloudWatch's metrics under their Prometheus names, and what the absence of a point means for each.

use super::Missing;
use crate::alert::store::Fill;

/// A metric of CloudWatch and one statistic of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsMetric {
    /// Without the statistic.
    pub base: String,
    /// `sum`, `average`, `p99`, ...
    pub statistic: String,
}

const STATISTICS: [&str; 5] = ["sum", "average", "minimum", "maximum", "sample_count"];

/// Takes a Prometheus name apart; `None` where it is not that of a CloudWatch metric.
pub fn aws_metric(name: &str) -> Option<AwsMetric> {
    let rest = name.strip_prefix("aws_")?;
    for statistic in STATISTICS {
        if let Some(base) = rest.strip_suffix(statistic).and_then(|base| base.strip_suffix('_')) {
            return Some(AwsMetric {
                base: base.to_owned(),
                statistic: statistic.to_owned(),
            });
        }
    }
    let (base, statistic) = rest.rsplit_once('_')?;
    let percent = statistic.strip_prefix('p')?;
    let is_percentile = !percent.is_empty() && percent.bytes().all(|byte| byte.is_ascii_digit());
    is_percentile.then(|| AwsMetric {
        base: base.to_owned(),
        statistic: statistic.to_owned(),
    })
}

/// `AWS/DynamoDB`, `ThrottledRequests` -> `dynamodb_throttled_requests`.
pub fn base_name(namespace: &str, metric: &str) -> String {
    let namespace = namespace.trim_start_matches('/');
    let namespace = namespace
        .strip_prefix("AWS/")
        .or_else(|| namespace.strip_prefix("aws/"))
        .unwrap_or(namespace);
    let mut name = String::with_capacity(namespace.len() + metric.len() + 8);
    for character in namespace.chars() {
        name.push(if character.is_ascii_alphanumeric() {
            character.to_ascii_lowercase()
        } else {
            '_'
        });
    }
    name.push('_');
    push_snake(metric, &mut name);
    name
}

/// `Invocation5XXErrors` -> `invocation_5xx_errors`.
fn push_snake(text: &str, out: &mut String) {
    let characters: Vec<char> = text.chars().collect();
    for (position, character) in characters.iter().enumerate() {
        if !character.is_ascii_alphanumeric() {
            out.push('_');
            continue;
        }
        let before = position.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(position + 1);
        let begins = match before {
            None => false,
            Some(before) if character.is_ascii_uppercase() => {
                before.is_ascii_lowercase()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
            }
            Some(before) => character.is_ascii_digit() && before.is_ascii_lowercase(),
        };
        if begins {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
}

/// `SampleCount`, `p99.9` as they stand in names.
pub fn statistic_name(statistic: &str) -> String {
    let mut name = String::new();
    push_snake(statistic, &mut name);
    name
}

/// What a period without a point means, by the metric's Prometheus name.
pub fn default_missing(name: &str) -> Option<Missing> {
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    if matches!(name, "aws_dynamodb_item_count" | "aws_dynamodb_table_size_bytes") {
        return Some(Missing::Hold(24 * HOUR));
    }
    let AwsMetric { base, statistic } = aws_metric(name)?;
    let (namespace, metric) = base.split_once('_')?;
    if statistic == "average" || statistic.starts_with('p') {
        let is_level = metric.contains("provisioned_") || metric.starts_with("on_demand_max");
        if !is_level && (metric.contains("errors") || metric.contains("latency")) {
            return Some(Missing::Ignore);
        }
    }
    Some(match namespace {
        "dynamodb" => match metric {
            _ if metric.ends_with("throttle_events") => Missing::Zero,
            "throttled_requests"
            | "system_errors"
            | "user_errors"
            | "conditional_check_failed_requests"
            | "transaction_conflict"
            | "failed_to_replicate_record_count"
            | "time_to_live_deleted_item_count" => Missing::Zero,
            _ if metric.starts_with("consumed_") => Missing::NoData(15 * MINUTE),
            _ if metric.starts_with("provisioned_")
                || metric.starts_with("on_demand_max")
                || metric.starts_with("account_")
                || metric.starts_with("max_provisioned") =>
            {
                Missing::Hold(30 * MINUTE)
            }
            _ => Missing::Ignore,
        },
        "sagemaker" => match metric {
            _ if metric.starts_with("endpoints_") && metric.contains("utilization") => Missing::NoData(10 * MINUTE),
            _ if metric.starts_with("inferencecomponents_") => Missing::NoData(10 * MINUTE),
            _ if metric.contains("jobs_") && metric.contains("utilization") => Missing::Ok,
            _ if metric.starts_with("approximate_") || metric.contains("backlog") => Missing::Hold(5 * MINUTE),
            _ if matches!(statistic.as_str(), "sum" | "sample_count") => Missing::Zero,
            _ => Missing::Ignore,
        },
        "xray" if metric == "approximate_trace_count" => Missing::Zero,
        _ => return None,
    })
}

/// Labels as the store takes them, and the name of the metric among them.
pub fn texts_and_name(labels: &[(String, String)]) -> (Vec<(&str, &str)>, &str) {
    let texts: Vec<(&str, &str)> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let name = texts
        .iter()
        .find(|(name, _)| *name == "__name__")
        .map_or("", |(_, value)| *value);
    (texts, name)
}

/// What stands in place of missing points of a metric.
pub fn default_fill(name: &str) -> Fill {
    default_missing(name).map_or(Fill::None, Missing::fill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for (namespace, metric, base) in [
            ("AWS/DynamoDB", "ThrottledRequests", "dynamodb_throttled_requests"),
            (
                "AWS/SageMaker",
                "Invocation5XXErrors",
                "sagemaker_invocation_5xx_errors",
            ),
            (
                "/aws/sagemaker/Endpoints",
                "CPUUtilization",
                "sagemaker_endpoints_cpu_utilization",
            ),
            (
                "/aws/sagemaker/Endpoints",
                "GPUMemoryUtilizationNormalized",
                "sagemaker_endpoints_gpu_memory_utilization_normalized",
            ),
            (
                "AWS/SageMaker/FeatureStore",
                "Operation5XXErrors",
                "sagemaker_featurestore_operation_5xx_errors",
            ),
        ] {
            assert_eq!(base_name(namespace, metric), base);
        }
        let parsed = aws_metric("aws_dynamodb_successful_request_latency_p99").unwrap();
        assert_eq!(
            (parsed.base.as_str(), parsed.statistic.as_str()),
            ("dynamodb_successful_request_latency", "p99")
        );
        assert_eq!(
            aws_metric("aws_dynamodb_x_sample_count").unwrap().statistic,
            "sample_count"
        );
        assert_eq!(aws_metric("aws_dynamodb_item_count"), None);
    }

    #[test]
    fn absence_means_what_the_table_says() {
        for (name, missing) in [
            ("aws_dynamodb_throttled_requests_sum", Missing::Zero),
            (
                "aws_dynamodb_read_key_range_throughput_throttle_events_sum",
                Missing::Zero,
            ),
            (
                "aws_dynamodb_consumed_read_capacity_units_sum",
                Missing::NoData(900_000),
            ),
            ("aws_dynamodb_successful_request_latency_p99", Missing::Ignore),
            (
                "aws_dynamodb_provisioned_read_capacity_units_average",
                Missing::Hold(1_800_000),
            ),
            ("aws_dynamodb_account_max_reads_maximum", Missing::Hold(1_800_000)),
            ("aws_dynamodb_item_count", Missing::Hold(86_400_000)),
            ("aws_dynamodb_replication_latency_average", Missing::Ignore),
            ("aws_sagemaker_invocations_sum", Missing::Zero),
            ("aws_sagemaker_invocation_5xx_errors_sum", Missing::Zero),
            ("aws_sagemaker_invocation_5xx_errors_average", Missing::Ignore),
            (
                "aws_sagemaker_endpoints_cpu_utilization_average",
                Missing::NoData(600_000),
            ),
            ("aws_sagemaker_trainingjobs_gpu_utilization_average", Missing::Ok),
            ("aws_sagemaker_approximate_backlog_size_average", Missing::Hold(300_000)),
            ("aws_xray_approximate_trace_count_sum", Missing::Zero),
        ] {
            assert_eq!(default_missing(name), Some(missing), "{name}");
        }
        assert_eq!(default_missing("http_requests_total"), None);
    }
}
