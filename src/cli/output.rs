//! Writing to the terminal: everything goes through `component::console`.

use std::io::{self, Write};

use crate::component::console;

/// Writes to stdout. A reader that has gone away (`| head`) is no error.
pub(super) fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = write(&mut text);
    console::stdout(&String::from_utf8_lossy(&text));
}

/// One JSON document and a newline to stdout.
pub(super) fn json(value: &serde_json::Value) {
    console::stdout(&format!("{value:#}\n"));
}

/// Writes to stderr.
pub(super) fn stderr(text: &str) {
    console::stderr(text);
}

/// Text to stdout as it is.
pub(super) fn text(text: &str) {
    console::stdout(text);
}
