//! Tokens to syntax tree. Recursive descent, one function a level of precedence:
//! `or` < `and` < `not` < comparison < `+ -` < `* /` < values.
//!
//! Bounded: a text has at most [`MAX_TEXT`] bytes and nests at most [`MAX_DEPTH`] deep.

use super::SyntaxError;
use super::ast::{Argument, ArithmeticOp, Call, CompareOp, Node, NodeKind, PathSegment, Statement};
use super::error::did_you_mean;
use super::lexer::{Token, TokenKind, tokens};

/// Longest text in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Deepest nesting of brackets, calls and `not`.
pub const MAX_DEPTH: usize = 64;

/// A condition: `a == 1 and not IsMatch(b, "x")`.
pub fn parse_condition(text: &str) -> Result<Node, SyntaxError> {
    let mut parser = Parser::new(text)?;
    if matches!(parser.peek(), TokenKind::End) {
        return Err(SyntaxError::new(0, "the condition is empty"));
    }
    let node = parser.expression()?;
    parser.end()?;
    Ok(node)
}

/// A statement: `set(a, 1) where b == 2`.
pub fn parse_statement(text: &str) -> Result<Statement, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let start = parser.start();
    let TokenKind::Lower(name) = parser.next().kind else {
        return Err(SyntaxError::new(
            start,
            "a statement begins with an editor, e.g. `set(...)`",
        ));
    };
    if !parser.is_symbol("(") {
        return Err(parser.unexpected("`(` behind the editor"));
    }
    let editor = parser.call(name, start)?;
    let condition = if parser.take_word("where") {
        Some(parser.expression()?)
    } else {
        None
    };
    parser.end()?;
    Ok(Statement { editor, condition })
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self, SyntaxError> {
        if text.len() > MAX_TEXT {
            return Err(SyntaxError::new(0, format!("longer than {MAX_TEXT} bytes")));
        }
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        })
    }

    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn start(&self) -> usize {
        self.tokens[self.at].start
    }

    /// The last token (the end) is never passed.
    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(have) if *have == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), TokenKind::Lower(have) if have == word);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), SyntaxError> {
        if self.take_symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{symbol}`")))
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        SyntaxError::new(
            self.start(),
            format!("expected {expected}, found {}", self.peek().describe()),
        )
    }

    fn end(&self) -> Result<(), SyntaxError> {
        match self.peek() {
            TokenKind::End => Ok(()),
            TokenKind::Symbol("=") => Err(SyntaxError::new(
                self.start(),
                "unexpected `=`; equality is written `==`",
            )),
            TokenKind::Lower(word) if word == "where" => Err(SyntaxError::new(
                self.start(),
                "`where` belongs to statements; here stands only the condition",
            )),
            found => {
                let hint = match found {
                    TokenKind::Lower(word) | TokenKind::Upper(word) => did_you_mean(word, ["and", "or"]),
                    _ => String::new(),
                };
                Err(SyntaxError::new(
                    self.start(),
                    format!("unexpected {} behind the condition{hint}", found.describe()),
                ))
            }
        }
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::new(
                self.start(),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Result<Node, SyntaxError> {
        self.nested(Self::or)
    }

    fn or(&mut self) -> Result<Node, SyntaxError> {
        let start = self.start();
        let mut terms = vec![self.and()?];
        while self.take_word("or") {
            terms.push(self.and()?);
        }
        Ok(one_or(terms, start, NodeKind::Or))
    }

    fn and(&mut self) -> Result<Node, SyntaxError> {
        let start = self.start();
        let mut terms = vec![self.not()?];
        while self.take_word("and") {
            terms.push(self.not()?);
        }
        Ok(one_or(terms, start, NodeKind::And))
    }

    fn not(&mut self) -> Result<Node, SyntaxError> {
        let start = self.start();
        if !self.take_word("not") {
            return self.comparison();
        }
        let negated = self.nested(Self::not)?;
        Ok(Node {
            kind: NodeKind::Not(Box::new(negated)),
            start,
        })
    }

    fn comparison(&mut self) -> Result<Node, SyntaxError> {
        let start = self.start();
        let left = self.sum()?;
        let Some(op) = self.compare_op() else { return Ok(left) };
        let right = self.sum()?;
        if self.compare_op().is_some() {
            return Err(SyntaxError::new(
                start,
                "comparisons cannot be chained; join them with `and`",
            ));
        }
        Ok(Node {
            kind: NodeKind::Compare {
                op,
                left: Box::new(left),
                right: Box::new(right),
            },
            start,
        })
    }

    fn compare_op(&mut self) -> Option<CompareOp> {
        let op = match self.peek() {
            TokenKind::Symbol("==") => CompareOp::Equal,
            TokenKind::Symbol("!=") => CompareOp::NotEqual,
            TokenKind::Symbol("<") => CompareOp::Less,
            TokenKind::Symbol("<=") => CompareOp::LessOrEqual,
            TokenKind::Symbol(">") => CompareOp::Greater,
            TokenKind::Symbol(">=") => CompareOp::GreaterOrEqual,
            _ => return None,
        };
        self.next();
        Some(op)
    }

    fn sum(&mut self) -> Result<Node, SyntaxError> {
        self.chain(
            Self::product,
            &[("+", ArithmeticOp::Add), ("-", ArithmeticOp::Subtract)],
        )
    }

    fn product(&mut self) -> Result<Node, SyntaxError> {
        self.chain(
            Self::value,
            &[("*", ArithmeticOp::Multiply), ("/", ArithmeticOp::Divide)],
        )
    }

    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Result<Node, SyntaxError>,
        operators: &[(&str, ArithmeticOp)],
    ) -> Result<Node, SyntaxError> {
        let start = self.start();
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some((_, op)) = operators.iter().find(|(symbol, _)| self.is_symbol(symbol)) {
            self.next();
            rest.push((*op, operand(self)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Node {
            kind: NodeKind::Arithmetic {
                first: Box::new(first),
                rest,
            },
            start,
        })
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        let start = self.start();
        let token = self.next();
        let kind = match token.kind {
            TokenKind::Text(text) => NodeKind::Text(text),
            TokenKind::Bytes(bytes) => NodeKind::Bytes(bytes),
            TokenKind::Double(value) => NodeKind::Double(value),
            TokenKind::Int(value) => int(value, false, start)?,
            TokenKind::Symbol(sign @ ("-" | "+")) => self.signed(sign == "-", start)?,
            TokenKind::Symbol("[") => NodeKind::List(self.list("]")?),
            TokenKind::Symbol("{") => NodeKind::Map(self.map()?),
            TokenKind::Symbol("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                inner.kind
            }
            TokenKind::Upper(name) if self.is_symbol("(") => NodeKind::Call(self.call(name, start)?),
            TokenKind::Upper(name) => NodeKind::Name(name),
            TokenKind::Lower(word) => return self.lower(word, start),
            _ => {
                return Err(SyntaxError::new(
                    start,
                    format!("expected a value, found {}", token.kind.describe()),
                ));
            }
        };
        Ok(Node { kind, start })
    }

    fn lower(&mut self, word: String, start: usize) -> Result<Node, SyntaxError> {
        let kind = match word.as_str() {
            "true" => NodeKind::Bool(true),
            "false" => NodeKind::Bool(false),
            "nil" => NodeKind::Nil,
            "and" | "or" | "not" | "where" => {
                return Err(SyntaxError::new(start, format!("expected a value, found `{word}`")));
            }
            _ if self.is_symbol("(") => NodeKind::Call(self.call(word, start)?),
            _ => NodeKind::Path(self.path(word, start)?),
        };
        Ok(Node { kind, start })
    }

    fn signed(&mut self, negative: bool, start: usize) -> Result<NodeKind, SyntaxError> {
        match self.next().kind {
            TokenKind::Int(value) => int(value, negative, start),
            TokenKind::Double(value) => Ok(NodeKind::Double(if negative { -value } else { value })),
            _ => Err(SyntaxError::new(start, "a sign stands only before a number")),
        }
    }

    fn path(&mut self, first: String, start: usize) -> Result<Vec<PathSegment>, SyntaxError> {
        let keys = self.keys()?;
        let mut segments = vec![PathSegment {
            name: first,
            start,
            keys,
        }];
        while self.take_symbol(".") {
            let start = self.start();
            let TokenKind::Lower(name) = self.next().kind else {
                return Err(SyntaxError::new(start, "expected a lower-case field name behind `.`"));
            };
            let keys = self.keys()?;
            segments.push(PathSegment { name, start, keys });
        }
        Ok(segments)
    }

    fn keys(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let mut keys = Vec::new();
        while self.take_symbol("[") {
            keys.push(self.nested(Self::sum)?);
            self.expect("]")?;
        }
        Ok(keys)
    }

    fn call(&mut self, name: String, start: usize) -> Result<Call, SyntaxError> {
        self.expect("(")?;
        let mut arguments: Vec<Argument> = Vec::new();
        while !self.take_symbol(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            let argument = self.argument()?;
            let positional_behind_named = argument.name.is_none() && arguments.iter().any(|a| a.name.is_some());
            if positional_behind_named {
                return Err(SyntaxError::new(
                    argument.value.start,
                    "arguments without a name stand before those with one",
                ));
            }
            arguments.push(argument);
        }
        Ok(Call {
            name,
            start,
            arguments,
            keys: self.keys()?,
        })
    }

    fn argument(&mut self) -> Result<Argument, SyntaxError> {
        let named = match (&self.tokens[self.at].kind, self.tokens.get(self.at + 1)) {
            (TokenKind::Lower(name), Some(next)) if next.kind == TokenKind::Symbol("=") => Some(name.clone()),
            _ => None,
        };
        if named.is_some() {
            self.next();
            self.next();
        }
        Ok(Argument {
            name: named,
            value: self.expression()?,
        })
    }

    fn list(&mut self, close: &str) -> Result<Vec<Node>, SyntaxError> {
        let mut elements = Vec::new();
        while !self.take_symbol(close) {
            if !elements.is_empty() {
                self.expect(",")?;
            }
            elements.push(self.nested(Self::sum)?);
        }
        Ok(elements)
    }

    fn map(&mut self) -> Result<Vec<(String, Node)>, SyntaxError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while !self.take_symbol("}") {
            if !entries.is_empty() {
                self.expect(",")?;
            }
            let start = self.start();
            let TokenKind::Text(key) = self.next().kind else {
                return Err(SyntaxError::new(start, "the keys of a map are strings"));
            };
            self.expect(":")?;
            entries.push((key, self.nested(Self::sum)?));
        }
        Ok(entries)
    }
}

fn one_or(mut terms: Vec<Node>, start: usize, many: fn(Vec<Node>) -> NodeKind) -> Node {
    if terms.len() == 1 {
        return terms.remove(0);
    }
    Node {
        kind: many(terms),
        start,
    }
}

fn int(value: u64, negative: bool, start: usize) -> Result<NodeKind, SyntaxError> {
    let value = if negative {
        -i128::from(value)
    } else {
        i128::from(value)
    };
    i64::try_from(value)
        .map(NodeKind::Int)
        .map_err(|_| SyntaxError::new(start, format!("{value} does not fit into a 64-bit int")))
}
