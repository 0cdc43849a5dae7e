//! The registry as Prometheus text (format 0.0.4).
//!
//! Names of the Collector (`otelcol_`) follow the reader's `without_*` settings; names of our own stand as the code
//! writes them. By default nothing is added to a name, as in the Collector since 0.153.

use std::fmt::Write;

use crate::component::{InstrumentKind, Sample, SampleValue};

use super::process::ProcessSample;

/// `readers: pull.exporter.prometheus`, the part that shapes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    /// No `otel_scope_*` labels.
    pub without_scope_info: bool,
    /// No `_seconds`, `_bytes`.
    pub without_units: bool,
    /// No `_total` on counters.
    pub without_type_suffix: bool,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            without_scope_info: true,
            without_units: true,
            without_type_suffix: true,
        }
    }
}

/// `service::telemetry::metrics::level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    None,
    Basic,
    #[default]
    Normal,
    Detailed,
}

impl Level {
    /// The Collector's rules: batch figures from `normal` on, sizes in bytes and durations with `detailed`.
    pub fn shows(self, name: &str) -> bool {
        if name == "otelcol_processor_batch_batch_send_size_bytes" || name == "otelcol_processor_internal_duration" {
            return self >= Level::Detailed;
        }
        if name.starts_with("otelcol_processor_batch_") {
            return self >= Level::Normal;
        }
        self > Level::None
    }
}

/// Writes all samples, under the names of each `naming`. `resource` becomes `target_info`.
pub fn render(
    samples: &[Sample],
    process: &[ProcessSample],
    resource: &[(String, String)],
    naming: &[Naming],
) -> String {
    let mut text = String::with_capacity(256 + samples.len() * 96);
    let info: Vec<(String, String)> = resource
        .iter()
        .map(|(name, value)| (label_name(name), value.clone()))
        .collect();
    header(&mut text, "target_info", "Target metadata.", "gauge");
    let info: Vec<(&str, &str)> = info
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    line(&mut text, "target_info", &info, "1");

    for family in samples.chunk_by(|one, next| one.name == next.name) {
        let kind = match family[0].kind {
            InstrumentKind::Counter => "counter",
            InstrumentKind::Gauge => "gauge",
            InstrumentKind::Histogram => "histogram",
        };
        for (name, naming) in shown_names(family[0].name, kind == "counter", naming) {
            header(&mut text, &name, family[0].help, kind);
            for sample in family {
                write_sample(&mut text, &name, sample, naming);
            }
        }
    }
    for sample in process {
        for (name, naming) in shown_names(sample.name, sample.is_counter, naming) {
            header(
                &mut text,
                &name,
                sample.help,
                if sample.is_counter { "counter" } else { "gauge" },
            );
            line(
                &mut text,
                &name,
                &scope_labels(sample.name, naming),
                &number(sample.value),
            );
        }
    }
    text
}

/// The different names that `naming` gives one metric.
fn shown_names(name: &str, is_counter: bool, naming: &[Naming]) -> Vec<(String, Naming)> {
    let mut names: Vec<(String, Naming)> = Vec::new();
    for naming in naming {
        let shown = shown_name(name, is_counter, *naming);
        if !names.iter().any(|(have, _)| *have == shown) {
            names.push((shown, *naming));
        }
    }
    names
}

fn write_sample(text: &mut String, name: &str, sample: &Sample, naming: Naming) {
    let mut labels: Vec<(&str, &str)> = sample
        .labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    labels.extend(scope_labels(sample.name, naming));
    match &sample.value {
        SampleValue::Counter(value) => line(text, name, &labels, &value.to_string()),
        SampleValue::Gauge(value) => line(text, name, &labels, &number(*value)),
        SampleValue::Histogram { bounds, counts, sum } => {
            let bucket = format!("{name}_bucket");
            let mut total = 0;
            for (position, count) in counts.iter().enumerate() {
                total += count;
                let bound = bounds
                    .get(position)
                    .map_or_else(|| "+Inf".to_owned(), |bound| number(*bound));
                let mut with_bound = labels.clone();
                with_bound.push(("le", &bound));
                line(text, &bucket, &with_bound, &total.to_string());
            }
            line(text, &format!("{name}_sum"), &labels, &number(*sum));
            line(text, &format!("{name}_count"), &labels, &total.to_string());
        }
    }
}

fn scope_labels(name: &str, naming: Naming) -> Vec<(&'static str, &'static str)> {
    if naming.without_scope_info || !name.starts_with("otelcol_") {
        return Vec::new();
    }
    vec![
        ("otel_scope_name", "radiosonde"),
        ("otel_scope_schema_url", ""),
        ("otel_scope_version", env!("CARGO_PKG_VERSION")),
    ]
}

/// The unit that belongs to a metric of the Collector and is no part of its name yet.
fn unit_suffix(name: &str) -> Option<&'static str> {
    match name {
        "otelcol_process_uptime" | "otelcol_processor_internal_duration" => Some("_seconds"),
        "otelcol_process_memory_rss" => Some("_bytes"),
        _ => None,
    }
}

