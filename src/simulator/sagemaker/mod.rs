//! SageMaker as simulated: endpoints with their variants and inference components, jobs that come and go, pipelines,
//! feature groups, monitoring, labeling; its API (awsJson 1.1), and its CloudWatch metrics in every dimension set of the
//! catalogue. Life cycles run on the simulator's clock.

mod api;
mod life;
mod scenario;
mod series;
mod values;

#[cfg(test)]
mod tests;

pub use api::{arn, call};
pub use scenario::{
    Component, Endpoint, Failure, FeatureGroup, Job, LabelingJob, Level, LevelEvent, Outcome, Pipeline, SageMaker,
    Scaling, Schedule, Step, Variant, Window, Workteam,
};
pub use series::{Entry, Measure, all, entries};
pub use values::{Moment, samples};

use std::collections::BTreeMap;

/// The ARNs of everything that carries tags, and the tags.
pub fn tagged<'a>(world: &'a SageMaker, account: &str) -> Vec<(String, &'a BTreeMap<String, String>)> {
    let mut tagged = Vec::new();
    let mut add = |kind: &str, name: &str, tags: &'a BTreeMap<String, String>| {
        if !tags.is_empty() {
            tagged.push((arn(&world.region, account, kind, name), tags));
        }
    };
    for endpoint in &world.endpoints {
        add("endpoint", &endpoint.name, &endpoint.tags);
    }
    for component in &world.inference_components {
        add("inference-component", &component.name, &component.tags);
    }
    let kinds = [
        ("training-job", &world.training_jobs),
        ("processing-job", &world.processing_jobs),
        ("transform-job", &world.transform_jobs),
        ("inference-recommendations-job", &world.recommendation_jobs),
    ];
    for (kind, jobs) in kinds {
        for job in jobs {
            for run in life::runs(job) {
                add(kind, &run.name, &job.tags);
            }
        }
    }
    for pipeline in &world.pipelines {
        add("pipeline", &pipeline.name, &pipeline.tags);
    }
    for group in &world.feature_groups {
        add("feature-group", &group.name, &group.tags);
    }
    for schedule in &world.monitoring_schedules {
        add("monitoring-schedule", &schedule.name, &schedule.tags);
    }
    for job in &world.labeling_jobs {
        add("labeling-job", &job.name, &job.tags);
    }
    tagged
}
