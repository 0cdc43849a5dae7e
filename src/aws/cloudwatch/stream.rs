//! Points of a CloudWatch Metric Stream: read from its two forms (JSON lines, OTLP 1.0.0 summaries), written as the
//! typed metrics that the poller gives, or as the stream's own summaries.
//!
//! A stream sends Minimum, Maximum, Sum and SampleCount of every metric, percentiles where they were asked for. Which
//! of them mean something for a metric is the catalogue's to say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{Metric, SummaryDataPoint, metric::Data};
use serde::Deserialize;

use super::history::Why;
use super::output::{Builder, OwnPoint, Resource};
use super::tracks::Settled;
use super::want::{Class, SeriesId, Shape, Stat, Taste, Want, statistics};
use crate::aws::catalogue::{Kind, catalogue};
use crate::aws::unit::ucum;

/// Seconds between the points of a stream.
const PERIOD: i64 = 60;

/// One point of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPoint {
    pub account: String,
    pub region: String,
    pub series: SeriesId,
    /// As sent: `Count`, `{Count}`, `NoneTranslated`.
    pub unit: String,
    /// Start of the period, unix seconds.
    pub start: i64,
    /// Seconds.
    pub period: i64,
    pub count: f64,
    pub sum: f64,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    /// By CloudWatch's name: `p99`, `p99.9`, `TM(25%:75%)`.
    pub extended: Vec<(String, f64)>,
    /// What the sender said of the resource, beside account and region.
    pub attributes: Vec<(String, String)>,
}

/// A line of the JSON form.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    metric_stream_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    account_id: Cow<'a, str>,
    #[serde(borrow)]
    region: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    metric_name: Cow<'a, str>,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    /// Milliseconds.
    timestamp: i64,
    value: BTreeMap<String, f64>,
    #[serde(borrow, default)]
    unit: Cow<'a, str>,
}

