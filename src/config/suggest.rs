//! Did-you-mean: the known word closest to what was written.

/// The closest of `known`, if it is close enough to be meant.
pub(crate) fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let folded = fold(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let distance = if fold(candidate) == folded {
            0
        } else {
            distance(word, candidate)
        };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    let (distance, candidate) = best?;
    let length = word.chars().count().max(candidate.chars().count());
    // One slip in three letters is a slip; more is another word.
    let close = distance <= (length / 3).max(1) && distance < length;
    close.then_some(candidate)
}

/// `; did you mean "x"?`, or the allowed words where there are few, to be put behind a message.
pub fn hint(word: &str, known: &[&str]) -> String {
    match closest(word, known) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None if known.is_empty() => String::new(),
        None if known.len() <= 12 => format!("; allowed: {}", known.join(", ")),
        None => String::new(),
    }
}

/// Spelling without what people mix up: case, and the separators.
fn fold(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Edits between two words: insert, delete, replace, swap neighbours. Long words are not compared.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let a: Vec<char> = a.chars().take(LONGEST + 1).collect();
    let b: Vec<char> = b.chars().take(LONGEST + 1).collect();
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["endpoint", "tls", "compression", "sending_queue", "exporters"];
        assert_eq!(closest("endpiont", &known), Some("endpoint"));
        assert_eq!(closest("sendingQueue", &known), Some("sending_queue"));
        assert_eq!(closest("exporter", &known), Some("exporters"));
        assert_eq!(closest("tsl", &known), Some("tls"));
    }

    #[test]
    fn does_not_guess_wildly() {
        assert_eq!(closest("colour", &["endpoint", "tls"]), None);
        assert_eq!(closest("a", &["b"]), None);
        assert_eq!(closest("x", &[]), None);
        assert_eq!(closest(&"a".repeat(10_000), &["aaa"]), None);
    }
}
