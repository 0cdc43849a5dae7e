//! The far end and the oracle: every id with how often it came, and whether it came as it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderValue, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::load::{Ledger, check_of, first_id};
use crate::{h2io, locked};

/// What the far end does with a request.
#[derive(Clone, Copy, Debug, Default)]
pub enum Mode {
    #[default]
    Take,
    /// UNAVAILABLE.
    Refuse,
    /// Takes it, and answers after this long.
    Slow(Duration),
    /// Takes it, and the answer is lost.
    LoseAnswer,
    /// Takes it, and closes the connection.
    GoAway,
}

/// What came. Outlives the listeners.
#[derive(Default)]
pub struct Oracle {
    seen: Mutex<Vec<u8>>,
    total: AtomicU64,
    changed: AtomicU64,
    mode: Mutex<Mode>,
}

/// What became of what was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    pub acknowledged: u64,
    pub lost: u64,
    /// Came again.
    pub duplicates: u64,
    /// Not as it was sent, or never sent.
    pub changed: u64,
}

impl Oracle {
    pub fn mode(&self, mode: Mode) {
        *locked(&self.mode) = mode;
    }

    /// Spans that came, doubles included.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn take(&self, message: &[u8]) -> Result<()> {
        let request = ExportTraceServiceRequest::decode(message)?;
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let mut count = 0;
        let mut seen = locked(&self.seen);
        for span in scopes.flat_map(|scope| &scope.spans) {
            count += 1;
            let number = |bytes: &[u8]| bytes.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
            let id = number(&span.span_id);
            let is_whole = id.is_some_and(|id| number(&span.trace_id) == Some(check_of(id)));
            let (Some(id), true, "GET /cart") = (id, is_whole, span.name.as_str()) else {
                self.changed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let index = usize::try_from(id)?;
            if seen.len() <= index {
                seen.resize((index + 1).next_power_of_two(), 0);
            }
            seen[index] = seen[index].saturating_add(1);
        }
        self.total.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until nothing has come for `quiet`.
    pub async fn until_quiet(&self, quiet: Duration) {
        let mut before = self.total();
        loop {
            tokio::time::sleep(quiet).await;
            let now = self.total();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// How many of the acknowledged spans have come.
    pub fn judge(&self, ledger: &Ledger, spans: u64) -> Verdict {
        let seen = locked(&self.seen);
        let mut verdict = Verdict {
            changed: self.changed.load(Ordering::Relaxed),
            ..Verdict::default()
        };
        for number in ledger.acknowledged() {
            let first = first_id(number, spans);
            for id in first..first + spans {
                verdict.acknowledged += 1;
                let came = seen.get(id as usize).copied().unwrap_or(0);
                if came == 0 {
                    verdict.lost += 1;
                    if verdict.lost <= 20 {
                        eprintln!("lost: span {} of request {number}", id - first);
                    }
                }
            }
        }
        let issued = usize::try_from(first_id(ledger.issued(), spans)).unwrap_or(usize::MAX);
        for (id, came) in seen.iter().enumerate() {
            verdict.duplicates += u64::from(came.saturating_sub(1));
            verdict.changed += u64::from(id >= issued && *came > 0);
        }
        verdict
    }
}

/// Listens until it is dropped.
pub struct Sink {
    _tasks: JoinSet<()>,
}

impl Sink {
    pub async fn start(address: SocketAddr, oracle: &Arc<Oracle>) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let oracle = Arc::clone(oracle);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let oracle = Arc::clone(&oracle);
                connections.spawn(async move {
                    // An end of a connection is no news here.
                    let _ended = h2io::serve(tcp, move |request, respond| {
                        answer(Arc::clone(&oracle), request, respond)
                    })
                    .await;
                });
            }
        });
        Ok(Self { _tasks: tasks })
    }
}

async fn answer(
    oracle: Arc<Oracle>,
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<()> {
    let mut body = request.into_body();
    let Ok(body) = h2io::collect_joined(&mut body).await else {
        // Broke in the middle: nothing came.
        return Ok(());
    };
    ensure!(body.len() >= 5, "a message without a prefix");
    let mode = *locked(&oracle.mode);
    if matches!(mode, Mode::Refuse) {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        respond.send_response(response, true)?;
        return Ok(());
    }
    oracle.take(&body[5..])?;
    match mode {
        Mode::Slow(delay) => tokio::time::sleep(delay).await,
        Mode::LoseAnswer => {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            return Ok(());
        }
        Mode::GoAway => {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return Ok(());
        }
        Mode::Take | Mode::Refuse => {}
    }
    // Whoever waited too long has gone.
    let _gone = h2io::answer_ok(respond);
    Ok(())
}
