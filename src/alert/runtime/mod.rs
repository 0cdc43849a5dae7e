//! One engine at work: data in from all pipelines it stands in, a round each second, state on the disk before anybody is
//! told, and what fires to the listener, the log, and the pipelines behind the connector.

mod emit;
mod events;
mod explain;
mod keep;
mod learned;
mod own;
#[cfg(feature = "aws")]
mod past;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::events::Events;
pub use self::explain::router;
use self::own::Own;
pub use self::settings::Settings;
use super::engine::Engine;
use super::intake::Intake;
use super::notify::Notifier;
use super::told::{Listener, Told};
use crate::component::{BoxFuture, BuildContext, ComponentKind, Deadline, LimitedLog, Outlets, Running};
use crate::pdata::{Batch, Signal};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Everything that fires is told again so often, whatever happens. Milliseconds.
const TELL_AGAIN: i64 = 60_000;
/// Samples are put on the disk so often at least. Milliseconds.
const KEEP_SAMPLES: i64 = 10_000;
/// The longest wait for the disk at the end.
const LONGEST_END: Duration = Duration::from_secs(5);

/// The engines of the process, by kind, id and configuration: one id is one engine in all its pipelines.
#[derive(Default)]
pub struct Engines(Mutex<HashMap<(ComponentKind, String, u64), Weak<Runtime>>>);

/// What the engine and the intake share a lock for.
struct Core {
    engine: Engine,
    intake: Intake,
    events: Events,
    /// Points since the last time samples were kept.
    journal: keep::Journal,
}

/// A running engine.
pub struct Runtime {
    context: BuildContext,
    settings: Settings,
    core: Mutex<Core>,
    own: Own,
    history: learned::History,
    listener: Mutex<Option<Arc<dyn Listener>>>,
    notifier: Arc<Notifier>,
    outlets: Mutex<Outlets>,
    users: AtomicUsize,
    quit: CancellationToken,
    tasks: TaskTracker,
    log: LimitedLog,
}

/// What a round has to remember.
#[derive(Default)]
struct Memory {
    loaded: bool,
    saved: HashMap<u64, u64>,
    told_at: i64,
    samples_at: i64,
    emitted_at: i64,
}