impl StreamPoint {
    /// Reads one line of the JSON form.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    pub fn from_json(line: &[u8]) -> Result<Self, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.metric_name.is_empty() || line.namespace.is_empty() {
            return Err("namespace or metric_name is empty".to_owned());
        }
        let value = |name: &str| line.value.get(name).copied();
        let (Some(count), Some(sum)) = (value("count"), value("sum")) else {
            return Err("value has no count or no sum".to_owned());
        };
        let extended = line.value.iter();
        let extended = extended.filter(|(name, _)| !matches!(name.as_str(), "count" | "sum" | "min" | "max"));
        let stream = line.metric_stream_name.filter(|name| !name.is_empty());
        Ok(Self {
            account: line.account_id.into_owned(),
            region: line.region.into_owned(),
            series: {
                let dimensions = line.dimensions.iter();
                let dimensions: Vec<(&str, &str)> = dimensions.map(|(name, value)| (&**name, &**value)).collect();
                SeriesId::new(&line.namespace, &line.metric_name, &dimensions)
            },
            unit: line.unit.into_owned(),
            start: line.timestamp.div_euclid(1000),
            period: PERIOD,
            count,
            sum,
            minimum: line.value.get("min").copied(),
            maximum: line.value.get("max").copied(),
            extended: extended.map(|(name, value)| (name.clone(), *value)).collect(),
            attributes: stream
                .map(|name| ("aws.cloudwatch.metric_stream_name".to_owned(), name.into_owned()))
                .into_iter()
                .collect(),
        })
    }

    /// Reads one point of an OTLP 1.0.0 stream; `None` where it is no point of CloudWatch. `resource`: the attributes of
    /// its resource.
    pub fn from_summary(metric: &Metric, point: &SummaryDataPoint, resource: &[(String, String)]) -> Option<Self> {
        let text = |key: &str| point.attributes.iter().find(|have| have.key == key).and_then(as_text);
        let (namespace, name) = (text("Namespace")?, text("MetricName")?);
        let dimensions = point.attributes.iter().find(|have| have.key == "Dimensions");
        let dimensions: Vec<(&str, &str)> = match dimensions.and_then(|have| have.value.as_ref()?.value.as_ref()) {
            Some(Any::KvlistValue(list)) => list
                .values
                .iter()
                .filter_map(|entry| Some((entry.key.as_str(), as_text(entry)?)))
                .collect(),
            _ => Vec::new(),
        };
        let of_resource = |key: &str| {
            let found = resource.iter().find(|(have, _)| have == key);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let own = ["cloud.provider", "cloud.account.id", "cloud.region"];
        let start = seconds(point.start_time_unix_nano);
        let end = seconds(point.time_unix_nano);
        let length = end - start;
        let whole = point.start_time_unix_nano > 0 && length > 0;
        let at_quantile = |wanted: f64| {
            let found = point.quantile_values.iter().find(|have| have.quantile == wanted);
            found.map(|found| found.value)
        };
        let inner = point.quantile_values.iter();
        let inner = inner.filter(|have| have.quantile > 0.0 && have.quantile < 1.0);
        Some(Self {
            account: of_resource("cloud.account.id"),
            region: of_resource("cloud.region"),
            series: SeriesId::new(namespace, name, &dimensions),
            unit: metric.unit.clone(),
            start: if whole { start } else { end - PERIOD },
            period: if whole { length } else { PERIOD },
            count: point.count as f64,
            sum: point.sum,
            minimum: at_quantile(0.0),
            maximum: at_quantile(1.0),
            extended: inner.map(|have| (percentile_name(have.quantile), have.value)).collect(),
            attributes: resource
                .iter()
                .filter(|(key, _)| !own.contains(&key.as_str()))
                .cloned()
                .collect(),
        })
    }

    /// What it belongs to: a table, else the account in its region. The first text tells resources apart.
    pub fn resource(&self) -> (String, Resource) {
        let mut attributes = vec![
            ("cloud.provider".to_owned(), "aws".to_owned()),
            ("cloud.account.id".to_owned(), self.account.clone()),
            ("cloud.region".to_owned(), self.region.clone()),
        ];
        let is_dynamodb = &*self.series.namespace == "AWS/DynamoDB";
        if let Some(table) = self.series.dimension("TableName").filter(|_| is_dynamodb) {
            let partition = crate::aws::access::partition(&self.region);
            let arn = format!(
                "arn:{partition}:dynamodb:{}:{}:table/{table}",
                self.region, self.account
            );
            attributes.push(("cloud.resource_id".to_owned(), arn));
        }
        if is_dynamodb {
            attributes.push(("db.system.name".to_owned(), "aws.dynamodb".to_owned()));
        }
        for (key, value) in &self.attributes {
            if !attributes.iter().any(|(have, _)| have == key) {
                attributes.push((key.clone(), value.clone()));
            }
        }
        let mut id = String::new();
        for (key, value) in &attributes {
            id.push_str(key);
            id.push('\u{1}');
            id.push_str(value);
            id.push('\u{2}');
        }
        (id, Resource { attributes })
    }

    /// The same point as the poller would have it. A metric that is not in the catalogue becomes a histogram, which
    /// keeps count, sum, minimum and maximum.
    fn as_polled(&self, resource: &str) -> Settled {
        let known = catalogue().find(&self.series.namespace, &self.series.metric);
        let names: Vec<String> = self.extended.iter().map(|(name, _)| name.clone()).collect();
        let mut wanted = match known {
            Some(metric) => {
                let taste = Taste {
                    min_max: true,
                    ..Taste::default()
                };
                statistics(metric, &taste)
            }
            None => vec![Stat::Sum, Stat::SampleCount, Stat::Minimum, Stat::Maximum],
        };
        wanted.extend(names.into_iter().map(Stat::Percentile));
        let mut statistics = Vec::new();
        let mut values = Vec::new();
        for stat in wanted {
            if let Some(value) = self.value(&stat) {
                statistics.push(stat);
                values.push(value);
            }
        }
        let unit = match (known, self.unit.as_str()) {
            (Some(metric), _) => metric.unit.clone(),
            (None, "%") => "Percent".to_owned(),
            (None, "NoneTranslated" | "") => "None".to_owned(),
            (None, unit) => unit.to_owned(),
        };
        Settled {
            want: Want {
                shape: Arc::new(Shape {
                    namespace: Arc::clone(&self.series.namespace),
                    metric: Arc::clone(&self.series.metric),
                    kind: known.map_or(Kind::Histogram, |metric| metric.otel_kind),
                    unit: unit.into(),
                    statistics,
                    period: self.period,
                    class: Class::Detail,
                    fill: false,
                    heartbeat: false,
                }),
                dimensions: Arc::clone(&self.series.dimensions),
                resource: resource.into(),
                exists_from: 0,
            },
            at: self.start,
            values,
            why: Why::First,
            running: None,
        }
    }

    fn value(&self, stat: &Stat) -> Option<f64> {
        match stat {
            Stat::Sum => Some(self.sum),
            Stat::SampleCount => Some(self.count),
            Stat::Average => (self.count > 0.0).then(|| self.sum / self.count),
            Stat::Minimum => self.minimum,
            Stat::Maximum => self.maximum,
            Stat::Percentile(name) => {
                let found = self.extended.iter().find(|(have, _)| have == name);
                found.map(|(_, value)| *value)
            }
        }
    }

    /// Adds it as typed metrics.
    pub fn add_typed(&self, resource: &str, into: &mut Builder) {
        into.add(&self.as_polled(resource));
    }

    /// Adds it as the summary that the OTLP form of a stream has. Statistics that are no percentile have no place in
    /// one and become gauges.
    pub fn add_summary(&self, resource: &str, into: &mut Builder) {
        let name = format!("amazonaws.com/{}/{}", self.series.namespace, self.series.metric);
        let unit = ucum(&self.unit);
        let mut quantiles: Vec<(f64, f64)> = Vec::new();
        quantiles.extend(self.minimum.map(|value| (0.0, value)));
        quantiles.extend(self.maximum.map(|value| (1.0, value)));
        for (stat, value) in &self.extended {
            match quantile(stat) {
                Some(quantile) => quantiles.push((quantile, *value)),
                None => self.add_other(resource, &format!("{name}.{stat}"), &unit, *value, into),
            }
        }
        quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
        let dimensions = self.series.dimensions.iter().map(|(key, value)| text(key, value));
        let dimensions = Any::KvlistValue(KeyValueList {
            values: dimensions.collect(),
        });
        let point = SummaryDataPoint {
            attributes: vec![
                text("Namespace", &self.series.namespace),
                text("MetricName", &self.series.metric),
                key_value("Dimensions", dimensions),
            ],
            start_time_unix_nano: nanos(self.start),
            time_unix_nano: nanos(self.start.saturating_add(self.period)),
            count: self.count.max(0.0).round() as u64,
            sum: self.sum,
            quantile_values: quantiles
                .into_iter()
                .map(|(quantile, value)| ValueAtQuantile { quantile, value })
                .collect(),
            ..SummaryDataPoint::default()
        };
        into.add_summary(resource, &name, &unit, point);
    }

    fn add_other(&self, resource: &str, name: &str, unit: &str, value: f64, into: &mut Builder) {
        let dimensions = self.series.dimensions.iter();
        let attributes: Vec<(&str, &str)> = dimensions.map(|(key, value)| (&**key, &**value)).collect();
        let point = OwnPoint {
            name,
            unit,
            attributes: &attributes,
            start: self.start,
            time: self.start.saturating_add(self.period),
            value,
        };
        into.add_own(resource, &point);
    }
}

