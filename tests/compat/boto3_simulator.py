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


def items(url):
    """The same calls to the simulated table and to moto's: the answers must be the same."""
    def client(endpoint=None):
        return boto3.client("dynamodb", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}), **KEYS)

    def play(client):
        key = lambda name, kind: {"AttributeName": name, "KeyType": kind}
        everything = {"ProjectionType": "ALL"}
        client.create_table(
            TableName="kept", BillingMode="PAY_PER_REQUEST", KeySchema=[key("PK", "HASH"), key("SK", "RANGE")],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK", "l", "g")],
            LocalSecondaryIndexes=[{"IndexName": "lsi", "KeySchema": [key("PK", "HASH"), key("l", "RANGE")], "Projection": everything}],
            GlobalSecondaryIndexes=[{"IndexName": "gsi", "KeySchema": [key("g", "HASH"), key("SK", "RANGE")], "Projection": everything}])
        at = lambda n: {"PK": {"S": "p"}, "SK": {"S": f"s{n}"}}
        for n in range(5):
            client.put_item(TableName="kept", Item={**at(n), "l": {"S": f"l{9 - n}"}, "g": {"S": "odd" if n % 2 else "even"}, "n": {"N": str(n)}},
                            ConditionExpression="attribute_not_exists(PK)")
        answers = []

        def failing(code, call, **arguments):
            try:
                call(TableName="kept", **arguments)
                answers.append(f"no {code}")
            except ClientError as error:
                answers.append(error.response["Error"]["Code"])

        failing("ConditionalCheckFailedException", client.put_item, Item=at(1), ConditionExpression="attribute_not_exists(PK)")
        failing("ConditionalCheckFailedException", client.update_item, Key=at(1), UpdateExpression="SET #n = :n",
                ConditionExpression="#n = :old", ExpressionAttributeNames={"#n": "n"},
                ExpressionAttributeValues={":n": {"N": "7"}, ":old": {"N": "6"}})
        failing("ValidationException", client.put_item, Item={**at(8), "big": {"S": "x" * 410_000}})
        client.update_item(TableName="kept", Key=at(1), UpdateExpression="SET #n = :n, seen = :s", ConditionExpression="attribute_exists(PK)",
                           ExpressionAttributeNames={"#n": "n"}, ExpressionAttributeValues={":n": {"N": "7"}, ":s": {"SS": ["a", "b"]}})
        answers.append(client.get_item(TableName="kept", Key=at(1))["Item"])
        answers.append(client.get_item(TableName="kept", Key=at(7)).get("Item"))
        batch = client.batch_get_item(RequestItems={"kept": {"Keys": [at(0), at(4), at(9)]}})
        answers.append(sorted(item["SK"]["S"] for item in batch["Responses"]["kept"]))
        base = dict(TableName="kept", ExpressionAttributeValues={":p": {"S": "p"}, ":a": {"S": "l6"}, ":b": {"S": "l8"}},
                    KeyConditionExpression="PK = :p AND l BETWEEN :a AND :b", IndexName="lsi")
        answers.append([item["SK"]["S"] for item in client.query(**base)["Items"]])
        answers.append([item["SK"]["S"] for item in client.query(**base, ScanIndexForward=False)["Items"]])
        pages, last = [], {}
        while True:
            page = client.query(**base, Limit=1, **last)
            pages.append([item["SK"]["S"] for item in page["Items"]])
            if "LastEvaluatedKey" not in page:
                break
            last = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        answers.append([page for page in pages if page])
        answers.append([item["SK"]["S"] for item in client.query(
            TableName="kept", IndexName="gsi", KeyConditionExpression="g = :g AND begins_with(SK, :s)",
            ExpressionAttributeValues={":g": {"S": "odd"}, ":s": {"S": "s"}})["Items"]])
        client.batch_write_item(RequestItems={"kept": [{"DeleteRequest": {"Key": at(0)}}, {"PutRequest": {"Item": at(6)}}]})
        client.delete_item(TableName="kept", Key=at(2))
        answers.append(sorted(item["SK"]["S"] for item in client.scan(TableName="kept")["Items"]))
        read = client.query(TableName="kept", KeyConditionExpression="PK = :p", ExpressionAttributeValues={":p": {"S": "p"}},
                            ReturnConsumedCapacity="TOTAL")
        answers.append(sorted(read["ConsumedCapacity"])[:2])
        return answers

    ours = play(client(url))
    check(ours[0] == "ConditionalCheckFailedException", f"{ours[0]}")
    try:
        from moto import mock_aws
    except ImportError:
        print("skipped: moto is not installed")
        return
    with mock_aws():
        theirs = play(client())
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        check(our == their, f"answer {number}: ours {our}, moto {their}")


def s3(url):
    def play(client):
        client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        names = ["a/1", "a/2", "a/b/3", "a/b/4", "c/5", "d e/6+7"]
        tags = [client.put_object(Bucket="bucket", Key=name, Body=name.encode())["ETag"] for name in names]
        answers = [tags, [client.get_object(Bucket="bucket", Key=name)["Body"].read() for name in names]]
        head = client.head_object(Bucket="bucket", Key="a/1")
        answers.append((head["ContentLength"], head["ETag"]))
        for more in ({}, {"Prefix": "a/"}, {"Prefix": "a/", "Delimiter": "/"}, {"Delimiter": "/"}, {"Prefix": "none"}):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", **more, PaginationConfig={"PageSize": 2})
            found = [[entry["Key"] for entry in page.get("Contents", [])] + [entry["Prefix"] for entry in page.get("CommonPrefixes", [])] for page in pages]
            answers.append(sorted(name for page in found for name in page))
        for call, arguments in ((client.get_object, {"Key": "gone"}), (client.get_bucket_lifecycle_configuration, {}),
                                (client.get_object, {"Key": "x", "Bucket": "no-such-bucket"})):
            try:
                call(**{"Bucket": "bucket", **arguments})
            except ClientError as error:
                answers.append((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
        rules = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 9}}]}
        client.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration=rules)
        answers.append(client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"])
        client.delete_object(Bucket="bucket", Key="a/1")
        answers.append([entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]])
        return answers

    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required", response_checksum_validation="when_required")
    ours = play(boto3.client("s3", endpoint_url=url, config=config, **KEYS))
    check(len(ours[0]) == 6, "objects")
    try:
        from moto import mock_aws
    except ImportError:
        print("skipped: moto is not installed")
        return
    with mock_aws():
        theirs = play(boto3.client("s3", config=config, **KEYS))
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        check(our == their, f"answer {number}: ours {our}, moto {their}")


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
        items(url)
        s3(url)
        sts(url)
    finally:
        process.terminate()
        process.wait(timeout=10)
    print(f"ok: {checks} checks, boto3 {boto3.__version__}")


if __name__ == "__main__":
    main()
