//! A measured process: pinned to one core, its CPU time and memory read from /proc.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The core of whoever is measured; the loader and the sink have the others.
const MEASURED_CORE: usize = 0;
const START_LIMIT: Duration = Duration::from_secs(10);

/// Pins this process (and every thread it makes later) to a core.
pub fn pin_here(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("pinning to core {core}"))
}

/// Leaves the measured core to the measured, where there is another.
pub fn pin_beside_the_measured() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    if cores > 1 { pin_here(MEASURED_CORE + 1) } else { Ok(()) }
}

/// `pin CORE PROGRAM ARGS...`: becomes the program, pinned.
pub fn exec_pinned(args: &[String]) -> Result<()> {
    let [core, program, rest @ ..] = args else {
        bail!("pin takes a core and a program");
    };
    pin_here(core.parse()?)?;
    Err(Command::new(program).args(rest).exec()).context(program.clone())
}

/// Killed when dropped.
pub struct Measured {
    child: Child,
    /// From the start of the process to its first accepted connection.
    pub listening_after: Duration,
}

impl Measured {
    /// Starts a program on the measured core and waits until it accepts connections at `listen`.
    pub async fn start(program: &Path, args: &[String], listen: SocketAddr, log: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("pin")
            .arg(MEASURED_CORE.to_string())
            .arg(program)
            .args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        match log {
            Some(path) => command.stderr(std::fs::File::create(path)?),
            None => command.stderr(Stdio::inherit()),
        };
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| program.display().to_string())?;
        loop {
            if TcpStream::connect(listen).await.is_ok() {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once: {status}", program.display());
            }
            if begin.elapsed() > START_LIMIT {
                let _ = child.kill();
                bail!("{} does not listen on {listen}", program.display());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        Ok(Self {
            child,
            listening_after: begin.elapsed(),
        })
    }

    /// CPU seconds so far, of all threads, user and system. To the nanosecond where the kernel tells, else in ticks.
    pub fn cpu_seconds(&self) -> Result<f64> {
        if let Some(nanos) = self.scheduled_nanos() {
            return Ok(nanos as f64 / 1e9);
        }
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; the fields behind it are numbered from 3.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
        Ok(ticks as f64 / per_second as f64)
    }

    /// Run time of all threads that live; a thread that ends takes its share with it, but none of the measured ends any.
    fn scheduled_nanos(&self) -> Option<u64> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()? {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            nanos += text.split_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(nanos)
    }

    /// The most memory it ever had, in MB (10^6 bytes).
    pub fn peak_rss_mb(&self) -> Result<f64> {
        self.status_mb("VmHWM:")
    }

    /// What it has now.
    pub fn rss_mb(&self) -> Result<f64> {
        self.status_mb("VmRSS:")
    }

    fn status_mb(&self, key: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with(key))
            .context("/proc/PID/status")?;
        let kib: f64 = line[key.len()..].trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
