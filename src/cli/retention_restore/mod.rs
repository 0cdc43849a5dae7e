//! `radiosonde retention restore`: archived traces back into a pipeline, or to another backend.
//!
//! Ids and times stay as they were; every resource is marked. The graph runs with the one pipeline that is fed and what
//! stands behind its connectors; queues are in memory, and drained before the exit.
//!
//! Exit codes: 0 everything was delivered, 1 something was not found or not delivered, 2 wrong usage.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use tracing::subscriber::NoSubscriber;

use super::args::ConfigArgs;
use super::output;
use crate::component::{
    BoxFuture, BuildContext, Clock, ComponentId, ComponentKind, NothingToStop, Outlet, Outlets, PipelineInfo, Plan,
    ReceiverPlan, Running, SampleValue, StartError, SystemClock, UnixNanos,
};
use crate::components::REGISTRY;
use crate::config::{Document, Environment, Inputs};
use crate::graph::checked::{self, Checked, CheckedComponent};
use crate::graph::{Graph, Host};
use crate::pdata::{Batch, Edit, Place, Rewriter, Signal, Visit};
use crate::retention::archive::{Archive, Day, TraceId};
use crate::retention::archives::ArchivePlan;
use crate::wire::{ResourceGroup, SetMode, Span, View, WireError};

const EXIT_USAGE: u8 = 2;
/// On every resource of what is played back.
const RESTORED: &str = "aws.xray.retention.restored";
/// `AnyValue { bool_value: true }`.
const TRUE: [u8; 2] = [0x10, 1];
/// What the queues get at the end.
pub(super) const DRAIN: Duration = Duration::from_secs(60);
/// Offers of a batch that is refused for now, and the pause between them.
const OFFERS: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);
/// Spans remembered so that none is played twice; then all are forgotten.
const REMEMBERED: usize = 50_000_000;
/// The receiver that stands for this command.
pub(super) const SOURCE: &str = "restore";

/// `retention restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// The trace, in any form: 32 hex digits, 1-8-24, tr-32.
    #[arg(required_unless_present = "since", conflicts_with = "since")]
    trace_id: Option<String>,
    /// Every trace that began on the day of this moment or later: 2026-11-20, an RFC 3339 time, or 72h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// An archive that no configuration names: s3://bucket/prefix or file:///directory.
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The pipeline to play it into, such as traces/restore.
    #[arg(
        long,
        value_name = "PIPELINE",
        required_unless_present = "exporter",
        conflicts_with = "exporter"
    )]
    to: Option<String>,
    /// Another backend: otlp=HOST:PORT, otlp=https://HOST:PORT or otlphttp=URL.
    #[arg(long, value_name = "KIND=ENDPOINT")]
    exporter: Option<String>,
}

impl RestoreArgs {
    /// Where the configuration comes from.
    pub fn config(&self) -> &ConfigArgs {
        &self.config
    }
}

/// What was played back.
#[derive(Clone, Copy, Debug, Default)]
struct Played {
    traces: usize,
    spans: usize,
}

