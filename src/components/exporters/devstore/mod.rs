//! Exporter `devstore`: puts telemetry into the embedded store of dev mode, which page, command line and MCP read.
//!
//! All exporters of this kind in a process feed the one store. It never refuses: what is oldest goes instead.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, Clock, ComponentKind, Deadline, Delivery, ExporterPlan, Factory, Feed,
    Plan, Refused, Running, Stability, Stage, StartError, SystemClock,
};
use crate::config::Section;
use crate::config::types::{ByteSize, GoDuration};
use crate::dev::lints::{CustomRule, CustomRules, Severity};
use crate::dev::parts::{Price, Prices};
use crate::dev::query::Query;
use crate::dev::store::{DEFAULT_CAP, Store};
use crate::pdata::{Batch, Signal};

/// The least that a store can work with: its segments are several megabytes.
const LEAST: u64 = 16 << 20;

/// Requests larger than this are taken off the async workers: 100 KB are a third of a millisecond.
const SMALL: usize = 128 << 10;

/// The registry's entry.
pub struct DevStoreFactory;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    memory: ByteSize,
    data_dir: Option<PathBuf>,
    /// What models cost, by the name of the model. Nothing is known but what stands here.
    genai_prices: BTreeMap<String, Price>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: ByteSize(DEFAULT_CAP),
            data_dir: None,
            genai_prices: BTreeMap::new(),
        }
    }
}

impl Factory for DevStoreFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "devstore"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Development
    }

    fn summary(&self) -> &'static str {
        "Keeps telemetry in memory, oldest out first, for the page and the queries of `radiosonde dev`."
    }

    fn example(&self) -> &'static str {
        "memory: 512MiB\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        if config.memory.0 < LEAST {
            section.error_at("memory", "must be at least 16MiB");
        }
        for (model, price) in &config.genai_prices {
            if !price.is_usable() {
                section.error_at(
                    "genai_prices",
                    format!("{model}: a price is a number of USD, zero or more"),
                );
            }
        }
        let alerts = section
            .take("alerts")
            .map(|alerts| alerts.elements())
            .unwrap_or_default();
        let alerts = alerts.iter().filter_map(alert).collect();
        Some(Plan::Exporter(Box::new(DevStorePlan { config, alerts })))
    }
}

/// One element of `alerts`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct AlertConfig {
    name: String,
    query: String,
    threshold: u64,
    window: GoDuration,
    severity: Severity,
    fix: String,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            query: String::new(),
            threshold: 1,
            window: GoDuration(Duration::from_secs(300)),
            severity: Severity::Warning,
            fix: String::new(),
        }
    }
}

fn alert(section: &Section) -> Option<CustomRule> {
    let config: AlertConfig = section.read()?;
    if config.name.trim().is_empty() {
        section.error_at("name", "an alert needs a name");
    }
    if config.query.trim().is_empty() {
        section.error_at("query", "an alert needs a query: what it counts");
    } else if let Err(error) = Query::parse(&config.query, SystemClock.now().0) {
        let suggestion = error.suggestion.map(|text| format!("; {text}")).unwrap_or_default();
        section.error_at(
            "query",
            format!("{} (at character {}){suggestion}", error.error, error.position + 1),
        );
    }
    if config.threshold == 0 {
        section.error_at("threshold", "must be at least 1");
    }
    if config.window.0.is_zero() {
        section.error_at("window", "must be longer than nothing");
    }
    Some(CustomRule {
        name: config.name,
        query: config.query,
        threshold: config.threshold,
        window: config.window.0,
        severity: config.severity,
        fix: config.fix,
    })
}

struct DevStorePlan {
    config: Config,
    alerts: Vec<CustomRule>,
}

impl ExporterPlan for DevStorePlan {
    fn delivery(&self) -> Delivery {
        // The store takes at once and never refuses: there is nothing to queue or to retry.
        Delivery::default()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        let store = context.commons.get::<Store>();
        store.set_cap(self.config.memory.0);
        store.set_clock(Arc::clone(&context.clock));
        if !self.alerts.is_empty() {
            context.commons.get::<CustomRules>().set(self.alerts.clone());
        }
        if !self.config.genai_prices.is_empty() {
            context.commons.get::<Prices>().set(self.config.genai_prices.clone());
        }
        // Of several exporters one names the directory; the store has one.
        if let Some(dir) = self.config.data_dir.as_ref().filter(|_| store.data_dir().is_none()) {
            let loaded = store
                .open_dir(dir)
                .map_err(|error| StartError::new(&context, error.to_string()))?;
            tracing::info!(dir = %dir.display(), requests = loaded.requests, cut = loaded.cut, "The store has been read.");
        }
        observe(&context, &store);
        let running = Arc::new(Keeper::start(Arc::clone(&store)));
        Ok(BuiltExporter {
            far_end: Arc::new(DevStore {
                on_disk: store.data_dir().is_some(),
                store,
                feed: context.commons.get(),
            }),
            running,
        })
    }
}

fn observe(context: &BuildContext, store: &Arc<Store>) {
    let used = Arc::clone(store);
    context.instruments.observe(
        "radiosonde_devstore_bytes",
        "Bytes that the store of dev mode holds.",
        &[],
        move || used.used() as f64,
    );
    for signal in Signal::ALL {
        let evicted = Arc::clone(store);
        context.instruments.observe(
            "radiosonde_devstore_evicted_items",
            "Items that left the store of dev mode to make room.",
            &[("signal", signal.name())],
            move || evicted.books(signal).evicted as f64,
        );
    }
}

struct DevStore {
    store: Arc<Store>,
    /// What comes is written to files.
    on_disk: bool,
    /// Whoever watches what passes.
    feed: Arc<Feed>,
}

impl Stage for DevStore {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            self.feed.tell(&batch);
            if batch.wire_len() <= SMALL && !self.on_disk {
                self.store.take(batch);
                return Ok(());
            }
            let store = Arc::clone(&self.store);
            let taking = tokio::task::spawn_blocking(move || store.take(batch)).await;
            taking
                .map(|_| ())
                .map_err(|_| Refused::permanent("the store could not read this request"))
        })
    }
}

/// Owns the task that completes segments and evicts.
struct Keeper {
    store: Arc<Store>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Keeper {
    fn start(store: Arc<Store>) -> Self {
        store.feed(true);
        let keeper = Self {
            store: Arc::clone(&store),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let stop = keeper.stop.clone();
        keeper.tasks.spawn(async move {
            while stop.run_until_cancelled(store.work()).await.is_some() {
                let store = Arc::clone(&store);
                // A panic ends one round; the next begins with the next request.
                let _ = tokio::task::spawn_blocking(move || store.maintain()).await;
            }
        });
        keeper
    }
}

impl Running for Keeper {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.store.live().end();
            self.stop.cancel();
            self.tasks.close();
            let _ = tokio::time::timeout(deadline.remaining(), self.tasks.wait()).await;
            let store = Arc::clone(&self.store);
            let flushing = tokio::task::spawn_blocking(move || store.flush());
            let _ = tokio::time::timeout(deadline.remaining(), flushing).await;
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
        self.store.feed(false);
    }
}
