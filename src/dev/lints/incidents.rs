//! What receivers tell of their clients, as findings: `partial-success`, `wrong-port-or-protocol`, `cors-refused`,
//! `bad-ids`.

use super::book::{Evidence, Report, Severity};
use crate::component::{Incident, IncidentKind};

/// The findings of what was told.
pub fn reports(incidents: Vec<Incident>) -> Vec<Report> {
    incidents.into_iter().map(report).collect()
}

fn report(incident: Incident) -> Report {
    let Incident {
        kind,
        subject,
        text,
        items,
    } = incident;
    let is_about_ids = text.contains("Id") || text.contains(" id");
    let (rule, severity, title, fix) = match kind {
        IncidentKind::OtherProtocol => (
            "wrong-port-or-protocol",
            Severity::Info,
            format!("{subject}: served, but elsewhere it would fail"),
            "4317 is the port of gRPC, 4318 that of HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL and the port so that they agree.".to_owned(),
        ),
        IncidentKind::ForeignOrigin => (
            "cors-refused",
            Severity::Warning,
            format!("A page of {subject} was refused"),
            format!("If it is yours: radiosonde dev --cors-origin {subject}"),
        ),
        IncidentKind::Rejected if is_about_ids => (
            "bad-ids",
            Severity::Warning,
            format!("{subject} with ids that are none were rejected"),
            "Trace ids are 16 bytes (32 hex digits in JSON), span ids 8 bytes (16 hex digits), and not all zeros.".to_owned(),
        ),
        IncidentKind::Rejected => (
            "partial-success",
            Severity::Warning,
            format!("Some {subject} of a request were rejected"),
            "The answer of the request says which and why; the rest of it was taken.".to_owned(),
        ),
        IncidentKind::Refused => (
            "partial-success",
            Severity::Warning,
            format!("A request of {subject} was refused"),
            "The answer of the request says why; the SDK's log repeats it where its diagnostics are on.".to_owned(),
        ),
    };
    Report {
        rule,
        severity,
        subject: format!("{kind:?}\0{subject}"),
        title,
        evidence: Evidence::query("log", "", text.clone()),
        text,
        fix,
        service: String::new(),
        run: None,
        times: u64::try_from(items).unwrap_or(u64::MAX).max(1),
    }
}
