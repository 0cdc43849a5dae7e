//! Pipelines that a component feeds by their names, beside the stage behind it: old spans that go elsewhere, traces that
//! are fetched to be archived.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{BoxFuture, Outlet, Refused, Stage};
use crate::pdata::Batch;

/// The beginnings of pipelines, by name. In the [commons](super::Commons): the graph leads what components have asked for.
#[derive(Default)]
pub struct PipelineHeads(Mutex<BTreeMap<String, Outlet>>);

impl PipelineHeads {
    /// Leads to the first stage of this pipeline while it runs; else it refuses.
    pub fn of(&self, pipeline: &str) -> Outlet {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = heads.entry(pipeline.to_owned());
        head.or_insert_with(|| Outlet::to(Arc::new(Nowhere))).clone()
    }
}

/// No such pipeline runs.
struct Nowhere;

impl Stage for Nowhere {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(std::future::ready(Err(Refused::retryable(
            "the pipeline does not run yet",
        ))))
    }
}
