"""The history checker finds every kind of damage, each made from a good history, and accepts what has a reason."""
import dataclasses

import pytest
from history import checker
from history.checker import (
    ACK, ATTEMPT, DELIVERY, END, EXTEND, HEAD, MAGIC, NACK, NO_KEY, NOTED, OK, RECORD, REJECT, REJECTED, RELEASE, SEND, SENT, SETTLE, SETTLED, UNKNOWN,
    Fault, Group, Record,
)

SECOND = 1_000_000_000
MS = 1_000_000
STALE, BACKEND_FULL, CONNECTION_LOST = 16, 14, 23
GROUPS = [Group("readers", "orders", visibility_ms=10000), Group("dead", dead_of="readers", visibility_ms=10000)]
MESSAGES = 30
SEND_MS, SETTLE_MS = 60000, 20000


class World:
    """A history that is being written: one producer, two consumers of a group and one of its dead letters."""

    def __init__(self):
        self.time = SECOND
        self.producer, self.first, self.second, self.dead = [], [], [], []
        self.faults = []
        self.number = 0
        self.next_offset = [0, 0]

    def record(self, file, kind, **fields):
        self.time += MS
        file.append(Record(**{**dict.fromkeys(Record._fields, 0), "time": self.time, "kind": kind, **fields}))
        return file[-1]

    @staticmethod
    def message(sequence, key):
        return {"sequence": sequence, "producer": 7, "key": key, "digest": 1000 + sequence}

    def send(self, sequence, key=1, outcome=OK, code=0):
        """Returns the position, which also a message has whose end is not known."""
        partition = 0 if key == NO_KEY else key % 2
        offset = self.next_offset[partition]
        self.record(self.producer, SEND, **self.message(sequence, key), id=SEND_MS)
        if outcome != REJECTED:
            self.next_offset[partition] += 1
        place = {"partition": partition, "offset": offset if outcome == OK else checker.NO_OFFSET}
        self.record(self.producer, SENT, **self.message(sequence, key), what=outcome, code=code, id=5000 + sequence, **place)
        return partition, offset

    def deliver(self, sequence, place, key=1, attempt=1, file=None):
        """Returns what settle() takes."""
        self.number += 1
        file = self.first if file is None else file
        return file, self.record(
            file, DELIVERY, **self.message(sequence, key), id=5000 + sequence, attempt=attempt, extra=self.number, partition=place[0], offset=place[1]
        )

    def settle(self, delivery, verb=ACK, code=0, answer=SETTLED):
        file, record = delivery
        file.append(record._replace(time=self.time + MS, kind=SETTLE, what=verb, id=SETTLE_MS if answer else 0, digest=0))
        self.time += 2 * MS
        if answer:
            file.append(record._replace(time=self.time, kind=answer, what=verb, code=code, id=0, digest=0))

    def fault(self, seconds=1):
        self.faults.append(Fault("kill", self.time, self.time + seconds * SECOND))
        self.time += seconds * SECOND

    def alone(self):
        """The first consumer has done what the second did, and there is no second."""
        self.first += self.second
        self.first.sort()
        self.second = []

    def histories(self):
        rows = [("p", "orders", self.producer), ("c", "readers", self.first), ("c", "readers", self.second), ("c", "dead", self.dead)]
        return [checker.History(role, name, True, records) for role, name, records in rows if records]

    def report(self, refused=0):
        """After all have closed well; `refused` of the first consumer's settles were refused."""
        for file in (self.producer, self.first, self.second, self.dead):
            if file:
                self.record(file, END, sequence=refused if file is self.first else 0)
        return checker.check(self.histories(), GROUPS, self.faults)

    def found(self):
        """What kinds were found, with their counts."""
        return {kind: count for kind, count in self.report().counts.items() if count}


@pytest.fixture
def world():
    """Everything is good so far: with keys and without, nacked, rejected, extended, released, timed out, over a fault."""
    world = World()
    for sequence in range(1, MESSAGES + 1):
        key = NO_KEY if sequence % 5 == 0 else sequence % 3
        place = world.send(sequence, key)
        delivery = world.deliver(sequence, place, key)
        if sequence == 3:
            world.settle(delivery, NACK)
            delivery = world.deliver(sequence, place, key, attempt=2, file=world.second)
        if sequence == 4:
            world.settle(delivery, RELEASE)
            delivery = world.deliver(sequence, place, key)
        if sequence == 6:
            world.settle(delivery, EXTEND)
        if sequence == 7:
            world.time += 11 * SECOND
            world.settle(delivery, ACK, STALE)
            delivery = world.deliver(sequence, place, key, attempt=2)
        if sequence == 8:
            world.fault()
            world.settle(delivery, ACK, STALE)
            delivery = world.deliver(sequence, place, key)
        if sequence == 9:
            world.settle(delivery, REJECT)
            world.settle(world.deliver(sequence, (0, 0), key, file=world.dead))
            continue
        world.settle(delivery)
    return world


