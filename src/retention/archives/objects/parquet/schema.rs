//! The columns. The exporter's README has the same table.

use parquet::errors::ParquetError;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

/// An `AnyValue`: the one that is set. Arrays and maps are OTLP/JSON.
const VALUE: &str = "
    optional binary string_value (STRING);
    optional boolean bool_value;
    optional int64 int_value;
    optional double double_value;
    optional binary bytes_value;
    optional binary array_value (STRING);
    optional binary kvlist_value (STRING);";

fn attributes(name: &str) -> String {
    format!(
        "required group {name} (MAP) {{ repeated group key_value {{
            required binary key (STRING);
            optional group value {{ {VALUE} }} }} }}
        required int32 {name_of_count} (INTEGER(32,false));",
        name_of_count = name.replace("attributes", "dropped_attributes_count"),
    )
}

/// Of every file.
///
/// # Errors
/// None: the text is ours.
pub fn schema() -> Result<Type, ParquetError> {
    let own = attributes("attributes");
    let text = format!(
        "message spans {{
        required binary trace_id (STRING);
        required binary span_id (STRING);
        optional binary parent_span_id (STRING);
        required binary trace_state (STRING);
        required int32 flags (INTEGER(32,false));
        required binary name (STRING);
        required int32 kind;
        required int64 start_time_unix_nano (TIMESTAMP(NANOS,true));
        required int64 end_time_unix_nano (TIMESTAMP(NANOS,true));
        {own}
        required group events (LIST) {{ repeated group list {{ required group element {{
            required int64 time_unix_nano (TIMESTAMP(NANOS,true));
            required binary name (STRING);
            {own} }} }} }}
        required int32 dropped_events_count (INTEGER(32,false));
        required group links (LIST) {{ repeated group list {{ required group element {{
            required binary trace_id (STRING);
            required binary span_id (STRING);
            required binary trace_state (STRING);
            required int32 flags (INTEGER(32,false));
            {own} }} }} }}
        required int32 dropped_links_count (INTEGER(32,false));
        optional int32 status_code;
        optional binary status_message (STRING);
        optional binary service_name (STRING);
        {of_resource}
        required binary resource_schema_url (STRING);
        required binary scope_name (STRING);
        required binary scope_version (STRING);
        {of_scope}
        required binary scope_schema_url (STRING);
    }}",
        of_resource = attributes("resource_attributes"),
        of_scope = attributes("scope_attributes"),
    );
    parse_message_type(&text)
}
