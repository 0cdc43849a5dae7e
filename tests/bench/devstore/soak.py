"""`radiosonde dev` under load for a while, by one command that ends by itself:

    python3 tests/bench/devstore/soak.py target/release/radiosonde            # 20,000 spans/s for ten minutes
    python3 tests/bench/devstore/soak.py target/release/radiosonde --short    # a quarter of a minute

Sends OTLP/HTTP at a fixed rate (what the machine cannot take is told and is no failure of the store), asks the API all the
time, and fails unless: the books agree to the span, the cap is never exceeded by more than 5 %, memory does not grow once
the cap has been reached, a search answers, and the process ends with 0. Needs nothing but Python.
"""

import argparse
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

A_REQUEST = 500
SPANS = "intake", "spans"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(key, value):
    return field(9, field(1, key.encode()) + field(2, field(1, value.encode())))


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


class Requests:
    """One request whose ids and times are written anew each time."""

    def __init__(self):
        spans = bytearray()
        self.places = []
        for number in range(A_REQUEST):
            head = field(1, bytes(16)) + field(2, bytes(8)) + fixed(7, 0) + fixed(8, 0)
            rest = field(5, f"GET /api/v1/{('cart', 'quote', 'rates', 'users')[number % 4]}".encode())
            for key, value in (
                ("http.request.method", "GET"),
                ("http.route", "/api/v1/{id}"),
                ("http.response.status_code", "502" if number % 50 == 0 else "200"),
                ("user.id", f"user-{number * 7919 % 5000}"),
                ("net.peer.name", "backend.internal"),
                ("thread.name", f"worker-{number % 16}"),
                ("region", "eu-central-1"),
                ("sku", str(number * 31 % 997)),
            ):
                rest += attribute(key, value)
            if number % 50 == 0:
                rest += field(15, varint(3 << 3) + varint(2))
            # field 2 of ScopeSpans, with its length before it
            body = head + rest
            prefix = varint(2 << 3 | 2) + varint(len(body))
            at = len(spans) + len(prefix)
            self.places.append((at + 2, at + 20, at + 29, at + 38))
            spans += prefix + body
        resource = field(1, field(1, field(1, b"service.name") + field(2, field(1, b"soak"))))
        scope = field(2, bytes(spans))
        whole = field(1, resource + scope)
        self.offset = whole.index(bytes(spans[:64]))
        self.whole = bytearray(whole)
        self.random = os.urandom(24 * A_REQUEST)

    def next(self):
        now = time.time_ns()
        random = os.urandom(24 * A_REQUEST)
        for number, (trace, span, start, end) in enumerate(self.places):
            at = 24 * number
            # Ten spans make a trace.
            own = 24 * (number - number % 10)
            self.whole[self.offset + trace : self.offset + trace + 16] = random[own : own + 16]
            self.whole[self.offset + span : self.offset + span + 8] = random[at + 16 : at + 24]
            struct.pack_into("<Q", self.whole, self.offset + start, now - 1000 * number)
            struct.pack_into("<Q", self.whole, self.offset + end, now)
        return bytes(self.whole)


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, (path, answer.status, body[:300])
    return json.loads(body)


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) << 10


def cpu(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("binary")
    read.add_argument("--seconds", type=float, default=600)
    read.add_argument("--rate", type=int, default=20_000, help="spans a second")
    read.add_argument("--memory", default="128MiB")
    read.add_argument("--short", action="store_true", help="15 s with a cap of 32 MiB")
    args = read.parse_args()
    if args.short:
        args.seconds, args.memory = 15, "32MiB"
    grpc, otlp, ui = free_ports(3)
    command = [args.binary, "dev", "--view", "none", "--memory", args.memory, "--ui", f"127.0.0.1:{ui}"]
    command += ["--otlp-grpc", f"127.0.0.1:{grpc}", "--otlp-http", f"127.0.0.1:{otlp}"]
    agent = subprocess.Popen(["nice", "-n", "15", *command], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return soak(args, agent, otlp, ui)
    finally:
        if agent.poll() is None:
            agent.kill()


def soak(args, agent, otlp, ui):
    deadline = time.time() + 30
    while True:
        try:
            cap = get(ui, "/api/v1/status")["store"]["cap"]
            break
        except (OSError, KeyError):
            assert time.time() < deadline and agent.poll() is None, "it did not start"
            time.sleep(0.05)
    requests, sender = Requests(), http.client.HTTPConnection("127.0.0.1", otlp, timeout=30)
    begun, sent, looked = time.time(), 0, 0.0
    most_used, searches, full, problems = 0, [], [], []
    while (passed := time.time() - begun) < args.seconds:
        due = begun + sent / args.rate
        if due > time.time():
            time.sleep(min(due - time.time(), 0.1))
            if due > time.time():
                continue
        sender.request("POST", "/v1/traces", requests.next(), {"content-type": "application/x-protobuf"})
        answer = sender.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        sent += A_REQUEST
        if passed - looked >= max(1.0, args.seconds / 120):
            looked = passed
            used = get(ui, "/api/v1/status")["store"]["used"]
            most_used = max(most_used, used)
            asked = time.time()
            found = get(ui, "/api/v1/traces?q=status%3Derror&limit=20&from=-5m")
            searches.append(time.time() - asked)
            assert found["total"] > 0, found
            if used > 0.9 * cap:
                full.append((passed, resident(agent.pid)))
    status = get(ui, "/api/v1/status")
    books = status["intake"]["spans"]
    took, burnt = time.time() - begun, cpu(agent.pid)
    most_used = max(most_used, status["store"]["used"])
    if books["received"] != sent or books["received"] != books["stored"] + books["rejected"] + books["dropped"]:
        problems.append(f"the books do not agree: {sent} sent, {books}")
    if books["rejected"] or books["dropped"]:
        problems.append(f"spans were lost: {books}")
    if most_used > 1.05 * cap:
        problems.append(f"the cap of {cap} was exceeded: {most_used}")
    growth = None
    if len(full) >= 4:
        # The first quarter of the time at the cap against the last, each by its middle.
        quarter = len(full) // 4
        middle = lambda part: sorted(rss for _, rss in part)[len(part) // 2]
        early, late = middle(full[:quarter]), middle(full[-quarter:])
        growth = late / early - 1
        if growth > 0.1:
            problems.append(f"memory grew from {early >> 20} to {late >> 20} MiB while the cap was held")
    else:
        problems.append("the cap was not reached: a longer time or less memory would tell more")
    agent.send_signal(signal.SIGTERM)
    code = agent.wait(timeout=30)
    if code != 0:
        problems.append(f"it ended with {code}")
    searches.sort()
    print(f"spans sent             {sent:>12,}  ({sent / took:,.0f}/s of {args.rate:,}/s asked for)")
    print(f"stored, evicted since  {books['stored']:>12,}  {books['evicted']:,}")
    print(f"store at most          {most_used / 2**20:>12.1f} MiB of {cap / 2**20:.0f} ({most_used / cap:.1%})")
    print(f"resident at the end    {full[-1][1] / 2**20 if full else 0:>12.1f} MiB", f"({growth:+.1%} at the cap)" if growth is not None else "")
    print(f"CPU                    {burnt:>12.1f} s of {took:.0f} s ({1e6 * burnt / max(sent, 1):.1f} us a span)")
    print(f"search under load      {1e3 * searches[len(searches) // 2] if searches else 0:>12.1f} ms, at most {1e3 * searches[-1] if searches else 0:.1f}")
    for problem in problems:
        print("FAILED", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
