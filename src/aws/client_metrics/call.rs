//! One client span of an AWS SDK, understood.
//!
//! Attributes come in generations: `rpc.system` and `rpc.system.name`, `db.system` and `db.system.name`, `aws.region` and
//! `cloud.region`, the X-Ray receiver's `aws.operation`. Errors are told by an exception event (Python puts the code into
//! its message), by `error.type`, by the status message or by the HTTP status.

use super::capacity::{Collection, Consumed, collections, consumed};
use crate::wire::{Span, Text, Value, Values, WireError};

/// Client.
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;
/// Longer texts are cut before they become labels.
const LONGEST: usize = 256;
/// A batch call names at most 100 items; each could be of another table.
const MOST_TABLES: usize = 100;
/// SDKs record one exception, or one for each attempt.
const MOST_EVENTS: usize = 32;

/// A call of an AWS API as its client saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientCall {
    /// `DynamoDB`, `S3`, ...
    pub service: String,
    pub is_dynamodb: bool,
    /// `GetItem`
    pub operation: String,
    /// Empty where nothing tells it.
    pub region: String,
    /// DynamoDB: every table that the call names.
    pub tables: Vec<String>,
    pub index: Option<String>,
    pub seconds: f64,
    /// Nanoseconds since the epoch.
    pub end: u64,
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    /// The service's code where one is told: `ProvisionedThroughputExceededException`.
    pub error: Option<String>,
    pub throttled: bool,
    /// An item collection has reached 10 GB: writes to it fail until something is deleted.
    pub collection_limit: bool,
    pub retries: u64,
    pub consumed: Vec<Consumed>,
    pub collections: Vec<Collection>,
}

/// The attributes that tell something, as they stand in the span.
#[derive(Default)]
struct Found<'a> {
    rpc_system: Option<Value<'a>>,
    rpc_service: Option<Value<'a>>,
    rpc_method: Option<Value<'a>>,
    db_system: Option<Value<'a>>,
    db_operation: Option<Value<'a>>,
    db_name: Option<Value<'a>>,
    aws_service: Option<Value<'a>>,
    aws_operation: Option<Value<'a>>,
    region: Option<Value<'a>>,
    host: Option<Value<'a>>,
    tables: Option<Value<'a>>,
    table: Option<Value<'a>>,
    index: Option<Value<'a>>,
    consumed: Option<Value<'a>>,
    collections: Option<Value<'a>>,
    retries: Option<Value<'a>>,
    error_type: Option<Value<'a>>,
    http_status: Option<Value<'a>>,
    xray_throttle: Option<Value<'a>>,
}

impl<'a> Found<'a> {
    fn read(span: &Span<'a>) -> Result<Self, WireError> {
        let mut found = Self::default();
        for attribute in span.attributes() {
            let attribute = attribute?;
            if let Some(place) = attribute.key()?.to_str().and_then(|key| found.place(key)) {
                // The first of several, as everywhere.
                if place.is_none() {
                    *place = Some(attribute.value()?);
                }
            }
        }
        Ok(found)
    }

    fn place(&mut self, key: &str) -> Option<&mut Option<Value<'a>>> {
        Some(match key {
            "rpc.system" | "rpc.system.name" => &mut self.rpc_system,
            "rpc.service" => &mut self.rpc_service,
            "rpc.method" => &mut self.rpc_method,
            "db.system" | "db.system.name" => &mut self.db_system,
            "db.operation" | "db.operation.name" => &mut self.db_operation,
            "db.name" | "db.namespace" | "db.collection.name" => &mut self.db_name,
            "aws.service" => &mut self.aws_service,
            "aws.operation" => &mut self.aws_operation,
            "cloud.region" | "aws.region" => &mut self.region,
            "server.address" | "net.peer.name" => &mut self.host,
            "aws.dynamodb.table_names" | "aws.table_names" => &mut self.tables,
            "aws.table_name" | "aws.table.name" => &mut self.table,
            "aws.dynamodb.index_name" => &mut self.index,
            "aws.dynamodb.consumed_capacity" | "aws.consumed_capacity" => &mut self.consumed,
            "aws.dynamodb.item_collection_metrics" => &mut self.collections,
            "retry_attempts"
            | "aws.retry_attempts"
            | "aws.retries"
            | "aws.xray.retries"
            | "http.request.resend_count"
            | "http.resend_count" => &mut self.retries,
            "error.type" => &mut self.error_type,
            "http.response.status_code" | "http.status_code" => &mut self.http_status,
            "aws.xray.throttle" => &mut self.xray_throttle,
            _ => return None,
        })
    }

    fn is_dynamodb(&self, service: &str) -> bool {
        let database = text(&self.db_system).unwrap_or_default();
        let lower = service.to_ascii_lowercase();
        // "DynamoDB Streams" is another API.
        matches!(database, "dynamodb" | "aws.dynamodb") || (lower.contains("dynamodb") && !lower.contains("stream"))
    }

    fn is_aws(&self) -> bool {
        text(&self.rpc_system) == Some("aws-api")
            || text(&self.aws_operation).is_some()
            || matches!(text(&self.db_system), Some("dynamodb" | "aws.dynamodb"))
    }
}

