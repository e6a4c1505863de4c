"""Faults of a real Kafka under load, judged by histories: what was acknowledged is there, unchanged, in order, and comes again only for a reason.

Each fault is made twice, or once in each of its three forms (by every quota, made anew by which client), and in `tests/run --long`
often. Topics have names of their own in every test: the broker is shared.
"""
import time

import pytest
from daemon import wait_for
from history import brokers, checker, durability
from history.brokers import clean
from history.load import PARTITIONS, Load, times
from history.relay import OFFSET_COMMIT, PRODUCE, Relay
from history.resets import Resetter

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]
RATES = 1000, 250  # beside a broker on the same two cores; the second sends two at a time and waits for each pair
# Beyond the quota, but not so far that one partition has more to read than an answer may hold; and what everybody does meanwhile at least.
THROTTLED, SLOWLY = {"rates": (200, 200), "sync": 0, "body": 100}, 6
KILL_DUPLICATES = 0.0001  # kafka.kill.dup


def cluster_at(bootstrap):
    return {"name": "kafka", "kind": "kafka", "options": {"bootstrap": bootstrap}}


class KafkaLoad(Load):
    """A load whose topics `<name>-1` and `<name>-2` lie on a Kafka."""

    def __init__(self, daemon, folder, kafka, name, bootstrap=None, topic=None, topics=None, **more):
        self.kafka = kafka
        topics = topics or {f"{name}-1": topic or {}, f"{name}-2": topic or {}}
        super().__init__(daemon, folder, cluster=cluster_at(bootstrap or kafka.bootstrap), topics=topics, **more)

    def physical(self, topic):
        return self.daemon.admin.get(f"/api/v1/tenants/acme/topics/{topic}").json["physical"]

    def told(self, relay):
        """Whether the clients were told anything before the relay had seen the broker's answer."""
        target = "/api/v1/tenants/acme"
        names = [(f"groups/{group.name}", group.name) for group in self.groups]
        names += [(f"topics/{name}", name) for name in [*self.topics, *(f"{group.dead_of}.dead" for group in self.groups if group.dead_of)]]
        physical = {name: self.daemon.admin.get(f"{target}/{path}").json["physical"] for path, name in names}
        histories = [checker.read(one.path) for one in self.producers + self.consumers]
        return durability.check(relay.acknowledged, histories, self.groups, physical)

    def judge(self):
        """What a broker has deleted by itself would look lost: a test that lets it do so says nothing."""
        for topic, made_of in self.topics.items():
            if made_of.get("cluster"):
                continue  # it lies elsewhere
            kept = next(group.kept for group in self.groups if group.topic == topic)
            begins = self.kafka.begins(self.physical(topic))
            assert begins == {number: kept.get(number, 0) % checker.LIFE for number in begins}, f"{topic}: the broker has deleted messages, by retention perhaps: {begins}"
        return super().judge()


@pytest.fixture
def load(start, kafka, tmp_path):
    """load(name, …) is one on the shared broker; ended with the test."""
    made = []

    def begin(name, on=kafka, daemon=None, **more):
        made.append(KafkaLoad(daemon or start(), tmp_path, on, name, **more))
        return made[-1]

    yield begin
    for one in made:
        one.end()


@pytest.mark.timeout(1800)
def test_broker_killed(load, kafka):
    brokers.killed(load("killed").start(RATES).administer(), kafka, few=2, share=KILL_DUPLICATES)


@pytest.mark.timeout(1800)
def test_daemon_killed(load):
    """What comes again comes from the positions that the broker keeps."""
    brokers.daemon_killed(load("dead").start(RATES).administer(), records=500)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [5, 30])
def test_broker_stopped_and_continued(load, kafka, seconds):
    load = load(f"stopped-{seconds}", topics={f"stopped-{seconds}": {}, "beside": {"cluster": "local"}}).start(RATES).administer()
    brokers.stopped(load, kafka, seconds, many=10)


@pytest.mark.timeout(900)
def test_connections_reset(load, own_kafka):
    resetter = Resetter()
    try:
        kafka = own_kafka("--advertise", resetter.address)
        host, port = kafka.bootstrap.split(":")
        resetter.target = host, int(port)
        brokers.reset(load("reset", on=kafka, bootstrap=resetter.address).start(RATES), resetter)
    finally:
        resetter.end()


HOLD_S = 2


@pytest.mark.timeout(900)
def test_nothing_is_told_before_the_broker_said_so(load, kafka):
    """A relay sees all answers of the broker and holds some back: no send is OK before its Produce was, no settle before its commit."""
    with Relay(kafka.bootstrap) as relay:
        load = load("told", bootstrap=relay.address).start(RATES).administer()
        for api in times(1, 5) * (PRODUCE, OFFSET_COMMIT):
            load.progress(300)
            with load.fault("answers held back"):
                with relay.holding(api):
                    wait_for(lambda api=api: relay.held[api], 60, "nothing is held back")
                    time.sleep(HOLD_S)
        with load.fault("reset"):
            assert relay.reset() >= 4
        if times(False, True):
            load.kill_daemon()
        clean(load.finish())
        proof = load.told(relay)
    print(proof)
    assert not proof.found, proof
    assert all(proof.proved[kind] for kind in ("send", "ack", "nack", "reject", "dead letter")), proof
    assert proof.held["send"] and proof.held["ack"] + proof.held["nack"] + proof.held["reject"], proof


