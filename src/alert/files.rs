//! The files that a setting names: one path, or a pattern with `*` in its last part.

use std::io;
use std::path::{Path, PathBuf};

/// In order. A path without `*` is taken as it is, there or not.
///
/// # Errors
/// The folder of a pattern cannot be read.
pub(super) fn matching(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if !name.contains('*') {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder_of(pattern))? {
        let entry = entry?;
        if fits(&name, &entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Where the files of a pattern are looked for.
pub(super) fn folder_of(pattern: &str) -> &Path {
    let folder = Path::new(pattern).parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Whether a name fits a pattern in which `*` is any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(fits("*.yaml", "a.yaml") && fits("a*b*c", "axxbyyc") && fits("a", "a"));
        assert!(!fits("*.yaml", "a.yml") && !fits("a*b", "ac") && !fits("a", "ab"));
    }
}
