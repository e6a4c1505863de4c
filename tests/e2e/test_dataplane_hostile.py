"""Bytes that no client should send, peers that stop half way, and what each may cost."""
import contextlib
import os
import random
import struct
import time

import pytest
import wire
from plane import Plane
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from rest import wait_for
from wire import Record


@pytest.fixture
def conn(plane):  # pylint: disable=redefined-outer-name
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as made:
        yield made


def still_serves(plane):
    with plane.connect() as conn:
        return conn.ping() and conn.open_topic("orders").send(b"x")[0].outcome == wire.OK


# ---- before authentication


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, wire.PREFACE[:5] + b"garbage" * 9, b"\xcd", b""])
def test_other_protocols(plane, first):
    with plane.strange() as stranger:
        stranger.send_raw(first)
        if len(first) > 8:
            assert stranger.expect_end(timeout=5) is None
    assert plane.connect().ping()


def test_version_of_the_future(plane):
    with plane.strange() as stranger:
        stranger.send_raw(wire.PREFACE[:7] + b"\x02" + wire.frame(wire.HELLO))
        error = stranger.expect_end()
        assert error.code == "PROTOCOL" and "1" in error.fields["text"]


def test_byte_by_byte(plane):
    plane.topic("orders")
    with plane.strange() as slow:
        hello = wire.PREFACE + wire.frame(wire.HELLO, wire.fields_write(client_name="slow"))
        for at in range(len(hello)):
            slow.send_raw(hello[at : at + 1])
        slow.welcome = wire.fields_read(slow.expect(wire.WELCOME).payload)
        slow.authenticate("AK1", "correct-horse")
        topic = slow.open_topic("orders")
        whole = wire.frame(wire.PRODUCE, wire.produce_write(1, [Record(body=b"x" * 50)]), topic.id)
        for at in range(0, len(whole), 7):
            slow.send_raw(whole[at : at + 7])
            time.sleep(0.001)
        assert topic.results(1)[0].outcome == wire.OK


# ---- headers and payloads


@pytest.mark.parametrize(
    "wrong, code",
    [
        ({"type": wire.PING, "payload": b"12345678", "crc": 1}, "CORRUPT"),
        ({"type": wire.PING, "payload": b"12345678", "reserved": 1}, "PROTOCOL"),
        ({"type": wire.PING, "payload": b"1234567"}, "PROTOCOL"),
        ({"type": wire.PING, "payload": b"12345678", "flags": 1}, "PROTOCOL"),
        ({"type": 0x7F}, "PROTOCOL"),
        ({"type": wire.WELCOME}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "size": 2**32 - 1, "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "size": 2**23, "stream": 1}, "PROTOCOL"),
        ({"type": wire.OPEN_TOPIC, "payload": b"\x18\x00\xff\xff", "stream": 9}, "PROTOCOL"),
        ({"type": wire.OPEN_TOPIC, "payload": wire.fields_write(group="x"), "stream": 9}, "PROTOCOL"),
        ({"type": wire.OPEN_TOPIC, "payload": wire.fields_write(topic="x"), "stream": 2**31}, "PROTOCOL"),
        ({"type": wire.OPEN_TOPIC, "payload": b"\x01\x80\x00\x00", "stream": 9}, "PROTOCOL"),
        ({"type": wire.CREDIT, "payload": b"\0" * 23, "stream": 2}, "PROTOCOL"),
        ({"type": wire.SETTLE, "payload": b"\0" * 15, "stream": 2}, "PROTOCOL"),
        ({"type": wire.SETTLE, "payload": struct.pack("<QII", 1, 2**32 - 1, 0), "stream": 2}, "PROTOCOL"),
        ({"type": wire.CREDIT, "payload": wire.credit_write(1, 1), "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [Record(body=b"x")]), "stream": 2}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [Record(body=b"x")], count=2), "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [Record(body=b"x")] * 2, count=1), "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [], count=0), "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [], count=2**32 - 1), "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": b"\0" * 11, "stream": 1}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": b"\xff" * 40, "stream": 1, "flags": wire.LZ4}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": struct.pack("<I", 2**31) + b"x", "stream": 1, "flags": wire.LZ4}, "PROTOCOL"),
        ({"type": wire.PRODUCE, "payload": wire.produce_write(1, [Record(body=b"x")]), "stream": 1, "flags": wire.ZSTD}, "PROTOCOL"),
        ({"type": wire.CLOSE, "payload": b"x", "stream": 1}, "PROTOCOL"),
        ({"type": wire.GOAWAY, "stream": 3}, "PROTOCOL"),
    ],
)
def test_wrong_frames_end_the_connection(plane, conn, wrong, code):
    conn.open_topic("orders")
    conn.subscribe("readers")
    wrong = dict(wrong)
    conn.send_frame(wrong.pop("type"), wrong.pop("payload", b""), **wrong)
    assert conn.expect_end().code == code
    assert still_serves(plane)


