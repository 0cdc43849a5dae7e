//! Jobs of every kind: those in progress at the start, then whatever changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::fleet::{JobInfo, Kind, is_over};
use super::{Clients, Discovery, HOSTS_S, OVERLAP_S, Outcome};
use crate::aws::Failure;
use crate::aws::cloudwatch::Name;
use crate::aws::json::request;
use crate::aws::json::sagemaker::{
    LabelingJobs, Operation, ProcessingJobs, RecommendationJobs, SageMaker, TrainingJobs, TransformJobs,
};

impl Discovery {
    pub(super) async fn jobs(&mut self, kind: Kind, clients: &Clients, now: i64) -> Outcome {
        let asked = self.asked.get(&kind).copied();
        let (_, operation) = job_list(kind);
        let wanted = match asked {
            None if kind == Kind::InferenceRecommendations => request([("StatusEquals", json!("IN_PROGRESS"))]),
            None => request([("StatusEquals", json!("InProgress"))]),
            Some(asked) => request([("LastModifiedTimeAfter", json!(asked - OVERLAP_S))]),
        };
        let listed = list_jobs(&clients.sagemaker, kind, operation, wanted).await?;
        for job in listed {
            if self.takes(&job.name, &job.arn) {
                self.see_job(kind, job, now);
            }
        }
        self.asked.insert(kind, now);
        Ok(())
    }

    fn see_job(&mut self, kind: Kind, job: Seen, now: i64) {
        let max_late = self.config.common.engine.max_late;
        let started = self.started.unwrap_or(now);
        let arn: Name = self.names.name(&job.arn);
        let jobs = self.fleet.jobs.entry(kind).or_default();
        let known = jobs.get(&job.name);
        let over = is_over(&job.status);
        let ended = over.then(|| job.ended.or(job.modified).unwrap_or(now));
        let same = known.is_some_and(|known| known.status == job.status);
        // A job that ended before we began to look is no news, and its series are not asked for.
        if known.is_none() && ended.is_some_and(|ended| ended < started) {
            return;
        }
        let news = !same && (known.is_some() || job.created.is_some_and(|created| created >= started) || over);
        let mut info = known.cloned().unwrap_or_else(|| JobInfo {
            arn: Arc::clone(&arn),
            status: String::new(),
            reason: None,
            created: job.created.unwrap_or(now),
            ended: None,
            polled_until: i64::MAX,
            hosts: BTreeSet::new(),
        });
        if let Some(ended) = ended.filter(|_| info.ended.is_none()) {
            // Its last points, and time for ListMetrics to name its hosts.
            let hosts = if info.hosts.is_empty() {
                HOSTS_S + 2 * HOSTS_S
            } else {
                0
            };
            info.polled_until = ended + max_late + hosts;
        }
        info.ended = ended;
        info.status = job.status;
        info.reason = job.reason;
        if news {
            self.events.job(kind, &job.name, &info, now);
        }
        self.changed |= known.is_none();
        jobs.insert(job.name, info);
    }

    pub(super) fn jobs_without_hosts(&self, now: i64) -> bool {
        let kinds = [Kind::TrainingJobs, Kind::ProcessingJobs, Kind::TransformJobs];
        let mut jobs = kinds.iter().filter_map(|kind| self.fleet.jobs.get(kind)).flatten();
        jobs.any(|(_, job)| job.hosts.is_empty() && now >= job.created + HOSTS_S)
    }

    /// Hosts that ListMetrics named.
    pub(super) fn note_hosts(&mut self, now: i64) {
        let max_late = self.config.common.engine.max_late;
        for series in self.listing.series() {
            let Some(host) = series.dimension("Host") else { continue };
            let name = host.split('/').next().unwrap_or_default();
            for kind in [Kind::TrainingJobs, Kind::ProcessingJobs, Kind::TransformJobs] {
                if !kind.namespaces().contains(&&*series.namespace) {
                    continue;
                }
                let job = self.fleet.jobs.get_mut(&kind).and_then(|jobs| jobs.get_mut(name));
                if let Some(job) = job
                    && job.hosts.insert(host.to_owned())
                    && let Some(ended) = job.ended
                {
                    // Found after its end: long enough to ask for all of it.
                    job.polled_until = (ended + max_late).max(now + max_late);
                }
            }
        }
    }

