"""A relay between the daemon and a Kafka broker: it records what the broker has acknowledged, and holds answers back.

The relay reads requests and responses by the public protocol, as far as it needs: of Produce and OffsetCommit the positions
and results, of all others the size and the correlation id. Responses that name the broker's address are given the relay's
own, so that every connection comes through here and the broker itself needs no setting.

An acknowledgement is recorded before its bytes go to the daemon. A client that was told OK earlier was told too early:
durability.py compares the two.
"""
import asyncio
import collections
import contextlib
import dataclasses
import struct
import threading
import time

from history.resets import Resetter

PRODUCE, METADATA, OFFSET_COMMIT, FIND_COORDINATOR, DESCRIBE_CLUSTER = 0, 3, 8, 10, 60
FLEXIBLE = {PRODUCE: 9, OFFSET_COMMIT: 8}  # from this version on lengths are varints, and tagged fields follow
VERSIONS = {PRODUCE: range(3, 13), OFFSET_COMMIT: range(2, 10)}  # that this file reads
BATCH_LENGTH, BATCH_ATTRIBUTES, BATCH_LAST_DELTA, BATCH_COUNT, BATCH_RECORDS = 8, 21, 23, 57, 61  # offsets in a record batch
COMPRESSION = 7
READ_AHEAD = 100  # responses of a connection


class Unreadable(Exception):
    """A message that is not what the protocol says."""


