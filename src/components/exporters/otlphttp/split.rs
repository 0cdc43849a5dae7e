//! `split: aws`: requests as AWS' OTLP endpoints take them.
//!
//! At most 5 MB and 10,000 items; spans of at most 200 KB, not older than 14 days, not more than two hours ahead, and
//! those of one request within 24 hours. What is too long is shortened or left out, what is too old or from the future
//! left out, both counted. Pieces that were taken are remembered while others of the same batch are tried again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::component::{BuildContext, ComponentId, Counter, Refused, UnixNanos, taken_in_part};
use crate::pdata::{Batch, Decoded, Signal};

/// Uncompressed bytes of a request; what is left is for framing.
const LARGEST_REQUEST: usize = 5_000_000 - 1_000;
const MOST_ITEMS: usize = 10_000;
const LARGEST_SPAN: usize = 200_000;
/// Texts of a long span are cut to this length, bytes.
const CUT_TEXT: usize = 1_024;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const OLDEST: u64 = 14 * DAY;
const AHEAD: u64 = 2 * 3_600 * SECOND;
/// Pieces that are remembered.
const REMEMBERED: usize = 4_096;

/// Why one piece was not taken.
pub struct Failed {
    pub refused: Refused,
    pub status: Option<StatusCode>,
}

/// Cuts, sends, remembers.
pub struct Splitter {
    exporter: ComponentId,
    /// Pieces that are over, and whether the far end has them.
    over: Mutex<VecDeque<(u64, bool)>>,
    too_old: Counter,
    from_the_future: Counter,
    too_large: Counter,
    refused: Counter,
    shortened: Counter,
}

impl Splitter {
    pub fn new(context: &BuildContext) -> Self {
        let dropped = |reason| {
            let help = "Items left out of requests because the far end would refuse them; counted as sent.";
            let name = "radiosonde_exporter_split_dropped_items";
            context.instruments.counter(name, help, &[("reason", reason)])
        };
        let help = "Spans shortened to what the far end takes.";
        Self {
            exporter: context.id.clone(),
            over: Mutex::default(),
            too_old: dropped("too_old"),
            from_the_future: dropped("from_the_future"),
            too_large: dropped("too_large"),
            refused: dropped("refused"),
            shortened: context
                .instruments
                .counter("radiosonde_exporter_shortened_spans", help, &[]),
        }
    }

    /// Sends a batch in pieces by `send`. A piece that the far end took is not sent again when the batch comes again.
    ///
    /// # Errors
    /// Retryable when one of the pieces is worth another try; permanent when none was taken and none ever will be.
    pub async fn send<F>(&self, batch: Batch, now: UnixNanos, send: impl Fn(Batch) -> F) -> Result<(), Refused>
    where
        F: Future<Output = Result<(), Failed>>,
    {
        let mut waiting: VecDeque<Batch> = self.cut(batch, now)?.into();
        let mut keys = Vec::new();
        let mut again: Option<Refused> = None;
        let mut never: Option<Refused> = None;
        let (mut any_taken, mut refused_items) = (false, 0);
        while let Some(mut piece) = waiting.pop_front() {
            let key = key_of(&mut piece);
            if let Some(taken) = self.ended(key) {
                any_taken |= taken;
                keys.push(key);
                continue;
            }
            let items = piece.items();
            let Err(failed) = send(piece.clone()).await else {
                any_taken = true;
                self.note(key, true);
                keys.push(key);
                continue;
            };
            if failed.status == Some(StatusCode::PAYLOAD_TOO_LARGE) {
                if items > 1 {
                    for half in piece
                        .split_by_items(items.div_ceil(2))
                        .map_err(unreadable)?
                        .into_iter()
                        .rev()
                    {
                        waiting.push_front(half);
                    }
                } else {
                    self.too_large.add(1);
                    taken_in_part();
                }
            } else if failed.refused.permanent {
                refused_items += items as u64;
                tracing::error!(exporter = %self.exporter, items, reason = %failed.refused,
                    "a part of a batch was refused for good; it is lost");
                self.note(key, false);
                keys.push(key);
                never = Some(failed.refused);
            } else {
                again = Some(failed.refused);
            }
        }
        match (again, never) {
            (Some(refused), _) => {
                self.refused.add(refused_items);
                taken_in_part();
                Err(refused)
            }
            // Nothing of it is there: then all of it was dropped, and none of it sent.
            (None, Some(refused)) if !any_taken => {
                self.forget(&keys);
                Err(refused)
            }
            (None, _) => {
                self.refused.add(refused_items);
                taken_in_part();
                self.forget(&keys);
                Ok(())
            }
        }
    }

