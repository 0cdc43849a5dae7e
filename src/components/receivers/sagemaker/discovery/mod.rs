//! Which SageMaker resources there are and how they are. A failed call keeps what was known; what is not allowed is named
//! and costs only what needs it.

mod endpoints;
mod jobs;
mod pipelines;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use self::jobs::job_list;
use super::config::Config;
use super::events::Events;
use super::fleet::{ComponentInfo, Fleet, Kind, Plain};
use super::series::{Shapes, wants};
use crate::aws::Failure;
use crate::aws::cloudwatch::listing::Listing;
use crate::aws::cloudwatch::tagged::Tagged;
use crate::aws::cloudwatch::{Desk, Names, Want};
use crate::aws::json::sagemaker::{
    FeatureGroups, InferenceComponents, MonitoringExecutions, MonitoringSchedules, Operation, SageMaker,
};
use crate::aws::json::{Service, request};

/// Jobs are asked for so often ...
const JOBS_S: i64 = 60;
/// ... from so long before the last call on: what changed meanwhile is not missed.
const OVERLAP_S: i64 = 120;
/// An endpoint is described again after so long, sooner when its status or its time of change differs.
const DESCRIBE_S: i64 = 900;
/// What is not allowed is tried again after so long.
const DENIED_S: i64 = 600;
/// Hosts show in ListMetrics a quarter of an hour after their first point: with a job whose hosts are not known it is
/// asked so often.
const HOSTS_S: i64 = 900;

/// The clients of one account and region.
pub struct Clients {
    pub account: String,
    pub region: String,
    sagemaker: SageMaker,
}

impl Clients {
    pub fn new(desk: &Desk) -> Self {
        let client = desk.access.json(&desk.sdk, Service::SageMaker);
        Self {
            account: desk.account.clone(),
            region: desk.region.clone(),
            sagemaker: SageMaker::new(client, |api, action, limits| desk.calls(api, action, limits)),
        }
    }

    /// Other credentials, the same rates and counts.
    pub fn renew(&mut self, desk: &Desk) {
        self.sagemaker.client = desk.access.json(&desk.sdk, Service::SageMaker);
    }
}

/// The known world of one account and region.
pub struct Discovery {
    config: Arc<Config>,
    pub fleet: Fleet,
    pub listing: Listing,
    pub tags: Tagged,
    pub events: Events,
    names: Names,
    shapes: Shapes,
    /// When each thing is asked next.
    due: BTreeMap<(&'static str, String), i64>,
    denied: BTreeMap<&'static str, Failure>,
    /// From when on changes are told: what was so before the start is no change.
    started: Option<i64>,
    /// When each list of jobs was asked last.
    asked: BTreeMap<Kind, i64>,
    /// Executions of monitoring schedules that ended since the last round.
    pub checks: Vec<Check>,
    changed: bool,
}

/// An execution of a monitoring schedule that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub schedule: String,
    pub scheduled: i64,
    pub ended: i64,
    pub violates: bool,
}

type Outcome = Result<(), Failure>;

impl Discovery {
    pub fn new(config: Arc<Config>, desk: &Desk) -> Self {
        let mut namespaces: Vec<&'static str> = Vec::new();
        for kind in &config.kinds {
            namespaces.extend(kind.namespaces());
        }
        namespaces.sort_unstable();
        namespaces.dedup();
        let types: Vec<&'static str> = config.kinds.iter().map(|kind| kind.tagged_as()).collect();
        Self {
            listing: Listing::new(desk, namespaces),
            tags: Tagged::new(desk, &config.common, types),
            events: Events::default(),
            fleet: Fleet::default(),
            names: Names::default(),
            shapes: Shapes::default(),
            due: BTreeMap::new(),
            denied: BTreeMap::new(),
            started: None,
            asked: BTreeMap::new(),
            checks: Vec::new(),
            changed: true,
            config,
        }
    }

    /// Other credentials.
    pub fn renew(&mut self, desk: &Desk) {
        self.listing.renew(desk);
        self.tags.renew(desk);
    }

