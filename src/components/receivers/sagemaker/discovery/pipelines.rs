//! Pipelines, their executions, and the steps that failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::super::fleet::{ExecutionInfo, PipelineInfo, is_over};
use super::{Clients, Discovery, JOBS_S, Outcome};
use crate::aws::Failure;
use crate::aws::json::request;
use crate::aws::json::sagemaker::{Operation, PipelineExecutions, PipelineSteps, Pipelines};

/// Executions of a pipeline that are looked at.
const EXECUTIONS_S: i64 = 24 * 3600;

impl Discovery {
    pub(super) async fn pipelines(&mut self, clients: &Clients) -> Outcome {
        let listed = clients
            .sagemaker
            .list::<Pipelines>(Operation::ListPipelines, request([]))
            .await?;
        let mut found = BTreeMap::new();
        for pipeline in listed.items {
            if !self.takes(&pipeline.pipeline_name, &pipeline.pipeline_arn) {
                continue;
            }
            let known = self.fleet.pipelines.remove(&pipeline.pipeline_name);
            self.changed |= known.is_none();
            let mut info = known.unwrap_or_else(|| PipelineInfo {
                arn: self.names.name(&pipeline.pipeline_arn),
                last_execution: None,
                due: true,
                executions: BTreeMap::new(),
            });
            info.due |= info.last_execution != pipeline.last_execution_time;
            info.last_execution = pipeline.last_execution_time;
            found.insert(pipeline.pipeline_name, info);
        }
        self.changed |= !self.fleet.pipelines.is_empty();
        self.fleet.pipelines = found;
        Ok(())
    }

    pub(super) async fn executions(&mut self, clients: &Clients, now: i64, failures: &mut Vec<Failure>) {
        let due = self.fleet.pipelines.iter().filter(|(_, info)| info.due);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            if !self.is_due("executions", &name, now) {
                continue;
            }
            let result = self.executions_of(&name, clients, now).await;
            let passing = matches!(&result, Err(failure) if failure.is_transient());
            let operation = match &result {
                Err(Failure::Denied { action, .. }) if action.ends_with("Steps") => {
                    Operation::ListPipelineExecutionSteps
                }
                _ => Operation::ListPipelineExecutions,
            };
            self.settle(("executions", &name, JOBS_S), operation, result, now, failures);
            if passing {
                break;
            }
        }
    }

    async fn executions_of(&mut self, name: &str, clients: &Clients, now: i64) -> Outcome {
        let wanted = request([
            ("PipelineName", json!(name)),
            ("CreatedAfter", json!(now - EXECUTIONS_S)),
        ]);
        let listed = clients
            .sagemaker
            .list::<PipelineExecutions>(Operation::ListPipelineExecutions, wanted)
            .await?;
        let started = self.started.unwrap_or(now);
        let mut failed = Vec::new();
        if let Some(info) = self.fleet.pipelines.get_mut(name) {
            let first = info.executions.is_empty();
            let mut running = false;
            for execution in listed.items {
                let over =
                    is_over(&execution.pipeline_execution_status) || execution.pipeline_execution_status == "Succeeded";
                running |= !over;
                let arn = execution.pipeline_execution_arn;
                let known = info.executions.get(&arn);
                let was_over = known.is_some_and(|known| known.ended.is_some());
                let begun = execution.start_time.unwrap_or(now);
                if was_over {
                    continue;
                }
                // Seen ended for the first time: now, or before we began to look.
                let ended = over.then(|| {
                    if first && known.is_none() && begun < started {
                        begun
                    } else {
                        now
                    }
                });
                let new = !(first && known.is_none() && begun < started);
                if execution.pipeline_execution_status == "Failed" && new {
                    failed.push((arn.clone(), execution.pipeline_execution_failure_reason));
                }
                let status = execution.pipeline_execution_status;
                info.executions.insert(arn, ExecutionInfo { status, ended });
            }
            info.executions
                .retain(|_, execution| execution.ended.is_none_or(|ended| now - ended < EXECUTIONS_S));
            info.due = running;
        }
        for (arn, reason) in failed {
            self.failed_steps(name, &arn, reason, clients, now).await?;
        }
        Ok(())
    }

    async fn failed_steps(
        &mut self,
        pipeline: &str,
        execution: &str,
        reason: Option<String>,
        clients: &Clients,
        now: i64,
    ) -> Outcome {
        let wanted = request([("PipelineExecutionArn", json!(execution))]);
        let steps = clients
            .sagemaker
            .list::<PipelineSteps>(Operation::ListPipelineExecutionSteps, wanted)
            .await;
        let Some(arn) = self.fleet.pipelines.get(pipeline).map(|info| Arc::clone(&info.arn)) else {
            return Ok(());
        };
        let failed: Vec<(String, Option<String>)> = match &steps {
            Ok(steps) => {
                let failed = steps.items.iter().filter(|step| step.step_status == "Failed");
                failed
                    .map(|step| (step.step_name.clone(), step.failure_reason.clone()))
                    .collect()
            }
            Err(_) => Vec::new(),
        };
        self.events
            .pipeline(&arn, (pipeline, execution), &failed, reason.as_deref(), now);
        steps.map(|_| ())
    }
}
