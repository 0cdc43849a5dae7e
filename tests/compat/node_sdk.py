"""The OpenTelemetry SDK for Node (gRPC, http/protobuf, http/json, gzip): exactly what it sent must come out."""

import json
import os
import pathlib
import subprocess

import agent as A

HERE = pathlib.Path(__file__).parent


def check(sent, lines):
    spans = [span for _, _, span in A.spans(lines)]
    A.expect("spans", len(spans), sent["spans"])
    A.expect("distinct span ids", len({span["spanId"] for span in spans}), sent["spans"])
    A.expect("links", sum(len(span.get("links", [])) for span in spans), sent["links"])
    A.expect("events", sum(len(span.get("events", [])) for span in spans), sent["events"])
    A.expect("errors", sum(span.get("status", {}).get("code") == 2 for span in spans), sent["errors"])
    children = [span for span in spans if span["name"] != "root"]
    A.expect("parents", {span["parentSpanId"] for span in children}, {sent["rootId"]})
    indexes = sorted(A.attributes(span["attributes"])["index"] for span in children)
    A.expect("attribute index", indexes, list(range(1, sent["spans"])))
    A.expect("big integers", {A.attributes(span["attributes"])["big"] for span in children}, {9007199254740991})
    points = list(A.points(lines))
    A.expect("points", len(points), sent["points"])
    total = sum(float(p.get("asInt", p.get("asDouble", 0))) for name, _, p in points if name == "requests")
    A.expect("counter", total, sent["counter"])
    records = [record for _, _, record in A.records(lines)]
    A.expect("records", len(records), sent["records"])
    bodies = {A.attributes(r["attributes"])["index"]: A.value(r["body"]) for r in records}
    A.expect("text body", bodies[1], "line 1")
    A.expect("body with a null in it", bodies[3], {"n": 3, "nothing": None})


def main():
    for protocol in ("grpc", "http/protobuf", "http/json"):
        for compression in ("none", "gzip"):
            with A.Agent(A.FILE_CONFIG) as agent:
                port = agent.grpc if protocol == "grpc" else agent.http
                done = subprocess.run(
                    ["node", str(HERE / "node_sdk.mjs"), protocol, compression, str(port)],
                    stdout=subprocess.PIPE, check=True, timeout=120, env=os.environ,
                )
                A.expect("exit code", agent.stop(), 0)
                check(json.loads(done.stdout), agent.lines())
            print(f"node sdk, {protocol}, {compression}: exact")


if __name__ == "__main__":
    main()
