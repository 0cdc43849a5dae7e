//! The agent as a process: its configuration, its start, its end, its metrics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How it keeps what it has.
#[derive(Clone, Debug)]
pub struct Setup {
    pub grpc: SocketAddr,
    pub metrics: SocketAddr,
    pub upstream: SocketAddr,
    pub folder: PathBuf,
    /// A `batch` processor.
    pub batch: bool,
    /// Behind `sending_queue:`; `None`: nothing is said about the queue.
    pub queue: Option<String>,
    pub timeout: &'static str,
    /// Of `service::memory`.
    pub memory: Option<&'static str>,
}

impl Setup {
    /// A durable queue in `folder`, ports of its own.
    pub fn durable(folder: &Path) -> Result<Self> {
        let ports = free_addresses(3)?;
        Ok(Self {
            grpc: ports[0],
            metrics: ports[1],
            upstream: ports[2],
            folder: folder.to_owned(),
            batch: true,
            queue: Some("storage: file_storage".to_owned()),
            timeout: "5s",
            memory: None,
        })
    }

    pub fn storage(&self) -> PathBuf {
        self.folder.join("queue")
    }

    fn yaml(&self) -> String {
        let is_stored = self.queue.as_ref().is_some_and(|queue| queue.contains("file_storage"));
        let (extensions, names) = match is_stored {
            true => (
                format!(
                    "extensions: {{file_storage: {{directory: '{}'}}}}\n",
                    self.storage().display()
                ),
                "  extensions: [file_storage]\n",
            ),
            false => (String::new(), ""),
        };
        let queue = self
            .queue
            .as_ref()
            .map_or(String::new(), |queue| format!("    sending_queue: {{{queue}}}\n"));
        let batch = if self.batch { "batch" } else { "" };
        let memory = self
            .memory
            .map_or(String::new(), |limit| format!("  memory: {{limit: {limit}}}\n"));
        format!(
            "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: '{grpc}'}}}}}}\nprocessors: {{batch: {{}}}}\n{extensions}\
             exporters:\n  otlp:\n    endpoint: '{upstream}'\n    compression: none\n    timeout: {timeout}\n    \
             tls: {{insecure: true}}\n    retry_on_failure: {{initial_interval: 200ms, max_interval: 2s}}\n{queue}\
             service:\n{names}{memory}  admin: {{endpoint: '127.0.0.1:0'}}\n  telemetry:\n    metrics: {{readers: [{{pull: \
             {{exporter: {{prometheus: {{host: {host}, port: {port}}}}}}}}}]}}\n  pipelines:\n    traces: {{receivers: \
             [otlp], processors: [{batch}], exporters: [otlp]}}\n",
            grpc = self.grpc,
            upstream = self.upstream,
            timeout = self.timeout,
            host = self.metrics.ip(),
            port = self.metrics.port(),
        )
    }
}

/// Killed when it is dropped.
pub struct Agent {
    child: Child,
    metrics: SocketAddr,
    has_log: bool,
    log: PathBuf,
    /// From its start until it took data and knew what its queue holds.
    pub ready_after: Duration,
}

impl Agent {
    /// Starts it and waits until it takes data.
    pub async fn start(setup: &Setup) -> Result<Self> {
        Self::start_by(setup, Command::new(binary())).await
    }

    /// The same by a command to which the agent's arguments are added.
    pub async fn start_by(setup: &Setup, mut command: Command) -> Result<Self> {
        let config = setup.folder.join("config.yaml");
        std::fs::write(&config, setup.yaml())?;
        let log = setup.folder.join("agent.log");
        let begin = Instant::now();
        let child = command
            .arg("--config")
            .arg(&config)
            .env("HOME", &setup.folder)
            .env_remove("XDG_STATE_HOME")
            .env_remove("STATE_DIRECTORY")
            .env_remove("RADIOSONDE_STATE_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let has_log = setup.queue.as_ref().is_some_and(|queue| queue.contains("file_storage"));
        let mut agent = Self {
            child,
            metrics: setup.metrics,
            has_log,
            log,
            ready_after: Duration::ZERO,
        };
        while TcpStream::connect(setup.grpc).await.is_err() || !agent.is_open().await {
            if let Some(status) = agent.child.try_wait()? {
                bail!("the agent ended at once: {status}; {}", agent.said());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "the agent does not start; {}",
                agent.said()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        agent.ready_after = begin.elapsed();
        Ok(agent)
    }

    /// A queue that is not open has no capacity.
    async fn is_open(&self) -> bool {
        if !self.has_log {
            return true;
        }
        let page = self.page().await.unwrap_or_default();
        sum_of(&page, "radiosonde_queue_capacity_bytes") > 0.0
    }

    /// The end of what it said.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        Ok(())
    }

    /// SIGTERM; how long it took to end with 0.
    pub async fn terminate(mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.signal(Signal::SIGTERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}; {}", self.said());
                return Ok(begin.elapsed());
            }
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "it does not end; {}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its metrics page.
    pub async fn page(&self) -> Result<String> {
        let tcp = TcpStream::connect(self.metrics).await?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = http::Request::get("/metrics").header("host", "bench");
        let response = send.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits until nothing waits in its queue and the books close. How long it took.
    pub async fn until_empty(&mut self, most: Duration) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let page = self.page().await.with_context(|| self.said())?;
            close_books(&page)?;
            let left = [
                "radiosonde_queue_items",
                "radiosonde_in_flight_items",
                "radiosonde_waiting_items",
            ];
            let left: f64 = left.iter().map(|name| sum_of(&page, name)).sum();
            if left == 0.0 {
                return Ok(begin.elapsed());
            }
            ensure!(begin.elapsed() < most, "{left} items are left after {most:?}");
            ensure!(self.is_running(), "it ended; {}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// CPU seconds of all threads so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += text.split_whitespace().next().context("schedstat")?.parse::<u64>()?;
        }
        Ok(nanos as f64 / 1e9)
    }

    /// A line of `/proc/PID/status`, MiB.
    pub fn memory_mib(&self, line: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kib: f64 = found.context("status")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    pub fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The equation of reliability.md 1, for one exporter of traces.
fn close_books(page: &str) -> Result<()> {
    let sum = |names: &[&str]| names.iter().map(|name| sum_of(page, name)).sum::<f64>();
    let came = sum(&[
        "otelcol_receiver_accepted_spans",
        "radiosonde_receiver_pending_items",
        "radiosonde_recovered_items",
        "radiosonde_taken_though_refused_items",
    ]);
    let is_somewhere = sum(&[
        "otelcol_exporter_sent_spans",
        "otelcol_dropped_items",
        "radiosonde_discarded_items",
        "radiosonde_spilled_items",
        "radiosonde_queue_items",
        "radiosonde_in_flight_items",
        "radiosonde_waiting_items",
        "radiosonde_duplicates_suppressed_items",
    ]);
    ensure!(
        came == is_somewhere,
        "the books do not close: {came} came, {is_somewhere} are somewhere\n{page}"
    );
    Ok(())
}

pub fn binary() -> PathBuf {
    std::env::var_os("RADIOSONDE_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_radiosonde")), PathBuf::from)
}

/// The sum of all series of a metric.
pub fn sum_of(page: &str, name: &str) -> f64 {
    let is_own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = page
        .lines()
        .filter(is_own)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// Bytes of all files below.
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let held: Vec<std::net::TcpListener> = (0..count)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    Ok(held
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<std::io::Result<_>>()?)
}
