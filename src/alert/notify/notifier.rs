//! The tasks of the notifying side: one that does what is due, one for each outlet. They and the engine share the
//! dispatcher; what it decides is committed before anybody else sees it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::super::{Listener, Told};
use super::api::Desk;
use super::config::{Settings, Target};
use super::counts::Counts;
use super::dispatch::Dispatcher;
use super::message::Facts;
use super::outbox::Failed;
use super::send::{Alertmanager, Common, Outlet, outlet};
use super::state::{Entry, Kept};
use crate::component::{BoxFuture, BuildContext, Deadline, LimitedLog, Running, StateError, with_state};
use crate::config::types::Secret;

/// The longest that nothing is looked at.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// After the state could not be written.
const AFTER_STATE_ERROR: Duration = Duration::from_secs(1);
/// Alertmanagers are told again what fires.
const AGAIN: u64 = 60 * 1_000_000_000;
/// Peers are not told more often than this of what is new.
const SETTLE: Duration = Duration::from_secs(1);

/// The notifying side of one engine.
pub struct Notifier {
    core: Arc<Core>,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
}

/// What the tasks share.
pub struct Core {
    /// Kind and id of the component: what the state and the API know the engine by.
    name: String,
    /// Nothing is done by it any more: the one that takes its place may read the state.
    ended: CancellationToken,
    /// Of the one whose place it takes.
    before: OnceLock<CancellationToken>,
    settings: Arc<Settings>,
    counts: Counts,
    context: BuildContext,
    /// `None` until the state has been read. Held while the state is written: nobody may act on what is not kept.
    dispatcher: Mutex<Option<Dispatcher>>,
    driver: Notify,
    outs: BTreeMap<String, Notify>,
    log: LimitedLog,
}

/// The dispatcher, loaded.
pub struct Desked<'a> {
    core: &'a Core,
    held: MutexGuard<'a, Option<Dispatcher>>,
}

impl Core {
    /// Now, nanoseconds since the epoch.
    pub fn now(&self) -> u64 {
        self.context.clock.now().0
    }

    /// What proves a webhook of PagerDuty.
    pub fn webhook_secrets(&self) -> Vec<Secret> {
        let outs = self.settings.receivers.iter().flat_map(|receiver| &receiver.outs);
        let secrets = outs.filter_map(|out| match &out.target {
            Target::PagerDuty(service) => service.webhook_secret.clone(),
            _ => None,
        });
        secrets.collect()
    }

    /// The dispatcher for oneself; reads the state the first time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn desk(&self) -> Result<Desked<'_>, StateError> {
        let mut held = self.dispatcher.lock().await;
        if held.is_none() {
            if let Some(before) = self.before.get() {
                before.cancelled().await;
            }
            let id = self.name.clone();
            let kept = with_state(&self.context.state, move |store| Kept::load(store, &id)).await?;
            if kept.unreadable > 0 {
                error!(
                    component = %self.context.id, records = kept.unreadable,
                    "Part of the state of the notifications cannot be read and is left out."
                );
                self.counts.dropped("", "unreadable", kept.unreadable);
            }
            *held = Some(Dispatcher::load(
                Arc::clone(&self.settings),
                self.counts.clone(),
                kept,
                self.now(),
            ));
        }
        Ok(Desked { core: self, held })
    }

    fn wake(&self) {
        self.driver.notify_one();
        for out in self.outs.values() {
            out.notify_one();
        }
    }

    /// Until then, until something changes, or until the end.
    async fn sleep(&self, duration: Duration, woken: &Notify, stop: &CancellationToken) {
        tokio::select! {
            () = self.context.clock.sleep(duration.min(LONGEST_SLEEP)) => {}
            () = woken.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Desked<'_> {
    /// Acts, and keeps what follows.
    ///
    /// # Errors
    /// When it could not be kept; it is tried again with the next change.
    pub async fn act<T>(&mut self, act: impl FnOnce(&mut Dispatcher) -> T) -> Result<T, StateError> {
        let Some(dispatcher) = self.held.as_mut() else {
            return Err(StateError::Cancelled);
        };
        let result = act(dispatcher);
        if dispatcher.changes().is_empty() {
            return Ok(result);
        }
        let changes = dispatcher.changes().to_commit(&self.core.name);
        with_state(&self.core.context.state, move |store| store.commit(changes)).await?;
        dispatcher.committed();
        self.core.wake();
        Ok(result)
    }
}

impl Notifier {
    /// Starts the tasks; called inside the runtime. Opens no connection yet.
    pub fn new(settings: Settings, context: &BuildContext) -> Arc<Self> {
        let settings = Arc::new(settings);
        let outs = settings.receivers.iter().flat_map(|receiver| &receiver.outs);
        let core = Arc::new(Core {
            name: format!("{}/{}", context.kind.name(), context.id),
            ended: CancellationToken::new(),
            before: OnceLock::new(),
            counts: Counts::new(context.id.as_str(), &context.instruments, &settings),
            context: context.clone(),
            dispatcher: Mutex::new(None),
            driver: Notify::new(),
            outs: outs.map(|out| (out.id.clone(), Notify::new())).collect(),
            log: LimitedLog::default(),
            settings: Arc::clone(&settings),
        });
        if let Some(before) = context.commons.get::<Desk>().register(&core.name, &core) {
            let _ = core.before.set(before.ended.clone());
        }
        let notifier = Self {
            core: Arc::clone(&core),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            kill: context.stop.child_token(),
        };
        notifier.spawn(drive(Arc::clone(&core), notifier.stop.clone()));
        let common = Common {
            settings: Arc::clone(&settings),
            context: context.clone(),
        };
        for out in settings.receivers.iter().flat_map(|receiver| &receiver.outs) {
            if let Target::Alertmanager(peer) = &out.target {
                let peer = Alertmanager::new(peer, &common);
                notifier.spawn(sync(Arc::clone(&core), out.id.clone(), peer, notifier.stop.clone()));
            } else if let Some(outlet) = outlet(out, &common) {
                notifier.spawn(deliver(
                    Arc::clone(&core),
                    out.id.clone(),
                    outlet,
                    notifier.stop.clone(),
                ));
            }
        }
        Arc::new(notifier)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.kill.clone().run_until_cancelled_owned(task));
    }
}

