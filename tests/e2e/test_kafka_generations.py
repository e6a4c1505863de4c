"""Topics of a Kafka that are deleted past the service, and made anew under the same name."""
import struct

import confluent_kafka.admin
import pytest
import wire
from daemon import wait_for
from kafka import register
from test_kafka import documented_rights, physical

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]
HOUR_MS = 3600 * 1000
LONG_AGO_MS = 1700000000000
OLD = [b"old %d" % number for number in range(20)]
NEW = [b"new %d" % number for number in range(30)]


@pytest.fixture
def world(registered):
    return registered.world(cluster="kafka")


def consumed_but_one(conn):
    """Sends OLD and acknowledges it; one waits for an hour in the retry store."""
    conn.open_topic("orders").send(*OLD)
    subscription = conn.subscribe("billing")
    deliveries = subscription.receive(len(OLD))
    assert subscription.nack(deliveries[5], delay_ms=HOUR_MS) == [("OK", 1)]
    subscription.ack(*deliveries[:5], *deliveries[6:])


def cursor(position, epoch=1):
    """The metadata of a commit that says: everything before the position is done (adapters/log/window_text.c)."""
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    fields = bytes([epoch, position]) + bytes(4) + bytes([1, 0]) + bytes(4)  # no counts; time of the commit, no step of the clock; no map, no marks
    fields += bytes(-len(fields) % 4)
    data = struct.pack("<I", wire.crc32c(fields)) + fields
    words = struct.unpack(f">{len(data) // 4}I", data)
    return "mqw2" + "".join(alphabet[word // 85**digit % 85] for word in words for digit in range(4, -1, -1))


def make_anew(kafka, log, group):
    wait_for(lambda: kafka.committed(group).get((log, 0)) == len(OLD), what="not everything is committed")
    kafka.delete(log)
    kafka.create(log)


def bodies(deliveries):
    return [one.record.body for one in deliveries]


@pytest.mark.parametrize("seen", [True, False], ids=["open", "not-open"])
def test_made_anew(world, kafka, seen):
    """Nothing of the life before passes a message of this one: no cursor, no row of the retry store, no late commit of an owner that is gone."""
    log, group = physical(world, "topics/orders"), physical(world, "groups/billing")
    settings = kafka.config(log)
    with world.connect() as conn:
        consumed_but_one(conn)
        if seen:
            make_anew(kafka, log, group)
            world.wait_event("KAFKA-TOPIC-BACK")
    if not seen:
        world.kill()
        make_anew(kafka, log, group)
        world.start()
    with world.connect() as conn:
        conn.open_topic("orders").send(*NEW)
        subscription = conn.subscribe("billing")
        deliveries = subscription.receive(len(NEW))
        assert bodies(deliveries) == NEW
        assert kafka.config(log) == settings != {}, "it keeps messages as its resource says, not as the client that made it anew left it to Kafka"
        subscription.ack(*deliveries[:10])
        assert subscription.receive_nothing(1)
    world.kill()
    kafka.commit(group, log, {0: len(OLD)}, metadata=cursor(len(OLD)))
    world.start()
    with world.connect() as conn:
        deliveries = conn.subscribe("billing").receive(len(NEW))
        assert bodies(deliveries) == NEW, "a late commit of the life before is void: all comes again"


def test_deleted_and_back(world, kafka):
    """Sends are refused as long as it is not there, and go on when it is, on the same connection."""
    log = physical(world, "topics/orders")
    before = kafka.config(log)
    with world.connect() as conn:
        topic = conn.open_topic("orders")
        assert topic.send(b"one")[0].code == "OK"
        kafka.delete(log)
        assert "was deleted" in world.wait_event("KAFKA-TOPIC-GONE")["message"]
        assert topic.send(b"two")[0].code == "NOT_FOUND"
        kafka.create(log, retention_ms=1000, compression_type="gzip", message_timestamp_type="CreateTime")
        world.wait_event("KAFKA-TOPIC-BACK")
        settings = kafka.config(log)
        assert (settings["retention.ms"], settings["cleanup.policy"]) == (before["retention.ms"], "delete"), settings
        assert (settings["compression.type"], settings["message.timestamp.type"]) == ("gzip", "CreateTime"), "what others set beside stays"
        wait_for(lambda: topic.send(b"three")[0].code == "OK", what="sends do not go on")
        assert bodies(conn.subscribe("billing").receive(1)) == [b"three"]
    assert len(world.events("KAFKA-TOPIC-GONE")) == 1


def test_what_was_created_long_ago_stays(start, own_kafka):
    """Kafka's own retention is a week from the creation time that a message names: of a topic made anew it would delete such a one at its next look."""
    kafka = own_kafka("--set", "log.initial.task.delay.ms=0", "--set", "log.retention.check.interval.ms=50")
    world = register(start(), kafka).world(cluster="kafka")
    with world.connect() as conn:
        consumed_but_one(conn)
        make_anew(kafka, physical(world, "topics/orders"), physical(world, "groups/billing"))
        world.wait_event("KAFKA-TOPIC-BACK")
        topic = conn.open_topic("orders")
        for body in NEW:
            wait_for(lambda body=body: topic.send(wire.Record(body=body, created_ms=LONG_AGO_MS))[0].code == "OK", what="sends do not go on")
        subscription = conn.subscribe("billing")
        deliveries = subscription.receive(len(NEW))
        assert subscription.nack(*deliveries[:3], delay_ms=2000) == [("OK", 1)] * 3
        subscription.ack(*deliveries[3:])
        assert bodies(subscription.receive(3)) == NEW[:3]


def test_settings_that_the_cluster_refuses(start, kafka_brokers, monkeypatch):
    """It is served all the same, and the log names what it may do with its messages."""
    secured, login = kafka_brokers("--sasl"), {"sasl_username": "admin", "sasl_password": "admin-secret", "security_protocol": "sasl_plaintext", "sasl_mechanism": "PLAIN"}
    monkeypatch.setattr(secured, "admin", confluent_kafka.admin.AdminClient(secured.settings(**login)), raising=False)
    rows = [(*row, [operation for operation in operations if operation != "AlterConfigs"]) for *row, operations in documented_rights()]
    with secured.rights("guest", rows, **login):
        world = register(start(), secured, secrets={"password": "guest-secret"}, security="sasl_plaintext", mechanism="PLAIN", user="guest").world(cluster="kafka")
        log = physical(world, "topics/orders")
        with world.connect() as conn:
            topic = conn.open_topic("orders")
            assert topic.send(b"one")[0].code == "OK"
            secured.delete(log)
            world.wait_event("KAFKA-TOPIC-GONE")
            secured.create(log)
            assert "forget messages too early" in world.wait_event("KAFKA-TOPIC-SETTINGS")["message"]
            wait_for(lambda: topic.send(b"two")[0].code == "OK", what="sends do not go on")
            assert bodies(conn.subscribe("billing").receive(1)) == [b"two"]
