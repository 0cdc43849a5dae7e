//! Socket tests of the generic listener.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn settings() -> ServerSettings {
    ServerSettings::new(Endpoint::parse("127.0.0.1:0").unwrap())
}

async fn echo_server(settings: &ServerSettings) -> HttpServer {
    serve_http(settings, |request: Request<Incoming>, peer: Arc<Peer>| async move {
        assert!(peer.address.ip().is_loopback());
        let version = format!("{:?}", request.version());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut answer = Response::new(Full::new(body));
        answer.headers_mut().insert("seen", version.parse().unwrap());
        answer
    })
    .await
    .unwrap()
}

async fn post(http2: bool, server: &HttpServer, body: &'static [u8]) -> (String, Bytes) {
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let request = Request::post(format!("http://{}/", server.addresses()[0]));
    let answer = client
        .request(request.body(Full::new(Bytes::from_static(body))).unwrap())
        .await
        .unwrap();
    let seen = answer.headers()["seen"].to_str().unwrap().to_owned();
    (seen, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn both_protocols_are_served_on_one_port() {
    let server = echo_server(&settings()).await;
    assert_eq!(
        post(false, &server, b"one").await,
        ("HTTP/1.1".to_owned(), "one".into())
    );
    assert_eq!(post(true, &server, b"two").await, ("HTTP/2.0".to_owned(), "two".into()));
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_accepts_no_more() {
    let (entered, mut entries) = tokio::sync::mpsc::channel(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&release);
    let server = serve_http(&settings(), move |_request, _peer| {
        let (entered, gate) = (entered.clone(), Arc::clone(&gate));
        async move {
            entered.send(()).await.unwrap();
            gate.notified().await;
            Response::new(Full::new(Bytes::from_static(b"done")))
        }
    })
    .await
    .unwrap();
    let address = server.addresses()[0];
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let call = client.get(format!("http://{address}/").parse().unwrap());
    let stop = async {
        entries.recv().await.unwrap();
        let stopping = server.stop(Deadline::after(Duration::from_secs(5)));
        tokio::join!(stopping, async { release.notify_one() });
    };
    let (answer, ()) = tokio::join!(call, stop);
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "done");
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_what_does_not_finish_before_the_deadline() {
    let server = serve_http(&settings(), |_request, _peer| {
        std::future::pending::<Response<Empty<Bytes>>>()
    })
    .await
    .unwrap();
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    while server.tasks.len() < 2 {
        tokio::task::yield_now().await;
    }
    server.stop(Deadline::after(Duration::from_millis(50))).await;
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_tls_hello_on_a_plain_port_is_closed_and_others_go_on() {
    let server = echo_server(&settings()).await;
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    stream.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
    assert_eq!(
        stream.read(&mut [0; 16]).await.unwrap_or(0),
        0,
        "closed without an answer"
    );
    assert_eq!(post(false, &server, b"still here").await.1, "still here");
}

#[tokio::test]
async fn connections_above_the_limit_of_a_client_are_closed_and_counted() {
    let mut settings = settings();
    settings.max_connections_per_client = 1;
    let server = echo_server(&settings).await;
    let mut first = TcpStream::connect(server.addresses()[0]).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 512]).await.unwrap() > 0);
    let mut second = TcpStream::connect(server.addresses()[0]).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(server.refused_connections().load(Ordering::Relaxed), 1);
    drop(first);
    // The place comes back when the server has seen the end of the first connection.
    loop {
        let mut again = TcpStream::connect(server.addresses()[0]).await.unwrap();
        again.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        if again.read(&mut [0; 512]).await.unwrap_or(0) > 0 {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_headers_and_idle_connections_are_closed() {
    let mut settings = settings();
    settings.header_timeout = Some(Duration::from_millis(40));
    settings.idle_timeout_http1 = Some(Duration::from_millis(400));
    let server = echo_server(&settings).await;
    let begun = tokio::time::Instant::now();
    for start in [
        &b""[..],
        b"POST / HT",
        b"POST / HTTP/1.1\r\nhost: a-long-enough-name\r\n",
    ] {
        let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
        stream.write_all(start).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "{start:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    // One that was served may rest longer than a header may take.
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        stream.read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "closed when idle for long"
    );
}

#[tokio::test]
async fn headers_over_the_limit_are_431() {
    let server = echo_server(&settings()).await;
    let long = "x".repeat(70_000);
    let many: String = (0..200).map(|n| format!("h{n}: v\r\n")).collect();
    for headers in [format!("long: {long}\r\n"), many] {
        let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(
            answer[..read].starts_with(b"HTTP/1.1 431"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut() {
    let mut settings = settings();
    settings.write_timeout = Some(Duration::from_millis(50));
    let big = Bytes::from(vec![0; 64 << 20]);
    let server = serve_http(&settings, move |_request, _peer| {
        let body = Full::new(big.clone());
        async move { Response::new(body) }
    })
    .await
    .unwrap();
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // One watcher task per listener remains; the connection's is gone once the write was given up.
    while server.tasks.len() < 2 {
        tokio::task::yield_now().await;
    }
    let gone = async {
        while server.tasks.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("the stalled connection was closed");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_told_to_go_away() {
    let mut settings = settings();
    settings.max_connection_age = Some(Duration::from_millis(50));
    let server = echo_server(&settings).await;
    let stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    let (_sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::time::timeout(Duration::from_secs(10), connection)
        .await
        .expect("closed by the server")
        .unwrap();
}
