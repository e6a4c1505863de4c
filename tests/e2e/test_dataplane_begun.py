"""What lies in a consumer's hand: what it tells of what it begins (feature BEGUN), and what becomes of it when it is lost."""
import ssl
import time

import pytest
import wire
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from test_dataplane_access import certificate  # pylint: disable=unused-import


def marks(deliveries):
    return [(d.offset, d.attempt, d.flags) for d in deliveries]


def held(plane, conn, count, **group):
    """A group with `count` messages, all of them in the hand of the connection's subscription."""
    plane.group("readers", plane.topic("orders"), **group)
    with plane.connect() as sender:
        sender.open_topic("orders").send(*[b"%d" % n for n in range(count)])
    subscription = conn.subscribe("readers")
    return subscription, subscription.receive(count)


def test_only_what_has_begun_becomes_a_suspect(plane):
    conn = plane.connect(begun=True)
    subscription, got = held(plane, conn, 5)
    assert marks(got) == [(n, 1, 0) for n in range(5)]
    subscription.begin(got[1])
    assert subscription.ack(got[0]) == [("OK", 1)]
    conn.reset()
    with plane.connect(begun=True) as other:
        again = other.subscribe("readers").receive(4)
        assert marks(again) == [(1, 1, wire.SUSPECT), (2, 1, 0), (3, 1, 0), (4, 1, 0)]
        consumed = plane.totals()["consume"]
        assert (consumed["lost"], consumed["released"], consumed["timeouts"]) == (1, 3, 0)


@pytest.mark.parametrize("how", ["close", "reset", "unsubscribe", "protocol"])
def test_first_loss_is_free_and_each_later_one_counts(plane, how):
    """The message that kills dies after max_attempts + 1 losses; the one beside it keeps its attempt."""
    plane.dead_lettered("readers", plane.topic("orders"), max_attempts=3, retry_delay_ms=20, retry_delay_max_ms=20)
    with plane.connect() as sender:
        sender.open_topic("orders").send(b"poison", b"innocent")
    seen = []
    for _ in range(4):
        conn = plane.connect(begun=True)
        subscription = conn.subscribe("readers")
        subscription.credit(10)
        poison = subscription.receive(1, credit=False)[0]
        while poison.record.body != b"poison":
            poison = subscription.receive(1, credit=False)[0]
        seen.append((poison.attempt, poison.flags))
        subscription.begin(subscription.delivered)  # all of it, also the innocent one if it is there
        if how == "unsubscribe":
            subscription.close()
        elif how == "protocol":
            subscription.begin(99)
            assert conn.expect_end().code == "PROTOCOL"
        else:
            getattr(conn, how)()
        conn.close()
    assert seen == [(1, 0), (1, wire.SUSPECT), (2, wire.SUSPECT), (3, wire.SUSPECT | wire.LAST)]
    with plane.connect(begun=True) as conn:
        (dead,) = conn.subscribe("readers.dead-readers").receive()
        assert (dead.record.body, dead.record.header("mqp-attempts")) == (b"poison", b"3")


def test_a_loss_that_counts_waits_by_the_schedule(plane):
    plane.group("readers", plane.topic("orders"), retry_delay_ms=3000, retry_delay_max_ms=3000)
    with plane.connect() as sender:
        sender.open_topic("orders").send(b"poison")
    lost = time.monotonic()
    for waits in (False, False, True):
        with plane.connect(begun=True) as conn:
            subscription = conn.subscribe("readers")
            subscription.begin(subscription.receive()[0])
            assert (time.monotonic() - lost > 2.2) == waits
            lost = time.monotonic()


@pytest.mark.parametrize("begun", [True, False])
def test_an_end_that_the_proxy_decides_counts_nothing(plane, begun):
    conn = plane.connect(begun=begun)
    subscription, got = held(plane, conn, 2)
    if begun:
        subscription.begin(got[1])
    assert conn.ping()
    plane.query("KICK", tenant=1)
    assert conn.expect_end().code == "KICKED"
    with plane.connect(begun=True) as other:
        assert marks(other.subscribe("readers").receive(2)) == [(0, 1, 0), (1, 1, 0)]
        assert plane.totals()["consume"]["released"] == 2


@pytest.mark.parametrize("numbers", [[4], [2, 1]])
def test_begun_is_neither_ahead_of_deliveries_nor_falls(plane, numbers):
    conn = plane.connect(begun=True)
    subscription, _ = held(plane, conn, 3)
    for number in numbers:
        subscription.begin(number)
    assert conn.expect_end().code == "PROTOCOL"


@pytest.mark.parametrize("begun", [True, False])
def test_size_of_credit_follows_the_feature(plane, begun):
    conn = plane.connect(begun=begun)
    subscription, _ = held(plane, conn, 1)
    conn.send_frame(wire.CREDIT, wire.credit_write(9, 9999, 0, None if begun else 0), subscription.id)
    assert conn.expect_end().code == "PROTOCOL"


