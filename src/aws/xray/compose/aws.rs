//! The `aws` block and `origin`.

use super::json::{Fields, Json, Put, fields_of};
use super::source::Source;
use crate::aws::xray::translate::MACHINES;

/// `aws`.
pub(super) fn aws(source: &Source) -> Fields {
    let mut block = Fields::new();
    let provider = source.resource_text("cloud.provider");
    if !source.was_segment && provider.is_some_and(|provider| provider != "aws" && provider != "unknown") {
        return block;
    }
    call(source, &mut block);
    if source.has_resource() && (source.is_segment || !source.was_segment) {
        resource(source, &mut block);
    }
    flattened(source, &mut block);
    // What could not be told from attributes replaces what was made of them.
    if let Some(kept) = source.text("aws.xray.aws").and_then(fields_of) {
        for (key, value) in kept {
            block.retain(|(have, _)| *have != key);
            if value != super::json::null() {
                block.push((key, value));
            }
        }
    }
    block
}

fn call(source: &Source, block: &mut Fields) {
    let is_api = is_api_call(source);
    let method = source.text("rpc.method").filter(|_| is_api);
    block.put_text("operation", source.text("aws.operation").or(method));
    block.put_text("account_id", source.text("aws.account_id"));
    block.put_text("region", source.first_text(&["cloud.region", "aws.region"]));
    block.put_text("request_id", source.first_text(&["aws.request_id", "aws.requestId"]));
    block.put_text("id_2", source.text("aws.extended_request_id"));
    let queue = ["aws.sqs.queue.url", "aws.queue_url", "aws.queue.url", "messaging.url"];
    block.put_text("queue_url", source.first_text(&queue));
    block.put("retries", source.int("aws.xray.retries").map(Json::Int));
    block.put_text("bucket_name", source.text("aws.s3.bucket"));
    block.put_text("key", source.text("aws.s3.key"));
    block.put_text("function_arn", source.text("aws.lambda.invoked_arn"));
    block.put_text("endpoint_name", source.text("aws.sagemaker.endpoint.name"));
    let one = source.first_text(&["aws.table_name", "aws.table.name"]);
    let mut tables = source.texts("aws.dynamodb.table_names");
    if tables.is_empty() {
        tables.extend(one);
    }
    match tables.as_slice() {
        [] => {}
        [table] => block.put_text("table_name", Some(table)),
        _ => block.put("table_names", Some(texts(&tables))),
    }
}

pub(super) fn is_api_call(source: &Source) -> bool {
    source.first_text(&["rpc.system", "rpc.system.name"]) == Some("aws-api")
}

fn texts(texts: &[&str]) -> Json {
    Json::List(texts.iter().map(|text| Json::text(*text)).collect())
}

/// Who sent it and where that runs.
fn resource(source: &Source, block: &mut Fields) {
    let get = |key| source.resource_text(key);
    if block.iter().all(|(key, _)| key != "account_id") {
        block.put_text("account_id", get("cloud.account.id"));
    }
    for (name, attributes, prefix) in MACHINES {
        let is_told = source.around.resource.iter().any(|attribute| {
            attribute.key.starts_with(prefix) && attributes.iter().any(|(_, name)| *name == attribute.key)
        });
        let mut machine = Fields::new();
        if is_told {
            for (key, attribute) in attributes {
                machine.put_text(key, get(attribute));
            }
        }
        block.put_map(name, machine);
    }
    if !source.was_segment && get("cloud.platform") == Some("aws_elastic_beanstalk") {
        let mut beanstalk = Fields::new();
        beanstalk.put_text("environment_name", get("service.namespace"));
        beanstalk.put_text("version_label", get("service.version"));
        let deployment = get("service.instance.id");
        let number = deployment.and_then(|id| id.parse().ok()).map(Json::Int);
        beanstalk.put("deployment_id", number.or(deployment.map(Json::text)));
        block.put_map("elastic_beanstalk", beanstalk);
    }
    logs(source, block);
    sdk(source, block);
}

