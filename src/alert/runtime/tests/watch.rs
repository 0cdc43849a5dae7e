//! An engine on a clock of its own, for tests of receivers and rules together: data comes in as from a pipeline, a round is
//! one step of the clock, and everything that is told is written down once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use crate::alert::notify::Desk;
use crate::alert::runtime::{Runtime, Settings};
use crate::component::{
    BoxFuture, BuildContext, Clock, ComponentKind, Deadline, Instruments, Outlet, Outlets, Refused, Running,
    SampleValue, Stage, UnixNanos,
};
use crate::config::Section;
use crate::pdata::{Batch, Decoded};
use crate::simulator::VirtualClock;

/// Leads to the engine that runs now.
pub(crate) struct Ear(Mutex<Arc<Runtime>>);

impl Stage for Ear {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.0.lock().unwrap().take(batch);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Transitions as lines.
struct Told {
    start: i64,
    clock: VirtualClock,
    lines: Mutex<Vec<String>>,
}

impl Stage for Told {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let Decoded::Logs(request) = batch.decode().unwrap() else {
            panic!("transitions are log records");
        };
        let now = (self.clock.now().seconds() as i64 - self.start) / 60;
        let resources = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        for record in resources.flat_map(|scope| &scope.log_records) {
            let of = |wanted: &str| {
                let found = record.attributes.iter().find(|attribute| attribute.key == wanted);
                match found.and_then(|found| found.value.as_ref()?.value.clone()) {
                    Some(Any::StringValue(text)) => text,
                    _ => String::new(),
                }
            };
            let names = [
                "TableName",
                "Operation",
                "EndpointName",
                "VariantName",
                "PipelineName",
                "StepName",
                "kind",
            ];
            let about: Vec<String> = names.into_iter().map(of).filter(|name| !name.is_empty()).collect();
            let minute = (record.time_unix_nano as i64 / 1_000_000_000 - self.start) / 60;
            self.lines.lock().unwrap().push(format!(
                "{now} {} {} {} {} at {minute}",
                of("alert.state"),
                of("alertname"),
                of("severity"),
                about.join("/"),
            ));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The engine, and what it has told.
pub(crate) struct Watch {
    pub context: BuildContext,
    settings: Settings,
    clock: VirtualClock,
    ear: Arc<Ear>,
    told: Arc<Told>,
}

impl Watch {
    /// `section`: of the component. It shares what a process shares with `with`: what components have in common, and the
    /// page of metrics.
    pub fn start(section: &str, with: &BuildContext, start: i64) -> Self {
        let section = Section::from_yaml(section);
        let settings = Settings::read(&section).unwrap();
        assert_eq!(section.problems(), Vec::<String>::new());
        let clock = VirtualClock::frozen(UnixNanos::from_seconds(start as u64));
        let context = BuildContext {
            clock: Arc::new(clock.clone()),
            commons: with.commons.clone(),
            instruments: Instruments::new(with.instruments.registry().clone(), ComponentKind::Connector, "alerts"),
            ..BuildContext::standalone(ComponentKind::Connector, "alerts")
        };
        let told = Arc::new(Told {
            start,
            clock: clock.clone(),
            lines: Mutex::default(),
        });
        let runtime = Runtime::of(&settings, &context);
        lead(&runtime, &told);
        Self {
            context,
            settings,
            clock,
            ear: Arc::new(Ear(Mutex::new(runtime))),
            told,
        }
    }

    /// Where data goes.
    pub fn ear(&self) -> Arc<dyn Stage> {
        Arc::clone(&self.ear) as Arc<dyn Stage>
    }

    fn rounds(&self) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let own = samples
            .iter()
            .find(|sample| sample.name == "radiosonde_alerts_rounds_total");
        match own.map(|sample| &sample.value) {
            Some(SampleValue::Counter(rounds)) => *rounds,
            _ => 0,
        }
    }

    /// It is so late now: a round.
    pub async fn round(&self, now: i64) {
        self.settle().await;
        let before = self.rounds();
        self.clock.advance_to(UnixNanos::from_seconds(now as u64));
        for _ in 0..100_000 {
            if self.rounds() > before {
                return self.settle().await;
            }
            tokio::task::yield_now().await;
        }
        panic!("no round came");
    }

    /// Lets tasks that wait for nothing go on.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// The process ends and starts anew, with its state.
    pub async fn restart(&self) {
        let before = Arc::clone(&self.ear.0.lock().unwrap());
        before.stop(Deadline::after(Duration::from_secs(5))).await;
        let runtime = Runtime::of(&self.settings, &self.context);
        assert!(!Arc::ptr_eq(&before, &runtime), "another engine");
        lead(&runtime, &self.told);
        *self.ear.0.lock().unwrap() = runtime;
        self.settle().await;
    }

    /// What was told of alerts that are not about the agent: `MINUTE STATE ALERT SEVERITY OF-WHAT at MINUTE`, the first
    /// when it was told, the last when it began or ended.
    pub fn told(&self) -> Vec<String> {
        let lines = self.told.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| !line.contains("RadiosondeWatchdog"))
            .cloned()
            .collect()
    }

    /// The value of an own metric, over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let samples = self.context.instruments.registry().gather();
        let own = samples.iter().filter(|sample| sample.name == name);
        own.map(|sample| match sample.value {
            SampleValue::Counter(value) => value as f64,
            SampleValue::Gauge(value) => value,
            SampleValue::Histogram { .. } => 0.0,
        })
        .sum()
    }

    /// What the notifying side knows of an alert.
    pub async fn incident(&self, alert: &str) -> serde_json::Value {
        let all = self.context.commons.get::<Desk>().incidents().await.unwrap();
        let found = all.iter().find(|one| one["labels"]["alertname"] == alert);
        found.cloned().unwrap_or_default()
    }
}

fn lead(runtime: &Arc<Runtime>, told: &Arc<Told>) {
    runtime.lead_to(Outlets {
        logs: Some(Outlet::to(Arc::clone(told) as Arc<dyn Stage>)),
        ..Outlets::default()
    });
}