impl Runtime {
    /// The engine of this component; started by the first that asks.
    pub fn of(settings: &Settings, context: &BuildContext) -> Arc<Self> {
        let engines = context.commons.get::<Engines>();
        let mut engines = engines.0.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|_, runtime| runtime.strong_count() > 0);
        let key = (context.kind, context.id.to_string(), settings.fingerprint);
        if let Some(runtime) = engines.get(&key).and_then(Weak::upgrade)
            && !runtime.quit.is_cancelled()
        {
            runtime.users.fetch_add(1, Ordering::Relaxed);
            return runtime;
        }
        let runtime = Self::start(settings.clone(), context);
        engines.insert(key, Arc::downgrade(&runtime));
        runtime
    }

    fn start(settings: Settings, context: &BuildContext) -> Arc<Self> {
        let mut engine = Engine::new(settings.engine, &settings.groups);
        let events = Events::new(&settings.events, &mut engine);
        let own = Own::new(&engine, context);
        let notifier = Notifier::new(settings.notify.clone(), context);
        let runtime = Arc::new(Self {
            core: Mutex::new(Core {
                engine,
                intake: Intake::new(settings.resource_labels.clone()),
                events,
                journal: keep::Journal::default(),
            }),
            own,
            history: learned::History::default(),
            listener: Mutex::new(Some(Arc::clone(&notifier) as Arc<dyn Listener>)),
            notifier,
            outlets: Mutex::new(Outlets::default()),
            users: AtomicUsize::new(1),
            quit: CancellationToken::new(),
            tasks: TaskTracker::new(),
            log: LimitedLog::default(),
            context: context.clone(),
            settings,
        });
        let worker = Arc::clone(&runtime);
        runtime.tasks.spawn(async move { worker.run().await });
        #[cfg(feature = "aws")]
        {
            let worker = Arc::clone(&runtime);
            runtime.tasks.spawn(async move { worker.learn_the_past().await });
        }
        runtime
    }

    /// Who is told from now on, in place of the notifying side.
    #[cfg(test)]
    fn listen(&self, listener: Arc<dyn Listener>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Where transitions and `ALERTS` go.
    pub fn lead_to(&self, outlets: Outlets) {
        *self.outlets.lock().unwrap_or_else(PoisonError::into_inner) = outlets;
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the epoch.
    fn now(&self) -> i64 {
        i64::try_from(self.context.clock.now().0 / 1_000_000).unwrap_or(i64::MAX)
    }

    /// Reads a batch. Never fails: what cannot be read is counted.
    pub fn take(&self, batch: Batch) {
        let signal = batch.signal();
        let now = self.now();
        let origin = batch.origin().clone();
        for part in batch.into_parts() {
            let mut core = self.core();
            let Core {
                engine,
                intake,
                events,
                journal,
            } = &mut *core;
            journal.begin(engine);
            let read = match signal {
                Signal::Metrics => intake.metrics(&part, now, engine),
                Signal::Traces | Signal::Logs => {
                    events.take(signal, &part, &origin, self.context.clock.as_ref(), now, intake, engine)
                }
            };
            journal.end(engine);
            drop(core);
            if read.is_err() {
                self.own.unreadable.add(1);
            }
        }
    }

    async fn run(&self) {
        let mut memory = Memory::default();
        while self
            .quit
            .run_until_cancelled(self.context.clock.sleep(ROUND))
            .await
            .is_some()
        {
            self.round(&mut memory, false).await;
        }
        self.round(&mut memory, true).await;
    }

    async fn round(&self, memory: &mut Memory, is_last: bool) {
        let now = self.now();
        if !memory.loaded {
            // Without what was decided before nothing is decided: it would page twice.
            if !self.load(now).await {
                return;
            }
            memory.loaded = true;
            self.history.loaded.cancel();
        }
        self.own.rounds.add(1);
        let changed = {
            let mut core = self.core();
            let Core {
                engine,
                intake,
                events,
                journal,
            } = &mut *core;
            // What the agent says of itself is kept like all else: a restart would end its alerts and begin them anew.
            journal.begin(engine);
            events.flush(now, intake, engine);
            self.own.sample(engine, now);
            journal.end(engine);
            engine.round(now)
        };
        self.own.note(&self.core().engine, now);
        // What was decided is written with the samples it was decided by.
        let samples_due = changed || is_last || now - memory.samples_at >= KEEP_SAMPLES;
        if samples_due {
            match self.keep(&mut memory.saved, is_last, now).await {
                Ok(()) => memory.samples_at = now,
                Err(error) => {
                    if let Some(left_out) = self.log.admit() {
                        tracing::warn!(component = %self.context.id, %error, left_out,
                            "the state of alerts could not be written; nobody is told before it is");
                    }
                    return;
                }
            }
        }
        if changed || now - memory.told_at >= TELL_AGAIN {
            memory.told_at = now;
            self.tell(now).await;
        }
        if now - memory.emitted_at >= self.settings.engine.interval {
            memory.emitted_at = now;
            self.emit_series(now).await;
        }
    }

    async fn tell(&self, now: i64) {
        let (told, transitions) = {
            let core = self.core();
            (core.engine.told(), core.engine.transitions())
        };
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener
            && let Err(error) = listener.tell(u64::try_from(now).unwrap_or(0) * 1_000_000, told).await
        {
            if let Some(left_out) = self.log.admit() {
                tracing::warn!(component = %self.context.id, %error, left_out,
                    "alerts could not be handed to the notifying side; they are told again");
            }
            return;
        }
        for (told, is_end) in &transitions {
            self.log_transition(told, *is_end);
        }
        self.emit_transitions(&transitions, now).await;
        self.core().engine.mark_told();
    }

    fn log_transition(&self, told: &Told, is_end: bool) {
        let of = |list: &[(String, String)], name: &str| {
            let found = list.iter().find(|(have, _)| have == name);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let (alert, severity) = (of(&told.labels, "alertname"), of(&told.labels, "severity"));
        let summary = of(&told.annotations, "summary");
        if is_end {
            tracing::info!(component = %self.context.id, %alert, %severity, labels = ?told.labels,
                "alert is over: {summary}");
        } else {
            tracing::warn!(component = %self.context.id, %alert, %severity, labels = ?told.labels, value = told.value,
                resolution_steps = ?told.guidance.resolution_steps, "alert: {summary}");
        }
    }
}

impl Running for Runtime {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The last of its pipelines ends it.
            let others = self
                .users
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |users| users.checked_sub(1))
                .map_or(0, |before| before - 1);
            if others > 0 {
                return;
            }
            self.quit.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining().min(LONGEST_END), self.tasks.wait()).await;
            self.notifier.stop(deadline).await;
        })
    }
}
