"""Which clients may come in and do what, and what happens to connected ones when that changes."""
import ssl
import subprocess
import time

import pytest
import wire
from plane import CLUSTER, CONSUME, KEY, PRODUCE, SECRET, TENANT, WAIT
from plane_fixtures import plane, plane_with  # pylint: disable=unused-import
from rest import assert_fast, wait_for


def refused(action):
    with pytest.raises(wire.Refused) as error:
        action()
    return error.value


def add_key(plane, key_id, id=None, **fields):
    row = {"key_id": key_id, "tenant": TENANT, "secret": SECRET, "grants": [["*", PRODUCE | CONSUME]]}
    return plane.put("access_key", id or plane.new_id(), **{**row, **fields})


# ---- authentication


def test_wrong_keys_all_look_alike(plane):
    add_key(plane, "disabled", disabled=True)
    add_key(plane, "expired", expires_ms=1)
    answers = {(key, secret): refused(lambda: plane.connect(key, secret)) for key, secret in [("AK1", "wrong"), ("nobody", SECRET), ("disabled", SECRET), ("expired", SECRET)]}
    assert {str(answer) for answer in answers.values()} == {"UNAUTHENTICATED: "}


def first_answer(plane, key):
    with plane.strange() as conn:
        conn.hello()
        scram = wire.Scram(key, "x", nonce="n" * 24)
        conn.send_frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256", sasl=scram.first()))
        text = wire.fields_read(conn.expect(wire.AUTH).payload)["sasl"].decode()
        return dict(part.split("=", 1) for part in text.split(","))


def test_unknown_keys_have_a_stable_salt(plane):
    one, again, other = (first_answer(plane, key) for key in ("nobody", "nobody", "stranger"))
    known = first_answer(plane, "AK1")
    assert one["s"] == again["s"] != other["s"]
    assert (len(one["s"]), one["i"]) == (len(known["s"]), known["i"])


def test_one_attempt(plane):
    with plane.strange() as conn:
        conn.hello()
        refused(lambda: conn.authenticate("AK1", "wrong"))
        assert conn.expect_end() is None


