#!/usr/bin/python3
"""Writes the golden vectors of docs/protocol.md, one file each, with the Python codec of tests/e2e/wire.py.

  tests/vectors/make.py              writes them
  tests/vectors/make.py --seeds DIR  writes them as inputs of the fuzz targets: DIR/<target>/<vector>
  tests/vectors/make.py --check      says which files differ from what the Python codec makes, and reads each one back

A file is JSON: "about", "kind", "bytes" (hex, in lines of 16 bytes), and either "value" (what the bytes say) or "refused" (the
code of the answer). An "exchange" is a list of frames of both sides in order, after READY; "because" names what else made the server
send one. Bytes inside a value are hex, null where absent; integers of 2^53 and more are decimal strings.
tests/unit/test_vectors.c replays all of them through the C codec, reading and writing.
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
sys.dont_write_bytecode = True

import wire  # noqa: E402

VECTORS = {}
TYPE_NAMES = (
    "HELLO WELCOME AUTH READY ERROR PING PONG GOAWAY ADDRESSES THROTTLE OPEN_TOPIC TOPIC_OPENED SUBSCRIBE SUBSCRIBED CLOSE CLOSED PRODUCE PRODUCED WINDOW "
    "CREDIT DELIVER SETTLE SETTLED DRAINED"
).split()
NAME_OF_TYPE = {getattr(wire, name): name for name in TYPE_NAMES}


# ---- The form of a file ----


def plain(value):
    """A value as JSON holds it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def lines(data):
    return [data[at : at + 16].hex(" ", 4) for at in range(0, len(data), 16)]


def vector(name, about, kind, data, value=None, refused=None, **more):
    assert name not in VECTORS and (value is None) != (refused is None), name
    outcome = {"value": plain(value)} if refused is None else {"refused": refused}
    VECTORS[name] = {"about": about, "kind": kind, **more, **outcome, "bytes": lines(data)}


# ---- Preface and frames ----


def make_frames():
    vector("preface", "what a client sends first", "preface", wire.PREFACE, {"version": 1})
    hello = wire.fields_write(client_name="mqpaas-c", client_version="0.1.0", client_id="host:1", codecs=7, features=1)
    topic = wire.fields_write(topic="orders")
    rows = [
        ("frame-hello", "HELLO, the first frame", "client", wire.HELLO, hello, 0, 0),
        ("frame-ping", "PING with its 8 bytes", "client", wire.PING, bytes(range(8)), 0, 0),
        ("frame-pong", "its answer", "server", wire.PONG, bytes(range(8)), 0, 0),
        ("frame-open-topic", "OPEN_TOPIC under the largest stream id", "client", wire.OPEN_TOPIC, topic, 2**31 - 1, 0),
        ("frame-close", "an empty payload: the checksum is 0", "client", wire.CLOSE, b"", 1, 0),
        ("frame-window", "WINDOW: bytes granted so far", "server", wire.WINDOW, (1 << 20).to_bytes(8, "little"), 0, 0),
        ("frame-error", "ERROR of the connection", "server", wire.ERROR, wire.fields_write(code=21, text="unknown frame type"), 0, 0),
        ("frame-error-stream", "ERROR of a stream", "server", wire.ERROR, wire.fields_write(code=4), 3, 0),
        (
            "frame-throttle-turn", "THROTTLE of a topic's stream: 50 messages may be sent after 180 ms", "server", wire.THROTTLE,
            wire.fields_write(code=10, direction=0, unit=0, limit=500, remaining=50, retry_after_ms=180), 1, 0,
        ),
        ("frame-produce-oneway", "PRODUCE without an answer", "client", wire.PRODUCE, wire.produce_write(1, [SMALL]), 1, wire.ONEWAY),
        ("frame-produce-lz4", "PRODUCE, compressed", "client", wire.PRODUCE, wire.pack(wire.LZ4, wire.produce_write(1, [SMALL])), 1, wire.LZ4),
        ("frame-deliver-zstd", "DELIVER, compressed", "server", wire.DELIVER, wire.pack(wire.ZSTD, wire.deliver_write(0, 1, [(5, 6, 1, SMALL)])), 2, wire.ZSTD),
    ]
    for name, about, sender, type, payload, stream, flags in rows:
        value = {"type": NAME_OF_TYPE[type], "codec": flags & 3, "oneway": bool(flags & wire.ONEWAY), "stream": stream, "payload": payload}
        vector(name, about, "frame", wire.frame(type, payload, stream, flags), value, sender=sender, max_payload=4096)
    ping = bytes(8)
    bad = [
        ("size", "larger than allowed: refused from the header, no payload has come", "PROTOCOL", wire.frame(wire.PING, b"", size=4097)),
        ("size-huge", "the largest size a header can name", "PROTOCOL", wire.frame(wire.PING, b"", size=2**32 - 1)),
        ("type", "an unknown type", "PROTOCOL", wire.frame(0x7F, ping)),
        ("sender", "a type that only the server sends", "PROTOCOL", wire.frame(wire.WELCOME, b"")),
        ("flags", "an unknown flag", "PROTOCOL", wire.frame(wire.PING, ping, flags=8)),
        ("codec", "a codec that is not in the table", "PROTOCOL", wire.frame(wire.PRODUCE, ping, 1, flags=3)),
        ("codec-of-ping", "a codec where none may be", "PROTOCOL", wire.frame(wire.PING, ping, flags=1)),
        ("oneway-of-settle", "ONEWAY on something that is no PRODUCE", "PROTOCOL", wire.frame(wire.SETTLE, ping, 1, flags=4)),
        ("reserved", "the reserved field is not 0", "PROTOCOL", wire.frame(wire.PING, ping, reserved=1)),
        ("stream-of-ping", "PING on a stream", "PROTOCOL", wire.frame(wire.PING, ping, 1)),
        ("stream-of-produce", "PRODUCE on stream 0", "PROTOCOL", wire.frame(wire.PRODUCE, ping, 0)),
        ("stream-large", "a stream id above 2^31-1", "PROTOCOL", wire.frame(wire.OPEN_TOPIC, ping, 2**31)),
        ("crc", "a wrong checksum", "CORRUPT", wire.frame(wire.PING, ping, crc=1)),
        ("crc-empty", "an empty payload whose checksum is not 0", "CORRUPT", wire.frame(wire.CLOSE, b"", 1, crc=1)),
    ]
    for name, about, code, data in bad:
        vector(f"frame-bad-{name}", about, "frame", data, refused=code, sender="client", max_payload=4096)


