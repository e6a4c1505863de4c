"""Judges histories: what client processes wrote down while things failed around them.

A history is the file of one process (record.h). Together they hold every send's start and end, every delivery and every
settle's start and answer, each with the monotonic time of the machine. The test adds the faults it made, each with the time
at which it began and the time at which it was over. `check` counts what must not be:

lost        acknowledged (or its settle answered, for dead letters), and a group never got it, or never came to an end with it
phantom     delivered and never sent, or certainly not stored (REJECTED), or a dead letter that no consumer rejected
corrupt     key, body, headers, tag, time or id differ from what was sent; two messages at one position; a position that moved
reordered   messages of one key and one producer handle, stored or first delivered in another order than they were sent
duplicate   delivered again without a reason: an attempt at the send that ended UNKNOWN, a nack, a release, a visibility timeout,
            or a fault before the service had answered the ack; after that answer there is no reason
stalled     a send, a settle or a call of the admin that never ended, ended long after its own deadline, or ended by its deadline
            alone while nothing was in its way

What can be told apart only by knowing when a delivery left the proxy is decided for the service, and counted as `late`: a
delivery that was already on its way when another consumer's ack of the same message was answered.
"""
import bisect
import collections
import dataclasses
import os
import struct

RECORD = struct.Struct("<QBBHIQIIQQIIQ")
HEAD = struct.Struct("<8scB2xI48s")
MAGIC = b"MQPHIST1"
FIELDS = "time kind what code attempt sequence producer key digest id partition extra offset"
Record = collections.namedtuple("Record", FIELDS)

SEND, SENT, ATTEMPT, DELIVERY, SETTLE, SETTLED, NOTED, END = range(1, 9)
OK, REJECTED, UNKNOWN = range(3)  # outcomes
ACK, NACK, EXTEND, REJECT, RELEASE = range(5)  # verbs
ENDING = (ACK, REJECT)
NO_KEY = 0xFFFFFFFF
NO_OFFSET = 0xFFFFFFFFFFFFFFFF
LIFE = 1 << 48  # beyond every offset
KINDS = ("lost", "phantom", "corrupt", "reordered", "duplicate", "stalled")
TIMEOUT = 22  # the code of a call without an answer
SLACK_S = 30  # how late a busy machine may be
SHORT_S = 10  # a deadline that a busy machine may miss: no answer within it says nothing


class Damaged(Exception):
    """A history file that is not one: nothing can be said."""


@dataclasses.dataclass
class History:
    """One process: `name` is the topic of a producer, the group of a consumer; `ordered`: it writes deliveries as they come."""

    role: str
    name: str
    ordered: bool
    records: list

    @property
    def end(self):
        return self.records[-1] if self.records and self.records[-1].kind == END else None

    @property
    def refused(self):
        """Some settle was, or may have been: a consumer that died cannot tell."""
        return not self.end or self.end.sequence > 0


