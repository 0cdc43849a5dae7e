"""The AWS X-Ray SDK for Python sends real segments by UDP to `awsxray` and asks its proxy for sampling rules; the spans
that come out have the right names, parents, kinds, errors and times, and an `awsxray` exporter makes segments of them again.
"""

import http.server
import json
import os
import sys
import threading
import time

import agent as A

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "127.0.0.1:{grpc}"}, http: {endpoint: "127.0.0.1:{http}"}}}
  awsxray:
    endpoint: 127.0.0.1:{xray}
    proxy_server:
      endpoint: 127.0.0.1:{xray}
      region: eu-central-1
      aws_endpoint: http://127.0.0.1:{aws}
      credentials: {access_key_id: AKID, secret_access_key: secret}
exporters:
  file: {path: "{out}"}
  awsxray:
    endpoint: http://127.0.0.1:{aws}
    region: eu-central-1
    credentials: {access_key_id: AKID, secret_access_key: secret}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp, awsxray], exporters: [file, awsxray]}
"""

calls, lock = [], threading.Lock()


class Aws(http.server.BaseHTTPRequestHandler):
    """Plays X-Ray: one rule that samples everything, and takes segments."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        with lock:
            calls.append((self.path, self.headers.get("authorization", ""), body))
        answer = {
            "/GetSamplingRules": {"SamplingRuleRecords": [{"SamplingRule": dict(
                RuleName="Default", RuleARN="arn:aws:xray:eu-central-1:1:sampling-rule/Default", Priority=10000, FixedRate=1.0,
                ReservoirSize=100, Version=1, ServiceName="*", ServiceType="*", Host="*", HTTPMethod="*", URLPath="*",
                ResourceARN="*", Attributes={}), "CreatedAt": 0, "ModifiedAt": 0}]},
            "/SamplingTargets": {"SamplingTargetDocuments": [], "LastRuleModification": 1, "UnprocessedStatistics": []},
            "/TraceSegments": {"UnprocessedTraceSegments": []},
        }.get(self.path, {})
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def spans(agent):
    found = {}
    for line in agent.out.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    span["resource"] = attributes(resource["resource"])
                    found[span["name"]] = span
    return found


def attributes(holder):
    return {item["key"]: next(iter(item["value"].values())) for item in holder.get("attributes", [])}


def wait(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    sys.exit(f"FAILED: {what}")


def main():
    aws = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Aws)
    threading.Thread(target=aws.serve_forever, daemon=True).start()
    port = A.free_port()
    # The configuration has braces of its own: only our names are replaced.
    with A.Agent(CONFIG, xray=port, aws=aws.server_port) as agent:
        A.wait_for_port(port)
        os.environ.update(AWS_XRAY_DAEMON_ADDRESS=f"127.0.0.1:{port}", AWS_XRAY_CONTEXT_MISSING="RUNTIME_ERROR")
        from aws_xray_sdk.core import xray_recorder

        xray_recorder.configure(service="shop", sampling=True, daemon_address=f"127.0.0.1:{port}")
        began = time.time()
        with xray_recorder.in_segment("shop") as segment:
            # The first decision may be made before the rules are there.
            segment.sampled = True
            segment.put_http_meta("url", "https://shop.example.com/orders/7")
            segment.put_http_meta("method", "GET")
            segment.put_http_meta("status", 200)
            segment.put_annotation("tenant", "blue")
            segment.put_metadata("basket", {"items": [1, 2]})
            with xray_recorder.in_subsegment("pay.example.com", namespace="remote") as call:
                call.put_http_meta("status", 503)
                time.sleep(0.02)
            try:
                with xray_recorder.in_subsegment("## work"):
                    raise ValueError("no stock")
            except ValueError:
                pass
        ended = time.time()
        wait("rules are asked for", lambda: any(path == "/GetSamplingRules" for path, _, _ in list(calls)))
        wait("three spans come out", lambda: agent.out.exists() and {"shop", "pay.example.com", "## work"} <= set(spans(agent)))
        found = spans(agent)
        wait("segments go out", lambda: sum(len(body["TraceSegmentDocuments"]) for path, _, body in list(calls) if path == "/TraceSegments") >= 3)
        code = agent.stop()

    shop, pay, work = found["shop"], found["pay.example.com"], found["## work"]
    checks = {
        "the root has no parent": not shop.get("parentSpanId"),
        "parents": pay["parentSpanId"] == work["parentSpanId"] == shop["spanId"],
        "one trace": len({span["traceId"] for span in (shop, pay, work)}) == 1,
        "kinds": (shop["kind"], pay["kind"], work["kind"]) == (2, 3, 1),
        "the trace id is the SDK's": segment.trace_id.replace("-", "")[1:] == shop["traceId"],
        "service.name": shop["resource"]["service.name"] == "shop",
        "the SDK is named": shop["resource"]["telemetry.sdk.language"] == "python",
        "annotation": attributes(shop)["tenant"] == "blue",
        "metadata": json.loads(attributes(shop)["aws.xray.metadata.default"]) == {"basket": {"items": [1, 2]}},
        "http": attributes(shop)["http.request.method"] == "GET" and attributes(shop)["url.path"] == "/orders/7",
        "client errors": pay["status"].get("code") == 2,
        "exception": any(attributes(event).get("exception.type") == "ValueError" and attributes(event).get("exception.message") == "no stock"
                         for event in work.get("events", [])),
        "times": all(began - 1 <= int(span["startTimeUnixNano"]) / 1e9 <= int(span["endTimeUnixNano"]) / 1e9 <= ended + 1
                     for span in (shop, pay, work)),
        "the call took its time": int(pay["endTimeUnixNano"]) - int(pay["startTimeUnixNano"]) >= 19_000_000,
        "rules were asked for with a signature": all(
            authorization.startswith("AWS4-HMAC-SHA256 Credential=AKID/") for path, authorization, _ in calls),
        "a clean stop": code == 0,
    }
    sent = [json.loads(text) for path, _, body in calls if path == "/TraceSegments" for text in body["TraceSegmentDocuments"]]
    again = {document["name"]: document for document in sent}
    checks["segments again"] = set(again) == {"shop", "pay.example.com", "## work"}
    checks["the same trace id"] = again["shop"]["trace_id"] == segment.trace_id
    checks["the same times"] = abs(again["shop"]["start_time"] - segment.start_time) < 1e-6
    checks["the same metadata"] = again["shop"]["metadata"] == {"default": {"basket": {"items": [1, 2]}}}
    failed = [name for name, holds in checks.items() if not holds]
    if failed:
        sys.exit(f"FAILED: {failed}\n{json.dumps(found, indent=1)[:4000]}\n{json.dumps(sent, indent=1)[:3000]}")
    print(f"{len(checks)} checks ok")


if __name__ == "__main__":
    main()
