//! Who may send: authenticators and client certificates on both ports, judged before a body is read.

use ::http::{HeaderName, HeaderValue};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::component::{ComponentId, Denied, ServerAuth, only_value};
use crate::net::tls::test_certificates::Authority;
use crate::pdata::Auth;

/// Lets in whoever knows the word.
struct Word(HeaderName);

impl ServerAuth for Word {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Auth, Denied>> {
        let knows = only_value(headers, &self.0).is_ok_and(|word| word.as_bytes().ct_eq(b"sesame").into());
        let judged = match knows {
            true => Ok(Auth {
                attributes: vec![("subject".into(), "ali".into())],
            }),
            false => Err(Denied::Unproven {
                reason: "the word is not known".into(),
                challenge: Some(HeaderValue::from_static("Word")),
            }),
        };
        Box::pin(std::future::ready(judged))
    }

    fn carrier(&self) -> &HeaderName {
        &self.0
    }
}

/// Both ports, each with its keys; `word` runs. What is denied is sent without a body: a client that still sends one may
/// see the connection end before the answer.
async fn guarded(grpc: &str, http: &str) -> Harness {
    let context = BuildContext::standalone(ComponentKind::Receiver, "otlp");
    let word = Arc::new(Word(HeaderName::from_static("x-word")));
    // What runs stays registered: only a stop takes it out.
    let _ = context
        .authenticators
        .register(&ComponentId::new("word"), None, Some(word));
    start_with(&both(grpc, http), context).await
}

const ASKED: &str = "auth: {authenticator: word}";
const GOOD: (&str, &str) = ("x-word", "sesame");

#[tokio::test]
async fn without_proof_nothing_gets_in_by_either_protocol_on_either_port() {
    let harness = guarded(ASKED, ASKED).await;
    for address in [harness.grpc(), harness.http()] {
        for headers in [&[][..], &[("x-word", "sesam")], &[GOOD, GOOD]] {
            let with_type = [&[PROTOBUF], headers].concat();
            let answer = send(address, false, "/v1/traces", &with_type, Bytes::new()).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Word"));
            assert_eq!(call(address, TRACES_METHOD, headers, Bytes::new()).await.code(), 16);
        }
        let answer = send(address, false, "/v1/traces", &[PROTOBUF, GOOD], spans(1)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            call(address, TRACES_METHOD, &[GOOD], framed(0, &spans(1))).await.code(),
            0
        );
    }
    let batches = harness.sink.batches();
    assert_eq!(batches.len(), 4);
    for batch in batches {
        let auth = batch.origin().auth.clone().unwrap();
        let wanted = [("subject", "ali"), ("authenticator", "word")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(auth.attributes, wanted);
    }
}

/// GHSA-pjv4-3c63-699f: a server authenticator that was configured and not asked. It is asked for whatever comes in by a
/// port: the other protocol, other paths and methods, a protocol that is not configured at all.
#[tokio::test]
async fn ghsa_pjv4_3c63_699f_no_way_in_goes_past_the_authenticator() {
    let guarded_grpc = guarded(ASKED, "").await;
    let guarded_http = guarded("", ASKED).await;
    let only_grpc = {
        let context = guarded_grpc.context.clone();
        start_with(
            &format!("protocols: {{grpc: {{endpoint: '127.0.0.1:0', {ASKED}}}}}"),
            context,
        )
        .await
    };
    let only_http = {
        let context = guarded_grpc.context.clone();
        start_with(
            &format!("protocols: {{http: {{endpoint: '127.0.0.1:0', {ASKED}}}}}"),
            context,
        )
        .await
    };
    let ports = [
        guarded_grpc.grpc(),
        guarded_http.http(),
        only_grpc.grpc(),
        only_http.http(),
    ];
    for address in ports {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x"] {
            let headers = [("content-type", content_type), ("te", "trailers")];
            let answer = send(address, true, TRACES_METHOD, &headers, Bytes::new()).await;
            assert_eq!(answer.code(), 16, "{content_type}");
        }
        for http2 in [false, true] {
            for path in [
                "/v1/traces",
                "/v1/traces/",
                "//v1/traces",
                "/",
                "/v1/nothing",
                "/v1/traces?a=b",
            ] {
                for method in ["POST", "GET", "PUT", "HEAD"] {
                    let answer = send_as(method, address, http2, path, &[PROTOBUF], Bytes::new()).await;
                    assert_eq!(answer.status, 401, "{method} {path}");
                }
            }
            // What looks like a preflight without being one.
            let answer = send_as("OPTIONS", address, http2, "/v1/traces", &[PROTOBUF], Bytes::new()).await;
            assert_eq!(answer.status, 401);
        }
    }
    for harness in [guarded_grpc, guarded_http, only_grpc, only_http] {
        assert!(harness.sink.seen().is_empty());
    }
}

