use clap::{CommandFactory, Parser};

use super::args::{Cli, Command};
use super::{Invocation, Mode};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_short_form_of_the_agent_reads_what_the_whole_reads() {
    let args = |line: &str| {
        line.split_whitespace()
            .map(std::ffi::OsString::from)
            .collect::<Vec<_>>()
    };
    for line in [
        "radiosonde -c a.yaml --set x=1",
        "radiosonde run --config a.yaml --set x=1",
    ] {
        let cli = Cli::of_process(&args(line)).unwrap();
        assert!(cli.command.is_none(), "{line}");
        assert_eq!(cli.run.config.config, ["a.yaml"], "{line}");
        assert_eq!(cli.run.config.set, ["x=1"], "{line}");
    }
    let other = Cli::of_process(&args("radiosonde validate -c a.yaml")).unwrap();
    assert!(matches!(other.command, Some(Command::Validate(_))));
    for wrong in [
        "radiosonde --help",
        "radiosonde --version",
        "radiosonde --confg a",
        "radiosonde run --help",
    ] {
        let (short, whole) = (Cli::of_process(&args(wrong)), parse(wrong));
        assert_eq!(
            short.unwrap_err().to_string(),
            whole.unwrap_err().to_string(),
            "{wrong}"
        );
    }
}

#[test]
fn run_is_the_default_and_takes_the_collectors_forms() {
    for line in [
        "radiosonde --config a.yaml --config=env:B --set x.y=1 --feature-gates a,-b,+c",
        "radiosonde run -c a.yaml -c env:B --set=x.y=1 --feature-gates=a,-b,+c",
    ] {
        let cli = parse(line).unwrap();
        let run = match cli.command {
            None => cli.run,
            Some(Command::Run(run)) => run,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(run.config.config, ["a.yaml", "env:B"], "{line}");
        assert_eq!(run.config.set, ["x.y=1"], "{line}");
        assert_eq!(run.config.feature_gates, ["a", "-b", "+c"], "{line}");
    }
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    for (line, code) in [
        ("radiosonde --colour", 2),
        ("radiosonde frobnicate", 2),
        ("radiosonde --help", 0),
        ("radiosonde validate --help", 0),
        ("radiosonde --version", 0),
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), code, "{line}");
    }
}

#[test]
fn the_name_it_is_called_by_selects_the_mode() {
    for (name, mode) in [
        ("/awscollector", Mode::AwsCollector),
        ("/healthcheck", Mode::HealthCheck),
        ("/usr/bin/radiosonde", Mode::Radiosonde),
        ("collector", Mode::Radiosonde),
    ] {
        assert_eq!(Invocation::from_name(Some(&name.into())).mode, mode, "{name}");
    }
}

#[test]
fn content_from_the_environment_counts_only_in_the_container_image() {
    let environment = |name: &str| (name == "AOT_CONFIG_CONTENT").then(|| "a: 1".to_string());
    let args = parse("x --config c.yaml").unwrap().run.config;
    let image = Invocation::from_name(Some(&"/awscollector".into())).inputs(&args, &environment);
    assert_eq!(
        image.content,
        Some(("AOT_CONFIG_CONTENT".to_string(), "a: 1".to_string()))
    );
    let own = Invocation::from_name(Some(&"radiosonde".into())).inputs(&args, &environment);
    assert_eq!(own.content, None);
    assert_eq!(own.uris, ["c.yaml"]);
}

#[test]
fn durations_are_seconds_or_have_a_unit() {
    assert_eq!(super::duration("30"), Ok(std::time::Duration::from_secs(30)));
    assert_eq!(super::duration("1m30s"), Ok(std::time::Duration::from_secs(90)));
    assert!(super::duration("soon").is_err());
}