def read(path, whole=True, begin=0):
    """The history in a file; `whole`: of a process that has ended, else the last record may still be on its way. `begin`: a size the file had, what came later."""
    with open(path, "rb") as file:
        head = file.read(HEAD.size)
        file.seek(max(begin // RECORD.size * RECORD.size, HEAD.size))
        data = file.read()
    if not whole:
        data = data[: len(data) // RECORD.size * RECORD.size]
    if len(head) < HEAD.size or len(data) % RECORD.size:
        raise Damaged(f"{path} has {os.path.getsize(path)} bytes")
    magic, role, flags, _, name = HEAD.unpack_from(head)
    if magic != MAGIC:
        raise Damaged(f"{path} begins with {magic!r}")
    return History(role.decode(), name.rstrip(b"\0").decode(), bool(flags & 1), list(map(Record._make, RECORD.iter_unpack(data))))


@dataclasses.dataclass
class Fault:
    """Something that ends deliveries, or may: from `begin` to `end` (None: to the end of all), in ns."""

    what: str
    begin: int
    end: int = None

    def touches(self, begin, end):
        return self.begin <= end and (self.end is None or begin <= self.end)


@dataclasses.dataclass
class Group:
    """What is expected of a group: it reads `topic`, or the dead letters of the group `dead_of`.

    What lies below `kept` ({partition: offset}) was deleted from its log, past this service: that cannot be lost any more. What was settled
    in a time of `void` ([(begin, end)], ns) comes again: the log had begun anew, and the service did not know yet.
    """

    name: str
    topic: str = None
    dead_of: str = None
    visibility_ms: int = 30000
    kept: dict = dataclasses.field(default_factory=dict)
    void: list = dataclasses.field(default_factory=list)
    judge: type = None  # its check; None: that of a group over a log

    def deleted(self, place):
        return place is not None and place[1] < self.kept.get(place[0], 0)


@dataclasses.dataclass
class Call:
    """Something that a client waited for, in ns; `end` None: it has none. `until`: the last time at which its process is known to have waited."""

    what: str
    begin: int
    deadline_ms: int
    end: int = None
    answered: bool = False
    until: int = None


class Report:
    """Counts and, of each kind, the first findings in words."""

    def __init__(self):
        self.counts = dict.fromkeys(KINDS, 0)
        self.texts = []
        self.seen = collections.Counter()  # what was looked at: sends, acknowledged, deliveries, …

    def add(self, kind, text):
        self.counts[kind] += 1
        if self.counts[kind] <= 5:
            self.texts.append(f"{kind}: {text}")

    @property
    def clean(self):
        """Nothing was found."""
        return not any(self.counts.values())

    def __repr__(self):
        numbers = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        seen = ", ".join(f"{count} {what}" for what, count in sorted(self.seen.items()))
        return "\n".join([f"{numbers} (of {seen})", *self.texts])


@dataclasses.dataclass
class Sent:
    """One message, as its producer knows it."""

    send: Record
    topic: str
    end: Record = None  # RECORD_SENT; None: the process died before
    unknown: int = 0  # attempts that ended UNKNOWN

    @property
    def outcome(self):
        return self.end.what if self.end else UNKNOWN

    @property
    def position(self):
        """Where an acknowledged one is stored; None where no answer said so."""
        if self.outcome != OK or self.end.offset == NO_OFFSET:
            return None
        return self.end.partition, self.end.offset


class Delivered:
    """One delivery and what became of it."""

    def __init__(self, record, history):
        self.record = record
        self.history = history
        self.settle = None  # the settle that was to end it: its start
        self.answer = None  # of the service
        self.noted = None  # by the library
        self.durable = None  # time from which it must not come again

    def begins(self, record):
        if record.what != EXTEND:
            self.settle = record

    def answered(self, record):
        if record.what == EXTEND:
            return
        self.answer = record
        if record.code == 0 and record.what in ENDING:
            self.durable = record.time

    @property
    def ending(self):
        return self.settle is not None and self.settle.what in ENDING

    @property
    def refused(self):
        """The answer to its settle that was not OK."""
        return next((record for record in (self.answer, self.noted) if record and record.code), None)

    @property
    def alive(self):
        """Its settle was taken: the proxy, or the library for it, held it for this consumer's own."""
        return any(record and record.code == 0 for record in (self.answer, self.noted))


def done_with(one):
    """What its consumer did with a delivery, and what was answered."""
    verbs = {ACK: "ack", NACK: "nack", EXTEND: "extend", REJECT: "reject", RELEASE: "release"}
    if not one.settle:
        return "never settled"
    answers = [f"{word} {record.code} at {record.time / 1e9:.3f}" for word, record in (("answered", one.answer), ("noted", one.noted)) if record]
    return " ".join([f"{verbs[one.settle.what]} at {one.settle.time / 1e9:.3f},", *(answers or ["no answer"])])


def name_of(record):
    key = "no key" if record.key == NO_KEY else f"key {record.key}"
    return f"message {record.sequence} of producer {record.producer} ({key})"


def place_of(record):
    return f"{record.partition}/{record.offset}, attempt {record.attempt}, at {record.time / 1e9:.3f}"


# ---- Logs that began anew


def lives_apart(history, began):
    """The history with positions of each life of its log by themselves: LIFE further in each after the first; `began`: when those did, in ns."""

    def apart(record):
        life = bisect.bisect(began, record.time)
        placed = record.kind in (SENT, DELIVERY) and record.offset != NO_OFFSET
        return record._replace(offset=record.offset + life * LIFE) if placed and life else record

    return dataclasses.replace(history, records=list(map(apart, history.records))) if began else history


# ---- What was sent


def collect_sends(histories, report):
    """{(producer, sequence): Sent} of all producers."""
    sends = {}
    for history in histories:
        if history.role != "p":
            continue
        unknown = collections.Counter(record.id for record in history.records if record.kind == ATTEMPT)
        for record in history.records:
            identity = record.producer, record.sequence
            if record.kind == SEND:
                sends[identity] = Sent(record, history.name)
            elif record.kind == SENT:
                sends[identity].end = record
                sends[identity].unknown = unknown[record.id] if record.id else 0
    report.seen["sends"] = len(sends)
    report.seen["acknowledged"] = sum(sent.outcome == OK for sent in sends.values())
    report.seen["rejected"] = sum(sent.outcome == REJECTED for sent in sends.values())
    report.seen["unknown"] = sum(sent.outcome == UNKNOWN for sent in sends.values())
    return sends


# ---- What was delivered


def collect_deliveries(histories, group):
    """Every delivery to a group, in the order of time."""
    deliveries = []
    for history in histories:
        if history.role != "c" or history.name != group.name:
            continue
        own = {}
        for record in history.records:
            if record.kind == DELIVERY:
                own[record.extra] = Delivered(record, history)
            elif record.kind == SETTLE:
                own[record.extra].begins(record)
            elif record.kind == SETTLED:
                own[record.extra].answered(record)
            elif record.kind == NOTED:
                own[record.extra].noted = record
        if history.end and history.end.code == 0 and not history.refused:  # closed well: every settle was confirmed
            for one in own.values():
                if one.ending and not one.answer:
                    one.durable = history.end.time
        for one in own.values():
            if one.durable and any(begin <= one.durable <= end for begin, end in group.void):
                one.durable = None
        deliveries += own.values()
    deliveries.sort(key=lambda one: one.record.time)
    return deliveries


class GroupCheck:
    """One group against what was sent to it."""

    def __init__(self, group, messages, deliveries, faults, report, consumers=1):
        self.group = group
        self.consumers = consumers
        self.messages = messages  # {identity: Sent} of its topic
        self.deliveries = deliveries
        self.faults = sorted(faults, key=lambda fault: fault.begin)
        self.report = report
        self.half_visible = group.visibility_ms * 1_000_000 // 2
        self.positions = collections.defaultdict(list)  # (partition, offset): deliveries
        self.of_message = collections.defaultdict(dict)  # identity: {position: deliveries}

    def add(self, kind, record, text):
        self.report.add(kind, f"{name_of(record)}, group {self.group.name}: {text}")

    def fault_between(self, begin, end):
        return any(fault.touches(begin, end) for fault in self.faults)

    # -- each delivery by itself

    def check_content(self):
        for one in self.deliveries:
            record = one.record
            identity = record.producer, record.sequence
            sent = self.messages.get(identity)
            if not sent:
                self.add("phantom", record, f"never sent; delivered at {place_of(record)}")
                continue
            self.positions[record.partition, record.offset].append(one)
            self.of_message[identity].setdefault((record.partition, record.offset), []).append(one)
            if sent.outcome == REJECTED:
                self.add("phantom", record, f"was REJECTED with code {sent.end.code}; delivered at {place_of(record)}")
            if (record.digest, record.key) != (sent.send.digest, sent.send.key):
                self.add("corrupt", record, f"differs from what was sent; delivered at {place_of(record)}")
            elif sent.end and sent.end.id and sent.end.id != record.id:
                self.add("corrupt", record, f"has another id; delivered at {place_of(record)}")

    def check_positions(self):
        for ones in self.positions.values():
            identities = {(one.record.producer, one.record.sequence) for one in ones}
            if len(identities) > 1:
                self.add("corrupt", ones[1].record, f"shares its position with {name_of(ones[0].record)}: {place_of(ones[1].record)}")

    # -- lost

    def came_to_end(self, ones):
        """It was ended, as far as the records can tell: what was refused may have been applied if something was in the way."""
        for one in ones:
            if one.ending and (one.durable or one.alive or not one.refused or self.fault_between(one.settle.time, one.refused.time)):
                return True
        return False

    def to_be_ended(self, places):
        """(place, deliveries) of what has to come to an end by itself."""
        return places.items()

    def check_lost(self):
        for identity, sent in self.messages.items():
            places = self.of_message.get(identity, {})
            if self.group.deleted(sent.position) and sent.position not in places:
                self.report.seen["deleted unread"] += 1
            elif sent.outcome == OK and not places:
                self.add("lost", sent.send, f"acknowledged at {place_of(sent.end)}, never delivered")
            elif sent.position and sent.position not in places:
                self.add("lost", sent.send, f"acknowledged at {place_of(sent.end)}, delivered only at {sorted(places)}")
            for place, ones in self.to_be_ended(places):
                if not self.came_to_end(ones) and not self.group.deleted(place):
                    self.add("lost", sent.send, f"delivered at {place}, last at {place_of(ones[-1].record)}, and forgotten: no consumer ended it ({done_with(ones[-1])})")

    # -- order

    def check_stored_order(self):
        """What one producer handle sent of one key lies in one partition, in the order of sending; the first copy counts."""
        last = {}
        for identity in sorted(self.messages):
            sent = self.messages[identity]
            if sent.send.key == NO_KEY or sent.outcome != OK:
                continue
            places = set(self.of_message.get(identity, ()))
            if sent.position:
                places.add(sent.position)
            if not places:
                continue
            first = min(places, key=lambda place: place[1])
            key = sent.send.producer, sent.send.key
            before, where = last.get(key, (None, first))
            if where[0] != first[0]:
                self.add("reordered", sent.send, f"stored at {first}, but {name_of(before)} at {where}: another partition")
            elif before and where[1] >= first[1]:
                self.add("reordered", sent.send, f"stored at {first}, behind it {name_of(before)} at {where}")
            last[key] = sent.send, first

    def check_delivered_order(self):
        """First deliveries to the only consumer of a group: another one may have given back what it had not looked at, uncounted.

        Across a fault the first delivery may have been on a connection that was lost.
        """
        if self.consumers > 1:
            return
        seen = set()
        last = {}
        for one in self.deliveries:
            record = one.record
            if (record.producer, record.sequence) in seen or (record.producer, record.sequence) not in self.messages:
                continue
            seen.add((record.producer, record.sequence))
            if record.key == NO_KEY or not one.history.ordered or record.attempt != 1:
                continue
            key = id(one.history), record.producer, record.key
            before = last.get(key)
            if before and before.sequence > record.sequence:
                if not self.fault_between(before.time, record.time):
                    self.add("reordered", record, f"first delivered at {place_of(record)}, after {name_of(before)} at {place_of(before)}")
                continue
            last[key] = record

    # -- duplicates

    def is_late(self, one, ended):
        """It was on its way before `ended` was handed out: an older attempt, or its connection was gone when it was looked at."""
        if one.record.attempt == ended.record.attempt:
            return not one.alive
        return one.record.attempt < ended.record.attempt and not one.durable

    def check_after_end(self, ones):
        """Whether it was delivered after the service had answered that it will not be."""
        ended = None
        for one in ones:
            if ended and one.record.time > ended.durable:
                if self.is_late(one, ended):
                    self.report.seen["late"] += 1
                else:
                    self.add("duplicate", one.record, f"delivered at {place_of(one.record)}, after its settle was answered at {ended.durable / 1e9:.3f}")
            if one.durable and not (ended and ended.durable <= one.durable):
                ended = one

    def explained(self, earlier, later):
        begin, end = earlier.record.time, later.record.time
        settle = earlier.settle if earlier.settle and earlier.settle.time <= end else None
        if settle and settle.what in (NACK, RELEASE):
            return "nack"
        # A settle that was refused, or may be among those, may have come too late.
        in_time = settle and not (earlier.refused or earlier.history.refused and not earlier.answer)
        if (settle.time if in_time else end) - begin >= self.half_visible:
            return "timeout"
        if self.fault_between(begin, end):
            return "fault"
        # Received before a fault and looked at after it: its settle was refused.
        if earlier.refused and any(fault.begin <= end and fault.touches(begin - self.half_visible, end) for fault in self.faults):
            return "fault"
        return None

    def check_again(self, ones):
        """Whether each delivery of a position after the first one has a reason."""
        for earlier, later in zip(ones, ones[1:]):
            if earlier.durable and earlier.durable < later.record.time:
                continue  # judged above
            reason = self.explained(earlier, later)
            if reason:
                self.report.seen["redelivered by " + reason] += 1
            elif later.record.attempt < earlier.record.attempt:
                self.report.seen["late"] += 1
            else:
                self.add("duplicate", later.record, f"delivered at {place_of(earlier.record)}, again at {place_of(later.record)}, without a reason")

    def check_copies(self, identity, places):
        """A message that lies at several positions was sent several times, and some attempt's end was not known."""
        sent = self.messages[identity]
        copies = len(places) - 1
        self.report.seen["copies by resending"] += copies
        if copies > sent.unknown and sent.end:
            self.add("duplicate", sent.send, f"lies at {sorted(places)}, but only {sent.unknown} attempts at sending it ended UNKNOWN")

    def check_duplicates(self):
        for identity, places in self.of_message.items():
            if len(places) > 1:
                self.check_copies(identity, places)
            for ones in places.values():
                if len(ones) > 1:
                    self.check_after_end(ones)
                    self.check_again(ones)

    def run(self):
        self.report.seen["deliveries"] += len(self.deliveries)
        self.check_content()
        self.check_positions()
        self.check_lost()
        self.check_stored_order()
        self.check_delivered_order()
        self.check_duplicates()


# ---- Dead letters


class DeadCheck(GroupCheck):
    """A group that reads the dead letters of another: exactly what was rejected there, in a log of its own."""

    def __init__(self, group, messages, deliveries, faults, report, origin, rejecting):
        self.rejections = collections.defaultdict(list)
        for one in rejecting:
            if one.settle and one.settle.what == REJECT:
                self.rejections[one.record.producer, one.record.sequence].append(one)
        rejected = {identity: messages[identity] for identity in self.rejections if identity in messages}
        super().__init__(group, rejected, deliveries, faults, report)
        self.origin = origin

    def deleted_before(self, rejections):
        """What was rejected is gone from its log, and with it what was to be copied."""
        return all(self.origin.deleted((one.record.partition, one.record.offset)) for one in rejections)

    def check_lost(self):
        for identity, rejections in self.rejections.items():
            places = self.of_message.get(identity, {})
            if not places and self.deleted_before(rejections):
                self.report.seen["deleted unread"] += 1
            elif not places and any(one.durable for one in rejections):
                self.add("lost", rejections[0].record, "its reject was answered OK, and it is no dead letter")
            for place, ones in self.to_be_ended(places):
                if not self.came_to_end(ones) and not self.group.deleted(place):
                    self.add("lost", ones[-1].record, f"delivered at {place} and forgotten: no consumer ended it ({done_with(ones[-1])})")

    def check_stored_order(self):
        pass  # dead letters have none

    def check_delivered_order(self):
        pass

    def check_copies(self, identity, places):
        """Published, then the original is acked: a fault between the two makes a second copy."""
        begin = min(one.settle.time for one in self.rejections[identity])
        end = max(ones[0].record.time for ones in places.values())
        if len(places) > 1 + sum(sent.unknown for sent in [self.messages[identity]]) and not self.fault_between(begin, end):
            self.add("duplicate", self.messages[identity].send, f"is a dead letter at {sorted(places)} without a reason")


# ---- Deadlines


def calls_of(history):
    """The sends and settles of a process that it waited for. One that has closed waits for ever for what had no end then."""
    calls = {}
    until = history.records[-1].time if history.records and not history.end else None
    for record in history.records:
        send = record.kind in (SEND, SENT)
        name = ("send", record.producer, record.sequence) if send else ("settle", record.extra, record.what)
        if record.kind in (SEND, SETTLE) and record.id:
            calls[name] = Call(f"{name[0]} of {name_of(record)}, {history.name}", record.time, record.id, until=until)
        elif record.kind in (SENT, SETTLED, NOTED) and name in calls:
            calls[name].end, calls[name].answered = record.time, record.code != TIMEOUT
    return calls.values()


def stalled(call, faults):
    """What is wrong with a call, in words; None: nothing. Its own deadline holds whatever fails around it."""
    at = f"began at {call.begin / 1e9:.3f} with {call.deadline_ms / 1000:g} s"
    if call.end is None and call.until is None:
        return f"{at} and never ended"
    took = (call.until if call.end is None else call.end) - call.begin
    if took > call.deadline_ms * 1_000_000 + SLACK_S * 1_000_000_000:
        return f"{at} and {'had not ended' if call.end is None else 'ended'} after {took / 1e9:.1f} s"
    if call.end is None or call.answered or call.deadline_ms < SHORT_S * 1000 or any(fault.touches(call.begin, call.end) for fault in faults):
        return None
    return f"{at} and ended without an answer, while nothing was in its way"


def check_deadlines(histories, calls, faults, report):
    for call in [*calls, *(call for history in histories for call in calls_of(history))]:
        report.seen["waited for"] += 1
        if text := stalled(call, faults):
            report.add("stalled", f"{call.what}: {text}")


def check(histories, groups, faults=(), lives=None, calls=()):
    """The report on everything that the processes saw, and on calls of the admin.

    `lives`: when the logs behind a topic or group began anew, {name: [ns, …]}.
    """
    report = Report()
    check_deadlines(histories, calls, faults, report)
    histories = [lives_apart(history, (lives or {}).get(history.name)) for history in histories]
    sends = collect_sends(histories, report)
    deliveries = {group.name: collect_deliveries(histories, group) for group in groups}
    named = {group.name: group for group in groups}
    for group in groups:
        origin = named.get(group.dead_of)
        topic = group.topic or origin.topic
        messages = {identity: sent for identity, sent in sends.items() if sent.topic == topic}
        arguments = group, messages, deliveries[group.name], faults, report
        consumers = sum(history.role == "c" and history.name == group.name for history in histories)
        judge = group.judge or (DeadCheck if origin else GroupCheck)
        judge(*arguments, *((origin, deliveries[origin.name]) if origin else (consumers,))).run()
    return report
