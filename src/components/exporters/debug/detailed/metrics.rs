//! Metrics and their points, every field.

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};

use super::Lines;
use crate::components::exporters::debug::text::{Hex, Safe, Time};

pub fn metric_lines(out: &mut Lines, index: usize, metric: &Metric) {
    let kind = match &metric.data {
        None => "Empty",
        Some(Data::Gauge(_)) => "Gauge",
        Some(Data::Sum(_)) => "Sum",
        Some(Data::Histogram(_)) => "Histogram",
        Some(Data::ExponentialHistogram(_)) => "ExponentialHistogram",
        Some(Data::Summary(_)) => "Summary",
    };
    out.line(format_args!("Metric #{index}"));
    out.line("Descriptor:");
    out.line(format_args!("     -> Name: {}", Safe(&metric.name)));
    out.line(format_args!("     -> Description: {}", Safe(&metric.description)));
    out.line(format_args!("     -> Unit: {}", Safe(&metric.unit)));
    out.line(format_args!("     -> DataType: {kind}"));
    match &metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => numbers(out, &gauge.data_points),
        Some(Data::Sum(sum)) => {
            out.line(format_args!("     -> IsMonotonic: {}", sum.is_monotonic));
            temporality(out, sum.aggregation_temporality);
            numbers(out, &sum.data_points);
        }
        Some(Data::Histogram(histogram)) => {
            temporality(out, histogram.aggregation_temporality);
            for (index, point) in histogram.data_points.iter().enumerate() {
                out.line(format_args!("HistogramDataPoints #{index}"));
                histogram_lines(out, point);
            }
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            temporality(out, histogram.aggregation_temporality);
            for (index, point) in histogram.data_points.iter().enumerate() {
                out.line(format_args!("ExponentialHistogramDataPoints #{index}"));
                exponential_lines(out, point);
            }
        }
        Some(Data::Summary(summary)) => {
            for (index, point) in summary.data_points.iter().enumerate() {
                out.line(format_args!("SummaryDataPoints #{index}"));
                summary_lines(out, point);
            }
        }
    }
}

fn temporality(out: &mut Lines, number: i32) {
    let name = match AggregationTemporality::try_from(number) {
        Ok(AggregationTemporality::Delta) => "Delta",
        Ok(AggregationTemporality::Cumulative) => "Cumulative",
        Ok(AggregationTemporality::Unspecified) | Err(_) => "Unspecified",
    };
    out.line(format_args!("     -> AggregationTemporality: {name}"));
}

fn times(out: &mut Lines, start: u64, time: u64) {
    out.line(format_args!("StartTimestamp: {}", Time(start)));
    out.line(format_args!("Timestamp: {}", Time(time)));
}

fn numbers(out: &mut Lines, points: &[NumberDataPoint]) {
    for (index, point) in points.iter().enumerate() {
        out.line(format_args!("NumberDataPoints #{index}"));
        out.attributes("Data point attributes:", "     ", &point.attributes);
        times(out, point.start_time_unix_nano, point.time_unix_nano);
        match point.value {
            None => {}
            Some(number_data_point::Value::AsInt(int)) => out.line(format_args!("Value: {int}")),
            Some(number_data_point::Value::AsDouble(double)) => out.line(format_args!("Value: {double:.6}")),
        }
        exemplars(out, &point.exemplars);
    }
}

fn optional(out: &mut Lines, values: [(&str, Option<f64>); 3]) {
    for (name, value) in values {
        if let Some(value) = value {
            out.line(format_args!("{name}: {value:.6}"));
        }
    }
}

fn histogram_lines(out: &mut Lines, point: &HistogramDataPoint) {
    out.attributes("Data point attributes:", "     ", &point.attributes);
    times(out, point.start_time_unix_nano, point.time_unix_nano);
    out.line(format_args!("Count: {}", point.count));
    optional(out, [("Sum", point.sum), ("Min", point.min), ("Max", point.max)]);
    for (index, bound) in point.explicit_bounds.iter().enumerate() {
        out.line(format_args!("ExplicitBounds #{index}: {bound:.6}"));
    }
    for (index, count) in point.bucket_counts.iter().enumerate() {
        out.line(format_args!("Buckets #{index}, Count: {count}"));
    }
    exemplars(out, &point.exemplars);
}

fn exponential_lines(out: &mut Lines, point: &ExponentialHistogramDataPoint) {
    out.attributes("Data point attributes:", "     ", &point.attributes);
    times(out, point.start_time_unix_nano, point.time_unix_nano);
    out.line(format_args!("Count: {}", point.count));
    optional(out, [("Sum", point.sum), ("Min", point.min), ("Max", point.max)]);
    // bound(i) = 2^(i * 2^-scale)
    let factor = 2f64.powi(point.scale.saturating_neg()) * std::f64::consts::LN_2;
    let bound = |index: i64| (index as f64 * factor).exp();
    let bucket = |buckets: &Buckets, at: usize| i64::from(buckets.offset) + at as i64;
    if let Some(negative) = &point.negative {
        for (at, count) in negative
            .bucket_counts
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, count)| **count > 0)
        {
            let index = bucket(negative, at);
            let (from, to) = (-bound(index + 1), -bound(index));
            out.line(format_args!("Bucket [{from:.6}, {to:.6}), Count: {count}"));
        }
    }
    if point.zero_count > 0 {
        out.line(format_args!("Bucket [0, 0], Count: {}", point.zero_count));
    }
    if let Some(positive) = &point.positive {
        for (at, count) in positive
            .bucket_counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let index = bucket(positive, at);
            let (from, to) = (bound(index), bound(index + 1));
            out.line(format_args!("Bucket ({from:.6}, {to:.6}], Count: {count}"));
        }
    }
    exemplars(out, &point.exemplars);
}

fn summary_lines(out: &mut Lines, point: &SummaryDataPoint) {
    out.attributes("Data point attributes:", "     ", &point.attributes);
    times(out, point.start_time_unix_nano, point.time_unix_nano);
    out.line(format_args!("Count: {}", point.count));
    out.line(format_args!("Sum: {:.6}", point.sum));
    for (index, quantile) in point.quantile_values.iter().enumerate() {
        let (quantile, value) = (quantile.quantile, quantile.value);
        out.line(format_args!(
            "QuantileValue #{index}: Quantile {quantile:.6}, Value {value:.6}"
        ));
    }
}

fn exemplars(out: &mut Lines, exemplars: &[Exemplar]) {
    if exemplars.is_empty() {
        return;
    }
    out.line("Exemplars:");
    for (index, exemplar) in exemplars.iter().enumerate() {
        out.line(format_args!("Exemplar #{index}"));
        out.line(format_args!("     -> Trace ID: {}", Hex(&exemplar.trace_id)));
        out.line(format_args!("     -> Span ID: {}", Hex(&exemplar.span_id)));
        out.line(format_args!("     -> Timestamp: {}", Time(exemplar.time_unix_nano)));
        match exemplar.value {
            None => {}
            Some(exemplar::Value::AsInt(int)) => out.line(format_args!("     -> Value: {int}")),
            Some(exemplar::Value::AsDouble(double)) => out.line(format_args!("     -> Value: {double:.6}")),
        }
        out.attributes(
            "     -> FilteredAttributes:",
            "          ",
            &exemplar.filtered_attributes,
        );
    }
}
