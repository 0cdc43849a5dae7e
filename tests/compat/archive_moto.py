#!/usr/bin/env python3
"""What `awss3` and `mlflow_dynamodb` write into moto's S3 and DynamoDB, read with boto3, and played back by `restore`.

The two tables of keys (create_table here, the exporter's items) are the layout of mlflow-dynamodbstore.
"""
import base64
import gzip
import json
import logging
import os
import subprocess
import tempfile
import urllib.request
from datetime import datetime, timezone

import agent
import boto3
from agent import expect
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
KEYS = dict(aws_access_key_id="AKIASIM", aws_secret_access_key="simulated", region_name=REGION)

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
exporters:
  awss3:
    s3uploader: {region: eu-central-1, s3_bucket: archive, s3_prefix: traces, s3_partition_format: "dt=%Y-%m-%d", endpoint: "{moto}", s3_force_path_style: true}
    marshaler: otlp_proto
    compression: zstd
    credentials: {access_key_id: AKIASIM, secret_access_key: simulated}
    sending_queue: {wait_for_result: true}
  awss3/json:
    url: s3://archive/json
    s3uploader: {region: eu-central-1, endpoint: "{moto}", s3_force_path_style: true, compression: gzip}
    credentials: {access_key_id: AKIASIM, secret_access_key: simulated}
    sending_queue: {wait_for_result: true}
  mlflow_dynamodb:
    table: mlflow
    region: eu-central-1
    endpoint: "{moto}"
    retention_days: 90
    credentials: {access_key_id: AKIASIM, secret_access_key: simulated}
    sending_queue: {wait_for_result: true}
    oversize: {url: s3://archive/oversize, endpoint: "{moto}", s3_force_path_style: true}
  file: {path: "{out}"}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp], exporters: [awss3, awss3/json, mlflow_dynamodb]}
    traces/restore: {receivers: [otlp], exporters: [file]}
