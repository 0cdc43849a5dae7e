//! Rules that need one span, or what is known of its service: `error-span`, `unknown-service`, `deprecated-semconv`,
//! `ids-in-span-name`, `sdk-limits`, `secret-in-attribute`, `bad-span-time`.

use std::collections::{HashMap, HashSet};

use super::book::{Evidence, Report, Severity};
use super::{secrets, semconv};
use crate::dev::seen::{SpanSeen, text_of};
use crate::wire::{Span, WireError};

const SECOND: u64 = 1_000_000_000;
/// Clocks of containers and their hosts agree better than this.
const FUTURE: u64 = 3_600 * SECOND;
const LONGEST: u64 = 24 * 3_600 * SECOND;
/// Different names of one form, from which on ids are taken to stand in them.
const NAMES_OF_A_FORM: usize = 3;
/// Forms of names that are remembered.
const MOST_FORMS: usize = 2_000;

/// What these rules remember.
#[derive(Default)]
pub struct SpanRules {
    /// Names of each form, hashed; at most three of each.
    forms: HashMap<(String, String), HashSet<u64>>,
}

/// A report about a span.
fn about(span: &SpanSeen, rule: &'static str, subject: String) -> Report {
    Report {
        rule,
        severity: Severity::Warning,
        subject,
        title: String::new(),
        text: String::new(),
        fix: String::new(),
        evidence: Evidence::span(&span.trace, &span.span, span.name.clone()),
        service: span.service.name.to_string(),
        run: span.service.run.as_deref().map(str::to_owned),
        times: 1,
    }
}

impl SpanRules {
    /// Looks at one span. `now`: nanoseconds since the epoch.
    pub fn look(&mut self, seen: &SpanSeen, span: &Span<'_>, now: u64) -> Result<Vec<Report>, WireError> {
        let mut found = Vec::new();
        found.extend(error_span(seen));
        found.extend(unknown_service(seen));
        found.extend(bad_time(seen, now));
        found.extend(sdk_limits(seen));
        found.extend(self.ids_in_name(seen));
        attributes(seen, span, &mut found)?;
        Ok(found)
    }

    fn ids_in_name(&mut self, span: &SpanSeen) -> Option<Report> {
        let form = form_of(&span.name)?;
        let key = (span.service.name.to_string(), form.clone());
        if self.forms.len() >= MOST_FORMS && !self.forms.contains_key(&key) {
            return None;
        }
        let names = self.forms.entry(key).or_default();
        if names.len() < NAMES_OF_A_FORM {
            names.insert(xxhash_rust::xxh3::xxh3_64(span.name.as_bytes()));
        }
        if names.len() < NAMES_OF_A_FORM {
            return None;
        }
        Some(Report {
            title: format!("Span names of {} hold ids: {form}", span.service.name),
            text: format!(
                "{:?} and others differ only in an id. Names are to be of few kinds: they are what is grouped by.",
                span.name
            ),
            fix: format!("Name the span {form:?} and put the id into an attribute; for HTTP set http.route."),
            severity: Severity::Info,
            ..about(span, "ids-in-span-name", format!("{}\0{form}", span.service.name))
        })
    }
}

fn error_span(span: &SpanSeen) -> Option<Report> {
    if !span.is_error {
        return None;
    }
    let kind = span
        .exception
        .as_ref()
        .map(|exception| exception.kind.as_str())
        .filter(|kind| !kind.is_empty());
    let what = match (&span.exception, span.http_status) {
        (Some(exception), _) if !exception.message.is_empty() => format!("{}: {}", exception.kind, exception.message),
        (Some(exception), _) => exception.kind.clone(),
        (None, _) if !span.status_message.is_empty() => span.status_message.clone(),
        (None, Some(code)) => format!("status {code}"),
        (None, None) => "error".to_owned(),
    };
    let place = span.exception.as_ref().and_then(|exception| exception.place.clone());
    let at = place.map(|place| format!(" at {place}")).unwrap_or_default();
    Some(Report {
        title: format!("{} in {} {}", what.trim(), span.service.name, span.name),
        text: format!("The span ended with an error{at}: {what}"),
        fix: match kind {
            Some(kind) => {
                format!("Open the trace: the exception {kind} has its stack among the events of the span{at}.")
            }
            None => "Open the trace and follow the error to the deepest span that has one; record the exception there."
                .to_owned(),
        },
        ..about(
            span,
            "error-span",
            format!("{}\0{}\0{}", span.service.name, span.name, kind.unwrap_or("")),
        )
    })
}

