//! One run of `dev`: starts everything, watches keys, signals and the command, ends everything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal as UnixSignal;
use tokio::process::Child;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::banner::{first_line, keys_line, number, summary};
use super::child::{self, Environment};
use super::keys::Keys;
use super::plan::{Addresses, Listening, load};
use super::watching::{Viewer, Wish, columns, show};
use super::{DevArgs, Failure, PortChoice, StreamFormat, ViewArgs, ViewMode, checked_plan};
use crate::admin::{PageToken, Pages};
use crate::cli::client::{AgentArgs, Api};
use crate::cli::output;
use crate::cli::run::{RunOptions, Service, Signal, Signals, StartFailure};
use crate::component::{Clock, Commons, SystemClock};
use crate::config::Inputs;
use crate::config::types::Secret;
use crate::dev::feed::{Feed, Watch};
use crate::dev::lints::{Finding, Lints, Severity};
use crate::dev::runs::Runs;
use crate::dev::terminal::text::{Ink, Style, harmless};
use crate::dev::terminal::{Mode, Options, Paper, View};
use crate::graph::checked::Checked;
use crate::net::server::Endpoint;

/// Silence after which a command that has ended is taken to have sent everything ...
const QUIET: Duration = Duration::from_millis(300);
/// ... and the longest wait for it.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Tries to start while somebody else takes the ports in between.
const STARTS: usize = 3;

/// What a session is made of.
pub struct Parts<'a> {
    pub view: &'a ViewArgs,
    pub checked: Checked,
    pub listening: Listening,
    pub inputs: Inputs,
    pub clock: Arc<dyn Clock>,
    pub commons: Commons,
    /// Only this run is shown.
    pub run: Option<String>,
    /// What runs, for the page; secrets redacted.
    pub config: String,
}

/// What runs.
pub struct Session {
    service: Service,
    options: RunOptions,
    viewer: Viewer,
    tasks: TaskTracker,
    pub page: String,
    pub api: Api,
    pub style: Style,
    listening: Listening,
    commons: Commons,
    /// With the token in it, once.
    link: String,
}

/// `dev` by itself and `dev -- CMD`.
pub async fn run(args: &DevArgs) -> Result<u8, Failure> {
    let has_command = !args.command.cmd.is_empty();
    let mut signals = listen_for_signals()?;
    let starting = start(args, has_command);
    tokio::pin!(starting);
    let (session, run) = loop {
        tokio::select! {
            started = &mut starting => break started?,
            signal = signals.next() => if signal != Signal::Reload { return Ok(130) },
        }
    };
    if !args.view.quiet {
        session.greet(has_command).await;
    }
    if args.view.open {
        open_page(&session.link);
    }
    let Some(run) = run else {
        session.attend(&mut signals, None).await;
        session.stop().await;
        return Ok(0);
    };
    let watch = session.commons.get::<Feed>().watch();
    let environment = environment_of(args, &Listening::url(&session.listening.http), &run);
    let code = match spawn(args, &environment, &session.viewer) {
        Ok(child) => {
            let code = attend_command(child, &mut signals).await;
            until_quiet(watch).await;
            code
        }
        Err(failure) => {
            session.stop().await;
            return Err(failure);
        }
    };
    session.commons.get::<Runs>().end(&run, SystemClock.now(), code);
    let found = conclude(&session.api, &run, &session.page, session.style, args).await;
    session.viewer.wish(Wish::Conclude(found.lines));
    let code = if code == 0 && found.fails { 1 } else { code };
    if args.command.keep {
        session.viewer.say("(the command has ended; Ctrl-C ends radiosonde)");
        session.attend(&mut signals, None).await;
    }
    session.stop().await;
    Ok(code)
}

fn listen_for_signals() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| Failure::new(1, format!("cannot listen for signals: {error}")))
}

