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

/// What `print-config` prints for a configuration.
fn printed(text: &str) -> String {
    let inputs = Inputs {
        uris: vec![format!("yaml:{text}")],
        ..Inputs::default()
    };
    let document = Document::load(&inputs, &|_: &str| None).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    document.print_defaults();
    if let Err(problems) = checked::check(&document, REGISTRY) {
        panic!("{problems}\n{text}");
    }
    document.to_yaml()
}

#[test]
fn what_print_config_prints_is_a_configuration_that_prints_the_same() {
    for path in files(Path::new("config"), ".yaml") {
        if path.starts_with("config/rules") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("${") || text.contains("# set:") {
            continue;
        }
        let once = printed(&text);
        let twice = printed(&once);
        for (line, again) in once.lines().zip(twice.lines()) {
            assert_eq!(line, again, "{}", path.display());
        }
        assert_eq!(once.len(), twice.len(), "{}", path.display());
    }
}

#[test]
fn print_config_shows_the_defaults_that_hold() {
    let text = printed(
        "receivers: {otlp: {protocols: {grpc: , http: {max_request_body_size: 1MiB}}}}\n\
         processors: {batch: }\n\
         exporters: {otlp: {endpoint: 'localhost:4317', headers: {k: v}}}\n\
         service: {pipelines: {traces: {receivers: [otlp], processors: [batch], exporters: [otlp]}}}\n",
    );
    for line in [
        "endpoint: localhost:4317",
        "max_recv_msg_size_mib: 4",
        "max_request_body_size: 1MiB",
        "read_header_timeout: 10s",
        "send_batch_size: 8192",
        "timeout: 200ms",
        "num_consumers: 10",
        "queue_size: 1000",
        "initial_interval: 5s",
        "max_elapsed_time: 5m0s",
        "compression: gzip",
        "k: '[REDACTED]'",
        "grace: 25s",
        "level: info",
    ] {
        assert!(text.lines().any(|have| have.trim() == line), "{line}\n{text}");
    }
}

#[test]
fn a_url_is_shown_unless_it_has_credentials_in_it() {
    let text = printed(
        "receivers: {nop: }\n\
         exporters:\n  \
           otlphttp/open: {endpoint: 'http://open.example:4318'}\n  \
           otlphttp/user: {endpoint: 'http://name:hidden@user.example:4318'}\n  \
           otlphttp/key: {endpoint: 'http://key.example:4318/?key=hidden'}\n\
         service: {pipelines: {traces: {receivers: [nop], exporters: [otlphttp/open, otlphttp/user, otlphttp/key]}}}\n",
    );
    assert!(text.contains("open.example"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
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
