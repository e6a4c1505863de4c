"""Where every message went: sent = acked + backlog + dead + expired + skipped, in REST, at rest and after a kill."""
import re
import time

import pytest
import wire
from daemon import wait_for
from history.balance import problems

pytest_plugins = ["daemon_fixtures"]
BACKLOG = "/api/v1/tenants/acme/groups/{}/backlog"


def balance(daemon, group="billing", **expected):
    """What is told of a group adds up and is what is expected; what is not named is 0."""
    answer = daemon.admin.get(BACKLOG.format(group))
    assert answer.status == 200 and not problems(answer.json), answer.body
    names = ("sent", "acked", "backlog", "dead", "expired", "skipped", "replayed")
    assert {name: answer.json[name] for name in names} == {**dict.fromkeys(names, 0), **expected}, answer.json
    return answer.json


@pytest.fixture
def world(daemon):
    daemon.world()
    daemon.make("tenants/acme/groups", {"name": "strict", "topic": "orders", "max_attempts": 1, "dead_letter": True})
    return daemon


def receive(conn, group, count):
    return (subscription := wire.Subscription(conn, group)), subscription.receive(count)


def test_what_has_expired_is_told(world):
    """51 sent, one acked: 50 that nobody took in time."""
    with world.connect() as conn:
        topic = wire.Topic(conn, "orders")
        topic.send(wire.Record(body=b"kept"), *(wire.Record(body=b"short", ttl_ms=200) for _ in range(50)))
        balance(world, sent=51, backlog=51)
        time.sleep(0.5)
        subscription, (kept,) = receive(conn, "billing", 1)
        subscription.credit(1)
        assert subscription.receive_nothing(0.5)
        assert subscription.ack(kept) == [("OK", 1)]
        balance(world, sent=51, acked=1, expired=50)
    time.sleep(1)
    world.kill()
    world.start()
    balance(world, sent=51, acked=1, expired=50)


def test_dead_letters_are_told_after_a_kill(world):
    with world.connect() as conn:
        wire.Topic(conn, "orders").send(*(b"%d" % number for number in range(20)))
        subscription, came = receive(conn, "strict", 20)
        assert subscription.reject(*came[:15]) == [("OK", 1)] * 15
        subscription.ack(*came[15:18])
        balance(world, "strict", sent=20, acked=3, dead=15, backlog=2)
    world.kill()
    world.start()
    balance(world, "strict", sent=20, acked=3, dead=15, backlog=2)
    balance(world, sent=20, backlog=20)


def test_what_is_skipped_and_what_comes_again(world):
    """By the start of a group, a reset forth and back, and a purge."""
    reset = "/api/v1/tenants/acme/groups/billing/reset"
    with world.connect() as conn:
        topic = wire.Topic(conn, "orders")
        topic.send(*(b"%d" % number for number in range(10)))
        world.make("tenants/acme/groups", {"name": "late", "topic": "orders", "start": {"from": "latest"}})
        balance(world, "late", sent=10, skipped=10)
        subscription, came = receive(conn, "billing", 10)
        subscription.ack(*came[:4])
        subscription.nack(came[5], delay_ms=61000)
        balance(world, sent=10, acked=4, backlog=6)
        assert world.admin.post(reset, {"to": {"at": "latest"}}).status == 200
        balance(world, sent=10, acked=4, skipped=6)
        assert world.admin.post(reset, {"to": {"at": "earliest"}}).status == 200
        balance(world, sent=10, acked=4, skipped=6, replayed=10, backlog=10)
        subscription.ack(*subscription.receive(3))
        purged = world.admin.post("/api/v1/tenants/acme/topics/orders/purge", {})
        assert purged.status == 200, purged.body
        subscription.close()
        balance(world, sent=10, acked=7, skipped=13, replayed=10)
        topic.send(b"more")
        balance(world, sent=11, acked=7, skipped=13, replayed=10, backlog=1)
    world.kill()
    world.start()
    assert not problems(world.admin.get(BACKLOG.format("billing")).json)


def test_counters_never_go_back(world):
    """What REST and the metrics have shown once is shown after a kill, too: Prometheus would count all again behind a fall."""
    stats, series = "/api/v1/tenants/acme/stats", 'mqpaas_tenant_produced_messages_total{tenant="acme"}'

    def shown():
        metrics = world.admin.get("/metrics").body.decode()
        found = re.search(f"^{re.escape(series)} (\\S+)$", metrics, re.M)  # a tenant that has sent nothing yet has none
        return world.admin.get(stats).json["produce"]["ok"], int(float(found.group(1))) if found else 0

    most = (0, 0)
    for _ in range(3):
        with world.connect() as conn:
            wire.Topic(conn, "orders").send(*(b"x" for _ in range(700)))
            wait_for(lambda most=most: shown()[0] >= most[0] + 700, 10, "the sends are not counted")
            most = shown()
        world.kill()
        world.start()
        assert shown() >= most, (shown(), most)
