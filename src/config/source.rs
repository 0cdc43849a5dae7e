//! The texts a configuration came from, and positions in them.

use std::sync::Arc;

/// A range of bytes in one of the [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Index into the sources.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// One text: a file, a variable, a `--set`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As shown in messages: the path, `env:NAME`, `--set #2`.
    pub name: String,
    /// What was read.
    pub text: Arc<str>,
}

/// Every text that was read, in the order of the documents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text and returns its index.
    pub fn add(&mut self, name: &str, text: &str) -> u32 {
        self.0.push(Source {
            name: name.to_string(),
            text: text.into(),
        });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    /// The text of an index.
    pub fn get(&self, index: u32) -> Option<&Source> {
        self.0.get(index as usize)
    }

    /// The text a span covers; empty where the span does not fit.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }

    /// Line and column of the first byte of a span, both from 1; the column counts characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let Some(source) = self.get(span.source) else {
            return (1, 1);
        };
        let before = source.text.get(..span.start as usize).unwrap_or(&source.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        (line, column)
    }
}
