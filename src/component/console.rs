//! The terminal, for whoever shows something to people: colours only where they are seen, each text in one write so that
//! lines of different threads stay whole, and a reader that has gone away is no error.

use std::io::{self, Write};

/// Red and bold: something is wrong and somebody should act.
pub const ALARM: &str = "\x1b[1;31m";
/// Green: it is over.
pub const WELL: &str = "\x1b[32m";
/// Headings.
pub const BOLD: &str = "\x1b[1m";
/// Less important.
pub const DIM: &str = "\x1b[2m";
/// Back to normal.
pub const PLAIN: &str = "\x1b[0m";

/// Writes to standard output.
pub fn stdout(text: &str) {
    // A closed terminal or `| head` is no reason to fail.
    let _ = written(&mut anstream::stdout().lock(), text);
}

/// Writes to standard error.
pub fn stderr(text: &str) {
    // Nobody is left to be told.
    let _ = written(&mut anstream::stderr().lock(), text);
}

fn written(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}