    /// Permissions that are missing.
    pub fn denied(&self) -> Vec<String> {
        let own = self.denied.values().map(Failure::to_string);
        own.chain(self.listing.denied()).chain(self.tags.denied()).collect()
    }

    /// Everything to poll; `None` where that is what it was at the last call.
    pub fn wants_if_changed(&mut self) -> Option<Vec<Want>> {
        std::mem::take(&mut self.changed).then(|| self.wants())
    }

    /// Everything to poll.
    pub fn wants(&mut self) -> Vec<Want> {
        let listed = self.listing.series();
        wants(&self.fleet, listed, &self.config, &mut self.shapes, &mut self.names)
    }

    /// Asks what is due. What failed now; what is denied stands in [`Self::denied`].
    pub async fn refresh(&mut self, clients: &Clients, now: i64) -> Vec<Failure> {
        self.started.get_or_insert(now);
        let mut failures = Vec::new();
        failures.extend(self.tags.refresh(now).await);
        for kind in self.config.kinds.clone() {
            self.refresh_kind(kind, clients, now, &mut failures).await;
        }
        if self.jobs_without_hosts(now) {
            self.listing.ask_again_after(HOSTS_S, now);
        }
        let (changed, failed) = self.listing.refresh(now).await;
        failures.extend(failed);
        if changed {
            self.note_hosts(now);
        }
        self.changed |= changed;
        self.drop_jobs(now);
        failures
    }

    async fn refresh_kind(&mut self, kind: Kind, clients: &Clients, now: i64, failures: &mut Vec<Failure>) {
        let interval = self.config.common.discovery_interval;
        match kind {
            Kind::Endpoints => {
                if self.is_due("endpoints", "", now) {
                    let result = self.endpoints(clients, now).await;
                    // Status is a signal of its own: it is looked at each minute.
                    self.settle(
                        ("endpoints", "", JOBS_S),
                        Operation::ListEndpoints,
                        result,
                        now,
                        failures,
                    );
                }
                self.describe_endpoints(clients, now, failures).await;
            }
            Kind::InferenceComponents => {
                if self.is_due("components", "", now) {
                    let result = self.components(clients).await;
                    let operation = Operation::ListInferenceComponents;
                    self.settle(("components", "", interval), operation, result, now, failures);
                }
            }
            Kind::Pipelines => {
                if self.is_due("pipelines", "", now) {
                    let result = self.pipelines(clients).await;
                    let every = interval.min(JOBS_S);
                    self.settle(
                        ("pipelines", "", every),
                        Operation::ListPipelines,
                        result,
                        now,
                        failures,
                    );
                }
                self.executions(clients, now, failures).await;
            }
            Kind::FeatureGroups => {
                if self.is_due("feature groups", "", now) {
                    let result = self.feature_groups(clients).await;
                    let operation = Operation::ListFeatureGroups;
                    self.settle(("feature groups", "", interval), operation, result, now, failures);
                }
            }
            Kind::Monitoring => {
                if self.is_due("schedules", "", now) {
                    let result = self.schedules(clients).await;
                    let operation = Operation::ListMonitoringSchedules;
                    self.settle(("schedules", "", interval), operation, result, now, failures);
                }
                if self.is_due("checks", "", now) {
                    let result = self.checks(clients, now).await;
                    let operation = Operation::ListMonitoringExecutions;
                    self.settle(("checks", "", JOBS_S), operation, result, now, failures);
                }
            }
            _ => {
                let (name, operation) = job_list(kind);
                if self.is_due(name, "", now) {
                    let result = self.jobs(kind, clients, now).await;
                    self.settle((name, "", JOBS_S), operation, result, now, failures);
                }
            }
        }
    }

    fn is_due(&self, what: &'static str, of: &str, now: i64) -> bool {
        self.due.get(&(what, of.to_owned())).is_none_or(|due| now >= *due)
    }

