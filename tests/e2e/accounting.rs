//! The accounting equation, read from the metrics page while data flows and after: a difference of one fails.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::far_end::FarEnd;
use crate::support::telemetry::{Kind, Load};
use crate::support::{Agent, free_ports, http};

/// One page of metrics.
struct Page(String);

impl Page {
    fn read(port: u16) -> Self {
        Self(http(port, "GET", "/metrics", "text/plain", b"").unwrap().1)
    }

    /// The sum of all series of `name` that carry all of `labels`.
    fn sum(&self, name: &str, labels: &[&str]) -> i64 {
        let of_name = self
            .0
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let chosen = of_name.filter(|line| labels.iter().all(|label| line.contains(label)));
        chosen
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as i64)
            .sum()
    }
}

/// Both sides of the equation for one signal and exporter, with what stands on each.
fn sides(page: &Page, kind: Kind, exporter: &str) -> (i64, i64, String) {
    let items = kind.items();
    let data_type = &*format!("data_type=\"{}\"", kind.name());
    let signal = &*format!("signal=\"{}\"", kind.name());
    let this = &*format!("exporter=\"{exporter}\"");
    let is_this = &*format!("component=\"{exporter}\"");
    let exporters = |name: &str| page.sum(name, &[this, data_type]);
    let processors = |name: &str| page.sum(name, &["processor=", data_type]);
    let dropped_by_others =
        page.sum("otelcol_dropped_items", &[signal]) - page.sum("otelcol_dropped_items", &[signal, "component=\"otlp"]);
    let came = [
        ("accepted", page.sum(&format!("otelcol_receiver_accepted_{items}"), &[])),
        ("pending", page.sum("radiosonde_receiver_pending_items", &[data_type])),
        (
            "recovered",
            exporters("radiosonde_recovered_items") + processors("radiosonde_recovered_items"),
        ),
        (
            "ahead",
            exporters("radiosonde_taken_though_refused_items")
                + page.sum("radiosonde_taken_though_refused_items", &["receiver=", data_type]),
        ),
    ];
    let went = [
        ("discarded", page.sum("radiosonde_discarded_items", &[signal])),
        ("held", processors("radiosonde_queue_items")),
        ("held in passing", processors("radiosonde_in_flight_items")),
        (
            "waiting",
            processors("radiosonde_waiting_items") + exporters("radiosonde_waiting_items"),
        ),
        ("dropped before", dropped_by_others),
        ("queued", exporters("radiosonde_queue_items")),
        ("in flight", exporters("radiosonde_in_flight_items")),
        ("suppressed", exporters("radiosonde_duplicates_suppressed_items")),
        ("sent", page.sum(&format!("otelcol_exporter_sent_{items}"), &[this])),
        ("dropped", page.sum("otelcol_dropped_items", &[signal, is_this])),
        (
            "spilled",
            exporters("radiosonde_spilled_items") + processors("radiosonde_spilled_items"),
        ),
    ];
    let sum = |side: &[(&str, i64)]| side.iter().map(|(_, items)| items).sum();
    (
        sum(&came),
        sum(&went),
        format!("{kind:?} {exporter}: {came:?} = {went:?}"),
    )
}

fn assert_closed(page: &Page, exporters: &[&str]) {
    for kind in Kind::ALL {
        for exporter in exporters {
            let (came, went, text) = sides(page, kind, exporter);
            assert_eq!(came, went, "{text}");
            let data_type = &*format!("data_type=\"{}\"", kind.name());
            let this = &*format!("exporter=\"{exporter}\"");
            let of = |name: &str| page.sum(name, &[this, data_type]);
            let dropped = [
                &*format!("signal=\"{}\"", kind.name()),
                &*format!("component=\"{exporter}\""),
            ];
            let sent = page.sum(&format!("otelcol_exporter_sent_{}", kind.items()), &[this]);
            let states = of("radiosonde_queue_items")
                + of("radiosonde_in_flight_items")
                + of("radiosonde_returned_items")
                + of("radiosonde_spilled_items")
                + page.sum("otelcol_dropped_items", &dropped)
                + sent;
            assert_eq!(of("radiosonde_taken_items"), states, "{kind:?} {exporter}");
        }
    }
}

