"""Frames in states where they do not belong, payloads whose size is a lie, and how much one client or tenant can make a proxy hold."""
import contextlib
import struct
import time

import pytest
import wire
from plane import CONSUME, KEY, PRODUCE, SECRET, TENANT, UNLIMITED
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from rest import wait_for
from wire import Record

EARLY = {wire.HELLO: "preface", wire.AUTH: "hello"}
BY_CLIENT = [wire.HELLO, wire.AUTH, wire.PING, wire.PONG, wire.GOAWAY, wire.OPEN_TOPIC, wire.SUBSCRIBE, wire.CLOSE, wire.PRODUCE, wire.CREDIT, wire.SETTLE]
BY_SERVER = [wire.WELCOME, wire.READY, wire.ERROR, wire.ADDRESSES, wire.THROTTLE, wire.TOPIC_OPENED, wire.SUBSCRIBED, wire.CLOSED, wire.PRODUCED, wire.WINDOW, wire.DELIVER, wire.SETTLED, wire.DRAINED]
STREAMED = {wire.OPEN_TOPIC, wire.SUBSCRIBE, wire.CLOSE, wire.PRODUCE, wire.CREDIT, wire.SETTLE, wire.TOPIC_OPENED, wire.SUBSCRIBED, wire.CLOSED, wire.PRODUCED, wire.DELIVER, wire.SETTLED, wire.DRAINED}  # fmt: skip
NAMES = {number: name for name, number in vars(wire).items() if name.isupper() and isinstance(number, int) and number in BY_CLIENT + BY_SERVER and name not in wire.CODES}


def well_formed(type):
    """A payload that would be fine in its own place."""
    return {
        wire.HELLO: lambda: wire.fields_write(client_name="x", codecs=1),
        wire.AUTH: lambda: wire.fields_write(mechanism="SCRAM-SHA-256", sasl=wire.Scram("AK1", SECRET).first()),
        wire.PING: lambda: b"12345678",
        wire.PONG: lambda: b"12345678",
        wire.OPEN_TOPIC: lambda: wire.fields_write(topic="orders"),
        wire.SUBSCRIBE: lambda: wire.fields_write(group="readers"),
        wire.PRODUCE: lambda: wire.produce_write(1, [Record(body=b"stolen")]),
        wire.CREDIT: lambda: wire.credit_write(9, 9),
        wire.SETTLE: lambda: wire.settle_write(1, [wire.Entry(wire.ACK, 0, 1, 0, 1, 1)]),
    }.get(type, lambda: b"")()


def in_state(plane, state):
    """A connection that has come so far."""
    conn = plane.strange()
    conn.send_raw(wire.PREFACE)
    if state in ("hello", "auth"):
        conn.send_frame(wire.HELLO, well_formed(wire.HELLO))
        conn.welcome = wire.fields_read(conn.expect(wire.WELCOME).payload)
    if state == "auth":
        conn.send_frame(wire.AUTH, well_formed(wire.AUTH))
        conn.expect(wire.AUTH)
    return conn


def untouched(plane):
    """Nothing was stored, nothing is delivered, and the plane serves."""
    with plane.connect() as conn:
        return conn.open_topic("orders").send(b"first")[0].offset == 0


# ---- each frame in each state


@pytest.mark.parametrize("state", ["preface", "hello", "auth"])
def test_frames_before_their_time(plane, state):
    plane.group("readers", plane.topic("orders"))
    for type in BY_CLIENT + BY_SERVER:
        if EARLY.get(type) == state or (type, state) == (wire.AUTH, "auth"):
            continue
        with in_state(plane, state) as conn:
            conn.send_frame(type, well_formed(type), 1 if type in STREAMED else 0)
            assert conn.expect_end().code == "PROTOCOL", NAMES[type]
    assert untouched(plane)


def test_frames_of_the_server_from_a_client(plane):
    plane.group("readers", plane.topic("orders"))
    for type in BY_SERVER + [wire.HELLO, wire.AUTH]:
        with plane.connect() as conn:
            conn.open_topic("orders")
            conn.send_frame(type, well_formed(type), 1 if type in STREAMED else 0)
            assert conn.expect_end().code == "PROTOCOL", NAMES[type]
    assert untouched(plane)


def test_streams_that_a_type_may_not_have(plane):
    plane.group("readers", plane.topic("orders"))
    for type in BY_CLIENT:
        with plane.connect() as conn:
            conn.send_frame(type, well_formed(type), 0 if type in STREAMED else 1)
            assert conn.expect_end().code == "PROTOCOL", NAMES[type]
    assert untouched(plane)


