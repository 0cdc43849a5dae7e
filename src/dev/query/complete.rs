//! Completion of a query at the cursor: keys, operators, values that are stored.

use std::collections::HashMap;

use serde::Serialize;

use super::parse::is_built_in;
use super::{BUILT_IN, KINDS, Key, LEVELS, SIGNALS, STATUSES};
use crate::dev::store::{Segment, Snapshot};
use crate::pdata::Signal;

/// Items of an answer.
const MOST_ITEMS: usize = 20;
/// Segments that are looked at, newest first.
const MOST_SEGMENTS: usize = 16;

/// One text that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    pub text: String,
    /// `key`, `value` or `op`.
    pub kind: &'static str,
    /// Rows of what was looked at that have it.
    pub count: u64,
}

/// What may stand between two places of the query, in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Completion {
    pub items: Vec<Item>,
    pub from: usize,
    pub to: usize,
}

/// Completes `text` at the character `cursor`.
pub fn complete(text: &str, cursor: usize, snapshot: &Snapshot) -> Completion {
    let before: String = text.chars().take(cursor).collect();
    let begin = before
        .rfind(|letter: char| letter.is_whitespace() || letter == '(')
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = before[begin..].trim_start_matches('-');
    let word_at = before.len() - word.len();
    let operator = word.find(['=', '!', '<', '>', '~', ':']);
    let (from_byte, mut items) = match operator {
        Some(at) => {
            let value = word[at..].trim_start_matches(['=', '!', '<', '>', '~', ':']);
            let from = word_at + word.len() - value.len();
            (from, values(&word[..at], value.trim_start_matches('"'), snapshot))
        }
        None => (word_at, keys(word, snapshot)),
    };
    if operator.is_none() && items.iter().any(|item| item.text == word) {
        let ops = ["=", "!=", ">", "<", "~", ":"].map(|op| Item {
            text: format!("{word}{op}"),
            kind: "op",
            count: 0,
        });
        items.extend(ops);
    }
    items.truncate(MOST_ITEMS);
    let from = before[..from_byte].chars().count();
    let to = before.chars().count();
    Completion { items, from, to }
}

fn newest(snapshot: &Snapshot) -> impl Iterator<Item = &Segment> {
    Signal::ALL
        .into_iter()
        .flat_map(move |signal| snapshot.of(signal).iter().rev().take(MOST_SEGMENTS))
        .map(|segment| &**segment)
}

fn keys(prefix: &str, snapshot: &Snapshot) -> Vec<Item> {
    let wanted = prefix.to_lowercase();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for segment in newest(snapshot) {
        for (pair, rows) in segment.pairs.all().iter().zip(segment.rows_by_pair()) {
            let key = segment.texts.get(pair.key);
            if key.to_lowercase().contains(&wanted) && !is_built_in(key) {
                *counts.entry(key.to_owned()).or_default() += u64::from(rows);
            }
        }
    }
    let mut items: Vec<Item> = BUILT_IN
        .iter()
        .filter(|(name, _)| name.starts_with(&wanted))
        .map(|(name, _)| Item {
            text: (*name).to_owned(),
            kind: "key",
            count: 0,
        })
        .collect();
    items.extend(sorted(counts, &wanted, "key"));
    items
}

fn values(key: &str, prefix: &str, snapshot: &Snapshot) -> Vec<Item> {
    let wanted = prefix.to_lowercase();
    let fixed: &[&str] = match Key::named(key) {
        Key::Kind => &KINDS,
        Key::Status => &STATUSES,
        Key::Severity => &LEVELS,
        Key::Signal => &SIGNALS,
        _ => &[],
    };
    let fixed = fixed.iter().filter(|name| name.starts_with(&wanted)).map(|name| Item {
        text: (*name).to_owned(),
        kind: "value",
        count: 0,
    });
    let mut items: Vec<Item> = fixed.collect();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for segment in newest(snapshot) {
        count_values(segment, &Key::named(key), &wanted, &mut counts);
    }
    items.extend(sorted(counts, &wanted, "value"));
    for item in &mut items {
        if item
            .text
            .contains(|letter: char| letter.is_whitespace() || matches!(letter, '(' | ')' | ',' | '"'))
        {
            item.text = format!("\"{}\"", item.text.replace('\\', "\\\\").replace('"', "\\\""));
        }
    }
    items
}

fn count_values(segment: &Segment, key: &Key, wanted: &str, counts: &mut HashMap<String, u64>) {
    let texts = &segment.texts;
    let mut add = |text: &str, count: u64| {
        if !text.is_empty() && text.len() <= 200 && text.to_lowercase().contains(wanted) {
            *counts.entry(text.to_owned()).or_default() += count;
        }
    };
    match key {
        Key::Service => segment
            .resources
            .iter()
            .for_each(|entry| add(texts.get(entry.service), 1)),
        Key::Run => segment.resources.iter().for_each(|entry| add(texts.get(entry.run), 1)),
        Key::Scope => segment.scopes.iter().for_each(|entry| add(texts.get(entry.name), 1)),
        Key::Name => {
            let mut names: HashMap<u32, u64> = HashMap::new();
            for name in &segment.names {
                *names.entry(*name).or_default() += 1;
            }
            names.into_iter().for_each(|(name, count)| add(texts.get(name), count));
        }
        Key::Attribute(name, placed) => {
            let whole = texts.find(name);
            let part = placed.as_ref().and_then(|(_, name)| texts.find(name));
            for (pair, rows) in segment.pairs.all().iter().zip(segment.rows_by_pair()) {
                if Some(pair.key) == whole || Some(pair.key) == part {
                    add(texts.get(pair.value), u64::from(rows));
                }
            }
        }
        _ => {}
    }
}

/// Those that begin with what was written first, then by how many there are.
fn sorted(counts: HashMap<String, u64>, wanted: &str, kind: &'static str) -> Vec<Item> {
    let mut items: Vec<Item> = counts
        .into_iter()
        .map(|(text, count)| Item { text, kind, count })
        .collect();
    items.sort_by(|a, b| {
        let begins = |item: &Item| !item.text.to_lowercase().starts_with(wanted);
        (begins(a), std::cmp::Reverse(a.count), &a.text).cmp(&(begins(b), std::cmp::Reverse(b.count), &b.text))
    });
    items.truncate(MOST_ITEMS);
    items
}
