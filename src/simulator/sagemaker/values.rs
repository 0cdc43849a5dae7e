//! What a SageMaker series has at a moment: a pure function of seed, series and time.

use super::super::random::Dice;
use super::super::statistics::Samples;
use super::life::{self, Run, instances, labeling_run, runs, serves};
use super::scenario::{Component, Endpoint, Level, Outcome, SageMaker, Variant};
use super::series::{JobKind, Measure, Subject, host_of};

/// When, and by which chance.
#[derive(Clone, Copy)]
pub struct Moment {
    pub seed: u64,
    /// Minutes since the scenario's start.
    pub minute: i64,
    /// Of the series.
    pub dice: Dice,
}

impl Moment {
    /// Chance of a resource as a whole, equal for all its series.
    fn shared(&self, of: &str) -> Dice {
        Dice::new(self.seed, of, self.minute)
    }
}

/// The samples of the point that starts at this moment.
pub fn samples(world: &SageMaker, measure: &Measure, moment: Moment) -> Samples {
    let metric = measure.metric.as_str();
    match &measure.subject {
        Subject::Variant(endpoint, variant) => {
            let endpoint = world.endpoints.get(*endpoint);
            let variant = endpoint.and_then(|endpoint| endpoint.variants.get(*variant));
            match endpoint.zip(variant) {
                Some((endpoint, variant)) if serves(endpoint, moment.minute) => {
                    variant_samples(world, endpoint, variant, measure, moment)
                }
                _ => Samples::default(),
            }
        }
        Subject::Component(position) => {
            let component = world.inference_components.get(*position);
            let host = component.and_then(|component| host_of(world, component));
            match component.zip(host) {
                Some((component, (endpoint, _))) if serves(endpoint, moment.minute) => {
                    component_samples(component, measure, moment)
                }
                _ => Samples::default(),
            }
        }
        Subject::Job(kind, position, number) => job_samples(world, (*kind, *position, *number), metric, moment),
        Subject::Labeling(position) => match world.labeling_jobs.get(*position) {
            Some(job) => labeled(job, metric, moment.minute),
            None => Samples::default(),
        },
        Subject::AllLabeling => {
            let outcome = match metric {
                "JobsFailed" => Outcome::Failed,
                "JobsStopped" => Outcome::Stopped,
                _ => Outcome::Completed,
            };
            let ended = world.labeling_jobs.iter().map(labeling_run);
            let ended = ended.filter(|run| run.outcome == outcome && run.ends == moment.minute);
            Samples::ones(ended.count() as u64)
        }
        Subject::Workteam(position) => match world.workteams.get(*position) {
            Some(team) => {
                let tasks = moment
                    .dice
                    .count(0, team.tasks.at(moment.minute, moment.dice.uniform(1)));
                match metric {
                    "TimeSpent" => Samples::of(vec![(45.0, tasks)]),
                    "TasksDeclined" | "TasksReturned" => Samples::ones(tasks / 10),
                    _ => Samples::ones(tasks),
                }
            }
            None => Samples::default(),
        },
        Subject::Feature(group, operation) => feature_samples(world, *group, operation, metric, moment),
        Subject::Pipeline(position) => {
            let chosen: Vec<_> = match position {
                Some(position) => world.pipelines.get(*position).into_iter().collect(),
                None => world.pipelines.iter().collect(),
            };
            let mut counts = Tally::default();
            for pipeline in chosen {
                for execution in life::executions(pipeline, moment.minute, moment.minute) {
                    counts.add(moment.minute, execution.from, execution.to, execution.ends);
                }
            }
            counts.samples(metric)
        }
        Subject::Step(position, step) => {
            let mut counts = Tally::default();
            let executions = world
                .pipelines
                .get(*position)
                .map(|pipeline| life::executions(pipeline, moment.minute, moment.minute));
            for execution in executions.unwrap_or_default() {
                for run in execution.steps.iter().filter(|run| run.name == *step) {
                    counts.add(moment.minute, run.from, run.to, run.ends);
                }
            }
            counts.samples(metric)
        }
        Subject::Schedule(position, feature) => {
            let Some(schedule) = world.monitoring_schedules.get(*position) else {
                return Samples::default();
            };
            // One point per execution, in the hour in which it ended.
            let minutes = measure.period / 60;
            let ended = life::checks(schedule, moment.minute, moment.minute + minutes)
                .into_iter()
                .find(|check| moment.minute <= check.to && check.to < moment.minute + minutes);
            match (ended, metric) {
                (None, _) => Samples::default(),
                (Some(check), _) if metric == format!("feature_baseline_drift_{feature}") => {
                    Samples::one(schedule.drift.at(check.from, moment.dice.uniform(0)))
                }
                (Some(_), _) if metric == format!("feature_non_null_{feature}") => Samples::one(1.0),
                (Some(_), _) => Samples::log_normal(10.0, 0.3, 20, moment.dice),
            }
        }
    }
}

