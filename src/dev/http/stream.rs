//! `GET /api/v1/stream`: what comes in, pushed as server-sent events, many topics on one connection.
//!
//! A pump turns changes of the store into ticks, at most 20 a second, and keeps the last of them in a ring. Each client
//! reads the ring at its own pace and renders what it asked for; one that falls behind the ring hears `gap`. The id of
//! an event is that of its tick, so that `Last-Event-ID` resumes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Frame;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::params::{Params, respond};
use crate::dev::answers::{self, log_row, row_of_trace};
use crate::dev::live::{Bulletin, END, Heard, Subscription};
use crate::dev::query::{NoExtras, Query as Filter, Window};
use crate::dev::store::{Snapshot, Store, TraceId};
use crate::pdata::Signal;

/// Between two ticks.
const TICK: Duration = Duration::from_millis(50);
/// Ticks that can be resumed.
const KEPT: usize = 512;
/// Without anything to say.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two of `status`.
const STATUS: Duration = Duration::from_secs(1);
/// Texts that wait for a slow client.
const QUEUE: usize = 16;
/// Clients at the same time.
const MOST_CLIENTS: usize = 64;
/// Traces, and log records, of one event.
const MOST_LISTED: usize = 200;

const TOPICS: [&str; 7] = ["traces", "spans", "logs", "metrics", "alerts", "status", "pipeline"];

/// What came in one stretch of time.
#[derive(Default)]
struct Tick {
    id: u64,
    /// New spans by trace.
    traces: HashMap<TraceId, u32>,
    /// New log records.
    logs: Vec<(u32, Range<usize>)>,
    metrics: BTreeSet<String>,
    bulletins: Vec<Arc<Bulletin>>,
    status: bool,
    /// Changes that the pump itself missed.
    missed: u64,
}

#[derive(Default)]
struct Ring {
    ticks: VecDeque<Arc<Tick>>,
}

/// Shared by all clients of a store. Its tasks end with it.
pub struct Hub {
    store: Weak<Store>,
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    pump: std::sync::Once,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Hub {
    pub fn new(store: &Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::downgrade(store),
            ring: Arc::default(),
            newest: watch::Sender::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            pump: std::sync::Once::new(),
        })
    }

    /// Begins with the first client.
    fn start(&self, store: &Arc<Store>) {
        self.pump.call_once(|| {
            let pump = Pump {
                store: Weak::clone(&self.store),
                ring: Arc::clone(&self.ring),
                newest: self.newest.clone(),
                changes: store.live().subscribe(),
                bulletins: store.live().bulletins(),
            };
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                stop.run_until_cancelled(pump.run()).await;
            });
        });
    }
}

struct Pump {
    store: Weak<Store>,
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
    changes: Subscription,
    bulletins: tokio::sync::broadcast::Receiver<Arc<Bulletin>>,
}

impl Pump {
    async fn run(mut self) {
        let mut status = tokio::time::interval(STATUS);
        status.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What comes after a pause is seen at once, what follows it in turns.
        let mut turn = tokio::time::Instant::now();
        loop {
            let mut tick = Tick::default();
            tokio::select! {
                heard = self.changes.next() => match heard {
                    Some(heard) => self.note(&mut tick, heard),
                    None => return,
                },
                bulletin = self.bulletins.recv() => tick.bulletins.extend(bulletin.ok()),
                _ = status.tick() => tick.status = true,
            }
            tokio::time::sleep_until(turn).await;
            turn = tokio::time::Instant::now() + TICK;
            while let Some(heard) = self.changes.try_next() {
                self.note(&mut tick, heard);
            }
            while let Ok(bulletin) = self.bulletins.try_recv() {
                tick.bulletins.push(bulletin);
            }
            self.push(tick);
        }
    }

    fn note(&self, tick: &mut Tick, heard: Heard) {
        let change = match heard {
            Heard::New(change) => change,
            Heard::Missed(missed) => {
                tick.missed += missed;
                return;
            }
        };
        if change.signal == Signal::Logs {
            tick.logs.push((change.segment, change.rows));
            return;
        }
        let Some(segment) = self
            .store
            .upgrade()
            .and_then(|store| store.segment(change.signal, change.segment))
        else {
            return;
        };
        for row in change.rows.start..change.rows.end.min(segment.len()) {
            if change.signal == Signal::Traces {
                *tick.traces.entry(segment.trace(row)).or_default() += 1;
            } else if !tick.metrics.contains(segment.name(row)) {
                tick.metrics.insert(segment.name(row).to_owned());
            }
        }
    }

