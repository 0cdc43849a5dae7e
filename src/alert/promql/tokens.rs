//! The text of an expression taken apart, with positions: what promql-parser accepts and we do not is found here.

use super::ast::{AGGREGATIONS, FUNCTIONS};
use super::{DEEPEST, LONGEST, PromqlError};
use crate::config::suggest_among;

/// Operators, selectors and calls together: a bound on the size of the tree.
const MOST_TOKENS: usize = 2_000;
/// Operators outside brackets nest too, one in the other.
const MOST_OPERATORS: usize = 256;
/// Ten years.
const LONGEST_DURATION: f64 = 10.0 * 365.0 * 86_400.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Duration,
    Text,
    Symbol,
    Open,
    Close,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    pub fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

/// Takes the text apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PromqlError> {
    if text.len() > LONGEST {
        return Err(PromqlError::new(
            LONGEST,
            format!("the expression is longer than {LONGEST} bytes"),
        ));
    }
    if text.trim().is_empty() {
        return Err(PromqlError::new(0, "the expression is empty"));
    }
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = text[at..].find('\n').map_or(bytes.len(), |newline| at + newline + 1);
                continue;
            }
            b'"' | b'\'' | b'`' => {
                at = end_of_text(bytes, at)?;
                Kind::Text
            }
            b'(' | b'[' | b'{' => {
                at += 1;
                Kind::Open
            }
            b')' | b']' | b'}' => {
                at += 1;
                Kind::Close
            }
            b'0'..=b'9' | b'.' => {
                at = end_of_number(bytes, at);
                number(text, start, at)?
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                Kind::Word
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'=' | b'!' | b'<' | b'>' | b',' | b'@' | b'~' => {
                at += 1;
                Kind::Symbol
            }
            _ => {
                let character = text[at..].chars().next().unwrap_or('?');
                return Err(PromqlError::new(
                    at,
                    format!("the character {character:?} means nothing here"),
                ));
            }
        };
        tokens.push(Token { kind, start, end: at });
        if tokens.len() > MOST_TOKENS {
            return Err(PromqlError::new(start, format!("more than {MOST_TOKENS} parts")));
        }
    }
    Ok(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'
}

fn end_of_text(bytes: &[u8], start: usize) -> Result<usize, PromqlError> {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            b'\n' if quote != b'`' => break,
            byte if byte == quote => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err(PromqlError::new(start, "the text is not closed"))
}

/// Numbers and durations: `1.5e-3`, `0x1f`, `1h30m`.
fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        let byte = bytes[at];
        let is_exponent_sign = matches!(byte, b'+' | b'-')
            && matches!(bytes[at - 1], b'e' | b'E')
            && !bytes[start..at].starts_with(b"0x")
            && at > start;
        if !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || is_exponent_sign) {
            break;
        }
        at += 1;
    }
    at
}

fn number(text: &str, start: usize, end: usize) -> Result<Kind, PromqlError> {
    let written = &text[start..end];
    if written.parse::<f64>().is_ok() || written.starts_with("0x") || written.starts_with("0X") {
        return Ok(Kind::Number);
    }
    match seconds(written) {
        Some(seconds) if seconds <= LONGEST_DURATION => Ok(Kind::Duration),
        Some(_) => Err(PromqlError::new(start, "the duration is longer than ten years")),
        None => Err(PromqlError::new(
            start,
            format!("{written:?} is neither a number nor a duration"),
        )),
    }
}

/// A duration as Prometheus writes it.
fn seconds(written: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = written;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        let count: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "y" => 31_536_000.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total += count * unit;
    }
    Some(total)
}

