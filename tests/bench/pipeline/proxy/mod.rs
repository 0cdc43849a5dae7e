//! The limits to compare with, each a process of its own: a **passing** proxy hands every request on without looking,
//! a **joining** proxy puts requests together to batches of 8,192 items or 200 ms without decoding; it is told how many
//! items a request of each length has. Both are built with the same care as the product: h2 and hyper, one thread,
//! TCP_NODELAY, mimalloc, nothing copied that need not be.

mod grpc;
mod http1;
mod join;

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use join::Joiner;

/// What a proxy process is told on its command line.
#[derive(Clone, Debug)]
pub struct Settings {
    pub http: bool,
    pub joining: bool,
    pub listen: SocketAddr,
    pub upstream: SocketAddr,
    /// Items by length of the request's body (without a gRPC prefix).
    pub told: HashMap<usize, usize>,
    /// Requests come and leave as gzip; the joining proxy compresses at this level.
    pub gzip: Option<u32>,
}

impl Settings {
    /// `proxy passing|joining grpc|http LISTEN UPSTREAM GZIP_LEVEL|plain LENGTH:ITEMS,...`
    pub fn to_args(&self) -> Vec<String> {
        let told: Vec<String> = self
            .told
            .iter()
            .map(|(length, items)| format!("{length}:{items}"))
            .collect();
        vec![
            "proxy".to_owned(),
            if self.joining { "joining" } else { "passing" }.to_owned(),
            if self.http { "http" } else { "grpc" }.to_owned(),
            self.listen.to_string(),
            self.upstream.to_string(),
            self.gzip.map_or("plain".to_owned(), |level| level.to_string()),
            told.join(","),
        ]
    }

    pub fn from_args(args: &[String]) -> Result<Self> {
        let [kind, transport, listen, upstream, gzip, told] = args else {
            bail!("a proxy takes six arguments");
        };
        let mut items = HashMap::new();
        for pair in told.split(',').filter(|pair| !pair.is_empty()) {
            let (length, count) = pair.split_once(':').context("LENGTH:ITEMS")?;
            items.insert(length.parse()?, count.parse()?);
        }
        Ok(Self {
            http: transport == "http",
            joining: kind == "joining",
            listen: listen.parse()?,
            upstream: upstream.parse()?,
            told: items,
            gzip: if gzip == "plain" { None } else { Some(gzip.parse()?) },
        })
    }
}

/// Runs until it is killed.
pub async fn run(settings: Settings) -> Result<()> {
    if settings.http {
        http1::run(settings).await
    } else {
        grpc::run(settings).await
    }
}
