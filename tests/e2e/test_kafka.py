"""Kafka as a backend, through the whole daemon, with native clients (librdkafka) beside it."""
import json
import os
import pathlib
import re
import subprocess
import time

import pytest
import wire
from ctl import Ctl
from daemon import wait_for
from kafka import register
from rest import BUILD, ROOT
from wire import Record

pytest_plugins = ["daemon_fixtures", "kafka_fixtures"]

EVENTS = os.path.join(ROOT, "deploy", "sample", "earthquakes.jsonl")
ACME = "/api/v1/tenants/acme"


def physical(daemon, path):
    return daemon.admin.get(f"{ACME}/{path}").json["physical"]


def backlog(daemon, group="billing"):
    return daemon.admin.get(f"{ACME}/groups/{group}/backlog").json


def example(daemon, name, *arguments):
    """Runs one of the C library's example programs; returns what it says of itself."""
    environment = {**os.environ, "MQPAAS_ADDRESS": daemon.addresses["clients"][0], "MQPAAS_ACCESS_KEY": daemon.key[0], "MQPAAS_SECRET": daemon.key[1]}
    done = subprocess.run([os.path.join(BUILD, "sdk", "c", "examples", name), *arguments], env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


# ---- The main job


def test_every_way_to_send_and_consume(registered, kafka):
    daemon = registered.world(cluster="kafka", partitions=3)
    for name in ("send_sync", "send_async", "send_oneway"):
        told = example(daemon, name, "--topic", "orders", "--file", EVENTS, "--key", "net")
        assert told["rejected"] == told["unknown"] == 0
    total = 3 * told["sent"]
    wait_for(lambda: backlog(daemon)["ready"] == total, what="all of it is backlog")
    assert len(kafka.read(physical(daemon, "topics/orders"))) == total
    pushed = example(daemon, "consume_push", "--group", "billing", "--count", str(total // 2), "--threads", "2")
    assert pushed["acked"] == total // 2
    pulled = example(daemon, "consume_pull", "--group", "billing", "--count", str(total - total // 2))
    assert (pulled["redelivered"], pulled["stale"]) == (0, 0)
    assert backlog(daemon)["backlog"] == 0
    group = physical(daemon, "groups/billing")
    wait_for(lambda: sum(kafka.committed(group).values()) == total, what="the offsets of the consumer group are where the group is")


def test_messages_come_again_and_end_as_dead_letters(registered, kafka):
    daemon = registered.world(cluster="kafka")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(Record(body=b"again", key=b"k"), Record(body=b"never", key=b"k"))
        subscription = conn.subscribe("billing")
        again, never = subscription.receive(2)
        assert (again.record.body, never.record.body, again.attempt) == (b"again", b"never", 1)
        assert subscription.nack(again, delay_ms=100) == [("OK", 1)]
        (once_more,) = subscription.receive()
        assert (once_more.record.body, once_more.attempt) == (b"again", 2)
        assert subscription.ack(once_more) == [("OK", 1)]
        assert subscription.reject(never) == [("OK", 1)]
        dead = physical(daemon, "topics/billing.dead")
        (letter,) = kafka.read(dead, count=1)
        assert (letter.key(), letter.value()) == (b"k", b"never")
    assert backlog(daemon)["backlog"] == 0
    assert daemon.admin.get(f"{ACME}/groups/billing/backlog").json["dead"] == 1


def test_a_restart_delivers_only_what_was_not_acknowledged(registered):
    daemon = registered.world(cluster="kafka")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(*(Record(body=b"%d" % n) for n in range(10)))
        subscription = conn.subscribe("billing")
        got = subscription.receive(10)
        subscription.ack(*(delivery for delivery in got if int(delivery.record.body) % 2))  # it is answered, so it is durable
    daemon.kill()
    daemon.start()
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        assert sorted(int(delivery.record.body) for delivery in subscription.receive(5)) == [0, 2, 4, 6, 8]
        assert subscription.receive_nothing(0.5)


# ---- Native clients beside it


def test_native_messages_reach_sdk_consumers(registered, kafka):
    daemon = registered.world(cluster="kafka")
    sent = [
        {"key": b"k", "value": b"v", "headers": [("a", b"1"), ("a", None), ("b", b"\0\xff")], "timestamp": 1700000000000},
        {"key": b"", "value": b""},
        {"key": b"k", "value": None},  # a tombstone
        {"key": None, "value": b"without a key"},
    ]
    kafka.send(physical(daemon, "topics/orders"), sent)
    with daemon.connect() as conn:
        got = conn.subscribe("billing").receive(len(sent))
    assert [(one.record.key, one.record.body) for one in got] == [(message["key"], message["value"]) for message in sent]
    assert got[0].record.headers == sent[0]["headers"]
    assert len({one.record.id for one in got}) == len(sent)


def test_sdk_messages_reach_native_consumers(registered, kafka):
    daemon = registered.world(cluster="kafka")
    daemon.make("tenants/acme/topics", {"name": "plain", "native": True})
    sent = [Record(body=b"v", key=b"k", headers=[("a", b"1"), ("a", None)]), Record(key=b"k"), Record(body=b"")]
    with daemon.connect() as conn:
        for topic in ("plain", "orders"):
            assert {result.code for result in conn.open_topic(topic).send(*sent)} == {"OK"}
    for topic, envelope in (("plain", []), ("orders", ["mqp"])):
        got = kafka.read(physical(daemon, f"topics/{topic}"))
        assert [(one.key(), one.value()) for one in got] == [(record.key, record.body) for record in sent]
        assert [name for name, _ in got[0].headers() or []] == [*envelope, "a", "a"]
        assert [name for name, _ in got[1].headers() or []] == envelope
        assert abs(got[0].timestamp()[1] - time.time() * 1000) < 60000


# ---- Import


def test_import_takes_over_where_native_consumers_stopped(registered, kafka):
    daemon = registered
    kafka.create("e2e.imported", 2)
    kafka.send("e2e.imported", [{"key": str(n), "value": str(n)} for n in range(20)], partition=0)
    kafka.commit("e2e.app", "e2e.imported", {0: 15})
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka"]})
    listed = daemon.admin.get("/api/v1/clusters/kafka/existing").json
    topic = next(row for row in listed["topics"] if row["name"] == "e2e.imported")
    group = next(row for row in listed["groups"] if row["name"] == "e2e.app")
    assert (topic["partitions"], topic["replication"], topic["owner"]) == (2, 1, None)
    assert (group["members"], group["topics"], group["owner"]) == (0, ["e2e.imported"], None)
    chosen = {"tenant": "acme", "topics": [{"physical": "e2e.imported", "name": "orders"}], "groups": [{"physical": "e2e.app", "name": "billing", "dead_letter": False}]}
    answer = daemon.admin.post("/api/v1/clusters/kafka/import", chosen)
    assert answer.status == 200, answer.body
    for path in ("topics/orders", "groups/billing"):
        wait_for(lambda path=path: daemon.admin.get(f"{ACME}/{path}").json["state"] == "ready", what=path)
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    assert backlog(daemon)["ready"] == 5 and backlog(daemon)["at_most"]
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        got = subscription.receive(5)
        assert [one.record.body for one in got] == [b"15", b"16", b"17", b"18", b"19"]
        subscription.ack(*got)
        assert conn.open_topic("orders").send(Record(body=b"ours", key=b"k"))[0].code == "OK"
        subscription.ack(*subscription.receive())
    wait_for(lambda: sum(kafka.committed("e2e.app").values()) == 21, what="the consumer group goes on")
    # Let go, not deleted.
    assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").status == 404, what="the topic is let go")
    assert len(kafka.read("e2e.imported")) == 21
    assert sum(kafka.committed("e2e.app").values()) == 21
    # And taken again, as far as it had come.
    assert daemon.admin.post("/api/v1/clusters/kafka/import", chosen).status == 200
    wait_for(lambda: daemon.admin.get(f"{ACME}/groups/billing").json["state"] == "ready", what="imported again")
    assert backlog(daemon)["ready"] == 0


def test_consumer_groups_with_members_are_not_taken(registered, kafka):
    daemon = registered
    kafka.create("e2e.busy")
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka"]})
    with kafka.member("e2e.members", "e2e.busy"):
        chosen = {"tenant": "acme", "topics": [{"physical": "e2e.busy"}], "groups": [{"physical": "e2e.members", "topic": "e2e.busy"}]}
        answer = daemon.admin.post("/api/v1/clusters/kafka/import", chosen)
        assert answer.code == "IN_USE" and '"e2e.members" has 1 members' in answer.json["detail"]


def test_an_operator_registers_and_imports(tmp_path, start, kafka):
    """The same by mqpaasctl, secrets from standard input."""
    daemon, ctl = start(), Ctl(tmp_path)
    kafka.create("e2e.ctl", 3)
    kafka.commit("e2e.ctl-app", "e2e.ctl", {0: 0})
    ctl.env.update(MQPAAS_URL="http://" + daemon.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=daemon.admin.token)
    options = json.dumps({"bootstrap": kafka.bootstrap})
    refused = ctl("cluster", "create", "kafka", "--kind", "kafka", "--options", options, "--secrets", "-", status=1, text='{"password": "of no user"}')
    assert "secrets.password" in refused.stderr and "of no user" not in refused.stderr
    ctl("cluster", "create", "kafka", "--kind", "kafka", "--options", options)
    wait_for(lambda: ["kafka", "kafka", "-", "false", "ready", "closed"] in [line.split()[:6] for line in ctl("cluster", "list").stdout.splitlines()], what="not in the list")
    assert ctl.json("cluster", "probe", "kafka")["reachable"] is True
    assert "e2e.ctl-app" in ctl("cluster", "existing", "kafka").stdout
    ctl("tenant", "create", "acme", "--clusters", "kafka")
    chosen = ("--of-tenant", "acme", "--topics", "e2e.ctl=orders", "--groups", "e2e.ctl-app=app")
    assert ctl.json("cluster", "import", "kafka", *chosen, "--preview")["preview"] is True
    assert [row["name"] for row in ctl.json("cluster", "import", "kafka", *chosen)["topics"]] == ["orders"]
    wait_for(lambda: ctl.json("group", "show", "app")["state"] == "ready", what="the group is not ready")
    assert ctl.json("topic", "show", "orders")["partitions"] == 3


# ---- What a cluster can do


def test_durability_is_what_the_cluster_has(registered):
    daemon = registered
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka", "local"]})
    probe = daemon.admin.call("POST", "/api/v1/clusters/kafka/probe").json
    assert probe["reachable"] and probe["nodes"] == 1 and probe["durability"] == "D1" and probe["durability_reason"]
    answer = daemon.admin.post(f"{ACME}/topics", {"name": "strict", "durability": "D2"})
    assert answer.status == 422 and answer.code == "UNSUPPORTED_BY_BACKEND"
    assert '"kafka" keeps at most class D1' in answer.json["detail"]
    assert daemon.make("tenants/acme/topics", {"name": "orders"})["durability"] == "D1"
    assert daemon.make("tenants/acme/topics", {"name": "here", "cluster": "local"})["durability"] == "D2"


def test_topics_choose_their_copies(registered, kafka):
    daemon = registered
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka", "local"]})
    made = daemon.make("tenants/acme/topics", {"name": "orders", "replication": 1, "min_insync": 1})
    assert (made["durability"], made["replication"], made["min_insync"]) == ("D1", 1, 1)
    assert kafka.config(made["physical"])["min.insync.replicas"] == "1"
    daemon.admin.post(f"{ACME}/topics", {"name": "safe", "replication": 3, "min_insync": 2})
    refused = wait_for(lambda: (found := daemon.admin.get(f"{ACME}/topics/safe").json)["state"] == "failed" and found, what="it is made")
    assert refused["state_reason"] == "cluster kafka: 3 copies need as many brokers, and there are 1"
    daemon.admin.post(f"{ACME}/topics", {"name": "stuck", "min_insync": 2})
    refused = wait_for(lambda: (found := daemon.admin.get(f"{ACME}/topics/stuck").json)["state"] == "failed" and found, what="it is made")
    assert refused["state_reason"] == "cluster kafka: no message would be acknowledged: 2 copies must have it, and there are 1"
    assert refused["physical"] not in kafka.topics()
    answer = daemon.admin.post(f"{ACME}/topics", {"name": "here", "cluster": "local", "replication": 1})
    assert answer.status == 422 and answer.code == "UNSUPPORTED_BY_BACKEND" and '"local": a topic cannot choose how many copies' in answer.json["detail"]
    answer = daemon.admin.post(f"{ACME}/topics", {"name": "low", "replication": 1, "durability": "D3"})
    assert answer.status == 422 and "at most class D1" in answer.json["detail"]


def test_partitions_grow(registered, kafka):
    daemon = registered.world(cluster="kafka", partitions=2)
    name = physical(daemon, "topics/orders")
    assert kafka.topics()[name] == 2
    daemon.admin.put(f"{ACME}/topics/orders", {"partitions": 5})
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["partitions"] == 5, what="it grows")
    assert kafka.topics()[name] == 5


DAY_MS = 24 * 3600 * 1000


def test_retention_and_size_follow_the_topic(registered, kafka):
    daemon = registered.world(cluster="kafka", partitions=2, message_bytes=16 << 20)
    name, path = physical(daemon, "topics/orders"), f"{ACME}/topics/orders"
    made = kafka.config(name)
    assert (made["retention.ms"], made["retention.bytes"], made["max.message.bytes"]) == (str(7 * DAY_MS), "-1", str((1 << 20) + 4096))
    kafka.set(name, compression_type="lz4")  # another client's, which stays
    large = Record(body=b"x" * (2 << 20))
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        assert [one.code for one in topic.send(b"before", large, b"after")] == ["OK", "TOO_LARGE", "OK"]
        assert daemon.admin.put(path, {"retention_ms": DAY_MS, "retention_bytes": 1 << 30, "message_bytes": 4 << 20}).status == 200
        wanted = {
            **made,
            "compression.type": "lz4",
            "retention.ms": str(DAY_MS),
            "segment.ms": str(DAY_MS // 4),
            "retention.bytes": str(1 << 29),
            "segment.bytes": str(1 << 27),
            "max.message.bytes": str((4 << 20) + 4096),
        }
        wait_for(lambda: kafka.config(name) == wanted, what="the cluster is not told")
        assert [one.code for one in topic.send(b"before", large, b"after")] == ["OK"] * 3
        assert daemon.admin.put(path, {"message_bytes": 1024, "retention_ms": 0, "retention_bytes": 0}).status == 200
        wait_for(lambda: kafka.config(name)["retention.ms"] == "-1", what="retention by age is not taken away")
        assert "segment.ms" not in kafka.config(name) and kafka.config(name)["retention.bytes"] == "-1"
        assert [one.code for one in topic.send(b"before", b"x" * 1024, b"after")] == ["OK", "TOO_LARGE", "OK"]
    assert len(kafka.read(name)) == 7
    assert daemon.admin.get(path).json["state_reason"] is None


def test_settings_of_imported_topics_are_their_owners(registered, kafka):
    daemon = registered
    kafka.create("e2e.kept", 1, retention_ms=12345678)
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka"]})
    chosen = {"tenant": "acme", "topics": [{"physical": "e2e.kept", "name": "kept"}], "groups": []}
    assert daemon.admin.post("/api/v1/clusters/kafka/import", chosen).status == 200
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics/kept").json["state"] == "ready", what="it is not ready")
    before = kafka.config("e2e.kept")
    for change in ({"retention_ms": 1000}, {"message_bytes": 4096}):
        answer = daemon.admin.put(f"{ACME}/topics/kept", change)
        assert answer.status == 409 and "imported" in answer.body.decode()
    time.sleep(1.5)
    assert kafka.config("e2e.kept") == before == {"retention.ms": "12345678"}


def test_a_change_waits_for_a_cluster_that_is_away(start, own_kafka):
    kafka = own_kafka()
    daemon = register(start(), kafka).world(cluster="kafka")
    name, path = physical(daemon, "topics/orders"), f"{ACME}/topics/orders"
    kafka.kill()
    assert daemon.admin.put(path, {"retention_ms": DAY_MS}).status == 200
    told = wait_for(lambda: daemon.admin.get(path).json["state_reason"], what="the state does not say that it has not arrived")
    assert "kafka" in told and daemon.admin.get(path).json["state"] == "ready"
    daemon.stop()
    daemon.start()
    kafka.up()
    wait_for(lambda: kafka.config(name)["retention.ms"] == str(DAY_MS), 60, "the change is lost")


# ---- Handles


def kafka_threads(daemon):
    names = [path.read_text(encoding="ascii") for path in pathlib.Path(f"/proc/{daemon.process.pid}/task").glob("*/comm")]
    return sum(name.startswith(("kafka-", "rdk:")) for name in names)


def test_threads_of_a_cluster_of_three_nodes(start, kafka_brokers):
    daemon = register(start(), kafka_brokers("--nodes", "3")).world(cluster="kafka", partitions=3)
    # Three handles of a main thread, an inner one and one a node, a coordinator's; and seven of ours.
    assert kafka_threads(daemon) <= 3 * 5 + 1 + 7
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        for number in range(20):
            daemon.make("tenants/acme/groups", {"name": f"g{number}", "topic": "orders"})
        followers = [conn.subscribe(f"g{number}") for number in range(20)]
        topic.send(b"first")
        for one in followers:
            one.ack(*one.receive(1))
        late = conn.subscribe("billing")
        (delivery,) = late.receive(1)
        assert late.nack(delivery, delay_ms=2000) == [("OK", 1)]  # into the retry store
        (delivery,) = late.receive(1)
        late.ack(delivery)
        # Two more handles at most for readers that are behind and for retry stores; groups add none.
        assert kafka_threads(daemon) <= 5 * 5 + 1 + 7


def test_open_topics_move_to_the_next_handle_for_questions(start, own_kafka):
    kafka = own_kafka()
    daemon = register(start(), kafka).world(cluster="kafka")
    name = physical(daemon, "topics/orders")
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"one")[0].code == "OK"
        subscription = conn.subscribe("billing")
        got = subscription.receive(1)
        with kafka.paused():
            subscription.ack(*got)
            time.sleep(8)  # its commit is given up after 5 s
        time.sleep(8)  # and 5 s later the handle is replaced
        kafka.delete(name)
        assert "was deleted" in daemon.wait_event("KAFKA-TOPIC-GONE")["message"]


# ---- Bad input

NOBODY = type("Nobody", (), {"bootstrap": "127.0.0.1:1"})


def test_a_dead_address_is_registered_and_shown(start, kafka):
    daemon = register(register(start(), NOBODY, "dead", ready=False), kafka)
    daemon.wait_down("dead", "127.0.0.1:1")
    checks = daemon.admin.get("/readyz")
    assert checks.status == 200 and [check["name"] for check in checks.json["checks"] if not check["ok"]] == ["cluster dead"]
    # Others go on; what is made on it waits, and says for what.
    daemon.world(cluster="kafka")
    daemon.admin.put("/api/v1/tenants/acme", {"clusters": ["kafka", "dead"]})
    daemon.admin.post(f"{ACME}/topics", {"name": "there", "cluster": "dead"})
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics/there").json["state_reason"], what="no reason")
    assert daemon.admin.get(f"{ACME}/topics/there").json["state"] == "creating"
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"here")[0].code == "OK"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_said_and_can_be_replaced(start, kafka_brokers, mechanism):
    secured, daemon = kafka_brokers("--sasl"), start()
    how = {"security": "sasl_plaintext", "mechanism": mechanism, "user": "admin"}
    register(daemon, secured, secrets={"password": "not-admin-secret"}, ready=False, **how)
    daemon.wait_down("kafka", "password")
    assert daemon.admin.put("/api/v1/clusters/kafka", {"secrets": {"password": "admin-secret"}}).status == 200
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/kafka/state").json["state"] == "ready", what="the right password is not taken")
    daemon.world(cluster="kafka")
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"in")[0].code == "OK"
    everything = daemon.log().encode() + b"".join(daemon.admin.get(path).body for path in ("/api/v1/clusters", "/api/v1/audit?limit=100", "/api/v1/definitions"))
    assert b"admin-secret" not in everything


def test_a_user_without_rights_is_told(start, kafka_brokers):
    daemon = register(
        start(), kafka_brokers("--sasl"), secrets={"password": "guest-secret"}, ready=False, security="sasl_plaintext", mechanism="SCRAM-SHA-256", user="guest"
    )
    daemon.make("tenants", {"name": "acme", "clusters": ["kafka"]})
    daemon.admin.post(f"{ACME}/topics", {"name": "orders"})
    reason = wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["state_reason"], what="no reason")
    assert "authoriz" in reason.lower(), reason


def documented_rights():
    """The rows of docs/adapters/kafka.md: (resource, name, pattern, operations)."""
    with open(os.path.join(ROOT, "docs", "adapters", "kafka.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (Topic|Group|Cluster) \| `(.*?)` \| (\w+) \| (.*?) \|", file.read(), re.M)
    assert len(rows) == 3
    return [(resource, name, pattern, operations.split(", ")) for resource, name, pattern, operations in rows]


def test_the_documented_rights_are_enough(start, kafka_brokers):
    secured = kafka_brokers("--sasl")
    with secured.rights("guest", documented_rights(), sasl_username="admin", sasl_password="admin-secret", security_protocol="sasl_plaintext", sasl_mechanism="PLAIN"):
        daemon = register(start(), secured, secrets={"password": "guest-secret"}, security="sasl_plaintext", mechanism="PLAIN", user="guest").world(cluster="kafka", partitions=2)
        assert daemon.admin.call("POST", "/api/v1/clusters/kafka/probe").json["nodes"] == 1
        with daemon.connect() as conn:
            assert {result.code for result in conn.open_topic("orders").send(*(Record(body=b"%d" % n, key=b"%d" % n) for n in range(9)))} == {"OK"}
            subscription = conn.subscribe("billing")
            got = subscription.receive(9)
            assert subscription.nack(got[0], delay_ms=90000) == [("OK", 1)]  # into the retry store
            assert subscription.reject(got[1]) == [("OK", 1)]
            subscription.ack(*got[2:])
            wait_for(lambda: backlog(daemon)["backlog"] == 1 and backlog(daemon)["dead"] == 1, what="one waits, one is dead")
        daemon.admin.put(f"{ACME}/topics/orders", {"partitions": 3, "retention_ms": DAY_MS})
        wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["partitions"] == 3, what="it grows")
        assert daemon.admin.post(f"{ACME}/topics/orders/purge").status == 200
        assert [row["owner"]["name"] for row in daemon.admin.get("/api/v1/clusters/kafka/existing").json["topics"] if row["owner"]]
        assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204
        wait_for(lambda: daemon.admin.get(f"{ACME}/topics").json["items"] == [], what="everything is deleted")
        assert not [event for event in daemon.events("KAFKA-CLUSTER") if "authoriz" in event["message"].lower()]


def test_certificates(start, kafka_brokers):
    secured, daemon = kafka_brokers("--tls"), start()
    pem = {}
    for name in ("ca.pem", "client.pem", "client.key"):
        with open(os.path.join(secured.folder, "tls", name), encoding="ascii") as file:
            pem[name] = file.read()
    # The client's certificate is no authority that could have signed the broker's.
    register(daemon, secured, ready=False, security="ssl", ca_pem=pem["client.pem"])
    daemon.wait_down("kafka", "certificate")
    options = {"bootstrap": secured.bootstrap, "security": "ssl", "ca_pem": pem["ca.pem"], "certificate_pem": pem["client.pem"]}
    assert daemon.admin.put("/api/v1/clusters/kafka", {"options": options, "secrets": {"key_pem": pem["client.key"]}}).status == 200
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/kafka/state").json["state"] == "ready", what="the right certificate is not taken")
    daemon.world(cluster="kafka")
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"in")[0].code == "OK"