/// Does what the arguments say.
pub fn restore(args: &RestoreArgs, inputs: &Inputs, environment: &dyn Environment) -> ExitCode {
    let wanted = match wanted(args, SystemClock.now()) {
        Ok(wanted) => wanted,
        Err(message) => return fail(&message, EXIT_USAGE),
    };
    let prepared = prepare(args, inputs, environment);
    let (archives, checked) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => return fail(&message, EXIT_USAGE),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}"), 1),
    };
    let _quiet = tracing::subscriber::set_default(NoSubscriber::default());
    match runtime.block_on(play(wanted, archives, checked)) {
        Ok(played) => {
            output::text(&format!("restored {} traces, {} spans\n", played.traces, played.spans));
            ExitCode::SUCCESS
        }
        Err(message) => fail(&message, 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    output::stderr(&format!("{message}\n"));
    ExitCode::from(code)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Trace(TraceId),
    Days(Day, Day),
}

fn wanted(args: &RestoreArgs, now: UnixNanos) -> Result<Wanted, String> {
    if let Some(text) = &args.trace_id {
        return TraceId::parse(text)
            .map(Wanted::Trace)
            .ok_or_else(|| format!("{text:?} is no trace id: 32 hex digits, 1-8-24 or tr-32"));
    }
    let text = args.since.as_deref().unwrap_or_default();
    let since = since(text, now).ok_or_else(|| format!("{text:?} is no day, time or duration"))?;
    Ok(Wanted::Days(since, Day::of(now)))
}

fn since(text: &str, now: UnixNanos) -> Option<Day> {
    if let Some(day) = Day::parse(text) {
        return Some(day);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        let seconds = u64::try_from(at.as_second()).ok()?;
        return Some(Day::of(UnixNanos::from_seconds(seconds)));
    }
    let span: jiff::SignedDuration = text.parse().ok()?;
    let nanos = u64::try_from(span.as_nanos()).ok()?;
    Some(Day::of(UnixNanos(now.0.saturating_sub(nanos))))
}

/// The archives and the graph to run.
fn prepare(
    args: &RestoreArgs,
    inputs: &Inputs,
    environment: &dyn Environment,
) -> Result<(Vec<ArchivePlan>, Checked), String> {
    let named = !inputs.uris.is_empty() || inputs.content.is_some();
    let document = if named {
        Some(Document::load(inputs, environment).map_err(|problems| problems.to_string())?)
    } else {
        None
    };
    let archives = match (&args.from, &document) {
        (Some(url), _) => vec![ArchivePlan::of_url(url)?],
        (None, Some(document)) => archives_of(document)?,
        (None, None) => return Err("where from? --config names the archives, or --from one".to_owned()),
    };
    let checked = match (&args.exporter, &args.to, document) {
        (Some(exporter), _, _) => {
            let document = Document::from_text("--exporter", &exporting(exporter)?, environment);
            let document = document.map_err(|problems| problems.to_string())?;
            only(checked_of(&document)?, "traces")?
        }
        (None, Some(pipeline), Some(document)) => only(checked_of(&document)?, pipeline)?,
        (None, _, _) => return Err("--to names a pipeline of a configuration: --config is missing".to_owned()),
    };
    Ok((archives, checked))
}

pub(super) fn checked_of(document: &Document) -> Result<Checked, String> {
    checked::check(document, REGISTRY).map_err(|problems| problems.to_string())
}

/// A configuration with one exporter.
fn exporting(text: &str) -> Result<String, String> {
    let usage = || format!("--exporter {text:?}: write otlp=HOST:PORT, otlp=https://HOST:PORT or otlphttp=URL");
    let (kind, endpoint) = text.split_once('=').ok_or_else(usage)?;
    if !matches!(kind, "otlp" | "otlphttp") || endpoint.is_empty() {
        return Err(usage());
    }
    let is_plain = kind == "otlp" && !endpoint.starts_with("https://");
    let exporter = serde_json::json!({
        "endpoint": endpoint,
        "tls": {"insecure": is_plain},
        // The batches are as large as they were archived.
        "sending_queue": {"wait_for_result": true},
    });
    Ok(serde_json::json!({
        "receivers": {"nop": null},
        "exporters": {kind: exporter},
        "service": {"pipelines": {"traces": {"receivers": ["nop"], "exporters": [kind]}}},
    })
    .to_string())
}

/// The archives of every `span_retention` of a configuration.
fn archives_of(document: &Document) -> Result<Vec<ArchivePlan>, String> {
    let mut plans = Vec::new();
    let processors = document.root().take("processors");
    for key in processors.iter().flat_map(|processors| processors.keys()) {
        if key.split('/').next() != Some("span_retention") {
            continue;
        }
        let section = processors.as_ref().and_then(|processors| processors.take(&key));
        let archives = section.and_then(|section| section.take("archives"));
        for element in archives.iter().flat_map(|archives| archives.elements()) {
            // A ledger notes what was delivered and holds nothing.
            if element.has("ledger") {
                continue;
            }
            match ArchivePlan::check(&element) {
                Some(plan) => plans.push(plan),
                None => return Err(element.problems().join("\n")),
            }
        }
    }
    if plans.is_empty() {
        return Err("the configuration names no archive that can be read: `archives` of a `span_retention`".to_owned());
    }
    Ok(plans)
}

/// Of a configuration only the pipeline and what stands behind it; it is fed by [`SOURCE`].
pub(super) fn only(mut checked: Checked, pipeline: &str) -> Result<Checked, String> {
    let found = checked.pipelines.iter().find(|one| one.name == pipeline);
    let found = found.ok_or_else(|| format!("there is no pipeline {pipeline:?}"))?;
    if found.signal != Signal::Traces {
        return Err(format!("pipeline {pipeline:?} is none for traces"));
    }
    let source = ComponentId::new(SOURCE);
    let mut kept: Vec<PipelineInfo> = vec![PipelineInfo {
        receivers: vec![source],
        ..found.clone()
    }];
    let mut at = 0;
    while at < kept.len() {
        let exporters = kept[at].exporters.clone();
        for next in &checked.pipelines {
            let fed: Vec<ComponentId> = next
                .receivers
                .iter()
                .filter(|id| exporters.contains(id))
                .cloned()
                .collect();
            match kept.iter_mut().find(|have| have.name == next.name) {
                Some(have) if at > 0 || have.name != pipeline => {
                    for id in fed {
                        if !have.receivers.contains(&id) {
                            have.receivers.push(id);
                        }
                    }
                }
                Some(_) => {}
                None if fed.is_empty() => {}
                None => kept.push(PipelineInfo {
                    receivers: fed,
                    ..next.clone()
                }),
            }
        }
        at += 1;
    }
    checked.pipelines = kept;
    Ok(checked)
}

/// Gives its outlet to whoever waits for it.
#[derive(Clone, Default)]
pub(super) struct Source(Arc<Mutex<Option<Outlet>>>);

impl Source {
    /// When the graph runs; `None`: nobody takes traces.
    pub(super) fn outlet(&self) -> Option<Outlet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ReceiverPlan for Source {
    fn start(&self, _context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next.traces;
        Box::pin(std::future::ready(Ok(Arc::new(NothingToStop) as Arc<dyn Running>)))
    }
}

/// As if it were configured.
pub(super) fn component(source: &Source) -> Arc<CheckedComponent> {
    Arc::new(CheckedComponent {
        kind: ComponentKind::Receiver,
        id: ComponentId::new(SOURCE),
        plan: Plan::Receiver(Box::new(source.clone())),
        fingerprint: 0,
    })
}

async fn play(wanted: Wanted, plans: Vec<ArchivePlan>, mut checked: Checked) -> Result<Played, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut archives = Vec::new();
    for plan in &plans {
        let opened = plan.open(Arc::clone(&clock), None).await;
        archives.push(opened.map_err(|error| format!("{}: {error}", plan.name()))?);
    }
    let source = Source::default();
    checked.components.push(component(&source));
    let host = Host::default();
    let registry = host.registry.clone();
    let graph = Graph::start(host, &checked).await.map_err(|error| error.to_string())?;
    let played = match source.outlet() {
        Some(outlet) => feed(wanted, &archives, outlet).await,
        None => Err("the pipeline takes no traces".to_owned()),
    };
    graph.stop(Duration::ZERO, DRAIN).await;
    let played = played?;
    let lost: u64 = registry
        .gather()
        .into_iter()
        .filter(|sample| sample.name == "otelcol_dropped_items")
        .map(|sample| match sample.value {
            SampleValue::Counter(count) => count,
            _ => 0,
        })
        .sum();
    if lost > 0 {
        return Err(format!("{lost} of {} spans could not be delivered", played.spans));
    }
    Ok(played)
}

async fn feed(wanted: Wanted, archives: &[Arc<dyn Archive>], outlet: Outlet) -> Result<Played, String> {
    let mut player = Player {
        outlet,
        seen: HashSet::new(),
        traces: HashSet::new(),
        played: Played::default(),
    };
    let failed = |archive: &Arc<dyn Archive>, error: &dyn std::fmt::Display| format!("{}: {error}", archive.name());
    match wanted {
        Wanted::Trace(id) => {
            // Each may hold a part.
            for archive in archives {
                let batch = archive.read(id).await.map_err(|error| failed(archive, &error))?;
                if let Some(batch) = batch {
                    player.play(batch).await?;
                }
            }
            if player.played.spans == 0 {
                return Err(format!("{id} is in none of the archives"));
            }
        }
        Wanted::Days(first, last) => {
            for day in first.0..=last.0 {
                for archive in archives {
                    let mut page = None;
                    loop {
                        let (batches, next) = archive
                            .batches(Day(day), page)
                            .await
                            .map_err(|error| failed(archive, &error))?;
                        for batch in batches {
                            player.play(batch).await?;
                        }
                        page = next;
                        if page.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }
    Ok(player.played)
}

/// Marks batches and offers them.
struct Player {
    outlet: Outlet,
    /// Hashes of the ids of spans and traces.
    seen: HashSet<u64>,
    traces: HashSet<u64>,
    played: Played,
}

impl Player {
    async fn play(&mut self, batch: Batch) -> Result<(), String> {
        let rewritten = batch
            .rewrite(self)
            .map_err(|error| format!("archived spans are malformed: {error}"))?;
        let Some(batch) = rewritten.batch.filter(|batch| batch.items() > 0) else {
            return Ok(());
        };
        let spans = batch.items();
        for offer in 1.. {
            match self.outlet.consume(batch.clone()).await {
                Ok(()) => break,
                Err(refused) if refused.permanent || offer >= OFFERS => return Err(refused.to_string()),
                Err(refused) => tokio::time::sleep(refused.retry_after.unwrap_or(PAUSE)).await,
            }
        }
        self.played.spans += spans;
        Ok(())
    }
}

impl Rewriter for Player {
    fn resource(&mut self, _group: ResourceGroup<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        edit.edit_attributes(|attributes| attributes.set(SetMode::Upsert, RESTORED, &TRUE))?;
        Ok(Visit::Inside)
    }

    fn item(&mut self, _place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let span = Span::of(edit.bytes());
        let trace = xxhash_rust::xxh3::xxh3_64(span.trace_id()?);
        let key = xxhash_rust::xxh3::xxh3_64_with_seed(span.span_id()?, trace);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
            self.traces.clear();
        }
        if !self.seen.insert(key) {
            return Ok(Visit::Drop);
        }
        if self.traces.insert(trace) {
            self.played.traces += 1;
        }
        Ok(Visit::Keep)
    }
}
