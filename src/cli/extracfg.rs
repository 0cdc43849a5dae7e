//! `extracfg.txt`: how the Collector of AWS is given a log level, a profile and variables beside its configuration.
//!
//! A process cannot change its own environment safely once threads run, and libraries read it when they like: so the
//! process replaces itself by one that has the variables from its first moment, under the same id.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Where the image has it.
pub const PATH: &str = "/opt/aws/aws-otel-collector/etc/extracfg.txt";

/// What it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// `loggingLevel`, in small letters.
    pub level: Option<String>,
    /// For the environment; `awsProfile` and `awsCredentialFile` under the names that SDKs read.
    pub variables: Vec<(String, String)>,
    /// Lines that say nothing, by number from 1, and why.
    pub unread: Vec<(usize, &'static str)>,
}

/// Reads lines of `key=value`; `#` begins a comment line.
pub fn parse(text: &str) -> Extra {
    let mut extra = Extra::default();
    for (position, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut unread = |why| extra.unread.push((position + 1, why));
        let Some((key, value)) = line.split_once('=') else {
            unread("no `=`");
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || key.contains('\0') || value.contains('\0') {
            unread("not a name and a value");
            continue;
        }
        match key {
            "loggingLevel" => {
                let level = value.to_ascii_lowercase();
                match level.as_str() {
                    "debug" | "info" | "warn" | "error" => extra.level = Some(level),
                    _ => unread("`loggingLevel` is DEBUG, INFO, WARN or ERROR"),
                }
            }
            "awsProfile" => extra.variables.push(("AWS_PROFILE".to_owned(), value.to_owned())),
            "awsCredentialFile" => {
                let name = "AWS_SHARED_CREDENTIALS_FILE".to_owned();
                extra.variables.push((name, value.to_owned()));
            }
            _ => extra.variables.push((key.to_owned(), value.to_owned())),
        }
    }
    extra
}

/// The file, where there is one.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Extra>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(parse(&text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the process by itself with these variables; returns where it has them already.
///
/// # Errors
/// The process cannot be started anew.
pub fn take_over(variables: &[(String, String)], args: &[OsString]) -> io::Result<()> {
    // Of a name that stands twice the last counts.
    let last = |name: &str| variables.iter().rev().find(|(other, _)| other == name);
    let is_set = |(name, _): &(String, String)| {
        last(name).is_none_or(|(_, value)| std::env::var_os(name).is_some_and(|have| have == value.as_str()))
    };
    if variables.iter().all(is_set) {
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe()?);
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Err(command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_level_a_profile_a_variable_or_named() {
        let text = "# level\nloggingLevel=DEBUG\n\nawsProfile = prod \nawsCredentialFile=/root/.aws/credentials\r\n\
                    HTTPS_PROXY=http://proxy:3128?a=b\nno sign\n=x\nloggingLevel=loud\n";
        let extra = parse(text);
        assert_eq!(extra.level.as_deref(), Some("debug"));
        let variables: Vec<(&str, &str)> = extra.variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected = [
            ("AWS_PROFILE", "prod"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/root/.aws/credentials"),
            ("HTTPS_PROXY", "http://proxy:3128?a=b"),
        ];
        assert_eq!(variables, expected);
        let lines: Vec<usize> = extra.unread.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [7, 8, 9]);
    }

    #[test]
    fn no_file_is_nothing_and_one_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("extracfg.txt")).unwrap(), None);
        assert!(read(folder.path()).is_err());
    }

    #[test]
    fn variables_that_are_set_already_start_nothing_anew() {
        let path = std::env::var("PATH").unwrap();
        let variables = [("PATH".to_owned(), "/nowhere".to_owned()), ("PATH".to_owned(), path)];
        take_over(&variables, &[]).unwrap();
        take_over(&[], &[]).unwrap();
    }
}