/// Every point of CloudWatch in a metric, and whether that was all of it.
pub fn points_of(metric: &Metric, resource: &[(String, String)]) -> (Vec<StreamPoint>, bool) {
    let Some(Data::Summary(summary)) = &metric.data else {
        return (Vec::new(), false);
    };
    let points: Vec<StreamPoint> = summary
        .data_points
        .iter()
        .filter_map(|point| StreamPoint::from_summary(metric, point, resource))
        .collect();
    let all = points.len() == summary.data_points.len();
    (points, all)
}

/// `p99.9` of 0.999. Ten digits, so that 0.999 x 100 is not 99.89999999999999.
fn percentile_name(quantile: f64) -> String {
    let percent = (quantile * 1e12).round() / 1e10;
    format!("p{percent}")
}

/// 0.999 of `p99.9`.
fn quantile(stat: &str) -> Option<f64> {
    let percent: f64 = stat.strip_prefix('p')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

fn as_text(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn seconds(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000_000).unwrap_or(0)
}

fn nanos(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000)
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Any::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"metric_stream_name":"s","account_id":"111122223333","region":"eu-central-1",
        "namespace":"AWS/DynamoDB","metric_name":"SuccessfulRequestLatency",
        "dimensions":{"TableName":"orders","Operation":"GetItem"},"timestamp":1767225600000,
        "value":{"count":4.0,"sum":20.0,"max":9.0,"min":2.0,"p99":8.5,"TM(25%:75%)":5.0},"unit":"Milliseconds"}"#;

    fn metrics(builder: Builder) -> Vec<Metric> {
        let request = builder.finish(|_| Resource::default());
        let scopes = request
            .resource_metrics
            .into_iter()
            .flat_map(|group| group.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).collect()
    }

    #[test]
    fn a_json_line_becomes_what_the_poller_gives_for_the_metric() {
        let point = StreamPoint::from_json(LINE.as_bytes()).unwrap();
        let mut builder = Builder::new("awsfirehose");
        point.add_typed("r", &mut builder);
        let metrics = metrics(builder);
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let latency = "amazonaws.com/AWS/DynamoDB/SuccessfulRequestLatency";
        assert_eq!(
            names,
            [latency, &format!("{latency}.TM(25%:75%)"), &format!("{latency}.p99")]
        );
        let Some(Data::Histogram(histogram)) = &metrics[0].data else {
            panic!("{:?}", metrics[0]);
        };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (4, Some(20.0)));
        assert_eq!(
            (point.start_time_unix_nano, point.time_unix_nano),
            (1_767_225_600_000_000_000, 1_767_225_660_000_000_000)
        );
        assert_eq!(metrics[0].unit, "ms");
    }

    #[test]
    fn sums_and_levels_follow_the_catalogue() {
        let of = |metric: &str, unit: &str| {
            let line = LINE
                .replace("SuccessfulRequestLatency", metric)
                .replace("Milliseconds", unit);
            let line = line.replace(r#","p99":8.5,"TM(25%:75%)":5.0"#, "");
            let line = line.replace(r#","Operation":"GetItem""#, "");
            let mut builder = Builder::new("awsfirehose");
            StreamPoint::from_json(line.as_bytes())
                .unwrap()
                .add_typed("r", &mut builder);
            metrics(builder)
        };
        let consumed = of("ConsumedReadCapacityUnits", "NoneTranslated");
        assert!(matches!(&consumed[0].data, Some(Data::Sum(sum)) if sum.is_monotonic));
        assert_eq!(consumed[0].unit, "{Count}", "the catalogue knows it better");
        let provisioned = of("ProvisionedReadCapacityUnits", "Count");
        assert!(matches!(&provisioned[0].data, Some(Data::Gauge(_))));
        let unknown = of("SomethingNew", "%");
        assert!(matches!(&unknown[0].data, Some(Data::Histogram(_))));
        assert_eq!(unknown[0].unit, "%");
    }

    #[test]
    fn a_summary_reads_back_as_the_same_point() {
        let mut point = StreamPoint::from_json(LINE.as_bytes()).unwrap();
        point.extended.retain(|(name, _)| name == "p99");
        point.extended.push(("p99.9".to_owned(), 8.9));
        let mut builder = Builder::new("awsfirehose");
        point.add_summary("r", &mut builder);
        let metrics = metrics(builder);
        let (_, resource) = point.resource();
        let (mut read, all) = points_of(&metrics[0], &resource.attributes);
        assert!(all);
        let mut read = read.remove(0);
        assert_eq!(read.unit, "ms");
        read.unit = point.unit.clone();
        read.attributes = point.attributes.clone();
        assert_eq!(read, point);
    }

    #[test]
    fn tables_are_resources_of_their_own() {
        let point = StreamPoint::from_json(LINE.as_bytes()).unwrap();
        let (_, resource) = point.resource();
        let arn = resource
            .attributes
            .iter()
            .find(|(key, _)| key == "cloud.resource_id")
            .unwrap();
        assert_eq!(arn.1, "arn:aws:dynamodb:eu-central-1:111122223333:table/orders");
    }

    #[test]
    fn lines_that_say_too_little_are_refused() {
        for (from, to) in [
            (r#""count":4.0,"#, ""),
            ("\"timestamp\":1767225600000,", ""),
            ("AWS/DynamoDB", ""),
        ] {
            assert!(
                StreamPoint::from_json(LINE.replace(from, to).as_bytes()).is_err(),
                "{from}"
            );
        }
        let far = LINE.replace("1767225600000", &i64::MAX.to_string());
        let point = StreamPoint::from_json(far.as_bytes()).unwrap();
        point.add_summary("r", &mut Builder::new("awsfirehose"));
        point.add_typed("r", &mut Builder::new("awsfirehose"));
    }
}
