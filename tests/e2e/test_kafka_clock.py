"""The daemon's wall clock is set by an hour beside a real Kafka: fences keep their order, also over a change of owners, and what waits comes. test_clock.py has
the rest, beside the embedded store."""
import kafka as brokers
import pytest
from daemon import wait_for
from faults import SteppedClock

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]
HOUR = 3600
ROW_MS = 600_000  # too long for the window: such a nack waits in the retry store
MESSAGES = [b"%d" % number for number in range(5)]
SECONDS = 60  # in which what can come has come
GROUP, BACKLOG = "/api/v1/tenants/acme/groups/billing", "/api/v1/tenants/acme/groups/billing/backlog"


@pytest.fixture
def clock(tmp_path):
    return SteppedClock(tmp_path)


@pytest.fixture
def world(start, kafka, clock):  # pylint: disable=redefined-outer-name
    return brokers.register(start(env=clock.environment), kafka).world(cluster="kafka")


def physical(world, path):  # pylint: disable=redefined-outer-name
    return world.admin.get(f"/api/v1/tenants/acme/{path}").json["physical"]


def bodies(deliveries):
    return sorted(one.record.body for one in deliveries)


def cursor(kafka, group):
    """What is committed for the only partition: (offset, metadata)."""
    (one,) = kafka.commits(group).values()
    return one


def all_wait(world):  # pylint: disable=redefined-outer-name
    """Everything that there is comes and is given back, into the retry store."""
    with world.connect() as conn:
        subscription = conn.subscribe("billing")
        came = subscription.receive(len(MESSAGES), SECONDS)
        assert bodies(came) == MESSAGES
        assert subscription.nack(*came, delay_ms=ROW_MS) == [("OK", 1)] * len(MESSAGES)
    wait_for(lambda: world.admin.get(BACKLOG).json["retrying"] == len(MESSAGES), SECONDS, "they do not wait in the retry store")


def reset(world):  # pylint: disable=redefined-outer-name
    answer = world.admin.post(f"{GROUP}/reset", {"to": {"at": "earliest"}})
    assert answer.status == 200, answer.body


def owner_changes(world, between=lambda: None):  # pylint: disable=redefined-outer-name
    world.kill()
    between()
    world.start()


# How the clock is set before each reset, in hours, and whether an owner is there to see it.
BACK, BACK_UNSEEN, FORWARD_UNSEEN = [(-1, True)], [(-1, False)], [(1, False), (-2, False)]


@pytest.mark.parametrize("steps", [BACK, BACK_UNSEEN, FORWARD_UNSEEN], ids=["back", "back-unseen", "forward-unseen-and-back"])
def test_fences_keep_their_order(world, kafka, clock, steps):  # pylint: disable=redefined-outer-name
    """What an owner from before a reset commits late is void, whatever the clock showed when that reset, and the one before it, were made."""
    log, group = physical(world, "topics/orders"), physical(world, "groups/billing")
    with world.connect() as conn:
        assert all(result.code == "OK" for result in conn.open_topic("orders").send(*MESSAGES))
    all_wait(world)
    for hours, seen in steps:
        reset(world)
        all_wait(world)
        wait_for(lambda: cursor(kafka, group)[0] == len(MESSAGES), SECONDS, "the rows' commit is not there")
        offset, late = cursor(kafka, group)
        if seen:
            clock.step(hours * HOUR)
        else:
            owner_changes(world, lambda hours=hours: clock.step(hours * HOUR))
        reset(world)
        with world.connect() as conn:
            subscription = conn.subscribe("billing")
            came = subscription.receive(len(MESSAGES), SECONDS)
            assert bodies(came) == MESSAGES
            acked = [one for one in came if one.record.body in MESSAGES[:2]]
            assert all(code == "OK" for code, _ in subscription.ack(*acked))
        owner_changes(world, lambda offset=offset, late=late: kafka.commit(group, log, {0: offset}, metadata=late))
        with world.connect() as conn:
            subscription = conn.subscribe("billing")
            came = subscription.receive(len(MESSAGES), SECONDS)
            assert bodies(came) == MESSAGES, "the late commit is void: the group stands where the reset put it"
            assert all(code == "OK" for code, _ in subscription.ack(*came))


def test_what_waits_comes_when_the_clock_was_set_forward_unseen(world, clock):  # pylint: disable=redefined-outer-name
    """It cannot be told from an hour in which no owner ran: what waited for less than that comes, once, and a later step back holds nothing up."""
    with world.connect() as conn:
        assert all(result.code == "OK" for result in conn.open_topic("orders").send(*MESSAGES))
    all_wait(world)
    owner_changes(world, lambda: clock.step(HOUR))
    with world.connect() as conn:
        subscription = conn.subscribe("billing")
        came = subscription.receive(len(MESSAGES), SECONDS)
        assert bodies(came) == MESSAGES and all(one.attempt == 2 for one in came)
        assert subscription.nack(*came, delay_ms=500) == [("OK", 1)] * len(MESSAGES)
        clock.step(-HOUR)
        again = subscription.receive(len(MESSAGES), SECONDS)
        assert bodies(again) == MESSAGES and all(one.attempt == 3 for one in again)
        assert all(code == "OK" for code, _ in subscription.ack(*again))
    wait_for(lambda: world.admin.get(BACKLOG).json["backlog"] == 0, SECONDS, "something is left")
