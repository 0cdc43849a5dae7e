//! One run of `dev`: starts everything, watches keys, signals and the command, ends everything.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::banner::{first_line, keys_line, number};
use super::command::{attend_command, conclude, environment_of, spawn, until_quiet};
use super::keys::Keys;
use super::plan::{Addresses, Listening, load};
use super::shown::{copy, copy_target, filter_of, finding_line, mode_of, open_page, style_redraws, wanted_of};
use super::watching::{Viewer, Wish, columns, show};
use super::{DevArgs, Failure, PortChoice, StreamFormat, ViewArgs, checked_plan};
use crate::admin::{PageToken, Pages};
use crate::cli::client::{AgentArgs, Api};
use crate::cli::run::{RunOptions, Service, Signal, Signals, StartFailure};
use crate::component::{Clock, Commons, Feed, SystemClock};
use crate::config::Inputs;
use crate::config::types::Secret;
use crate::dev::lints::{Finding, Lints};
use crate::dev::runs::Runs;
use crate::dev::terminal::text::Style;
use crate::dev::terminal::{Mode, Options, Paper, View};
use crate::graph::checked::Checked;
use crate::net::server::Endpoint;

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

/// From now on; without them nothing could end it well.
pub fn listen_for_signals() -> Result<Signals, Failure> {
    Signals::listen().map_err(|error| Failure::new(1, format!("cannot listen for signals: {error}")))
}

async fn start(args: &DevArgs, has_command: bool) -> Result<(Session, Option<String>), Failure> {
    let takes_free = has_command || args.port == Some(PortChoice::Auto);
    let mut tries = 1;
    loop {
        let addresses = Addresses::of(args, takes_free).map_err(|message| Failure::new(2, message))?;
        let (checked, listening, inputs, config) = checked_plan(args, &addresses)?;
        let commons = Commons::default();
        let run = has_command.then(|| commons.get::<Runs>().begin(&args.command.line(), SystemClock.now()));
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
