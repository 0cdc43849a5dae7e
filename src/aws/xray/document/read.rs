//! Text to arena, in one loop.

use std::num::NonZeroU32;

use super::{Arena, Kind, Node, NodeId, Piece};

/// Why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}")]
pub struct NotJson {
    pub at: usize,
}

/// Longer texts than positions can be kept of are refused.
const LONGEST: usize = 1 << 30;

struct Reader<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    arena: &'a mut Arena,
}

/// Reads one value; gives it and where it ends.
pub(super) fn read(source: &str, arena: &mut Arena) -> Result<(NodeId, usize), NotJson> {
    arena.nodes.clear();
    arena.unescaped.clear();
    arena.open.clear();
    if source.len() > LONGEST {
        return Err(NotJson { at: LONGEST });
    }
    let mut reader = Reader {
        source,
        bytes: source.as_bytes(),
        at: 0,
        arena,
    };
    let root = reader.document()?;
    Ok((root, reader.at))
}

impl Reader<'_> {
    fn fail<T>(&self) -> Result<T, NotJson> {
        Err(NotJson { at: self.at })
    }

    fn peek(&self) -> u8 {
        // Zero stands for the end: it is nothing that JSON has outside of strings.
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn document(&mut self) -> Result<NodeId, NotJson> {
        self.skip_space();
        let root = self.value(Piece::default())?;
        loop {
            self.skip_space();
            let Some((container, last)) = self.arena.open.last().copied() else {
                return Ok(root);
            };
            let is_map = self.arena.nodes[index(container)].kind == Kind::Map;
            let closing = if is_map { b'}' } else { b']' };
            if self.peek() == closing {
                self.at += 1;
                self.arena.nodes[index(container)].raw.1 = position(self.at);
                self.arena.open.pop();
                continue;
            }
            if last.is_some() {
                if self.peek() != b',' {
                    return self.fail();
                }
                self.at += 1;
                self.skip_space();
            }
            let key = if is_map { self.key()? } else { Piece::default() };
            let depth = self.arena.open.len();
            let child = self.value(key)?;
            match last {
                None => self.arena.nodes[index(container)].first = Some(child),
                Some(last) => self.arena.nodes[index(last)].next = Some(child),
            }
            // The child itself may be open now, above the container.
            self.arena.open[depth - 1].1 = Some(child);
        }
    }

    fn key(&mut self) -> Result<Piece, NotJson> {
        if self.peek() != b'"' {
            return self.fail();
        }
        let key = self.text()?;
        self.skip_space();
        if self.peek() != b':' {
            return self.fail();
        }
        self.at += 1;
        self.skip_space();
        Ok(key)
    }

    /// A whole scalar, or the beginning of a map or list.
    fn value(&mut self, key: Piece) -> Result<NodeId, NotJson> {
        let start = self.at;
        let (kind, text) = match self.peek() {
            b'{' | b'[' => {
                let kind = if self.peek() == b'{' { Kind::Map } else { Kind::List };
                self.at += 1;
                let id = self.push(kind, key, Piece::default(), start)?;
                self.arena.open.push((id, None));
                return Ok(id);
            }
            b'"' => (Kind::Text, self.text()?),
            b'-' | b'0'..=b'9' => self.number_or_infinity()?,
            b't' => (Kind::True, self.word("true")?),
            b'f' => (Kind::False, self.word("false")?),
            b'n' => (Kind::Null, self.word("null")?),
            // Python's encoder writes these; there is nothing to be made of them.
            b'N' => (Kind::Null, self.word("NaN")?),
            b'I' => (Kind::Null, self.word("Infinity")?),
            _ => return self.fail(),
        };
        self.push(kind, key, text, start)
    }

    fn push(&mut self, kind: Kind, key: Piece, text: Piece, start: usize) -> Result<NodeId, NotJson> {
        self.arena.nodes.push(Node {
            kind,
            key,
            text,
            raw: (position(start), position(self.at)),
            first: None,
            next: None,
        });
        let count = u32::try_from(self.arena.nodes.len()).ok().and_then(NonZeroU32::new);
        count.map(NodeId).ok_or(NotJson { at: start })
    }

    fn word(&mut self, word: &str) -> Result<Piece, NotJson> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        let start = self.at;
        self.at += word.len();
        Ok(self.piece(start, self.at))
    }

    fn piece(&self, start: usize, end: usize) -> Piece {
        Piece {
            start: position(start),
            end: position(end),
            unescaped: false,
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at > start
    }

    /// As RFC 8259 has numbers.
    fn number_or_infinity(&mut self) -> Result<(Kind, Piece), NotJson> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
            if self.peek() == b'I' {
                self.word("Infinity")?;
                return Ok((Kind::Null, self.piece(start, self.at)));
            }
        }
        let leading_zero = self.peek() == b'0' && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        if leading_zero || !self.digits() {
            return self.fail();
        }
        if self.peek() == b'.' {
            self.at += 1;
            if !self.digits() {
                return self.fail();
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if !self.digits() {
                return self.fail();
            }
        }
        Ok((Kind::Number, self.piece(start, self.at)))
    }

    /// A string; most have no escapes and stay where they are.
    fn text(&mut self) -> Result<Piece, NotJson> {
        let start = self.at + 1;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
            self.at = self.bytes.len();
            return self.fail();
        };
        let at = start + length;
        if rest[length] == b'\\' {
            self.at = at;
            return self.escaped_text(start);
        }
        self.at = at + 1;
        Ok(self.piece(start, at))
    }

    /// The rest of a string from its first escape on; `start` is behind its quote.
    fn escaped_text(&mut self, start: usize) -> Result<Piece, NotJson> {
        let begin = self.arena.unescaped.len();
        let mut copied = start;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.arena.unescaped.push_str(&self.source[copied..self.at]);
                    self.at += 1;
                    return Ok(Piece {
                        start: position(begin),
                        end: position(self.arena.unescaped.len()),
                        unescaped: true,
                    });
                }
                Some(b'\\') => {
                    self.arena.unescaped.push_str(&self.source[copied..self.at]);
                    let character = self.escape()?;
                    self.arena.unescaped.push(character);
                    copied = self.at;
                }
                Some(_) => self.at += 1,
                None => return self.fail(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let letter = self.bytes.get(self.at + 1).copied().unwrap_or(0);
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return self.fail(),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, as a pair where it is one; half a pair becomes the replacement character.
    fn unicode_escape(&mut self) -> Result<char, NotJson> {
        let Some(unit) = self.hex4(self.at + 2) else {
            return self.fail();
        };
        self.at += 6;
        if (0xd800..0xdc00).contains(&unit)
            && self.bytes[self.at.min(self.bytes.len())..].starts_with(b"\\u")
            && let Some(low) = self.hex4(self.at + 2)
            && (0xdc00..0xe000).contains(&low)
        {
            self.at += 6;
            let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16)?;
        }
        Some(unit)
    }
}

/// Behind the string that begins at `at` (a quote), in JSON that was read before.
pub(super) fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn index(id: NodeId) -> usize {
    id.0.get() as usize - 1
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("the source is shorter than LONGEST, and unescaped text is no longer than its source")
}
