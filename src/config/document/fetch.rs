//! Where the text of a document comes from: a file, a variable, the command line.

use std::fs::File;
use std::io::Read;

use super::{Environment, Inputs};
use crate::config::problem::{Problem, Severity};
use crate::config::tree::MAX_TEXT;

/// The names and texts of all documents, in the order in which they are merged.
pub(super) fn documents(
    inputs: &Inputs,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    if let Some((name, text)) = &inputs.content {
        return content(inputs, name, text, problems);
    }
    let mut documents = Vec::new();
    if inputs.uris.is_empty() {
        problems.push(Problem::without_place("no configuration: give one with --config FILE"));
    }
    for uri in &inputs.uris {
        match fetch(uri, environment) {
            Ok(document) => documents.push(document),
            Err(message) => problems.push(Problem::without_place(message)),
        }
    }
    for (index, set) in inputs.sets.iter().enumerate() {
        let name = format!("--set #{}", index + 1);
        match set.split_once('=') {
            Some((path, value)) if !path.trim().is_empty() => {
                let path = path.trim().replace('.', "::");
                documents.push((name, format!("{path}: {}", value.trim())));
            }
            _ => {
                let message = format!("{name}: \"{set}\" is not of the form key.key=value");
                problems.push(Problem::without_place(message));
            }
        }
    }
    documents
}

/// A configuration from the environment replaces everything else; what it replaced is said.
fn content(inputs: &Inputs, name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    if text.trim().is_empty() {
        problems.push(Problem::without_place(format!(
            "{name} is set but empty: it replaces --config, so there is no configuration"
        )));
        return Vec::new();
    }
    let configs = inputs.uris.iter().map(|uri| format!("--config {uri}"));
    let sets = inputs.sets.iter().map(|set| format!("--set {set}"));
    let ignored: Vec<String> = configs.chain(sets).collect();
    if !ignored.is_empty() {
        problems.push(Problem {
            severity: Severity::Warning,
            ..Problem::without_place(format!("{name} is set and replaces {}", ignored.join(" ")))
        });
    }
    vec![(name.to_string(), text.to_string())]
}

/// Name and text of one URI.
fn fetch(uri: &str, environment: &dyn Environment) -> Result<(String, String), String> {
    let (scheme, rest) = match uri.split_once(':') {
        // One letter is a drive, not a scheme.
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("file", uri),
    };
    match scheme {
        "file" => read_file(rest).map(|text| (rest.to_string(), text)),
        "env" => match environment.variable(rest) {
            Some(text) => Ok((uri.to_string(), text)),
            None => Err(format!("{uri}: the environment variable \"{rest}\" is not set")),
        },
        "yaml" => Ok(("yaml:".to_string(), rest.to_string())),
        "http" | "https" | "s3" => Err(not_built(uri, scheme)),
        _ => Err(format!(
            "{uri}: the scheme \"{scheme}\" is not known; known are file, env, yaml"
        )),
    }
}

/// The refusal of a scheme that is specified and not built.
pub(super) fn not_built(uri: &str, scheme: &str) -> String {
    format!("{uri}: reading configurations by {scheme} is not built yet; use a file or an environment variable")
}

/// `[A-Za-z][A-Za-z0-9+.-]+`, as the Collector has it.
pub(super) fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'));
    first && rest && text.len() >= 2
}

/// A file of at most the size of a document.
pub(super) fn read_file(path: &str) -> Result<String, String> {
    let cannot = |reason: &dyn std::fmt::Display| format!("{path}: cannot be read: {reason}");
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(&error))?;
    if bytes.len() > MAX_TEXT {
        return Err(format!("{path}: the file is longer than 8 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{path}: the text is not UTF-8 (byte {})", at + 1)
    })
}
