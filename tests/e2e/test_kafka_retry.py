"""The retry store of a group on Kafka, a compacted topic: what waits there survives what happens to the broker and to the topic."""
import time

from daemon import wait_for
from wire import Record, record_read

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]

ACME = "/api/v1/tenants/acme"
HOUR_MS = 3600 * 1000
ROW_HEAD = 24  # before the record, adapters/kafka/retry_rows.h


def backlog(daemon):
    return daemon.admin.get(f"{ACME}/groups/billing/backlog").json


def state(daemon):
    return daemon.admin.get("/api/v1/clusters/kafka/state").json


def retry_topic(daemon):
    return daemon.admin.get(f"{ACME}/groups/billing").json["physical"] + ".retry"


def rows(daemon, kafka):
    """The bodies of what waits, as a native client finds them: the last value of each key."""
    last = {message.key(): message.value() for message in kafka.read(retry_topic(daemon))}
    return sorted(record_read(value[ROW_HEAD:]).body for value in last.values() if value)


def bodies(numbers):
    return sorted(b"%d" % number for number in numbers)


def send(conn, numbers, **more):
    """Messages whose bodies are these numbers."""
    assert {result.code for result in conn.open_topic("orders").send(*(Record(body=b"%d" % number, **more) for number in numbers))} == {"OK"}


def number_of(delivery):
    return int(delivery.record.body)


def waiting(daemon, count):
    """Whether so many wait in the retry store, and nothing is elsewhere."""
    found = backlog(daemon)
    return (found["retrying"], found["backlog"]) == (count, count)


def test_rows_alone_open_the_circuit(registered, kafka):
    """A cluster that says nothing is missed by who has only rows to write, and taken up again when it answers."""
    daemon = registered.world(cluster="kafka")
    with daemon.connect() as conn:
        send(conn, range(2))
        subscription = conn.subscribe("billing")
        first, second = subscription.receive(2)
        assert subscription.nack(first, delay_ms=HOUR_MS) == [("OK", 1)]
        with kafka.paused():
            paused = time.monotonic()
            subscription.nack(second, delay_ms=HOUR_MS, wait=False)
            wait_for(lambda: state(daemon)["circuit"] != "closed", 8, "the circuit stays closed")
            assert time.monotonic() - paused >= 3, "it was not asked first"
        wait_for(lambda: state(daemon)["circuit"] == "closed", 20, "the circuit stays open")
        wait_for(lambda: rows(daemon, kafka) == bodies(range(2)), 40, "not all of them are written")
    daemon.stop()
    daemon.start()
    wait_for(lambda: waiting(daemon, 2), 20, "some were lost")