def sent_of(world, sequence):
    return next(index for index, record in enumerate(world.producer) if record.kind == SENT and record.sequence == sequence)


def delivery_of(world, sequence):
    return next(index for index, record in enumerate(world.first) if record.kind == DELIVERY and record.sequence == sequence)


def without(records, sequence):
    records[:] = [record for record in records if record.sequence != sequence]


# ---- What is good


def test_good(world):
    report = world.report()
    assert report.clean, report
    assert (report.seen["sends"], report.seen["acknowledged"]) == (MESSAGES, MESSAGES)
    assert (report.seen["redelivered by nack"], report.seen["redelivered by timeout"], report.seen["redelivered by fault"]) == (2, 1, 1)


def test_unknown_may_be_there_once_twice_or_not_at_all(world):
    world.send(100, outcome=UNKNOWN, code=CONNECTION_LOST)
    place = world.send(101, outcome=UNKNOWN, code=CONNECTION_LOST)
    world.settle(world.deliver(101, place))
    first, second = world.send(102), (1, 900)
    world.record(world.producer, ATTEMPT, id=5102, code=CONNECTION_LOST)
    for place in (first, second):
        world.settle(world.deliver(102, place))
    assert not world.found()


def test_rejected_is_nowhere(world):
    world.send(100, outcome=REJECTED, code=BACKEND_FULL)
    assert not world.found()


@pytest.mark.parametrize("code, answer", [(STALE, SETTLED), (0, NOTED), (0, None)])
def test_delivery_on_its_way_while_another_one_acks(world, code, answer):
    """It timed out before its consumer saw it; the message was given to another one, which acked."""
    place = world.send(100)
    world.settle(world.deliver(100, place, attempt=2, file=world.second))
    world.settle(world.deliver(100, place, attempt=1), ACK, code, answer)
    report = world.report(refused=1)
    assert report.clean and report.seen["late"] == 1, report


def test_noted_ack_may_be_forgotten_by_a_fault(world):
    place = world.send(100)
    world.settle(world.deliver(100, place), ACK, answer=NOTED)
    world.fault()
    world.settle(world.deliver(100, place))
    assert world.report(refused=1).clean


def test_order_across_a_fault_is_that_of_the_store(world):
    """The earlier one may have been handed out first, over the connection that was lost."""
    world.alone()
    first, second = world.send(100), world.send(101)
    world.settle(world.deliver(101, second))
    world.fault()
    world.settle(world.deliver(100, first))
    assert not world.found()


@pytest.mark.parametrize("code, answer", [(STALE, SETTLED), (0, NOTED), (0, None)])
def test_settle_that_came_too_late(world, code, answer):
    """The daemon was slow: the settle began in time and was refused, as the answer or the count at the end says."""
    place = world.send(100)
    world.settle(world.deliver(100, place), ACK, code, answer)
    world.time += 11 * SECOND
    world.settle(world.deliver(100, place, attempt=2))
    assert world.report(refused=1).clean


def test_order_of_one_of_several_consumers_is_that_of_the_store(world):
    """Another one may have had the earlier message and given it back, uncounted, without having looked at it."""
    first, second = world.send(100), world.send(101)
    world.settle(world.deliver(101, second))
    world.settle(world.deliver(100, first))
    assert not world.found()


def test_deleted_past_the_service_is_not_lost(world):
    """Below what is kept it is no fault; the next one is: first unread, then given back and forgotten, then rejected."""
    kept, lost = world.send(100), world.send(101)
    given_back = world.send(102), world.send(103)
    rejected = world.send(104), world.send(105)
    for number, place in enumerate(given_back):
        world.settle(world.deliver(102 + number, place), NACK)
    for number, place in enumerate(rejected):
        world.settle(world.deliver(104 + number, place), REJECT)
    histories = world.histories()

    def lost_with(keep):
        groups = [dataclasses.replace(GROUPS[0], kept={1: keep}), GROUPS[1]]
        return checker.check(histories, groups, world.faults).counts["lost"]

    assert kept[0] == lost[0] == 1
    assert [lost_with(keep) for keep in (kept[1], lost[1], lost[1] + 1, given_back[1][1], rejected[0][1], rejected[1][1], rejected[1][1] + 1)] == [6, 5, 4, 3, 2, 1, 0]