/// `otlphttp/live` and `otlp/down` behind `processors`, all signals.
fn config(ports: &[u16], live: &FarEnd, processors: &str, down_queue: u32) -> String {
    format!(
        r#"
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{grpc}"}}, http: {{endpoint: "127.0.0.1:{http}"}}}}}}
processors:
  filter:
    traces: {{span: ['attributes["drop"] == true']}}
    metrics: {{datapoint: ['attributes["drop"] == true']}}
    logs: {{log_record: ['attributes["drop"] == true']}}
  batch: {{timeout: 20ms, send_batch_size: 40}}
exporters:
  otlphttp/live: {{endpoint: "http://{live}", compression: none}}
  otlp/down: {{endpoint: "127.0.0.1:{down}", tls: {{insecure: true}}, sending_queue: {{queue_size: {down_queue}}}}}
service:
  admin: {{endpoint: "127.0.0.1:0"}}
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}
  pipelines:
    traces: &all {{receivers: [otlp], processors: {processors}, exporters: [otlphttp/live, otlp/down]}}
    metrics: *all
    logs: *all
"#,
        grpc = ports[0],
        http = ports[1],
        metrics = ports[2],
        down = ports[3],
        live = live.address,
    )
}

const EXPORTERS: [&str; 2] = ["otlphttp/live", "otlp/down"];

/// Reads the page again and again while `load` runs; the equation has to hold each time. Gives the last page.
fn watch(port: u16, times: usize) -> Page {
    let mut page = Page::read(port);
    for _ in 0..times {
        assert_closed(&page, &EXPORTERS);
        std::thread::sleep(Duration::from_millis(5));
        page = Page::read(port);
    }
    page
}

#[test]
fn the_equation_closes_at_every_instant_with_filter_batch_a_fan_out_and_permanent_errors() {
    let live = FarEnd::start();
    live.refuse_every(5);
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, &live, "[filter, batch]", 100_000));
    let load = Load::start((ports[0], ports[1]), &Kind::ALL, true, Duration::from_millis(1));
    watch(ports[2], 120);
    let ledger = load.stop();
    assert_eq!(*ledger.finals.lock().unwrap(), [0; 0]);
    let page = quiet(ports[2]);
    let acknowledged = ledger.acknowledged.lock().unwrap().len() as i64;
    for kind in Kind::ALL {
        let items = kind.items();
        let signal = &*format!("signal=\"{}\"", kind.name());
        let data_type = &*format!("data_type=\"{}\"", kind.name());
        assert!(page.sum("radiosonde_discarded_items", &[signal]) > 0, "{items}");
        assert!(
            page.sum("otelcol_dropped_items", &[signal, "reason=\"permanent_error\""]) > 0,
            "{items}"
        );
        assert!(page.sum(&format!("otelcol_exporter_sent_{items}"), &[]) > 0, "{items}");
        let down = ["exporter=\"otlp/down\"", data_type];
        let held = page.sum("radiosonde_queue_items", &down) + page.sum("radiosonde_in_flight_items", &down);
        assert!(held > 0, "{items}: what the back end that is down would get waits");
    }
    let accepted: i64 = Kind::ALL
        .iter()
        .map(|kind| page.sum(&format!("otelcol_receiver_accepted_{}", kind.items()), &[]))
        .sum();
    assert_eq!(
        accepted, acknowledged,
        "what clients and agent call acknowledged is the same"
    );
    assert_eq!(page.sum("radiosonde_torn_gathers_total", &[]), 0);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}

