//! PutTraceSegments and PutTelemetryRecords: the service's checks, document by document.

use serde_json::{Value as Json, json};

use super::super::answer::ApiError;
use super::State;
use super::answer::invalid;
use super::store::{Arrival, text};

const MOST_DOCUMENTS: usize = 50;
const LONGEST_DOCUMENT: usize = 64 * 1024;
const LONGEST_NAME: usize = 200;

impl State {
    /// Takes documents; the answer names those that were not taken. `refuse`: a planned code for every second document.
    pub fn put_segments(&mut self, request: &Json, now: f64, refuse: Option<&str>) -> Result<(Json, u64), ApiError> {
        let documents = request["TraceSegmentDocuments"].as_array();
        let documents = documents.ok_or_else(|| invalid("TraceSegmentDocuments must not be null"))?;
        if documents.len() > MOST_DOCUMENTS {
            return Err(invalid(format!(
                "at most {MOST_DOCUMENTS} documents, {} were sent",
                documents.len()
            )));
        }
        let mut unprocessed = Vec::new();
        let mut taken = 0;
        for (position, document) in documents.iter().enumerate() {
            let planned = refuse.filter(|_| position % 2 == 1);
            let checked = match planned {
                // The service names the document where it can read it.
                Some(code) => Err((id_of(document), code.to_owned())),
                None => check(document),
            };
            match checked {
                Ok(document) => {
                    taken += 1;
                    let trace = text(&document, "trace_id").to_ascii_lowercase();
                    self.store.put(&trace, Arrival::new(now, document));
                }
                Err((id, code)) => {
                    let mut entry = json!({"ErrorCode": code, "Message": "the document was not taken"});
                    if !id.is_empty() {
                        entry["Id"] = json!(id);
                    }
                    unprocessed.push(entry);
                }
            }
        }
        Ok((json!({"UnprocessedTraceSegments": unprocessed}), taken))
    }

    /// Counts records.
    pub fn put_telemetry(&mut self, request: &Json) -> Result<Json, ApiError> {
        let records = request["TelemetryRecords"].as_array();
        let records = records.ok_or_else(|| invalid("TelemetryRecords must not be null"))?;
        self.telemetry_records += records.len() as u64;
        Ok(json!({}))
    }
}

fn id_of(document: &Json) -> String {
    let read = document
        .as_str()
        .and_then(|written| serde_json::from_str::<Json>(written).ok());
    read.map(|document| text(&document, "id").to_owned())
        .unwrap_or_default()
}

/// The document, or its id as far as it is known and the error code.
fn check(document: &Json) -> Result<Json, (String, String)> {
    let no = |id: &str, code: &str| Err((id.to_owned(), code.to_owned()));
    let Some(written) = document.as_str() else {
        return no("", "ParseError");
    };
    if written.len() > LONGEST_DOCUMENT {
        return no("", "SegmentTooLarge");
    }
    let Ok(document) = serde_json::from_str::<Json>(written) else {
        return no("", "ParseError");
    };
    let id = text(&document, "id").to_owned();
    if id.is_empty() {
        return no("", "MissingId");
    }
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return no(&id, "InvalidId");
    }
    let trace = text(&document, "trace_id");
    if trace.is_empty() {
        return no(&id, "MissingTraceId");
    }
    if !is_trace_id(trace) {
        return no(&id, "InvalidTraceId");
    }
    let name = text(&document, "name");
    if name.is_empty() {
        return no(&id, "MissingName");
    }
    let is_legal = |letter: char| letter.is_alphanumeric() || " _.:/%&#=+\\-@".contains(letter);
    if name.chars().count() > LONGEST_NAME || !name.chars().all(is_legal) {
        return no(&id, "InvalidName");
    }
    if !document["start_time"].is_number() {
        return no(&id, "MissingStartTime");
    }
    let open = document["in_progress"].as_bool().unwrap_or_default();
    if !open && !document["end_time"].is_number() {
        return no(&id, "MissingEndTime");
    }
    Ok(document)
}

/// `1-`8 hex`-`24 hex.
pub fn is_trace_id(text: &str) -> bool {
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split('-');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(parts, (Some("1"), Some(time), Some(rest), None) if hex(time, 8) && hex(rest, 24))
}