impl Listener for Notifier {
    fn tell(&self, now: u64, alerts: Vec<Told>) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(async move {
            let now = now.max(self.core.now());
            let mut desk = self.core.desk().await?;
            desk.act(|dispatcher| {
                dispatcher.tell(now, &alerts);
                dispatcher.tick(now);
            })
            .await
        })
    }
}

impl Running for Notifier {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            if tokio::time::timeout(deadline.remaining(), self.tasks.wait())
                .await
                .is_err()
            {
                self.kill.cancel();
                self.tasks.wait().await;
            }
            self.core.ended.cancel();
            // Where the state was never read nothing waits in memory.
            let waiting = self
                .core
                .dispatcher
                .lock()
                .await
                .as_ref()
                .map_or(0, Dispatcher::waiting);
            if waiting > 0 && self.core.context.state.is_durable() {
                info!(component = %self.core.context.id, messages = waiting, "Notifications wait for the next start.");
            } else if waiting > 0 {
                error!(
                    component = %self.core.context.id, messages = waiting,
                    "Notifications are lost: there is no state directory to keep them in."
                );
            }
        })
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
        self.core.ended.cancel();
    }
}

/// Does what is due.
async fn drive(core: Arc<Core>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = core.now();
        let due = match core.desk().await {
            Ok(mut desk) => {
                desk.act(|dispatcher| {
                    dispatcher.tick(now);
                    dispatcher.observe(now);
                    dispatcher.next_due()
                })
                .await
            }
            Err(error) => Err(error),
        };
        let pause = match due {
            Ok(Some(due)) => Duration::from_nanos(due.saturating_sub(now)),
            Ok(None) => LONGEST_SLEEP,
            Err(error) => {
                complain(&core, &error);
                AFTER_STATE_ERROR
            }
        };
        core.sleep(pause, &core.driver, &stop).await;
    }
}

fn complain(core: &Core, error: &StateError) {
    if let Some(left_out) = core.log.admit() {
        error!(component = %core.context.id, %error, left_out, "Notifications wait: their state cannot be kept.");
    }
}

/// What a task of an outlet finds to do.
enum Next {
    Send(Box<Entry>, Option<String>),
    /// Until this time, or until something changes.
    Wait(Option<u64>),
}