/// The name as `naming` wants it shown.
pub fn shown_name(name: &str, is_counter: bool, naming: Naming) -> String {
    let mut shown = name.to_owned();
    if !name.starts_with("otelcol_") {
        return shown;
    }
    if !naming.without_units
        && let Some(suffix) = unit_suffix(name)
    {
        shown.push_str(suffix);
    }
    if !naming.without_type_suffix && is_counter && !shown.ends_with("_total") {
        shown.push_str("_total");
    }
    shown
}

fn header(text: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: &str) {
    text.push_str(name);
    if !labels.is_empty() {
        text.push('{');
        for (position, (label, content)) in labels.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            text.push_str(label);
            text.push_str("=\"");
            escape_into(text, content);
            text.push('"');
        }
        text.push('}');
    }
    text.push(' ');
    text.push_str(value);
    text.push('\n');
}

fn escape_into(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// `service.name` -> `service_name`; what Prometheus does not allow becomes `_`.
fn label_name(name: &str) -> String {
    let mut cleaned: String = name
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() || character == '_' {
                character
            } else {
                '_'
            }
        })
        .collect();
    if cleaned.starts_with(|first: char| first.is_ascii_digit()) {
        cleaned.insert(0, '_');
    }
    cleaned
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ComponentKind, Instruments};

    fn text_of(instruments: &Instruments, naming: Naming) -> String {
        render(&instruments.registry().gather(), &[], &[], &[naming])
    }

    #[test]
    fn labels_are_escaped_so_that_a_hostile_value_cannot_forge_a_line() {
        let instruments = Instruments::standalone(ComponentKind::Exporter, "otlp");
        instruments
            .counter("otelcol_x", "", &[("key", "a\"} 1\notelcol_forged{b=\"\\")])
            .add(2);
        let text = text_of(&instruments, Naming::default());
        assert!(
            text.contains(r#"otelcol_x{exporter="otlp",key="a\"} 1\notelcol_forged{b=\"\\"} 2"#),
            "{text}"
        );
    }

    #[test]
    fn suffixes_come_only_when_asked_for_and_never_to_names_of_our_own() {
        let instruments = Instruments::standalone(ComponentKind::Receiver, "otlp");
        instruments.counter("otelcol_receiver_accepted_spans", "", &[]).add(1);
        instruments.counter("aws_api_calls_total", "", &[]).add(1);
        let plain = text_of(&instruments, Naming::default());
        assert!(
            plain.contains("otelcol_receiver_accepted_spans{receiver=\"otlp\"} 1"),
            "{plain}"
        );
        assert!(plain.contains("aws_api_calls_total{receiver=\"otlp\"} 1"), "{plain}");
        let naming = Naming {
            without_type_suffix: false,
            ..Naming::default()
        };
        let suffixed = text_of(&instruments, naming);
        assert!(
            suffixed.contains("# TYPE otelcol_receiver_accepted_spans_total counter"),
            "{suffixed}"
        );
        assert!(suffixed.contains("\naws_api_calls_total{"), "{suffixed}");
    }

    #[test]
    fn two_namings_show_a_counter_under_both_names_and_a_gauge_once() {
        let instruments = Instruments::standalone(ComponentKind::Exporter, "otlp");
        instruments.counter("otelcol_exporter_sent_spans", "", &[]).add(4);
        instruments.gauge("otelcol_exporter_queue_size", "", &[]).set(1.0);
        let old = Naming {
            without_type_suffix: false,
            without_units: false,
            ..Naming::default()
        };
        let text = render(&instruments.registry().gather(), &[], &[], &[Naming::default(), old]);
        assert!(text.contains("\notelcol_exporter_sent_spans{"), "{text}");
        assert!(text.contains("\notelcol_exporter_sent_spans_total{"), "{text}");
        assert_eq!(text.matches("\notelcol_exporter_queue_size{").count(), 1);
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let instruments = Instruments::standalone(ComponentKind::Processor, "batch");
        let histogram = instruments.histogram("otelcol_processor_batch_batch_send_size", "", &[], &[10.0, 100.0]);
        for value in [1.0, 50.0, 500.0] {
            histogram.record(value);
        }
        let text = text_of(&instruments, Naming::default());
        for expected in [
            "le=\"10\"} 1",
            "le=\"100\"} 2",
            "le=\"+Inf\"} 3",
            "_sum{processor=\"batch\"} 551",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }

    #[test]
    fn the_resource_is_target_info() {
        let resource = [("service.name".to_owned(), "radiosonde".to_owned())];
        let text = render(&[], &[], &resource, &[Naming::default()]);
        assert!(text.contains("target_info{service_name=\"radiosonde\"} 1\n"));
    }

    #[test]
    fn units_are_added_to_the_names_that_have_none() {
        let naming = Naming {
            without_units: false,
            without_type_suffix: false,
            ..Naming::default()
        };
        assert_eq!(
            shown_name("otelcol_process_uptime", true, naming),
            "otelcol_process_uptime_seconds_total"
        );
        assert_eq!(
            shown_name("otelcol_process_cpu_seconds", true, naming),
            "otelcol_process_cpu_seconds_total"
        );
        assert_eq!(
            shown_name("otelcol_process_memory_rss", false, naming),
            "otelcol_process_memory_rss_bytes"
        );
    }
}
