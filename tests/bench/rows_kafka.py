"""Topics on a real Kafka, beside an application that talks to the same broker itself: librdkafka with the settings of the proxy's own producer."""
import contextlib
import functools
import itertools
import pathlib
import re
import subprocess
import time

import kafka
import lab
from figures import Figure, Sample, group

# One node; old data goes soon, so that a run needs little disk.
BROKER = ("--heap", "512", *(option for name, value in {
    "log.segment.bytes": 128 << 20,
    "log.retention.check.interval.ms": 3000,
    "log.segment.delete.delay.ms": 1000,
    "group.initial.rebalance.delay.ms": 0,
}.items() for option in ("--set", f"{name}={value}")))
KEPT_BYTES = 512 << 20


class Side:
    """A broker, a service in front of it, and a client that does without the service."""

    numbers = itertools.count()  # of all sides: they share the broker

    def __init__(self, broker, service):
        self.broker, self.service = broker, service

    @property
    def pid(self):
        return self.broker.pid()

    def topic(self, name, **more):
        return self.service.topic(name, retention_bytes=KEPT_BYTES, **more)

    def own_topic(self):
        """A topic for a client of the broker; stamped by the broker, as those of the service are."""
        name = f"direct-{next(self.numbers)}"
        self.broker.create(name, retention_bytes=KEPT_BYTES, message_timestamp_type="LogAppendTime")
        return name

    def direct(self, topic, **values):
        return lab.load("direct", bootstrap=self.broker.bootstrap, topic=topic, watch=self.pid, **values)


@functools.cache
def broker_with(*options):
    """A Kafka with these options, started when it is first asked for; a service, and so a group, has topics of its own on it."""
    broker = kafka.Kafka(lab.kept.enter_context(lab.folder()) + "/broker", *BROKER, *options)
    lab.kept.callback(broker.down)
    return broker.up()


@contextlib.contextmanager
def side_by_side(*options):
    broker = broker_with(*options)
    with lab.service("kafka", backend={"bootstrap": broker.bootstrap}) as service:
        yield Side(broker, service)


@group(
    Figure("kafka.hot.native", "one producer, async, 100 bytes, through the SDK to a native topic (no envelope), over direct", "ratio", 1.05, beside="msg/s, direct"),
    Figure("kafka.hot.100", "the same to a topic with the envelope header", "ratio", 0.75, beside="msg/s, direct"),
    Figure("kafka.hot.1k", "the same with 1,000 bytes", "ratio", 0.95, beside="msg/s, direct"),
)
def hot(bench):
    seconds = bench.pick(5, 1)
    with side_by_side() as side:
        native, plain, own = side.topic("native", native=True), side.topic("plain"), side.own_topic()
        for target in (native, plain):
            lab.load("load", **target, seconds=1)
        side.direct(own, seconds=1)
        for _ in bench.rounds():
            small, large = (lab.rate(side.direct(own, size=size, seconds=seconds)) for size in (100, 1000))
            yield {
                id: Sample(lab.rate(lab.load("load", **target, size=size, seconds=seconds)) / direct, direct)
                for id, target, size, direct in (("kafka.hot.native", native, 100, small), ("kafka.hot.100", plain, 100, small), ("kafka.hot.1k", plain, 1000, large))
            }


def direct_small(side, topic, producers, seconds):
    found = side.direct(topic, mode="small", producers=producers, seconds=seconds)
    count = found["messages"]
    return lab.rate(found), (found["cpu_ns"] + found["watched_ns"]) / count, found["watched_ns"] / count


@group(
    Figure("kafka.small", "1,000 producers with one message of 100 bytes under way each, over as many librdkafka producers", "ratio", 5, beside="msg/s, direct"),
    Figure("kafka.small.cpu", "CPU time of clients, proxy and broker a message of these, over direct", "ratio", 0.25, most=True, beside="ns, direct"),
    Figure("kafka.small.broker", "CPU time of the broker a message of these, over direct", "ratio", 0.1, most=True, beside="ns, direct"),
)
def small(bench):
    seconds, producers = bench.pick(5, 2), bench.pick(1000, 200)
    with side_by_side() as side:
        target, own = side.topic("small"), side.own_topic()
        lab.load("frames", **target, connections=producers, seconds=1)
        for _ in bench.rounds():
            ours, direct = lab.proxied_small(side.service, side.pid, target, producers, seconds), direct_small(side, own, producers, seconds)
            ids = ("kafka.small", "kafka.small.cpu", "kafka.small.broker")
            yield {id: Sample(our / their, their) for id, our, their in zip(ids, ours, direct)}


