//! The receiver's section of the configuration.

use serde::{Deserialize, Serialize};

use crate::config::Section;
use crate::net::server::{GrpcGroup, HttpGroup};
use crate::pdata::{Check, Signal, Utf8};

const GRPC_ENDPOINT: &str = "localhost:4317";
const HTTP_ENDPOINT: &str = "localhost:4318";

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    check: CheckKey,
    utf8: Utf8Key,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckKey {
    #[default]
    Frame,
    Full,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Utf8Key {
    #[default]
    Replace,
    Reject,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct PathKeys {
    traces_url_path: Option<String>,
    metrics_url_path: Option<String>,
    logs_url_path: Option<String>,
}

/// `protocols::http`.
#[derive(Clone, Debug)]
pub(super) struct HttpProtocol {
    pub(super) http: HttpGroup,
    pub(super) paths: Paths,
}

/// The URL path of each signal, in the order of [`Signal::ALL`], without trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Paths([String; 3]);

impl Default for Paths {
    fn default() -> Self {
        Self(Signal::ALL.map(|signal| format!("/v1/{signal}")))
    }
}

impl Paths {
    /// The path of a signal.
    pub(super) fn of(&self, signal: Signal) -> &str {
        &self.0[signal as usize]
    }

    /// The signal of a path; a trailing slash is taken.
    pub(super) fn signal(&self, path: &str) -> Option<Signal> {
        let path = path.strip_suffix('/').unwrap_or(path);
        Signal::ALL.into_iter().find(|signal| self.of(*signal) == path)
    }
}

/// A checked receiver.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) grpc: Option<GrpcGroup>,
    pub(super) http: Option<HttpProtocol>,
    /// How deep a request is checked at the door.
    pub(super) check: Check,
    /// What `check: full` does with text that is not UTF-8.
    pub(super) utf8: Utf8,
}

impl Settings {
    pub(super) fn check(section: &Section) -> Option<Self> {
        let keys: Keys = section.read()?;
        let protocols = section.take("protocols");
        let (grpc, http) = match &protocols {
            Some(protocols) => (protocols.take("grpc"), protocols.take("http")),
            None => (None, None),
        };
        if grpc.is_none() && http.is_none() {
            let at = protocols.as_ref().unwrap_or(section);
            at.error("at least one protocol is needed: `protocols` with `grpc:`, `http:` or both");
            return None;
        }
        // Both are checked before either may end the check: all problems at once.
        let grpc = grpc.map(|section| GrpcGroup::check(&section, GRPC_ENDPOINT));
        let http = http.map(|section| check_http(&section));
        Some(Self {
            grpc: required(grpc)?,
            http: required(http)?,
            check: match keys.check {
                CheckKey::Frame => Check::Frame,
                CheckKey::Full => Check::Full,
            },
            utf8: match keys.utf8 {
                Utf8Key::Replace => Utf8::Replace,
                Utf8Key::Reject => Utf8::Reject,
            },
        })
    }
}

/// What was not configured is fine; what was must have been read.
fn required<T>(checked: Option<Option<T>>) -> Option<Option<T>> {
    match checked {
        None => Some(None),
        Some(None) => None,
        Some(Some(checked)) => Some(Some(checked)),
    }
}

fn check_http(section: &Section) -> Option<HttpProtocol> {
    let keys: PathKeys = section.read()?;
    let http = HttpGroup::check(section, HTTP_ENDPOINT);
    let mut paths = Paths::default();
    let configured = [
        ("traces_url_path", keys.traces_url_path),
        ("metrics_url_path", keys.metrics_url_path),
        ("logs_url_path", keys.logs_url_path),
    ];
    for (signal, (key, path)) in Signal::ALL.into_iter().zip(configured) {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            continue;
        };
        if path.contains(['?', '#', ' ']) {
            section.error_at(key, format!("\"{path}\" is no URL path"));
        }
        // The Collector puts the missing slash in front, too.
        let path = path.trim_end_matches('/');
        paths.0[signal as usize] = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
    }
    for signal in Signal::ALL {
        if paths.signal(paths.of(signal)) != Some(signal) {
            section.error(format!("two signals have the URL path \"{}\"", paths.of(signal)));
            return None;
        }
    }
    Some(HttpProtocol { http: http?, paths })
}
