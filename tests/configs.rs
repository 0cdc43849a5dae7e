//! Configurations as files: every one under `config/` and in the READMEs of components is valid, every one under
//! `tests/broken/` is refused in the words beside it.
//!
//! `UPDATE_EXPECTED=1 cargo test --test configs` writes the `.expected` files anew; read the difference.

#![allow(clippy::unwrap_used)] // All of it is test code; helpers may fail a test too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use radiosonde::components::REGISTRY;
use radiosonde::config::{Document, Inputs, Problems};
use radiosonde::graph::checked;

/// Every file below `directory` whose name ends so.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Loads and checks a file; `# env: K=V` and `# set: a.b=v` lines in it say with what.
fn check(path: &Path) -> Result<Problems, Problems> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let marked = |mark: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
        lines.map(|line| line.trim().to_string()).collect()
    };
    let variables: BTreeMap<String, String> = marked("# env:")
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let environment = |name: &str| variables.get(name).cloned();
    let inputs = Inputs {
        uris: vec![path.to_string_lossy().into_owned()],
        sets: marked("# set:"),
        ..Inputs::default()
    };
    let document = Document::load(&inputs, &environment)?;
    checked::check(&document, REGISTRY).map(|checked| checked.warnings)
}

#[test]
fn every_broken_configuration_is_refused_in_the_expected_words() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let broken = files(Path::new("tests/broken"), ".yaml");
    assert!(broken.len() >= 30, "only {} files", broken.len());
    let mut wrong = Vec::new();
    for path in broken {
        let problems = match check(&path) {
            Err(problems) => problems,
            Ok(_) => {
                wrong.push(format!("{}: is accepted", path.display()));
                continue;
            }
        };
        let said = format!("{problems}\n");
        let expected_path = path.with_extension("expected");
        if update {
            fs::write(&expected_path, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}: says\n{said}\nexpected\n{expected}", path.display()));
        }
        for problem in problems.iter() {
            let has_place = problems.place(problem).is_some();
            assert!(has_place, "{}: {}", path.display(), problems.line(problem));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_configuration_under_config_is_valid() {
    let mut wrong = Vec::new();
    let shipped = files(Path::new("config"), ".yaml");
    assert!(!shipped.is_empty());
    for path in shipped {
        // Rules are no configurations of an agent; whoever reads them tests them.
        if path.starts_with("config/rules") {
            continue;
        }
        if let Err(problems) = check(&path) {
            wrong.push(format!("{}:\n{problems}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
