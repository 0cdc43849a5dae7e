"""Traces go into an archive of objects, the agent ends, and `retention restore` plays them into arize-phoenix: read back
through its API, equal span for span. Once into a directory as JSON, once as protobuf and zstd.
"""

import subprocess
import tempfile

import agent as A
from phoenix import check, read_back, send, serving

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:{grpc}"}, http: {endpoint: "127.0.0.1:{http}"}}}
exporters:
  awss3:
    url: file://{place}
    marshaler: {marshaler}
    compression: {compression}
    sending_queue: {batch: {flush_timeout: 100ms, min_size: 7, max_size: 7, sizer: items}}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [awss3]}
"""


def main():
    with serving() as (port, grpc_port):
        for marshaler, compression in (("otlp_json", "none"), ("otlp_proto", "zstd")):
            project = f"archive-{marshaler.replace('_', '-')}"
            with tempfile.TemporaryDirectory(prefix="radiosonde-archive-") as place:
                names = dict(place=place, marshaler=marshaler, compression=compression)
                with A.Agent(CONFIG, **names) as agent:
                    sent = send(agent.grpc, project)
                command = [A.binary(), "retention", "restore", "--from", f"file://{place}",
                           "--exporter", f"otlp=127.0.0.1:{grpc_port}"]
                one = f"{sent[0].context.trace_id:032x}"
                done = subprocess.run([*command, one], capture_output=True, text=True, timeout=120)
                A.expect("one trace", (done.returncode, done.stdout), (0, "restored 1 traces, 2 spans\n"))
                done = subprocess.run([*command, "--since", "24h"], capture_output=True, text=True, timeout=120)
                A.expect("all traces", (done.returncode, done.stdout), (0, f"restored 20 traces, {len(sent)} spans\n"))
                check(sent, read_back(port, project, len(sent)))
            print(f"archive as {marshaler}, {compression}: {len(sent)} spans restored into phoenix, equal")


if __name__ == "__main__":
    main()