# ---- Fields ----


def make_fields():
    rows = {
        "hello": ("the fields of a HELLO", {"client_name": "mqpaas-c", "client_version": "0.1.0", "client_id": "host:1", "codecs": 7, "features": 1}),
        "welcome": (
            "the fields of a WELCOME",
            {"server_version": "0.1.0", "proxy_id": "p1", "max_frame": 1 << 20, "max_message": 1 << 19, "mechanisms": "SCRAM-SHA-256-PLUS,SCRAM-SHA-256", "keepalive_ms": 30000, "codecs": 7, "features": 1},
        ),
        "auth": ("the client's first AUTH", {"mechanism": "SCRAM-SHA-256", "sasl": b"n,,n=AK1,r=rOprNGfwEbeRWgbNEkqO"}),
        "ready": ("READY, with a list and text that is not ASCII", {"sasl": b"v=", "tenant": "Büro 東京", "address": ["tls://a:7700", "b:7700"], "window": 1 << 40, "session": 2**64 - 1}),
        "throttle": ("THROTTLE", {"code": 10, "retry_after_ms": 250, "direction": 1, "remaining": 0, "limit": 1000, "unit": 1}),
        "subscribed": ("SUBSCRIBED", {"topic_of_group": "orders", "visibility_ms": 30000, "max_attempts": 16, "dead_letter": "workers.dead"}),
        "empty-text": ("a text of no bytes is there all the same", {"text": ""}),
        "none": ("no field at all", {}),
    }
    for name, (about, values) in rows.items():
        vector(f"fields-{name}", about, "fields", wire.fields_write(**values), values)
    skipped = wire.fields_write(code=4) + b"\xff\x70\x03\x00abc" + wire.fields_write(text="gone")
    vector("fields-unknown", "a field that nobody knows is skipped", "fields", skipped, {"code": 4, "text": "gone"}, read_only=True)
    bad = [
        ("critical", "bit 15: a field that must be understood", b"\xff\x80\x00\x00"),
        ("cut", "a value that is cut off", b"\x0e\x00\x02\x00x"),
        ("head-cut", "a field whose head is cut off", b"\x0e\x00\x02"),
        ("width", "a u16 of one byte", b"\x11\x00\x01\x00x"),
        ("twice", "a field that is no list stands twice", wire.fields_write(tenant="a") + wire.fields_write(tenant="b")),
        ("utf8", "a text that is not UTF-8", b"\x0e\x00\x01\x00\xff"),
        ("utf8-long", "a text in a longer form than needed", b"\x0e\x00\x02\x00\xc0\xaf"),
        ("surrogate", "a text with half of a surrogate pair", b"\x0e\x00\x03\x00\xed\xa0\x80"),
        ("zero", "a text with a zero byte", b"\x0e\x00\x03\x00a\x00b"),
        ("long", "a client_name of 65 bytes", b"\x01\x00\x41\x00" + b"x" * 65),
    ]
    for name, about, data in bad:
        vector(f"fields-bad-{name}", about, "fields", data, refused="PROTOCOL")


# ---- Records ----

ID = bytes.fromhex("0192f3a4b5c6") + bytes(range(10))
SMALL = wire.Record(body=b"hello", id=ID, created_ms=1730000000000)
FULL = wire.Record(
    body=bytes(range(256)), key=b"\x00\xff key", id=ID, created_ms=1730000000000, due_ms=1730000060000, ttl_ms=5000, priority=9, partition=3, tag="grün",
    trace=bytes(range(25)), headers=[("a", b"1"), ("a", b""), ("absent", None), ("bin", b"\x00\xff"), ("名", b"x")],
)  # fmt: skip
RECORDS = {
    "body": ("a body and nothing else", SMALL),
    "full": ("every part, headers repeated, empty, absent and binary", FULL),
    "bare": ("neither key nor body: a tombstone without a key", wire.Record(id=ID, created_ms=0)),
    "tombstone": ("a key without a body", wire.Record(key=b"k", id=ID, created_ms=1)),
    "empty": ("key and body are there and empty", wire.Record(key=b"", body=b"", id=ID, created_ms=1)),
    "before-1970": ("times are signed", wire.Record(body=b"x", id=ID, created_ms=-1, due_ms=-(2**63))),
    "priority-0": ("priority 0 is not the same as none", wire.Record(body=b"x", id=ID, created_ms=1, priority=0)),
    "tag-255": ("the longest tag", wire.Record(body=b"x", id=ID, created_ms=1, tag="t" * 255)),
    "ttl-max": ("the largest time to live", wire.Record(body=b"x", id=ID, created_ms=1, ttl_ms=2**32 - 1)),
}


