//! From a list of `{key, action, ...}` to checked actions.

use serde::{Deserialize, Serialize};

use super::{Action, ContextSource, Keys, Source, Target};
use crate::components::processors::select::ConfigValue;
use crate::config::Section;
use crate::ottl;
use crate::wire::SetMode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Insert,
    Update,
    Upsert,
    Delete,
    Hash,
    Extract,
    Convert,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    key: String,
    action: Option<Kind>,
    value: Option<ConfigValue>,
    from_attribute: Option<String>,
    from_context: Option<String>,
    default_value: Option<ConfigValue>,
    pattern: Option<String>,
    converted_type: Option<Target>,
}

/// Reads the elements of a list of actions. Reports what is wrong and goes on.
pub(super) fn check(list: &Section) -> Vec<Action> {
    list.elements().iter().filter_map(check_one).collect()
}

fn check_one(section: &Section) -> Option<Action> {
    let config: Config = section.read()?;
    let Some(kind) = config.action else {
        // An action of an unknown name was reported when it was read.
        if !section.has("action") {
            section.error("`action` is missing: insert, update, upsert, delete, hash, extract or convert");
        }
        return None;
    };
    refuse_other_keys(section, kind);
    match kind {
        Kind::Insert => set(section, SetMode::Insert, config),
        Kind::Update => set(section, SetMode::Update, config),
        Kind::Upsert => set(section, SetMode::Upsert, config),
        Kind::Delete => keys(section, config).map(Action::Delete),
        Kind::Hash => keys(section, config).map(Action::Hash),
        Kind::Extract => extract(section, config),
        Kind::Convert => convert(section, config),
    }
}

/// A key that the action does not read must not be written as if it did.
fn refuse_other_keys(section: &Section, kind: Kind) {
    let (name, used): (&str, &[&str]) = match kind {
        Kind::Insert | Kind::Update | Kind::Upsert => (
            "insert, update and upsert",
            &["value", "from_attribute", "from_context", "default_value"],
        ),
        Kind::Delete => ("delete", &["pattern"]),
        Kind::Hash => ("hash", &["pattern"]),
        Kind::Extract => ("extract", &["pattern"]),
        Kind::Convert => ("convert", &["converted_type"]),
    };
    let all = [
        "value",
        "from_attribute",
        "from_context",
        "default_value",
        "pattern",
        "converted_type",
    ];
    for key in all {
        if section.has(key) && !used.contains(&key) {
            section.error_at(key, format!("`{key}` means nothing to {name}"));
        }
    }
}

fn need_key(section: &Section, config: &Config) -> Option<()> {
    if config.key.is_empty() {
        section.error("`key` is missing");
        return None;
    }
    Some(())
}

fn set(section: &Section, mode: SetMode, config: Config) -> Option<Action> {
    need_key(section, &config)?;
    let mut sources = Vec::new();
    if let Some(value) = &config.value {
        sources.push(Source::Value(value.encode()));
    }
    if let Some(key) = config.from_attribute.filter(|key| !key.is_empty()) {
        sources.push(Source::Attribute(key));
    }
    if let Some(key) = config.from_context.filter(|key| !key.is_empty()) {
        sources.push(Source::Context(context_source(section, &key)?));
    }
    let default = config.default_value.map(|value| value.encode());
    if sources.len() > 1 {
        section.error("only one of `value`, `from_attribute` and `from_context` can be set");
        return None;
    }
    let source = match (sources.pop(), &default) {
        (Some(source), _) => source,
        (None, Some(_)) => Source::Nothing,
        (None, None) => {
            section.error("needs one of `value`, `from_attribute`, `from_context`, `default_value`");
            return None;
        }
    };
    Some(Action::Set {
        mode,
        key: config.key,
        source,
        default,
    })
}

fn context_source(section: &Section, key: &str) -> Option<ContextSource> {
    if key == "client.address" {
        return Some(ContextSource::ClientAddress);
    }
    match key.split_once('.') {
        Some(("metadata", name)) if !name.is_empty() => Some(ContextSource::Metadata(name.to_owned())),
        Some(("auth", name)) if !name.is_empty() => Some(ContextSource::Auth(name.to_owned())),
        _ => {
            section.error_at(
                "from_context",
                format!("unknown context value `{key}`; there are metadata.<key>, auth.<key> and client.address"),
            );
            None
        }
    }
}

fn compile(section: &Section, pattern: &str) -> Option<regex::Regex> {
    match ottl::regex::compile(pattern) {
        Ok(regex) => Some(regex),
        Err(message) => {
            section.error_in_text("pattern", 0, message);
            None
        }
    }
}

fn keys(section: &Section, config: Config) -> Option<Keys> {
    let pattern = match config.pattern.filter(|pattern| !pattern.is_empty()) {
        Some(pattern) => Some(compile(section, &pattern)?),
        None => None,
    };
    let key = Some(config.key).filter(|key| !key.is_empty());
    if key.is_none() && pattern.is_none() {
        section.error("needs `key` or `pattern`");
        return None;
    }
    Some(Keys { key, pattern })
}

fn extract(section: &Section, config: Config) -> Option<Action> {
    need_key(section, &config)?;
    let Some(pattern) = config.pattern.filter(|pattern| !pattern.is_empty()) else {
        section.error("`pattern` is missing");
        return None;
    };
    let regex = compile(section, &pattern)?;
    let mut names = Vec::new();
    for name in regex.capture_names().skip(1) {
        let Some(name) = name else {
            section.error_in_text(
                "pattern",
                0,
                "every group of the pattern needs a name: it becomes the attribute's key",
            );
            return None;
        };
        names.push(name.to_owned());
    }
    if names.is_empty() {
        section.error_in_text(
            "pattern",
            0,
            "the pattern needs at least one named group, e.g. `(?P<name>...)`",
        );
        return None;
    }
    Some(Action::Extract {
        key: config.key,
        regex,
        names,
    })
}

fn convert(section: &Section, config: Config) -> Option<Action> {
    need_key(section, &config)?;
    let Some(to) = config.converted_type else {
        if !section.has("converted_type") {
            section.error("`converted_type` is missing: int, double or string");
        }
        return None;
    };
    Some(Action::Convert { key: config.key, to })
}
