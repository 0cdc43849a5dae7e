//! The web page: its files, packed into the binary by `build.rs`, and the routes that serve them.
//!
//! Files stand under a path that contains the hash of all of them and never change there, so that browsers keep them;
//! the one document that names that path is asked for each time. Knows nothing of the data: that comes by the API.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, StatusCode, header};

/// A file of the page.
struct Asset {
    path: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

// `HASH` and `ASSETS`.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the page may do: load its own files and talk to its own origin, nothing else.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Addresses of the page. All of them get the same document; which part it shows is its own business.
const PLACES: [&str; 17] = [
    "/",
    "/live",
    "/traces",
    "/trace/{id}",
    "/trace/{id}/{part}",
    "/logs",
    "/metrics",
    "/map",
    "/alerts",
    "/genai",
    "/genai/{trace}/{span}",
    "/flame",
    "/compare",
    "/runs",
    "/keys",
    "/pipeline",
    "/aws",
];

/// Modules that every page needs: the browser is told at once, instead of finding them one behind the other.
const EARLY: [&str; 3] = ["lib/", "parts/", "pages/traces.js"];

/// The page and its files.
pub fn router() -> Router {
    let mut router = Router::new().route("/assets/{hash}/{*path}", get(asset));
    for place in PLACES {
        router = router.route(place, get(document));
    }
    router
}

async fn document(headers: HeaderMap) -> Response {
    let tag = format!("\"{HASH}\"");
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let common = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, guards(), common).into_response();
    }
    (guards(), common, document_text()).into_response()
}

/// The document, with the addresses of this version's files.
fn document_text() -> String {
    let text = ASSETS
        .iter()
        .find(|asset| asset.path == "index.html")
        .map_or("", |asset| std::str::from_utf8(asset.plain).unwrap_or_default());
    let base = format!("/assets/{HASH}");
    let mut early = String::new();
    for asset in ASSETS {
        if asset.path.ends_with(".js") && EARLY.iter().any(|start| asset.path.starts_with(start)) {
            early.push_str(&format!("<link rel=\"modulepreload\" href=\"BASE/{}\">\n", asset.path));
        }
    }
    text.replace("<!-- PRELOAD -->\n", &early).replace("BASE", &base)
}

async fn asset(Path((hash, path)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = ASSETS.iter().find(|asset| asset.path == path && hash == HASH);
    let Some(asset) = found else {
        // Of another version: the page that asks has to be loaded again.
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        return (
            StatusCode::NOT_FOUND,
            guards(),
            no_store,
            "this version of the page is not here\n",
        )
            .into_response();
    };
    let common = [
        (header::CONTENT_TYPE, content_type(asset.path)),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    if takes_gzip(&headers) {
        let encoded = [(header::CONTENT_ENCODING, "gzip")];
        return (guards(), common, encoded, asset.gzip).into_response();
    }
    (guards(), common, asset.plain).into_response()
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight
            .trim()
            .strip_prefix("q=")
            .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The headers that every answer of the page carries.
fn guards() -> [(HeaderName, &'static str); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (
            parts.status,
            parts.headers,
            to_bytes(body, 1 << 20).await.unwrap().to_vec(),
        )
    }

    fn inflate(data: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        #[allow(clippy::disallowed_methods)] // Our own file, compressed by our own build.
        flate2::read::GzDecoder::new(data).read_to_end(&mut plain).unwrap();
        plain
    }

    #[tokio::test]
    async fn every_file_is_served_packed_and_plain_under_the_hash_for_ever() {
        assert!(ASSETS.len() > 20, "{}", ASSETS.len());
        for asset in ASSETS {
            let path = format!("/assets/{HASH}/{}", asset.path);
            let (status, headers, packed) = ask(&path, &[("accept-encoding", "br, gzip;q=0.8")]).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert_eq!(headers["content-encoding"], "gzip");
            assert_eq!(inflate(&packed), asset.plain, "{path}");
            assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_ne!(headers["content-type"], "application/octet-stream", "{path}");
            let (_, headers, plain) = ask(&path, &[("accept-encoding", "gzip;q=0")]).await;
            assert!(!headers.contains_key("content-encoding"));
            assert_eq!(plain, asset.plain);
        }
        let (status, headers, _) = ask("/assets/0000000000000000/main.js", &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(headers["cache-control"], "no-store");
    }

    #[tokio::test]
    async fn the_document_stands_at_every_address_and_is_asked_for_each_time() {
        for place in PLACES {
            let path = place
                .replace("{id}", "a41c")
                .replace("{part}", "flame")
                .replace("{trace}", "a")
                .replace("{span}", "b");
            let (status, headers, body) = ask(&path, &[]).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert_eq!(headers["cache-control"], "no-cache");
            assert_eq!(headers["content-security-policy"], CONTENT_SECURITY_POLICY);
            assert_eq!(headers["referrer-policy"], "no-referrer");
            let text = String::from_utf8(body).unwrap();
            assert!(
                text.contains(&format!("/assets/{HASH}/main.js")) && !text.contains("BASE"),
                "{text}"
            );
        }
        let tag = format!("W/\"{HASH}\"");
        let (status, _, body) = ask("/traces", &[("if-none-match", &tag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    }

    #[test]
    fn everything_the_document_and_the_modules_name_is_there() {
        let is_there = |path: &str| ASSETS.iter().any(|asset| asset.path == path);
        let text = document_text();
        let base = format!("/assets/{HASH}/");
        let named: Vec<&str> = text
            .split(&base)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(named.len() > 10, "{named:?}");
        for path in named {
            assert!(is_there(path), "the document names {path}");
        }
        let mut edges = 0;
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for start in [" from '", "import('"] {
                for rest in text.split(start).skip(1) {
                    let target = rest.split('\'').next().unwrap();
                    assert!(target.starts_with('.'), "{}: {target} is not ours", asset.path);
                    assert!(is_there(&resolve(asset.path, target)), "{}: {target}", asset.path);
                    edges += 1;
                }
            }
        }
        assert!(edges > 50, "{edges}");
    }

    /// `pages/a.js` and `../lib/b.js` -> `lib/b.js`.
    fn resolve(from: &str, target: &str) -> String {
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        for part in target.split('/') {
            match part {
                "." => {}
                ".." => _ = parts.pop(),
                name => parts.push(name),
            }
        }
        parts.join("/")
    }

    #[test]
    fn the_page_weighs_at_most_150_kb_and_asks_nobody_else() {
        let packed: usize = ASSETS.iter().map(|asset| asset.gzip.len()).sum();
        assert!(packed <= 150_000, "{packed} bytes");
        for asset in ASSETS {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for line in text.lines().filter(|line| line.contains("//")) {
                for scheme in ["http://", "https://", "src=\"//"] {
                    let foreign = line.split(scheme).skip(1);
                    for rest in foreign {
                        let host = rest
                            .split(['/', '"', '\'', '`', ':', '$', ' '])
                            .next()
                            .unwrap_or_default();
                        let known = ["", "www.w3.org", "localhost"].contains(&host);
                        assert!(known, "{}: {line}", asset.path);
                    }
                }
            }
        }
    }

    #[test]
    fn the_page_writes_no_markup_but_its_own() {
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for forbidden in [
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", asset.path);
            }
            let allowed = usize::from(asset.path == "lib/html.js");
            assert_eq!(text.matches("innerHTML").count(), allowed, "{}", asset.path);
        }
    }
}
