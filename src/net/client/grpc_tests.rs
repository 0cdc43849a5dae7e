//! Channels against peers on sockets of their own.

use std::sync::atomic::AtomicU32;

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::net::client::proxy::ProxyRules;
use crate::net::client::test_peer::{Peer, Reply};

fn settings(address: SocketAddr) -> ChannelSettings {
    ChannelSettings {
        target: Target {
            host: address.ip().to_string(),
            port: address.port(),
        },
        dialer: Dialer {
            tls: None,
            proxies: Arc::new(ProxyRules::none()),
        },
        authority: Authority::from_static("test:1"),
        balancer: Balancer::RoundRobin,
        keepalive: None,
        wait_for_ready: true,
        write_buffer: 64 * 1024,
    }
}

async fn call(channel: &Channel) -> Result<Bytes, GrpcStatus> {
    let path = PathAndQuery::from_static("/a.B/C");
    let chunks = [Bytes::from_static(&[0; 5])];
    tokio::time::timeout(Duration::from_secs(20), channel.unary(path, &HeaderMap::new(), &chunks))
        .await
        .expect("an answer within 20 s")
}

/// A channel whose addresses the test chooses.
fn by_hand(address: SocketAddr) -> Channel {
    let shared = Arc::new(Shared {
        settings: settings(address),
        peers: Mutex::default(),
        changed: Notify::new(),
        calls: AtomicUsize::new(0),
        stop: CancellationToken::new(),
    });
    Channel {
        shared,
        tasks: TaskTracker::new(),
    }
}

fn resolved(channel: &Channel, addresses: &[SocketAddr]) {
    let wanted = addresses.iter().map(|address| vec![*address]).collect();
    for (addresses, stop) in channel.shared.reconcile(wanted) {
        let keeper = keep(Arc::clone(&channel.shared), channel.tasks.clone(), addresses);
        channel.tasks.spawn(stop.run_until_cancelled_owned(keeper));
    }
}

async fn all_ready(channel: &Channel) {
    loop {
        let changed = channel.shared.changed.notified();
        let ready = |peer: &super::Peer| matches!(peer.state, State::Ready(_));
        if channel.shared.peers().list.iter().all(ready) {
            return;
        }
        tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    }
}

#[tokio::test]
async fn addresses_are_used_in_turn_and_one_that_left_the_name_is_let_go() {
    let one = Peer::start(|_| Reply::grpc_message(b"")).await;
    let other = Peer::start(|_| Reply::grpc_message(b"")).await;
    let channel = by_hand(one.address);
    resolved(&channel, &[one.address, other.address]);
    all_ready(&channel).await;
    for _ in 0..6 {
        call(&channel).await.unwrap();
    }
    assert_eq!((one.requests().len(), other.requests().len()), (3, 3));

    resolved(&channel, &[one.address]);
    for _ in 0..3 {
        call(&channel).await.unwrap();
    }
    assert_eq!((one.requests().len(), other.requests().len()), (6, 3));
    assert_eq!(one.connections(), 1, "what stayed was not connected again");
}

#[tokio::test]
async fn with_one_address_down_the_other_takes_all_calls() {
    let up = Peer::start(|_| Reply::grpc_message(b"")).await;
    let down = Peer::start(|_| Reply::http(200)).await;
    let down_address = down.address;
    down.stop().await;
    let channel = by_hand(up.address);
    resolved(&channel, &[down_address, up.address]);
    for _ in 0..3 {
        call(&channel).await.unwrap();
    }
    assert_eq!(up.requests().len(), 3);
}

#[tokio::test]
async fn a_goaway_loses_no_call() {
    // A server that takes one call on each connection and says GOAWAY with the answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    let count = Arc::clone(&served);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            connections.spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    connection.graceful_shutdown();
                    let mut response = http::Response::new(());
                    response
                        .headers_mut()
                        .insert("grpc-status", HeaderValue::from_static("0"));
                    respond.send_response(response, true).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let channel = Channel::open(settings(address));
    for number in 1..=5 {
        // A call that met the GOAWAY on its way may come back as unavailable once; most find the next connection.
        let mut answer = call(&channel).await;
        if answer.is_err() {
            answer = call(&channel).await;
        }
        answer.unwrap_or_else(|status| panic!("call {number}: {status:?}"));
    }
    assert_eq!(served.load(Ordering::Relaxed), 5);
    channel.close().await;
}

#[tokio::test]
async fn an_unknown_name_is_said() {
    let mut settings = settings("127.0.0.1:1".parse().unwrap());
    settings.target.host = "no-such-name.invalid".to_owned();
    settings.wait_for_ready = false;
    let channel = Channel::open(settings);
    let status = call(&channel).await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("no-such-name.invalid"), "{status:?}");
}

#[tokio::test]
async fn after_close_calls_end_at_once() {
    let peer = Peer::start(|_| Reply::grpc_message(b"")).await;
    let channel = Channel::open(settings(peer.address));
    call(&channel).await.unwrap();
    channel.close().await;
    // With wait_for_ready there is nothing to wait for any more.
    assert_eq!(call(&channel).await.unwrap_err().code, Code::Unavailable);
}
