//! What the polling engine is given of SageMaker: discovery, names of resources, signals of our own. Log records go out
//! beside it, where a pipeline of logs reads from the receiver.

use std::sync::Arc;

use prost::Message;

use super::config::Config;
use super::discovery::{Clients, Discovery};
use super::signals::Signals;
use crate::aws::Failure;
use crate::aws::cloudwatch::{ACCOUNT, Blueprint, Builder, Desk, Resource, Settings, Source, Tracks, Want, Watched};
use crate::component::{BoxFuture, BuildContext, DropReason, Outlet, ReceiverCounts, Refused};
use crate::pdata::{Batch, Decoded, Origin, Permit, Signal};

/// The receiver as it is configured.
pub struct SageMakerFleet {
    pub config: Arc<Config>,
    /// Where log records go.
    pub logs: Option<Outlet>,
    /// Whether a pipeline of metrics reads from the receiver: without one nothing is asked that is billed.
    pub metrics: bool,
}

impl Blueprint for SageMakerFleet {
    fn settings(&self) -> &Settings {
        &self.config.common.engine
    }

    fn source(&self, desk: &Desk) -> Box<dyn Source> {
        let mut discovery = Discovery::new(Arc::clone(&self.config), desk);
        discovery.events.off = self.logs.is_none();
        Box::new(FleetSource {
            config: Arc::clone(&self.config),
            clients: Clients::new(desk),
            discovery,
            signals: Signals::default(),
            received: desk.context.instruments.receiver("aws"),
            context: desk.context.clone(),
            logs: self.logs.clone(),
            metrics: self.metrics,
        })
    }
}

/// The fleet of one account and region.
pub struct FleetSource {
    config: Arc<Config>,
    clients: Clients,
    pub discovery: Discovery,
    signals: Signals,
    received: ReceiverCounts,
    context: BuildContext,
    logs: Option<Outlet>,
    metrics: bool,
}

impl FleetSource {
    /// Hands on what happened. What is refused waits for the next round.
    async fn tell(&mut self) {
        let Some(outlet) = &self.logs else { return };
        let records = self.discovery.events.waiting();
        let Some(request) = self.discovery.events.request(|id| self.describe(id)) else {
            return;
        };
        let bytes = request.encoded_len() as u64;
        let permit: Option<Permit> = self.context.memory.acquire(bytes, self.context.admission_wait).await;
        let result = match permit {
            None => Err(Refused::retryable(format!(
                "no memory for {bytes} bytes of log records"
            ))),
            Some(permit) => {
                let origin = Origin {
                    cursor: true,
                    permits: [Arc::new(permit)].into_iter().collect(),
                    ..Origin::default()
                };
                let batch = Batch::from_decoded(Decoded::Logs(request), Arc::new(origin));
                let items = batch.items();
                self.received.offer(Signal::Logs, items, outlet.consume(batch)).await
            }
        };
        let lost = std::mem::take(&mut self.discovery.events.lost);
        let (gone, why) = match result {
            Ok(()) => {
                self.discovery.events.taken(records);
                (lost, "nobody took them in time")
            }
            Err(refused) if refused.permanent => {
                self.discovery.events.taken(records);
                (lost + records as u64, "the pipeline refused them for good")
            }
            Err(refused) => {
                tracing::debug!(receiver = %self.context.id, records, reason = %refused, "log records wait");
                (lost, "nobody took them in time")
            }
        };
        if gone > 0 {
            tracing::error!(receiver = %self.context.id, records = gone, why, "log records of SageMaker are lost");
            let dropped = self
                .context
                .instruments
                .dropped(Signal::Logs, DropReason::PermanentError);
            dropped.add(gone);
        }
    }
}

impl Source for FleetSource {
    fn renew(&mut self, desk: &Desk) {
        self.clients.renew(desk);
        self.discovery.renew(desk);
    }

    fn discover(&mut self, now: i64) -> BoxFuture<'_, Vec<Failure>> {
        Box::pin(async move {
            let failures = self.discovery.refresh(&self.clients, now).await;
            self.tell().await;
            failures
        })
    }

    fn denied(&self) -> Vec<String> {
        self.discovery.denied()
    }

    fn wants(&mut self) -> Option<Vec<Want>> {
        let wants = self.discovery.wants_if_changed()?;
        Some(if self.metrics { wants } else { Vec::new() })
    }

    fn watched(&self) -> Vec<Watched> {
        let endpoints = self.discovery.fleet.endpoints.values();
        // A serverless endpoint has no heartbeat.
        let beating = endpoints.filter(|endpoint| endpoint.variants.values().any(|variant| !variant.serverless));
        let serving = beating.filter(|endpoint| matches!(endpoint.status.as_str(), "InService" | "Updating"));
        serving
            .map(|endpoint| Watched {
                id: Arc::clone(&endpoint.arn),
                since: endpoint.since,
            })
            .collect()
    }

    fn describe(&self, resource: &str) -> Resource {
        let mut attributes = vec![
            ("cloud.provider".to_owned(), "aws".to_owned()),
            ("cloud.account.id".to_owned(), self.clients.account.clone()),
            ("cloud.region".to_owned(), self.clients.region.clone()),
        ];
        if resource != ACCOUNT {
            attributes.push(("cloud.resource_id".to_owned(), resource.to_owned()));
            attributes.extend(self.discovery.tags.attributes(resource));
        }
        Resource { attributes }
    }

    fn own_points(&mut self, now: i64, tracks: &Tracks, into: &mut Builder) {
        if self.config.common.derived {
            self.signals.add(&mut self.discovery, now, tracks, into);
        }
    }
}
