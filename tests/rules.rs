//! The shipped rules and their unit tests (`tests/rules/`), run by stock promtool where it is installed.
//!
//! promtool ignores the second document of a rule file, so what that says about time is written into the first one here:
//! `datapoints` of n in n periods is `for` of n - 1 periods. promtool before version 3 has windows that are closed on the
//! left; a window that is a millisecond shorter holds the same points as one that is open there.

#![allow(clippy::unwrap_used)] // All of it is test code; helpers may fail a test too.
#![allow(clippy::print_stderr)] // What is skipped is said aloud.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use radiosonde::alert::packs::{self, PACKS};
use radiosonde::config::Section;

/// Tests of levels of a pair as Radiosonde tells them: promtool knows no pairs. `pairs.promtool.yaml` is its side.
const OURS_ONLY: &str = "pairs.yaml";
/// Written for `throttle_mode: sustained`.
const SUSTAINED: &str = "sustained.yaml";

fn promtool() -> Option<PathBuf> {
    let found = Command::new("promtool").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(PathBuf::from("promtool"));
    }
    eprintln!("skipped: promtool is not installed");
    None
}

fn run(promtool: &Path, args: &[&str], what: &str) {
    let output = Command::new(promtool).args(args).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{what}:\n{out}\n{err}");
}

fn test_files() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/rules").unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What the second document says of an alert.
#[derive(Default)]
struct Block {
    /// n and the period in seconds, of n in n.
    datapoints: Option<(u64, u64)>,
    is_anomaly: bool,
}

fn blocks(extra: &str) -> BTreeMap<String, Block> {
    let mut blocks: BTreeMap<String, Block> = BTreeMap::new();
    let mut current = String::new();
    for line in extra.lines() {
        if let Some(name) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':')) {
            if !name.starts_with(' ') {
                current = name.to_owned();
                blocks.entry(current.clone()).or_default();
            }
        } else if let Some(points) = line.strip_prefix("      datapoints: ") {
            let numbers: Vec<u64> = points
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|digits| digits.parse().ok())
                .collect();
            let [m, n, minutes] = numbers[..] else { panic!("{line}") };
            assert!(m == n && points.ends_with("m}"), "{line}");
            blocks.get_mut(&current).unwrap().datapoints = Some((n, minutes * 60));
        } else if line.starts_with("      anomaly: ") {
            blocks.get_mut(&current).unwrap().is_anomaly = true;
        }
    }
    blocks
}

/// The alerts that a file of tests asks for: promtool would evaluate all others as well. `None`: it wants to see that no
/// other one fires.
fn asked_for(tests: &str) -> Option<BTreeSet<&str>> {
    let names = tests.split("alertname: ").skip(1);
    let names = names.filter_map(|rest| rest.split([',', '\n']).next()).collect();
    (!tests.contains("promql_expr_test")).then_some(names)
}