/// This part's share of a whole number.
fn share(whole: u64, part: (u64, u64)) -> u64 {
    let (number, of) = part;
    let of = of.max(1);
    whole / of + u64::from(number < whole % of)
}

/// Starts and ends in one minute.
#[derive(Default)]
struct Tally {
    started: u64,
    succeeded: u64,
    failed: u64,
    stopped: u64,
    durations: Vec<(f64, u64)>,
}

impl Tally {
    fn add(&mut self, minute: i64, from: i64, to: i64, ends: &str) {
        self.started += u64::from(from == minute);
        if to != minute {
            return;
        }
        match ends {
            "Succeeded" => self.succeeded += 1,
            "Failed" => self.failed += 1,
            _ => self.stopped += 1,
        }
        self.durations.push(((to - from) as f64 * 60_000.0, 1));
    }

    fn samples(self, metric: &str) -> Samples {
        match metric.trim_start_matches("Execution").trim_start_matches("Step") {
            "Started" => Samples::ones(self.started),
            "Succeeded" => Samples::ones(self.succeeded),
            "Failed" => Samples::ones(self.failed),
            "Stopped" => Samples::ones(self.stopped),
            _ => Samples::of(self.durations),
        }
    }
}

/// What a variant does in one minute.
struct Traffic {
    requests: u64,
    errors_4xx: u64,
    errors_5xx: u64,
    model_errors: u64,
    /// Median, microseconds.
    latency: f64,
}

fn traffic(endpoint: &Endpoint, variant: &Variant, moment: Moment) -> Traffic {
    let dice = moment.shared(&format!("{}/{}", endpoint.name, variant.name));
    let minute = moment.minute;
    let requests = dice.count(0, 60.0 * variant.requests.at(minute, dice.uniform(1)));
    let errors = |throw: u64, level: &Level| {
        let share = level.at(minute, dice.uniform(throw)).min(1.0);
        dice.count(throw + 1, requests as f64 * share).min(requests)
    };
    Traffic {
        requests,
        errors_4xx: errors(10, &variant.errors_4xx),
        errors_5xx: errors(20, &variant.errors_5xx),
        model_errors: errors(30, &variant.model_errors),
        latency: 1_000.0 * variant.latency_ms.at(minute, dice.uniform(2)),
    }
}

