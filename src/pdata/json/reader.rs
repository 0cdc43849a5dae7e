//! A pull parser for JSON (RFC 8259). Strings without escapes are borrowed; depth is counted.

use std::borrow::Cow;

use super::MAX_DEPTH;
use super::fault::Fault;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// A string, and whether it had to be repaired: bytes that are no UTF-8, half a surrogate pair.
pub(super) struct JsonString<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) repaired: bool,
}

/// A place to come back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    at: usize,
    depth: usize,
}

pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// Numbers beyond this many characters are no numbers.
const MAX_NUMBER: usize = 400;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        // Some tools write a byte order mark.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self { text, at: 0, depth: 0 }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            depth: self.depth,
        }
    }

    pub(super) fn return_to(&mut self, mark: Mark) {
        self.at = mark.at;
        self.depth = mark.depth;
    }

    #[cold]
    fn fault(&self, what: &str) -> Fault {
        Fault::new(format!("{what} at byte {}", self.at))
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Result<u8, Fault> {
        self.skip_space();
        self.text
            .get(self.at)
            .copied()
            .ok_or_else(|| self.fault("the JSON text ends too early"))
    }

    /// What kind of value comes next.
    pub(super) fn next(&mut self) -> Result<Next, Fault> {
        Ok(match self.peek()? {
            b'{' => Next::Object,
            b'[' => Next::Array,
            b'"' => Next::String,
            b'-' | b'0'..=b'9' => Next::Number,
            b't' | b'f' => Next::Bool,
            b'n' => Next::Null,
            _ => return Err(self.fault("no JSON value")),
        })
    }

    /// Takes a `null`, if there is one.
    pub(super) fn take_null(&mut self) -> Result<bool, Fault> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.literal(b"null")?;
        Ok(true)
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("no JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn bool(&mut self) -> Result<bool, Fault> {
        if self.peek()? == b't' {
            self.literal(b"true").map(|()| true)
        } else {
            self.literal(b"false").map(|()| false)
        }
    }

    /// Takes the opening bracket of an object or array.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        if self.peek()? != bracket {
            let wanted = if bracket == b'{' { "an object" } else { "a list" };
            return Err(self.fault(&format!("expected {wanted}")));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(&format!("JSON is nested more than {MAX_DEPTH} deep")));
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next member; `false` takes the closing bracket. `first` tells whether a comma must stand before it.
    fn member(&mut self, closing: u8, first: &mut bool) -> Result<bool, Fault> {
        let next = self.peek()?;
        if next == closing {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            if next != b',' {
                return Err(self.fault("expected a comma or the closing bracket"));
            }
            self.at += 1;
            if self.peek()? == closing {
                return Err(self.fault("a comma stands before the closing bracket"));
            }
        }
        Ok(true)
    }

    /// The next key of an object, its colon taken; `None` at its end.
    pub(super) fn next_key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        if !self.member(b'}', first)? {
            return Ok(None);
        }
        let key = self.string()?.text;
        if self.peek()? != b':' {
            return Err(self.fault("expected a colon"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether an array has another element.
    pub(super) fn next_element(&mut self, first: &mut bool) -> Result<bool, Fault> {
        self.member(b']', first)
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<JsonString<'a>, Fault> {
        if self.peek()? != b'"' {
            return Err(self.fault("expected a string"));
        }
        self.at += 1;
        let start = self.at;
        let rest = &self.text[start..];
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let Some(len) = plain else {
            return Err(self.fault("a string has no end"));
        };
        if rest[len] == b'"' {
            self.at = start + len + 1;
            let text = String::from_utf8_lossy(&rest[..len]);
            let repaired = matches!(text, Cow::Owned(_));
            return Ok(JsonString { text, repaired });
        }
        self.long_string(start)
    }

    /// A string with escapes, or with control characters, which RFC 8259 forbids.
    fn long_string(&mut self, start: usize) -> Result<JsonString<'a>, Fault> {
        let mut text: Vec<u8> = Vec::new();
        let mut repaired = false;
        self.at = start;
        loop {
            let Some(byte) = self.text.get(self.at).copied() else {
                return Err(self.fault("a string has no end"));
            };
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let character = self.escape()?;
                    repaired |= character.is_none();
                    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..0x20 => return Err(self.fault("a control character stands in a string")),
                _ => text.push(byte),
            }
        }
        let text = String::from_utf8(text).unwrap_or_else(|error| {
            repaired = true;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        Ok(JsonString {
            text: Cow::Owned(text),
            repaired,
        })
    }

    /// What stands behind a backslash; `None` for half a surrogate pair.
    fn escape(&mut self) -> Result<Option<char>, Fault> {
        let Some(byte) = self.text.get(self.at).copied() else {
            return Err(self.fault("a string has no end"));
        };
        self.at += 1;
        Ok(Some(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with(b"\\u") {
                    let mark = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code));
                    }
                    self.at = mark;
                }
                return Ok(char::from_u32(high));
            }
            _ => return Err(self.fault("a backslash stands before a character that needs none")),
        }))
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        let all_hex = digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit);
        let code = std::str::from_utf8(digits)
            .ok()
            .filter(|_| all_hex)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => Err(self.fault("four hexadecimal digits belong behind \\u")),
        }
    }

    /// A number, as it stands.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .unwrap_or(rest.len());
        let number = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        if len > MAX_NUMBER || !super::number::is_json_number(number) {
            return Err(self.fault("no JSON number"));
        }
        self.at += len;
        Ok(number)
    }

    /// Passes over one value. Recursion is bounded by the depth of JSON.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        match self.next()? {
            Next::Null => self.literal(b"null"),
            Next::Bool => self.bool().map(|_| ()),
            Next::Number => self.number().map(|_| ()),
            Next::String => self.string().map(|_| ()),
            Next::Array => {
                self.open(b'[')?;
                let mut first = true;
                while self.next_element(&mut first)? {
                    self.skip_value()?;
                }
                Ok(())
            }
            Next::Object => {
                self.open(b'{')?;
                let mut first = true;
                while self.next_key(&mut first)?.is_some() {
                    self.skip_value()?;
                }
                Ok(())
            }
        }
    }

    /// Nothing may follow the request.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.fault("something follows the JSON value"));
        }
        Ok(())
    }
}
