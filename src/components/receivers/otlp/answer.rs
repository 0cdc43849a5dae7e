//! The bodies of good answers: Export responses, empty unless something was rejected or is worth a warning.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;

use super::door::Taken;
use crate::pdata::Signal;

/// The response in protobuf; zero bytes where everything was taken.
pub(super) fn protobuf(signal: Signal, taken: &Taken) -> Bytes {
    if taken.is_whole() {
        return Bytes::new();
    }
    let rejected = i64::try_from(taken.rejected).unwrap_or(i64::MAX);
    let error_message = taken.message.clone();
    match signal {
        Signal::Traces => ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceResponse {
            partial_success: Some(ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
        Signal::Logs => ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message,
            }),
        }
        .encode_to_vec(),
    }
    .into()
}

/// The response in JSON; `{}` where everything was taken.
pub(super) fn json(signal: Signal, taken: &Taken) -> Bytes {
    if taken.is_whole() {
        return Bytes::from_static(b"{}");
    }
    let rejected = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
    };
    // Protobuf's JSON leaves zeros out and writes 64-bit numbers as text.
    let mut partial = serde_json::Map::new();
    if taken.rejected > 0 {
        partial.insert(rejected.to_owned(), taken.rejected.to_string().into());
    }
    partial.insert("errorMessage".to_owned(), taken.message.clone().into());
    serde_json::json!({ "partialSuccess": partial }).to_string().into()
}
