//! The command of `dev -- CMD`: its environment, its start, the signals it is passed, its exit code.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Exit code where Radiosonde failed before the command ran.
pub const EXIT_OURS: u8 = 125;
/// The command was found but cannot be run.
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// The attribute of every resource of a run.
pub const RUN_ATTRIBUTE: &str = "radiosonde.run.id";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Set only where they are not set: what makes an SDK send at all, and soon enough for somebody who watches.
const WHERE_UNSET: [(&str, &str); 7] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ("OTEL_TRACES_EXPORTER", "otlp"),
    ("OTEL_METRICS_EXPORTER", "otlp"),
    ("OTEL_LOGS_EXPORTER", "otlp"),
    ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "2000"),
];

/// Endpoints of one signal stand above the common one.
const PER_SIGNAL: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "metrics"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "logs"),
];

/// What the command is given, and what of its environment is in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    pub set: Vec<(String, String)>,
    /// Remarks for people.
    pub remarks: Vec<String>,
}

/// The environment of a run that sends to `endpoint`, a base URL.
pub fn environment(endpoint: &str, run: &str, force: bool, variable: &dyn Fn(&str) -> Option<String>) -> Environment {
    let mut made = Environment::default();
    let mut set = |name: &str, value: String| made.set.push((name.to_owned(), value));
    set(ENDPOINT, endpoint.to_owned());
    let tag = format!("{RUN_ATTRIBUTE}={run}");
    let attributes = match variable(RESOURCE).filter(|list| !list.trim().is_empty()) {
        Some(list) => format!("{},{tag}", list.trim().trim_end_matches(',')),
        None => tag,
    };
    set(RESOURCE, attributes);
    for (name, value) in WHERE_UNSET {
        if variable(name).is_none_or(|value| value.is_empty()) {
            set(name, value.to_owned());
        }
    }
    for (name, signal) in PER_SIGNAL {
        let Some(given) = variable(name).filter(|given| !given.is_empty()) else {
            continue;
        };
        if given.starts_with(endpoint) {
            continue;
        }
        if force {
            made.set.push((name.to_owned(), format!("{endpoint}/v1/{signal}")));
        } else {
            made.remarks.push(format!(
                "{name} is {given:?}: the command's {signal} go there and not here; --force-env overrides it"
            ));
        }
    }
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        if force {
            made.set.push(("OTEL_SDK_DISABLED".to_owned(), "false".to_owned()));
        } else {
            let remark = "OTEL_SDK_DISABLED is true: the command sends nothing; --force-env overrides it";
            made.remarks.push(remark.to_owned());
        }
    }
    made
}

/// Starts the command without a shell; its standard input, output and error are ours.
///
/// # Errors
/// The exit code and a sentence.
pub fn spawn(command: &[OsString], environment: &Environment) -> Result<Child, (u8, String)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err((2, "no command stands behind --".to_owned()));
    };
    let variables = environment.set.iter().map(|(name, value)| (name, value));
    let child = Command::new(program).args(arguments).envs(variables).spawn();
    child.map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => EXIT_NOT_FOUND,
            _ => EXIT_NOT_EXECUTABLE,
        };
        (code, format!("cannot run {}: {error}", program.to_string_lossy()))
    })
}

/// As a shell tells it: the code, or 128 and the number of the signal.
pub fn code_of(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Passes a signal on. A command that has just ended is no error.
pub fn pass_on(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid {
        let _ended = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(set: &[(&str, &str)], force: bool) -> Environment {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        environment("http://localhost:4318", "r-1", force, &variable)
    }

    fn value<'a>(made: &'a Environment, name: &str) -> Option<&'a str> {
        let found = made.set.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_endpoint_is_set_and_the_run_is_appended() {
        let plain = made(&[], false);
        assert_eq!(value(&plain, ENDPOINT), Some("http://localhost:4318"));
        assert_eq!(value(&plain, RESOURCE), Some("radiosonde.run.id=r-1"));
        assert_eq!(value(&plain, "OTEL_EXPORTER_OTLP_PROTOCOL"), Some("http/protobuf"));
        let given = made(
            &[
                (RESOURCE, "a=b,"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_LOGS_EXPORTER", "none"),
            ],
            false,
        );
        assert_eq!(value(&given, RESOURCE), Some("a=b,radiosonde.run.id=r-1"));
        assert_eq!(value(&given, "OTEL_EXPORTER_OTLP_PROTOCOL"), None);
        assert_eq!(value(&given, "OTEL_LOGS_EXPORTER"), None);
    }

    #[test]
    fn an_endpoint_of_one_signal_is_reported_and_overridden_only_by_force() {
        let elsewhere = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://far:4318/v1/traces"),
            ("OTEL_SDK_DISABLED", "true"),
        ];
        let told = made(&elsewhere, false);
        assert_eq!(told.remarks.len(), 2);
        assert!(told.remarks[0].contains("--force-env"), "{:?}", told.remarks);
        assert_eq!(value(&told, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), None);
        let forced = made(&elsewhere, true);
        assert_eq!(forced.remarks, Vec::<String>::new());
        assert_eq!(
            value(&forced, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            Some("http://localhost:4318/v1/traces")
        );
        let here = made(
            &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost:4318/v1/logs")],
            false,
        );
        assert_eq!(here.remarks, Vec::<String>::new());
    }

    #[tokio::test]
    async fn exit_codes_are_those_of_a_shell() {
        let run = async |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            match spawn(&line, &Environment::default()) {
                Ok(mut child) => code_of(child.wait().await.unwrap()),
                Err((code, _)) => code,
            }
        };
        assert_eq!(run(&["sh", "-c", "exit 7"]).await, 7);
        assert_eq!(run(&["sh", "-c", "kill -TERM $$"]).await, 143);
        assert_eq!(run(&["/no/such/program"]).await, 127);
        assert_eq!(run(&["/"]).await, 126);
        assert_eq!(run(&[]).await, 2);
    }
}
