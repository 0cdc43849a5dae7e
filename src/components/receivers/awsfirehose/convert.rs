//! From the bytes of records to one batch of metrics.
//!
//! A message or line that cannot be read costs only itself. OTLP that is to stay as it is is not decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use serde::{Deserialize, Serialize};

use super::envelope::Messages;
use crate::aws::cloudwatch::{Builder, Resource, StreamPoint, points_of};
use crate::net::status::Status;
use crate::pdata::{Batch, Decoded, DoorLimits, Origin, Permit, Signal, estimate_decoded};

/// What a point's structs weigh for each byte of its JSON line: the line's own names are longer than ours.
const STRUCTS_OF_LINE: u64 = 6;

/// What the records hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON lines.
    CwMetrics,
    /// OTLP 1.0.0 messages.
    OtlpV1,
}

/// What becomes of a CloudWatch point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Convert {
    /// What the poller gives for the same metric: sum, gauge or histogram, by the catalogue.
    #[default]
    Typed,
    /// A summary, as streams have it.
    None,
}

/// How records are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub form: Form,
    pub convert: Convert,
    /// For every resource that does not have them.
    pub common: &'a [(String, String)],
}

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// `None`: no point.
    pub batch: Option<Batch>,
    /// Records that ended inside a message or line.
    pub truncated: u64,
    /// Messages or lines that could not be read.
    pub malformed: u64,
    /// What was wrong with the first of them.
    pub fault: String,
}

/// Reads all records. The permit grows before memory is used, and covers the batch in the end.
///
/// # Errors
/// No memory; or nothing could be read although there was something.
pub fn read(reading: Reading<'_>, records: Vec<Bytes>, permit: &mut Permit) -> Result<Read, Status> {
    let mut work = Work {
        reading,
        permit,
        builder: Builder::new("awsfirehose"),
        resources: BTreeMap::new(),
        others: Vec::new(),
        whole: Vec::new(),
        read: Read {
            batch: None,
            truncated: 0,
            malformed: 0,
            fault: String::new(),
        },
    };
    for record in records {
        match reading.form {
            Form::CwMetrics => work.lines(&record)?,
            Form::OtlpV1 => work.messages(record)?,
        }
    }
    let read = work.finish();
    if read.batch.is_none() && read.malformed + read.truncated > 0 {
        return Err(Status::invalid(format!("no record can be read: {}", read.fault)));
    }
    Ok(read)
}

struct Work<'a, 'p> {
    reading: Reading<'a>,
    permit: &'p mut Permit,
    builder: Builder,
    resources: BTreeMap<String, Resource>,
    /// Decoded metrics that are no points of CloudWatch, or are to stay what they are.
    others: Vec<ResourceMetrics>,
    /// Messages that stay as they came.
    whole: Vec<Batch>,
    read: Read,
}

impl Work<'_, '_> {
    fn admit(&mut self, bytes: u64) -> Result<(), Status> {
        if self.permit.try_grow(bytes) {
            Ok(())
        } else {
            Err(Status::no_memory())
        }
    }

    fn malformed(&mut self, fault: String) {
        self.read.malformed += 1;
        if self.read.fault.is_empty() {
            self.read.fault = fault;
        }
    }

    fn truncated(&mut self) {
        self.read.truncated += 1;
        if self.read.fault.is_empty() {
            self.read.fault = "a record ends inside a message".to_owned();
        }
    }

