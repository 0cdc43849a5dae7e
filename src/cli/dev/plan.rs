//! What this run of `dev` listens on and keeps: the preset, the files of `--config` over it, the flags over both.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use serde_json::Value as Json;

use super::DevArgs;
use crate::components::REGISTRY;
use crate::config::{Document, Inputs, Problems, ProcessEnvironment};
use crate::graph::checked::{Checked, check};
use crate::net::server::Endpoint;

/// What `radiosonde dev` runs.
pub const PRESET: &str = include_str!("../../../config/dev.yaml");

/// The ports of the preset.
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;
const UI: u16 = 4320;

/// Where the three listen; `None` where the preset or a file of `--config` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub grpc: Option<String>,
    pub http: Option<String>,
    pub ui: Option<String>,
}

impl Addresses {
    /// What the flags say. `takes_free` where a port that is taken is replaced by a free one.
    ///
    /// # Errors
    /// A flag that is no address, ports beyond 65535, no free port.
    pub fn of(args: &DevArgs, takes_free: bool) -> Result<Self, String> {
        let one = |flag: &str, given: &Option<String>, usual: u16| -> Result<Option<String>, String> {
            if let Some(text) = given {
                let text = address(text).map_err(|problem| format!("{flag}: {problem}"))?;
                return Ok(Some(text));
            }
            let port = usual
                .checked_add(args.port_offset)
                .ok_or_else(|| format!("--port-offset {} leads beyond port 65535", args.port_offset))?;
            if takes_free && args.config.is_empty() {
                return free_port(port).map(|port| Some(format!("localhost:{port}")));
            }
            Ok((args.port_offset > 0).then(|| format!("localhost:{port}")))
        };
        Ok(Self {
            grpc: one("--otlp-grpc", &args.otlp_grpc, GRPC)?,
            http: one("--otlp-http", &args.otlp_http, HTTP)?,
            ui: one("--ui", &args.ui, UI)?,
        })
    }
}

/// `host:port`; a port alone is one of localhost.
fn address(text: &str) -> Result<String, String> {
    let text = match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(port) if !text.starts_with(':') => format!("localhost:{port}"),
        _ => text.to_owned(),
    };
    Endpoint::parse(&text)?;
    Ok(text)
}

/// The port, or another where somebody has it on either loopback address.
fn free_port(usual: u16) -> Result<u16, String> {
    if usual != 0 && is_free(usual) {
        return Ok(usual);
    }
    const TRIES: usize = 16;
    for _ in 0..TRIES {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let port = held
            .and_then(|listener| listener.local_addr())
            .map(|address| address.port())
            .map_err(|error| format!("no free port on this machine: {error}"))?;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err("no port of this machine is free on 127.0.0.1 and [::1]".to_owned())
}

fn is_free(port: u16) -> bool {
    let is_taken = |address: SocketAddr| {
        TcpListener::bind(address).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    !is_taken((Ipv4Addr::LOCALHOST, port).into()) && !is_taken((Ipv6Addr::LOCALHOST, port).into())
}

/// The documents of this run.
pub fn inputs(args: &DevArgs, addresses: &Addresses) -> Inputs {
    let mut uris = vec![format!("yaml:{PRESET}")];
    uris.extend(args.config.iter().cloned());
    uris.push(format!("yaml:{}", overlay(args, addresses)));
    Inputs {
        uris,
        ..Inputs::default()
    }
}

/// What the flags say, as a configuration. JSON strings are YAML strings: no value breaks out of its place.
fn overlay(args: &DevArgs, addresses: &Addresses) -> String {
    let quoted = |text: &str| Json::from(text).to_string();
    let mut text = String::from("# flags of the command line\n");
    let mut protocols = String::new();
    if let Some(grpc) = &addresses.grpc {
        let _ = writeln!(protocols, "      grpc: {{endpoint: {}}}", quoted(grpc));
    }
    if addresses.http.is_some() || !args.cors_origin.is_empty() {
        protocols.push_str("      http:\n");
        if let Some(http) = &addresses.http {
            let _ = writeln!(protocols, "        endpoint: {}", quoted(http));
        }
        if !args.cors_origin.is_empty() {
            let mut origins: Vec<String> = local_origins();
            origins.extend(args.cors_origin.iter().cloned());
            let _ = writeln!(protocols, "        cors: {{allowed_origins: {}}}", Json::from(origins));
        }
    }
    if !protocols.is_empty() {
        let _ = write!(text, "receivers:\n  otlp:\n    protocols:\n{protocols}");
    }
    let mut store = Vec::new();
    if let Some(memory) = &args.memory {
        store.push(format!("memory: {}", quoted(memory)));
    }
    if let Some(folder) = &args.data_dir {
        store.push(format!("data_dir: {}", quoted(&folder.to_string_lossy())));
    }
    if !store.is_empty() {
        let _ = writeln!(text, "exporters:\n  devstore: {{{}}}", store.join(", "));
    }
    if let Some(ui) = &addresses.ui {
        let _ = writeln!(text, "service:\n  admin: {{endpoint: {}}}", quoted(ui));
    }
    text
}

/// The origins that the preset allows.
fn local_origins() -> Vec<String> {
    let mut origins = Vec::new();
    for scheme in ["http", "https"] {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            origins.push(format!("{scheme}://{host}"));
            origins.push(format!("{scheme}://{host}:*"));
        }
    }
    origins
}

/// Where this run listens in the end, for the banner and the environment of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    pub grpc: String,
    pub http: String,
    pub ui: String,
}

