//! Rows as spans again. Only files of this schema are read.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use super::{any, schema};

/// The spans of a file; `longest` bytes at most when it is unpacked.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode(bytes: &Bytes, longest: usize) -> Result<ExportTraceServiceRequest, String> {
    let reader = SerializedFileReader::new(bytes.clone()).map_err(|error| error.to_string())?;
    let metadata = reader.metadata();
    let ours = schema::schema().map_err(|error| error.to_string())?;
    if *metadata.file_metadata().schema() != ours {
        return Err("it has other columns than this version writes".to_owned());
    }
    let unpacked: i64 = metadata
        .row_groups()
        .iter()
        .map(|group| group.total_byte_size().max(0))
        .fold(0, i64::saturating_add);
    if usize::try_from(unpacked).map_or(true, |unpacked| unpacked > longest) {
        return Err(format!("it has {unpacked} bytes when unpacked; {longest} are read"));
    }
    let mut request = ExportTraceServiceRequest::default();
    for row in reader.get_row_iter(None).map_err(|error| error.to_string())? {
        let row = row.map_err(|error| error.to_string())?;
        take(&mut request, &row).ok_or("a row has values of other types")?;
    }
    Ok(request)
}

/// The fields of a row or group, in the order of the schema.
struct Fields<'a>(Vec<&'a Field>, usize);

impl<'a> Fields<'a> {
    fn of(row: &'a Row) -> Self {
        Self(row.get_column_iter().map(|(_, field)| field).collect(), 0)
    }

    fn next(&mut self) -> Option<&'a Field> {
        let field = self.0.get(self.1).copied();
        self.1 += 1;
        field
    }

    fn text(&mut self) -> Option<String> {
        self.optional_text().map(Option::unwrap_or_default)
    }

    fn optional_text(&mut self) -> Option<Option<String>> {
        match self.next()? {
            Field::Str(text) => Some(Some(text.clone())),
            Field::Null => Some(None),
            _ => None,
        }
    }

    fn id(&mut self) -> Option<Vec<u8>> {
        hex::decode(self.text()?).ok()
    }

    fn count(&mut self) -> Option<u32> {
        match self.next()? {
            Field::UInt(count) => Some(*count),
            _ => None,
        }
    }

    fn int(&mut self) -> Option<Option<i32>> {
        match self.next()? {
            Field::Int(number) => Some(Some(*number)),
            Field::Null => Some(None),
            _ => None,
        }
    }

    fn time(&mut self) -> Option<u64> {
        match self.next()? {
            Field::Long(nanos) => Some(nanos.cast_unsigned()),
            _ => None,
        }
    }

    fn attributes(&mut self) -> Option<Vec<KeyValue>> {
        let Field::MapInternal(map) = self.next()? else {
            return None;
        };
        map.entries().iter().map(attribute).collect()
    }

    fn list<T>(&mut self, element: impl Fn(&mut Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Field::ListInternal(list) = self.next()? else {
            return None;
        };
        let of = |field: &Field| match field {
            Field::Group(row) => element(&mut Fields::of(row)),
            _ => None,
        };
        list.elements().iter().map(of).collect()
    }
}

fn attribute((key, value): &(Field, Field)) -> Option<KeyValue> {
    let Field::Str(key) = key else { return None };
    let value = match value {
        Field::Null => None,
        Field::Group(row) => Some(AnyValue { value: any_value(row)? }),
        _ => return None,
    };
    Some(KeyValue {
        key: key.clone(),
        value,
        ..KeyValue::default()
    })
}

fn any_value(row: &Row) -> Option<Option<Any>> {
    let mut set = row.get_column_iter().filter(|(_, field)| !matches!(field, Field::Null));
    let Some((name, field)) = set.next() else {
        return Some(None);
    };
    let json = |text: &str| serde_json::from_str(text).ok();
    let value = match (name.as_str(), field) {
        ("string_value", Field::Str(text)) => Any::StringValue(text.clone()),
        ("bool_value", Field::Bool(flag)) => Any::BoolValue(*flag),
        ("int_value", Field::Long(number)) => Any::IntValue(*number),
        ("double_value", Field::Double(number)) => Any::DoubleValue(*number),
        ("bytes_value", Field::Bytes(bytes)) => Any::BytesValue(bytes.data().to_vec()),
        ("array_value", Field::Str(text)) => Any::ArrayValue(any::array_of(&json(text)?)),
        ("kvlist_value", Field::Str(text)) => Any::KvlistValue(any::map_of(&json(text)?)),
        _ => return None,
    };
    Some(Some(value))
}

fn event(fields: &mut Fields<'_>) -> Option<Event> {
    Some(Event {
        time_unix_nano: fields.time()?,
        name: fields.text()?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.count()?,
    })
}

fn link(fields: &mut Fields<'_>) -> Option<Link> {
    Some(Link {
        trace_id: fields.id()?,
        span_id: fields.id()?,
        trace_state: fields.text()?,
        flags: fields.count()?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.count()?,
    })
}

/// Adds the span of a row, to the resource and scope of the row before where they are the same.
fn take(request: &mut ExportTraceServiceRequest, row: &Row) -> Option<()> {
    let mut fields = Fields::of(row);
    let mut span = Span {
        trace_id: fields.id()?,
        span_id: fields.id()?,
        parent_span_id: fields.id()?,
        trace_state: fields.text()?,
        flags: fields.count()?,
        name: fields.text()?,
        kind: fields.int()?.unwrap_or_default(),
        start_time_unix_nano: fields.time()?,
        end_time_unix_nano: fields.time()?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.count()?,
        events: fields.list(event)?,
        dropped_events_count: fields.count()?,
        links: fields.list(link)?,
        dropped_links_count: fields.count()?,
        status: None,
    };
    let code = fields.int()?;
    let message = fields.optional_text()?;
    span.status = code.map(|code| Status {
        code,
        message: message.unwrap_or_default(),
    });
    // The service's name stands among the attributes of the resource.
    fields.optional_text()?;
    let resource = Resource {
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.count()?,
        ..Resource::default()
    };
    let resource_schema = fields.text()?;
    let scope = InstrumentationScope {
        name: fields.text()?,
        version: fields.text()?,
        attributes: fields.attributes()?,
        dropped_attributes_count: fields.count()?,
    };
    let scope_schema = fields.text()?;
    let is_same = request
        .resource_spans
        .last()
        .is_some_and(|last| last.resource.as_ref() == Some(&resource) && last.schema_url == resource_schema);
    if !is_same {
        request.resource_spans.push(ResourceSpans {
            resource: Some(resource),
            scope_spans: Vec::new(),
            schema_url: resource_schema,
        });
    }
    let scopes = &mut request.resource_spans.last_mut()?.scope_spans;
    let is_same = scopes
        .last()
        .is_some_and(|last| last.scope.as_ref() == Some(&scope) && last.schema_url == scope_schema);
    if !is_same {
        scopes.push(ScopeSpans {
            scope: Some(scope),
            spans: Vec::new(),
            schema_url: scope_schema,
        });
    }
    scopes.last_mut()?.spans.push(span);
    Some(())
}
