//! Text search that ignores case, over many texts in one buffer.

use regex::{Regex, RegexBuilder};

/// A text that is searched for.
#[derive(Clone, Debug)]
pub struct Needle {
    text: String,
    /// ASCII: the position of its rarest byte, which is looked for first.
    rarest: Option<usize>,
    /// Else.
    regex: Option<Regex>,
}

/// Letters and signs by how often they stand in telemetry, rarest last; others are rarer still.
const FREQUENT: &[u8] = b"e/ -.t0aoin1sr_2lcd3pu4m5:h6789gfyvbwk\"=,xj{}qz[]()";

impl Needle {
    /// Looks for this text in any case.
    pub fn new(text: &str) -> Self {
        let rarity = |byte: &u8| {
            let byte = byte.to_ascii_lowercase();
            FREQUENT
                .iter()
                .position(|known| *known == byte)
                .unwrap_or(FREQUENT.len())
        };
        let is_ascii = text.is_ascii() && !text.is_empty();
        let rarest = (0..text.len()).max_by_key(|at| rarity(&text.as_bytes()[*at]));
        let regex = (!is_ascii).then(|| {
            RegexBuilder::new(&regex::escape(text))
                .case_insensitive(true)
                .build()
                .ok()
        });
        Self {
            text: text.to_owned(),
            rarest: rarest.filter(|_| is_ascii),
            regex: regex.flatten(),
        }
    }

    /// Whether it stands in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.find_from(text, 0).is_some()
    }

    /// Where it begins in the buffer, from this byte on.
    pub fn find_from(&self, buffer: &str, from: usize) -> Option<usize> {
        let Some(rarest) = self.rarest else {
            let regex = self.regex.as_ref()?;
            return regex.find_at(buffer, from).map(|found| found.start());
        };
        let (bytes, needle) = (buffer.as_bytes(), self.text.as_bytes());
        let byte = needle[rarest];
        let (lower, upper) = (byte.to_ascii_lowercase(), byte.to_ascii_uppercase());
        let mut at = from + rarest;
        while at < bytes.len() {
            at += memchr::memchr2(lower, upper, &bytes[at..])?;
            let start = at - rarest;
            let found = bytes.get(start..start + needle.len())?;
            if found.eq_ignore_ascii_case(needle) {
                return Some(start);
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_also_beyond_ascii() {
        let needle = Needle::new("Card DECLINED");
        assert!(needle.is_in("the card declined it"));
        assert!(!needle.is_in("the card decline"));
        assert!(Needle::new("ÄRGER").is_in("großer ärger"));
        assert!(Needle::new("a").is_in("A"));
        assert!(!Needle::new("abc").is_in("ab"));
        assert_eq!(Needle::new("b").find_from("abab", 2), Some(3));
    }
}
