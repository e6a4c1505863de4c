"""A small client of the native protocol, written from docs/protocol.md alone: the proof that the page is complete.

Standard library only, one thread, nothing clever. First the bytes (checksum, fields, records, batches, settles, codecs,
SCRAM), each with a function to write and one to read; then Connection, Topic and Subscription, which behave; and what a test
needs to misbehave: send_raw(), and send_frame() with a wrong size, checksum, type or flags.
"""
import base64
import collections
import dataclasses
import hashlib
import hmac
import os
import secrets
import socket
import struct
import time

PREFACE = b"\xcdMQP\r\n\x1a\x01"
HEADER = struct.Struct("<IBBHII")  # size, type, flags, reserved, stream, crc
EARLY_MAX = 4096
NO_OFFSET = 2**64 - 1
ABSENT = 2**32 - 1
BY_SCHEDULE = 2**32 - 1

HELLO, WELCOME, AUTH, READY, ERROR, PING, PONG, GOAWAY, ADDRESSES, THROTTLE = range(0x01, 0x0B)
OPEN_TOPIC, TOPIC_OPENED, SUBSCRIBE, SUBSCRIBED, CLOSE, CLOSED = range(0x10, 0x16)
PRODUCE, PRODUCED, WINDOW = range(0x20, 0x23)
CREDIT, DELIVER, SETTLE, SETTLED, DRAINED = range(0x30, 0x35)
NO_CODEC, LZ4, ZSTD, ONEWAY = 0, 1, 2, 4
ACK, NACK, EXTEND, REJECT, RELEASE = range(5)
OK, REJECTED, UNKNOWN = range(3)

CODES = (
    "OK BAD_REQUEST UNAUTHENTICATED FORBIDDEN NOT_FOUND CONFLICT PRECONDITION_FAILED IN_USE TOO_LARGE LIMIT_EXCEEDED THROTTLED NO_ROUTE "
    "UNSUPPORTED_BY_BACKEND BACKEND_DOWN BACKEND_FULL BACKEND_ERROR STALE NOT_READY SHUTTING_DOWN OVERLOADED CORRUPT PROTOCOL TIMEOUT "
    "CONNECTION_LOST EXPIRED INTERNAL CANCELLED KICKED MOVED"
).split()


def code_name(number):
    return CODES[number] if number < len(CODES) else str(number)


class Malformed(Exception):
    """Bytes that are not what the page says."""


class Ended(Exception):
    """The server has closed the connection."""


class Refused(Exception):
    """The server answered ERROR (or CLOSED a stream unasked); .code is the word of section 10."""

    def __init__(self, fields):
        self.fields = fields
        self.code = code_name(fields.get("code", 0))
        super().__init__(f"{self.code}: {fields.get('text', '')}")


# ---- Checksum (section 2) ----


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# ---- Frames (section 2) ----

Frame = collections.namedtuple("Frame", "type flags stream payload")


def frame(type, payload=b"", stream=0, flags=0, size=None, crc=None, reserved=0):
    """The bytes of a frame. size, crc and reserved are computed unless a test wants them wrong."""
    size = len(payload) if size is None else size
    crc = (crc32c(payload) if payload else 0) if crc is None else crc
    return HEADER.pack(size, type, flags, reserved, stream, crc) + payload


# ---- Fields (section 2) ----

TEXT, BYTES = "text", "bytes"
U8, U16, U32, U64 = 1, 2, 4, 8
FIELDS = {
    "client_name": (1, TEXT, 64), "client_version": (2, TEXT, 64), "client_id": (3, TEXT, 128), "codecs": (4, U8), "features": (5, U64),
    "server_version": (6, TEXT, 64), "proxy_id": (7, TEXT, 64), "max_frame": (8, U32), "max_message": (9, U32), "mechanisms": (10, TEXT, 256),
    "keepalive_ms": (11, U32), "mechanism": (12, TEXT, 32), "sasl": (13, BYTES, 2048), "tenant": (14, TEXT, 256), "address": (15, TEXT, 300),
    "window": (16, U64), "code": (17, U16), "text": (18, TEXT, 1024), "retry_after_ms": (19, U32), "deadline_ms": (20, U32), "direction": (21, U8),
    "remaining": (22, U64), "limit": (23, U64), "topic": (24, TEXT, 256), "partitions": (25, U32), "durability": (26, U8), "native": (27, U8),
    "group": (28, TEXT, 256), "visibility_ms": (29, U32), "max_attempts": (30, U32), "dead_letter": (31, TEXT, 256), "unit": (32, U8),
    "session": (33, U64), "topic_of_group": (34, TEXT, 256),
}  # fmt: skip
LISTS = {"address"}
_BY_TAG = {row[0]: (name, *row[1:]) for name, row in FIELDS.items()}


