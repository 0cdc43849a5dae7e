//! `oidc`: clients of a listener prove who they are with a signed token (JWT) of an OpenID Connect issuer. The keys are
//! those that the issuer publishes, read again when they change, or those of a file. Only signatures with public keys
//! count: never `none`, never a shared secret.

pub mod jws;
pub mod keys;
mod provider;
#[cfg(test)]
mod tests;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, Uri};
use serde::{Deserialize, Serialize};

use self::keys::KeySet;
use self::provider::Provider;
use self::verify::OidcAuth;
use super::watched_file::WatchedFile;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::net::tls::PemSource;
use crate::pdata::Signal;

/// The registry's entry.
pub struct OidcFactory;

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct ProviderKeys {
    issuer_url: String,
    audience: String,
    ignore_audience: bool,
    issuer_ca_path: String,
    username_claim: String,
    groups_claim: String,
    public_keys_file: String,
}

/// A checked issuer.
#[derive(Clone)]
struct Issuer {
    /// As it stands in tokens.
    name: String,
    /// Where its metadata are.
    discovery: Uri,
    /// `None`: not looked at.
    audience: Option<String>,
    authorities: Option<PemSource>,
    /// Of the subject; `sub` unless configured.
    username_claim: String,
    groups_claim: String,
    keys_file: Option<PathBuf>,
}

/// A checked section.
struct Config {
    attribute: HeaderName,
    issuers: Vec<Issuer>,
}

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    attribute: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            attribute: "authorization".to_owned(),
        }
    }
}

impl Factory for OidcFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "oidc"
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Signed tokens of OpenID Connect issuers, asked of clients of a listener."
    }

    fn example(&self) -> &'static str {
        "providers:\n- issuer_url: https://login.example/realm\n  audience: telemetry\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let keys: Keys = section.read()?;
        let Ok(attribute) = HeaderName::try_from(keys.attribute.as_str()) else {
            section.error_at("attribute", format!("{:?} is no header name", keys.attribute));
            return None;
        };
        let mut issuers = Vec::new();
        // The older form has the keys of one issuer beside `attribute`.
        let own: ProviderKeys = section.read()?;
        if !own.issuer_url.is_empty() || !own.audience.is_empty() || own.ignore_audience {
            issuers.push(check_issuer(section, own)?);
        }
        for provider in section
            .take("providers")
            .map(|list| list.elements())
            .unwrap_or_default()
        {
            let keys: ProviderKeys = provider.read()?;
            let issuer = check_issuer(&provider, keys)?;
            if issuers.iter().any(|other| other.name == issuer.name) {
                provider.error_at("issuer_url", "this issuer is there twice");
                return None;
            }
            issuers.push(issuer);
        }
        if issuers.is_empty() {
            section.error("no issuer: give `providers` with `issuer_url` and `audience`");
            return None;
        }
        Some(Plan::Extension(Box::new(Config { attribute, issuers })))
    }
}

fn check_issuer(section: &Section, keys: ProviderKeys) -> Option<Issuer> {
    let base = keys.issuer_url.trim_end_matches('/');
    let discovery = format!("{base}/.well-known/openid-configuration").parse::<Uri>().ok();
    let discovery = discovery.filter(|uri| uri.host().is_some() && !base.contains(['?', '#']));
    let Some(discovery) = discovery.filter(|uri| matches!(uri.scheme_str(), Some("https" | "http"))) else {
        section.error_at(
            "issuer_url",
            "must be the URL of an issuer, e.g. `https://login.example/realm`",
        );
        return None;
    };
    let local = matches!(discovery.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if discovery.scheme_str() == Some("http") && !local && keys.public_keys_file.is_empty() {
        section.warn_at(
            "issuer_url",
            "keys that come in plain text can be replaced on the way: use https",
        );
    }
    if keys.audience.is_empty() && !keys.ignore_audience {
        section.error_at("audience", "is required, so that tokens for others do not count here");
        return None;
    }
    if keys.ignore_audience {
        section.warn_at(
            "ignore_audience",
            "tokens that the issuer made for anybody else count here, too",
        );
    }
    let authorities = (!keys.issuer_ca_path.is_empty()).then(|| PemSource::File(PathBuf::from(&keys.issuer_ca_path)));
    if let Some(problem) = authorities.as_ref().and_then(|authorities| authorities.roots().err()) {
        section.error_at("issuer_ca_path", problem.to_string());
        return None;
    }
    let keys_file = (!keys.public_keys_file.is_empty()).then(|| PathBuf::from(&keys.public_keys_file));
    if let Some(path) = &keys_file
        && let Err(problem) = WatchedFile::open(path, KeySet::read)
    {
        section.error_at("public_keys_file", problem);
        return None;
    }
    Some(Issuer {
        name: keys.issuer_url,
        discovery,
        audience: (!keys.ignore_audience).then_some(keys.audience),
        authorities,
        username_claim: Some(keys.username_claim)
            .filter(|name| !name.is_empty())
            .unwrap_or("sub".to_owned()),
        groups_claim: keys.groups_claim,
        keys_file,
    })
}

impl ExtensionPlan for Config {
    fn authenticates_clients(&self) -> bool {
        true
    }

    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let providers: Result<Vec<Provider>, String> = self.issuers.iter().cloned().map(Provider::open).collect();
        let started = providers.map(|providers| {
            let auth = OidcAuth::new(self.attribute.clone(), providers, Arc::clone(&context.clock));
            context.authenticators.register(&context.id, None, Some(Arc::new(auth)))
        });
        Box::pin(std::future::ready(
            started.map_err(|problem| StartError::new(&context, problem)),
        ))
    }
}