def test_options_are_refused_by_name(start):
    admin = start().admin
    for options, field in (({}, "/options/bootstrap"), ({"bootstrap": "k", "acks": "1"}, "/options/acks"), ({"bootstrap": "k", "security": "sasl_ssl"}, "/options/mechanism")):
        answer = admin.post("/api/v1/clusters", {"name": "x", "kind": "kafka", "options": options})
        assert answer.status == 400 and answer.json["errors"][0]["field"] == field, answer.body
    assert admin.get("/api/v1/clusters/x").status == 404
    admin.post("/api/v1/clusters", {"name": "x", "kind": "kafka", "options": {"bootstrap": "127.0.0.1:1"}})
    answer = admin.put("/api/v1/clusters/x", {"options": {"bootstrap": "127.0.0.1:1", "timeout_ms": 1}})
    assert answer.status == 400 and answer.json["errors"][0]["field"] == "/options/timeout_ms"


# ---- The fixture itself


def test_a_killed_node_comes_back(own_kafka):
    kafka = own_kafka()
    kafka.create("e2e.kept")
    kafka.send("e2e.kept", [{"value": "kept"}])
    kafka.kill()
    kafka.up()
    assert [message.value() for message in kafka.read("e2e.kept")] == [b"kept"]


def test_ends_at_once(own_kafka):
    """Also where no parent waits for processes that have ended, as in tests/run."""
    kafka = own_kafka()
    since = time.monotonic()
    kafka.down()
    assert time.monotonic() - since < 50