def record_value(record):
    """Without id and times of making, what is not there is left out; key and body are always there, null when absent."""
    value = {"id": record.id, "created_ms": record.created_ms, "key": record.key, "body": record.body}
    for name in ("due_ms", "ttl_ms", "priority", "partition", "tag", "trace"):
        if getattr(record, name) is not None:
            value[name] = getattr(record, name)
    if record.headers:
        value["headers"] = record.headers
    return value


def patched(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def make_records():
    for name, (about, record) in RECORDS.items():
        vector(f"record-{name}", about, "record", wire.record_write(record), record_value(record))
    body, full = wire.record_write(SMALL), wire.record_write(FULL)
    priority = wire.record_write(wire.Record(id=ID, created_ms=1, priority=9))
    tag = wire.record_write(wire.Record(id=ID, created_ms=1, tag="t"))
    header = wire.record_write(wire.Record(id=ID, created_ms=1, headers=[("h", b"v")]))
    bad = [
        ("flag", "an unknown flag", "BAD_REQUEST", patched(body, 4, b"\x02\x02")),
        ("id", "an id of zeros", "BAD_REQUEST", patched(body, 8, bytes(16))),
        ("key-absent", "a size for a key that is absent", "BAD_REQUEST", patched(patched(body, 32, b"\x01"), 36, b"\x04")),
        ("body-absent", "a size for a body that is absent", "BAD_REQUEST", patched(body, 4, b"\x00")),
        ("short", "sizes that leave a byte over", "BAD_REQUEST", patched(body, 36, b"\x04")),
        ("long", "sizes that need a byte more", "BAD_REQUEST", patched(body, 36, b"\x06")),
        ("huge-parts", "sizes whose sum does not fit into 32 bits", "BAD_REQUEST", patched(patched(body, 4, b"\x03"), 32, b"\xff\xff\xff\xff\x06\x00\x00\x00")),
        ("priority", "priority 10", "BAD_REQUEST", patched(priority, 40, b"\x0a")),
        ("tag-empty", "a tag of no bytes", "BAD_REQUEST", patched(body, 4, b"\x42")[:40] + b"\x00" + body[41:]),
        ("tag-utf8", "a tag that is not UTF-8", "BAD_REQUEST", patched(tag, 41, b"\xff")),
        ("header-name", "a header without a name", "BAD_REQUEST", patched(header, 46, b"\x00")),
        ("header-value", "a header's value that goes beyond its entries", "BAD_REQUEST", patched(header, 49, b"\x02")),
        ("header-count", "a count of one more header", "BAD_REQUEST", patched(header, 44, b"\x02")),
        ("header-fewer", "a count of one header less", "BAD_REQUEST", patched(header, 44, b"\x00")),
        ("size-small", "a size below 40: nothing behind it can be found", "PROTOCOL", patched(body, 0, b"\x27")),
        ("size-large", "a size that goes beyond the payload", "PROTOCOL", patched(body, 0, b"\x2e")),
        ("cut", "a record that is cut off in its head", "PROTOCOL", full[:39]),
    ]
    for name, about, code, data in bad:
        vector(f"record-bad-{name}", about, "record", data, refused=code)


# ---- Batches, deliveries, settles ----


def make_batches():
    records = [record for _, record in RECORDS.values()]
    vector("produce-one", "a batch of one", "produce", wire.produce_write(1, [SMALL]), {"batch": 1, "records": [record_value(SMALL)]})
    vector("produce-many", "a batch of very different records", "produce", wire.produce_write(2**64 - 1, records), {"batch": 2**64 - 1, "records": [record_value(record) for record in records]})
    one = wire.produce_write(1, [SMALL])
    for name, about, data in [
        ("none", "a batch of nothing", wire.produce_write(1, [])),
        ("too-many", "65,536 records", wire.produce_write(1, [SMALL], count=65536)),
        ("fewer", "fewer records than counted", wire.produce_write(1, [SMALL], count=2)),
        ("more", "more records than counted", wire.produce_write(1, [SMALL, SMALL], count=1)),
        ("head", "a head that is cut off", one[:11]),
        ("cut", "a record that is cut off", one[:-1]),
    ]:
        vector(f"produce-bad-{name}", about, "produce", data, refused="PROTOCOL")
    runs = [wire.Run(3, wire.OK, 2, 0, 0, 1, 1000, 7), wire.Run(1, wire.REJECTED, 0, 10, 250, 0, 0, 0), wire.Run(2, wire.UNKNOWN, 0, 22, 0, 0, 0, 0), wire.Run(1, wire.OK, 0, 0, 0, 0, wire.NO_OFFSET, 0)]
    good = wire.produced_write(9, runs)
    vector("produced", "stored, throttled, unknown, and stored where no offset is told", "produced", good, {"batch": 9, "runs": [run._asdict() for run in runs]})
    for name, about, data in [
        ("fewer", "runs that cover less than the count", good[:-32]),
        ("cut", "a run that is cut off", good[:-1]),
        ("outcome", "an outcome outside the table", patched(good, 12 + 4, b"\x03")),
        ("durability", "a durability outside the table", patched(good, 12 + 5, b"\x04")),
        ("empty-run", "a run of no records", patched(good + bytes(32), 0, good[:12])),
    ]:
        vector(f"produced-bad-{name}", about, "produced", data, refused="PROTOCOL")


def make_settles():
    vector("credit", "credit, and a wish to drain", "credit", wire.credit_write(1000, 2**63, 4), {"messages": 1000, "bytes": 2**63, "drain": 4})
    vector("credit-bad-size", "CREDIT has 24 bytes", "credit", bytes(23), refused="PROTOCOL")
    good = wire.credit_write(1000, 2**63, 4, 990)
    vector("credit-begun", "with the feature BEGUN: 990 deliveries may have begun", "credit_begun", good, {"messages": 1000, "bytes": 2**63, "drain": 4, "begun": 990})
    vector("credit-begun-bad-size", "with the feature BEGUN CREDIT has 32 bytes", "credit_begun", good[:24], refused="PROTOCOL")
    vector("credit-bad-begun", "without the feature CREDIT has 24 bytes", "credit", good, refused="PROTOCOL")
    entries = [(10, 1730000000001, 1, SMALL), (2**64 - 1, -5, 2**32 - 1, FULL)]
    good = wire.deliver_write(3, 2**40, entries)
    rows = [{"offset": offset, "stored_ms": stored, "attempt": attempt, "flags": 0, "record": record_value(record)} for offset, stored, attempt, record in entries]
    vector("deliver", "a first delivery and one of many attempts", "deliver", good, {"partition": 3, "epoch": 2**40, "entries": rows})
    flagged = [(*entry, flags) for entry, flags in zip(entries, (wire.SUSPECT, wire.SUSPECT | wire.LAST))]
    marked = wire.deliver_write(3, 2**40, flagged)
    vector("deliver-begun", "with the feature BEGUN: a suspect, and one at its last attempt", "deliver_begun", marked, {"partition": 3, "epoch": 2**40, "entries": [{**row, "flags": entry[4]} for row, entry in zip(rows, flagged)]})
    vector("deliver-begun-bad-flag", "a flag outside the table", "deliver_begun", patched(marked, 16 + 20, b"\x05"), refused="PROTOCOL")
    for name, about, data in [
        ("none", "a delivery of nothing", wire.deliver_write(0, 1, [])),
        ("cut", "a record that is cut off", good[:-1]),
        ("more", "bytes behind the last record", good + b"\x00"),
        ("reserved", "a reserved field that is not 0", patched(good, 16 + 20, b"\x01")),
        ("attempt", "attempts are counted from 1", patched(good, 16 + 16, b"\x00")),
        ("record", "a malformed record", patched(good, 16 + 24 + 8, bytes(16))),
    ]:
        vector(f"deliver-bad-{name}", about, "deliver", data, refused="PROTOCOL")
    verbs = [wire.Entry(verb, 1, 2**40, 100 * verb, 1 + verb, 1, (0, wire.BY_SCHEDULE, 30000, 0, 0)[verb]) for verb in range(5)]
    good = wire.settle_write(12, verbs)
    vector("settle", "every verb, with a run of offsets", "settle", good, {"settle": 12, "entries": [entry._asdict() for entry in verbs]})
    numbered = [entry._replace(number=2**32 - 2 + at) for at, entry in enumerate(verbs[:2])]
    vector("settle-begun", "with the feature BEGUN: the numbers of the deliveries, low 32 bits", "settle_begun", wire.settle_write(12, numbered), {"settle": 12, "entries": [entry._asdict() for entry in numbered]})
    vector("settle-unanswered", "number 0: no SETTLED is wanted", "settle", wire.settle_write(0, verbs[:1]), {"settle": 0, "entries": [verbs[0]._asdict()]})
    for name, about, data in [
        ("none", "no entry", wire.settle_write(1, [])),
        ("cut", "an entry that is cut off", good[:-1]),
        ("verb", "a verb outside the table", patched(good, 16, b"\x05")),
        ("verb-padding", "the bytes behind the verb are not 0", patched(good, 17, b"\x01")),
        ("reserved", "the last field of an entry is not 0", patched(good, 16 + 36, b"\x01")),
        ("head-reserved", "the reserved field of the head is not 0", patched(good, 12, b"\x01")),
        ("run-empty", "a run of no offsets", patched(good, 16 + 24, bytes(4))),
        ("run-wraps", "a run beyond the last offset", patched(good, 16 + 16, b"\xff" * 8)),
        ("count", "a count whose entries would overflow 32 bits", patched(good, 8, b"\x67\x66\x66\x66")),
    ]:
        vector(f"settle-bad-{name}", about, "settle", data, refused="PROTOCOL")
    good = wire.settled_write(12, [(0, 1), (16, 0)])
    vector("settled", "one settled, one stale", "settled", good, {"settle": 12, "answers": [[0, 1], [16, 0]]})
    vector("settled-bad-cut", "an answer that is cut off", "settled", good[:-1], refused="PROTOCOL")
    vector("settled-bad-reserved", "a reserved field that is not 0", "settled", patched(good, 18, b"\x01"), refused="PROTOCOL")


# ---- Codecs, partitions, SCRAM ----


# ---- How streams end (section 2.1) ----


def client(type, payload=b"", stream=1):
    return {"sender": "client", "type": type, "payload": payload, "stream": stream}


def server(type, payload=b"", stream=1, because=None):
    return {"sender": "server", "type": type, "payload": payload, "stream": stream, **({"because": because} if because else {})}


def exchange(name, about, *frames):
    ping = (client(wire.PING, bytes(range(8)), 0), server(wire.PONG, bytes(range(8)), 0))  # nothing else came
    frames = [*frames, *ping]
    data = b"".join(wire.frame(item["type"], item["payload"], item["stream"]) for item in frames)
    value = [{**item, "type": NAME_OF_TYPE[item["type"]], "codec": 0, "oneway": False} for item in frames]
    vector("exchange-" + name, about, "exchange", data, value)


def produced(outcome, code=0, durability=0, offset=2**64 - 1, incarnation=0):
    return wire.produced_write(1, [wire.Run(1, outcome, durability, code, 0, 0, offset, incarnation)])


def make_exchanges():
    opening = client(wire.OPEN_TOPIC, wire.fields_write(topic="orders"))
    opened = server(wire.TOPIC_OPENED, wire.fields_write(partitions=1, durability=1, native=0, max_message=1 << 20))
    produce, close = client(wire.PRODUCE, wire.produce_write(1, [SMALL])), client(wire.CLOSE)
    stored = server(wire.PRODUCED, produced(wire.OK, durability=1, offset=0, incarnation=1))
    closed, gone = server(wire.CLOSED, wire.fields_write(code=0)), wire.fields_write(code=4, text="the topic was deleted")
    exchange("produce-close", "PRODUCE, then CLOSE: the answer comes before CLOSED", opening, opened, produce, close, stored, closed)
    exchange(
        "closed-unasked", "the server ends a stream; the client answers with CLOSE, which has no answer",
        opening, opened, server(wire.CLOSED, gone, because="the topic is deleted"), close,
    )
    exchange(
        "close-crosses-closed", "PRODUCE and CLOSE were sent before the unasked CLOSED was read: they have no answer, nothing is stored",
        opening, opened, server(wire.CLOSED, gone, because="the topic is deleted"), produce, close,
    )
    exchange(
        "open-refused", "PRODUCE and CLOSE behind an OPEN_TOPIC that is refused",
        client(wire.OPEN_TOPIC, wire.fields_write(topic="unknown")), produce, close,
        server(wire.ERROR, wire.fields_write(code=4)), server(wire.PRODUCED, produced(wire.REJECTED, 4)),
    )
    subscribe = client(wire.SUBSCRIBE, wire.fields_write(group="readers"), 2)
    subscribed = server(wire.SUBSCRIBED, wire.fields_write(visibility_ms=30000, max_attempts=0, topic_of_group="orders"), 2)
    settle = client(wire.SETTLE, wire.settle_write(7, [wire.Entry(wire.ACK, 0, 1, 0, 1, 1)]), 2)
    exchange(
        "settle-close", "SETTLE, then CLOSE: the answer comes before CLOSED",
        opening, opened, produce, stored, subscribe, subscribed, client(wire.CREDIT, wire.credit_write(1, 1 << 20), 2),
        server(wire.DELIVER, wire.deliver_write(0, 1, [(0, 0, 1, SMALL)]), 2),
        settle, client(wire.CLOSE, b"", 2), server(wire.SETTLED, wire.settled_write(7, [(0, 1)]), 2), server(wire.CLOSED, wire.fields_write(code=0), 2),
    )
    exchange(
        "subscribe-refused", "SETTLE, CREDIT and CLOSE behind a SUBSCRIBE that is refused",
        client(wire.SUBSCRIBE, wire.fields_write(group="unknown"), 2), settle, client(wire.CREDIT, wire.credit_write(1, 1 << 20), 2), client(wire.CLOSE, b"", 2),
        server(wire.ERROR, wire.fields_write(code=4), 2), server(wire.SETTLED, wire.settled_write(7, [(16, 0)]), 2),
    )


def make_codecs():
    text = b"abcdefgh" * 20
    matched = b"\x8f" + b"abcdefgh" + b"\x08\x00" + bytes([147 - 19]) + b"\x50" + text[-5:]  # 8 literals, 147 bytes from 8 before, 5 literals
    head = len(text).to_bytes(4, "little")
    rows = [
        ("lz4-literals", "an LZ4 block of literals", 1, text, wire.pack(wire.LZ4, text)),
        ("lz4-match", "an LZ4 block with an overlapping match", 1, text, head + matched),
        ("lz4-empty", "nothing, compressed", 1, b"", wire.pack(wire.LZ4, b"")),
        ("zstd-raw", "a Zstandard frame of one raw block", 2, text, wire.pack(wire.ZSTD, text)),
        ("zstd-rle", "a Zstandard frame of one run", 2, b"z" * 1000, (1000).to_bytes(4, "little") + b"\x28\xb5\x2f\xfd\x60\xe8\x02" + (1000 << 3 | 3).to_bytes(3, "little") + b"z"),
    ]
    for name, about, codec, text_of, data in rows:
        vector(f"codec-{name}", about, "codec", data, {"plain": text_of}, codec=codec, max=4096)
    raw = wire.pack(wire.ZSTD, text)
    for name, about, codec, code, data in [
        ("too-large", "a plain size above the limit", 1, "PROTOCOL", (4097).to_bytes(4, "little") + matched),
        ("size-less", "more bytes than the plain size says", 1, "CORRUPT", (159).to_bytes(4, "little") + matched),
        ("size-more", "fewer bytes than the plain size says", 1, "CORRUPT", (161).to_bytes(4, "little") + matched),
        ("offset", "a match from before the beginning", 1, "CORRUPT", head + matched.replace(b"\x08\x00", b"\x09\x00", 1)),
        ("cut", "an LZ4 block that is cut off", 1, "CORRUPT", head + matched[:-1]),
        ("no-size", "three bytes", 1, "CORRUPT", b"\x00\x00\x00"),
        ("magic", "a Zstandard frame with another magic number", 2, "CORRUPT", patched(raw, 4, b"\x29")),
        ("second-frame", "a second Zstandard frame behind the first", 2, "CORRUPT", (320).to_bytes(4, "little") + raw[4:] + raw[4:]),
    ]:
        vector(f"codec-bad-{name}", about, "codec", data, refused=code, codec=codec, max=4096)


def make_partitions():
    # The hashes are those of Kafka's own test, UtilsTest.testMurmur2, as signed numbers.
    known = [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("a-little-bit-longer-string", -1486304829), ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971), ("abc", 479470107)]
    for key, signed in known:
        key = key.encode()
        assert wire.murmur2(key) == signed & 0xFFFFFFFF, key
        vector(f"partition-kafka-{len(key)}", "a hash that Kafka's own test names", "partition", key, {"hash": signed & 0xFFFFFFFF, "partitions": 12, "partition": wire.partition_of(key, 12)})
    for name, key in [("empty", b""), ("binary", bytes(range(256)))]:
        vector(f"partition-{name}", f"the key is {name}", "partition", key, {"hash": wire.murmur2(key), "partitions": 7, "partition": wire.partition_of(key, 7)})


