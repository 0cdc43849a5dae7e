//! A day of traces through the `xray` receiver, on the simulator's clock: exact counts, what was billed, how the state
//! grows. `cargo bench --bench xray [-- --traces N]`; the default is a million a day.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // A bench may fail, and it prints.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use radiosonde::component::{
    BoxFuture, BuildContext, Clock, ComponentKind, Deadline, Factory, Outlet, Outlets, Plan, Refused, Stage,
};
use radiosonde::components::receivers::xray::XRayFactory;
use radiosonde::config::Section;
use radiosonde::pdata::{Batch, Decoded};
use radiosonde::simulator::xray::Late;
use radiosonde::simulator::{Scenario, Simulator};

const MINUTES: i64 = 1_440;

/// How often each span came, by a hash of its ids.
#[derive(Default)]
struct Sink(Mutex<HashMap<u64, u32>>);

impl Stage for Sink {
    fn consume(&self, mut batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        if let Ok(Decoded::Traces(request)) = batch.decode() {
            let mut all = self.0.lock().unwrap();
            let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            for span in scopes.flat_map(|scope| &scope.spans) {
                *all.entry(key(&hex::encode(&span.trace_id), &hex::encode(&span.span_id)))
                    .or_default() += 1;
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

fn key(trace: &str, span: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(format!("{trace}{span}").as_bytes())
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        meta if meta.is_dir() => size_of(&entry.path()),
        meta => meta.len(),
    };
    entries.map(size).sum()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--traces");
    let traces: f64 = given.map_or(1e6, |at| arguments[at + 1].parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(day(traces));
}

async fn day(traces: f64) {
    let mut scenario = Scenario::quiet();
    scenario.history = 0;
    scenario.xray.traces_per_minute = traces / MINUTES as f64;
    scenario.xray.until = Some(MINUTES);
    scenario.xray.in_progress = 0.02;
    scenario.xray.late = vec![Late {
        share: 0.02,
        after_s: 3_600.0,
    }];
    scenario.xray.page = 1_000;
    let start = scenario.start;
    let simulator = Simulator::frozen(scenario);
    let served = simulator.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let clock = simulator.clock().clone();
    let folder = tempfile::tempdir().unwrap();
    let mut context = BuildContext::standalone(ComponentKind::Receiver, "xray");
    context.clock = Arc::new(clock.clone());
    context.state_dir = Some(folder.path().to_owned());
    let yaml = format!(
        "regions: [eu-central-1]\nendpoint: {}\ncredentials: {{access_key_id: AKIASIM0111122223333, \
         secret_access_key: simulated}}\nsweep: {{every: 0s}}\nrate: {{initial: 50, max: 200}}\n",
        served.url()
    );
    let Some(Plan::Receiver(plan)) = XRayFactory.check(&Section::from_yaml(&yaml)) else {
        panic!("the configuration is wrong");
    };
    let sink = Arc::new(Sink::default());
    let outlets = Outlets {
        traces: Some(Outlet::to(sink.clone())),
        ..Outlets::default()
    };
    let began = tokio::time::Instant::now();
    let running = plan.start(context, outlets).await.unwrap();
    let end = start + 60 * MINUTES as u64 + 3 * 3_600;
    let mut told = start;
    while clock.now().seconds() < end {
        let wake = clock.next_wake().await;
        clock.advance_to(wake);
        tokio::task::yield_now().await;
        if clock.now().seconds() >= told + 3 * 3_600 {
            told = clock.now().seconds();
            let spans = sink.0.lock().unwrap().len();
            println!(
                "{} h: {spans} spans, state {} bytes",
                (told - start) / 3_600,
                size_of(folder.path())
            );
        }
    }
    running.stop(Deadline::after(Duration::from_secs(10))).await;
    let elapsed = began.elapsed().as_secs_f64();
    let got = sink.0.lock().unwrap();
    let (mut expected, mut missing, mut traces) = (0u64, 0u64, 0u64);
    for hour in 0..24u64 {
        let from = (start + hour * 3_600) as f64;
        for (trace, spans) in simulator.true_spans(from, from + 3_600.0) {
            let trace = trace.replace('-', "")[1..].to_owned();
            traces += 1;
            expected += spans.len() as u64;
            missing += spans
                .iter()
                .filter(|span| !got.contains_key(&key(&trace, &span.id)))
                .count() as u64;
        }
    }
    let again = got.values().filter(|count| **count > 1).count();
    let bill = simulator.bill();
    let (scanned, retrieved) = (bill.of("GetTraceSummaries"), bill.of("BatchGetTraces"));
    let cost = (scanned.units + retrieved.units) as f64 * 0.5e-6;
    let state = size_of(folder.path());
    println!(
        "traces {traces}, spans {expected}: given {}, missing {missing}, more than once {again}\n\
         scanned {} in {} calls, retrieved {} in {} calls: {cost:.4} USD beyond the free reads, {:.3} reads a trace\n\
         state {state} bytes: {:.1} bytes a trace\n{elapsed:.0} s, {:.0} traces/s with the simulator in the process",
        got.len(),
        scanned.units,
        scanned.requests,
        retrieved.units,
        retrieved.requests,
        (scanned.units + retrieved.units) as f64 / traces as f64,
        state as f64 / traces as f64,
        traces as f64 / elapsed,
    );
    assert_eq!((missing, again, got.len() as u64), (0, 0, expected));
}
