"""Topics on a real RabbitMQ, beside an application that talks to the same broker itself: rabbitmq-c with the settings of the proxy's own links.

Both sides publish persistent messages with confirms to an exchange that one quorum queue is bound to; a direct producer has at most 256 without a confirm.
"""
import contextlib
import functools
import itertools

import lab
import rabbitmq
from figures import Figure, Sample, group


PREFETCH = 12288  # of the adapter's consumer on a group's queue
MEMORY = 4 << 20  # of the SDK's producer: what has not ended is through within seconds, however slow the broker is


class Side:
    """A virtual host of a broker, a service in front of it, and a client that does without the service."""

    numbers = itertools.count()

    def __init__(self, host, service):
        self.host, self.service = host, service

    @property
    def pid(self):
        return self.host.broker.pid()

    def topic(self, name):
        """A topic with a group, without which nothing is kept; returns its arguments and the group's queue."""
        target = self.service.topic(name)
        self.service.group(f"{name}-readers", name, dead_letter=False)
        return target, self.service.daemon.admin.get(f"/api/v1/tenants/bench/groups/{name}-readers").json["physical"]

    def own_queue(self):
        """An exchange and a queue of one name, for a client of the broker."""
        name = f"direct-{next(self.numbers)}"
        self.host.declare(name, name, x_queue_type="quorum")
        return name

    def direct(self, name, **values):
        address = self.host.broker.addresses.split(",", maxsplit=1)[0]
        return lab.load("direct_rabbitmq", address=address, vhost=self.host.name, exchange=name, queue=name, watch=self.pid, **values)

    def empty(self, *queues):
        """So that no side has more in its queue than the other."""
        for queue in queues:
            self.host.purge(queue)


@functools.cache
def broker():
    """Started when it is first asked for; a service, and so a group, has a virtual host of its own on it."""
    made = rabbitmq.Rabbitmq(lab.kept.enter_context(lab.folder()) + "/broker")
    lab.kept.callback(made.down)
    return made.up()


@contextlib.contextmanager
def side_by_side():
    host = broker().host()
    try:
        with lab.service("rabbitmq", backend=host.options()) as service:
            yield Side(host, service)
    finally:
        host.gone()


@group(Figure("rabbitmq.hot", "one producer, async, 100 bytes, through the SDK to a topic with one group, over direct", "ratio", 0.95, beside="msg/s, direct"))
def hot(bench):
    seconds = bench.pick(5, 1)
    with side_by_side() as side:
        (target, queue), own = side.topic("hot"), side.own_queue()
        target["memory"] = MEMORY
        lab.load("load", **target, seconds=1)
        side.direct(own, seconds=1)
        for _ in bench.rounds():
            side.empty(queue, own)
            direct = lab.rate(side.direct(own, seconds=seconds))
            yield {"rabbitmq.hot": Sample(lab.rate(lab.load("load", **target, seconds=seconds)) / direct, direct)}


@group(
    Figure("rabbitmq.small", "1,000 producers with one message of 100 bytes under way each, over as many connections to the broker", "ratio", 3, beside="msg/s, direct"),
    Figure("rabbitmq.small.broker", "CPU time of the broker a message of these, over direct", "ratio", 0.35, most=True, beside="ns, direct"),
)
def small(bench):
    seconds, producers = bench.pick(5, 2), 1000  # with fewer the direct ones cost the broker less
    with side_by_side() as side:
        (target, queue), own = side.topic("small"), side.own_queue()
        lab.load("frames", **target, connections=producers, seconds=1)
        for _ in bench.rounds():
            side.empty(queue, own)
            ours, _, broker_ns = lab.proxied_small(side.service, side.pid, target, producers, seconds)
            found = side.direct(own, mode="small", producers=producers, seconds=seconds)
            direct, direct_ns = lab.rate(found), found["watched_ns"] / found["messages"]
            yield {"rabbitmq.small": Sample(ours / direct, direct), "rabbitmq.small.broker": Sample(broker_ns / direct_ns, direct_ns)}


@group(Figure("rabbitmq.sync.p50", "a synchronous send at half of the rate that a direct sender reaches: what the proxy adds", "µs", 120, most=True, beside="µs, direct"))
def sync(bench):
    seconds = bench.pick(5, 1)
    with side_by_side() as side:
        (target, queue), own = side.topic("sync"), side.own_queue()
        lab.load("load", **target, mode="sync", seconds=1)
        for _ in bench.rounds():
            side.empty(queue, own)
            half = int(lab.rate(side.direct(own, mode="sync", seconds=seconds)) / 2)
            ours = lab.load("load", **target, mode="sync", io="app", rate=half, seconds=seconds)["p50_ns"]
            direct = side.direct(own, mode="sync", rate=half, seconds=seconds)["p50_ns"]
            yield {"rabbitmq.sync.p50": Sample((ours - direct) / 1e3, direct / 1e3)}


def fill(send, messages):
    while messages > 0:
        messages -= send()["messages"]


@group(
    Figure("rabbitmq.consume", "consuming messages of 100 bytes, each acknowledged by its own handle, over a native consumer that acknowledges each", "ratio", 0.9, beside="msg/s, direct")
)
def consume(bench):
    messages = bench.pick(200000, 20000)
    with side_by_side() as side:
        for number in range(len(bench.rounds())):
            (target, queue), own = side.topic(f"consumed-{number}"), side.own_queue()
            fill(lambda target=target: lab.load("load", **target, size=100, seconds=1, memory=MEMORY), messages)
            fill(lambda own=own: side.direct(own, seconds=1), messages)
            reader = {name: value for name, value in target.items() if name != "topic"}
            ours = lab.rate(lab.load("deliver", **reader, group=f"consumed-{number}-readers", messages=messages))
            direct = lab.rate(side.direct(own, mode="consume", messages=messages, prefetch=PREFETCH))
            side.empty(queue, own)
            yield {"rabbitmq.consume": Sample(ours / direct, direct)}