# ---- What is damaged


def test_lost(world):
    without(world.first, 10)
    assert world.found() == {"lost": 1}


def test_lost_at_the_position_that_was_acknowledged(world):
    """A copy is delivered, but not the one whose position was told: it is no duplicate of anything that exists."""
    index = delivery_of(world, 10)
    world.first[index] = world.first[index]._replace(offset=777)
    assert world.found() == {"lost": 1}


def test_lost_by_one_group_of_two(world):
    groups = [*GROUPS, Group("others", "orders")]
    copies = [record for record in world.first + world.second if record.kind in (DELIVERY, SETTLE, SETTLED)]
    copies = [record for record in sorted(copies) if record.sequence != 12]
    histories = [*world.histories(), checker.History("c", "others", True, copies)]
    report = checker.check(histories, groups, world.faults)
    assert report.counts["lost"] == 1 and "group others" in report.texts[0], report


def test_forgotten_after_a_nack(world):
    place = world.send(100)
    world.settle(world.deliver(100, place), NACK)
    assert world.found() == {"lost": 1}


def test_forgotten_after_a_timeout(world):
    world.deliver(100, world.send(100))
    assert world.found() == {"lost": 1}


def test_forgotten_after_a_refused_ack(world):
    place = world.send(100)
    world.settle(world.deliver(100, place), ACK, STALE)
    assert world.found() == {"lost": 1}


def test_dead_letter_lost(world):
    without(world.dead, 9)
    assert world.found() == {"lost": 1}


def test_phantom(world):
    without(world.producer, 10)
    assert world.found() == {"phantom": 1}


def test_phantom_that_was_rejected(world):
    index = sent_of(world, 10)
    world.producer[index] = world.producer[index]._replace(what=REJECTED, code=BACKEND_FULL, partition=0, offset=checker.NO_OFFSET)
    assert world.found() == {"phantom": 1}


def test_phantom_of_another_topic(world):
    """What was sent to one topic is delivered by a group of another."""
    other = checker.History("p", "others", True, [record for record in world.producer if record.sequence == 10])
    without(world.producer, 10)
    report = checker.check([*world.histories(), other], GROUPS, world.faults)
    assert report.counts["phantom"] == 1, report


def test_phantom_without_identity(world):
    world.record(world.first, DELIVERY, key=NO_KEY, digest=4711, extra=9999)
    assert world.found() == {"phantom": 1}


def test_dead_letter_that_nobody_rejected(world):
    world.settle(world.deliver(10, (0, 1), file=world.dead))
    assert world.found() == {"phantom": 1}


@pytest.mark.parametrize("field", ["digest", "id"])
def test_corrupt(world, field):
    index = delivery_of(world, 10)
    world.first[index] = world.first[index]._replace(**{field: 99})
    assert world.found() == {"corrupt": 1}


def test_corrupt_key(world):
    index = delivery_of(world, 10)
    assert world.first[index].key == NO_KEY
    world.first[index] = world.first[index]._replace(key=1)
    assert world.found() == {"corrupt": 1}


def test_corrupt_dead_letter(world):
    world.dead[0] = world.dead[0]._replace(digest=99)
    assert world.found() == {"corrupt": 1}


def test_two_messages_at_one_position(world):
    place = world.send(100)
    world.next_offset[place[0]] -= 1
    assert world.send(101) == place
    world.settle(world.deliver(100, place))
    world.settle(world.deliver(101, place))
    found = world.found()
    assert found.pop("corrupt") == 1 and found == {"reordered": 1}


def test_reordered_when_delivered(world):
    """To the only consumer; of several, one may have given back what it had not looked at."""
    world.alone()
    first, second = world.send(100), world.send(101)
    world.settle(world.deliver(101, second))
    world.settle(world.deliver(100, first))
    assert world.found() == {"reordered": 1}


def test_reordered_when_stored(world):
    """Delivered over a fault, so that only the positions tell."""
    world.next_offset[1] += 1
    second = world.send(100)
    first = second[0], second[1] - 1
    world.record(world.producer, SEND, **world.message(101, 1))
    world.record(world.producer, SENT, **world.message(101, 1), what=OK, id=5101, partition=first[0], offset=first[1])
    world.settle(world.deliver(101, first))
    world.fault()
    world.settle(world.deliver(100, second))
    assert world.found() == {"reordered": 1}


def test_key_in_two_partitions(world):
    world.record(world.producer, SEND, **world.message(101, 1))
    world.record(world.producer, SENT, **world.message(101, 1), what=OK, id=5101, partition=0, offset=900)
    world.settle(world.deliver(101, (0, 900)))
    assert world.found() == {"reordered": 1}