impl ClientCall {
    /// Reads a span; `None` where it is no call of an AWS API by its client. Without `consumed` and `collections` where
    /// their JSON cannot be read: not every SDK writes JSON.
    ///
    /// # Errors
    /// Where the span is malformed.
    pub fn read(span: &Span<'_>) -> Result<Option<Self>, WireError> {
        if span.kind()? != KIND_CLIENT {
            return Ok(None);
        }
        let found = Found::read(span)?;
        if !found.is_aws() {
            return Ok(None);
        }
        let name = span.name()?;
        let (service, mut operation) = service_and_operation(&found, name.to_str().unwrap_or_default());
        let is_dynamodb = found.is_dynamodb(&service);
        if is_dynamodb {
            capitalise(&mut operation);
        }
        let (start, end) = (span.start_time_unix_nano()?, span.end_time_unix_nano()?);
        let mut call = Self {
            service,
            is_dynamodb,
            operation,
            region: region_of(&found),
            index: text(&found.index).filter(|index| !index.is_empty()).map(cut),
            seconds: end.saturating_sub(start) as f64 / 1e9,
            end,
            trace_id: span.trace_id()?.to_vec(),
            span_id: span.span_id()?.to_vec(),
            retries: number(&found.retries).unwrap_or(0),
            ..Self::default()
        };
        if is_dynamodb {
            call.tables = tables(&found)?;
            for json in texts(&found.consumed)? {
                call.consumed.extend(consumed(json));
            }
            for json in texts(&found.collections)? {
                call.collections.extend(collections(json));
            }
        }
        call.read_error(span, &found)?;
        Ok(Some(call))
    }

    fn read_error(&mut self, span: &Span<'_>, found: &Found<'_>) -> Result<(), WireError> {
        let status = span.status()?;
        let http = number(&found.http_status);
        let told = text(&found.error_type).filter(|told| !told.is_empty());
        let failed = status.code()? == STATUS_ERROR || told.is_some() || http.is_some_and(|code| code >= 400);
        let mut code = None;
        for event in span.events().take(MOST_EVENTS) {
            let event = event?;
            if event.name()?.as_bytes() != b"exception" {
                continue;
            }
            let kind = event.attribute("exception.type")?;
            let message = event.attribute("exception.message")?;
            let kind = text(&kind).unwrap_or_default();
            let message = text(&message).unwrap_or_default();
            self.collection_limit |= is_collection_limit(kind) || is_collection_limit(message);
            code = code_of(kind, message).or(code);
        }
        self.collection_limit |= told.is_some_and(is_collection_limit);
        if failed {
            let message = status.message()?;
            let code = code
                .or_else(|| told.and_then(|told| code_of(told, "")))
                .or_else(|| code_in_message(message.to_str().unwrap_or_default()))
                .or_else(|| told.map(cut))
                .or_else(|| http.map(|code| code.to_string()));
            self.error = Some(code.unwrap_or_else(|| "_OTHER".to_owned()));
        }
        let is_true = matches!(found.xray_throttle, Some(Value::Bool(true)));
        self.throttled = is_true || http == Some(429) || self.error.as_deref().is_some_and(is_throttle);
        Ok(())
    }
}

fn is_collection_limit(text: &str) -> bool {
    text.contains("ItemCollectionSizeLimitExceeded")
}

