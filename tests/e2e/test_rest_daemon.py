"""REST of the real daemon, with real messages behind it: numbers that add up, moving and emptying groups, kicking, TLS, and the tour in docs/rest.md."""
import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
import rest
import wire
from daemon import wait_for
from daemon_fixtures import *  # noqa: F401,F403  pylint: disable=wildcard-import,unused-wildcard-import

A = "/api/v1/tenants/acme"


def backlog_of(admin):
    """Its numbers, of one answer."""
    told = admin.get(f"{A}/groups/billing/backlog").json
    return {name: told[name] for name in ("ready", "in_flight", "retrying", "delayed", "backlog", "dead")}


def test_numbers_add_up_at_each_step(daemon):
    daemon.world(partitions=2)
    admin = daemon.admin
    backlog = lambda: backlog_of(admin)
    zero = dict.fromkeys(backlog(), 0)
    with daemon.connect() as connection:
        topic = connection.open_topic("orders")
        for _ in range(10):
            topic.send(*[b"body"] * 10)
        assert admin.get(f"{A}/stats").json["produce"]["stored"] == 100
        assert admin.get(f"{A}/topics/orders/stats").json["produce"]["stored"] == 100
        assert backlog() == {**zero, "ready": 100, "backlog": 100}
        group = connection.subscribe("billing")
        got = group.receive(30)
        assert backlog() == {**zero, "ready": 70, "in_flight": 30, "backlog": 100}
        group.ack(*got[:20])
        assert backlog() == {**zero, "ready": 70, "in_flight": 10, "backlog": 80}
        group.nack(*got[20:25], delay_ms=50000)
        assert backlog() == {**zero, "ready": 70, "in_flight": 5, "retrying": 5, "backlog": 80}
        stats = admin.get(f"{A}/groups/billing/stats").json["consume"]
        assert (stats["messages"], stats["acked"], stats["nacked"]) == (30, 20, 5)
    daemon.stop()
    daemon.start()
    admin = daemon.admin
    assert backlog()["backlog"] == 80
    assert admin.get(f"{A}/stats").json["produce"]["stored"] == 100
    assert admin.get(f"{A}/groups/billing/stats").json["consume"]["acked"] == 20


def test_messages_are_read_by_position_and_time(daemon):
    daemon.world()
    with daemon.connect() as connection:
        connection.open_topic("orders").send(*[wire.Record(body=b"number %d" % number, key=b"\x00\xff", headers=[("h", None), ("h", b"x")]) for number in range(5)])
    token = daemon.make("tokens", {"name": "dev", "role": "developer", "tenant": "acme"})["token"]
    developer = daemon.anonymous.with_token(token)
    page = developer.get(f"{A}/topics/orders/messages?offset=1&limit=3&bodies=true").json
    assert [message["offset"] for message in page["messages"]] == [1, 2, 3] and page["next"] == 4
    first = page["messages"][0]
    assert (first["body"], first["key"], first["headers"]) == ("bnVtYmVyIDE=", "AP8=", [{"name": "h", "value": None}, {"name": "h", "value": "eA=="}])
    by_time = developer.get(f"{A}/topics/orders/messages?time_ms={first['stored_ms']}&limit=1").json["messages"]
    assert by_time[0]["stored_ms"] >= first["stored_ms"] and by_time[0]["body"] is None
    assert developer.get(f"{A}/topics/orders/messages?offset=5").json == {"messages": [], "next": None}
    assert developer.get(f"{A}/topics/orders/messages?partition=7").status in (400, 404)


def test_reset_and_purge_with_preview(daemon):
    daemon.world()
    admin, group = daemon.admin, f"{A}/groups/billing"
    with daemon.connect() as connection:
        connection.open_topic("orders").send(*[b"x"] * 20)
        consumer = connection.subscribe("billing")
        consumer.ack(*consumer.receive(12))
        consumer.close()
    left = lambda: admin.get(f"{group}/backlog").json["backlog"]
    wait_for(lambda: left() == 8)
    earliest = admin.post(f"{group}/reset", {"to": {"at": "earliest"}, "preview": True}).json["partitions"][0]
    assert (earliest["from"], earliest["to"], earliest["replayed"], earliest["skipped"]) == (12, 0, 12, 0)
    assert left() == 8
    assert admin.post(f"{group}/reset", {"to": {"at": "positions", "positions": [{"partition": 0, "offset": 5}]}}).status == 200
    assert left() == 15
    assert admin.post(f"{group}/purge", {"preview": True}).json["messages"] == 15
    assert left() == 15
    assert admin.post(f"{group}/purge").json["messages"] == 15
    assert left() == 0
    purge = admin.post(f"{A}/topics/orders/purge", {"preview": True}).json
    assert purge["messages"] == 20 and purge["bytes"] > 0
    assert admin.post(f"{A}/topics/orders/purge").json["messages"] == 20
    rows = admin.get(f"{A}/topics/orders/partitions").json["partitions"]
    assert sum(row["end"] - row["first"] for row in rows) == 0