def test_nothing_of_a_broken_frame_is_taken(plane, conn):
    topic = conn.open_topic("orders")
    good = wire.record_write(Record(body=b"good"))
    broken = struct.pack("<I", 10_000) + good[4:]
    conn.send_frame(wire.PRODUCE, struct.pack("<QI", 1, 2) + good + broken, topic.id)
    assert conn.expect_end().code == "PROTOCOL"
    with plane.connect() as other:
        assert other.open_topic("orders").send(b"first")[0].offset == 0


def test_stream_ids(conn):
    topic = conn.open_topic("orders")
    conn.send_frame(wire.OPEN_TOPIC, wire.fields_write(topic="orders"), topic.id)
    assert conn.expect_end().code == "PROTOCOL"


def test_frames_on_closed_streams_harm_nobody(plane, conn):
    topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
    assert topic.close()["code"] == 0 and subscription.close()["code"] == 0
    conn.ended.clear()  # what follows, a client never does
    conn.send_frame(wire.CREDIT, wire.credit_write(9, 9), subscription.id)
    conn.send_frame(wire.SETTLE, wire.settle_write(5, [wire.Entry(0, 0, 1, 0, 1, 1)]), subscription.id)
    assert wire.settled_read(conn.expect(wire.SETTLED, subscription.id).payload) == (5, [("STALE", 0)])
    conn.send_frame(wire.PRODUCE, wire.produce_write(1, [Record(body=b"x")]), topic.id)
    assert topic.results(1)[0].code == "NOT_FOUND"
    for stream in (topic, subscription):
        conn.send_frame(wire.CLOSE, b"", stream.id)
    assert conn.ping() and not conn.inbox and still_serves(plane)


def test_too_many_streams(plane_with):
    plane = plane_with(streams=3)
    plane.topic("orders")
    with plane.connect() as conn:
        for _ in range(3):
            conn.open_topic("orders")
        with pytest.raises(wire.Refused) as refused:
            conn.open_topic("orders")
        assert refused.value.code == "LIMIT_EXCEEDED" and conn.ping()


def test_noise(plane):
    """Frames of random type and content, valid checksum: each is answered or ends the connection, nothing more."""
    plane.group("readers", plane.topic("orders"))
    rng = random.Random(7)
    for _ in range(30):
        with plane.connect() as conn:
            conn.open_topic("orders")
            conn.subscribe("readers")
            try:
                for _ in range(20):
                    conn.send_frame(rng.choice([0x10, 0x12, 0x14, 0x20, 0x30, 0x32, 0x06, 0x08]), rng.randbytes(rng.choice([0, 8, 24, 56, 200])), rng.choice([0, 1, 2, 3]))
            except wire.Ended:
                pass
    assert still_serves(plane)


# ---- windows and memory


