//! URIs -> one tree: documents are fetched, merged in order, `--set` on top, then `${...}` is expanded.

mod expand;
mod fetch;
mod merge;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::frozen::Frozen;
use super::gates;
use super::problem::{Problem, Problems, Severity};
use super::section::Section;
use super::source::{Sources, Span};
use super::tree::Node;
use super::yaml;

/// What the process around the configuration says. Tests bring their own; nothing below asks the process itself.
pub trait Environment {
    /// The value of an environment variable; `None` where it is not set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--config`, in order.
    pub uris: Vec<String>,
    /// `--set a.b=v`, in order; above every `uris`.
    pub sets: Vec<String>,
    /// A configuration that replaces all others (`AOT_CONFIG_CONTENT`): its name and its text.
    pub content: Option<(String, String)>,
    /// `--feature-gates`: `name`, `+name`, `-name`.
    pub gates: Vec<String>,
}

/// A merged and expanded configuration, before anybody has said what its keys mean.
pub struct Document {
    root: Section,
}

impl Document {
    /// Reads, merges and expands. Problems that leave a tree are kept in it and told by [`Document::problems`].
    ///
    /// # Errors
    /// What made a document unreadable: a file that is not there, text that is not YAML, an URI of a kind not known.
    pub fn load(inputs: &Inputs, environment: &dyn Environment) -> Result<Self, Problems> {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let gates = gates::read(&inputs.gates, &mut problems);
        let mut root: Option<Node> = None;
        let mut unreadable = false;
        for (name, text) in fetch::documents(inputs, environment, &mut problems) {
            let source = sources.add(&name, text.strip_prefix('\u{feff}').unwrap_or(&text));
            let Some(node) = read_map(&sources, source, &mut problems) else {
                unreadable = true;
                continue;
            };
            root = Some(match root.take() {
                Some(below) => merge::merge(below, node, gates.append_lists),
                None => node,
            });
        }
        unreadable |= problems
            .iter()
            .any(|problem| problem.span.is_none() && problem.severity == Severity::Error);
        match root {
            Some(root) if !unreadable => Ok(Self::finish(root, sources, problems, environment)),
            _ => Err(Problems::new(Arc::new(sources), problems, Vec::new())),
        }
    }

    /// A document of one text.
    ///
    /// # Errors
    /// As [`Document::load`].
    pub fn from_text(name: &str, text: &str, environment: &dyn Environment) -> Result<Self, Problems> {
        let content = Some((name.to_string(), text.to_string()));
        let inputs = Inputs {
            content,
            ..Inputs::default()
        };
        Self::load(&inputs, environment)
    }

    /// A document of one text in which `${...}` means nothing.
    ///
    /// # Errors
    /// As [`Document::load`].
    pub fn plain(name: &str, text: &str) -> Result<Self, Problems> {
        let mut sources = Sources::default();
        let source = sources.add(name, text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut problems = Vec::new();
        match read_map(&sources, source, &mut problems) {
            Some(root) => {
                let root = Section::root(Frozen::new(root, Arc::new(sources)));
                root.frozen.adopt(problems);
                Ok(Self { root })
            }
            None => Err(Problems::new(Arc::new(sources), problems, Vec::new())),
        }
    }

    fn finish(mut root: Node, sources: Sources, mut problems: Vec<Problem>, environment: &dyn Environment) -> Self {
        expand::expand(&mut root, environment, &mut problems);
        let root = Section::root(Frozen::new(root, Arc::new(sources)));
        root.frozen.adopt(problems);
        Self { root }
    }

    /// The whole configuration.
    pub fn root(&self) -> &Section {
        &self.root
    }

    /// What was reported so far.
    pub fn problems(&self) -> Problems {
        let frozen = &self.root.frozen;
        Problems::new(Arc::clone(&frozen.sources), frozen.problems(), frozen.secret_spans())
    }
}

/// The map in a source; an empty document is an empty map.
fn read_map(sources: &Sources, source: u32, problems: &mut Vec<Problem>) -> Option<Node> {
    let start = Span {
        source,
        start: 0,
        end: 0,
    };
    let node = match yaml::parse(sources, source, problems) {
        Ok(node) => node,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let Some(node) = node else {
        return Some(Node::empty_map(start));
    };
    merge::as_document(node, problems)
}
