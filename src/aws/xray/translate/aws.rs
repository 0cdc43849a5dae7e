//! The `aws` block: what belongs to the call stands on the span, what belongs to the machine on the resource (beside).
//!
//! What has no name of its own goes to `aws.xray.aws.<key>`; what would not come back from there as it was, to one JSON
//! object, `aws.xray.aws`, whose keys replace what the way back makes of the others (`null` removes).

use opentelemetry_proto::tonic::common::v1::AnyValue;

use super::attributes::{any, number};
use super::resource;
use super::salvage::{Reason, Salvaged};
use super::span::{Draft, Place};
use crate::aws::xray::document::{Kind, NodeId, Tree};

/// Attributes of keys that have no name of their own.
const MOST_OTHERS: usize = 32;
/// Maps inside each other that become keys with dots.
const DEEPEST: u32 = 4;

/// Collects the JSON object of `aws.xray.aws`.
#[derive(Default)]
struct Kept(String);

impl Kept {
    fn add(&mut self, key: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&serde_json::Value::from(key).to_string());
        self.0.push(':');
        self.0.push_str(json);
    }
}

pub(super) fn translate(place: &Place, draft: &mut Draft, salvaged: &mut Salvaged) {
    let walk = place.walk;
    let fields = &place.segment.fields;
    let is_call = walk.text(fields.namespace) == Some("aws");
    let collector = walk.options.collector();
    if is_call {
        let name = walk.name(place.segment);
        draft.attributes.text("rpc.system", "aws-api");
        draft
            .attributes
            .text(if collector { "aws.service" } else { "rpc.service" }, name);
    }
    let Some(block) = fields.aws else { return };
    if walk.tree.kind(block) != Kind::Map {
        draft.salvage(Reason::Aws, salvaged);
        return;
    }
    let mut kept = Kept::default();
    let mut others = 0;
    let on_resource = if place.is_segment() {
        resource::Blocks::of(walk, block)
    } else {
        resource::Blocks::default()
    };
    for field in walk.tree.children(block) {
        if walk.tree.kind(field) == Kind::Null {
            continue;
        }
        let key = walk.tree.key(field);
        if place.is_segment() && resource::takes(key) {
            if on_resource.must_be_kept(key) {
                kept.add(key, &walk.tree.compact(field));
            }
            if !collector || key != "account_id" {
                continue;
            }
        }
        if named(place, key, field, is_call, draft) {
            continue;
        }
        if !other(walk.tree, key, field, &mut others, draft) {
            kept.add(key, &walk.tree.compact(field));
        }
    }
    tables(place, block, draft, &mut kept);
    if place.is_segment() {
        sampling_rule(place, block, draft);
        // Else nobody could tell whether the resource's version is the segment's or that of its Beanstalk label.
        let version = walk.get_text(fields.service, "version");
        if let (Some(version), Some(_)) = (version, walk.get(Some(block), "elastic_beanstalk")) {
            draft.attributes.text("aws.xray.service.version", version);
        }
    }
    if !kept.0.is_empty() {
        kept.0.push('}');
        draft.attributes.text("aws.xray.aws", kept.0);
    }
}

/// Sets the attribute that a key has a name for; says whether it has one.
fn named(place: &Place, key: &str, field: NodeId, is_call: bool, draft: &mut Draft) -> bool {
    let tree = place.walk.tree;
    let options = place.walk.options;
    let collector = options.collector();
    let attributes = &mut draft.attributes;
    if key == "retries" {
        let Some(retries) = tree.number(field).and_then(|text| text.parse().ok()) else {
            return false;
        };
        attributes.int("aws.xray.retries", retries);
        return true;
    }
    if matches!(key, "table_name" | "table_names") {
        return true;
    }
    let Some(text) = tree.text(field) else { return false };
    let name = match key {
        "operation" if collector => "aws.operation",
        "operation" if is_call => "rpc.method",
        "account_id" => "aws.account_id",
        "region" if collector => "aws.region",
        "region" => "cloud.region",
        "request_id" => "aws.request_id",
        "id_2" => "aws.extended_request_id",
        "bucket_name" => "aws.s3.bucket",
        "key" => "aws.s3.key",
        "function_arn" => "aws.lambda.invoked_arn",
        "endpoint_name" => "aws.sagemaker.endpoint.name",
        "queue_url" => {
            if options.stable() {
                attributes.text("aws.sqs.queue.url", text);
            }
            if options.old() {
                attributes.text("aws.queue_url", text);
            }
            return true;
        }
        _ => return false,
    };
    attributes.text(name, text);
    true
}

