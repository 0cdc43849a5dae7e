//! Resource Groups Tagging: GetResources over tables and SageMaker resources. Untagged resources are not in its answers.

use std::collections::BTreeMap;

use super::answer::{ApiError, Caller};
use super::sagemaker;
use super::value::Value;
use super::world::{World, table_account};

/// Resources on a page, unless the caller wants fewer.
const PAGE: i64 = 50;
const MOST: i64 = 100;

/// Answers one operation.
pub fn call(world: &World, caller: &Caller, operation: &str, request: &Value) -> Result<Value, ApiError> {
    if operation != "GetResources" {
        return Err(ApiError::sender(
            "UnknownOperationException",
            format!("the simulator does not know {operation}"),
        ));
    }
    let size = request.int("ResourcesPerPage").unwrap_or(PAGE);
    if !(1..=MOST).contains(&size) {
        return Err(ApiError::sender(
            "InvalidParameterException",
            format!("ResourcesPerPage must be between 1 and {MOST}"),
        ));
    }
    let from: usize = match request.str("PaginationToken").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .strip_prefix("tag-")
            .and_then(|rest| rest.parse().ok())
            .ok_or_else(|| ApiError::sender("PaginationTokenExpiredException", "the pagination token is not valid"))?,
    };
    let types: Vec<&str> = request
        .list("ResourceTypeFilters")
        .iter()
        .filter_map(|filter| match filter {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let mut found: Vec<(String, &BTreeMap<String, String>)> = resources(world, caller);
    found.retain(|(arn, tags)| {
        (types.is_empty() || types.iter().any(|filter| is_of(arn, filter)))
            && request.list("TagFilters").iter().all(|filter| tag_fits(tags, filter))
    });
    let to = from + size as usize;
    let token = if found.len() > to {
        format!("tag-{to}")
    } else {
        String::new()
    };
    let page = found.iter().skip(from).take(size as usize).map(|(arn, tags)| {
        let tags = tags.iter().map(|(key, value)| {
            Value::map([
                ("Key", Value::text(key.as_str())),
                ("Value", Value::text(value.as_str())),
            ])
        });
        Value::map([
            ("ResourceARN", Value::text(arn.as_str())),
            ("Tags", Value::List(tags.collect())),
        ])
    });
    Ok(Value::map([
        ("ResourceTagMappingList", Value::List(page.collect())),
        ("PaginationToken", Value::Text(token)),
    ]))
}

fn resources<'a>(world: &'a World, caller: &Caller) -> Vec<(String, &'a BTreeMap<String, String>)> {
    let scenario = &world.scenario;
    let mut found = Vec::new();
    for table in &scenario.tables {
        let account = table_account(scenario, table);
        if account == caller.account && table.region == caller.region && !table.tags.is_empty() {
            let arn = format!("arn:aws:dynamodb:{}:{account}:table/{}", table.region, table.name);
            found.push((arn, &table.tags));
        }
    }
    let account = scenario.sagemaker.account.as_deref().unwrap_or(&scenario.account);
    if account == caller.account && scenario.sagemaker.region == caller.region {
        found.extend(sagemaker::tagged(&scenario.sagemaker, account));
    }
    found.sort();
    found
}

/// `dynamodb:table`, or a service alone.
fn is_of(arn: &str, filter: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let (Some(service), Some(resource)) = (parts.get(2), parts.get(5)) else {
        return false;
    };
    let kind = resource.split('/').next().unwrap_or_default();
    match filter.split_once(':') {
        None => *service == filter,
        Some((wanted, wanted_kind)) => *service == wanted && kind == wanted_kind,
    }
}

fn tag_fits(tags: &BTreeMap<String, String>, filter: &Value) -> bool {
    let Some(have) = tags.get(filter.str("Key").unwrap_or_default()) else {
        return false;
    };
    let values = filter.list("Values");
    values.is_empty() || values.iter().any(|value| *value == Value::text(have.as_str()))
}
