//! `--feature-gates`: names that switch behaviour. Any name is accepted, as configurations carry them for years.

use super::problem::{Problem, Severity};

/// The gate that joins lists of components when documents are merged.
const APPEND_LISTS: &str = "confmap.enableMergeAppendOption";

/// Gates of the Collector that mean something to components.
const KNOWN: [&str; 6] = [
    APPEND_LISTS,
    "awsemf.nodimrollupdefault",
    "exporter.xray.allowDot",
    "exporter.awsxray.skiptimestampvalidation",
    "processor.filter.defaultErrorModeIgnore",
    "exporter.prometheusremotewritexporter.RetryOn429",
];

/// What the gates ask of the reading of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gates {
    pub append_lists: bool,
}

/// `a`, `+a`: on; `-a`: off. The last word on a name counts.
pub(super) fn read(list: &[String], problems: &mut Vec<Problem>) -> Gates {
    let mut gates = Gates::default();
    for item in list.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
        let (name, on) = match item.strip_prefix('-') {
            Some(name) => (name, false),
            None => (item.strip_prefix('+').unwrap_or(item), true),
        };
        if name == APPEND_LISTS {
            gates.append_lists = on;
        }
        if !KNOWN.contains(&name) {
            problems.push(Problem {
                severity: Severity::Warning,
                ..Problem::without_place(format!("the feature gate \"{name}\" is not known and has no effect"))
            });
        }
    }
    gates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_switch_and_unknown_names_warn() {
        let list = ["+confmap.enableMergeAppendOption", "-x.y", " exporter.xray.allowDot"];
        let mut problems = Vec::new();
        let gates = read(&list.map(str::to_string), &mut problems);
        assert!(gates.append_lists);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("\"x.y\""));
        let list = [APPEND_LISTS.to_string(), format!("-{APPEND_LISTS}")];
        assert!(!read(&list, &mut problems).append_lists);
    }
}