fn unknown_service(span: &SpanSeen) -> Option<Report> {
    if span.service.is_named {
        return None;
    }
    let [sdk, language, _] = &span.service.sdk;
    let who = match (sdk.as_str(), language.as_str()) {
        ("", "") => String::new(),
        (_, language) => format!(" ({language})"),
    };
    Some(Report {
        title: format!("A service has no name{who}"),
        text: "service.name is missing or the SDK's default: everything of it stands under unknown_service.".to_owned(),
        fix: "Set OTEL_SERVICE_NAME=my-service, or service.name in the resource.".to_owned(),
        ..about(span, "unknown-service", format!("{}\0{language}", span.service.name))
    })
}

fn bad_time(span: &SpanSeen, now: u64) -> Option<Report> {
    let text = if span.start == 0 {
        "It has no start time.".to_owned()
    } else if span.end < span.start {
        let by = crate::dev::terminal::text::duration_text(span.start - span.end);
        format!("It ends {by} before it starts.")
    } else if span.start > now.saturating_add(FUTURE) {
        "It starts more than an hour from now.".to_owned()
    } else if span.duration() > LONGEST {
        "It took more than a day.".to_owned()
    } else {
        return None;
    };
    Some(Report {
        title: format!("Times of {} {} cannot be right", span.service.name, span.name),
        text,
        fix: "Times are nanoseconds since 1970, in UTC: look for seconds or milliseconds in their place, and for start and \
              end taken from different clocks."
            .to_owned(),
        ..about(span, "bad-span-time", format!("{}\0{}", span.service.name, span.name))
    })
}

fn sdk_limits(span: &SpanSeen) -> Option<Report> {
    if span.left_out == 0 {
        return None;
    }
    Some(Report {
        title: format!("The SDK of {} left something out of {}", span.service.name, span.name),
        text: format!("{} attributes, events or links were over the limits of the SDK.", span.left_out),
        fix: "Raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT or OTEL_SPAN_LINK_COUNT_LIMIT (128 each), \
              or record less."
            .to_owned(),
        severity: Severity::Info,
        ..about(span, "sdk-limits", format!("{}\0{}", span.service.name, span.name))
    })
}

fn attributes(seen: &SpanSeen, span: &Span<'_>, found: &mut Vec<Report>) -> Result<(), WireError> {
    for raw in span.attributes() {
        let attribute = raw?;
        let key = attribute.key()?;
        let Some(key) = key.to_str() else { continue };
        if let Some(new) = semconv::instead_of(key) {
            found.push(Report {
                title: format!("{} sends {key}, which is {new} now", seen.service.name),
                text: format!("The semantic conventions have renamed {key}."),
                fix: format!("Send {new} in its place: newer instrumentation does, or OTEL_SEMCONV_STABILITY_OPT_IN=http,database."),
                severity: Severity::Info,
                evidence: Evidence::query("key", format!("has({key})"), key),
                ..about(seen, "deprecated-semconv", format!("{}\0{key}", seen.service.name))
            });
        }
        let value = text_of(&attribute.value()?);
        if let Some(why) = secrets::suspicion(key, &value) {
            found.push(Report {
                title: format!("{key} of {} looks like a secret", seen.service.name),
                text: format!("The attribute {key} looks like a secret: {why}. Its value is not repeated here."),
                fix: format!(
                    "Do not record {key}, or mask it in the SDK or with the attributes processor (action: delete)."
                ),
                severity: Severity::Critical,
                ..about(seen, "secret-in-attribute", format!("{}\0{key}", seen.service.name))
            });
        }
    }
    Ok(())
}

/// The name with its ids replaced, where it has some: numbers of more than one digit that stand alone, UUIDs, long hex.
pub fn form_of(name: &str) -> Option<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let mut form = String::new();
    let mut has_id = false;
    let mut rest = name;
    while !rest.is_empty() {
        let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_id(word) {
            form.push_str("{id}");
            has_id = true;
        } else {
            form.push_str(word);
        }
        let gap = after.chars().next().map_or(0, char::len_utf8);
        form.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    has_id.then_some(form)
}

fn is_id(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_number = digits == word.len() && digits > 1;
    let is_hex = hex && word.len() >= 8 && digits > 0;
    is_number || is_hex
}
