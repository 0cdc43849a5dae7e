//! Public advisories about programs like this one, and about what it is made of: one test each that the same does not
//! happen here. Those that need no process stand beside the code: CVE-2024-42368 (`bearertokenauth`), GHSA-pjv4-3c63-699f
//! (`receivers/otlp`), contrib 49230 and GHSA-prf6-xjxh-p698 also in `awsfirehose`. The versions that repaired the
//! libraries are floors in `tests/house/dependencies.rs`.

mod collector;
mod libraries;
mod others;

use super::requests::{all_at_once, bombs, by_http, empties, judge};
use super::*;

/// A target that has a Firehose endpoint and the X-Ray receiver, too.
#[cfg(feature = "aws")]
struct Aws {
    agent: Agent,
    firehose: SocketAddr,
    udp: SocketAddr,
}

#[cfg(feature = "aws")]
fn aws() -> Aws {
    let ports = free_ports(4);
    let agent = Agent::ready_fused(&format!(
        "receivers:\n  awsfirehose: {{endpoint: '127.0.0.1:{}', access_key: only-for-the-test}}\n\
         \x20 awsxray: {{endpoint: '127.0.0.1:{}', proxy_server: {{endpoint: '127.0.0.1:{}', region: us-east-1}}}}\n\
         exporters: {{nop: }}\n\
         service:\n  memory: {{limit: {LIMIT_MIB}MiB}}\n  admin: {{endpoint: '127.0.0.1:0'}}\n\
         \x20 telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {}}}}}}}}}]}}}}\n\
         \x20 pipelines:\n    metrics: {{receivers: [awsfirehose], exporters: [nop]}}\n\
         \x20   traces: {{receivers: [awsxray], exporters: [nop]}}\n",
        ports[0], ports[1], ports[2], ports[3]
    ));
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Aws {
        agent,
        firehose: address(ports[0]),
        udp: address(ports[1]),
    }
}

#[cfg(feature = "aws")]
impl Aws {
    fn lives(&mut self, after: &str) {
        let file = if is_optimised() {
            0
        } else {
            self.agent.memory_kib("RssFile")
        };
        let peak = self.agent.memory_kib("VmHWM") - file;
        assert!(peak <= LIMIT_MIB * 1024 * 110 / 100, "{after}: {peak} KiB");
        assert!(self.agent.is_running(), "{after}");
    }

    async fn firehose(&self, key: &[&str], data: &[u8]) -> Answer {
        use base64::Engine;
        let data = base64::engine::general_purpose::STANDARD.encode(data);
        let body = format!(r#"{{"requestId":"r","timestamp":1,"records":[{{"data":"{data}"}}]}}"#);
        let mut headers = vec![JSON, ("x-amz-firehose-request-id", "r")];
        headers.extend(key.iter().map(|key| ("x-amz-firehose-access-key", *key)));
        http1(self.firehose, "/", &headers, body).await
    }
}
