"""boto3, instrumented by opentelemetry-instrumentation-botocore, against a DynamoDB of moto: the connector awsclientmetrics
must count every call by table, operation and error, and what it consumed."""

import logging
import os
import sys

import agent as A
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
connectors:
  awsclientmetrics: {flush_interval: 1s}
exporters:
  file: {path: "{out}"}
service:
  admin: {endpoint: "127.0.0.1:0"}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: {metrics}}}}}]}}
  pipelines:
    traces: {receivers: [otlp], exporters: [awsclientmetrics]}
    metrics: {receivers: [awsclientmetrics], exporters: [file]}
"""
REGION = "eu-central-1"
PUTS, GETS = 20, 30


def calls(url):
    options = dict(endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
                   config=Config(retries={"total_max_attempts": 1}))
    dynamodb = boto3.client("dynamodb", **options)
    for table in ("orders", "items"):
        dynamodb.create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
    for number in range(PUTS):
        dynamodb.put_item(TableName="orders", Item={"pk": {"S": f"customer-{number}"}}, ReturnConsumedCapacity="TOTAL")
    for number in range(GETS):
        dynamodb.get_item(TableName="orders", Key={"pk": {"S": f"customer-{number}"}}, ReturnConsumedCapacity="TOTAL")
    dynamodb.batch_write_item(RequestItems={
        table: [{"PutRequest": {"Item": {"pk": {"S": table}}}}] for table in ("orders", "items")})
    try:
        dynamodb.put_item(TableName="orders", Item={"pk": {"S": "orders"}}, ConditionExpression="attribute_not_exists(pk)")
        sys.exit("FAILED: the condition held")
    except ClientError:
        pass
    boto3.client("sts", **options).get_caller_identity()


def counted(requests):
    """Sum of every delta sum, by metric and attributes."""
    sums = {}
    for request in requests:
        for group in request["resourceMetrics"]:
            for scope in group["scopeMetrics"]:
                for metric in scope["metrics"]:
                    for point in metric.get("sum", {}).get("dataPoints", []):
                        labels = {a["key"]: a["value"]["stringValue"] for a in point["attributes"]}
                        key = (metric["name"], labels.get("TableName"), labels.get("Operation") or labels.get("rpc.method"),
                               labels.get("error.type"))
                        value = float(point.get("asInt", point.get("asDouble", 0)))
                        sums[key] = sums.get(key, 0) + value
                        assert labels["service.name"] == "shop" and labels["cloud.region"] == REGION, labels
    return sums


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line a request otherwise
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with A.Agent(CONFIG) as agent:
        tracers = TracerProvider(resource=Resource.create({"service.name": "shop"}))
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{agent.http}/v1/traces")))
        BotocoreInstrumentor().instrument(tracer_provider=tracers)
        calls(f"http://{host}:{port}")
        tracers.shutdown()
        agent.stop()
        sums = counted(agent.lines())
        text = agent.out.read_text()
    server.stop()
    expected = {
        ("dynamodb.client.requests", "orders", "PutItem", None): PUTS + 1,
        ("dynamodb.client.requests", "orders", "GetItem", None): GETS,
        ("dynamodb.client.requests", "orders", "BatchWriteItem", None): 1,
        ("dynamodb.client.requests", "items", "BatchWriteItem", None): 1,
        ("dynamodb.client.requests", "orders", "CreateTable", None): 1,
        ("dynamodb.client.errors", "orders", "PutItem", "ConditionalCheckFailedException"): 1,
        ("aws.client.requests", None, "GetCallerIdentity", None): 1,
    }
    for key, value in expected.items():
        assert sums.get(key) == value, f"{key}: {sums.get(key)} instead of {value}\n{sums}"
    assert sums[("dynamodb.client.write_units", "orders", "PutItem", None)] >= PUTS, sums
    assert sums[("dynamodb.client.read_units", "orders", "GetItem", None)] > 0, sums
    assert "customer-" not in text, "keys of items are in the metrics"
    print(f"{len(expected) + 3} checks passed")


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    main()