/// The page once the live exporter has nothing left to do.
fn quiet(port: u16) -> Page {
    for _ in 0..500 {
        let page = Page::read(port);
        assert_closed(&page, &EXPORTERS);
        let live = ["exporter=\"otlphttp/live\""];
        let busy = page.sum("radiosonde_queue_items", &live)
            + page.sum("radiosonde_in_flight_items", &live)
            + page.sum("radiosonde_queue_items", &["processor="]);
        if busy == 0 {
            return page;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not get quiet");
}

#[test]
fn the_equation_closes_at_every_instant_while_a_full_queue_refuses() {
    let live = FarEnd::start();
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, &live, "[filter]", 5));
    let load = Load::start((ports[0], ports[1]), &Kind::ALL, true, Duration::from_millis(1));
    watch(ports[2], 100);
    let ledger = load.stop();
    let page = quiet(ports[2]);
    assert!(
        ledger.refused.load(std::sync::atomic::Ordering::Relaxed) > 0,
        "the small queue is full"
    );
    assert_eq!(
        *ledger.finals.lock().unwrap(),
        [0; 0],
        "a full queue is a reason to try again"
    );
    for kind in Kind::ALL {
        let items = kind.items();
        let refused = page.sum(&format!("otelcol_receiver_refused_{items}"), &[]);
        let full = page.sum(
            &format!("otelcol_exporter_enqueue_failed_{items}"),
            &["exporter=\"otlp/down\""],
        );
        assert!(refused > 0 && full > 0, "{items}: {refused} {full}");
    }
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn the_equation_closes_with_durable_queues() {
    let live = FarEnd::start();
    live.refuse_every(7);
    let ports = free_ports(4);
    let folder = tempfile::tempdir().unwrap();
    let extension = format!(
        "extensions: {{file_storage: {{directory: \"{}\"}}}}",
        folder.path().display()
    );
    let config = config(&ports, &live, "[filter, batch]", 2_000)
        .replace(
            "compression: none}",
            "compression: none, sending_queue: {storage: file_storage}}",
        )
        .replace(
            "sending_queue: {queue_size",
            "sending_queue: {storage: file_storage, queue_size",
        )
        .replace(
            "service:\n",
            &format!("{extension}\nservice:\n  extensions: [file_storage]\n"),
        );
    let mut agent = Agent::ready(&config);
    let load = Load::start((ports[0], ports[1]), &Kind::ALL, true, Duration::from_millis(1));
    watch(ports[2], 120);
    let ledger = load.stop();
    assert_eq!(*ledger.finals.lock().unwrap(), [0; 0]);
    let page = quiet(ports[2]);
    assert!(page.sum("radiosonde_queue_fsyncs", &[]) > 0);
    for kind in Kind::ALL {
        let data_type = &*format!("data_type=\"{}\"", kind.name());
        assert!(page.sum("radiosonde_queue_bytes", &["exporter=\"otlp/down\"", data_type]) > 0);
        assert!(page.sum(&format!("otelcol_exporter_sent_{}", kind.items()), &[]) > 0);
    }
    assert_eq!(page.sum("radiosonde_torn_gathers_total", &[]), 0);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_back_end_that_is_down_costs_the_other_branch_of_a_batch_no_duplicates() {
    let live = FarEnd::start();
    let ports = free_ports(4);
    let mut agent = Agent::ready(&config(&ports, &live, "[batch]", 2));
    let load = Load::start((ports[0], ports[1]), &[Kind::Traces], false, Duration::from_millis(1));
    // The batch is offered again every second while the queue of the other branch is full.
    watch(ports[2], 250);
    let ledger = load.stop();
    let page = Page::read(ports[2]);
    assert!(
        page.sum("otelcol_exporter_enqueue_failed_spans", &[]) > 40,
        "it was offered again and again"
    );
    let ahead = page.sum("radiosonde_taken_though_refused_items", &["exporter=\"otlphttp/live\""]);
    assert!(ahead > 0, "what is offered again is what the live branch has");
    assert_eq!(*ledger.finals.lock().unwrap(), [0; 0]);
    let seen = live.seen();
    assert!(seen.len() as i64 >= ahead);
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(twice, [], "of {} ids", seen.len());
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0));
}
