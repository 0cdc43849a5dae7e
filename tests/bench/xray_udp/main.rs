//! `cargo bench --bench xray_udp [-- --short]`: the `awsxray` receiver under 40,000 datagrams of 550 bytes a second.
//!
//! Sender and receiver run on this machine, in one process; the sender is a thread whose CPU time is taken off. Each
//! datagram is a segment that is decoded to OTLP and handed to a pipeline that keeps nothing. The budget: nothing lost, by
//! the kernel or by us, in four of five runs; every loss counted; at most 8 microseconds of CPU a segment.

#![allow(clippy::disallowed_methods)] // What is measured is real time.
#![allow(clippy::unwrap_used)] // A benchmark that cannot run says so and ends.
#![allow(clippy::print_stdout, clippy::print_stderr)] // Its output is its result.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use radiosonde::aws::xray::datagram::document;
use radiosonde::aws::xray::translate::{Encoder, Options, Reader, Spans};
use radiosonde::component::{
    BoxFuture, BuildContext, ComponentKind, Deadline, Factory, Outlet, Outlets, Plan, Refused, Running, SampleValue,
    Stage,
};
use radiosonde::components::receivers::awsxray::AwsXrayFactory;
use radiosonde::config::Section;
use radiosonde::pdata::Batch;

/// The agent's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RATE: u64 = 40_000;
const SIZE: usize = 550;
const RUNS: usize = 5;
const BUDGET_MICROS: f64 = 8.0;
/// Every hundredth datagram of the case `malformed` is cut off.
const MALFORMED: u64 = 100;

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Nowhere(AtomicU64);

