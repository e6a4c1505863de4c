"""The main job over the wire: send, consume, settle; what comes again, and what ends as a dead letter."""
import contextlib
import dataclasses
import time

import pytest
import wire
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from wire import Record


def bodies(deliveries):
    return [delivery.record.body for delivery in deliveries]


def test_send_consume_ack(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        results = conn.open_topic("orders").send(b"one", b"two", b"three")
        assert [(r.outcome, r.durability, r.offset) for r in results] == [(wire.OK, 1, 0), (wire.OK, 1, 1), (wire.OK, 1, 2)]
        subscription = conn.subscribe("readers")
        assert subscription.opened["topic_of_group"] == "orders"
        got = subscription.receive(3)
        assert bodies(got) == [b"one", b"two", b"three"]
        assert {d.attempt for d in got} == {1}
        assert subscription.ack(*got) == [("OK", 1)] * 3
        assert subscription.ack(got[0]) == [("STALE", 0)]
        assert subscription.receive_nothing(0.1)


def test_message_arrives_as_it_was(plane):
    plane.group("readers", plane.topic("orders", partitions=8))
    sent = Record(
        body=b"\0\xff" * 100, key=b"", headers=[("a", b"1"), ("a", None), ("ü", b"")], ttl_ms=60000, priority=7, partition=5, tag="tag", trace=bytes(range(25))
    )
    with plane.connect() as conn:
        (result,) = conn.open_topic("orders").send(sent)
        assert result.partition == 5
        (got,) = conn.subscribe("readers").receive()
        assert got.record == sent and got.partition == 5
        assert abs(got.stored_ms - time.time() * 1000) < 60000


def test_keys_choose_the_partition(plane):
    plane.topic("orders", partitions=7)
    with plane.connect() as conn:
        keys = [b"", b"a", b"key-%d" % 7, b"\0" * 33]
        results = conn.open_topic("orders").send(*(Record(body=b"x", key=key) for key in keys))
        assert [r.partition for r in results] == [wire.partition_of(key, 7) for key in keys]


def test_records_fail_alone(plane):
    plane.topic("orders", message_bytes=200)
    good = wire.record_write(Record(body=b"x"))
    bad = bytearray(wire.record_write(Record(body=b"x")))
    bad[4] |= 0x80 | 8  # claims parts that are not there
    large = wire.record_write(Record(body=b"x" * 300))
    elsewhere = wire.record_write(Record(body=b"x", partition=3))
    due = wire.record_write(Record(body=b"x", due_ms=1))
    records = [good, bytes(bad), good, large, elsewhere, due, good]
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        payload = (1).to_bytes(8, "little") + len(records).to_bytes(4, "little") + b"".join(records)
        conn.send_frame(wire.PRODUCE, payload, topic.id)
        assert [r.code for r in topic.results(1)] == ["OK", "BAD_REQUEST", "OK", "TOO_LARGE", "BAD_REQUEST", "UNSUPPORTED_BY_BACKEND", "OK"]


@pytest.mark.parametrize("codec", [wire.LZ4, wire.ZSTD])
def test_codecs(plane, codec):
    plane.group("readers", plane.topic("orders"))
    with plane.connect(codecs=7) as conn:
        topic = conn.open_topic("orders")
        assert [r.outcome for r in topic.send(b"one", b"two", codec=codec)] == [wire.OK] * 2
        assert bodies(conn.subscribe("readers").receive(2)) == [b"one", b"two"]


def test_oneway_and_its_drops(plane):
    plane.group("readers", plane.topic("orders", message_bytes=100))
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        topic.produce([Record(body=b"one"), Record(body=b"x" * 200)], oneway=True)
        assert bodies(conn.subscribe("readers").receive()) == [b"one"]
        produced = plane.totals()["produce"]
        assert (produced["messages"], produced["ok"], produced["rejected"], produced["dropped"]) == (2, 1, 1, 1)


@pytest.mark.parametrize("physical, outcome, code", [("full", wire.REJECTED, "BACKEND_FULL"), ("unknown", wire.UNKNOWN, "TIMEOUT")])
def test_outcomes_of_the_backend(plane, physical, outcome, code):
    plane.topic("orders", physical=physical)
    with plane.connect() as conn:
        results = conn.open_topic("orders").send(b"one", b"two")
        assert [(r.outcome, r.code) for r in results] == [(outcome, code)] * 2


def test_large_messages(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        sent = [bytes([n]) * (20_000 * n) for n in range(1, 8)]
        for body in sent:
            assert topic.send(body)[0].outcome == wire.OK
        assert bodies(subscription.receive(len(sent))) == sent


# ---- what comes again


def test_nack_with_delay(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one", b"two")
        subscription = conn.subscribe("readers")
        first, second = subscription.receive(2)
        started = time.monotonic()
        assert subscription.nack(first, delay_ms=200) == [("OK", 1)]
        assert subscription.ack(second) == [("OK", 1)]
        (again,) = subscription.receive()
        assert time.monotonic() - started >= 0.2
        assert (again.offset, again.attempt) == (first.offset, 2)
        assert subscription.ack(first) == [("STALE", 0)]  # the first attempt's receipt
        assert subscription.ack(again) == [("OK", 1)]


def test_timeout(plane):
    plane.group("readers", plane.topic("orders"), visibility_ms=1500)
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one", b"two")
        subscription = conn.subscribe("readers")
        started = time.monotonic()
        lost, kept = subscription.receive(2)
        assert subscription.extend(kept, ms=300000) == [("OK", 1)]
        (again,) = subscription.receive()
        assert 1.5 <= time.monotonic() - started < 30  # not kept's, which was extended
        assert (again.offset, again.attempt) == (lost.offset, 2)
        assert subscription.ack(lost) == [("STALE", 0)]
        assert subscription.ack(again, kept) == [("OK", 1)] * 2
        assert plane.totals()["consume"]["timeouts"] == 1


def test_release_counts_no_attempt(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one")
        subscription = conn.subscribe("readers")
        (first,) = subscription.receive()
        assert subscription.release(first) == [("OK", 1)]
        (again,) = subscription.receive()
        assert again.attempt == 1


@pytest.mark.parametrize("how", ["close", "reset", "unsubscribe"])
def test_consumer_loss(plane, how):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as other:
        other.open_topic("orders").send(b"one", b"two", b"three")
        conn = plane.connect()
        lost = conn.subscribe("readers")
        got = lost.receive(3)
        lost.ack(got[1])
        if how == "unsubscribe":
            lost.close()
        else:
            getattr(conn, how)()
        subscription = other.subscribe("readers")
        for offset in (0, 2):  # suspects, which go alone to a client that does not tell what it begins
            (again,) = subscription.receive(1)
            assert (again.offset, again.attempt) == (offset, 1)
            assert subscription.ack(again) == [("OK", 1)]
        conn.close()


def test_foreign_receipts_are_stale(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as one, plane.connect() as two:
        one.open_topic("orders").send(b"one")
        mine, other = one.subscribe("readers"), two.subscribe("readers")
        (got,) = mine.receive()
        assert other.ack(got) == [("STALE", 0)]
        assert mine.ack(got._replace(epoch=got.epoch + 1), got._replace(offset=77), got._replace(partition=9)) == [("STALE", 0)] * 3
        assert mine.ack(got) == [("OK", 1)]


def test_runs_settle_together(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(*[b"x"] * 10)
        subscription = conn.subscribe("readers")
        got = subscription.receive(10)
        subscription.ack(got[4])
        run = wire.Entry(wire.ACK, 0, got[0].epoch, 0, 10, 1)
        assert subscription.settle_entries([run]) == [("STALE", 9)]
        assert subscription.receive_nothing(0.05)


# ---- dead letters


def test_last_attempt_becomes_a_dead_letter(plane):
    plane.dead_lettered("readers", plane.topic("orders"), max_attempts=2)
    with plane.connect() as conn:
        sent = Record(body=b"poison", key=b"k", headers=[("h", b"v")])
        conn.open_topic("orders").send(sent)
        subscription = conn.subscribe("readers")
        assert (subscription.opened["max_attempts"], subscription.opened["dead_letter"]) == (2, "readers.dead")
        for attempt in (1, 2):
            (got,) = subscription.receive()
            assert got.attempt == attempt
            subscription.nack(got, delay_ms=0)
        (dead,) = conn.subscribe("readers.dead-readers").receive()
        assert (dead.record.id, dead.record.key, dead.record.body) == (sent.id, b"k", b"poison")
        assert dead.record.headers == [("h", b"v"), ("mqp-origin", b"orders/0/0"), ("mqp-reason", b"ATTEMPTS"), ("mqp-attempts", b"2")]
        assert subscription.receive_nothing(0.05)
        assert plane.totals()["consume"]["dead"] == 1


def test_reject_is_answered_when_the_copy_is_stored(plane):
    plane.dead_lettered("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one", b"two")
        subscription = conn.subscribe("readers")
        one, two = subscription.receive(2)
        assert subscription.reject(one) == [("OK", 1)]
        dead = conn.subscribe("readers.dead-readers")
        (copy,) = dead.receive()
        assert (copy.record.body, copy.record.header("mqp-reason"), copy.record.header("mqp-attempts")) == (b"one", b"REJECTED", b"1")
        assert subscription.ack(two) == [("OK", 1)]
        assert subscription.receive_nothing(0.05)


def test_reject_without_dead_letters(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one")
        subscription = conn.subscribe("readers")
        (got,) = subscription.receive()
        assert subscription.reject(got) == [("UNSUPPORTED_BY_BACKEND", 0)]
        assert subscription.ack(got) == [("OK", 1)]


PARTS = {"body": b"b", "key": b"k", "headers": [("h", b"v"), ("h", None)], "priority": 7, "tag": "urgent", "trace": bytes(range(25))}


@pytest.mark.parametrize("parts", [PARTS, {}, *({name: value} for name, value in PARTS.items())], ids=["all", "none", *PARTS])
def test_dead_letter_is_the_message(plane, parts):
    """Each of its parts, and no part that it has not; with three more headers, and without the time to live and the partition that it had."""
    plane.dead_lettered("readers", plane.topic("orders"))
    with plane.connect() as conn:
        sent = Record(**parts)
        assert conn.open_topic("orders").send(dataclasses.replace(sent, ttl_ms=3600000, partition=0))[0].code == "OK"
        subscription = conn.subscribe("readers")
        assert subscription.reject(*subscription.receive()) == [("OK", 1)]
        (copy,) = conn.subscribe("readers.dead-readers").receive()
        more = [("mqp-origin", b"orders/0/0"), ("mqp-reason", b"REJECTED"), ("mqp-attempts", b"1")]
        assert copy.record == dataclasses.replace(sent, headers=sent.headers + more)


@pytest.mark.parametrize("physical", ["heal", "clear"])
def test_dead_letter_waits_for_its_topic(plane, physical):
    """A copy that was refused, or of which it is not known whether it is stored, is sent again until one is."""
    group, dead = plane.new_id(), plane.new_id()
    plane.topic("readers.dead", dead, physical=physical, dead_letter_of=group)
    plane.group("readers", plane.topic("orders"), group, dead_letter_topic=dead, max_attempts=1)
    plane.group("dead-readers", dead)
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one")
        subscription = conn.subscribe("readers")
        subscription.nack(*subscription.receive())
        (got,) = conn.subscribe("dead-readers").receive()
        assert got.record.body == b"one"


def test_loss_of_the_last_consumer_on_the_last_attempt(plane):
    plane.dead_lettered("readers", plane.topic("orders"), max_attempts=1)
    with plane.connect() as conn:
        conn.open_topic("orders").send(b"one")
        for _ in range(2):  # the first loss is free
            with plane.connect() as lost:
                assert lost.subscribe("readers").receive()[0].attempt == 1
                lost.reset()
        (dead,) = conn.subscribe("readers.dead-readers").receive()
        assert dead.record.body == b"one"


# ---- credit and sharing


def test_credit_is_kept(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(*[b"x" * 100] * 20)
        subscription = conn.subscribe("readers")
        subscription.credit(3)
        assert len(subscription.receive(3, credit=False)) == 3
        assert subscription.receive_nothing(0.1)
        subscription.credit(5, bytes=-(1 << 20) + 300)
        assert len(subscription.receive(2, credit=False)) == 2


def test_drain(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        subscription = conn.subscribe("readers")
        assert subscription.drain() == []
        conn.open_topic("orders").send(b"one", b"two", b"three")
        subscription.credit(2)
        assert bodies(subscription.drain()) == [b"one", b"two"]
        subscription.credit(10)
        assert bodies(subscription.drain()) == [b"three"]
        conn.open_topic("orders").send(b"four")
        assert subscription.receive_nothing(0.1)


def test_consumers_share(plane):
    plane.group("readers", plane.topic("orders", partitions=4))
    with plane.connect() as sender, plane.connect() as one, plane.connect() as two:
        a, b = one.subscribe("readers"), two.subscribe("readers")
        a.credit(1000)
        b.credit(1000)
        topic, sent = sender.open_topic("orders"), 0
        got = {a: [], b: []}
        # Not half each: the first messages may be there long before the second one's credit is.
        while sent < 400 or min(map(len, got.values())) <= 50:
            assert sent < 900, "one of them gets too little"
            topic.send(*(b"%d" % (sent + k) for k in range(10)))
            sent += 10
            while sum(map(len, got.values())) < sent:
                for each, deliveries in got.items():
                    with contextlib.suppress(TimeoutError):
                        deliveries += each.receive(timeout=0.02, credit=False)
        assert sorted(int(body) for body in bodies(got[a] + got[b])) == list(range(sent))


# ---- modes of a group (numbers of enum group_mode)

EXCLUSIVE, FAILOVER = 1, 2


def test_exclusive_group_has_one_consumer(plane):
    plane.group("readers", plane.topic("orders"), mode=EXCLUSIVE)
    with plane.connect() as conn, plane.connect() as other:
        conn.open_topic("orders").send(b"one", b"two")
        first = conn.subscribe("readers")
        (got,) = first.receive()
        with pytest.raises(wire.Refused) as refused:
            other.subscribe("readers")
        assert (refused.value.code, refused.value.fields["text"]) == ("IN_USE", "the group is exclusive and has its consumer")
        assert first.ack(got) == [("OK", 1)]
        first.close()
        assert bodies(other.subscribe("readers").receive(1)) == [b"two"]


def test_failover_group_serves_the_oldest(plane):
    plane.group("readers", plane.topic("orders"), mode=FAILOVER)
    with plane.connect() as sender, plane.connect() as second, plane.connect() as third:
        first = plane.connect()
        subscriptions = [conn.subscribe("readers") for conn in (first, second, third)]
        for subscription in subscriptions:
            subscription.credit(100)
        sender.open_topic("orders").send(b"one", b"two", b"three")
        got = subscriptions[0].receive(3, credit=False)
        assert subscriptions[0].ack(got[1]) == [("OK", 1)]
        assert subscriptions[1].receive_nothing(0.1) and subscriptions[2].receive_nothing(0.1)
        first.reset()
        for body in (b"one", b"three"):
            (again,) = subscriptions[1].receive(1, credit=False)
            assert (again.record.body, again.attempt) == (body, 1)
            assert subscriptions[1].ack(again) == [("OK", 1)]
        sender.open_topic("orders").send(b"four")
        assert bodies(subscriptions[1].receive(1, credit=False)) == [b"four"]
        assert subscriptions[2].receive_nothing(0.1)
