//! What a component is given when it is built.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Authenticators, BoxFuture, Commons, Instruments, MemoryState, StateStore, StatusBoard};
use crate::pdata::MemoryBudget;

/// The kinds of component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComponentKind {
    Receiver,
    Processor,
    Exporter,
    Connector,
    Extension,
}

impl ComponentKind {
    /// Every kind, in the order of the configuration reference.
    pub const ALL: [ComponentKind; 5] = [
        ComponentKind::Receiver,
        ComponentKind::Processor,
        ComponentKind::Exporter,
        ComponentKind::Connector,
        ComponentKind::Extension,
    ];

    /// Singular, lower case: also the label name of the Collector's metrics.
    pub fn name(self) -> &'static str {
        match self {
            ComponentKind::Receiver => "receiver",
            ComponentKind::Processor => "processor",
            ComponentKind::Exporter => "exporter",
            ComponentKind::Connector => "connector",
            ComponentKind::Extension => "extension",
        }
    }

    /// The key of its section in the configuration.
    pub fn section(self) -> &'static str {
        match self {
            ComponentKind::Receiver => "receivers",
            ComponentKind::Processor => "processors",
            ComponentKind::Exporter => "exporters",
            ComponentKind::Connector => "connectors",
            ComponentKind::Extension => "extensions",
        }
    }
}

/// `type[/name]`, as written in the configuration; telemetry labels carry it as written.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId {
    text: Arc<str>,
    type_len: usize,
}

impl ComponentId {
    /// Splits at the first slash. The configuration has checked the characters (collector behaviour: type
    /// `[A-Za-z][A-Za-z0-9_]{0,62}`, name 1 to 1024 characters).
    pub fn new(text: &str) -> Self {
        Self {
            type_len: text.find('/').unwrap_or(text.len()),
            text: text.into(),
        }
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the slash.
    pub fn type_name(&self) -> &str {
        &self.text[..self.type_len]
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z, OTLP's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// From whole seconds since the epoch.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }
}

/// Wall-clock time and waiting. The simulator brings a virtual one; everything else that needs intervals or deadlines
/// uses tokio's time, which tests can pause.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixNanos;
    /// Waits for `duration` of this clock's time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that asks the machine.
    fn now(&self) -> UnixNanos {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        UnixNanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The moment by which a stop has to be over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub tokio::time::Instant);

impl Deadline {
    /// `duration` from now.
    pub fn after(duration: Duration) -> Self {
        Self(tokio::time::Instant::now() + duration)
    }

    /// What is left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(tokio::time::Instant::now())
    }
}

/// Everything a component may reach outside itself. Cheap to clone.
#[derive(Clone)]
pub struct BuildContext {
    /// As written in the configuration.
    pub id: ComponentId,
    /// Which kind of component is being built.
    pub kind: ComponentKind,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Bound to this component: metrics made here carry its kind and id.
    pub instruments: Instruments,
    /// What components of the process share beyond this: rate limits of AWS accounts.
    pub commons: Commons,
    /// Cursors, spend and other small state of the process; survives a reload, and a crash where it is durable.
    pub state: Arc<dyn StateStore>,
    /// Where state may be kept; `None` keeps it in memory.
    pub state_dir: Option<PathBuf>,
    /// Where a drain without a state directory leaves what it could not deliver; the next start with the same
    /// configuration sends it first. `None`: nowhere, it is counted and logged instead.
    pub spill_dir: Option<PathBuf>,
    /// The process-wide budget of telemetry bytes.
    pub memory: MemoryBudget,
    /// How long admission may wait for memory before it refuses.
    pub admission_wait: Duration,
    /// Extensions that prove who sends a request.
    pub authenticators: Authenticators,
    /// Readiness and component states, for health, zpages and admin.
    pub status: StatusBoard,
    /// Cancelled when the component must end at once (the drain deadline has passed).
    pub stop: CancellationToken,
}

impl BuildContext {
    /// A context for tests and tools: system clock, own registry, no limits, no state.
    pub fn standalone(kind: ComponentKind, id: &str) -> Self {
        Self {
            id: ComponentId::new(id),
            kind,
            clock: Arc::new(SystemClock),
            instruments: Instruments::standalone(kind, id),
            commons: Commons::default(),
            state: Arc::new(MemoryState::default()),
            state_dir: None,
            spill_dir: None,
            memory: MemoryBudget::unlimited(),
            admission_wait: Duration::from_millis(100),
            authenticators: Authenticators::default(),
            status: StatusBoard::default(),
            stop: CancellationToken::new(),
        }
    }
}

/// Why a component could not start; names what the operator must change (address, file, permission).
#[derive(Debug, thiserror::Error)]
#[error("{kind} \"{id}\": {message}", kind = .kind.name())]
pub struct StartError {
    pub kind: ComponentKind,
    pub id: ComponentId,
    pub message: String,
}

impl StartError {
    /// For the component that `context` belongs to.
    pub fn new(context: &BuildContext, message: impl Into<String>) -> Self {
        Self {
            kind: context.kind,
            id: context.id.clone(),
            message: message.into(),
        }
    }
}
