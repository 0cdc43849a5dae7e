//! Prometheus names of OTLP metrics: the standard translation, and CloudWatch's own.

use crate::alert::rules::metrics::base_name;
use crate::wire::MetricKind;

/// Units as Prometheus spells them out.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("kBy", "kilobytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
];
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("y", "year"),
];

/// A metric of CloudWatch by its OTLP name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchName {
    pub namespace: String,
    pub metric: String,
    /// `max`, `p99`; empty for the main one.
    pub beside: String,
    /// `aws_dynamodb_throttled_requests`
    pub base: String,
}

/// Takes `amazonaws.com/AWS/DynamoDB/ThrottledRequests` apart.
pub fn cloudwatch(name: &str) -> Option<CloudWatchName> {
    let rest = name.strip_prefix("amazonaws.com/")?;
    let (namespace, metric) = rest.rsplit_once('/')?;
    let (metric, beside) = metric.split_once('.').unwrap_or((metric, ""));
    if namespace.is_empty() || metric.is_empty() {
        return None;
    }
    Some(CloudWatchName {
        base: format!("aws_{}", base_name(namespace, metric)),
        namespace: namespace.to_owned(),
        metric: metric.to_owned(),
        beside: beside.replace('.', "_").to_ascii_lowercase(),
    })
}

/// A name by OpenTelemetry's rules for Prometheus: characters, unit, `_total`, `_ratio`.
pub fn standard(name: &str, unit: &str, kind: MetricKind, is_counter: bool) -> String {
    let mut out = clean(name);
    if out.starts_with(|first: char| first.is_ascii_digit()) {
        out.insert(0, '_');
    }
    let unit = unit.split('{').next().unwrap_or_default().trim();
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let spelled = |table: &[(&str, &str)], unit: &str| {
        let known = table.iter().find(|(short, _)| *short == unit);
        known.map_or_else(
            || clean(unit).trim_matches('_').to_owned(),
            |(_, long)| (*long).to_owned(),
        )
    };
    let mut suffix = if main == "1" {
        String::new()
    } else {
        spelled(&UNITS, main)
    };
    if !per.is_empty() {
        suffix = format!(
            "{suffix}{}per_{}",
            if suffix.is_empty() { "" } else { "_" },
            spelled(&PER, per)
        );
    }
    let has =
        |out: &str, word: &str| out == word || out.ends_with(&format!("_{word}")) || out.contains(&format!("_{word}_"));
    if is_counter {
        // `_total` stands at the end, behind the unit.
        if let Some(rest) = out.strip_suffix("_total") {
            out = rest.to_owned();
        }
    }
    if !suffix.is_empty() && !has(&out, &suffix) {
        out.push('_');
        out.push_str(&suffix);
    }
    if is_counter {
        out.push_str("_total");
    } else if main == "1" && per.is_empty() && kind == MetricKind::Gauge && !has(&out, "ratio") {
        out.push_str("_ratio");
    }
    out
}

/// What is not allowed in a name becomes `_`, several of them one.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == ':' {
            out.push(character);
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out.trim_end_matches('_').to_owned()
}

/// A label: what is not allowed becomes `_`.
pub fn label(text: &str) -> String {
    let mut out: String = text
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect();
    if out.starts_with(|first: char| first.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_opentelemetrys_rules() {
        use MetricKind::{Gauge, Histogram, Sum};
        for (name, unit, kind, counter, wanted) in [
            (
                "http.server.request.duration",
                "s",
                Histogram,
                false,
                "http_server_request_duration_seconds",
            ),
            (
                "dynamodb.client.requests",
                "{request}",
                Sum,
                true,
                "dynamodb_client_requests_total",
            ),
            (
                "aws.dynamodb.item_count",
                "{item}",
                Gauge,
                false,
                "aws_dynamodb_item_count",
            ),
            (
                "aws.dynamodb.table_size",
                "By",
                Gauge,
                false,
                "aws_dynamodb_table_size_bytes",
            ),
            (
                "aws.xray.retention.coverage",
                "1",
                Gauge,
                false,
                "aws_xray_retention_coverage_ratio",
            ),
            (
                "aws.dynamodb.capacity.utilization",
                "%",
                Gauge,
                false,
                "aws_dynamodb_capacity_utilization_percent",
            ),
            (
                "otelcol_exporter_sent_total",
                "",
                Sum,
                true,
                "otelcol_exporter_sent_total",
            ),
            ("network.io", "By/s", Gauge, false, "network_io_bytes_per_second"),
            ("latency_seconds", "s", Gauge, false, "latency_seconds"),
            ("2xx", "", Gauge, false, "_2xx"),
        ] {
            assert_eq!(standard(name, unit, kind, counter), wanted);
        }
    }

    #[test]
    fn cloudwatchs_names_are_taken_apart() {
        let of = |name: &str| cloudwatch(name).map(|name| (name.base, name.beside));
        assert_eq!(
            of("amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency.p99"),
            Some(("aws_dynamodb_successful_request_latency".to_owned(), "p99".to_owned()))
        );
        assert_eq!(
            of("amazonaws.com//aws/sagemaker/Endpoints/CPUUtilization.max"),
            Some(("aws_sagemaker_endpoints_cpu_utilization".to_owned(), "max".to_owned()))
        );
        assert_eq!(of("amazonaws.com/x"), None);
        assert_eq!(of("http.requests"), None);
    }
}
