//! One template with all alarms. Names of tables, indexes, endpoints and so on are parameters; alarms whose parameters are
//! empty are not made, so the same template serves a stack for each table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::alarm::{Alarm, Losses, alarms};
use super::{Exported, Options};
use crate::alert::rules::RuleFile;

const SEVERITIES: [&str; 3] = ["Critical", "Warning", "Info"];

pub fn export(files: &[RuleFile], options: &Options) -> Exported {
    let (alarms, left_out) = all(files, options);
    let mut parameters = Map::new();
    let mut conditions = Map::new();
    for severity in SEVERITIES {
        let name = format!("{severity}Actions");
        let told = "ARNs of what an alarm of this severity starts (SNS topics); none if empty";
        let parameter = json!({"Type": "CommaDelimitedList", "Default": "", "Description": told});
        let filled = json!({"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": name}]}, ""]}]});
        conditions.insert(format!("Has{name}"), filled);
        parameters.insert(name, parameter);
    }
    for name in names(&alarms) {
        let told = format!("{name} to watch; its alarms are left out if empty");
        parameters.insert(
            name.clone(),
            json!({"Type": "String", "Default": "", "Description": told}),
        );
    }
    let mut resources = Map::new();
    for alarm in alarms {
        let mut resource = json!({"Type": "AWS::CloudWatch::Alarm", "Properties": alarm.properties});
        if !alarm.parameters.is_empty() {
            let (name, condition) = condition(&alarm.parameters);
            resource["Condition"] = json!(name);
            conditions.insert(name, condition);
        }
        resources.insert(alarm.id, resource);
    }
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Alarms written by radiosonde rules export",
        "Metadata": {"Radiosonde": {"LeftOut": left_out}},
        "Parameters": parameters,
        "Conditions": conditions,
        "Resources": resources,
    });
    Exported {
        text: format!("{template:#}\n"),
        left_out,
    }
}

/// The alarms of all rules, ids unique, and what cannot be said.
pub fn all(files: &[RuleFile], options: &Options) -> (Vec<Alarm>, Vec<String>) {
    let mut losses = Losses::default();
    let mut found: BTreeMap<String, Alarm> = BTreeMap::new();
    for group in files.iter().flat_map(|file| &file.groups) {
        for rule in &group.rules {
            for mut alarm in alarms(group, rule, options, &mut losses) {
                alarm.id.retain(|letter| letter.is_ascii_alphanumeric());
                let mut number = 2;
                let wanted = alarm.id.clone();
                while found.contains_key(&alarm.id) {
                    alarm.id = format!("{wanted}x{number}");
                    number += 1;
                }
                found.insert(alarm.id.clone(), alarm);
            }
        }
    }
    (found.into_values().collect(), losses.lines())
}

/// Everything that is a parameter of some alarm.
pub fn names(alarms: &[Alarm]) -> BTreeSet<String> {
    alarms
        .iter()
        .flat_map(|alarm| alarm.parameters.iter().cloned())
        .collect()
}

/// All of them are given.
fn condition(parameters: &BTreeSet<String>) -> (String, Json) {
    let names: Vec<&str> = parameters.iter().map(String::as_str).collect();
    let given: Vec<Json> = names
        .iter()
        .map(|name| json!({"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}))
        .collect();
    let condition = match &given[..] {
        [one] => one.clone(),
        _ => json!({ "Fn::And": given }),
    };
    (format!("Has{}", names.join("And")), condition)
}