    fn push(&self, mut tick: Tick) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.newest.borrow() + 1;
        tick.id = id;
        if ring.ticks.len() >= KEPT {
            ring.ticks.pop_front();
        }
        ring.ticks.push_back(Arc::new(tick));
        drop(ring);
        self.newest.send_replace(id);
    }
}

/// What a client asked for.
struct Wish {
    topics: Vec<String>,
    filter: Filter,
}

/// The handler.
pub async fn stream(State(hub): State<Arc<Hub>>, Query(params): Query<Params>, headers: HeaderMap) -> Response {
    let Some(store) = hub.store.upgrade() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let filter = match params.query(&store) {
        Ok(filter) => filter,
        Err(failure) => return respond(&failure),
    };
    let topics: Vec<String> = params
        .text("topics")
        .split(',')
        .filter(|topic| !topic.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = topics.iter().find(|topic| !TOPICS.contains(&topic.as_str())) {
        let message = format!("there is no topic {unknown:?}: {}", TOPICS.join(", "));
        return respond(&answers::Failure::Bad(message));
    }
    if hub.tasks.len() > MOST_CLIENTS {
        let body = axum::Json(json!({"v": 1, "error": "too many streams are open"}));
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], body).into_response();
    }
    hub.start(&store);
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = last.or(params.some("last_event_id")).and_then(|id| id.parse().ok());
    let (sender, receiver) = mpsc::channel(QUEUE);
    let client = Client {
        store: Arc::downgrade(&store),
        ring: Arc::clone(&hub.ring),
        newest: hub.newest.subscribe(),
        wish: Arc::new(Wish { topics, filter }),
        sender,
    };
    let stop = hub.stop.clone();
    hub.tasks.spawn(async move {
        stop.run_until_cancelled(client.run(after)).await;
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::new(Texts(receiver))).into_response()
}

struct Client {
    store: Weak<Store>,
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<u64>,
    wish: Arc<Wish>,
    sender: mpsc::Sender<Bytes>,
}