async fn start(args: &DevArgs, has_command: bool) -> Result<(Session, Option<String>), Failure> {
    let takes_free = has_command || args.port == Some(PortChoice::Auto);
    let mut tries = 1;
    loop {
        let addresses = Addresses::of(args, takes_free).map_err(|message| Failure::new(2, message))?;
        let (checked, listening, inputs, config) = checked_plan(args, &addresses)?;
        let commons = Commons::default();
        let run = has_command.then(|| {
            let words: Vec<String> = args
                .command
                .cmd
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            commons.get::<Runs>().begin(&words.join(" "), SystemClock.now())
        });
        let parts = Parts {
            view: &args.view,
            checked,
            listening,
            inputs,
            clock: Arc::new(SystemClock),
            commons,
            run: run.clone(),
            config,
        };
        match Session::start(parts).await {
            Ok(session) => return Ok((session, run)),
            // Somebody took a port after we had looked.
            Err(_) if takes_free && tries < STARTS && Addresses::of(args, true).ok().as_ref() != Some(&addresses) => {
                tries += 1;
            }
            Err(message) => return Err(Failure::new(1, with_hint(message))),
        }
    }
}

/// What to do about a port that somebody has.
fn with_hint(message: String) -> String {
    if message.contains("the port is taken") {
        format!("{message}\nradiosonde dev --port-offset 100 takes other ports, --port auto whichever are free")
    } else {
        message
    }
}

