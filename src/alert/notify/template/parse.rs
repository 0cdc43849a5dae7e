//! Tokens to a tree.

use super::TemplateError;
use super::function::Function;
use super::lex::{Token, tokens};

/// A piece of a template, and where it stands.
#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    Emit(Pipe),
    Set(Set),
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    Range(Range),
    With(Set, Vec<Node>, Vec<Node>),
    Call(usize, String, Option<Pipe>),
}

/// `range $key, $value := pipe`.
#[derive(Clone, Debug)]
pub struct Range {
    pub key: Option<String>,
    pub value: Option<String>,
    pub over: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$name := pipe`, or a pipe alone.
#[derive(Clone, Debug)]
pub struct Set {
    pub name: Option<String>,
    pub declares: bool,
    pub pipe: Pipe,
}

/// Commands, each given the result of the one before it.
#[derive(Clone, Debug)]
pub struct Pipe(pub Vec<Command>);

/// A function or a value, with arguments.
#[derive(Clone, Debug)]
pub struct Command {
    pub offset: usize,
    pub head: Operand,
    pub arguments: Vec<Operand>,
}

#[derive(Clone, Debug)]
pub enum Operand {
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Quoted(String),
    Number(f64),
    Bool(bool),
    Nil,
    Function(Function),
    Inner(Box<Pipe>, Vec<String>),
}

/// A parsed text.
pub struct Parsed {
    pub body: Vec<Node>,
    pub defined: Vec<(String, Vec<Node>)>,
}

/// Nesting of blocks and parentheses.
const DEEPEST: usize = 64;

/// Parses a text.
pub fn parse(text: &str) -> Result<Parsed, TemplateError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        length: text.len(),
        depth: 0,
        defined: Vec::new(),
    };
    let (body, end) = parser.nodes()?;
    if let Some(word) = end {
        return Err(parser.error_before(format!("`{word}` without a beginning")));
    }
    Ok(Parsed {
        body,
        defined: parser.defined,
    })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    length: usize,
    depth: usize,
    defined: Vec<(String, Vec<Node>)>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.length, |(offset, _)| *offset)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::new(self.offset(), message)
    }

    fn error_before(&self, message: String) -> TemplateError {
        let before = self.tokens.get(self.at.saturating_sub(2));
        TemplateError::new(before.map_or(0, |(offset, _)| *offset), message)
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("nested more than 64 deep"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), TemplateError> {
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.error("`}}` is expected here")),
        }
    }

    /// Nodes up to `end` or `else`, which is taken and named. The action of an `else` is left open.
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<&'static str>), TemplateError> {
        self.deeper()?;
        let mut nodes = Vec::new();
        loop {
            let end = match self.next() {
                None => None,
                Some(Token::Text(text)) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Some(_) => match self.peek() {
                    Some(Token::Word(word)) if word == "end" => {
                        self.at += 1;
                        self.close()?;
                        Some("end")
                    }
                    Some(Token::Word(word)) if word == "else" => {
                        self.at += 1;
                        Some("else")
                    }
                    _ => {
                        nodes.extend(self.action()?);
                        continue;
                    }
                },
            };
            self.depth -= 1;
            return Ok((nodes, end));
        }
    }

    fn body(&mut self) -> Result<(Vec<Node>, bool), TemplateError> {
        self.close()?;
        match self.nodes()? {
            (nodes, Some(end)) => Ok((nodes, end == "else")),
            (_, None) => Err(self.error("`{{ end }}` is missing")),
        }
    }

    fn body_and_else(&mut self) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
        let (body, has_else) = self.body()?;
        if !has_else {
            return Ok((body, Vec::new()));
        }
        match self.body()? {
            (otherwise, false) => Ok((body, otherwise)),
            _ => Err(self.error("a second `else`")),
        }
    }

    fn action(&mut self) -> Result<Option<Node>, TemplateError> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let known = ["if", "range", "with", "define", "template", "block"];
        if known.contains(&word.as_str()) {
            self.at += 1;
        }
        let node = match word.as_str() {
            "if" => self.branches()?,
            "range" => self.range()?,
            "with" => {
                let set = self.set()?;
                let (body, otherwise) = self.body_and_else()?;
                Node::With(set, body, otherwise)
            }
            "define" | "block" => {
                let offset = self.offset();
                let name = self.name()?;
                let pipe = if word == "block" { Some(self.pipe()?) } else { None };
                let (body, has_else) = self.body()?;
                if has_else {
                    return Err(self.error("`else` in a definition"));
                }
                self.defined.push((name.clone(), body));
                return Ok(pipe.map(|pipe| Node::Call(offset, name, Some(pipe))));
            }
            "template" => {
                let offset = self.offset();
                let name = self.name()?;
                let is_alone = self.peek() == Some(&Token::Close);
                let pipe = if is_alone { None } else { Some(self.pipe()?) };
                self.close()?;
                Node::Call(offset, name, pipe)
            }
            _ => {
                let set = self.set()?;
                self.close()?;
                if set.name.is_some() {
                    Node::Set(set)
                } else {
                    Node::Emit(set.pipe)
                }
            }
        };
        Ok(Some(node))
    }

    /// `if`, any number of `else if`, `else`.
    fn branches(&mut self) -> Result<Node, TemplateError> {
        let mut branches = Vec::new();
        loop {
            let condition = self.pipe()?;
            let (body, has_else) = self.body()?;
            branches.push((condition, body));
            if !has_else {
                return Ok(Node::If(branches, Vec::new()));
            }
            if matches!(self.peek(), Some(Token::Word(word)) if word == "if") {
                self.at += 1;
                continue;
            }
            let (otherwise, again) = self.body()?;
            if again {
                return Err(self.error("a second `else`"));
            }
            return Ok(Node::If(branches, otherwise));
        }
    }

    fn range(&mut self) -> Result<Node, TemplateError> {
        let (mut key, mut value) = (None, None);
        let is_pair = matches!(
            self.tokens.get(self.at..self.at + 2),
            Some([(_, Token::Variable(_)), (_, Token::Comma | Token::Declare)])
        );
        if is_pair {
            if let Some(Token::Variable(name)) = self.next() {
                value = Some(name);
            }
            if self.peek() == Some(&Token::Comma) {
                self.at += 1;
                key = value.take();
                match self.next() {
                    Some(Token::Variable(name)) => value = Some(name),
                    _ => return Err(self.error("a second variable is expected here")),
                }
            }
            if self.next() != Some(Token::Declare) {
                return Err(self.error("`:=` is expected here"));
            }
        }
        let over = self.pipe()?;
        let (body, otherwise) = self.body_and_else()?;
        Ok(Node::Range(Range {
            key,
            value,
            over,
            body,
            otherwise,
        }))
    }

    fn name(&mut self) -> Result<String, TemplateError> {
        match self.next() {
            Some(Token::Quoted(name)) => Ok(name),
            _ => Err(self.error("a name in quotes is expected here")),
        }
    }

    fn set(&mut self) -> Result<Set, TemplateError> {
        let declared = match self.tokens.get(self.at..self.at + 2) {
            Some([(_, Token::Variable(name)), (_, sign @ (Token::Declare | Token::Assign))]) => {
                Some((name.clone(), *sign == Token::Declare))
            }
            _ => None,
        };
        if declared.is_some() {
            self.at += 2;
        }
        Ok(Set {
            declares: declared.as_ref().is_some_and(|(_, declares)| *declares),
            name: declared.map(|(name, _)| name),
            pipe: self.pipe()?,
        })
    }

    fn pipe(&mut self) -> Result<Pipe, TemplateError> {
        self.deeper()?;
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipe(commands))
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        let offset = self.offset();
        let head = self.operand()?;
        let mut arguments = Vec::new();
        while !matches!(self.peek(), None | Some(Token::Close | Token::Pipe | Token::Right)) {
            arguments.push(self.operand()?);
        }
        if !arguments.is_empty() && !matches!(head, Operand::Function(_)) {
            return Err(TemplateError::new(offset, "only a function takes arguments"));
        }
        Ok(Command {
            offset,
            head,
            arguments,
        })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let offset = self.offset();
        let bad = |message: String| Err(TemplateError::new(offset, message));
        match self.next() {
            Some(Token::Dot) => Ok(Operand::Dot(Vec::new())),
            Some(Token::Field(name, _)) => {
                let mut names = vec![name];
                names.extend(self.fields());
                Ok(Operand::Dot(names))
            }
            Some(Token::Variable(name)) => Ok(Operand::Variable(name, self.fields())),
            Some(Token::Quoted(text)) => Ok(Operand::Quoted(text)),
            Some(Token::Number(number)) => Ok(Operand::Number(number)),
            Some(Token::Left) => {
                let pipe = self.pipe()?;
                if self.next() != Some(Token::Right) {
                    return bad("`(` without `)`".to_owned());
                }
                Ok(Operand::Inner(Box::new(pipe), self.fields()))
            }
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Ok(Operand::Bool(true)),
                "false" => Ok(Operand::Bool(false)),
                "nil" => Ok(Operand::Nil),
                _ => match Function::named(&word) {
                    Some(function) => Ok(Operand::Function(function)),
                    None => {
                        let hint = crate::config::suggest_among(&word, &Function::names());
                        bad(format!("there is no function {word:?}{hint}"))
                    }
                },
            },
            _ => bad("a value is expected here".to_owned()),
        }
    }

    /// `.a.b` directly behind something.
    fn fields(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(Token::Field(name, true)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
        }
        names
    }
}