#[tokio::test]
async fn the_answer_comes_before_the_body_and_an_authenticator_that_stopped_lets_nobody_in() {
    let harness = guarded(ASKED, ASKED).await;
    let mut stream = raw(harness.http()).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\nexpect: 100-continue\r\n\
                content-length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
    let nobody = start_with(
        &both("auth: {authenticator: gone}", ""),
        BuildContext::standalone(ComponentKind::Receiver, "otlp"),
    )
    .await;
    let answer = call(nobody.grpc(), TRACES_METHOD, &[GOOD], framed(0, &spans(1))).await;
    assert_eq!(answer.code(), 14, "{answer:?}");
    assert!(answer.header("grpc-message").contains("does not run"));
}

#[tokio::test]
async fn a_page_may_ask_first_and_the_proof_stays_out_of_the_metadata() {
    let keys =
        format!("{ASKED}, include_metadata: true, cors: {{allowed_origins: ['http://page'], allowed_headers: ['*']}}");
    let harness = guarded(ASKED, &keys).await;
    let preflight = [
        ("origin", "http://page"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-word"),
    ];
    let answer = send_as("OPTIONS", harness.http(), false, "/v1/traces", &preflight, "").await;
    assert_eq!(answer.status, 204);
    let refused = send(
        harness.http(),
        false,
        "/v1/traces",
        &[PROTOBUF, ("origin", "http://page")],
        spans(1),
    )
    .await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, "http://page")
    );
    let headers = [PROTOBUF, GOOD, ("x-tenant", "shop")];
    assert_eq!(
        send(harness.http(), false, "/v1/traces", &headers, spans(1))
            .await
            .status,
        200
    );
    let batch = harness.sink.batches().remove(0);
    assert_eq!(&*batch.origin().metadata_values("x-tenant")[0], "shop");
    assert!(batch.origin().metadata_values("x-word").is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_an_identity() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let client_ca = tls::write(folder.path(), "clients.pem", &authority.pem());
    let more = format!(", client_ca_file: '{client_ca}'");
    let yaml = tls::tls_yaml(folder.path(), &authority.issue_server(), &more);
    let harness = start_yaml(&yaml).await;
    let client = authority.issue_client();
    for (address, alpn, grpc) in [
        (harness.grpc(), &b"h2"[..], true),
        (harness.http(), &b"http/1.1"[..], false),
    ] {
        let connector = tls::connector(&authority, alpn, Some(&client));
        tls::export(address, &connector, grpc).await.unwrap();
        let auth = harness.sink.batches()[0].origin().auth.clone().unwrap();
        let san = auth.attributes.iter().find(|(name, _)| &**name == "san").unwrap();
        assert_eq!(&*san.1, "client");
        assert!(auth.attributes.iter().any(|(name, _)| &**name == "subject"));
    }
}

#[test]
fn the_section_names_an_extension() {
    let problems = |grpc: &str, http: &str| {
        let section = Section::from_yaml(&both(grpc, http));
        let settings = Settings::check(&section);
        let named = settings.map(|settings| {
            let named = settings.authenticators();
            named.iter().map(|(key, id)| format!("{key} {id}")).collect::<Vec<_>>()
        });
        (named.unwrap_or_default(), section.problems().join("\n"))
    };
    let (named, none) = problems("auth: {authenticator: a}", "auth: {authenticator: b/c}");
    assert_eq!(
        named,
        [
            "protocols::grpc::auth::authenticator a",
            "protocols::http::auth::authenticator b/c"
        ]
    );
    assert_eq!(none, "");
    assert!(problems("auth: {}", "").1.contains("names no extension"));
    assert!(
        problems("", "auth: {authenticator: a, request_params: [x]}")
            .1
            .contains("not built yet")
    );
}
