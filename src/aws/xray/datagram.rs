//! The datagrams that X-Ray's SDKs send: a header line, a newline, a document.

use super::document::{Arena, Kind, Tree};

/// What SDKs write, letter by letter; other spellings are read as JSON.
const USUAL: [&[u8]; 2] = [
    br#"{"format":"json","version":1}"#,
    br#"{"format": "json", "version": 1}"#,
];

/// Why a datagram has no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    Empty,
    /// It does not begin with a header and a newline.
    NoHeader,
    /// Another format than JSON.
    UnknownFormat,
    /// Another version than 1.
    UnknownVersion,
    /// A header and nothing behind it.
    HeaderOnly,
}

impl BadFrame {
    /// Every one.
    pub const ALL: [BadFrame; 5] = [
        BadFrame::Empty,
        BadFrame::NoHeader,
        BadFrame::UnknownFormat,
        BadFrame::UnknownVersion,
        BadFrame::HeaderOnly,
    ];

    /// The `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            BadFrame::Empty => "empty",
            BadFrame::NoHeader => "no_header",
            BadFrame::UnknownFormat => "unknown_format",
            BadFrame::UnknownVersion => "unknown_version",
            BadFrame::HeaderOnly => "header_only",
        }
    }
}

/// The document of a datagram.
///
/// # Errors
/// When there is none.
pub fn document(datagram: &[u8]) -> Result<&[u8], BadFrame> {
    let usual = USUAL.iter().find_map(|header| datagram.strip_prefix(*header));
    let rest = match usual {
        Some(rest) => rest,
        None => behind_header(datagram)?,
    };
    // Between header and document there must be a newline; other white space may stand beside it.
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (space, body) = rest.split_at(space);
    if body.is_empty() {
        return Err(BadFrame::HeaderOnly);
    }
    if !space.contains(&b'\n') {
        return Err(BadFrame::NoHeader);
    }
    Ok(body)
}

fn behind_header(datagram: &[u8]) -> Result<&[u8], BadFrame> {
    if datagram.iter().all(u8::is_ascii_whitespace) {
        return Err(BadFrame::Empty);
    }
    // A header is short: what is behind its line need not be text.
    let end = datagram
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(datagram.len());
    let line = std::str::from_utf8(&datagram[..end]).map_err(|_| BadFrame::NoHeader)?;
    let mut arena = Arena::default();
    let tree = Tree::read(line, &mut arena).map_err(|_| BadFrame::NoHeader)?;
    let root = tree.root();
    let (format, version) = (tree.get(root, "format"), tree.get(root, "version"));
    if tree.kind(root) != Kind::Map || format.is_none() {
        return Err(BadFrame::NoHeader);
    }
    let is_json = format
        .and_then(|format| tree.text(format))
        .is_some_and(|text| text.eq_ignore_ascii_case("json"));
    if !is_json {
        return Err(BadFrame::UnknownFormat);
    }
    let version = version
        .and_then(|version| tree.number(version))
        .and_then(|text| text.parse::<f64>().ok());
    if version != Some(1.0) {
        return Err(BadFrame::UnknownVersion);
    }
    Ok(&datagram[tree.end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_header_is_read() {
        for header in [
            r#"{"format":"json","version":1}"#,
            r#"{"format": "json", "version": 1}"#,
            "{ \"version\" :1.0,\t\"format\":\"JSON\" } ",
            "{\"format\":\"json\",\"version\":1}\r",
        ] {
            let datagram = format!("{header}\n{{\"id\":1}}\n");
            assert_eq!(
                document(datagram.as_bytes()),
                Ok(b"{\"id\":1}\n".as_slice()),
                "{header}"
            );
        }
    }

    #[test]
    fn what_is_no_datagram_is_told_apart() {
        for (datagram, bad) in [
            ("", BadFrame::Empty),
            (" \n", BadFrame::Empty),
            ("{\"id\":1}", BadFrame::NoHeader),
            ("x\n{}", BadFrame::NoHeader),
            ("\u{0}\n{}", BadFrame::NoHeader),
            ("{\"format\":\"json\",\"version\":1}{\"id\":1}", BadFrame::NoHeader),
            ("{\"format\":\"json\",\"version\":1}", BadFrame::HeaderOnly),
            ("{\"format\":\"json\",\"version\":1}\n\n", BadFrame::HeaderOnly),
            ("{\"format\":\"xml\",\"version\":1}\n{}", BadFrame::UnknownFormat),
            ("{\"format\":7,\"version\":1}\n{}", BadFrame::UnknownFormat),
            ("{\"format\":\"json\",\"version\":2}\n{}", BadFrame::UnknownVersion),
            ("{\"format\":\"json\"}\n{}", BadFrame::UnknownVersion),
        ] {
            assert_eq!(document(datagram.as_bytes()), Err(bad), "{datagram:?}");
        }
    }
}
