//! Text to query: a descent of bounded depth, with the position of what is wrong.

use regex::RegexBuilder;

use super::find::Needle;
use super::units::{self, Quantity};
use super::{BUILT_IN, KINDS, Key, LEVELS, Node, Op, Operand, QueryError, SIGNALS, STATUSES};

/// Bytes of a query.
const MOST_TEXT: usize = 8 << 10;
/// Parentheses and negations inside each other.
const MOST_NESTING: usize = 50;
/// Terms of a query.
const MOST_TERMS: usize = 200;

pub(super) fn parse(text: &str, now: u64) -> Result<Node, QueryError> {
    let mut parser = Parser {
        text,
        at: 0,
        now,
        terms: 0,
    };
    if text.len() > MOST_TEXT {
        return Err(parser.error(MOST_TEXT, format!("a query may have {MOST_TEXT} bytes"), None));
    }
    parser.skip_space();
    if parser.at == text.len() {
        return Ok(Node::All);
    }
    let node = parser.any(0)?;
    if parser.at < text.len() {
        return Err(parser.error(parser.at, "there is no `(` for this `)`", None));
    }
    Ok(node)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    now: u64,
    terms: usize,
}

/// A word or a quoted text, and where it begins.
struct Token {
    text: String,
    start: usize,
    quoted: bool,
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, error: impl Into<String>, suggestion: Option<String>) -> QueryError {
        let before = self.text.get(..at).unwrap_or(self.text);
        QueryError {
            error: error.into(),
            position: before.chars().count(),
            suggestion,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a keyword that stands alone.
    fn keyword(&mut self, word: &str) -> bool {
        let Some(after) = self.rest().strip_prefix(word) else {
            return false;
        };
        if !after.is_empty() && !after.starts_with(|letter: char| letter.is_whitespace() || letter == '(') {
            return false;
        }
        self.at += word.len();
        self.skip_space();
        true
    }

    fn any(&mut self, depth: usize) -> Result<Node, QueryError> {
        let mut alternatives = vec![self.all(depth)?];
        loop {
            let at = self.at;
            if !self.keyword("OR") {
                break;
            }
            if self.rest().is_empty() || self.rest().starts_with(')') {
                return Err(self.error(at, "something must follow `OR`", None));
            }
            alternatives.push(self.all(depth)?);
        }
        Ok(match alternatives.len() {
            1 => alternatives.remove(0),
            _ => Node::Or(alternatives),
        })
    }

    fn all(&mut self, depth: usize) -> Result<Node, QueryError> {
        let mut nodes = Vec::new();
        loop {
            self.skip_space();
            let start = self.at;
            let is_end = self.rest().is_empty() || self.rest().starts_with(')');
            if is_end || (!nodes.is_empty() && self.ahead("OR")) {
                break;
            }
            if self.keyword("AND") {
                if nodes.is_empty() || self.rest().is_empty() {
                    return Err(self.error(start, "`AND` stands between two terms", None));
                }
                continue;
            }
            nodes.push(self.one(depth)?);
        }
        match nodes.len() {
            0 => Err(self.error(self.at, "a term is missing here", None)),
            1 => Ok(nodes.remove(0)),
            _ => Ok(Node::And(nodes)),
        }
    }

    fn ahead(&self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        after.is_some_and(|after| after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || c == '('))
    }

    fn one(&mut self, depth: usize) -> Result<Node, QueryError> {
        let start = self.at;
        self.terms += 1;
        if depth >= MOST_NESTING || self.terms > MOST_TERMS {
            return Err(self.error(start, "the query is nested too deep or has too many terms", None));
        }
        if self.keyword("NOT") {
            if self.rest().is_empty() || self.rest().starts_with(')') {
                return Err(self.error(start, "something must follow `NOT`", None));
            }
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if let Some(after) = self.rest().strip_prefix('-')
            && after.starts_with(|letter: char| !letter.is_whitespace())
        {
            self.at += 1;
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.rest().starts_with('(') {
            self.at += 1;
            let node = self.any(depth + 1)?;
            self.skip_space();
            if !self.rest().starts_with(')') {
                return Err(self.error(start, "this `(` is not closed", None));
            }
            self.at += 1;
            return Ok(node);
        }
        self.term()
    }

    fn term(&mut self) -> Result<Node, QueryError> {
        let key = self.word(true)?;
        if key.text.is_empty() && !key.quoted {
            return Err(self.error(key.start, "a key must stand before this", None));
        }
        if !key.quoted && self.rest().starts_with('(') {
            return self.function(&key);
        }
        let after_key = self.at;
        if let Some(op) = self.operator() {
            let spaced = after_key;
            return self.comparison(&key, op, spaced);
        }
        if let Some(node) = self.one_of(&key)? {
            return Ok(node);
        }
        self.at = after_key;
        if key.text.is_empty() {
            return Err(self.error(key.start, "an empty text is everywhere: leave it out", None));
        }
        Ok(Node::Text(Needle::new(&key.text)))
    }

    fn function(&mut self, name: &Token) -> Result<Node, QueryError> {
        if name.text != "has" {
            let message = format!("there is no function `{}`", name.text);
            return Err(self.error(name.start, message, Some(format!("has({})", name.text))));
        }
        let open = self.at;
        self.at += 1;
        self.skip_space();
        let key = self.word(true)?;
        self.skip_space();
        if !self.rest().starts_with(')') {
            return Err(self.error(open, "this `(` is not closed", Some(format!("has({})", key.text))));
        }
        self.at += 1;
        if key.text.is_empty() {
            return Err(self.error(open, "`has` needs a key", Some("has(http.route)".to_owned())));
        }
        Ok(Node::Has(Key::named(&key.text)))
    }

    /// `key in (a, b)`.
    fn one_of(&mut self, key: &Token) -> Result<Option<Node>, QueryError> {
        let start = self.at;
        self.skip_space();
        let after = self.rest().strip_prefix("in").map(str::trim_start);
        if !after.is_some_and(|after| after.starts_with('(')) || self.at == start {
            return Ok(None);
        }
        self.at = self.text.len() - after.map_or(0, str::len);
        let open = self.at;
        self.at += 1;
        let named = Key::named(&key.text);
        let mut values = Vec::new();
        loop {
            self.skip_space();
            let value = self.word(false)?;
            if value.text.is_empty() && !value.quoted {
                return Err(self.error(value.start, "a value is missing here", None));
            }
            values.push(self.operand(&named, Op::Eq, &value)?);
            self.skip_space();
            match self.rest().chars().next() {
                Some(',') => self.at += 1,
                Some(')') => break,
                _ => return Err(self.error(open, "this `(` is not closed", None)),
            }
        }
        self.at += 1;
        Ok(Some(Node::In(named, values)))
    }

    fn comparison(&mut self, key: &Token, op: Op, op_at: usize) -> Result<Node, QueryError> {
        self.skip_space();
        let value = self.word(false)?;
        if value.text.is_empty() && !value.quoted {
            let hint = if op == Op::Eq {
                format!("has({})", key.text)
            } else {
                format!("{}=value", key.text)
            };
            return Err(self.error(op_at, "a value must follow here", Some(hint)));
        }
        // `http://host` is a text that somebody looks for, not the key `http`.
        if op == Op::Contains && !value.quoted && value.text.starts_with("//") {
            return Ok(Node::Text(Needle::new(&format!("{}:{}", key.text, value.text))));
        }
        let named = Key::named(&key.text);
        let operand = self.operand(&named, op, &value)?;
        Ok(Node::Compare(named, op, operand))
    }

    fn operator(&mut self) -> Option<Op> {
        const OPS: [(&str, Op); 9] = [
            ("!=", Op::Ne),
            ("!~", Op::MatchesNot),
            ("<=", Op::Le),
            (">=", Op::Ge),
            ("=", Op::Eq),
            ("<", Op::Lt),
            (">", Op::Gt),
            ("~", Op::Matches),
            (":", Op::Contains),
        ];
        let rest = self.rest();
        let trimmed = rest.trim_start();
        let (sign, op) = OPS.into_iter().find(|(sign, _)| trimmed.starts_with(sign))?;
        // A colon belongs to its key only where it touches it.
        if op == Op::Contains && trimmed.len() != rest.len() {
            return None;
        }
        self.at = self.text.len() - trimmed.len() + sign.len();
        Some(op)
    }

    /// A word up to what ends it, or a quoted text.
    fn word(&mut self, is_key: bool) -> Result<Token, QueryError> {
        let start = self.at;
        if self.rest().starts_with('"') {
            return self.quoted(start);
        }
        let ends = |letter: char| {
            letter.is_whitespace()
                || matches!(letter, '(' | ')' | ',' | '"')
                || is_key && matches!(letter, '=' | '!' | '<' | '>' | '~' | ':')
        };
        let len = self.rest().find(ends).unwrap_or(self.rest().len());
        let text = self.rest()[..len].to_owned();
        self.at += len;
        // A comma means something inside `in (...)` only.
        if is_key && len == 0 && self.rest().starts_with([',', '!']) {
            return Err(self.error(
                start,
                "this does not begin a term; put it in quotes to search for it",
                None,
            ));
        }
        Ok(Token {
            text,
            start,
            quoted: false,
        })
    }

    fn quoted(&mut self, start: usize) -> Result<Token, QueryError> {
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.at += at + 1;
                    return Ok(Token {
                        text,
                        start,
                        quoted: true,
                    });
                }
                '\\' => match letters.next() {
                    // Only the quote and the backslash itself are escaped: regular expressions keep their backslashes.
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                _ => text.push(letter),
            }
        }
        let suggestion = format!("{}\"", &self.text[start..]);
        Err(self.error(start, "this quote is not closed", Some(suggestion)))
    }

    fn operand(&self, key: &Key, op: Op, value: &Token) -> Result<Operand, QueryError> {
        let mut operand = Operand {
            quantity: if value.quoted {
                None
            } else {
                units::quantity(&value.text)
            },
            text: value.text.clone(),
            regex: None,
            needle: None,
            number: 0,
        };
        match op {
            Op::Matches | Op::MatchesNot => {
                let regex = RegexBuilder::new(&value.text).size_limit(1 << 20).build();
                let regex = regex.map_err(|error| {
                    let text = error.to_string();
                    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    self.error(value.start, format!("not a regular expression: {reason}"), None)
                })?;
                operand.regex = Some(regex);
            }
            Op::Contains => operand.needle = Some(Needle::new(&value.text)),
            _ => operand.number = self.number_of(key, value, operand.quantity)?,
        }
        Ok(operand)
    }

    /// The number of an enumeration's name, of a duration or of a time.
    fn number_of(&self, key: &Key, value: &Token, quantity: Option<Quantity>) -> Result<u64, QueryError> {
        let of_names = |names: &[&str]| {
            let wanted = value.text.to_lowercase();
            let found = names.iter().position(|name| *name == wanted);
            found.map(|at| at as u64).ok_or_else(|| {
                let message = format!("`{}` is none of {}", value.text, names.join(", "));
                self.error(value.start, message, closest(&wanted, names))
            })
        };
        match key {
            Key::Kind => of_names(&KINDS),
            Key::Status => of_names(&STATUSES),
            Key::Severity => match value.text.parse::<u64>() {
                Ok(number) if number <= 24 => Ok(number),
                // The first number of the level.
                _ => of_names(&LEVELS).map(|level| level * 4 + 1),
            },
            Key::Signal => match value.text.as_str() {
                "spans" | "trace" | "span" => Ok(0),
                "metric" => Ok(1),
                "log" => Ok(2),
                _ => of_names(&SIGNALS),
            },
            Key::Duration | Key::SelfTime => match quantity {
                Some(Quantity::Duration(nanos)) => Ok(nanos as u64),
                Some(Quantity::Plain(number)) => {
                    let message = "a duration needs a unit: ns, us, ms, s, m, h";
                    Err(self.error(value.start, message, Some(format!("{number}ms"))))
                }
                _ => Err(self.error(value.start, "not a duration", Some("100ms".to_owned()))),
            },
            Key::Time => units::time(&value.text, self.now).ok_or_else(|| {
                let message = "not a time: -15m, RFC 3339, or unix seconds";
                self.error(value.start, message, Some("-15m".to_owned()))
            }),
            _ => Ok(0),
        }
    }
}

/// The name that may be meant.
fn closest(wanted: &str, names: &[&str]) -> Option<String> {
    if let Some(name) = names
        .iter()
        .find(|name| wanted.starts_with(**name) || wanted.len() > 1 && name.starts_with(wanted))
    {
        return Some((*name).to_owned());
    }
    let distances = names.iter().map(|name| (distance(wanted, name), *name));
    let (distance, name) = distances.min()?;
    (distance <= 1 + name.len() / 3).then(|| name.to_owned())
}

/// Letters to change, add or take away to get from one to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for column in 0..other.len() {
            let changed = before + usize::from(letter != other[column]);
            before = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

/// Whether a name is a built-in key.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
}
