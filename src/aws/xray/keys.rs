//! The keys under which the exporter leaves in `metadata.default` what a segment has no place for.

/// On every document that was a span, and on no other: `SERVER`, `CLIENT`, ...
pub(super) const KIND: &str = "otel.span.kind";
pub(super) const NAME: &str = "otel.span.name";
pub(super) const STATUS: &str = "otel.status";
pub(super) const EVENTS: &str = "otel.events";
pub(super) const LINKS: &str = "otel.links";
pub(super) const FLAGS: &str = "otel.flags";
pub(super) const TRACE_STATE: &str = "otel.trace_state";
pub(super) const SCOPE: &str = "otel.scope";
pub(super) const SCOPE_SCHEMA: &str = "otel.scope.schema_url";
pub(super) const RESOURCE_SCHEMA: &str = "otel.schema_url";
pub(super) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
pub(super) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
pub(super) const DROPPED_LINKS: &str = "otel.dropped_links_count";
/// What was shortened because the document was too large.
pub(super) const TRUNCATED: &str = "otel.truncated";
/// Before the keys of resource attributes.
pub(super) const RESOURCE: &str = "otel.resource.";
/// Before the keys of attributes that look like one of these.
pub(super) const ATTRIBUTE: &str = "otel.attribute.";
/// The only key of a map that stands for bytes (base64), or for a float that JSON has not.
pub(super) const BYTES: &str = "otel.bytes";
pub(super) const DOUBLE: &str = "otel.double";

/// Attributes that are not repeated in the metadata, because they are read back from the segment's own fields.
pub(super) const READ_BACK: [&str; 6] = [
    "http.request.method",
    "http.response.status_code",
    "http.response.body.size",
    "user_agent.original",
    "enduser.id",
    "db.query.text",
];

/// Whether a key of the metadata is one of these and not an attribute's.
pub(super) fn is_ours(key: &str) -> bool {
    const EXACT: [&str; 14] = [
        KIND,
        NAME,
        STATUS,
        EVENTS,
        LINKS,
        FLAGS,
        TRACE_STATE,
        SCOPE,
        SCOPE_SCHEMA,
        RESOURCE_SCHEMA,
        DROPPED_ATTRIBUTES,
        DROPPED_EVENTS,
        DROPPED_LINKS,
        TRUNCATED,
    ];
    EXACT.contains(&key) || key.starts_with(RESOURCE) || key.starts_with(ATTRIBUTE)
}
