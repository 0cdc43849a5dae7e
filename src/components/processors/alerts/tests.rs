use super::*;

#[test]
fn what_is_not_built_or_not_there_is_refused_in_place() {
    let problems = |text: &str| {
        let section = Section::from_yaml(text);
        AlertsFactory.check(&section);
        section.problems().join("\n")
    };
    assert!(
        problems("rule_files: [nowhere.yaml]\n").contains("1:14"),
        "{}",
        problems("rule_files: [nowhere.yaml]\n")
    );
    assert!(problems("ha: leader\n").contains("not built"));
    assert!(problems("backfill: {max: 1h, anomaly: 90d}\n").contains("at most 60d"));
    assert_eq!(problems("backfill: {max: 1h, anomaly: 0s}\n"), "");
    assert_eq!(problems("{}\n"), "", "the rules of the agent itself are always there");
    assert!(
        problems("route: {receiver: a}\n").contains("1:19"),
        "{}",
        problems("route: {receiver: a}\n")
    );
    assert!(problems("events: {a: {context: span, conditions: ['x ==']}}\n").contains("conditions"));
}

#[test]
fn a_broken_rule_file_is_told_with_its_own_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    let text = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'acos(x)', labels: {severity: info}}\n";
    std::fs::write(&path, text).unwrap();
    let section = Section::from_yaml(&format!("rule_files: ['{}']\n", path.display()));
    AlertsFactory.check(&section);
    let problems = section.problems().join("\n");
    assert!(
        problems.contains("rules.yaml:4:23: groups::0::rules::0::expr: the function acos"),
        "{problems}"
    );
}

#[test]
fn a_changed_rule_file_is_a_changed_section() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    let fingerprint = |limit: u32| {
        let rule = format!("{{alert: A, expr: 'x > {limit}', labels: {{severity: info}}}}");
        std::fs::write(&path, format!("groups:\n- name: g\n  rules:\n  - {rule}\n")).unwrap();
        let section = Section::from_yaml(&format!("rule_files: ['{}']\n", path.display()));
        AlertsFactory.check(&section).unwrap();
        section.fingerprint()
    };
    assert_eq!(fingerprint(1), fingerprint(1));
    assert_ne!(fingerprint(1), fingerprint(2));
}
