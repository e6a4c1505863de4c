"""The history checker over a queue: what positions say over a log is told by the message there; every damage is found, and every reason accepted."""
import pytest
from history import checker
from history.checker import ACK, ATTEMPT, NACK, NO_KEY, REJECT, Fault, Group
from history.queues import RETURNED, RETURNED_S, over_queue
from test_history_checker import CONNECTION_LOST, MS, SECOND, STALE, World, delivery_of, without

MESSAGES = 20


class QueueWorld(World):
    """Sends say no position; every delivery has the next offset of its channel."""

    def __init__(self):
        super().__init__()
        self.channel = 100

    def send(self, sequence, key=1, outcome=checker.OK, code=0):
        partition, _ = super().send(sequence, key, outcome, code)
        self.producer[-1] = self.producer[-1]._replace(offset=checker.NO_OFFSET)
        return partition, 0

    def deliver(self, sequence, place, *arguments, **more):
        self.channel += 1
        return super().deliver(sequence, (place[0], self.channel), *arguments, **more)

    def resent(self, sequence):
        """An attempt at the send of it ended UNKNOWN."""
        self.record(self.producer, ATTEMPT, id=5000 + sequence, code=CONNECTION_LOST)

    def death(self, what="broker killed", seconds=1):
        self.faults.append(Fault(what, self.time, self.time + seconds * SECOND))
        self.time += seconds * SECOND

    def report(self, refused=0):
        groups = [over_queue(Group("readers", "orders", visibility_ms=10000)), over_queue(Group("dead", dead_of="readers", visibility_ms=10000))]
        return checker.check(self.histories(), groups, self.faults)


@pytest.fixture
def world():
    """Everything is good so far: acknowledged, nacked, rejected, timed out, over a fault."""
    world = QueueWorld()
    for sequence in range(1, MESSAGES + 1):
        key = NO_KEY if sequence % 5 == 0 else sequence % 3
        place = world.send(sequence, key)
        delivery = world.deliver(sequence, place, key)
        if sequence == 3:
            world.settle(delivery, NACK)
            delivery = world.deliver(sequence, place, key, attempt=2, file=world.second)
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


# ---- What is good


def test_good(world):
    report = world.report()
    assert report.clean, report
    assert (report.seen["redelivered by nack"], report.seen["redelivered by timeout"], report.seen["redelivered by fault"]) == (1, 1, 1)


def test_resent_may_come_once_more(world):
    place = world.send(100)
    world.resent(100)
    for _ in range(2):
        world.settle(world.deliver(100, place))
    report = world.report()
    assert report.clean and report.seen["copies by resending"] == 1, report


def test_a_resent_copy_is_tried_again_like_any_other(world):
    place = world.send(100)
    world.resent(100)
    world.settle(world.deliver(100, place))
    world.settle(world.deliver(100, place), NACK)
    world.settle(world.deliver(100, place, attempt=2))
    assert not world.found()


def test_what_was_settled_just_before_the_broker_died_may_return(world):
    place = world.send(100)
    world.settle(world.deliver(100, place))
    world.death()
    world.settle(world.deliver(100, place))
    report = world.report()
    assert report.clean and report.seen[RETURNED] == 1, report


def test_a_dead_letter_may_be_there_twice_after_a_fault(world):
    """The fault is over when both are read."""
    place = world.send(100)
    world.settle(world.deliver(100, place), REJECT)
    world.fault()
    for _ in range(2):
        world.settle(world.deliver(100, (0, 0), file=world.dead))
    assert not world.found()


# ---- What is damaged


def test_lost(world):
    without(world.first, 10)
    assert world.found() == {"lost": 1}


def test_forgotten_after_a_nack(world):
    world.settle(world.deliver(100, world.send(100)), NACK)
    assert world.found() == {"lost": 1}


def test_dead_letter_lost(world):
    without(world.dead, 9)
    assert world.found() == {"lost": 1}


def test_phantom(world):
    without(world.producer, 10)
    assert world.found() == {"phantom": 1}


@pytest.mark.parametrize("field", ["digest", "id"])
def test_corrupt(world, field):
    index = delivery_of(world, 10)
    world.first[index] = world.first[index]._replace(**{field: 99})
    assert world.found() == {"corrupt": 1}


def test_one_id_for_two_messages(world):
    """With keys that lie in one partition."""
    index = delivery_of(world, 11)
    world.first[index] = world.first[index]._replace(id=world.first[delivery_of(world, 14)].id)
    assert world.found()["corrupt"] >= 1


def test_resent_without_a_key_may_lie_in_another_partition(world):
    place = world.send(100, NO_KEY)
    world.resent(100)
    for partition in (place[0], 1 - place[0]):
        world.settle(world.deliver(100, (partition, 0), NO_KEY))
    assert not world.found()


@pytest.mark.parametrize("ended", [True, False])
def test_one_of_two_copies_comes_to_its_end(world, ended):
    """Both are void after a fault, and come again: the second is known by its id."""
    place = world.send(100, NO_KEY)
    world.resent(100)
    world.deliver(100, place, NO_KEY)
    world.fault()
    again = world.deliver(100, (1 - place[0], 0), NO_KEY)
    if ended:
        world.settle(again)
    assert world.found() == ({} if ended else {"lost": 1})


def test_resent_with_a_key_lies_in_its_partition(world):
    place = world.send(100)
    world.resent(100)
    for partition in (place[0], 1 - place[0]):
        world.settle(world.deliver(100, (partition, 0)))
    assert "corrupt" in world.found()


def test_another_partition_when_it_comes_again(world):
    place = world.send(100)
    world.settle(world.deliver(100, place), NACK)
    world.settle(world.deliver(100, (1 - place[0], 0), attempt=2))
    assert "corrupt" in world.found()


def test_key_in_two_partitions(world):
    place = world.send(100)
    world.settle(world.deliver(100, (1 - place[0], 0)))
    assert world.found() == {"reordered": 1}


def test_reordered_when_delivered(world):
    world.alone()
    first, second = world.send(100), world.send(101)
    world.settle(world.deliver(101, second))
    world.settle(world.deliver(100, first))
    assert world.found() == {"reordered": 1}


def test_again_without_a_reason(world):
    place = world.send(100)
    world.deliver(100, place)
    world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def long_dead(world):
    world.time += int(RETURNED_S["broker killed"][0] * 1000 + 1) * MS
    world.death()


@pytest.mark.parametrize("meanwhile", [lambda world: None, lambda world: world.death("reset"), long_dead, lambda world: world.fault()], ids=["nothing", "reset", "long before the death", "just before the daemon died"])
def test_again_after_its_end(world, meanwhile):
    """No other fault explains it than a broker's death, and none that came long afterwards."""
    world.time += 10 * SECOND
    place = world.send(100)
    world.settle(world.deliver(100, place))
    meanwhile(world)
    world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def test_again_after_its_end_and_the_death_was_before(world):
    world.death()
    place = world.send(100)
    world.settle(world.deliver(100, place))
    world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def test_resent_once_comes_no_third_time(world):
    place = world.send(100)
    world.resent(100)
    for _ in range(3):
        world.settle(world.deliver(100, place))
    assert world.found() == {"duplicate": 1}


def test_a_dead_letter_twice_without_a_reason(world):
    place = world.send(100)
    world.settle(world.deliver(100, place), REJECT)
    for _ in range(2):
        world.settle(world.deliver(100, (0, 0), file=world.dead))
    assert world.found() == {"duplicate": 1}
