//! What DynamoDB counts against the account's quotas, in namespace AWS/Usage. CloudWatch calls all of it
//! `ResourceCount`; what is counted stands in a dimension. Asked for only where ListMetrics names it.

use std::sync::Arc;

use super::config::Config;
use super::series::shape;
use crate::aws::catalogue::catalogue;
use crate::aws::cloudwatch::listing::Listing;
use crate::aws::cloudwatch::{ACCOUNT, Desk, Names, Want};

const NAMESPACE: &str = "AWS/Usage";
const COUNT: &str = "ResourceCount";

/// The listing of DynamoDB's part of the namespace.
pub fn listing(desk: &Desk) -> Listing {
    Listing::new(desk, vec![NAMESPACE]).only(NAMESPACE, "Service", "DynamoDB")
}

/// Everything of it to poll.
pub fn wants(listing: &Listing, config: &Config, names: &mut Names) -> Vec<Want> {
    let mut wants = Vec::new();
    for series in listing.series() {
        let counted = match series.dimension("Resource") {
            Some(resource) if &*series.metric == COUNT => resource,
            _ => &series.metric,
        };
        let metric = catalogue().find(NAMESPACE, counted);
        let Some(metric) = metric.filter(|metric| config.metrics.take(&metric.metric)) else {
            continue;
        };
        let mut shape = shape(metric, config, names);
        shape.metric = Arc::clone(&series.metric);
        wants.push(Want {
            shape: Arc::new(shape),
            dimensions: Arc::clone(&series.dimensions),
            resource: names.name(ACCOUNT),
            exists_from: 0,
        });
    }
    wants
}
