"""The retry store of a group on Kafka, a compacted topic: what waits there survives what happens to the broker and to the topic."""
import threading
import time

import confluent_kafka.admin
import pytest
from daemon import wait_for
from history.load import times
from kafka import register
from wire import Record, record_read

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]

ACME = "/api/v1/tenants/acme"
HOUR_MS = 3600 * 1000
NEEDED = {"cleanup.policy": "compact", "max.message.bytes": str((16 << 20) + 2 * 65536)}
ROW_HEAD = 24  # before the record, adapters/kafka/retry/retry_rows.h


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
    """Whether `count` messages wait in the retry store, and nothing is elsewhere."""
    found = backlog(daemon)
    return (found["retrying"], found["backlog"]) == (count, count)


def test_rows_alone_open_the_circuit(registered, kafka):
    """A cluster that says nothing is missed by a group that has only rows to write, and taken up again when it answers."""
    daemon = registered.world(cluster="kafka")
    with daemon.connect() as conn:
        send(conn, range(2))
        subscription = conn.subscribe("billing")
        first, second = subscription.receive(2)
        assert subscription.nack(first, delay_ms=HOUR_MS) == [("OK", 1)]
        with kafka.paused():
            paused = time.monotonic()
            subscription.nack(second, delay_ms=HOUR_MS, wait=False)
            wait_for(lambda: state(daemon)["circuit"] != "closed", 25, "the circuit stays closed")
            assert time.monotonic() - paused >= 3, "it was not asked first"
        wait_for(lambda: state(daemon)["circuit"] == "closed", what="the circuit stays open")
        wait_for(lambda: rows(daemon, kafka) == bodies(range(2)), what="not all of them are written")
    daemon.stop()
    daemon.start()
    wait_for(lambda: waiting(daemon, 2), what="some were lost")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("timeout_ms", [1000, 30000])
def test_broker_killed_while_rows_are_written(start, kafka, timeout_ms):
    """What was nacked for long waits, each message once, whenever the broker died; what was acknowledged does not.

    With the short timeout commits fail while it is away, and are repeated; with the long one their rows wait for it.
    """
    daemon = register(start(), kafka, timeout_ms=timeout_ms).world(cluster="kafka", partitions=2)
    group = daemon.admin.get(f"{ACME}/groups/billing").json["physical"]
    per_round, at_a_time, kept = 600, 20, set()
    for round in range(times(1, 6)):
        numbers = range(round * per_round, (round + 1) * per_round)
        with daemon.connect(timeout=90) as conn:
            send(conn, numbers)
            subscription = conn.subscribe("billing")
            deliveries = subscription.receive(per_round)
            assert sorted(map(number_of, deliveries)) == list(numbers)
            answered = threading.Event()

            def kill():
                answered.wait(60)
                kafka.kill()
                kafka.up()

            killer = threading.Thread(target=kill)
            killer.start()
            for at in range(0, per_round, at_a_time):
                some = deliveries[at : at + at_a_time]
                subscription.ack(*(one for one in some if number_of(one) % 5 == 0), wait=False)
                kept |= {number_of(one) for one in some if number_of(one) % 5}
                # Each one that is waited for is a commit of its own; in every round the broker dies in the middle of another.
                subscription.nack(*(one for one in some if number_of(one) % 5), delay_ms=HOUR_MS)
                if at >= (1 + round % 4) * per_round // 6:
                    answered.set()
            killer.join()
            wait_for(lambda: rows(daemon, kafka) == bodies(kept), 90, "the retry topic has not what waits")
            wait_for(lambda: waiting(daemon, len(kept)), 60, f"{len(kept)} should wait, and nothing else")
            wait_for(lambda: sum(kafka.committed(group).values()) == numbers.stop, what="the offsets do not follow")
        if round % 2:
            daemon.kill()
            daemon.start()
            wait_for(lambda: waiting(daemon, len(kept)), 60, f"{len(kept)} should wait after a restart, and nothing else")
    daemon.kill()
    daemon.start()
    wait_for(lambda: waiting(daemon, len(kept)), 60, f"{len(kept)} should wait at the end, and nothing else")
    assert rows(daemon, kafka) == bodies(kept)


def test_made_by_others(registered, kafka):
    """It gets what a store needs: Kafka's own settings would delete what waits for longer than a week, and take no large message."""
    daemon = registered.world(cluster="kafka")
    name = retry_topic(daemon)
    with daemon.connect() as conn:
        send(conn, range(2))
        subscription = conn.subscribe("billing")
        first, second = subscription.receive(2)
        kafka.create(name)
        assert subscription.nack(first, delay_ms=HOUR_MS) == [("OK", 1)]
        assert NEEDED.items() <= kafka.config(name).items()
        subscription.ack(second)
    kafka.delete(name)
    kafka.create(name)
    answer = daemon.admin.post(f"{ACME}/groups/billing/reset", {"to": {"at": "earliest"}})
    assert answer.status == 200, answer.body
    assert daemon.events("KAFKA-RETRY-LOST")
    assert NEEDED.items() <= kafka.config(name).items()


