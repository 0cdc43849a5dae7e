//! TLS and mutual TLS on both ports, both protocols; reload of files.

use std::path::Path;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

use super::*;
use crate::net::tls::test_certificates::{Authority, Issued};

pub(super) fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

pub(super) fn tls_yaml(folder: &Path, server: &Issued, more: &str) -> String {
    let certificate = write(folder, "server.pem", &server.certificate);
    let key = write(folder, "server.key", &server.key);
    let tls = format!("tls: {{cert_file: '{certificate}', key_file: '{key}' {more}}}");
    both(&tls, &tls)
}

/// The client side: trusts the authority, offers one protocol, shows a certificate if it has one.
pub(super) fn connector(authority: &Authority, alpn: &[u8], client: Option<&Issued>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(
                vec![rustls::pki_types::CertificateDer::from_pem_slice(client.certificate.as_bytes()).unwrap()],
                rustls::pki_types::PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// One export over HTTP/1 or gRPC; `None` when the connection failed.
pub(super) async fn export(address: SocketAddr, connector: &TlsConnector, grpc: bool) -> Option<String> {
    let name = ServerName::try_from("localhost").unwrap();
    let io = TokioIo::new(connector.connect(name, raw(address).await).await.ok()?);
    if grpc {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .ok()?;
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let request = Request::post(format!("https://a{TRACES_METHOD}"))
            .header("content-type", "application/grpc")
            .body(Full::new(framed(0, &spans(1))))
            .unwrap();
        let body = sender
            .send_request(request)
            .await
            .ok()?
            .into_body()
            .collect()
            .await
            .ok()?;
        return Some(body.trailers()?["grpc-status"].to_str().unwrap().to_owned());
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let request = Request::post("/v1/traces")
        .header("content-type", "application/x-protobuf")
        .header("host", "a")
        .body(Full::new(Bytes::from(spans(1))))
        .unwrap();
    Some(sender.send_request(request).await.ok()?.status().as_str().to_owned())
}

#[tokio::test]
async fn both_protocols_work_over_tls_on_both_ports() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let harness = start_yaml(&tls_yaml(folder.path(), &authority.issue_server(), "")).await;
    for address in [harness.grpc(), harness.http()] {
        assert_eq!(
            export(address, &connector(&authority, b"h2", None), true)
                .await
                .as_deref(),
            Some("0")
        );
        assert_eq!(
            export(address, &connector(&authority, b"http/1.1", None), false)
                .await
                .as_deref(),
            Some("200")
        );
    }
    // Plain text on a TLS port gets no further.
    let mut plain = raw(harness.http()).await;
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"POST /v1/traces HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(harness.sink.seen().len(), 4);
}

#[tokio::test]
async fn mutual_tls_takes_only_clients_of_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let client_ca = write(folder.path(), "clients.pem", &authority.pem());
    let more = format!(", client_ca_file: '{client_ca}'");
    let harness = start_yaml(&tls_yaml(folder.path(), &authority.issue_server(), &more)).await;
    let (good, bad) = (authority.issue_client(), other.issue_client());
    for grpc in [false, true] {
        let alpn: &[u8] = if grpc { b"h2" } else { b"http/1.1" };
        let with = |client: Option<&Issued>| connector(&authority, alpn, client);
        assert!(export(harness.grpc(), &with(Some(&good)), grpc).await.is_some());
        assert_eq!(export(harness.grpc(), &with(None), grpc).await, None);
        assert_eq!(export(harness.grpc(), &with(Some(&bad)), grpc).await, None);
    }
    assert_eq!(harness.sink.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_used_and_bad_ones_leave_the_old_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Authority::new(), Authority::new());
    let more = ", reload_interval: 1s";
    let harness = start_yaml(&tls_yaml(folder.path(), &before.issue_server(), more)).await;
    let trusts = |authority| connector(authority, b"http/1.1", None);
    write(folder.path(), "server.pem", "no certificate at all");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(
        export(harness.http(), &trusts(&before), false).await.is_some(),
        "the old ones are kept"
    );
    let renewed = after.issue_server();
    write(folder.path(), "server.key", &renewed.key);
    write(folder.path(), "server.pem", &renewed.certificate);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(
        export(harness.http(), &trusts(&after), false).await.is_some(),
        "the new ones are used"
    );
    assert_eq!(export(harness.http(), &trusts(&before), false).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_swapped_link_counts_as_change_and_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Authority::new(), Authority::new());
    // As Kubernetes mounts secrets: the files are links through `..data`, which is replaced as a whole.
    for (name, issued) in [("one", before.issue_server()), ("two", after.issue_server())] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        write(&folder.path().join(name), "server.pem", &issued.certificate);
        write(&folder.path().join(name), "server.key", &issued.key);
    }
    let data = folder.path().join("..data");
    std::os::unix::fs::symlink("one", &data).unwrap();
    let at = data.display();
    let tls = format!("tls: {{cert_file: '{at}/server.pem', key_file: '{at}/server.key'}}");
    let harness = start_yaml(&both(&tls, &tls)).await;
    let trusts = |authority| connector(authority, b"http/1.1", None);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = trusts(&before).connect(name, raw(harness.http()).await).await.unwrap();
    let (mut kept, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let request = || {
        let request = Request::post("/v1/traces").header("content-type", "application/x-protobuf");
        request
            .header("host", "a")
            .body(Full::new(Bytes::from(spans(1))))
            .unwrap()
    };
    let first = kept.send_request(request()).await.unwrap();
    assert_eq!(first.status(), 200);
    first.into_body().collect().await.unwrap();

    let next = folder.path().join("..next");
    std::os::unix::fs::symlink("two", &next).unwrap();
    std::fs::rename(&next, &data).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    assert!(
        export(harness.http(), &trusts(&after), false).await.is_some(),
        "the new one is used"
    );
    assert_eq!(export(harness.http(), &trusts(&before), false).await, None);
    let second = kept.send_request(request()).await.unwrap();
    assert_eq!(second.status(), 200, "the connection of before goes on");
    let gauge = |name: &str| {
        let samples = harness.context.instruments.registry().gather();
        let found = samples.iter().find(|sample| sample.name == name).unwrap();
        match found.value {
            SampleValue::Gauge(value) => value,
            _ => unreachable!("a gauge"),
        }
    };
    // rcgen's certificates hold until the year 4096.
    assert!(gauge("radiosonde_tls_certificate_expiry_timestamp_seconds") > 6e10);
    assert_eq!(gauge("radiosonde_tls_reload_failures"), 0.0);
    write(&folder.path().join("two"), "server.key", "no key");
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    assert_eq!(gauge("radiosonde_tls_reload_failures"), 1.0);
    assert!(
        export(harness.http(), &trusts(&after), false).await.is_some(),
        "the old key stays"
    );
}

#[tokio::test]
async fn versions_and_suites_are_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = authority.issue_server();
    for (more, fine) in [
        (", min_version: '1.3'", true),
        (
            ", max_version: '1.2', cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]",
            true,
        ),
        (", cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", false),
        (", min_version: '1.3', max_version: '1.2'", false),
        (", curve_preferences: [X25519, P256]", true),
        (", curve_preferences: [P17]", false),
    ] {
        let section = Section::from_yaml(&tls_yaml(folder.path(), &server, more));
        let settings = Settings::check(&section);
        assert_eq!(
            !section.has_errors() && settings.is_some(),
            fine,
            "{more} {:?}",
            section.problems()
        );
    }
    let harness = start_yaml(&tls_yaml(folder.path(), &server, ", max_version: '1.2'")).await;
    assert!(
        export(harness.grpc(), &connector(&authority, b"h2", None), true)
            .await
            .is_some()
    );
}