def scram_exchange(name, about, user, secret, client_nonce, server_nonce, salt, iterations, binding, server_final):
    client = wire.Scram(user, secret, client_nonce, binding)
    first = client.first().decode()
    challenge = f"r={client_nonce}{server_nonce},s={wire._base64(salt)},i={iterations}"
    final = client.final(challenge.encode()).decode()
    own = f"v={wire._base64(client.expected)}"
    assert server_final in (None, own), name
    value = {"user": user, "secret": secret, "client_nonce": client_nonce, "server_nonce": server_nonce, "salt": salt, "iterations": iterations}
    value["binding"] = None if binding is None else {"kind": binding[0], "data": binding[1]}
    value["messages"] = [first, challenge, final, own]
    vector(name, about, "scram", b"", value)


def make_scram():
    salt = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
    nonces = ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    rfc = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    scram_exchange("scram-rfc7677", "the exchange of RFC 7677 section 3", "user", "pencil", *nonces, salt, 4096, None, rfc)
    scram_exchange("scram-plus-exporter", "bound to tls-exporter", "user", "pencil", *nonces, salt, 4096, ("tls-exporter", bytes(range(32))), None)
    scram_exchange("scram-plus-end-point", "bound to tls-server-end-point of a SHA-384 certificate", "AK7", "s3cret ~!", *nonces, salt, 10000, ("tls-server-end-point", bytes(range(48))), None)


