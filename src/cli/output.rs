//! Writing to the terminal: colours only where they are seen, and a closed pipe ends quietly.

use std::io::{self, Write};

/// Writes to stdout. A reader that has gone away (`| head`) is no error.
pub(super) fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut out = anstream::stdout().lock();
    let _ = write(&mut out).and_then(|()| out.flush());
}

/// One JSON document and a newline to stdout.
pub(super) fn json(value: &serde_json::Value) {
    stdout(|out| writeln!(out, "{value:#}"));
}

/// Writes to stderr.
pub(super) fn stderr(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
