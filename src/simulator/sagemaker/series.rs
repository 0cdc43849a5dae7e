//! The series of the SageMaker resources: every metric of the catalogue, in every dimension set, that they publish.

use serde::Deserialize;

use super::life::{labeling_run, runs};
use super::scenario::{Endpoint, Job, SageMaker, Variant};

/// An entry of the catalogue, as the world needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    pub namespace: String,
    pub metric: String,
    pub dimensions: Vec<Vec<String>>,
    pub period_s: i64,
}

/// The catalogue, read anew: the world is not built from the code that it tests.
pub fn entries() -> Vec<Entry> {
    serde_json::from_str(include_str!("../../aws/catalogue.json")).unwrap_or_default()
}

/// What a series belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Positions of endpoint and variant.
    Variant(usize, usize),
    Component(usize),
    /// Kind of job, position, number of the run.
    Job(JobKind, usize, usize),
    Labeling(usize),
    /// Counts of all labeling jobs.
    AllLabeling,
    Workteam(usize),
    /// Feature group (`None`: BatchGetRecord over all) and operation.
    Feature(Option<usize>, String),
    /// `None`: all pipelines.
    Pipeline(Option<usize>),
    Step(usize, String),
    Schedule(usize, String),
}

/// The lists of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    Training,
    Processing,
    Transform,
    Recommendation,
}

impl JobKind {
    pub const ALL: [JobKind; 4] = [
        JobKind::Training,
        JobKind::Processing,
        JobKind::Transform,
        JobKind::Recommendation,
    ];

    pub fn of(self, world: &SageMaker) -> &[Job] {
        match self {
            JobKind::Training => &world.training_jobs,
            JobKind::Processing => &world.processing_jobs,
            JobKind::Transform => &world.transform_jobs,
            JobKind::Recommendation => &world.recommendation_jobs,
        }
    }

    fn namespace(self) -> &'static str {
        match self {
            JobKind::Training => "/aws/sagemaker/TrainingJobs",
            JobKind::Processing => "/aws/sagemaker/ProcessingJobs",
            JobKind::Transform => "/aws/sagemaker/TransformJobs",
            JobKind::Recommendation => "/aws/sagemaker/InferenceRecommendationsJobs",
        }
    }
}

/// What a series measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    pub subject: Subject,
    pub metric: String,
    /// Which part of how many equal ones: an instance, a zone, an accelerator.
    pub part: (u64, u64),
    /// Number of the instance that it is of.
    pub host: Option<u64>,
    /// Seconds between points.
    pub period: i64,
}

/// A series to be.
pub struct Found {
    pub namespace: String,
    pub metric: String,
    pub dimensions: Vec<(String, String)>,
    pub measure: Measure,
}

