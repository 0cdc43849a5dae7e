//! `cargo bench --bench retention`: what the retention ledger costs. Insertion for each trace of a delivered batch, and an
//! audit's work on the disk (sorting what came, joining it with what X-Ray lists) at growing sizes.
//!
//! Limits, which fail the bench where the build is optimised: insertion 1 microsecond a trace; 10 million rows joined in
//! 10 s; 300 million rows audited in 10 minutes of CPU, measured at a tenth; 160 MB on the disk for 10 million traces;
//! 200 MiB of memory. `RETENTION_ROWS=1000000` takes another largest day.

// All of it is a measurement: it prints, and reads the real clock.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use radiosonde::component::{Counter, DeliveryObserver, LimitedLog};
use radiosonde::pdata::{Batch, Origin, Signal};
use radiosonde::queue::fs::{Fs, RealFs};
use radiosonde::retention::archive::{Day, TraceId};
use radiosonde::retention::ledger::{About, Ledger, Listed, Mark, Noted, Reader, Row, Sorter, key_of, write_sorted};
use radiosonde::retention::noter::{Awaited, Noter};
use tokio_util::sync::CancellationToken;

const SPANS_A_TRACE: u64 = 8;
const TRACES_A_BATCH: u64 = 100;
const DAY: u32 = 20_000;

fn cpu_seconds() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
}

