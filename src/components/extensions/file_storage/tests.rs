use super::*;

fn check(yaml: &str) -> (Option<Plan>, Vec<String>) {
    let section = Section::from_yaml(yaml);
    let plan = FileStorageFactory.check(&section);
    (plan, section.problems())
}

async fn start(yaml: &str) -> Result<(), String> {
    let (Some(Plan::Extension(plan)), _) = check(yaml) else {
        panic!("{yaml}")
    };
    let context = BuildContext::standalone(ComponentKind::Extension, "file_storage");
    plan.start(context).await.map(drop).map_err(|error| error.to_string())
}

#[test]
fn keys_without_a_meaning_here_are_said_to_have_none() {
    let (plan, problems) = check(
        "directory: /tmp/a\ntimeout: 2s\nfsync: false\nrecreate: false\n\
         compaction: {on_start: true, directory: /tmp, on_rebound: true, max_transaction_size: 10}\n",
    );
    assert!(plan.is_some());
    for key in ["timeout", "fsync", "recreate", "compaction"] {
        assert!(
            problems.iter().any(|problem| problem.contains(key)),
            "{key}: {problems:?}"
        );
    }
}

#[test]
fn bad_permissions_and_an_empty_directory_are_refused() {
    for yaml in [
        "directory_permissions: \"99\"",
        "directory_permissions: \"01777\"",
        "directory: \"\"",
    ] {
        assert!(!check(yaml).1.is_empty(), "{yaml}");
    }
}

#[tokio::test]
async fn makes_the_directory_or_says_what_is_wrong_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    let text = dir.display();
    let missing = start(&format!("directory: {text}\ncreate_directory: false\n"))
        .await
        .unwrap_err();
    assert!(missing.contains("a/b"), "{missing}");
    start(&format!("directory: {text}\n")).await.unwrap();
    assert!(dir.is_dir());
    std::fs::write(temp.path().join("file"), "x").unwrap();
    start(&format!("directory: {}/file\n", temp.path().display()))
        .await
        .unwrap_err();
}
