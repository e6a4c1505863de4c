"""What the daemon holds and how fast it is there: idle connections, a million topics, an empty start."""
import contextlib
import json
import os
import subprocess
import time

import lab
from figures import Figure, Sample, group


@contextlib.contextmanager
def idle_clients(**values):
    """Authenticated connections that stay while the context lasts."""
    process = subprocess.Popen([lab.program("idle"), *lab.arguments(values)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if json.loads(process.stdout.readline() or b"{}").get("connections") != values["connections"]:
            raise RuntimeError("not every idle connection was made")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def anonymous(pid):
    """Memory of a process that no file backs: heap and stacks."""
    return lab.settle(lambda: lab.memory_bytes(pid, "RssAnon"))


def bytes_each(connections, tls, *options, **more):
    """Heap of a fresh daemon that an idle connection adds. The first few make what all share, so they do not count.

    `ca` is named for plain connections too: each client would read all of the system's authorities.
    """
    with lab.service("discard", "--keepalive", "600s", *options) as service:
        address = ("tls://" if tls else "") + service.address
        with idle_clients(address=address, connections=50, **service.key, **more):
            before = anonymous(service.pid)
            with idle_clients(address=address, connections=connections, **service.key, **more):
                return (anonymous(service.pid) - before) / connections


@group(
    Figure("idle.plain", "heap of the daemon an idle authenticated connection", "bytes", 1024, most=True),
    Figure("idle.tls", "the same over TLS", "bytes", 16384, most=True),
)
def idle(bench):
    connections = bench.pick(1000, 300)
    with lab.certificate() as (cert, key):
        for _ in bench.rounds():
            yield {
                "idle.plain": Sample(bytes_each(connections, False, ca=cert)),
                "idle.tls": Sample(bytes_each(connections, True, "--tls-cert", cert, "--tls-key", key, ca=cert)),
            }


@group(
    Figure("topics.bytes", "memory of the daemon a topic, with a million of them", "bytes", 256, most=True),
    Figure("topics.start", "start to ready with them", "s", 5, most=True),
)
def topics(bench):
    count = bench.pick(1000000, 50000)
    with lab.service("discard") as service:
        target = service.topic("orders")
        service.daemon.stop()
        service.daemon.start()
        before = anonymous(service.pid)
        service.daemon.stop()
        lab.load("topics", file=service.daemon.data + "/registry.db", count=count)
        service.daemon.start(600)  # takes over what it did not write itself
        for _ in bench.rounds():
            service.daemon.stop(120)
            started = time.monotonic()
            service.daemon.start(600)
            seconds = time.monotonic() - started
            lab.load("frames", **{**target, "address": service.address, "topic": f"orders-{count}"}, frames=1)
            yield {"topics.bytes": Sample((anonymous(service.pid) - before) / count), "topics.start": Sample(seconds)}


@group(
    Figure("start.ms", "an empty standalone daemon from exec to serving", "ms", 50, most=True),
    Figure("start.rss", "its resident memory when idle", "MB", 30, most=True),
)
def start(bench):
    for _ in bench.rounds():
        with lab.folder() as path:
            daemon = lab.daemons.Daemon(path, start=False)
            started = time.monotonic()
            daemon.start()
            milliseconds = (time.monotonic() - started) * 1000
            try:
                resident = lab.settle(lambda: lab.memory_bytes(daemon.process.pid))
            finally:
                daemon.end()
        yield {"start.ms": Sample(milliseconds), "start.rss": Sample(resident / 1e6)}