@pytest.mark.parametrize("verb", [ACK, REJECT])
@pytest.mark.parametrize("attempt", [1, 2])
def test_again_after_its_settle_was_answered(world, verb, attempt):
    """Not even a fault is a reason."""
    place = world.send(100)
    world.settle(world.deliver(100, place), verb)
    if verb == REJECT:
        world.settle(world.deliver(100, (0, 50), file=world.dead))
    world.fault()
    world.settle(world.deliver(100, place, attempt=attempt, file=world.second))
    assert world.found() == {"duplicate": 1}


def test_again_after_everything_was_confirmed(world):
    """A noted ack is confirmed by closing well."""
    place = world.send(100)
    world.settle(world.deliver(100, place, file=world.second), ACK, answer=NOTED)
    world.record(world.second, END)
    end = world.second.pop()
    world.fault()
    world.settle(world.deliver(100, place))
    world.second.append(end)
    for file in (world.producer, world.first, world.dead):
        world.record(file, END)
    report = checker.check(world.histories(), GROUPS, world.faults)
    assert report.counts["duplicate"] == 1, report


def test_again_without_a_reason(world):
    place = world.send(100)
    world.deliver(100, place)
    world.settle(world.deliver(100, place, attempt=2))
    assert world.found() == {"duplicate": 1}


def test_again_before_its_timeout(world):
    place = world.send(100)
    world.deliver(100, place)
    world.time += SECOND
    world.settle(world.deliver(100, place, attempt=2))
    assert world.found() == {"duplicate": 1}


def test_again_after_an_ack_that_nobody_refused(world):
    """However long it took."""
    place = world.send(100)
    world.settle(world.deliver(100, place), ACK, answer=NOTED)
    world.time += 11 * SECOND
    world.settle(world.deliver(100, place, attempt=2))
    assert world.found() == {"duplicate": 1}


def test_again_while_the_fault_was_elsewhere(world):
    world.fault()
    place = world.send(100)
    world.deliver(100, place)
    world.settle(world.deliver(100, place, attempt=2))
    world.fault()
    assert world.found() == {"duplicate": 1}


def test_refused_without_a_reason(world):
    """STALE explains nothing by itself: something must have made it so."""
    world.time += 20 * SECOND
    place = world.send(100)
    world.settle(world.deliver(100, place), ACK, STALE)
    world.settle(world.deliver(100, place, attempt=2))
    assert world.found() == {"duplicate": 1}


def test_stored_twice_without_an_unknown_attempt(world):
    for place in (world.send(100), (1, 900)):
        world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def test_stored_more_often_than_attempts_were_unknown(world):
    places = [world.send(100), (1, 900), (1, 901)]
    world.record(world.producer, ATTEMPT, id=5100, code=CONNECTION_LOST)
    for place in places:
        world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def test_dead_letter_twice(world):
    world.settle(world.deliver(9, (0, 1), 0, file=world.dead))
    assert world.found() == {"duplicate": 1}


# ---- What does not end in time


def cut_end(file, kind):
    """Takes the end of the last call out of a file."""
    del file[max(index for index, record in enumerate(file) if record.kind == kind)]


def test_send_that_never_ends(world):
    world.settle(world.deliver(100, world.send(100)))
    cut_end(world.producer, SENT)
    assert world.found() == {"stalled": 1}


@pytest.mark.parametrize("verb", [ACK, EXTEND])
def test_settle_that_never_ends(world, verb):
    """Another one of the same delivery that ends is not its end."""
    place = world.send(100)
    delivery = world.deliver(100, place)
    world.settle(delivery, EXTEND)
    world.settle(delivery)
    world.first.remove(next(record for record in reversed(world.first) if (record.kind, record.what) == (SETTLED, verb)))
    assert world.found() == {"stalled": 1}


@pytest.mark.parametrize("seconds, found", [(80, {}), (100, {"stalled": 1})])
def test_send_of_a_process_that_was_killed(world, seconds, found):
    """It has no end where no process lived to see one; the process had waited for it until then, for longer than its deadline or not."""
    world.record(world.producer, SEND, **world.message(100, 1), id=SEND_MS)
    world.fault(seconds)
    world.record(world.producer, ATTEMPT, id=1)
    assert {kind: count for kind, count in checker.check(world.histories(), GROUPS, world.faults).counts.items() if count} == found


