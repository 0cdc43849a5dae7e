//! `radiosonde aws iam-policy`: the least IAM policy for what a configuration uses of AWS.

use std::collections::BTreeSet;
use std::process::ExitCode;

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
    for key in receivers.keys() {
        if key.split('/').next() != Some("dynamodb") {
            continue;
        }
        wanted = true;
        let Some(section) = receivers.take(&key) else { continue };
        let settings = crate::aws::AccessSettings::read(&section).unwrap_or_default();
        roles.extend(settings.accounts.into_iter().map(|account| account.role_arn));
    }
    wanted.then(|| policy(&roles))
}

fn policy(roles: &BTreeSet<String>) -> Json {
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
    fn roles_are_named_and_no_aws_receiver_needs_nothing() {
        let text = "receivers:\n  dynamodb/a: {accounts: [{role_arn: \"arn:aws:iam::444455556666:role/m\"}]}\n";
        let policy = iam_policy(&document(text)).unwrap();
        assert_eq!(policy["Statement"][3]["Resource"], "arn:aws:iam::444455556666:role/m");
        assert_eq!(iam_policy(&document("receivers: {otlp: }")), None);
    }
}
