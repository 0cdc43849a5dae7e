use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use http::{HeaderMap, Method};

use super::*;
use crate::component::{ClientAuth, Clock, Outgoing, Refused, UnixNanos};
use crate::net::client::test_peer::{Peer, Reply, server_tls};
use crate::net::tls::test_certificates::Authority;

struct Turned(AtomicU64);

impl Clock for Turned {
    fn now(&self) -> UnixNanos {
        UnixNanos::from_seconds(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

fn config(yaml: &str) -> Config {
    let section = Section::from_yaml(yaml);
    let tls = ClientTls::read(&section);
    let parameters = section.take("endpoint_params").map(|params| read_parameters(&params));
    let keys: Keys = section.read().unwrap();
    let token_url = read_url(&section, &keys.token_url).unwrap();
    assert!(!section.has_errors(), "{:?}", section.problems());
    Config {
        keys,
        token_url,
        parameters: parameters.unwrap_or_default(),
        tls,
    }
}

fn client(yaml: &str) -> (OAuth2Client, Arc<Turned>) {
    let clock = Arc::new(Turned(AtomicU64::new(1_000_000)));
    let mut context = BuildContext::standalone(ComponentKind::Extension, "oauth2client");
    context.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    (config(yaml).open(&context).unwrap(), clock)
}

async fn authorized(client: &OAuth2Client) -> Result<String, Refused> {
    let mut headers = HeaderMap::new();
    let request = Outgoing {
        method: &Method::POST,
        uri: &Uri::from_static("http://far/"),
        headers: &mut headers,
        body: &[],
    };
    client.authorize(request).await?;
    assert!(headers["authorization"].is_sensitive());
    Ok(headers["authorization"].to_str().unwrap().to_owned())
}

fn token(number: usize, lives: &str) -> Reply {
    let body = format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{lives}}}"#);
    Reply::http(200).body(body.as_bytes())
}

fn settings(address: std::net::SocketAddr) -> String {
    format!(
        "client_id: 'a b'\nclient_secret: s3cr&t\ntoken_url: http://{address}/token\nscopes: [one, two]\n\
         endpoint_params: {{audience: x, resource: [r1, r2]}}\n"
    )
}

#[tokio::test]
async fn a_token_serves_all_requests_and_is_renewed_before_it_expires() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let peer = Peer::start(move |_| token(count.fetch_add(1, Ordering::Relaxed) + 1, "3600")).await;
    let (client, clock) = client(&settings(peer.address));
    let all = tokio::join!(authorized(&client), authorized(&client), authorized(&client));
    for one in [all.0, all.1, all.2] {
        assert_eq!(one.unwrap(), "Bearer t1");
    }
    assert_eq!(given.load(Ordering::Relaxed), 1, "one token for all");
    let asked = &peer.requests()[0];
    assert_eq!(asked.path, "/token");
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&scope=one+two&audience=x&resource=r1&resource=r2"
    );
    // `a+b:s3cr%26t`
    assert_eq!(asked.header("authorization"), "Basic YStiOnMzY3IlMjZ0");
    clock.0.fetch_add(3299, Ordering::Relaxed);
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t1");
    clock.0.fetch_add(2, Ordering::Relaxed);
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t2");
}

#[tokio::test]
async fn a_rejected_token_is_fetched_anew_but_not_over_and_over() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let peer = Peer::start(move |_| token(count.fetch_add(1, Ordering::Relaxed) + 1, "\"3600\"")).await;
    let (client, clock) = client(&settings(peer.address));
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t1");
    assert!(client.was_rejected());
    assert_eq!(
        authorized(&client).await.unwrap(),
        "Bearer t1",
        "as young as that another would fare no better"
    );
    clock.0.fetch_add(31, Ordering::Relaxed);
    assert!(client.was_rejected());
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t2");
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there() {
    let peer = Peer::start(|request| {
        if request.header("authorization").is_empty() {
            token(1, "60")
        } else {
            Reply::http(401).body(br#"{"error":"invalid_client"}"#)
        }
    })
    .await;
    let (client, clock) = client(&settings(peer.address));
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t1");
    // The buffer of five minutes is longer than its life: half of that counts.
    clock.0.fetch_add(29, Ordering::Relaxed);
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t1");
    clock.0.fetch_add(2, Ordering::Relaxed);
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t1");
    let requests = peer.requests();
    assert_eq!(requests.len(), 3, "what works is remembered");
    assert!(String::from_utf8_lossy(&requests[2].body).contains("client_id=a+b&client_secret=s3cr%26t"));
}

#[tokio::test]
async fn without_a_token_data_is_refused_as_retryable_and_secrets_are_not_told() {
    let status = Arc::new(Mutex::new(
        Reply::http(401).body(br#"{"error":"invalid_client","x":"s3cr&t"}"#),
    ));
    let script = Arc::clone(&status);
    let peer = Peer::start(move |_| script.lock().unwrap().clone()).await;
    let (client, clock) = client(&settings(peer.address));
    let refused = authorized(&client).await.unwrap_err();
    assert!(!refused.permanent);
    assert_eq!(
        refused.message,
        "oauth2client: no token: answered with HTTP status 401 Unauthorized (invalid_client)"
    );
    let asked = peer.requests().len();
    assert!(authorized(&client).await.is_err());
    assert_eq!(peer.requests().len(), asked, "the server is left alone for a moment");
    clock.0.fetch_add(2, Ordering::Relaxed);
    *status.lock().unwrap() = token(7, "null");
    assert_eq!(authorized(&client).await.unwrap(), "Bearer t7");
    for bad in ["", "{}", r#"{"access_token":"a\nb"}"#] {
        *status.lock().unwrap() = Reply::http(200).body(bad.as_bytes());
        let (client, _) = super::tests::client(&settings(peer.address));
        assert!(!authorized(&client).await.unwrap_err().permanent, "{bad}");
    }
}

#[tokio::test]
async fn the_token_server_is_spoken_to_with_its_own_tls() {
    let authority = Authority::new();
    let peer = Peer::start_tls(server_tls(&authority, None), |_| token(1, "60")).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let yaml = |tls: &str| {
        let port = peer.address.port();
        format!("{{client_id: a, client_secret: b, token_url: 'https://localhost:{port}/', tls: {tls}}}")
    };
    let (trusting, _) = client(&yaml(&format!("{{ca_file: {}}}", ca.display())));
    assert_eq!(authorized(&trusting).await.unwrap(), "Bearer t1");
    let (other, _) = client(&yaml("{}"));
    assert!(authorized(&other).await.is_err());
}

#[test]
fn settings_are_checked() {
    let problems = |yaml: &str| {
        let section = Section::from_yaml(yaml);
        let plan = OAuth2ClientFactory.check(&section);
        assert_eq!(plan.is_none(), section.has_errors(), "{yaml}");
        section.problems().join("\n")
    };
    assert!(problems("{client_secret: b, token_url: 'https://a/'}").contains("no client"));
    assert!(problems("{client_id: b, token_url: 'https://a/'}").contains("no secret"));
    assert!(problems("{client_id: a, client_secret: b, token_url: nonsense}").contains("must be a URL"));
    assert!(problems("{client_id: a, client_secret: b, token_url: 'http://far/'}").contains("plain text"));
    assert!(problems("{client_id: a, client_secret_file: /nowhere, token_url: 'https://a/'}").contains("/nowhere"));
}
