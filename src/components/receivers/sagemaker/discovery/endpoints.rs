//! Endpoints: which there are, how they are, what they are made of.

use std::collections::BTreeMap;

use super::super::fleet::{EndpointInfo, VariantInfo};
use super::{Clients, DESCRIBE_S, Discovery, Outcome};
use crate::aws::Failure;
use crate::aws::json::request;
use crate::aws::json::sagemaker::{EndpointConfig, EndpointDescription, Endpoints, Operation};

impl Discovery {
    pub(super) async fn endpoints(&mut self, clients: &Clients, now: i64) -> Outcome {
        let listed = clients
            .sagemaker
            .list::<Endpoints>(Operation::ListEndpoints, request([]))
            .await?;
        let mut found = BTreeMap::new();
        for endpoint in listed.items {
            let name = endpoint.endpoint_name;
            if !self.takes(&name, &endpoint.endpoint_arn) {
                continue;
            }
            let known = self.fleet.endpoints.remove(&name);
            let modified = endpoint.last_modified_time.unwrap_or(0);
            let new = known.is_none();
            let mut info = known.unwrap_or_else(|| EndpointInfo {
                arn: self.names.name(&endpoint.endpoint_arn),
                status: String::new(),
                since: endpoint.creation_time.unwrap_or(now),
                modified,
                described: false,
                config: String::new(),
                asynchronous: false,
                publish_s: 60,
                variants: BTreeMap::new(),
            });
            if info.status != endpoint.endpoint_status || info.modified != modified {
                self.due.remove(&("endpoint", name.clone()));
            }
            if info.status != endpoint.endpoint_status {
                let started = self.started.unwrap_or(now);
                if !new || info.since >= started {
                    let change = (info.status.as_str(), endpoint.endpoint_status.as_str());
                    self.events.endpoint(&info.arn, &name, change, now);
                }
                info.status = endpoint.endpoint_status;
            }
            info.modified = modified;
            found.insert(name, info);
        }
        self.changed |= !self.fleet.endpoints.is_empty();
        self.fleet.endpoints = found;
        Ok(())
    }

    pub(super) async fn describe_endpoints(&mut self, clients: &Clients, now: i64, failures: &mut Vec<Failure>) {
        let names: Vec<String> = self.fleet.endpoints.keys().cloned().collect();
        for name in names {
            if !self.is_due("endpoint", &name, now) {
                continue;
            }
            let result = self.describe_endpoint(&name, clients).await;
            let gone = matches!(&result, Err(Failure::Refused { .. }));
            let passing = matches!(&result, Err(failure) if failure.is_transient());
            let denied = matches!(&result, Err(Failure::Denied { .. }));
            if gone {
                // Deleted since the list was made.
                self.fleet.endpoints.remove(&name);
                self.changed = true;
                continue;
            }
            if denied && let Some(info) = self.fleet.endpoints.get_mut(&name) {
                // The listing names its variants.
                self.changed |= !info.described;
            }
            let operation = match &result {
                Err(Failure::Denied { action, .. }) if action.ends_with("EndpointConfig") => {
                    Operation::DescribeEndpointConfig
                }
                _ => Operation::DescribeEndpoint,
            };
            // Spread, so that a thousand endpoints make no burst.
            let spread = (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % 300) as i64;
            self.settle(
                ("endpoint", &name, DESCRIBE_S - spread),
                operation,
                result,
                now,
                failures,
            );
            if passing {
                // What ails AWS ails the next call too; the next round asks again.
                break;
            }
        }
    }

    async fn describe_endpoint(&mut self, name: &str, clients: &Clients) -> Outcome {
        let description: EndpointDescription = clients
            .sagemaker
            .describe(Operation::DescribeEndpoint, "EndpointName", name)
            .await?;
        let Some(info) = self.fleet.endpoints.get_mut(name) else {
            return Ok(());
        };
        let before = info.clone();
        let mut metrics = description.metrics_config;
        info.asynchronous = description.async_inference_config.is_some();
        let mut variants: BTreeMap<String, VariantInfo> = BTreeMap::new();
        for variant in description.production_variants.unwrap_or_default() {
            let known = info.variants.get(&variant.variant_name);
            let described = VariantInfo {
                current: variant.current_instance_count,
                desired: variant.desired_instance_count,
                instance_type: known.and_then(|known| known.instance_type.clone()),
                serverless: variant.current_serverless_config.is_some(),
            };
            variants.insert(variant.variant_name, described);
        }
        info.variants = variants;
        info.described = true;
        let config = description.endpoint_config_name;
        let typed = info
            .variants
            .values()
            .all(|variant| variant.serverless || variant.instance_type.is_some());
        if !config.is_empty() && (config != info.config || !typed) {
            let answer: Result<EndpointConfig, Failure> = clients
                .sagemaker
                .describe(Operation::DescribeEndpointConfig, "EndpointConfigName", &config)
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(failure) => {
                    self.changed |= *info != before;
                    return Err(failure);
                }
            };
            info.config = config;
            info.asynchronous |= answer.async_inference_config.is_some();
            metrics = metrics.or(answer.metrics_config);
            for variant in answer.production_variants.unwrap_or_default() {
                if let Some(known) = info.variants.get_mut(&variant.variant_name) {
                    known.instance_type = variant.instance_type;
                    known.serverless |= variant.serverless_config.is_some();
                }
            }
        }
        if let Some(seconds) = metrics.and_then(|metrics| metrics.metric_publish_frequency_in_seconds) {
            info.publish_s = seconds.clamp(1, 3600);
        }
        self.changed |= *info != before;
        Ok(())
    }
}
