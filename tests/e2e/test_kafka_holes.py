"""Positions without a message in a topic of our own: others write transactions to it. Its numbers are marked, and those of other topics are not."""
import confluent_kafka
from daemon import wait_for
from history.balance import problems
from test_kafka import backlog, physical
from wire import Record

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]


def transactions(kafka, topic, *batches):
    """Each batch is one transaction of a native producer: (number of messages, committed)."""
    producer = confluent_kafka.Producer(kafka.settings(transactional_id=f"tests-{topic}"))
    producer.init_transactions(30)
    for count, committed in batches:
        producer.begin_transaction()
        for number in range(count):
            producer.produce(topic, b"%d" % number)
        producer.flush(30)
        (producer.commit_transaction if committed else producer.abort_transaction)(30)


def marks(kafka):
    """{topic: what the service notes of it on the cluster}"""
    return {topic: text for (topic, _), (_, text) in kafka.commits("mqp.marks").items()}


def told(daemon, group="billing"):
    answer = backlog(daemon, group)
    assert not problems(answer), answer
    return answer["at_most"], answer["at_most_reason"]


def test_transactions_of_others_are_found_out(registered, kafka):
    daemon = registered.world(cluster="kafka")
    daemon.make("tenants/acme/topics", {"name": "quiet"})
    daemon.make("tenants/acme/groups", {"name": "silent", "topic": "quiet"})
    daemon.make("tenants/acme/groups", {"name": "idle", "topic": "orders"})
    with daemon.connect() as conn:
        orders, group, silent = conn.open_topic("orders"), conn.subscribe("billing"), conn.subscribe("silent")
        orders.send(*(Record(body=b"own") for _ in range(5)))
        group.ack(*group.receive(5))
        conn.open_topic("quiet").send(Record(body=b"own"))
        silent.ack(*silent.receive(1))
        assert told(daemon) == told(daemon, "silent") == told(daemon, "idle") == (False, None)
        transactions(kafka, physical(daemon, "topics/orders"), (3, True), (4, False))
        orders.send(Record(body=b"own"))
        group.ack(*group.receive(4))  # nothing of what was aborted
        wait_for(lambda: told(daemon) == (True, "holes"), 30, "the answer does not say that the numbers are inexact")
        group.credit(1)  # the last marker may come behind the last message: passed when a consumer wants more
        through = {"sent": 15, "acked": 9, "backlog": 0, "skipped": 6}  # two markers and what was aborted
        wait_for(lambda: (now := backlog(daemon)) and all(now[name] == count for name, count in through.items()), 60, "the group is not through")
        assert told(daemon, "idle") == (True, "holes") and told(daemon, "silent") == (False, None)
        wait_for(lambda: "1" in marks(kafka).get(physical(daemon, "topics/orders"), "").split(" ")[3:], 30, "it is not marked")
    assert len(daemon.events("KAFKA-HOLES")) == 1
    daemon.kill()
    daemon.start()
    for group in ("billing", "idle", "silent"):
        target = f"/api/v1/tenants/acme/groups/{group}/backlog"
        wait_for(lambda target=target: daemon.admin.get(target).status == 200, 60, "the cluster is not reached")
    assert told(daemon) == told(daemon, "idle") == (True, "holes") and told(daemon, "silent") == (False, None)


def test_a_marker_at_the_very_end_is_found_out(registered, kafka):
    daemon = registered.world(cluster="kafka")
    with daemon.connect() as conn:
        group = conn.subscribe("billing")
        transactions(kafka, physical(daemon, "topics/orders"), (2, True))
        group.ack(*group.receive(2))
        wait_for(lambda: told(daemon) == (True, "holes"), 30, "the answer does not say that the numbers are inexact")


def test_retention_and_purges_leave_no_holes(registered, kafka):
    """What was deleted is told from what never held a message."""
    daemon = registered.world(cluster="kafka")
    topic = physical(daemon, "topics/orders")
    with daemon.connect() as conn:
        orders = conn.open_topic("orders")
        orders.send(*(Record(body=b"%d" % number) for number in range(20)))
        kafka.truncate(topic, {0: 7})
        group = conn.subscribe("billing")
        group.ack(*group.receive(13))
        orders.send(*(Record(body=b"more") for _ in range(5)))
        kafka.truncate(topic, {0: 23})
        group.close()
    with daemon.connect() as conn:
        conn.subscribe("billing")
        wait_for(lambda: backlog(daemon)["skipped"] >= 7, 30, "what was deleted is not told")
        assert told(daemon) == (False, None)
