//! Silences: those of the configuration, and those that come by the API and are kept.

use super::super::config::{Silence, SilenceRequest};
use super::super::state::Key;
use super::Dispatcher;

/// Silences at the same time.
const MOST: usize = 10_000;

/// Why a silence was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    #[error("{0}: {1}")]
    Bad(&'static str, String),
    #[error("there are 10,000 silences already")]
    TooMany,
    #[error("there is no such silence")]
    Unknown,
    #[error("the silence stands in the configuration; take it out there")]
    Configured,
}

/// A silence, and whether it stands in the configuration.
pub struct ShownSilence {
    pub silence: SilenceRequest,
    pub is_configured: bool,
    pub state: &'static str,
}

impl Dispatcher {
    pub(super) fn load_silences(&mut self, kept: Vec<SilenceRequest>, now: u64) {
        for request in kept {
            let id = request.id.clone();
            match Silence::of(request, None) {
                Ok(silence) if silence.ends_at > now => {
                    self.own_silences.insert(id.clone());
                    self.silences.insert(id, silence);
                }
                _ => self.changes.remove(Key::Silence(id)),
            }
        }
    }

    /// Takes a silence, or another version of one; answers with its id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn silence(&mut self, request: SilenceRequest, now: u64) -> Result<String, SilenceError> {
        let replaces = request.id.clone();
        if !replaces.is_empty() && !self.own_silences.contains(&replaces) {
            return Err(SilenceError::Unknown);
        }
        let silence = Silence::of(request, Some(now)).map_err(|(key, reason)| SilenceError::Bad(key, reason))?;
        if silence.ends_at <= now {
            return Err(SilenceError::Bad("ends_at", "has passed already".to_owned()));
        }
        if self.silences.len() >= MOST && replaces.is_empty() {
            return Err(SilenceError::TooMany);
        }
        let id = silence.id.clone();
        self.changes.put(Key::Silence(id.clone()), &silence.to_request());
        self.own_silences.insert(id.clone());
        self.silences.insert(id.clone(), silence);
        Ok(id)
    }

    /// Ends a silence now.
    ///
    /// # Errors
    /// When there is none, or it stands in the configuration.
    pub fn unsilence(&mut self, id: &str) -> Result<(), SilenceError> {
        if !self.silences.contains_key(id) {
            return Err(SilenceError::Unknown);
        }
        if !self.own_silences.remove(id) {
            return Err(SilenceError::Configured);
        }
        self.silences.remove(id);
        self.changes.remove(Key::Silence(id.to_owned()));
        Ok(())
    }

    /// All that are on or to come.
    pub fn silences(&self, now: u64) -> Vec<ShownSilence> {
        let current = self.silences.values().filter(|silence| silence.ends_at > now);
        let shown = current.map(|silence| ShownSilence {
            silence: silence.to_request(),
            is_configured: !self.own_silences.contains(&silence.id),
            state: if silence.starts_at <= now { "active" } else { "pending" },
        });
        shown.collect()
    }

    pub(super) fn expire_silences(&mut self, now: u64) {
        let over = self.silences.values().filter(|silence| silence.ends_at <= now);
        for id in over.map(|silence| silence.id.clone()).collect::<Vec<String>>() {
            self.silences.remove(&id);
            if self.own_silences.remove(&id) {
                self.changes.remove(Key::Silence(id));
            }
        }
    }
}
