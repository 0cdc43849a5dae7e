//! The tables, after opentelemetry-proto v1 (`common`, `resource`, `trace`, `metrics`, `logs`, `collector`).
//!
//! `memory` is what the generated structs take on a 64-bit machine; a test in `pdata` holds them to `size_of`.

use super::{FieldSpec, Kind, MessageSpec, Role};

const fn field(number: u32, name: &'static str, json: &'static str, kind: Kind) -> FieldSpec {
    FieldSpec::new(number, name, json, kind)
}

const fn attributes(number: u32) -> FieldSpec {
    field(number, "attributes", "attributes", Kind::Message(&KEY_VALUE)).repeated()
}

const fn dropped_attributes(number: u32) -> FieldSpec {
    let (name, json) = ("dropped_attributes_count", "droppedAttributesCount");
    field(number, name, json, Kind::Uint32)
}

const fn schema_url(number: u32) -> FieldSpec {
    field(number, "schema_url", "schemaUrl", Kind::String)
}

const fn time(number: u32) -> FieldSpec {
    field(number, "time_unix_nano", "timeUnixNano", Kind::Fixed64)
}

const fn start_time(number: u32) -> FieldSpec {
    field(number, "start_time_unix_nano", "startTimeUnixNano", Kind::Fixed64)
}

const fn list(number: u32, name: &'static str, json: &'static str, message: &'static MessageSpec) -> FieldSpec {
    field(number, name, json, Kind::Message(message)).repeated()
}

const fn one(number: u32, name: &'static str, json: &'static str, message: &'static MessageSpec) -> FieldSpec {
    field(number, name, json, Kind::Message(message)).presence()
}

const fn text(number: u32, name: &'static str) -> FieldSpec {
    field(number, name, name, Kind::String)
}

const fn trace_id(number: u32) -> FieldSpec {
    field(number, "trace_id", "traceId", Kind::Id(16))
}

const fn span_id(number: u32) -> FieldSpec {
    field(number, "span_id", "spanId", Kind::Id(8))
}

const fn flags(number: u32, kind: Kind) -> FieldSpec {
    field(number, "flags", "flags", kind)
}

const fn optional_double(number: u32, name: &'static str) -> FieldSpec {
    field(number, name, name, Kind::Double).presence()
}

// common.proto

pub static ANY_VALUE: MessageSpec = MessageSpec::new(
    "AnyValue",
    Role::Value,
    32,
    &[
        field(1, "string_value", "stringValue", Kind::String).oneof(),
        field(2, "bool_value", "boolValue", Kind::Bool).oneof(),
        field(3, "int_value", "intValue", Kind::Int64).oneof(),
        field(4, "double_value", "doubleValue", Kind::Double).oneof(),
        one(5, "array_value", "arrayValue", &ARRAY_VALUE).oneof(),
        one(6, "kvlist_value", "kvlistValue", &KEY_VALUE_LIST).oneof(),
        field(7, "bytes_value", "bytesValue", Kind::Bytes).oneof(),
        field(8, "string_value_strindex", "stringValueStrindex", Kind::Int32).oneof(),
    ],
);

static ARRAY_VALUE: MessageSpec = MessageSpec::new(
    "ArrayValue",
    Role::Plain,
    24,
    &[list(1, "values", "values", &ANY_VALUE)],
);

static KEY_VALUE_LIST: MessageSpec = MessageSpec::new(
    "KeyValueList",
    Role::Plain,
    24,
    &[list(1, "values", "values", &KEY_VALUE)],
);

pub static KEY_VALUE: MessageSpec = MessageSpec::new(
    "KeyValue",
    Role::Attribute,
    64,
    &[
        text(1, "key"),
        one(2, "value", "value", &ANY_VALUE),
        field(3, "key_strindex", "keyStrindex", Kind::Int32),
    ],
);

pub static INSTRUMENTATION_SCOPE: MessageSpec = MessageSpec::new(
    "InstrumentationScope",
    Role::Plain,
    80,
    &[
        text(1, "name"),
        text(2, "version"),
        attributes(3),
        dropped_attributes(4),
    ],
);

static ENTITY_REF: MessageSpec = MessageSpec::new(
    "EntityRef",
    Role::Plain,
    96,
    &[
        schema_url(1),
        text(2, "type"),
        field(3, "id_keys", "idKeys", Kind::String).repeated(),
        field(4, "description_keys", "descriptionKeys", Kind::String).repeated(),
    ],
);

// resource.proto

pub static RESOURCE: MessageSpec = MessageSpec::new(
    "Resource",
    Role::Plain,
    56,
    &[
        attributes(1),
        dropped_attributes(2),
        list(3, "entity_refs", "entityRefs", &ENTITY_REF),
    ],
);

// trace.proto

pub static TRACES_REQUEST: MessageSpec = MessageSpec::new(
    "ExportTraceServiceRequest",
    Role::Plain,
    24,
    &[list(1, "resource_spans", "resourceSpans", &RESOURCE_SPANS)],
);

