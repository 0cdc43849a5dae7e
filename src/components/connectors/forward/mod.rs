//! `forward` connector: hands data from the end of some pipelines to the beginning of others, unchanged.
//!
//! Merges pipelines, or lets them share their last steps. The signal stays what it is.

use std::sync::Arc;

use crate::component::{
    BuildContext, BuiltConnector, ComponentKind, ConnectorPlan, Factory, NothingToStop, Outlets, Plan, Stability,
    Stage, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// See the module text.
pub struct ForwardFactory;

impl Factory for ForwardFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Connector
    }

    fn type_name(&self) -> &'static str {
        "forward"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Hands data from one pipeline to others of the same signal."
    }

    fn example(&self) -> &'static str {
        "{}"
    }

    fn check(&self, _section: &Section) -> Option<Plan> {
        Some(Plan::Connector(Box::new(ForwardPlan)))
    }
}

struct ForwardPlan;

impl ConnectorPlan for ForwardPlan {
    fn emits(&self, from: Signal) -> &'static [Signal] {
        match from {
            Signal::Traces => &[Signal::Traces],
            Signal::Metrics => &[Signal::Metrics],
            Signal::Logs => &[Signal::Logs],
        }
    }

    fn build(&self, _context: BuildContext, next: Outlets) -> Result<BuiltConnector, StartError> {
        let mut stages: Vec<(Signal, Arc<dyn Stage>)> = Vec::new();
        for signal in Signal::ALL {
            if let Some(outlet) = next.get(signal) {
                stages.push((signal, Arc::new(outlet.clone())));
            }
        }
        Ok(BuiltConnector {
            stages,
            running: Arc::new(NothingToStop),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::component::{BoxFuture, Outlet, Refused};
    use crate::pdata::{Batch, Origin};

    #[derive(Default)]
    struct Seen(Mutex<Vec<usize>>);

    impl Stage for Seen {
        fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
            self.0.lock().unwrap().push(batch.items());
            Box::pin(std::future::ready(Err(Refused::retryable("told back"))))
        }
    }

    #[tokio::test]
    async fn hands_data_on_and_the_answer_back() {
        let seen = Arc::new(Seen::default());
        let mut next = Outlets::default();
        next.set(Signal::Logs, Outlet::to(Arc::clone(&seen) as Arc<dyn Stage>));
        let context = BuildContext::standalone(ComponentKind::Connector, "forward");
        let built = ForwardPlan.build(context, next).unwrap();
        assert_eq!(built.stages.len(), 1, "only logs are read from it");
        let batch = Batch::from_wire(Signal::Logs, vec![10, 0].into(), 3, Origin::internal());
        let answer = built.stages[0].1.consume(batch).await;
        assert_eq!(answer.unwrap_err().message, "told back");
        assert_eq!(*seen.0.lock().unwrap(), [3]);
    }
}