def fields_write(**values):
    out = b""
    for name, value in values.items():
        tag, kind = FIELDS[name][:2]
        for one in value if name in LISTS else [value]:
            data = one.encode() if kind == TEXT else one if kind == BYTES else one.to_bytes(kind, "little")
            out += struct.pack("<HH", tag, len(data)) + data
    return out


def fields_read(payload):
    """A dictionary by name; "address" is a list."""
    values, at = {}, 0
    while at < len(payload):
        if len(payload) - at < 4:
            raise Malformed("a field is cut off")
        tag, size = struct.unpack_from("<HH", payload, at)
        data, at = payload[at + 4 : at + 4 + size], at + 4 + size
        if len(data) != size:
            raise Malformed("a field is cut off")
        if tag not in _BY_TAG:
            if tag & 0x8000:
                raise Malformed(f"unknown field {tag:#x} that must be understood")
            continue
        name = _BY_TAG[tag][0]
        value = _field_value(*_BY_TAG[tag], data=data)
        if name in LISTS:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Malformed(f"{name} stands twice")
        else:
            values[name] = value
    return values


def _field_value(name, kind, largest=8, *, data):
    if len(data) > largest:
        raise Malformed(f"{name} is longer than {largest} bytes")
    if kind == BYTES:
        return data
    if kind == TEXT:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"{name} is not UTF-8") from error
        if "\0" in text:
            raise Malformed(f"{name} holds a zero byte")
        return text
    if len(data) != kind:
        raise Malformed(f"{name} has another width")
    return int.from_bytes(data, "little")


# ---- Records (section 4) ----

KEY, BODY, DUE, TTL, PRIORITY, PARTITION, TAG, TRACE, HEADERS = (1 << bit for bit in range(9))
_RECORD = struct.Struct("<II16sqII")


def new_id():
    """48 bits of milliseconds, then 80 random bits."""
    return int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10)


@dataclasses.dataclass
class Record:
    """One message. None is absent; b"" is empty."""

    body: bytes = None
    key: bytes = None
    headers: list = dataclasses.field(default_factory=list)  # of (name, bytes or None), in order
    due_ms: int = None
    ttl_ms: int = None
    priority: int = None
    partition: int = None
    tag: str = None
    trace: bytes = None
    id: bytes = dataclasses.field(default_factory=new_id)
    created_ms: int = dataclasses.field(default_factory=lambda: int(time.time() * 1000))

    def header(self, name):
        """The first value of that name; None when it is absent or there is none."""
        return next((value for own, value in self.headers if own == name), None)


def record_write(record):
    flags, parts = 0, b""
    for bit, value, layout in ((DUE, record.due_ms, "<q"), (TTL, record.ttl_ms, "<I"), (PRIORITY, record.priority, "<B"), (PARTITION, record.partition, "<I")):
        if value is not None:
            flags, parts = flags | bit, parts + struct.pack(layout, value)
    if record.tag is not None:
        tag = record.tag.encode()
        flags, parts = flags | TAG, parts + bytes([len(tag)]) + tag
    if record.trace is not None:
        flags, parts = flags | TRACE, parts + record.trace
    if record.headers:
        entries = b"".join(_header_write(*header) for header in record.headers)
        flags, parts = flags | HEADERS, parts + struct.pack("<IH", len(entries), len(record.headers)) + entries
    flags |= (KEY if record.key is not None else 0) | (BODY if record.body is not None else 0)
    key, body = record.key or b"", record.body or b""
    size = _RECORD.size + len(parts) + len(key) + len(body)
    return _RECORD.pack(size, flags, record.id, record.created_ms, len(key), len(body)) + parts + key + body


