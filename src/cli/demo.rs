//! `radiosonde demo`: the production engine on a simulated AWS, one command, no configuration. Also
//! `radiosonde simulator`, the simulated AWS alone.
//!
//! The clock of the demo runs faster than the machine's, so that something happens while somebody watches. Everything
//! else is what `run` does: the embedded configuration goes through the same loader, checks and graph.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::component::{Deadline, Registry, UnixNanos};
use crate::components::REGISTRY;
use crate::config::{Document, Inputs, ProcessEnvironment};
use crate::graph::checked::{Checked, check};
use crate::graph::{Graph, Host};
use crate::simulator::{Scenario, Simulator, VirtualClock};
use crate::telemetry;

/// What the demo runs.
const CONFIG: &str = include_str!("../../config/demo.yaml");

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Sends the same to a real backend as well: otlp=HOST:PORT (gRPC) or otlphttp=http://HOST:PORT.
    #[arg(long, value_name = "KIND=ENDPOINT")]
    pub exporter: Vec<String>,
    /// Ends by itself after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// Simulated seconds per second.
    #[arg(long, default_value_t = 60.0, value_parser = rate)]
    pub rate: f64,
}

/// `simulator`.
#[derive(Args, Clone, Debug)]
pub struct SimulatorArgs {
    /// Where to listen; port 0 takes a free one. The first line of output ends with the URL.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// demo, quiet, busy, or a file with a scenario.
    #[arg(long, default_value = "demo")]
    pub scenario: String,
    /// Simulated seconds per second; 0 stands still until /_sim/clock steps.
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    pub rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // Beyond this a minute is shorter than a call.
    (0.0..=600.0)
        .contains(&rate)
        .then_some(rate)
        .ok_or("must be 0 to 600".to_owned())
}

/// Runs the demo until Ctrl-C or the end of `--duration`.
pub fn demo(args: &DemoArgs) -> ExitCode {
    with_runtime(run_demo(args))
}

/// Runs the simulator until Ctrl-C.
pub fn simulator(args: &SimulatorArgs) -> ExitCode {
    with_runtime(run_simulator(args))
}