@pytest.mark.timeout(1800)
def test_nodes_of_three_lost_and_back(load, own_kafka):
    """One: the others go on. Two: nothing can be acknowledged until one is back."""
    kafka = own_kafka("--nodes", "3", "--set", "min.insync.replicas=2")
    load = load("three", on=kafka).start((300, 100))
    for number in range(times(2, 12)):
        lost = 1 + number % 3
        load.progress(200)
        with load.fault("one of three lost"):
            kafka.kill(lost)
            load.progress(200)
            kafka.up()
        with load.fault("two of three lost"):
            wait_for(kafka.whole, 60, "replicas do not catch up")
            for node in {1, 2, 3} - {lost}:
                kafka.kill(node)
            time.sleep(1)
            kafka.up()
        wait_for(kafka.whole, 60, "replicas do not catch up")
    clean(load.finish())


@pytest.mark.timeout(900)
def test_topics_changed_underneath(load, kafka):
    """By a native client, past the service: partitions are added, records deleted below the position of groups.

    What the daemon still has in memory is delivered all the same, so every other time it begins anew.
    """
    load = load("changed").start(RATES)
    cut, grown = load.topics
    log = load.physical(cut)
    for number in range(times(2, 10)):
        load.progress(500)
        kafka.grow(load.physical(grown), PARTITIONS + 1 + number)
        load.progress(500)
        with load.fault("truncated"), load.consumers_held():
            wait_for(lambda: load.backlogs("ready")[f"{cut}-solo"] > 100, 60, "all of it is with the consumers")
            if number % 2:
                load.daemon.kill()
            load.deleted(cut, kept := kafka.ends(log))
            kafka.truncate(log, kept)
            if number % 2:
                load.daemon.start()
    report = clean(load.finish())
    assert report.seen["deleted unread"], report


def refused_to_make_anew(load, kafka, topic):
    """What a topic keeps is changed; that it is not there any more is told, and nothing is made by naming it."""
    target, name = f"/api/v1/tenants/acme/topics/{topic}", load.physical(topic)
    for change in ({"retention_ms": 3600000}, {"partitions": PARTITIONS + 1}):
        assert load.daemon.admin.put(target, change).status == 200
        wait_for(lambda: "not on the cluster" in (load.daemon.admin.get(target).json["state_reason"] or ""), what=f"the state does not say that {topic} is gone")
        assert name not in kafka.topics()


def deleted_by_others(load, kafka, topic):
    """Until no consumer has anything of it in hand any more."""
    count = len(load.daemon.events("KAFKA-TOPIC-GONE"))
    kafka.delete(load.physical(topic))
    load.daemon.wait_event("KAFKA-TOPIC-GONE", count + 1)
    load.stillness(topic)


def made_anew_by_operator(load, kafka, topic):
    deleted_by_others(load, kafka, topic)
    refused_to_make_anew(load, kafka, topic)
    target = f"/api/v1/tenants/acme/topics/{topic}"
    assert load.daemon.admin.delete(f"{target}?force=true").status == 204
    wait_for(lambda: load.daemon.admin.get(target).status == 404, what=f"{topic} is not deleted")
    load.begins_anew(topic, dead=True)
    load.make_topic(topic)


def made_anew_by_others(load, kafka, topic):
    deleted_by_others(load, kafka, topic)
    load.begins_anew(topic)
    kafka.create(load.physical(topic), PARTITIONS)


def made_anew_at_once(load, kafka, topic):
    """What was acknowledged last may not be committed yet. The earlier producers end, so that each send is known to be of one generation."""
    load.stop([one for one in load.producers if one.topic == topic])
    load.drained(60, groups=[f"{topic}-solo", f"{topic}-shared"])
    count = len(load.daemon.events("KAFKA-TOPIC-GONE"))
    load.begins_anew(topic)
    kafka.delete(load.physical(topic))
    # Until it is found out it has these settings alone, and messages of this load say that they were created years ago: any retention would delete them.
    kafka.create(load.physical(topic), PARTITIONS, message_timestamp_type="LogAppendTime")
    load.produce(topic, RATES[0])
    load.daemon.wait_event("KAFKA-TOPIC-GONE", count + 1)
    load.found_anew(topic)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make_anew", [made_anew_by_operator, made_anew_by_others, made_anew_at_once], ids=["operator", "others", "at-once"])
def test_topic_deleted_underneath(load, kafka, make_anew):
    """By a native client, past the service, and made anew with the earlier clients still there: what is sent from then on comes, and nothing older."""
    load = load(make_anew.__name__.replace("_", "-")).start(RATES)
    topic = list(load.topics)[0]
    for _ in range(times(1, 10)):
        load.progress(500)
        with load.fault("deleted"):
            make_anew(load, kafka, topic)
    report = clean(load.finish())
    assert make_anew is made_anew_at_once or report.seen["rejected"], "sends were refused as long as it was gone"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("quota", [("producer_byte_rate", 20000), ("consumer_byte_rate", 60000), ("request_percentage", 1)], ids=lambda quota: quota[0].split("_")[0])
def test_throttled(load, kafka, quota):
    """By a quota of the broker, which lets a busy client wait for minutes: all goes on slowly, and as before soon after it is gone."""
    load = load(quota[0].replace("_", "-")).start(**THROTTLED)
    for _ in range(times(1, 4)):
        load.progress(500)
        with load.fault("throttled"), kafka.throttled(**dict([quota])):
            load.progress(SLOWLY)
            load.daemon.wait_event("KAFKA-THROTTLED", seconds=60)  # a slow machine goes beyond it later
            load.progress(SLOWLY)
    clean(load.finish())
    assert not load.daemon.events("KAFKA-CIRCUIT"), "a slow cluster is not away"