fn variant_samples(
    world: &SageMaker,
    endpoint: &Endpoint,
    variant: &Variant,
    measure: &Measure,
    moment: Moment,
) -> Samples {
    let part = measure.part;
    let metric = measure.metric.as_str();
    let dice = moment.dice;
    let (current, _) = instances(variant, moment.minute);
    if measure.host.is_some_and(|host| host >= current) {
        return Samples::default();
    }
    if let Some(samples) = utilisation(world, endpoint, variant, measure, moment) {
        return samples;
    }
    let all = traffic(endpoint, variant, moment);
    // A point of ten seconds has a sixth of the minute's requests.
    let slice = |count: u64| share((count as f64 * measure.period as f64 / 60.0).round() as u64, part);
    let requests = slice(all.requests);
    let flags = |errors: u64| Samples::flags(slice(errors).min(requests), requests);
    let times = |median: f64, count: u64| Samples::log_normal(median, variant.spread, count, dice);
    let misses = ((1.0 - variant.cache_hit) * requests as f64).round() as u64;
    let rare = |one_in: u64| Samples::ones(requests / one_in);
    let waiting = variant.backlog.at(moment.minute, dice.uniform(7)).round();
    match metric {
        "Invocations" => Samples::ones(requests),
        "Invocation4XXErrors" => flags(all.errors_4xx),
        "Invocation5XXErrors" => flags(all.errors_5xx),
        "InvocationModelErrors" => flags(all.model_errors),
        "InvocationsPerInstance" if requests > 0 => Samples::one(requests as f64 / current.max(1) as f64),
        "ConcurrentRequestsPerModel" => {
            let rate = all.requests as f64 / 60.0 * all.latency / 1e6;
            Samples::log_normal(rate.max(0.01), 0.3, 6, dice)
        }
        "ModelLatency" | "ContainerLatency" => times(all.latency, requests),
        "OverheadLatency" => times(1_000.0 * variant.overhead_ms, requests),
        "FirstChunkLatency" | "FirstChunkModelLatency" => times(0.3 * all.latency, requests),
        "FirstChunkOverheadLatency" => times(300.0 * variant.overhead_ms, requests),
        "MidStreamErrors" => Samples::flags(requests / 500, requests),
        "ModelSetupTime" => times(2e6, requests.div_ceil(100)),
        "ModelLoadingWaitTime" | "ModelLoadingTime" | "ModelDownloadingTime" | "ModelUnloadingTime" => {
            times(8e5, misses)
        }
        "ModelCacheHit" => Samples::flags(requests - misses.min(requests), requests),
        "LoadedModelCount" => Samples::of(vec![(variant.models as f64, current)]),
        "ApproximateBacklogSize" => Samples::one(waiting),
        "ApproximateBacklogSizePerInstance" => Samples::one(waiting / current.max(1) as f64),
        "ApproximateAgeOfOldestRequest" => Samples::one(2.0 * waiting),
        "HasBacklogWithoutCapacity" => Samples::one(f64::from(u8::from(waiting > 0.0 && current == 0))),
        "InvocationsProcesssed" => Samples::ones(requests),
        "RequestDownloadLatency" | "ResponseUploadLatency" => times(3e4, requests),
        "TimeInBacklog" => times(1e6 + 1e5 * waiting, requests),
        "TotalProcessingTime" => times(2.0 * all.latency / 1e3, requests),
        "RequestDownloadFailures"
        | "ResponseUploadFailures"
        | "NotificationFailures"
        | "ExpiredRequests"
        | "InvocationFailures" => rare(200),
        _ => Samples::default(),
    }
}

/// Percent: one sample per instance and publication. `None`: another metric.
fn utilisation(
    world: &SageMaker,
    endpoint: &Endpoint,
    variant: &Variant,
    measure: &Measure,
    moment: Moment,
) -> Option<Samples> {
    let metric = measure.metric.as_str();
    let kind = ["Utilization", "UtilizationNormalized", "Reservation"]
        .iter()
        .rev()
        .find_map(|suffix| metric.strip_suffix(suffix).map(|kind| (kind, *suffix)));
    let (kind, suffix) = kind?;
    let level = match kind {
        "CPU" => &variant.cpu,
        "Memory" => &variant.memory,
        "Disk" => &variant.disk,
        "GPU" => &variant.gpu,
        "GPUMemory" => &variant.gpu_memory,
        _ => return None,
    };
    let (current, _) = instances(variant, moment.minute);
    let serverless = variant.instance_type.is_empty();
    let count = if measure.host.is_some() || serverless {
        1
    } else {
        current
    };
    let per_accelerator = measure.host.is_some() && measure.part.1 > variant.instances;
    // Without normalisation a GPU metric is the sum over the GPUs of an instance.
    let factor = match (kind.starts_with("GPU"), suffix) {
        (true, "Utilization") if !per_accelerator => variant.gpus.max(1) as f64,
        _ => 1.0,
    };
    if suffix == "Reservation" {
        let hosted = world
            .inference_components
            .iter()
            .filter(|component| component.endpoint == endpoint.name);
        let copies: u64 = hosted.map(|component| component.copies).sum();
        return Some(Samples::of(vec![((20 * copies).min(100) as f64, count)]));
    }
    let values = (0..count).map(|instance| {
        let value = level.at(moment.minute, moment.dice.uniform(200 + instance));
        (value.min(100.0) * factor, 1)
    });
    Some(Samples::of(values.collect()))
}

