//! The syntax tree: what was written, with byte offsets, before anybody asks whether it makes sense.

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: NodeKind,
    /// Byte offset of its first character.
    pub start: usize,
}

/// Chains (`a or b or c`, `1 + 2 - 3`) are flat, so that a long text does not make a deep tree.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare {
        op: CompareOp,
        left: Box<Node>,
        right: Box<Node>,
    },
    /// Operators of one precedence, applied from left to right.
    Arithmetic {
        first: Box<Node>,
        rest: Vec<(ArithmeticOp, Node)>,
    },
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An upper-case word without parentheses: an enum symbol, or a converter handed over as a function.
    Name(String),
    Path(Vec<PathSegment>),
    Call(Call),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// `name["key"][0]` of `a.name["key"][0].b`.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSegment {
    pub name: String,
    pub start: usize,
    pub keys: Vec<Node>,
}

/// `Name(value, argument = value)["key"]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub name: String,
    pub start: usize,
    pub arguments: Vec<Argument>,
    pub keys: Vec<Node>,
}

/// One argument; named ones stand behind the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    pub name: Option<String>,
    pub value: Node,
}

/// `editor(arguments) where condition`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub editor: Call,
    pub condition: Option<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl NodeKind {
    /// How the error messages call it.
    pub fn describe(&self) -> &'static str {
        match self {
            NodeKind::Or(_) | NodeKind::And(_) | NodeKind::Not(_) => "a boolean expression",
            NodeKind::Compare { .. } => "a comparison",
            NodeKind::Arithmetic { .. } => "arithmetic",
            NodeKind::Nil => "nil",
            NodeKind::Bool(_) => "a bool",
            NodeKind::Int(_) => "an int",
            NodeKind::Double(_) => "a float",
            NodeKind::Text(_) => "a string",
            NodeKind::Bytes(_) => "bytes",
            NodeKind::Name(_) => "an enum symbol",
            NodeKind::Path(_) => "a path",
            NodeKind::Call(_) => "a function call",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}
