"""The embedded backend: sending to it, waiting for its disk, consuming, latency, and what a backlog changes."""
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess

import lab
from figures import Figure, Sample, group

NATS = "NATS JetStream, file"
FRAMES = {"frame": 256, "flight": 8}  # how topics are filled before something is measured


@contextlib.contextmanager
def nats():
    """A NATS server with JetStream in a folder of its own: its address; None where it is not installed."""
    command = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")
    if not command:
        yield None
        return
    with lab.folder() as path:
        options = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", path, "-js", "-sd", path + "/data", "-l", path + "/log"]
        process = subprocess.Popen([command, *options], stdin=subprocess.DEVNULL)
        try:
            ports = lab.daemons.wait_for(lambda: next(pathlib.Path(path).glob("*.ports"), None), what="nats-server does not say its port")
            text = lab.daemons.wait_for(lambda: ports.read_text(encoding="ascii"), what="nats-server's port is not there")
            yield json.loads(text)["nats"][0].removeprefix("nats://")
        finally:
            process.terminate()
            process.wait()


def nats_rate(seconds):
    """A fresh server each time: a stream that is there already would be found with another one's messages."""
    with nats() as address:
        return lab.rate(lab.load("nats", address=address, seconds=seconds)) if address else None


def fill(target, messages):
    """Sends whole frames until the topic has got `messages` messages."""
    return lab.load("frames", **target, **FRAMES, frames=-(-messages // FRAMES["frame"]))["messages"]


@group(
    Figure("embedded.hot.d1", "one producer, async, 100 bytes, through the SDK, to the embedded store, class D1", "msg/s", 1.5e6, beside=NATS),
    Figure("embedded.hot.d2", "the same, class D2 (NATS does not sync here)", "msg/s", 5e5, beside=NATS),
)
def hot(bench):
    seconds = bench.pick(4, 1)
    with lab.service("embedded") as service:
        targets = {durability: service.topic(durability, durability=durability) for durability in ("D1", "D2")}
        for _ in bench.rounds():
            reference = nats_rate(seconds)
            yield {
                "embedded.hot." + durability.lower(): Sample(lab.rate(lab.load("load", **target, seconds=seconds)), reference)
                for durability, target in targets.items()
            }


@group(
    Figure("embedded.sync.d2", "a synchronous send to class D2, p50, over bare round trip and append with fdatasync", "ratio", 1.7, most=True, beside="ns, round trip and append"),
    Figure("embedded.many.d2", "1,000 producers with one message in flight each, class D2", "msg/s", 1e5, beside="bare server"),
)
def synced(bench):
    seconds = bench.pick(3, 1)
    with lab.bare() as bare, lab.service("embedded") as service:
        target = service.topic("synced", durability="D2")
        for _ in bench.rounds():
            trip = lab.load("frames", address=bare.address, seconds=seconds)["p50_ns"]
            append = lab.load("append", folder=service.daemon.data, seconds=seconds)["p50_ns"]
            ours = lab.load("load", **target, mode="sync", io="app", seconds=seconds)["p50_ns"]
            yield {
                "embedded.sync.d2": Sample(ours / (trip + append), trip + append),
                "embedded.many.d2": Sample(many(seconds, **target), many(seconds, address=bare.address)),
            }


def many(seconds, **target):
    return lab.rate(lab.load("frames", **target, connections=1000, seconds=seconds))


@group(
    Figure("embedded.instr.d1", "user instructions of the daemon a message of 100 bytes, frames of 256, 8 at a time, class D1", "instr", 360, most=True),
    Figure("embedded.instr.d2", "the same, class D2", "instr", 360, most=True),
    Figure("consume.instr", "user instructions of the daemon a message that is delivered and acknowledged", "instr", 1080, most=True),
)
def instructions(bench):
    frames = bench.pick(1600, 400)
    with lab.service("embedded", "--workers", "1", backend={"map_bytes": 4 << 30}, make=lab.Counted) as service:
        for number in bench.rounds():
            targets = [service.topic(f"{durability}-{number}", durability=durability) for durability in ("D1", "D2")]
            reader = service.group(f"readers-{number}", f"D1-{number}")
            yield {
                "embedded.instr.d1": Sample(counted(service, "frames", frames * 256, **targets[0], **FRAMES, frames=frames)),
                "embedded.instr.d2": Sample(counted(service, "frames", frames * 256, **targets[1], **FRAMES, frames=frames)),
                "consume.instr": Sample(counted(service, "deliver", frames * 256, **reader, messages=frames * 256)),
            }


def counted(service, program, count, **values):
    """User instructions of the daemon a message. A connection's own are in it: below one in a thousand."""
    service.daemon.instructions()
    lab.load(program, **values)
    return service.daemon.instructions() / count


@group(Figure("consume.ack.100", "consuming messages of 100 bytes through the SDK, each acknowledged by its own handle, class D1", "msg/s", 1.5e6))
def consume(bench):
    messages = bench.pick(6000000, 1000000)
    with lab.service("embedded") as service:
        target = service.topic("consumed", durability="D1")
        reader = service.group("readers", "consumed")
        for _ in bench.rounds():
            fill(target, messages)
            yield {"consume.ack.100": Sample(lab.rate(lab.load("deliver", **reader, messages=messages)))}


@group(Figure("e2e.p99", "send to callback, 99th percentile, at half of the load that this producer and consumer carry, class D1", "µs", 1000, most=True))
def end_to_end(bench):
    seconds = bench.pick(4, 1)
    with lab.service("embedded") as service:
        target = service.topic("passed", durability="D1")
        service.group("readers", "passed")
        for _ in bench.rounds():
            full = lab.rate(lab.load("deliver", **target, group="readers", seconds=seconds))
            found = lab.load("deliver", **target, group="readers", seconds=seconds, rate=int(full / 2))
            yield {"e2e.p99": Sample(found["p99_ns"] / 1000)}


def in_turns(turns, *targets):
    """The rate to each target, sent to for a second one after the other, `turns` times: what slows the machine slows all."""
    rates = [[lab.rate(lab.load("load", **target, seconds=1)) for target in targets] for _ in range(turns)]
    return [statistics.mean(one) for one in zip(*rates)]


@group(
    Figure("backlog.keep", "sending to a topic that holds the backlog (50 M messages, --quick 2 M), over sending to an empty topic of another daemon", "ratio", 0.95, beside="msg/s, empty"),
    Figure("backlog.catchup", "reading it back, each message acknowledged", "msg/s", 3e6),
)
def backlog(bench):
    messages, turns = bench.pick(50000000, 2000000), bench.pick(4, 2)
    with lab.service("embedded") as service, lab.service("embedded") as other:
        target = service.topic("kept", durability="D1")
        reader = service.group("late", "kept")
        fill(target, messages)
        lab.load("load", **other.topic("first", durability="D1"), seconds=1)  # a daemon's first memory is slow
        for number in bench.rounds():
            empty, kept = in_turns(turns, other.topic(f"empty-{number}", durability="D1"), target)
            portion = messages // len(bench.rounds())
            yield {
                "backlog.keep": Sample(kept / empty, empty),
                "backlog.catchup": Sample(lab.rate(lab.load("deliver", **reader, messages=portion))),
            }