def test_hello_and_first_auth_together(plane):
    with plane.strange() as conn:
        scram = wire.Scram("AK1", SECRET)
        hello = wire.frame(wire.HELLO, wire.fields_write(client_name="x", codecs=1, features=1))
        conn.send_raw(wire.PREFACE + hello + wire.frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256", sasl=scram.first())))
        conn.welcome = wire.fields_read(conn.expect(wire.WELCOME).payload)
        final = scram.final(wire.fields_read(conn.expect(wire.AUTH).payload)["sasl"])
        conn.send_frame(wire.AUTH, wire.fields_write(sasl=final))
        ready = wire.fields_read(conn.expect(wire.READY).payload)
        scram.check(ready["sasl"])
        assert ready["tenant"] == "acme" and ready["window"] > 0 and ready["session"] > 0
        assert ready["address"] == [f"{plane.host}:{plane.port}"]


@pytest.mark.parametrize("steps", ["produce", "auth", "second hello", "ping", "unknown mechanism", "plus without tls", "garbage sasl"])
def test_out_of_order_before_ready(plane, steps):
    with plane.strange() as conn:
        if steps == "auth":
            conn.send_raw(wire.PREFACE)
            conn.send_frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256", sasl=b"n,,n=AK1,r=0123456789012345678"))
        else:
            conn.hello()
        if steps == "produce":
            conn.send_frame(wire.PRODUCE, wire.produce_write(1, [wire.Record(body=b"x")]), 1)
        elif steps == "second hello":
            conn.send_frame(wire.HELLO, wire.fields_write(client_name="x"))
        elif steps == "ping":
            conn.send_frame(wire.PING, b"12345678")
        elif steps == "unknown mechanism":
            conn.send_frame(wire.AUTH, wire.fields_write(mechanism="PLAIN", sasl=b"x"))
        elif steps == "plus without tls":
            conn.send_frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256-PLUS", sasl=wire.Scram("AK1", SECRET).first()))
        elif steps == "garbage sasl":
            conn.send_frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256", sasl=b"\xff" * 100))
        assert conn.expect_end().code == "PROTOCOL"


def test_deadline_to_ready(plane_with):
    plane = plane_with(ready_ms=1500)
    with plane.strange() as half, plane.strange() as silent:
        half.hello()
        assert half.expect_end().code == "TIMEOUT"
        silent.expect_end()


def test_many_strangers(plane_with):
    """Of clients that are alike the oldest give way: the newcomer has its moment."""
    plane = plane_with(unauthenticated=4, workers=1)
    strangers = [plane.strange() for _ in range(8)]
    for conn in strangers[:4]:
        with pytest.raises(wire.Ended):
            conn.read_frame()
    for conn in strangers[4:]:
        with pytest.raises(TimeoutError):
            conn.read_frame(timeout=0.05)
    plane.connect().close()
    for conn in strangers:
        conn.close()


# ---- addresses, tenants, limits


@pytest.mark.parametrize(
    "lists, code",
    [
        ({"allow": ["127.0.0.0/8"]}, None),
        ({"allow": ["10.0.0.0/8", "::1"]}, "FORBIDDEN"),
        ({"deny": ["127.0.0.1"]}, "FORBIDDEN"),
        ({"allow": ["127.0.0.0/8"], "deny": ["127.0.0.0/30"]}, "FORBIDDEN"),
        ({"deny": ["10.0.0.0/8"]}, None),
    ],
)
def test_address_lists(plane, lists, code):
    add_key(plane, "AK2", **lists)
    if code:
        assert refused(lambda: plane.connect("AK2")).code == code
        assert refused(lambda: plane.connect("AK2", "wrong")).code == "UNAUTHENTICATED"
    else:
        plane.connect("AK2").close()


def test_connections_of_a_tenant(plane):
    plane.tenant(connections=3)
    held = [plane.connect() for _ in range(3)]
    assert refused(plane.connect).code == "LIMIT_EXCEEDED"
    held.pop().close()
    wait_for(lambda: plane.totals()["connections"] == 2)
    held.append(plane.connect())
    assert plane.totals()["connections"] == 3
    for conn in held:
        conn.close()


def test_suspended_tenant(plane):
    with plane.connect() as inside:
        plane.put("tenant", TENANT, name="acme", clusters=[CLUSTER], suspended=True)
        assert inside.expect_end().code == "FORBIDDEN"
    assert refused(plane.connect).code == "FORBIDDEN"


# ---- permissions


def test_default_deny_and_patterns(plane):
    for name in ("orders", "orders-eu", "audit"):
        plane.group("read-" + name, plane.topic(name))
    add_key(plane, "none", grants=[])
    add_key(plane, "some", grants=[["orders*", PRODUCE], ["read-audit", CONSUME]])
    with plane.connect("none") as conn:
        assert refused(lambda: conn.open_topic("orders")).code == "FORBIDDEN"
        assert refused(lambda: conn.open_topic("no such")).code == "FORBIDDEN"
        assert refused(lambda: conn.subscribe("read-audit")).code == "FORBIDDEN"
    with plane.connect("some") as conn:
        assert conn.open_topic("orders-eu").send(b"x")[0].outcome == wire.OK
        assert refused(lambda: conn.open_topic("audit")).code == "FORBIDDEN"
        assert refused(lambda: conn.open_topic("orders-none")).code == "NOT_FOUND"
        assert refused(lambda: conn.subscribe("read-orders")).code == "FORBIDDEN"
        conn.subscribe("read-audit")


def test_other_tenants_do_not_exist(plane):
    other = plane.put("tenant", plane.new_id(), name="other", clusters=[CLUSTER])
    plane.group("their-readers", plane.topic("theirs", tenant=other), tenant=other)
    with plane.connect() as conn:
        for missing in (lambda: conn.open_topic("theirs"), lambda: conn.open_topic("nothing")):
            assert str(refused(missing)) == "NOT_FOUND: "
        for missing in (lambda: conn.subscribe("their-readers"), lambda: conn.subscribe("nothing")):
            assert str(refused(missing)) == "NOT_FOUND: "


def test_states_and_dead_letter_topics(plane):
    plane.group("early", plane.topic("orders"), state=0)
    plane.topic("coming", state=0)
    plane.dead_lettered("readers", plane.topic("more"))
    with plane.connect() as conn:
        assert refused(lambda: conn.open_topic("coming")).code == "NOT_READY"
        assert refused(lambda: conn.subscribe("early")).code == "NOT_READY"
        assert refused(lambda: conn.open_topic("readers.dead")).code == "FORBIDDEN"


# ---- what changes during a login


class HalfLogin:
    """A login whose last message is still to be sent."""

    def __init__(self, plane, key):
        self.conn = plane.strange()
        self.conn.hello()
        self.scram = wire.Scram(key, SECRET)
        self.conn.send_frame(wire.AUTH, wire.fields_write(mechanism="SCRAM-SHA-256", sasl=self.scram.first()))
        self.challenge = wire.fields_read(self.conn.expect(wire.AUTH).payload)["sasl"]

    def finish(self):
        self.conn.send_frame(wire.AUTH, wire.fields_write(sasl=self.scram.final(self.challenge)))

    def outcome(self):
        """READY, or the code of the refusal."""
        self.finish()
        try:
            self.conn.expect(wire.READY)
            return "READY"
        except wire.Refused as refusal:
            return refusal.code


@pytest.mark.parametrize(
    "how, outcome",
    [("nothing", "READY"), ("disable", "UNAUTHENTICATED"), ("delete", "UNAUTHENTICATED"), ("made again", "UNAUTHENTICATED"), ("expire", "UNAUTHENTICATED"), ("deny", "FORBIDDEN"), ("suspend", "FORBIDDEN")],
)
def test_right_is_taken_during_a_login(plane, how, outcome):
    """What counts is the key as it is when the last message comes; rotating without overlap makes the old key expire."""
    second = add_key(plane, "AK2")
    login = HalfLogin(plane, "AK2")
    changes = {"disable": {"disabled": True}, "expire": {"expires_ms": 1}, "deny": {"deny": ["127.0.0.1"]}}
    if how in ("delete", "made again"):
        plane.gone("access_key", second)
    if how == "made again":
        add_key(plane, "AK2")
    if how == "suspend":
        plane.put("tenant", TENANT, name="acme", clusters=[CLUSTER], suspended=True)
    if how in changes:
        add_key(plane, "AK2", second, **changes[how])
    with login.conn:
        assert login.outcome() == outcome


def test_grants_are_emptied_during_a_login(plane):
    plane.group("readers", plane.topic("orders"))
    second = add_key(plane, "AK2")
    login = HalfLogin(plane, "AK2")
    add_key(plane, "AK2", second, grants=[])
    with login.conn as conn:
        assert login.outcome() == "READY"
        assert refused(lambda: conn.open_topic("orders")).code == "FORBIDDEN"
        assert refused(lambda: conn.subscribe("readers")).code == "FORBIDDEN"


# ---- what changes under an open connection


@pytest.mark.parametrize("how", ["disable", "delete", "address"])
def test_key_is_revoked(plane, how):
    second = add_key(plane, "AK2")
    with plane.connect("AK2") as revoked, plane.connect() as other:
        if how == "disable":
            add_key(plane, "AK2", second, disabled=True)
        elif how == "delete":
            plane.gone("access_key", second)
        else:
            add_key(plane, "AK2", second, deny=["127.0.0.1"])
        assert revoked.expect_end().code == ("FORBIDDEN" if how == "address" else "UNAUTHENTICATED")
        assert other.ping()


def test_key_expires_while_connected(plane):
    add_key(plane, "AK2", expires_ms=int(time.time() * 1000) + 2500)
    with plane.connect("AK2") as conn:
        assert conn.ping()
        assert conn.expect_end(timeout=20).code == "UNAUTHENTICATED"


@pytest.mark.parametrize("left_ms", [500, -1])
def test_key_is_made_to_expire_while_connected(plane, left_ms):
    """Within a second of its time, though the next look for a silent peer would be in half a minute."""
    second = add_key(plane, "AK2")

    def lateness():
        add_key(plane, "AK2", second)
        with plane.connect("AK2") as conn:
            assert conn.ping()
            expires_ms = int(time.time() * 1000) + left_ms
            add_key(plane, "AK2", second, expires_ms=expires_ms)
            assert conn.expect_end(timeout=20).code == "UNAUTHENTICATED"
            return time.time() - expires_ms / 1000

    assert_fast(lateness, 1 if left_ms > 0 else 1.5)


def test_what_waits_for_quota_is_refused_when_the_grant_goes(plane):
    """Its place in the queue was given to it by a right that it has no more."""
    orders = plane.topic("orders")
    plane.tenant(produce_tps=5, over=WAIT, wait_ms=600000)
    second = add_key(plane, "AK2")
    with plane.connect("AK2") as conn:
        topic = conn.open_topic("orders")
        batch = topic.produce([wire.Record(body=b"%d" % n) for n in range(400)], keep_window=False)
        time.sleep(0.2)
        add_key(plane, "AK2", second, grants=[])
        codes = [r.code for r in topic.results(batch, timeout=30)]  # of more than a minute
        assert set(codes) == {"OK", "FORBIDDEN"} and codes[-1] == "FORBIDDEN"
    assert plane.query("TOPIC_DESCRIBE", topic=orders)["partitions"][0]["end"] == codes.count("OK")


def test_grants_change(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        plane.put("access_key", KEY, key_id="AK1", tenant=TENANT, secret=SECRET, grants=[["orders", PRODUCE]])
        assert refused(lambda: conn.expect(wire.DELIVER, subscription.id)).code == "FORBIDDEN"
        assert topic.send(b"x")[0].outcome == wire.OK


def test_topic_and_group_are_deleted(plane):
    orders = plane.topic("orders")
    readers = plane.group("readers", orders)
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        plane.gone("group", readers)
        assert refused(lambda: conn.expect(wire.DELIVER, subscription.id)).code == "NOT_FOUND"
        plane.gone("topic", orders)
        assert refused(lambda: conn.expect(wire.PRODUCED, topic.id)).code == "NOT_FOUND"
        assert conn.ping()


def test_group_made_again(plane):
    orders = plane.topic("orders")
    readers = plane.group("readers", orders)
    with plane.connect() as conn:
        subscription = conn.subscribe("readers")
        plane.group("readers", orders, readers, incarnation=2)
        assert refused(lambda: conn.expect(wire.DELIVER, subscription.id)).code == "NOT_FOUND"
        conn.subscribe("readers")


def test_more_partitions(plane):
    orders = plane.topic("orders")
    plane.group("readers", orders)
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        subscription.credit(10)
        plane.topic("orders", orders, partitions=4)
        (result,) = wait_for(lambda: (results := topic.send(wire.Record(body=b"x", partition=3)))[0].outcome == wire.OK and results)
        assert result.partition == 3
        (got,) = subscription.receive(1, credit=False)
        assert got.partition == 3 and subscription.ack(got) == [("OK", 1)]


def test_policy_changes_for_the_next_delivery(plane):
    orders = plane.topic("orders")
    readers = plane.group("readers", orders)
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        plane.group("readers", orders, readers, visibility_ms=200)

        def comes_again():
            """Within less than the previous 30 s; what was delivered before the change had arrived is acked, and another is tried."""
            topic.send(b"x")
            (first,) = subscription.receive()
            subscription.credit(1)
            if subscription.receive_nothing(2):
                return subscription.ack(first) != [("OK", 1)]
            (again,) = subscription.receive()
            return (first.offset, first.attempt + 1) == (again.offset, again.attempt)

        wait_for(comes_again)


def opened(conn, code="NOT_READY"):
    """A stream on the topic; None if it is refused with that code."""
    try:
        return conn.open_topic("orders")
    except wire.Refused as error:
        assert error.code == code
        return None


def test_cluster_is_opened_again(plane):
    plane.group("readers", plane.topic("orders"))
    with plane.connect() as conn:
        topic, subscription = conn.open_topic("orders"), conn.subscribe("readers")
        plane.put("cluster", CLUSTER, name="memory", kind="memory", options='{"a": 1}')
        assert refused(lambda: conn.expect(wire.PRODUCED, topic.id)).code == "NOT_READY"
        assert refused(lambda: conn.expect(wire.DELIVER, subscription.id)).code == "NOT_READY"
        assert wait_for(lambda: opened(conn)).send(b"x")[0].offset == 0
        plane.put("cluster", CLUSTER, name="memory", kind="none such")
        wait_for(lambda: not opened(conn, "BACKEND_DOWN"))


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_tls_on_the_same_port(plane_with, certificate):
    cert, key = certificate
    plane = plane_with(cert=cert, key=key)
    context = ssl.create_default_context(cafile=cert)
    plane.group("readers", plane.topic("orders"))
    with plane.connect(tls=context, server_name="localhost") as conn, plane.connect() as plain:
        assert conn.welcome["mechanisms"].split(",")[0] == "SCRAM-SHA-256-PLUS"
        assert plain.welcome["mechanisms"] == "SCRAM-SHA-256"
        sent = [b"%d" % n * 3000 for n in range(30)]
        topic = conn.open_topic("orders")
        for body in sent:
            topic.send(body)
        assert [d.record.body for d in plain.subscribe("readers").receive(30)] == sent
        rows = plane.query("CLIENTS")["clients"]
        assert sorted(row["tls"] for row in rows) == [False, True]
    with plane.strange(tls=context, server_name="localhost") as conn:
        conn.hello()
        assert refused(lambda: conn.authenticate("AK1", SECRET, "SCRAM-SHA-256", ("y", b""))).code == "UNAUTHENTICATED"


def test_tls_without_certificate(plane):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, OSError)):
        plane.connect(tls=context)
