//! What the rules have found: one finding for each rule and subject, however often it happens; bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize, Serializer};

use crate::dev::seen::{SpanId, TraceId};

/// Findings that are kept; the one that is longest ago goes.
const MOST: usize = 1_000;
/// Pieces of evidence of one finding: the first and the newest.
const MOST_EVIDENCE: usize = 5;
/// Runs that a finding is known of.
const MOST_RUNS: usize = 8;
/// After so long without another it is over. Nanoseconds.
const RESOLVED_AFTER: u64 = 600 * 1_000_000_000;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// Where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// `trace`, `span`, `log`, `metric` or `key`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    pub text: String,
}

impl Evidence {
    /// A span.
    pub fn span(trace: &TraceId, span: &SpanId, text: impl Into<String>) -> Self {
        Self {
            kind: "span",
            trace_id: Some(hex::encode(trace)),
            span_id: Some(hex::encode(span)),
            q: None,
            text: text.into(),
        }
    }

    /// What a query finds.
    pub fn query(kind: &'static str, q: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            kind,
            q: Some(q.into()),
            text: text.into(),
            ..Self::default()
        }
    }
}

/// What a rule says of one thing that happened.
#[derive(Clone, Debug)]
pub struct Report {
    pub rule: &'static str,
    pub severity: Severity,
    /// What it is about: findings of one rule and subject are one.
    pub subject: String,
    pub title: String,
    pub text: String,
    pub fix: String,
    pub evidence: Evidence,
    pub service: String,
    pub run: Option<String>,
    /// How often it happened.
    pub times: u64,
}

/// A finding, as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub id: String,
    pub rule: &'static str,
    pub severity: Severity,
    pub source: &'static str,
    pub title: String,
    pub text: String,
    pub fix: String,
    #[serde(serialize_with = "decimal")]
    pub first: u64,
    #[serde(serialize_with = "decimal")]
    pub last: u64,
    pub count: u64,
    pub state: &'static str,
    pub evidence: Vec<Evidence>,
    pub labels: BTreeMap<&'static str, String>,
    pub runs: BTreeSet<String>,
}

/// 64-bit numbers are strings in our JSON.
fn decimal<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Somebody does not want to see it.
#[derive(Clone, Debug)]
struct Mute {
    /// `None`: for good.
    until: Option<u64>,
    comment: String,
}

/// See the module text.
#[derive(Default)]
pub struct Book {
    findings: HashMap<String, Finding>,
    mutes: HashMap<String, Mute>,
}

/// The id of a finding.
fn id_of(rule: &str, subject: &str) -> String {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(rule.as_bytes());
    hasher.update(&[0]);
    hasher.update(subject.as_bytes());
    format!("{rule}-{:08x}", hasher.digest() >> 32)
}

impl Book {
    /// Notes what happened. The finding where it is a new one.
    pub fn note(&mut self, report: Report, now: u64) -> Option<&Finding> {
        let id = id_of(report.rule, &report.subject);
        if let Some(finding) = self.findings.get_mut(&id) {
            finding.count += report.times;
            finding.last = now;
            finding.text = report.text;
            if finding.evidence.len() == MOST_EVIDENCE {
                finding.evidence.remove(1);
            }
            if !finding.evidence.contains(&report.evidence) {
                finding.evidence.push(report.evidence);
            }
            if let Some(run) = report.run.filter(|_| finding.runs.len() < MOST_RUNS) {
                finding.runs.insert(run);
            }
            return None;
        }
        if self.findings.len() >= MOST {
            let oldest = self.findings.values().min_by_key(|finding| finding.last);
            if let Some(oldest) = oldest.map(|finding| finding.id.clone()) {
                self.findings.remove(&oldest);
            }
        }
        let finding = Finding {
            id: id.clone(),
            rule: report.rule,
            severity: report.severity,
            source: "lint",
            title: report.title,
            text: report.text,
            fix: report.fix,
            first: now,
            last: now,
            count: report.times,
            state: "firing",
            evidence: vec![report.evidence],
            labels: BTreeMap::from([("service", report.service)]),
            runs: report.run.into_iter().collect(),
        };
        Some(self.findings.entry(id).or_insert(finding))
    }

    /// Hides a finding, for nanoseconds or for good. Whether there is one.
    pub fn mute(&mut self, id: &str, span: Option<u64>, comment: &str, now: u64) -> bool {
        if !self.findings.contains_key(id) {
            return false;
        }
        let mute = Mute {
            until: span.map(|span| now.saturating_add(span)),
            comment: comment.to_owned(),
        };
        self.mutes.retain(|id, _| self.findings.contains_key(id));
        self.mutes.insert(id.to_owned(), mute);
        true
    }

    /// Shows a finding again. Whether there is one.
    pub fn unmute(&mut self, id: &str) -> bool {
        self.mutes.remove(id);
        self.findings.contains_key(id)
    }

    fn state_of(&self, finding: &Finding, now: u64) -> &'static str {
        let mute = self.mutes.get(&finding.id);
        if mute.is_some_and(|mute| mute.until.is_none_or(|until| until > now)) {
            "muted"
        } else if now.saturating_sub(finding.last) > RESOLVED_AFTER {
            "resolved"
        } else {
            "firing"
        }
    }

    /// All of them, the worst and newest first.
    pub fn all(&self, now: u64) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.findings.values().cloned().collect();
        for finding in &mut all {
            finding.state = self.state_of(finding, now);
            if let Some(mute) = self.mutes.get(&finding.id).filter(|mute| !mute.comment.is_empty()) {
                finding.labels.insert("mute_comment", mute.comment.clone());
            }
        }
        all.sort_by(|a, b| (b.severity, b.last, &a.id).cmp(&(a.severity, a.last, &b.id)));
        all
    }

    /// Those with evidence in a trace, or in one span of it.
    pub fn of_trace(&self, trace: &str, span: Option<&str>, now: u64) -> Vec<Finding> {
        let is_in = |evidence: &Evidence| {
            evidence.trace_id.as_deref() == Some(trace) && (span.is_none() || evidence.span_id.as_deref() == span)
        };
        let mut found: Vec<Finding> = self
            .findings
            .values()
            .filter(|finding| finding.evidence.iter().any(is_in))
            .cloned()
            .collect();
        for finding in &mut found {
            finding.state = self.state_of(finding, now);
        }
        found.sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
        found
    }
}
