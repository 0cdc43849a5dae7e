//! Each module may use only those before it; components never import each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The order of the layers; modules of one group stand side by side and do not use each other.
const LAYERS: &[&[&str]] = &[
    &["wire"],
    &["pdata"],
    &["config"],
    &["component"],
    &["queue", "net", "ottl"],
    &["aws"],
    &["alert", "retention"],
    &["dev"],
    &["components"],
    &["graph"],
    // The outermost ring: the command line puts the others together, and they show each other's figures.
    &["admin", "telemetry", "simulator", "cli"],
];

/// Edges inside a group that are meant.
const MEANT: &[(&str, &str)] = &[
    ("admin", "telemetry"),
    ("cli", "admin"),
    ("cli", "telemetry"),
    ("cli", "simulator"),
];

/// One `crate::` path outside tests.
struct Import {
    file: PathBuf,
    line: usize,
    /// Without `crate::`.
    path: String,
}

#[test]
fn no_module_uses_one_that_stands_behind_it() {
    let mut wrong = Vec::new();
    for import in imports_of_the_crate() {
        let from = layer_of(&module_of(&import.file));
        let target = import.path.split("::").next().unwrap_or_default().to_owned();
        let Some(to) = layer_of_name(&target) else { continue };
        let Some((from, name)) = from else { continue };
        let is_meant = MEANT.contains(&(name.as_str(), target.as_str()));
        let is_back = to > from || (to == from && name != target && !is_meant);
        if is_back {
            wrong.push(format!(
                "{}:{}: {name} uses {target}",
                import.file.display(),
                import.line
            ));
        }
    }
    assert!(wrong.is_empty(), "edges that run back:\n{}", wrong.join("\n"));
}

#[test]
fn components_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for import in imports_of_the_crate() {
        let module = module_of(&import.file);
        let [first, kind, own, ..] = module.as_slice() else {
            continue;
        };
        if first != "components" || !is_component(&["src", first, kind, own]) {
            continue;
        }
        let target: Vec<&str> = import.path.split("::").collect();
        if let ["components", other_kind, other, ..] = target.as_slice()
            && is_component(&["src", "components", other_kind, other])
            && (other_kind != kind || other != own)
        {
            wrong.push(format!("{}:{}: {own} uses {other}", import.file.display(), import.line));
        }
    }
    assert!(
        wrong.is_empty(),
        "components that import each other:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_wire_knows_neither_tokio_nor_prost() {
    for file in rust_files(Path::new("src/wire")) {
        let text = without_tests(&fs::read_to_string(&file).unwrap());
        for (line, code) in code_lines(&text) {
            for forbidden in ["tokio::", "prost::", "tonic::"] {
                assert!(!code.contains(forbidden), "{}:{line}: {forbidden}", file.display());
            }
        }
    }
}

#[test]
fn every_file_of_a_layer_was_read() {
    // The rules above are worth nothing if the reader finds nothing.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for import in imports_of_the_crate() {
        *seen.entry(module_of(&import.file)[0].clone()).or_default() += 1;
    }
    for module in ["queue", "net", "components", "graph", "admin", "telemetry", "cli"] {
        assert!(seen.get(module).is_some_and(|count| *count > 3), "{module}: {seen:?}");
    }
}

#[test]
fn groups_and_tests_are_understood_by_the_reader() {
    let text = "use crate::{pdata::Batch, net::{self, server}};\n#[cfg(test)]\nmod tests { use crate::cli::x; }\n\
                fn a() { crate::queue::deliver() } // crate::simulator\n";
    let found = paths_in(&without_tests(text));
    let found: Vec<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(found, ["pdata::Batch", "net::self", "net::server", "queue::deliver"]);
}

fn layer_of_name(name: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&name))
}

/// The layer of the module that a file belongs to, and its name; `lib.rs`, `main.rs` stand above all.
fn layer_of(module: &[String]) -> Option<(usize, String)> {
    let name = module.first()?;
    Some((layer_of_name(name)?, name.clone()))
}

/// `src/net/server/mod.rs` -> `net`, `server`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix("src").unwrap().with_extension("");
    let mut parts: Vec<String> = relative
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// A component has a README (the contract test asks for it); a folder without one is shared by those of its kind.
fn is_component(parts: &[&str]) -> bool {
    parts.iter().collect::<PathBuf>().join("README.md").is_file()
}

fn imports_of_the_crate() -> Vec<Import> {
    let mut imports = Vec::new();
    for file in rust_files(Path::new("src")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_tests_folder = file.components().any(|part| part.as_os_str() == "tests");
        if name == "tests.rs" || name.starts_with("test_") || in_tests_folder || name == "main.rs" || name == "lib.rs" {
            continue;
        }
        let text = without_tests(&fs::read_to_string(&file).unwrap());
        for (line, path) in paths_in(&text) {
            imports.push(Import {
                file: file.clone(),
                line,
                path,
            });
        }
    }
    imports
}

/// Everything from `#[cfg(test)]` to the end of the item behind it is blanked, lines are kept.
fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = end_of_item(item);
        kept.extend(item[..end].chars().filter(|character| *character == '\n'));
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

/// The length of an item: to its semicolon, or to the brace that closes its first one.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (position, character) in item.char_indices() {
        match character {
            ';' if depth == 0 => return position + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return position + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

/// Lines without their comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// Every path behind `crate::`, groups taken apart, with its line.
fn paths_in(text: &str) -> Vec<(usize, String)> {
    let code: String = code_lines(text).map(|(_, line)| format!("{line}\n")).collect();
    let mut found = Vec::new();
    for (position, marker) in code.match_indices("crate::") {
        // `pub(in crate::net)` and `$crate::` name no other module's content.
        let before = code[..position].chars().next_back();
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == '$') {
            continue;
        }
        let line = code[..position].matches('\n').count() + 1;
        for path in expand(&code[position + marker.len()..]) {
            found.push((line, path));
        }
    }
    found
}

/// `a::{b, c::{d}}` -> `a::b`, `a::c::d`.
fn expand(text: &str) -> Vec<String> {
    let name_end = text
        .find(|character: char| !(character.is_alphanumeric() || character == '_' || character == ':'))
        .unwrap_or(text.len());
    let head = text[..name_end].trim_end_matches(':');
    let rest = text[name_end..].trim_start();
    if !rest.starts_with('{') || !(text[..name_end].ends_with("::") || head.is_empty()) {
        return vec![head.to_owned()];
    }
    let inside = &rest[1..end_of_item(rest).saturating_sub(1)];
    let mut paths = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (position, character) in inside.char_indices().chain([(inside.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inside[start..position].trim();
                start = position + 1;
                if !part.is_empty() {
                    let join = |inner: String| {
                        if head.is_empty() {
                            inner
                        } else {
                            format!("{head}::{inner}")
                        }
                    };
                    paths.extend(expand(part).into_iter().map(join));
                }
            }
            _ => {}
        }
    }
    paths
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
