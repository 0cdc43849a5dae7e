//! The command of `dev -- CMD`: its environment, its end, what its run came to; also beside a `dev` that runs already.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use nix::sys::signal::Signal as UnixSignal;
use tokio::process::Child;
use tokio::time::Instant;

use super::banner::summary;
use super::child::{self, Environment};
use super::plan::Listening;
use super::session::listen_for_signals;
use super::watching::Viewer;
use super::{DevArgs, Failure};
use crate::cli::client::{AgentArgs, Api};
use crate::cli::output;
use crate::cli::run::{Signal, Signals};
use crate::component::Watch;
use crate::dev::terminal::text::Style;

/// Silence after which a command that has ended is taken to have sent everything ...
const QUIET: Duration = Duration::from_millis(300);
/// ... and the longest wait for it.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

pub fn environment_of(args: &DevArgs, endpoint: &str, run: &str) -> Environment {
    // Read once, so that it can be tested.
    let variables: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    child::environment(endpoint, run, args.command.force_env, &|name| {
        variables.get(name).cloned()
    })
}

pub fn spawn(args: &DevArgs, environment: &Environment, viewer: &Viewer) -> Result<Child, Failure> {
    for remark in &environment.remarks {
        viewer.say(remark.clone());
    }
    child::spawn(&args.command.cmd, environment).map_err(|(code, message)| Failure { code, message })
}

/// Waits for the command and passes signals on; the second Ctrl-C kills it.
pub async fn attend_command(mut child: Child, signals: &mut Signals) -> u8 {
    let mut interrupts = 0;
    loop {
        tokio::select! {
            status = child.wait() => return status.map_or(1, child::code_of),
            signal = signals.next() => match signal {
                Signal::Stop("SIGINT") => {
                    interrupts += 1;
                    if interrupts > 1 {
                        child::pass_on(&child, UnixSignal::SIGKILL);
                    } else if !std::io::stdin().is_terminal() {
                        // A terminal sends it to the command too.
                        child::pass_on(&child, UnixSignal::SIGINT);
                    }
                }
                Signal::Stop(_) => child::pass_on(&child, UnixSignal::SIGTERM),
                Signal::Reload => child::pass_on(&child, UnixSignal::SIGHUP),
            },
        }
    }
}

/// Until nothing has come for a while.
pub async fn until_quiet(mut watch: Watch) {
    let end = Instant::now() + LONGEST_WAIT;
    // What came while the command ran says nothing about now.
    while watch.try_next().is_some() {}
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(QUIET);
        if left.is_zero() {
            return;
        }
        if tokio::time::timeout(left, watch.next()).await.is_err() {
            return;
        }
    }
}

/// What a run came to.
pub struct Conclusion {
    pub lines: Vec<String>,
    /// `--fail-on` found something.
    pub fails: bool,
}

pub async fn conclude(api: &Api, run: &str, page: &str, style: Style, args: &DevArgs) -> Conclusion {
    let mut lines = match summary(api, run, page, style).await {
        Ok(lines) => lines,
        Err(error) => vec![format!("no summary of run {run}: {error}")],
    };
    let mut fails = false;
    if let Some(query) = &args.command.fail_on {
        match matches_of(api, query, run).await {
            Ok(0) => lines.push(format!("--fail-on {query:?}: nothing matches")),
            Ok(count) => {
                fails = true;
                lines.push(format!("--fail-on {query:?}: {count} match"));
            }
            Err(error) => {
                // A check that cannot be made has not passed.
                fails = true;
                lines.push(format!("--fail-on {query:?}: {error}"));
            }
        }
    }
    if args.view.quiet {
        lines.clear();
    }
    Conclusion { lines, fails }
}

/// Spans and log records of a run that match.
async fn matches_of(api: &Api, query: &str, run: &str) -> Result<u64, crate::cli::client::ApiError> {
    let query = format!("run={run} ({query})");
    let mut count = 0;
    for path in ["/api/v1/spans", "/api/v1/logs"] {
        let answer = api.get(path, &[("q", &query), ("limit", "1")]).await?;
        count += answer["total"].as_u64().unwrap_or(0);
    }
    Ok(count)
}

/// `dev --attach -- CMD`: the command sends to a `dev` that runs already.
pub async fn attach(args: &DevArgs) -> Result<u8, Failure> {
    let mut signals = listen_for_signals()?;
    let api = Api::new(&AgentArgs {
        url: args.command.url.clone(),
        token: std::env::var("RADIOSONDE_TOKEN").ok(),
    });
    let unreachable = |error: crate::cli::client::ApiError| Failure::new(child::EXIT_OURS, error.to_string());
    let status = api.get("/api/v1/status", &[]).await.map_err(unreachable)?;
    let listening = status["otlp"].as_array().map_or(&[][..], Vec::as_slice);
    let endpoint = listening.iter().find(|one| one["protocol"] == "http");
    let endpoint = endpoint.and_then(|one| one["endpoint"].as_str());
    let endpoint = endpoint.ok_or_else(|| Failure::new(child::EXIT_OURS, "the agent there takes no OTLP over HTTP"))?;
    let endpoint = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        Listening::url(endpoint)
    };
    let begun = api
        .post("/api/v1/runs", &serde_json::json!({"command": args.command.line()}))
        .await;
    let begun = begun.map_err(unreachable)?;
    let run = begun["id"].as_str().unwrap_or_default().to_owned();
    let environment = environment_of(args, endpoint.trim_end_matches('/'), &run);
    for remark in &environment.remarks {
        output::stderr(&format!("{remark}\n"));
    }
    let spawned = child::spawn(&args.command.cmd, &environment);
    let child = spawned.map_err(|(code, message)| Failure { code, message })?;
    let code = attend_command(child, &mut signals).await;
    until_counts_rest(&api).await;
    let ended = serde_json::json!({"exit_code": code});
    let told = api.post(&format!("/api/v1/runs/{run}"), &ended).await;
    let style = Style {
        is_ascii: args.view.ascii,
        is_coloured: args.view.color.of_stderr(),
    };
    let found = conclude(&api, &run, api.base(), style, args).await;
    for line in &found.lines {
        output::stderr(&format!("{line}\n"));
    }
    told.map_err(unreachable)?;
    Ok(if code == 0 && found.fails { 1 } else { code })
}

/// Until what the other `dev` has received stands still.
async fn until_counts_rest(api: &Api) {
    let end = Instant::now() + LONGEST_WAIT;
    let mut before = None;
    while Instant::now() < end {
        let Ok(status) = api.get("/api/v1/status", &[]).await else {
            return;
        };
        let received = Some(status["intake"].to_string());
        if received == before {
            return;
        }
        before = received;
        tokio::time::sleep(QUIET).await;
    }
}