# ---- Seeds of the fuzz targets ----

KINDS_OF_BATCH = ("credit", "produce", "produced", "deliver", "settle", "settled")


def seeds_of(row):
    """(target, input) for each use of a vector: tests/fuzz/fuzz_<target>.c says what its first byte means."""
    kind, data = row["kind"], bytes.fromhex("".join(row["bytes"]))
    if kind.removesuffix("_begun") in KINDS_OF_BATCH:
        yield "batch", bytes([KINDS_OF_BATCH.index(kind.removesuffix("_begun"))]) + data
    elif kind in ("record", "fields"):
        yield kind, data
        if kind == "record":
            yield "message", data
            yield "rabbitmq_message", data
    elif kind == "codec":
        yield "codec", bytes([row["codec"]]) + data
    elif kind == "frame":
        sender = 0x80 if row["sender"] == "server" else 0
        yield "frames", bytes([sender, 0, 0x80]) + data + data
        yield "frames", bytes([sender | 1, 1, 2]) + data + data
    elif kind == "scram":
        first, challenge, final, own = row["value"]["messages"]
        flags = 6 if row["value"]["binding"] else 0
        yield "scram", bytes([flags]) + f"{first}\n{final}".encode()
        yield "scram", bytes([flags | 1]) + f"{challenge}\n{own}".encode()


