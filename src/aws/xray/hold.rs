//! Segments without an end are held until they have one, for a while.
//!
//! One span leaves for each: the complete document replaces what is held, except spans that only the held one has.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::ids::{SpanId, TraceId};
use super::translate::Document;

type Key = (TraceId, SpanId);

/// How long, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldSettings {
    pub timeout: Duration,
    /// Nothing is held: what is in progress goes on as it is.
    pub emit_immediately: bool,
    pub max_held: usize,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            emit_immediately: false,
            max_held: 100_000,
        }
    }
}

/// What became of held documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Their complete document came.
    pub completed: u64,
    /// It did not come in time.
    pub timeout: u64,
    /// They were the oldest when there was no more room.
    pub evicted: u64,
}

/// What is held.
pub struct Hold {
    settings: HoldSettings,
    held: HashMap<Key, Document>,
    /// In the order in which they came; some are complete by now.
    order: VecDeque<(Instant, Key)>,
}

impl Hold {
    /// Empty.
    pub fn new(settings: HoldSettings) -> Self {
        Self {
            settings,
            held: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Documents that wait.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a document; what may go on is added to `out`.
    pub fn offer(&mut self, document: Document, now: Instant, out: &mut Vec<Document>, released: &mut Released) {
        let key = match document.id {
            Some(id) if !self.settings.emit_immediately => (document.trace_id, id),
            _ => {
                out.push(document);
                return;
            }
        };
        let before = if self.held.is_empty() {
            None
        } else {
            self.held.remove(&key)
        };
        let was_held = before.is_some();
        let document = match before {
            Some(before) => document.completing(before),
            None => document,
        };
        if !document.in_progress {
            released.completed += u64::from(was_held);
            out.push(document);
            return;
        }
        self.held.insert(key, document);
        if !was_held {
            self.order.push_back((now + self.settings.timeout, key));
        }
        while self.held.len() > self.settings.max_held {
            let Some((_, oldest)) = self.order.pop_front() else {
                break;
            };
            if let Some(document) = self.held.remove(&oldest) {
                released.evicted += 1;
                out.push(document);
            }
        }
        self.forget_completed();
    }

    /// The places of completed documents in the order are given back when they are most of it.
    fn forget_completed(&mut self) {
        if self.order.len() > 64 && self.order.len() > 2 * self.held.len() {
            self.order.retain(|(_, key)| self.held.contains_key(key));
        }
    }

    /// Releases what has waited long enough.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<Document>, released: &mut Released) {
        while let Some((deadline, key)) = self.order.front().copied() {
            if deadline > now {
                break;
            }
            self.order.pop_front();
            if let Some(document) = self.held.remove(&key) {
                released.timeout += 1;
                out.push(document);
            }
        }
    }

    /// Releases everything, in the order in which it came: nobody will come to complete it.
    pub fn release_all(&mut self, out: &mut Vec<Document>, released: &mut Released) {
        for (_, key) in std::mem::take(&mut self.order) {
            if let Some(document) = self.held.remove(&key) {
                released.timeout += 1;
                out.push(document);
            }
        }
    }
}

impl Document {
    /// This document, and those spans of an earlier one of the same segment that it has not.
    fn completing(mut self, before: Document) -> Self {
        let Some(scope) = self.resource_spans.scope_spans.first_mut() else {
            return self;
        };
        let have: std::collections::HashSet<Vec<u8>> = scope.spans.iter().map(|span| span.span_id.clone()).collect();
        let earlier = before
            .resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        scope.spans.extend(earlier.filter(|span| !have.contains(&span.span_id)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::translate::{Options, Reader, Spans};
    use super::*;

    fn document(id: u32, rest: &str) -> Document {
        let mut out = Spans::default();
        let text = format!(
            r#"{{"name":"a","id":"{id:016x}","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1,{rest}}}"#
        );
        let salvaged = Reader::new(Options::default()).segments(text.as_bytes(), 0, &mut out);
        assert!(salvaged.is_clean(), "{salvaged:?}");
        out.documents.remove(0)
    }

    const OPEN: &str =
        r#""in_progress":true,"subsegments":[{"name":"s","id":"00000000000000ff","start_time":1,"end_time":2}]"#;

    #[tokio::test(start_paused = true)]
    async fn the_complete_document_replaces_the_held_one_and_loses_none_of_its_spans() {
        let mut hold = Hold::new(HoldSettings::default());
        let (mut out, mut released) = (Vec::new(), Released::default());
        hold.offer(document(1, OPEN), Instant::now(), &mut out, &mut released);
        assert!(out.is_empty() && hold.len() == 1);
        hold.offer(document(1, r#""end_time":3"#), Instant::now(), &mut out, &mut released);
        assert_eq!((out.len(), out[0].spans().len(), hold.len()), (1, 2, 0));
        assert_eq!(out[0].spans()[0].end_time_unix_nano, 3_000_000_000);
        assert_eq!(
            released,
            Released {
                completed: 1,
                ..Released::default()
            }
        );
        hold.expire(Instant::now() + Duration::from_secs(3600), &mut out, &mut released);
        assert_eq!(out.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_completed_goes_on_after_its_time_with_a_mark() {
        let mut hold = Hold::new(HoldSettings::default());
        let (mut out, mut released) = (Vec::new(), Released::default());
        let begun = Instant::now();
        hold.offer(document(1, OPEN), begun, &mut out, &mut released);
        hold.offer(
            document(1, OPEN),
            begun + Duration::from_secs(200),
            &mut out,
            &mut released,
        );
        hold.expire(begun + Duration::from_secs(299), &mut out, &mut released);
        assert!(out.is_empty());
        hold.expire(begun + Duration::from_secs(300), &mut out, &mut released);
        assert_eq!(released.timeout, 1);
        let root = &out[0].spans()[0];
        assert_eq!((out[0].spans().len(), root.end_time_unix_nano), (2, 2_000_000_000));
        assert!(
            root.attributes
                .iter()
                .any(|attribute| attribute.key == "aws.xray.inprogress")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_on_when_there_is_no_more_room() {
        let settings = HoldSettings {
            max_held: 2,
            ..HoldSettings::default()
        };
        let mut hold = Hold::new(settings);
        let (mut out, mut released) = (Vec::new(), Released::default());
        for id in 1..=4 {
            hold.offer(document(id, OPEN), Instant::now(), &mut out, &mut released);
        }
        assert_eq!((out.len(), hold.len(), released.evicted), (2, 2, 2));
        assert_eq!(out[0].id, Some(1u64.to_be_bytes()));
        hold.release_all(&mut out, &mut released);
        assert_eq!((out.len(), hold.is_empty()), (4, true));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_when_that_is_asked_for() {
        let mut hold = Hold::new(HoldSettings {
            emit_immediately: true,
            ..HoldSettings::default()
        });
        let (mut out, mut released) = (Vec::new(), Released::default());
        hold.offer(document(1, OPEN), Instant::now(), &mut out, &mut released);
        assert_eq!((out.len(), hold.len()), (1, 0));
    }
}