/// The rules that are asked for, as promtool 2 has to see them.
fn for_promtool(text: &str, asked: Option<&BTreeSet<&str>>) -> String {
    let (rules, extra) = text.split_once("\n---\n").unwrap();
    let blocks = blocks(extra);
    let window = regex::Regex::new(r"\[(\d+)([smhdw])(:\d+[smhdw])?\]").unwrap();
    let mut done = String::new();
    let mut left_out = false;
    for line in rules.lines() {
        if line.starts_with("- name: ") {
            left_out = false;
        }
        if let Some(name) = line.strip_prefix("  - alert: ") {
            let block = &blocks[name];
            left_out = block.is_anomaly || asked.is_some_and(|asked| !asked.contains(name));
            if let (false, Some((n, period))) = (left_out, block.datapoints) {
                done.push_str(&format!("{line}\n    for: {}s\n", (n - 1) * period));
                continue;
            }
        }
        if left_out {
            continue;
        }
        let line = window.replace_all(line, |found: &regex::Captures<'_>| {
            let units = BTreeMap::from([("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)]);
            let millis = found[1].parse::<u64>().unwrap() * units[&found[2]] * 1_000 - 1;
            format!("[{millis}ms{}]", found.get(3).map_or("", |step| step.as_str()))
        });
        done.push_str(&line);
        done.push('\n');
    }
    done
}

#[test]
fn promtool_reads_every_shipped_rule_file() {
    let Some(promtool) = promtool() else { return };
    for pack in PACKS {
        let file = format!("config/rules/{}.yaml", pack.name);
        run(&promtool, &["check", "rules", &file], &file);
    }
}

#[test]
fn every_rule_fires_and_resolves_as_its_unit_test_says() {
    let Some(promtool) = promtool() else { return };
    let folder = tempfile::tempdir().unwrap();
    let sustained = Section::from_yaml("dynamodb: {contact: me, throttle_mode: sustained}");
    let sustained = packs::read(Some(&sustained)).remove(0).text;
    let mut ran = 0;
    for path in test_files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == OURS_ONLY {
            continue;
        }
        let tests = fs::read_to_string(&path).unwrap();
        let asked = asked_for(&tests);
        for pack in PACKS {
            let text = if name == SUSTAINED && pack.name == "dynamodb" {
                &sustained
            } else {
                pack.text
            };
            fs::write(
                folder.path().join(format!("{}.yaml", pack.name)),
                for_promtool(text, asked.as_ref()),
            )
            .unwrap();
        }
        let tests = tests.replace("../../config/rules/", "");
        let file = folder.path().join(format!("test-{name}"));
        fs::write(&file, tests).unwrap();
        run(&promtool, &["test", "rules", &file.to_string_lossy()], &name);
        ran += 1;
    }
    assert!(ran >= 10, "only {ran} files of tests");
}

#[test]
fn every_rule_has_a_unit_test_in_which_it_fires() {
    let mut tested: BTreeSet<(String, String)> = BTreeSet::new();
    for path in test_files() {
        let text = fs::read_to_string(path).unwrap();
        let mut alert = String::new();
        for line in text.lines() {
            if let Some(name) = line.trim().strip_prefix("alertname: ") {
                name.clone_into(&mut alert);
            }
            if let Some(rest) = line.trim().strip_prefix("- exp_labels: {severity: ") {
                let severity = rest.split([',', '}']).next().unwrap_or_default();
                tested.insert((alert.clone(), severity.to_owned()));
            }
        }
    }
    for pack in PACKS {
        let (rules, extra) = pack.text.split_once("\n---\n").unwrap();
        let blocks = blocks(extra);
        let mut alert = "";
        for line in rules.lines() {
            if let Some(name) = line.strip_prefix("  - alert: ") {
                alert = name;
            }
            let Some(severity) = line.strip_prefix("    labels: {severity: ") else {
                continue;
            };
            let severity = severity.trim_end_matches('}');
            let is_tested = tested.contains(&(alert.to_owned(), severity.to_owned()));
            assert!(
                is_tested || blocks[alert].is_anomaly,
                "{alert} ({severity}) has no test in which it fires"
            );
        }
    }
}

#[test]
fn every_alert_says_what_to_do_and_ends_with_recovery_and_findings() {
    for pack in PACKS {
        let (rules, extra) = pack.text.split_once("\n---\n").unwrap();
        assert!(
            extra.contains("contact: ") && extra.contains("escalation: [{"),
            "{}",
            pack.name
        );
        let blocks = blocks(extra);
        let alerts: BTreeSet<&str> = rules
            .lines()
            .filter_map(|line| line.strip_prefix("  - alert: "))
            .collect();
        for alert in &alerts {
            assert!(blocks.contains_key(*alert), "{alert} has no guidance");
        }
        let mut steps: Vec<&str> = Vec::new();
        let mut current = "defaults";
        for line in extra.lines().chain(["    end:"]) {
            let is_name = line.starts_with("    ") && !line.starts_with("     ") && line.ends_with(':');
            if is_name && !steps.is_empty() {
                let count = steps.len();
                assert!(count >= 3, "{current}: {steps:?}");
                assert!(
                    steps[count - 2].starts_with("Verify recovery: "),
                    "{current}: {steps:?}"
                );
                assert!(
                    steps[count - 1].starts_with("Document findings"),
                    "{current}: {steps:?}"
                );
                steps.clear();
            }
            if is_name {
                current = line.trim();
            }
            steps.extend(line.strip_prefix("      - \""));
        }
    }
}

#[test]
fn the_table_of_rules_names_every_alert() {
    let readme = fs::read_to_string("config/rules/README.md").unwrap();
    for pack in PACKS {
        let rules = pack.text.split("\n---\n").next().unwrap();
        for rule in rules.split("\n  - alert: ").skip(1) {
            let name = rule.lines().next().unwrap();
            let severity = rule.split("{severity: ").nth(1).unwrap().split('}').next().unwrap();
            assert!(
                readme.contains(&format!("\n| {name} | {severity} |")),
                "{name} ({severity})"
            );
        }
        for (name, default) in packs::parameters_of(pack) {
            assert!(readme.contains(&format!("`{name}` ")), "{name} ({default})");
        }
    }
}

#[test]
fn one_alert_is_one_rule_for_each_severity_and_every_rule_says_what_it_means() {
    for pack in PACKS {
        let rules = pack.text.split("\n---\n").next().unwrap();
        let mut seen = BTreeSet::new();
        for rule in rules.split("\n  - alert: ").skip(1) {
            let name = rule.lines().next().unwrap();
            let severity = rule.split("{severity: ").nth(1).unwrap().split('}').next().unwrap();
            assert!(["critical", "warning", "info"].contains(&severity), "{name}");
            assert!(seen.insert((name, severity)), "{name} ({severity}) is there twice");
            assert!(
                rule.contains("      summary: ") && rule.contains("      description: "),
                "{name}"
            );
        }
    }
}

#[cfg(feature = "aws")]
mod export {
    //! What `rules export` writes, read by the tools of those it is for.

    use super::*;
    use radiosonde::alert::export::{Exported, Options, Target, export};
    use radiosonde::alert::rules::read;

    fn all_packs(target: Target) -> Exported {
        let contact = |name: &str| (name == "ALERT_CONTACT").then(|| "data-platform".to_owned());
        let files: Vec<_> = PACKS
            .iter()
            .map(|pack| {
                let reading = read(pack.name, pack.text, &contact);
                assert!(!reading.has_errors(), "{:?}", reading.lines());
                reading.file
            })
            .collect();
        let exported = export(target, &files, &Options::default());
        assert!(!exported.left_out.is_empty());
        exported
    }

    /// Runs a tool over a file with this text; says so where the tool is not installed.
    fn tool_reads(tool: &str, args: &[&str], name: &str, text: &str) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let mut command = Command::new(tool);
        match command.args(args).arg(&file).output() {
            Err(error) => eprintln!("skipped: {tool} cannot be run: {error}"),
            Ok(output) => {
                let said =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{tool}: {said}");
            }
        }
    }

    #[test]
    fn promtool_reads_the_rules_for_prometheus() {
        let exported = all_packs(Target::Prometheus);
        tool_reads("promtool", &["check", "rules"], "rules.yaml", &exported.text);
    }

    #[test]
    fn amtool_reads_the_routes_for_alertmanager() {
        let exported = all_packs(Target::Alertmanager);
        tool_reads("amtool", &["check-config"], "alertmanager.yaml", &exported.text);
    }

    #[test]
    fn cfn_lint_reads_the_alarms() {
        let exported = all_packs(Target::CloudFormation);
        let tool = std::env::var("CFN_LINT").unwrap_or_else(|_| "cfn-lint".to_owned());
        // Older ones do not know alarms on PromQL.
        let said = Command::new(&tool).arg("--version").output();
        let said = said.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        let number = |part: Option<&str>| part.and_then(|part| part.trim().parse::<u32>().ok()).unwrap_or(0);
        let mut parts = said.trim().rsplit(' ').next().unwrap_or_default().split('.');
        if (number(parts.next()), number(parts.next())) < (1, 58) {
            eprintln!("skipped: {tool} is not installed, or older than 1.58: {said}");
            return;
        }
        tool_reads(&tool, &[], "alarms.json", &exported.text);
    }
}