@group(
    Figure("kafka.sync.p50", "a synchronous send at half of the rate that a direct sender reaches: what the proxy adds", "µs", 100, most=True, beside="µs, direct"),
    Figure("kafka.sync.p99", "the same, 99th percentile", "µs", 500, most=True, beside="µs, direct"),
)
def sync(bench):
    seconds = bench.pick(5, 1)
    with side_by_side() as side:
        target, own = side.topic("sync"), side.own_topic()
        lab.load("load", **target, mode="sync", seconds=1)
        for _ in bench.rounds():
            half = int(lab.rate(side.direct(own, mode="sync", seconds=seconds)) / 2)
            ours = lab.load("load", **target, mode="sync", io="app", rate=half, seconds=seconds)
            direct = side.direct(own, mode="sync", rate=half, seconds=seconds)
            yield {f"kafka.sync.{point}": Sample((ours[f"{point}_ns"] - direct[f"{point}_ns"]) / 1e3, direct[f"{point}_ns"] / 1e3) for point in ("p50", "p99")}


def fill(target, messages):
    """At least `messages` messages of 100 bytes."""
    while messages > 0:
        messages -= lab.load("load", **target, size=100, seconds=1)["messages"]


@group(Figure("kafka.consume", "consuming messages of 100 bytes, each acknowledged by its own handle, over a native consumer that commits by itself", "ratio", 0.9, beside="msg/s, direct"))
def consume(bench):
    messages = bench.pick(2000000, 200000)
    with side_by_side() as side:
        for number in range(len(bench.rounds())):
            name = f"consumed-{number}"
            target, own = side.service.topic(name), f"direct-consumed-{number}"
            reader = side.service.group(f"readers-{number}", name)
            side.broker.create(own, message_timestamp_type="LogAppendTime")
            fill(target, messages)
            sent = 0
            while sent < messages:
                sent += side.direct(own, mode="hot", seconds=1)["messages"]
            ours = lab.rate(lab.load("deliver", **reader, messages=messages))
            direct = lab.rate(side.direct(own, mode="consume", messages=messages))
            yield {"kafka.consume": Sample(ours / direct, direct)}


def thread_names(pid):
    return [path.read_text(encoding="ascii").strip() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/comm")]


@contextlib.contextmanager
def readers(service, groups, messages):
    """Opens `groups` groups of the topic "read" in a program of its own, each to take `messages`; waits for its end."""
    for number in range(groups):
        service.group(f"readers-{number}", "read", dead_letter=False)
    values = {"address": service.address, **service.key, "group": "readers", "groups": groups, "messages": messages}
    with subprocess.Popen([lab.program("deliver"), *lab.arguments(values)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
        try:
            said = program.stderr.readline()
            if said != "ready\n":
                raise RuntimeError(f"the groups were not opened: {said}")
            yield
            if program.wait(lab.PROGRAM_SECONDS):
                raise RuntimeError(f"bench_deliver {values}: {program.stderr.read()[-2000:]}")
        finally:
            program.kill()


@group(Figure("kafka.threads", "threads of the daemon, all of them, with 1,000 groups that follow a topic on a cluster of three nodes", "threads", 32, most=True))
def threads(bench):
    groups, nodes = bench.pick((1000, ("--nodes", "3")), (10, ()))
    with side_by_side(*nodes) as side:
        target = side.topic("read")
        with readers(side.service, groups, 5):
            lab.load("load", **target, rate=10, seconds=1)
        for _ in bench.rounds():
            time.sleep(0.2)
            yield {"kafka.threads": Sample(len(thread_names(side.service.pid)))}


def received_bytes(side):
    """What came in on the daemon's connections to the broker so far, as the kernel counts it."""
    port = side.broker.bootstrap.rsplit(":", 1)[1]
    told = subprocess.run(["ss", "-tinpHO", f"dport = :{port}"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    own = [line for line in told.splitlines() if f"pid={side.service.pid}," in line]
    return sum(int(found[1]) for line in own if (found := re.search(r"\bbytes_received:(\d+)", line)))


def stored_bytes(side, name):
    """The size of a topic in the broker's log."""
    physical = side.service.daemon.admin.get(f"/api/v1/tenants/bench/topics/{name}").json["physical"]
    return sum(path.stat().st_size for path in pathlib.Path(side.broker.folder).glob(f"node-1/data/{physical}-*/*.log"))


@group(Figure("kafka.fanout.bytes", "bytes that the daemon receives from the broker while 100 groups read one topic from its beginning, over the topic's bytes there", "ratio", 1.1, most=True, beside="bytes, the topic"))
def fanout(bench):
    groups, seconds, rate = bench.pick((100, 3, 16000), (10, 1, 4000))
    for _ in bench.rounds():
        with side_by_side() as side:
            filled = lab.load("load", **side.topic("read"), size=1000, rate=rate, seconds=seconds)["messages"]
            topic, before = stored_bytes(side, "read"), received_bytes(side)
            with readers(side.service, groups, filled):
                pass
            yield {"kafka.fanout.bytes": Sample((received_bytes(side) - before) / topic, topic)}
