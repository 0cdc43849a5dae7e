//! A subset of X-Ray's filter expressions over a trace summary: flags, `responsetime`, `duration`, `http.*`, `user`,
//! `annotation[k]`, `service("n")`, with AND, OR, ! and parentheses. The rest is refused as the service refuses nonsense.

use serde_json::Value as Json;

use super::super::answer::ApiError;
use super::answer::invalid;

/// Parentheses inside each other; more is nonsense.
const DEEPEST: usize = 32;

/// A parsed expression.
#[derive(Clone, Debug)]
pub enum Filter {
    All,
    Flag(&'static str),
    Compare(String, Operator, Value),
    Service(String),
    Not(Box<Filter>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Text(String),
    Bool(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
    BeginsWith,
    EndsWith,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 13] = ["!=", "<=", ">=", "=", "<", ">", "!", "(", ")", "[", "]", "{", "}"];

fn tokens(text: &str) -> Result<Vec<Token>, ApiError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut content = String::new();
            let mut escaped = false;
            let mut end = None;
            for (at, letter) in rest.char_indices().skip(1) {
                match letter {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = Some(at + 1);
                        break;
                    }
                    other => {
                        content.push(other);
                        escaped = false;
                    }
                }
            }
            let end = end.ok_or_else(|| invalid("Invalid filter expression: a text is not closed"))?;
            tokens.push(Token::Text(content));
            rest = &rest[end..];
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let is_word = |letter: char| letter.is_alphanumeric() || "._-+".contains(letter);
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            if end == 0 {
                return Err(invalid(format!("Invalid filter expression at {rest:?}")));
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// Reads an expression; an empty one takes everything.
pub fn parse(text: &str) -> Result<Filter, ApiError> {
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let filter = parser.any_of(0)?;
    if parser.at < tokens.len() {
        return Err(invalid(format!("Invalid filter expression: {text}")));
    }
    Ok(filter)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(have)) if have.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn any_of(&mut self, depth: usize) -> Result<Filter, ApiError> {
        if depth > DEEPEST {
            return Err(invalid("Invalid filter expression: nested too deep"));
        }
        let mut parts = vec![self.all_of(depth)?];
        while self.word("OR") {
            parts.push(self.all_of(depth)?);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Filter::Or(parts)
        })
    }

    fn all_of(&mut self, depth: usize) -> Result<Filter, ApiError> {
        let mut parts = vec![self.one(depth)?];
        while self.word("AND") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Filter::And(parts)
        })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, ApiError> {
        if depth > DEEPEST {
            return Err(invalid("Invalid filter expression: nested too deep"));
        }
        if self.takes(&Token::Symbol("!")) {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes(&Token::Symbol("(")) {
            let inner = self.any_of(depth + 1)?;
            self.closed(")")?;
            return Ok(inner);
        }
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return Err(invalid("Invalid filter expression: a keyword is missing"));
        };
        self.at += 1;
        let lower = word.to_ascii_lowercase();
        if lower == "service" {
            if !self.takes(&Token::Symbol("(")) {
                return Err(invalid("Invalid filter expression: service(\"name\")"));
            }
            let name = self.text()?;
            self.closed(")")?;
            return Ok(Filter::Service(name));
        }
        let mut key = lower.clone();
        if lower == "annotation" && self.takes(&Token::Symbol("[")) {
            let name = self.text_or_word()?;
            self.closed("]")?;
            key = format!("annotation.{name}");
        } else if lower.starts_with("annotation.") {
            key = format!("annotation.{}", &word["annotation.".len()..]);
        }
        if let Some(operator) = self.operator() {
            return Ok(Filter::Compare(key, operator, self.value()?));
        }
        for flag in ["ok", "fault", "error", "throttle", "partial"] {
            if key == flag {
                return Ok(Filter::Flag(flag));
            }
        }
        Err(invalid(format!("Invalid filter expression: unknown keyword {word}")))
    }

    fn closed(&mut self, symbol: &'static str) -> Result<(), ApiError> {
        if self.takes(&Token::Symbol(symbol)) {
            return Ok(());
        }
        Err(invalid(format!("Invalid filter expression: {symbol} is missing")))
    }

    fn operator(&mut self) -> Option<Operator> {
        let operator = match self.peek()? {
            Token::Symbol("=") => Operator::Equal,
            Token::Symbol("!=") => Operator::NotEqual,
            Token::Symbol("<") => Operator::Less,
            Token::Symbol("<=") => Operator::LessOrEqual,
            Token::Symbol(">") => Operator::Greater,
            Token::Symbol(">=") => Operator::GreaterOrEqual,
            Token::Word(word) => match word.to_ascii_uppercase().as_str() {
                "CONTAINS" => Operator::Contains,
                "BEGINSWITH" => Operator::BeginsWith,
                "ENDSWITH" => Operator::EndsWith,
                _ => return None,
            },
            _ => return None,
        };
        self.at += 1;
        Some(operator)
    }