def _header_write(name, value):
    encoded = name.encode()
    return struct.pack("<H", len(encoded)) + encoded + struct.pack("<I", ABSENT if value is None else len(value)) + (value or b"")


class _Bytes:
    """Reads forward and notices when it would leave the end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size > len(self.data) - self.at:
            raise Malformed("cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def unpack(self, layout):
        values = struct.unpack(layout, self.take(struct.calcsize(layout)))
        return values[0] if len(values) == 1 else values

    def left(self):
        return len(self.data) - self.at


def record_read(data):
    """The record that `data` is, exactly."""
    size, flags, id, created_ms, key_size, body_size = _Bytes(data).unpack(_RECORD.format)
    if size != len(data) or flags >> 9 or id == bytes(16):
        raise Malformed("record size, flags or id")
    if not flags & KEY and key_size or not flags & BODY and body_size:
        raise Malformed("an absent key or body has a size")
    rest = _Bytes(data[_RECORD.size :])
    record = Record(id=id, created_ms=created_ms)
    record.due_ms = rest.unpack("<q") if flags & DUE else None
    record.ttl_ms = rest.unpack("<I") if flags & TTL else None
    record.priority = rest.unpack("<B") if flags & PRIORITY else None
    record.partition = rest.unpack("<I") if flags & PARTITION else None
    record.tag = rest.take(rest.unpack("<B")).decode() if flags & TAG else None
    record.trace = rest.take(25) if flags & TRACE else None
    if flags & HEADERS:
        entries_size, count = rest.unpack("<IH")
        record.headers = _headers_read(_Bytes(rest.take(entries_size)), count)
    key, body = rest.take(key_size), rest.take(body_size)
    if rest.left() or (record.priority or 0) > 9 or record.tag == "":
        raise Malformed("record parts")
    record.key, record.body = key if flags & KEY else None, body if flags & BODY else None
    return record


def _headers_read(entries, count):
    headers = []
    for _ in range(count):
        name = entries.take(entries.unpack("<H")).decode()
        size = entries.unpack("<I")
        headers.append((name, None if size == ABSENT else entries.take(size)))
    if entries.left() or any(not name for name, _ in headers):
        raise Malformed("record headers")
    return headers


def murmur2(key):
    """Kafka's hash of a key (section 4, PARTITION), as an unsigned number."""
    mix, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * mix & mask
        k = (k ^ k >> 24) * mix & mask
        value = (value * mix & mask) ^ k
    if whole < len(key):
        value = (value ^ int.from_bytes(key[whole:], "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15


def partition_of(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


# ---- Batches (section 6) ----

Run = collections.namedtuple("Run", "count outcome durability code retry_after_ms partition offset incarnation")
_RUN = struct.Struct("<IBBHIIQQ")


def produce_write(batch, records, count=None):
    return struct.pack("<QI", batch, len(records) if count is None else count) + b"".join(map(record_write, records))


def produce_read(payload):
    rest = _Bytes(payload)
    batch, count = rest.unpack("<QI")
    records = [record_read(_record_take(rest)) for _ in range(count)]
    if rest.left() or not 1 <= count <= 65535:
        raise Malformed("PRODUCE")
    return batch, records


def _record_take(rest):
    size = int.from_bytes(rest.data[rest.at : rest.at + 4], "little")
    return rest.take(size)


def produced_write(batch, runs):
    return struct.pack("<QI", batch, sum(run.count for run in runs)) + b"".join(_RUN.pack(*run) for run in runs)


def produced_read(payload):
    rest = _Bytes(payload)
    batch, count = rest.unpack("<QI")
    runs = []
    while sum(run.count for run in runs) < count:
        runs.append(Run(*rest.unpack(_RUN.format)))
    if rest.left() or sum(run.count for run in runs) != count or any(not run.count or run.outcome > UNKNOWN or run.durability > 3 for run in runs):
        raise Malformed("PRODUCED")
    return batch, runs


Result = collections.namedtuple("Result", "outcome code durability retry_after_ms partition offset incarnation")


def results_of(runs):
    """One Result a record; offset is None where none is told."""
    results = []
    for run in runs:
        for step in range(run.count):
            offset = run.offset + step if run.outcome == OK and run.offset != NO_OFFSET else None
            results.append(Result(run.outcome, code_name(run.code), run.durability, run.retry_after_ms, run.partition, offset, run.incarnation))
    return results


# ---- Deliveries and settles (section 7) ----

Delivery = collections.namedtuple("Delivery", "partition epoch offset stored_ms attempt record flags number", defaults=(0, 0))
Entry = collections.namedtuple("Entry", "verb partition epoch offset count attempt ms number", defaults=(0, 0))
SUSPECT, LAST = 1, 2  # flags of a delivery
BEGUN = 2  # the feature's bit
_ENTRY = struct.Struct("<IIQQIIII")  # the verb with the three zero bytes behind it


def credit_write(messages, bytes, drain=0, begun=None):
    return struct.pack("<QQQ", messages, bytes, drain) + (b"" if begun is None else struct.pack("<Q", begun))


def deliver_write(partition, epoch, entries):
    """entries: (offset, stored_ms, attempt, record[, flags])."""
    out = struct.pack("<IIQ", partition, len(entries), epoch)
    return out + b"".join(struct.pack("<QqII", offset, stored, attempt, *(flags or [0])) + record_write(record) for offset, stored, attempt, record, *flags in entries)


def deliver_read(payload, begun=False):
    rest, deliveries = _Bytes(payload), []
    partition, count, epoch = rest.unpack("<IIQ")
    for _ in range(count):
        offset, stored_ms, attempt, flags = rest.unpack("<QqII")
        if flags & ~(SUSPECT | LAST if begun else 0) or not attempt:
            raise Malformed("DELIVER")
        deliveries.append(Delivery(partition, epoch, offset, stored_ms, attempt, record_read(_record_take(rest)), flags))
    if rest.left() or not count:
        raise Malformed("DELIVER")
    return deliveries


def settle_write(number, entries):
    return struct.pack("<QII", number, len(entries), 0) + b"".join(
        _ENTRY.pack(entry.verb, entry.partition, entry.epoch, entry.offset, entry.count, entry.attempt, entry.ms, entry.number) for entry in entries
    )


def settle_read(payload, begun=False):
    rest = _Bytes(payload)
    number, count, reserved = rest.unpack("<QII")
    rows = [rest.unpack(_ENTRY.format) for _ in range(count)]
    if rest.left() or reserved or not count or any(row[0] > RELEASE or not row[4] or (row[7] and not begun) or row[3] + row[4] >= 2**64 for row in rows):
        raise Malformed("SETTLE")
    return number, [Entry(*row) for row in rows]


def settled_write(number, answers):
    """answers: (code, number of offsets settled)."""
    return struct.pack("<QII", number, len(answers), 0) + b"".join(struct.pack("<HHI", code, 0, settled) for code, settled in answers)


def settled_read(payload):
    rest = _Bytes(payload)
    number, count, reserved = rest.unpack("<QII")
    rows = [rest.unpack("<HHI") for _ in range(count)]
    if rest.left() or reserved or not count or any(row[1] for row in rows):
        raise Malformed("SETTLED")
    return number, [(code_name(code), settled) for code, _, settled in rows]


# ---- Codecs (section 2) ----


def pack(codec, plain):
    """A payload under a codec, without a compressor: LZ4 as one run of literals, Zstandard as raw blocks."""
    return struct.pack("<I", len(plain)) + (lz4_literals(plain) if codec == LZ4 else zstd_raw(plain))


def unpack(codec, payload):
    plain = lz4_read(payload[4:])
    if codec != LZ4 or len(plain) != int.from_bytes(payload[:4], "little"):
        raise Malformed("compressed payload")
    return plain


def lz4_literals(plain):
    if len(plain) < 15:
        return bytes([len(plain) << 4]) + plain
    more, last = divmod(len(plain) - 15, 255)
    return b"\xf0" + b"\xff" * more + bytes([last]) + plain


def lz4_read(block):
    rest, out = _Bytes(block), bytearray()
    while rest.left():
        token = rest.unpack("<B")
        out += rest.take(_lz4_length(rest, token >> 4))
        if rest.left():
            offset = rest.unpack("<H")
            if not 0 < offset <= len(out):
                raise Malformed("LZ4 offset")
            for _ in range(_lz4_length(rest, token & 15) + 4):
                out.append(out[-offset])
    return bytes(out)


def _lz4_length(rest, length):
    if length == 15:
        more = 255
        while more == 255:
            more = rest.unpack("<B")
            length += more
    return length


def zstd_raw(plain):
    """RFC 8878: magic, single segment with a content size of 8 bytes, raw blocks of at most 64 KiB."""
    out = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", len(plain))
    chunks = [plain[at : at + 65536] for at in range(0, len(plain), 65536)] or [b""]
    for number, chunk in enumerate(chunks):
        out += (len(chunk) << 3 | (number == len(chunks) - 1)).to_bytes(3, "little") + chunk
    return out


# ---- SCRAM (section 3; RFC 5802, RFC 7677) ----


def _base64(data):
    return base64.b64encode(data).decode()


class Scram:
    """The client's side. binding: None, ("y", b"") or ("tls-server-end-point", bytes)."""

    def __init__(self, user, secret, nonce=None, binding=None):
        kind, self.bound = binding or ("n", b"")
        self.gs2 = f"{kind},," if kind in "ny" else f"p={kind},,"
        self.secret, self.nonce = secret.encode(), nonce or secrets.token_urlsafe(18)
        self.first_bare = f"n={user},r={self.nonce}"
        self.expected = None

    def first(self):
        return (self.gs2 + self.first_bare).encode()

    def final(self, server_first):
        server_first = server_first.decode()
        values = dict(part.split("=", 1) for part in server_first.split(","))
        if not values["r"].startswith(self.nonce) or values["r"] == self.nonce:
            raise Malformed("the server's nonce does not continue ours")
        salted = hashlib.pbkdf2_hmac("sha256", self.secret, base64.b64decode(values["s"]), int(values["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c={_base64(self.gs2.encode() + self.bound)},r={values['r']}"
        message = f"{self.first_bare},{server_first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        self.expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        return f"{without_proof},p={_base64(proof)}".encode()

    def check(self, server_final):
        if not self.expected or server_final != f"v={_base64(self.expected)}".encode():
            raise Malformed("the server does not know the secret")


def end_point_of(certificate):
    """tls-server-end-point (RFC 5929): the hash of the certificate, by the hash of its signature."""
    hashes = {"2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512", "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512"}
    behind_signed_part = _der(_der(certificate)[0])[1]
    algorithm = _der(_der(behind_signed_part)[0])[0].hex()
    return hashlib.new(hashes.get(algorithm, "sha256"), certificate).digest()


def _der(data):
    """(content, what follows) of the first element."""
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(data[2:at], "big")
    return data[at : at + size], data[at + size :]


# ---- A connection ----


class Connection:
    """Connects and, unless told not to, authenticates. tls: an ssl.SSLContext.

    Frames without a request are handled where they come: PING is answered, WINDOW moves .window; ADDRESSES, THROTTLE and
    GOAWAY are kept in .addresses, .throttles and .goaway. Everything else waits in .inbox until something expects it. An unasked
    CLOSED is answered with CLOSE (unless answer_closed is False); a frame behind a CLOSED of its stream is Malformed.
    """

    def __init__(self, host, port, key_id=None, secret=None, tls=None, server_name=None, timeout=60, start=True, codecs=1 | 1 << LZ4, begun=False):
        self.timeout, self.codecs, self.closed = timeout, codecs, False
        self.begun = begun  # it tells what it begins (feature BEGUN)
        self.inbox, self.throttles, self.addresses, self.goaway = [], [], [], None
        self.welcome, self.ready = {}, {}
        self.window = self.produced_bytes = 0
        self.answer_pings = self.answer_closed = True
        self.next_stream, self.next_number = 1, 1
        self.closing, self.ended = set(), set()  # stream ids: CLOSE is sent; CLOSED has come
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server_name or host)
        self.tls = bool(tls)
        if start:
            self.hello()
        if start and key_id is not None:
            self.authenticate(key_id, secret)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- bytes and frames

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Ended() from None

    def send_frame(self, type, payload=b"", stream=0, flags=0, **wrong):
        """**wrong: size, crc or reserved, for what a well-behaved client never sends."""
        self.send_raw(frame(type, payload, stream, flags, **wrong))

    def _read_exactly(self, size, deadline):
        data = b""
        while len(data) < size:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                self.closed = True
                raise Ended("in the middle of a frame" if data else "")
            data += more
        return data

    def read_frame(self, timeout=None):
        """The next frame as it comes. TimeoutError, Ended. A frame that a time-out cuts in two ends the connection."""
        self.socket.settimeout(self.timeout if timeout is None else max(0.001, timeout))
        try:
            first = self.socket.recv(1) if not self.closed else b""
        except ConnectionResetError:
            first = b""
        if not first:
            self.closed = True
            raise Ended()
        deadline = time.monotonic() + self.timeout
        size, type, flags, reserved, stream, crc = HEADER.unpack(first + self._read_exactly(HEADER.size - 1, deadline))
        if reserved or size > self.welcome.get("max_frame", EARLY_MAX):
            raise Malformed("header of a frame")
        payload = self._read_exactly(size, deadline) if size else b""
        if crc != (crc32c(payload) if payload else 0):
            raise Malformed("checksum of a frame")
        if flags & 3:
            payload = unpack(flags & 3, payload)
        return Frame(type, flags, stream, payload)

    def _handle(self, frame):
        """True when the frame needs no more attention."""
        if frame.type == PING and self.answer_pings:
            self.send_frame(PONG, frame.payload)
        elif frame.type == WINDOW:
            self.window = int.from_bytes(frame.payload, "little")
        elif frame.type == ADDRESSES:
            self.addresses = fields_read(frame.payload).get("address", [])
        elif frame.type == THROTTLE:
            self.throttles.append(fields_read(frame.payload))
        elif frame.type == GOAWAY:
            self.goaway = fields_read(frame.payload)
        else:
            if frame.stream in self.ended:
                raise Malformed("a frame behind the CLOSED of its stream")
            if frame.type == CLOSED:
                self._closed(frame.stream)
            return False
        return True

    def _closed(self, stream):
        self.ended.add(stream)
        if stream not in self.closing and self.answer_closed:
            self.send_close(stream)

    def send_close(self, stream):
        self.closing.add(stream)
        self.send_frame(CLOSE, b"", stream)

    def pump(self, timeout=None):
        """Reads one frame and handles it or puts it into the inbox. An ERROR of the connection is raised."""
        frame = self.read_frame(timeout)
        if frame.type == ERROR and frame.stream == 0:
            raise Refused(fields_read(frame.payload))
        if not self._handle(frame):
            self.inbox.append(frame)

    def pump_until(self, condition, timeout=None):
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing came in time")
            self.pump(left)

    def take(self, type, stream=0):
        """The first frame of that kind in the inbox, or None. An ERROR or CLOSED of that stream is raised instead."""
        for at, frame in enumerate(self.inbox):
            if frame.stream != stream or frame.type not in (type, ERROR, CLOSED):
                continue
            del self.inbox[at]
            if frame.type != type:
                raise Refused(fields_read(frame.payload))
            return frame
        return None

    def expect(self, type, stream=0, timeout=None):
        found = []

        def there():
            frame = self.take(type, stream)
            if frame:
                found.append(frame)
            return bool(found)

        self.pump_until(there, timeout)
        return found[0]

    def expect_end(self, timeout=None):
        """Waits until the server closes; returns the Refused of its ERROR, or None if it sent none."""
        refused = None
        try:
            self.pump_until(lambda: False, timeout)
        except Refused as error:
            refused = error
        except Ended:
            return None
        try:
            self.pump_until(lambda: False, timeout)
        except Ended:
            return refused

    # -- hello and authentication (sections 1 and 3)

    def hello(self, **fields):
        hello = {"client_name": "wire.py", "client_version": "1", "client_id": f"{socket.gethostname()}:{os.getpid()}"[:128], "codecs": self.codecs, "features": 1 | (BEGUN if self.begun else 0)}
        self.send_raw(PREFACE + frame(HELLO, fields_write(**{**hello, **fields})))
        self.welcome = fields_read(self.expect(WELCOME).payload)
        self.begun &= bool(self.welcome["features"] & BEGUN)

    def binding(self):
        """What SCRAM is bound to, and under which mechanism."""
        if not self.tls:
            return "SCRAM-SHA-256", None
        if "SCRAM-SHA-256-PLUS" in self.welcome["mechanisms"].split(","):
            return "SCRAM-SHA-256-PLUS", ("tls-server-end-point", end_point_of(self.socket.getpeercert(binary_form=True)))
        return "SCRAM-SHA-256", ("y", b"")

    def authenticate(self, key_id, secret, mechanism=None, binding=None):
        if mechanism is None:
            mechanism, binding = self.binding()
        scram = Scram(key_id, secret, binding=binding)
        self.send_frame(AUTH, fields_write(mechanism=mechanism, sasl=scram.first()))
        server_first = fields_read(self.expect(AUTH).payload)["sasl"]
        self.send_frame(AUTH, fields_write(sasl=scram.final(server_first)))
        self.ready = fields_read(self.expect(READY).payload)
        scram.check(self.ready["sasl"])
        self.window = max(self.window, self.ready["window"])
        self.addresses = self.ready.get("address", [])

    # -- streams and the rest (sections 2, 7, 8)

    def new_stream(self):
        self.next_stream += 1
        return self.next_stream - 1

    def number(self):
        self.next_number += 1
        return self.next_number - 1

    def open_topic(self, name):
        return Topic(self, name)

    def subscribe(self, group):
        return Subscription(self, group)

    def ping(self, data=None):
        data = data or os.urandom(8)
        self.send_frame(PING, data)
        return self.expect(PONG).payload == data

    def leave(self, **fields):
        """GOAWAY: from here on only settles and PONG are sent."""
        self.send_frame(GOAWAY, fields_write(**fields))

    def close(self):
        self.closed = True
        self.socket.close()

    def reset(self):
        """Ends the connection without the usual farewell: the server sees a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Stream:
    def __init__(self, conn, type, answer, **fields):
        self.conn, self.id = conn, conn.new_stream()
        conn.send_frame(type, fields_write(**fields), self.id)
        self.opened = fields_read(conn.expect(answer, self.id).payload)

    def close(self):
        """Returns the fields of CLOSED. What was still on its way is dropped. Not for a stream that has had its CLOSED."""
        if self.id not in self.conn.closing:
            self.conn.send_close(self.id)
        closed = []

        def there():
            closed.extend(frame for frame in self.conn.inbox if frame.stream == self.id and frame.type == CLOSED)
            return bool(closed)

        self.conn.pump_until(there)
        self.conn.inbox = [frame for frame in self.conn.inbox if frame.stream != self.id]
        return fields_read(closed[0].payload)


class Topic(Stream):
    """A stream to send on (section 6)."""

    def __init__(self, conn, name):
        super().__init__(conn, OPEN_TOPIC, TOPIC_OPENED, topic=name)
        self.partitions, self.durability = self.opened["partitions"], self.opened["durability"]
        self.next_batch = 1

    def produce(self, records, oneway=False, codec=NO_CODEC, keep_window=True, timeout=None):
        """Sends a batch as soon as the window allows; returns its number. keep_window=False sends it in any case."""
        batch, self.next_batch = self.next_batch, self.next_batch + 1
        payload = produce_write(batch, records)
        payload = pack(codec, payload) if codec else payload
        size = HEADER.size + len(payload)
        if keep_window:
            self.conn.pump_until(lambda: self.conn.produced_bytes + size <= self.conn.window, timeout)
        self.conn.produced_bytes += size
        self.conn.send_frame(PRODUCE, payload, self.id, codec | (ONEWAY if oneway else 0))
        return batch

    def results(self, batch, timeout=None):
        """One Result for each record of the batch; other batches' answers stay in the inbox."""
        found = []

        def there():
            for frame in self.conn.inbox:
                if frame.stream == self.id and frame.type == PRODUCED and produced_read(frame.payload)[0] == batch:
                    found.append(frame)
                elif frame.stream == self.id and frame.type == CLOSED:
                    raise Refused(fields_read(frame.payload))
            return bool(found)

        self.conn.pump_until(there, timeout)
        self.conn.inbox.remove(found[0])
        return results_of(produced_read(found[0].payload)[1])

    def send(self, *records, **options):
        """Sends and waits: a Result for each record (bytes are bodies)."""
        records = [record if isinstance(record, Record) else Record(body=record) for record in records]
        return self.results(self.produce(records, **options))


class Subscription(Stream):
    """A stream to receive on (section 7)."""

    def __init__(self, conn, group):
        super().__init__(conn, SUBSCRIBE, SUBSCRIBED, group=group)
        self.messages = self.bytes = self.drain_number = 0
        self.delivered, self.delivered_bytes, self.ready = 0, 0, collections.deque()
        self.begun = 0  # as told

    def _send_credit(self):
        self.conn.send_frame(CREDIT, credit_write(self.messages, self.bytes, self.drain_number, self.begun if self.conn.begun else None), self.id)

    def credit(self, messages, bytes=1 << 20):
        """Gives that much more credit."""
        self.messages, self.bytes = self.messages + messages, self.bytes + bytes
        self._send_credit()

    def begin(self, number):
        """Tells that the deliveries up to this number, or this delivery, may have begun."""
        self.begun = number if isinstance(number, int) else number.number
        self._send_credit()

    def _collect(self):
        while frame := self.conn.take(DELIVER, self.id):
            for delivery in deliver_read(frame.payload, self.conn.begun):
                self.delivered += 1
                self.delivered_bytes += len(record_write(delivery.record))
                self.ready.append(delivery._replace(number=self.delivered))

    def receive(self, count=1, timeout=None, credit=True):
        """Waits for exactly `count` deliveries, giving the credit that this needs; TimeoutError when fewer come."""
        missing = self.delivered + count - len(self.ready) - self.messages
        if credit and missing > 0:
            self.credit(missing)

        def enough():
            self._collect()
            return len(self.ready) >= count

        self.conn.pump_until(enough, timeout)
        return [self.ready.popleft() for _ in range(count)]

    def receive_nothing(self, seconds):
        """True when nothing is delivered for so long."""
        try:
            self.ready.appendleft(self.receive(1, seconds, credit=False)[0])
        except TimeoutError:
            return True
        return False

    def drain(self, timeout=None):
        """Asks for what is ready now; gives up unused credit and returns what came."""
        self.drain_number += 1
        self._send_credit()
        answer = self.conn.expect(DRAINED, self.id, timeout)
        if int.from_bytes(answer.payload, "little") != self.drain_number:
            raise Malformed("DRAINED answers another number")
        self._collect()
        self.messages, self.bytes = self.delivered, self.delivered_bytes
        came, self.ready = list(self.ready), collections.deque()
        return came

    def settle(self, verb, *deliveries, ms=0, wait=True):
        """Settles each delivery; with wait returns [(code, settled)] in their order."""
        entries = [Entry(verb, d.partition, d.epoch, d.offset, 1, d.attempt, ms, d.number if self.conn.begun else 0) for d in deliveries]
        return self.settle_entries(entries, wait)

    def settle_entries(self, entries, wait=True):
        number = self.conn.number() if wait else 0
        self.conn.send_frame(SETTLE, settle_write(number, entries), self.id)
        if not wait:
            return None
        answered, answers = settled_read(self.conn.expect(SETTLED, self.id).payload)
        if answered != number:
            raise Malformed("SETTLED answers another number")
        return answers

    def ack(self, *deliveries, **options):
        return self.settle(ACK, *deliveries, **options)

    def nack(self, *deliveries, delay_ms=BY_SCHEDULE, **options):
        return self.settle(NACK, *deliveries, ms=delay_ms, **options)

    def extend(self, *deliveries, ms, **options):
        return self.settle(EXTEND, *deliveries, ms=ms, **options)

    def reject(self, *deliveries, **options):
        return self.settle(REJECT, *deliveries, **options)

    def release(self, *deliveries, **options):
        return self.settle(RELEASE, *deliveries, **options)