impl Listening {
    /// What the configuration says.
    pub fn of(document: &Document, checked: &Checked) -> Self {
        let json = document.to_json();
        let protocols = &json["receivers"]["otlp"]["protocols"];
        let endpoint = |protocol: &str| protocols[protocol]["endpoint"].as_str().unwrap_or_default().to_owned();
        Self {
            grpc: endpoint("grpc"),
            http: endpoint("http"),
            ui: checked.service.admin.endpoint.clone(),
        }
    }

    /// What a client on this machine connects to. `localhost` may be IPv6 first for a client and IPv4 for another:
    /// both are listened on.
    pub fn url(endpoint: &str) -> String {
        let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
        let host = match host {
            "" | "0.0.0.0" | "[::]" => "127.0.0.1",
            host => host,
        };
        format!("http://{host}:{port}")
    }

    /// `:4317` of what is on this machine only, else all of it.
    pub fn short(endpoint: &str) -> String {
        match endpoint.rsplit_once(':') {
            Some(("localhost" | "127.0.0.1" | "[::1]", port)) => format!(":{port}"),
            _ => endpoint.to_owned(),
        }
    }
}

/// Reads and checks everything.
///
/// # Errors
/// Every problem.
pub fn load(inputs: &Inputs) -> Result<(Document, Checked), Problems> {
    let document = Document::load(inputs, &ProcessEnvironment)?;
    let checked = check(&document, REGISTRY)?;
    Ok((document, checked))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        dev: DevArgs,
    }

    fn args(line: &[&str]) -> DevArgs {
        let line = std::iter::once("dev").chain(line.iter().copied());
        Line::try_parse_from(line).unwrap().dev
    }

    fn listening(line: &[&str]) -> Listening {
        let args = args(line);
        let addresses = Addresses::of(&args, false).unwrap();
        let (document, checked) = load(&inputs(&args, &addresses)).unwrap_or_else(|problems| panic!("{problems}"));
        Listening::of(&document, &checked)
    }

    #[test]
    fn the_preset_is_accepted_without_a_warning_and_listens_on_localhost() {
        let args = args(&[]);
        let (document, checked) =
            load(&inputs(&args, &Addresses::default())).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(checked.warnings.lines(), Vec::<String>::new());
        assert_eq!(checked.pipelines.len(), 3);
        let listening = Listening::of(&document, &checked);
        assert_eq!(
            (listening.grpc.as_str(), listening.http.as_str(), listening.ui.as_str()),
            ("localhost:4317", "localhost:4318", "localhost:4320")
        );
        assert_eq!(Listening::url(&listening.http), "http://localhost:4318");
        assert_eq!(Listening::short(&listening.http), ":4318");
        assert_eq!(Listening::url("0.0.0.0:1"), "http://127.0.0.1:1");
    }

    #[test]
    fn flags_stand_above_the_preset() {
        let moved = listening(&["--port-offset", "100"]);
        assert_eq!(
            (moved.grpc.as_str(), moved.ui.as_str()),
            ("localhost:4417", "localhost:4420")
        );
        let given = listening(&[
            "--otlp-http",
            "127.0.0.1:1",
            "--ui",
            "5000",
            "--cors-origin",
            "https://a.example",
        ]);
        assert_eq!(
            (given.http.as_str(), given.ui.as_str()),
            ("127.0.0.1:1", "localhost:5000")
        );
        assert!(Addresses::of(&args(&["--port-offset", "65000"]), false).is_err());
        assert!(Addresses::of(&args(&["--ui", "http://x"]), false).is_err());
    }

    #[test]
    fn a_taken_port_is_replaced_where_that_is_asked_for() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert_ne!(free_port(port), Ok(port));
    }

    #[test]
    fn the_origins_of_the_flags_stand_beside_those_of_the_preset() {
        let document = Document::plain("dev.yaml", PRESET).unwrap();
        let json = document.to_json();
        let origins = json["receivers"]["otlp"]["protocols"]["http"]["cors"]["allowed_origins"].clone();
        assert_eq!(origins, Json::from(local_origins()));
    }
}
