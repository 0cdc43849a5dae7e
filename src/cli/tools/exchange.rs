//! `radiosonde export` and `import`: what is stored as a file, and back.
//!
//! An import is sent as OTLP to the agent's own intake, in the order of the file: its limits and its tolerance hold.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::Value as Json;

use super::{Failed, WindowArgs, jaeger};
use crate::cli::client::{AgentArgs, Api, StoreArgs};
use crate::cli::dev::plan::Listening;
use crate::cli::output;
use crate::dev::parts::zip;
use crate::pdata::Signal;

/// Bytes of a file and of what an archive in it holds.
const LONGEST: usize = 1 << 30;
/// Bytes of one request.
const REQUEST: usize = 16 << 20;

/// `export`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  radiosonde export --output all.zip --format protobuf\n  \
    radiosonde export 'service=cart status=error' > failed.json\n  radiosonde export --trace a41c77e0 --format html --output trace.html")]
pub struct ExportArgs {
    /// Only what fits, in the query language.
    #[arg(value_name = "QUERY")]
    pub q: Vec<String>,
    /// Only this trace: its id, or the beginning of it.
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: ExportFormat,
    /// A file; standard output otherwise.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub window: WindowArgs,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// As what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// OTLP/JSON, one document.
    #[default]
    Json,
    /// OTLP/JSON, a request a line.
    Jsonl,
    /// OTLP protobuf, in a zip archive: nothing is lost.
    Protobuf,
    /// One trace as a Markdown list.
    Md,
    /// One trace as a page of its own.
    Html,
}

/// Writes the file.
pub async fn export(args: &ExportArgs) -> Result<u8, Failed> {
    let api = Api::reading(&args.store).await?;
    let q = args.q.join(" ");
    let format = match args.format {
        ExportFormat::Json => "json",
        ExportFormat::Jsonl => "jsonl",
        ExportFormat::Protobuf => "protobuf",
        ExportFormat::Md => "md",
        ExportFormat::Html => "html",
    };
    // A trace or a file is asked for as a whole unless a window is given.
    let from = args.window.from.as_deref().unwrap_or_default();
    let parameters = [
        ("q", q.as_str()),
        ("trace_id", args.trace.as_deref().unwrap_or_default()),
        ("format", format),
        ("from", from),
        ("to", args.window.to()),
    ];
    use http_body_util::BodyExt;
    let mut body = api.stream("/api/v1/export", &parameters).await?;
    let mut out: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(std::fs::File::create(path).map_err(|error| unwritable(path, &error))?),
    };
    let name = args.output.as_deref().unwrap_or(Path::new("standard output"));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failed::new(3, format!("the export ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        match out.write_all(&data) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(0),
            written => written.map_err(|error| unwritable(name, &error))?,
        }
    }
    out.flush().map_err(|error| unwritable(name, &error))?;
    Ok(0)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failed {
    Failed::new(1, format!("{}: {error}", path.display()))
}

/// `import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// OTLP/JSON, lines of it (as the file exporter writes them), a zip of an export, OTLP protobuf (traces.binpb,
    /// metrics.binpb, logs.binpb), or Jaeger's JSON.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    signal: Signal,
    body: Vec<u8>,
    is_json: bool,
}

/// Reads the file and sends it.
pub async fn import(args: &ImportArgs) -> Result<u8, Failed> {
    let name = args.file.to_string_lossy().into_owned();
    let unreadable = |reason: String| Failed::new(1, format!("{name}: {reason}"));
    let length = std::fs::metadata(&args.file)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if length > LONGEST as u64 {
        return Err(unreadable("it is longer than 1 GiB".to_owned()));
    }
    let bytes = std::fs::read(&args.file).map_err(|error| unreadable(error.to_string()))?;
    let requests = requests_of(&name, bytes).map_err(unreadable)?;
    let api = Api::new(&args.agent);
    let status = api.get("/api/v1/status", &[]).await?;
    let otlp = status["otlp"].as_array().map_or(&[][..], Vec::as_slice);
    let endpoint = otlp
        .iter()
        .find(|one| one["protocol"] == "http")
        .and_then(|one| one["endpoint"].as_str());
    let endpoint =
        endpoint.ok_or_else(|| Failed::new(1, "the agent there is no `radiosonde dev`: it says no OTLP endpoint"))?;
    let intake = Api::new(&AgentArgs {
        url: Listening::url(endpoint),
        token: None,
    });
    let count = requests.len();
    let mut warnings = Vec::new();
    for request in requests {
        let path = match request.signal {
            Signal::Traces => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
            Signal::Logs => "/v1/logs",
        };
        let content_type = if request.is_json {
            "application/json"
        } else {
            "application/x-protobuf"
        };
        let answer = intake.post_bytes(path, Bytes::from(request.body), content_type).await;
        // In protobuf an answer that is not empty says what was rejected.
        let answer = answer.map_err(|error| Failed::new(1, format!("{name}: {error}")))?;
        let json: Json = serde_json::from_slice(&answer).unwrap_or(Json::Null);
        if let Some(message) = json["partialSuccess"]["errorMessage"].as_str() {
            warnings.push(message.to_owned());
        } else if !request.is_json && !answer.is_empty() {
            warnings.push("some items of a request were rejected".to_owned());
        }
    }
    output::stderr(&format!("{count} requests sent to {}\n", intake.base()));
    for warning in &warnings {
        output::stderr(&format!("{warning}\n"));
    }
    Ok(u8::from(!warnings.is_empty()))
}