    fn text(&mut self) -> Result<String, ApiError> {
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(invalid("Invalid filter expression: a quoted text is missing")),
        }
    }

    fn text_or_word(&mut self) -> Result<String, ApiError> {
        match self.peek().cloned() {
            Some(Token::Text(text) | Token::Word(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => Err(invalid("Invalid filter expression: a name is missing")),
        }
    }

    fn value(&mut self) -> Result<Value, ApiError> {
        let token = self.peek().cloned();
        self.at += 1;
        match token {
            Some(Token::Text(text)) => Ok(Value::Text(text)),
            Some(Token::Word(word)) => match (word.as_str(), word.parse::<f64>()) {
                ("true", _) => Ok(Value::Bool(true)),
                ("false", _) => Ok(Value::Bool(false)),
                (_, Ok(number)) => Ok(Value::Number(number)),
                _ => Err(invalid(format!("Invalid filter expression: {word} is not quoted"))),
            },
            _ => Err(invalid("Invalid filter expression: a value is missing")),
        }
    }
}

impl Filter {
    /// Whether a summary (as it is answered) matches.
    pub fn takes(&self, summary: &Json) -> bool {
        let has = |key: &str| summary[key].as_bool().unwrap_or_default();
        match self {
            Filter::All => true,
            Filter::Flag("ok") => !has("HasFault") && !has("HasError") && !has("HasThrottle"),
            Filter::Flag("fault") => has("HasFault"),
            Filter::Flag("error") => has("HasError"),
            Filter::Flag("throttle") => has("HasThrottle"),
            Filter::Flag(_) => has("IsPartial"),
            Filter::Service(name) => {
                let services = summary["ServiceIds"].as_array();
                services.into_iter().flatten().any(|service| service["Name"] == **name)
            }
            Filter::Not(inner) => !inner.takes(summary),
            Filter::And(parts) => parts.iter().all(|part| part.takes(summary)),
            Filter::Or(parts) => parts.iter().any(|part| part.takes(summary)),
            Filter::Compare(key, operator, value) => {
                facts(summary, key).iter().any(|fact| compare(fact, *operator, value))
            }
        }
    }
}

fn facts(summary: &Json, key: &str) -> Vec<Json> {
    if let Some(name) = key.strip_prefix("annotation.") {
        let values = summary["Annotations"][name].as_array();
        let inner = |value: &Json| {
            let kinds = value["AnnotationValue"].as_object()?;
            kinds.values().next().cloned()
        };
        return values.into_iter().flatten().filter_map(inner).collect();
    }
    let fact = match key {
        "responsetime" => &summary["ResponseTime"],
        "duration" => &summary["Duration"],
        "http.status" => &summary["Http"]["HttpStatus"],
        "http.url" => &summary["Http"]["HttpURL"],
        "http.method" => &summary["Http"]["HttpMethod"],
        "http.clientip" => &summary["Http"]["ClientIp"],
        "http.useragent" => &summary["Http"]["UserAgent"],
        _ => &Json::Null,
    };
    if fact.is_null() { Vec::new() } else { vec![fact.clone()] }
}

fn compare(fact: &Json, operator: Operator, value: &Value) -> bool {
    match (fact, value) {
        (Json::String(fact), Value::Text(value)) => match operator {
            Operator::Equal => fact == value,
            Operator::NotEqual => fact != value,
            Operator::Contains => fact.contains(value),
            Operator::BeginsWith => fact.starts_with(value),
            Operator::EndsWith => fact.ends_with(value),
            _ => false,
        },
        (Json::Bool(fact), Value::Bool(value)) => match operator {
            Operator::Equal => fact == value,
            Operator::NotEqual => fact != value,
            _ => false,
        },
        (Json::Number(fact), Value::Number(value)) => {
            let fact = fact.as_f64().unwrap_or_default();
            match operator {
                Operator::Equal => fact == *value,
                Operator::NotEqual => fact != *value,
                Operator::Less => fact < *value,
                Operator::LessOrEqual => fact <= *value,
                Operator::Greater => fact > *value,
                Operator::GreaterOrEqual => fact >= *value,
                _ => false,
            }
        }
        _ => false,
    }
}