def test_past_the_window(plane, conn):
    topic = conn.open_topic("orders")
    left = conn.window - conn.produced_bytes
    payload = wire.produce_write(1, [Record(body=os.urandom(left // 2))])
    plane.topic("slow", physical="slow")
    slow = conn.open_topic("slow")
    conn.send_raw(2 * wire.frame(wire.PRODUCE, payload, slow.id))  # both before the first is answered
    assert conn.expect_end().code == "PROTOCOL"
    assert topic and still_serves(plane)


def test_window_rises_with_answers(plane, conn):
    topic = conn.open_topic("orders")
    first = conn.window
    for _ in range(12):
        topic.send(b"x" * 200_000)
    assert conn.window > first + 1_000_000
    assert conn.ping()


def test_window_grows_under_load_and_is_given_back(plane):
    plane.topic("slow", physical="slow")
    with plane.connect() as conn:
        topic, base = conn.open_topic("slow"), conn.window
        one = wire.frame(wire.PRODUCE, wire.produce_write(1, [Record(body=b"x" * 100_000)]), topic.id)
        conn.produced_bytes = base // len(one) * len(one)
        conn.send_raw(one * (base // len(one)))  # all of it in flight at once
        conn.pump_until(lambda: conn.window - conn.produced_bytes > base)
    assert plane.connect().window == base


def test_client_that_does_not_read_deliveries(plane_with):
    plane = plane_with(output=65536, max_message=65536, workers=1)
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as sender, plane.connect() as deaf, plane.connect() as reader:
        topic = sender.open_topic("orders")
        subscription = deaf.subscribe("readers")
        subscription.credit(2**40, 2**50)
        for _ in range(300):
            topic.send(*[b"x" * 1000] * 50)
        time.sleep(0.2)
        (row,) = [row for row in plane.query("CLIENTS")["clients"] if row["groups"]]
        assert row["in_flight"] < 14000  # what sockets and the output hold, not the 15,000 that are there
        assert topic.send(b"x")[0].outcome == wire.OK
        # It wakes up and gets all of it.
        assert len(subscription.receive(15001, credit=False)) == 15001
        assert reader.ping()


def test_client_that_does_not_read_answers(plane_with):
    plane = plane_with(output=65536, stalled_ms=700, workers=1)
    with plane.connect() as deaf, plane.connect() as other:
        deaf.socket.settimeout(5)
        ping = wire.frame(wire.PING, b"12345678") * 1000
        with pytest.raises((wire.Ended, OSError)):
            for _ in range(4000):
                deaf.send_raw(ping)
        assert other.ping()


# ---- half-open peers


def test_silent_peer_is_pinged_then_closed(plane_with):
    plane = plane_with(keepalive_ms=1500)
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as talking, plane.connect() as silent:
        talking.open_topic("orders").send(b"x")
        started = time.monotonic()
        silent.subscribe("readers").receive()
        silent.answer_pings = False
        subscription = talking.subscribe("readers")
        assert subscription.receive(1, timeout=20)[0].attempt == 1  # meanwhile it answers pings and stays
        assert time.monotonic() - started > 1.5
        assert silent.expect_end().code == "TIMEOUT"
        assert talking.ping()


@pytest.mark.parametrize("half", ["header", "payload"])
def test_peer_that_stops_in_a_frame(plane, conn, half):
    topic = conn.open_topic("orders")
    whole = wire.frame(wire.PRODUCE, wire.produce_write(1, [Record(body=b"x" * 500)]), topic.id)
    conn.send_raw(whole[: 9 if half == "header" else 300])
    conn.close()
    with plane.connect() as other:
        assert other.open_topic("orders").send(b"first")[0].offset == 0


def test_connections_come_and_go(plane_with):
    plane = plane_with(workers=2)
    plane.group("readers", plane.topic("slow", physical="slow"))
    for n in range(60):
        conn = plane.connect()
        topic, subscription = conn.open_topic("slow"), conn.subscribe("readers")
        subscription.credit(5)
        topic.produce([Record(body=b"x")] * 5)
        if n % 3:
            conn.reset()
        else:
            conn.close()
    wait_for(lambda: plane.totals()["connections"] == 0)
    # Some had been delivered to consumers that were lost: one that told nothing of what it began would get those one by one.
    with plane.connect(begun=True) as conn:
        assert len(conn.subscribe("readers").receive(300)) == 300


# ---- the machine's limits


def test_descriptors_run_out(plane_with):
    plane = plane_with(descriptors=48, workers=1)
    plane.topic("orders")
    with plane.connect() as inside:
        topic = inside.open_topic("orders")
        crowd = [plane.strange() for _ in range(60)]
        time.sleep(0.5)
        assert topic.send(b"x")[0].outcome == wire.OK  # connected clients notice nothing
        for conn in crowd:
            conn.close()

        def gets_in():
            with contextlib.suppress(wire.Refused, wire.Ended), plane.connect() as conn:
                return conn.ping()

        wait_for(gets_in)


def test_port_in_use(plane, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    with pytest.raises(AssertionError, match=f"127.0.0.1:{plane.port}: cannot listen: Address already in use"):
        Plane(second, listen=f"127.0.0.1:{plane.port}")
    for _ in range(20):  # and the first has lost no connection to it
        plane.connect().close()
