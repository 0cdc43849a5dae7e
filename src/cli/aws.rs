//! `radiosonde aws iam-policy`: the least IAM policy for what a configuration uses of AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::output;
use crate::components::receivers::dynamodb::IAM_ACTIONS;
use crate::config::{Document, Environment, Inputs};

/// Prints the policy for a configuration. Exit code 1 where there is none.
pub fn print_iam_policy(inputs: &Inputs, environment: &dyn Environment) -> ExitCode {
    let result = match Document::load(inputs, environment) {
        Ok(document) => iam_policy(&document).ok_or("the configuration has no AWS receiver".to_owned()),
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

/// The policy for the AWS receivers of a configuration; `None` where it uses none.
pub fn iam_policy(document: &Document) -> Option<Json> {
    let receivers = document.root().take("receivers")?;
    let mut roles = BTreeSet::new();
    let mut wanted = false;
    let mut options = Vec::new();
    for key in receivers.keys() {
        if key.split('/').next() != Some("dynamodb") {
            continue;
        }
        wanted = true;
        let Some(section) = receivers.take(&key) else { continue };
        let settings = crate::aws::AccessSettings::read(&section).unwrap_or_default();
        roles.extend(settings.accounts.into_iter().map(|account| account.role_arn));
        options.extend(section.read::<Options>());
    }
    wanted.then(|| policy(&roles, &options))
}

/// What needs more than the receiver always does.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    hot_keys: HotKeys,
    item_collections: Vec<ItemCollection>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HotKeys {
    enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemCollection {
    table: String,
    query: BTreeMap<String, f64>,
}

/// Statements of what was asked for.
fn optional(options: &[Options]) -> Vec<Json> {
    let mut statements = Vec::new();
    if options.iter().any(|options| options.hot_keys.enabled) {
        let actions = [
            "dynamodb:DescribeContributorInsights",
            "dynamodb:ListContributorInsights",
            "cloudwatch:GetInsightRuleReport",
        ];
        statements.push(json!({"Sid": "HotKeys", "Effect": "Allow", "Action": actions, "Resource": "*"}));
    }
    let collections = options.iter().flat_map(|options| &options.item_collections);
    let queried = collections.filter(|collection| !collection.query.is_empty());
    let tables: BTreeSet<String> = queried
        .map(|collection| format!("arn:aws:dynamodb:*:*:table/{}", collection.table))
        .collect();
    if !tables.is_empty() {
        let action = "dynamodb:Query";
        statements.push(json!({"Sid": "CollectionQuery", "Effect": "Allow", "Action": action, "Resource": tables}));
    }
    statements
}

fn policy(roles: &BTreeSet<String>, options: &[Options]) -> Json {
    let one_or_list = |values: Vec<&str>| match values[..] {
        [one] => json!(one),
        _ => json!(values),
    };
    let mut statements: Vec<Json> = IAM_ACTIONS
        .iter()
        .map(|(sid, actions, resource)| {
            json!({"Sid": sid, "Effect": "Allow", "Action": one_or_list(actions.to_vec()), "Resource": resource})
        })
        .collect();
    statements.extend(optional(options));
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
        assert_eq!(policy["Statement"][3]["Action"][2], "cloudwatch:GetInsightRuleReport");
        assert_eq!(policy["Statement"][4]["Action"], "dynamodb:Query");
        let tables = ["arn:aws:dynamodb:*:*:table/runs"];
        assert_eq!(policy["Statement"][4]["Resource"], json!(tables));
    }

    #[test]
    fn roles_are_named_and_no_aws_receiver_needs_nothing() {
        let text = "receivers:\n  dynamodb/a: {accounts: [{role_arn: \"arn:aws:iam::444455556666:role/m\"}]}\n";
        let policy = iam_policy(&document(text)).unwrap();
        assert_eq!(policy["Statement"][3]["Resource"], "arn:aws:iam::444455556666:role/m");
        assert_eq!(iam_policy(&document("receivers: {otlp: }")), None);
    }
}