impl Session {
    /// Starts everything; the receivers accept when this returns.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn start(parts: Parts<'_>) -> Result<Self, String> {
        let Parts {
            view,
            checked,
            listening,
            inputs,
            clock,
            commons,
            run,
            config,
        } = parts;
        let wanted = filter_of(view)?;
        let is_terminal = std::io::stderr().is_terminal();
        let style = Style {
            is_ascii: view.ascii,
            is_coloured: view.color.of_stderr(),
        };
        let token = page_token(&listening.ui)?;
        let uris = inputs.uris.clone();
        let options = RunOptions {
            clock,
            commons: commons.clone(),
            pages: Some(Pages {
                otlp: vec![("grpc", listening.grpc.clone()), ("http", listening.http.clone())],
                ui: listening.ui.clone(),
                config,
                token: token.clone(),
            }),
            ..RunOptions::new(Box::new(move || load(&inputs).map(|(_, checked)| checked)), uris)
        };
        // Everybody who watches is there before the first span is.
        let tasks = TaskTracker::new();
        let feed = commons.get::<Feed>();
        let lints = commons.get::<Lints>();
        let (viewer, wishes) = Viewer::pair();
        let shown = feed.watch();
        let linted = feed.watch();
        let copied = (view.format == StreamFormat::Jsonl).then(|| feed.watch());
        let service = Service::start(&options, checked, Instant::now())
            .await
            .map_err(|failure| match failure {
                StartFailure::BeforeLogs(message) | StartFailure::AfterLogs(message) => message,
            })?;
        let mut screen = View::new(Options {
            mode: mode_of(view),
            shows_health: view.show_health,
            redraws: is_terminal && style_redraws(),
            paper: Paper {
                style,
                width: columns(),
                zone: jiff::tz::TimeZone::system(),
            },
            run,
        });
        screen.set_filter(wanted);
        tasks.spawn(show(screen, shown, wishes, Box::new(std::io::stderr())));
        let told = viewer.clone();
        let is_shown = mode_of(view) != Mode::Nothing;
        let tell = move |news: Vec<Finding>| {
            if is_shown {
                told.wish(Wish::Say(
                    news.iter().filter_map(|finding| finding_line(finding, style)).collect(),
                ));
            }
        };
        tasks.spawn(crate::dev::lints::attend(lints, linted, commons.clone(), tell));
        if let Some(watch) = copied {
            let out = copy_target(view)?;
            tasks.spawn(copy(watch, out));
        }
        tasks.close();
        let page = Listening::url(&listening.ui);
        let link = match &token {
            Some(token) => format!("{page}/?token={}", token.link.reveal()),
            None => page.clone(),
        };
        let api = Api::new(&AgentArgs {
            url: page.clone(),
            token: token.map(|token| token.bearer.reveal().to_owned()),
        });
        Ok(Self {
            service,
            options,
            viewer,
            tasks,
            page,
            api,
            style,
            listening,
            commons,
            link,
        })
    }

    /// The first line, and what the keys do.
    pub async fn greet(&self, has_command: bool) {
        let status = self.api.get("/api/v1/status", &[]).await;
        let store = status.ok().and_then(|status| {
            let store = &status["store"];
            Some((number(&store["used"])?, number(&store["cap"])?))
        });
        let mut lines = vec![first_line(&self.listening, &self.link, store)];
        if std::io::stdin().is_terminal() && !has_command {
            lines.push(keys_line(self.style));
        }
        for (name, endpoint) in [
            ("--otlp-grpc", &self.listening.grpc),
            ("--otlp-http", &self.listening.http),
        ] {
            if !Endpoint::parse(endpoint).is_ok_and(|endpoint| endpoint.is_local()) {
                let mark = self.style.warning_mark();
                lines.push(format!(
                    "{mark} {name} {endpoint}: every machine of the network can send here"
                ));
            }
        }
        self.viewer.wish(Wish::Say(lines));
    }

    /// Until a key, a signal or the time ends it.
    pub async fn attend(&self, signals: &mut Signals, limit: Option<Duration>) {
        let mut keys = Keys::listen();
        let mut prompt: Option<String> = None;
        let end = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let key = async {
                match &mut keys {
                    Some(keys) => keys.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut end => return,
                signal = signals.next() => if let Signal::Stop(_) = signal { return },
                key = key => match key {
                    None => keys = None,
                    Some(key) if prompt.is_some() => self.type_filter(key, &mut prompt),
                    Some('q') => return,
                    Some('/') => {
                        prompt = Some(String::new());
                        self.viewer.say("filter: ");
                    }
                    Some(key) => self.press(key),
                },
            }
        }
    }

    fn press(&self, key: char) {
        match key {
            'p' => self.viewer.wish(Wish::Pause),
            'c' => self.viewer.wish(Wish::Clear),
            'o' => open_page(&self.link),
            _ => {}
        }
    }

    /// One key of a filter that is being typed; Enter takes it, Escape leaves it.
    fn type_filter(&self, key: char, prompt: &mut Option<String>) {
        let Some(text) = prompt else { return };
        match key {
            '\r' | '\n' => {
                let text = std::mem::take(text);
                *prompt = None;
                match wanted_of(&text) {
                    Ok(wanted) => self.viewer.wish(Wish::Filter(wanted)),
                    Err(problem) => self.viewer.say(problem),
                }
                return;
            }
            '\u{1b}' => {
                *prompt = None;
                self.viewer.wish(Wish::Prompt(String::new()));
                return;
            }
            '\u{8}' | '\u{7f}' => {
                text.pop();
            }
            key if !key.is_control() => text.push(key),
            _ => {}
        }
        self.viewer.wish(Wish::Prompt(format!("filter: {text}")));
    }

    /// Stops intake, flushes, and leaves the terminal as it was.
    pub async fn stop(self) {
        let Self {
            service,
            options,
            viewer,
            tasks,
            commons,
            ..
        } = self;
        service.stop().await;
        // The tasks end when those who feed them are gone.
        commons.get::<Feed>().close();
        drop((viewer, options));
        tasks.wait().await;
    }
}

/// `▲ slow-vs-baseline  GET /quote p95 210ms, ...  radiosonde query trace a41c77e0`
fn finding_line(finding: &Finding, style: Style) -> Option<String> {
    // These show in the trees themselves.
    if matches!(finding.rule, "error-span" | "n-plus-one" | "orphan-span") {
        return None;
    }
    let ink = match finding.severity {
        Severity::Critical => Ink::Red,
        Severity::Warning => Ink::Yellow,
        Severity::Info => Ink::Dim,
    };
    let mark = style.paint(&format!("{} {}", style.warning_mark(), finding.rule), ink);
    let title = harmless(&finding.title);
    let trace = finding
        .evidence
        .first()
        .and_then(|evidence| evidence.trace_id.as_deref());
    let how = match trace.and_then(|trace| trace.get(..8)) {
        Some(trace) => format!("radiosonde query trace {trace}"),
        None => harmless(&finding.fix),
    };
    Some(format!("{mark}  {title}  {}", style.paint(&how, Ink::Dim)))
}

