//! Whether a token counts: its form, its algorithm, its issuer, a signature by one of the issuer's keys, its audience, and
//! its times by our clock.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::jws::Token;
use super::provider::Provider;
use crate::component::{BoxFuture, Clock, Denied, ServerAuth, after_scheme, only_value};
use crate::pdata::Auth;

/// Longer ones are no tokens.
const LONGEST: usize = 16 << 10;
/// Clocks differ by so many seconds.
const LEEWAY: u64 = 30;
/// Text of a claim or a list of groups beyond it is cut.
const LONGEST_VALUE: usize = 1024;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");

/// Judges.
pub struct OidcAuth {
    attribute: HeaderName,
    providers: Vec<Provider>,
    clock: Arc<dyn Clock>,
}

type Claims = Map<String, Value>;

impl OidcAuth {
    pub fn new(attribute: HeaderName, providers: Vec<Provider>, clock: Arc<dyn Clock>) -> Self {
        Self {
            attribute,
            providers,
            clock,
        }
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<Auth, Denied> {
        let value = only_value(headers, &self.attribute).map_err(unproven)?;
        let token =
            after_scheme(value, "Bearer").ok_or_else(|| unproven("the credentials are not of the scheme Bearer"))?;
        if token.len() > LONGEST {
            return Err(unproven("the token is too long"));
        }
        let token = Token::read(token).map_err(unproven)?;
        let claims: Claims = serde_json::from_slice(&token.payload).map_err(|_| unproven("the token has no claims"))?;
        // Looked at before the signature: only to know whose keys to take.
        let named = text(&claims, "iss").ok_or_else(|| unproven("the token names no issuer"))?;
        let provider = self.providers.iter().find(|provider| provider.issuer().name == named);
        let provider = provider.ok_or_else(|| unproven("the token is of an unknown issuer"))?;
        verify(provider, &token).await?;
        self.check(provider, &claims)?;
        Ok(identity(provider, &claims))
    }

    fn check(&self, provider: &Provider, claims: &Claims) -> Result<(), Denied> {
        let issuer = provider.issuer();
        if let Some(audience) = &issuer.audience {
            let is_ours = match claims.get("aud") {
                Some(Value::String(one)) => one == audience,
                Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
                _ => false,
            };
            if !is_ours {
                return Err(unproven("the token is for another audience"));
            }
        }
        let now = self.clock.now().seconds();
        let expiry = seconds(claims, "exp").ok_or_else(|| unproven("the token has no expiry"))?;
        if now >= expiry.saturating_add(LEEWAY) {
            return Err(unproven("the token has expired"));
        }
        for key in ["nbf", "iat"] {
            if claims.contains_key(key) {
                let begin = seconds(claims, key).ok_or_else(|| unproven("the token has a time that is none"))?;
                if begin > now.saturating_add(LEEWAY) {
                    return Err(unproven("the token does not count yet"));
                }
            }
        }
        Ok(())
    }
}

/// One of the issuer's keys has signed it.
async fn verify(provider: &Provider, token: &Token<'_>) -> Result<(), Denied> {
    let Some(keys) = provider.keys().await else {
        return Err(Denied::Unable("the issuer's keys cannot be read now".into()));
    };
    if keys.have_signed(token) {
        return Ok(());
    }
    // The issuer may have a new key.
    match provider.newer_than(&keys).await {
        Some(newer) if newer.have_signed(token) => Ok(()),
        _ => Err(unproven("no key of the issuer has signed the token")),
    }
}

fn text<'a>(claims: &'a Claims, key: &str) -> Option<&'a str> {
    claims.get(key).and_then(Value::as_str)
}

/// A NumericDate (RFC 7519, 2): seconds, with or without a fraction.
fn seconds(claims: &Claims, key: &str) -> Option<u64> {
    let value = claims.get(key)?;
    let by_float = || value.as_f64().filter(|at| (0.0..9e15).contains(at)).map(|at| at as u64);
    value.as_u64().or_else(by_float)
}

/// `subject`, `issuer` and `membership`. The token itself is not kept.
fn identity(provider: &Provider, claims: &Claims) -> Auth {
    let issuer = provider.issuer();
    let cut = |text: &str| -> Box<str> { text[..text.floor_char_boundary(LONGEST_VALUE)].into() };
    let mut attributes = vec![("issuer".into(), cut(&issuer.name))];
    if let Some(subject) = text(claims, &issuer.username_claim) {
        attributes.push(("subject".into(), cut(subject)));
    }
    let groups = match claims.get(&issuer.groups_claim) {
        Some(Value::String(one)) => one.clone(),
        Some(Value::Array(many)) => {
            let names: Vec<&str> = many.iter().filter_map(Value::as_str).collect();
            names.join(";")
        }
        _ => String::new(),
    };
    if !groups.is_empty() {
        attributes.push(("membership".into(), cut(&groups)));
    }
    Auth { attributes }
}

fn unproven(reason: &'static str) -> Denied {
    Denied::Unproven {
        reason: reason.into(),
        challenge: Some(CHALLENGE),
    }
}

impl ServerAuth for OidcAuth {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Auth, Denied>> {
        Box::pin(self.judge(headers))
    }

    fn carrier(&self) -> &HeaderName {
        &self.attribute
    }
}
