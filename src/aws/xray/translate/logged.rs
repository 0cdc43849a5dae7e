//! Spans as Transaction Search writes them into a log group: one event a span, OpenTelemetry's fields in JSON.
//!
//! `resource.attributes`, `scope`, `traceId`, `spanId`, `parentSpanId`, `flags`, `traceState`, `name`, `kind`,
//! `startTimeUnixNano`, `endTimeUnixNano`, `attributes`, `events[]`, `links[]`, `status.code` and `.message`. Ids are hex,
//! kinds and codes are names or numbers, attributes are plain JSON. A bad field costs only itself.

use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::attributes::any;
use crate::aws::xray::document::{Arena, Kind, NodeId, Tree};
use crate::aws::xray::ids;

/// The span of an event; `None` where it is no span: not JSON, or without usable ids.
pub fn logged_span(message: &str, arena: &mut Arena) -> Option<ResourceSpans> {
    let tree = Tree::read(message, arena).ok()?;
    let event = Reading { tree: &tree };
    let root = tree.root();
    let span = event.span(root)?;
    let resource = event.get(root, "resource").map(|resource| Resource {
        attributes: event.attributes(resource),
        ..Resource::default()
    });
    let scope = event.get(root, "scope").map(|scope| InstrumentationScope {
        name: event.text(scope, "name"),
        version: event.text(scope, "version"),
        attributes: event.attributes(scope),
        ..InstrumentationScope::default()
    });
    Some(ResourceSpans {
        resource,
        scope_spans: vec![ScopeSpans {
            scope,
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    })
}

struct Reading<'t> {
    tree: &'t Tree<'t>,
}

impl Reading<'_> {
    fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        self.tree
            .get(map, key)
            .filter(|found| self.tree.kind(*found) != Kind::Null)
    }

    fn text(&self, map: NodeId, key: &str) -> String {
        let text = self.get(map, key).and_then(|found| self.tree.text(found));
        text.unwrap_or_default().to_owned()
    }

    /// A number, also where it is written as a text, as OTLP's JSON writes large ones.
    fn number(&self, map: NodeId, key: &str) -> u64 {
        let Some(found) = self.get(map, key) else { return 0 };
        let written = self.tree.number(found).or_else(|| self.tree.text(found));
        written.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn span_id(&self, map: NodeId, key: &str) -> Option<Vec<u8>> {
        Some(ids::span_id(&self.text(map, key))?.to_vec())
    }

    fn trace_id(&self, map: NodeId) -> Option<Vec<u8>> {
        Some(ids::trace_id(&self.text(map, "traceId"))?.to_vec())
    }

    fn attributes(&self, map: NodeId) -> Vec<KeyValue> {
        let Some(block) = self.get(map, "attributes") else {
            return Vec::new();
        };
        let mut attributes: Vec<KeyValue> = Vec::new();
        if self.tree.kind(block) != Kind::Map {
            return attributes;
        }
        for field in self.tree.children(block) {
            let key = self.tree.key(field);
            if self.tree.kind(field) == Kind::Null || attributes.iter().any(|have| have.key == key) {
                continue;
            }
            attributes.push(KeyValue {
                key: key.to_owned(),
                value: Some(any(self.tree, field)),
                ..KeyValue::default()
            });
        }
        attributes
    }

    fn list(&self, map: NodeId, key: &str) -> impl Iterator<Item = NodeId> {
        let list = self.get(map, key);
        list.into_iter().flat_map(|list| self.tree.children(list))
    }

    fn span(&self, root: NodeId) -> Option<Span> {
        let (trace_id, span_id) = (self.trace_id(root)?, self.span_id(root, "spanId")?);
        let start = self.number(root, "startTimeUnixNano");
        let end = match self.number(root, "endTimeUnixNano") {
            0 => start.saturating_add(self.number(root, "durationNano")),
            end => end.max(start),
        };
        let events = self.list(root, "events").map(|event| Event {
            time_unix_nano: self.number(event, "timeUnixNano"),
            name: self.text(event, "name"),
            attributes: self.attributes(event),
            ..Event::default()
        });
        let links = self.list(root, "links").filter_map(|link| {
            Some(Link {
                trace_id: self.trace_id(link)?,
                span_id: self.span_id(link, "spanId")?,
                trace_state: self.text(link, "traceState"),
                attributes: self.attributes(link),
                ..Link::default()
            })
        });
        Some(Span {
            trace_id,
            span_id,
            parent_span_id: self.span_id(root, "parentSpanId").unwrap_or_default(),
            trace_state: self.text(root, "traceState"),
            flags: u32::try_from(self.number(root, "flags")).unwrap_or_default(),
            name: self.text(root, "name"),
            kind: self.kind(root),
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes: self.attributes(root),
            events: events.collect(),
            links: links.collect(),
            status: self.get(root, "status").map(|status| self.status(status)),
            ..Span::default()
        })
    }

    fn kind(&self, root: NodeId) -> i32 {
        let name = self.text(root, "kind");
        let name = name.strip_prefix("SPAN_KIND_").unwrap_or(&name);
        match SpanKind::from_str_name(&format!("SPAN_KIND_{name}")) {
            Some(kind) => kind as i32,
            None => i32::try_from(self.number(root, "kind")).unwrap_or_default(),
        }
    }

    fn status(&self, status: NodeId) -> Status {
        let name = self.text(status, "code");
        let name = name.strip_prefix("STATUS_CODE_").unwrap_or(&name);
        let code = match StatusCode::from_str_name(&format!("STATUS_CODE_{name}")) {
            Some(code) => code as i32,
            None => i32::try_from(self.number(status, "code")).unwrap_or_default(),
        };
        Status {
            code,
            message: self.text(status, "message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Option<ResourceSpans> {
        logged_span(message, &mut Arena::default())
    }

    #[test]
    fn an_event_is_the_span_that_it_was() {
        let message = r#"{"resource":{"attributes":{"service.name":"shop","process.pid":7}},
            "scope":{"name":"lib","version":"1.2"},"traceId":"5759e988bd862e3fe1be46a994272793","spanId":"53995c3f42cd8ad8",
            "parentSpanId":"53995c3f42cd8ad9","flags":257,"name":"GET /x","kind":"CLIENT",
            "startTimeUnixNano":1733931612345678901,"endTimeUnixNano":1733931612445678902,"durationNano":100000001,
            "attributes":{"http.response.status_code":503,"aws.remote.service":"pay","ok":false,"list":["a",1]},
            "events":[{"timeUnixNano":1733931612400000000,"name":"exception","attributes":{"exception.type":"E"}}],
            "links":[{"traceId":"5759e988bd862e3fe1be46a994272794","spanId":"53995c3f42cd8ada"},{"traceId":"x"}],
            "status":{"code":"ERROR","message":"no"}}"#;
        let group = read(message).unwrap();
        let span = &group.scope_spans[0].spans[0];
        assert_eq!(group.resource.as_ref().unwrap().attributes.len(), 2);
        assert_eq!(group.scope_spans[0].scope.as_ref().unwrap().version, "1.2");
        assert_eq!(hex::encode(&span.parent_span_id), "53995c3f42cd8ad9");
        assert_eq!((span.kind, span.flags, span.name.as_str()), (3, 257, "GET /x"));
        assert_eq!(
            (span.start_time_unix_nano, span.end_time_unix_nano),
            (1_733_931_612_345_678_901, 1_733_931_612_445_678_902)
        );
        assert_eq!((span.attributes.len(), span.events.len(), span.links.len()), (4, 1, 1));
        let status = span.status.as_ref().unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "no"));
    }

    #[test]
    fn what_is_bad_costs_only_itself_and_what_is_no_span_is_none() {
        let sparse = r#"{"traceId":"1-5759e988-bd862e3fe1be46a994272793","spanId":"53995c3f42cd8ad8","parentSpanId":"",
            "kind":2,"startTimeUnixNano":"5","durationNano":3,"attributes":[1],"events":{"a":1},"status":{"code":1}}"#;
        let group = read(sparse).unwrap();
        let span = &group.scope_spans[0].spans[0];
        assert_eq!((span.kind, span.end_time_unix_nano), (2, 8));
        assert!(span.attributes.is_empty() && group.resource.is_none() && span.parent_span_id.is_empty());
        assert_eq!(span.status.as_ref().unwrap().code, 1);
        for message in [
            "",
            "{}",
            "[]",
            "text",
            r#"{"traceId":"5759e988bd862e3fe1be46a994272793","spanId":"0"}"#,
        ] {
            assert_eq!(read(message), None, "{message}");
        }
    }
}
