//! One attempt: every trace of a batch into the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::OnceCell;

use super::config::Config;
use crate::aws::Failure;
use crate::component::{BoxFuture, BuildContext, Clock, ComponentId, Counter, LimitedLog, Refused, Stage};
use crate::pdata::{Batch, Decoded, Origin};
use crate::retention::archive::TraceId;
use crate::retention::archives::mlflow::table::{NotWritten, Table};
use crate::retention::archives::mlflow::write::{Stored, by_trace, store};
use crate::retention::archives::objects::Objects;
use crate::retention::archives::objects::body::{Compression, Marshaler};
use crate::retention::archives::objects::write::{Layout, Writer};

/// A table, and where that is not enough, objects.
pub(super) struct FarEnd {
    id: ComponentId,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    table: OnceCell<Table>,
    writer: Writer,
    objects: OnceCell<Objects>,
    stored: Counter,
    oversize: Counter,
    refused: Counter,
    written: Counter,
    read: Counter,
    log: LimitedLog,
}

impl FarEnd {
    pub(super) fn new(config: Arc<Config>, context: &BuildContext) -> Self {
        let traces = |outcome| {
            let help = "Traces by what became of the attempt to store them.";
            let labels = [("outcome", outcome)];
            context
                .instruments
                .counter("mlflow_dynamodb_traces_total", help, &labels)
        };
        let units = |kind| {
            let help = "Request units that DynamoDB charged, rounded up.";
            let labels = [("kind", kind)];
            context
                .instruments
                .counter("mlflow_dynamodb_units_total", help, &labels)
        };
        let layout = Layout {
            partition: "dt=%Y-%m-%d".to_owned(),
            file_prefix: String::new(),
            marshaler: Marshaler::OtlpProto,
            compression: Compression::Zstd,
        };
        Self {
            id: context.id.clone(),
            config,
            clock: Arc::clone(&context.clock),
            table: OnceCell::new(),
            writer: Writer::new(layout, Arc::clone(&context.clock)),
            objects: OnceCell::new(),
            stored: traces("stored"),
            oversize: traces("oversize"),
            refused: traces("refused"),
            written: units("write"),
            read: units("read"),
            log: LimitedLog::default(),
        }
    }

    async fn send(&self, mut batch: Batch) -> Result<(), Refused> {
        // Holds the memory permits until the data has left.
        let origin = Arc::clone(batch.origin());
        let traces = match batch.decode() {
            Ok(Decoded::Traces(request)) => by_trace(request),
            Ok(_) => return Err(Refused::permanent("only traces are stored here")),
            Err(error) => return Err(Refused::permanent(format!("broken below the spans: {error}"))),
        };
        drop(batch);
        let place = &self.config.table;
        let opening = self.table.get_or_try_init(|| place.open(Arc::clone(&self.clock), None));
        let table = opening.await.map_err(Refused::retryable)?;
        let (reads, writes) = (table.spent().read_units, table.written());
        let mut storing = Vec::with_capacity(traces.len());
        for (id, request) in &traces {
            storing.push(self.store(table, *id, request));
        }
        let answers: Vec<(TraceId, Result<Stored, NotWritten>)> =
            iter(storing).buffer_unordered(self.config.workers).collect().await;
        self.read.add((table.spent().read_units - reads).max(0.0).ceil() as u64);
        self.written.add((table.written() - writes).max(0.0).ceil() as u64);
        let too_large = self.judge(&answers)?;
        self.put_aside(too_large, traces, &origin).await
    }

    async fn store(
        &self,
        table: &Table,
        id: TraceId,
        request: &ExportTraceServiceRequest,
    ) -> (TraceId, Result<Stored, NotWritten>) {
        (id, store(table, &self.config.settings, id, request).await)
    }

    /// The traces that no item can hold; an error where something else is in the way.
    fn judge(&self, answers: &[(TraceId, Result<Stored, NotWritten>)]) -> Result<Vec<(TraceId, usize)>, Refused> {
        let mut too_large = Vec::new();
        let mut trouble: Option<Refused> = None;
        for (id, answer) in answers {
            let refused = match answer {
                Ok(Stored::Done) => {
                    self.stored.add(1);
                    continue;
                }
                Ok(Stored::TooLarge(bytes)) => {
                    too_large.push((*id, *bytes));
                    continue;
                }
                Err(not_written) => refusal_of(not_written),
            };
            self.refused.add(1);
            // What passes is tried again with the whole batch: those that are stored are only replaced.
            trouble = Some(match trouble {
                Some(first) if !first.permanent => first,
                _ => refused,
            });
        }
        match trouble {
            Some(refused) => Err(refused),
            None => Ok(too_large),
        }
    }

    async fn put_aside(
        &self,
        too_large: Vec<(TraceId, usize)>,
        mut traces: BTreeMap<TraceId, ExportTraceServiceRequest>,
        origin: &Arc<Origin>,
    ) -> Result<(), Refused> {
        let Some((_, largest)) = too_large.iter().max_by_key(|(_, bytes)| bytes) else {
            return Ok(());
        };
        let Some(place) = &self.config.oversize else {
            self.refused.add(too_large.len() as u64);
            let traces = too_large.len();
            let message = format!(
                "{traces} traces are too large for an item of DynamoDB (400 KB, the largest would be {largest} bytes): \
                 `oversize` can name a bucket for them"
            );
            if let Some(suppressed) = self.log.admit() {
                tracing::error!(exporter = %self.id, traces, largest, suppressed, "traces are too large for DynamoDB");
            }
            return Err(Refused::permanent(message));
        };
        let opening = self
            .objects
            .get_or_try_init(|| place.open(Arc::clone(&self.clock), true));
        let objects = opening.await.map_err(Refused::retryable)?;
        for (id, _) in too_large {
            if let Some(request) = traces.remove(&id) {
                let batch = Batch::from_decoded(Decoded::Traces(request), Arc::clone(origin));
                self.writer.write(objects, batch).await?;
                self.oversize.add(1);
            }
        }
        Ok(())
    }
}

fn refusal_of(not_written: &NotWritten) -> Refused {
    let later = |message: String| Refused::retryable(message).with_code(tonic::Code::Unavailable);
    match not_written {
        NotWritten::Changed => later("somebody else writes the same trace".to_owned()),
        NotWritten::Full => Refused::permanent("the experiment holds 10 GB, which is all that DynamoDB takes of one"),
        // A table that is not there can be made while the queue waits.
        NotWritten::Failed(failure @ Failure::Refused { code, .. }) if code == "ValidationException" => {
            Refused::permanent(failure.to_string())
        }
        NotWritten::Failed(failure) => later(failure.to_string()),
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.send(batch))
    }
}