/// The codes that mean "slower, please".
fn is_throttle(code: &str) -> bool {
    code == "429"
        || [
            "ProvisionedThroughputExceeded",
            "Throttl",
            "RequestLimitExceeded",
            "TooManyRequests",
        ]
        .iter()
        .any(|start| code.starts_with(start))
}

/// The service's error code of an exception: the last part of its class, or what Python's one class for all says.
fn code_of(kind: &str, message: &str) -> Option<String> {
    let name = kind.rsplit(['.', '$', '#', ':']).next().unwrap_or_default();
    let numeric = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if name.is_empty() || numeric {
        return None;
    }
    if name == "ClientError" {
        return Some(code_in_message(message).unwrap_or_else(|| name.to_owned()));
    }
    Some(cut(name))
}

/// `An error occurred (ThrottlingException) when calling the Query operation: ...`
fn code_in_message(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("An error occurred (")?;
    let (code, _) = rest.split_once(')')?;
    let is_code = !code.is_empty() && code.len() <= 128 && code.bytes().all(|byte| byte.is_ascii_graphic());
    is_code.then(|| code.to_owned())
}

/// `rpc.service` and `rpc.method`; the newer `rpc.method` has both (`DynamoDB/GetItem`), as have names of spans
/// (`DynamoDB.GetItem`).
fn service_and_operation(found: &Found<'_>, name: &str) -> (String, String) {
    let mut service = text(&found.rpc_service).or(text(&found.aws_service));
    let mut operation = text(&found.rpc_method)
        .or(text(&found.aws_operation))
        .or(text(&found.db_operation));
    if let Some((before, after)) = operation.and_then(|operation| operation.rsplit_once('/')) {
        service = service.or(Some(before));
        operation = Some(after);
    }
    if let Some((before, after)) = name.split_once(['.', '/']) {
        service = service.or(Some(before));
        operation = operation.or(Some(after));
    }
    (cut(service.unwrap_or_default()), cut(operation.unwrap_or_default()))
}

fn capitalise(operation: &mut str) {
    if let Some(first) = operation.get_mut(..1) {
        first.make_ascii_uppercase();
    }
}

/// Told, or part of the endpoint: `dynamodb.eu-central-1.amazonaws.com`.
fn region_of(found: &Found<'_>) -> String {
    if let Some(region) = text(&found.region).filter(|region| !region.is_empty()) {
        return cut(region);
    }
    let host = text(&found.host).unwrap_or_default();
    let mut before = "";
    for label in host.split('.') {
        if label == "amazonaws" {
            return if before.contains('-') {
                cut(before)
            } else {
                String::new()
            };
        }
        before = label;
    }
    String::new()
}

fn tables(found: &Found<'_>) -> Result<Vec<String>, WireError> {
    let mut tables: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        // The name may be given as an ARN.
        let name = name.rsplit_once(":table/").map_or(name, |(_, name)| name);
        let name = cut(name.split('/').next().unwrap_or_default());
        if !name.is_empty() && !tables.contains(&name) && tables.len() < MOST_TABLES {
            tables.push(name);
        }
    };
    for name in texts(&found.tables)? {
        add(name);
    }
    text(&found.table).into_iter().for_each(&mut add);
    if tables.is_empty() {
        text(&found.db_name).into_iter().for_each(|name| tables.push(cut(name)));
    }
    Ok(tables)
}

fn text<'a>(value: &Option<Value<'a>>) -> Option<&'a str> {
    value
        .as_ref()
        .and_then(Value::as_text)
        .and_then(|text| Text::to_str(&text))
}

/// One text, or a list of them.
fn texts<'a>(value: &Option<Value<'a>>) -> Result<Vec<&'a str>, WireError> {
    let list: Values<'a> = match value {
        Some(Value::Array(list)) => *list,
        _ => return Ok(text(value).into_iter().collect()),
    };
    let mut texts = Vec::new();
    for value in list.take(MOST_TABLES) {
        texts.extend(text(&Some(value?)));
    }
    Ok(texts)
}

fn number(value: &Option<Value<'_>>) -> Option<u64> {
    match value {
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        Some(Value::Double(number)) if *number >= 0.0 && *number < 1e9 => Some(*number as u64),
        _ => text(value)?.parse().ok(),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}
