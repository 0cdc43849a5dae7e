"""Starts the radiosonde binary for one check and reads back what it delivered. Standard library only."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    """The binary under test: $RADIOSONDE_BIN, else the release build."""
    path = os.environ.get("RADIOSONDE_BIN")
    if path:
        return path
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "radiosonde")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port} after {seconds} s")


class Agent:
    """`with Agent(config) as agent:`. The config text may use {grpc}, {http}, {metrics} and {out}."""

    def __init__(self, config, **names):
        self.dir = tempfile.TemporaryDirectory(prefix="radiosonde-compat-")
        self.grpc, self.http, self.metrics = free_port(), free_port(), free_port()
        self.out = pathlib.Path(self.dir.name) / "out.jsonl"
        text = config
        for name, value in dict(
            grpc=self.grpc, http=self.http, metrics=self.metrics, out=self.out, **names
        ).items():
            text = text.replace("{" + name + "}", str(value))
        self.config = pathlib.Path(self.dir.name) / "config.yaml"
        self.config.write_text(text)
        self.process = None

    def __enter__(self):
        environment = dict(os.environ, XDG_STATE_HOME=self.dir.name)
        self.log = open(pathlib.Path(self.dir.name) / "log", "wb")
        self.process = subprocess.Popen(
            [binary(), "--config", str(self.config)], stderr=self.log, stdout=self.log, env=environment
        )
        try:
            wait_for_port(self.grpc)
            wait_for_port(self.http)
        except AssertionError:
            self.process.kill()
            sys.stderr.write((pathlib.Path(self.dir.name) / "log").read_text())
            raise
        return self

    def stop(self):
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    def __exit__(self, *_):
        code = self.stop()
        self.log.close()
        if code != 0 or _[0] is not None:
            sys.stderr.write((pathlib.Path(self.dir.name) / "log").read_text()[-8000:])
        assert code == 0, f"the agent ended with {code}"

    def lines(self):
        """The requests that the file exporter wrote, decoded. Call it after stop()."""
        if not self.out.exists():
            return []
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.strip()]

    def scrape(self):
        """The metrics page as {(name, labels text): value}."""
        body = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).read().decode()
        values = {}
        for line in body.splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                values[series] = float(value)
        return values


FILE_CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http:
        endpoint: "127.0.0.1:{http}"
        cors: {allowed_origins: ["http://localhost:*", "http://127.0.0.1:*"], max_age: 600}
exporters:
  file: {path: "{out}"}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp], exporters: [file]}
    metrics: {receivers: [otlp], exporters: [file]}
    logs: {receivers: [otlp], exporters: [file]}
"""


def spans(lines):
    for line in lines:
        for resource in line.get("resourceSpans", []):
            for scope in resource.get("scopeSpans", []):
                for span in scope.get("spans", []):
                    yield resource.get("resource", {}), scope.get("scope", {}), span


def points(lines):
    kinds = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
    for line in lines:
        for resource in line.get("resourceMetrics", []):
            for scope in resource.get("scopeMetrics", []):
                for metric in scope.get("metrics", []):
                    for kind in kinds:
                        for point in metric.get(kind, {}).get("dataPoints", []):
                            yield metric["name"], kind, point


def records(lines):
    for line in lines:
        for resource in line.get("resourceLogs", []):
            for scope in resource.get("scopeLogs", []):
                for record in scope.get("logRecords", []):
                    yield resource.get("resource", {}), scope.get("scope", {}), record


def value(any_value):
    """An OTLP/JSON AnyValue as a Python value."""
    if not any_value:
        return None
    (kind, content), = any_value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [value(item) for item in content.get("values", [])]
    if kind == "kvlistValue":
        return attributes(content.get("values", []))
    return content


def attributes(items):
    return {item["key"]: value(item.get("value")) for item in items or []}


def expect(what, got, wanted):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"