impl Client {
    /// Until the client goes.
    async fn run(mut self, after: Option<u64>) {
        let newest = *self.newest.borrow_and_update();
        // An id that is not ours is of a process before this one.
        let mut last = after.filter(|id| *id <= newest).unwrap_or(newest);
        let mut hello = format!("retry: 1000\nid: {last}\n: radiosonde\n\n");
        if after.is_some_and(|id| id > newest) {
            hello.push_str(&event("gap", &json!({"missed": null})));
        }
        if self.sender.send(hello.into()).await.is_err() {
            return;
        }
        loop {
            let (ticks, missed) = self.ticks_after(last);
            if let Some(tick) = ticks.last() {
                last = tick.id;
                let is_end = ticks
                    .iter()
                    .flat_map(|tick| &tick.bulletins)
                    .any(|bulletin| bulletin.topic == END);
                if !self.tell(ticks, missed).await || is_end {
                    return;
                }
            }
            tokio::select! {
                changed = self.newest.changed() => if changed.is_err() { return },
                () = self.sender.closed() => return,
                () = tokio::time::sleep(HEARTBEAT) => {
                    if self.sender.send(Bytes::from_static(b": still here\n\n")).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn ticks_after(&self, last: u64) -> (Vec<Arc<Tick>>, u64) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = ring.ticks.front().map_or(0, |first| first.id.saturating_sub(last + 1));
        let ticks = ring.ticks.iter().filter(|tick| tick.id > last).cloned().collect();
        (ticks, missed)
    }

    /// Renders off the async workers; `false` when the client has gone.
    async fn tell(&self, ticks: Vec<Arc<Tick>>, missed: u64) -> bool {
        let (store, wish) = (Weak::clone(&self.store), Arc::clone(&self.wish));
        let rendering = tokio::task::spawn_blocking(move || {
            let store = store.upgrade()?;
            Some(render(&store, &wish, &ticks, missed))
        });
        match rendering.await {
            Ok(Some(text)) if text.is_empty() => true,
            Ok(Some(text)) => self.sender.send(text.into()).await.is_ok(),
            _ => false,
        }
    }
}

fn event(name: &str, data: &Json) -> String {
    // JSON has no line breaks of its own.
    format!("event: {name}\ndata: {data}\n\n")
}

fn render(store: &Store, wish: &Wish, ticks: &[Arc<Tick>], missed: u64) -> String {
    let snapshot = store.snapshot();
    let wants = |topic: &str| wish.topics.is_empty() || wish.topics.iter().any(|wanted| wanted == topic);
    let mut text = String::new();
    let missed = missed + ticks.iter().map(|tick| tick.missed).sum::<u64>();
    if missed > 0 {
        text.push_str(&event("gap", &json!({"missed": missed})));
    }
    if wants("traces") {
        text.push_str(&traces(store, &snapshot, wish, ticks));
    }
    if wants("spans") {
        let mut by_trace: HashMap<&TraceId, u32> = HashMap::new();
        for (id, spans) in ticks.iter().flat_map(|tick| &tick.traces) {
            *by_trace.entry(id).or_default() += spans;
        }
        for (id, spans) in by_trace.into_iter().take(MOST_LISTED) {
            text.push_str(&event("spans", &json!({"trace_id": hex::encode(id), "rows": spans})));
        }
    }
    if wants("logs") {
        text.push_str(&logs(&snapshot, wish, ticks));
    }
    let metrics: BTreeSet<&String> = ticks.iter().flat_map(|tick| &tick.metrics).collect();
    if wants("metrics") && !metrics.is_empty() {
        text.push_str(&event("metrics", &json!({"names": metrics})));
    }
    for bulletin in ticks
        .iter()
        .flat_map(|tick| &tick.bulletins)
        .filter(|bulletin| bulletin.topic != END && wants(bulletin.topic))
    {
        text.push_str(&event(bulletin.topic, &bulletin.data));
    }
    if wants("status") && ticks.iter().any(|tick| tick.status) {
        let status = Json::Object(super::status_fields(store));
        text.push_str(&event("status", &status));
    }
    // The id stands with the last of a tick: whoever resumes has all of it or none.
    if let (false, Some(last)) = (text.is_empty(), ticks.last()) {
        let at = text.rfind("event: ").unwrap_or(0);
        text.insert_str(at, &format!("id: {}\n", last.id));
    }
    text
}

fn traces(store: &Store, snapshot: &Snapshot, wish: &Wish, ticks: &[Arc<Tick>]) -> String {
    let ids: BTreeSet<&TraceId> = ticks.iter().flat_map(|tick| tick.traces.keys()).collect();
    let total = ids.len();
    let fitting = ids.into_iter().filter(|id| fits(store, snapshot, &wish.filter, id));
    let rows: Vec<_> = fitting
        .take(MOST_LISTED)
        .filter_map(|id| row_of_trace(store, snapshot, id, store.now()))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    event("traces", &json!({"traces": rows, "truncated": total > MOST_LISTED}))
}

/// Whether a span of this trace fits.
fn fits(store: &Store, snapshot: &Snapshot, filter: &Filter, id: &TraceId) -> bool {
    if filter.is_all() {
        return true;
    }
    let Some(trace) = store.traces().get(id) else {
        return false;
    };
    let segments = trace
        .segments
        .iter()
        .rev()
        .filter_map(|seq| snapshot.get(Signal::Traces, *seq));
    let mut segments = segments.take(4);
    segments.any(|segment| {
        let rows = filter.rows(segment, Window::ALL, &NoExtras);
        rows.rows().any(|row| segment.trace(row) == *id)
    })
}

fn logs(snapshot: &Snapshot, wish: &Wish, ticks: &[Arc<Tick>]) -> String {
    let mut rows = Vec::new();
    let mut skipped = 0_usize;
    for (seq, range) in ticks.iter().flat_map(|tick| &tick.logs) {
        let Some(segment) = snapshot.get(Signal::Logs, *seq) else {
            continue;
        };
        let fitting = (!wish.filter.is_all()).then(|| wish.filter.rows(segment, Window::ALL, &NoExtras));
        for row in range.start..range.end.min(segment.len()) {
            if fitting.as_ref().is_some_and(|fitting| !fitting.has(row)) {
                continue;
            }
            if rows.len() < MOST_LISTED {
                rows.push(log_row(segment, row));
            } else {
                skipped += 1;
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    event("logs", &json!({"logs": rows, "skipped": skipped}))
}

/// A body of texts as they come.
pub struct Texts(pub mpsc::Receiver<Bytes>);

impl http_body::Body for Texts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0
            .poll_recv(context)
            .map(|text| text.map(|text| Ok(Frame::data(text))))
    }
}
