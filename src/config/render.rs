//! Problems for people: one line each, and below it the line of the configuration that is meant.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::{Problem, Problems, Severity};
use super::source::Span;

/// Longest source line that is shown; data in one line (JSON) would fill the screen.
const LONGEST_LINE: usize = 240;

impl Problems {
    /// Errors and warnings with excerpts, an empty line between them. `styled`: with terminal colours.
    pub fn render(&self, styled: bool) -> String {
        let mut text = String::new();
        for problem in self.iter().filter(|problem| problem.severity != Severity::Info) {
            let (mark, colour) = match problem.severity {
                Severity::Error => ("✖", "\u{1b}[1;31m"),
                Severity::Warning | Severity::Info => ("▲", "\u{1b}[1;33m"),
            };
            let (colour, reset) = if styled { (colour, "\u{1b}[0m") } else { ("", "") };
            text.push_str(&format!("{colour}{mark}{reset} {}\n", self.line(problem)));
            if let Some(excerpt) = self.excerpt(problem, styled) {
                text.push_str(&excerpt);
                text.push('\n');
            }
            text.push('\n');
        }
        text
    }

    /// The line of the configuration with the place marked. Secrets in it are masked.
    fn excerpt(&self, problem: &Problem, styled: bool) -> Option<String> {
        let span = problem.span?;
        let text = &self.sources.get(span.source)?.text;
        let start = span.start as usize;
        let line_start = text.get(..start)?.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next()?;
        if line.is_empty() || line.len() > LONGEST_LINE {
            return None;
        }
        let line = self.without_secrets(line, line_start, span.source);
        let from = (start - line_start).min(line.len());
        // At most to the end of the line: a value may go on below.
        let mut to = (span.end as usize).saturating_sub(line_start).clamp(from, line.len());
        if to == from && to < line.len() {
            to += line[from..].chars().next().map_or(1, char::len_utf8);
        }
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning | Severity::Info => Level::WARNING,
        };
        let (number, _) = self.sources.line_column(span);
        let snippet = Snippet::source(line.as_str())
            .line_start(number)
            .annotation(AnnotationKind::Primary.span(from..to));
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        Some(renderer.render(&[Group::with_level(level).element(snippet)]))
    }

    /// The same number of bytes, secrets as stars.
    fn without_secrets(&self, line: &str, line_start: usize, source: u32) -> String {
        let line_end = line_start + line.len();
        let mut bytes = line.as_bytes().to_vec();
        let secrets = self.secrets.iter().filter(|secret| secret.source == source);
        for Span { start, end, .. } in secrets {
            let from = (*start as usize).clamp(line_start, line_end) - line_start;
            let to = (*end as usize).clamp(line_start, line_end) - line_start;
            bytes[from..to.max(from)].fill(b'*');
        }
        String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(line.len()))
    }
}