/// A dumb terminal cannot go back.
fn style_redraws() -> bool {
    std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb")
}

fn mode_of(view: &ViewArgs) -> Mode {
    match view.view {
        _ if view.quiet || view.format == StreamFormat::Jsonl && view.output.is_none() => Mode::Nothing,
        ViewMode::Tree => Mode::Tree,
        ViewMode::Line => Mode::Line,
        ViewMode::None => Mode::Nothing,
    }
}

/// A page that others than this machine can reach needs a token.
fn page_token(ui: &str) -> Result<Option<PageToken>, String> {
    if Endpoint::parse(ui)?.is_local() {
        return Ok(None);
    }
    let given = std::env::var("RADIOSONDE_TOKEN").ok().filter(|token| !token.is_empty());
    let random = || uuid::Uuid::new_v4().simple().to_string();
    Ok(Some(PageToken {
        bearer: Secret::new(given.unwrap_or_else(random)),
        link: Secret::new(random()),
    }))
}

fn filter_of(view: &ViewArgs) -> Result<Option<crate::dev::terminal::Wanted>, String> {
    match &view.filter {
        Some(text) => wanted_of(text).map_err(|problem| format!("--filter: {problem}")),
        None => Ok(None),
    }
}

/// What a filter lets through.
fn wanted_of(text: &str) -> Result<Option<crate::dev::terminal::Wanted>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    crate::dev::filter::wanted(text).map(Some)
}

/// Shows a page in the browser. Without one nothing happens.
fn open_page(link: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(program)
        .arg(link)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        output::stderr(&format!("cannot open {link}: {program}: {error}\n"));
    }
}

fn copy_target(view: &ViewArgs) -> Result<Box<dyn Write + Send>, String> {
    match &view.output {
        None => Ok(Box::new(std::io::stdout())),
        Some(path) => {
            let file = File::create(path).map_err(|error| format!("--output {}: {error}", path.display()))?;
            Ok(Box::new(file))
        }
    }
}

/// Every request as a line of OTLP/JSON.
async fn copy(mut watch: Watch, mut out: Box<dyn Write + Send>) {
    while let Some(fresh) = watch.next().await {
        let written = tokio::task::spawn_blocking(move || {
            let mut line = match fresh.batch.to_json() {
                Ok(line) => line,
                // What cannot be written as JSON is in the store all the same.
                Err(_) => return Some(out),
            };
            line.push(b'\n');
            let is_written = out.write_all(&line).and_then(|()| out.flush()).is_ok();
            is_written.then_some(out)
        });
        match written.await {
            Ok(Some(again)) => out = again,
            // A reader that has gone away ends the copy, and nothing else.
            Ok(None) | Err(_) => return,
        }
    }
}

fn environment_of(args: &DevArgs, endpoint: &str, run: &str) -> Environment {
    // Read once, so that it can be tested.
    let variables: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    child::environment(endpoint, run, args.command.force_env, &|name| {
        variables.get(name).cloned()
    })
}

fn spawn(args: &DevArgs, environment: &Environment, viewer: &Viewer) -> Result<Child, Failure> {
    for remark in &environment.remarks {
        viewer.say(remark.clone());
    }
    child::spawn(&args.command.cmd, environment).map_err(|(code, message)| Failure { code, message })
}

/// Waits for the command and passes signals on; the second Ctrl-C kills it.
async fn attend_command(mut child: Child, signals: &mut Signals) -> u8 {
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
async fn until_quiet(mut watch: Watch) {
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
struct Conclusion {
    lines: Vec<String>,
    /// `--fail-on` found something.
    fails: bool,
}

async fn conclude(api: &Api, run: &str, page: &str, style: Style, args: &DevArgs) -> Conclusion {
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
    let words: Vec<String> = args
        .command
        .cmd
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let begun = api
        .post("/api/v1/runs", &serde_json::json!({"command": words.join(" ")}))
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