def test_frames_after_goaway(plane):
    """A client that has said GOAWAY and goes on: refused kindly, what it holds stays its own."""
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        topic.send(b"one", b"two")
        subscription.credit(1)
        (got,) = subscription.receive(1, credit=False)
        conn.leave()
        late = topic.produce([Record(body=b"late")])
        assert [(r.outcome, r.code) for r in topic.results(late)] == [(wire.REJECTED, "SHUTTING_DOWN")]
        for opens in (lambda: conn.open_topic("orders"), lambda: conn.subscribe("readers")):
            with pytest.raises(wire.Refused, match="SHUTTING_DOWN"):
                opens()
        subscription.credit(5)
        assert conn.ping()
        assert subscription.ack(got) == [("OK", 1)]
        conn.expect_end()
    with plane.connect() as other:
        assert [d.record.body for d in other.subscribe("readers").receive(1)] == [b"two"]


# ---- sizes that do not match


def lz4_zeros(head, zeros, tail=b"\0" * 8):
    """An LZ4 block of `head`, zero bytes and `tail`: 255 bytes become one."""
    literals = head + b"\0"
    block = wire.lz4_literals(literals)
    match = zeros - 1
    more, last = divmod(match - 4 - 15, 255)
    block = bytes([block[0] | 15]) + block[1:] + struct.pack("<H", 1) + b"\xff" * more + bytes([last])
    return block + bytes([len(tail) << 4]) + tail


def bomb(size, batch=1):
    """A PRODUCE payload of one record whose body is `size` zero bytes, compressed; and what it becomes."""
    whole = wire.produce_write(batch, [Record(body=b"\0" * size)])
    block = lz4_zeros(whole[: len(whole) - size], size - 8)
    assert wire.lz4_read(block) == whole
    return struct.pack("<I", len(whole)) + block, len(whole)


LIES = {
    "larger than it becomes": (lambda plain, block: struct.pack("<I", plain + 1) + block, "CORRUPT"),
    "smaller than it becomes": (lambda plain, block: struct.pack("<I", plain - 1) + block, "CORRUPT"),
    "nothing": (lambda plain, block: struct.pack("<I", 0) + block, "CORRUPT"),
    "above the largest frame": (lambda plain, block: struct.pack("<I", 2**31) + block, "PROTOCOL"),
    "more behind the block": (lambda plain, block: struct.pack("<I", plain) + block + b"\0", "CORRUPT"),
    "a block cut short": (lambda plain, block: struct.pack("<I", plain) + block[:-5], "CORRUPT"),
    "no block": (lambda plain, block: struct.pack("<I", plain), "CORRUPT"),
    "not even a size": (lambda plain, block: b"\1\0", "CORRUPT"),
}


@pytest.mark.parametrize("codec", [wire.LZ4, wire.ZSTD])
@pytest.mark.parametrize("lie", LIES)
def test_plain_sizes_that_lie(plane, codec, lie):
    plane.topic("orders")
    make, code = LIES[lie]
    plain = wire.produce_write(1, [Record(body=b"stolen" * 50)])
    with plane.connect(codecs=7) as conn:
        topic = conn.open_topic("orders")
        conn.send_frame(wire.PRODUCE, make(len(plain), wire.pack(codec, plain)[4:]), topic.id, codec)
        assert conn.expect_end().code == code
    assert untouched(plane)


@pytest.mark.parametrize("at, value", [(0, 39), (0, 0), (0, 2**32 - 1), (32, 2**32 - 1), (36, 2**31)], ids=str)
def test_record_sizes_that_lie(plane, at, value):
    """A record whose own sizes do not add up fails alone when it still ends where it says, else the frame does."""
    plane.topic("orders")
    record = bytearray(wire.record_write(Record(body=b"x", key=b"k")))
    struct.pack_into("<I", record, at, value)
    with plane.connect() as conn:
        topic = conn.open_topic("orders")
        conn.send_frame(wire.PRODUCE, struct.pack("<QI", 1, 1) + bytes(record), topic.id)
        if at == 0:
            assert conn.expect_end().code == "PROTOCOL"
        else:
            assert [r.code for r in topic.results(1)] == ["BAD_REQUEST"]
    assert untouched(plane)


# ---- credit as large as numbers go


