#!/usr/bin/env python3
"""Writes src/link_order.txt: the functions that run when the agent starts, waits and passes a little telemetry on.

The linker puts these side by side (build.rs), so that the pages an agent touches are few: the kernel maps program text in
pieces of 64 KiB, and a thousand small functions strewn over 24 MB would keep half of it in memory.

    python3 tests/bench/link_order.py BINARY

BINARY is a release build with its symbols (`strip = false` in Cargo.toml for once). Needs valgrind and nm. A list that has
grown old does no harm: names that are not found are passed over, and memory creeps up. Run it when the benchmark's idle
memory does.
"""

import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = ROOT / "src" / "link_order.txt"
# A request comes in by HTTP, leaves by gRPC, comes in by gRPC and ends in nothing, for all signals.
CONFIG = """
receivers:
  otlp/http: {protocols: {http: {endpoint: 127.0.0.1:24318}}}
  otlp/grpc: {protocols: {grpc: {endpoint: 127.0.0.1:24317}}}
processors:
  memory_limiter: {limit_mib: 200, check_interval: 1s}
  batch: {timeout: 200ms}
exporters:
  otlp: {endpoint: 127.0.0.1:24317, tls: {insecure: true}}
  nop:
service:
  admin: {endpoint: 127.0.0.1:24320}
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 24888}}}}]}}
  pipelines:
"""
for one in ("traces", "metrics", "logs"):
    CONFIG += f"    {one}: {{receivers: [otlp/http], processors: [memory_limiter, batch], exporters: [otlp]}}\n"
    CONFIG += f"    {one}/end: {{receivers: [otlp/grpc], exporters: [nop]}}\n"


def ran(binary, folder, name, busy):
    """The symbols that ran; with `busy` under a little traffic."""
    config, out = folder / "agent.yaml", folder / f"{name}.callgrind"
    config.write_text(CONFIG)
    command = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}"]
    agent = subprocess.Popen([*command, binary, "run", "--config", str(config)], stderr=subprocess.DEVNULL)
    time.sleep(20)
    if busy:
        for sent in ("span", "metric", "log"):
            subprocess.run([binary, "send", sent, "--to", "http://127.0.0.1:24318"], check=True)
        time.sleep(3)
    agent.send_signal(signal.SIGTERM)
    agent.wait(60)
    listing = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(out)], check=True, capture_output=True, text=True
    ).stdout
    found = re.findall(rf"\) +\S*?:([_A-Za-z]\S*) \[{re.escape(binary)}\]", listing)
    return {re.sub(r"'\d+$", "", symbol) for symbol in found}


def pattern(symbol):
    """Without what differs between compilers and versions."""
    symbol = re.sub(r"17h[0-9a-f]{16}E.*$", "17h*", symbol)
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", symbol) if symbol.startswith("_R") else symbol


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    addresses, alike = {}, {}
    for line in subprocess.run(["nm", binary], check=True, capture_output=True, text=True).stdout.splitlines():
        address, kind, symbol = line.rsplit(" ", 2)
        if kind in "tT":
            addresses[symbol] = int(address, 16)
            alike[pattern(symbol)] = alike.get(pattern(symbol), 0) + 1
    with tempfile.TemporaryDirectory() as folder:
        idle = ran(binary, pathlib.Path(folder), "idle", busy=False)
        busy = ran(binary, pathlib.Path(folder), "busy", busy=True)
    lines, done = [], set()
    for symbols in (idle, busy - idle):
        for symbol in sorted(symbols & addresses.keys(), key=addresses.get):
            # A generic function of which few kinds run is named with its hash: this compiler's, these versions'.
            name = pattern(symbol) if alike[pattern(symbol)] <= 3 else symbol
            if name not in done:
                done.add(name)
                lines.append(name)
    if len(lines) < 500:
        sys.exit(f"only {len(lines)} functions were seen to run: has the binary its symbols?")
    LIST.write_text("".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} functions, {len(idle)} of them idle")


if __name__ == "__main__":
    main()