/// A resource, or a part of one, with the dimensions that name it.
struct Owner {
    /// Namespaces it publishes to begin with this.
    namespace: &'static str,
    exact: bool,
    dimensions: Vec<(&'static str, String)>,
    subject: Subject,
    part: (u64, u64),
    host: Option<u64>,
    publish_s: i64,
    /// A name in place of `{feature_name}`.
    feature: Option<String>,
}

/// Every series of a world.
pub fn all(world: &SageMaker) -> Vec<Found> {
    let entries = entries();
    let mut found = Vec::new();
    for owner in owners(world) {
        let names: Vec<&str> = owner.dimensions.iter().map(|(name, _)| *name).collect();
        for entry in &entries {
            let fits = if owner.exact {
                entry.namespace == owner.namespace
            } else {
                entry.namespace == "AWS/SageMaker" || entry.namespace == owner.namespace
            };
            let set = entry.dimensions.iter().any(|set| same(set, &names));
            if !fits || !set || !publishes(world, &owner.subject, &entry.namespace, &entry.metric, &names) {
                continue;
            }
            let metric = match &owner.feature {
                Some(feature) => entry.metric.replace("{feature_name}", feature),
                None => entry.metric.clone(),
            };
            let mut dimensions: Vec<(String, String)> = owner
                .dimensions
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            dimensions.sort();
            found.push(Found {
                namespace: entry.namespace.clone(),
                dimensions,
                measure: Measure {
                    subject: owner.subject.clone(),
                    metric: metric.clone(),
                    part: owner.part,
                    host: owner.host,
                    period: period(entry, &owner, &names),
                },
                metric,
            });
        }
    }
    found.sort_by(|a, b| (&a.namespace, &a.metric, &a.dimensions).cmp(&(&b.namespace, &b.metric, &b.dimensions)));
    found.dedup_by(|a, b| a.namespace == b.namespace && a.metric == b.metric && a.dimensions == b.dimensions);
    found
}

fn same(set: &[String], names: &[&str]) -> bool {
    set.len() == names.len() && set.iter().all(|name| names.contains(&name.as_str()))
}

/// Utilisation and the enhanced sets follow the endpoint's publish frequency.
fn period(entry: &Entry, owner: &Owner, names: &[&str]) -> i64 {
    let utilisation = entry.namespace.starts_with("/aws/sagemaker/Endpoints")
        || entry.namespace.starts_with("/aws/sagemaker/InferenceComponents");
    let enhanced = ["InstanceId", "ContainerId", "ContainerName", "AvailabilityZone"];
    if entry.period_s == 60 && (utilisation || names.iter().any(|name| enhanced.contains(name))) {
        owner.publish_s
    } else {
        entry.period_s
    }
}

fn owners(world: &SageMaker) -> Vec<Owner> {
    let mut owners = Vec::new();
    for (position, endpoint) in world.endpoints.iter().enumerate() {
        endpoint_owners(world, position, endpoint, &mut owners);
    }
    for (position, component) in world.inference_components.iter().enumerate() {
        component_owners(world, position, component, &mut owners);
    }
    for kind in JobKind::ALL {
        job_owners(world, kind, &mut owners);
    }
    let mut add = |namespace: &'static str, dimensions: Vec<(&'static str, String)>, subject, feature| {
        owners.push(Owner {
            namespace,
            exact: true,
            dimensions,
            subject,
            part: (0, 1),
            host: None,
            publish_s: 60,
            feature,
        });
    };
    for (position, job) in world.labeling_jobs.iter().enumerate() {
        let dimensions = vec![("LabelingJobName", labeling_run(job).name)];
        add(
            "AWS/SageMaker/LabelingJobs",
            dimensions,
            Subject::Labeling(position),
            None,
        );
    }
    if !world.labeling_jobs.is_empty() {
        add("AWS/SageMaker/LabelingJobs", Vec::new(), Subject::AllLabeling, None);
    }
    for (position, team) in world.workteams.iter().enumerate() {
        let dimensions = vec![("Workforce", team.workforce.clone()), ("Workteam", team.name.clone())];
        add("AWS/SageMaker/Workteam", dimensions, Subject::Workteam(position), None);
    }
    for (position, group) in world.feature_groups.iter().enumerate() {
        for operation in group.operations.keys() {
            let all = operation == "BatchGetRecord";
            let mut dimensions = vec![("OperationName", operation.clone())];
            if !all {
                dimensions.push(("FeatureGroupName", group.name.clone()));
            }
            let subject = Subject::Feature((!all).then_some(position), operation.clone());
            add("AWS/SageMaker/FeatureStore", dimensions, subject, None);
        }
    }
    const PIPELINES: &str = "AWS/Sagemaker/ModelBuildingPipeline";
    if !world.pipelines.is_empty() {
        add(PIPELINES, Vec::new(), Subject::Pipeline(None), None);
    }
    for (position, pipeline) in world.pipelines.iter().enumerate() {
        let name = || ("PipelineName", pipeline.name.clone());
        add(PIPELINES, vec![name()], Subject::Pipeline(Some(position)), None);
        for step in &pipeline.steps {
            let dimensions = vec![name(), ("StepName", step.name.clone())];
            add(PIPELINES, dimensions, Subject::Step(position, step.name.clone()), None);
        }
    }
    for (position, schedule) in world.monitoring_schedules.iter().enumerate() {
        for feature in &schedule.features {
            let subject = Subject::Schedule(position, feature.clone());
            let (namespace, dimensions) = match &schedule.endpoint {
                Some(endpoint) => (
                    "/aws/sagemaker/Endpoints/data-metric",
                    vec![
                        ("EndpointName", endpoint.clone()),
                        ("ScheduleName", schedule.name.clone()),
                    ],
                ),
                None => (
                    "/aws/sagemaker/ModelMonitoring/data-metric",
                    vec![("MonitoringSchedule", schedule.name.clone())],
                ),
            };
            add(namespace, dimensions, subject, Some(feature.clone()));
        }
    }
    owners
}

/// The id of an instance of an endpoint's variant, or of a transform job.
pub fn instance_id(of: &str, number: u64) -> String {
    format!(
        "i-{:017x}",
        xxhash_rust::xxh3::xxh3_64(format!("{of}/{number}").as_bytes()) >> 4
    )
}

