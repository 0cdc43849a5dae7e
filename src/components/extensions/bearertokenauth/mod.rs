//! `bearertokenauth`: tokens in a header. At a listener one of them must come with every request; an exporter sends the
//! first of them. Tokens stand in the configuration or in a file, which is read again when it changes.

#[cfg(test)]
mod tests;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use self::tokens::{BearerAuth, Source, Tokens};
use super::watched_file::WatchedFile;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::config::types::Secret;
use crate::pdata::Signal;

/// The registry's entry.
pub struct BearerTokenAuthFactory;

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    scheme: String,
    header: String,
    token: Secret,
    tokens: Vec<Secret>,
    filename: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            scheme: "Bearer".to_owned(),
            header: "Authorization".to_owned(),
            token: Secret::default(),
            tokens: Vec::new(),
            filename: String::new(),
        }
    }
}

/// A checked section.
#[derive(Clone)]
struct Config {
    /// Empty: the header's value is the token.
    scheme: String,
    header: HeaderName,
    tokens: Vec<Secret>,
    file: Option<PathBuf>,
}

impl Factory for BearerTokenAuthFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "bearertokenauth"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["bearer_token_auth"]
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Bearer tokens: asked of clients of a listener, sent by exporters."
    }

    fn example(&self) -> &'static str {
        "tokens: [first-token, second-token]\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let keys: Keys = section.read()?;
        let header = HeaderName::try_from(keys.header.as_str());
        let Ok(header) = header else {
            section.error_at("header", format!("{:?} is no header name", keys.header));
            return None;
        };
        if !keys.scheme.bytes().all(|byte| byte.is_ascii_graphic()) {
            section.error_at("scheme", "has characters that no scheme has");
            return None;
        }
        let mut tokens = Vec::new();
        for (key, token) in keys
            .tokens
            .iter()
            .map(|token| ("tokens", token))
            .chain([("token", &keys.token)])
        {
            if token.reveal().is_empty() {
                continue;
            }
            if HeaderValue::try_from(token.reveal()).is_err() {
                section.error_at(key, "has characters that a header cannot carry");
                return None;
            }
            tokens.push(token.clone());
        }
        let file = (!keys.filename.is_empty()).then(|| PathBuf::from(&keys.filename));
        match &file {
            None if tokens.is_empty() => {
                section.error("no token: give `token`, `tokens` or `filename`");
                return None;
            }
            Some(path) => {
                if !tokens.is_empty() {
                    section.warn_at(
                        "filename",
                        "the tokens in the configuration have no effect beside `filename`",
                    );
                }
                if let Err(problem) = WatchedFile::open(path, Tokens::of_file) {
                    section.error_at("filename", problem);
                    return None;
                }
            }
            None => {}
        }
        Some(Plan::Extension(Box::new(Config {
            scheme: keys.scheme,
            header,
            tokens,
            file,
        })))
    }
}

impl ExtensionPlan for Config {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticates_clients(&self) -> bool {
        true
    }

    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let source = match &self.file {
            Some(path) => WatchedFile::open(path, Tokens::of_file).map(Source::File),
            None => Ok(Source::Fixed(Arc::new(Tokens::new(self.tokens.clone())))),
        };
        let started = source
            .map_err(|problem| StartError::new(&context, problem))
            .map(|source| {
                let auth = Arc::new(BearerAuth::new(&self.scheme, self.header.clone(), source));
                context
                    .authenticators
                    .register(&context.id, Some(auth.clone()), Some(auth))
            });
        Box::pin(std::future::ready(started))
    }
}