@pytest.mark.parametrize("seconds, found", [(80, {}), (100, {"stalled": 1})])
def test_send_that_ends_after_its_deadline(world, seconds, found):
    """However it ends, and whatever failed meanwhile: its deadline is the client's own."""
    world.record(world.producer, SEND, **world.message(100, 1), id=SEND_MS)
    world.fault(seconds)
    world.record(world.producer, SENT, **world.message(100, 1), what=UNKNOWN, code=checker.TIMEOUT, offset=checker.NO_OFFSET)
    assert world.found() == found


def test_send_without_an_answer(world):
    world.send(100, outcome=UNKNOWN, code=checker.TIMEOUT)
    assert world.found() == {"stalled": 1}


def test_settle_without_an_answer(world):
    world.settle(world.deliver(100, world.send(100)), NACK, checker.TIMEOUT)
    world.settle(world.deliver(100, (1, world.next_offset[1] - 1), attempt=2))
    assert world.found() == {"stalled": 1}


def test_no_answer_has_a_reason(world):
    """A fault, or a deadline that a busy machine may miss."""
    begin = world.time
    world.send(100, outcome=UNKNOWN, code=checker.TIMEOUT)
    world.faults.append(Fault("stopped", begin, world.time))
    world.time += SECOND
    world.record(world.producer, SEND, **world.message(101, 1), id=1500)
    world.record(world.producer, SENT, **world.message(101, 1), what=UNKNOWN, code=checker.TIMEOUT, offset=checker.NO_OFFSET)
    assert not world.found()


@pytest.mark.parametrize("end_s, answered, found", [(None, False, 1), (100, True, 1), (30, False, 1), (30, True, 0)])
def test_call_of_the_admin(world, end_s, answered, found):
    """Never ended; ended, but late; ended by its deadline alone; was answered."""
    call = checker.Call("backlog of readers", world.time, 30000, None if end_s is None else world.time + end_s * SECOND, answered)
    assert checker.check(world.histories(), GROUPS, world.faults, calls=[call]).counts["stalled"] == found


# ---- Files


def write(path, head, records):
    path.write_bytes(head + b"".join(RECORD.pack(*record) for record in records))
    return str(path)


def test_file(world, tmp_path):
    head = HEAD.pack(MAGIC, b"c", 1, 4711, b"readers")
    history = checker.read(write(tmp_path / "good", head, world.first))
    assert history == checker.History("c", "readers", True, world.first)


@pytest.mark.parametrize("cut", [1, 63, 65])
def test_file_that_ends_within_a_record(world, tmp_path, cut):
    path = write(tmp_path / "cut", HEAD.pack(MAGIC, b"c", 1, 4711, b"readers"), world.first)
    with open(path, "rb+") as file:
        file.truncate(HEAD.size + cut)
    with pytest.raises(checker.Damaged):
        checker.read(path)


def test_file_of_something_else(world, tmp_path):
    with pytest.raises(checker.Damaged):
        checker.read(write(tmp_path / "other", b"SQLite".ljust(HEAD.size), world.first))


# ---- Logs that began anew


def test_another_life_has_positions_of_its_own(world):
    """A message at a position that another one had in the life before; what was acknowledged there is gone with it."""
    world.send(100)
    began = world.time + 1
    world.next_offset = [0, 0]
    place = world.send(101)
    world.settle(world.deliver(101, place))
    assert world.report().counts["corrupt"] and world.report().counts["lost"]
    groups = [dataclasses.replace(group, kept={0: checker.LIFE, 1: checker.LIFE}) for group in GROUPS]
    report = checker.check(world.histories(), groups, world.faults, {"orders": [began], "readers": [began], "dead": [began]})
    assert report.clean, report
    assert report.seen["deleted unread"] == 1


def test_what_is_of_the_life_before_and_comes_is_a_duplicate(world):
    place = world.send(100)
    world.settle(world.deliver(100, place))
    began = world.time + 1
    world.settle(world.deliver(100, (1, 0)))
    groups = [dataclasses.replace(group, kept={0: checker.LIFE, 1: checker.LIFE}) for group in GROUPS]
    report = checker.check(world.histories(), groups, world.faults, {"orders": [began], "readers": [began]})
    assert {kind for kind, count in report.counts.items() if count} == {"duplicate"}


def test_settled_while_nobody_knew_of_the_new_life(world):
    place = world.send(100)
    begin = world.time
    world.settle(world.deliver(100, place))
    end = world.time
    world.faults.append(Fault("deleted", begin, world.time + SECOND))
    world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}
    groups = [dataclasses.replace(GROUPS[0], void=[(begin, end)]), GROUPS[1]]
    assert checker.check(world.histories(), groups, world.faults).clean