/// No part of a variant: the endpoint, without the variant's name.
const WHOLE_ENDPOINT: (u64, u64) = (0, 0);

fn endpoint_owners(world: &SageMaker, position: usize, endpoint: &Endpoint, into: &mut Vec<Owner>) {
    for (number, variant) in endpoint.variants.iter().enumerate() {
        let mut add = |mut more: Vec<(&'static str, String)>, part: (u64, u64), host: Option<u64>| {
            let mut dimensions = vec![("EndpointName", endpoint.name.clone())];
            if !more.is_empty() || part != WHOLE_ENDPOINT {
                dimensions.push(("VariantName", variant.name.clone()));
            }
            dimensions.append(&mut more);
            into.push(Owner {
                namespace: "/aws/sagemaker/Endpoints",
                exact: false,
                dimensions,
                subject: Subject::Variant(position, number),
                part,
                host,
                publish_s: endpoint.publish_s,
                feature: None,
            });
        };
        add(Vec::new(), (0, 1), None);
        if endpoint.asynchronous {
            add(Vec::new(), WHOLE_ENDPOINT, None);
        }
        for container in &variant.containers {
            add(vec![("ContainerName", container.clone())], (0, 1), None);
        }
        let zones = endpoint.zones.len() as u64;
        for (zone, name) in (0..).zip(&endpoint.zones) {
            add(zone_of(world, name, &variant.instance_type), (zone, zones), None);
        }
        if !endpoint.enhanced {
            continue;
        }
        for instance in 0..variant.instances {
            let id = || {
                (
                    "InstanceId",
                    instance_id(&format!("{}/{}", endpoint.name, variant.name), instance),
                )
            };
            add(vec![id()], (instance, variant.instances), Some(instance));
            for gpu in 0..variant.gpus {
                let dimensions = vec![id(), ("AcceleratorId", gpu.to_string())];
                let parts = variant.instances * variant.gpus;
                add(dimensions, (instance * variant.gpus + gpu, parts), Some(instance));
            }
        }
    }
}

fn zone_of(world: &SageMaker, zone: &str, instance_type: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AvailabilityZone", zone.to_owned()),
        ("InstanceType", instance_type.to_owned()),
        ("Region", world.region.clone()),
    ]
}

/// The endpoint and the variant of a component.
pub fn host_of<'a>(
    world: &'a SageMaker,
    component: &super::scenario::Component,
) -> Option<(&'a Endpoint, &'a Variant)> {
    let endpoint = world
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name == component.endpoint)?;
    let variant = endpoint
        .variants
        .iter()
        .find(|variant| variant.name == component.variant)?;
    Some((endpoint, variant))
}

fn component_owners(world: &SageMaker, position: usize, component: &super::scenario::Component, into: &mut Vec<Owner>) {
    let Some((endpoint, variant)) = host_of(world, component) else {
        return;
    };
    let mut add = |mut more: Vec<(&'static str, String)>, part: (u64, u64)| {
        let mut dimensions = vec![("InferenceComponentName", component.name.clone())];
        dimensions.append(&mut more);
        into.push(Owner {
            namespace: "/aws/sagemaker/InferenceComponents",
            exact: false,
            dimensions,
            subject: Subject::Component(position),
            part,
            host: None,
            publish_s: endpoint.publish_s,
            feature: None,
        });
    };
    add(Vec::new(), (0, 1));
    let zones = endpoint.zones.len() as u64;
    for (zone, name) in (0..).zip(&endpoint.zones) {
        add(zone_of(world, name, &variant.instance_type), (zone, zones));
    }
    if !endpoint.enhanced {
        return;
    }
    for copy in 0..component.copies {
        let instance = instance_id(
            &format!("{}/{}", endpoint.name, variant.name),
            copy % variant.instances.max(1),
        );
        let container = format!("{}-{copy}", component.name);
        let ids = || vec![("InstanceId", instance.clone()), ("ContainerId", container.clone())];
        add(ids(), (copy, component.copies));
        let mut whole = ids();
        whole.push(("EndpointName", endpoint.name.clone()));
        whole.push(("VariantName", variant.name.clone()));
        add(whole, (copy, component.copies));
        if variant.gpus > 0 {
            let mut accelerator = ids();
            accelerator.push(("AcceleratorId", (copy % variant.gpus).to_string()));
            add(accelerator, (copy, component.copies));
        }
    }
}

