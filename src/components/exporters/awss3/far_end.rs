//! One attempt: an object and its manifests.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::config::Config;
use crate::component::{BoxFuture, BuildContext, Clock, Counter, Refused, Stage};
use crate::pdata::Batch;
use crate::retention::archives::objects::Objects;
use crate::retention::archives::objects::write::Writer;

/// A bucket or a directory.
pub(super) struct FarEnd {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    writer: Writer,
    /// Opened when the first batch comes.
    objects: OnceCell<Objects>,
    stored: Counter,
    refused: Counter,
    bytes: Counter,
    manifests: Counter,
}

impl FarEnd {
    pub(super) fn new(config: Arc<Config>, context: &BuildContext) -> Self {
        let objects = |outcome| {
            let help = "Objects by what became of the attempt to store them.";
            let labels = [("outcome", outcome)];
            context.instruments.counter("awss3_objects_total", help, &labels)
        };
        let counter = |name, help| context.instruments.counter(name, help, &[]);
        Self {
            writer: Writer::new(config.layout.clone(), Arc::clone(&context.clock)),
            config,
            clock: Arc::clone(&context.clock),
            objects: OnceCell::new(),
            stored: objects("stored"),
            refused: objects("refused"),
            bytes: counter("awss3_bytes_total", "Bytes of the objects stored, as they were sent."),
            manifests: counter("awss3_manifests_total", "Manifests stored beside objects."),
        }
    }

    async fn store(&self, batch: Batch) -> Result<(), Refused> {
        let place = &self.config.place;
        let opening = self
            .objects
            .get_or_try_init(|| place.open(Arc::clone(&self.clock), true));
        let objects = opening.await.map_err(Refused::retryable)?;
        let written = self.writer.write(objects, batch).await?;
        self.bytes.add(written.bytes as u64);
        self.manifests.add(written.manifests as u64);
        Ok(())
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let answer = self.store(batch).await;
            let outcome = if answer.is_ok() { &self.stored } else { &self.refused };
            outcome.add(1);
            answer
        })
    }
}