    /// `None`: it has yet to be sent. Else whether it was taken.
    fn ended(&self, key: u64) -> Option<bool> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.iter().find(|(have, _)| *have == key).map(|(_, taken)| *taken)
    }

    fn note(&self, key: u64, taken: bool) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.len() == REMEMBERED {
            over.pop_front();
        }
        over.push_back((key, taken));
    }

    fn forget(&self, keys: &[u64]) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        over.retain(|(key, _)| !keys.contains(key));
    }

    /// The pieces of a batch.
    fn cut(&self, mut batch: Batch, now: UnixNanos) -> Result<Vec<Batch>, Refused> {
        let mut groups = vec![batch.clone()];
        if batch.signal() == Signal::Traces {
            let origin = Arc::clone(batch.origin());
            let decoded = batch.decode().map_err(unreadable)?;
            let Decoded::Traces(request) = decoded else {
                return Ok(groups);
            };
            if let Some(days) = self.by_day(request, now) {
                groups = days
                    .into_iter()
                    .map(|request| Batch::from_decoded(Decoded::Traces(request), Arc::clone(&origin)))
                    .collect();
            }
        }
        let mut pieces = Vec::new();
        for group in groups {
            for part in group.split_by_items(MOST_ITEMS).map_err(unreadable)? {
                pieces.extend(part.split_by_bytes(LARGEST_REQUEST).map_err(unreadable)?);
            }
        }
        Ok(pieces)
    }

    /// The request again with what is wrong taken out, in parts of a day; `None` where nothing is wrong.
    fn by_day(
        &self,
        request: &mut ExportTraceServiceRequest,
        now: UnixNanos,
    ) -> Option<Vec<ExportTraceServiceRequest>> {
        let mut spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let (mut first, mut last, mut long) = (u64::MAX, 0, false);
        for span in spans.by_ref().flat_map(|scope| &scope.spans) {
            first = first.min(span.start_time_unix_nano);
            last = last.max(span.start_time_unix_nano);
            long |= span.encoded_len() > LARGEST_SPAN;
        }
        let in_time = first >= now.0.saturating_sub(OLDEST) && last <= now.0.saturating_add(AHEAD);
        if !long && in_time && last.saturating_sub(first) <= DAY || first == u64::MAX {
            return None;
        }
        let one_day = last.saturating_sub(first) <= DAY;
        let mut days: BTreeMap<u64, ExportTraceServiceRequest> = BTreeMap::new();
        for resource in std::mem::take(&mut request.resource_spans) {
            let mut of_resource: BTreeMap<u64, Vec<ScopeSpans>> = BTreeMap::new();
            for mut scope in resource.scope_spans {
                let mut of_scope: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
                for span in std::mem::take(&mut scope.spans) {
                    if let Some(span) = self.sound(span, now) {
                        let day = if one_day { 0 } else { span.start_time_unix_nano / DAY };
                        of_scope.entry(day).or_default().push(span);
                    }
                }
                for (day, spans) in of_scope {
                    let part = ScopeSpans { spans, ..scope.clone() };
                    of_resource.entry(day).or_default().push(part);
                }
            }
            for (day, scope_spans) in of_resource {
                let part = ResourceSpans {
                    resource: resource.resource.clone(),
                    schema_url: resource.schema_url.clone(),
                    scope_spans,
                };
                days.entry(day).or_default().resource_spans.push(part);
            }
        }
        Some(days.into_values().collect())
    }

    /// The span as it can be sent; `None`: not at all.
    fn sound(&self, mut span: Span, now: UnixNanos) -> Option<Span> {
        if span.start_time_unix_nano < now.0.saturating_sub(OLDEST) {
            self.too_old.add(1);
            taken_in_part();
            return None;
        }
        if span.start_time_unix_nano > now.0.saturating_add(AHEAD) {
            self.from_the_future.add(1);
            taken_in_part();
            return None;
        }
        if span.encoded_len() <= LARGEST_SPAN {
            return Some(span);
        }
        shorten(&mut span);
        if span.encoded_len() > LARGEST_SPAN {
            self.too_large.add(1);
            taken_in_part();
            return None;
        }
        self.shortened.add(1);
        taken_in_part();
        Some(span)
    }
}

/// Cuts what is longest: texts, then events and links.
fn shorten(span: &mut Span) {
    let events = span.events.iter_mut().flat_map(|event| &mut event.attributes);
    for attribute in span.attributes.iter_mut().chain(events) {
        if let Some(AnyValue { value: Some(value) }) = &mut attribute.value {
            cut(value);
        }
    }
    if span.encoded_len() > LARGEST_SPAN {
        span.dropped_events_count = span.dropped_events_count.saturating_add(span.events.len() as u32);
        span.events.clear();
        span.dropped_links_count = span.dropped_links_count.saturating_add(span.links.len() as u32);
        span.links.clear();
    }
    span.attributes.push(KeyValue {
        key: "otel.truncated".to_owned(),
        value: Some(AnyValue {
            value: Some(Value::BoolValue(true)),
        }),
        ..KeyValue::default()
    });
}

fn cut(value: &mut Value) {
    match value {
        Value::StringValue(text) if text.len() > CUT_TEXT => {
            let mut end = CUT_TEXT;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        Value::BytesValue(bytes) => bytes.truncate(CUT_TEXT),
        _ => {}
    }
}

fn key_of(piece: &mut Batch) -> u64 {
    let items = piece.items() as u64;
    let hashes = piece.parts().iter().map(|part: &Bytes| xxh3_64(part));
    hashes.fold(items, |sum, hash| sum.rotate_left(7) ^ hash)
}

fn unreadable(error: impl std::fmt::Display) -> Refused {
    Refused::permanent(format!("cannot be read: {error}"))
}
