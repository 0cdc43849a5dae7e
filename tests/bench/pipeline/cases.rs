//! The cases: who is measured, with what, and against which limit.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::agent::{Setup, Shape};
use crate::data::{Set, Signal};
use crate::loader::{Loader, Transport};
use crate::process::{Measured, free_address};
use crate::proxy;
use crate::sink::Sink;

/// Traffic of 100 items a request, as SDKs send it.
const REQUEST: [usize; 1] = [100];
/// Small requests: 1 to 10 items.
const SMALL: [usize; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/// Who is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Contender {
    Passing,
    Joining,
    Agent(Shape),
    /// A command line with `{grpc_in}`, `{http_in}` and `{upstream}` in it.
    Peer(String),
}

/// What is sent, and how.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub signal: Signal,
    pub transport: Transport,
    pub small: bool,
    /// Level of the requests and of what leaves.
    pub gzip: Option<u32>,
}

impl Traffic {
    pub fn set(&self) -> Set {
        let set = Set::new(self.signal, if self.small { &SMALL } else { &REQUEST });
        match self.gzip {
            // Clients compress at their default, whatever we do behind them.
            Some(_) => set.gzipped(6),
            None => set,
        }
    }
}

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub cpu_per_million: f64,
    pub peak_rss_mb: f64,
    pub batches: u64,
}

/// Everything a run needs beside its case.
pub struct Bench {
    pub agent: PathBuf,
    pub scratch: tempfile::TempDir,
}

/// A measured process with its ports.
pub struct Started {
    pub process: Measured,
    pub listen: SocketAddr,
    /// Of the agent.
    pub metrics: Option<SocketAddr>,
}

impl Bench {
    /// CPU and memory for `items` items.
    pub async fn throughput(&self, who: &Contender, traffic: &Traffic, items: u64) -> Result<Figures> {
        let sink = Sink::start().await?;
        let set = traffic.set();
        let started = self.start(who, traffic, &set, &sink).await?;
        let loader = Loader::connect(traffic.transport, started.listen, set).await?;
        let arrives = !matches!(who, Contender::Agent(Shape::Nop(_)));
        let filtered = matches!(who, Contender::Agent(Shape::FilterUpsert));
        let mut expected = 0;
        // Connections, buffers and caches are warm before anything is measured.
        let warm = loader.send(items / 10).await?;
        expected += if filtered { warm.kept } else { warm.items };
        self.settle(&sink, arrives, expected).await?;
        let before = started.process.cpu_seconds()?;
        let sent = loader.send(items).await?;
        expected += if filtered { sent.kept } else { sent.items };
        self.settle(&sink, arrives, expected).await?;
        let used = started.process.cpu_seconds()? - before;
        Ok(Figures {
            cpu_per_million: used * 1e6 / sent.items as f64,
            peak_rss_mb: started.process.peak_rss_mb()?,
            batches: sink.requests(),
        })
    }

    async fn settle(&self, sink: &Sink, arrives: bool, expected: u64) -> Result<()> {
        if arrives {
            sink.wait_for(expected).await
        } else {
            // Nothing arrives: the last batch leaves after its timeout.
            tokio::time::sleep(Duration::from_millis(400)).await;
            Ok(())
        }
    }

    /// The 99th percentile of the acknowledgement in ms, at 5,000 items a second in requests of 10.
    pub async fn ack_p99(&self, who: &Contender, requests: usize) -> Result<f64> {
        let traffic = Traffic {
            signal: Signal::Traces,
            transport: Transport::Grpc,
            small: false,
            gzip: None,
        };
        let every = Duration::from_millis(2);
        let sink = Sink::start().await?;
        let set = Set::new(Signal::Traces, &[10]);
        let started = self.start(who, &traffic, &set, &sink).await?;
        let loader = Loader::connect(Transport::Grpc, started.listen, set).await?;
        loader.send_at(every, requests / 10).await?;
        let mut taken = loader.send_at(every, requests).await?;
        taken.sort_unstable();
        let p99 = taken[(taken.len() * 99).div_ceil(100) - 1];
        Ok(p99.as_secs_f64() * 1000.0)
    }

