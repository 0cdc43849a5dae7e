//! What a document is called.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::source::Source;
use crate::aws::xray::urls;

/// X-Ray's limit, in characters.
const LONGEST: usize = 200;

/// The name, cleaned.
pub(super) fn of(source: &Source) -> String {
    clean(&raw(source))
}

fn raw(source: &Source) -> String {
    if let Some(name) = source.text("aws.xray.segment.name") {
        return name.to_owned();
    }
    let kind = source.kind;
    let is_local_root = source.text("aws.span.kind") == Some("LOCAL_ROOT");
    let is_local = kind == SpanKind::Server || (kind == SpanKind::Internal && is_local_root);
    if let Some(name) = source.text("aws.local.service").filter(|_| is_local) {
        return name.to_owned();
    }
    let is_remote = matches!(kind, SpanKind::Client | SpanKind::Producer | SpanKind::Consumer);
    if let Some(name) = source.text("aws.remote.service").filter(|_| is_remote) {
        return remote_service(source, name).to_owned();
    }
    if let Some(name) = source.first_text(&["peer.service", "aws.service"]) {
        return name.to_owned();
    }
    if let Some(name) = source.first_text(&["db.namespace", "db.name"]) {
        return match database_host(source) {
            Some(host) => format!("{name}@{host}"),
            None => name.to_owned(),
        };
    }
    let is_entry = kind == SpanKind::Server || (kind == SpanKind::Consumer && source.span.parent_span_id.is_empty());
    let service = source.resource_text("service.name").filter(|_| is_entry);
    let others = [
        "rpc.service",
        "http.host",
        "server.address",
        "net.peer.name",
        "messaging.destination.name",
    ];
    let name = service.or_else(|| source.first_text(&others));
    name.unwrap_or(&source.span.name).to_owned()
}

/// `AWS.SDK.DynamoDB` and `AWS::DynamoDB` are what X-Ray calls `DynamoDB`.
fn remote_service<'a>(source: &Source, name: &'a str) -> &'a str {
    if source.first_text(&["rpc.system", "rpc.system.name"]) != Some("aws-api") {
        return name;
    }
    let name = name.strip_prefix("AWS.SDK.").unwrap_or(name);
    name.strip_prefix("AWS::").unwrap_or(name)
}

fn database_host<'a>(source: &Source<'a>) -> Option<&'a str> {
    let connection = source.text("db.connection_string").and_then(urls::database);
    connection.map(|url| url.host).or_else(|| source.text("server.address"))
}

/// Only characters that X-Ray takes, at most 200 of them, at least one.
pub(super) fn clean(name: &str) -> String {
    let is_legal = |character: &char| {
        character.is_alphanumeric()
            || matches!(
                character,
                ' ' | '_' | '.' | ':' | '/' | '%' | '&' | '#' | '=' | '+' | '\\' | '-' | '@'
            )
    };
    let cleaned: String = name.chars().filter(is_legal).take(LONGEST).collect();
    if cleaned.trim().is_empty() {
        "span".to_owned()
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters_and_never_empty() {
        assert_eq!(clean("GET /users/{id}"), "GET /users/id");
        assert_eq!(clean("日".repeat(300).as_str()).chars().count(), 200);
        assert_eq!(clean("{}*"), "span");
        assert_eq!(clean(""), "span");
    }
}
