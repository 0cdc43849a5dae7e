//! Stack traces: the text of an exception event, and the frames of a segment's exception.

mod read;

pub use read::read;

/// One frame as X-Ray has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    pub path: Option<&'a str>,
    pub line: Option<i64>,
    pub label: Option<&'a str>,
}

const UNKNOWN: &str = "<unknown>";

impl Frame<'_> {
    /// Whether what [`write`] makes of it is read back as it was.
    pub fn reads_back(&self) -> bool {
        let is_plain =
            |text: &str| !text.is_empty() && text.trim() == text && !text.contains(['\n', '\r']) && text != UNKNOWN;
        let may = self.label.is_some_and(is_plain) && self.path.is_some_and(is_plain);
        // Only reading tells: a path such as `:0` makes it look like another language's.
        let frames = std::slice::from_ref(self);
        may && read(&write("", "", frames, false), &head("", "")) == frames
    }
}

/// `type: message`, then a line a frame: `\tat label(path:line)`. `spaced`: `path: line`, as the Collector has it.
pub fn write(kind: &str, message: &str, frames: &[Frame], spaced: bool) -> String {
    let mut text = head(kind, message);
    for frame in frames {
        text.push_str("\n\tat ");
        text.push_str(frame.label.unwrap_or(UNKNOWN));
        text.push('(');
        text.push_str(frame.path.unwrap_or(UNKNOWN));
        text.push_str(if spaced { ": " } else { ":" });
        match frame.line {
            Some(line) => text.push_str(&line.to_string()),
            None => text.push_str(UNKNOWN),
        }
        text.push(')');
    }
    text
}

/// The first lines of a stack trace.
pub fn head(kind: &str, message: &str) -> String {
    if message.is_empty() {
        return kind.to_owned();
    }
    if kind.is_empty() {
        return message.to_owned();
    }
    format!("{kind}: {message}")
}