fn component_samples(component: &Component, measure: &Measure, moment: Moment) -> Samples {
    let (minute, dice) = (moment.minute, moment.dice);
    let metric = measure.metric.as_str();
    let shared = moment.shared(&component.name);
    let all = shared.count(0, 60.0 * component.requests.at(minute, shared.uniform(1)));
    let requests = share((all as f64 * measure.period as f64 / 60.0).round() as u64, measure.part);
    let latency = 1_000.0 * component.latency_ms.at(minute, shared.uniform(2));
    let percent = |level: &Level| {
        let copies = if measure.part.1 > 1 { 1 } else { component.copies };
        let values = (0..copies).map(|copy| (level.at(minute, dice.uniform(200 + copy)).min(100.0), 1));
        Samples::of(values.collect())
    };
    match metric {
        "Invocations" => Samples::ones(requests),
        "Invocation4XXErrors" | "Invocation5XXErrors" | "InvocationModelErrors" => {
            Samples::flags(requests / 200, requests)
        }
        "InvocationsPerCopy" if requests > 0 => Samples::one(requests as f64 / component.copies.max(1) as f64),
        "ConcurrentRequestsPerCopy" => {
            let rate = all as f64 / 60.0 * latency / 1e6 / component.copies.max(1) as f64;
            Samples::log_normal(rate.max(0.01), 0.3, 6, dice)
        }
        "ModelLatency" => Samples::log_normal(latency, 0.4, requests, dice),
        "OverheadLatency" => Samples::log_normal(3_000.0, 0.4, requests, dice),
        "CPUUtilizationNormalized" => percent(&component.cpu),
        "MemoryUtilizationNormalized" => percent(&component.memory),
        "GPUUtilizationNormalized" => percent(&component.gpu),
        "GPUMemoryUtilizationNormalized" => percent(&component.gpu_memory),
        _ => Samples::default(),
    }
}

fn job_samples(world: &SageMaker, of: (JobKind, usize, usize), metric: &str, moment: Moment) -> Samples {
    let (kind, position, number) = of;
    let Some(job) = kind.of(world).get(position) else {
        return Samples::default();
    };
    let run: Option<Run> = runs(job).into_iter().nth(number);
    let dice = moment.dice;
    let (minute, Some(run)) = (moment.minute, run) else {
        return Samples::default();
    };
    if minute < run.created || minute >= run.ends {
        return Samples::default();
    }
    let percent = |level: &Level, of: u64| Samples::one(level.at(minute, dice.uniform(3)).min(100.0) * of as f64);
    let shared = moment.shared(&run.name);
    let requests = shared.count(0, 60.0 * job.requests.at(minute, shared.uniform(1)));
    match metric {
        "CPUUtilization" => percent(&job.cpu, 1),
        "MemoryUtilization" => percent(&job.memory, 1),
        "DiskUtilization" => percent(&job.disk, 1),
        "GPUUtilization" => percent(&job.gpu, job.gpus),
        "GPUMemoryUtilization" => percent(&job.gpu_memory, job.gpus),
        "ClientInvocations" => Samples::ones(requests),
        "ClientInvocationErrors" => Samples::ones(requests / 100),
        "ClientLatency" => Samples::log_normal(job.latency_ms.at(minute, 0.5).max(0.1), 0.4, requests, dice),
        "NumberOfUsers" => Samples::one((1 + (minute - run.created) / 2) as f64),
        _ => Samples::default(),
    }
}

/// Running totals of a labeling job.
fn labeled(job: &super::scenario::LabelingJob, metric: &str, minute: i64) -> Samples {
    let run = labeling_run(job);
    if minute < run.created || minute >= run.ends {
        return Samples::default();
    }
    let done = job.objects as f64 * (minute - run.created + 1) as f64 / job.minutes.max(1) as f64;
    let total = done.floor();
    Samples::one(match metric {
        "DatasetObjectsAutoAnnotated" => (total * 0.25).floor(),
        "DatasetObjectsHumanAnnotated" => total - (total * 0.25).floor(),
        "DatasetObjectsLabelingFailed" => (total / 100.0).floor(),
        _ => total,
    })
}

fn feature_samples(world: &SageMaker, group: Option<usize>, operation: &str, metric: &str, moment: Moment) -> Samples {
    let groups: Vec<_> = match group {
        Some(group) => world.feature_groups.get(group).into_iter().collect(),
        None => world.feature_groups.iter().collect(),
    };
    let (mut requests, mut failed) = (0, 0);
    for group in groups {
        let Some(level) = group.operations.get(operation) else {
            continue;
        };
        let dice = moment.shared(&format!("{}/{operation}", group.name));
        let count = dice.count(0, 60.0 * level.at(moment.minute, dice.uniform(1)));
        failed += dice.count(2, count as f64 * group.errors).min(count);
        requests += count;
    }
    match metric {
        "Invocations" => Samples::ones(requests),
        "Operation4XXErrors" => Samples::flags(failed, requests),
        "Operation5XXErrors" | "ThrottledRequests" => Samples::flags(failed / 2, requests),
        "Latency" => Samples::log_normal(6_000.0, 0.4, requests, moment.dice),
        _ => Samples::ones(requests),
    }
}
