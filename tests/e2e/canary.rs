//! Secrets that are in every field that can hold one, and in no output: neither as they are, nor in base64, hexadecimal or
//! percent encoding. Outputs are the log at its most detailed, metrics, the admin API, zpages, the health page,
//! `print-config`, `validate` with errors beside secrets, a refused reload, answers to clients, and the files of the queue.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use nix::sys::signal::Signal;

use crate::support::{Agent, binary, free_ports, http};
use crate::{get, spans};

/// One for each field: which was lost is then clear.
struct Canaries(Vec<String>);

impl Canaries {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// A secret that stands nowhere else.
    fn next(&mut self) -> String {
        // A run of its own, so that nothing can match by accident; letters only, so that no encoding leaves it as it is.
        let secret = format!("CanarySecretNumber{}x{}", self.0.len(), std::process::id());
        self.0.push(secret.clone());
        secret
    }

    /// The canaries that a text shows, in whatever form.
    fn in_text(&self, text: &[u8]) -> Vec<String> {
        let lower = text.to_ascii_lowercase();
        let shows = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        let shows_lower = |needle: &[u8]| lower.windows(needle.len()).any(|window| window == needle);
        let mut found = Vec::new();
        for secret in &self.0 {
            let mut forms = vec![(secret.clone(), "as it is")];
            for lead in 0..3 {
                let padded = [&vec![b'-'; lead][..], secret.as_bytes()].concat();
                for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                    // The first and last characters depend on what stands around it.
                    forms.push((encoded[4..encoded.len() - 3].to_owned(), "in base64"));
                }
            }
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            if shows_lower(hex.as_bytes()) {
                found.push(format!("{secret} in hexadecimal"));
            }
            for (form, how) in forms {
                if shows(form.as_bytes()) {
                    found.push(format!("{secret} {how}"));
                }
            }
        }
        found
    }

    fn assert_absent(&self, output: &str, text: &[u8]) {
        let found = self.in_text(text);
        let shown = String::from_utf8_lossy(text);
        assert!(found.is_empty(), "{output} shows {found:?}:\n{shown}");
    }
}

