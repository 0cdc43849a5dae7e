//! Over real sockets of this machine, with a far end that plays AWS.

mod sampling;
mod segments;
mod settings;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::component::{Outlet, Refused, SampleValue, Stage};
use crate::pdata::{Batch, Decoded};

/// Keeps every batch; refuses the first `refuse`.
#[derive(Default)]
struct Sink {
    batches: Mutex<Vec<Batch>>,
    refuse: Mutex<usize>,
}

impl Stage for Sink {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        let mut refuse = self.refuse.lock().unwrap();
        if *refuse > 0 {
            *refuse -= 1;
            return Box::pin(std::future::ready(Err(Refused::retryable("full"))));
        }
        self.batches.lock().unwrap().push(batch);
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Running1 {
    receiver: Receiver,
    udp: SocketAddr,
    tcp: SocketAddr,
    sink: Arc<Sink>,
    context: BuildContext,
    sender: std::net::UdpSocket,
}

async fn run(yaml: &str, sink: Sink) -> Running1 {
    let section = Section::from_yaml(yaml);
    let config = Config::check(&section).unwrap_or_else(|| panic!("{:?}", section.problems()));
    assert!(!section.has_errors(), "{:?}", section.problems());
    let sink = Arc::new(sink);
    let context = BuildContext::standalone(ComponentKind::Receiver, "awsxray");
    let mut config = config;
    // The port is not known before it is bound: one is taken for the test and given back.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.endpoint = crate::net::server::Endpoint::parse(&free.to_string()).unwrap();
    config.proxy.endpoint = crate::net::server::Endpoint::parse("127.0.0.1:0").unwrap();
    let outlets = Outlets {
        traces: Some(Outlet::to(sink.clone())),
        ..Outlets::default()
    };
    let receiver = start(&Arc::new(config), &context, outlets).await.unwrap();
    let tcp = receiver.proxy.addresses()[0];
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(free).unwrap();
    Running1 {
        receiver,
        udp: free,
        tcp,
        sink,
        context,
        sender,
    }
}

impl Running1 {
    fn send(&self, document: &str) {
        let datagram = format!("{{\"format\":\"json\",\"version\":1}}\n{document}");
        self.sender.send(datagram.as_bytes()).unwrap();
    }

    /// Names of the spans that came out, sorted.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for batch in self.sink.batches.lock().unwrap().iter() {
            let mut batch = batch.clone();
            let Decoded::Traces(request) = batch.decode().unwrap() else {
                panic!("traces only")
            };
            let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            names.extend(scopes.flat_map(|scope| &scope.spans).map(|span| span.name.clone()));
        }
        names.sort();
        names
    }

    async fn wait_until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if what(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited for 10 s; {:?}", self.names());
    }

    fn count(&self, name: &str, label: &str) -> u64 {
        let samples = self.context.instruments.registry().gather();
        let found = samples.iter().filter(|sample| {
            sample.name == name && (label.is_empty() || sample.labels.iter().any(|(_, value)| value == label))
        });
        found
            .map(|sample| match &sample.value {
                SampleValue::Counter(count) => *count,
                SampleValue::Gauge(value) => *value as u64,
                SampleValue::Histogram { .. } => 0,
            })
            .sum()
    }

    async fn stop(&self) {
        self.receiver.stop(Deadline::after(Duration::from_secs(10))).await;
    }
}

fn segment(name: &str, id: u32, rest: &str) -> String {
    format!(
        r#"{{"name":"{name}","id":"{id:016x}","trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1,{rest}}}"#
    )
}
