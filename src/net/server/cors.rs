//! Cross-origin requests of browsers: who may, what a preflight is told, and the headers that every answer needs.
//!
//! No credentials are ever allowed. A POST from a foreign origin is refused, not only hidden from the page.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::config::Section;

/// Headers that are allowed without being configured: what OTLP clients in browsers send.
const ALWAYS_ALLOWED: [&str; 8] = [
    "accept",
    "content-type",
    "content-encoding",
    "x-requested-with",
    "traceparent",
    "tracestate",
    "baggage",
    "x-api-key",
];

const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct CorsKeys {
    allowed_origins: Vec<String>,
    allowed_headers: Vec<String>,
    exposed_headers: Vec<String>,
    /// Seconds.
    max_age: u32,
}

/// The `cors` group of an HTTP server.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<String>,
    headers: Vec<String>,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

/// What a request's origin means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No browser, or a page of this very server.
    NotCrossOrigin,
    /// Allowed; the origin to name in the answer.
    Allowed(HeaderValue),
    /// A page that is not allowed.
    Foreign,
}

impl Cors {
    /// Reads the group; problems go to the section. `None` where no origin is allowed: then CORS is off.
    pub fn check(section: &Section) -> Option<Self> {
        let keys: CorsKeys = section.read()?;
        let lower = |names: Vec<String>| names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let exposed = keys.exposed_headers.join(", ");
        let exposed = match HeaderValue::try_from(&exposed) {
            Ok(value) => Some(value).filter(|value| !value.is_empty()),
            Err(_) => {
                section.error_at("exposed_headers", "a header name has characters that are not allowed");
                None
            }
        };
        if keys.allowed_origins.is_empty() {
            return None;
        }
        Some(Self {
            origins: lower(keys.allowed_origins),
            headers: lower(keys.allowed_headers),
            exposed,
            max_age: (keys.max_age > 0).then(|| HeaderValue::from(keys.max_age)),
        })
    }

    /// Judges the origin of a request.
    pub fn judge(&self, request: &Parts) -> Verdict {
        let Some(origin) = request.headers.get(ORIGIN) else {
            return Verdict::NotCrossOrigin;
        };
        let Ok(text) = origin.to_str() else {
            return Verdict::Foreign;
        };
        let text = text.to_ascii_lowercase();
        if self.origins.iter().any(|pattern| matches(pattern, &text)) {
            return Verdict::Allowed(origin.clone());
        }
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri.authority().map(|authority| authority.as_str()));
        let same = text
            .split_once("://")
            .is_some_and(|(_, authority)| host == Some(authority));
        if same {
            Verdict::NotCrossOrigin
        } else {
            Verdict::Foreign
        }
    }

    /// Whether this is a browser asking before it sends.
    pub fn is_preflight(request: &Parts) -> bool {
        request.method == Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Headers of the 204 that a preflight gets; without the allowing ones for a foreign origin.
    pub fn put_preflight(&self, verdict: &Verdict, request: &HeaderMap, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        answer.append(
            VARY,
            HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        let Verdict::Allowed(origin) = verdict else {
            return;
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        if let Some(names) = self.allowed_of(request.get(ACCESS_CONTROL_REQUEST_HEADERS)) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        if request.get(PRIVATE_NETWORK_ASKED).is_some_and(|asked| asked == "true") {
            answer.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
        }
        if let Some(max_age) = &self.max_age {
            answer.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
    }

    /// Headers of every other answer, errors included: a page can read only what carries them.
    pub fn put(&self, verdict: &Verdict, answer: &mut HeaderMap) {
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Verdict::Allowed(origin) = verdict {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if let Some(exposed) = &self.exposed {
                answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
    }

    /// Those of the requested headers that are allowed.
    fn allowed_of(&self, requested: Option<&HeaderValue>) -> Option<HeaderValue> {
        let requested = requested?.to_str().ok()?;
        let mut allowed = Vec::new();
        for name in requested.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let lower = name.to_ascii_lowercase();
            let known = ALWAYS_ALLOWED.contains(&lower.as_str());
            if known || self.headers.iter().any(|pattern| matches(pattern, &lower)) {
                allowed.push(lower);
            }
        }
        HeaderValue::try_from(allowed.join(", "))
            .ok()
            .filter(|value| !value.is_empty())
    }
}

/// Whether `text` fits `pattern`, in which a star stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_an_origin_stands_for_any_characters() {
        for (pattern, text, fits) in [
            ("*", "https://a.example", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://a.example.evil", false),
            ("https://*.example.com", "https://shop.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://*.a.*:80", "http://x.a.b:80", true),
            ("http://*.a.*:80", "http://x.b.b:80", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
