use super::*;
use std::process::ExitCode;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn code(command: &RulesCommand) -> String {
    format!("{:?}", rules(command, &|_: &str| None))
}

const RULES: &str = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: x > 1\n    labels: {severity: info}\n    annotations: {summary: s}\n    x-radiosonde: {resolution_steps: [a], contact: me}\n";

#[test]
fn exit_codes_tell_sound_wrong_and_unreadable_apart() {
    let folder = folder(&[
        ("good.yaml", RULES),
        ("bad.yaml", &RULES.replace("x > 1", "x >")),
        ("dumb.yaml", &RULES.replace("contact: me", "contact: ''")),
    ]);
    let check = |name: &str, strict| {
        code(&RulesCommand::Check(CheckArgs {
            files: vec![folder.path().join(name)],
            strict,
            format: Format::Json,
        }))
    };
    let of = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(check("good.yaml", true), of(0));
    assert_eq!(check("bad.yaml", false), of(1));
    assert_eq!(check("dumb.yaml", false), of(0));
    assert_eq!(check("dumb.yaml", true), of(1));
    assert_eq!(check("none.yaml", false), of(2));
}

#[test]
fn tests_find_their_rules_beside_them() {
    let tests = "rule_files: [good.yaml]\ntests:\n- input_series: [{series: x, values: '0 2'}]\n  alert_rule_test: [{eval_time: 1m, alertname: A, exp_alerts: [{exp_labels: {severity: info}, exp_annotations: {summary: s}}]}]\n";
    let folder = folder(&[
        ("good.yaml", RULES),
        ("tests.yaml", tests),
        ("wrong.yaml", &tests.replace("1m", "0m")),
        ("lost.yaml", &tests.replace("good", "nowhere")),
    ]);
    let test = |name: &str| {
        code(&RulesCommand::Test(TestArgs {
            files: vec![folder.path().join(name)],
            format: Format::Text,
        }))
    };
    let of = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(test("tests.yaml"), of(0));
    assert_eq!(test("wrong.yaml"), of(1));
    assert_eq!(test("lost.yaml"), of(2));
}
