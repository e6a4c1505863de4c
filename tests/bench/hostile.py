#!/usr/bin/python3
"""What another tenant waits for while one attacks: the p99 of its synchronous sends, beside each attack over alone; the goal is 2.

    tests/bench/hostile.py [--rounds N] [--seconds N]     on a machine with nothing else running

The attacks are those of tests/e2e/test_hostile_memory.py. The measuring and the attacking clients are processes of their own. No part of
tests/run: no clock decides there."""
import argparse
import contextlib
import importlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

MIB = 1 << 20
SUBSCRIPTIONS = 60_000


def p99(seconds, target, attack=None):
    """The p99 in ns of sends of one message at a time, while `attack(until)` runs."""
    lab = importlib.import_module("lab")
    command = [lab.program("frames"), *lab.arguments({**target, "seconds": seconds})]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        if attack:
            attack(time.monotonic() + seconds)
        return json.loads(process.communicate(timeout=120)[0])["p99_ns"]


class Attacker:
    """A tenant of its own, with a topic that holds something and groups of it."""

    def __init__(self, service):
        self.wire, self.daemon = importlib.import_module("wire"), service.daemon
        key = service.tenant("evil")
        self.key = key["key"], key["secret"]
        self.daemon.make("tenants/evil/topics", {"name": "bait", "partitions": 4})
        for n in range(100):
            self.daemon.make("tenants/evil/groups", {"name": f"g{n}", "topic": "bait"})
        importlib.import_module("lab").load("frames", address=service.address, **key, topic="bait", frame=16, flight=1, frames=125, size=20_000)

    def connect(self):
        return self.wire.Connection("127.0.0.1", self.daemon.port, *self.key, timeout=60)

    def readers(self, until):
        """100 subscriptions with credit without end on a socket that is never read."""
        with self.connect() as conn:
            groups = [conn.subscribe(f"g{n}") for n in range(100)]  # first: a client that waits for an answer reads what comes before it
            for group in groups:
                group.credit(10**9, 10**12)
            time.sleep(max(0, until - time.monotonic()))

    def halves(self, until):
        """Frames of 16 MiB, 15 of which come, as many as there is time for."""
        wire, conns = self.wire, []
        half = wire.frame(wire.PRODUCE, b"", 1, size=16 * MIB)[: wire.HEADER.size] + bytes(15 * MIB)
        while time.monotonic() < until:
            if len(conns) == 80:
                time.sleep(max(0, until - time.monotonic()))
                break
            with contextlib.suppress(OSError, wire.Refused, wire.Ended):  # the slowest are closed, and newcomers while memory is short
                conns.append(self.connect())
                conns[-1].open_topic("bait")
                conns[-1].socket.settimeout(0.1)
                conns[-1].socket.sendall(half)
        for conn in conns:
            conn.socket.close()

    def closings(self, until):
        """60,000 subscriptions of one connection that go at once, again and again."""
        wire, again = self.wire, True
        frames = b"".join(wire.frame(wire.SUBSCRIBE, wire.fields_write(group="g0"), id) for id in range(1, SUBSCRIPTIONS + 1))
        while again:
            conn = self.connect()
            reader = threading.Thread(target=_read, args=(conn.socket,), daemon=True)
            reader.start()
            conn.socket.sendall(frames)
            time.sleep(0.5)
            with contextlib.suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)
            reader.join(10)
            conn.socket.close()
            again = time.monotonic() < until


def _read(sock):
    sock.settimeout(60)
    with contextlib.suppress(OSError):
        while sock.recv(MIB):
            pass


ATTACKS = ("readers", "halves", "closings")


def measured(seconds):
    """(p99 alone, p99 beside) of each attack, in ns, with a daemon of its own."""
    found = {}
    for name in ATTACKS:
        with importlib.import_module("lab").service("embedded") as service:
            target, attacker = service.topic("orders", durability="D1"), Attacker(service)
            found[name] = p99(seconds, target), p99(seconds, target, getattr(attacker, name))
    return found


def main():
    importlib.import_module("bench").prepare()
    sys.path[:0] = [os.path.join(importlib.import_module("bench").ROOT, "tests", "e2e")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    rounds = [measured(options.seconds) for _ in range(options.rounds)]
    for name in ATTACKS:
        pairs = [one[name] for one in rounds]
        ratios = [beside / alone for alone, beside in pairs]
        alone, beside = (statistics.median(column) / 1e6 for column in zip(*pairs))
        print(f"{name:10} p99 {alone:8.2f} ms alone, {beside:8.2f} ms beside; ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}; median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
