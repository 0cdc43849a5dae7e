//! Text to tokens with byte offsets. Knows the spelling of literals and nothing of grammar.

use super::SyntaxError;

#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind {
    /// Begins with a lower-case letter or an underscore: path segment, editor, argument name.
    Lower(String),
    /// Begins with an upper-case letter: converter or enum symbol.
    Upper(String),
    Text(String),
    Int(u64),
    Double(f64),
    Bytes(Vec<u8>),
    /// One of the operators and brackets.
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
}

impl TokenKind {
    /// As shown in messages.
    pub fn describe(&self) -> String {
        match self {
            TokenKind::Lower(word) | TokenKind::Upper(word) => format!("`{word}`"),
            TokenKind::Text(_) => "a string".to_owned(),
            TokenKind::Int(_) | TokenKind::Double(_) => "a number".to_owned(),
            TokenKind::Bytes(_) => "bytes".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end".to_owned(),
        }
    }
}

/// Longer symbols first.
const SYMBOLS: &[&str] = &[
    "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "(", ")", "[", "]", "{", "}", ",", ".", ":",
];

/// All tokens, the last being [`TokenKind::End`].
pub fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else {
            tokens.push(Token {
                kind: TokenKind::End,
                start: at,
            });
            return Ok(tokens);
        };
        let (kind, len) = one(trimmed, first, at)?;
        tokens.push(Token { kind, start: at });
        at += len;
    }
}

fn one(rest: &str, first: char, at: usize) -> Result<(TokenKind, usize), SyntaxError> {
    let second = rest.as_bytes().get(1).copied().unwrap_or(b' ');
    match first {
        '"' => string(rest, at),
        '0' if second == b'x' || second == b'X' => bytes(rest, at),
        '0'..='9' => number(rest, at),
        '.' if second.is_ascii_digit() => number(rest, at),
        'a'..='z' | '_' => {
            let word = word(rest);
            Ok((TokenKind::Lower(word.to_owned()), word.len()))
        }
        'A'..='Z' => {
            let word = word(rest);
            Ok((TokenKind::Upper(word.to_owned()), word.len()))
        }
        '\'' => Err(SyntaxError::new(at, "strings stand in double quotes")),
        '&' | '|' if second == first as u8 => {
            let word = if first == '&' { "and" } else { "or" };
            Err(SyntaxError::new(
                at,
                format!("`{first}{first}` is no operator; write `{word}`"),
            ))
        }
        '!' if second != b'=' => Err(SyntaxError::new(at, "`!` is no operator; write `not`")),
        _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => Ok((TokenKind::Symbol(symbol), symbol.len())),
            None => Err(SyntaxError::new(
                at,
                format!("unexpected character `{}`", first.escape_debug()),
            )),
        },
    }
}

fn word(rest: &str) -> &str {
    let end = rest
        .bytes()
        .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
        .unwrap_or(rest.len());
    &rest[..end]
}

fn number(rest: &str, at: usize) -> Result<(TokenKind, usize), SyntaxError> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut len = digits(rest);
    let mut is_double = false;
    if rest[len..].starts_with('.') && digits(&rest[len + 1..]) > 0 {
        is_double = true;
        len += 1 + digits(&rest[len + 1..]);
    }
    if rest[len..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
        let exponent = digits(&rest[len + 1 + sign..]);
        if exponent > 0 {
            is_double = true;
            len += 1 + sign + exponent;
        }
    }
    let text = &rest[..len];
    if rest[len..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_') {
        return Err(SyntaxError::new(
            at + len,
            format!("unexpected character behind the number {text}"),
        ));
    }
    if is_double {
        let value: f64 = text.parse().map_err(|_| SyntaxError::new(at, "bad number"))?;
        if !value.is_finite() {
            return Err(SyntaxError::new(at, format!("{text} does not fit into a 64-bit float")));
        }
        return Ok((TokenKind::Double(value), len));
    }
    // One more than the largest positive int is kept: a minus may stand before it.
    match text.parse::<u64>() {
        Ok(value) if value <= i64::MAX as u64 + 1 => Ok((TokenKind::Int(value), len)),
        _ => Err(SyntaxError::new(at, format!("{text} does not fit into a 64-bit int"))),
    }
}

fn bytes(rest: &str, at: usize) -> Result<(TokenKind, usize), SyntaxError> {
    let digits = word(&rest[2..]);
    let bytes = hex::decode(digits)
        .map_err(|_| SyntaxError::new(at, "bytes are written as 0x and an even number of hexadecimal digits"))?;
    Ok((TokenKind::Bytes(bytes), 2 + digits.len()))
}

fn string(rest: &str, at: usize) -> Result<(TokenKind, usize), SyntaxError> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((TokenKind::Text(value), offset + 1)),
            '\\' => {
                let Some((_, escape)) = chars.next() else { break };
                value.push(escaped(escape, &mut chars).ok_or_else(|| {
                    SyntaxError::new(
                        at + offset,
                        format!("unknown escape `\\{escape}`; a backslash is written `\\\\`"),
                    )
                })?);
            }
            c => value.push(c),
        }
    }
    Err(SyntaxError::new(at, "the string has no closing quote"))
}

/// The escapes of Go's string literals.
fn escaped(escape: char, rest: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let mut code = |digits: usize, radix: u32, begun: u32| {
        let mut code = begun;
        for _ in 0..digits {
            code = code.checked_mul(radix)?.checked_add(rest.next()?.1.to_digit(radix)?)?;
        }
        char::from_u32(code)
    };
    match escape {
        '"' | '\\' | '\'' => Some(escape),
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'v' => Some('\u{b}'),
        // A byte above 0x7f alone is no character.
        'x' => code(2, 16, 0).filter(char::is_ascii),
        'u' => code(4, 16, 0),
        'U' => code(8, 16, 0),
        '0'..='3' => code(2, 8, escape as u32 - '0' as u32).filter(char::is_ascii),
        _ => None,
    }
}