def test_credit_without_end(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        conn.send_frame(wire.CREDIT, wire.credit_write(2**64 - 1, 2**64 - 1), subscription.id)
        conn.send_frame(wire.CREDIT, wire.credit_write(1, 1), subscription.id)  # less than before: means nothing
        topic.send(*[b"x"] * 50)
        got = subscription.receive(50, credit=False)
        assert subscription.ack(*got) == [("OK", 1)] * 50


def test_settle_of_everything_there_could_be(plane):
    """Runs of four billion offsets are answered at once, and only what was delivered is settled."""
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        conn.open_topic("orders").send(*[b"x"] * 3)
        subscription = conn.subscribe("readers")
        got = subscription.receive(3)
        run = wire.Entry(wire.ACK, 0, got[0].epoch, 0, 2**32 - 1, 1)
        started = time.process_time(), time.monotonic()
        answers = subscription.settle_entries([run] + [run] * 1000)
        assert answers == [("STALE", 3)] + [("STALE", 0)] * 1000
        assert time.monotonic() - started[1] < 30
        assert conn.ping()


# ---- memory


def test_bombs_are_held_within_the_tenants_memory(plane_with):
    """4 KB become 1 MB each: beyond the window and the tenant's memory they are OVERLOADED, and all of it is given back."""
    plane = plane_with(tenant_window=4 << 20, workers=1)
    plane.topic("slow", physical="slow")
    with plane.connect(codecs=7) as conn, plane.connect() as other:
        topic = conn.open_topic("slow")
        for round in range(2):
            frames = []
            for n in range(30):
                payload, plain = bomb(1_000_000, batch=100 * round + n)
                frames.append(wire.frame(wire.PRODUCE, payload, topic.id, wire.LZ4))
                conn.produced_bytes += len(frames[-1])
            assert conn.produced_bytes <= conn.window and plain > 1_000_000
            conn.send_raw(b"".join(frames))
            results = [topic.results(100 * round + n)[0] for n in range(30)]
            stored = sum(r.outcome == wire.OK for r in results)
            assert 4 <= stored <= (conn.window - conn.produced_bytes + (4 << 20)) // plain + 1
            assert {(r.outcome, r.code) for r in results[stored:]} == {(wire.REJECTED, "OVERLOADED")}
            assert results[-1].retry_after_ms > 0
        assert other.ping()


def test_windows_grow_within_the_tenants_memory(plane_with):
    """What all connections of a tenant get above their base is bounded; another tenant's is not touched by it."""
    plane = plane_with(tenant_window=1 << 20, window=1 << 20, max_message=65536, workers=1)
    plane.topic("slow", physical="slow")
    body, conns = b"\0" * 60_000, [plane.connect() for _ in range(4)]
    frame_of = {}
    for conn in conns:
        topic = conn.open_topic("slow")
        frame_of[conn] = wire.frame(wire.PRODUCE, wire.produce_write(1, [Record(body=body)]), topic.id)
    base = conns[0].window
    for _ in range(4):
        for conn in conns:
            count = (conn.window - conn.produced_bytes) // len(frame_of[conn])
            conn.produced_bytes += count * len(frame_of[conn])
            conn.send_raw(frame_of[conn] * count)
            conn.sent = getattr(conn, "sent", 0) + count
        for conn in conns:
            conn.pump_until(lambda conn=conn: sum(f.type == wire.PRODUCED for f in conn.inbox) >= conn.sent)
    above = sum(conn.window - conn.produced_bytes - base for conn in conns)
    assert base * 3 / 4 <= above + base <= (1 << 20) + base, above
    for conn in conns:
        conn.close()


def test_senders_above_their_share_wait(plane_with):
    """Above its share of the memory a tenant's batches wait unread and none is refused; another connection's settles and pings pass."""
    plane = plane_with(message_memory=400_000, window=1 << 20, max_message=65536, workers=1)
    plane.group("readers", plane.topic("orders"))
    plane.topic("slow", physical="slow")
    with plane.connect() as conn, plane.connect() as other:
        topic, slow, subscription = conn.open_topic("orders"), conn.open_topic("slow"), other.subscribe("readers")
        topic.send(b"one", b"two")
        got = subscription.receive(2)
        frames = b"".join(wire.frame(wire.PRODUCE, wire.produce_write(n, [Record(body=b"\0" * 60_000)]), slow.id) for n in range(1, 7))
        conn.pump_until(lambda: conn.produced_bytes + len(frames) <= conn.window)
        conn.produced_bytes += len(frames)
        conn.send_raw(frames)
        assert subscription.ack(*got) == [("OK", 1)] * 2
        assert other.ping()
        assert [slow.results(n)[0].code for n in range(1, 7)] == ["OK"] * 6
        assert topic.send(b"again")[0].outcome == wire.OK


def test_what_waits_in_groups_keeps_nobody_out(plane_with):
    """Groups that wait for a consume quota hold no more than their tenant's share; all is delivered when the quota lets it pass."""
    plane = plane_with(message_memory=16 << 20, workers=1)
    topic = plane.topic("big")
    for n in range(10):
        plane.group(f"readers{n}", topic)
    with plane.connect() as conn:
        sender = conn.open_topic("big")
        for _ in range(8):
            sender.send(b"x" * 500_000)
        plane.tenant(consume_tps=2)
        subscriptions = [conn.subscribe(f"readers{n}") for n in range(10)]
        for subscription in subscriptions:
            subscription.credit(8, 8 << 20)
        time.sleep(1)
        assert sender.send(b"y" * 100_000)[0].outcome == wire.OK
        with plane.connect() as other:
            assert other.ping()
        plane.tenant(consume_tps=UNLIMITED)
        for subscription in subscriptions:
            assert len(subscription.receive(8)) == 8


# ---- what a revoked key leaves behind


@pytest.mark.parametrize("how", ["disable", "delete", "expire", "suspend", "kick"])
def test_revoked_in_the_middle_of_work(plane, how):
    """The session ends with its code; what was sent is stored once, what was delivered comes again to others."""
    plane.group("readers", plane.topic("orders"))
    plane.topic("slow", physical="slow")
    plane.group("slow-readers", plane.next_id)
    row = {"key_id": "AK2", "tenant": TENANT, "secret": SECRET, "grants": [["*", PRODUCE | CONSUME]]}
    second = plane.put("access_key", plane.new_id(), **row)
    with plane.connect() as other:
        conn = plane.connect("AK2")
        topic, subscription = conn.open_topic("slow"), conn.subscribe("readers")
        other.open_topic("orders").send(b"one", b"two")
        held = subscription.receive(2)
        assert subscription.ack(held[0]) == [("OK", 1)]
        topic.produce([Record(body=b"in flight")])
        assert conn.ping()  # the proxy has read it
        if how == "disable":
            plane.put("access_key", second, **row, disabled=True)
        elif how == "delete":
            plane.gone("access_key", second)
        elif how == "expire":
            plane.put("access_key", second, **row, expires_ms=int(time.time() * 1000) + 500)
        elif how == "suspend":
            plane.put("tenant", TENANT, name="acme", clusters=[3], suspended=True)
        elif how == "kick":
            plane.query("KICK", access_key="AK2")
        code = {"suspend": "FORBIDDEN", "kick": "KICKED"}.get(how, "UNAUTHENTICATED")
        assert conn.expect_end(timeout=20).code == code
        if how == "suspend":
            assert other.expect_end().code == "FORBIDDEN"
            plane.put("tenant", TENANT, name="acme", clusters=[3])
        elif how != "kick":
            with pytest.raises(wire.Refused, match="UNAUTHENTICATED"):
                plane.connect("AK2")
    with plane.connect() as later:
        (again,) = later.subscribe("readers").receive(1)
        assert (again.record.body, again.attempt) == (b"two", 1)  # our doing: no attempt of theirs
        subscription = later.subscribe("slow-readers")
        assert [d.record.body for d in subscription.receive(1)] == [b"in flight"]
        assert subscription.receive_nothing(0.1)
    assert KEY and plane.totals()["produce"]["ok"] == 3


# ---- peers that stop


@pytest.mark.parametrize("cut", [1, 4, 7, 8, 12, 24, 30])
def test_peer_that_stops_in_its_greeting(plane_with, cut):
    """Half a preface, header or HELLO: closed at the deadline, its place is free again."""
    plane = plane_with(ready_ms=200, unauthenticated=1, workers=1)
    hello = wire.PREFACE + wire.frame(wire.HELLO, wire.fields_write(client_name="half"))
    with plane.strange() as half:
        half.send_raw(hello[:cut])
        half.expect_end()

    def gets_in():
        with contextlib.suppress(wire.Refused, wire.Ended), plane.connect() as conn:  # within those 200 ms
            return conn.ping()

    wait_for(gets_in)
