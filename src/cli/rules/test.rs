//! `rules test`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{EXIT_UNREADABLE, EXIT_WRONG, TestArgs, rule_file, text_of};
use crate::alert::rules::Group;
use crate::alert::trial::{Failure, TestFile, read_tests, run};
use crate::cli::args::Format;
use crate::cli::output;
use crate::config::Environment;

pub(super) fn test(args: &TestArgs, environment: &dyn Environment) -> ExitCode {
    let mut code = 0;
    let mut results = Vec::new();
    for path in &args.files {
        let Some((file, groups)) = load(path, environment) else {
            code = EXIT_UNREADABLE;
            continue;
        };
        let failures = run(&file, &groups);
        if !failures.is_empty() {
            code = code.max(EXIT_WRONG);
        }
        if args.format == Format::Text {
            print(path, &file, &failures);
        }
        let told: Vec<Value> = failures
            .iter()
            .map(|one| json!({"test": one.test, "place": one.place, "message": one.message}))
            .collect();
        results.push(json!({"file": path.display().to_string(), "tests": file.tests.len(), "failures": told}));
    }
    if args.format == Format::Json {
        output::json(&json!({"files": results}));
    }
    ExitCode::from(code)
}

fn print(path: &Path, file: &TestFile, failures: &[Failure]) {
    let name = path.display();
    if failures.is_empty() {
        output::text(&format!("{name}: {} tests, all as expected\n", file.tests.len()));
        return;
    }
    output::text(&format!(
        "{name}: {} tests, {} failures\n",
        file.tests.len(),
        failures.len()
    ));
    for failure in failures {
        output::text(&format!(
            "  {} {}\n    {}\n",
            failure.place, failure.test, failure.message
        ));
    }
}

/// The tests and the rules they name; `None` after telling why not.
fn load(path: &Path, environment: &dyn Environment) -> Option<(TestFile, Vec<Group>)> {
    let text = text_of(path)?;
    let file = match read_tests(&path.display().to_string(), &text) {
        Ok(file) => file,
        Err(problems) => {
            output::stderr(&format!("{problems}\n"));
            return None;
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut groups = Vec::new();
    for name in &file.rule_files {
        let reading = rule_file(&folder.join(name), environment)?;
        if reading.has_errors() {
            let lines = reading.lines().join("\n");
            output::stderr(&format!("{lines}\n"));
            return None;
        }
        groups.extend(reading.file.groups);
    }
    Some((file, groups))
}
