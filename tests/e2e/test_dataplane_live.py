"""Live queries, and leaving: drain, GOAWAY, kick."""
import threading
import time

import pytest
import wire
from plane import CLUSTER, TENANT
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from rest import wait_for
from wire import Record


def total(rows, name):
    return sum(row[name] for row in rows)


# ---- queries


def test_totals_add_up(plane_with):
    plane = plane_with(workers=2)
    orders = plane.topic("orders", partitions=3)
    readers = plane.dead_lettered("readers", orders, max_attempts=3)
    conns = [plane.connect() for _ in range(6)]  # on both workers, most likely
    for n, conn in enumerate(conns):
        conn.open_topic("orders").send(*[Record(body=b"x" * 10, key=b"%d" % (n * 10 + k)) for k in range(10)])
    subscription = conns[0].subscribe("readers")
    got = subscription.receive(60)
    subscription.ack(*got[:50])
    subscription.nack(*got[50:58], delay_ms=0)
    subscription.reject(*got[58:])
    again = subscription.receive(8)
    assert {d.attempt for d in again} == {2}
    answer = plane.query("TOTALS")
    (tenant,) = answer["tenants"]
    assert answer["proxy"] == "standin" and answer["uptime_ms"] >= 0 and answer["connections"] == tenant["connections"] == 6
    produce, consume = tenant["produce"], tenant["consume"]
    assert (produce["messages"], produce["ok"], produce["rejected"], produce["unknown"]) == (60, 60, 0, 0)
    assert produce["bytes"] == sum(len(wire.record_write(d.record)) for d in got)
    assert (consume["messages"], consume["acked"], consume["nacked"], consume["rejected"], consume["dead"]) == (68, 50, 8, 2, 2)
    assert [row for row in tenant["topics"] if row["id"] == orders][0]["ok"] == 60
    assert [row for row in tenant["groups"] if row["id"] == readers][0]["redelivered"] == 8
    for conn in conns:
        conn.close()