SDK_TYPES = (
    "WELCOME AUTH READY ERROR PING PONG GOAWAY CLOSED THROTTLE ADDRESSES TOPIC_OPENED PRODUCED WINDOW DELIVER SUBSCRIBED SETTLED DRAINED"
).split()
SDK_SEND = 0x1F


def sdk_action(name, payload=b"", stream=0, codec=0):
    """One action of tests/fuzz/fuzz_sdk.c, whose `types` are SDK_TYPES."""
    number = SDK_TYPES.index(name) if name != "SEND" else SDK_SEND
    return struct.pack("<BBH", number | codec << 5, stream, len(payload)) + payload


def sdk_seeds():
    """Conversations in which the proxy behaves: what the fuzzer spoils."""
    record = wire.Record(body=b"body", key=b"key", headers=[("h", b"v")], tag="t", id=bytes(range(16)), created_ms=1)
    opened = sdk_action("TOPIC_OPENED", wire.fields_write(partitions=1, durability=1), 1)
    subscribed = sdk_action("SUBSCRIBED", wire.fields_write(visibility_ms=30000), 2)
    run = wire.Run(count=1, outcome=wire.OK, code=0, durability=2, retry_after_ms=0, partition=0, offset=7, incarnation=1)
    produced = [sdk_action("PRODUCED", wire.produced_write(batch, [run]), 1) for batch in range(1, 4)]
    records = wire.deliver_write(0, 3, [(offset, 1, 1, record) for offset in range(4)])
    deliver = sdk_action("DELIVER", records, 2)
    packed = [sdk_action("DELIVER", wire.pack(codec, records), 2, codec) for codec in (1, 2)]
    settled = [sdk_action("SETTLED", wire.settled_write(number, [(0, 1)]), 2) for number in range(1, 4)]
    leave = sdk_action("GOAWAY", wire.fields_write(address=["127.0.0.1:1"], deadline_ms=1000))
    closed = sdk_action("CLOSED", wire.fields_write(code=17), 1)
    refused = sdk_action("ERROR", wire.fields_write(code=11, retry_after_ms=5), 1)
    welcome = wire.fields_write(max_frame=1 << 20, mechanisms="SCRAM-SHA-256", keepalive_ms=1000, codecs=7)
    for actions in (
        [opened, *produced],
        [opened, sdk_action("SEND"), *produced],
        [refused, sdk_action("TOPIC_OPENED", wire.fields_write(partitions=1, durability=1), 3), *produced],
        [opened, sdk_action("SEND"), closed, *produced, closed],
        [subscribed, deliver, *settled, deliver, *settled],
        [subscribed, *packed],
        [opened, subscribed, deliver, leave, *produced, *settled],
        *([sdk_action(name, stream=stream)] for name in SDK_TYPES for stream in range(3)),
    ):
        yield "sdk", b"\0" + b"".join(actions)
    yield "sdk", b"\1" + sdk_action("WELCOME", welcome) + sdk_action("AUTH")


