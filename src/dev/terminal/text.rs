//! Text for a terminal: widths by grapheme, nothing that a terminal would obey, colours by meaning.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Bars and branches of ASCII only.
    pub is_ascii: bool,
    pub is_coloured: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    /// An error.
    Red,
    /// A warning.
    Yellow,
    /// Slower than 95 % of its kind.
    Slow,
    /// Ids and durations.
    Dim,
    /// A service: one of ten hues.
    Hue(u8),
}

/// Ten hues that differ for the colour-blind too, as the 256 colours of terminals have them.
const HUES: [u8; 10] = [33, 214, 36, 169, 142, 75, 173, 141, 180, 109];

/// The hue of a service: FNV-1a of its name. The web page uses the same.
pub fn hue_of(name: &str) -> u8 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in name.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash % 10) as u8
}

impl Style {
    /// `text` in `ink`. Never by colour alone: the words say it too.
    pub fn paint(self, text: &str, ink: Ink) -> String {
        if !self.is_coloured || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Red => "31".to_owned(),
            Ink::Yellow => "33".to_owned(),
            Ink::Slow => "1;33".to_owned(),
            Ink::Dim => "2".to_owned(),
            Ink::Hue(hue) => format!("38;5;{}", HUES[usize::from(hue) % HUES.len()]),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The mark of an error.
    pub fn error_mark(self) -> &'static str {
        if self.is_ascii { "x" } else { "✖" }
    }

    /// The mark of a warning.
    pub fn warning_mark(self) -> &'static str {
        if self.is_ascii { "!" } else { "▲" }
    }

    /// `×`.
    pub fn times(self) -> &'static str {
        if self.is_ascii { "x" } else { "×" }
    }

    /// What stands for the rest of a text that was cut.
    pub fn ellipsis(self) -> &'static str {
        if self.is_ascii { "~" } else { "…" }
    }
}

/// One line without anything that a terminal would obey: control and escape characters, and those that turn the
/// direction of writing, become a replacement character.
pub fn harmless(text: &str) -> String {
    let is_bad = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    text.chars()
        .map(|character| if is_bad(character) { '\u{fffd}' } else { character })
        .collect()
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text in exactly `columns` columns: cut between graphemes with an ellipsis, or filled up with blanks.
pub fn fit(text: &str, columns: usize, style: Style) -> String {
    let mut fitted = cut(text, columns, style);
    let blanks = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', blanks));
    fitted
}

/// The text in at most `columns` columns.
pub fn cut(text: &str, columns: usize, style: Style) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let next = used + width(grapheme);
        if next + 1 > columns {
            break;
        }
        short.push_str(grapheme);
        used = next;
    }
    if columns > 0 {
        short.push_str(style.ellipsis());
    }
    short
}

/// A duration in at most four digits: `212ms`, `1.20s`, `85us`.
pub fn duration_text(nanos: u64) -> String {
    let of = |value: f64, unit: &str| {
        if value >= 100.0 {
            format!("{value:.0}{unit}")
        } else if value >= 10.0 {
            format!("{}{unit}", trimmed(format!("{value:.1}")))
        } else {
            format!("{}{unit}", trimmed(format!("{value:.2}")))
        }
    };
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => of(value / 1e3, "us"),
        1_000_000..1_000_000_000 => of(value / 1e6, "ms"),
        1_000_000_000..60_000_000_000 => of(value / 1e9, "s"),
        _ => of(value / 60e9, "min"),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        is_ascii: false,
        is_coloured: false,
    };

    #[test]
    fn texts_fit_by_grapheme_and_not_by_byte() {
        assert_eq!(fit("abc", 5, PLAIN), "abc  ");
        assert_eq!(fit("日本語", 5, PLAIN), "日本…");
        assert_eq!(fit("e\u{301}e\u{301}e\u{301}", 2, PLAIN), "e\u{301}…");
        assert_eq!(width(&fit("👩‍👩‍👧 family", 4, PLAIN)), 4);
        assert_eq!(fit("abc", 0, PLAIN), "");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(
            harmless("a\x1b[2Jb\r\n\u{202e}c\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c\u{fffd}"
        );
    }

    #[test]
    fn durations_are_short() {
        for (nanos, text) in [
            (0, "0ns"),
            (85_000, "85us"),
            (212_000_000, "212ms"),
            (1_250_000, "1.25ms"),
            (1_200_000_000, "1.2s"),
            (90_000_000_000, "1.5min"),
        ] {
            assert_eq!(duration_text(nanos), text);
        }
    }

    #[test]
    fn a_service_has_its_hue_for_ever() {
        assert_eq!(hue_of(""), (0x811c_9dc5_u32 % 10) as u8);
        assert_eq!(hue_of("web"), hue_of("web"));
        let red = Style {
            is_ascii: true,
            is_coloured: true,
        };
        assert_eq!(red.paint("x", Ink::Red), "\x1b[31mx\x1b[0m");
        assert_eq!(PLAIN.paint("x", Ink::Red), "x");
    }
}
