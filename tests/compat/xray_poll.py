#!/usr/bin/env python3
"""boto3 against the simulated X-Ray, and the `xray` receiver's spans against what boto3 reads.

usage: xray_poll.py
Starts `radiosonde simulator` with an application whose last minutes are traced, asks it what the X-Ray console asks
(botocore's model reads every answer, the simulator checks boto3's signatures), then runs the agent on it and compares:
every span once, with its parent, its times to the microsecond, and an error where the segment has a fault.
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import agent
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

KEYS = dict(aws_access_key_id="AKIASIM0111122223333", aws_secret_access_key="simulated", region_name="eu-central-1")
SCENARIO = """
name: traced
seed: 3
start: {start}
history: 30
tables: []
xray:
  traces_per_minute: 30
  until: 0
  faults: 0.1
  in_progress: 0.2
  independent: 0.3
  indexing_delay_s: 0
"""
AGENT = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
  xray:
    regions: [eu-central-1]
    endpoint: {url}
    credentials: {access_key_id: AKIASIM0111122223333, secret_access_key: simulated}
    start_from: 45m
    poll_interval: 10s
    rate: {initial: 50, max: 50}
exporters:
  file: {path: "{out}"}
service:
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp, xray], exporters: [file]}
"""
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"FAILED: {what}")