def test_clients(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn, plane.connect() as idle:
        conn.open_topic("orders").send(b"one", b"two")
        conn.subscribe("readers").receive(2)
        rows = {row["session"]: row for row in plane.query("CLIENTS", tenant=TENANT)["clients"]}
        row = rows[conn.ready["session"]]
        assert (row["tenant"], row["access_key"], row["sdk"], row["sdk_version"], row["tls"]) == (TENANT, "AK1", "wire.py", "1", False)
        assert row["address"] == "127.0.0.1:%d" % conn.socket.getsockname()[1]
        assert (row["topics"], row["groups"], row["in_flight"]) == (["orders"], ["readers"], 2)
        assert rows[idle.ready["session"]]["groups"] == []
        assert plane.query("CLIENTS", tenant=77)["clients"] == []


@pytest.mark.parametrize("by", ["session", "access_key", "tenant"])
def test_kick(plane, by):
    with plane.connect() as conn, plane.connect() as other:
        value = {"session": conn.ready["session"], "access_key": "AK1", "tenant": TENANT}[by]
        assert plane.query("KICK", **{by: value})["kicked"] == (1 if by == "session" else 2)
        assert conn.expect_end().code == "KICKED"
        if by == "session":
            assert other.ping()
        else:
            assert other.expect_end().code == "KICKED"


def test_backlog_adds_up(plane):
    orders = plane.topic("orders", partitions=2)
    readers = plane.group("readers", orders)
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        topic.send(*(Record(body=b"x", partition=n % 2) for n in range(20)))
        assert total(plane.query("BACKLOG", group=readers)["partitions"], "ready") == 20
        subscription = conn.subscribe("readers")
        got = subscription.receive(8)
        subscription.ack(*got[:3])
        subscription.nack(*got[3:5], delay_ms=60000)
        answer = plane.query("BACKLOG", group=readers)
        counts = {name: total(answer["partitions"], name) for name in ("ready", "in_flight", "retrying", "delayed")}
        assert counts == {"ready": 12, "in_flight": 3, "retrying": 2, "delayed": 0}
        assert (answer["dead"], answer["at_most"]) == (0, False)


@pytest.mark.parametrize("fields", [{"imported": True}, {"native": True}])
def test_backlog_of_a_topic_that_has_others_is_at_most(plane, fields):
    """Their transactions and compaction leave positions without a message; other topics of the cluster stay exact."""
    groups = {name: plane.group(name, plane.topic(name, **more)) for name, more in (("ours", {}), ("theirs", fields))}
    assert {name: plane.query("BACKLOG", group=group)["at_most"] for name, group in groups.items()} == {"ours": False, "theirs": True}


def test_reset_and_purge(plane):
    orders = plane.topic("orders")
    readers = plane.group("readers", orders)
    with plane.connect() as conn:
        conn.open_topic("orders").send(*[b"x"] * 10)
        subscription = conn.subscribe("readers")
        got = subscription.receive(4)
        subscription.ack(*got[:2])
        subscription.credit(20)
        rest = subscription.receive(6, credit=False)
        # A preview changes nothing, not even receipts.
        answer = plane.query("GROUP_RESET", group=readers, to={"earliest": True}, preview=True)
        assert answer["partitions"][0]["replayed"] == 2
        assert subscription.ack(got[2]) == [("OK", 1)]
        assert plane.query("GROUP_RESET", group=readers, to={"earliest": True}, preview=False)["partitions"][0]["replayed"] == 3
        assert subscription.ack(rest[0]) == [("STALE", 0)]
        again = subscription.receive(10)  # it goes on by itself
        assert [d.offset for d in again] == list(range(10))
        assert plane.query("GROUP_PURGE", group=readers, preview=True) == {"messages": 10}
        assert plane.query("GROUP_PURGE", group=readers, preview=False) == {"messages": 10}
        assert subscription.receive_nothing(0.1)
        conn.open_topic("orders").send(b"new")
        assert subscription.receive()[0].offset == 10


def test_queries_about_nothing(plane):
    assert plane.query("BACKLOG", group=999) == "NOT_FOUND"
    assert plane.query("TOPIC_DESCRIBE", topic=999) == "NOT_FOUND"
    assert plane.query("PROBE", cluster=999) == "NOT_FOUND"
    assert plane.query("KICK", session=999) == {"kicked": 0}


def test_clusters_and_topics(plane):
    orders = plane.topic("orders", partitions=2)
    assert plane.query("PROBE", cluster=CLUSTER)["reachable"] is True
    assert plane.query("CLUSTER_STATE", cluster=CLUSTER)["state"] == "ready"
    assert plane.query("TOPIC_CREATE", topic=orders) == {}
    assert [row["end"] for row in plane.query("TOPIC_DESCRIBE", topic=orders)["partitions"]] == [0, 0]
    readers = plane.group("readers", orders)
    assert plane.query("GROUP_CREATE", group=readers) == {}
    with plane.connect() as conn:
        subscription = conn.subscribe("readers")
        assert plane.query("GROUP_DELETE", group=readers) == {}
        plane.gone("group", readers)
        with pytest.raises(wire.Refused):
            conn.expect(wire.DELIVER, subscription.id)
    plane.put("cluster", 50, name="odd", kind="none such")
    assert plane.query("PROBE", cluster=50) == "BACKEND_DOWN"
    assert plane.query("CLUSTER_STATE", cluster=50)["state"] == "down"


# ---- leaving


def test_client_leaves_in_order(plane):
    plane.group("readers", plane.topic("slow", physical="slow"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("slow"), conn.subscribe("readers")
        topic.send(b"one", b"two", b"three")
        subscription.credit(2)
        got = subscription.receive(2, credit=False)
        batch = topic.produce([Record(body=b"late")])
        conn.leave()
        subscription.credit(10)
        assert topic.results(batch)[0].outcome == wire.OK
        subscription.settle(wire.ACK, *got, wait=False)
        conn.expect_end()
    with plane.connect() as other:
        again = other.subscribe("readers").receive(2)
        assert [d.record.body for d in again] == [b"three", b"late"]


def test_what_the_source_took_back_keeps_nobody(plane):
    """Another consumer has got it: the one that leaves is done, and not only when its own deadline has passed."""
    plane.group("readers", plane.topic("again", physical="again"), visibility_ms=60_000)
    with plane.connect() as conn, plane.connect() as other:
        conn.open_topic("again").send(b"x")
        subscription = conn.subscribe("readers")
        subscription.credit(1)
        assert len(subscription.receive(1, credit=False)) == 1
        conn.leave()
        (got,) = other.subscribe("readers").receive(1)
        assert got.record.body == b"x"
        conn.expect_end()


def test_drain_finishes_what_is_in_flight(plane):
    plane.group("readers", plane.topic("slow", physical="slow"))
    conn = plane.connect()
    topic, subscription = conn.open_topic("slow"), conn.subscribe("readers")
    topic.send(*[b"x"] * 5)
    got = subscription.receive(2)
    batch = topic.produce([Record(body=b"y")])
    assert conn.ping()  # the proxy has read it
    started = time.monotonic()
    plane.drain(deadline_ms=60000)
    conn.pump_until(lambda: conn.goaway)
    assert conn.goaway["deadline_ms"] == 60000
    late = topic.produce([Record(body=b"z")])
    assert [r.code for r in topic.results(late)] == ["SHUTTING_DOWN"]
    assert topic.results(batch)[0].outcome == wire.OK
    assert subscription.ack(*got) == [("OK", 1)] * 2
    assert conn.expect_end() is None
    with pytest.raises((ConnectionError, wire.Ended)):
        plane.connect()
    assert plane.process.wait(60) == 0 and time.monotonic() - started < 50


def test_drain_keeps_its_deadline(plane):
    plane.group("readers", plane.topic("orders"))
    conn = plane.connect()
    conn.open_topic("orders").send(b"x")
    conn.subscribe("readers").receive()
    started = time.monotonic()
    plane.drain(deadline_ms=500)
    conn.pump_until(lambda: conn.goaway)
    assert conn.expect_end().code == "SHUTTING_DOWN"
    assert plane.process.wait(60) == 0 and time.monotonic() - started >= 0.5


def test_drain_under_load(plane_with):
    plane = plane_with(workers=2)
    plane.group("readers", plane.topic("orders", partitions=4))
    sent, errors = [], []

    def send():
        try:
            with plane.connect() as conn:
                topic = conn.open_topic("orders")
                while True:
                    results = topic.send(*[b"x"] * 20)
                    sent.extend(r for r in results if r.outcome == wire.OK)
        except (wire.Ended, wire.Refused, OSError):
            pass
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(sent) > 1000 or errors)
    plane.drain(deadline_ms=3000)
    for thread in threads:
        thread.join(60)
    assert not errors
    assert plane.process.wait(60) == 0


def test_idle_source_is_closed_and_opened_again(plane_with):
    plane = plane_with(source_idle_ms=100)
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        first = conn.subscribe("readers")
        topic.send(b"one")
        (got,) = first.receive()
        first.close()

        def opened_again():
            time.sleep(0.4)
            second = conn.subscribe("readers")
            (again,) = second.receive()
            assert again.attempt == 1
            if again.epoch > got.epoch:
                return second, again
            second.close()  # it was not closed yet
            return None

        second, again = wait_for(opened_again)
        assert second.ack(got) == [("STALE", 0)] and second.ack(again) == [("OK", 1)]
