//! Rules about log records: `log-without-trace`, `log-flood`.

use std::collections::HashMap;

use super::book::{Evidence, Report, Severity};
use crate::dev::seen::LogSeen;

const SECOND: u64 = 1_000_000_000;
/// Records of one service without a trace, while it has spans.
const WITHOUT_TRACE: u64 = 10;
/// Records of one service in one second.
const FLOOD: u64 = 1_000;
/// Services that are remembered.
const MOST_SERVICES: usize = 500;

#[derive(Default)]
struct Service {
    has_spans: bool,
    with_trace: u64,
    without_trace: u64,
    second: u64,
    in_second: u64,
}

/// What these rules remember.
#[derive(Default)]
pub struct LogRules {
    services: HashMap<String, Service>,
}

impl LogRules {
    fn service(&mut self, name: &str) -> Option<&mut Service> {
        if self.services.len() >= MOST_SERVICES && !self.services.contains_key(name) {
            return None;
        }
        Some(self.services.entry(name.to_owned()).or_default())
    }

    /// A service has spans.
    pub fn has_spans(&mut self, name: &str) {
        if let Some(service) = self.service(name) {
            service.has_spans = true;
        }
    }

    /// Looks at one record that came at `at`.
    pub fn look(&mut self, log: &LogSeen, at: u64) -> Vec<Report> {
        let name = log.service.name.to_string();
        let Some(service) = self.service(&name) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let report = |rule: &'static str| Report {
            rule,
            severity: Severity::Info,
            subject: name.clone(),
            title: String::new(),
            text: String::new(),
            fix: String::new(),
            evidence: Evidence::query("log", format!("signal=logs service=\"{name}\""), log.body.clone()),
            service: name.clone(),
            run: log.service.run.as_deref().map(str::to_owned),
            times: 1,
        };
        if log.trace.is_some() {
            service.with_trace += 1;
        } else {
            service.without_trace += 1;
        }
        if service.has_spans && service.with_trace == 0 && service.without_trace >= WITHOUT_TRACE {
            found.push(Report {
                title: format!("Log records of {name} belong to no trace"),
                text: format!("{name} sends spans, and {} log records without a trace id.", service.without_trace),
                fix: "Use the log bridge or appender of the SDK, which puts the ids of the current span into each record, and \
                      log inside of the span."
                    .to_owned(),
                ..report("log-without-trace")
            });
        }
        let second = at / SECOND;
        if service.second != second {
            service.second = second;
            service.in_second = 0;
        }
        service.in_second += 1;
        if service.in_second == FLOOD {
            found.push(Report {
                severity: Severity::Warning,
                title: format!("{name} floods its log"),
                text: format!("More than {FLOOD} records in one second; the last: {}", log.body),
                fix: "Raise the level of the logger that writes them, or log once for a loop and not inside of it."
                    .to_owned(),
                ..report("log-flood")
            });
        }
        found
    }
}
