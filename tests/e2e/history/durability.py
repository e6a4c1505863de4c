"""No OK before what it covers is durable: the histories of the clients against what the relay saw of the broker's acknowledgements.

    send     the broker acknowledged its position
    ack      a commit that has the position behind it was answered, and of a message that waits in the retry store the
             tombstone was acknowledged
    nack     as for an ack, or the commit's mark, or the row in the retry store, has as many attempts
    reject   as for an ack, and the dead letter is stored

each before the client was told. The daemon's forms are read by their description: window_text.c, retry_rows.h.
"""
import bisect
import collections
import dataclasses
import struct

from history import checker
from history.relay import Written

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
TEXT = "mqw2"
HEAD_NUMBERS = 8  # epoch, base, four counts, two times
ROW_KEY = struct.Struct(">IQQ")  # partition, offset, generation
ROW_HEAD = struct.Struct("<II")  # version, attempts
HELD_NS = 1_000_000_000  # what waited longer at the relay was held back on purpose
NEVER = float("inf")


@dataclasses.dataclass
class Window:
    """What a commit says of the positions from its base on."""

    done: set
    attempts: dict  # that have ended, of positions that are not done


def window_read(base, text):
    """Window of a commit's text."""
    if not text.startswith(TEXT):
        return Window(set(), {})
    digits = [ALPHABET.index(letter) for letter in text[len(TEXT) :]]
    words = (sum(digit * 85 ** (4 - place) for place, digit in enumerate(digits[at : at + 5])) for at in range(0, len(digits), 5))
    data, at = b"".join(struct.pack(">I", word) for word in words), 4

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def short():
        nonlocal at
        at += 2
        return struct.unpack_from("<H", data, at - 2)[0]

    for _ in range(HEAD_NUMBERS):
        varint()
    size = short()
    bits = int.from_bytes(data[at : at + size], "little")
    at += size
    done = {base + place for place in range(8 * size) if bits >> place & 1}
    attempts, offset = {}, base
    for _ in range(short()):
        offset += varint()
        number = varint()
        if number & 1:
            short()
        attempts[offset] = number // 2
    return Window(done, attempts)


class Positions:
    """Of one group and partition: since when a position counts as done, and how many attempts of it are known."""

    def __init__(self):
        self.bases = []  # (passed, came, base), the greatest so far
        self.done = {}  # offset: (passed, came), above a base
        self.attempts = collections.defaultdict(list)  # offset: (passed, came, attempts)
        self.rows = collections.defaultdict(list)  # offset: (passed, came, attempts, or None: a tombstone)

    def commit(self, seen):
        item, when = seen.what, (seen.passed, seen.came)
        if not self.bases or item.position > self.bases[-1][2]:
            self.bases.append((*when, item.position))
        window = window_read(item.position, item.text)
        for offset in window.done:
            self.done.setdefault(offset, when)
        for offset, attempts in window.attempts.items():
            self.attempts[offset].append((*when, attempts))

    def row(self, seen, offset, value):
        self.rows[offset].append((seen.passed, seen.came, ROW_HEAD.unpack_from(value)[1] if value else None))

    def covered(self, offset):
        """When a commit first had it behind it: (passed, came)."""
        at = bisect.bisect_right(self.bases, offset, key=lambda entry: entry[2])
        found = [self.bases[at][:2]] if at < len(self.bases) else []
        if offset in self.done:
            found.append(self.done[offset])
        return min(found, default=(NEVER, NEVER))

    def ended(self, offset, until):
        """Since when it was done for good, as seen at `until`."""
        known = [row for row in self.rows[offset] if row[0] <= until]
        if known and known[-1][2] is not None:
            return NEVER, NEVER
        return max(self.covered(offset), known[-1][:2] if known else (0, 0))

    def tried(self, offset, attempt, until):
        """Since when `attempt` attempts were known to have ended, or all of it was done."""
        found = [(passed, came) for passed, came, attempts in self.attempts[offset] + self.rows[offset] if attempts is not None and attempts >= attempt]
        return min([self.ended(offset, until), *found])


