//! Who may see the pages where others than this machine can reach them: who brings the token, as a bearer or in the
//! cookie that the link of the banner exchanges for it, once.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Request, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::config::types::Secret;

/// The name of the cookie.
const COOKIE: &str = "radiosonde_token";

/// What has to be brought.
#[derive(Clone, Debug)]
pub struct PageToken {
    /// As `Authorization: Bearer`, and in the cookie.
    pub bearer: Secret,
    /// In the link, which works once.
    pub link: Secret,
}

/// Looks at every request of the listener.
pub struct Guard {
    token: Option<PageToken>,
    link_is_used: AtomicBool,
}

impl Guard {
    pub fn new(token: Option<PageToken>) -> Self {
        Self {
            token,
            link_is_used: AtomicBool::new(false),
        }
    }

    /// The answer to whoever may not, or who comes by the link.
    pub fn stops<B>(&self, request: &Request<B>) -> Option<Response> {
        let token = self.token.as_ref()?;
        if is_bearer(request.headers(), &token.bearer) || has_cookie(request.headers(), &token.bearer) {
            return None;
        }
        let query = request.uri().query().unwrap_or_default();
        let given = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        let is_link = given.is_some_and(|given| is_same(given.as_bytes(), &token.link));
        if is_link && !self.link_is_used.swap(true, Ordering::Relaxed) {
            let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", token.bearer.reveal());
            let headers = [
                (header::LOCATION, "/".to_owned()),
                (header::SET_COOKIE, cookie),
                (header::CACHE_CONTROL, "no-store".to_owned()),
                (header::REFERRER_POLICY, "no-referrer".to_owned()),
            ];
            return Some((StatusCode::SEE_OTHER, headers).into_response());
        }
        let text = if is_link {
            "this link has been used: its page has the cookie; others bring the token as a bearer\n"
        } else {
            "bring the token: by the link that radiosonde printed, or as Authorization: Bearer\n"
        };
        let headers = [
            (header::WWW_AUTHENTICATE, "Bearer"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        Some((StatusCode::UNAUTHORIZED, headers, text).into_response())
    }
}

pub fn is_bearer(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default();
    given
        .strip_prefix(b"Bearer ")
        .is_some_and(|given| is_same(given, token))
}

fn has_cookie(headers: &HeaderMap, token: &Secret) -> bool {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut given = cookies
        .flat_map(|list| list.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    given.any(|given| is_same(given.as_bytes(), token))
}

fn is_same(given: &[u8], token: &Secret) -> bool {
    given.ct_eq(token.reveal().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(guard: &Guard, uri: &str, header: Option<(&str, &str)>) -> Option<Response> {
        let mut request = Request::builder().uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        guard.stops(&request.body(()).unwrap())
    }

    #[test]
    fn the_token_comes_as_a_bearer_or_by_a_link_that_works_once() {
        let guard = Guard::new(Some(PageToken {
            bearer: Secret::new("b3ar"),
            link: Secret::new("l1nk"),
        }));
        assert_eq!(asks(&guard, "/", None).unwrap().status(), 401);
        assert_eq!(asks(&guard, "/?token=b3ar", None).unwrap().status(), 401);
        assert!(asks(&guard, "/api", Some(("authorization", "Bearer b3ar"))).is_none());
        assert_eq!(
            asks(&guard, "/", Some(("authorization", "Bearer x"))).unwrap().status(),
            401
        );
        let answer = asks(&guard, "/?token=l1nk", None).unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(asks(&guard, "/", Some(("cookie", cookie.split(';').next().unwrap()))).is_none());
        assert_eq!(asks(&guard, "/?token=l1nk", None).unwrap().status(), 401);
    }

    #[test]
    fn on_this_machine_nobody_is_asked() {
        assert!(asks(&Guard::new(None), "/", None).is_none());
    }
}
