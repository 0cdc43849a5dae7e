//! Against the simulated X-Ray, which checks signatures.
#![cfg(feature = "simulator")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::*;
use crate::component::{ComponentId, Deadline, NamedAuth, Outgoing, Refused};
use crate::net::client::dial::Dialer;
use crate::net::client::http::{HttpClient, HttpSettings};
use crate::net::client::proxy::ProxyRules;
use crate::simulator::{Scenario, Simulator};

const KEYS: &str = "credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}";

fn client() -> HttpClient {
    HttpClient::new(HttpSettings {
        dialer: Dialer {
            tls: None,
            proxies: Arc::new(ProxyRules::default()),
        },
        max_idle: 1,
        max_connections: None,
        idle_timeout: None,
        no_keepalive: false,
        http2_ping_after: None,
        http2_ping_timeout: Duration::from_secs(15),
        write_buffer: None,
        read_buffer: None,
    })
}

/// What the simulator answers to a signed POST whose body is `sent` and was signed as `signed`.
async fn status(yaml: &str, signed: &'static str, sent: &'static str) -> Result<u16, Refused> {
    let mut scenario = Scenario::quiet();
    let role = serde_json::json!({"arn": "arn:aws:iam::444455556666:role/r", "external_id": "secret"});
    scenario.roles = vec![serde_json::from_value(role).unwrap()];
    let simulator = Simulator::frozen(scenario);
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let yaml = yaml.replace("URL", &served.url());
    let section = Section::from_yaml(&yaml);
    let Some(Plan::Extension(plan)) = SigV4AuthFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert!(section.problems().is_empty(), "{:?}", section.problems());
    assert!(plan.authenticates());
    let mut context = BuildContext::standalone(ComponentKind::Extension, "sigv4auth/x");
    context.clock = Arc::new(simulator.clock().clone());
    let running = plan.start(context.clone()).await.unwrap();
    let auth = NamedAuth::new(ComponentId::new("sigv4auth/x"), &context.authenticators);
    let uri: Uri = format!("{}/GetSamplingRules", served.url()).parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-other", HeaderValue::from_static("  two   blanks "));
    let body = vec![
        Bytes::from_static(&signed.as_bytes()[..1]),
        Bytes::from_static(&signed.as_bytes()[1..]),
    ];
    let request = Outgoing {
        method: &Method::POST,
        uri: &uri,
        headers: &mut headers,
        body: &body,
    };
    auth.authorize(request).await?;
    let answer = client()
        .post(uri, headers, vec![Bytes::from_static(sent.as_bytes())])
        .await
        .unwrap();
    running.stop(Deadline::after(Duration::ZERO)).await;
    let (uri, mut headers) = (Uri::from_static("http://a/"), HeaderMap::new());
    let request = Outgoing {
        method: &Method::POST,
        uri: &uri,
        headers: &mut headers,
        body: &[],
    };
    let gone = auth.authorize(request).await;
    assert!(!gone.unwrap_err().permanent, "it does not run any more");
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn what_is_signed_is_taken_and_anything_else_is_not() {
    let good = format!("region: eu-central-1\nservice: xray\n{KEYS}");
    assert_eq!(status(&good, "{}", "{}").await.unwrap(), 200);
    assert_eq!(status(&good, "{}", "{ }").await.unwrap(), 403, "another body");
    let other = good.replace("simulated}", "stolen}");
    assert_eq!(status(&other, "{}", "{}").await.unwrap(), 403, "another secret");
    let other = good.replace("service: xray", "service: logs");
    assert_eq!(status(&other, "{}", "{}").await.unwrap(), 403, "another service");
    let nothing = format!("region: eu-central-1\n{KEYS}");
    assert!(
        status(&nothing, "{}", "{}").await.unwrap_err().permanent,
        "the host names no service"
    );
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id() {
    let role = format!(
        "region: eu-central-1\nservice: xray\nsts_endpoint: URL\n{KEYS}\n\
         assume_role: {{arn: \"arn:aws:iam::444455556666:role/r\", external_id: secret, sts_region: us-east-1}}"
    );
    assert_eq!(status(&role, "{}", "{}").await.unwrap(), 200);
    let refused = status(&role.replace("external_id: secret", "external_id: guess"), "{}", "{}").await;
    assert!(!refused.unwrap_err().permanent);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "assume_role: {arn: nobody}",
        "assume_role: {external_id: x}",
        "regoin: a",
    ] {
        let section = Section::from_yaml(text);
        let _ = SigV4AuthFactory.check(&section);
        section.report_untaken();
        assert!(section.has_errors(), "{text}");
    }
}
