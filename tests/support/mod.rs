//! What tests of the whole process share: the agent as a child process, and a client of its HTTP ports.

#![allow(dead_code)] // Not every test crate that includes this uses all of it.
pub mod far_end;
pub mod telemetry;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long anything of a test may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ports that nobody holds now. Held together while they are picked, so that they differ.
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// The binary under test: `RADIOSONDE_BIN`, else the one that was built with this test.
pub fn binary() -> PathBuf {
    let given = std::env::var_os("RADIOSONDE_BIN").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_radiosonde")))
}

/// A binary that was given was built with optimisation: then the figures of the reliability contract hold for it, and
/// not only the wider bounds for a build without.
pub fn is_optimised() -> bool {
    std::env::var_os("RADIOSONDE_BIN").is_some()
}

/// The real binary with a configuration file of its own. Killed when it is dropped.
pub struct Agent {
    child: Child,
    lines: Receiver<String>,
    folder: Arc<TempDir>,
    seen: Vec<String>,
}

impl Agent {
    /// Starts it and returns at once.
    pub fn spawn(config: &str) -> Self {
        Self::spawn_in(&Arc::new(tempfile::tempdir().unwrap()), config, &[])
    }

    /// The same in a folder that others may have used, with variables of the environment.
    pub fn spawn_in(folder: &Arc<TempDir>, config: &str, variables: &[(&str, &str)]) -> Self {
        Self::spawn_by(Command::new(binary()), folder, config, variables)
    }

    fn spawn_by(mut command: Command, folder: &Arc<TempDir>, config: &str, variables: &[(&str, &str)]) -> Self {
        let path = folder.path().join("config.yaml");
        fs::write(&path, config).unwrap();
        let mut child = command
            .arg("--config")
            .arg(&path)
            .env("HOME", folder.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("STATE_DIRECTORY")
            .env_remove("RADIOSONDE_STATE_DIR")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let folder = Arc::clone(folder);
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = sync_channel(10_000);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            lines,
            folder,
            seen: Vec::new(),
        }
    }

    /// Starts it and waits until it takes data.
    pub fn ready(config: &str) -> Self {
        let mut agent = Self::spawn(config);
        agent.wait_for("Everything is ready. Begin running and processing data.");
        agent
    }

    /// Waits until an agent that was spawned takes data.
    pub fn until_ready(mut self) -> Self {
        self.wait_for("Everything is ready. Begin running and processing data.");
        self
    }

    /// The same with a bound on its address space, where `prlimit` is there to set one: what goes wrong ends the process
    /// and not the machine.
    pub fn ready_fused(config: &str) -> Self {
        const FUSE: u64 = 6 << 30;
        let has_prlimit = Command::new("prlimit")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let command = if has_prlimit {
            let mut command = Command::new("prlimit");
            command.arg(format!("--as={FUSE}")).arg(binary());
            command
        } else {
            Command::new(binary())
        };
        let mut command = command;
        // What is freed goes back to the system at once: what is measured is what is in use.
        command.env("MIMALLOC_PURGE_DELAY", "0");
        let mut agent = Self::spawn_by(command, &Arc::new(tempfile::tempdir().unwrap()), config, &[]);
        agent.wait_for("Everything is ready. Begin running and processing data.");
        agent
    }

    /// A line of `/proc/<pid>/status`, KiB: `VmHWM` is the largest resident size so far.
    pub fn memory_kib(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        found.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `VmHWM` begins again at what is resident now.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Every line it has said by now.
    pub fn said_by_now(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.said()
    }

    /// Waits for a log line that contains `text`.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line);
                    if self.seen.last().is_some_and(|line| line.contains(text)) {
                        return;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}); it said:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Replaces the configuration file.
    pub fn rewrite(&self, config: &str) {
        fs::write(self.folder.path().join("config.yaml"), config).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = PATIENCE.as_millis() / 20;
        for _ in 0..deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.seen.extend(self.lines.iter());
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end; it said:\n{}", self.seen.join("\n"));
    }

    /// Everything it said so far that was waited for.
    pub fn said(&self) -> String {
        self.seen.join("\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Status and body of one HTTP/1.1 request.
pub fn http(port: u16, method: &str, path: &str, content_type: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned());
    Ok((code, body))
}

/// The sum of all series of a metric in Prometheus text.
pub fn sum_of(metrics: &str, name: &str) -> f64 {
    let is_own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = metrics
        .lines()
        .filter(is_own)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// A file below the agent's folder.
pub fn file(agent: &Agent, name: &str) -> PathBuf {
    agent.path().join(name)
}
