//! `mlflow_dynamodb` exporter: traces into a DynamoDB table in the layout of mlflow-dynamodbstore, each with its spans in
//! one item.
//!
//! What the layout is, and how a trace is added to it, is in `retention::archives::mlflow`. What DynamoDB does not take
//! because of its size goes into objects where `oversize` names a place, and is refused otherwise.

mod config;
mod far_end;
#[cfg(feature = "simulator")]
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::config::Config;
use self::far_end::FarEnd;
use crate::aws::permission::Permission;
use crate::component::{
    BuildContext, BuiltExporter, ComponentKind, Delivery, ExporterPlan, Factory, NothingToStop, Plan, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;
use crate::retention::archives::objects::place::Root;

/// The registry's entry.
pub struct MlflowDynamoDbFactory;

impl Factory for MlflowDynamoDbFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "mlflow_dynamodb"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Stores traces in a DynamoDB table of MLflow's (layout mlflow-dynamodbstore)."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Exporter(Box::new(TablePlan(Arc::new(Config::check(section)?)))))
    }
}

/// What an exporter with this section needs of AWS, and the role that it takes.
pub fn permissions(section: &Section) -> Option<(String, Vec<Permission>)> {
    let config = Config::check(section)?;
    let actions = [
        "dynamodb:BatchGetItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    ];
    let mut permissions = config.table.permissions(&actions);
    if let Some(place) = &config.oversize
        && let Root::Bucket(bucket) = &place.root
    {
        permissions.extend(bucket.writing(&place.prefix));
    }
    Some((config.table.place.role_arn.clone(), permissions))
}

struct TablePlan(Arc<Config>);

impl ExporterPlan for TablePlan {
    fn delivery(&self) -> Delivery {
        self.0.delivery.clone()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        Ok(BuiltExporter {
            far_end: Arc::new(FarEnd::new(Arc::clone(&self.0), &context)),
            running: Arc::new(NothingToStop),
        })
    }
}
