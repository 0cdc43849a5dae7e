//! The whole notifying side against receivers on real sockets: fakes, the simulated SNS, and Debian's Alertmanager where
//! it is installed. Time runs 600 times as fast, except for the last.

mod fakes;
#[cfg(all(feature = "aws", feature = "simulator"))]
mod queue;
mod real;

use std::sync::Arc;
use std::time::Duration;

use super::super::{Notifier, Settings};
use crate::alert::{Listener, Told};
use crate::component::{BuildContext, Clock, ComponentKind, UnixNanos};
use crate::config::Section;
use crate::net::client::test_peer::{Peer, Received};

/// 2026-11-20T00:00:00Z.
const START: u64 = 1_795_132_800;

/// Runs 600 times as fast as the machine's.
struct Fast {
    began: tokio::time::Instant,
}

impl Clock for Fast {
    fn now(&self) -> UnixNanos {
        UnixNanos(START * 1_000_000_000 + self.began.elapsed().as_nanos() as u64 * 600)
    }

    fn sleep(&self, duration: Duration) -> crate::component::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration / 600))
    }
}

fn context() -> BuildContext {
    BuildContext {
        clock: Arc::new(Fast {
            began: tokio::time::Instant::now(),
        }),
        ..BuildContext::standalone(ComponentKind::Processor, "alerts")
    }
}

fn notifier(context: &BuildContext, config: &str) -> Arc<Notifier> {
    let section = Section::from_yaml(config);
    let settings = Settings::read(&section);
    assert_eq!(section.problems(), Vec::<String>::new());
    Notifier::new(settings, context)
}

async fn tell(notifier: &Notifier, alerts: &[&Told]) {
    let alerts = alerts.iter().map(|told| (*told).clone()).collect();
    notifier.tell(0, alerts).await.unwrap();
}

/// Waits until a peer has so many requests.
async fn requests(peer: &Peer, number: usize) -> Vec<Received> {
    for _ in 0..1_500 {
        let requests = peer.requests();
        if requests.len() >= number {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} of {number} requests: {:?}", peer.requests().len(), peer.requests());
}

fn json(request: &Received) -> serde_json::Value {
    serde_json::from_slice(&request.body).unwrap()
}
