//! The set of public keys of an issuer (RFC 7517), and which signatures each of them can make.

use serde::Deserialize;

use super::jws::{Algorithm, Jwk, PublicKey, Token};

/// More keys than any issuer has.
const MOST_KEYS: usize = 100;

struct Key {
    id: Option<String>,
    key: PublicKey,
    algorithms: Vec<Algorithm>,
}

/// The keys of an issuer.
pub struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS. Keys that are not for signatures, or of a kind that is not known, are left out.
    ///
    /// # Errors
    /// When no key is left.
    pub fn read(text: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|_| "is no JSON Web Key Set".to_owned())?;
        let keys = document.keys.into_iter().take(MOST_KEYS);
        let keys: Vec<Key> = keys
            .filter_map(|value| Key::read(serde_json::from_value(value).ok()?))
            .collect();
        if keys.is_empty() {
            return Err("has no public key for signatures (RSA, P-256, P-384 or Ed25519)".to_owned());
        }
        Ok(Self(keys))
    }

    /// Whether one of the keys has signed the token: of those with its id, or of all where it names none.
    pub fn have_signed(&self, token: &Token<'_>) -> bool {
        let fits = |key: &&Key| {
            let both = token.key_id.as_ref().zip(key.id.as_ref());
            both.is_none_or(|(asked, own)| asked == own) && key.algorithms.contains(&token.algorithm)
        };
        self.0.iter().filter(fits).any(|key| key.key.has_signed(token))
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let key = PublicKey::of(&jwk)?;
        let named: Option<Algorithm> = match &jwk.alg {
            Some(name) => Some(serde_json::from_value(name.as_str().into()).ok()?),
            None => None,
        };
        let fits = |algorithm: &&Algorithm| named.is_none_or(|named| named == **algorithm);
        let algorithms: Vec<Algorithm> = key.algorithms().iter().filter(fits).copied().collect();
        (!algorithms.is_empty()).then_some(Self {
            id: jwk.kid,
            key,
            algorithms,
        })
    }
}
