//! `radiosonde demo`: the production engine on a simulated AWS, one command, no configuration.
//!
//! The clock of the demo starts a day ago and runs faster than the machine's, so that something happens while somebody
//! watches and backends take the points as recent ones. Everything else is what `run` does: the embedded configuration
//! goes through the same loader, checks and graph.

mod alerts;
mod banner;
mod overlay;
mod retention;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::banner::{Facts, banner};
use self::overlay::{Ports, overlay};
use super::output;
use super::simulator::{rate, told_to_stop, with_runtime};
use crate::admin::{self, Admin, Pages};
use crate::component::{Clock, Deadline, Feed, Registry, Running, SystemClock, UnixNanos};
use crate::components::REGISTRY;
use crate::config::{Document, Inputs, ProcessEnvironment};
use crate::dev::lints;
use crate::graph::checked::{Checked, check};
use crate::graph::{Graph, Host};
use crate::net::server::Endpoint;
use crate::simulator::{Scenario, Simulator, VirtualClock};
use crate::telemetry;

/// What the demo runs.
const CONFIG: &str = include_str!("../../../config/demo.yaml");

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(5);

/// `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Sends the same to a real backend as well: otlp=HOST:PORT (gRPC) or otlphttp=http://HOST:PORT.
    #[arg(long, value_name = "KIND=ENDPOINT")]
    pub exporter: Vec<String>,
    /// Ends by itself after this time: 30s, 5m or plain seconds.
    #[arg(long, value_parser = super::duration)]
    pub duration: Option<Duration>,
    /// Simulated seconds per second.
    #[arg(long, default_value_t = 60.0, value_parser = rate)]
    pub rate: f64,
}

/// How long before now the simulated time begins.
const BEFORE_NOW_S: u64 = 86_400;

/// Tries to start while somebody else takes the ports in between.
const STARTS: usize = 3;

/// Runs the demo until Ctrl-C or the end of `--duration`.
pub fn demo(args: &DemoArgs) -> ExitCode {
    with_runtime(run(args))
}

async fn run(args: &DemoArgs) -> Result<(), String> {
    let started = Instant::now();
    let now = SystemClock.now().seconds();
    let scenario = Scenario::demo().starting_at(now.saturating_sub(BEFORE_NOW_S));
    let clock = VirtualClock::running(UnixNanos::from_seconds(scenario.start), args.rate);
    let simulator = Simulator::new(scenario, clock.clone());
    let served = simulator
        .serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .map_err(|error| format!("simulated AWS: {error}"))?;
    retention::prepare(&simulator)?;
    let state = retention::State::new()?;
    // Wrong arguments and the log's settings show before anything listens.
    let config = load(&overlay(&served.url(), own_ports()?, &args.exporter)?)?;
    let registry = Registry::default();
    let telemetry = telemetry::start(&config.service.telemetry, &registry, started, false)?;
    let agent = Agent::start(args, &served.url(), &clock, &registry, (state.path.as_path(), started)).await?;
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = told_to_stop() => {}
        () = end => {}
        () = keep_behind(&clock, &SystemClock) => {}
        () = retention::tell(&registry, |line| output::text(&format!("{line}\n"))) => {}
    }
    output::text("\nstopping ...\n");
    agent.stop().await;
    served.stop().await;
    telemetry.stop(Deadline::after(Duration::from_secs(1))).await;
    state.remove();
    let metrics = simulator.bill().of("GetMetricData");
    output::text(&format!(
        "stopped. CloudWatch was asked {} times for {} metrics in all: {:.4} USD on a real account.\n",
        metrics.requests,
        metrics.units,
        metrics.units as f64 / 1e5,
    ));
    Ok(())
}

/// Once the simulated time has caught up with the real one it goes on at its pace: no point is ever from the future.
async fn keep_behind(clock: &VirtualClock, real: &dyn Clock) {
    loop {
        let (simulated, real) = (clock.now().0, real.now().0);
        if simulated >= real && clock.rate() > 1.0 {
            clock.set_rate(1.0);
            output::text("\nThe simulated time has caught up with yours: from here a minute takes a minute.\n\n");
        }
        let gap = Duration::from_nanos(real.saturating_sub(simulated));
        let wait = gap.div_f64((clock.rate() - 1.0).max(1.0));
        tokio::time::sleep(wait.max(Duration::from_millis(100))).await;
    }
}

/// What listens and works, beside the simulated AWS.
struct Agent {
    graph: Graph,
    admin: Arc<dyn Running>,
    /// The lints, and whoever prints alerts.
    tasks: JoinSet<()>,
}

impl Agent {
    async fn start(
        args: &DemoArgs,
        aws: &str,
        clock: &VirtualClock,
        registry: &Registry,
        (state_dir, started): (&Path, Instant),
    ) -> Result<Self, String> {
        let mut tries = 1;
        loop {
            let ports = own_ports()?;
            let host = Host {
                clock: Arc::new(clock.clone()),
                registry: registry.clone(),
                state_dir: Some(state_dir.to_owned()),
                ..Host::default()
            };
            let facts = Facts {
                aws,
                ports,
                rate: args.rate,
                exporters: &args.exporter,
            };
            match Self::start_on(args, &facts, host, started).await {
                Ok(agent) => return Ok(agent),
                // Somebody took a port after we had looked.
                Err(_) if tries < STARTS && own_ports()? != ports => tries += 1,
                Err(message) => return Err(message),
            }
        }
    }

