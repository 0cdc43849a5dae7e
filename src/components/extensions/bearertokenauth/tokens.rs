//! The tokens, and their comparison: digests of one length, all of them, without stopping at the first that fits.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::super::watched_file::WatchedFile;
use crate::component::{BoxFuture, ClientAuth, Denied, Outgoing, Refused, ServerAuth, after_scheme, only_value};
use crate::config::types::Secret;
use crate::pdata::Auth;

/// What is accepted, and what is sent.
pub struct Tokens {
    first: Secret,
    /// So that a comparison takes as long for every token, whatever its length.
    digests: Vec<[u8; 32]>,
}

impl Tokens {
    /// At least one.
    pub fn new(tokens: Vec<Secret>) -> Self {
        let digests = tokens.iter().map(|token| digest(token.reveal())).collect();
        Self {
            first: tokens.into_iter().next().unwrap_or_default(),
            digests,
        }
    }

    /// One on each line; empty lines do not count.
    pub fn of_file(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens: Vec<Secret> = lines.map(Secret::new).collect();
        if tokens.is_empty() {
            return Err("has no token".to_owned());
        }
        if tokens
            .iter()
            .any(|token| HeaderValue::try_from(token.reveal()).is_err())
        {
            return Err("has a token with characters that a header cannot carry".to_owned());
        }
        Ok(Self::new(tokens))
    }

    fn has(&self, token: &str) -> bool {
        let given = digest(token);
        let mut found = Choice::from(0);
        for digest in &self.digests {
            found |= digest.ct_eq(&given);
        }
        found.into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Where the tokens are.
pub enum Source {
    Fixed(Arc<Tokens>),
    File(WatchedFile<Tokens>),
}

impl Source {
    fn tokens(&self) -> Arc<Tokens> {
        match self {
            Source::Fixed(tokens) => Arc::clone(tokens),
            Source::File(file) => file.get(),
        }
    }
}

/// Both sides.
pub struct BearerAuth {
    scheme: String,
    header: HeaderName,
    source: Source,
}

impl BearerAuth {
    pub fn new(scheme: &str, header: HeaderName, source: Source) -> Self {
        Self {
            scheme: scheme.to_owned(),
            header,
            source,
        }
    }

    fn unproven(&self, reason: &'static str) -> Denied {
        let challenge = (self.header == http::header::AUTHORIZATION && !self.scheme.is_empty())
            .then(|| HeaderValue::try_from(&self.scheme).ok());
        Denied::Unproven {
            reason: reason.into(),
            challenge: challenge.flatten(),
        }
    }

    fn judge(&self, headers: &HeaderMap) -> Result<Auth, Denied> {
        let value = only_value(headers, &self.header).map_err(|reason| self.unproven(reason))?;
        let token = if self.scheme.is_empty() {
            Some(value)
        } else {
            after_scheme(value, &self.scheme)
        };
        let token = token.ok_or_else(|| self.unproven("the credentials have another scheme"))?;
        if self.source.tokens().has(token) {
            return Ok(Auth::default());
        }
        Err(self.unproven("the token is not known"))
    }

    fn add(&self, headers: &mut HeaderMap) -> Result<(), Refused> {
        let tokens = self.source.tokens();
        let token = tokens.first.reveal();
        let value = match self.scheme.as_str() {
            "" => HeaderValue::try_from(token),
            scheme => HeaderValue::try_from(format!("{scheme} {token}")),
        };
        let mut value = value.map_err(|_| Refused::permanent("the token cannot be sent in a header"))?;
        value.set_sensitive(true);
        headers.insert(self.header.clone(), value);
        Ok(())
    }
}

impl ServerAuth for BearerAuth {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Auth, Denied>> {
        Box::pin(std::future::ready(self.judge(headers)))
    }

    fn carrier(&self) -> &HeaderName {
        &self.header
    }
}

impl ClientAuth for BearerAuth {
    fn authorize<'a>(&'a self, request: Outgoing<'a>) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(std::future::ready(self.add(request.headers)))
    }

    /// A token in a file may be renewed there.
    fn was_rejected(&self) -> bool {
        matches!(self.source, Source::File(_))
    }
}
