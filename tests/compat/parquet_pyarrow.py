#!/usr/bin/env python3
"""What `awss3` writes with `marshaler: otlp_parquet`, read by pyarrow, and played back by `retention restore`.

Not one of run.py's: it needs a binary with the cargo feature `parquet`, and pyarrow (PyPI).

    cargo build --features parquet && pip install pyarrow
    RADIOSONDE_BIN=target/debug/radiosonde python3 tests/compat/parquet_pyarrow.py
"""
import base64
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import agent
import pyarrow
import pyarrow.parquet
from agent import expect

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
exporters:
  awss3:
    url: file://{archive}
    s3uploader: {s3_partition_format: "dt=%Y-%m-%d"}
    marshaler: otlp_parquet
    compression: {compression}
    sending_queue: {wait_for_result: true}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp], exporters: [awss3]}
"""

VALUES = [
    ("text", {"stringValue": "grün \U0001f600"}), ("flag", {"boolValue": False}), ("least", {"intValue": str(-2**63)}),
    ("share", {"doubleValue": 0.1}), ("raw", {"bytesValue": base64.b64encode(b"\0\xff").decode()}), ("none", {}),
    ("list", {"arrayValue": {"values": [{"stringValue": "a"}, {"doubleValue": 0.30000000000000004}, {"arrayValue": {"values": []}}]}}),
    ("map", {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": str(2**53 + 1)}}]}}),
]


def attributes(pairs):
    return [{"key": key, "value": value} for key, value in pairs]


def request(now):
    """Three resources, the last without spans that have attributes; every field of a span at least once."""
    resources, number = [], 0
    for service, spans in (("checkout", 700), ("payment", 250), ("plain", 50)):
        list_of_spans = []
        for _ in range(spans):
            number += 1
            span = {"traceId": f"{number % 37 + 1:032x}", "spanId": f"{number:016x}", "name": f"op {number % 5}", "kind": number % 6,
                    "startTimeUnixNano": str(now + number), "endTimeUnixNano": str(now + 2 * number)}
            if service != "plain":
                span |= {"attributes": attributes(VALUES[number % 8:] + VALUES[:number % 3]), "flags": 0x101, "traceState": "a=b",
                         "droppedAttributesCount": number % 4, "droppedEventsCount": 1, "droppedLinksCount": 2**32 - 1}
            if number % 2:
                span["parentSpanId"] = f"{number + 1:016x}"
            if number % 3 == 0:
                span["events"] = [{"timeUnixNano": str(now + n), "name": f"e{n}", "attributes": attributes(VALUES[:n]),
                                   "droppedAttributesCount": n} for n in range(number % 7)]
            if number % 5 == 0:
                span["links"] = [{"traceId": "0f" * 16, "spanId": "0e" * 8, "traceState": "l", "flags": 1,
                                  "attributes": attributes(VALUES[:number % 4])}]
            if number % 4 == 0:
                span["status"] = {"code": 2, "message": "no"}
            list_of_spans.append(span)
        of = attributes([("service.name", {"stringValue": service}), *VALUES[:3]])
        scope = {"name": "lib", "version": "1.2", "attributes": attributes(VALUES[:2])}
        resources.append({"resource": {"attributes": of}, "schemaUrl": "https://r",
                          "scopeSpans": [{"scope": scope, "schemaUrl": "https://s", "spans": list_of_spans}]})
    return {"resourceSpans": resources}


def value_of(cell):
    """A map's value as pyarrow gives it, as OTLP/JSON."""
    if cell is None:
        return None
    of = {"string_value": ("stringValue", str), "bool_value": ("boolValue", bool), "int_value": ("intValue", str),
          "double_value": ("doubleValue", float), "bytes_value": ("bytesValue", lambda raw: base64.b64encode(raw).decode()),
          "array_value": ("arrayValue", json.loads), "kvlist_value": ("kvlistValue", json.loads)}
    return {of[name][0]: of[name][1](value) for name, value in cell.items() if value is not None}


def numbers(value):
    """Doubles inside of arrays and maps are text in the file; empty lists may be left out."""
    if isinstance(value, dict):
        return {key: float(inner) if key == "doubleValue" else numbers(inner) for key, inner in value.items() if (key, inner) != ("values", [])}
    return [numbers(inner) for inner in value] if isinstance(value, list) else value


def attributes_of(cells):
    return attributes([(key, numbers(value_of(value))) for key, value in cells])


def clean(value):
    """Without what says nothing: proto3's defaults. Values of attributes stay."""
    if isinstance(value, dict):
        return {key: inner if key == "value" else clean(inner) for key, inner in value.items()
                if inner not in ("", 0, "0", None, [], {}) or key == "value"}
    return [clean(inner) for inner in value] if isinstance(value, list) else value


