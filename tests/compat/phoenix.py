"""Traces go through the agent into arize-phoenix and are read back through its API, span for span.

Needs a second interpreter that has arize-phoenix: COMPAT_PHOENIX_PYTHON. Sends by the Python SDK over gRPC; the agent
exports by gRPC in one run and by HTTP in the other.
"""

import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.request

import agent as A
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:{grpc}"}, http: {endpoint: "127.0.0.1:{http}"}}}
processors:
  batch: {timeout: 100ms}
exporters:
  {exporter}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [{name}]}
"""


class Keep(SpanExporter):
    """Remembers what was sent."""

    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


def send(port, project):
    keep = Keep()
    resource = Resource.create({"service.name": "shop", "openinference.project.name": project})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(keep))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"127.0.0.1:{port}", insecure=True)))
    tracer = provider.get_tracer("compat.phoenix")
    for index in range(20):
        with tracer.start_as_current_span("checkout", attributes={"order": index, "total": index * 1.5}):
            with tracer.start_as_current_span("charge", kind=trace.SpanKind.CLIENT) as span:
                span.add_event("retry", {"attempt": index})
                if index % 4 == 0:
                    span.set_status(trace.Status(trace.StatusCode.ERROR, "card declined"))
    provider.force_flush()
    return keep.spans


def read_back(port, project, wanted):
    deadline = time.monotonic() + 40
    spans = []
    while time.monotonic() < deadline:
        spans, cursor = [], None
        while True:
            query = "?limit=100" + (f"&cursor={cursor}" if cursor else "")
            url = f"http://127.0.0.1:{port}/v1/projects/{project}/spans/otlpv1{query}"
            try:
                page = json.load(urllib.request.urlopen(url, timeout=60))
            except urllib.error.HTTPError:
                break
            spans += page["data"]
            cursor = page.get("next_cursor")
            if not cursor:
                break
        if len(spans) >= wanted:
            return spans
        time.sleep(0.5)
    raise AssertionError(f"phoenix shows {len(spans)} of {wanted} spans")


def as_hex(text, digits):
    return text.lower() if len(text) == digits else base64.b64decode(text).hex()


def key(item, name):
    return item.get(name) or item.get("".join("_" + c.lower() if c.isupper() else c for c in name))


def attributes(items):
    kinds = ("stringValue", "string_value", "intValue", "int_value", "doubleValue", "double_value", "boolValue", "bool_value")
    found = {}
    for item in items or []:
        for kind in kinds:
            content = (item.get("value") or {}).get(kind)
            if content is not None:
                found[item["key"]] = int(content) if kind.startswith("int") else content
    return found


def check(sent, got):
    A.expect("spans", len(got), len(sent))
    by_id = {as_hex(key(span, "spanId"), 16): span for span in got}
    A.expect("distinct spans", len(by_id), len(sent))
    for span in sent:
        back = by_id[f"{span.context.span_id:016x}"]
        A.expect("trace id", as_hex(key(back, "traceId"), 32), f"{span.context.trace_id:032x}")
        A.expect("name", back["name"], span.name)
        parent = key(back, "parentSpanId")
        A.expect("parent", as_hex(parent, 16) if parent else None, f"{span.parent.span_id:016x}" if span.parent else None)
        # phoenix keeps microseconds, and rounds them through a float.
        for what, sent_at in (("startTimeUnixNano", span.start_time), ("endTimeUnixNano", span.end_time)):
            assert abs(int(key(back, what)) - sent_at) <= 2000, f"{what}: got {key(back, what)}, wanted {sent_at}"
        A.expect("error", (back.get("status") or {}).get("code") in (2, "STATUS_CODE_ERROR"), span.status.status_code.value == 2)
        A.expect("events", [event["name"] for event in back.get("events") or []], [event.name for event in span.events])
        found = attributes(back.get("attributes"))
        A.expect("attributes", {name: found.get(name) for name in span.attributes}, dict(span.attributes))


@contextlib.contextmanager
def serving():
    """A phoenix of our own: (port of its API and of OTLP by HTTP, port of OTLP by gRPC)."""
    port, grpc_port = A.free_port(), A.free_port()
    with tempfile.TemporaryDirectory(prefix="radiosonde-phoenix-") as folder:
        environment = dict(
            os.environ, PHOENIX_PORT=str(port), PHOENIX_GRPC_PORT=str(grpc_port), PHOENIX_HOST="127.0.0.1",
            PHOENIX_SQL_DATABASE_URL=f"sqlite:///{folder}/phoenix.db", PHOENIX_WORKING_DIR=folder,
            PHOENIX_TELEMETRY_ENABLED="false", PHOENIX_ALLOW_EXTERNAL_RESOURCES="false",
        )
        log = open(f"{folder}/log", "wb")
        phoenix = subprocess.Popen(
            [os.environ["COMPAT_PHOENIX_PYTHON"], "-m", "phoenix.server.main", "serve"], env=environment, cwd=folder,
            stdout=log, stderr=log,
        )
        try:
            A.wait_for_port(port, 300)
            A.wait_for_port(grpc_port, 60)
            yield port, grpc_port
        except BaseException:
            print(open(f"{folder}/log").read()[-2000:])
            raise
        finally:
            phoenix.terminate()
            phoenix.wait(timeout=30)


def main():
    with serving() as (port, grpc_port):
        cases = (
            ("otlp", f'otlp: {{endpoint: "127.0.0.1:{grpc_port}", tls: {{insecure: true}}}}'),
            ("otlphttp", f'otlphttp: {{endpoint: "http://127.0.0.1:{port}"}}'),
        )
        for name, exporter in cases:
            project = f"compat-{name}"
            with A.Agent(CONFIG, name=name, exporter=exporter) as agent:
                sent = send(agent.grpc, project)
                check(sent, read_back(port, project, len(sent)))
            print(f"phoenix by {name}: {len(sent)} spans read back, equal")


if __name__ == "__main__":
    main()