class Reader:
    """Takes fields off a message."""

    def __init__(self, data, flexible=False):
        self.data, self.at, self.flexible = data, 0, flexible

    def bytes(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise Unreadable(f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind):
        return struct.unpack(">" + kind, self.bytes(struct.calcsize(kind)))[0]

    def varint(self):
        number = shift = 0
        while True:
            byte = self.bytes(1)[0]
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def signed_varint(self):
        number = self.varint()
        return number >> 1 ^ -(number & 1)

    def sized(self, kind):
        """Bytes behind their size, or None."""
        size = self.varint() - 1 if self.flexible else self.number(kind)
        return None if size < 0 else self.bytes(size)

    def string(self):
        text = self.sized("h")
        return None if text is None else text.decode()

    def tags(self):
        for _ in range(self.varint() if self.flexible else 0):
            self.varint()
            self.bytes(self.varint())

    def array(self, take):
        """What `take` returns for each element; every element is a structure."""
        found = []
        for _ in range(max(self.varint() - 1 if self.flexible else self.number("i"), 0)):
            found.append(take())
            self.tags()
        return found


# ---- Requests and responses


@dataclasses.dataclass
class Written:
    """A range of a partition: of a request without its place, which the response tells. `rows`: key and whether there is a value of each record."""

    topic: str
    partition: int
    count: int
    rows: list
    first: int = None


@dataclasses.dataclass
class Committed:
    """The position and the text that a group commits for a partition."""

    group: str
    topic: str
    partition: int
    position: int
    text: str


def record_rows(batch):
    """(key, value) of every record of a batch; none of one that is compressed."""
    reader = Reader(batch)
    reader.bytes(BATCH_ATTRIBUTES)
    if reader.number("h") & COMPRESSION:
        return []
    reader.bytes(BATCH_COUNT - reader.at)
    rows = []
    for _ in range(reader.number("i")):
        record = Reader(reader.bytes(reader.signed_varint()))
        record.bytes(1)  # attributes
        record.signed_varint()  # time and offset, as differences
        record.signed_varint()
        key, value = (record.bytes(size) if (size := record.signed_varint()) >= 0 else None for _ in range(2))
        rows.append((key, value))
    return rows


def written_take(topic, reader, with_rows):
    partition, batch = reader.number("i"), reader.sized("i") or b""
    if len(batch) < BATCH_RECORDS:
        return Written(topic, partition, 0, [])
    count = struct.unpack_from(">i", batch, BATCH_LAST_DELTA)[0] + 1
    return Written(topic, partition, count, record_rows(batch) if with_rows else [])


def produce_request(reader, version):
    """[Written] of a Produce request."""
    reader.string()  # transactional id
    reader.bytes(2 + 4)  # acks, timeout

    def topic_take():
        topic = reader.string()
        return reader.array(lambda: written_take(topic, reader, topic.endswith(".retry")))

    del version
    return sum(reader.array(topic_take), [])


def produce_response(reader, version):
    """{(topic, partition): (error, first offset)}"""
    found = {}

    def partition_take(topic):
        partition, error, first = reader.number("i"), reader.number("h"), reader.number("q")
        reader.bytes(8 + 8 * (version >= 5))  # append time, where the log begins
        if version >= 8:
            reader.array(lambda: (reader.number("i"), reader.string()))
            reader.string()
        found[topic, partition] = error, first

    def topic_take():
        topic = reader.string()
        reader.array(lambda: partition_take(topic))

    reader.array(topic_take)
    return found


def commit_request(reader, version):
    """[Committed] of an OffsetCommit request."""
    group = reader.string()
    reader.bytes(4)  # generation
    reader.string()  # member
    if version >= 7:
        reader.string()  # instance
    if version <= 4:
        reader.bytes(8)  # retention

    def partition_take(topic):
        partition, position = reader.number("i"), reader.number("q")
        reader.bytes(4 * (version >= 6))  # leader epoch
        return Committed(group, topic, partition, position, reader.string() or "")

    def topic_take():
        topic = reader.string()
        return reader.array(lambda: partition_take(topic))

    return sum(reader.array(topic_take), [])


def commit_response(reader, version):
    """{(topic, partition): (error, None)}"""
    found = {}
    reader.bytes(4 * (version >= 3))  # throttled

    def partition_take(topic):
        partition = reader.number("i")
        found[topic, partition] = reader.number("h"), None

    def topic_take():
        topic = reader.string()
        reader.array(lambda: partition_take(topic))

    reader.array(topic_take)
    return found


REQUESTS = {PRODUCE: produce_request, OFFSET_COMMIT: commit_request}
RESPONSES = {PRODUCE: produce_response, OFFSET_COMMIT: commit_response}


@dataclasses.dataclass
class Acknowledged:
    """What the broker said OK to: when that came here, and when it was let pass, in monotonic ns."""

    what: object  # Written or Committed
    came: int
    passed: int


class Asked:
    """A request on its way, until its response has come."""

    def __init__(self, frame):
        reader = Reader(frame)
        self.api, self.version, self.correlation = reader.number("h"), reader.number("h"), reader.number("i")
        self.items = []
        if self.api not in REQUESTS:
            return
        if self.version not in VERSIONS[self.api]:
            raise Unreadable(f"version {self.version} of request {self.api}")
        reader.string()  # client id: of the old form in every version
        reader.flexible = self.flexible
        reader.tags()
        self.items = REQUESTS[self.api](reader, self.version)

    @property
    def flexible(self):
        return self.version >= FLEXIBLE[self.api]

    def acknowledged(self, frame):
        """Those of its items that the broker said OK to."""
        if self.api not in RESPONSES:
            return []
        reader = Reader(frame, self.flexible)
        reader.bytes(4)  # correlation id
        reader.tags()
        results = RESPONSES[self.api](reader, self.version)
        found = []
        for item in self.items:
            error, first = results[item.topic, item.partition]
            if error == 0:
                found.append(item if first is None else dataclasses.replace(item, first=first))
        return found


# ---- The relay


class Relay(Resetter):
    """In front of one broker. `with Relay(bootstrap) as relay:`; clients are told `relay.address`. It can reset connections, too."""

    def __init__(self, bootstrap):
        super().__init__()
        host, port = bootstrap.split(":")
        self.target = host, int(port)
        self.acknowledged = []  # in the order of passing
        self.faults = []  # messages that could not be read: nothing is proved then
        self.lock = threading.Lock()
        self.held = collections.Counter()  # api: responses that wait here
        self.gates = {}  # api: asyncio.Event, set when what waits may pass
        own = int(self.address.split(":")[1])
        self.named = tuple(host.encode() + struct.pack(">i", number) for number in (int(port), own))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        assert not self.faults, self.faults[:5]

    async def _carry_both(self, reader, writer, other_reader, other_writer):
        asked, responses = collections.deque(), asyncio.Queue(READ_AHEAD)
        await asyncio.gather(self._requests(reader, other_writer, asked), self._read(other_reader, responses), self._responses(responses, writer, asked))

    @staticmethod
    async def _frame(reader):
        try:
            head = await reader.readexactly(4)
            return head + await reader.readexactly(int.from_bytes(head, "big"))
        except (OSError, asyncio.IncompleteReadError):
            return None

    async def _requests(self, reader, writer, asked):
        with contextlib.suppress(OSError):
            while frame := await self._frame(reader):
                try:
                    asked.append(Asked(frame[4:]))
                except (Unreadable, UnicodeDecodeError) as fault:
                    self.faults.append(f"request: {fault}")
                    break
                writer.write(frame)
                await writer.drain()
        writer.close()

    async def _read(self, reader, responses):
        """Reads on while responses are held back, so that each one's time of coming is known."""
        while frame := await self._frame(reader):
            await responses.put((frame, time.monotonic_ns()))
        await responses.put((None, 0))

    async def _responses(self, responses, writer, asked):
        with contextlib.suppress(OSError):
            while (response := await responses.get())[0]:
                (frame, came), request = response, asked.popleft()
                try:
                    self._check_order(request, frame)
                    items = request.acknowledged(frame[4:])
                except (Unreadable, UnicodeDecodeError, KeyError) as fault:
                    self.faults.append(f"response to request {request.api}: {fault!r}")
                    break
                await self._wait(request.api)
                if request.api in (METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER):
                    frame = frame.replace(*self.named)
                with self.lock:
                    self.acknowledged += [Acknowledged(item, came, time.monotonic_ns()) for item in items]
                writer.write(frame)
                await writer.drain()
        writer.close()

    @staticmethod
    def _check_order(request, frame):
        if int.from_bytes(frame[4:8], "big", signed=True) != request.correlation:
            raise Unreadable("it does not answer the oldest request")

    async def _wait(self, api):
        while gate := self.gates.get(api):
            self.held[api] += 1
            await gate.wait()
            self.held[api] -= 1

    def _set(self, api, held):
        async def change():
            if held:
                self.gates[api] = asyncio.Event()
            else:
                self.gates.pop(api).set()

        asyncio.run_coroutine_threadsafe(change(), self.loop).result(10)

    @contextlib.contextmanager
    def holding(self, api):
        """Meanwhile no response to such a request passes, nor any behind it on its connection."""
        self._set(api, True)
        try:
            yield
        finally:
            self._set(api, False)
