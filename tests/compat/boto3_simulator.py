#!/usr/bin/env python3
"""boto3 against the simulated AWS, and moto as a second opinion on the shape of DescribeTable.

usage: boto3_simulator.py [RADIOSONDE]
Starts `radiosonde simulator`, asks it what the receivers ask, and compares with /_sim/truth. boto3 speaks awsJson1.0 to
CloudWatch; the Rust tests cover the CBOR that the AWS SDK for Rust sends.
"""
import json
import subprocess
import sys
import urllib.request
from datetime import datetime, timezone

import agent
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "eu-central-1"
KEYS = dict(aws_access_key_id="AKIASIM0111122223333", aws_secret_access_key="simulated", region_name=REGION)
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"FAILED: {what}")


def sim(url, command, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{url}/_sim/{command}", data=data) as answer:
        return json.load(answer)


def refused(call, code, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        check(error.response["Error"]["Code"] == code, f"{error.response['Error']} is not {code}")
        return
    sys.exit(f"FAILED: {code} expected")


def query(id, metric, stat, period=60, **dimensions):
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    metric = {"Namespace": "AWS/DynamoDB", "MetricName": metric, "Dimensions": named}
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}


def cloudwatch(url):
    client = boto3.client("cloudwatch", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}), **KEYS)
    sim(url, "clock", {"step_s": 3600})
    start = sim(url, "scenario")["start"]
    window = dict(StartTime=datetime.fromtimestamp(start, timezone.utc),
                  EndTime=datetime.fromtimestamp(start + 1800, timezone.utc), ScanBy="TimestampAscending")
    truth = {}
    for point in sim(url, f"truth?from={start}&to={start + 1800}")["points"]:
        key = (point["metric"], tuple(tuple(dimension) for dimension in point["dimensions"]))
        truth.setdefault(key, {})[point["at"]] = point
    for metric, stat, field, dimensions in [
        ("ConsumedWriteCapacityUnits", "Sum", "sum", {"TableName": "orders"}),
        ("WriteThrottleEvents", "SampleCount", "count", {"TableName": "orders"}),
        ("ThrottledRequests", "Sum", "sum", {"Operation": "PutItem", "TableName": "orders"}),
        ("SuccessfulRequestLatency", "p99", "p99", {"Operation": "GetItem", "TableName": "orders"}),
        ("ProvisionedReadCapacityUnits", "Maximum", "max", {"TableName": "orders"}),
    ]:
        answer = client.get_metric_data(MetricDataQueries=[query("a", metric, stat, **dimensions)], **window)
        result = answer["MetricDataResults"][0]
        got = {int(at.timestamp()): value for at, value in zip(result["Timestamps"], result["Values"])}
        expected = {at: point[field] for at, point in truth[(metric, tuple(sorted(dimensions.items())))].items()}
        check(got == expected and got, f"{metric} {stat}: {got} is not {expected}")
        check(result["StatusCode"] == "Complete", "status")
    window["EndTime"] = window["StartTime"]
    refused(client.get_metric_data, "ValidationError", MetricDataQueries=[query("a", "UserErrors", "Sum")], **window)
    pages = client.get_paginator("list_metrics").paginate(Namespace="AWS/DynamoDB", RecentlyActive="PT3H")
    listed = [(metric["MetricName"], {d["Name"]: d["Value"] for d in metric["Dimensions"]})
              for page in pages for metric in page["Metrics"]]
    check(("WriteThrottleEvents", {"TableName": "orders"}) in listed, "a throttle is listed after it happened")
    check(len(listed) == len({json.dumps(entry, sort_keys=True) for entry in listed}), "nothing is listed twice")
    sim(url, "faults", [{"api": "ListMetrics", "kind": "throttle"}])
    refused(client.list_metrics, "ThrottlingException")
    sim(url, "faults", [])
    bill = {line["api"]: line for line in sim(url, "bill")["lines"]}
    check(bill["GetMetricData"]["units"] == 5, f"bill {bill}")


def shape(value):
    """Names and types; a list stands for its first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def dynamodb(url):
    client = boto3.client("dynamodb", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}), **KEYS)
    pages = client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 2})
    check([name for page in pages for name in page["TableNames"]] == ["orders", "reports", "sessions", "settings"],
          "tables")
    table = client.describe_table(TableName="orders")["Table"]
    check(table["ProvisionedThroughput"]["WriteCapacityUnits"] == 100, "capacity")
    check(client.describe_limits()["AccountMaxReadCapacityUnits"] > 0, "limits")
    refused(client.describe_table, "ResourceNotFoundException", TableName="gone")
    compare_with_moto(table)


def agree(path, ours, theirs):
    """Fields that both have must be of one type; moto leaves some out."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(set(ours) & set(theirs)):
            agree(f"{path}.{name}", ours[name], theirs[name])
    elif isinstance(ours, list) and isinstance(theirs, list):
        if ours and theirs:
            agree(f"{path}[]", ours[0], theirs[0])
    else:
        check(ours == theirs, f"{path}: ours {ours}, moto {theirs}")


def compare_with_moto(ours):
    try:
        from moto import mock_aws
    except ImportError:
        print("skipped: moto is not installed")
        return
    with mock_aws():
        other = boto3.client("dynamodb", **KEYS)
        named = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "gk", "lk")]
        key = lambda name, kind: {"AttributeName": name, "KeyType": kind}
        other.create_table(
            TableName="orders", AttributeDefinitions=named, KeySchema=[key("pk", "HASH"), key("sk", "RANGE")],
            ProvisionedThroughput={"ReadCapacityUnits": 200, "WriteCapacityUnits": 100},
            GlobalSecondaryIndexes=[{"IndexName": "by-customer", "KeySchema": [key("gk", "HASH")],
                                     "Projection": {"ProjectionType": "ALL"},
                                     "ProvisionedThroughput": {"ReadCapacityUnits": 100, "WriteCapacityUnits": 120}}],
            LocalSecondaryIndexes=[{"IndexName": "by-date", "KeySchema": [key("pk", "HASH"), key("lk", "RANGE")],
                                    "Projection": {"ProjectionType": "ALL"}}])
        theirs = other.describe_table(TableName="orders")["Table"]
    # Known gaps of moto (sizes of indexes) and fields that only real or only simulated tables have are left out.
    ours, theirs = shape(ours), shape(theirs)
    agree("DescribeTable", ours, theirs)
    for name in ("TableArn", "TableStatus", "CreationDateTime", "ItemCount", "TableSizeBytes"):
        check(name in ours and name in theirs, f"{name} is missing")


def sts(url):
    client = boto3.client("sts", endpoint_url=url, **KEYS)
    check(client.get_caller_identity()["Account"] == "111122223333", "account")
    refused(client.assume_role, "AccessDenied", RoleArn="arn:aws:iam::444455556666:role/none", RoleSessionName="compat")


def main():
    process = subprocess.Popen([sys.argv[1] if len(sys.argv) > 1 else agent.binary(), "simulator", "--listen", "127.0.0.1:0", "--scenario", "demo", "--rate", "0"],
                               stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        url = line.split()[-1]
        check(url.startswith("http://127.0.0.1:"), f"first line: {line!r}")
        cloudwatch(url)
        dynamodb(url)
        sts(url)
    finally:
        process.terminate()
        process.wait(timeout=10)
    print(f"ok: {checks} checks, boto3 {boto3.__version__}")


if __name__ == "__main__":
    main()