SESSION_TYPES = "HELLO AUTH PING PONG GOAWAY OPEN_TOPIC SUBSCRIBE CLOSE PRODUCE CREDIT SETTLE".split()


def session_frame(name, payload=b"", stream=0, flags=0):
    """One frame of tests/fuzz/fuzz_session.c, whose `types` are SESSION_TYPES."""
    return struct.pack("<BBH", SESSION_TYPES.index(name) | flags << 5, stream, len(payload)) + payload


def session_seeds():
    """What a client does that behaves, and each frame alone; byte for byte also by one that has not logged in."""
    record = wire.Record(body=b"body", key=b"key", headers=[("h", b"v")], tag="t", id=bytes(range(16)), created_ms=1)
    opened, subscribed = session_frame("OPEN_TOPIC", wire.fields_write(topic="t"), 1), session_frame("SUBSCRIBE", wire.fields_write(group="g"), 2)
    batch = wire.produce_write(1, [record, record])
    produced = [session_frame("PRODUCE", batch, 1), session_frame("PRODUCE", batch, 1, 4), session_frame("PRODUCE", wire.pack(1, batch), 1, 1)]
    credit = session_frame("CREDIT", wire.credit_write(100, 1 << 20), 2)
    settles = [session_frame("SETTLE", wire.settle_write(number, [wire.Entry(number, 0, 1, 0, 2, 1)]), 2) for number in range(5)]
    closes = [session_frame("CLOSE", stream=stream) for stream in (1, 2, 1)]
    bare = [session_frame(name, stream=stream) for name in SESSION_TYPES for stream in range(3)]
    for frames in ([opened, *produced], [opened, subscribed, credit, *produced, *settles], [subscribed, credit, *settles], [subscribed, subscribed], [opened, *produced, *closes], [opened, subscribed, credit, *produced, *settles, *closes], *([one] for one in bare)):
        yield "session", b"\2" + b"".join(frames)
        yield "session", b"\3" + b"".join(frames)
    yield "session", b"\1" + session_frame("HELLO", wire.fields_write(client_name="c")) + session_frame("AUTH", wire.fields_write(mechanism="SCRAM-SHA-256", sasl=b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
    yield "session", b"\0" + wire.PREFACE + wire.frame(wire.HELLO)


def store_row(table, offset, row):
    return struct.pack("<BBH", table, offset, len(row)) + row


def message_seeds():
    """A stranger's Kafka message, as tests/fuzz/fuzz_message.c takes it: with an envelope, with a broken one, with neither."""
    envelope = b"\1\x18" + bytes(range(16)) + bytes(8) + b"\7" + b"\2\0\0\0"
    for value in (envelope, envelope[:-1], envelope + b"\0"):
        yield "message", b"\3" + b"\0" + bytes([len(value)]) + value + b"\0\xff" + b"\4name\5value" + b"\3key" + b"body"
    yield "message", b"\0\3keybody"


def amqp_table(*entries):
    """(name, kind, value as it lies behind its kind)"""
    return b"".join(bytes([len(name)]) + name + kind + value for name, kind, value in entries)


def amqp_bytes(value):
    return struct.pack(">I", len(value)) + value


def rabbitmq_message_seeds():
    """Another client's AMQP message, as tests/fuzz/fuzz_rabbitmq_message.c takes it: one with headers of ours, one with types."""
    envelope = b"\1\x98" + bytes(range(16)) + bytes(8) + b"\7" + b"\2\0\0\0" + b"\3\0\0\0"
    copy = struct.pack("<BBIIQq", 1, 1, 3, 2, 5, 7)
    exact = struct.pack("<IHH", 9, 1, 2) + b"CC" + struct.pack("<I", 1) + b"q"
    ours = [(b"mqp", b"x", amqp_bytes(envelope)), (b"mqp-copy", b"x", amqp_bytes(copy)), (b"mqp-key", b"x", amqp_bytes(b"")), (b"mqp-body", b"V", b"")]
    table = amqp_bytes(amqp_table(*ours, (b"mqp-headers", b"x", amqp_bytes(exact)), (b"x-delivery-count", b"l", bytes(8))))
    yield "rabbitmq_message", b"\3key\0" + b"\x20\0" + table
    numbers = amqp_table((b"a", b"t", b"\1"), (b"b", b"I", bytes(4)), (b"c", b"d", struct.pack(">d", 0.1)), (b"d", b"D", b"\2" + bytes(4)), (b"e", b"T", bytes(8)))
    nested = amqp_table((b"f", b"F", amqp_bytes(numbers)), (b"g", b"A", amqp_bytes(b"S" + amqp_bytes(b"\xff\"") + b"V")))
    yield "rabbitmq_message", b"\3key\4body" + struct.pack(">H", 0xA880) + b"\4text" + amqp_bytes(numbers + nested) + b"\7" + b"\2id"


def store_seeds():
    """Rows as tests/fuzz/fuzz_store.c takes them: a chunk of two records, a retry, a cursor."""
    record = wire.record_write(wire.Record(body=b"body", key=b"key", id=bytes(range(16)), created_ms=1))
    chunk = store_row(0, 0, struct.pack("<IIq", 2, 0, 5) + record * 2)
    later = store_row(0, 2, struct.pack("<IIq", 1, 0, 9) + record)
    cursor = store_row(1, 0, struct.pack("<QQQ", 1, 1, 0) + b"mqw2")
    retry = store_row(2, 1, struct.pack("<QqII", 7, 5, 1, 0) + record)
    for asked in range(0, 8, 2):
        for rows in (chunk, chunk + later + cursor, chunk + retry + cursor, retry, cursor):
            yield "store", bytes([asked | 1]) + rows
            yield "store", bytes([asked | 0x11]) + rows


def stream_seeds():
    """A large frame and many small ones behind it, which no single vector holds.

    With pieces of 112 bytes the large one ends at read 179: taken there, it leaves an empty large buffer behind, and what comes
    then is left untaken for as long as a round lasts.
    """
    stream = wire.frame(wire.PRODUCE, bytes(180 * 112 - wire.HEADER.size), 1) + wire.frame(wire.PING, bytes(8)) * 1300
    for turn, round in ((0, 0x80), (0, 0), (179, 9), (3, 3)):
        yield "frames", bytes([3, turn, round]) + stream


def write_seeds(folder):
    seeds = {name: seeds_of(row) for name, row in VECTORS.items()} | {"stream": stream_seeds(), "sdk": sdk_seeds(), "store": store_seeds(), "session": session_seeds(), "message": message_seeds(), "rabbitmq_message": rabbitmq_message_seeds()}
    for name, inputs in seeds.items():
        for number, (target, data) in enumerate(inputs):
            os.makedirs(os.path.join(folder, target), exist_ok=True)
            with open(os.path.join(folder, target, f"{name}-{number}"), "wb") as file:
                file.write(data)
    return 0


# ---- Writing and checking ----


def text_of(name):
    return json.dumps({"name": name, **VECTORS[name]}, indent=1, ensure_ascii=False) + "\n"


READERS = {
    "fields": wire.fields_read,
    "record": wire.record_read,
    "produce": wire.produce_read,
    "produced": wire.produced_read,
    "deliver": wire.deliver_read,
    "deliver_begun": lambda payload: wire.deliver_read(payload, True),
    "settle": wire.settle_read,
    "settle_begun": lambda payload: wire.settle_read(payload, True),
    "settled": wire.settled_read,
}


def read_back(name):
    """None, or what the Python codec says wrongly of the bytes."""
    row = VECTORS[name]
    data = bytes.fromhex("".join(row["bytes"]))
    if row["kind"] not in READERS:
        return None
    try:
        READERS[row["kind"]](data)
    except (wire.Malformed, UnicodeDecodeError) as error:
        return None if "refused" in row else f"refused: {error}"
    return "not refused" if "refused" in row else None


def check():
    files = {name.removesuffix(".json") for name in os.listdir(HERE) if name.endswith(".json")}
    faults = [f"{name}.json: no such vector" for name in sorted(files - VECTORS.keys())]
    for name in sorted(VECTORS):
        path = os.path.join(HERE, name + ".json")
        differs = name not in files or open(path, encoding="utf-8").read() != text_of(name)
        fault = "is not what make.py writes" if differs else read_back(name)
        if fault:
            faults.append(f"{name}.json: {fault}")
    print("\n".join(faults + [f"{len(VECTORS) - len(faults)} passed, {len(faults)} failed"]))
    return 1 if faults else 0


def main():
    make_frames()
    make_fields()
    make_records()
    make_batches()
    make_settles()
    make_exchanges()
    make_codecs()
    make_partitions()
    make_scram()
    if sys.argv[1:] == ["--check"]:
        return check()
    if sys.argv[1:2] == ["--seeds"]:
        return write_seeds(sys.argv[2])
    for name in VECTORS:
        with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as file:
            file.write(text_of(name))
    print(f"{len(VECTORS)} vectors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
