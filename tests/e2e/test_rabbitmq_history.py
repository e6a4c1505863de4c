"""RabbitMQ with the option history, as its users meet it: kept without a group, looked at, begun with, moved back, and through the death of the broker."""
import base64
import json
import time

import pytest
from ctl import Ctl
from daemon import wait_for
from rabbitmq import register
from wire import Record

pytest_plugins = ["daemon_fixtures", "rabbitmq_fixtures"]

GROUPS = "/api/v1/tenants/acme/groups"


def bodies(numbers):
    return [b"%d" % number for number in numbers]


def send(daemon, numbers):
    with daemon.connect() as conn:
        answers = conn.open_topic("orders").send(*(Record(body=body, key=b"k") for body in bodies(numbers)))
        assert all(answer.code == "OK" for answer in answers), answers


def consume(daemon, group, count):
    with daemon.connect() as conn:
        subscription = conn.subscribe(group)
        got = subscription.receive(count)
        answers = subscription.ack(*got)
        assert all(status == "OK" for status, _ in answers), answers
    return [message.record.body for message in got]


def backlog(daemon, group):
    return daemon.admin.get(f"{GROUPS}/{group}/backlog").json.get("backlog")


def waits(daemon, group, count):
    wait_for(lambda: backlog(daemon, group) == count, 60, what=f"the backlog of {group} does not become {count}")


@pytest.fixture(name="history")
def _history(start, host, tmp_path):
    """A daemon with a topic that keeps its history, no group, and mqpaasctl."""
    ctl, daemon = Ctl(tmp_path), start()
    ctl.env.update(MQPAAS_URL="http://" + daemon.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=daemon.admin.token)
    ctl("cluster", "create", "rabbitmq", "--kind", "rabbitmq", "--options", json.dumps({**host.options(), "history": True}))
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/rabbitmq/state").json["state"] == "ready", what="not ready")
    return topic(daemon), ctl


def topic(daemon):
    daemon.make("tenants", {"name": "acme", "clusters": ["rabbitmq"]})
    daemon.make("tenants/acme/topics", {"name": "orders", "partitions": 1})
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    return daemon


def test_a_history_is_looked_at_and_consumed(history, host):
    daemon, ctl = history
    send(daemon, range(10))
    time.sleep(0.02)
    middle_ms = int(time.time() * 1000)
    time.sleep(0.02)
    send(daemon, range(10, 15))
    rows = ctl.json("topic", "messages", "orders", "--limit", "100")["messages"]
    assert [base64.b64decode(row["key"]) for row in rows] == [b"k"] * 15 and rows[-1]["size"] == 2
    rows = ctl.json("topic", "messages", "orders", "--time-ms", str(middle_ms), "--limit", "2")
    assert [row["offset"] for row in rows["messages"]] == [10, 11] and rows["next"] == 12
    ctl("group", "create", "late", "--topic", "orders", "--start", "earliest")
    wait_for(lambda: daemon.admin.get(f"{GROUPS}/late").json["state"] == "ready", what="the group does not become ready")
    waits(daemon, "late", 15)
    assert consume(daemon, "late", 15) == bodies(range(15))
    waits(daemon, "late", 0)
    preview = daemon.admin.post(f"{GROUPS}/late/reset", {"to": {"at": "time", "time_ms": middle_ms}, "preview": True})
    assert sum(row["replayed"] for row in preview.json["partitions"]) == 5, preview.json
    waits(daemon, "late", 0)
    ctl("group", "reset", "late", "--to", f"time:{middle_ms}", "--yes")
    send(daemon, range(15, 18))
    waits(daemon, "late", 8)
    assert consume(daemon, "late", 8) == bodies(range(10, 18))
    waits(daemon, "late", 0)
    ctl("group", "create", "timed", "--topic", "orders", "--start", str(middle_ms))
    waits(daemon, "timed", 8)
    physical = daemon.admin.get(f"{GROUPS}/late").json["physical"]
    wait_for(lambda: f"{physical}.replay" not in host.queues(), what="what came again stays")
    refused = daemon.admin.post(f"{GROUPS}/late/reset", {"to": {"at": "positions", "positions": [{"partition": 0, "offset": 1}]}})
    assert refused.json["code"] == "UNSUPPORTED_BY_BACKEND"


def test_what_is_deleted_here_leaves_nothing(history, host):
    daemon, ctl = history
    send(daemon, range(3))
    ctl("group", "create", "late", "--topic", "orders", "--start", "earliest")
    waits(daemon, "late", 3)
    assert sorted(name.rsplit(".", 1)[1] for name in host.queues() if name.endswith((".history", ".replay"))).count("replay") == 1
    daemon.admin.delete(f"{GROUPS}/late")
    wait_for(lambda: not [name for name in host.queues() if name.endswith(".replay")], what="what came again stays")
    for name in [row["name"] for row in daemon.admin.get("/api/v1/tenants/acme/topics").json["items"]]:
        daemon.admin.delete(f"/api/v1/tenants/acme/topics/{name}")
    wait_for(lambda: not host.queues() and not [name for name in host.exchanges() if name.startswith("mqp.")], what="something stays")


def test_a_broker_that_dies_loses_nothing_of_it(start, own_rabbitmq):
    """Between the reset and the consumer, and once more in the middle of what comes again."""
    broker = own_rabbitmq()
    host = broker.host()
    daemon = topic(register(start(), host, history=True))
    daemon.make("tenants/acme/groups", {"name": "late", "topic": "orders"})
    send(daemon, range(300))
    waits(daemon, "late", 300)
    assert consume(daemon, "late", 300) == bodies(range(300))
    assert daemon.admin.post(f"{GROUPS}/late/reset", {"to": {"at": "earliest"}}).status == 200
    time.sleep(2)  # what was declared just before a kill can be lost (test_rabbitmq_broker.py)
    broker.kill()
    broker.up()
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/rabbitmq/state").json["state"] == "ready", 60, what="not ready again")
    send(daemon, range(300, 310))
    waits(daemon, "late", 310)
    got = consume(daemon, "late", 100)
    broker.kill()
    broker.up()
    seen, deadline = set(got), time.monotonic() + 60
    while len(seen) < 310 and time.monotonic() < deadline:
        left = backlog(daemon, "late")
        more = consume(daemon, "late", 1) if left else []
        seen.update(more)
        got += more
    assert seen == set(bodies(range(310)))
    assert got[-1] == b"309"
