//! Alert rules in the form of other systems: Prometheus and Alertmanager, alarms of CloudWatch as CloudFormation or
//! Terraform. What a target cannot say is listed, never left out in silence. Nothing here evaluates a rule.

mod alarm;
mod alertmanager;
mod cloudformation;
mod math;
mod metric;
mod prometheus;
mod terraform;
#[cfg(test)]
mod tests;
mod yaml;

use super::rules::RuleFile;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A rule file for stock Prometheus.
    Prometheus,
    /// Routes, receivers and inhibitions.
    Alertmanager,
    /// A template with alarms of CloudWatch.
    CloudFormation,
    /// The same as Terraform's JSON syntax.
    Terraform,
}

/// How it is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Steps, contact and escalation as annotations: Prometheus has no other place for them.
    pub guidance: bool,
    /// Operations that tables are used with: an alarm names each of them.
    pub operations: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            guidance: true,
            operations: DEFAULT_OPERATIONS.map(str::to_owned).to_vec(),
        }
    }
}

/// The ten that an alarm has room for.
const DEFAULT_OPERATIONS: [&str; 10] = [
    "GetItem",
    "BatchGetItem",
    "Query",
    "Scan",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
    "TransactGetItems",
];

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    pub text: String,
    /// What the target cannot say: `rule: why`.
    pub left_out: Vec<String>,
}

/// Writes the rules of all files for one system.
pub fn export(target: Target, files: &[RuleFile], options: &Options) -> Exported {
    match target {
        Target::Prometheus => prometheus::export(files, options),
        Target::Alertmanager => alertmanager::export(files),
        Target::CloudFormation => cloudformation::export(files, options),
        Target::Terraform => terraform::export(files, options),
    }
}
