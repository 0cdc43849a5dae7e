//! Receiver `dynamodb`: capacity, throttles with their causes, latency and errors of every DynamoDB table, read from
//! CloudWatch and DescribeTable, as typed OTLP metrics.
//!
//! Tables are found by themselves. Values are handed on once, when they are settled; the cursor of a series moves when
//! the pipeline has taken them. A missing region, credentials or permission does not stop the agent: the receiver says
//! so, reports itself degraded and tries on.

mod asked;
mod clients;
mod config;
mod derived;
mod discovery;
mod follow;
mod hot_keys;
mod levels;
mod query;
mod series;
mod signals;
mod source;
mod tables;
mod usage;

#[cfg(test)]
#[cfg(feature = "simulator")]
mod tests;

use std::sync::Arc;

use self::config::Config;
use self::source::Tables;
use crate::aws::AccessSettings;
use crate::aws::cloudwatch::engine;
use crate::aws::permission::{GET_METRIC_DATA, GET_METRIC_STATISTICS, GET_RESOURCES, LIST_METRICS, Permission};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Factory, NothingToStop, Outlets, Plan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The registry's entry.
pub struct DynamoDbFactory;

impl Factory for DynamoDbFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "dynamodb"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Metrics]
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "CloudWatch metrics of every DynamoDB table: capacity, throttles, latency, errors."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = config::check(section)?;
        Some(Plan::Receiver(Box::new(DynamoDbPlan {
            config: Arc::new(config),
        })))
    }
}

/// What a configuration asks of AWS; `None`: it is not accepted.
pub fn permissions(section: &Section) -> Option<(AccessSettings, Vec<Permission>)> {
    let config = config::check(section)?;
    let mut permissions = vec![
        GET_METRIC_DATA,
        GET_METRIC_STATISTICS,
        LIST_METRICS,
        Permission::on_all("Discovery", "dynamodb:ListTables"),
        Permission::on_all("Discovery", "dynamodb:DescribeLimits"),
        Permission {
            sid: "Tables",
            action: "dynamodb:DescribeTable",
            resource: "arn:aws:dynamodb:*:*:table/*".into(),
        },
    ];
    if config.hot_keys.is_some() {
        permissions.push(Permission::on_all("HotKeys", "cloudwatch:GetInsightRuleReport"));
        permissions.push(Permission::on_all("HotKeys", "dynamodb:DescribeContributorInsights"));
        permissions.push(Permission::on_all("HotKeys", "dynamodb:ListContributorInsights"));
    }
    for collection in config
        .item_collections
        .iter()
        .filter(|collection| !collection.query.is_empty())
    {
        permissions.push(Permission {
            sid: "CollectionQuery",
            action: "dynamodb:Query",
            resource: format!("arn:aws:dynamodb:*:*:table/{}", collection.table).into(),
        });
    }
    permissions.extend(config.reads_tags().then_some(GET_RESOURCES));
    Some((config.engine.access.clone(), permissions))
}

/// The receiver's part of the polling engine, from its section. Problems are reported to the section.
pub fn blueprint(section: &Section) -> Option<Arc<dyn engine::Blueprint>> {
    let config = Arc::new(config::check(section)?);
    Some(Arc::new(Tables { config }))
}

struct DynamoDbPlan {
    config: Arc<Config>,
}

impl ReceiverPlan for DynamoDbPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let running: Arc<dyn Running> = match next.metrics {
                Some(outlet) => engine::start(Arc::new(Tables { config }), context, outlet),
                None => Arc::new(NothingToStop),
            };
            Ok(running)
        })
    }
}
