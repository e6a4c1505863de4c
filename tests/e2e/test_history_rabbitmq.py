"""Faults under load with the topics on a real RabbitMQ, judged by histories as those over a queue.

Each fault is made once or twice, and in `tests/run --long` often. Loads have virtual hosts of their own: the broker is shared.

A quorum queue that is younger than a minute when its broker is killed can be lost on 3.10: loads wait until theirs are older.
"""
import time

import pytest
from daemon import wait_for
from history import brokers
from history.brokers import clean
from history.load import Load, times
from history.queues import RETURNED
from history.resets import Resetter
from wire import Record

pytest_plugins = ["daemon_fixtures", "rabbitmq_fixtures"]
RATES = 500, 250  # beside a broker on the same two cores; the second sends two at a time and waits for each pair
OLD_S = 65
KILL_DUPLICATES = 0.0003  # rabbitmq.kill.dup
KINDS = pytest.mark.parametrize("kind", ["quorum", "classic"])


class RabbitmqLoad(Load):
    """A load whose topics `<name>-1` and `<name>-2` lie on a virtual host."""

    queue = True

    def __init__(self, daemon, folder, host, name, addresses=None, kind="quorum", topics=None, **more):
        self.host = host
        options = {**host.options(), "queue": kind, **({"addresses": addresses} if addresses else {})}
        topics = topics or {f"{name}-1": {}, f"{name}-2": {}}
        super().__init__(daemon, folder, cluster={"name": "rabbitmq", "kind": "rabbitmq", "options": options}, topics=topics, **more)

    def grown_old(self):
        """Waits until no queue is younger than a minute; the load goes on."""
        known, since = set(), time.monotonic()
        while time.monotonic() - since < OLD_S:
            names = set(self.host.queues())
            if names - known:
                known, since = names, time.monotonic()
            self.all_alive()
            time.sleep(1)


@pytest.fixture
def load(start, host, tmp_path):
    """load(name, …) is one on a virtual host of the shared broker; ended with the test."""
    made = []

    def begin(name, on=host, daemon=None, **more):
        made.append(RabbitmqLoad(daemon or start(), tmp_path, on, name, **more))
        return made[-1]

    yield begin
    for one in made:
        one.end()


@KINDS
def test_without_faults_nothing_comes_twice(load, kind):
    load = load("calm", kind=kind).start(RATES)
    load.progress(1500)
    report = clean(load.finish())
    assert not report.seen["copies by resending"] and not report.seen["redelivered by fault"], report


@pytest.mark.timeout(3600)
@KINDS
def test_broker_killed(load, host, kind):
    load = load("killed", kind=kind).start(RATES)
    load.grown_old()
    brokers.killed(load, host.broker, few=1, share=KILL_DUPLICATES, also=[RETURNED])


@pytest.mark.timeout(1800)
def test_daemon_killed(load):
    """What comes again was held by the broker."""
    report = brokers.daemon_killed(load("dead").start(RATES), records=300)
    print(f"{report.seen[RETURNED]} settled messages came again")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", times([5], [5, 30]))
def test_broker_stopped_and_continued(load, host, seconds):
    load = load(f"stopped-{seconds}", topics={f"stopped-{seconds}": {}, "beside": {"cluster": "local"}}).start(RATES)
    brokers.stopped(load, host.broker, seconds, many=20)


@pytest.mark.timeout(900)
def test_connections_reset(load, host):
    resetter = Resetter()
    try:
        address, port = host.broker.addresses.split(",")[0].split(":")
        resetter.target = address, int(port)
        brokers.reset(load("reset", addresses=resetter.address).start(RATES), resetter)
    finally:
        resetter.end()


@pytest.mark.timeout(900)
def test_memory_alarm(load, host):
    """The broker reads no connection any more that publishes; what was taken is delivered meanwhile, and sends wait."""
    load = load("alarm").start(RATES)
    for _ in range(times(1, 20)):
        load.progress(500)
        with load.fault("memory alarm"), host.broker.alarm():
            time.sleep(4)
    clean(load.finish())


@pytest.mark.timeout(1800)
def test_nodes_of_three_lost_and_back(load, own_rabbitmq):
    """One: the others go on."""
    rabbitmq = own_rabbitmq("--nodes", "3")
    load = load("three", on=rabbitmq.host()).start((200, 100))
    load.grown_old()
    for number in range(times(1, 20)):
        load.progress(200)
        with load.fault("node killed"):
            rabbitmq.kill(1 + number % 3)
            time.sleep(3)
            rabbitmq.up()
        wait_for(lambda: rabbitmq.whole(load.host.name), 60, "members of queues do not catch up")
    clean(load.finish())


# ---- Delays


def lines(deliveries):
    return [int(one.record.body) for one in deliveries]


@pytest.mark.timeout(1800)
def test_delayed_messages_while_the_broker_dies(registered, host):
    """They wait in a level, and the broker is killed while it moves them out of it: none is lost (rabbitmq.delay.lost)."""
    count, delay_ms = times(2000, 20000), 75000
    daemon = registered.world(cluster="rabbitmq")
    queue = daemon.admin.get("/api/v1/tenants/acme/groups/billing").json["physical"]
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        subscription.credit(1)  # what waits for nothing is not looked at, and so not moved to where it waits
        topic, due_ms = conn.open_topic("orders"), int(time.time() * 1000) + delay_ms
        for first in range(0, count, 500):
            assert {one.code for one in topic.send(*(Record(body=b"%d" % n, due_ms=due_ms) for n in range(first, first + 500)))} == {"OK"}
        wait_for(lambda: host.ready(f"{queue}.delay-60") == count, 60, "not all of them wait")
    for _ in range(times(1, 3)):
        wait_for(lambda: host.ready(f"{queue}.delay-60") < count, 90, "they are not moved")
        host.broker.kill()
        host.broker.up()
    got = []
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        while len(set(lines(got))) < count:
            part = subscription.receive(min(100, count - len(set(lines(got)))), timeout=120)
            subscription.ack(*part)
            got += part
        assert time.time() * 1000 >= due_ms
        assert set(lines(got)) == set(range(count))
        print(f"{len(got) - count} of {count} came twice")
        wait_for(lambda: daemon.admin.get("/api/v1/tenants/acme/groups/billing/backlog").json["backlog"] == 0, 60, "something is left")
