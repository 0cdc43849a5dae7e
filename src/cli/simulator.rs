//! `radiosonde simulator`: the simulated AWS alone. Also what it has in common with the demo.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::output;
use crate::component::UnixNanos;
use crate::simulator::{Scenario, Simulator, VirtualClock};

/// `simulator`.
#[derive(Args, Clone, Debug)]
pub struct SimulatorArgs {
    /// Where to listen; port 0 takes a free one. The first line of output ends with the URL.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// demo, quiet, busy, everything, gpu_saturation, endpoint_5xx, training_job, pipeline_failure, drift_violation,
    /// quiet_fleet, or a file with a scenario.
    #[arg(long, default_value = "demo")]
    pub scenario: String,
    /// Simulated seconds per second; 0 stands still until /_sim/clock steps.
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    pub rate: f64,
}

/// Reads `--rate`.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // Beyond this a minute is shorter than a call.
    (0.0..=600.0)
        .contains(&rate)
        .then_some(rate)
        .ok_or("must be 0 to 600".to_owned())
}

/// Runs the simulator until Ctrl-C.
pub fn simulator(args: &SimulatorArgs) -> ExitCode {
    with_runtime(run_simulator(args))
}

/// Runs `work` to its end; an error is told on stderr.
pub fn with_runtime(work: impl Future<Output = Result<(), String>>) -> ExitCode {
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
            output::stderr(&format!("{message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// TERM or Ctrl-C.
pub async fn told_to_stop() {
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
    let served = simulator.serve(args.listen).await.map_err(|error| error.to_string())?;
    output::text(&format!("simulated AWS listens on {}\n", served.url()));
    told_to_stop().await;
    served.stop().await;
    Ok(())
}