def test_deleted_by_others(registered, kafka):
    """What waited there is lost, and said to be; the group goes on, with a retry topic made anew, whether it writes or reads first."""
    daemon = registered.world(cluster="kafka")
    name = retry_topic(daemon)
    with daemon.connect() as conn:
        send(conn, range(3))
        subscription = conn.subscribe("billing")
        first, second, third = subscription.receive(3)
        assert subscription.nack(first, delay_ms=HOUR_MS) == [("OK", 1)]
        kafka.delete(name)
        assert {code for code, _ in subscription.nack(second, delay_ms=HOUR_MS)} <= {"OK", "BACKEND_DOWN"}
        wait_for(lambda: name in kafka.topics() and rows(daemon, kafka) == bodies([1]), what="the row is not written into a new topic")
        assert subscription.ack(third) == [("OK", 1)]
    assert len(daemon.events("KAFKA-RETRY-LOST")) == 1
    kafka.delete(name)
    answer = daemon.admin.post(f"{ACME}/groups/billing/reset", {"to": {"at": "earliest"}})
    assert answer.status == 200, answer.body
    assert len(daemon.events("KAFKA-RETRY-LOST")) == 2
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        subscription.ack(*subscription.receive(3))
    daemon.stop()


def test_more_are_deleted_than_are_read_at_once(registered, kafka):
    """Stores that wait for their turn to read go on, too: each group starts from the beginning."""
    daemon = registered.world(cluster="kafka")
    groups = [f"group-{number}" for number in range(times(3, 12))]  # 8 are read at once
    retry_topics = []
    for group in groups:
        daemon.make("tenants/acme/groups", {"name": group, "topic": "orders"})
        retry_topics.append(daemon.admin.get(f"{ACME}/groups/{group}").json["physical"] + ".retry")
    with daemon.connect() as conn:
        send(conn, range(2))
        for group in groups:
            subscription = conn.subscribe(group)
            assert subscription.nack(subscription.receive(2)[0], delay_ms=HOUR_MS) == [("OK", 1)]
    for name in retry_topics:
        kafka.delete(name)
    answers = {}

    def reset(group):
        answers[group] = daemon.admin.post(f"{ACME}/groups/{group}/reset", {"to": {"at": "earliest"}}).status

    threads = [threading.Thread(target=reset, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(daemon.events("KAFKA-RETRY-LOST")) == len(groups), 60, "not all of them are found missing")
    for group in groups:
        wait_for(lambda group=group: daemon.admin.post(f"{ACME}/groups/{group}/reset", {"to": {"at": "earliest"}}).status == 200, 60, f"{group} stands still")
    with daemon.connect() as conn:
        for group in groups:
            subscription = conn.subscribe(group)
            subscription.ack(*subscription.receive(2))
    daemon.stop()


def compact(daemon, kafka):
    """Has the cleaner go over all that is in the retry topic, and waits until it has."""
    topic = retry_topic(daemon)
    resource = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ResourceType.TOPIC, topic)
    for name, value in {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0"}.items():
        resource.add_incremental_config(confluent_kafka.admin.ConfigEntry(name, value, incremental_operation=confluent_kafka.admin.AlterConfigOpType.SET))
    kafka.admin.incremental_alter_configs([resource])[resource].result(30)

    def compacted():
        # A log without writes is not rolled: a removal once more of what was removed, of the first position.
        kafka.send(topic, [{"key": bytes(20), "value": None}], partition=0)
        keys = [message.key() for message in kafka.read(topic) if message.key() != bytes(20)]
        return len(keys) == len(set(keys))

    wait_for(compacted, 60, "nothing is compacted")


def test_compaction_leaves_the_rows(start, own_kafka):
    """Rows that were replaced and removed are cleaned away; the others come when they are due, before and after the store is read anew."""
    kafka = own_kafka("--set", "log.cleaner.backoff.ms=200")
    daemon = register(start(), kafka).world(cluster="kafka")
    with daemon.connect() as conn:
        soon = int(time.time() * 1000) + 2000
        late = soon + 15000
        send(conn, range(300), due_ms=soon)  # each a row, then
        send(conn, range(300, 320), due_ms=late)
        subscription = conn.subscribe("billing")
        deliveries = subscription.receive(300, timeout=60)
        assert sorted(map(number_of, deliveries)) == list(range(300))
        assert {one.attempt for one in deliveries} == {1}
        assert {code for code, _ in subscription.ack(*(one for one in deliveries if number_of(one) % 3 == 0))} == {"OK"}  # removed
        assert {code for code, _ in subscription.nack(*(one for one in deliveries if number_of(one) % 3), delay_ms=HOUR_MS)} == {"OK"}  # replaced
    kept = [number for number in range(300) if number % 3] + list(range(300, 320))
    before = len(kafka.read(retry_topic(daemon)))
    compact(daemon, kafka)
    assert len(kafka.read(retry_topic(daemon))) < before
    assert rows(daemon, kafka) == bodies(kept)
    assert backlog(daemon)["backlog"] == len(kept)
    daemon.kill()
    daemon.start()
    wait_for(lambda: backlog(daemon)["backlog"] == len(kept), what="the rows are not what they were")
    with daemon.connect(timeout=60) as conn:
        subscription = conn.subscribe("billing")
        deliveries = subscription.receive(20, timeout=60)
        assert time.time() * 1000 >= late
        assert sorted(map(number_of, deliveries)) == list(range(300, 320)) and {one.attempt for one in deliveries} == {1}
        assert {code for code, _ in subscription.ack(*deliveries)} == {"OK"}
        assert subscription.receive_nothing(1)
    wait_for(lambda: waiting(daemon, 200), what="not all the others wait")