    async fn start_on(args: &DemoArgs, facts: &Facts<'_>, host: Host, started: Instant) -> Result<Self, String> {
        let checked = load(&overlay(facts.aws, facts.ports, &args.exporter)?)?;
        let api = Admin {
            board: host.status.clone(),
            registry: host.registry.clone(),
            memory: host.memory.clone(),
            started,
            commons: host.commons.clone(),
            token: None,
            pages: Some(Pages {
                otlp: vec![
                    ("grpc", format!("127.0.0.1:{}", facts.ports.grpc)),
                    ("http", format!("127.0.0.1:{}", facts.ports.http)),
                ],
                ui: format!("127.0.0.1:{}", facts.ports.admin),
                config: CONFIG.to_owned(),
                token: None,
            }),
        };
        let mut tasks = JoinSet::new();
        let commons = host.commons.clone();
        let watch = commons.get::<Feed>().watch();
        tasks.spawn(lints::attend(commons.get(), watch, commons.clone(), |_news| {}));
        tasks.spawn(alerts::tell(commons.get()));
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{}", facts.ports.admin))?;
        let admin = admin::serve(endpoint, api).await.map_err(|error| error.to_string())?;
        let graph = Graph::start(host, &checked).await.map_err(|error| error.to_string())?;
        output::text(&banner(facts));
        Ok(Self {
            graph,
            admin: Arc::new(admin),
            tasks,
        })
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.graph.stop(Duration::ZERO, GRACE).await;
        self.admin.stop(Deadline::after(Duration::from_secs(1))).await;
    }
}

/// The usual ports, or free ones where somebody has them.
fn own_ports() -> Result<Ports, String> {
    Ok(Ports {
        grpc: own_port(4317)?,
        http: own_port(4318)?,
        admin: own_port(4320)?,
    })
}

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

fn load(overlay: &str) -> Result<Checked, String> {
    let inputs = Inputs {
        uris: vec![format!("yaml:{CONFIG}"), format!("yaml:{overlay}")],
        ..Inputs::default()
    };
    let document = Document::load(&inputs, &ProcessEnvironment).map_err(|problems| problems.to_string())?;
    check(&document, REGISTRY).map_err(|problems| problems.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        grpc: 4317,
        http: 4318,
        admin: 4320,
    };

    #[tokio::test(start_paused = true)]
    async fn the_simulated_time_runs_fast_until_it_is_now() {
        let real = VirtualClock::running(UnixNanos::from_seconds(86_400), 1.0);
        let simulated = VirtualClock::running(UnixNanos::from_seconds(0), 60.0);
        let waited = async |seconds| {
            let keeping = keep_behind(&simulated, &real);
            assert!(
                tokio::time::timeout(Duration::from_secs(seconds), keeping)
                    .await
                    .is_err()
            );
        };
        waited(1_400).await;
        assert_eq!(simulated.rate(), 60.0);
        waited(100).await;
        assert_eq!(simulated.rate(), 1.0);
        let ahead = simulated.now().seconds().abs_diff(real.now().seconds());
        assert!(ahead <= 6, "{ahead} s apart");
    }

    #[test]
    fn the_embedded_configuration_is_accepted_and_only_the_packs_say_what_they_leave_out() {
        let checked = load("{}").unwrap();
        assert_eq!(checked.pipelines.len(), 7);
        let warnings: Vec<String> = checked.warnings.lines();
        let others: Vec<&String> = warnings
            .iter()
            .filter(|line| !line.contains("processors::alerts::packs"))
            .collect();
        assert_eq!(others, Vec::<&String>::new());
    }

    #[test]
    fn the_shipped_dynamodb_configuration_is_accepted() {
        let text = include_str!("../../../config/dynamodb.yaml");
        let document = Document::from_text("dynamodb.yaml", text, &|_: &str| None).unwrap();
        let checked = check(&document, REGISTRY).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(checked.pipelines.len(), 1);
    }

    #[test]
    fn another_exporter_stands_behind_every_pipeline() {
        let exporters = ["otlp=localhost:5317".to_owned()];
        let checked = load(&overlay("http://127.0.0.1:1", PORTS, &exporters).unwrap()).unwrap();
        let shown_only = |name: &str| matches!(name, "traces/xray" | "traces/page");
        for pipeline in checked.pipelines.iter().filter(|pipeline| !shown_only(&pipeline.name)) {
            let names: Vec<&str> = pipeline.exporters.iter().map(|id| id.as_str()).collect();
            assert!(names.contains(&"otlp/demo0"), "{} {names:?}", pipeline.name);
            let alone = pipeline.name == "traces/application";
            // Behind the page's store and what prints.
            assert_eq!(names.len(), if alone { 1 } else { 3 });
        }
        assert!(overlay("", PORTS, &["zipkin=x".to_owned()]).is_err());
        assert!(overlay("", PORTS, &["otlp=".to_owned()]).is_err());
    }
}