"""


def make_table(dynamodb):
    names = ["PK", "SK"] + [f"lsi{n}sk" for n in range(1, 6)] + [f"gsi{n}{k}" for n in range(1, 6) for k in ("pk", "sk")]
    projection = {"ProjectionType": "ALL"}

    def keys(first, second):
        return [{"AttributeName": first, "KeyType": "HASH"}, {"AttributeName": second, "KeyType": "RANGE"}]

    dynamodb.create_table(
        TableName="mlflow", BillingMode="PAY_PER_REQUEST", KeySchema=keys("PK", "SK"),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "N" if name == "lsi2sk" else "S"} for name in names],
        LocalSecondaryIndexes=[{"IndexName": f"lsi{n}", "KeySchema": keys("PK", f"lsi{n}sk"), "Projection": projection} for n in range(1, 6)],
        GlobalSecondaryIndexes=[{"IndexName": f"gsi{n}", "KeySchema": keys(f"gsi{n}pk", f"gsi{n}sk"), "Projection": projection} for n in range(1, 6)])


def request(now, filler=0):
    def span(trace, number, parent=None, **more):
        return {"traceId": trace, "spanId": f"{number:016x}", "name": f"span {number}", "kind": 2,
                "startTimeUnixNano": str(now + number), "endTimeUnixNano": str(now + 1_000_000 + number),
                **({"parentSpanId": f"{parent:016x}"} if parent else {}),
                "attributes": [{"key": "n", "value": {"intValue": str(number)}},
                               {"key": "filler", "value": {"stringValue": "x" * filler}}], **more}
    traces = [f"{n:032x}" for n in (0x11, 0x12)]
    spans = [span(traces[0], 1), span(traces[0], 2, 1, links=[{"traceId": traces[1], "spanId": f"{3:016x}"}]),
             span(traces[1], 3, events=[{"timeUnixNano": str(now), "name": "e"}], status={"code": 2, "message": "no"})]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}]}]}


def send(port, body):
    call = urllib.request.Request(f"http://127.0.0.1:{port}/v1/traces", json.dumps(body).encode(),
                                  {"content-type": "application/json"})
    urllib.request.urlopen(call, timeout=60).read()


def by_id(lines):
    """Spans by their ids, as Python values, with the attributes of their resource."""
    found = {}
    for resource, scope, span in agent.spans(lines):
        flat = {key: value for key, value in span.items() if value not in ([], {}, 0, "")}
        flat["resource"] = {key: value for key, value in agent.attributes(resource.get("attributes")).items()
                            if not key.startswith("aws.xray.retention.")}
        flat["attributes"] = agent.attributes(span.get("attributes"))
        flat["scope"] = scope.get("name")
        found[span["traceId"], span["spanId"]] = flat
    return found


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0)
    server.start()
    moto = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    s3, dynamodb = (boto3.client(name, endpoint_url=moto, **KEYS) for name in ("s3", "dynamodb"))
    s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_lifecycle_configuration(Bucket="archive", LifecycleConfiguration={"Rules": [
        {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "traces/"}, "Expiration": {"Days": 90}}]})
    make_table(dynamodb)
    now = int(datetime.now(timezone.utc).timestamp()) * 1_000_000_000
    sent = request(now)
    with agent.Agent(CONFIG, moto=moto) as running:
        send(running.http, sent)
        # Once more: nothing may count twice.
        send(running.http, sent)
        send(running.http, request(now, filler=500_000))

    objects = [entry["Key"] for entry in s3.list_objects_v2(Bucket="archive")["Contents"]]
    data = [key for key in objects if key.startswith("traces/dt=") and key.endswith(".binpb.zst")]
    expect("objects of both requests", len(data), 2)
    expect("a manifest each", len([key for key in objects if key.startswith("traces/_manifest/day=")]), 2)
    for key in data:
        head = s3.head_object(Bucket="archive", Key=key)
        assert head["ContentLength"] > 0 and head["ETag"], head
    text = [key for key in objects if key.startswith("json/") and key.endswith(".json.gz")]
    expect("JSON objects", len(text), 2)
    bodies = [json.loads(gzip.decompress(s3.get_object(Bucket="archive", Key=key)["Body"].read())) for key in text]
    small = [body for body in bodies if len(json.dumps(body)) < 100_000]
    expect("what stands in the JSON object", by_id(small), by_id([sent]))

    items = {(item["PK"]["S"], item["SK"]["S"]): item for item in dynamodb.scan(TableName="mlflow")["Items"]}
    for number, ids in (("11", [1, 2]), ("12", [3])):
        trace = f"tr-{number.rjust(32, '0')}"
        item = items["EXP#0", f"T#{trace}#SPANS"]
        spans = json.loads(item["data"]["S"])
        expect("span ids", sorted(base64.b64decode(span["span_id"]).hex() for span in spans), [f"{n:016x}" for n in ids])
        assert int(item["ttl"]["N"]) > now // 1_000_000_000 + 89 * 86_400, item["ttl"]
        meta = items["EXP#0", f"T#{trace}"]
        expect("where the trace is found", (meta["gsi1pk"]["S"], meta["gsi1sk"]["S"]), (f"TRACE#{trace}", "EXP#0"))
        found = dynamodb.query(TableName="mlflow", IndexName="lsi1", KeyConditionExpression="PK = :p AND lsi1sk BETWEEN :a AND :b",
                               ExpressionAttributeValues={":p": {"S": "EXP#0"}, ":a": {"S": f"{now // 1_000_000 - 1:020}"},
                                                          ":b": {"S": f"{now // 1_000_000 + 1:020}"}})
        assert trace in [one["trace_id"]["S"] for one in found["Items"]], found
    # The long form of the same spans is larger than an item: it went aside.
    expect("put aside", len([key for key in objects if key.startswith("oversize/dt=")]), 2)

    environment = dict(os.environ, AWS_ACCESS_KEY_ID="AKIASIM", AWS_SECRET_ACCESS_KEY="simulated", AWS_REGION=REGION)
    archives = {
        "s3": f'{{s3: {{bucket: archive, prefix: traces, endpoint: "{moto}", s3_force_path_style: true, region: {REGION}}}}}',
        "dynamodb": f'{{dynamodb: {{table: mlflow, endpoint: "{moto}", region: {REGION}}}}}',
    }
    for name, archive in archives.items():
        with tempfile.TemporaryDirectory() as folder:
            source = f"{folder}/source.yaml"
            with open(source, "w") as file:
                file.write(f"processors: {{span_retention: {{archives: [{archive}]}}}}\n")
            with agent.Agent(agent.FILE_CONFIG) as running:
                command = [agent.binary(), "retention", "restore", "--config", source, "--exporter", f"otlp=127.0.0.1:{running.grpc}"]
                for trace in ("11", "tr-" + "12".rjust(32, "0")):
                    done = subprocess.run([*command, trace.rjust(32, "0")], env=environment, capture_output=True, text=True, timeout=120)
                    assert done.returncode == 0, done
                gone = subprocess.run([*command, "f" * 32], env=environment, capture_output=True, text=True, timeout=120)
                expect("exit code where nothing is found", gone.returncode, 1)
                assert "none of the archives" in gone.stderr, gone
            restored = running.lines()
            marks = [agent.attributes(resource.get("attributes")).get("aws.xray.retention.restored") for resource, _, _ in agent.spans(restored)]
            expect(f"marks of {name}", set(marks), {True})
            got, wanted = by_id(restored), by_id([sent])
            for span in got.values():
                span["attributes"]["filler"] = ""
            expect(f"restored from {name}", got, wanted)
    server.stop()
    print(f"{len(objects)} objects, {len(items)} items, restored from both")


if __name__ == "__main__":
    main()
