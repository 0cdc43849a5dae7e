//! The texts of notifications: the part of Go's template language that Alertmanager's templates are written in.
//!
//! Fields, variables, pipelines, `if`, `range`, `with`, `define`, `template` and a fixed list of functions. What is not
//! known is refused when the configuration is read: every text is rendered once with an example alert. A text and its
//! result are at most 64 KiB, and rendering takes at most 100 ms. Values of telemetry are escaped for where they go;
//! what the template itself says is not.

mod builtin;
mod eval;
mod function;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod value;

pub use eval::escaped;
pub use value::Value;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::parse::Node;
use crate::alert::files;
use crate::config::Section;

/// Bytes of a text, of a file of definitions, and of a result.
pub const LONGEST: usize = 64 * 1024;
/// Time to render one text.
const SLOWEST: Duration = Duration::from_millis(100);
/// Files of definitions.
const MOST_FILES: usize = 100;

/// What is wrong with a template, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Bytes from the start.
    pub offset: usize,
    pub message: String,
}

impl TemplateError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

/// How values of telemetry are written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Plain text: control characters are taken out.
    Plain,
    /// Slack's mark-up: also `&`, `<` and `>` lose their meaning.
    Slack,
}

/// One text of a configuration, parsed.
#[derive(Clone, Debug)]
pub struct Text(Arc<Vec<Node>>);

/// The named definitions: our own, and those of the files that `templates` names.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    defined: BTreeMap<String, Arc<Vec<Node>>>,
}

impl Templates {
    /// Our own definitions alone.
    pub fn builtin() -> Self {
        let mut templates = Self::default();
        // Written by us and rendered by a test.
        let _ = templates.define(builtin::DEFINITIONS);
        templates
    }

    /// Reads `templates`: files, with `*` in the last part of a path.
    pub fn read(section: &Section) -> Self {
        let mut templates = Self::builtin();
        let mut files = 0;
        for one in section.take("templates").iter().flat_map(Section::elements) {
            let Some(pattern) = one.read::<String>() else { continue };
            let mut found = match files::matching(&pattern) {
                Ok(found) => found,
                Err(error) => {
                    one.error(format!("{}: {error}", files::folder_of(&pattern).display()));
                    continue;
                }
            };
            found.retain(|path| path.as_path() == Path::new(&pattern) || path.is_file());
            files += found.len();
            if files > MOST_FILES {
                one.error(format!("more than {MOST_FILES} files of templates"));
                break;
            }
            for path in found {
                if let Err(reason) = templates.read_file(&path) {
                    one.error(format!("{}: {reason}", path.display()));
                }
            }
        }
        templates
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if size > LONGEST as u64 {
            return Err("longer than 64 KiB".to_owned());
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        self.define(&text).map_err(|error| {
            let before = &text[..error.offset.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{line}:{column}: {error}")
        })
    }

    /// Takes the definitions of a text; a later one of a name replaces an earlier one.
    ///
    /// # Errors
    /// When the text cannot be parsed.
    pub fn define(&mut self, text: &str) -> Result<(), TemplateError> {
        let parsed = parse::parse(text)?;
        for (name, nodes) in parsed.defined {
            self.defined.insert(name, Arc::new(nodes));
        }
        Ok(())
    }

    /// Parses one text.
    ///
    /// # Errors
    /// When it cannot be parsed or rendered with an example.
    pub fn parse(&self, text: &str) -> Result<Text, TemplateError> {
        if text.len() > LONGEST {
            return Err(TemplateError::new(0, "is longer than 64 KiB"));
        }
        let parsed = parse::parse(text)?;
        let text = Text(Arc::new(parsed.body));
        self.render(&text, &value::example(), Escape::Plain)?;
        Ok(text)
    }

    /// Parses the text of a key; what is wrong with it is reported there.
    pub fn text(&self, section: &Section, key: &str, text: &str) -> Text {
        self.parse(text).unwrap_or_else(|error| {
            section.error_in_text(key, error.offset, error.message);
            Text(Arc::default())
        })
    }

    /// The text for some data.
    ///
    /// # Errors
    /// What went wrong: a field of something that has none, a limit.
    pub fn render(&self, text: &Text, data: &Value, escape: Escape) -> Result<String, TemplateError> {
        eval::render(self, &text.0, data, escape, SLOWEST)
    }
}
