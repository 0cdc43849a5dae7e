"""The OpenTelemetry SDK for Python sends every kind of telemetry; exactly that must come out."""

import os
import sys

import agent as A
import grpc
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SPANS, RECORDS = 1200, 700


def exporters(case, port):
    protocol, compression = case
    if protocol == "grpc":
        options = dict(
            endpoint=f"127.0.0.1:{port}",
            insecure=True,
            compression=dict(
                none=grpc.Compression.NoCompression, gzip=grpc.Compression.Gzip, deflate=grpc.Compression.Deflate
            )[compression],
        )
        return GrpcTraces(**options), GrpcMetrics(**options), GrpcLogs(**options)
    chosen = dict(none=Compression.NoCompression, gzip=Compression.Gzip, deflate=Compression.Deflate)[compression]
    base = f"http://127.0.0.1:{port}/v1/"
    return (
        HttpTraces(endpoint=base + "traces", compression=chosen),
        HttpMetrics(endpoint=base + "metrics", compression=chosen),
        HttpLogs(endpoint=base + "logs", compression=chosen),
    )


def send(case, port):
    traces, metrics, logs = exporters(case, port)
    resource = Resource.create({"service.name": "compat", "list": ["a", "b"], "n": 7, "x": 1.5, "yes": True})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(traces, max_queue_size=SPANS * 2, max_export_batch_size=100))
    tracer = tracers.get_tracer("compat.tracer", "1.2.3")
    with tracer.start_as_current_span("root") as root:
        for index in range(SPANS - 1):
            with tracer.start_as_current_span(
                f"child {index}", kind=trace.SpanKind.CLIENT, links=[trace.Link(root.get_span_context(), {"l": index})]
            ) as span:
                span.set_attribute("index", index)
                span.set_attribute("text", "ünïcode \u2713")
                span.add_event("happened", {"at": index})
                if index % 10 == 0:
                    span.record_exception(ValueError(f"bad {index}"))
                    span.set_status(trace.Status(trace.StatusCode.ERROR, "failed"))
    assert tracers.force_flush()
    tracers.shutdown()

    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=3_600_000)
    view = View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())
    meters = MeterProvider(metric_readers=[reader], resource=resource, views=[view])
    meter = meters.get_meter("compat.meter")
    counter = meter.create_counter("requests", "1")
    histogram = meter.create_histogram("duration", "ms")
    exponential = meter.create_histogram("exponential", "ms")
    gauge = meter.create_gauge("level")
    for index in range(50):
        counter.add(index, {"route": f"/{index % 5}"})
        histogram.record(index * 1.5, {"route": f"/{index % 3}"})
        exponential.record(index * 1.5 + 0.1)
        gauge.set(index, {"cell": str(index % 4)})
    assert meters.force_flush()
    # Shutting down exports once more: cumulative points of the same series again.
    reader._shutdown = True  # noqa: SLF001 (the second export would double the points that are counted below)

    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs, max_export_batch_size=100, max_queue_size=RECORDS * 2))
    logger = loggers.get_logger("compat.logger")
    for index in range(RECORDS):
        logger.emit(
            timestamp=1_700_000_000_000_000_000 + index,
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body={"message": f"line {index}", "n": index} if index % 2 else f"line {index}",
            attributes={"index": index},
        )
    assert loggers.force_flush()
    loggers.shutdown()


def check(lines):
    spans = list(A.spans(lines))
    A.expect("spans", len(spans), SPANS)
    A.expect("distinct span ids", len({span["spanId"] for _, _, span in spans}), SPANS)
    A.expect("one trace", len({span["traceId"] for _, _, span in spans}), 1)
    A.expect("links", sum(len(span.get("links", [])) for _, _, span in spans), SPANS - 1)
    exceptions = len(range(0, SPANS - 1, 10))
    A.expect("events", sum(len(span.get("events", [])) for _, _, span in spans), SPANS - 1 + exceptions)
    A.expect("errors", sum(span.get("status", {}).get("code") == 2 for _, _, span in spans), exceptions)
    root = next(span for _, _, span in spans if span["name"] == "root")
    children = [span for _, _, span in spans if span["name"] != "root"]
    A.expect("parents", {span.get("parentSpanId") for span in children}, {root["spanId"]})
    A.expect("kinds", {span["kind"] for span in children}, {3})
    seen = sorted(A.attributes(span["attributes"])["index"] for span in children)
    A.expect("attribute index", seen, list(range(SPANS - 1)))
    A.expect("text", {A.attributes(span["attributes"])["text"] for span in children}, {"ünïcode \u2713"})
    resource = A.attributes(spans[0][0]["attributes"])
    A.expect("resource", [resource[key] for key in ("list", "n", "x", "yes")], [["a", "b"], 7, 1.5, True])
    A.expect("scope", spans[0][1], {"name": "compat.tracer", "version": "1.2.3"})

    points = list(A.points(lines))
    by_name = {}
    for name, kind, point in points:
        by_name.setdefault((name, kind), []).append(point)
    A.expect("counter series", len(by_name["requests", "sum"]), 5)
    total = sum(int(point.get("asInt", 0)) for point in by_name["requests", "sum"])
    A.expect("counter total", total, sum(range(50)))
    A.expect("histogram count", sum(int(point["count"]) for point in by_name["duration", "histogram"]), 50)
    A.expect("exponential count", int(by_name["exponential", "exponentialHistogram"][0]["count"]), 50)
    A.expect("gauge series", len(by_name["level", "gauge"]), 4)

    records = list(A.records(lines))
    A.expect("records", len(records), RECORDS)
    A.expect("record indexes", sorted(A.attributes(r["attributes"])["index"] for _, _, r in records), list(range(RECORDS)))
    bodies = {A.attributes(r["attributes"])["index"]: A.value(r["body"]) for _, _, r in records}
    A.expect("text body", bodies[4], "line 4")
    A.expect("map body", bodies[5], {"message": "line 5", "n": 5})
    A.expect("severity", {(r["severityNumber"], r["severityText"]) for _, _, r in records}, {(13, "WARN")})


def main():
    for protocol in ("grpc", "http"):
        for compression in ("none", "gzip", "deflate"):
            for crossed in (False, True):
                with A.Agent(A.FILE_CONFIG) as agent:
                    # Either protocol works on either port.
                    own, other = (agent.grpc, agent.http) if protocol == "grpc" else (agent.http, agent.grpc)
                    send((protocol, compression), other if crossed else own)
                    A.expect("exit code", agent.stop(), 0)
                    check(agent.lines())
                print(f"python sdk, {protocol}, {compression}{', the other port' if crossed else ''}: exact")


if __name__ == "__main__":
    main()
    # Without the SDK's export at exit: the agents are gone.
    sys.stdout.flush()
    os._exit(0)