/// Delivers the messages of one outlet, one after another.
async fn deliver(core: Arc<Core>, out: String, outlet: Arc<dyn Outlet>, stop: CancellationToken) {
    let Some(woken) = core.outs.get(&out) else { return };
    loop {
        let now = core.now();
        let next = match core.desk().await {
            // Commits what a failed commit left, so that nothing leaves that is not kept.
            Ok(mut desk) => match desk.act(|_| ()).await {
                Ok(()) => desk
                    .held
                    .as_mut()
                    .map_or(Next::Wait(None), |dispatcher| next_of(dispatcher, &out, now)),
                Err(error) => {
                    complain(&core, &error);
                    Next::Wait(Some(now + 1_000_000_000))
                }
            },
            Err(error) => {
                complain(&core, &error);
                Next::Wait(Some(now + 1_000_000_000))
            }
        };
        match next {
            Next::Send(entry, place) => {
                let result = outlet.send(&entry, place.as_deref()).await;
                settle(&core, &entry, result).await;
            }
            // What is due now was tried; the rest waits for the next start.
            Next::Wait(_) if stop.is_cancelled() => return,
            Next::Wait(until) => {
                let pause = until.map_or(LONGEST_SLEEP, |until| Duration::from_nanos(until.saturating_sub(now)));
                core.sleep(pause, woken, &stop).await;
            }
        }
    }
}

fn next_of(dispatcher: &mut Dispatcher, out: &str, now: u64) -> Next {
    match dispatcher.take(out, now) {
        Some(entry) => {
            let place = dispatcher.place(out, &entry.lane).cloned();
            Next::Send(Box::new(entry), place)
        }
        None => Next::Wait(dispatcher.out_due(out)),
    }
}

async fn settle(core: &Core, entry: &Entry, result: Result<Option<String>, Failed>) {
    let now = core.now();
    if let Err(failed) = &result
        && let Some(left_out) = core.log.admit()
    {
        let (why, for_good) = match failed {
            Failed::Retry { why, .. } => (why, false),
            Failed::Refused { why } => (why, true),
        };
        let component = &core.context.id;
        if for_good {
            error!(%component, receiver = %entry.out, %why, left_out, "A notification was refused for good.");
        } else {
            warn!(%component, receiver = %entry.out, %why, left_out, "A notification could not be delivered. It is tried again.");
        }
    }
    let kept = match core.desk().await {
        Ok(mut desk) => {
            desk.act(|dispatcher| match result {
                Ok(place) => dispatcher.delivered(entry, place),
                Err(failed) => dispatcher.failed(entry, &failed, now),
            })
            .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        complain(core, &error);
    }
}

/// Tells one peer of an Alertmanager what fires: when it changes, and again every minute.
async fn sync(core: Arc<Core>, out: String, peer: Alertmanager, stop: CancellationToken) {
    let Some(woken) = core.outs.get(&out) else { return };
    let mut told: Vec<(u64, u64, Option<u64>)> = Vec::new();
    let (mut told_at, mut failures, mut not_before) = (0u64, 0u32, 0u64);
    loop {
        let now = core.now();
        let alerts: Vec<Facts> = match core.desk().await {
            Ok(mut desk) => desk.act(|dispatcher| dispatcher.synced(&out)).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let summary: Vec<_> = alerts
            .iter()
            .map(|facts| (facts.fingerprint, facts.starts_at, facts.ends_at))
            .collect();
        let is_new = summary != told;
        let is_due = !alerts.is_empty() && (is_new || now >= told_at + AGAIN) && now >= not_before;
        if is_due {
            let result = peer.tell(&alerts).await;
            let sent = result.is_ok();
            note_sync(&core, &out, &alerts, result).await;
            told_at = now;
            if sent {
                (failures, not_before) = (0, 0);
                // Ends that have arrived are not told again.
                told = summary
                    .into_iter()
                    .filter(|(_, _, ends_at)| ends_at.is_none())
                    .collect();
            } else {
                failures += 1;
                told.clear();
                not_before = core.now() + (1_000_000_000u64 << (failures - 1).min(6)).min(AGAIN);
            }
        } else if is_new && alerts.is_empty() {
            told.clear();
        }
        if stop.is_cancelled() {
            return;
        }
        let now = core.now();
        let next = if not_before > now {
            not_before
        } else if told.is_empty() {
            u64::MAX
        } else {
            told_at + AGAIN
        };
        core.sleep(Duration::from_nanos(next.saturating_sub(now)).max(SETTLE), woken, &stop)
            .await;
    }
}

async fn note_sync(core: &Core, out: &str, alerts: &[Facts], result: Result<(), Failed>) {
    if let Err(Failed::Retry { why, .. } | Failed::Refused { why }) = &result
        && let Some(left_out) = core.log.admit()
    {
        warn!(component = %core.context.id, receiver = %out, %why, left_out, "An Alertmanager was not told. It is tried again.");
    }
    let kept = match core.desk().await {
        Ok(mut desk) => {
            desk.act(|dispatcher| match &result {
                Ok(()) => dispatcher.synced_to(out, alerts),
                Err(_) => dispatcher.sync_failed(out),
            })
            .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        complain(core, &error);
    }
}
