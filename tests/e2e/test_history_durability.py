"""The proof that nothing is told before it is durable: each kind is found when the broker's answer passed too late or never, and its forms are read right."""
import struct

import pytest
from history import checker, durability, relay
from history.checker import ACK, DELIVERY, NACK, OK, REJECT, SENT, SETTLE, SETTLED, Group, History, Record

TELL = 1000  # when the client was told
GROUPS = [Group("readers", "orders"), Group("dead", dead_of="readers")]
PHYSICAL = {"orders": "orders.1", "readers": "readers.2", "dead": "dead.3", "readers.dead": "readers.dead.4"}
WINDOW = "mqw21.#*<cfLNl0o:T/Fy6OYYFfx!0epKP1oTC[0r-x5"  # as in tests/unit/test_window.c


def record(kind, **fields):
    return Record(**{**dict.fromkeys(Record._fields, 0), "time": TELL, "kind": kind, "producer": 7, "sequence": 1, **fields})


def sent(offset=5):
    return History("p", "orders", True, [record(SENT, what=OK, offset=offset)])


def settled(verb, offset=5, attempt=1):
    place = {"extra": 1, "offset": offset, "attempt": attempt}
    records = [record(DELIVERY, time=TELL - 2, **place), record(SETTLE, time=TELL - 1, what=verb, **place), record(SETTLED, what=verb, **place)]
    return History("c", "readers", True, records)


def dead(offset=0):
    return History("c", "dead", True, [record(DELIVERY, time=TELL + 500, extra=1, offset=offset, attempt=1)])


def written(topic, first=0, count=10, rows=(), passed=TELL - 1):
    return relay.Acknowledged(relay.Written(topic, 0, count, list(rows), first), passed, passed)


def committed(position, text="", passed=TELL - 1):
    return relay.Acknowledged(relay.Committed("readers.2", "orders.1", 0, position, text), passed, passed)


def row(offset, attempts, **when):
    """A row of the retry store, or its tombstone where `attempts` is None."""
    value = None if attempts is None else durability.ROW_HEAD.pack(1, attempts) + bytes(16)
    return written("readers.2.retry", 0, 1, [(durability.ROW_KEY.pack(0, offset, 0), value)], **when)


def found(histories, acknowledged):
    return [text.split(" of ")[0] for text in durability.check(acknowledged, histories, GROUPS, PHYSICAL).found]


LATE = {"passed": TELL + 1}
EVIDENCE = {
    "send": ([sent()], [lambda when: written("orders.1", **when)]),
    "ack": ([settled(ACK)], [lambda when: committed(6, **when)]),
    "ack above the base": ([settled(ACK, 1002)], [lambda when: committed(1000, WINDOW, **when)]),
    "ack of a row": ([settled(ACK)], [lambda _: committed(6), lambda _: row(5, 3), lambda when: row(5, None, **when)]),
    "nack": ([settled(NACK, 1005, 2)], [lambda when: committed(1000, WINDOW, **when)]),
    "nack into a row": ([settled(NACK, attempt=3)], [lambda when: row(5, 3, **when)]),
    "reject": ([settled(REJECT), dead()], [lambda when: committed(6, **when), lambda _: written("readers.dead.4")]),
    "dead letter": ([settled(REJECT), dead()], [lambda _: committed(6), lambda when: written("readers.dead.4", **when)]),
}


@pytest.mark.parametrize("kind", EVIDENCE)
def test_told_in_time_late_and_never(kind):
    histories, evidence = EVIDENCE[kind]
    told = kind if kind == "dead letter" else kind.split()[0]
    assert found(histories, [make({}) for make in evidence]) == []
    assert found(histories, [make(LATE) for make in evidence]) == [told]
    missing = [make(LATE) for make in evidence if make(LATE).passed < TELL]
    assert found(histories, missing) == [told]


def test_other_evidence_does_not_count():
    assert found([sent(10)], [written("orders.1")]) == ["send"], "the first position behind what was acknowledged"
    assert found([sent(5)], [written("orders.9")]) == ["send"]
    assert found([settled(ACK, 6)], [committed(6)]) == ["ack"]
    assert found([settled(ACK, 1003)], [committed(1000, WINDOW)]) == ["ack"]
    assert found([settled(NACK, 1005, 3)], [committed(1000, WINDOW)]) == ["nack"], "one attempt more"
    assert found([sent(checker.NO_OFFSET)], [written("orders.1")]) == ["send"], "OK, and stored nowhere"


