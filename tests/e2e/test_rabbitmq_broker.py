"""The fixture of a RabbitMQ itself: what other tests take for granted."""
import os
import time

import pika
import pytest

pytest_plugins = ["rabbitmq_fixtures"]


def test_messages_come_as_they_were_sent(host):
    host.declare("e2e.exchange", "e2e.queue", x_queue_type="quorum")
    host.publish("e2e.exchange", b"one", (b"two", {"routing_key": "k", "headers": {"a": 1}}))
    assert host.ready("e2e.queue") == 2
    (_, _, one), (method, properties, two) = host.take("e2e.queue", 2)
    assert (one, two, method.routing_key, properties.headers["a"], properties.delivery_mode) == (b"one", b"two", "k", 1, 2)
    assert host.take("e2e.queue") == []
    assert host.queues()["e2e.queue"]["type"] == "quorum" and list(host.exchanges()) == ["e2e.exchange"]
    with pytest.raises(pika.exceptions.UnroutableError):
        host.publish("", b"to no queue", routing_key="e2e.none")
    host.delete("e2e.exchange", "e2e.queue")
    assert (host.queues(), host.exchanges()) == ({}, {})


def test_hosts_and_policies_come_and_go(rabbitmq):
    host = rabbitmq.host()
    host.declare(queue="e2e.queue")
    with host.policy("^e2e", max_length=1):
        assert [row["definition"] for row in rabbitmq.api("GET", f"policies/{host.name}")] == [{"max-length": 1}]
    assert rabbitmq.api("GET", f"policies/{host.name}") == []
    host.gone()
    assert rabbitmq.api("GET", f"queues/{host.name}") is None


def test_an_alarm_holds_publishers_up(host):
    host.declare(queue="e2e.queue")
    blocked = []
    connection = host.connect()
    connection.add_on_connection_blocked_callback(lambda *_: blocked.append(True))
    channel = connection.channel()
    with host.broker.alarm():
        channel.basic_publish("", "e2e.queue", b"held up")
        connection.process_data_events(5)
        assert blocked
        assert host.ready("e2e.queue") == 0
    connection.process_data_events(0)
    connection.close()
    assert [body for _, _, body in host.take("e2e.queue", 1)] == [b"held up"]


def test_a_killed_node_comes_back(own_rabbitmq):
    rabbitmq = own_rabbitmq()
    assert os.path.samefile(f"/proc/{rabbitmq.pid()}/cwd", os.path.join(rabbitmq.folder, "node-1"))  # it leaves core files there when it ends badly
    host = rabbitmq.host()
    host.declare(queue="e2e.kept")
    host.publish("", b"kept", routing_key="e2e.kept")
    time.sleep(2)  # what is declared a moment before a kill can be lost, and so can a confirmed message in it: tried, 3.10 and 4.0
    rabbitmq.kill()
    rabbitmq.up()
    assert [body for _, _, body in host.take("e2e.kept", 1)] == [b"kept"]


def test_ends_at_once(own_rabbitmq):
    """Also where no parent waits for processes that have ended, as in tests/run."""
    rabbitmq = own_rabbitmq()
    since = time.monotonic()
    rabbitmq.down()
    assert time.monotonic() - since < 50