def test_an_old_number_is_stale(plane):
    """A released message keeps its attempt; the earlier receipt does not settle it."""
    with plane.connect(begun=True) as conn:
        subscription, got = held(plane, conn, 3)
        assert subscription.release(got[0]) == [("OK", 1)]
        (again,) = subscription.receive()
        assert (again.offset, again.attempt, again.number) == (0, 1, 4)
        assert subscription.ack(got[0]) == [("STALE", 0)]
        # A run counts on from its first number: that of the first has changed.
        run = wire.Entry(wire.ACK, 0, again.epoch, 0, 3, 1, 0, got[0].number)
        assert subscription.settle_entries([run]) == [("STALE", 2)]
        assert subscription.ack(again) == [("OK", 1)]


def test_a_run_over_the_edge_of_a_frame(plane):
    """Deliveries are counted over frames: one of 300 KB and more lie in several."""
    plane.group("readers", plane.topic("orders"))
    with plane.connect(begun=True) as conn:
        conn.open_topic("orders").send(*[bytes(10_000)] * 30)
        subscription = conn.subscribe("readers")
        got = subscription.receive(30)
        run = wire.Entry(wire.ACK, 0, got[0].epoch, 0, 30, 1, 0, 1)
        assert subscription.settle_entries([run]) == [("OK", 30)]


def test_suspects_of_a_client_that_does_not_tell(plane):
    """It gets one when it holds nothing, and nothing beside it."""
    conn = plane.connect()
    held(plane, conn, 3)
    conn.reset()
    with plane.connect() as other:
        subscription = other.subscribe("readers")
        subscription.credit(10)
        for offset in range(3):
            (got,) = subscription.receive(1, credit=False)
            assert (got.offset, got.attempt, got.flags) == (offset, 1, 0)
            assert subscription.receive_nothing(0.05)
            assert subscription.ack(got) == [("OK", 1)]


def test_silence_ends_a_subscription(plane):
    """No frame for half of the visibility timeout when something is overdue: CLOSED(TIMEOUT). What had begun is a suspect, nothing counts."""
    with plane.connect(begun=True) as conn:
        subscription, got = held(plane, conn, 3, visibility_ms=2000)
        started = time.monotonic()
        subscription.begin(got[0])
        with pytest.raises(wire.Refused, match="TIMEOUT"):
            subscription.receive_nothing(60)
        assert time.monotonic() - started >= 2
        # A settle that crosses it, and one after it, do no harm.
        subscription.settle(wire.ACK, *got, wait=False)
        again = conn.subscribe("readers")
        assert marks(again.receive(3)) == [(0, 1, wire.SUSPECT), (1, 1, 0), (2, 1, 0)]
        assert plane.totals()["consume"]["timeouts"] == 0


def test_what_has_not_begun_lives_as_long_as_its_subscription(plane):
    with plane.connect(begun=True) as conn:
        started = time.monotonic()
        subscription, got = held(plane, conn, 2, visibility_ms=2500)
        subscription.credit(2)
        while time.monotonic() - started < 4:
            assert subscription.receive_nothing(0.1)
            subscription.begin(0)  # a sign of life
        assert subscription.ack(*got) == [("OK", 1)] * 2


def test_time_of_a_delivery_begins_when_that_is_told(plane):
    with plane.connect(begun=True) as conn:
        subscription, got = held(plane, conn, 2, visibility_ms=2000)
        time.sleep(0.5)
        subscription.begin(0)
        time.sleep(0.5)
        started = time.monotonic()
        subscription.begin(got[0])
        subscription.credit(1)
        while subscription.receive_nothing(0.05):
            assert time.monotonic() - started < 30
            subscription.begin(got[0])  # it lives, so this one is late by itself
        assert time.monotonic() - started >= 2
        (again,) = subscription.receive(1, credit=False)
        assert (again.offset, again.attempt, again.flags) == (0, 2, 0)
        assert subscription.ack(got[1]) == [("OK", 1)]


def last_words(plane, **options):
    """A client that does not read, so that it is not read either, says what it has begun and done, and dies."""
    plane.dead_lettered("readers", plane.topic("orders"), max_attempts=1)
    with plane.connect() as sender:
        topic = sender.open_topic("orders")
        for _ in range(120):
            topic.send(bytes(100_000))
    conn = plane.connect(begun=True, **options)
    subscription = conn.subscribe("readers")
    first = subscription.receive(1)[0]
    subscription.credit(119, 32 << 20)
    time.sleep(0.5)  # the output is full, and what comes is not read
    subscription.begin(first)
    subscription.settle(wire.ACK, first, wait=False)
    conn.reset()
    while plane.query("CLIENTS")["clients"]:
        time.sleep(0.02)
    with plane.connect(begun=True) as other:
        assert other.subscribe("readers").receive(1)[0].offset == 1
        consumed = plane.totals()["consume"]
        assert (consumed["acked"], consumed["lost"]) == (1, 0)


def test_last_words_are_read_after_a_failed_write(plane):
    last_words(plane)


def test_last_words_over_tls(plane_with, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    last_words(plane_with(cert=certificate[0], key=certificate[1]), tls=context, server_name="localhost")