/// DynamoDB's tables: one name, or several.
fn tables(place: &Place, block: NodeId, draft: &mut Draft, kept: &mut Kept) {
    let walk = place.walk;
    let tree = walk.tree;
    let (one, several) = (
        walk.get(Some(block), "table_name"),
        walk.get(Some(block), "table_names"),
    );
    let list = several.into_iter().flat_map(|list| tree.children(list));
    let mut names: Vec<String> = one
        .and_then(|one| tree.text(one))
        .map(str::to_owned)
        .into_iter()
        .collect();
    names.extend(list.filter_map(|name| tree.text(name)).map(str::to_owned));
    let stated = several.map_or(0, |list| tree.children(list).count());
    let is_plain = match (one, several) {
        (None, None) => return,
        (Some(one), None) => tree.text(one).is_some(),
        (None, Some(_)) => stated > 1 && names.len() == stated,
        (Some(_), Some(_)) => false,
    };
    if !is_plain {
        kept.add(
            "table_name",
            &one.map_or_else(|| "null".to_owned(), |one| tree.compact(one)),
        );
        kept.add(
            "table_names",
            &several.map_or_else(|| "null".to_owned(), |list| tree.compact(list)),
        );
    }
    if names.is_empty() {
        return;
    }
    if walk.options.collector() || !walk.options.stable() {
        draft.attributes.text("aws.table_name", names[0].clone());
    }
    if walk.options.stable() || names.len() > 1 {
        draft.attributes.texts("aws.dynamodb.table_names", names);
    }
    if walk.options.stable() {
        draft.attributes.text("db.system.name", "aws.dynamodb");
    }
    if walk.options.old() {
        draft.attributes.text("db.system", "dynamodb");
    }
}

fn sampling_rule(place: &Place, block: NodeId, draft: &mut Draft) {
    let walk = place.walk;
    let xray = walk.get(Some(block), "xray");
    if let Some(rule) = walk.get_text(xray, "rule_name") {
        draft.attributes.text("aws.xray.sampling.rule", rule);
    } else if let Some(rule) = walk.get_text(xray, "sampling_rule_name") {
        draft.attributes.text("aws.xray.sampling.rule", rule);
        draft
            .attributes
            .text("aws.xray.sampling.rule_form", "sampling_rule_name");
    }
}

/// Everything else, flattened; `false` where it must be kept as JSON.
fn other(tree: &Tree, key: &str, field: NodeId, others: &mut usize, draft: &mut Draft) -> bool {
    let mut flat = Vec::new();
    if !flatten(tree, key, field, String::from("aws.xray.aws"), 0, &mut flat) || *others + flat.len() > MOST_OTHERS {
        return false;
    }
    *others += flat.len();
    for (key, value) in flat {
        draft.attributes.set(key, value);
    }
    true
}

/// `false` where the dots of the keys, or the kinds of the values, would not tell how it was.
fn flatten(
    tree: &Tree,
    key: &str,
    field: NodeId,
    prefix: String,
    depth: u32,
    flat: &mut Vec<(String, AnyValue)>,
) -> bool {
    if key.is_empty() || key.contains('.') || depth > DEEPEST || flat.len() > MOST_OTHERS {
        return false;
    }
    let name = format!("{prefix}.{key}");
    match tree.kind(field) {
        Kind::Map => {
            let mut children = tree.children(field).peekable();
            children.peek().is_some()
                && children.all(|child| flatten(tree, tree.key(child), child, name.clone(), depth + 1, flat))
        }
        Kind::List => {
            let is_scalar = |child| match tree.kind(child) {
                Kind::Map | Kind::List | Kind::Null => false,
                Kind::Number => number(tree.number(child).unwrap_or_default()).is_ok(),
                _ => true,
            };
            let is_plain = tree.children(field).all(is_scalar);
            flat.push((name, any(tree, field)));
            is_plain
        }
        Kind::Null => false,
        Kind::Number if number(tree.number(field).unwrap_or_default()).is_err() => false,
        _ => {
            flat.push((name, any(tree, field)));
            true
        }
    }
}
