//! Signature Version 4 as the service checks it: the canonical request is built anew and signed with the one secret that
//! every simulated key has.

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::super::answer::ApiError;

/// Every key of the simulator has this secret, those of roles too.
const SECRET: &str = "simulated";

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError {
        status: 403,
        ..ApiError::sender("InvalidSignatureException", message)
    }
}

/// Whether the request was signed as it stands here.
///
/// # Errors
/// What does not fit.
pub fn verify(head: &Parts, body: &[u8]) -> Result<(), ApiError> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or_else(|| refused("no Authorization header"))?;
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ").unwrap_or_default();
    let part = |name: &str| {
        let mut parts = rest.split(',').filter_map(|part| part.trim().split_once('='));
        parts.find(|(have, _)| *have == name).map_or("", |(_, value)| value)
    };
    let scope: Vec<&str> = part("Credential").splitn(2, '/').collect();
    let [_, scope] = scope[..] else {
        return Err(refused("the credential has no scope"));
    };
    let signed = part("SignedHeaders");
    if !signed.split(';').any(|name| name == "host") {
        return Err(refused("'Host' must be a signed header"));
    }
    let hash = hex::encode(Sha256::digest(body));
    if header("x-amz-content-sha256").is_some_and(|said| said != hash && said != "UNSIGNED-PAYLOAD") {
        return Err(refused("the body is not the one that x-amz-content-sha256 names"));
    }
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        head.method,
        head.uri.path(),
        query(head.uri.query().unwrap_or(""))
    );
    for name in signed.split(';') {
        let values: Vec<String> = head
            .headers
            .get_all(name)
            .iter()
            .map(|value| squeezed(value.as_bytes()))
            .collect();
        // HTTP/2 has the host in its own place.
        let authority = head.uri.authority().map(|authority| authority.to_string());
        let value = match (name, values.is_empty()) {
            ("host", true) => authority.unwrap_or_default(),
            _ => values.join(","),
        };
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    canonical.push_str(&format!("\n{signed}\n{hash}"));
    let date = header("x-amz-date").ok_or_else(|| refused("no x-amz-date"))?;
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part);
    }
    if hex::encode(hmac(&key, &to_sign)) == part("Signature") {
        return Ok(());
    }
    Err(refused(
        "The request signature we calculated does not match the signature you provided.",
    ))
}

fn query(text: &str) -> String {
    let mut pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// Trimmed, with one blank where several were.
fn squeezed(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