static RESOURCE_SPANS: MessageSpec = MessageSpec::new(
    "ResourceSpans",
    Role::Plain,
    104,
    &[
        one(1, "resource", "resource", &RESOURCE),
        list(2, "scope_spans", "scopeSpans", &SCOPE_SPANS),
        schema_url(3),
    ],
);

static SCOPE_SPANS: MessageSpec = MessageSpec::new(
    "ScopeSpans",
    Role::Plain,
    128,
    &[
        one(1, "scope", "scope", &INSTRUMENTATION_SCOPE),
        list(2, "spans", "spans", &SPAN),
        schema_url(3),
    ],
);

static SPAN_KIND: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

pub static SPAN: MessageSpec = MessageSpec::new(
    "Span",
    Role::Item,
    264,
    &[
        trace_id(1),
        span_id(2),
        field(3, "trace_state", "traceState", Kind::String),
        field(4, "parent_span_id", "parentSpanId", Kind::Id(8)),
        flags(16, Kind::Fixed32),
        text(5, "name"),
        field(6, "kind", "kind", Kind::Enum(SPAN_KIND)),
        start_time(7),
        field(8, "end_time_unix_nano", "endTimeUnixNano", Kind::Fixed64),
        attributes(9),
        dropped_attributes(10),
        list(11, "events", "events", &EVENT),
        field(12, "dropped_events_count", "droppedEventsCount", Kind::Uint32),
        list(13, "links", "links", &LINK),
        field(14, "dropped_links_count", "droppedLinksCount", Kind::Uint32),
        one(15, "status", "status", &STATUS),
    ],
);

static EVENT: MessageSpec = MessageSpec::new(
    "Event",
    Role::Plain,
    64,
    &[time(1), text(2, "name"), attributes(3), dropped_attributes(4)],
);

static LINK: MessageSpec = MessageSpec::new(
    "Link",
    Role::Plain,
    104,
    &[
        trace_id(1),
        span_id(2),
        field(3, "trace_state", "traceState", Kind::String),
        attributes(4),
        dropped_attributes(5),
        flags(6, Kind::Fixed32),
    ],
);

static STATUS_CODE: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

static STATUS: MessageSpec = MessageSpec::new(
    "Status",
    Role::Plain,
    32,
    &[text(2, "message"), field(3, "code", "code", Kind::Enum(STATUS_CODE))],
);

// metrics.proto

pub static METRICS_REQUEST: MessageSpec = MessageSpec::new(
    "ExportMetricsServiceRequest",
    Role::Plain,
    24,
    &[list(1, "resource_metrics", "resourceMetrics", &RESOURCE_METRICS)],
);

static RESOURCE_METRICS: MessageSpec = MessageSpec::new(
    "ResourceMetrics",
    Role::Plain,
    104,
    &[
        one(1, "resource", "resource", &RESOURCE),
        list(2, "scope_metrics", "scopeMetrics", &SCOPE_METRICS),
        schema_url(3),
    ],
);

static SCOPE_METRICS: MessageSpec = MessageSpec::new(
    "ScopeMetrics",
    Role::Plain,
    128,
    &[
        one(1, "scope", "scope", &INSTRUMENTATION_SCOPE),
        list(2, "metrics", "metrics", &METRIC),
        schema_url(3),
    ],
);

pub static METRIC: MessageSpec = MessageSpec::new(
    "Metric",
    Role::Item,
    136,
    &[
        text(1, "name"),
        text(2, "description"),
        text(3, "unit"),
        one(5, "gauge", "gauge", &GAUGE).oneof(),
        one(7, "sum", "sum", &SUM).oneof(),
        one(9, "histogram", "histogram", &HISTOGRAM).oneof(),
        one(
            10,
            "exponential_histogram",
            "exponentialHistogram",
            &EXPONENTIAL_HISTOGRAM,
        )
        .oneof(),
        one(11, "summary", "summary", &SUMMARY).oneof(),
        field(12, "metadata", "metadata", Kind::Message(&KEY_VALUE)).repeated(),
    ],
);

static TEMPORALITY: &[&str] = &[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
];

const fn temporality() -> FieldSpec {
    let (name, json) = ("aggregation_temporality", "aggregationTemporality");
    field(2, name, json, Kind::Enum(TEMPORALITY))
}

const fn points(message: &'static MessageSpec) -> FieldSpec {
    list(1, "data_points", "dataPoints", message)
}

static GAUGE: MessageSpec = MessageSpec::new("Gauge", Role::Plain, 24, &[points(&NUMBER_POINT)]);

static SUM: MessageSpec = MessageSpec::new(
    "Sum",
    Role::Plain,
    32,
    &[
        points(&NUMBER_POINT),
        temporality(),
        field(3, "is_monotonic", "isMonotonic", Kind::Bool),
    ],
);

static HISTOGRAM: MessageSpec =
    MessageSpec::new("Histogram", Role::Plain, 32, &[points(&HISTOGRAM_POINT), temporality()]);

static EXPONENTIAL_HISTOGRAM: MessageSpec = MessageSpec::new(
    "ExponentialHistogram",
    Role::Plain,
    32,
    &[points(&EXPONENTIAL_HISTOGRAM_POINT), temporality()],
);

static SUMMARY: MessageSpec = MessageSpec::new("Summary", Role::Plain, 24, &[points(&SUMMARY_POINT)]);

