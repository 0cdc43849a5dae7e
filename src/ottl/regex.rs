//! Regular expressions in the syntax of RE2, which configurations are written in, on the `regex` crate.
//!
//! Both are linear in the text. They differ in spelling: RE2's `\d \w \s \b` are ASCII, it has `\Q...\E`, an opening
//! brace that begins no repetition is itself, and `[ & ~` inside a class are themselves.

use regex::{Regex, RegexBuilder};

/// Compiled size in bytes that one pattern may have.
const SIZE_LIMIT: usize = 1 << 20;

/// Compiles an RE2 pattern; unanchored.
///
/// # Errors
/// With a one-line explanation.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(SIZE_LIMIT)
        .nest_limit(100)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            // The crate's message draws the pattern over several lines; its last line says what is wrong.
            other => {
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or("it cannot be read");
                format!("bad regular expression: {}", reason.trim_start_matches("error: "))
            }
        })
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if in_class => class_bracket(rest, &mut out),
            '[' => {
                in_class = true;
                open_class(after, &mut out)
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// Behind `[`: a `^`, and a `]` that stands first, belong to the class.
fn open_class<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    rest
}

/// `[` inside a class begins a POSIX class (`[:alpha:]`) or is itself.
fn class_bracket<'a>(rest: &'a str, out: &mut String) -> &'a str {
    if rest.starts_with("[:")
        && let Some(end) = rest.find(":]")
    {
        out.push_str(&rest[..end + 2]);
        return &rest[end + 2..];
    }
    out.push_str("\\[");
    &rest[1..]
}

fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let ascii_class = match c {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some("\\t\\n\\x0C\\r "),
        _ => None,
    };
    match (c, ascii_class) {
        (_, Some(members)) if in_class => out.push_str(members),
        (_, Some(members)) => *out += &format!("[{members}]"),
        ('D', _) => out.push_str("[^0-9]"),
        ('W', _) => out.push_str("[^0-9A-Za-z_]"),
        ('S', _) => out.push_str("[^\\t\\n\\x0C\\r ]"),
        ('b', _) => out.push_str("(?-u:\\b)"),
        ('B', _) => out.push_str("(?-u:\\B)"),
        ('Q', _) => {
            let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// Whether `{` is followed by `n}`, `n,}` or `n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else {
        return false;
    };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    !low.is_empty() && (low.bytes().chain(high.bytes())).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_what_re2_means() {
        let cases: &[(&str, &str, bool)] = &[
            (r"^\d+$", "123", true),
            (r"^\d+$", "\u{0663}", false),
            (r"^\w$", "é", false),
            (r"^[\w.]+$", "a.b_1", true),
            (r"^[^\d]$", "x", true),
            (r"^[\D]$", "x", true),
            (r"^\S+$", "a\u{a0}b", true),
            (r"a{b}", "a{b}", true),
            (r"^a{2}$", "aa", true),
            (r"^a{2,}$", "aaa", true),
            (r"^[[:digit:]x]+$", "1x2", true),
            (r"^[[]$", "[", true),
            (r"^[]a]+$", "]a", true),
            (r"^[a&&b]+$", "&", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            (r"(?i)^HELLO$", "hello", true),
            (r"\bcat\b", "a cat.", true),
            (r"^.$", "é", true),
            (r"foo", "a foo b", true),
        ];
        for (pattern, text, expected) in cases {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), *expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn says_in_one_line_what_is_wrong() {
        for pattern in ["(", "[a", "*", r"\", r"(?P<n", "a{1000}{1000}{1000}"] {
            let error = compile(pattern).unwrap_err();
            assert!(!error.contains('\n'), "{pattern}: {error}");
        }
    }
}
