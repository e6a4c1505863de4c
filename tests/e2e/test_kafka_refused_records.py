"""Rules of Kafka topics: a record that breaks one is refused alone, whether or not the proxy knew of the rule; and what is imported says what its topic says."""
import itertools
import threading
import time

import pytest
from daemon import wait_for
from test_kafka import ACME
from wire import Record

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]
HOUR_MS = 3600 * 1000


@pytest.fixture
def imported(registered, kafka):
    """imported(topic, **settings) makes a native topic and takes it as acme's "orders"; several with other names."""
    daemon = registered
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka"]})
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]

    def take(topic, name="orders", partitions=1, **settings):
        kafka.create(topic, partitions, **settings)
        answer = daemon.admin.post("/api/v1/clusters/kafka/import", {"tenant": "acme", "topics": [{"physical": topic, "name": name}]})
        assert answer.status == 200, answer.body
        wait_for(lambda: daemon.admin.get(f"{ACME}/topics/{name}").json["state"] == "ready", what="it is not ready")
        return daemon

    return take


def codes(results):
    return {code: sum(one.code == code for one in results) for code in {one.code for one in results}}


class Sender(threading.Thread):
    """A client of its own that sends batches of `record(number)`, and keeps what became of each."""

    def __init__(self, daemon, record, batches, each=100, topic="orders"):
        super().__init__()
        self.daemon, self.record, self.batches, self.each, self.topic = daemon, record, batches, each, topic
        self.enough = lambda: True
        self.results, self.bodies = [], []
        self.start()

    def run(self):
        with self.daemon.connect() as conn:
            topic = conn.open_topic(self.topic)
            for batch in itertools.count():
                if batch >= self.batches and self.enough():
                    break
                records = [self.record(batch * self.each + number) for number in range(self.each)]
                self.results += topic.send(*records)
                self.bodies += [record.body for record in records]

    def stored(self):
        return [body for body, result in zip(self.bodies, self.results) if result.code == "OK"]


def keyed(name):
    return lambda number: Record(key=b"k", body=b"%s %d" % (name, number))


def guilty_at(name, every):
    """Without a key now and then."""
    return lambda number: Record(key=None if number % every == every - 1 else b"k", body=b"%s %d" % (name, number))


def in_order(kafka, topic, senders):
    """What each sender was told is stored lies in the topic once, in its order."""
    found = [message.value() for message in kafka.read(topic)]
    for sender in senders:
        mine = sender.bodies[0].split()[0]
        assert [body for body in found if body.split()[0] == mine] == sender.stored()


def test_a_keyless_record_hurts_nobody_else(imported, kafka):
    daemon = imported("rules.compacted", cleanup_policy="compact")
    good, bad = Sender(daemon, keyed(b"good"), 40), Sender(daemon, guilty_at(b"bad", 10), 40)
    good.join()
    bad.join()
    assert codes(good.results) == {"OK": 4000}
    assert codes(bad.results) == {"OK": 3600, "BAD_REQUEST": 400}
    in_order(kafka, "rules.compacted", [good, bad])


def test_a_rule_that_only_the_broker_knows(imported, kafka):
    """The topic becomes compacted while they send: what is refused before the service has heard of it is divided."""
    daemon = imported("rules.becomes", partitions=1)
    with daemon.connect() as conn:
        conn.open_topic("orders").send(Record(key=b"k", body=b"first 0"))
    since, told = time.monotonic(), []
    good, bad = senders = [Sender(daemon, keyed(b"good"), 200), Sender(daemon, guilty_at(b"bad", 50), 200)]
    for sender in senders:  # on until the rule has been met, were they ever so fast
        sender.enough = lambda: told or time.monotonic() - since > 60
    wait_for(lambda: len(good.results) >= 300 and len(bad.results) >= 300)
    kafka.set("rules.becomes", cleanup_policy="compact")
    wait_for(lambda: any(result.code != "OK" for result in bad.results[-1000:]) or not bad.is_alive())
    told.append(True)
    for sender in senders:
        sender.join()
    assert codes(good.results).keys() == {"OK"}
    refused = [number for number, result in enumerate(bad.results) if result.code != "OK"]
    assert refused and all(number % 50 == 49 for number in refused) and codes(bad.results).keys() == {"OK", "BAD_REQUEST"}
    in_order(kafka, "rules.becomes", senders)


