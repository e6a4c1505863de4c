"""The wall clock is set by an hour while the daemon runs, and producers' clocks are off: delays last as long as they were meant to, what is due comes, nothing
is lost. The engines under it run in tests/sim with steps in every schedule."""
import os
import time

import pytest
import wire
from faults import SteppedClock

pytest_plugins = ["daemon_fixtures"]
HOUR = 3600
LONG = bool(os.environ.get("MQPAAS_LONG"))
DELAYS = (2, 90) if LONG else (2,)  # in the window, and in the retry store
LATE = 30  # seconds that a loaded machine may add; the clock is off by an hour


@pytest.fixture
def clock(tmp_path):
    return SteppedClock(tmp_path)


@pytest.fixture
def daemon(start, clock):  # pylint: disable=redefined-outer-name
    return start(env=clock.environment).world()


def came_after(subscription, delay, began):
    """Receives the one message that was given back for so long, not before `began`; it must come when the delay is over."""
    (again,) = subscription.receive(1, delay + LATE)
    took = time.monotonic() - began
    assert took > delay - 0.5, f"came after {took:.1f} s of {delay}"
    assert again.attempt == 2
    return again


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("step", (-HOUR, HOUR))
def test_a_nack_lasts_as_long_as_it_says(daemon, clock, step, delay):  # pylint: disable=redefined-outer-name
    with daemon.connect() as conn:
        assert wire.Topic(conn, "orders").send(b"later")[0].code == "OK"
        subscription = wire.Subscription(conn, "billing")
        (first,) = subscription.receive()
        began = time.monotonic()
        assert subscription.nack(first, delay_ms=delay * 1000) == [("OK", 1)]
        clock.step(step)
        again = came_after(subscription, delay, began)
        assert subscription.ack(again) == [("OK", 1)]


def test_a_delay_in_the_retry_store_survives_a_step_and_a_kill(daemon, clock):  # pylint: disable=redefined-outer-name
    """The next owner knows from the commit how far the clock was set, and that its own was set back while no owner ran."""
    with daemon.connect() as conn:
        assert wire.Topic(conn, "orders").send(b"later")[0].code == "OK"
        subscription = wire.Subscription(conn, "billing")
        (first,) = subscription.receive()
        assert subscription.nack(first, delay_ms=61000) == [("OK", 1)]
        began = time.monotonic()
        clock.step(HOUR)
        time.sleep(2)  # seen within a second, written within another
    daemon.kill()
    clock.step(-10)
    daemon.start()
    with daemon.connect() as conn:
        subscription = wire.Subscription(conn, "billing")
        subscription.credit(1)
        assert subscription.receive_nothing(2), "too early after the kill"
        clock.step(65)
        assert subscription.receive_nothing(2), "it follows the wall clock"
        assert daemon.admin.get("/api/v1/tenants/acme/groups/billing/backlog").json["partitions"][0]["retrying"] == 1
        if LONG:
            (again,) = subscription.receive(1, 90, credit=False)
            assert again.attempt == 2 and 60 < time.monotonic() - began < 61 + 10 + LATE


def test_two_resets_across_steps(daemon, clock):  # pylint: disable=redefined-outer-name
    """Each leaves the group exactly where it was told to stand."""
    with daemon.connect() as conn:
        topic = wire.Topic(conn, "orders")
        assert all(result.code == "OK" for result in topic.send(*(b"%d" % number for number in range(5))))
        subscription = wire.Subscription(conn, "billing")
        subscription.nack(*subscription.receive(5), delay_ms=61000)  # rows that a reset must do away with
        for step in (-HOUR, 2 * HOUR, -HOUR):
            clock.step(step)
            answer = daemon.admin.post("/api/v1/tenants/acme/groups/billing/reset", {"to": {"at": "earliest"}})
            assert answer.status == 200, answer.body
            came = subscription.receive(5)
            assert [delivery.record.body for delivery in came] == [b"%d" % number for number in range(5)]
            subscription.nack(*came, delay_ms=61000)


@pytest.mark.parametrize("off", (-2 * HOUR, 2 * HOUR))
def test_a_time_to_live_counts_from_the_service(daemon, off):  # pylint: disable=redefined-outer-name
    """A producer whose clock is two hours behind gets what it sent with 60 s delivered; one ahead does not keep it for ever."""
    created_ms = int(time.time() + off) * 1000
    with daemon.connect() as conn:
        topic = wire.Topic(conn, "orders")
        topic.send(wire.Record(body=b"short", created_ms=created_ms, ttl_ms=500), wire.Record(body=b"long", created_ms=created_ms, ttl_ms=60000))
        time.sleep(1)
        subscription = wire.Subscription(conn, "billing")
        assert [delivery.record.body for delivery in subscription.receive()] == [b"long"]
        subscription.credit(1)
        assert subscription.receive_nothing(0.5)
