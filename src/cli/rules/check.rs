//! `rules check`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{CheckArgs, EXIT_UNREADABLE, EXIT_WRONG, rule_file};
use crate::alert::rules::Reading;
use crate::alert::rules::lint::{Weight, lint};
use crate::cli::args::Format;
use crate::cli::output;
use crate::config::{Environment, Severity};

/// One thing to say.
struct Told {
    severity: Severity,
    /// `file:line:column`.
    place: String,
    message: String,
}

pub(super) fn check(args: &CheckArgs, environment: &dyn Environment) -> ExitCode {
    let mut code = 0;
    let mut told = Vec::new();
    let mut rules = 0;
    for path in &args.files {
        let Some(reading) = rule_file(path, environment) else {
            code = EXIT_UNREADABLE;
            continue;
        };
        rules += reading.file.groups.iter().map(|group| group.rules.len()).sum::<usize>();
        told.extend(problems(&reading));
        told.extend(findings(&reading, args.strict));
    }
    let errors = told.iter().filter(|one| one.severity == Severity::Error).count();
    if errors > 0 && code == 0 {
        code = EXIT_WRONG;
    }
    match args.format {
        Format::Text => {
            for one in &told {
                output::text(&format!("{}: {}: {}\n", one.place, one.severity.name(), one.message));
            }
            let warnings = told.len() - errors;
            output::text(&format!("{rules} rules, {errors} errors, {warnings} warnings\n"));
        }
        Format::Json => {
            let findings: Vec<Value> = told
                .iter()
                .map(|one| json!({"severity": one.severity.name(), "place": one.place, "message": one.message}))
                .collect();
            output::json(&json!({"rules": rules, "errors": errors, "findings": findings}));
        }
    }
    ExitCode::from(code)
}

fn problems(reading: &Reading) -> Vec<Told> {
    let told = reading.iter().map(|(problems, problem)| {
        let place = problems.place(problem);
        let place = place.map_or_else(
            || reading.file.name.clone(),
            |place| format!("{}:{}:{}", place.source, place.line, place.column),
        );
        let message = match problem.path.as_str() {
            "" => problem.message.clone(),
            path => format!("{path}: {}", problem.message),
        };
        Told {
            severity: problem.severity,
            place,
            message,
        }
    });
    told.collect()
}

fn findings(reading: &Reading, strict: bool) -> Vec<Told> {
    let told = lint(&reading.file).into_iter().map(|finding| Told {
        severity: match finding.weight {
            Weight::Error => Severity::Error,
            Weight::Placeholder if strict => Severity::Error,
            Weight::Warning | Weight::Placeholder => Severity::Warning,
        },
        place: finding.place,
        message: format!("{}: {}", finding.alert, finding.message),
    });
    told.collect()
}