/// Refuses what is not supported, and what could not be worked on.
pub(super) fn check(text: &str, tokens: &[Token]) -> Result<(), PromqlError> {
    let mut open: Vec<Token> = Vec::new();
    let mut operators = 0;
    for (position, token) in tokens.iter().enumerate() {
        let written = token.text(text);
        match token.kind {
            Kind::Open => {
                open.push(*token);
                if open.len() > DEEPEST {
                    return Err(PromqlError::new(
                        token.start,
                        format!("nested deeper than {DEEPEST} levels"),
                    ));
                }
            }
            Kind::Close => {
                let wanted = match written {
                    ")" => "(",
                    "]" => "[",
                    _ => "{",
                };
                match open.pop() {
                    Some(opening) if opening.text(text) == wanted => {}
                    Some(opening) => {
                        let begun = opening.text(text);
                        return Err(PromqlError::new(
                            token.start,
                            format!("`{written}` closes no `{begun}`"),
                        ));
                    }
                    None => return Err(PromqlError::new(token.start, format!("`{written}` closes nothing"))),
                }
            }
            Kind::Symbol if written != "," => operators += 1,
            Kind::Word => {
                if matches!(written.to_ascii_lowercase().as_str(), "and" | "or" | "unless") {
                    operators += 1;
                }
                let in_braces = open.last().is_some_and(|opening| opening.text(text) == "{");
                if !in_braces {
                    word(text, tokens, position)?;
                }
            }
            _ => {}
        }
        if operators > MOST_OPERATORS {
            return Err(PromqlError::new(
                token.start,
                format!("more than {MOST_OPERATORS} operators in one expression"),
            ));
        }
    }
    match open.last() {
        Some(opening) => {
            let begun = opening.text(text);
            Err(PromqlError::new(opening.start, format!("`{begun}` is not closed")))
        }
        None => Ok(()),
    }
}

const CLAUSES: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "and",
    "or",
    "unless",
];

fn word(text: &str, tokens: &[Token], position: usize) -> Result<(), PromqlError> {
    let token = tokens[position];
    let written = token.text(text);
    let folded = written.to_ascii_lowercase();
    if folded == "atan2" {
        return Err(PromqlError::new(token.start, "the operator atan2 is not supported"));
    }
    let before = position.checked_sub(1).map(|before| tokens[before].text(text));
    if before == Some("@") {
        return Err(PromqlError::new(
            token.start,
            format!("@ {written}() is not supported; use a time in seconds"),
        ));
    }
    let next = tokens.get(position + 1).map(|next| next.text(text));
    let is_call = next == Some("(");
    let is_aggregation = AGGREGATIONS.iter().any(|(name, _)| *name == folded);
    if !is_call || CLAUSES.contains(&folded.as_str()) || is_aggregation {
        return Ok(());
    }
    if FUNCTIONS.iter().any(|(name, _)| *name == written) {
        return Ok(());
    }
    let known: Vec<&str> = FUNCTIONS
        .iter()
        .map(|(name, _)| *name)
        .chain(AGGREGATIONS.iter().map(|(name, _)| *name))
        .collect();
    let hint = suggest_among(written, &known);
    Err(PromqlError::new(
        token.start,
        format!("the function {written} is not supported{hint}"),
    ))
}

/// What stands between two brackets, or between a bracket and a comma.
pub(super) struct Part {
    pub bracket: char,
    pub start: usize,
    pub end: usize,
}

/// Every bracketed range; those in parentheses taken apart at their commas.
pub(super) fn parts(text: &str, tokens: &[Token]) -> Vec<Part> {
    let mut parts = Vec::new();
    // The bracket, and where the range behind it or behind its last comma begins.
    let mut open: Vec<(char, usize)> = Vec::new();
    for token in tokens {
        let bracket = text[token.start..].chars().next().unwrap_or(' ');
        match token.kind {
            Kind::Open => open.push((bracket, token.end)),
            Kind::Symbol if bracket == ',' => {
                if let Some((bracket @ '(', start)) = open.last_mut() {
                    parts.push(Part {
                        bracket: *bracket,
                        start: *start,
                        end: token.start,
                    });
                    *start = token.end;
                }
            }
            Kind::Close => {
                if let Some((bracket, start)) = open.pop() {
                    parts.push(Part {
                        bracket,
                        start,
                        end: token.start,
                    });
                }
            }
            _ => {}
        }
    }
    parts
}
