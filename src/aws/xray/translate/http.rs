//! The `http` block.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::salvage::{Reason, Salvaged};
use super::span::{Draft, Place};
use crate::aws::xray::document::{Kind, NodeId};
use crate::aws::xray::urls::{Url, path_and_query, redacted};

pub(super) fn translate(place: &Place, draft: &mut Draft, salvaged: &mut Salvaged) {
    let Some(http) = place.segment.fields.http else { return };
    if place.walk.tree.kind(http) != Kind::Map {
        draft.salvage(Reason::FieldType, salvaged);
        return;
    }
    if let Some(map) = place.walk.get(Some(http), "request") {
        request(place, map, draft, salvaged);
    }
    if let Some(map) = place.walk.get(Some(http), "response") {
        response(place, map, draft, salvaged);
    }
}

fn request(place: &Place, map: NodeId, draft: &mut Draft, salvaged: &mut Salvaged) {
    let tree = place.walk.tree;
    let options = place.walk.options;
    for field in tree.children(map) {
        let key = tree.key(field);
        let (stable, old) = match key {
            "method" => ("http.request.method", "http.method"),
            "user_agent" => ("user_agent.original", "http.user_agent"),
            "client_ip" => ("client.address", "http.client_ip"),
            "url" => {
                if let Some(text) = tree.text(field) {
                    url(place, text, draft);
                }
                continue;
            }
            "x_forwarded_for" | "traced" => {
                match (tree.kind(field), tree.flag(field)) {
                    (_, Some(flag)) => draft.attributes.flag(format!("aws.xray.{key}"), flag),
                    (Kind::Null, None) => {}
                    _ => draft.salvage(Reason::FieldType, salvaged),
                }
                continue;
            }
            _ => {
                if options.keep_unknown {
                    draft
                        .attributes
                        .text(format!("aws.xray.unknown.http.request.{key}"), tree.compact(field));
                }
                continue;
            }
        };
        match tree.text(field) {
            Some(text) => {
                if options.stable() {
                    draft.attributes.text(stable, text);
                }
                if options.old() {
                    draft.attributes.text(old, text);
                }
            }
            None if tree.kind(field) == Kind::Null => {}
            None => draft.salvage(Reason::FieldType, salvaged),
        }
    }
}

fn url(place: &Place, text: &str, draft: &mut Draft) {
    let options = place.walk.options;
    let shown = redacted(text);
    if options.old() {
        draft.attributes.text("http.url", shown.as_ref());
    }
    if !options.stable() {
        return;
    }
    if !matches!(draft.kind, SpanKind::Server | SpanKind::Consumer) {
        draft.attributes.text("url.full", shown.as_ref());
        return;
    }
    let attributes = &mut draft.attributes;
    let url = Url::parse(&shown);
    if let Some(url) = &url {
        attributes.text("url.scheme", url.scheme);
        attributes.text("server.address", url.host);
        if let Some(port) = url.port {
            attributes.int("server.port", i64::from(port));
        }
    }
    let (path, query) = url.map_or_else(|| path_and_query(&shown), |url| (url.path, url.query));
    if url.is_some() || path.starts_with('/') {
        if !path.is_empty() {
            attributes.text("url.path", path);
        }
        if let Some(query) = query {
            attributes.text("url.query", query);
        }
    }
    // What the parts would not give again is kept whole.
    if url.is_none_or(|url| url.write() != shown) && !options.old() {
        attributes.text("aws.xray.http.url", shown.as_ref());
    }
}

fn response(place: &Place, map: NodeId, draft: &mut Draft, salvaged: &mut Salvaged) {
    let tree = place.walk.tree;
    let options = place.walk.options;
    if let Some(status) = place.walk.get(Some(map), "status") {
        let text = tree.number(status).or(tree.text(status));
        match text.and_then(whole_number) {
            Some(number) => {
                draft.http_status = Some(number);
                if options.stable() {
                    draft.attributes.int("http.response.status_code", number);
                }
                if options.old() {
                    draft.attributes.int("http.status_code", number);
                }
            }
            None => {
                let raw = text.map_or_else(|| tree.compact(status), str::to_owned);
                draft.attributes.text("aws.xray.http.response.status", raw);
                draft.salvage(Reason::HttpStatus, salvaged);
            }
        }
    }
    let Some(length) = place.walk.get(Some(map), "content_length") else {
        return;
    };
    let number = tree.number(length).or(tree.text(length)).and_then(whole_number);
    let as_text = tree.text(length);
    match number {
        Some(number) => {
            if options.stable() {
                draft.attributes.int("http.response.body.size", number);
            }
            match as_text {
                Some(text) if options.old() => draft.attributes.text("http.response_content_length", text),
                None if options.old() => draft.attributes.int("http.response_content_length", number),
                _ => {}
            }
        }
        None => {
            let raw = as_text.map_or_else(|| tree.compact(length), str::to_owned);
            draft.attributes.text("aws.xray.http.response.content_length", raw);
            draft.salvage(Reason::FieldType, salvaged);
        }
    }
}

/// `200`, also where an encoder made `200.0` of it.
fn whole_number(text: &str) -> Option<i64> {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.trim().parse().ok()
}
