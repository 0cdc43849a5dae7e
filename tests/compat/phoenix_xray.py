"""Traces of X-Ray read back in arize-phoenix: segments that came by UDP and traces that were pulled from the (simulated) X-Ray
have the parents, errors and times there that the segments have.

Needs a second interpreter that has arize-phoenix: COMPAT_PHOENIX_PYTHON.
"""

import json
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request
from datetime import datetime, timezone

import agent as A
import boto3
import phoenix
import xray_poll

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:{grpc}"}, http: {endpoint: "127.0.0.1:{http}"}}}
  awsxray:
    endpoint: 127.0.0.1:{udp}
    proxy_server: {endpoint: "127.0.0.1:0", region: eu-central-1, local_mode: true}
  xray:
    regions: [eu-central-1]
    endpoint: {url}
    credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}
    start_from: 45m
    poll_interval: 10s
    rate: {initial: 50, max: 50}
exporters:
  otlphttp: {endpoint: "http://127.0.0.1:{phoenix}"}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp, awsxray, xray], exporters: [otlphttp]}
"""

# Of the scenario that `xray_poll` uses a tenth.
SCENARIO = xray_poll.SCENARIO.replace("traces_per_minute: 30", "traces_per_minute: 3")


def segment(number):
    """A request that calls a service which fails, as an SDK sends it."""
    start = 1_760_000_000.25 + number
    return {
        "name": "shop", "id": f"{number:016x}", "trace_id": f"1-581cf771-{number:024x}", "start_time": start, "end_time": start + 0.5,
        "http": {"request": {"method": "GET", "url": "https://shop.example.com/orders/7"}, "response": {"status": 502}}, "fault": True,
        "subsegments": [{
            "name": "pay.example.com", "id": f"{number + 0x1000:016x}", "namespace": "remote", "start_time": start + 0.125,
            "end_time": start + 0.375, "fault": True,
            "cause": {"exceptions": [{"id": f"{number + 0x2000:016x}", "type": "Timeout", "message": "no answer"}]},
        }, {"name": "## quiet", "id": f"{number + 0x3000:016x}", "start_time": start, "end_time": start + 0.0625}],
    }


def send_by_udp(port, segments):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for document in segments:
            head = json.dumps({"format": "json", "version": 1}) + "\n"
            sender.sendto((head + json.dumps(document)).encode(), ("127.0.0.1", port))


def main():
    with phoenix.serving() as (port, _), tempfile.TemporaryDirectory() as folder:
        now = int(time.time()) - 120
        start = now - now % 300
        scenario = pathlib.Path(folder) / "scenario.yaml"
        scenario.write_text(SCENARIO.replace("{start}", str(start)))
        command = [A.binary(), "simulator", "--listen", "127.0.0.1:0", "--scenario", str(scenario)]
        simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = simulator.stdout.readline().split()[-1]
            urllib.request.urlopen(f"{url}/_sim/clock", data=json.dumps({"step_s": 240}).encode()).read()
            client = boto3.client("xray", endpoint_url=url, **xray_poll.KEYS)
            expected = xray_poll.read_by_boto3(client, datetime.fromtimestamp(start, timezone.utc), least=20)
            sent = [segment(number) for number in range(1, 21)]
            for document in sent:
                spans = expected.setdefault(document["trace_id"].replace("-", "")[1:], {})
                xray_poll.spans_of(document, "", spans)
            count = sum(map(len, expected.values()))
            udp = A.free_port()
            with A.Agent(CONFIG, url=url, udp=udp, phoenix=port):
                send_by_udp(udp, sent)
                got = phoenix.read_back(port, "default", count)
        finally:
            simulator.terminate()
            simulator.wait()
    A.expect("spans", len(got), count)
    faults = 0
    for back in got:
        trace, id = phoenix.as_hex(phoenix.key(back, "traceId"), 32), phoenix.as_hex(phoenix.key(back, "spanId"), 16)
        parent, began, ended, fault = expected[trace].pop(id)
        told = phoenix.key(back, "parentSpanId")
        A.expect(f"parent of {id}", phoenix.as_hex(told, 16) if told else "", parent)
        # phoenix keeps microseconds.
        for what, seconds in (("startTimeUnixNano", began), ("endTimeUnixNano", ended)):
            assert abs(int(phoenix.key(back, what)) / 1e9 - seconds) < 5e-6, f"{what} of {id}: {phoenix.key(back, what)}, {seconds}"
        is_error = (back.get("status") or {}).get("code") in (2, "STATUS_CODE_ERROR")
        assert is_error or not fault, f"{id} has a fault and no error"
        events = [event["name"] for event in back.get("events") or []]
        assert not (fault and parent) or "exception" in events, f"{id}: the exception is missing"
        faults += fault
    assert not any(expected.values()), "a span is missing"
    assert faults >= 40, f"only {faults} faults were compared"
    print(f"phoenix: {count} spans of X-Ray read back with their parents, times and {faults} faults")


if __name__ == "__main__":
    main()