/// A configuration with a secret in every field of every component that has one. `far` answers nothing.
fn config(canaries: &mut Canaries, ports: &[u16], folder: &Path) -> String {
    let mut secret = || canaries.next();
    let password_file = folder.join("password");
    std::fs::write(&password_file, format!("{}\n", secret())).unwrap();
    let tokens_file = folder.join("tokens");
    std::fs::write(&tokens_file, format!("{}\n{}\n", secret(), secret())).unwrap();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let indented = |text: String| text.trim_end().replace('\n', "\n            ");
    let aws = if cfg!(feature = "aws") {
        format!(
            "  awsfirehose: {{endpoint: '127.0.0.1:{}', access_key: {}, response_headers: {{x-a: {}}}}}\n\
             \x20 xray: {{regions: [us-east-1], credentials: {{access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: {}, session_token: {}}}, endpoints: {{xray: 'http://127.0.0.1:1'}}}}\n",
            ports[5],
            secret(),
            secret(),
            secret(),
            secret(),
        )
    } else {
        String::new()
    };
    let sigv4 = if cfg!(feature = "aws") {
        format!(
            "  sigv4auth: {{region: us-east-1, service: xray, credentials: {{access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: {}, session_token: {}}}}}\n",
            secret(),
            secret()
        )
    } else {
        String::new()
    };
    let (sigv4_id, aws_in) = if cfg!(feature = "aws") {
        (", sigv4auth", ", xray")
    } else {
        ("", "")
    };
    let signer = if cfg!(feature = "aws") {
        "sigv4auth"
    } else {
        "bearertokenauth"
    };
    format!(
        r#"
extensions:
  health_check: {{endpoint: '127.0.0.1:{health}', response_headers: {{x-health: {}}}}}
  zpages: {{endpoint: '127.0.0.1:{zpages}'}}
  file_storage: {{directory: '{queue}'}}
  bearertokenauth: {{token: {}}}
  bearertokenauth/many: {{tokens: [{}, "${{env:CANARY_TOKEN}}"], header: x-api-key, scheme: ''}}
  bearertokenauth/file: {{filename: '{tokens_file}'}}
  basicauth/server: {{htpasswd: {{inline: 'user:{}'}}}}
  basicauth/client: {{client_auth: {{username: user, password: {}}}}}
  basicauth/file: {{client_auth: {{username: user, password_file: '{password_file}'}}}}
  oauth2client: {{client_id: id, client_secret: {}, token_url: 'http://127.0.0.1:1/token', endpoint_params: {{resource: {}}}}}
{sigv4}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{grpc}', auth: {{authenticator: bearertokenauth/many}}, include_metadata: true}}
      http:
        endpoint: '127.0.0.1:{http}'
        auth: {{authenticator: basicauth/server}}
        include_metadata: true
        response_headers: {{x-mine: {}}}
  otlp/tls:
    protocols:
      http:
        endpoint: '127.0.0.1:{tls}'
        tls:
          cert_pem: |
            {cert}
          key_pem: |
            {key}
{aws}
processors: {{batch: {{metadata_keys: [x-api-key, authorization]}}}}
exporters:
  debug: {{verbosity: detailed}}
  otlp/headers:
    endpoint: '127.0.0.1:1'
    tls: {{insecure: true}}
    headers: {{authorization: {}, x-list: {}}}
    sending_queue: {{storage: file_storage}}
  otlp/bearer: {{endpoint: '127.0.0.1:1', tls: {{insecure: true}}, auth: {{authenticator: bearertokenauth}}}}
  otlp/file: {{endpoint: '127.0.0.1:1', tls: {{insecure: true}}, auth: {{authenticator: bearertokenauth/file}}}}
  otlphttp/url: {{endpoint: 'http://user:{}@127.0.0.1:1', headers: [{{name: x-key, value: {}}}]}}
  otlphttp/proxy: {{endpoint: 'http://127.0.0.1:1', proxy_url: 'http://user:{}@127.0.0.1:1'}}
  otlphttp/basic: {{endpoint: 'http://127.0.0.1:1', auth: {{authenticator: basicauth/client}}}}
  otlphttp/basic_file: {{endpoint: 'http://127.0.0.1:1', auth: {{authenticator: basicauth/file}}}}
  otlphttp/oauth: {{endpoint: 'http://127.0.0.1:1', auth: {{authenticator: oauth2client}}}}
  otlphttp/signed: {{endpoint: 'http://127.0.0.1:1', auth: {{authenticator: {signer}}}}}
service:
  extensions: [health_check, zpages, file_storage, bearertokenauth, bearertokenauth/many, bearertokenauth/file, basicauth/server, basicauth/client, basicauth/file, oauth2client{sigv4_id}]
  admin: {{endpoint: '127.0.0.1:{admin}'}}
  telemetry:
    logs: {{level: debug}}
    metrics: {{level: detailed, readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}
  pipelines:
    traces:
      receivers: [otlp, otlp/tls{aws_in}]
      processors: [batch]
      exporters: [debug, otlp/headers, otlp/bearer, otlp/file, otlphttp/url, otlphttp/proxy, otlphttp/basic, otlphttp/basic_file, otlphttp/oauth, otlphttp/signed]
"#,
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        secret(),
        health = ports[0],
        zpages = ports[1],
        admin = ports[2],
        metrics = ports[3],
        http = ports[4],
        tls = ports[6],
        grpc = ports[7],
        queue = folder.join("queue").display(),
        tokens_file = tokens_file.display(),
        password_file = password_file.display(),
        cert = indented(key.cert.pem()),
        key = indented(key.signing_key.serialize_pem()),
    )
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Vec<u8> {
    let output = Command::new(binary())
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    [output.stdout, output.stderr].concat()
}

#[test]
fn no_output_shows_a_secret() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut canaries = Canaries::new();
    let ports = free_ports(8);
    let text = config(&mut canaries, &ports, folder.path());
    let from_environment = canaries.next();
    let variables = [("CANARY_TOKEN", from_environment.as_str()), ("RUST_BACKTRACE", "1")];
    // The private key is a secret as well: any line of it.
    let keys: Vec<String> = text
        .split("PRIVATE KEY-----")
        .nth(1)
        .unwrap()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    canaries.0.extend(keys.into_iter().filter(|line| line.len() > 30));
    assert!(canaries.0.len() >= 20, "{}", canaries.0.len());

    // What the test would see if something did show one.
    let shown = STANDARD_NO_PAD.encode(format!("user:{}", canaries.0[3]));
    assert!(!canaries.in_text(shown.as_bytes()).is_empty() && !canaries.in_text(text.as_bytes()).is_empty());

    let mut agent = Agent::spawn_in(&folder, &text, &variables).until_ready();
    let path = folder.path().join("config.yaml").display().to_string();
    for arguments in [
        &["print-config", "--config", &path][..],
        &["print-config", "--format", "json", "--config", &path],
        &["validate", "--config", &path],
        &[
            "validate",
            "--config",
            &path,
            "--set",
            "exporters.otlp/headers.headers.authorisation=[1, {a: b}]",
        ],
        &[
            "validate",
            "--config",
            &path,
            "--set",
            "exporters.otlphttp/url.compresion=gzip",
        ],
        &["components"],
    ] {
        let output = run(arguments, &variables);
        assert!(!output.is_empty(), "{arguments:?}");
        canaries.assert_absent(&arguments.join(" "), &output);
    }

    // Clients: a good one, and those that bring a wrong secret or the right one in a wrong form.
    let user = text
        .split("inline: 'user:")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap()
        .to_owned();
    let wrong = canaries.next();
    let good = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("user:{user}"))
    );
    for authorization in [
        good.clone(),
        format!("Bearer {user}"),
        format!("Basic {wrong}"),
        good.replace("Basic ", "Basic x"),
    ] {
        let answer = post(ports[4], &authorization);
        let head = answer.split("\r\n\r\n").next().unwrap_or_default();
        // `response_headers` are meant for clients; everything else of the answer is not.
        let rest: Vec<&str> = head.lines().filter(|line| !line.starts_with("x-mine:")).collect();
        canaries.assert_absent("an answer", rest.join("\n").as_bytes());
        canaries.assert_absent(
            "an answer's body",
            answer.split("\r\n\r\n").nth(1).unwrap_or_default().as_bytes(),
        );
    }
    let unknown = http(ports[4], "POST", "/v1/traces", "application/x-protobuf", &spans(1)).unwrap();
    assert_eq!(unknown.0, 401);

    // Every exporter has failed at least once.
    agent.wait_for("Will retry the request after interval");
    std::thread::sleep(std::time::Duration::from_millis(500));
    for (name, port, page) in [
        ("metrics", ports[3], "/metrics"),
        ("status", ports[2], "/api/v1/status"),
        ("zpages", ports[1], "/debug/servicez"),
        ("zpages", ports[1], "/debug/pipelinez"),
        ("zpages", ports[1], "/debug/extensionz"),
        ("zpages", ports[1], "/"),
        ("health", ports[0], "/"),
    ] {
        canaries.assert_absent(&format!("{name} {page}"), get(port, page).1.as_bytes());
    }
    canaries.assert_absent(
        "status",
        &run(&["status", "--endpoint", &format!("127.0.0.1:{}", ports[2])], &[]),
    );

    // A reload that is refused shows an excerpt of the text.
    agent.rewrite(&text.replace("tls: {insecure: true}", "tls: {insecur: true}"));
    agent.signal(Signal::SIGHUP);
    agent.wait_for("The new configuration is invalid");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), Some(0), "{}", agent.said());
    let said = agent.said();
    assert!(said.lines().count() > 20, "{said}");
    canaries.assert_absent("the log", said.as_bytes());

    // What the queue keeps is of telemetry only.
    let mut files = vec![folder.path().join("queue")];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(std::fs::File::open(&path).unwrap(), 1 << 20),
            &mut bytes,
        )
        .unwrap();
        read += 1;
        // A preallocated segment is zeros behind what was written.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        canaries.assert_absent(&path.display().to_string(), &bytes[..end]);
    }
    assert!(read > 0, "no file of the queue was read");
}

/// The whole answer to one request with this header.
fn post(port: u16, authorization: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = spans(3);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
         authorization: {authorization}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
