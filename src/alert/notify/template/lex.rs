//! Text to tokens: what lies between `{{` and `}}`, in pieces with their places.

use super::TemplateError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Text(String),
    Open,
    Close,
    /// `if`, `range`, a function, `true`.
    Word(String),
    /// `.`
    Dot,
    /// `.Labels`; whether it follows what stands before it without a space.
    Field(String, bool),
    /// `$` or `$name`.
    Variable(String),
    Quoted(String),
    Number(f64),
    Pipe,
    Left,
    Right,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// Splits a text.
pub fn tokens(text: &str) -> Result<Vec<(usize, Token)>, TemplateError> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    while at < text.len() {
        let open = text[at..].find("{{").map(|open| at + open);
        let mut literal = &text[at..open.unwrap_or(text.len())];
        let trims_before = open.is_some_and(|open| text[open + 2..].starts_with("- "));
        if trim_next {
            literal = literal.trim_start();
        }
        if trims_before {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            found.push((at, Token::Text(literal.to_owned())));
        }
        let Some(open) = open else { break };
        let inside = open + if trims_before { 4 } else { 2 };
        let comment = text[inside..].trim_start().starts_with("/*");
        let close = if comment {
            let end = text[inside..].find("*/").map(|end| inside + end + 2);
            end.and_then(|end| text[end..].find("}}").map(|close| end + close))
        } else {
            end_of_action(text, inside)
        };
        let Some(close) = close else {
            return Err(TemplateError::new(open, "`{{` without `}}`"));
        };
        trim_next = text[..close].ends_with(" -") && close >= inside + 2;
        let end = if trim_next { close - 2 } else { close };
        if !comment {
            found.push((open, Token::Open));
            action(text, inside, end, &mut found)?;
            found.push((close, Token::Close));
        }
        at = close + 2;
    }
    Ok(found)
}

/// Where `}}` stands outside quotes.
fn end_of_action(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut quote: Option<u8> = None;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'`') => quote = Some(bytes[at]),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn action(text: &str, from: usize, end: usize, found: &mut Vec<(usize, Token)>) -> Result<(), TemplateError> {
    let mut at = from;
    let mut after_space = true;
    while let Some(next) = text[at..end].chars().next() {
        let start = at;
        let rest = &text[at..end];
        if next.is_whitespace() {
            at += next.len_utf8();
            after_space = true;
            continue;
        }
        let name_length = |rest: &str| {
            rest.bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                .count()
        };
        let token = match next {
            '|' => Token::Pipe,
            '(' => Token::Left,
            ')' => Token::Right,
            ',' => Token::Comma,
            '=' => Token::Assign,
            ':' if rest.starts_with(":=") => Token::Declare,
            '"' | '`' => {
                let (value, length) = quoted(rest).ok_or_else(|| TemplateError::new(at, "the quote is not closed"))?;
                at += length;
                found.push((start, Token::Quoted(value)));
                after_space = false;
                continue;
            }
            '.' => {
                let length = name_length(&rest[1..]);
                let name = rest[1..1 + length].to_owned();
                at += length;
                if length == 0 {
                    Token::Dot
                } else {
                    Token::Field(name, !after_space)
                }
            }
            '$' => {
                let length = name_length(&rest[1..]);
                at += length;
                Token::Variable(rest[1..1 + length].to_owned())
            }
            '0'..='9' | '-' => {
                let length = rest[1..]
                    .bytes()
                    .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
                    .count()
                    + 1;
                let number = rest[..length].parse();
                at += length - 1;
                Token::Number(number.map_err(|_| TemplateError::new(start, "is no number"))?)
            }
            _ if next.is_ascii_alphabetic() || next == '_' => {
                let length = name_length(rest);
                at += length - 1;
                Token::Word(rest[..length].to_owned())
            }
            other => return Err(TemplateError::new(at, format!("{other:?} is not known here"))),
        };
        at += if token == Token::Declare { 2 } else { 1 };
        found.push((start, token));
        after_space = false;
    }
    Ok(())
}

/// The value of a quoted text, and its length with its quotes.
fn quoted(text: &str) -> Option<(String, usize)> {
    if let Some(raw) = text.strip_prefix('`') {
        let end = raw.find('`')?;
        return Some((raw[..end].to_owned(), end + 2));
    }
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Some((value, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}
