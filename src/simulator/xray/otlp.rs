//! The OTLP endpoint `/v1/traces`: its limits, and a partial success where single spans are wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use super::State;
use crate::net::codec::{Encoding, inflate};
use crate::pdata::{Batch, Decoded, DoorLimits, Origin, Signal};

const LARGEST_REQUEST: usize = 5 << 20;
const MOST_SPANS: usize = 10_000;
const LARGEST_SPAN: usize = 200 << 10;
const OLDEST_S: f64 = 14.0 * 86_400.0;
const AHEAD_S: f64 = 2.0 * 3_600.0;
const SPREAD_S: f64 = 24.0 * 3_600.0;
/// Spans that are remembered by id.
const REMEMBERED: usize = 2_000_000;

/// Spans that were taken, by trace and span id, and how often.
pub type Taken = BTreeMap<(Vec<u8>, Vec<u8>), u32>;

/// An answer: status, and the body of a success or the text of a refusal.
pub type Answer = Result<Vec<u8>, (u16, String)>;

impl State {
    /// Takes one request.
    pub fn otlp(&mut self, headers: &HeaderMap, body: Bytes, now: f64) -> Answer {
        if !self.destination.logs || now < self.destination.pending_until {
            return Err((
                400,
                "The OTLP API is supported with CloudWatch Logs as a Trace Segment Destination.".to_owned(),
            ));
        }
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let body = match header("content-encoding") {
            "" | "none" | "identity" => body,
            "gzip" => inflate(Encoding::Gzip, &body, LARGEST_REQUEST + 1, &mut |_| true)
                .map_err(|error| (413, error.to_string()))?,
            other => return Err((415, format!("content-encoding {other} is not supported"))),
        };
        if body.len() > LARGEST_REQUEST {
            return Err((413, "the request is larger than 5 MB".to_owned()));
        }
        let request = match header("content-type") {
            "application/x-protobuf" => {
                ExportTraceServiceRequest::decode(body).map_err(|error| (400, error.to_string()))?
            }
            "application/json" => from_json(&body)?,
            other => return Err((415, format!("content-type {other} is not supported"))),
        };
        let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: Vec<_> = spans.flat_map(|scope| &scope.spans).collect();
        if spans.len() > MOST_SPANS {
            return Err((400, format!("{} spans, at most {MOST_SPANS}", spans.len())));
        }
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let starts = || spans.iter().map(|span| seconds(span.start_time_unix_nano));
        let (first, last) = (starts().fold(f64::INFINITY, f64::min), starts().fold(0.0, f64::max));
        if last - first > SPREAD_S {
            return Err((400, "the timestamps are more than 24 hours apart".to_owned()));
        }
        let mut rejected = 0;
        for span in spans {
            let age = now - seconds(span.start_time_unix_nano);
            if span.encoded_len() > LARGEST_SPAN || !(-AHEAD_S..=OLDEST_S).contains(&age) {
                rejected += 1;
                continue;
            }
            self.otlp_spans += 1;
            if self.otlp_taken.len() < REMEMBERED {
                let key = (span.trace_id.clone(), span.span_id.clone());
                *self.otlp_taken.entry(key).or_default() += 1;
            }
        }
        let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: "spans are too large, too old or from the future".to_owned(),
        });
        Ok(ExportTraceServiceResponse { partial_success }.encode_to_vec())
    }
}

fn from_json(body: &[u8]) -> Result<ExportTraceServiceRequest, (u16, String)> {
    let limits = DoorLimits::default();
    let admitted = Batch::from_json(Signal::Traces, body, &limits, Arc::new(Origin::default()));
    let mut batch = admitted.map_err(|error| (400, error.to_string()))?.batch;
    match batch.decode() {
        Ok(Decoded::Traces(request)) => Ok(std::mem::take(request)),
        _ => Err((400, "no traces".to_owned())),
    }
}