class Seen:
    """All that the relay saw pass."""

    def __init__(self, acknowledged):
        self.ranges = collections.defaultdict(list)  # (topic, partition): (first, end, passed, came)
        self.positions = collections.defaultdict(Positions)  # (group, partition)
        for seen in acknowledged:
            if not isinstance(seen.what, Written):
                self.positions[seen.what.group, seen.what.partition].commit(seen)
                continue
            item = seen.what
            self.ranges[item.topic, item.partition].append((item.first, item.first + item.count, seen.passed, seen.came))
            for key, value in item.rows:
                partition, offset, _ = ROW_KEY.unpack(key)
                self.positions[item.topic.removesuffix(".retry"), partition].row(seen, offset, value)
        for ranges in self.ranges.values():
            ranges.sort()

    def stored(self, topic, partition, offset):
        """When the broker's acknowledgement of a position passed, and when it came."""
        ranges = self.ranges[topic, partition]
        at = bisect.bisect_right(ranges, (offset, NEVER)) - 1
        if at < 0 or offset >= ranges[at][1]:
            return NEVER, NEVER
        while at > 0 and ranges[at - 1][1] > offset:  # told again to a request that was sent again
            at -= 1
        return ranges[at][2:]


class Proof:
    """`found`: what was told too early, in words. `proved` and `held`: how many of each kind were told in time, and how many of those had to wait for the relay."""

    def __init__(self):
        self.found, self.proved, self.held = [], collections.Counter(), collections.Counter()

    def told(self, kind, what, when, evidence):
        passed, came = evidence
        if when < passed:
            self.found.append(f"{kind} of {what} told at {when / 1e9:.6f}, the broker's answer passed {'never' if passed == NEVER else f'{(passed - when) / 1e6:.3f} ms later'}")
            return
        self.proved[kind] += 1
        self.held[kind] += passed - came > HELD_NS

    def __repr__(self):
        return "\n".join([f"{len(self.found)} told too early; in time {dict(self.proved)}, of those held back {dict(self.held)}", *self.found[:5]])


def places_delivered(histories, groups):
    """{(topic, identity): [(partition, offset)]} of all that was delivered to groups of topics."""
    topics = {group.name: group.topic for group in groups if group.topic}
    found = collections.defaultdict(set)
    for history in histories:
        for record in history.records if history.role == "c" and history.name in topics else ():
            if record.kind == checker.DELIVERY:
                found[topics[history.name], record.producer, record.sequence].add((record.partition, record.offset))
    return found


def sends_check(proof, seen, histories, groups, physical):
    """Where the service did not say where it stored a message, its deliveries do."""
    delivered = places_delivered(histories, groups)
    for history in histories:
        for record in history.records if history.role == "p" else ():
            if record.kind != checker.SENT or record.what != checker.OK:
                continue
            known = record.offset != checker.NO_OFFSET
            places = [(record.partition, record.offset)] if known else delivered[history.name, record.producer, record.sequence]
            stored = min((seen.stored(physical[history.name], *place) for place in places), default=(NEVER, NEVER))
            proof.told("send", (history.name, *places), record.time, stored)


def settles_check(proof, seen, histories, group, physical, dead):
    """`dead`: since when the dead letter of an identity is stored."""
    for one in checker.collect_deliveries(histories, group):
        record, positions = one.record, seen.positions[physical[group.name], one.record.partition]
        place = group.name, record.partition, record.offset, record.attempt
        if one.durable:
            kind = "reject" if one.settle.what == checker.REJECT else "ack"
            proof.told(kind, place, one.durable, positions.ended(record.offset, one.durable))
            if kind == "reject":
                proof.told("dead letter", place, one.durable, dead.get((record.producer, record.sequence), (NEVER, NEVER)))
        elif one.answer and one.answer.what == checker.NACK and one.answer.code == 0:
            proof.told("nack", place, one.answer.time, positions.tried(record.offset, record.attempt, one.answer.time))


def dead_letters(seen, histories, group, physical):
    """{identity: when the first copy of it was stored} of a group that reads dead letters."""
    found = {}
    for one in checker.collect_deliveries(histories, group):
        identity = one.record.producer, one.record.sequence
        stored = seen.stored(physical[f"{group.dead_of}.dead"], one.record.partition, one.record.offset)
        found[identity] = min(found.get(identity, (NEVER, NEVER)), stored)
    return found


def check(acknowledged, histories, groups, physical):
    """Proof that the clients were told nothing too early; `physical`: {topic or group: its name on the cluster}."""
    proof, seen = Proof(), Seen(acknowledged)
    sends_check(proof, seen, histories, groups, physical)
    dead = {group.dead_of: dead_letters(seen, histories, group, physical) for group in groups if group.dead_of}
    for group in groups:
        settles_check(proof, seen, histories, group, physical, dead.get(group.name, {}))
    return proof
