//! Signed tokens in their compact form (RFC 7515) and the keys that sign them (RFC 7517, 7518): what is written in them,
//! and whether a signature is good. The cryptography is aws-lc-rs', as for TLS.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Signatures with public keys. `none` is no algorithm here, and HS256 and its like would take a public key for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

#[derive(Deserialize, Serialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde_json::Value>,
}

/// A token taken apart; nothing of it has been verified.
pub struct Token<'a> {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    pub payload: Vec<u8>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is none, or signed in a way that does not count.
    pub fn read(text: &'a str) -> Result<Self, &'static str> {
        const NONE: &str = "the credentials are no signed token";
        let (signed, signature) = text.rsplit_once('.').ok_or(NONE)?;
        let (head, payload) = signed.split_once('.').ok_or(NONE)?;
        let [head, payload, signature] = [head, payload, signature].map(|part| URL_SAFE_NO_PAD.decode(part));
        let head: Head = serde_json::from_slice(&head.map_err(|_| NONE)?).map_err(|_| NONE)?;
        let algorithm = serde_json::from_value(head.alg.into());
        let algorithm = algorithm.map_err(|_| "the token is signed by an algorithm that does not count")?;
        if head.crit.is_some() {
            return Err("the token asks for an extension that is not known");
        }
        Ok(Self {
            algorithm,
            key_id: head.kid,
            payload: payload.map_err(|_| NONE)?,
            signed: signed.as_bytes(),
            signature: signature.map_err(|_| NONE)?,
        })
    }
}

/// A public key.
pub enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The members of a JWK that are used.
#[derive(Deserialize)]
pub struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    pub kid: Option<String>,
    pub alg: Option<String>,
    #[serde(rename = "use")]
    pub usage: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

impl PublicKey {
    /// `None` for kinds that are not known, shared secrets (`oct`) among them: in a published set they would let
    /// anybody sign.
    pub fn of(jwk: &Jwk) -> Option<Self> {
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty());
        let point = |length: usize| {
            let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
            (x.len() == length && y.len() == length).then(|| [&[4], &x[..], &y[..]].concat())
        };
        match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("RSA", _) => {
                let number = |text| Some(part(text)?.into_iter().skip_while(|byte| *byte == 0).collect());
                Some(PublicKey::Rsa {
                    n: number(&jwk.n)?,
                    e: number(&jwk.e)?,
                })
            }
            ("EC", "P-256") => point(32).map(PublicKey::P256),
            ("EC", "P-384") => point(48).map(PublicKey::P384),
            ("OKP", "Ed25519") => part(&jwk.x).filter(|x| x.len() == 32).map(PublicKey::Ed25519),
            _ => None,
        }
    }

    /// What it can sign by.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            PublicKey::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            PublicKey::P256(_) => &[ES256],
            PublicKey::P384(_) => &[ES384],
            PublicKey::Ed25519(_) => &[EdDSA],
        }
    }

    /// Whether it has signed the token. The kind of key decides what a signature is, not the token alone.
    pub fn has_signed(&self, token: &Token<'_>) -> bool {
        let (signed, signature) = (token.signed, token.signature.as_slice());
        let good = match (self, token.algorithm) {
            (PublicKey::P256(point), Algorithm::ES256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            (PublicKey::P384(point), Algorithm::ES384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature)
            }
            (PublicKey::Ed25519(key), Algorithm::EdDSA) => {
                UnparsedPublicKey::new(&ED25519, key).verify(signed, signature)
            }
            (PublicKey::Rsa { n, e }, algorithm) => {
                let Some(parameters) = rsa_parameters(algorithm) else {
                    return false;
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature)
            }
            _ => return false,
        };
        good.is_ok()
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => None,
    }
}
