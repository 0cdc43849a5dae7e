//! The same alarms in Terraform's JSON syntax, as resources of the provider `awscc`, whose attributes are those of
//! CloudFormation.

use serde_json::{Map, Value as Json, json};

use super::alarm::Alarm;
use super::{Exported, Options, cloudformation};
use crate::alert::rules::RuleFile;

pub fn export(files: &[RuleFile], options: &Options) -> Exported {
    let (alarms, left_out) = cloudformation::all(files, options);
    let mut variables = Map::new();
    for severity in ["critical", "warning", "info"] {
        let told = "ARNs of what an alarm of this severity starts (SNS topics)";
        let variable = json!({"type": "list(string)", "default": [], "description": told});
        variables.insert(format!("{severity}_actions"), variable);
    }
    for name in cloudformation::names(&alarms) {
        let told = format!("{name} to watch; its alarms are left out if empty");
        variables.insert(
            snake(&name),
            json!({"type": "string", "default": "", "description": told}),
        );
    }
    let alarms: Map<String, Json> = alarms.iter().map(|alarm| (snake(&alarm.id), resource(alarm))).collect();
    let document = json!({
        "//": {"written_by": "radiosonde rules export --to terraform", "left_out": left_out},
        "terraform": {"required_providers": {"awscc": {"source": "hashicorp/awscc"}}},
        "variable": variables,
        "resource": {"awscc_cloudwatch_alarm": alarms},
    });
    Exported {
        text: format!("{document:#}\n"),
        left_out,
    }
}

fn resource(alarm: &Alarm) -> Json {
    let mut resource = translated(&alarm.properties);
    let given: Vec<String> = alarm
        .parameters
        .iter()
        .map(|name| format!("var.{} != \"\"", snake(name)))
        .collect();
    if !given.is_empty() {
        resource["count"] = json!(format!("${{{} ? 1 : 0}}", given.join(" && ")));
    }
    resource
}

/// References become variables, keys attributes. Other texts must not be taken for templates.
fn translated(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            if let Some(name) = map.get("Ref").and_then(Json::as_str) {
                return json!(format!("${{var.{}}}", snake(name)));
            }
            if let Some(text) = map.get("Fn::Sub").and_then(Json::as_str) {
                return json!(variables_in(text));
            }
            if let Some(chosen) = map.get("Fn::If").and_then(|branches| branches.get(1)) {
                return translated(chosen);
            }
            let entries = map.iter().map(|(key, value)| (snake(key), translated(value)));
            Json::Object(entries.collect())
        }
        Json::Array(list) => list.iter().map(translated).collect(),
        Json::String(text) => json!(text.replace("${", "$${").replace("%{", "%%{")),
        other => other.clone(),
    }
}

/// `${TableName}` -> `${var.table_name}`.
fn variables_in(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        done.push_str(&format!("{before}${{var.{}}}", snake(name)));
        rest = after;
    }
    done.push_str(rest);
    done
}

/// `AlarmName`, `OKActions`, `PromQLCriteria` -> `alarm_name`, `ok_actions`, `prom_ql_criteria`, as the provider does.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut done = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| letters[before]);
        let next_is_small = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let begins = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() && before != '_' || before.is_ascii_uppercase() && next_is_small
            });
        if begins {
            done.push('_');
        }
        done.push(letter.to_ascii_lowercase());
    }
    done
}
