"""Where every message went: sent = acked + backlog + dead + expired + skipped, in REST, at rest and after a kill."""
import re
import time

import pytest
import wire
from ctl import Ctl
from daemon import wait_for
from history.balance import problems

pytest_plugins = ["daemon_fixtures"]
BACKLOG = "/api/v1/tenants/acme/groups/{}/backlog"
WAITING, DONE = ("ready", "in_flight", "retrying", "delayed"), ("acked", "dead", "expired", "skipped")
STATES = (*WAITING, "sent", "replayed", *DONE)


def told(daemon, group="billing"):
    return daemon.admin.get(BACKLOG.format(group)).json


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
    """51 sent, one acked: 50 that no consumer took in time."""
    with world.connect() as conn:
        topic = wire.Topic(conn, "orders")
        topic.send(wire.Record(body=b"kept"), *(wire.Record(body=b"short", ttl_ms=200) for _ in range(50)))
        balance(world, sent=51, backlog=51)
        time.sleep(0.5)
        subscription, (kept,) = receive(conn, "billing", 1)
        subscription.credit(1)
        assert subscription.receive_nothing(0.5)
        wait_for(lambda: told(world)["expired"] == 50)
        assert subscription.ack(kept) == [("OK", 1)]  # which is a commit, of all that
        balance(world, sent=51, acked=1, expired=50)
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
    stats, series = "/api/v1/tenants/acme/stats", 'mqpaas_tenant_stored_messages_total{tenant="acme"}'

    def shown():
        metrics = world.admin.get("/metrics").body.decode()
        found = re.search(f"^{re.escape(series)} (\\S+)$", metrics, re.M)  # a tenant that has sent nothing yet has none
        return world.admin.get(stats).json["produce"]["stored"], int(float(found.group(1))) if found else 0

    most = (0, 0)
    for _ in range(3):
        with world.connect() as conn:
            wire.Topic(conn, "orders").send(*(b"x" for _ in range(700)))
            wait_for(lambda most=most: shown()[0] >= most[0] + 700, what="the sends are not counted")
            most = shown()
        world.kill()
        world.start()
        assert shown() >= most, (shown(), most)


def states_told(world, **labels):
    """{state: messages} of the metrics of a group, or of a tenant where no group is named."""
    text = world.admin.get("/metrics?detailed=true").body.decode()
    wanted = "".join(f'{name}="{value}",' for name, value in labels.items())
    name = "mqpaas_group_(?:backlog_)?messages" if "group" in labels else "mqpaas_tenant_(?:backlog|group)_messages"
    return {state: int(float(value)) for state, value in re.findall(f'^{name}{{{wanted}state="(\\w+)"}} (\\S+)$', text, re.M)}


def test_metrics_rest_and_ctl_say_the_same(world, tmp_path):
    """Known numbers in every state, in both metrics, both routes and both commands."""
    with world.connect() as conn:
        wire.Topic(conn, "orders").send(*(wire.Record(body=b"short", ttl_ms=200) for _ in range(3)), *(b"%d" % number for number in range(12)))
        time.sleep(0.5)
        billing, came = receive(conn, "billing", 7)
        billing.ack(*came[:4])
        billing.nack(came[4], delay_ms=61000)
        strict, came = receive(conn, "strict", 12)
        strict.reject(*came[:3])
        strict.ack(*came[3:8])
        world.make("tenants/acme/groups", {"name": "late", "topic": "orders", "start": {"from": "latest"}})
        assert world.admin.post("/api/v1/tenants/acme/groups/late/reset", {"to": {"at": "earliest"}}).status == 200
        expected = {
            "billing": {"sent": 15, "acked": 4, "expired": 3, "retrying": 1, "in_flight": 2, "ready": 5},
            "strict": {"sent": 15, "acked": 5, "expired": 3, "dead": 3, "in_flight": 4},
            "late": {"sent": 15, "skipped": 15, "replayed": 15, "ready": 15},
        }
        expected = {group: {**dict.fromkeys(STATES, 0), **states} for group, states in expected.items()}
        for group, states in expected.items():
            shown = world.admin.get(BACKLOG.format(group)).json
            assert {state: shown[state] for state in STATES} == states and not problems(shown)
        metrics = lambda: {group: states_told(world, tenant="acme", group=group) for group in expected}
        wait_for(lambda: metrics() == expected, what="the metrics do not say it")
        for states in expected.values():
            assert states["sent"] + states["replayed"] == sum(states[state] for state in WAITING + DONE)
        assert states_told(world, tenant="acme") == {state: sum(states[state] for states in expected.values()) for state in STATES}
        rows = {row["group"]: row for row in world.admin.get("/api/v1/tenants/acme/backlogs").json["items"]}
        assert {group: {state: row[state] for state in STATES} for group, row in rows.items()} == expected
        assert "mqpaas_group_messages" not in world.admin.get("/metrics").body.decode(), "labels of groups are for the detailed endpoint"
        ctl = Ctl(tmp_path)
        ctl.env.update(MQPAAS_URL="http://" + world.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=world.admin.token)
        heading, *lines = (line.split() for line in ctl("group", "backlogs").stdout.splitlines())
        table = {cells["GROUP"]: cells for cells in (dict(zip(heading, line)) for line in lines)}
        one = dict(re.findall(r"^(\w+) +(\d+)$", ctl("group", "backlog", "billing").stdout, re.M))
        for state in STATES:
            assert {group: int(cells[state.upper()]) for group, cells in table.items()} == {group: states[state] for group, states in expected.items()}
            assert int(one[state]) == expected["billing"][state]