static NUMBER_POINT: MessageSpec = MessageSpec::new(
    "NumberDataPoint",
    Role::Point,
    88,
    &[
        attributes(7),
        start_time(2),
        time(3),
        field(4, "as_double", "asDouble", Kind::Double).oneof(),
        field(6, "as_int", "asInt", Kind::Sfixed64).oneof(),
        list(5, "exemplars", "exemplars", &EXEMPLAR),
        flags(8, Kind::Uint32),
    ],
);

static HISTOGRAM_POINT: MessageSpec = MessageSpec::new(
    "HistogramDataPoint",
    Role::Point,
    176,
    &[
        attributes(9),
        start_time(2),
        time(3),
        field(4, "count", "count", Kind::Fixed64),
        optional_double(5, "sum"),
        field(6, "bucket_counts", "bucketCounts", Kind::Fixed64).repeated(),
        field(7, "explicit_bounds", "explicitBounds", Kind::Double).repeated(),
        list(8, "exemplars", "exemplars", &EXEMPLAR),
        flags(10, Kind::Uint32),
        optional_double(11, "min"),
        optional_double(12, "max"),
    ],
);

static EXPONENTIAL_HISTOGRAM_POINT: MessageSpec = MessageSpec::new(
    "ExponentialHistogramDataPoint",
    Role::Point,
    224,
    &[
        attributes(1),
        start_time(2),
        time(3),
        field(4, "count", "count", Kind::Fixed64),
        optional_double(5, "sum"),
        field(6, "scale", "scale", Kind::Sint32),
        field(7, "zero_count", "zeroCount", Kind::Fixed64),
        one(8, "positive", "positive", &BUCKETS),
        one(9, "negative", "negative", &BUCKETS),
        flags(10, Kind::Uint32),
        list(11, "exemplars", "exemplars", &EXEMPLAR),
        optional_double(12, "min"),
        optional_double(13, "max"),
        field(14, "zero_threshold", "zeroThreshold", Kind::Double),
    ],
);

static BUCKETS: MessageSpec = MessageSpec::new(
    "Buckets",
    Role::Plain,
    32,
    &[
        field(1, "offset", "offset", Kind::Sint32),
        field(2, "bucket_counts", "bucketCounts", Kind::Uint64).repeated(),
    ],
);

static SUMMARY_POINT: MessageSpec = MessageSpec::new(
    "SummaryDataPoint",
    Role::Point,
    88,
    &[
        attributes(7),
        start_time(2),
        time(3),
        field(4, "count", "count", Kind::Fixed64),
        field(5, "sum", "sum", Kind::Double),
        list(6, "quantile_values", "quantileValues", &QUANTILE),
        flags(8, Kind::Uint32),
    ],
);

static QUANTILE: MessageSpec = MessageSpec::new(
    "ValueAtQuantile",
    Role::Plain,
    16,
    &[
        field(1, "quantile", "quantile", Kind::Double),
        field(2, "value", "value", Kind::Double),
    ],
);

static EXEMPLAR: MessageSpec = MessageSpec::new(
    "Exemplar",
    Role::Plain,
    96,
    &[
        field(
            7,
            "filtered_attributes",
            "filteredAttributes",
            Kind::Message(&KEY_VALUE),
        )
        .repeated(),
        time(2),
        field(3, "as_double", "asDouble", Kind::Double).oneof(),
        field(6, "as_int", "asInt", Kind::Sfixed64).oneof(),
        span_id(4),
        trace_id(5),
    ],
);

// logs.proto

pub static LOGS_REQUEST: MessageSpec = MessageSpec::new(
    "ExportLogsServiceRequest",
    Role::Plain,
    24,
    &[list(1, "resource_logs", "resourceLogs", &RESOURCE_LOGS)],
);

static RESOURCE_LOGS: MessageSpec = MessageSpec::new(
    "ResourceLogs",
    Role::Plain,
    104,
    &[
        one(1, "resource", "resource", &RESOURCE),
        list(2, "scope_logs", "scopeLogs", &SCOPE_LOGS),
        schema_url(3),
    ],
);

static SCOPE_LOGS: MessageSpec = MessageSpec::new(
    "ScopeLogs",
    Role::Plain,
    128,
    &[
        one(1, "scope", "scope", &INSTRUMENTATION_SCOPE),
        list(2, "log_records", "logRecords", &LOG_RECORD),
        schema_url(3),
    ],
);

static SEVERITY: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

pub static LOG_RECORD: MessageSpec = MessageSpec::new(
    "LogRecord",
    Role::Item,
    184,
    &[
        time(1),
        field(11, "observed_time_unix_nano", "observedTimeUnixNano", Kind::Fixed64),
        field(2, "severity_number", "severityNumber", Kind::Enum(SEVERITY)),
        field(3, "severity_text", "severityText", Kind::String),
        one(5, "body", "body", &ANY_VALUE),
        attributes(6),
        dropped_attributes(7),
        flags(8, Kind::Fixed32),
        trace_id(9),
        span_id(10),
        field(12, "event_name", "eventName", Kind::String),
    ],
);
