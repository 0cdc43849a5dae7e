"""Runs the checks of this folder with the clients that are here. See README.md.

Exit code 0 when nothing failed. With --require-all a skipped check counts as failed. Closing line: `N passed, N failed`.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PLACE = pathlib.Path(os.environ.get("COMPAT_DIR", HERE.parents[1] / "target" / "compat"))
PYTHON, PHOENIX, NODE = PLACE / "python", PLACE / "phoenix", PLACE / "node"

PYTHON_PACKAGES = [
    "opentelemetry-sdk~=1.45", "opentelemetry-exporter-otlp-proto-grpc~=1.45", "opentelemetry-exporter-otlp-proto-http~=1.45",
    "boto3", "moto[dynamodb,s3,server]~=5.2", "opentelemetry-instrumentation-botocore",
    "aws-xray-sdk~=2.14",
]
PHOENIX_PACKAGES = ["arize-phoenix"]
NODE_PACKAGES = ["@opentelemetry/api@^1.9", "@opentelemetry/resources@^2.12", "@opentelemetry/sdk-trace-base@^2.12",
                 "@opentelemetry/sdk-metrics@^2.12", "@opentelemetry/sdk-logs@^0.223", "playwright-core@^1.64", "typescript@^5"]
NODE_PACKAGES += [f"@opentelemetry/exporter-{signal}-otlp-{kind}@^0.223" for signal in ("trace", "metrics", "logs")
                  for kind in ("grpc", "proto", "http")]


def install():
    PLACE.mkdir(parents=True, exist_ok=True)
    for place, packages in ((PYTHON, PYTHON_PACKAGES), (PHOENIX, PHOENIX_PACKAGES)):
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
    if shutil.which("npm"):
        NODE.mkdir(exist_ok=True)
        (NODE / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *NODE_PACKAGES], cwd=NODE, check=True)


def has_module(python, name):
    return python.exists() and subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0


def checks():
    """(name, why it cannot run here or None)."""
    python = PYTHON / "bin" / "python"
    phoenix = PHOENIX / "bin" / "python"
    sdk = None if has_module(python, "opentelemetry.sdk") else "the OpenTelemetry SDK for Python is not installed"
    node = None if shutil.which("node") and (NODE / "node_modules/@opentelemetry").exists() else "the OpenTelemetry SDK for Node is not installed"
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    browser = None if node is None and os.path.exists(chromium) and (NODE / "node_modules/playwright-core").exists() else "chromium or playwright-core is not installed"
    yield "python_sdk", sdk
    yield "node_sdk", node
    yield "browser", browser
    yield "dev_page", browser
    yield "phoenix", sdk or (None if has_module(phoenix, "phoenix") else "arize-phoenix is not installed")
    yield "phoenix_xray", None if has_module(phoenix, "phoenix") and has_module(python, "boto3") else "arize-phoenix or boto3 is not installed"
    botocore = None if has_module(python, "opentelemetry.instrumentation.botocore") else "opentelemetry-instrumentation-botocore is not installed"
    yield "botocore_spans", sdk or botocore
    yield "xray_poll", None if has_module(python, "boto3") else "boto3 is not installed"
    if (HERE / "boto3_simulator.py").exists():
        yield "boto3_simulator", None if has_module(python, "boto3") else "boto3 is not installed"
    yield "alertmanager", None if shutil.which("prometheus-alertmanager") else "prometheus-alertmanager is not installed"
    yield "archive_phoenix", sdk or (None if has_module(phoenix, "phoenix") else "arize-phoenix is not installed")
    yield "archive_moto", None if has_module(python, "moto.server") and has_module(python, "boto3") else "boto3 or moto is not installed"
    yield "xray_sdk", None if has_module(python, "aws_xray_sdk") else "the AWS X-Ray SDK for Python is not installed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="install the clients below target/compat first")
    parser.add_argument("--require-all", action="store_true", help="a check that cannot run counts as failed")
    parser.add_argument("--only", action="append", help="run this check only (may be repeated)")
    options = parser.parse_args()
    if options.install:
        install()
    environment = dict(os.environ, COMPAT_NODE_MODULES=str(NODE / "node_modules"),
                       COMPAT_PHOENIX_PYTHON=str(PHOENIX / "bin" / "python"), NO_PROXY="*")
    passed, failed, skipped = 0, 0, 0
    for name, missing in checks():
        if options.only and name not in options.only:
            continue
        if missing:
            print(f"{name}: skipped, {missing}", flush=True)
            skipped += 1
            failed += options.require_all
            continue
        began = time.monotonic()
        python = PYTHON / "bin" / "python" if (PYTHON / "bin" / "python").exists() else sys.executable
        code = subprocess.run([python, str(HERE / f"{name}.py")], env=environment, timeout=900).returncode
        print(f"{name}: {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - began:.0f} s)", flush=True)
        passed, failed = passed + (code == 0), failed + (code != 0)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
