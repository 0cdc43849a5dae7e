use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::time::Duration;

use super::tokens::{BearerAuth, Source, Tokens};
use super::*;
use crate::component::{ClientAuth, Denied, Outgoing, ServerAuth};
use crate::pdata::Auth;

fn problems(yaml: &str) -> String {
    let section = Section::from_yaml(yaml);
    let plan = BearerTokenAuthFactory.check(&section);
    let problems = section.problems().join("\n");
    assert!(plan.is_some() || !problems.is_empty());
    problems
}

fn fixed(scheme: &str, header: &'static str, tokens: &[&str]) -> BearerAuth {
    let tokens = tokens.iter().map(|token| Secret::new(*token)).collect();
    let source = Source::Fixed(Arc::new(Tokens::new(tokens)));
    BearerAuth::new(scheme, HeaderName::from_static(header), source)
}

async fn judge(auth: &BearerAuth, header: &'static str, values: &[&str]) -> Result<Auth, Denied> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header, HeaderValue::try_from(*value).unwrap());
    }
    auth.authenticate(&headers).await
}

#[tokio::test]
async fn any_of_the_tokens_is_let_in_and_nothing_else() {
    let auth = fixed("Bearer", "authorization", &["one", "two"]);
    for good in ["Bearer one", "Bearer two", "bearer  two", " Bearer one "] {
        assert!(judge(&auth, "authorization", &[good]).await.is_ok(), "{good}");
    }
    let bad: [&[&str]; 9] = [
        &[],
        &[""],
        &["one"],
        &["Bearer"],
        &["Bearer "],
        &["Bearer onetwo"],
        &["Bearer on"],
        &["Basic one"],
        &["Bearer one", "Bearer two"],
    ];
    for values in bad {
        let denied = judge(&auth, "authorization", values).await.unwrap_err();
        let Denied::Unproven { reason, challenge } = denied else {
            panic!("{denied:?}")
        };
        assert_eq!(challenge.unwrap(), "Bearer");
        assert!(!reason.contains("one"), "{reason}");
    }
}

/// CVE-2024-42368: a comparison that ends at the first difference tells a token byte by byte. Here only digests of one
/// length are compared, by a function that does not branch on them, all of them for every request.
#[tokio::test]
async fn cve_2024_42368_tokens_are_compared_in_constant_time() {
    let text = include_str!("tokens.rs");
    let comparison = text.split("fn has(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    assert!(
        comparison.contains("ct_eq") && comparison.contains("found |="),
        "{comparison}"
    );
    assert!(
        !comparison.contains("==") && !comparison.contains("return"),
        "{comparison}"
    );
    let auth = fixed("Bearer", "authorization", &["secret-token"]);
    for prefix in ["s", "secret", "secret-toke", "secret-token-", "Secret-token"] {
        assert!(
            judge(&auth, "authorization", &[&format!("Bearer {prefix}")])
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_header_of_its_own_without_a_scheme() {
    let auth = fixed("", "x-api-key", &["k1"]);
    assert!(judge(&auth, "x-api-key", &["k1"]).await.is_ok());
    assert!(judge(&auth, "authorization", &["k1"]).await.is_err());
    assert_eq!(auth.carrier(), "x-api-key");
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_and_the_first_token_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "old\n\nspare\n").unwrap();
    let source = Source::File(WatchedFile::open(&path, Tokens::of_file).unwrap());
    let auth = BearerAuth::new("Bearer", http::header::AUTHORIZATION, source);
    assert!(judge(&auth, "authorization", &["Bearer spare"]).await.is_ok());
    std::fs::write(&path, "new\n").unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(judge(&auth, "authorization", &["Bearer old"]).await.is_err());
    assert!(judge(&auth, "authorization", &["Bearer new"]).await.is_ok());
    let mut headers = HeaderMap::new();
    let request = Outgoing {
        method: &Method::POST,
        uri: &Uri::from_static("http://far/v1/traces"),
        headers: &mut headers,
        body: &[],
    };
    auth.authorize(request).await.unwrap();
    assert!(auth.was_rejected(), "another may come");
    assert!(!fixed("Bearer", "authorization", &["a"]).was_rejected());
    assert_eq!(headers["authorization"], "Bearer new");
    assert!(headers["authorization"].is_sensitive());
}

#[test]
fn settings_without_a_token_are_refused_at_their_place() {
    assert!(problems("scheme: Bearer").contains("no token"));
    assert!(problems("filename: /nowhere/token").contains("cannot read /nowhere/token"));
    assert!(problems("{token: a, header: 'x y'}").contains("is no header name"));
    let problem = problems("token: \"secret\\nvalue\"");
    assert!(
        problem.contains("cannot carry") && !problem.contains("secret"),
        "{problem}"
    );
    assert_eq!(problems("{token: a}"), "");
}