def refused(call, code, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        check(error.response["Error"]["Code"] == code, f"{error.response['Error']} is not {code}")
        return
    sys.exit(f"FAILED: {code} expected")


def sim(url, command):
    with urllib.request.urlopen(f"{url}/_sim/{command}") as answer:
        return json.load(answer)


def spans_of(document, parent, into):
    fault = bool(document.get("fault"))
    into[document["id"]] = (parent, document["start_time"], document.get("end_time"), fault)
    for part in document.get("subsegments", []):
        spans_of(part, document["id"], into)


def read_by_boto3(client, start, least=500):
    """{trace: {span: (parent, start, end, fault)}} by the calls that a reader makes."""
    traces, token = [], {}
    window = dict(StartTime=start - timedelta(minutes=31), EndTime=start + timedelta(minutes=10), TimeRangeType="TraceId")
    scanned = 0
    while True:
        page = client.get_trace_summaries(**window, **token)
        traces += page["TraceSummaries"]
        scanned += page["TracesProcessedCount"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    check(scanned == len(traces) > least, f"{scanned} scanned, {len(traces)} listed")
    for field in ("StartTime", "Duration", "ResponseTime", "Revision", "IsPartial", "MatchedEventTime", "Http",
                  "Annotations", "ServiceIds", "EntryPoint"):
        check(field in traces[0], f"summaries have {field}")
    ids, all_spans = [trace["Id"] for trace in traces], {}
    for at in range(0, len(ids), 5):
        answer = client.batch_get_traces(TraceIds=ids[at:at + 5])
        check(not answer["UnprocessedTraceIds"], "all are processed")
        for trace in answer["Traces"]:
            spans = all_spans.setdefault(trace["Id"].replace("-", "")[1:], {})
            for segment in trace["Segments"]:
                document = json.loads(segment["Document"])
                if not document.get("inferred"):
                    spans_of(document, document.get("parent_id", ""), spans)
    return all_spans


def ask(url, start):
    config = Config(retries={"total_max_attempts": 1})
    client = boto3.client("xray", endpoint_url=url, config=config, **KEYS)
    window = dict(StartTime=start - timedelta(minutes=20), EndTime=start)
    some = client.get_trace_summaries(**window, FilterExpression='service("recommender") AND fault')["TraceSummaries"]
    check(some and all(trace["HasFault"] for trace in some), "a filter finds faults")
    refused(client.get_trace_summaries, "InvalidRequestException", StartTime=start, EndTime=start - timedelta(1))
    refused(client.get_trace_summaries, "InvalidRequestException", StartTime=start - timedelta(1), EndTime=start)
    refused(client.batch_get_traces, "InvalidRequestException", TraceIds=["1-00000000-000000000000000000000000"] * 6)
    graph = client.get_service_graph(**window)["Services"]
    check({"recommender", "pricing"} <= {service["Name"] for service in graph}, "service graph")
    check(client.get_sampling_rules()["SamplingRuleRecords"][-1]["SamplingRule"]["RuleName"] == "Default", "rules")
    check(client.get_trace_segment_destination()["Destination"] == "XRay", "destination")
    check(client.get_indexing_rules()["IndexingRules"], "indexing rules")
    check(client.get_groups()["Groups"], "groups")
    document = {"trace_id": "1-5759e988-bd862e3fe1be46a994272793", "id": "53995c3f42cd8ad8", "name": "boto3",
                "start_time": start.timestamp() - 86400 * 2, "end_time": start.timestamp() - 86400 * 2 + 1}
    answer = client.put_trace_segments(TraceSegmentDocuments=[json.dumps(document), "{}"])
    check([entry["ErrorCode"] for entry in answer["UnprocessedTraceSegments"]] == ["MissingId"], f"{answer}")
    token = client.start_trace_retrieval(TraceIds=[some[0]["Id"]], **window)["RetrievalToken"]
    deadline = time.monotonic() + 20
    while (page := client.list_retrieved_traces(RetrievalToken=token))["RetrievalStatus"] != "COMPLETE":
        check(time.monotonic() < deadline, f"retrieval stays {page['RetrievalStatus']}")
        time.sleep(0.5)
    check(page["Traces"][0]["Id"] == some[0]["Id"], "retrieved")
    stranger = boto3.client("xray", endpoint_url=url, config=config, **dict(KEYS, aws_secret_access_key="guess"))
    refused(stranger.get_groups, "InvalidSignatureException")
    return read_by_boto3(client, start)


def read_by_agent(url, expected):
    with agent.Agent(AGENT, url=url) as running:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            time.sleep(1)
            spans = collect(running.out)
            if sum(map(len, spans.values())) >= sum(map(len, expected.values())):
                break
        time.sleep(3)
        return collect(running.out)


def read_through_a_crash(url, expected):
    """Killed (-9) in the middle of a window, then started again with the same state: nothing is missing, and what comes
    twice is what was in flight."""
    # Slow, so that there is a middle.
    config = AGENT.replace('path: "{out}"', 'path: "{out}", append: true').replace("initial: 50, max: 50", "initial: 8, max: 8")
    wanted = sum(map(len, expected.values()))
    with agent.Agent(config, url=url) as running:
        deadline = time.monotonic() + 180
        while sum(map(len, (before := collect(running.out)).values())) < 300:
            check(time.monotonic() < deadline, "the first spans come")
            time.sleep(0.02)
        running.process.kill()
        running.process.wait()
        before = sum(map(len, collect(running.out).values()))
        check(before < wanted, "it was killed in the middle")
        running.__enter__()
        while sum(map(len, collect(running.out).values())) < wanted and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(3)
        got = collect(running.out)
    missing = sum(span not in got.get(trace, {}) for trace, spans in expected.items() for span in spans)
    twice = sum(len(seen) > 1 for spans in got.values() for seen in spans.values())
    check(not missing, f"{missing} spans are missing after the crash")
    check(twice <= 2500, f"{twice} spans came twice, more than one batch")
    print(f"killed after {before} of {wanted} spans: none missing, {twice} came twice")


def collect(path):
    """{trace: {span: [span, ...]}} of what the file exporter wrote."""
    traces = {}
    text = path.read_text() if path.exists() else ""
    for line in text.splitlines():
        try:
            request = json.loads(line)
        except ValueError:
            continue  # the line is being written
        for resource in request.get("resourceSpans", []):
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    traces.setdefault(span["traceId"], {}).setdefault(span["spanId"], []).append(span)
    return traces


def compare(expected, got):
    missing = [span for trace, spans in expected.items() for span in spans if span not in got.get(trace, {})]
    check(not missing, f"{len(missing)} spans are missing")
    faults = 0
    for trace, spans in expected.items():
        for id, (parent, start, end, fault) in spans.items():
            check(len(got[trace][id]) == 1, f"{id} came {len(got[trace][id])} times")
            span = got[trace][id][0]
            check(span.get("parentSpanId", "") == parent, f"parent of {id}")
            check(abs(int(span["startTimeUnixNano"]) / 1e9 - start) < 1e-6, f"start of {id}")
            check(abs(int(span["endTimeUnixNano"]) / 1e9 - end) < 1e-6, f"end of {id}")
            code = span.get("status", {}).get("code", 0)
            check(not fault or code in (2, "STATUS_CODE_ERROR"), f"{id} has a fault and status {code}")
            faults += fault
    check(faults > 20, f"only {faults} faults were compared")


def main():
    now = int(time.time()) - 120
    start = now - now % 300
    with tempfile.TemporaryDirectory() as folder:
        scenario = pathlib.Path(folder) / "scenario.yaml"
        scenario.write_text(SCENARIO.replace("{start}", str(start)))
        command = [agent.binary(), "simulator", "--listen", "127.0.0.1:0", "--scenario", str(scenario)]
        simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = simulator.stdout.readline().split()[-1]
            # The rest of the open traces has arrived a few minutes after the start.
            urllib.request.urlopen(f"{url}/_sim/clock", data=json.dumps({"step_s": 240}).encode()).read()
            expected = ask(url, datetime.fromtimestamp(start, timezone.utc))
            got = read_by_agent(url, expected)
            compare(expected, got)
            read_through_a_crash(url, expected)
        finally:
            simulator.terminate()
            simulator.wait()
    spans = sum(map(len, expected.values()))
    print(f"{checks} checks, {len(expected)} traces, {spans} spans: ok")


if __name__ == "__main__":
    main()