fn id(number: u64) -> TraceId {
    let mut id = [0x5a; 16];
    id[..4].copy_from_slice(&1_700_000_000u32.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    TraceId(id)
}

/// A request of a hundred traces with spans of about 500 bytes.
fn request(first: u64) -> Vec<u8> {
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    };
    let span = |trace: u64, number: u64| Span {
        trace_id: id(trace).0.to_vec(),
        span_id: (trace * 1_000 + number + 1).to_be_bytes().to_vec(),
        parent_span_id: vec![1; 8],
        name: format!("GET /api/v1/items/{number}"),
        kind: 2,
        start_time_unix_nano: u64::from(DAY) * 86_400_000_000_000 + trace,
        end_time_unix_nano: u64::from(DAY) * 86_400_000_000_000 + trace + 50_000_000,
        attributes: vec![
            attribute("http.request.method", "GET"),
            attribute("url.full", "https://shop.example.org/api/v1/items/17?page=2&sort=price"),
            attribute("server.address", "shop.example.org"),
            attribute(
                "user_agent.original",
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101",
            ),
            attribute("db.query.text", "SELECT name, price FROM items WHERE id = $1"),
            attribute("thread.name", "worker-17"),
        ],
        ..Span::default()
    };
    let traces = first..first + TRACES_A_BATCH;
    let spans = traces.flat_map(|trace| (0..SPANS_A_TRACE).map(move |number| (trace, number)));
    let scope = ScopeSpans {
        spans: spans.map(|(trace, number)| span(trace, number)).collect(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
    .encode_to_vec()
}

/// Nanoseconds for each trace of delivered batches.
fn insertion(dir: &Path) -> f64 {
    let ledger = Arc::new(Ledger::open(Arc::new(RealFs), dir, &["otlp"]).unwrap());
    let noter = Noter {
        ledger: Arc::clone(&ledger),
        archive: 0,
        number: 0,
        awaited: Arc::<Awaited>::default(),
        stopped: CancellationToken::new(),
        errors: Counter::default(),
        log: LimitedLog::default(),
    };
    let batches: Vec<Batch> = (0..200)
        .map(|number| {
            let bytes = request(number * TRACES_A_BATCH);
            let items = (TRACES_A_BATCH * SPANS_A_TRACE) as u32;
            Batch::from_wire(Signal::Traces, bytes.into(), items, Origin::internal())
        })
        .collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for batch in &batches {
            noter.delivered(batch);
        }
        let traces = batches.len() as f64 * TRACES_A_BATCH as f64;
        best = best.min(began.elapsed().as_nanos() as f64 / traces);
        ledger.flush().unwrap();
    }
    best
}

/// What one day came to.
struct Audit {
    rows: u64,
    inserted_s: f64,
    sealed_s: f64,
    listed_s: f64,
    joined_s: f64,
    cpu_s: f64,
    bytes: u64,
}

/// A day of so many traces: rows come, are sealed, X-Ray's list is sorted, both are joined.
fn audit(dir: &Path, rows: u64) -> Audit {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let ledger = Ledger::open(Arc::clone(&fs), dir, &["otlp"]).unwrap();
    let began = Instant::now();
    for first in (0..rows).step_by(1_000) {
        let row = |number| {
            let row = Row {
                key: key_of(id(number)),
                mark: Mark::default(),
                xor: number + 1,
            };
            (Day(DAY), row)
        };
        ledger.add(0, (first..(first + 1_000).min(rows)).map(row));
        // As often as the agent does it at full load.
        if first % 200_000 == 0 {
            ledger.flush().unwrap();
        }
    }
    ledger.flush().unwrap();
    let inserted_s = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds();
    let began = Instant::now();
    ledger.seal(0, Day(DAY), false).unwrap();
    let sealed_s = began.elapsed().as_secs_f64();
    let bytes = ledger.bytes().unwrap();
    let began = Instant::now();
    let list = dir.join("listed");
    let mut sorter = Sorter::<Listed>::new(&fs, list.clone());
    for number in 0..rows {
        sorter
            .push(Listed {
                id: id(number),
                start: DAY * 86_400,
                revision: 1,
                flags: 0,
            })
            .unwrap();
    }
    let mut merge = sorter.merged(Vec::new()).unwrap();
    write_sorted(fs.as_ref(), &list, About::default(), |writer| {
        while let Some(listed) = merge.next()? {
            writer.push(&listed)?;
        }
        Ok(())
    })
    .unwrap();
    drop(merge);
    let listed_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut reader = Reader::<Listed>::sorted(fs.open(&list).unwrap()).unwrap();
    let mut lookup = ledger.lookup(0, (DAY - 1..=DAY + 8).map(Day));
    let mut found = 0;
    while let Some(listed) = reader.next().unwrap() {
        found += u64::from(matches!(lookup.find(listed.key()), Noted::Copy { .. }));
    }
    assert_eq!(found, rows);
    let joined_s = began.elapsed().as_secs_f64();
    Audit {
        rows,
        inserted_s,
        sealed_s,
        listed_s,
        joined_s,
        cpu_s: cpu_seconds() - cpu,
        bytes,
    }
}

fn main() -> ExitCode {
    let largest: u64 = std::env::var("RETENTION_ROWS")
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(10_000_000);
    let folder = tempfile::tempdir().unwrap();
    let nanos = insertion(&folder.path().join("insertion"));
    println!(
        "insertion: {nanos:.0} ns a trace of {SPANS_A_TRACE} spans ({:.0} ns a span)",
        nanos / SPANS_A_TRACE as f64
    );
    println!(
        "{:>10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>10}",
        "rows", "insert s", "seal s", "list s", "join s", "CPU s", "ns a row", "bytes a row"
    );
    let mut misses = Vec::new();
    let mut tenth_s = 0.0;
    for rows in [largest / 100, largest / 10, largest, largest, largest] {
        let dir = folder.path().join("audit");
        let audit = audit(&dir, rows);
        std::fs::remove_dir_all(&dir).unwrap();
        let a_row = audit.cpu_s * 1e9 / audit.rows as f64;
        println!(
            "{:>10} {:>9.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {a_row:>9.0} {:>10.3}",
            audit.rows,
            audit.inserted_s,
            audit.sealed_s,
            audit.listed_s,
            audit.joined_s,
            audit.cpu_s,
            audit.bytes as f64 / audit.rows as f64
        );
        if rows == largest {
            tenth_s += audit.cpu_s;
            if audit.joined_s > 10.0 {
                misses.push("the join of a day takes more than 10 s");
            }
            // 16 bytes a row, and 16 for each block of 4,096.
            if audit.bytes as f64 > 16.01 * rows as f64 {
                misses.push("a row takes more than 16 bytes");
            }
        }
    }
    let peak = peak_mib();
    let rows = 3 * largest;
    println!(
        "{rows} rows: {tenth_s:.1} s of CPU; 300 million at this pace: {:.1} minutes",
        tenth_s * 300e6 / rows as f64 / 60.0
    );
    println!("peak of resident memory: {peak:.0} MiB");
    if nanos > 1_000.0 {
        misses.push("insertion takes more than a microsecond a trace");
    }
    if tenth_s * 300e6 / rows as f64 > 600.0 {
        misses.push("an audit of 300 million rows takes more than 10 minutes of CPU");
    }
    if peak > 200.0 {
        misses.push("more than 200 MiB of memory");
    }
    for miss in &misses {
        println!("MISSED: {miss}");
    }
    match misses.is_empty() || cfg!(debug_assertions) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
