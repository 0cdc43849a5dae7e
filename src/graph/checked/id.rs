//! `type[/name]`: which characters an id may have.

/// Why an id is none; `None` where it is fine.
pub(super) fn problem_with(id: &str) -> Option<String> {
    let (kind, name) = match id.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (id, None),
    };
    if kind.is_empty() {
        return Some("an id is type or type/name; the type is missing".to_string());
    }
    let starts_well = kind.starts_with(|c: char| c.is_ascii_alphabetic());
    let goes_on_well = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts_well || !goes_on_well || kind.len() > 63 {
        return Some(format!(
            "\"{}\" is not a type: a letter, then letters, digits and _, at most 63",
            shown(kind)
        ));
    }
    let name = name?;
    let bad = name
        .chars()
        .find(|c| c.is_whitespace() || c.is_control() || is_symbol(*c));
    if let Some(bad) = bad {
        return Some(format!("the name \"{}\" has a {:?} in it", shown(name), bad));
    }
    let length = name.chars().count();
    match length {
        0 => Some("the name behind the slash is missing".to_string()),
        1..=1024 => None,
        _ => Some("the name is longer than 1,024 characters".to_string()),
    }
}

/// Unicode's symbols in ASCII (`Sm`, `Sc`, `Sk`): the Collector refuses them in names. Punctuation is fine.
fn is_symbol(c: char) -> bool {
    matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~')
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::problem_with;

    #[test]
    fn ids_have_the_collectors_characters() {
        for good in ["otlp", "otlp/2", "a_1/b-c.d/e:f#g@h", "X/日本"] {
            assert_eq!(problem_with(good), None, "{good}");
        }
        let long_type = "a".repeat(64);
        let long_name = format!("a/{}", "b".repeat(1025));
        for bad in [
            "", "/x", "1otlp", "ot lp", "otlp/", "otlp/a b", "otlp/a|b", "ot-lp", &long_type, &long_name,
        ] {
            assert!(problem_with(bad).is_some(), "{bad}");
        }
    }
}
