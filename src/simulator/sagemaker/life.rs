//! Life cycles on the clock: what state a resource is in at a minute.

use super::scenario::{Endpoint, Job, LabelingJob, Outcome, Pipeline, Schedule};

/// A resource without a `created` is so old.
pub const LONG_AGO: i64 = -30 * 24 * 60;

/// The status of an endpoint; `None`: it does not exist.
pub fn endpoint_status(endpoint: &Endpoint, minute: i64) -> Option<&'static str> {
    if endpoint.deleted.is_some_and(|deleted| deleted <= minute) {
        return None;
    }
    let created = endpoint.created.unwrap_or(LONG_AGO);
    if minute < created {
        return None;
    }
    if minute < created + endpoint.creating {
        return Some("Creating");
    }
    if endpoint.fails {
        return Some("Failed");
    }
    let scales = |minute: i64| {
        let mut all = endpoint.variants.iter().flat_map(|variant| &variant.scaling);
        all.any(|step| step.from <= minute && minute < step.to && step.current != step.desired)
    };
    if scales(minute) || endpoint.updating.iter().any(|window| window.holds(minute)) {
        return Some("Updating");
    }
    Some("InService")
}

/// Whether it answers requests.
pub fn serves(endpoint: &Endpoint, minute: i64) -> bool {
    matches!(endpoint_status(endpoint, minute), Some("InService" | "Updating"))
}

/// When the status last changed.
pub fn endpoint_modified(endpoint: &Endpoint, minute: i64) -> i64 {
    let created = endpoint.created.unwrap_or(LONG_AGO);
    let mut changes = vec![created, created + endpoint.creating];
    for window in &endpoint.updating {
        changes.extend([window.from, window.to]);
    }
    for step in endpoint.variants.iter().flat_map(|variant| &variant.scaling) {
        changes.extend([step.from, step.to]);
    }
    changes.into_iter().filter(|at| *at <= minute).max().unwrap_or(created)
}

/// Current and desired instances of a variant.
pub fn instances(variant: &super::scenario::Variant, minute: i64) -> (u64, u64) {
    let step = variant
        .scaling
        .iter()
        .find(|step| step.from <= minute && minute < step.to);
    step.map_or((variant.instances, variant.instances), |step| {
        (step.current, step.desired)
    })
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    pub created: i64,
    pub ends: i64,
    pub outcome: Outcome,
}

impl Run {
    /// `InProgress`, or how it ended; `None`: not created yet.
    pub fn status(&self, minute: i64) -> Option<&'static str> {
        if minute < self.created {
            return None;
        }
        if minute < self.ends {
            return Some("InProgress");
        }
        Some(match self.outcome {
            Outcome::Completed => "Completed",
            Outcome::Failed => "Failed",
            Outcome::Stopped => "Stopped",
        })
    }

    /// When it was last modified: created, or ended.
    pub fn modified(&self, minute: i64) -> i64 {
        if minute < self.ends { self.created } else { self.ends }
    }
}

/// Every run of a job.
pub fn runs(job: &Job) -> Vec<Run> {
    let times = if job.every.is_some() { job.times } else { 1 };
    (0..times as i64)
        .map(|number| {
            let created = job.created + number * job.every.unwrap_or(0);
            Run {
                name: match job.every {
                    Some(_) => format!("{}-{number}", job.name),
                    None => job.name.clone(),
                },
                created,
                ends: created + job.minutes,
                outcome: job.outcome,
            }
        })
        .collect()
}

/// The one run of a labeling job.
pub fn labeling_run(job: &LabelingJob) -> Run {
    Run {
        name: job.name.clone(),
        created: job.created,
        ends: job.created + job.minutes,
        outcome: job.outcome,
    }
}

/// A step of a pipeline's execution.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRun {
    pub name: String,
    pub from: i64,
    pub to: i64,
    /// How it ends.
    pub ends: &'static str,
    pub reason: Option<String>,
}

/// An execution of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    pub number: i64,
    pub from: i64,
    pub to: i64,
    pub ends: &'static str,
    pub steps: Vec<StepRun>,
}

impl Execution {
    pub fn status(&self, minute: i64) -> &'static str {
        if minute < self.to { "Executing" } else { self.ends }
    }

    /// Why it failed.
    pub fn reason(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| step.reason.as_deref())
    }
}

/// The execution of this number.
pub fn execution(pipeline: &Pipeline, number: i64) -> Execution {
    let from = pipeline.first + number * pipeline.every;
    let mut execution = Execution {
        number,
        from,
        to: from,
        ends: "Succeeded",
        steps: Vec::new(),
    };
    for step in &pipeline.steps {
        let failure = pipeline
            .failures
            .iter()
            .find(|failure| failure.execution == number && failure.step == step.name);
        let ends = match failure {
            Some(_) => "Failed",
            None if pipeline.stopped.contains(&number) => "Stopped",
            None => "Succeeded",
        };
        execution.steps.push(StepRun {
            name: step.name.clone(),
            from: execution.to,
            to: execution.to + step.minutes,
            ends,
            reason: failure.map(|failure| failure.reason.clone()),
        });
        execution.to += step.minutes;
        if ends != "Succeeded" {
            execution.ends = ends;
            break;
        }
    }
    execution
}

/// Executions that had begun by a minute and not ended before another, newest first.
pub fn executions(pipeline: &Pipeline, since: i64, minute: i64) -> Vec<Execution> {
    numbers(pipeline.first, pipeline.every, minute)
        .rev()
        .map(|number| execution(pipeline, number))
        .take_while(|execution| execution.to >= since)
        .collect()
}

/// An execution of a monitoring schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub number: i64,
    pub from: i64,
    pub to: i64,
    pub violates: bool,
}

impl Check {
    pub fn status(&self, minute: i64) -> &'static str {
        match (minute < self.to, self.violates) {
            (true, _) => "InProgress",
            (false, true) => "CompletedWithViolations",
            (false, false) => "Completed",
        }
    }
}

/// Executions of a schedule that had begun by a minute and not ended before another, newest first.
pub fn checks(schedule: &Schedule, since: i64, minute: i64) -> Vec<Check> {
    numbers(schedule.first, schedule.every, minute)
        .rev()
        .map(|number| {
            let from = schedule.first + number * schedule.every;
            Check {
                number,
                from,
                to: from + schedule.minutes,
                violates: schedule.violations.iter().any(|window| window.holds(from)),
            }
        })
        .take_while(|check| check.to >= since)
        .collect()
}

/// Numbers of what happens every so often from `first` on, up to a minute.
fn numbers(first: i64, every: i64, minute: i64) -> std::ops::Range<i64> {
    if minute < first {
        return 0..0;
    }
    0..(minute - first) / every.max(1) + 1
}