    /// Jobs that ended and whose last points have come.
    pub(super) fn drop_jobs(&mut self, now: i64) {
        for jobs in self.fleet.jobs.values_mut() {
            let before = jobs.len();
            jobs.retain(|_, job| job.ended.is_none() || now < job.polled_until);
            self.changed |= jobs.len() < before;
        }
    }
}

/// The name in our plan, and the operation, of a list of jobs.
pub(super) fn job_list(kind: Kind) -> (&'static str, Operation) {
    match kind {
        Kind::ProcessingJobs => ("processing jobs", Operation::ListProcessingJobs),
        Kind::TransformJobs => ("transform jobs", Operation::ListTransformJobs),
        Kind::InferenceRecommendations => ("recommendation jobs", Operation::ListInferenceRecommendationsJobs),
        Kind::Labeling => ("labeling jobs", Operation::ListLabelingJobs),
        _ => ("training jobs", Operation::ListTrainingJobs),
    }
}

/// A job as one of the lists shows it.
struct Seen {
    name: String,
    arn: String,
    status: String,
    reason: Option<String>,
    created: Option<i64>,
    ended: Option<i64>,
    modified: Option<i64>,
}

async fn list_jobs(
    sagemaker: &SageMaker,
    kind: Kind,
    operation: Operation,
    wanted: Map<String, Value>,
) -> Result<Vec<Seen>, Failure> {
    Ok(match kind {
        Kind::ProcessingJobs => {
            let jobs = sagemaker.list::<ProcessingJobs>(operation, wanted).await?.items;
            let seen = jobs.into_iter().map(|job| Seen {
                name: job.processing_job_name,
                arn: job.processing_job_arn,
                status: job.processing_job_status,
                reason: job.failure_reason,
                created: job.creation_time,
                ended: job.processing_end_time,
                modified: job.last_modified_time,
            });
            seen.collect()
        }
        Kind::TransformJobs => {
            let jobs = sagemaker.list::<TransformJobs>(operation, wanted).await?.items;
            let seen = jobs.into_iter().map(|job| Seen {
                name: job.transform_job_name,
                arn: job.transform_job_arn,
                status: job.transform_job_status,
                reason: job.failure_reason,
                created: job.creation_time,
                ended: job.transform_end_time,
                modified: job.last_modified_time,
            });
            seen.collect()
        }
        Kind::InferenceRecommendations => {
            let jobs = sagemaker.list::<RecommendationJobs>(operation, wanted).await?.items;
            let seen = jobs.into_iter().map(|job| Seen {
                name: job.job_name,
                arn: job.job_arn,
                status: job.status,
                reason: job.failure_reason,
                created: job.creation_time,
                ended: job.completion_time,
                modified: job.completion_time.or(job.creation_time),
            });
            seen.collect()
        }
        Kind::Labeling => {
            let jobs = sagemaker.list::<LabelingJobs>(operation, wanted).await?.items;
            let seen = jobs.into_iter().map(|job| Seen {
                name: job.labeling_job_name,
                arn: job.labeling_job_arn,
                status: job.labeling_job_status,
                reason: job.failure_reason,
                created: job.creation_time,
                ended: None,
                modified: job.last_modified_time,
            });
            seen.collect()
        }
        _ => {
            let jobs = sagemaker.list::<TrainingJobs>(operation, wanted).await?.items;
            let seen = jobs.into_iter().map(|job| Seen {
                name: job.training_job_name,
                arn: job.training_job_arn,
                status: job.training_job_status,
                reason: None,
                created: job.creation_time,
                ended: job.training_end_time,
                modified: job.last_modified_time,
            });
            seen.collect()
        }
    })
}
