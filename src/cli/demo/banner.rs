//! What a newcomer reads first: what this is, what of it is simulated, what to try.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::overlay::Ports;
use crate::component::console::{BOLD, PLAIN};

/// What the banner tells.
pub struct Facts<'a> {
    /// URL of the simulated AWS.
    pub aws: &'a str,
    pub ports: Ports,
    pub rate: f64,
    pub exporters: &'a [String],
}

/// A log record by hand.
const RECORD: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;

/// The text before the first lines.
pub fn banner(facts: &Facts<'_>) -> String {
    let Facts { aws, ports, .. } = facts;
    let program = program();
    let mut text = format!("{BOLD}Radiosonde demo{PLAIN}\n\n");
    let _ = write!(
        text,
        "  Simulated  an AWS account with four DynamoDB tables, a SageMaker endpoint and an application traced by\n\
         \x20            X-Ray ({aws}). Its time began a day ago and\n\
         \x20            {}. Times below are its, in UTC.\n\
         \x20 Real       all that reads it: CloudWatch, DynamoDB and SageMaker are asked, a pipeline filters out the\n\
         \x20            table `settings`, alert rules watch it, an exporter prints the lines below;\n\
         \x20            X-Ray is polled, and of its traces the requests that failed are printed; a check says which of\n\
         \x20            last month's traces X-Ray will forget without a copy in a table of MLflow's.\n\
         \x20 Look at    http://localhost:{}: tables, endpoints, traces, metrics, alerts with what to do about them.\n",
        pace(facts.rate),
        ports.admin
    );
    for exporter in facts.exporters {
        let _ = writeln!(text, "  Also sent  to {exporter}");
    }
    text.push_str(
        "\n  Writes to the table `orders` will outgrow their capacity within seconds: look at `throttled`;\n  the GPUs behind the endpoint `recommender` saturate soon after: look at its latency.\n\n",
    );
    let _ = writeln!(text, "{BOLD}Try meanwhile{PLAIN}, in another terminal:\n");
    let listening = |name: &str, port: u16, usual: u16| {
        let taken = if port == usual {
            String::new()
        } else {
            format!(" ({usual} is taken)")
        };
        format!("{name} on 127.0.0.1:{port}{taken}")
    };
    let _ = writeln!(
        text,
        "  Send something of yours: {}, {}. It is shown here.",
        listening("OTLP/gRPC", ports.grpc, 4317),
        listening("OTLP/HTTP", ports.http, 4318)
    );
    let _ = writeln!(
        text,
        "    export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}     for any OpenTelemetry SDK\n\
         \x20   curl http://127.0.0.1:{}/v1/logs -H content-type:application/json -d \\\n\
         \x20     '{RECORD}'",
        ports.http, ports.http
    );
    let url = if ports.admin == 4320 {
        String::new()
    } else {
        format!(" --url 127.0.0.1:{}", ports.admin)
    };
    let _ = writeln!(
        text,
        "\n  See what each component does ({}):\n    {program} status{url}",
        listening("admin API", ports.admin, 4320)
    );
    let _ = writeln!(text, "\n  See what AWS would have charged:\n    curl {aws}/_sim/bill");
    if facts.exporters.is_empty() {
        let _ = writeln!(
            text,
            "\n  Send the same to a backend:\n    {program} demo --exporter otlp=HOST:PORT"
        );
    }
    text.push_str("\nCtrl-C ends.\n");
    text
}

fn pace(rate: f64) -> String {
    if rate <= 0.0 {
        return "stands still".to_owned();
    }
    let minute = 60.0 / rate;
    match format!("{minute:.1}").trim_end_matches(".0") {
        "1" => "a minute of it takes a second".to_owned(),
        seconds => format!("a minute of it takes {seconds} seconds"),
    }
}

/// How this program was called, so that the commands can be copied.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let called = called.map(|path| path.to_string_lossy().into_owned());
    called
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "radiosonde".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(admin: u16, grpc: u16) -> String {
        let http = 4318;
        banner(&Facts {
            aws: "http://127.0.0.1:5000",
            ports: Ports { grpc, http, admin },
            rate: 60.0,
            exporters: &[],
        })
    }

    #[test]
    fn usual_ports_need_no_explanation_and_others_are_named() {
        let usual = facts(4320, 4317);
        assert!(usual.contains("OTLP/gRPC on 127.0.0.1:4317, "), "{usual}");
        assert!(usual.contains(" status\n"), "{usual}");
        let taken = facts(5001, 5002);
        assert!(taken.contains("OTLP/gRPC on 127.0.0.1:5002 (4317 is taken)"), "{taken}");
        assert!(taken.contains(" status --url 127.0.0.1:5001\n"), "{taken}");
        assert!(usual.lines().all(|line| line.len() <= 120), "{usual}");
    }

    #[test]
    fn the_pace_of_time_is_said_in_words() {
        assert_eq!(pace(60.0), "a minute of it takes a second");
        assert_eq!(pace(120.0), "a minute of it takes 0.5 seconds");
        assert_eq!(pace(0.0), "stands still");
    }
}