def test_window_is_read():
    window = durability.window_read(1000, WINDOW)
    assert window.done == {1001, 1002, 1007} and window.attempts == {1004: 1, 1005: 2}
    assert durability.window_read(1000, "by another client").done == set()


# ---- The protocol, written by its specification


def text(value):
    return struct.pack(">h", len(value)) + value


def compact(value):
    return bytes([len(value) + 1]) + value


def batch(*rows):
    records = b""
    for number, (key, value) in enumerate(rows):
        parts = b"\0\0" + bytes([2 * number])
        for part in (key, value):
            parts += b"\1" if part is None else bytes([2 * len(part)]) + part
        parts += b"\0"
        records += bytes([2 * len(parts)]) + parts
    body = struct.pack(">ibihiqqqhii", 0, 2, 0, 0, len(rows) - 1, 0, 0, -1, -1, -1, len(rows)) + records
    return struct.pack(">qi", 0, len(body)) + body


ROWS = [(b"key", b"value"), (b"gone", None)]


def produce(version):
    head = struct.pack(">hhi", relay.PRODUCE, version, 77) + text(b"client")
    data = batch(*ROWS)
    if version >= 9:
        return head + b"\0" + b"\0" + struct.pack(">hi", -1, 1000) + b"\2" + compact(b"x.retry") + b"\2" + struct.pack(">i", 3) + compact(data) + b"\0\0\0"
    sized = struct.pack(">i", len(data)) + data
    return head + struct.pack(">hhi", -1, -1, 1000) + struct.pack(">i", 1) + text(b"x.retry") + struct.pack(">ii", 1, 3) + sized


def produced(version, error):
    place = struct.pack(">ihqqq", 3, error, 40, -1, 0)
    if version >= 9:
        return struct.pack(">i", 77) + b"\0\2" + compact(b"x.retry") + b"\2" + place + b"\1\0\0\0" + struct.pack(">i", 0) + b"\0"
    return struct.pack(">ii", 77, 1) + text(b"x.retry") + struct.pack(">i", 1) + place + struct.pack(">i", 0)


@pytest.mark.parametrize("version", [7, 9])
def test_produce_is_read(version):
    asked = relay.Asked(produce(version))
    (item,) = asked.acknowledged(produced(version, 0))
    assert (item.topic, item.partition, item.first, item.count, item.rows) == ("x.retry", 3, 40, 2, ROWS)
    assert asked.acknowledged(produced(version, 7)) == [], "it was refused"


@pytest.mark.parametrize("version", [2, 7, 8])
def test_commit_is_read(version):
    head = struct.pack(">hhi", relay.OFFSET_COMMIT, version, 78) + text(b"client")
    if version >= 8:
        request = head + b"\0" + compact(b"group") + struct.pack(">i", -1) + compact(b"") + b"\0\2" + compact(b"orders") + b"\2"
        request += struct.pack(">iqi", 0, 9, -1) + compact(WINDOW.encode()) + b"\0\0\0"
        response = struct.pack(">i", 78) + b"\0" + struct.pack(">i", 0) + b"\2" + compact(b"orders") + b"\2" + struct.pack(">ih", 0, 0) + b"\0\0\0"
    else:
        request = head + text(b"group") + struct.pack(">i", -1) + text(b"") + (struct.pack(">h", -1) if version >= 7 else struct.pack(">q", -1))
        request += struct.pack(">i", 1) + text(b"orders") + struct.pack(">i", 1) + struct.pack(">iq", 0, 9)
        request += (struct.pack(">i", -1) if version >= 6 else b"") + text(WINDOW.encode())
        response = struct.pack(">i", 78) + (struct.pack(">i", 0) if version >= 3 else b"")
        response += struct.pack(">i", 1) + text(b"orders") + struct.pack(">i", 1) + struct.pack(">ih", 0, 0)
    (item,) = relay.Asked(request).acknowledged(response)
    assert item == relay.Committed("group", "orders", 0, 9, WINDOW)
