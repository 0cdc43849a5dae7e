//! Who may call: the page itself and programs, not other pages. And the headers of every answer.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

const CSP: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Puts the checks before a router and the headers on its answers.
pub fn guarded(router: Router) -> Router {
    router.layer(middleware::from_fn(check))
}

async fn check(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers(), request.uri().path()) {
        Some((status, text)) => (status, axum::Json(serde_json::json!({"v": 1, "error": text}))).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Why a request is not served.
fn refusal(method: &Method, headers: &HeaderMap, path: &str) -> Option<(StatusCode, &'static str)> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_api = path.starts_with("/api/");
    let is_change = !matches!(*method, Method::GET | Method::HEAD);
    // Browsers say where a request comes from; programs send neither header. A link to a page is no danger.
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    let is_foreign_site = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if is_foreign_site && (is_api || is_change) {
        return Some((StatusCode::FORBIDDEN, "other pages may not call this"));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let host = text(header::HOST).unwrap_or_default();
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if own != Some(host) {
            return Some((StatusCode::FORBIDDEN, "pages of another origin may not call this"));
        }
    }
    if is_change && is_api {
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        // A form of another page cannot send this type without asking first.
        if !kind.eq_ignore_ascii_case("application/json") {
            return Some((
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send content-type: application/json",
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: Method, path: &str, headers: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("localhost:4320"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        refusal(&method, &map, path).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_the_own_page_and_programs_may_call() {
        let get = |headers: &[(&'static str, &'static str)]| judged(Method::GET, "/api/v1/traces", headers);
        assert_eq!(get(&[]), None);
        assert_eq!(get(&[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(get(&[("sec-fetch-site", "cross-site")]), Some(403));
        assert_eq!(get(&[("sec-fetch-site", "same-site")]), Some(403));
        assert_eq!(get(&[("origin", "http://localhost:4320")]), None);
        for origin in ["http://localhost:3000", "http://evil.example", "null"] {
            assert_eq!(get(&[("origin", origin)]), Some(403), "{origin}");
        }
        // A link on another page leads here.
        assert_eq!(judged(Method::GET, "/", &[("sec-fetch-site", "cross-site")]), None);
    }

    #[test]
    fn changes_need_json() {
        let post = |headers: &[(&'static str, &'static str)]| judged(Method::POST, "/api/v1/clear", headers);
        assert_eq!(post(&[]), Some(415));
        assert_eq!(post(&[("content-type", "text/plain")]), Some(415));
        assert_eq!(post(&[("content-type", "application/json; charset=utf-8")]), None);
    }
}
