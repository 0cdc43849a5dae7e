//! Matchers over labels, as Alertmanager writes them: `severity="critical"`, `TableName=~"orders.*"`, several in one text
//! with commas between, with or without braces around.

use regex::Regex;

use super::super::super::Labels;

/// One condition on one label. A label that an alert does not have is empty.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: String,
    pub value: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Equal,
    NotEqual,
    /// Anchored at both ends.
    Like(Regex),
    Unlike(Regex),
}

/// Bytes that a compiled expression may take.
const REGEX_BYTES: usize = 1 << 20;

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            kind: Kind::Equal,
        }
    }

    /// `name=~"value"`.
    ///
    /// # Errors
    /// When `value` is no regular expression.
    pub fn like(name: &str, value: &str) -> Result<Self, String> {
        Self::new(name, "=~", value)
    }

    /// Of its parts; `operator` is one of `= != =~ !~`.
    ///
    /// # Errors
    /// An operator or regular expression that is none, a name that no label can have.
    pub fn new(name: &str, operator: &str, value: &str) -> Result<Self, String> {
        if !is_label_name(name) {
            return Err(format!("{name:?} is no label name"));
        }
        let kind = match operator {
            "=" => Kind::Equal,
            "!=" => Kind::NotEqual,
            "=~" => Kind::Like(anchored(value)?),
            "!~" => Kind::Unlike(anchored(value)?),
            other => return Err(format!("{other:?} is no operator; there are =, !=, =~ and !~")),
        };
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
            kind,
        })
    }

    /// Reads one or more matchers from a text.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let text = text.trim();
        let text = match (text.strip_prefix('{'), text.ends_with('}')) {
            (Some(rest), true) => &rest[..rest.len() - 1],
            (None, false) => text,
            _ => return Err(format!("a brace of {text:?} has no other")),
        };
        let mut found = Vec::new();
        for part in split_outside_quotes(text)? {
            // A comma at the end is allowed.
            if !part.trim().is_empty() {
                found.push(Self::parse(part)?);
            }
        }
        if found.is_empty() {
            return Err("is empty; write e.g. severity=\"critical\"".to_owned());
        }
        Ok(found)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bad = || format!("{text:?} is no matcher; write e.g. severity=\"critical\" or TableName=~\"orders.*\"");
        let end = text.find(['=', '!']).ok_or_else(bad)?;
        let (name, rest) = text.split_at(end);
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| rest.starts_with(operator))
            .ok_or_else(bad)?;
        let value = unquoted(rest[operator.len()..].trim())?;
        Self::new(name.trim(), operator, &value)
    }

    /// Whether labels meet it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = label(labels, &self.name);
        match &self.kind {
            Kind::Equal => value == self.value,
            Kind::NotEqual => value != self.value,
            Kind::Like(regex) => regex.is_match(value),
            Kind::Unlike(regex) => !regex.is_match(value),
        }
    }

    /// `=`, `!=`, `=~` or `!~`.
    pub fn operator(&self) -> &'static str {
        match self.kind {
            Kind::Equal => "=",
            Kind::NotEqual => "!=",
            Kind::Like(_) => "=~",
            Kind::Unlike(_) => "!~",
        }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.operator(), self.value)
    }
}

/// Whether labels meet all of them.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

/// The value of a label; empty where it is not there. Labels are sorted by name.
pub fn label<'a>(labels: &'a Labels, name: &str) -> &'a str {
    match labels.binary_search_by(|(have, _)| have.as_str().cmp(name)) {
        Ok(found) => &labels[found].1,
        Err(_) => "",
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn anchored(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|_| format!("{text:?} is no regular expression"))
}

fn split_outside_quotes(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(format!("a quote of {text:?} is not closed"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// The value with or without quotes; inside `\"`, `\\` and `\n` are escapes, any other backslash stands for itself.
fn unquoted(text: &str) -> Result<String, String> {
    let inner = match text.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .ok_or_else(|| format!("a quote of {text:?} is not closed"))?,
        None => text,
    };
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(next) = chars.next() {
        let escape = match (next, chars.peek()) {
            ('"', _) => return Err(format!("a quote inside {text:?} must be written as \\\"")),
            ('\\', Some('"')) => '"',
            ('\\', Some('\\')) => '\\',
            ('\\', Some('n')) => '\n',
            _ => {
                value.push(next);
                continue;
            }
        };
        chars.next();
        value.push(escape);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn every_form_of_a_matcher_is_read() {
        for (text, shown) in [
            ("severity=\"critical\"", vec!["severity=\"critical\""]),
            ("{a=b, c!=\"d,e\"}", vec!["a=\"b\"", "c!=\"d,e\""]),
            (" a =~ \"x|y\" ,", vec!["a=~\"x|y\""]),
            ("a!~b.*", vec!["a!~\"b.*\""]),
            ("a=\"q\\\"u\\\\o\"", vec!["a=\"q\\\"u\\\\o\""]),
            ("a=", vec!["a=\"\""]),
            ("a=~\"\\d+\"", vec!["a=~\"\\\\d+\""]),
        ] {
            let read = Matcher::parse_all(text).unwrap();
            let read: Vec<String> = read.iter().map(ToString::to_string).collect();
            assert_eq!(read, shown, "{text}");
        }
        for text in ["", "a", "{a=b", "a=\"b", "a=b\"c", "1a=b", "a=~\"(\"", "{}", "a-b=c"] {
            assert!(Matcher::parse_all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_absent_label_is_empty_and_expressions_are_anchored() {
        let labels = labels(&[("alertname", "A"), ("severity", "critical")]);
        for (text, expected) in [
            ("severity=critical", true),
            ("severity=~crit", false),
            ("severity=~crit.*", true),
            ("severity!~\"warning|info\"", true),
            ("none=\"\"", true),
            ("none!=\"\"", false),
            ("none=~\".+\"", false),
        ] {
            assert_eq!(
                all_match(&Matcher::parse_all(text).unwrap(), &labels),
                expected,
                "{text}"
            );
        }
    }
}
