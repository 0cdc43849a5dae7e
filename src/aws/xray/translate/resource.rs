//! The resource of a document: who sent it, and where that runs.

use opentelemetry_proto::tonic::resource::v1::Resource;

use super::DocumentKind;
use super::attributes::{Attributes, any};
use super::walk::Walk;
use crate::aws::xray::document::{Kind, NodeId};

const EC2: [(&str, &str); 4] = [
    ("availability_zone", "cloud.availability_zone"),
    ("instance_id", "host.id"),
    ("instance_size", "host.type"),
    ("ami_id", "host.image.id"),
];
const ECS: [(&str, &str); 8] = [
    ("container", "container.name"),
    ("container_id", "container.id"),
    ("availability_zone", "cloud.availability_zone"),
    ("task_arn", "aws.ecs.task.arn"),
    ("task_family", "aws.ecs.task.family"),
    ("cluster_arn", "aws.ecs.cluster.arn"),
    ("container_arn", "aws.ecs.container.arn"),
    ("launch_type", "aws.ecs.launchtype"),
];
const EKS: [(&str, &str); 3] = [
    ("cluster_name", "k8s.cluster.name"),
    ("pod", "k8s.pod.name"),
    ("container_id", "container.id"),
];
const BEANSTALK: [(&str, &str); 3] = [
    ("environment_name", "service.namespace"),
    ("deployment_id", "service.instance.id"),
    ("version_label", "service.version"),
];
/// A block's name, its keys with their attributes, and how those begin that tell it.
type Machine = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// The blocks of a machine with their attributes, in the order in which they may set one, and a prefix by which the
/// way back knows each.
pub(in crate::aws::xray) const MACHINES: [Machine; 3] =
    [("ec2", &EC2, "host."), ("ecs", &ECS, "aws.ecs."), ("eks", &EKS, "k8s.")];
/// Keys of `aws.xray` that have attributes.
const SDK: [&str; 6] = [
    "sdk",
    "sdk_version",
    "package",
    "auto_instrumentation",
    "rule_name",
    "sampling_rule_name",
];

/// Whether a key of a segment's `aws` block belongs to the resource.
pub(super) fn takes(key: &str) -> bool {
    matches!(key, "account_id" | "elastic_beanstalk" | "cloudwatch_logs" | "xray")
        || MACHINES.iter().any(|(name, _, _)| *name == key)
}

/// Which blocks of a segment the way back could not tell from the resource.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blocks {
    machines: bool,
    logs: bool,
    sdk: bool,
    account: bool,
}

impl Blocks {
    pub(super) fn of(walk: &Walk, block: NodeId) -> Self {
        let tree = walk.tree;
        let (mut there, mut odd) = (0, false);
        for (name, keys, prefix) in MACHINES {
            let Some(machine) = walk.get(Some(block), name) else {
                continue;
            };
            there += 1;
            let attribute = |key: &str| {
                keys.iter()
                    .find(|(have, _)| *have == key)
                    .map(|(_, attribute)| *attribute)
            };
            let mut told = false;
            for child in tree.children(machine) {
                match attribute(tree.key(child)) {
                    Some(attribute) if tree.text(child).is_some() => told |= attribute.starts_with(prefix),
                    _ => odd |= tree.kind(child) != Kind::Null,
                }
            }
            odd |= !told;
        }
        let logs = walk.get(Some(block), "cloudwatch_logs");
        let is_name = |log| {
            tree.children(log)
                .all(|child| tree.key(child) == "log_group" && tree.text(child).is_some())
        };
        let mut entries = logs.into_iter().flat_map(|list| tree.children(list));
        let sdk = walk.get(Some(block), "xray");
        let mut sdk_fields = sdk.into_iter().flat_map(|sdk| tree.children(sdk));
        let is_plain_sdk = |field| {
            let flag = tree.key(field) == "auto_instrumentation" && tree.flag(field).is_some();
            SDK.contains(&tree.key(field)) && (flag || tree.text(field).is_some()) || tree.kind(field) == Kind::Null
        };
        let both_rules = walk.get(sdk, "rule_name").is_some() && walk.get(sdk, "sampling_rule_name").is_some();
        let account = walk.get(Some(block), "account_id");
        Self {
            machines: there > 1 || odd,
            logs: !entries.all(|log| tree.children(log).next().is_some() && is_name(log)),
            sdk: !sdk_fields.all(is_plain_sdk) || both_rules,
            account: account.is_some_and(|account| tree.text(account).is_none()),
        }
    }

    pub(super) fn must_be_kept(self, key: &str) -> bool {
        match key {
            "account_id" => self.account,
            "elastic_beanstalk" => true,
            "cloudwatch_logs" => self.logs,
            "xray" => self.sdk,
            _ => self.machines,
        }
    }
}

/// The resource. `service`: its name, where it is known.
pub(super) fn of(walk: &Walk, service: Option<&str>) -> Resource {
    let mut attributes = Attributes(Vec::with_capacity(8));
    attributes.text("service.name", service.unwrap_or("unknown_service"));
    let fields = &walk.segments[0].fields;
    let collector = walk.options.collector();
    match (fields.aws, collector) {
        (Some(_), _) => attributes.text("cloud.provider", "aws"),
        (None, true) => attributes.text("cloud.provider", "unknown"),
        (None, false) => {}
    }
    if walk.document_kind() != DocumentKind::Subsegment || collector {
        if let Some(account) = walk.get_text(fields.aws, "account_id") {
            attributes.text("cloud.account.id", account);
        }
        service_block(walk, &mut attributes);
        platform(walk, &mut attributes);
        machines(walk, &mut attributes);
        log_groups(walk, &mut attributes);
        sdk(walk, &mut attributes);
    }
    Resource {
        attributes: attributes.0,
        ..Resource::default()
    }
}