fn logs(source: &Source, block: &mut Fields) {
    let arns = source.resource_texts("aws.log.group.arns");
    let names = source.resource_texts("aws.log.group.names");
    let of_name = |name: &str| Json::Map(vec![("log_group".to_owned(), Json::text(name))]);
    let list: Vec<Json> = if !arns.is_empty() {
        arns.into_iter().map(of_arn).collect()
    } else if !names.is_empty() {
        names.into_iter().map(of_name).collect()
    } else if !source.was_segment {
        source.options.log_groups.iter().map(|name| of_name(name)).collect()
    } else {
        Vec::new()
    };
    if !list.is_empty() {
        block.put("cloudwatch_logs", Some(Json::List(list)));
    }
}

/// `arn:aws:logs:region:account:log-group:NAME:*`
fn of_arn(arn: &str) -> Json {
    let mut log = Fields::new();
    log.put_text("log_group", arn.split(':').nth(6));
    log.put_text("arn", Some(arn.strip_suffix(":*").unwrap_or(arn)));
    Json::Map(log)
}

fn sdk(source: &Source, block: &mut Fields) {
    let get = |key| source.resource_text(key);
    let mut sdk = Fields::new();
    if source.was_segment {
        sdk.put_text("sdk", get("aws.xray.sdk"));
    } else if let Some(name) = get("telemetry.sdk.name") {
        let language = get("telemetry.sdk.language").map(|language| format!(" for {language}"));
        sdk.put(
            "sdk",
            Some(Json::text(format!("{name}{}", language.unwrap_or_default()))),
        );
    }
    sdk.put_text("sdk_version", get("telemetry.sdk.version"));
    sdk.put_text("package", get("aws.xray.sdk.package"));
    let distribution = get("telemetry.distro.name").or(get("telemetry.auto.version"));
    sdk.put("auto_instrumentation", distribution.map(|_| Json::Flag(true)));
    let form = source.text("aws.xray.sampling.rule_form").unwrap_or("rule_name");
    sdk.put_text(form, source.text("aws.xray.sampling.rule"));
    block.put_map("xray", sdk);
}

/// `aws.xray.aws.a.b` is the field `b` of the field `a`.
fn flattened(source: &Source, block: &mut Fields) {
    const PREFIX: &str = "aws.xray.aws.";
    // Ours are not nearly so deep; a key that a stranger made stays one key.
    const DEEPEST: usize = 16;
    for attribute in &source.span.attributes {
        let Some(path) = attribute.key.strip_prefix(PREFIX) else {
            continue;
        };
        let Some(value) = source.get(&attribute.key) else {
            continue;
        };
        let is_path = path.matches('.').count() <= DEEPEST;
        let (maps, last) = path.rsplit_once('.').filter(|_| is_path).unwrap_or(("", path));
        let mut fields = &mut *block;
        for key in maps.split('.').filter(|key| !key.is_empty()) {
            fields = map_under(fields, key);
        }
        fields.push((last.to_owned(), Json::of(value)));
    }
}

/// The map under a key, made where there is none.
fn map_under<'f>(fields: &'f mut Fields, key: &str) -> &'f mut Fields {
    let is_it = |(have, value): &(String, Json)| have == key && matches!(value, Json::Map(_));
    let at = fields.iter().position(is_it).unwrap_or_else(|| {
        fields.push((key.to_owned(), Json::Map(Fields::new())));
        fields.len() - 1
    });
    match &mut fields[at].1 {
        Json::Map(inside) => inside,
        _ => unreachable!("a map was found or made at this place"),
    }
}

/// `origin`.
pub(super) fn origin<'a>(source: &Source<'a>) -> Option<&'a str> {
    if let Some(origin) = source.text("aws.xray.origin") {
        return Some(origin);
    }
    if source.was_segment {
        return None;
    }
    Some(match source.resource_text("cloud.platform")? {
        "aws_app_runner" => "AWS::AppRunner::Service",
        "aws_eks" => "AWS::EKS::Container",
        "aws_elastic_beanstalk" => "AWS::ElasticBeanstalk::Environment",
        "aws_ecs" => match source
            .resource_text("aws.ecs.launchtype")
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("ec2") => "AWS::ECS::EC2",
            Some("fargate") => "AWS::ECS::Fargate",
            _ => "AWS::ECS::Container",
        },
        "aws_ec2" => "AWS::EC2::Instance",
        "aws_lambda" => "AWS::Lambda::Function",
        _ => return None,
    })
}
