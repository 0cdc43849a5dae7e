//! The SDK clients of one account and region, with the rate and the count of each call.

use crate::aws::Calls;
use crate::aws::access::partition;
use crate::aws::cloudwatch::Desk;
use crate::aws::rate::Limits;

/// Clients and call counters of one shard.
pub struct Clients {
    pub account: String,
    pub region: String,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub list_metrics: Calls,
    pub list_tables: Calls,
    pub describe_table: Calls,
    pub describe_limits: Calls,
    pub list_insights: Calls,
    pub describe_insights: Calls,
    pub insight_report: Calls,
    pub query: Calls,
}

impl Clients {
    pub fn new(desk: &Desk) -> Self {
        let calls = |api, action, limits| desk.calls(api, action, limits);
        Self {
            account: desk.account.clone(),
            region: desk.region.clone(),
            cloudwatch: desk.access.cloudwatch(&desk.sdk),
            dynamodb: desk.access.dynamodb(&desk.sdk),
            list_metrics: calls("ListMetrics", "cloudwatch:ListMetrics", Limits::LIST_METRICS),
            list_tables: calls("ListTables", "dynamodb:ListTables", Limits::DESCRIBE),
            describe_table: calls("DescribeTable", "dynamodb:DescribeTable", Limits::DESCRIBE),
            describe_limits: calls("DescribeLimits", "dynamodb:DescribeLimits", Limits::DESCRIBE),
            list_insights: calls(
                "ListContributorInsights",
                "dynamodb:ListContributorInsights",
                Limits::DESCRIBE,
            ),
            describe_insights: calls(
                "DescribeContributorInsights",
                "dynamodb:DescribeContributorInsights",
                Limits::DESCRIBE,
            ),
            insight_report: calls(
                "GetInsightRuleReport",
                "cloudwatch:GetInsightRuleReport",
                Limits::LIST_METRICS,
            ),
            query: calls("Query", "dynamodb:Query", Limits::DESCRIBE),
        }
    }

    /// Other credentials, the same rates and counts.
    pub fn renew(&mut self, desk: &Desk) {
        self.cloudwatch = desk.access.cloudwatch(&desk.sdk);
        self.dynamodb = desk.access.dynamodb(&desk.sdk);
    }

    /// The ARN of a table here.
    pub fn arn_of_table(&self, name: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:{}:dynamodb:{region}:{account}:table/{name}", partition(region))
    }
}