def test_clients_are_seen_and_kicked(daemon):
    daemon.world()
    admin = daemon.admin
    with daemon.connect() as connection:
        connection.open_topic("orders")
        connection.subscribe("billing")
        (client,) = admin.get(f"{A}/clients").json["items"]
        assert client["access_key"] == daemon.key[0] and client["tenant"] == "acme"
        assert client["topics"] == ["orders"] and client["groups"] == ["billing"]
        assert admin.get(f"{A}/stats").json["connections"] == 1
        assert admin.delete(f"{A}/clients/{client['session']}").status == 204
        assert connection.expect_end() is not None
    wait_for(lambda: admin.get(f"{A}/clients").json["items"] == [])
    assert admin.delete(f"{A}/clients/{client['session']}").status == 404


def test_disabled_key_ends_its_connections(daemon):
    daemon.world()
    with daemon.connect() as connection:
        assert daemon.admin.put(f"{A}/access-keys/{daemon.key[0]}", {"disabled": True}).status == 200
        assert connection.expect_end(timeout=20) is not None


def test_probe_and_state_of_the_local_cluster(daemon):
    probe = daemon.admin.call("POST", "/api/v1/clusters/local/probe").json
    assert probe["reachable"] and probe["durability"] == "D2" and probe["capabilities"]["history"]
    assert daemon.admin.get("/api/v1/clusters/local/state").json["error"] is None


def test_readiness_and_metrics(daemon):
    ready = wait_for(lambda: (answer := daemon.anonymous.get("/readyz")).status == 200 and answer)
    assert all(check["ok"] for check in ready.json["checks"])
    assert daemon.anonymous.get("/metrics").status == 401
    text = daemon.admin.get("/metrics").body.decode()
    assert re.search(r"^mqpaas_\w+(\{.*\})? [0-9.e+]+$", text, re.M)


@pytest.fixture(name="certificate")
def make_certificate(tmp_path):
    path = tmp_path / "portal.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return str(path)


def test_tls(start, certificate):
    daemon = start("--tls-cert", certificate, portal=("tls://127.0.0.1:0", "127.0.0.1:0"))
    port = int(daemon.addresses["rest"][0].rsplit(":", 1)[1])
    trust = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/livez", context=trust, timeout=60) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/api/v1/openapi.yaml", context=trust, timeout=60) as answer:
        assert len(answer.read()) > 100000
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=10)


def test_tour(daemon, tmp_path):
    """Every command of docs/rest.md, in its order."""
    with open(os.path.join(rest.ROOT, "docs", "rest.md"), encoding="utf-8") as file:
        script = "\n".join(re.findall(r"```sh\n(.*?)```", file.read(), re.S))
    environment = {**os.environ, "MQ": f"http://127.0.0.1:{daemon.rest_port}", "DATA": daemon.data, "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_topic_grows_under_those_who_use_it(daemon):
    daemon.world(partitions=1)
    with daemon.connect() as connection:
        topic, group = connection.open_topic("orders"), connection.subscribe("billing")
        topic.send(b"before")
        group.ack(*group.receive(1))
        assert daemon.admin.put(f"{A}/topics/orders", {"partitions": 3}).status == 200
        wait_for(lambda: daemon.admin.get(f"{A}/topics/orders").json["partitions"] == 3)
        group.credit(10)
        wait_for(lambda: topic.send(wire.Record(body=b"after", partition=2))[0].outcome == wire.OK)
        (got,) = group.receive(1, credit=False)
        assert (got.partition, got.record.body) == (2, b"after") and group.ack(got) == [("OK", 1)]
    daemon.stop()
    daemon.start()
    assert [row["committed"] for row in daemon.admin.get(f"{A}/groups/billing/backlog").json["partitions"]] == [1, 0, 1]


def test_rejected_messages_are_dead_and_the_rest_stays_ready(daemon):
    daemon.world(partitions=2)
    admin = daemon.admin
    backlog = lambda: backlog_of(admin)
    with daemon.connect() as connection:
        topic = connection.open_topic("orders")
        for _ in range(10):
            topic.send(*[b"body"] * 10)
        group = connection.subscribe("billing")
        group.reject(*group.receive(5)[:3])
        wait_for(lambda: backlog() == {"ready": 95, "in_flight": 2, "retrying": 0, "delayed": 0, "backlog": 97, "dead": 3}, what=backlog())
    dead = admin.get(f"{A}/topics/billing.dead/partitions").json["partitions"]
    assert sum(row["end"] - row["first"] for row in dead) == 3
    daemon.stop()
    daemon.start()
    assert backlog()["backlog"] == 97 and backlog()["dead"] == 3
