//! The SDK clients of one account and region, with the rate and the count of each call.

use std::sync::Arc;

use aws_config::SdkConfig;

use crate::aws::access::partition;
use crate::aws::rate::Limits;
use crate::aws::{Access, Calls};
use crate::component::BuildContext;

/// Clients and call counters of one shard.
pub struct Clients {
    pub account: String,
    pub region: String,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub get_metric_data: Calls,
    pub list_metrics: Calls,
    pub list_tables: Calls,
    pub describe_table: Calls,
}

impl Clients {
    /// `place`: account and region.
    pub fn new(access: &Access, config: &SdkConfig, place: (&str, &str), context: &BuildContext) -> Self {
        let calls = |api, action, limits| {
            Calls::new(
                api,
                action,
                limits,
                Arc::clone(&context.clock),
                &context.instruments,
                place,
            )
        };
        Self {
            account: place.0.to_owned(),
            region: place.1.to_owned(),
            cloudwatch: access.cloudwatch(config),
            dynamodb: access.dynamodb(config),
            get_metric_data: calls("GetMetricData", "cloudwatch:GetMetricData", Limits::GET_METRIC_DATA),
            list_metrics: calls("ListMetrics", "cloudwatch:ListMetrics", Limits::LIST_METRICS),
            list_tables: calls("ListTables", "dynamodb:ListTables", Limits::DESCRIBE),
            describe_table: calls("DescribeTable", "dynamodb:DescribeTable", Limits::DESCRIBE),
        }
    }

    /// Other credentials, the same rates and counts.
    pub fn renew(&mut self, access: &Access, config: &SdkConfig) {
        self.cloudwatch = access.cloudwatch(config);
        self.dynamodb = access.dynamodb(config);
    }

    /// The ARN of a table here.
    pub fn arn_of_table(&self, name: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:{}:dynamodb:{region}:{account}:table/{name}", partition(region))
    }
}
