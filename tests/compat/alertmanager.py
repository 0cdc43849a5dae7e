#!/usr/bin/env python3
"""Debian's prometheus-alertmanager behind the agent: metrics by OTLP, a rule of ours, alerts that it groups and resolves.

usage: alertmanager.py
Sends two tables' metrics, one of them above the limit of a rule, then both; the Alertmanager must tell its own webhook one
message for the group, the agent must tell a webhook of its own the same, and both must say that it is over when it is.
"""
import http.server
import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.request

import agent

RULES = """
groups:
- name: g
  interval: 1s
  rules:
  - alert: Depth
    expr: depth > 5
    labels: {severity: critical}
    annotations: {summary: "{{ $labels.table }} is {{ $value }} deep"}
---
x-radiosonde:
  defaults: {contact: team@corp.test, escalation: [{after: 15m, to: own}]}
  alerts:
    Depth: {resolution_steps: ["Look", "Verify recovery", "Document findings"]}
"""
CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
processors:
  alerts:
    rule_files: ["{rules}"]
    interval: 1s
    idle_timeout: 1s
    route: {receiver: own, group_by: [alertname], group_wait: 1s, group_interval: 1s, routes: [{receiver: am, continue: true}, {receiver: own}]}
    receivers:
    - name: own
      webhook_configs: [{url: "http://127.0.0.1:{hook}/own"}]
    - name: am
      alertmanager_configs: [{urls: ["http://127.0.0.1:{am}"]}]
exporters:
  file: {path: "{out}"}
service:
  admin: {endpoint: "127.0.0.1:{admin}", token: letmein}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    metrics: {receivers: [otlp], processors: [alerts], exporters: [file]}
"""
got = []


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        got.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def send(port, depths):
    now = str(time.time_ns())
    points = [{"attributes": [{"key": "table", "value": {"stringValue": table}}], "timeUnixNano": now, "asDouble": depth}
              for table, depth in depths.items()]
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "depth", "gauge": {"dataPoints": points}}]}]}]}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/metrics", json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=5).read()


def get(url):
    return json.loads(urllib.request.urlopen(url, timeout=5).read())


def until(what, holds, keep_sending, seconds=150):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        keep_sending()
        if found := holds():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds} s; got {got}")


def told(path, status, tables):
    """A message of one webhook about exactly these tables."""
    for where, body in got:
        # The agent's own watchdog comes too, in a group of its own.
        of_status = sorted(alert["labels"].get("table", "") for alert in body["alerts"] if alert["status"] == status)
        if where == path and of_status == tables:
            return body
    return None


def main():
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    place = tempfile.TemporaryDirectory(prefix="radiosonde-alertmanager-")
    folder = pathlib.Path(place.name)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "alertmanager.yml").write_text(
        "route: {receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook.server_port}/am'}}]}}]\n")
    port, admin = agent.free_port(), agent.free_port()
    alertmanager = subprocess.Popen(
        ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}",
         f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        agent.wait_for_port(port)
        with agent.Agent(CONFIG, rules=folder / "rules.yaml", hook=hook.server_port, am=port, admin=admin) as running:
            def both():
                send(running.http, {"orders": 9, "users": 8, "quiet": 1})
            for path in ("/own", "/am"):
                body = until(f"both fire at {path}", lambda: told(path, "firing", ["orders", "users"]), both)
                agent.expect("group", body["groupLabels"], {"alertname": "Depth"})
            own = told("/own", "firing", ["orders", "users"])
            summaries = sorted(alert["annotations"]["summary"] for alert in own["alerts"])
            agent.expect("summaries", summaries, ["orders is 9 deep", "users is 8 deep"])
            agent.expect("steps", own["alerts"][0]["radiosonde"]["resolution_steps"], ["Look", "Verify recovery", "Document findings"])
            known = get(f"http://127.0.0.1:{port}/api/v2/alerts")
            agent.expect("alerts of the Alertmanager", sorted(alert["labels"]["table"] for alert in known if alert["labels"]["alertname"] == "Depth"), ["orders", "users"])
            shown = [alert for alert in get(f"http://127.0.0.1:{admin}/alerts")["alerts"] if alert["labels"]["alertname"] == "Depth"]
            agent.expect("alerts of the admin API", sorted(alert["labels"]["table"] for alert in shown if alert["state"] == "firing"), ["orders", "users"])
            ack = urllib.request.Request(f"http://127.0.0.1:{admin}/alerts/{shown[0]['fingerprint']}/ack",
                                         b'{"by": "ann"}', {"authorization": "Bearer letmein"})
            urllib.request.urlopen(ack, timeout=5).read()
            agent.expect("acknowledged", get(f"http://127.0.0.1:{admin}/alerts/{shown[0]['fingerprint']}")["acknowledged"]["by"], "ann")

            def one():
                send(running.http, {"orders": 2, "users": 8, "quiet": 1})
            for path in ("/own", "/am"):
                until(f"one is over at {path}", lambda: told(path, "resolved", ["orders"]), one)
            page = running.scrape()
            sent = sum(value for series, value in page.items() if series.startswith("radiosonde_notifications_sent_total"))
            assert sent >= 4, page
    finally:
        alertmanager.kill()
        alertmanager.wait()
        hook.shutdown()
    print(f"alertmanager: {len(got)} messages, two alerts grouped and one resolved by both")


if __name__ == "__main__":
    main()