def test_a_message_that_is_too_old_hurts_nobody_else(imported, kafka):
    daemon = imported("rules.young", message_timestamp_before_max_ms=HOUR_MS)
    hours = {49: 2, 24: 0.5}  # of a hundred
    old = Sender(daemon, lambda number: Record(body=b"old %d" % number, created_ms=int((time.time() - 3600 * hours.get(number % 50, 0)) * 1000)), 20)
    good = Sender(daemon, keyed(b"good"), 20)
    good.join()
    old.join()
    assert codes(good.results) == {"OK": 2000}
    assert codes(old.results) == {"OK": 1960, "BAD_REQUEST": 40}
    in_order(kafka, "rules.young", [good, old])


def test_topics_that_take_small_batches(imported, kafka):
    """1,000 records of 504 bytes at once; the limit is seen, and it is followed."""
    daemon = imported("rules.small", max_message_bytes=20000)
    assert daemon.admin.get(f"{ACME}/topics/orders").json["message_bytes"] == 20000
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        for _ in range(3):
            assert codes(topic.send(*[b"x" * 464 for _ in range(1000)])) == {"OK": 1000}
        assert codes(topic.send(b"x" * 464, b"x" * 21000, b"x" * 464)) == {"OK": 2, "TOO_LARGE": 1}
        kafka.set("rules.small", max_message_bytes=2000)
        assert codes(topic.send(*[b"y" * 464 for _ in range(1000)])) == {"OK": 1000}  # at once
        wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["message_bytes"] == 2000, what="the size is not followed")
        assert codes(topic.send(b"x", b"x" * 2500, b"x")) == {"OK": 2, "TOO_LARGE": 1}
    assert len(kafka.read("rules.small")) == 4004


def test_an_import_says_what_the_topic_says(imported, kafka):
    daemon = imported("rules.told", partitions=2, max_message_bytes=50000, retention_ms=12345678, retention_bytes=1 << 20, cleanup_policy="compact,delete")
    listed = next(row for row in daemon.admin.get("/api/v1/clusters/kafka/existing").json["topics"] if row["name"] == "rules.told")
    assert listed["settings"] == {"message_bytes": 50000, "retention_ms": 12345678, "retention_bytes": 2 << 20, "compacted": True, "oldest_ms": None, "min_insync": 1}
    path = f"{ACME}/topics/orders"
    told = daemon.admin.get(path).json
    assert (told["message_bytes"], told["retention_ms"], told["retention_bytes"]) == (50000, 12345678, 2 << 20)
    kafka.set("rules.told", retention_ms=-1, max_message_bytes=60000)
    told = wait_for(lambda: (now := daemon.admin.get(path).json)["message_bytes"] == 60000 and now, what="it is not followed")
    assert (told["retention_ms"], told["retention_bytes"]) == (0, 2 << 20)
    assert daemon.admin.get("/api/v1/audit?action=followed&limit=5").json["items"][0]["resource"] == "orders"
    assert daemon.admin.put(path, {"message_bytes": 4096}).status == 409


def largest(accepts, least, most):
    """The largest size in between that is accepted; all below it are."""
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if accepts(middle) else (least, middle - 1)
    return least


def test_sizes_are_the_brokers_own(imported, kafka):
    """A record is refused beforehand exactly when the broker would refuse it in a batch of its own."""
    daemon = imported("rules.exact", max_message_bytes=2000)
    headers = [("a", b"1"), ("name", None), ("b" * 70, b"x" * 130)]

    def native(size):
        try:
            kafka.send("rules.exact", [{"key": b"k" * 70, "value": b"x" * size, "headers": headers}], message_max_bytes=100000)
        except AssertionError:
            return False
        return True

    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        ours = largest(lambda size: topic.send(Record(key=b"k" * 70, body=b"x" * size, headers=headers))[0].code == "OK", 100, 3000)
    assert ours == largest(native, 100, 3000)
