//! The `sql` block.

use super::span::{Draft, Place};
use crate::aws::xray::document::Kind;
use crate::aws::xray::sql::{self, system_name};
use crate::aws::xray::urls::{Url, database, without_password};

pub(super) fn translate(place: &Place, draft: &mut Draft) {
    let Some(block) = place.segment.fields.sql else { return };
    let (tree, options) = (place.walk.tree, place.walk.options);
    let get = |key| place.walk.get_text(Some(block), key);
    let attributes = &mut draft.attributes;
    if let Some(query) = get("sanitized_query") {
        if options.stable() {
            attributes.text("db.query.text", query);
        }
        if options.old() {
            attributes.text("db.statement", query);
        }
    }
    let url = get("url").map(without_password);
    let connection = get("connection_string").map(without_password);
    let parsed = url.as_deref().and_then(database);
    let told = parsed.or_else(|| connection.as_deref().and_then(database));
    let kind = get("database_type");
    let system = kind
        .map(system_name)
        .or_else(|| told.map(|url| system_name(url.scheme)));
    if let Some(system) = &system {
        if options.stable() {
            attributes.text("db.system.name", system.as_ref());
        }
        if options.old() {
            attributes.text("db.system", kind.unwrap_or(system));
        }
    }
    if options.stable()
        && let Some(url) = told
    {
        where_it_is(attributes, url);
    }
    if options.old() {
        if let Some(url) = &url {
            let (before, name) = url.rsplit_once('/').unwrap_or((url, ""));
            attributes.text("db.connection_string", before);
            attributes.text("db.name", name);
        }
        if let Some(user) = get("user") {
            attributes.text("db.user", user);
        }
    }
    // What the way back would not make of the above.
    let place = attributes.get_text("server.address").map(|host| {
        let port = attributes
            .get_int("server.port")
            .and_then(|port| u16::try_from(port).ok());
        (host, port)
    });
    let derived = sql::url(system.as_deref(), place, attributes.get_text("db.namespace"));
    let derived = derived.filter(|_| system.is_some());
    let keep = [
        ("url", url.as_deref().filter(|url| derived.as_deref() != Some(url))),
        ("connection_string", connection.as_deref()),
        ("database_type", kind.filter(|kind| system.as_deref() != Some(kind))),
    ];
    for (key, value) in keep {
        if let Some(value) = value {
            attributes.text(format!("aws.xray.sql.{key}"), value);
        }
    }
    // It would be made from the parts otherwise.
    if url.is_none() && derived.is_some() {
        attributes.text("aws.xray.sql.url", "");
    }
    if kind.is_none() && system.is_some() {
        attributes.text("aws.xray.sql.database_type", "");
    }
    for field in tree.children(block) {
        let key = tree.key(field);
        let is_done = matches!(key, "sanitized_query" | "url" | "connection_string" | "database_type");
        if is_done || tree.kind(field) == Kind::Null {
            continue;
        }
        let value = tree.text(field).map_or_else(|| tree.compact(field), str::to_owned);
        attributes.text(format!("aws.xray.sql.{key}"), value);
    }
}

fn where_it_is(attributes: &mut super::attributes::Attributes, url: Url) {
    let name = url.path.trim_start_matches('/');
    if !name.is_empty() {
        attributes.text("db.namespace", name);
    }
    // A segment that serves and calls at once has its own address there.
    if attributes.has("server.address") {
        return;
    }
    attributes.text("server.address", url.host);
    if let Some(port) = url.port {
        attributes.int("server.port", i64::from(port));
    }
}