/// What a file holds, in its order.
fn requests_of(name: &str, bytes: Vec<u8>) -> Result<Vec<Request>, String> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let files = zip::read(&bytes, LONGEST).map_err(|error| error.to_string())?;
        let mut requests = Vec::new();
        for (name, content) in files {
            requests.extend(requests_of(&name, content).map_err(|error| format!("{name}: {error}"))?);
        }
        return Ok(requests);
    }
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    if base.ends_with(".binpb") || base.ends_with(".pb") {
        let signal = Signal::ALL.into_iter().find(|signal| base.starts_with(signal.name()));
        let signal = signal.ok_or("the name of a protobuf file begins with traces, metrics or logs")?;
        return split_protobuf(signal, &bytes);
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err("neither JSON, nor lines of it, nor a zip archive, nor protobuf (*.binpb)".to_owned());
    }
    if let Ok(document) = serde_json::from_slice::<Json>(&bytes) {
        return of_document(document);
    }
    let mut requests = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let at = |error: String| format!("line {}: {error}", number + 1);
        let document = serde_json::from_slice(line).map_err(|error| at(error.to_string()))?;
        requests.extend(of_document(document).map_err(at)?);
    }
    Ok(requests)
}

/// One document: each of the keys of OTLP/JSON is a request, in pieces that the intake takes.
fn of_document(document: Json) -> Result<Vec<Request>, String> {
    let document = if document["data"].is_array() {
        jaeger::to_otlp(&document)?
    } else {
        document
    };
    const KEYS: [(Signal, &str, &str); 3] = [
        (Signal::Traces, "resourceSpans", "resource_spans"),
        (Signal::Metrics, "resourceMetrics", "resource_metrics"),
        (Signal::Logs, "resourceLogs", "resource_logs"),
    ];
    let Json::Object(mut fields) = document else {
        return Err("a line is no object".to_owned());
    };
    let mut requests = Vec::new();
    let mut is_otlp = false;
    for (signal, key, other) in KEYS {
        let groups = fields.remove(key).or_else(|| fields.remove(other));
        let Some(Json::Array(groups)) = groups else { continue };
        is_otlp = true;
        let mut piece = Vec::new();
        let mut size = 0;
        for group in groups {
            let length = group.to_string().len();
            if size + length > REQUEST && !piece.is_empty() {
                requests.push(json_request(signal, key, std::mem::take(&mut piece)));
                size = 0;
            }
            size += length;
            piece.push(group);
        }
        if !piece.is_empty() {
            requests.push(json_request(signal, key, piece));
        }
    }
    if is_otlp {
        Ok(requests)
    } else {
        Err("no resourceSpans, resourceMetrics or resourceLogs, and not Jaeger's `data` either".to_owned())
    }
}

fn json_request(signal: Signal, key: &str, groups: Vec<Json>) -> Request {
    Request {
        signal,
        body: serde_json::json!({ key: groups }).to_string().into_bytes(),
        is_json: true,
    }
}

/// A request may be cut between its groups.
fn split_protobuf(signal: Signal, bytes: &[u8]) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    let mut fields = crate::wire::Fields::new(bytes);
    let mut body = Vec::new();
    while let Some((_, record)) = fields
        .next_with_record()
        .map_err(|error| format!("no protobuf: {error}"))?
    {
        if body.len() + record.len() > REQUEST && !body.is_empty() {
            requests.push(Request {
                signal,
                body: std::mem::take(&mut body),
                is_json: false,
            });
        }
        body.extend_from_slice(record);
    }
    if !body.is_empty() {
        requests.push(Request {
            signal,
            body,
            is_json: false,
        });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(name: &str, bytes: &[u8]) -> Result<Vec<(Signal, bool)>, String> {
        let requests = requests_of(name, bytes.to_vec())?;
        Ok(requests
            .iter()
            .map(|request| (request.signal, request.is_json))
            .collect())
    }

    #[test]
    fn every_form_of_a_file_is_told_apart() {
        let both = br#"{"resourceLogs":[{}],"resourceSpans":[{}]}"#;
        assert_eq!(
            signals("a.json", both),
            Ok(vec![(Signal::Traces, true), (Signal::Logs, true)])
        );
        let lines = b"{\"resourceSpans\":[{}]}\n\n{\"resourceMetrics\":[{}]}\n";
        assert_eq!(
            signals("a.jsonl", lines),
            Ok(vec![(Signal::Traces, true), (Signal::Metrics, true)])
        );
        assert_eq!(signals("logs.binpb", b"\x0a\x00"), Ok(vec![(Signal::Logs, false)]));
        let mut archive = zip::Writer::default();
        archive.add("traces.binpb", b"\x0a\x00");
        assert_eq!(signals("x", &archive.finish()), Ok(vec![(Signal::Traces, false)]));
        let jaeger = br#"{"data":[{"traceID":"1","spans":[],"processes":{}}]}"#;
        assert_eq!(signals("j.json", jaeger), Ok(vec![]));
    }

    #[test]
    fn what_is_none_of_them_is_refused_with_the_place() {
        for (name, bytes) in [
            ("a.json", &b"{}"[..]),
            ("a.txt", b"hello"),
            ("other.binpb", b"\x0a\x00"),
            ("traces.binpb", b"\xff"),
        ] {
            assert!(signals(name, bytes).is_err(), "{name}");
        }
        assert!(
            signals("a", b"{\"resourceSpans\":[]}\n{nope\n")
                .unwrap_err()
                .starts_with("line 2: ")
        );
        let mut archive = zip::Writer::default();
        archive.add("../x", b"");
        assert!(
            signals("x.zip", &archive.finish())
                .unwrap_err()
                .contains("leads out of it")
        );
    }
}