def span_of(row):
    nanos = str
    status = {} if row["status_code"] is None else {"code": row["status_code"], "message": row["status_message"]}
    return {
        "traceId": row["trace_id"], "spanId": row["span_id"], "parentSpanId": row["parent_span_id"], "traceState": row["trace_state"],
        "flags": row["flags"], "name": row["name"], "kind": row["kind"],
        "startTimeUnixNano": nanos(row["start_time_unix_nano"]), "endTimeUnixNano": nanos(row["end_time_unix_nano"]),
        "attributes": attributes_of(row["attributes"]), "droppedAttributesCount": row["dropped_attributes_count"],
        "events": [{"timeUnixNano": nanos(event["time_unix_nano"]), "name": event["name"],
                    "attributes": attributes_of(event["attributes"]), "droppedAttributesCount": event["dropped_attributes_count"]}
                   for event in row["events"]],
        "droppedEventsCount": row["dropped_events_count"],
        "links": [{"traceId": link["trace_id"], "spanId": link["span_id"], "traceState": link["trace_state"], "flags": link["flags"],
                   "attributes": attributes_of(link["attributes"]), "droppedAttributesCount": link["dropped_attributes_count"]}
                  for link in row["links"]],
        "droppedLinksCount": row["dropped_links_count"], "status": status,
        "of": {"resource": attributes_of(row["resource_attributes"]), "resourceSchema": row["resource_schema_url"],
               "scope": [row["scope_name"], row["scope_version"]], "scopeAttributes": attributes_of(row["scope_attributes"]),
               "scopeSchema": row["scope_schema_url"]},
    }


def flat(body, without=()):
    """Spans by their ids, with what their resource and scope say."""
    found = {}
    for resource in body["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            of = {"resource": [one for one in resource["resource"]["attributes"] if one["key"] not in without],
                  "resourceSchema": resource.get("schemaUrl", ""), "scope": [scope["scope"]["name"], scope["scope"]["version"]],
                  "scopeAttributes": scope["scope"]["attributes"], "scopeSchema": scope.get("schemaUrl", "")}
            for span in scope["spans"]:
                found[span["spanId"]] = clean(numbers({**span, "of": of}))
    return found


def in_numbers(schema):
    """The same with times as numbers: Python's own have microseconds only."""
    def of(kind):
        if pyarrow.types.is_timestamp(kind):
            return pyarrow.int64()
        if pyarrow.types.is_list(kind):
            return pyarrow.list_(kind.value_field.with_type(of(kind.value_type)))
        if pyarrow.types.is_struct(kind):
            return pyarrow.struct([kind.field(n).with_type(of(kind.field(n).type)) for n in range(kind.num_fields)])
        return kind

    return pyarrow.schema([field.with_type(of(field.type)) for field in schema])


def main():
    now = time.time_ns()
    sent = request(now)
    sizes = {}
    for compression in ("zstd", "none"):
        with tempfile.TemporaryDirectory(prefix="radiosonde-parquet-") as archive:
            with agent.Agent(CONFIG, archive=archive, compression=compression) as running:
                call = urllib.request.Request(f"http://127.0.0.1:{running.http}/v1/traces", json.dumps(sent).encode(),
                                              {"content-type": "application/json"})
                urllib.request.urlopen(call, timeout=60).read()
            files = list(pathlib.Path(archive).glob("dt=*/*.parquet"))
            expect("one file", len(files), 1)
            sizes[compression] = files[0].stat().st_size
            table = pyarrow.parquet.read_table(files[0])
            for name in ("start_time_unix_nano", "end_time_unix_nano"):
                expect(f"type of {name}", str(table.schema.field(name).type), "timestamp[ns, tz=UTC]")
            rows = table.cast(in_numbers(table.schema)).to_pylist()
            expect("rows", len(rows), 1000)
            got = {row["span_id"]: clean(span_of(row)) for row in rows}
            expect(f"what pyarrow reads ({compression})", got, flat(sent))
            expect("services", {row["service_name"] for row in rows}, {"checkout", "payment", "plain"})
            query = pyarrow.parquet.read_table(files[0], columns=["trace_id", "name"], filters=[("service_name", "=", "payment")])
            expect("rows of one service", query.num_rows, 250)
            with agent.Agent(agent.FILE_CONFIG) as running:
                done = subprocess.run([agent.binary(), "retention", "restore", "--from", f"file://{archive}", "--since", "24h",
                                       "--exporter", f"otlp=127.0.0.1:{running.grpc}"], capture_output=True, text=True, timeout=120)
                assert done.returncode == 0, done
            restored = {"resourceSpans": [one for line in running.lines() for one in line["resourceSpans"]]}
            expect("restored", flat(restored, {"aws.xray.retention.restored"}), flat(sent))
    print(f"1000 spans read by pyarrow {pyarrow.__version__} and restored; {sizes['none']} bytes, {sizes['zstd']} with zstd")


if __name__ == "__main__":
    sys.exit(main())
