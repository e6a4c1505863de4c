"""RabbitMQ as a backend, through the whole daemon, with a native client (pika) beside it."""
import datetime
import json
import os
import re
import subprocess
import time

import pytest
from ctl import Ctl
from daemon import wait_for
from rabbitmq import Host, register
from rest import BUILD, ROOT
from wire import REJECTED, Record

pytest_plugins = ["daemon_fixtures", "rabbitmq_fixtures"]

EVENTS = os.path.join(ROOT, "deploy", "sample", "earthquakes.jsonl")
ACME = "/api/v1/tenants/acme"
KINDS = pytest.mark.parametrize("kind", ["quorum", "classic"])


def physical(daemon, path):
    return daemon.admin.get(f"{ACME}/{path}").json["physical"]


def backlog(daemon, group="billing"):
    return daemon.admin.get(f"{ACME}/groups/{group}/backlog").json


def drained(daemon, group="billing"):
    wait_for(lambda: backlog(daemon, group)["backlog"] == 0, what="the backlog does not end")


def example(daemon, name, *arguments):
    """Runs one of the C library's example programs; returns what it says of itself."""
    environment = {**os.environ, "MQPAAS_ADDRESS": daemon.addresses["clients"][0], "MQPAAS_ACCESS_KEY": daemon.key[0], "MQPAAS_SECRET": daemon.key[1]}
    done = subprocess.run([os.path.join(BUILD, "sdk", "c", "examples", name), *arguments], env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


# ---- The main job


@KINDS
def test_every_way_to_send_and_consume(start, host, kind):
    daemon = register(start(), host, queue=kind).world(cluster="rabbitmq", partitions=3)
    assert host.queues()[physical(daemon, "groups/billing")]["type"] == kind
    for name in ("send_sync", "send_async", "send_oneway"):
        told = example(daemon, name, "--topic", "orders", "--file", EVENTS, "--key", "net")
        assert told["rejected"] == told["unknown"] == 0
    total = 3 * told["sent"]
    wait_for(lambda: backlog(daemon)["ready"] == total, what="all of it is backlog")
    assert host.ready(physical(daemon, "groups/billing")) == total
    pushed = example(daemon, "consume_push", "--group", "billing", "--count", str(total // 2), "--threads", "2")
    assert pushed["acked"] == total // 2
    wait_for(lambda: backlog(daemon)["ready"] == total - total // 2, what="half of it is left")
    pulled = example(daemon, "consume_pull", "--group", "billing", "--count", str(total - total // 2))
    assert (pulled["redelivered"], pulled["stale"]) == (0, 0)
    drained(daemon)
    assert host.ready(physical(daemon, "groups/billing")) == 0


def test_messages_come_again_and_end_as_dead_letters(registered, host):
    daemon = registered.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(Record(body=b"again", key=b"k"), Record(body=b"never", key=b"k"))
        subscription = conn.subscribe("billing")
        again, never = subscription.receive(2)
        assert (again.record.body, never.record.body, again.attempt) == (b"again", b"never", 1)
        assert subscription.nack(again, delay_ms=100) == [("OK", 1)]
        (once_more,) = subscription.receive()
        assert (once_more.record.body, once_more.attempt, once_more.record.id) == (b"again", 2, again.record.id)
        assert subscription.ack(once_more) == [("OK", 1)]
        assert subscription.reject(never) == [("OK", 1)]
        kept = physical(daemon, "topics/billing.dead") + ".kept"
        wait_for(lambda: host.ready(kept) == 1, what="no dead letter")
        drained(daemon)
    wait_for(lambda: host.ready(physical(daemon, "groups/billing")) == 0, what="the originals stay")
    daemon.make("tenants/acme/groups", {"name": "undertakers", "topic": "billing.dead", "dead_letter": False})
    with daemon.connect() as conn:
        conn.open_topic("orders").send(Record(body=b"never either", key=b"k"))
        subscription = conn.subscribe("billing")
        subscription.reject(*subscription.receive())
        (dead,) = conn.subscribe("undertakers").receive()
        assert (dead.record.key, dead.record.body) == (b"k", b"never either")


def test_a_message_waits_for_its_time(registered):
    daemon = registered.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        now_ms = int(time.time() * 1000)
        topic = conn.open_topic("orders")
        assert {one.code for one in topic.send(Record(body=b"in two seconds", due_ms=now_ms + 2000), Record(body=b"in an hour", due_ms=now_ms + 3600000), b"now")} == {"OK"}
        subscription = conn.subscribe("billing")
        (now,) = subscription.receive()
        assert now.record.body == b"now"
        (later,) = subscription.receive()
        assert later.record.body == b"in two seconds" and time.time() * 1000 >= now_ms + 2000
        subscription.ack(now, later)
        wait_for(lambda: (found := backlog(daemon))["delayed"] == 1 and found["backlog"] == 1, what="what is far waits")


def test_a_restart_delivers_only_what_was_not_acknowledged(registered):
    daemon = registered.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(*(Record(body=b"%d" % n) for n in range(10)))
        subscription = conn.subscribe("billing")
        got = subscription.receive(10)
        subscription.ack(*(delivery for delivery in got if int(delivery.record.body) % 2))  # it is answered, so it is durable
    daemon.kill()
    daemon.start()
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        assert [int(delivery.record.body) for delivery in subscription.receive(5)] == [0, 2, 4, 6, 8]
        assert subscription.receive_nothing(0.5)


def test_what_is_acknowledged_one_by_one_does_not_come_again(registered):
    """Each is a command of its own, of which a channel keeps all but a few to itself while they are not on disk: they must not be answered before."""
    total = 1000
    daemon = registered.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(*(Record(body=b"%d" % n) for n in range(total)))
        subscription = conn.subscribe("billing")
        got = subscription.receive(total)
        assert set(subscription.ack(*(delivery for delivery in got if int(delivery.record.body) % 2))) == {("OK", 1)}
        daemon.kill()
    daemon.start()
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        assert [int(delivery.record.body) for delivery in subscription.receive(total // 2)] == list(range(0, total, 2))
        assert subscription.receive_nothing(0.5)


def test_every_group_gets_everything(registered):
    daemon = registered.world(cluster="rabbitmq", partitions=2)
    daemon.make("tenants/acme/groups", {"name": "audit", "topic": "orders"})
    with daemon.connect() as conn:
        conn.open_topic("orders").send(*(Record(body=b"%d" % n, key=b"%d" % n) for n in range(20)))
        for group in ("billing", "audit"):
            subscription = conn.subscribe(group)
            got = subscription.receive(20)
            assert sorted(int(one.record.body) for one in got) == list(range(20))
            subscription.ack(*got)
            drained(daemon, group)


def test_a_topic_without_a_group_refuses(registered):
    """Nothing would keep the message."""
    daemon = registered
    daemon.make("tenants", {"name": "acme", "clusters": ["rabbitmq"]})
    daemon.make("tenants/acme/topics", {"name": "orders"})
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    with daemon.connect() as conn:
        (result,) = conn.open_topic("orders").send(b"for no group")
        assert (result.outcome, result.code) == (REJECTED, "NO_ROUTE")


def test_topics_and_groups_leave_nothing(registered, host):
    daemon = registered.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        conn.open_topic("orders").send(b"again", b"dead")
        subscription = conn.subscribe("billing")
        again, dead = subscription.receive(2)
        subscription.nack(again, delay_ms=3600000)
        subscription.reject(dead)
        wait_for(lambda: backlog(daemon)["retrying"] == 1, what="it does not wait")
    assert len(host.queues()) >= 3
    assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics").json["items"] == [], what="everything is deleted")
    wait_for(lambda: (host.queues(), host.exchanges()) == ({}, {}), what="something is left on the cluster")


# ---- Native clients beside it


def test_native_messages_reach_sdk_consumers(registered, host):
    daemon = registered.world(cluster="rabbitmq")
    sent = [
        (b"v", {"routing_key": "k", "headers": {"a": "1", "b": None, "n": 7}, "content_type": "text/plain", "timestamp": 1700000000}),
        b"",
        b"without a key",
    ]
    host.publish(physical(daemon, "topics/orders"), *sent)
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        got = subscription.receive(len(sent))
        assert [(one.record.key, one.record.body) for one in got] == [(b"k", b"v"), (None, b""), (None, b"without a key")]
        headers = dict(got[0].record.headers)
        assert (headers["a"], headers["b"], headers["n"], headers["content-type"]) == (b"1", None, b"7", b"text/plain")
        assert got[0].record.created_ms == 1700000000000
        assert len({one.record.id for one in got}) == len(sent)
        subscription.ack(*got)
        drained(daemon)


def test_sdk_messages_reach_native_consumers(registered, host):
    daemon = registered.world(cluster="rabbitmq")
    daemon.make("tenants/acme/topics", {"name": "plain", "native": True})
    sent = [Record(body=b"v", key=b"k", headers=[("a", b"1"), ("b", None)]), Record(key=b"k"), Record(body=b"")]
    for topic, envelope in (("plain", set()), ("orders", {"mqp"})):
        queue = f"native-{topic}"
        host.declare(queue=queue, x_queue_type="quorum")
        host.bind(physical(daemon, f"topics/{topic}"), queue)
        with daemon.connect() as conn:
            assert {result.code for result in conn.open_topic(topic).send(*sent)} == {"OK"}
        got = host.take(queue, len(sent))
        assert [(method.routing_key, body) for method, _, body in got] == [("k", b"v"), ("k", b""), ("", b"")]
        headers = got[0][1].headers
        assert (headers["a"], headers["b"]) == ("1", None) and {name for name in headers if name.startswith("mqp")} == envelope
        assert got[0][1].delivery_mode == 2 and abs(got[0][1].timestamp - time.time()) < 60


# ---- Import


def test_import_takes_over_where_native_consumers_stopped(registered, host):
    daemon = registered
    host.declare("e2e.imported", "e2e.app", kind="topic", x_queue_type="quorum")
    host.bind("e2e.imported", "e2e.app", routing_key="#")
    host.publish("e2e.imported", *(b"%d" % n for n in range(20)), routing_key="k")
    assert len(host.take("e2e.app", 15)) == 15
    daemon.make("tenants", {"name": "acme", "clusters": ["rabbitmq"]})
    listed = daemon.admin.get("/api/v1/clusters/rabbitmq/existing").json
    topic = next(row for row in listed["topics"] if row["name"] == "e2e.imported")
    group = next(row for row in listed["groups"] if row["name"] == "e2e.app")
    assert (topic["owner"], group["topics"], group["owner"]) == (None, ["e2e.imported"], None)
    chosen = {"tenant": "acme", "topics": [{"physical": "e2e.imported", "name": "orders"}], "groups": [{"physical": "e2e.app", "name": "billing", "dead_letter": False}]}
    answer = daemon.admin.post("/api/v1/clusters/rabbitmq/import", chosen)
    assert answer.status == 200, answer.body
    for path in ("topics/orders", "groups/billing"):
        wait_for(lambda path=path: daemon.admin.get(f"{ACME}/{path}").json["state"] == "ready", what=path)
    key = daemon.make("tenants/acme/access-keys", {"grants": [{"pattern": "*", "rights": ["produce", "consume"]}]})
    daemon.key = key["key_id"], key["secret"]
    wait_for(lambda: backlog(daemon)["ready"] == 5, what="what is left is backlog")
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        got = subscription.receive(5)
        assert [one.record.body for one in got] == [b"15", b"16", b"17", b"18", b"19"]
        subscription.ack(*got)
        assert conn.open_topic("orders").send(Record(body=b"ours", key=b"k"))[0].code == "OK"
        (ours,) = subscription.receive()
        assert (ours.record.body, ours.record.key) == (b"ours", b"k")
        subscription.ack(ours)
        assert conn.open_topic("orders").send(Record(body=b"to go on", key=b"k"))[0].code == "OK"
    # Let go, not deleted: native consumers go on.
    assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").status == 404, what="the topic is let go")
    assert [body for _, _, body in host.take("e2e.app", 1)] == [b"to go on"]
    assert "e2e.imported" in host.exchanges()


def test_an_operator_registers_and_imports(tmp_path, start, host):
    """The same by mqpaasctl, secrets from standard input."""
    daemon, ctl = start(), Ctl(tmp_path)
    host.declare("e2e.ctl", "e2e.ctl-app")
    ctl.env.update(MQPAAS_URL="http://" + daemon.addresses["rest"][0], MQPAAS_TENANT="acme", MQPAAS_TOKEN=daemon.admin.token)
    options = json.dumps({**host.options(), "user": "guest"})
    refused = ctl("cluster", "create", "rabbitmq", "--kind", "rabbitmq", "--options", json.dumps(host.options()), "--secrets", "-", status=1, text='{"password": "of no user"}')
    assert "user" in refused.stderr and "of no user" not in refused.stderr
    ctl("cluster", "create", "rabbitmq", "--kind", "rabbitmq", "--options", options, "--secrets", "-", text='{"password": "guest"}')
    wait_for(
        lambda: ["rabbitmq", "rabbitmq", "-", "true", "ready", "closed"] in [line.split()[:6] for line in ctl("cluster", "list").stdout.splitlines()], what="not in the list"
    )
    assert ctl.json("cluster", "probe", "rabbitmq")["reachable"] is True
    assert "e2e.ctl-app" in ctl("cluster", "existing", "rabbitmq").stdout
    ctl("tenant", "create", "acme", "--clusters", "rabbitmq")
    chosen = ("--of-tenant", "acme", "--topics", "e2e.ctl=orders", "--groups", "e2e.ctl-app=app")
    assert ctl.json("cluster", "import", "rabbitmq", *chosen, "--preview")["preview"] is True
    assert [row["name"] for row in ctl.json("cluster", "import", "rabbitmq", *chosen)["topics"]] == ["orders"]
    wait_for(lambda: ctl.json("group", "show", "app")["state"] == "ready", what="the group is not ready")


# ---- What a cluster can do


def test_durability_is_what_the_cluster_has(start, host):
    """Without its management API nothing says whether policies drop messages."""
    daemon = register(register(start(), host), host, "blind", management=None)
    daemon.make("tenants", {"name": "acme", "clusters": ["rabbitmq", "blind"]})
    probe = daemon.admin.call("POST", "/api/v1/clusters/rabbitmq/probe").json
    assert probe["reachable"] and probe["nodes"] == 1 and probe["version"] == host.broker.version and probe["durability"] == "D2", probe
    probe = daemon.admin.call("POST", "/api/v1/clusters/blind/probe").json
    assert probe["durability"] == "D1" and "management" in probe["durability_reason"], probe
    answer = daemon.admin.post(f"{ACME}/topics", {"name": "strict", "cluster": "blind", "durability": "D2"})
    assert answer.status == 422 and answer.code == "UNSUPPORTED_BY_BACKEND" and '"blind" keeps at most class D1' in answer.json["detail"]
    assert daemon.make("tenants/acme/topics", {"name": "orders", "cluster": "rabbitmq"})["durability"] == "D2"


def test_a_policy_that_drops_is_named(registered, host):
    daemon = registered.world(cluster="rabbitmq")
    with host.policy("^mqp", message_ttl=60000):
        probe = wait_for(lambda: (found := daemon.admin.call("POST", "/api/v1/clusters/rabbitmq/probe").json)["durability"] == "D1" and found, what="it is not noticed")
        assert "message-ttl" in probe["durability_reason"] and "tests" in probe["durability_reason"], probe
    wait_for(lambda: daemon.admin.call("POST", "/api/v1/clusters/rabbitmq/probe").json["durability"] == "D2", what="it stays when the policy is gone")


def test_what_a_queue_cannot_do_is_said(registered):
    daemon = registered.world(cluster="rabbitmq")
    for answer in (daemon.admin.post(f"{ACME}/groups/billing/reset", {"to": {"at": "earliest"}}), daemon.admin.get(f"{ACME}/topics/orders/messages")):
        assert answer.status == 422 and answer.code == "UNSUPPORTED_BY_BACKEND" and answer.json["detail"], answer.body


# ---- Bad input


class DeadHost(Host):
    """A host on which no program listens."""

    def __init__(self):
        super().__init__(None, "/")

    def options(self):
        return {"addresses": "127.0.0.1:1"}


def test_a_dead_address_is_registered_and_shown(start, host):
    daemon = register(register(start(), DeadHost(), "dead", ready=False), host)
    daemon.wait_down("dead", "127.0.0.1:1")
    checks = daemon.admin.get("/readyz")
    assert checks.status == 200 and [check["name"] for check in checks.json["checks"] if not check["ok"]] == ["cluster dead"]
    daemon.world(cluster="rabbitmq")
    with daemon.connect() as conn:  # another cluster is not touched
        assert conn.open_topic("orders").send(b"in")[0].code == "OK"


def test_a_wrong_password_is_said_and_can_be_replaced(start, rabbitmq_brokers):
    secured, daemon = rabbitmq_brokers("--users"), start()
    host = secured.host()
    register(daemon, host, secrets={"password": "not-admin-secret"}, ready=False)
    daemon.wait_down("rabbitmq", "password")
    assert daemon.admin.put("/api/v1/clusters/rabbitmq", {"secrets": {"password": "admin-secret"}}).status == 200
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/rabbitmq/state").json["state"] == "ready", what="the right password is not taken")
    daemon.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"in")[0].code == "OK"
    everything = daemon.log().encode() + b"".join(daemon.admin.get(path).body for path in ("/api/v1/clusters", "/api/v1/audit?limit=100", "/api/v1/definitions"))
    assert b"admin-secret" not in everything


def test_a_vhost_that_is_not_there_or_not_allowed(start, rabbitmq_brokers):
    secured, daemon = rabbitmq_brokers("--users"), start()
    register(daemon, Host(secured, "no-such-vhost"), "missing", secrets={"password": "admin-secret"}, ready=False)
    daemon.wait_down("missing", "no-such-vhost")
    register(daemon, secured.host(), "closed", secrets={"password": "guest-secret"}, ready=False, user="guest")
    daemon.wait_down("closed", "vhost")


def test_a_user_without_rights_is_told(start, rabbitmq_brokers):
    secured = rabbitmq_brokers("--users")
    host = secured.host()
    secured.permit(host.name, "guest", configure="^$", write="^$", read="^$")
    daemon = register(start(), host, secrets={"password": "guest-secret"}, user="guest", management=None)
    daemon.make("tenants", {"name": "acme", "clusters": ["rabbitmq"]})
    daemon.admin.post(f"{ACME}/topics", {"name": "orders"})
    reason = wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["state_reason"], what="no reason")
    assert "rabbitmq" in reason and "access" in reason.lower(), reason


def documented_rights():
    """The rows of docs/adapters/rabbitmq.md: {configure: pattern, …}."""
    with open(os.path.join(ROOT, "docs", "adapters", "rabbitmq.md"), encoding="utf-8") as file:
        rows = dict(re.findall(r"^\| (configure|write|read) \| `(.*?)` \|", file.read(), re.M))
    assert len(rows) == 3
    return {right: pattern.replace("\\|", "|") for right, pattern in rows.items()}


def test_the_documented_rights_are_enough(start, rabbitmq_brokers):
    secured = rabbitmq_brokers("--users")
    host = secured.host()
    secured.permit(host.name, "guest", **documented_rights())
    secured.api("PUT", "users/guest", {"password": "guest-secret", "tags": "monitoring"})
    daemon = register(start(), host, secrets={"password": "guest-secret"}, user="guest").world(cluster="rabbitmq", partitions=2)
    probe = daemon.admin.call("POST", "/api/v1/clusters/rabbitmq/probe").json
    assert (probe["nodes"], probe["durability"]) == (1, "D2"), probe
    with daemon.connect() as conn:
        assert {result.code for result in conn.open_topic("orders").send(*(Record(body=b"%d" % n, key=b"%d" % n) for n in range(9)))} == {"OK"}
        subscription = conn.subscribe("billing")
        got = subscription.receive(9)
        assert subscription.nack(got[0], delay_ms=90000) == [("OK", 1)]  # into a level
        assert subscription.nack(got[1], delay_ms=30000) == [("OK", 1)]  # into the retry queue
        assert subscription.reject(got[2]) == [("OK", 1)]
        subscription.ack(*got[3:])
        wait_for(lambda: backlog(daemon)["backlog"] == 2 and backlog(daemon)["dead"] == 1, what="two wait, one is dead")
    assert [row["owner"]["name"] for row in daemon.admin.get("/api/v1/clusters/rabbitmq/existing").json["topics"] if row["owner"]]
    assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204
    wait_for(lambda: daemon.admin.get(f"{ACME}/topics").json["items"] == [], what="everything is deleted")
    assert (host.queues(), host.exchanges()) == ({}, {})


def test_certificates(start, rabbitmq_brokers):
    secured, daemon = rabbitmq_brokers("--tls"), start()
    pem = {}
    for name in ("ca.pem", "client.pem", "client.key"):
        with open(os.path.join(secured.folder, "tls", name), encoding="ascii") as file:
            pem[name] = file.read()
    host = Host(secured, "/")
    # The client's certificate is no authority that could have signed the broker's.
    register(daemon, host, ready=False, tls=True, ca_pem=pem["client.pem"])
    daemon.wait_down("rabbitmq", "certificate")
    options = {**host.options(), "tls": True, "user": "guest", "ca_pem": pem["ca.pem"], "certificate_pem": pem["client.pem"]}
    assert daemon.admin.put("/api/v1/clusters/rabbitmq", {"options": options, "secrets": {"key_pem": pem["client.key"], "password": "guest"}}).status == 200
    wait_for(lambda: daemon.admin.get("/api/v1/clusters/rabbitmq/state").json["state"] == "ready", what="the right certificate is not taken")
    assert daemon.admin.call("POST", "/api/v1/clusters/rabbitmq/probe").json["durability"] == "D2"  # the management API, too
    daemon.world(cluster="rabbitmq")
    with daemon.connect() as conn:
        assert conn.open_topic("orders").send(b"in")[0].code == "OK"
    assert daemon.admin.delete(f"{ACME}/topics/orders?force=true").status == 204


def test_options_are_refused_by_name(start):
    admin = start().admin
    wrong = (
        ({}, "/options/addresses"),
        ({"addresses": "k", "prefetch": 1}, "/options/prefetch"),
        ({"addresses": "k", "queue": "stream"}, "/options/queue"),
        ({"addresses": "k:99999"}, "/options/addresses"),
        ({"addresses": "k", "management": "k:15672"}, "/options/management"),
    )
    for options, field in wrong:
        answer = admin.post("/api/v1/clusters", {"name": "x", "kind": "rabbitmq", "options": options})
        assert answer.status == 400 and answer.json["errors"][0]["field"] == field, answer.body
    assert admin.get("/api/v1/clusters/x").status == 404


def test_a_message_larger_than_the_broker_takes(start, own_rabbitmq):
    """The rest of its batch is stored, and the connection lives on."""
    host = own_rabbitmq("--set", "max_message_size=65536").host()
    daemon = register(start(), host).world(cluster="rabbitmq", message_bytes=1 << 20)
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        assert topic.send(b"before")[0].code == "OK"
        (large,) = topic.send(b"x" * 100000)
        assert large.outcome == REJECTED and large.code == "TOO_LARGE", large
        wait_for(lambda: topic.send(b"after")[0].code == "OK", what="nothing is taken any more")


def test_counting_looks_once_for_what_is_missing(registered, host):
    """A queue that is not there costs a line in the broker's log each time that it is looked for."""
    daemon = registered.world(cluster="rabbitmq")
    name = physical(daemon, "groups/billing")

    def missed():
        with open(os.path.join(host.broker.folder, "node-1", "log"), encoding="utf-8", errors="replace") as file:
            return sum(f"no queue '{name}." in line for line in file)

    for _ in range(20):
        assert backlog(daemon)["backlog"] == 0
    wait_for(lambda: missed() == 1, what="it was not looked for")
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        due_ms = int(time.time() * 1000) + 3600000
        assert {one.code for one in conn.open_topic("orders").send(Record(body=b"later", due_ms=due_ms), b"now")} == {"OK"}
        subscription.ack(*subscription.receive())
        wait_for(lambda: (found := backlog(daemon))["delayed"] == 1 and found["ready"] == 0, what="what is far waits")
    daemon.stop()
    daemon.start()  # now no source knows what is there
    wait_for(lambda: daemon.admin.get(f"{ACME}/groups/billing/backlog").status == 200, what="it cannot be counted")
    time.sleep(1)  # the portal may have begun to count it at the same time
    before = missed()
    for _ in range(20):
        assert (found := backlog(daemon))["delayed"] == 1 and found["backlog"] == 1
    time.sleep(0.5)
    assert missed() == before


def test_a_short_timeout_of_consumers_is_learned(start, own_rabbitmq):
    """A broker ends a channel that leaves a message unacknowledged for so long; after the first time what is kept is published anew before that."""
    broker = own_rabbitmq()
    broker.control("rabbitmqctl", "eval", "application:set_env(rabbit, channel_tick_interval, 500), application:set_env(rabbit, consumer_timeout, 4000).")
    daemon = register(start(), broker.host()).world(cluster="rabbitmq")
    with daemon.connect() as conn:
        subscription = conn.subscribe("billing")
        assert conn.open_topic("orders").send(b"kept for long")[0].code == "OK"
        (first,) = subscription.receive()
        (again,) = subscription.receive(timeout=20)
        assert "4000 ms" in daemon.wait_event("RABBITMQ-CONSUMER-TIMEOUT")["message"]
        assert again.record.id == first.record.id and again.attempt == first.attempt
        assert subscription.receive_nothing(10)
        ((code, _),) = subscription.ack(again)
        assert code == "OK"
        drained(daemon)
    assert len(daemon.events("RABBITMQ-CONSUMER-TIMEOUT")) == 1


# ---- Deleted by others

SPAN = re.compile(r"between (\S+ \S+) and (\S+ \S+) UTC")


def span_of(text):
    """The span of time that an incident's text names, as two wall clocks in seconds."""
    since, until = (datetime.datetime.strptime(one, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=datetime.timezone.utc).timestamp() for one in SPAN.search(text).groups())
    return since, until


def damage(daemon):
    return daemon.admin.get("/api/v1/clusters/rabbitmq/damage").json["damage"]


def told_of(daemon, group, deleted_s):
    """The incident of a group whose queue was deleted at that time: log, list, state, backlog."""
    (event,) = wait_for(lambda: [one for one in daemon.events("RABBITMQ-QUEUE-GONE") if physical(daemon, f"groups/{group}") in one["message"]], what="no line in the log")
    id = daemon.admin.get(f"{ACME}/groups/{group}").json["id"]
    (row,) = [one for one in damage(daemon) if one["group"] == id]
    assert (row["kind"], row["topic_name"]) == ("group", "orders")
    for since, until in (span_of(event["message"]), span_of(row["problem"]), (row["since_ms"] / 1000, row["found_ms"] / 1000)):
        assert since - 0.1 <= deleted_s <= until + 0.1 and until <= deleted_s + 5 and since >= deleted_s - 5
    told = wait_for(lambda: daemon.admin.get(f"{ACME}/groups/{group}").json["state_reason"], seconds=20, what="the group does not say it")
    assert told == row["problem"] and "cluster rabbitmq" in told
    assert [one["state_reason"] for one in daemon.admin.get(f"{ACME}/groups").json["items"] if one["name"] == group] == [told]
    answer = daemon.admin.get(f"{ACME}/groups/{group}/backlog")
    assert answer.status == 404 and told in answer.json["detail"]
    return row


def test_a_queue_that_another_client_deletes(registered, host):
    """Its messages are gone with it; the group says so, sends are refused, and no other group notices."""
    daemon = registered.world(cluster="rabbitmq")
    daemon.make("tenants/acme/groups", {"name": "audit", "topic": "orders"})
    with daemon.connect() as conn:
        topic, beside = conn.open_topic("orders"), conn.subscribe("audit")
        subscription = conn.subscribe("billing")
        assert topic.send(b"before")[0].code == "OK"
        subscription.ack(*subscription.receive())
        host.delete(queue=physical(daemon, "groups/billing"))
        deleted_s = time.time()
        conn.pump_until(lambda: subscription.id in conn.ended)
        told_of(daemon, "billing", deleted_s)
        assert topic.send(b"after")[0].code == "OK"  # another group takes it
        assert [one.record.body for one in beside.receive(2)] == [b"before", b"after"]
        host.delete(queue=physical(daemon, "groups/audit"))
        wait_for(lambda: topic.send(b"for no group")[0].code == "NO_ROUTE", what="it is taken by no queue")
        assert physical(daemon, "groups/billing") not in host.queues()  # nothing is made anew by naming it


def test_a_queue_without_consumers_that_another_client_deletes(registered, host):
    """It is found within 5 s all the same, until it is there again or its group is deleted."""
    daemon = registered.world(cluster="rabbitmq")
    daemon.make("tenants/acme/groups", {"name": "audit", "topic": "orders"})
    names = {group: physical(daemon, f"groups/{group}") for group in ("billing", "audit")}
    assert not damage(daemon)
    host.delete(queue=names["billing"])
    told_of(daemon, "billing", time.time())
    state = daemon.admin.get("/api/v1/clusters/rabbitmq/state").json
    assert state["state"] == "degraded" and names["billing"] in state["error"]
    host.delete(queue=names["audit"])
    wait_for(lambda: len(damage(daemon)) == 2, what="the other queue is not missed")
    with host.channel() as channel:
        channel.queue_declare(names["audit"], durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(names["audit"], physical(daemon, "topics/orders"))
    daemon.wait_event("RABBITMQ-QUEUE-BACK")
    wait_for(lambda: daemon.admin.get(f"{ACME}/groups/audit").json["state_reason"] is None, seconds=20, what="the group still says it")
    with daemon.connect() as conn:
        subscription = conn.subscribe("audit")
        assert conn.open_topic("orders").send(b"once more")[0].code == "OK"
        subscription.ack(*subscription.receive())
    assert daemon.admin.delete(f"{ACME}/groups/billing").status in (200, 202, 204)
    wait_for(lambda: not damage(daemon), what="the incident stays")
    assert len(daemon.events("RABBITMQ-QUEUE-GONE")) == 2


def test_an_exchange_that_another_client_deletes(registered, host):
    """The topic says so until it is there again."""
    daemon = registered.world(cluster="rabbitmq")
    name = physical(daemon, "topics/orders")
    with daemon.connect() as conn:
        topic = conn.open_topic("orders")
        assert topic.send(b"before")[0].code == "OK"
        host.delete(name)
        told = wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["state_reason"], seconds=30, what="the topic does not say it")
        assert told.startswith(f"cluster rabbitmq: there is no exchange '{name}'") and "sends are refused" in told and span_of(told)
        (row,) = damage(daemon)
        assert (row["kind"], row["topic_name"], row["group"], row["problem"]) == ("topic", "orders", None, told)
        assert [one["state_reason"] for one in daemon.admin.get(f"{ACME}/topics").json["items"] if one["name"] == "orders"] == [told]
        assert topic.send(b"meanwhile")[0].code == "NOT_FOUND"
        host.declare(name)
        wait_for(lambda: daemon.admin.get(f"{ACME}/topics/orders").json["state_reason"] is None, seconds=40, what="the topic still says it")


def test_dead_letters_that_another_client_deletes(registered, host):
    """The dead-letter topic says so, and the group why its dead letters do not leave it."""
    daemon = registered.world(cluster="rabbitmq")
    kept = physical(daemon, "topics/billing.dead") + ".kept"
    with daemon.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("billing")
        topic.send(b"one", b"two")
        one, two = subscription.receive(2)
        subscription.reject(one)
        wait_for(lambda: host.ready(kept) == 1, what="no dead letter")
        host.delete(queue=kept)
        subscription.reject(two, wait=False)
        told = wait_for(lambda: daemon.admin.get(f"{ACME}/topics/billing.dead").json["state_reason"], seconds=30, what="the topic does not say it")
        assert f"there is no queue '{kept}'" in told and told.endswith("the dead letters in it are gone")
        told = wait_for(lambda: daemon.admin.get(f"{ACME}/groups/billing").json["state_reason"], seconds=30, what="the group does not say it")
        assert told.startswith("dead-letter topic billing.dead refuses copies: NO_ROUTE, ")