fn with_runtime(work: impl Future<Output = Result<(), String>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(work);
            runtime.shutdown_timeout(Duration::from_millis(100));
            result
        }
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody is left to be told where stderr is closed.
            let _ = writeln!(anstream::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // A closed terminal is no reason to end.
    let mut stdout = anstream::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// TERM or Ctrl-C.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        // Without signals only `--duration` or a kill ends it.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn run_simulator(args: &SimulatorArgs) -> Result<(), String> {
    let scenario = match Scenario::named(&args.scenario) {
        Some(scenario) => scenario,
        None => {
            let text = std::fs::read_to_string(&args.scenario)
                .map_err(|error| format!("cannot read scenario {:?}: {error}", args.scenario))?;
            Scenario::from_yaml(&text).map_err(|error| format!("{}: {error}", args.scenario))?
        }
    };
    let clock = VirtualClock::running(UnixNanos::from_seconds(scenario.start), args.rate);
    let simulator = Simulator::new(scenario, clock);
    let served = simulator
        .serve(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    say(&format!("simulated AWS listens on {}\n", served.url()));
    told_to_stop().await;
    served.stop().await;
    Ok(())
}

async fn run_demo(args: &DemoArgs) -> Result<(), String> {
    let started = Instant::now();
    let scenario = Scenario::demo();
    let clock = VirtualClock::running(UnixNanos::from_seconds(scenario.start), args.rate);
    let simulator = Simulator::new(scenario, clock.clone());
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let served = simulator
        .serve(local)
        .await
        .map_err(|error| format!("cannot listen for the simulated AWS: {error}"))?;
    let (grpc, http) = (own_port(4317)?, own_port(4318)?);
    let overlay = overlay(&served.url(), grpc, http, &args.exporter)?;
    let checked = load(&overlay)?;
    let registry = Registry::default();
    let telemetry = telemetry::start(&checked.service.telemetry, &registry, started, false)?;
    say(&banner(args, &served.url(), grpc, http));
    let host = Host {
        clock: Arc::new(clock),
        registry,
        ..Host::default()
    };
    let graph = Graph::start(host, &checked).await.map_err(|error| error.to_string())?;
    let end = async {
        match args.duration {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = told_to_stop() => {}
        () = end => {}
    }
    say("\nstopping ...\n");
    graph.stop(Duration::ZERO, GRACE).await;
    served.stop().await;
    telemetry.stop(Deadline::after(Duration::from_secs(1))).await;
    let bill = simulator.bill();
    let metrics = bill.of("GetMetricData");
    say(&format!(
        "stopped. CloudWatch was asked {} times for {} metrics: {:.4} USD on a real account.\n",
        metrics.requests,
        metrics.units,
        metrics.units as f64 / 1e5,
    ));
    Ok(())
}

/// The usual port, or a free one where somebody has it.
fn own_port(usual: u16) -> Result<u16, String> {
    let bind = |port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match bind(usual) {
        Ok(_) => Ok(usual),
        Err(_) => {
            let free = bind(0).and_then(|listener| listener.local_addr());
            free.map(|address| address.port())
                .map_err(|error| format!("no free port on this machine: {error}"))
        }
    }
}

/// What only this run knows, merged over the embedded configuration.
fn overlay(aws: &str, grpc: u16, http: u16, exporters: &[String]) -> Result<String, String> {
    let mut names = Vec::new();
    let mut sections = String::new();
    for (number, exporter) in exporters.iter().enumerate() {
        let (kind, endpoint) = exporter
            .split_once('=')
            .filter(|(kind, endpoint)| matches!(*kind, "otlp" | "otlphttp") && !endpoint.is_empty())
            .ok_or_else(|| format!("--exporter {exporter:?}: write otlp=HOST:PORT or otlphttp=http://HOST:PORT"))?;
        let name = format!("{kind}/demo{number}");
        // JSON strings are YAML strings: nothing in the endpoint can break out of its place.
        let endpoint = serde_json::Value::from(endpoint);
        let _ = writeln!(sections, "  {name}: {{endpoint: {endpoint}, tls: {{insecure: true}}}}");
        names.push(name);
    }
    let list = |own: &str| {
        let mut all = vec![own.to_owned()];
        all.extend(names.iter().cloned());
        all.join(", ")
    };
    let mut text = format!(
        "receivers:\n  dynamodb: {{endpoint: \"{aws}\"}}\n  otlp:\n    protocols:\n      \
         grpc: {{endpoint: \"127.0.0.1:{grpc}\"}}\n      http: {{endpoint: \"127.0.0.1:{http}\"}}\n"
    );
    if !names.is_empty() {
        let _ = write!(text, "exporters:\n{sections}service:\n  pipelines:\n");
        let _ = writeln!(text, "    metrics/dynamodb: {{exporters: [{}]}}", list("terminal"));
        for pipeline in ["traces", "metrics", "logs"] {
            let _ = writeln!(text, "    {pipeline}: {{exporters: [{}]}}", list("debug"));
        }
    }
    Ok(text)
}

fn load(overlay: &str) -> Result<Checked, String> {
    let inputs = Inputs {
        uris: vec![format!("yaml:{CONFIG}"), format!("yaml:{overlay}")],
        ..Inputs::default()
    };
    let document = Document::load(&inputs, &ProcessEnvironment).map_err(|problems| problems.to_string())?;
    check(&document, REGISTRY).map_err(|problems| problems.to_string())
}

fn banner(args: &DemoArgs, aws: &str, grpc: u16, http: u16) -> String {
    let mut text =
        String::from("Radiosonde demo: DynamoDB tables of a simulated AWS, read by the production engine.\n\n");
    let _ = writeln!(
        text,
        "  simulated AWS   {aws} (one minute takes {:.1} s; control under /_sim/)",
        60.0 / args.rate.max(0.01)
    );
    for (what, port, usual) in [("OTLP gRPC", grpc, 4317), ("OTLP HTTP", http, 4318)] {
        let taken = if port == usual {
            String::new()
        } else {
            format!(" ({usual} is taken)")
        };
        let _ = writeln!(text, "  {what}       127.0.0.1:{port}{taken}");
    }
    for exporter in &args.exporter {
        let _ = writeln!(text, "  also sent to    {exporter}");
    }
    text.push_str("\nWrites to the table `orders` will outgrow their capacity within seconds. Ctrl-C ends.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_is_accepted_without_a_warning() {
        let checked = load("{}").unwrap();
        assert_eq!(checked.pipelines.len(), 4);
        let warnings: Vec<String> = checked.warnings.lines();
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn the_shipped_dynamodb_configuration_is_accepted() {
        let text = include_str!("../../config/dynamodb.yaml");
        let document = Document::from_text("dynamodb.yaml", text, &|_: &str| None).unwrap();
        let checked = check(&document, REGISTRY).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(checked.pipelines.len(), 1);
    }

    #[test]
    fn another_exporter_stands_behind_every_pipeline() {
        let exporters = ["otlp=localhost:5317".to_owned()];
        let checked = load(&overlay("http://127.0.0.1:1", 4317, 4318, &exporters).unwrap()).unwrap();
        for pipeline in &checked.pipelines {
            let names: Vec<&str> = pipeline.exporters.iter().map(|id| id.as_str()).collect();
            assert!(names.contains(&"otlp/demo0"), "{} {names:?}", pipeline.name);
            assert_eq!(names.len(), 2);
        }
        assert!(overlay("", 1, 2, &["zipkin=x".to_owned()]).is_err());
        assert!(overlay("", 1, 2, &["otlp=".to_owned()]).is_err());
    }
}
