//! Properties of wire and pdata over arbitrary and mutated messages, with prost as the oracle.

mod door;
mod json;
mod make;
mod rewrite;
mod split;
mod views;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;

use super::{Decoded, Signal};

/// No files beside the sources: a case found is made a test by hand.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// What proptest shrinks: bytes that messages are made from.
fn entropy() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![Just(Signal::Traces), Just(Signal::Metrics), Just(Signal::Logs)]
}

/// Prost's opinion.
fn decode(signal: Signal, bytes: &[u8]) -> Option<Decoded> {
    Some(match signal {
        Signal::Traces => Decoded::Traces(ExportTraceServiceRequest::decode(bytes).ok()?),
        Signal::Metrics => Decoded::Metrics(ExportMetricsServiceRequest::decode(bytes).ok()?),
        Signal::Logs => Decoded::Logs(ExportLogsServiceRequest::decode(bytes).ok()?),
    })
}

/// Well-formed bytes, and what they decode to.
fn well_formed() -> impl Strategy<Value = (Signal, Bytes, Decoded)> {
    (signal(), entropy()).prop_map(|(signal, entropy)| {
        let bytes = make::request(signal, &entropy).encode();
        // Not the structs themselves: prost does not write a negative zero.
        let decoded = decode(signal, &bytes).expect("prost reads what it writes");
        (signal, bytes, decoded)
    })
}

/// Bytes that are often no message any more: cut, changed, repeated, glued together.
fn mutated() -> impl Strategy<Value = (Signal, Bytes)> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..6), 0..6);
    (well_formed(), well_formed(), changes).prop_map(|((signal, bytes, _), (_, other, _), changes)| {
        let mut bytes = bytes.to_vec();
        for (index, byte, change) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match change {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at, byte),
                3 => {
                    bytes.remove(at);
                }
                // The other may be of another signal.
                4 => bytes.extend_from_slice(&other),
                _ => {
                    let copy = bytes[at..(at + usize::from(byte)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        (signal, Bytes::from(bytes))
    })
}
