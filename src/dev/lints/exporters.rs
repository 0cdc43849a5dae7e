//! `exporter-stalled`: something waits for an exporter, and nothing has left by it for a while.

use std::collections::HashMap;

use super::book::{Evidence, Report, Severity};
use crate::component::{Sample, SampleValue};

/// Without a delivery while something waits. Nanoseconds.
const STALLED: u64 = 30 * 1_000_000_000;

/// One exporter at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Now {
    sent: u64,
    failed: u64,
    queued: f64,
    in_flight: f64,
}

impl Now {
    /// What is in flight may be counted in the queue as well.
    fn waiting(self) -> f64 {
        self.queued.max(self.in_flight)
    }
}

/// Since when an exporter has not moved.
#[derive(Clone, Copy, Debug)]
struct Still {
    sent: u64,
    failed_before: u64,
    since: u64,
}

/// What this rule remembers.
#[derive(Default)]
pub struct ExporterRules {
    exporters: HashMap<String, Still>,
}

impl ExporterRules {
    /// Looks at the agent's own figures.
    pub fn look(&mut self, samples: &[Sample], now: u64) -> Vec<Report> {
        let seen = read(samples);
        self.exporters.retain(|id, _| seen.contains_key(id));
        let mut found = Vec::new();
        for (id, is) in seen {
            let still = self.exporters.entry(id.clone()).or_insert(Still {
                sent: is.sent,
                failed_before: is.failed,
                since: now,
            });
            if is.waiting() <= 0.0 || is.sent != still.sent {
                *still = Still {
                    sent: is.sent,
                    failed_before: is.failed,
                    since: now,
                };
                continue;
            }
            let for_so_long = now.saturating_sub(still.since);
            if for_so_long >= STALLED {
                found.push(report(
                    &id,
                    is,
                    is.failed.saturating_sub(still.failed_before),
                    for_so_long,
                ));
            }
        }
        found
    }
}

fn read(samples: &[Sample]) -> HashMap<String, Now> {
    let mut exporters: HashMap<String, Now> = HashMap::new();
    for sample in samples {
        let id = sample.labels.iter().find(|(name, _)| *name == "exporter");
        let Some((_, id)) = id else { continue };
        let is = |prefix: &str| sample.name.starts_with(prefix);
        let exporter = exporters.entry(id.clone()).or_default();
        match &sample.value {
            SampleValue::Counter(count) if is("otelcol_exporter_sent_") => exporter.sent += count,
            SampleValue::Counter(count) if is("otelcol_exporter_send_failed_") => exporter.failed += count,
            SampleValue::Gauge(value) if is("otelcol_exporter_queue_size") => exporter.queued += value,
            SampleValue::Gauge(value) if is("radiosonde_in_flight_items") => exporter.in_flight += value,
            _ => {}
        }
    }
    exporters
}

fn report(id: &str, is: Now, failed: u64, for_so_long: u64) -> Report {
    let seconds = for_so_long / 1_000_000_000;
    let failures = match failed {
        0 => "no attempt has ended".to_owned(),
        failed => format!("{failed} items failed and are tried again"),
    };
    let text = format!("Nothing has left by {id} for {seconds} s while something waits for it; {failures}.");
    Report {
        rule: "exporter-stalled",
        severity: Severity::Warning,
        subject: id.to_owned(),
        title: format!("Exporter {id} is stalled: {} wait", is.waiting()),
        evidence: Evidence {
            kind: "pipeline",
            text: text.clone(),
            ..Evidence::default()
        },
        text,
        fix: format!(
            "See whether its far end answers: the component's state and message on the page Pipeline or in `radiosonde top`, and `endpoint` of {id} in the configuration."
        ),
        service: String::new(),
        run: None,
        times: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ComponentKind, Instruments};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_exporter_that_delivers_or_has_nothing_to_do_is_not_stalled() {
        let instruments = Instruments::standalone(ComponentKind::Exporter, "otlp/backup");
        let sent = instruments.counter("otelcol_exporter_sent_spans", "", &[]);
        let queue = instruments.gauge("otelcol_exporter_queue_size", "", &[("data_type", "traces")]);
        let mut rules = ExporterRules::default();
        let mut look = |second: u64| rules.look(&instruments.registry().gather(), second * SECOND);
        assert!(look(0).is_empty() && look(100).is_empty(), "nothing waits");
        queue.set(7.0);
        for second in (100..200).step_by(5) {
            sent.add(1);
            assert!(look(second).is_empty(), "it moves");
        }
        assert!(look(200).is_empty() && look(224).is_empty());
        let found = look(230);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].rule, found[0].subject.as_str()),
            ("exporter-stalled", "otlp/backup")
        );
        assert!(
            found[0].text.contains("for 35 s") && found[0].text.contains("no attempt"),
            "{}",
            found[0].text
        );
        instruments
            .counter("otelcol_exporter_send_failed_spans", "", &[])
            .add(9);
        assert!(look(231)[0].text.contains("9 items failed"));
        sent.add(1);
        assert!(look(235).is_empty(), "it goes on");
    }
}