    fn lines(&mut self, record: &Bytes) -> Result<(), Status> {
        let mut rest: &[u8] = record;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &[][..]),
            };
            rest = after;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            self.admit(line.len() as u64 * STRUCTS_OF_LINE)?;
            match StreamPoint::from_json(line) {
                Ok(point) => self.add(point),
                // The last line has its end, too, unless something was cut off.
                Err(_) if end.is_none() => self.truncated(),
                Err(fault) => self.malformed(fault),
            }
        }
        Ok(())
    }

    fn messages(&mut self, record: Bytes) -> Result<(), Status> {
        let mut messages = Messages::of(record);
        for message in messages.by_ref() {
            self.message(message)?;
        }
        if messages.is_truncated() {
            self.truncated();
        }
        Ok(())
    }

    fn message(&mut self, message: Bytes) -> Result<(), Status> {
        let decoded_len = estimate_decoded(Signal::Metrics, &message) as u64;
        let admitted = Batch::at_door(Signal::Metrics, message, &DoorLimits::default(), Origin::internal());
        let mut batch = match admitted {
            Ok(admitted) => admitted.batch,
            Err(error) => {
                self.malformed(error.to_string());
                return Ok(());
            }
        };
        if self.reading.convert == Convert::None && self.reading.common.is_empty() {
            self.whole.push(batch);
            return Ok(());
        }
        // Once as structs of the stream, once as ours.
        self.admit(2 * decoded_len)?;
        match batch.decode() {
            Ok(Decoded::Metrics(request)) => {
                for group in std::mem::take(&mut request.resource_metrics) {
                    self.group(group);
                }
            }
            Ok(_) => {}
            Err(error) => self.malformed(error.to_string()),
        }
        Ok(())
    }

    /// Takes a resource's points of CloudWatch, and keeps what else there is.
    fn group(&mut self, mut group: ResourceMetrics) {
        if self.reading.convert == Convert::Typed {
            let attributes = group.resource.as_ref().map(texts).unwrap_or_default();
            for scope in &mut group.scope_metrics {
                self.scope(scope, &attributes);
            }
            group.scope_metrics.retain(|scope| !scope.metrics.is_empty());
            if group.scope_metrics.is_empty() {
                return;
            }
        }
        let resource = group.resource.get_or_insert_default();
        for (key, value) in self.reading.common {
            if !resource.attributes.iter().any(|have| have.key == *key) {
                resource.attributes.push(KeyValue {
                    key: key.clone(),
                    value: Some(AnyValue {
                        value: Some(Any::StringValue(value.clone())),
                    }),
                    ..KeyValue::default()
                });
            }
        }
        self.others.push(group);
    }

    fn scope(&mut self, scope: &mut ScopeMetrics, resource: &[(String, String)]) {
        let mut kept = Vec::new();
        for metric in std::mem::take(&mut scope.metrics) {
            let (points, all) = points_of(&metric, resource);
            if all {
                points.into_iter().for_each(|point| self.add(point));
            } else {
                kept.push(metric);
            }
        }
        scope.metrics = kept;
    }

    fn add(&mut self, mut point: StreamPoint) {
        for (key, value) in self.reading.common {
            if !point.attributes.iter().any(|(have, _)| have == key) {
                point.attributes.push((key.clone(), value.clone()));
            }
        }
        let (id, resource) = point.resource();
        match self.reading.convert {
            Convert::Typed => point.add_typed(&id, &mut self.builder),
            Convert::None => point.add_summary(&id, &mut self.builder),
        }
        self.resources.entry(id).or_insert(resource);
    }

    fn finish(mut self) -> Read {
        let mut batches = std::mem::take(&mut self.whole);
        let resources = std::mem::take(&mut self.resources);
        let mut request = self.builder.finish(|id| resources.get(id).cloned().unwrap_or_default());
        request.resource_metrics.append(&mut self.others);
        if !request.resource_metrics.is_empty() {
            batches.push(as_wire(request));
        }
        batches.retain(|batch| batch.items() > 0);
        if !batches.is_empty() {
            let batch = Batch::join(Signal::Metrics, batches, Origin::internal());
            self.permit.shrink_to(batch.wire_len() as u64);
            self.read.batch = Some(batch);
        }
        self.read
    }
}

/// Bytes, which are a tenth of the structs.
fn as_wire(request: ExportMetricsServiceRequest) -> Batch {
    let decoded = Decoded::Metrics(request);
    let items = u32::try_from(decoded.count_items()).unwrap_or(u32::MAX);
    Batch::from_wire(Signal::Metrics, decoded.encode(), items, Origin::internal())
}

fn texts(resource: &opentelemetry_proto::tonic::resource::v1::Resource) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for attribute in &resource.attributes {
        if let Some(Any::StringValue(text)) = attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            texts.push((attribute.key.clone(), text.clone()));
        }
    }
    texts
}

/// With another origin once the permit is complete.
pub(super) fn owned(batch: Batch, permit: Permit, mut origin: Origin) -> Batch {
    origin.permits.push(Arc::new(permit));
    batch.with_origin(Arc::new(origin))
}