/// The hosts of a run: `<job>/algo-<n>`, for transform jobs `<job>/<instance-id>`.
pub fn hosts(kind: JobKind, job: &Job, run: &str) -> Vec<String> {
    (0..job.hosts)
        .map(|host| match kind {
            JobKind::Transform => format!("{run}/{}", instance_id(run, host)),
            _ => format!("{run}/algo-{}", host + 1),
        })
        .collect()
}

fn job_owners(world: &SageMaker, kind: JobKind, into: &mut Vec<Owner>) {
    for (position, job) in kind.of(world).iter().enumerate() {
        for (number, run) in runs(job).into_iter().enumerate() {
            let mut add = |name: &'static str, value: String| {
                into.push(Owner {
                    namespace: kind.namespace(),
                    exact: true,
                    dimensions: vec![(name, value)],
                    subject: Subject::Job(kind, position, number),
                    part: (0, 1),
                    host: None,
                    publish_s: 60,
                    feature: None,
                });
            };
            if kind == JobKind::Recommendation {
                add("JobName", run.name.clone());
                add("EndpointName", format!("sm-epc-{}", run.name));
                continue;
            }
            for host in hosts(kind, job, &run.name) {
                add("Host", host);
            }
        }
    }
}

/// Whether this resource has this metric at all.
fn publishes(world: &SageMaker, subject: &Subject, namespace: &str, metric: &str, names: &[&str]) -> bool {
    match subject {
        Subject::Variant(endpoint, variant) => {
            let Some(endpoint) = world.endpoints.get(*endpoint) else {
                return false;
            };
            let Some(variant) = endpoint.variants.get(*variant) else {
                return false;
            };
            let hosts_components = world
                .inference_components
                .iter()
                .any(|component| component.endpoint == endpoint.name);
            variant_publishes(endpoint, variant, hosts_components, metric, names)
        }
        Subject::Component(_) => namespace == "AWS/SageMaker" || names.len() != 5,
        Subject::Job(kind, position, _) => {
            let gpus = kind.of(world).get(*position).map_or(0, |job| job.gpus);
            gpus > 0 || !metric.starts_with("GPU")
        }
        Subject::AllLabeling => metric.starts_with("Jobs"),
        Subject::Labeling(_) => !metric.starts_with("Jobs"),
        Subject::Feature(Some(group), operation) => {
            let provisioned = world.feature_groups.get(*group).is_some_and(|group| group.provisioned);
            let reads = operation == "GetRecord";
            match metric {
                "ConsumedReadRequestsUnits" => reads && !provisioned,
                "ConsumedWriteRequestsUnits" => !reads && !provisioned,
                "ConsumedReadCapacityUnits" => reads && provisioned,
                "ConsumedWriteCapacityUnits" => !reads && provisioned,
                _ => true,
            }
        }
        _ => true,
    }
}

fn variant_publishes(endpoint: &Endpoint, variant: &Variant, components: bool, metric: &str, names: &[&str]) -> bool {
    let serverless = variant.instance_type.is_empty();
    let by_instance = names.contains(&"InstanceId");
    match metric {
        _ if metric.ends_with("Normalized") || metric.ends_with("Reservation") => {
            components && (variant.gpus > 0 || !metric.starts_with("GPU"))
        }
        "MemoryUtilization" => true,
        _ if metric.starts_with("GPU") => variant.gpus > 0,
        "CPUUtilization" | "DiskUtilization" => !serverless,
        "ModelSetupTime" => serverless,
        "InvocationsPerInstance" => !serverless,
        "LoadedModelCount" | "ModelCacheHit" => endpoint.multi_model,
        _ if metric.starts_with("ModelLoading")
            || metric.starts_with("ModelUnloading")
            || metric.starts_with("ModelDownloading") =>
        {
            endpoint.multi_model
        }
        _ if metric.starts_with("FirstChunk") || metric == "MidStreamErrors" => endpoint.streaming,
        _ if metric.starts_with("Approximate") || metric == "HasBacklogWithoutCapacity" => endpoint.asynchronous,
        "RequestDownloadFailures"
        | "ResponseUploadFailures"
        | "NotificationFailures"
        | "ExpiredRequests"
        | "InvocationFailures"
        | "InvocationsProcesssed"
        | "RequestDownloadLatency"
        | "ResponseUploadLatency"
        | "TimeInBacklog"
        | "TotalProcessingTime" => endpoint.asynchronous,
        _ => !by_instance || endpoint.enhanced,
    }
}
