//! Series that are read together: those that one selector takes.

use super::{NAME, SeriesId, Sym, Symbols};
use crate::alert::promql::{Matcher, MatcherKind};

/// Position of a selection.
pub type SelectionId = u32;

#[derive(Debug)]
pub struct Selection {
    name: Option<String>,
    matchers: Vec<Matcher>,
    key: String,
    members: Vec<SeriesId>,
    /// Of the members, each once.
    sources: Vec<u32>,
}

impl Selection {
    pub(super) fn new(name: Option<&str>, matchers: &[Matcher]) -> Self {
        let mut parts: Vec<String> = matchers
            .iter()
            .map(|matcher| {
                let (sign, value) = match &matcher.kind {
                    MatcherKind::Equal(value) => ("=", value.as_str()),
                    MatcherKind::NotEqual(value) => ("!=", value.as_str()),
                    MatcherKind::Matches(pattern) => ("=~", pattern.as_str()),
                    MatcherKind::MatchesNot(pattern) => ("!~", pattern.as_str()),
                };
                format!("{}{sign}{value:?}", matcher.label)
            })
            .collect();
        parts.sort();
        Self {
            key: format!("{}{{{}}}", name.unwrap_or_default(), parts.join(",")),
            name: name.map(str::to_owned),
            matchers: matchers.to_vec(),
            members: Vec::new(),
            sources: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The series, in the order they came.
    pub fn members(&self) -> &[SeriesId] {
        &self.members
    }

    /// Whether a series is a member.
    pub fn has(&self, id: SeriesId) -> bool {
        self.members.contains(&id)
    }

    /// Who brings them.
    pub fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// The metric's name, where it is bound to one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn accepts(&self, symbols: &Symbols, labels: &[(Sym, Sym)]) -> bool {
        let value_of = |wanted: Option<Sym>| {
            let found = wanted.and_then(|wanted| labels.iter().find(|(name, _)| *name == wanted));
            found.map_or("", |(_, value)| symbols.text(*value))
        };
        if self.name.as_ref().is_some_and(|name| value_of(Some(NAME)) != name) {
            return false;
        }
        self.matchers
            .iter()
            .all(|matcher| matcher.accepts(value_of(symbols.get(&matcher.label))))
    }

    pub(super) fn accepts_texts(&self, labels: &[(&str, &str)]) -> bool {
        let value_of = |wanted: &str| {
            labels
                .iter()
                .find(|(name, _)| *name == wanted)
                .map_or("", |(_, value)| *value)
        };
        if self.name.as_ref().is_some_and(|name| value_of("__name__") != name) {
            return false;
        }
        self.matchers
            .iter()
            .all(|matcher| matcher.accepts(value_of(&matcher.label)))
    }

    pub(super) fn add(&mut self, id: SeriesId, source: u32) {
        self.members.push(id);
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }

    pub(super) fn note_source(&mut self, id: SeriesId, source: u32) {
        if !self.sources.contains(&source) && self.members.contains(&id) {
            self.sources.push(source);
        }
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(SeriesId) -> bool) {
        self.members.retain(|id| is_there(*id));
    }

    pub(super) fn bytes(&self) -> usize {
        self.members.capacity() * size_of::<SeriesId>()
    }
}
