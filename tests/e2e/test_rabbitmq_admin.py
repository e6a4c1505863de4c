"""What an operator asks of a RabbitMQ cluster, against real brokers: the administrative slots of the adapter, one at a time."""
import contextlib
import datetime
import json
import os
import re
import subprocess
import threading

import pytest
import rabbitmq
from rest import BUILD, wait_for

pytest_plugins = ["rabbitmq_fixtures"]

TOOL = os.path.join(BUILD, "tests", "rabbitmq", "rabbitmq_admin_tool")


class Cluster:
    """tests/rabbitmq/admin_tool.c: a command, and its answer."""

    def __init__(self, options, secrets=None):
        command = [TOOL, json.dumps(options), *([json.dumps(secrets)] if secrets else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # pylint: disable=consider-using-with
        self.errors = []
        self.thread = threading.Thread(target=lambda: self.errors.extend(self.process.stderr))
        self.thread.start()

    def ask(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def done(self, *words):
        """Of a command that is carried out."""
        answer = self.ask(*words)
        assert answer["code"] == "OK", answer
        return answer["answer"]

    def refused(self, code, pattern, *words):
        answer = self.ask(*words)
        assert answer["code"] == code and re.search(pattern, answer["text"]), answer

    def logged(self, log_id):
        return [row["message"] for row in map(json.loads, list(self.errors)) if row["id"] == log_id]

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, "".join(self.errors)
        self.thread.join()
        assert not re.search("Sanitizer|runtime error", "".join(self.errors)), "".join(self.errors)


@contextlib.contextmanager
def opened(host, secrets=None, **more):
    options = {key: value for key, value in {**host.options(), **more}.items() if value is not None}
    cluster = Cluster(options, secrets)
    try:
        yield cluster
        cluster.stop()
    finally:
        cluster.process.kill()
        cluster.thread.join()


def is_endless(host):
    """From 4.0 on a quorum queue has a limit of deliveries unless it says that it has none; before, saying so is fatal."""
    return int(host.broker.version.split(".")[0]) >= 4


# ---- Topics and groups


def test_topics_and_groups_come_and_go(host):
    with opened(host) as cluster:
        for _ in range(2):
            cluster.done("topic", "create", "mqp.t")
            cluster.done("group", "create", "mqp.g", "mqp.t")
        exchanges, queue = host.exchanges(), host.queues()["mqp.g"]
        assert {name: (row["type"], row["durable"], row["internal"]) for name, row in exchanges.items()} == {"mqp.t": ("fanout", True, False), "mqp.t~1": ("fanout", True, True)}
        assert (queue["type"], queue["durable"]) == ("quorum", True)
        assert queue["arguments"] == {"x-queue-type": "quorum", **({"x-delivery-limit": -1} if is_endless(host) else {})}
        host.publish("mqp.t", b"one", b"two")
        backlog = cluster.done("group", "backlog", "mqp.g", "mqp.t")["partitions"]
        assert [(row["ready"], row["retrying"], row["delayed"]) for row in backlog] == [(2, 0, 0)]
        cluster.done("topic", "change", "mqp.t,partitions=4")
        none = dict.fromkeys(("first", "end", "messages", "bytes", "oldest_ms"))
        assert cluster.done("topic", "describe", "mqp.t,partitions=4")["partitions"] == [{"partition": i, **none} for i in range(4)]
        assert cluster.done("topic", "preview", "mqp.t")["messages"] == 2
        assert cluster.done("topic", "purge", "mqp.t")["messages"] == 2
        assert cluster.done("topic", "purge", "mqp.t")["messages"] == 0
        for _ in range(2):
            cluster.done("group", "delete", "mqp.g", "mqp.t")
            cluster.done("topic", "delete", "mqp.t")
        cluster.refused("NOT_FOUND", "cluster trial: .*no queue 'mqp.g'", "group", "backlog", "mqp.g", "mqp.t")
        cluster.refused("NOT_FOUND", "no exchange 'mqp.t'", "topic", "describe", "mqp.t")
        cluster.refused("CONFLICT", "mqp.t: it is not on the cluster", "topic", "change", "mqp.t")
        cluster.refused("CONFLICT", "the exchange of its topic is not there", "group", "create", "mqp.g", "mqp.t")
        assert (host.queues(), host.exchanges()) == ({}, {})


def test_another_incarnation_is_neither_taken_nor_deleted(host):
    with opened(host) as cluster:
        cluster.done("topic", "create", "mqp.t")
        cluster.refused("CONFLICT", "it exists as another incarnation", "topic", "create", "mqp.t,incarnation=2")
        cluster.refused("CONFLICT", "is another incarnation", "topic", "change", "mqp.t,incarnation=2")
        cluster.done("topic", "delete", "mqp.t,incarnation=2")
        assert set(host.exchanges()) == {"mqp.t", "mqp.t~1"}
        cluster.done("topic", "delete", "mqp.t")
        assert cluster.done("topic", "open", "mqp.t") is False  # the life before
        cluster.done("topic", "create", "mqp.t,incarnation=2")
        assert set(host.exchanges()) == {"mqp.t", "mqp.t~2"}
        assert cluster.done("topic", "open", "mqp.t,incarnation=2") is True


def test_another_shape_is_refused_in_the_brokers_words(host):
    host.declare("mqp.t~1", kind="topic")
    host.declare(queue="mqp.g", x_queue_type="classic")
    with opened(host) as cluster:
        cluster.refused("CONFLICT", "inequivalent arg 'type'", "topic", "create", "mqp.t")
        cluster.done("topic", "create", "mqp.u")
        cluster.refused("CONFLICT", "inequivalent arg 'x-queue-type'", "group", "create", "mqp.g", "mqp.u")
        host.delete(queue="mqp.g")
        cluster.done("group", "create", "mqp.g", "mqp.u")
    with opened(host, queue="classic") as cluster:
        cluster.refused("CONFLICT", "inequivalent arg 'x-queue-type'", "group", "create", "mqp.g", "mqp.u")
        cluster.done("group", "create", "mqp.h", "mqp.u")
        assert host.queues()["mqp.h"]["arguments"] == {"x-queue-type": "classic"}


def test_a_dead_letter_topic_keeps_from_birth(host):
    with opened(host) as cluster:
        cluster.done("topic", "create", "mqp.d,dead=7")
        assert host.queues()["mqp.d.kept"]["type"] == "quorum"
        host.publish("mqp.d", b"one", b"two", b"three")
        assert [(row["first"], row["end"], row["messages"]) for row in cluster.done("topic", "describe", "mqp.d,dead=7")["partitions"]] == [(None, None, 3)]
        wait_for(lambda: cluster.done("stored", "mqp.d,dead=7") == {"bytes": 11, "known": True, "estimated": True}, 30, "the bytes are not told")
        assert cluster.done("topic", "preview", "mqp.d,dead=7")["messages"] == 3
        assert cluster.done("topic", "purge", "mqp.d,dead=7")["messages"] == 3
        assert cluster.done("topic", "purge", "mqp.d,dead=7")["messages"] == 0
        cluster.done("topic", "delete", "mqp.d,dead=7")
        assert (host.queues(), host.exchanges()) == ({}, {})


def level(seconds):
    return {
        "x_queue_type": "quorum",
        "x_message_ttl": 1000 * seconds,
        "x_overflow": "reject-publish",
        "x_dead_letter_strategy": "at-least-once",
        "x_dead_letter_exchange": "",
        "x_dead_letter_routing_key": "mqp.g.retry",
    }


def test_a_group_is_moved_to_its_end(host):
    with opened(host) as cluster:
        cluster.done("topic", "create", "mqp.t")
        cluster.done("group", "create", "mqp.g", "mqp.t")
        host.declare(queue="mqp.g.retry", x_queue_type="quorum")
        host.declare(queue="mqp.g.retry-60", **level(60))
        host.declare(queue="mqp.g.delay-60", **level(60))
        host.declare(queue="mqp.g.delay-240", **level(240))
        for queue, count in (("mqp.g", 5), ("mqp.g.retry", 1), ("mqp.g.retry-60", 2), ("mqp.g.delay-60", 3), ("mqp.g.delay-240", 4)):
            host.publish("", *[b"x"] * count, routing_key=queue)
        backlog = cluster.done("group", "backlog", "mqp.g", "mqp.t")["partitions"]
        assert [(row["ready"], row["retrying"], row["delayed"]) for row in backlog] == [(5, 3, 7)]
        assert cluster.done("group", "preview", "mqp.g", "mqp.t")["partitions"][0]["skipped"] == 15
        assert cluster.done("group", "latest", "mqp.g", "mqp.t")["partitions"][0]["skipped"] == 15
        assert cluster.done("group", "latest", "mqp.g", "mqp.t")["partitions"][0]["skipped"] == 0
        cluster.refused("UNSUPPORTED_BY_BACKEND", "keeps no positions", "group", "earliest", "mqp.g", "mqp.t")
        host.publish("mqp.t", b"one")
        with host.channel() as channel:  # what a consumer holds is waited for
            method, _, _ = channel.basic_get("mqp.g")
            timer = threading.Timer(0.3, lambda: channel.connection.add_callback_threadsafe(lambda: channel.basic_nack(method.delivery_tag)))
            channel.basic_consume("mqp.g", lambda *_: None)
            timer.start()
            channel.connection.process_data_events(1)
        assert cluster.done("group", "latest", "mqp.g", "mqp.t")["partitions"][0]["skipped"] == 1
        cluster.done("group", "delete", "mqp.g", "mqp.t")
        assert host.queues() == {}


# ---- What other clients have made


def test_what_is_imported_stays_as_it_is(host):
    host.declare("orders", "billing", kind="topic", x_queue_type="classic", x_max_length=1000)
    host.bind("orders", "billing", "#")
    host.publish("orders", b"one", routing_key="a.b")

    def shapes():
        return [{name: [row[key] for key in ("type", "durable", "arguments")] for name, row in rows.items()} for rows in (host.exchanges(), host.queues())]

    before = shapes()
    with opened(host) as cluster:
        cluster.done("topic", "create", "orders,imported=1")
        cluster.done("group", "create", "billing,imported=1", "orders,imported=1")
        settings = cluster.done("topic", "settings", "orders,imported=1")
        assert settings["message_bytes"] is None and settings["compacted"] is False
        assert cluster.done("group", "backlog", "billing,imported=1", "orders,imported=1")["partitions"][0]["ready"] == 1
        cluster.refused("CONFLICT", "invoices: it is not on the cluster", "topic", "create", "invoices,imported=1")
        cluster.refused("CONFLICT", "audit: it is not on the cluster", "group", "create", "audit,imported=1", "orders,imported=1")
        host.declare(queue="billing~1.retry", x_queue_type="quorum")
        cluster.done("group", "delete", "billing,imported=1", "orders,imported=1")
        cluster.done("topic", "delete", "orders,imported=1")
        assert shapes() == before
        assert [body for _, _, body in host.take("billing", 1)] == [b"one"]


def test_a_group_of_ours_gets_all_of_an_imported_exchange_or_is_refused(host):
    host.declare("orders", kind="topic")
    host.declare("plain", kind="fanout")
    host.declare("picky", kind="direct")
    with opened(host) as cluster:
        for topic in ("orders", "plain"):
            cluster.done("group", "create", f"mqp.{topic}", f"{topic},imported=1")
            host.publish(topic, b"one", routing_key="a.b.c")
            assert [body for _, _, body in host.take(f"mqp.{topic}", 1)] == [b"one"]
        cluster.refused("UNSUPPORTED_BY_BACKEND", "mqp.picky: the exchange of its topic is no durable one", "group", "create", "mqp.picky", "picky,imported=1")
        assert set(host.queues()) == {"mqp.orders", "mqp.plain"}


def test_what_lies_there_is_listed(host):
    host.declare("orders", "billing", x_queue_type="classic")
    host.bind("orders", "billing", "again")
    host.declare(queue="orders.retry")  # of another client, whatever it is called
    with opened(host) as cluster, host.channel() as channel:
        tag = channel.basic_consume("billing", lambda *_: None)
        cluster.done("topic", "create", "mqp.d,dead=7")
        found = cluster.done("existing", "10000")
        assert {row["name"] for row in found["topics"]} == {"orders", "mqp.d"}
        groups = {row["name"]: row for row in found["groups"]}
        assert set(groups) == {"billing", "orders.retry"}
        assert groups["billing"]["topics"] == ["orders"] and groups["orders.retry"]["topics"] == []
        wait_for(lambda: {row["name"]: row for row in cluster.done("existing", "10000")["groups"]}["billing"]["members"] == 1, 20, "its consumer is not seen")
        (client,) = wait_for(lambda: {row["name"]: row for row in cluster.done("existing", "10000")["groups"]}["billing"]["clients"], 20, "nothing says which consumer")
        assert (client["user"], client["consumer"], client["name"]) == ("guest", tag, None) and " -> " in client["connection"]
    with opened(host, management=None) as cluster:
        cluster.refused("UNSUPPORTED_BY_BACKEND", "options.management is not set", "existing", "5000")


# ---- What is promised, and what endangers it


def test_policies_that_drop_are_named_and_lower_the_class(host):
    with opened(host) as cluster:
        probe = cluster.done("probe", "5000")
        assert (probe["reachable"], probe["durability"], probe["nodes"], probe["version"]) == (True, "D2", 1, host.broker.version)
        cluster.done("topic", "create", "mqp.t,durability=2")
        cluster.done("group", "create", "mqp.g", "mqp.t,durability=2")
        with host.policy("^orders", message_ttl=1000):
            assert cluster.done("probe", "5000")["durability"] == "D2"  # not of ours
        with host.policy("^mqp", message_ttl=1000):
            wait_for(lambda: cluster.done("probe", "5000")["durability"] == "D1", 20, "the class stays")
            assert "message-ttl drops messages that wait longer" in cluster.done("probe", "5000")["durability_reason"]
            cluster.refused("UNSUPPORTED_BY_BACKEND", "message-ttl", "topic", "create", "mqp.u,durability=2")
            cluster.done("topic", "create", "mqp.t,durability=2")  # what is there stays
            assert "message-ttl" in cluster.done("state")["error"]
            assert not cluster.done("state")["capabilities"]["d2"]
            assert re.search("message-ttl", cluster.logged("RABBITMQ-POLICY")[0])
        wait_for(lambda: cluster.done("probe", "5000")["durability"] == "D2", 20, "the class does not come back")
        assert cluster.done("state")["error"] == ""
        assert cluster.done("state")["capabilities"]["d2"]


def test_copies_need_nodes(host):
    with opened(host) as cluster:
        cluster.refused("UNSUPPORTED_BY_BACKEND", "3 copies need as many nodes, and there are 1", "topic", "create", "mqp.t,replication=3")
        cluster.refused("UNSUPPORTED_BY_BACKEND", "1 of 1 node", "topic", "create", "mqp.t,durability=3")
        cluster.done("topic", "create", "mqp.t,replication=1")
        cluster.done("group", "create", "mqp.g", "mqp.t,replication=1")
        assert host.queues()["mqp.g"]["arguments"]["x-quorum-initial-group-size"] == 1
    with opened(host, management=None) as cluster:
        cluster.refused("UNSUPPORTED_BY_BACKEND", "options.management is not set", "topic", "create", "mqp.u,replication=3")
    with opened(host, queue="classic") as cluster:
        cluster.refused("UNSUPPORTED_BY_BACKEND", "a classic queue has one copy", "topic", "create", "mqp.u,replication=1")


def test_three_nodes_keep_three_copies(own_rabbitmq):
    host = own_rabbitmq("--nodes", "3").host()
    with opened(host) as cluster:
        probe = cluster.done("probe", "10000")
        assert (probe["durability"], probe["nodes"]) == ("D3", 3)
        cluster.done("topic", "create", "mqp.t,durability=3,replication=3")
        cluster.done("group", "create", "mqp.g", "mqp.t,durability=3,replication=3")
        assert len(host.queues()["mqp.g"]["members"]) == 3
        host.broker.kill(3)
        wait_for(lambda: cluster.logged("RABBITMQ-ALARM"), 40, "the node is not missed")
        assert "mqpaas-3" in cluster.logged("RABBITMQ-ALARM")[0] and "does not run" in cluster.logged("RABBITMQ-ALARM")[0]
        host.publish("mqp.t", b"one")
        assert cluster.done("group", "backlog", "mqp.g", "mqp.t")["partitions"][0]["ready"] == 1


def test_an_alarm_is_named(own_rabbitmq):
    host = own_rabbitmq().host()
    with opened(host) as cluster, host.broker.alarm():
        wait_for(lambda: cluster.logged("RABBITMQ-ALARM"), 30, "the alarm is not named")
        assert "short of memory" in cluster.logged("RABBITMQ-ALARM")[0]
        assert "short of memory" in cluster.done("probe", "5000")["error"]


def test_an_exchange_that_another_client_deletes_is_missed(host):
    with opened(host) as cluster:
        cluster.done("topic", "create", "mqp.t")
        assert cluster.done("topic", "hold", "mqp.t") is True
        host.delete("mqp.t")
        (told,) = wait_for(lambda: cluster.logged("RABBITMQ-TOPIC-GONE"), 10, "it is not missed")
        since, until = re.fullmatch(r"exchange mqp.t was deleted on the cluster between (\S+ \S+) and (\S+ \S+) UTC: its sends are refused", told).groups()
        assert datetime.timedelta() <= datetime.datetime.fromisoformat(until) - datetime.datetime.fromisoformat(since) <= datetime.timedelta(seconds=10)
        host.declare("mqp.t")
        wait_for(lambda: cluster.logged("RABBITMQ-TOPIC-BACK"), 40, "it is not found again")


def test_dead_letters_that_another_client_deletes_are_missed(host):
    dead = "mqp.d,dead=7"
    with opened(host) as cluster:
        cluster.done("topic", "create", dead)
        assert cluster.done("topic", "hold", dead) is True
        host.delete(queue="mqp.d.kept")
        (told,) = wait_for(lambda: cluster.logged("RABBITMQ-QUEUE-GONE"), 10, "it is not missed")
        assert re.fullmatch(r"queue mqp.d.kept was deleted on the cluster between (\S+ \S+) and (\S+ \S+) UTC: the dead letters in it are gone", told)
        host.declare(queue="mqp.d.kept", x_queue_type="quorum")
        (told,) = wait_for(lambda: cluster.logged("RABBITMQ-QUEUE-BACK"), 40, "it is not found again")
        assert told.startswith("queue mqp.d.kept is on the cluster again")
        assert not cluster.logged("RABBITMQ-TOPIC-GONE")


# ---- Addresses, users, certificates


@pytest.mark.parametrize(
    "options, secrets, pattern",
    [
        ({"addresses": "127.0.0.1:9"}, None, "127.0.0.1:9: connection refused"),
        ({"vhost": "none"}, None, "vhost none not found"),
        ({"user": "guest"}, {"password": "wrong"}, "ACCESS_REFUSED"),
    ],
)
def test_a_cluster_that_cannot_be_reached_says_why(host, options, secrets, pattern):
    with opened(host, secrets, **options) as cluster:
        probe = cluster.done("probe", "4000")
        assert probe["reachable"] is False and re.search(f"^cluster trial, .*{pattern}", probe["error"])
        cluster.refused("BACKEND_DOWN" if "addresses" in options else "FORBIDDEN", pattern, "topic", "create", "mqp.t")


@pytest.mark.parametrize(
    "management, pattern",
    [
        (None, "options.management is not set"),
        ("http://127.0.0.1:9", "127.0.0.1 port 9"),
        ("amqp", "HTTP/0.9"),
    ],
)
def test_without_the_management_api_the_class_is_d1(host, management, pattern):
    with opened(host, management=f"http://{host.broker.addresses}" if management == "amqp" else management) as cluster:
        probe = cluster.done("probe", "5000")
        assert (probe["reachable"], probe["durability"], probe["nodes"]) == (True, "D1", None)
        assert re.search(pattern, probe["durability_reason"])
        cluster.done("topic", "create", "mqp.t,durability=1")
        cluster.refused("UNSUPPORTED_BY_BACKEND", pattern, "topic", "create", "mqp.u,durability=2")


def test_the_second_management_address_serves_as_well(host):
    with opened(host, management=f"http://127.0.0.1:9,{host.broker.management}") as cluster:
        assert cluster.done("probe", "5000")["durability"] == "D2"


def test_rights_that_are_missing_are_named(host):
    api = host.broker.api
    for name, tags in (("e2e-few", ""), ("e2e-watch", "monitoring")):
        api("PUT", f"users/{name}", {"password": "secret", "tags": tags})
        host.broker.permit(host.name, name, configure="^mqp\\.", write="^mqp\\." if tags else "^none$", read=".*")
    with opened(host, {"password": "secret"}, user="e2e-few") as cluster:
        probe = cluster.done("probe", "5000")
        assert probe["durability"] == "D1" and "status 401" in probe["durability_reason"]
        cluster.done("topic", "create", "mqp.t")
        cluster.refused("FORBIDDEN", "access to queue 'mqp.g' in vhost .* refused for user 'e2e-few'", "group", "create", "mqp.g", "mqp.t")
    with opened(host, {"password": "secret"}, user="e2e-watch") as cluster:
        assert cluster.done("probe", "5000")["durability"] == "D2"  # these are the rights that are needed
        cluster.done("group", "create", "mqp.g", "mqp.t")
        cluster.done("group", "delete", "mqp.g", "mqp.t")
        cluster.done("topic", "delete", "mqp.t")
        cluster.refused("FORBIDDEN", "access to exchange 'other~1' in vhost .* refused for user 'e2e-watch'", "topic", "create", "other")
    for name in ("e2e-few", "e2e-watch"):
        api("DELETE", f"users/{name}")


def test_certificates_are_checked_on_both_doors(own_rabbitmq):
    broker = own_rabbitmq("--tls", "--users")
    host = rabbitmq.Host(broker, "/")
    with open(os.path.join(broker.folder, "tls", "ca.pem"), encoding="ascii") as file:
        authority = file.read()
    secrets = {"password": "admin-secret"}
    with opened(host, secrets, tls=True, ca_pem=authority) as cluster:
        probe = cluster.done("probe", "10000")
        assert (probe["reachable"], probe["durability"]) == (True, "D2"), probe
        assert cluster.done("existing", "10000") == {"topics": [], "groups": []}
    with opened(host, secrets, tls=True) as cluster:
        probe = cluster.done("probe", "4000")
        assert probe["reachable"] is False and re.search("certificate", probe["error"])
        assert re.search("certificate", probe["durability_reason"])