impl Stage for Nowhere {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.0.fetch_add(batch.items() as u64, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A segment of a web request, as an SDK sends it; `number` makes its ids.
fn datagram(number: u64) -> Vec<u8> {
    let head = format!(
        "{{\"format\":\"json\",\"version\":1}}\n{{\"name\":\"shop.example.com\",\"id\":\"{:016x}\",\"trace_id\":\
         \"1-581cf771-{number:024x}\",\"start_time\":1478293361.271,\"end_time\":1478293361.449,\"http\":{{\"request\":\
         {{\"method\":\"GET\",\"url\":\"https://shop.example.com/orders/7\",\"client_ip\":\"10.0.0.9\"}},\"response\":\
         {{\"status\":200,\"content_length\":512}}}},\"aws\":{{\"xray\":{{\"sdk\":\"X-Ray for Python\",\"sdk_version\":\
         \"2.14.0\"}}}},\"annotations\":{{\"tenant\":\"blue\"}},\"user\":\"",
        number + 1
    );
    let mut datagram = head.into_bytes();
    datagram.resize(SIZE - 2, b'u');
    datagram.extend_from_slice(b"\"}");
    datagram
}

fn cpu(of: &Usage) -> f64 {
    (of.user_time().num_microseconds() + of.system_time().num_microseconds()) as f64
}

struct Sent {
    datagrams: u64,
    cpu_micros: f64,
}

/// A thread's work: so many each millisecond, catching up when it was kept from running.
fn send(to: std::net::SocketAddr, run: Duration, malformed: bool) -> Sent {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    let mut datagrams: Vec<Vec<u8>> = (0..4096).map(datagram).collect();
    if malformed {
        for datagram in datagrams.iter_mut().step_by(MALFORMED as usize) {
            datagram.truncate(SIZE / 2);
        }
    }
    let begun = Instant::now();
    let before = cpu(&getrusage(UsageWho::RUSAGE_THREAD).unwrap());
    let total = RATE * run.as_millis() as u64 / 1000;
    let mut sent = 0;
    while sent < total {
        let due = (begun.elapsed().as_micros() as u64 * RATE / 1_000_000).min(total);
        while sent < due {
            socket.send(&datagrams[sent as usize % datagrams.len()]).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let after = cpu(&getrusage(UsageWho::RUSAGE_THREAD).unwrap());
    Sent {
        datagrams: sent,
        cpu_micros: after - before,
    }
}

fn count(context: &BuildContext, name: &str, label: &str) -> u64 {
    let samples = context.instruments.registry().gather();
    let found = samples.iter().filter(|sample| {
        sample.name == name && (label.is_empty() || sample.labels.iter().any(|(_, have)| have == label))
    });
    found
        .map(|sample| match &sample.value {
            SampleValue::Counter(count) => *count,
            _ => 0,
        })
        .sum()
}

/// Microseconds of CPU that a segment takes from datagram to OTLP's bytes, without the socket: the best of some rounds.
fn translation() -> f64 {
    let datagrams: Vec<Vec<u8>> = (0..4096).map(datagram).collect();
    let reader = Reader::new(Options::default());
    let (mut spans, mut encoder, mut bytes) = (Spans::default(), Encoder::default(), Vec::new());
    let mut best = f64::MAX;
    for _ in 0..20 {
        let before = cpu(&getrusage(UsageWho::RUSAGE_THREAD).unwrap());
        // As many as a read brings at this rate.
        for read in datagrams.chunks(40) {
            for datagram in read {
                reader.segments(document(datagram).unwrap(), 1, &mut spans);
            }
            bytes.clear();
            for document in spans.documents.drain(..) {
                encoder.write(document.resource_spans, &mut bytes);
            }
        }
        let spent = cpu(&getrusage(UsageWho::RUSAGE_THREAD).unwrap()) - before;
        best = best.min(spent / datagrams.len() as f64);
    }
    best
}

struct Outcome {
    sent: u64,
    spans: u64,
    rejected: u64,
    kernel: u64,
    queue: u64,
    micros: f64,
}

impl Outcome {
    fn is_lossless(&self) -> bool {
        self.kernel + self.queue == 0
    }

    /// Everything that was sent is accounted for.
    fn adds_up(&self) -> bool {
        self.sent == self.spans + self.rejected + self.kernel + self.queue
    }
}

async fn run(length: Duration, malformed: bool) -> Outcome {
    // A free port: the receiver does not tell which one it was given.
    let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = format!(
        "endpoint: {address}\nproxy_server: {{endpoint: '127.0.0.1:0', local_mode: true, region: eu-central-1}}"
    );
    let section = Section::from_yaml(&yaml);
    let Some(Plan::Receiver(plan)) = AwsXrayFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    let sink = Arc::new(Nowhere::default());
    let context = BuildContext::standalone(ComponentKind::Receiver, "awsxray");
    let outlets = Outlets {
        traces: Some(Outlet::to(sink.clone())),
        ..Outlets::default()
    };
    let receiver: Arc<dyn Running> = plan.start(context.clone(), outlets).await.unwrap();
    let before = cpu(&getrusage(UsageWho::RUSAGE_SELF).unwrap());
    let sender = std::thread::spawn(move || send(address, length, malformed));
    while !sender.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = sender.join().unwrap();
    // The kernel tells of its drops with the next datagram.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let last = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    last.send_to(&datagram(u64::from(u32::MAX)), address).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = cpu(&getrusage(UsageWho::RUSAGE_SELF).unwrap());
    receiver.stop(Deadline::after(Duration::from_secs(10))).await;
    let spans = sink.0.load(Ordering::Relaxed);
    Outcome {
        sent: sent.datagrams + 1,
        spans,
        rejected: count(&context, "xray_udp_datagrams_total", "rejected"),
        kernel: count(&context, "xray_udp_kernel_drops_total", ""),
        queue: count(&context, "xray_udp_queue_dropped_total", ""),
        micros: (after - before - sent.cpu_micros) / spans.max(1) as f64,
    }
}

fn main() -> ExitCode {
    let short = std::env::args().any(|argument| argument == "--short");
    // `cargo test --benches` and `cargo bench` without a release build only show that it runs.
    let optimised = !cfg!(debug_assertions);
    let length = Duration::from_secs(if short || !optimised { 3 } else { 30 });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{{\"case\":\"translation\",\"cpu_micros_per_segment\":{:.2}}}",
        translation()
    );
    let mut lossless = 0;
    let mut cheapest = f64::MAX;
    let mut torn = false;
    for malformed in [false, true] {
        for number in 1..=if malformed { 1 } else { RUNS } {
            let outcome = runtime.block_on(run(length, malformed));
            let case = if malformed { "malformed" } else { "segments" };
            println!(
                "{{\"case\":\"{case}\",\"run\":{number},\"sent\":{},\"spans\":{},\"rejected\":{},\"kernel_drops\":{},\
                 \"queue_drops\":{},\"cpu_micros_per_segment\":{:.2}}}",
                outcome.sent, outcome.spans, outcome.rejected, outcome.kernel, outcome.queue, outcome.micros
            );
            torn |= !outcome.adds_up();
            if !malformed {
                lossless += usize::from(outcome.is_lossless());
                cheapest = cheapest.min(outcome.micros);
            }
        }
    }
    println!(
        "nothing lost in {lossless} of {RUNS} runs of {} s; {cheapest:.2} us of CPU a segment at best",
        length.as_secs()
    );
    let mut failed = false;
    if torn {
        eprintln!("a datagram is neither delivered nor counted as lost");
        failed = true;
    }
    if optimised && lossless + 1 < RUNS {
        eprintln!("datagrams were lost in more than one run");
        failed = true;
    }
    if optimised && cheapest > BUDGET_MICROS {
        eprintln!("a segment costs {cheapest:.2} us of CPU, more than {BUDGET_MICROS}");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