fn service_block(walk: &Walk, attributes: &mut Attributes) {
    let tree = walk.tree;
    let service = walk.segments[0].fields.service;
    for field in service.into_iter().flat_map(|service| tree.children(service)) {
        let name = match tree.key(field) {
            "version" => "service.version",
            "runtime" => "process.runtime.name",
            "runtime_version" => "process.runtime.version",
            other => {
                if tree.kind(field) != Kind::Null {
                    attributes.set(format!("aws.xray.service.{other}"), any(tree, field));
                }
                continue;
            }
        };
        match tree.text(field) {
            Some(text) => attributes.text(name, text),
            None if tree.kind(field) == Kind::Null => {}
            None => attributes.text(name, tree.compact(field)),
        }
    }
}

fn platform(walk: &Walk, attributes: &mut Attributes) {
    let fields = &walk.segments[0].fields;
    let origin = walk.text(fields.origin).unwrap_or_default();
    let of_origin = origin.strip_prefix("AWS::").and_then(|origin| {
        let platforms = [
            ("EC2", "aws_ec2"),
            ("ECS", "aws_ecs"),
            ("EKS", "aws_eks"),
            ("ElasticBeanstalk", "aws_elastic_beanstalk"),
            ("AppRunner", "aws_app_runner"),
            ("Lambda", "aws_lambda"),
        ];
        let found = platforms.into_iter().find(|(name, _)| origin.starts_with(name));
        found.map(|(_, platform)| platform)
    });
    let blocks = [
        ("elastic_beanstalk", "aws_elastic_beanstalk"),
        ("eks", "aws_eks"),
        ("ecs", "aws_ecs"),
        ("ec2", "aws_ec2"),
    ];
    let mut of_block = blocks
        .into_iter()
        .filter(|(name, _)| walk.get(fields.aws, name).is_some());
    if let Some(platform) = of_origin.or_else(|| of_block.next().map(|(_, platform)| platform)) {
        attributes.text("cloud.platform", platform);
        if platform == "aws_lambda" {
            attributes.text("faas.name", walk.name(&walk.segments[0]));
        }
    }
    if let Some(arn) = walk.text(fields.resource_arn) {
        attributes.text("cloud.resource_id", arn);
    }
}

fn machines(walk: &Walk, attributes: &mut Attributes) {
    let aws = walk.segments[0].fields.aws;
    let mut all: Vec<(&str, &[(&str, &str)])> = MACHINES.iter().map(|(name, keys, _)| (*name, *keys)).collect();
    if walk.options.collector() {
        // There the last of them that has a zone or a container's id sets it; here the first does.
        all.reverse();
    }
    all.push(("elastic_beanstalk", &BEANSTALK));
    for (name, keys) in all {
        let Some(block) = walk.get(aws, name) else { continue };
        for (key, attribute) in keys {
            let Some(field) = walk.get(Some(block), key) else {
                continue;
            };
            // The deployment's id is a number.
            if let Some(text) = walk.tree.text(field).or(walk.tree.number(field)) {
                attributes.text(*attribute, text);
            }
        }
    }
}

fn log_groups(walk: &Walk, attributes: &mut Attributes) {
    let tree = walk.tree;
    let Some(list) = walk.get(walk.segments[0].fields.aws, "cloudwatch_logs") else {
        return;
    };
    for (key, attribute) in [("log_group", "aws.log.group.names"), ("arn", "aws.log.group.arns")] {
        let values = tree.children(list).filter_map(|log| walk.get_text(Some(log), key));
        let values: Vec<String> = values.map(str::to_owned).collect();
        if !values.is_empty() {
            attributes.texts(attribute, values);
        }
    }
}

fn sdk(walk: &Walk, attributes: &mut Attributes) {
    let sdk = walk.get(walk.segments[0].fields.aws, "xray");
    if let Some(name) = walk.get_text(sdk, "sdk") {
        let lower = name.to_ascii_lowercase();
        if walk.options.collector() {
            attributes.text("telemetry.sdk.name", name);
            let exceptions = walk.get(walk.segments[0].fields.cause, "exceptions");
            let has_exceptions = exceptions.is_some_and(|list| walk.tree.children(list).next().is_some());
            if has_exceptions {
                attributes.text("telemetry.sdk.language", "java");
            } else if let Some((_, language)) = name.rsplit_once("for ") {
                attributes.text("telemetry.sdk.language", language);
            }
        } else {
            let ours = if lower.contains("opentelemetry") {
                "opentelemetry"
            } else {
                "xray"
            };
            attributes.text("telemetry.sdk.name", ours);
            attributes.text("aws.xray.sdk", name);
            if let Some(language) = language(&lower) {
                attributes.text("telemetry.sdk.language", language);
            }
        }
    }
    if let Some(version) = walk.get_text(sdk, "sdk_version") {
        attributes.text("telemetry.sdk.version", version);
    }
    if let Some(package) = walk.get_text(sdk, "package") {
        attributes.text("aws.xray.sdk.package", package);
    }
    if walk.is_true(walk.get(sdk, "auto_instrumentation")) {
        attributes.text("telemetry.distro.name", "aws-xray-auto-instrumentation");
    }
}

/// The conventions' name of the language in an SDK's name.
fn language(sdk: &str) -> Option<&'static str> {
    let names = [
        ("node", "nodejs"),
        ("javascript", "nodejs"),
        (".net", "dotnet"),
        ("dotnet", "dotnet"),
        ("python", "python"),
        ("java", "java"),
        ("ruby", "ruby"),
        ("go", "go"),
    ];
    let found = names.into_iter().find(|(part, _)| sdk.contains(part));
    found.map(|(_, language)| language)
}
