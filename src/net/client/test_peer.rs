//! A far end for tests: HTTP/1 and HTTP/2 on a port of its own, with or without TLS, answering what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::net::tls::test_certificates::Authority;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub path: String,
    pub authority: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What to answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(&'static str, String)>,
    /// Never answer.
    pub silent: bool,
}

impl Reply {
    pub fn http(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// A gRPC answer with a message.
    pub fn grpc_message(message: &[u8]) -> Self {
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(message);
        Self {
            status: 200,
            headers: vec![("content-type", "application/grpc".into())],
            body: framed,
            trailers: vec![("grpc-status", "0".into())],
            silent: false,
        }
    }

    /// A gRPC answer that is only a status.
    pub fn grpc_status(code: i32, message: &str) -> Self {
        Self::http(200)
            .header("content-type", "application/grpc")
            .header("grpc-status", &code.to_string())
            .header("grpc-message", message)
    }

    pub fn silent() -> Self {
        Self {
            silent: true,
            ..Self::http(200)
        }
    }
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// Ends with its connections when dropped.
pub(crate) struct Peer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    script: Script,
    requests: Mutex<Vec<Received>>,
    arrived: Notify,
    connections: Mutex<usize>,
}

impl Peer {
    pub async fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), None, script).await
    }

    pub async fn start_tls(
        config: rustls::ServerConfig,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), Some(Arc::new(config)), script).await
    }

    pub async fn listen(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            requests: Mutex::default(),
            arrived: Notify::new(),
            connections: Mutex::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_for_ever(listener, tls, Arc::clone(&shared)));
        Self { address, shared, tasks }
    }

    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// Waits until a request has arrived completely.
    pub async fn wait_for_request(&self) {
        tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let arrived = self.shared.arrived.notified();
                if !self.shared.requests.lock().unwrap().is_empty() {
                    return;
                }
                arrived.await;
            }
        })
        .await
        .unwrap();
    }

    /// Closes the listener and every connection.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept_for_ever(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        *shared.connections.lock().unwrap() += 1;
        connections.spawn(serve(tcp, tls.clone(), Arc::clone(&shared)));
    }
}

async fn serve(tcp: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let builder = Builder::new(TokioExecutor::new());
    // A connection that the test breaks ends with an error; that is what the test is about.
    let _ = match tls {
        None => builder.serve_connection(TokioIo::new(tcp), service).await,
        Some(tls) => match TlsAcceptor::from(tls).accept(tcp).await {
            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
            Err(_) => return,
        },
    };
}

/// Frames one after the other: data, then trailers.
struct Frames(std::vec::IntoIter<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Frames>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => std::future::pending().await,
    };
    let authority = head.uri.authority().map(ToString::to_string);
    let received = Received {
        path: head.uri.path().to_owned(),
        authority: authority.unwrap_or_else(|| {
            let host = head.headers.get("host");
            host.map_or(String::new(), |host| host.to_str().unwrap().to_owned())
        }),
        headers: head.headers,
        body,
    };
    let reply = (shared.script)(&received);
    shared.requests.lock().unwrap().push(received);
    shared.arrived.notify_waiters();
    if reply.silent {
        std::future::pending::<()>().await;
    }
    let map = |pairs: &[(&'static str, String)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    };
    let mut frames = Vec::new();
    if !reply.body.is_empty() {
        frames.push(Frame::data(Bytes::from(reply.body)));
    }
    if !reply.trailers.is_empty() {
        frames.push(Frame::trailers(map(&reply.trailers)));
    }
    let mut response = Response::new(Frames(frames.into_iter()));
    *response.status_mut() = reply.status.try_into().unwrap();
    *response.headers_mut() = map(&reply.headers);
    Ok(response)
}

/// A server's TLS with a certificate of `authority`; with `client_authority` clients must show one, too.
pub(crate) fn server_tls(authority: &Authority, client_authority: Option<&Authority>) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let issued = authority.issue_server();
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
                .unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
