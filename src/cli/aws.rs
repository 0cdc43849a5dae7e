//! `radiosonde aws iam-policy`: the least IAM policy for what a configuration uses of AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::output;
use crate::aws::AccessSettings;
use crate::aws::permission::Permission;
use crate::components::{exporters, processors, receivers};
use crate::config::{Document, Environment, Inputs, Section};

/// Prints the policy for a configuration. Exit code 1 where there is none.
pub fn print_iam_policy(inputs: &Inputs, environment: &dyn Environment) -> ExitCode {
    let result = match Document::load(inputs, environment) {
        Ok(document) => iam_policy(&document)
            .ok_or("the configuration has nothing that asks AWS and is accepted: see `radiosonde validate`".to_owned()),
        Err(problems) => Err(problems.to_string()),
    };
    match result {
        Ok(policy) => {
            output::json(&policy);
            ExitCode::SUCCESS
        }
        Err(message) => {
            output::stderr(&format!("{message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Reads a receiver's section: whose roles it takes, and what it asks.
type Reader = fn(&Section) -> Option<(AccessSettings, Vec<Permission>)>;

/// The receivers that ask AWS.
const READERS: &[(&str, Reader)] = &[
    ("awscloudwatch", receivers::awscloudwatch::permissions),
    ("dynamodb", receivers::dynamodb::permissions),
    ("sagemaker", receivers::sagemaker::permissions),
    ("xray", receivers::xray::permissions),
];

/// The processors that do.
const CHECKERS: &[(&str, Reader)] = &[("span_retention", processors::span_retention::permissions)];

/// Reads an exporter's section: the role it takes, and what it asks.
type ExporterReader = fn(&Section) -> Option<(String, Vec<Permission>)>;

/// The exporters that write to AWS and can say what they need.
const WRITERS: &[(&str, ExporterReader)] = &[
    ("awss3", exporters::awss3::permissions),
    ("mlflow_dynamodb", exporters::mlflow_dynamodb::permissions),
];

/// The policy for what a configuration asks of AWS; `None` where that is nothing, or not accepted.
pub fn iam_policy(document: &Document) -> Option<Json> {
    let mut roles = BTreeSet::new();
    let mut permissions = BTreeSet::new();
    for (section, read) in known(document, "receivers", READERS) {
        let (access, own) = read(&section)?;
        roles.extend(access.accounts.into_iter().map(|account| account.role_arn));
        permissions.extend(own);
    }
    for (section, read) in known(document, "exporters", WRITERS) {
        let (role, own) = read(&section)?;
        roles.insert(role);
        permissions.extend(own);
    }
    for (section, read) in known(document, "processors", CHECKERS) {
        let (access, own) = read(&section)?;
        roles.extend(access.accounts.into_iter().map(|account| account.role_arn));
        permissions.extend(own);
    }
    roles.remove("");
    (!permissions.is_empty()).then(|| policy(&permissions, &roles))
}

/// The sections of the kinds that have a reader.
fn known<R: Copy>(document: &Document, of: &str, readers: &[(&str, R)]) -> Vec<(Section, R)> {
    let Some(sections) = document.root().take(of) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for key in sections.keys() {
        let kind = key.split('/').next().unwrap_or_default();
        if let Some((_, read)) = readers.iter().find(|(known, _)| *known == kind)
            && let Some(section) = sections.take(&key)
        {
            found.push((section, *read));
        }
    }
    found
}

/// One statement for each purpose.
fn policy(permissions: &BTreeSet<Permission>, roles: &BTreeSet<String>) -> Json {
    let one_or_list = |values: Vec<&str>| match values[..] {
        [one] => json!(one),
        _ => json!(values),
    };
    let mut by_purpose: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for permission in permissions {
        let purpose = (permission.sid, permission.resource.as_ref());
        by_purpose.entry(purpose).or_default().push(permission.action);
    }
    let mut statements: Vec<Json> = by_purpose
        .into_iter()
        .map(|((sid, resource), actions)| {
            json!({"Sid": sid, "Effect": "Allow", "Action": one_or_list(actions), "Resource": resource})
        })
        .collect();
    if !roles.is_empty() {
        let roles = one_or_list(roles.iter().map(String::as_str).collect());
        statements.push(json!({"Sid": "Accounts", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": roles}));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::from_text("test", text, &|_: &str| None).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn the_shipped_policy_is_the_printed_one() {
        let shipped: Json = serde_json::from_str(include_str!("../../deploy/iam/dynamodb.json")).unwrap();
        assert_eq!(iam_policy(&document("receivers: {dynamodb: }")), Some(shipped));
    }

    #[test]
    fn what_is_optional_is_allowed_only_where_it_is_used() {
        let text = "receivers:\n  dynamodb:\n    hot_keys: {enabled: true}\n    item_collections:\n    \
                    - {table: runs, key: a, query: {\"run#\": 100}}\n    - {table: other, key: a, model: {runs: 1}}\n";
        let policy = iam_policy(&document(text)).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let of = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).unwrap();
        assert_eq!(of("HotKeys")["Action"][0], "cloudwatch:GetInsightRuleReport");
        assert_eq!(of("CollectionQuery")["Action"], "dynamodb:Query");
        assert_eq!(of("CollectionQuery")["Resource"], "arn:aws:dynamodb:*:*:table/runs");
    }

    #[test]
    fn every_receiver_adds_its_own_actions() {
        let text = "receivers: {xray: {role_arn: \"arn:aws:iam::444455556666:role/r\", service_graph: {enabled: true}}, dynamodb: }";
        let policy = iam_policy(&document(text)).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let sids: Vec<&str> = statements
            .iter()
            .filter_map(|statement| statement["Sid"].as_str())
            .collect();
        assert!(
            sids.contains(&"XRaySignals") && sids.contains(&"CloudWatch") && sids.contains(&"Accounts"),
            "{sids:?}"
        );
        let only: Json = serde_json::from_str(include_str!("../../deploy/iam/xray.json")).unwrap();
        assert_eq!(iam_policy(&document("receivers: {xray: }")), Some(only));
    }

    #[test]
    fn roles_are_named_and_no_aws_receiver_needs_nothing() {
        let text = "receivers:\n  dynamodb/a: {accounts: [{role_arn: \"arn:aws:iam::444455556666:role/m\"}]}\n";
        let policy = iam_policy(&document(text)).unwrap();
        assert_eq!(policy["Statement"][3]["Resource"], "arn:aws:iam::444455556666:role/m");
        assert_eq!(iam_policy(&document("receivers: {otlp: }")), None);
    }

    #[test]
    fn the_policy_covers_every_receiver_and_no_more_than_they_ask() {
        let text = "receivers:\n  dynamodb: {profile: a, tags: {team: [\"*\"]}}\n  sagemaker: {profile: a, kinds: [pipelines]}\n  \
                    awscloudwatch: {region: a, metrics: {discovery: {}}}\n";
        let policy = iam_policy(&document(text)).unwrap();
        let actions = actions(&policy);
        let expected = [
            "cloudwatch:GetMetricData",
            "cloudwatch:GetMetricStatistics",
            "cloudwatch:ListMetrics",
            "dynamodb:DescribeLimits",
            "dynamodb:ListTables",
            "sagemaker:ListPipelines",
            "tag:GetResources",
            "sagemaker:ListPipelineExecutionSteps",
            "sagemaker:ListPipelineExecutions",
            "dynamodb:DescribeTable",
        ];
        assert_eq!(actions, expected);
        let queries = "receivers: {awscloudwatch: {region: a, metrics: {queries: [{namespace: a, metric_name: b}]}}}";
        let policy = iam_policy(&document(queries)).unwrap();
        assert_eq!(self::actions(&policy), ["cloudwatch:GetMetricData"]);
    }

    #[test]
    fn archives_add_what_writing_and_reading_them_needs() {
        let text = "exporters:\n  awss3: {url: \"s3://b/traces\"}\n  mlflow_dynamodb: {table: t, region: r}\n\
                    processors:\n  span_retention:\n    archives:\n    - s3: {bucket: b, prefix: traces, role_arn: \"arn:aws:iam::444455556666:role/m\"}\n    \
                    - ledger: {path: x}\n";
        let policy = iam_policy(&document(text)).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        let of = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).unwrap();
        assert_eq!(of("ArchiveObjects")["Action"], json!(["s3:GetObject", "s3:PutObject"]));
        assert_eq!(of("ArchiveObjects")["Resource"], "arn:aws:s3:::b/traces/*");
        assert_eq!(of("ArchiveRules")["Action"], "s3:GetLifecycleConfiguration");
        assert_eq!(of("ArchiveTable")["Resource"], "arn:aws:dynamodb:*:*:table/t");
        assert_eq!(of("Accounts")["Resource"], "arn:aws:iam::444455556666:role/m");
    }

    fn actions(policy: &Json) -> Vec<String> {
        let statements = policy["Statement"].as_array().unwrap();
        let mut actions = Vec::new();
        for statement in statements {
            match &statement["Action"] {
                Json::String(one) => actions.push(one.clone()),
                Json::Array(many) => actions.extend(many.iter().map(|action| action.as_str().unwrap().to_owned())),
                other => panic!("{other}"),
            }
        }
        actions
    }

    #[cfg(feature = "simulator")]
    mod without {
        //! Each action of a policy taken away in the simulator: the receiver says which one is missing.

        use std::net::SocketAddr;
        use std::sync::Arc;
        use std::time::Duration;

        use super::*;
        use crate::component::{
            BoxFuture, BuildContext, ComponentKind, ComponentState, Deadline, Outlet, Outlets, Plan, Refused, Stage,
        };
        use crate::components::REGISTRY;
        use crate::pdata::Batch;
        use crate::simulator::{Fault, FaultKind, Lag, Scenario, Simulator};

        struct Taken;

        impl Stage for Taken {
            fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
                Box::pin(std::future::ready(Ok(())))
            }
        }

        /// What a receiver says of itself while an operation is denied, as soon as it names `action`.
        async fn told(kind: &str, keys: &str, action: &str) -> Option<String> {
            let mut scenario = Scenario::everything();
            scenario.lag = Lag::NONE;
            let simulator = Simulator::frozen(scenario);
            let api = action.split(':').nth(1).unwrap();
            simulator.set_faults(vec![Fault::of(api, -1_000, 10_000, FaultKind::Denied)]);
            let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            let access = format!(
                "endpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, secret_access_key: simulated}}",
                served.url()
            );
            let section = Section::from_yaml(&format!("{access}\n{keys}\n"));
            let factory = REGISTRY.iter().find(|factory| factory.type_name() == kind).unwrap();
            let Some(Plan::Receiver(plan)) = factory.check(&section) else {
                panic!("{:?}", section.problems());
            };
            let context = BuildContext {
                clock: Arc::new(simulator.clock().clone()),
                ..BuildContext::standalone(ComponentKind::Receiver, kind)
            };
            let mut outlets = Outlets::default();
            for signal in factory.signals() {
                outlets.set(*signal, Outlet::to(Arc::new(Taken)));
            }
            let running = plan.start(context.clone(), outlets).await.unwrap();
            let end = simulator.now_s() + 45.0 * 60.0;
            let says = || match context.status.components().first().map(|component| component.2.clone()) {
                Some(ComponentState::Degraded(why)) if why.contains(action) => Some(why),
                _ => None,
            };
            let passing = async {
                while simulator.now_s() < end && says().is_none() {
                    let wake = simulator.clock().next_wake().await;
                    simulator.clock().advance_to(wake);
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), passing).await.unwrap();
            let why = says();
            running.stop(Deadline::after(Duration::from_secs(5))).await;
            why
        }

        #[tokio::test]
        async fn every_action_that_is_missing_is_named() {
            let mut cases = vec![
                ("dynamodb", "regions: [eu-central-1]\ntags: {team: [\"*\"]}".to_owned()),
                (
                    "awscloudwatch",
                    "region: eu-central-1\nmetrics: {discovery: {}}".to_owned(),
                ),
            ];
            let kinds = [
                "endpoints",
                "inference_components",
                "training_jobs",
                "processing_jobs",
                "transform_jobs",
                "pipelines",
                "feature_groups",
                "inference_recommendations",
                "monitoring",
                "labeling",
            ];
            for kind in kinds {
                let keys = format!("regions: [eu-central-1]\ntag_attributes: [team]\nkinds: [{kind}]");
                cases.push(("sagemaker", keys));
            }
            let mut seen = BTreeSet::new();
            for (kind, keys) in cases {
                let text: String = keys.lines().map(|line| format!("    {line}\n")).collect();
                let policy = iam_policy(&document(&format!("receivers:\n  {kind}:\n{text}"))).unwrap();
                for action in actions(&policy) {
                    // Once for each receiver.
                    if !seen.insert((kind, action.clone())) {
                        continue;
                    }
                    let why = told(kind, &keys, &action).await;
                    let why = why.unwrap_or_else(|| panic!("{kind} without {action} does not name it"));
                    assert!(why.contains(&format!("not allowed to call {action}")), "{why}");
                }
            }
            assert_eq!(seen.len(), 7 + 2 + 19);
        }
    }
}