    /// Starts a contender towards `sink`.
    pub async fn start(&self, who: &Contender, traffic: &Traffic, set: &Set, sink: &Sink) -> Result<Started> {
        let upstream = match traffic.transport {
            Transport::Grpc => sink.grpc,
            Transport::Http => sink.http,
        };
        self.start_towards(who, traffic, set, upstream).await
    }

    /// Starts a contender that sends to `upstream`.
    pub async fn start_towards(
        &self,
        who: &Contender,
        traffic: &Traffic,
        set: &Set,
        upstream: SocketAddr,
    ) -> Result<Started> {
        let (grpc_in, http_in) = (free_address()?, free_address()?);
        let listen = match traffic.transport {
            Transport::Grpc => grpc_in,
            Transport::Http => http_in,
        };
        let mut metrics = None;
        let process = match who {
            Contender::Passing | Contender::Joining => {
                let settings = proxy::Settings {
                    http: traffic.transport == Transport::Http,
                    joining: *who == Contender::Joining,
                    listen,
                    upstream,
                    told: told(set),
                    gzip: traffic.gzip,
                };
                Measured::start(&std::env::current_exe()?, &settings.to_args(), listen, None).await?
            }
            Contender::Agent(shape) => {
                let setup = Setup {
                    shape: *shape,
                    transport: traffic.transport,
                    gzip: traffic.gzip,
                    grpc_in,
                    http_in,
                    upstream,
                    metrics: free_address()?,
                    admin: free_address()?,
                };
                metrics = Some(setup.metrics);
                self.start_agent(&setup, listen).await?
            }
            Contender::Peer(command) => {
                let command = command
                    .replace("{grpc_in}", &grpc_in.to_string())
                    .replace("{http_in}", &http_in.to_string())
                    .replace("{upstream}", &upstream.to_string());
                let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
                let (program, args) = words.split_first().context("--peer needs a command")?;
                Measured::start(Path::new(program), args, listen, None).await?
            }
        };
        Ok(Started {
            process,
            listen,
            metrics,
        })
    }

    async fn start_agent(&self, setup: &Setup, listen: SocketAddr) -> Result<Measured> {
        let config = self.scratch.path().join("agent.yaml");
        std::fs::write(&config, setup.yaml())?;
        let log = self.scratch.path().join("agent.log");
        let args = ["--config".to_owned(), config.display().to_string()];
        let started = Measured::start(&self.agent, &args, listen, Some(&log)).await;
        started.with_context(|| format!("the agent said: {}", std::fs::read_to_string(&log).unwrap_or_default()))
    }

    /// The agent with nothing to do.
    pub async fn idle(&self, wait: Duration) -> Result<Idle> {
        let traffic = Traffic {
            signal: Signal::Traces,
            transport: Transport::Grpc,
            small: false,
            gzip: None,
        };
        let sink = Sink::start().await?;
        let set = Set::new(Signal::Traces, &[1]);
        let mut starts = Vec::new();
        for _ in 0..9 {
            let started = self
                .start(&Contender::Agent(Shape::Batch), &traffic, &set, &sink)
                .await?;
            starts.push(started.process.listening_after.as_secs_f64() * 1000.0);
        }
        let started = self
            .start(&Contender::Agent(Shape::Batch), &traffic, &set, &sink)
            .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = started.process.cpu_seconds()?;
        tokio::time::sleep(wait).await;
        let used = started.process.cpu_seconds()? - before;
        Ok(Idle {
            rss_mb: started.process.rss_mb()?,
            cpu_percent: used / wait.as_secs_f64() * 100.0,
            start_ms: median(&starts),
            binary_mb: std::fs::metadata(&self.agent)?.len() as f64 / 1e6,
        })
    }
}

/// The agent with nothing to do.
pub struct Idle {
    pub rss_mb: f64,
    pub cpu_percent: f64,
    pub start_ms: f64,
    pub binary_mb: f64,
}

fn told(set: &Set) -> HashMap<usize, usize> {
    set.requests
        .iter()
        .map(|request| (request.body.len(), request.items))
        .collect()
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
