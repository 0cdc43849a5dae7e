//! Stopping: what was read is answered, nothing that was acknowledged is lost, nothing new is taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_stop_under_load_loses_nothing_that_was_acknowledged() {
    let harness = start_default().await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut load = tokio::task::JoinSet::new();
    let (grpc, http) = (harness.grpc(), harness.http());
    let tls_free = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for n in 0..8 {
        let acknowledged = Arc::clone(&acknowledged);
        let client = tls_free.clone();
        load.spawn(async move {
            if n % 2 == 0 {
                let (sender, _driver) = http2_connection(grpc).await;
                loop {
                    let request = Request::post(format!("http://a{TRACES_METHOD}"))
                        .header("content-type", "application/grpc")
                        .body(Full::new(framed(0, &spans(3))))
                        .unwrap();
                    let Ok(answer) = sender.clone().send_request(request).await else {
                        return;
                    };
                    let Ok(body) = answer.into_body().collect().await else {
                        return;
                    };
                    if body.trailers().is_some_and(|trailers| trailers["grpc-status"] == "0") {
                        acknowledged.fetch_add(3, Ordering::SeqCst);
                    }
                }
            }
            loop {
                let request = Request::post(format!("http://{http}/v1/traces"))
                    .header("content-type", "application/x-protobuf")
                    .body(Full::new(Bytes::from(spans(3))))
                    .unwrap();
                match client.request(request).await {
                    Ok(answer) if answer.status() == 200 => acknowledged.fetch_add(3, Ordering::SeqCst),
                    _ => return,
                };
            }
        });
    }
    while acknowledged.load(Ordering::SeqCst) < 300 {
        tokio::task::yield_now().await;
    }
    harness.receiver.stop(Deadline::after(Duration::from_secs(10))).await;
    while load.join_next().await.is_some() {}
    let delivered: usize = harness.sink.seen().into_iter().map(|(_, items)| items).sum();
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    assert!(
        delivered >= acknowledged,
        "{acknowledged} acknowledged, {delivered} delivered"
    );
    let counted = harness.count("accepted_spans", "grpc") + harness.count("accepted_spans", "http");
    assert_eq!(counted, delivered as u64);
    assert!(TcpStream::connect(grpc).await.is_err() && TcpStream::connect(http).await.is_err());
    assert_eq!(harness.context.memory.used(), 0);
    harness.receiver.stop(Deadline::after(Duration::from_secs(1))).await;
}