    /// Plans the next call by what became of this one; a passing failure is tried again in the next round.
    fn settle(
        &mut self,
        what: (&'static str, &str, i64),
        operation: Operation,
        result: Outcome,
        now: i64,
        failures: &mut Vec<Failure>,
    ) {
        let (name, of, interval) = what;
        let key = (name, of.to_owned());
        match result {
            Ok(()) => {
                self.denied.remove(operation.action());
                // Ticks are multiples, so that a round that comes a second early does not skip.
                self.due.insert(key, now - now.rem_euclid(interval.min(60)) + interval);
            }
            Err(failure) => {
                if matches!(failure, Failure::Denied { .. }) {
                    self.denied.insert(operation.action(), failure.clone());
                    self.due.insert(key, now + DENIED_S);
                }
                failures.push(failure);
            }
        }
    }

    /// Whether a resource is wanted by its name and tags.
    fn takes(&self, name: &str, arn: &str) -> bool {
        self.config.common.resources.take(name) && self.tags.take(arn)
    }

    async fn components(&mut self, clients: &Clients) -> Outcome {
        let listed = clients
            .sagemaker
            .list::<InferenceComponents>(Operation::ListInferenceComponents, request([]))
            .await?;
        let mut found = BTreeMap::new();
        for component in listed.items {
            if self.takes(&component.inference_component_name, &component.inference_component_arn) {
                let info = ComponentInfo {
                    arn: self.names.name(&component.inference_component_arn),
                    endpoint: component.endpoint_name,
                    variant: component.variant_name,
                    since: component.creation_time.unwrap_or(0),
                };
                found.insert(component.inference_component_name, info);
            }
        }
        self.changed |= found != self.fleet.components;
        self.fleet.components = found;
        Ok(())
    }

    async fn feature_groups(&mut self, clients: &Clients) -> Outcome {
        let listed = clients
            .sagemaker
            .list::<FeatureGroups>(Operation::ListFeatureGroups, request([]))
            .await?;
        let groups = listed.items.into_iter();
        let groups = groups.map(|group| (group.feature_group_name, group.feature_group_arn, group.creation_time));
        let found = self.plain(groups.collect());
        self.changed |= found != self.fleet.feature_groups;
        self.fleet.feature_groups = found;
        Ok(())
    }

    async fn schedules(&mut self, clients: &Clients) -> Outcome {
        let listed = clients
            .sagemaker
            .list::<MonitoringSchedules>(Operation::ListMonitoringSchedules, request([]))
            .await?;
        let schedules = listed.items.into_iter().map(|schedule| {
            let (name, arn) = (schedule.monitoring_schedule_name, schedule.monitoring_schedule_arn);
            (name, arn, schedule.creation_time)
        });
        let found = self.plain(schedules.collect());
        self.changed |= found != self.fleet.schedules;
        self.fleet.schedules = found;
        Ok(())
    }

    fn plain(&mut self, listed: Vec<(String, String, Option<i64>)>) -> BTreeMap<String, Plain> {
        let mut found = BTreeMap::new();
        for (name, arn, created) in listed {
            if self.takes(&name, &arn) {
                let arn = self.names.name(&arn);
                let since = created.unwrap_or(0);
                found.insert(name, Plain { arn, since });
            }
        }
        found
    }

    async fn checks(&mut self, clients: &Clients, now: i64) -> Outcome {
        let since = self.asked.get(&Kind::Monitoring).map_or(now, |asked| *asked) - OVERLAP_S;
        let wanted = request([("LastModifiedTimeAfter", json!(since))]);
        let listed = clients
            .sagemaker
            .list::<MonitoringExecutions>(Operation::ListMonitoringExecutions, wanted)
            .await?;
        let told = self.started.unwrap_or(now).max(since + OVERLAP_S - JOBS_S);
        for execution in listed.items {
            let over = execution.monitoring_execution_status.starts_with("Completed");
            let ended = execution.last_modified_time.unwrap_or(now);
            let name = &execution.monitoring_schedule_name;
            let check = Check {
                schedule: name.clone(),
                scheduled: execution.scheduled_time.unwrap_or(ended),
                ended,
                violates: execution.monitoring_execution_status == "CompletedWithViolations",
            };
            if over && ended >= told - OVERLAP_S && self.fleet.schedules.contains_key(name) {
                self.events.check(check, &mut self.checks);
            }
        }
        self.asked.insert(Kind::Monitoring, now);
        Ok(())
    }
}
